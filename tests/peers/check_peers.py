#!/usr/bin/env python3
"""Runs `rollcall check` against servers that others wrote, and compares what it finds with what is known of them.

    check_peers.py PROGRAM TOOLS            TOOLS/peers has what tests/run installs: scim2-server and scimmy-routers

A finding that isn't in check_findings.txt is either new or false, and one that is there alone was not found any more: both
fail. Each line there was held against the paragraph that it names. Exit status: 0 as known, 1 not so, 2 a peer doesn't start.
"""

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
TOKEN = "a-token-for-the-check"
START_PATIENCE = 30
CHECK_PATIENCE = 50


def main() -> int:
    if len(sys.argv) != 3:
        print(__doc__, file=sys.stderr)
        return 2
    program, tools = sys.argv[1], Path(sys.argv[2]).resolve() / "peers"
    known = findings()
    failed = False
    for name, peer in (("scim2-server", scim2), ("scimmy-routers", scimmy)):
        with tempfile.TemporaryFile("w+") as said:
            port = free_port()
            command, base, token, folder = peer(tools, port)
            child = subprocess.Popen(command, cwd=folder, stdout=said, stderr=said)
            try:
                if not listens(port, child):
                    said.seek(0)
                    print(f"{name} doesn't start: {said.read()}", file=sys.stderr)
                    return 2
                failed |= differs(name, known.get(name, {}), check(program, f"http://127.0.0.1:{port}{base}", token))
            finally:
                child.terminate()
                child.wait(timeout=20)
    return 1 if failed else 0


def scim2(tools: Path, port: int):
    command = [str(tools / "venv/bin/gunicorn"), "--bind", f"127.0.0.1:{port}", "--workers", "1"]
    command += ["--worker-class", "gthread", "--threads", "2", "--no-control-socket", "scim2:application"]
    os.environ["PYTHONDONTWRITEBYTECODE"] = "1"
    # It asks for no token.
    return command, "/v2", None, HERE.parent / "bench/peers"


def scimmy(tools: Path, port: int):
    # Beside its node_modules, where node looks for them.
    program = shutil.copy(HERE / "check_scimmy.mjs", tools)
    return ["node", str(program), str(port), TOKEN], "/scim", TOKEN, tools


def findings() -> dict:
    """What check_findings.txt has: for each peer the state of each check that isn't ok or skipped."""
    known, peer = {}, None
    for line in (HERE / "check_findings.txt").read_text().splitlines():
        if line.startswith("== "):
            peer = known.setdefault(line[3:].strip(), {})
        elif line.strip() and not line.startswith("#"):
            state, check = line.split()[:2]
            peer[check] = state
    return known


def check(program: str, url: str, token: str | None) -> dict:
    command = [program, "check", url, "--profile", "rfc,entra,okta", "-o", "json"]
    environment = {**os.environ, **({"ROLLCALL_CHECK_TOKEN": token} if token else {})}
    done = subprocess.run(command, capture_output=True, text=True, timeout=CHECK_PATIENCE, env=environment)
    if done.returncode != 3:
        raise SystemExit(f"exit status {done.returncode}, expected 3: {done.stderr}")
    return json.loads(done.stdout)


def differs(name: str, known: dict, report: dict) -> bool:
    found = {one["check"]: one for one in report["checks"] if one["state"] in ("fail", "warn")}
    wrong = False
    for check in sorted(known.keys() | found.keys()):
        state = found[check]["state"] if check in found else "nothing"
        if state != known.get(check, "nothing"):
            wrong = True
            notes = "; ".join(found[check]["notes"]) if check in found else ""
            print(f"{name}: {check}: known {known.get(check, 'nothing')}, found {state} {notes}")
    if report["leftBehind"]:
        wrong = True
        print(f"{name}: left behind {report['leftBehind']}")
    print(f"{name}: {report['counts']}")
    return wrong


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def listens(port: int, child: subprocess.Popen) -> bool:
    until = time.monotonic() + START_PATIENCE
    while child.poll() is None and time.monotonic() < until:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return True
        except OSError:
            time.sleep(0.05)
    return False


if __name__ == "__main__":
    sys.exit(main())
