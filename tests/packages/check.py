"""Holds what packaging/build has made with what it is to be: `python3 tests/packages/check.py`.

The executable runs in a folder with nothing else in it, and as the container would; the Debian package has the files and the
unit that it should, and Debian's own checker has nothing to say; the list of contents is a valid CycloneDX document.
"""

import contextlib
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import unittest
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
MADE = ROOT / "target/packages"
PROGRAM = MADE / "rollcall"
UNIT = ROOT / "packaging/rollcall.service"
# Whoever the container's user is.
NUMBER = 65532
PATIENCE = 30


def newest(pattern):
    return max(MADE.glob(pattern), key=lambda file: file.stat().st_mtime)


def run(*command, **options):
    options = {"check": True, "text": True, "stdout": subprocess.PIPE, "timeout": 300} | options
    return subprocess.run([str(each) for each in command], **options).stdout


def jail(root, *command, data=None, environment={}):
    """The command line that runs `command` with `root` as its whole world, which it can't write to but for `/data`."""
    line = ["bwrap", "--unshare-user", "--uid", NUMBER, "--gid", NUMBER, "--unshare-pid", "--die-with-parent", "--clearenv"]
    line += ["--ro-bind", root, "/"]
    if data:
        line += ["--bind", data, "/data"]
    for name, value in environment.items():
        line += ["--setenv", name, value]
    return [str(each) for each in line + ["--", *command]]


@contextlib.contextmanager
def serving(line, **options):
    """A server; ends it as a service manager does, and it must end well. Gives its first line of output."""
    process = subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options)
    try:
        first = process.stdout.readline()
        if not first:
            raise AssertionError(f"it doesn't start: {process.stderr.read()}")
        yield first.strip(), process
    finally:
        for child in run("pgrep", "--parent", process.pid, check=False).split() or [process.pid]:
            # bwrap waits for its child, and only that one is the server.
            subprocess.run(["kill", str(descend(child))], check=False)
        try:
            process.communicate(timeout=PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            raise
    if process.returncode != 0:
        raise AssertionError(f"it ended with {process.returncode}")


def descend(number):
    """The last process in the line of children."""
    children = run("pgrep", "--parent", number, check=False).split()
    return descend(children[0]) if children else number


def get(url):
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            with urllib.request.urlopen(url, timeout=5) as answer:
                return answer.status, answer.read().decode()
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)


