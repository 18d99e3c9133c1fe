#!/usr/bin/env python3
"""Connects Canaille, an OpenID provider that pushes its users by SCIM, to the built program, and signs in through it.

    canaille_check.py PROGRAM       starts `PROGRAM serve --dev` and Canaille, both on loopback

Run by the Python that Canaille is installed for. Both are used as their administrators use them: by their commands, and by
their pages over HTTP. Exit status: 0 all is well, 1 something isn't, 2 no server.

Canaille shows an app a token that it made itself, so its own `create token` gives it ours. Its updates name a version of
its own in If-Match, which is rightly refused (412, RFC 9110 §13.1.1), so none are tried.
"""

import json
import os
import re
import socket
import subprocess
import sys
import tempfile
import time
from html.parser import HTMLParser
from pathlib import Path

import httpx

CANAILLE = str(Path(sys.executable).parent / "canaille")
PASSWORD = "correct horse battery"
SECRET = "a-secret/of+the%provider~s"
# How long a server may take to start, and a command to end, in seconds.
PATIENCE = 60


class Form(HTMLParser):
    """The last form that posts of a page: where it goes and what is filled in."""

    def __init__(self, page: str):
        super().__init__()
        self.action, self.fields, self.buttons, self.inside = None, {}, [], False
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        own = dict(attributes)
        if tag == "form":
            self.inside = (own.get("method") or "get").lower() == "post"
            if self.inside:
                self.action, self.fields, self.buttons = own.get("action") or "", {}, []
        elif self.inside and own.get("name"):
            if tag == "button" or own.get("type") == "submit":
                self.buttons.append((own["name"], own.get("value", "")))
            elif tag == "input":
                self.fields[own["name"]] = own.get("value", "")

    def handle_endtag(self, tag):
        if tag == "form":
            self.inside = False


class Browser:
    """A browser without JavaScript."""

    def __init__(self):
        self.http = httpx.Client(follow_redirects=True, timeout=30)
        self.at = None

    def goes(self, url: str) -> httpx.Response:
        self.at = self.http.get(url)
        return self.at

    def sends(self, **filled) -> httpx.Response:
        """Sends the form of the page that is shown, with these fields filled in."""
        form = Form(self.at.text)
        assert form.action is not None, f"no form at {self.at.url}: {self.at.text}"
        url = self.at.url.join(form.action) if form.action else self.at.url
        self.at = self.http.post(url, data={**form.fields, **filled})
        return self.at

    def signs_in(self, name: str) -> httpx.Response:
        """At Canaille: name, then password, then consent, where each is asked for."""
        for _ in range(4):
            if 'name="login"' in self.at.text and 'name="password"' not in self.at.text:
                self.sends(login=name)
            elif 'name="password"' in self.at.text:
                self.sends(password=PASSWORD)
            elif 'value="accept"' in self.at.text:
                self.sends(answer="accept")
            else:
                break
        return self.at


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


def wait_for(port: int) -> None:
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.1)
    raise SystemExit(f"nothing listens at port {port}")


class Canaille:
    """Its commands, on a database of its own. What they do it pushes by itself."""

    def __init__(self, folder: str, port: int):
        self.environment = {**os.environ, "CANAILLE_CONFIG": f"{folder}/canaille.toml", "PYTHONWARNINGS": "ignore"}
        made = self.run("jwk", "create", "rsa", config=False)
        key = ", ".join(f"{name} = {json.dumps(value)}" for name, value in json.loads(made).items())
        settings = f"""SECRET_KEY = "for tests"
SERVER_NAME = "127.0.0.1:{port}"
PREFERRED_URL_SCHEME = "http"
[CANAILLE]
DATABASE = "sql"
JAVASCRIPT = false
[CANAILLE_SQL]
DATABASE_URI = "sqlite:///{folder}/canaille.db"
[CANAILLE_SCIM]
ENABLE_CLIENT = true
[CANAILLE_OIDC]
ACTIVE_JWKS = [{{{key}}}]
# Its sub is the sign-in name, unless it is told to use what its SCIM client sends as externalId.
[CANAILLE_OIDC.USERINFO_MAPPING]
SUB = "{{{{ user.id }}}}"
"""
        Path(folder, "canaille.toml").write_text(settings)
        self.run("install")

    def run(self, *words: str, config: bool = True) -> str:
        environment = self.environment if config else {"PATH": os.environ["PATH"]}
        done = subprocess.run([CANAILLE, *words], env=environment, capture_output=True, text=True, timeout=PATIENCE)
        if done.returncode:
            raise SystemExit(f"canaille {' '.join(words[:2])} failed: {done.stderr[-3000:]}")
        return done.stdout

    def create(self, *words: str) -> dict:
        return json.loads(self.run("create", *words))


def said_at_start(program: subprocess.Popen) -> dict:
    said = {}
    for line in program.stdout:
        name, _, value = line.strip().partition(": ")
        said[name] = value
        if name == "SCIM token":
            return said
    raise SystemExit(2)


