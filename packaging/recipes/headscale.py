#!/usr/bin/env python3
"""Keeps the groups of a headscale policy in step with rollcall's teams.

    headscale.py POLICY CURSOR [--once] [--run COMMAND]

POLICY is the file of headscale's `policy.path`, CURSOR a file of ours. What stands between these two lines of POLICY is
replaced, inside "groups"; everything else of it is yours and stays as it is, with its comments:

    // rollcall: begin
    // rollcall: end

COMMAND is run whenever there was news, as in --run "systemctl reload headscale": until it succeeds, nothing counts as done.
"""

import json
import re
import subprocess
import sys

from rollcall import every, follow, replace

BEGIN, END = "// rollcall: begin", "// rollcall: end"


def group(team):
    """A team's name as a group's: `Site Reliability` is `group:site-reliability`."""
    return "group:" + re.sub(r"[^a-z0-9]+", "-", team.lower()).strip("-")


def member(user_name):
    """A person as headscale names them: with an @, behind the name where there is none."""
    return user_name if "@" in user_name else user_name + "@"


def groups(teams, people):
    """Each group with who is in it. Two teams whose names come to the same group would open each other's doors: nobody's."""
    teams = [team["name"] for team in teams]
    doubled = {group(name) for name in teams if [group(other) for other in teams].count(group(name)) > 1}
    for name in sorted(doubled):
        print(f"{name}: two teams come to this name; it stays empty", file=sys.stderr, flush=True)
    found = {group(name): set() for name in teams}
    for person in people:
        for team in person["teams"]:
            if group(team["name"]) not in doubled:
                found.setdefault(group(team["name"]), set()).add(member(person["userName"]))
    return found


def written(policy, found):
    """The policy with these groups. A group that rules name and no team gives is empty: headscale refuses unknown ones."""
    lines = policy.splitlines()
    marks = [[at for at, line in enumerate(lines) if line.strip() == mark] for mark in (BEGIN, END)]
    if [len(mark) for mark in marks] != [1, 1] or marks[0] > marks[1]:
        raise ValueError(f"the policy needs one line {BEGIN!r} and one {END!r} after it, inside \"groups\"")
    (begin,), (end,) = marks
    own = "\n".join(lines[:begin] + lines[end + 1 :])
    by_hand = re.findall(r'"(group:[^"]+)"\s*:', own)
    for name in re.findall(r'"(group:[^":]+)(?::[^"]*)?"', own):
        found.setdefault(name, set())
    indent = lines[begin].partition("//")[0]
    rows = [f"{indent}{json.dumps(name)}: {json.dumps(sorted(found[name]))}," for name in sorted(found) if name not in by_hand]
    return "\n".join(lines[: begin + 1] + rows + lines[end:]) + "\n"


def main():
    words = [word for word in sys.argv[1:] if word != "--once"]
    command = words[words.index("--run") + 1] if "--run" in words else None
    if len(words) != (4 if command else 2):
        sys.exit(__doc__)

    def sync():
        with open(words[0], encoding="utf-8") as file:
            before = file.read()
        after = written(before, groups(list(every("teams")), every("users")))
        if after != before:
            replace(words[0], after)
        # Also where the file is right already: whoever wrote it may have been stopped before this.
        if command and subprocess.run(command, shell=True).returncode != 0:
            raise ChildProcessError(f"{command} failed")

    follow(words[1], sync)


if __name__ == "__main__":
    main()