class Folders(unittest.TestCase):
    def setUp(self):
        scratch = tempfile.TemporaryDirectory()
        self.addCleanup(scratch.cleanup)
        self.root = Path(scratch.name) / "root"
        self.data = Path(scratch.name) / "data"
        for folder in [self.root, self.data]:
            folder.mkdir(mode=0o755)
        (self.root / "data").mkdir()
        shutil.copy(PROGRAM, self.root / "rollcall")

    def write(self, path, text):
        file = self.root / path.removeprefix("/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)


class Static(Folders):
    def test_it_runs_where_there_is_nothing_else(self):
        self.assertEqual(sorted(path.name for path in self.root.iterdir()), ["data", "rollcall"])
        line = jail(self.root, "/rollcall", "--data", "/data", "serve", "--dev", "--listen", "127.0.0.1:0", data=self.data)
        with serving(line) as (first, process):
            url = first.removeprefix("listening on ")
            said = [process.stdout.readline().strip() for _ in range(4)]
            token = next(line.removeprefix("SCIM token: ") for line in said if line.startswith("SCIM token: "))
            self.assertEqual(get(f"{url}/readyz"), (200, "ready\n"))
            user = {"schemas": ["urn:ietf:params:scim:schemas:core:2.0:User"], "userName": "ana@example.org"}
            headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/scim+json"}
            request = urllib.request.Request(f"{url}/scim/v2/Users", json.dumps(user).encode(), headers)
            with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
                self.assertEqual(answer.status, 201)
        whole = jail(self.root, "/rollcall", "--data", "/data", "backup", "/data/copy.db", data=self.data)
        run(*whole, stderr=subprocess.DEVNULL)

    def test_names_are_found_in_hosts_and_by_dns_whatever_the_machine_says(self):
        # Each of these is a library that glibc would load, of whatever version the machine has.
        self.write("/etc/nsswitch.conf", "hosts: mymachines resolve myhostname\n")
        self.write("/etc/hosts", "127.0.0.7 in-hosts.example\n")
        self.write("/etc/resolv.conf", "nameserver 127.0.0.1\noptions timeout:1 attempts:1\n")
        for name, address in [("in-hosts.example", "127.0.0.7"), ("by-dns.example", "127.0.0.9")]:
            inner = jail(self.root, "/rollcall", "--data", "/data", "serve", "--listen", f"{name}:0", data=self.data)
            # A name server needs port 53, so it gets a network of its own.
            outer = ["bwrap", "--unshare-user", "--uid", "0", "--gid", "0", "--cap-add", "ALL", "--unshare-net", "--dev-bind", "/", "/"]
            names = [sys.executable, str(Path(__file__).with_name("names.py")), "by-dns.example", "127.0.0.9"]
            with serving(outer + names + inner) as (first, _):
                self.assertTrue(first.startswith(f"listening on http://{address}:"), first)


class Container(Folders):
    """The Containerfile's last stage, as far as it can be had without an engine."""

    def setUp(self):
        super().setUp()
        (self.root / "rollcall").unlink()
        text = (ROOT / "packaging/Containerfile").read_text().replace("\\\n", " ")
        stages = re.split(r"^FROM ", text, flags=re.MULTILINE)
        self.assertTrue(stages[-1].startswith("scratch\n"))
        lines = [line.split(None, 1) for line in stages[-1].splitlines()[1:] if line and not line.startswith("#")]
        self.lines = [(keyword, rest.strip()) for keyword, rest in lines]
        self.environment = dict(pair.split("=", 1) for pair in self.one("ENV").split())
        for copied in self.all("COPY"):
            *options, source, target = copied.split()
            mode = next((int(each.removeprefix("--chmod="), 8) for each in options if each.startswith("--chmod=")), None)
            # What comes of another stage is this machine's.
            found = Path(source) if any(each.startswith("--from=") for each in options) else ROOT / source
            place = self.root / target.removeprefix("/")
            if target != "/data":
                place.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(found, place)
                place.chmod(mode or 0o644)

    def all(self, keyword):
        return [rest for name, rest in self.lines if name == keyword]

    def one(self, keyword):
        (found,) = self.all(keyword)
        return found

    def command(self, words):
        return jail(self.root, *words, data=self.data, environment=self.environment)

    def test_it_serves_and_is_found_healthy_as_a_number_on_a_root_that_is_read_only(self):
        self.assertRegex(self.one("USER"), rf"^{NUMBER}:{NUMBER}$")
        self.assertEqual(self.one("VOLUME"), self.environment["ROLLCALL_DATA"])
        # Else two tests at once would want one port.
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self.assertEqual(self.environment["ROLLCALL_LISTEN"], f"0.0.0.0:{self.one('EXPOSE')}")
        self.environment["ROLLCALL_LISTEN"] = f"0.0.0.0:{port}"
        entry = json.loads(self.one("ENTRYPOINT"))
        check = json.loads(self.one("HEALTHCHECK").split("CMD", 1)[1])
        down = subprocess.run(self.command(check), capture_output=True, timeout=PATIENCE)
        self.assertEqual(down.returncode, 1)
        with serving(self.command(entry + json.loads(self.one("CMD"))), stdin=subprocess.DEVNULL) as (_, process):
            self.assertEqual(get(f"http://127.0.0.1:{port}/healthz"), (200, "ok\n"))
            self.assertEqual(run(*self.command(check)).strip(), "ready")
        self.assertTrue((self.data / "rollcall.db").is_file())

    def test_hadolint_has_nothing_to_say(self):
        run(os.environ["HADOLINT"], ROOT / "packaging/Containerfile")


class Package(Folders):
    def test_it_has_what_it_should_and_nothing_else(self):
        deb = newest("*.deb")
        contents = {}
        for line in run("dpkg-deb", "--contents", deb).splitlines():
            mode, owner, _, _, _, path = line.split(None, 5)
            self.assertEqual(owner, "root/root", line)
            if not path.endswith("/"):
                contents[path.removeprefix(".")] = mode
        manual = [path for path in contents if path.startswith("/usr/share/man/man1/rollcall")]
        self.assertGreater(len(manual), 40)
        unit = "/lib/systemd/system/rollcall.service"
        found = {path: mode for path, mode in contents.items() if path not in manual}
        documents = ["README.md", "SECURITY.md", "changelog.gz", "changelog.Debian.gz", "copyright", "sbom.cdx.json.gz"]
        expected = {f"/usr/share/doc/rollcall/{each}": "-rw-r--r--" for each in documents} | {
            "/usr/bin/rollcall": "-rwxr-xr-x",
            "/etc/rollcall/rollcall.conf": "-rw-r--r--",
            unit: "-rw-r--r--",
            "/usr/share/bash-completion/completions/rollcall": "-rw-r--r--",
            "/usr/share/zsh/vendor-completions/_rollcall": "-rw-r--r--",
            "/usr/share/fish/vendor_completions.d/rollcall.fish": "-rw-r--r--",
            "/usr/share/lintian/overrides/rollcall": "-rw-r--r--",
        }
        self.assertEqual(found, expected)
        control = self.root / "control"
        run("dpkg-deb", "--control", deb, control)
        self.assertEqual((control / "conffiles").read_text().split(), ["/etc/rollcall/rollcall.conf"])
        self.assertEqual(run("dpkg-deb", "--field", deb, "Depends").strip(), "adduser")
        for script in ["preinst", "postinst", "prerm", "postrm"]:
            run("sh", "-n", control / script)

    def test_lintian_has_nothing_to_say(self):
        said = run("lintian", "--allow-root", "--fail-on", "none", newest("*.deb"), stderr=subprocess.DEVNULL)
        self.assertEqual(said, "")

    def test_the_unit_is_closed(self):
        run("systemd-analyze", "security", "--offline=true", "--threshold=15", UNIT)

    def test_the_unit_allows_what_the_program_does(self):
        filters = re.findall(r"^SystemCallFilter=(.*)$", UNIT.read_text(), re.MULTILINE)
        allowed = set()
        for each in filters:
            names = {name for group in each.lstrip("~").split() for name in calls(group)}
            allowed = allowed - names if each.startswith("~") else allowed | names
        traced = self.root / "traced"
        # Not as root, for whom SQLite does more.
        line = ["bwrap", "--unshare-user", "--uid", NUMBER, "--gid", NUMBER, "--dev-bind", "/", "/", "--die-with-parent"]
        line += ["strace", "-f", "-qq", "-o", traced, PROGRAM, "--data", self.data, "serve", "--listen", "127.0.0.1:0"]
        line += ["--backup-dir", self.data / "backups", "--metrics", "127.0.0.1:0"]
        with serving([str(each) for each in line]) as (first, process):
            self.assertEqual(get(first.removeprefix("listening on ") + "/readyz")[0], 200)
            run(PROGRAM, "--data", self.data, "tenant", "create", "contoso", stderr=subprocess.DEVNULL)
        text = traced.read_text()
        used = set(re.findall(r"^\d+ +(\w+)\(", text, re.MULTILINE))
        self.assertGreater(len(used), 30)
        # What starts the program is systemd's.
        self.assertEqual(used - allowed - {"execve"}, set())
        self.assertNotRegex(text, r"PROT_(READ\|PROT_)?WRITE\|PROT_EXEC")


def calls(group):
    """The system calls of a group of systemd's, or the one that it is."""
    if not group.startswith("@"):
        return {group}
    lines = run("systemd-analyze", "syscall-filter", group).splitlines()[1:]
    named = [line.strip() for line in lines if line.strip() and not line.strip().startswith("#")]
    return {name for each in named for name in calls(each)}


class Contents(unittest.TestCase):
    def test_the_list_of_contents_is_valid_and_whole(self):
        from cyclonedx.schema import SchemaVersion
        from cyclonedx.validation.json import JsonStrictValidator

        text = newest("*.cdx.json").read_text()
        self.assertIsNone(JsonStrictValidator(SchemaVersion.V1_5).validate_str(text))
        document = json.loads(text)
        known = {(each["name"], each["version"]) for each in document["components"]}
        locked = re.findall(r'^name = "(.*)"\nversion = "(.*)"$', (ROOT / "Cargo.lock").read_text(), re.MULTILINE)
        self.assertLess(known, set(locked))
        self.assertGreater(len(known), 80)
        for each in document["components"]:
            self.assertRegex(each["hashes"][0]["content"], r"^[0-9a-f]{64}$")
        named = [inner["name"] for each in document["components"] for inner in each.get("components", [])]
        self.assertEqual(sorted(named), ["aws-lc", "sqlite"])


if __name__ == "__main__":
    unittest.main(verbosity=2)