def check(rollcall: list[str], said: dict, canaille: Canaille, issuer: str) -> None:
    base = said["SCIM base URL"]
    origin = base.removesuffix("/scim/v2")
    client = canaille.create(
        "client", "--client-id", "rollcall", "--client-secret", SECRET, "--client-name", "rollcall", "--client-uri", base,
        "--redirect-uris", f"{origin}/sso/callback", "--post-logout-redirect-uris", f"{origin}/sign-in",
        "--scope", "openid", "--scope", "profile", "--scope", "email", "--grant-types", "authorization_code",
        "--response-types", "code", "--token-endpoint-auth-method", "client_secret_basic",
    )
    # As its page for a new client does by itself.
    canaille.run("set", "client", client["id"], "--audience", client["id"])
    canaille.create(
        "token", "--token-id", "scim", "--access-token", said["SCIM token"], "--client", client["id"],
        "--issue-date", "2026-01-01T00:00:00+00:00", "--lifetime", str(10 * 365 * 86400),
    )
    command = lambda *words: subprocess.run([*rollcall, *words], check=True, capture_output=True, text=True).stdout

    admin = Browser()
    admin.goes(said["settings"])
    admin.sends()
    admin.goes(f"{origin}/settings/sso?provider=oidc")
    admin.at = httpx.Response(200, text=form_with(admin.at.text, 'name="issuer"'), request=admin.at.request)
    admin.sends(do="save", name="Canaille", issuer=issuer, client_id="rollcall", client_secret=SECRET)
    says(admin.at, "Saved. Now connect it")

    user, _ = [
        canaille.create(
            "user", "--user-name", name.lower(), "--given-name", name, "--family-name", "Silva", "--formatted-name",
            f"{name} Silva", "--display-name", f"{name} Silva", "--emails", f"{name}@example.org", "--password", PASSWORD,
        )
        for name in ["Ana", "Boss"]
    ]
    pushed = shown(rollcall, "ana")
    assert (pushed["externalId"], pushed["displayName"]) == (user["id"], "Ana Silva"), pushed
    canaille.create("group", "--display-name", "SRE", "--members", user["id"])
    print("ok: a user and a group are pushed")

    admin.goes(f"{origin}/settings/sso/connect")
    says(admin.signs_in("boss"), "Canaille Single Sign-On was successfully connected.")
    print("ok: the provider is connected")

    ana = Browser()
    ana.goes(f"{origin}/sso/start/dev")
    page = ana.signs_in("ana")
    assert page.url.path == "/me", f"{page.url}: {page.text}"
    says(page, "Ana Silva")
    says(page, "SRE")
    events = [json.loads(line) for line in command("events", "--tenant", "dev", "-o", "json").splitlines()]
    [linked] = [event for event in events if event["kind"] == "identity.linked"]
    wanted = {"by": "externalId", "issuer": issuer, "subject": user["id"]}
    assert linked["after"] == wanted, linked
    print("ok: signing in leads to the user that was pushed")

    canaille.run("delete", "user", "--noconfirm", "--user-name", "ana")
    assert ana.goes(f"{origin}/me").url.path == "/sign-in"
    print("ok: who is deleted at the provider is out here")


def form_with(page: str, field: str) -> str:
    """The form of a page that has this field."""
    [form] = [form for form in re.findall(r"<form.*?</form>", page, re.S) if field in form]
    return form


def says(page: httpx.Response, words: str) -> None:
    assert words in page.text, f"{page.url} does not say {words!r}: {page.text}"


def shown(rollcall: list[str], name: str) -> dict:
    words = ["user", "show", "--tenant", "dev", name, "-o", "json"]
    return json.loads(subprocess.run([*rollcall, *words], check=True, capture_output=True, text=True).stdout)


def main() -> int:
    if len(sys.argv) != 2:
        print(__doc__, file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory() as folder:
        rollcall = [sys.argv[1], "--data", f"{folder}/data"]
        port = free_port()
        program = subprocess.Popen([*rollcall, "serve", "--dev", "--listen", "127.0.0.1:0"], stdout=subprocess.PIPE, text=True)
        provider = None
        try:
            said = said_at_start(program)
            canaille = Canaille(folder, port)
            run = [CANAILLE, "run", "--bind", f"127.0.0.1:{port}"]
            with open(f"{folder}/canaille.log", "w") as log:
                provider = subprocess.Popen(run, env=canaille.environment, stdout=log, stderr=log)
            wait_for(port)
            issuer = httpx.get(f"http://127.0.0.1:{port}/.well-known/openid-configuration").json()["issuer"]
            check(rollcall, said, canaille, issuer)
        except Exception:
            # What came here and what went wrong there, for who looks into it.
            subprocess.run([*rollcall, "log", "--tenant", "dev"])
            if provider:
                print(Path(folder, "canaille.log").read_text()[-5000:])
            raise
        finally:
            for process in filter(None, [provider, program]):
                process.terminate()
                process.wait(timeout=20)
    return 0


if __name__ == "__main__":
    sys.exit(main())
