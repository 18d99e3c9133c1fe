#!/usr/bin/env python3
"""Runs every command line of README.md and the guides, so that none can be wrong.

    commands.py [--show] PROGRAM [DOCUMENT…]    all documents, or those named, as backup.md; with all that is said

Each fenced block with the language sh is run, in one shell for a document and in order; so is each `rollcall …` in a table of
README.md.
All begin with what contoso.sh makes, but for those in FROM_NOTHING. A command that fails, or that this machine doesn't
have, fails the document with its line. So does a line of a block in `text printed` that none of the commands in the block before
has printed; … in it is whatever is there. What can't be done here is a function in stand_ins.sh, with its reason. An option
that stands in the text alone, as in `rollcall serve --dev`, must be one that the program has, and a link to a file must find it.
"""

import os
import re
import socket
import subprocess
import sys
import tempfile
from pathlib import Path
from string import Template

ROOT = Path(__file__).parents[2]
HERE = Path(__file__).parent
# How long a document may take, in seconds.
PATIENCE = 120
# Documents that begin without an organisation.
FROM_NOTHING = {"README.md", "first-ten-minutes.md"}
# Languages of blocks that hold no commands. A block without any says not what it is.
NO_COMMANDS = set("text json hujson nginx caddyfile caddy apache ini toml yaml sql http html conf systemd python dockerfile".split())
show = False
# What a document says, and what that is here; in this order.
MAPPED = [
    (r"cargo run --release -- ", "rollcall "),
    (r"127\.0\.0\.1:8080\b", "127.0.0.1:$PORT"),
    (r"'?\[::\]:443'?", "127.0.0.1:$TLS_PORT"),
    (r"'?\[::\]:80'?", "127.0.0.1:$HTTP_PORT"),
    (r"127\.0\.0\.1:9100\b", "127.0.0.1:$METRICS_PORT"),
    (r"https://rollcall\.(?:contoso\.example|example\.org|example\.com)\b", "http://127.0.0.1:$PORT"),
    # Folders of a real machine are in the scratch folder; what is of this machine is left alone.
    (r"(?<![\w./$}-])/(?=(?:var|srv|run|mnt|media|opt|usr/local|etc(?!/ssl))/)", "$SCRATCH/"),
    # What somebody copies from the screen: stand_ins.sh knows it.
    (r"^(?:export )?TOKEN='?rcs_(?:…|\.\.\.)'?$", ":"),
    # An id that a listing has shown.
    (r"\b(team (?:restore|download)\b.*) ID\b", r'\1 "$ARCHIVED_TEAM"'),
    (r"\b(team purge\b.*) ID\b", r'\1 "$FORGOTTEN_TEAM"'),
    (r"\b(user restore\b.*) ID\b", r'\1 "$ARCHIVED_USER"'),
    (r"\b(token revoke\b.*) ID\b", r"\1 1"),
    (r"^tests/run$", "elsewhere tests/run"),
    (r"^\.ci/run$", "elsewhere .ci/run"),
]


def commands(text):
    """Each command of the blocks, with its line: one that goes on over lines is one. What they print, line by line, with the
    first and last command that it is of. And what isn't a block of ours."""
    found, printed, faults, language, fence, last = [], [], [], None, "", ""
    pending, first, block, output = "", 0, 0, False
    for number, line in enumerate(text.splitlines(), 1):
        opened = re.match(r"\s*(```+|~~~+)\s*(\S*)", line)
        if language is None and opened:
            fence, language = opened[1], opened[2]
            if language != "sh" and language not in NO_COMMANDS:
                faults.append((number, f"a block in {language or 'no language'}: say sh, text or another of NO_COMMANDS"))
            last = "listed"
            output = line.strip().endswith("text printed")
            block = number if language == "sh" else block
        elif output and line.strip() not in ("", fence):
            printed.append((number, line, block))
        elif language is not None and line.strip() == fence:
            if pending:
                faults.append((first, "a command without an end"))
            language, pending, output = None, "", False
        elif language == "sh":
            if not pending and (not line.strip() or line.lstrip().startswith("#")):
                continue
            first = first if pending else number
            pending += line.removesuffix("\n") + "\n"
            if complete(pending):
                found.append((first, pending.rstrip("\n")))
                pending = ""
        elif language is None:
            if re.match(r" {4,}\S", line) and last == "":
                faults.append((number, "an indented block: fence it, as sh or text"))
            listed = re.match(r"\s*([-*+]|\d+[.)])\s", line) or (last == "listed" and (not line or line[0] == " "))
            last = "listed" if listed else line.strip()
    return found, printed, faults


