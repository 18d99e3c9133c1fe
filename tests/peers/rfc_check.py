#!/usr/bin/env python3
"""Runs scim2-tester, which checks a SCIM server by the letter of the RFCs, against the built program.

    rfc_check.py PROGRAM            starts `PROGRAM serve --dev` and checks that, without and with attributes of its own
    rfc_check.py --url URL          checks a server that runs already (its token in SCIM_TOKEN)

Prints a line for each check. Exit status: 0 all is well, 1 a check failed or too few were run, 2 no server.
"""

import os
import subprocess
import sys
import tempfile
import threading
from collections import Counter

from httpx2 import Client
from scim2_client.engines.httpx2 import SyncSCIMClient
from scim2_tester import Status, check_server

# A check that was skipped proves nothing: each skip that we accept stands here, with its reason.
ACCEPTED_SKIPS: set[str] = set()
EXTENSION = "urn:ietf:params:scim:schemas:extension:acme:2.0:User"
# The attributes that the second run declares, each as arguments of `rollcall attribute add`. No dateTime and no decimal, for
# which the tester makes up texts, and no binary, which it compares undecoded with decoded.
DECLARED = [
    ["payGrade", "--canonical", "R1,R2", "--matching"],
    ["homepage", "--type", "reference"],
    ["tags", "--multi-valued", "--case-exact"],
    ["contract", "--mutability", "immutable"],
    ["badge", "--schema", EXTENSION, "--type", "integer", "--uniqueness", "server"],
    ["remote", "--schema", EXTENSION, "--type", "boolean"],
    ["purpose", "--for", "group", "--required"],
]
FAILURES = {Status.ERROR, Status.CRITICAL, Status.DEVIATION}
# A server whose discovery is broken is hardly checked at all, and would pass.
FEWEST_CHECKS = 60
# How long the program may take to start, and all checks together, in seconds.
START_PATIENCE = 20
CHECK_PATIENCE = 300


def main() -> int:
    if len(sys.argv) == 3 and sys.argv[1] == "--url":
        return check(sys.argv[2], os.environ.get("SCIM_TOKEN", ""))
    if len(sys.argv) != 2:
        print(__doc__, file=sys.stderr)
        return 2
    return start(sys.argv[1], []) or start(sys.argv[1], DECLARED)


def start(path: str, declared: list[list[str]]) -> int:
    with tempfile.TemporaryDirectory() as folder:
        command = [path, "--data", folder, "serve", "--listen", "127.0.0.1:0", "--dev"]
        # The tester asks faster than any provider.
        command += ["--scim-rate", "100000", "--scim-burst", "100000"]
        program = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        try:
            url, token = announced(program)
            for attribute in declared:
                declare = [path, "--data", folder, "attribute", "add", "--tenant", "dev", *attribute]
                subprocess.run(declare, check=True)
            return check(url, token) if url and token else 2
        finally:
            program.terminate()
            program.wait(timeout=20)


def announced(program: subprocess.Popen) -> tuple[str, str]:
    """What `serve --dev` prints at its start: the SCIM base URL and a token; empty if it ends before."""
    timer = threading.Timer(START_PATIENCE, program.kill)
    timer.start()
    url = token = ""
    for line in program.stdout:
        name, _, value = line.strip().partition(": ")
        if name == "SCIM base URL":
            url = value
        elif name == "SCIM token":
            token = value
        if url and token:
            break
    timer.cancel()
    if not (url and token):
        print("the program told no SCIM base URL and token", file=sys.stderr)
    return url, token


def check(url: str, token: str) -> int:
    overdue = threading.Timer(CHECK_PATIENCE, give_up)
    overdue.daemon = True
    overdue.start()
    headers = {"Authorization": f"Bearer {token}"}
    with Client(base_url=url, headers=headers, timeout=30) as http:
        results = check_server(SyncSCIMClient(http))
    overdue.cancel()

    failed = 0
    for result in results:
        bad = result.status in FAILURES or (result.status == Status.SKIPPED and result.title not in ACCEPTED_SKIPS)
        failed += bad
        where = f" ({result.resource_type})" if result.resource_type else ""
        print(f"{result.status.name:10} {result.title}{where}: {result.reason or ''}".rstrip(": "))
        if bad and result.data:
            print(f"           {result.data}")
    counts = Counter(result.status.name for result in results)
    print(", ".join(f"{count} {name.lower()}" for name, count in sorted(counts.items())))
    if len(results) < FEWEST_CHECKS:
        print(f"only {len(results)} checks were run, expected at least {FEWEST_CHECKS}")
        return 1
    return 1 if failed else 0


def give_up() -> None:
    print(f"not finished after {CHECK_PATIENCE} s", file=sys.stderr)
    os._exit(1)


if __name__ == "__main__":
    sys.exit(main())
