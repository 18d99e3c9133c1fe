#!/usr/bin/env python3
"""Keeps Apache's group file, and who of a password file may come in, in step with rollcall.

    htfiles.py HTGROUP CURSOR [--once] [--passwords FROM TO]

HTGROUP is for AuthGroupFile: a line for each team. CURSOR is a file of ours. Passwords are yours: `htpasswd` writes them to
FROM, and TO gets those lines of it whose person is active now (for AuthUserFile, or nginx's auth_basic_user_file).
"""

import os
import re
import sys

from rollcall import every, follow, replace


def group(team):
    """A team's name as a group's: `Site Reliability` is `site-reliability`."""
    return re.sub(r"[^a-z0-9]+", "-", team.lower()).strip("-")


def is_plain(user_name):
    """Whether these files can hold the name: white space and colons separate there, and # begins a comment."""
    return re.fullmatch(r"[^\s:\"'\\#]+", user_name) is not None


def group_file(teams, people):
    """Two teams whose names come to the same group would open each other's doors: nobody is in it."""
    names = [group(team["name"]) for team in teams]
    found = {name: [] for name in names}
    for person in people:
        for name in {group(team["name"]) for team in person["teams"]}:
            if names.count(name) < 2 and is_plain(person["userName"]):
                found.setdefault(name, []).append(person["userName"])
            else:
                print(f"{person['userName']} is left out of {name}", file=sys.stderr, flush=True)
    return "".join(f"{name}: {' '.join(sorted(found[name]))}".rstrip() + "\n" for name in sorted(found))


def password_file(lines, people):
    """Those lines of a password file whose person is active. Upper and lower case are the same to rollcall."""
    active = {person["userName"].lower() for person in people}
    return "".join(line + "\n" for line in lines.splitlines() if line.partition(":")[0].lower() in active)


def main():
    words = [word for word in sys.argv[1:] if word != "--once"]
    if len(words) not in (2, 5) or len(words) == 5 and words[2] != "--passwords":
        sys.exit(__doc__)

    def sync():
        people = list(every("users"))
        # First who is out altogether.
        if len(words) == 5:
            put(words[4], password_file(read(words[3]), people))
        put(words[0], group_file(list(every("teams")), people))

    follow(words[1], sync)


def read(path):
    with open(path, encoding="utf-8") as file:
        return file.read()


def put(path, text):
    if not os.path.exists(path) or read(path) != text:
        replace(path, text)


if __name__ == "__main__":
    main()