def complete(command):
    """Whether the shell would run it: no open quote, no backslash at the end, no open here-document."""
    checked = subprocess.run(["bash", "-n"], input=command, capture_output=True, text=True)
    return checked.returncode == 0 and not checked.stderr and not command.endswith("\\\n")


def in_tables(text):
    """Each `rollcall …` in a row of a table, with its line."""
    rows = [(number, line) for number, line in enumerate(text.splitlines(), 1) if line.startswith("|")]
    return [(number, span) for number, line in rows for span in re.findall(r"`(rollcall [^`]+)`", line.replace("\\|", "|"))]


def mapped(command):
    for said, here in MAPPED:
        command = re.sub(said, here, command, flags=re.MULTILINE)
    return command


def run(commands, printed, program, prepared):
    """Runs commands in one shell: which were only stood in for, and what failed."""
    with tempfile.TemporaryDirectory() as scratch:
        for folder in "bin work var/lib var/backups/rollcall var/www etc/rollcall run/rollcall srv mnt/safe media/usb opt usr/local/bin".split():
            Path(scratch, folder).mkdir(parents=True)
        Path(scratch, "bin/rollcall-program").symlink_to(program)
        # Also for who starts it by another program, as timeout does.
        Path(scratch, "bin/rollcall").symlink_to(program)
        Path(scratch, "work/target/release").mkdir(parents=True)
        Path(scratch, "work/target/release/rollcall").symlink_to(program)
        for part in ["packaging", "tests", "static"]:
            Path(scratch, "work", part).symlink_to(ROOT / part)
        lines = ["set -eEo pipefail", f". {HERE}/stand_ins.sh", "cd work", "set +u"]
        lines += [f". {HERE}/contoso.sh >/dev/null"] * prepared
        lines += ["trap 'echo \"@ failed\" >&2' ERR"]
        for number, command in commands:
            lines += [f"printf '\\n@ {number}\\n' >&2", mapped(command)]
        lines.append("printf '\\n@ done\\n' >&2")
        names = ["PORT", "TLS_PORT", "HTTP_PORT", "METRICS_PORT"]
        ports = {name: str(port) for name, port in zip(names, free_ports(len(names)))}
        environment = {name: os.environ[name] for name in ["PATH", "LANG"] if name in os.environ}
        environment |= ports | {"SCRATCH": scratch}
        environment["PATH"] = f"{scratch}/bin:{environment['PATH']}"
        script = Path(scratch, "script")
        script.write_text("\n".join(lines) + "\n")
        out = Path(scratch, "out")
        with open(out, "w") as file:
            try:
                # Into a file and not a pipe: what a document leaves running would keep that open.
                options = dict(cwd=scratch, env=environment, stdin=subprocess.DEVNULL, stdout=file, stderr=file)
                status = subprocess.run(["bash", script], timeout=PATIENCE, **options).returncode
            except subprocess.TimeoutExpired:
                status = f"nothing after {PATIENCE} s"
        said = [line for line in out.read_text(errors="replace").splitlines() if line]
        marks = [line.removeprefix("@ ") for line in said if line.startswith("@ ")]
        stood_in = [line.replace(scratch, "") for line in said if line.startswith("elsewhere: ")]
        if show:
            print("\n".join(said).replace(scratch, ""))
        if status == 0 and marks[-1:] == ["done"]:
            return stood_in, unprinted(printed, said, {**ports, "SCRATCH": scratch})
        number = next((mark for mark in reversed(marks) if mark.isdigit()), "0")
        tail = "\n    ".join(said[-15:]).replace(scratch, "")
        return stood_in, [(int(number), f"status {status}\n    {tail}")]


