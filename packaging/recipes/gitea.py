#!/usr/bin/env python3
"""Keeps the members of teams at Gitea or Forgejo in step with rollcall's teams of the same name.

    gitea.py ORGANISATION TEAM[,TEAM…] CURSOR [--once]

GITEA_URL and GITEA_TOKEN name the server and a token of a site administrator with the scopes write:organization and
read:admin. Only the named teams are touched, and never Owners. Teams are made, and given their repositories, by you. A
person is the account with their e-mail address that came by the sign-in source GITEA_SOURCE (its number at Gitea): who
has none yet joins after their first sign-in there, at the next change or restart.
"""

import json
import os
import sys
import urllib.parse
import urllib.request

from rollcall import every, follow


def gitea(method, path):
    """One request to Gitea's API, and what it answers."""
    request = urllib.request.Request(
        f"{os.environ['GITEA_URL'].rstrip('/')}/api/v1{path}",
        headers={"Authorization": f"token {os.environ['GITEA_TOKEN']}"},
        method=method,
    )
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.loads(answer.read() or b"null")


def pages(path):
    """Everything in a list, page by page: how many are on one is Gitea's business."""
    number = 1
    while page := gitea("GET", f"{path}?page={number}&limit=50"):
        yield from page
        number += 1


def wanted(names, accounts, people):
    """Who belongs to each team, by the names of their accounts."""
    by_email = {}
    for account in accounts:
        by_email.setdefault(account["email"].lower(), []).append(account["login"])
    found = {name.lower(): set() for name in names}
    for person in people:
        logins = by_email.get(person["email"].lower(), []) if person["email"] else []
        # An address that two accounts have is nobody's.
        if len(logins) == 1:
            for team in person["teams"]:
                if team["name"].lower() in found:
                    found[team["name"].lower()].add(logins[0])
    return found


def main():
    words = [word for word in sys.argv[1:] if word != "--once"]
    names = words[1].split(",") if len(words) == 3 else []
    if not names or any(name.lower() == "owners" for name in names):
        sys.exit(__doc__)
    source = int(os.environ["GITEA_SOURCE"])

    def sync():
        accounts = [one for one in pages("/admin/users") if one.get("source_id") == source]
        teams = {one["name"].lower(): one["id"] for one in pages(f"/orgs/{urllib.parse.quote(words[0])}/teams")}
        missing = [name for name in names if name.lower() not in teams]
        if missing:
            raise ValueError(f"{words[0]} has no team {', '.join(missing)}: make it at Gitea first")
        for name, members in wanted(names, accounts, every("users")).items():
            path = f"/teams/{teams[name]}/members"
            there = {one["login"] for one in pages(path)}
            for login in sorted(there - members):
                gitea("DELETE", f"{path}/{urllib.parse.quote(login)}")
            for login in sorted(members - there):
                gitea("PUT", f"{path}/{urllib.parse.quote(login)}")

    follow(words[2], sync)


if __name__ == "__main__":
    main()
