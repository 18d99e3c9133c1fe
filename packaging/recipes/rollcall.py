"""What rollcall's API says, for a script that keeps something else in step with it. Python 3.9 or later, nothing else.

The environment names the server (ROLLCALL_URL) and a token with the scope `read` (ROLLCALL_TOKEN, or the first line of
the file ROLLCALL_TOKEN_FILE). SSL_CERT_FILE names roots of your own.
"""

import http.client
import json
import os
import sys
import time
import urllib.error
import urllib.parse
import urllib.request

# How long a question about news may take, and the pause after a failure, in seconds.
WAIT = 30
PAUSE = int(os.environ.get("ROLLCALL_PAUSE", "10"))


def get(path, **query):
    """What one address of the API answers."""
    token = os.environ.get("ROLLCALL_TOKEN")
    if not token:
        with open(os.environ["ROLLCALL_TOKEN_FILE"], encoding="utf-8") as file:
            token = file.readline().strip()
    url = f"{os.environ['ROLLCALL_URL'].rstrip('/')}/api/v1{path}?{urllib.parse.urlencode(query)}"
    request = urllib.request.Request(url, headers={"Authorization": f"Bearer {token}"})
    with urllib.request.urlopen(request, timeout=WAIT + 30) as answer:
        return json.load(answer)


def every(noun):
    """All people (`users`) or all teams (`teams`): only who is active, and what isn't deprovisioned."""
    cursor = {}
    while True:
        page = get(f"/{noun}", limit=1000, **cursor)
        yield from page["items"]
        if not page.get("nextCursor"):
            return
        cursor = {"cursor": page["nextCursor"]}


def follow(cursor_file, sync):
    """Calls `sync` at first and after each change, for ever, or once where the command line says --once.

    The place in the feed is read before the state, and kept after `sync` has done its work: whoever is stopped in between
    does it again, so `sync` has to come to the same end however often it runs.
    """
    while True:
        try:
            known = kept(cursor_file)
            last = newest(known)
            if last != known:
                sync()
                replace(cursor_file, f"{last}\n")
        except (OSError, http.client.HTTPException, ValueError, KeyError) as error:
            print(f"{type(error).__name__}: {error}", file=sys.stderr, flush=True)
            if "--once" in sys.argv:
                sys.exit(1)
            time.sleep(PAUSE)
        if "--once" in sys.argv:
            return


def newest(known):
    """The feed's last number, once it is another than `known`; waits for that. At first, and where it went back: at once."""
    wait = 0 if known is None or "--once" in sys.argv else WAIT
    last = known or 0
    while True:
        try:
            page = get("/events", after=last, limit=1000, wait=wait)
        except urllib.error.HTTPError as error:
            # The database is an older copy: numbers that we know were never given.
            if error.code != 400 or last == 0:
                raise
            last = 0
            continue
        last, wait = page["last"], 0
        if not page["events"]:
            return last


def kept(cursor_file):
    """The number that was kept, if any."""
    try:
        with open(cursor_file, encoding="ascii") as file:
            return int(file.read())
    except FileNotFoundError:
        return None


def replace(path, text):
    """Puts a file in the place of another one: whoever reads sees the whole old or the whole new one, also after a crash."""
    mode = os.stat(path).st_mode & 0o777 if os.path.exists(path) else 0o644
    with open(f"{path}.new", "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    os.chmod(f"{path}.new", mode)
    os.replace(f"{path}.new", path)