def unprinted(printed, said, known):
    """Which lines that a document shows were not printed by the commands of the block before."""
    faults = []
    for number, line, block in printed:
        line = Template(mapped(line.strip())).safe_substitute(known)
        wanted = re.sub(r"(\\ )+", r"\\s+", re.escape(line)).replace("…", ".*")
        at, seen = 0, False
        for one in said:
            at = int(mark[1]) if (mark := re.fullmatch(r"@ (\d+)", one)) else at
            seen |= block <= at < number and re.fullmatch(wanted, one.strip()) is not None
        if not seen:
            faults.append((number, f"not printed: {line}"))
    return faults


def free_ports(count):
    listeners = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [listener.getsockname()[1] for listener in listeners]
    for listener in listeners:
        listener.close()
    return ports


def mentions(text, program):
    """Commands that stand in the text: their words and options must be ones that the program has."""
    faults = []
    for number, line in enumerate(text.splitlines(), 1):
        for span in re.findall(r"`(rollcall [^`]+)`", line):
            words = []
            for word in span.split()[1:]:
                if not re.fullmatch(r"[a-z][a-z-]*", word):
                    break
                words.append(word)
            # The longest beginning that is a command: what follows is an argument.
            unknown = None
            while words and not helped(program, tuple(words)):
                unknown = words.pop()
            help = helped(program, tuple(words))
            if unknown and "<COMMAND>" in help:
                faults.append((number, f"`{span}`: rollcall {' '.join(words)} has no {unknown}"))
            for option in re.findall(r"(?<!\S)--?[a-z][a-z-]*", span):
                if not re.search(rf"(?<!\S){option}(?![\w-])", help):
                    faults.append((number, f"`{span}`: rollcall {' '.join(words)} has no {option}"))
    return faults


def links(document, text):
    """Links to files beside the document that aren't there."""
    faults = []
    for number, line in enumerate(text.splitlines(), 1):
        for link in re.findall(r"\]\(([^)\s]+)\)", line):
            path = link.partition("#")[0]
            if path and ":" not in path and not (document.parent / path).exists():
                faults.append((number, f"the link {link} leads nowhere"))
    return faults


def helped(program, words, known={}):
    """What `--help` says of a command; empty where there is none of that name."""
    if words not in known:
        asked = subprocess.run([program, *words, "--help"], capture_output=True, text=True)
        # Arguments are taken for what they are: the usage line names the command alone.
        usage = f"Usage: rollcall {' '.join(words)}".rstrip() + " "
        known[words] = asked.stdout if asked.returncode == 0 and usage in asked.stdout + " " else ""
    return known[words]


def main():
    global show
    if show := "--show" in sys.argv:
        sys.argv.remove("--show")
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    program = Path(sys.argv[1]).resolve()
    documents = [ROOT / "README.md", *sorted((ROOT / "static" / "docs").glob("*.md"))]
    documents = [one for one in documents if not sys.argv[2:] or one.name in sys.argv[2:]]
    failed = total = 0
    for document in documents:
        text = document.read_text()
        blocks, printed, faults = commands(text)
        rows = in_tables(text) if document.name == "README.md" else []
        faults += mentions(text, program) + links(document, text)
        stood_in = []
        for some, shown, prepared in [(blocks, printed, document.name not in FROM_NOTHING), (rows, [], True)]:
            if some:
                elsewhere, more = run(some, shown, program, prepared)
                stood_in += elsewhere
                faults += more
        total += len(blocks) + len(rows)
        print(f"{document.name}: {len(blocks) + len(rows)} commands, {len(stood_in)} of them not here", flush=True)
        for line in stood_in:
            print(f"  {line}")
        for number, fault in sorted(faults):
            failed += 1
            print(f"FAILED {document.relative_to(ROOT)}:{number}: {fault}")
    print(f"{total} commands of {len(documents)} documents, {failed} faults")
    # A walk that found hardly anything proves nothing.
    return 1 if failed or not documents or total < len(documents) else 0


if __name__ == "__main__":
    sys.exit(main())
