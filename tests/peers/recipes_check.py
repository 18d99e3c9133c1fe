#!/usr/bin/env python3
"""Runs the recipes of packaging/recipes beside the built program, and holds what they write with what was pushed.

    recipes_check.py PROGRAM [NAME…]        all tests, or those named, as Headscale.test_life

Users and groups come and go by SCIM, the scripts are killed and started again in between, and who reads the files is there:
Apache and nginx themselves; for headscale and Gitea, which no package of Debian has, a reader of the policy's syntax and
a stand-in for the five addresses of Gitea's API that the recipe asks. Python's standard library alone.
"""

import base64
import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import unittest
import urllib.error
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

RECIPES = Path(__file__).parents[2] / "packaging" / "recipes"
APACHE = os.environ.get("APACHE", "/usr/sbin/apache2")
NGINX = os.environ.get("NGINX", "/usr/sbin/nginx")
# How long anything may take, in seconds.
PATIENCE = 30
PROGRAM = ""


class Recipe(unittest.TestCase):
    """A server with a tenant, and a script beside it."""

    def setUp(self):
        self.folder = Path(self.enterContext(tempfile.TemporaryDirectory()))
        self.children = []
        self.addCleanup(self.stop)
        command = [PROGRAM, "--data", self.folder / "data", "serve", "--dev", "--listen", "127.0.0.1:0"]
        server = self.start(command, stdout=subprocess.PIPE)
        self.url = self.token = ""
        for line in server.stdout:
            name, _, value = line.strip().partition(": ")
            if line.startswith("listening on "):
                self.url = line.removeprefix("listening on ").strip()
            if name == "SCIM token":
                self.token = value
                break
        self.cursor = self.folder / "cursor"
        api = self.rollcall("token", "create", "--tenant", "dev", "--api").strip()
        self.environment = {"ROLLCALL_URL": self.url, "ROLLCALL_TOKEN": api, "ROLLCALL_PAUSE": "1"}
        # Nothing is left beside the scripts.
        self.environment["PYTHONDONTWRITEBYTECODE"] = "1"

    def stop(self):
        for child in self.children:
            # By SIGTERM: what they have started themselves would outlive SIGKILL.
            child.terminate()
            child.wait(PATIENCE)
            if child.stdout:
                child.stdout.close()

    def start(self, command, **options):
        child = subprocess.Popen([str(word) for word in command], text=True, **options)
        self.children.append(child)
        return child

    def rollcall(self, *words):
        command = [PROGRAM, "--data", str(self.folder / "data"), *words]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout

    def scim(self, method, path, body=None):
        """One request as a provider makes it, and the answer."""
        headers = {"Authorization": f"Bearer {self.token}", "Content-Type": "application/scim+json"}
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self.url}/scim/v2{path}", data, headers, method=method)
        with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
            return json.loads(answer.read() or b"null")

    def user(self, name):
        schemas = ["urn:ietf:params:scim:schemas:core:2.0:User"]
        emails = [{"value": f"{name.partition('@')[0]}@contoso.example", "type": "work"}]
        return self.scim("POST", "/Users", {"schemas": schemas, "userName": name, "emails": emails})["id"]

    def team(self, name, *members):
        schemas = ["urn:ietf:params:scim:schemas:core:2.0:Group"]
        members = [{"value": member} for member in members]
        return self.scim("POST", "/Groups", {"schemas": schemas, "displayName": name, "members": members})["id"]

    def active(self, user, active):
        schemas = ["urn:ietf:params:scim:api:messages:2.0:PatchOp"]
        operations = [{"op": "replace", "path": "active", "value": active}]
        self.scim("PATCH", f"/Users/{user}", {"schemas": schemas, "Operations": operations})

    def recipe(self, name, *words):
        """Starts a script that goes on."""
        environment = {**os.environ, **self.environment}
        return self.start([sys.executable, RECIPES / name, *words], env=environment)

    def once(self, name, *words):
        """Runs a script to its end: its exit status, and what it says."""
        environment = {**os.environ, **self.environment}
        command = [sys.executable, RECIPES / name, *map(str, words), "--once"]
        ended = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=PATIENCE)
        return ended.returncode, ended.stderr

    def until(self, seen, wanted):
        """Waits until `seen()` is what is wanted."""
        deadline = time.monotonic() + PATIENCE
        while (now := seen()) != wanted:
            self.assertLess(time.monotonic(), deadline, f"{now} is not {wanted}")
            time.sleep(0.02)

    def kill(self, child):
        child.send_signal(signal.SIGKILL)
        child.wait()

    def life(self, start, seen):
        """Everything that happens to a directory, with a script that is killed before, in between and after.

        `start` starts it, `seen` says who is in team SRE now; None where the team is unknown or empty.
        """
        ana, bo, cy = self.user("ana@contoso.example"), self.user("bo@contoso.example"), self.user("cy@contoso.example")
        sre = self.team("SRE", ana, bo)
        script = start()
        self.until(seen, {"ana", "bo"})
        self.active(bo, False)
        self.until(seen, {"ana"})
        self.kill(script)
        # Nobody is there to hear of these.
        self.active(bo, True)
        self.active(ana, False)
        script = start()
        self.until(seen, {"bo"})
        self.active(ana, True)
        self.until(seen, {"ana", "bo"})
        self.scim("DELETE", f"/Groups/{sre}")
        self.until(seen, None)
        self.rollcall("team", "restore", "--tenant", "dev", sre)
        self.until(seen, {"ana", "bo"})
        self.scim("DELETE", f"/Users/{ana}")
        self.until(seen, {"bo"})
        self.rollcall("user", "restore", "--tenant", "dev", ana)
        # By way of another team as well.
        schemas = ["urn:ietf:params:scim:api:messages:2.0:PatchOp"]
        inner = self.team("On call", cy)
        join = [{"op": "add", "path": "members", "value": [{"value": inner}]}]
        self.scim("PATCH", f"/Groups/{sre}", {"schemas": schemas, "Operations": join})
        self.until(seen, {"ana", "bo", "cy"})
        # Killed at any moment, with a change on the way each time.
        for number in range(12):
            self.active(bo, number % 2 == 1)
            time.sleep(0.03 * (number % 5))
            self.kill(script)
            script = start()
        self.active(cy, False)
        self.until(seen, {"ana", "bo"})
        # What it has done is not done again: nothing is asked of the file any more.
        self.until(lambda: self.cursor.exists() and int(self.cursor.read_text()) > 0, True)
        self.kill(script)


POLICY = """{
  // Ours: who may go where.
  "groups": {
    "group:guests": ["zoe@"], // by hand
    // rollcall: begin
    // rollcall: end
  },
  "acls": [
    {"action": "accept", "src": ["group:sre"], "dst": ["tag:prod:22", "group:former:443"]}, /* the rest is closed */
  ],
}
"""


def hujson(text):
    """What the syntax of headscale's policy means: JSON with comments and commas at the end."""
    strings = r'"(?:[^"\\\\]|\\\\.)*"'
    text = re.sub(rf"({strings})|//[^\n]*|/\*.*?\*/", lambda found: found[1] or "", text, flags=re.DOTALL)
    return json.loads(re.sub(rf"({strings})|,(\s*[}}\]])", lambda found: found[1] or found[2], text))


class Headscale(Recipe):
    def setUp(self):
        super().setUp()
        self.policy = self.folder / "policy.hujson"
        self.policy.write_text(POLICY)
        self.policy.chmod(0o640)

    def groups(self):
        return hujson(self.policy.read_text())["groups"]

    def test_life(self):
        reading, torn = threading.Event(), []

        def read():
            while not reading.wait(0.001):
                try:
                    self.groups()
                except ValueError as error:
                    torn.append(error)

        reader = threading.Thread(target=read)
        reader.start()
        self.addCleanup(reader.join)
        self.addCleanup(reading.set)

        def seen():
            members = self.groups().get("group:sre")
            return {name.removesuffix("@contoso.example") for name in members or []} or None

        reloads = self.folder / "reloads"
        run = f"echo reloaded >> {reloads}"
        self.life(lambda: self.recipe("headscale.py", self.policy, self.cursor, "--run", run), seen)
        self.assertEqual(torn, [], "the policy was never half written")
        self.assertGreater(len(reloads.read_text().splitlines()), 5)
        groups = self.groups()
        self.assertEqual(groups["group:guests"], ["zoe@"])
        self.assertEqual(groups["group:former"], [], "a group that a rule names is there, or headscale refuses all")
        own = [line for line in self.policy.read_text().splitlines() if not re.match(r'    "group:(?!guests)', line)]
        self.assertEqual("\n".join(own) + "\n", POLICY, "what is written by hand stays as it is")
        self.assertEqual(self.policy.stat().st_mode & 0o777, 0o640)

    def test_names(self):
        ana = self.user("ana")
        self.team("Site Reliability", ana)
        self.team("On call", ana)
        self.team("on-call", ana)
        status, said = self.once("headscale.py", self.policy, self.cursor)
        self.assertEqual(status, 0, said)
        self.assertIn("group:on-call: two teams", said)
        self.assertEqual(self.groups()["group:site-reliability"], ["ana@"])
        self.assertEqual(self.groups()["group:on-call"], [])

    def test_nothing_is_changed_by_a_mistake(self):
        self.team("SRE", self.user("ana"))
        for text in [POLICY.replace("// rollcall: end", ""), POLICY.replace("begin", "x").replace("end", "begin")]:
            self.policy.write_text(text)
            status, said = self.once("headscale.py", self.policy, self.cursor)
            self.assertEqual((status, self.policy.read_text()), (1, text), said)
            self.assertIn("the policy needs one line", said)
            self.assertFalse(self.cursor.exists(), "what isn't done is done again")
        self.policy.write_text(POLICY)
        self.environment["ROLLCALL_TOKEN"] = "rca_wrong"
        status, said = self.once("headscale.py", self.policy, self.cursor)
        self.assertEqual((status, self.policy.read_text()), (1, POLICY), said)
        self.assertIn("401", said)
        self.assertFalse(self.cursor.exists())

    def test_a_reload_that_failed_is_done_again(self):
        self.team("SRE", self.user("ana"))
        status, said = self.once("headscale.py", self.policy, self.cursor, "--run", "exit 3")
        self.assertEqual((status, self.cursor.exists()), (1, False), said)
        self.assertIn("exit 3 failed", said)
        self.assertEqual(self.groups()["group:sre"], ["ana@"])
        reloaded = self.folder / "reloaded"
        self.assertEqual(self.once("headscale.py", self.policy, self.cursor, "--run", f"touch {reloaded}"), (0, ""))
        self.assertTrue(reloaded.exists(), "the file was right already, and still it has to be read")

    def test_an_older_database(self):
        self.team("SRE", self.user("ana"))
        self.cursor.write_text("999999\n")
        status, said = self.once("headscale.py", self.policy, self.cursor)
        self.assertEqual((status, self.groups()["group:sre"]), (0, ["ana@"]), said)
        self.assertLess(int(self.cursor.read_text()), 1000)


class Htfiles(Recipe):
    def setUp(self):
        super().setUp()
        self.own, self.passwords = self.folder / "own", self.folder / "htpasswd"
        self.own.write_text("")
        self.passwords.write_text("")
        for name in ["ana", "bo", "cy", "nobody"]:
            words = ["htpasswd", "-b", "-m", self.own, f"{name}@contoso.example", f"{name}'s password"]
            subprocess.run(words, check=True, capture_output=True)
        self.group_file = self.folder / "htgroup"
        self.group_file.write_text("")

    def sync(self):
        return self.recipe("htfiles.py", self.group_file, self.cursor, "--passwords", self.own, self.passwords)

    def listens(self, port):
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return True
        except OSError:
            return False

    def comes_in(self, port, path, name):
        pair = base64.b64encode(f"{name}@contoso.example:{name}'s password".encode()).decode()
        request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", headers={"Authorization": f"Basic {pair}"})
        try:
            with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
                return answer.status == 200
        except urllib.error.HTTPError as error:
            self.assertIn(error.code, (401, 403))
            return False

    def free_port(self):
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            return listener.getsockname()[1]

    def pages(self):
        (self.folder / "pages" / "sre").mkdir(parents=True)
        for page in ["index.html", "sre/index.html"]:
            (self.folder / "pages" / page).write_text("in")
        # A server that is started by root reads as somebody else.
        for path in [self.folder, *self.folder.joinpath("pages").rglob("*"), self.folder / "pages"]:
            path.chmod(0o755)

    def test_apache(self):
        self.pages()
        port = self.free_port()
        modules = "mpm_event authn_core authn_file authz_core authz_user authz_groupfile auth_basic dir".split()
        lines = [f"LoadModule {name}_module /usr/lib/apache2/modules/mod_{name}.so" for name in modules]
        (self.folder / "apache.conf").write_text(
            "\n".join(lines)
            + f"""
            ServerName localhost
            Listen 127.0.0.1:{port}
            PidFile {self.folder}/apache.pid
            DefaultRuntimeDir {self.folder}
            ErrorLog {self.folder}/apache.log
            User www-data
            Group www-data
            DirectoryIndex index.html
            DocumentRoot {self.folder}/pages
            <Location />
              AuthType Basic
              AuthName people
              AuthUserFile {self.passwords}
              AuthGroupFile {self.group_file}
              Require valid-user
            </Location>
            <Location /sre/>
              Require group sre
            </Location>
            """
        )
        self.start([APACHE, "-X", "-f", self.folder / "apache.conf"])
        self.until(lambda: self.listens(port), True)

        def seen():
            return {name for name in ["ana", "bo", "cy", "nobody"] if self.comes_in(port, "/sre/", name)} or None

        self.life(self.sync, seen)
        self.assertFalse(self.comes_in(port, "/", "cy"), "deactivated: the password is of no use")
        self.assertFalse(self.comes_in(port, "/", "nobody"), "a password of somebody whom nobody has pushed")
        self.assertTrue(self.comes_in(port, "/", "bo"))
        self.assertEqual(len(self.own.read_text().splitlines()), 4, "the passwords themselves are all kept")

    def test_nginx(self):
        self.pages()
        port = self.free_port()
        places = "client_body proxy fastcgi uwsgi scgi".split()
        temporary = " ".join(f"{name}_temp_path {self.folder}/{name};" for name in places)
        (self.folder / "nginx.conf").write_text(
            f"""daemon off; pid {self.folder}/nginx.pid; error_log stderr crit; events {{}}
            http {{ access_log off; {temporary} server {{ listen 127.0.0.1:{port}; root {self.folder}/pages;
              auth_basic people; auth_basic_user_file {self.passwords}; }} }}"""
        )
        self.start([NGINX, "-p", self.folder, "-e", "stderr", "-c", self.folder / "nginx.conf"])
        self.until(lambda: self.listens(port), True)
        ana = self.user("ana@contoso.example")
        self.sync()
        self.until(lambda: self.comes_in(port, "/", "ana"), True)
        self.active(ana, False)
        self.until(lambda: self.comes_in(port, "/", "ana"), False)

    def test_names(self):
        ana, spaced = self.user("ana"), self.user("bo and cy")
        self.team("Site Reliability", ana, spaced)
        self.team("Nobody")
        status, said = self.once("htfiles.py", self.group_file, self.cursor)
        self.assertEqual((status, self.group_file.read_text()), (0, "nobody:\nsite-reliability: ana\n"))
        self.assertIn("bo and cy is left out of site-reliability", said)


class Gitea(Recipe):
    """The stand-in answers as Gitea's API says: lists in pages, 204 for a change, 404 for who isn't there, 403 without a token."""

    def setUp(self):
        super().setUp()
        account = lambda name, source: {"login": f"{name}-git", "email": f"{name}@Contoso.example", "source_id": source}
        self.accounts = [account(name, 2) for name in ["ana", "bo", "cy"]]
        # Somebody who made an account of their own with another one's address.
        self.accounts.append({**account("bo", 0), "login": "impostor"})
        self.accounts += [account(f"other{number}", 2) for number in range(60)]
        self.members = {1: {"root"}, 7: {"other1-git"}, 8: {"other2-git"}}
        names = {1: "Owners", 7: "sre", 8: "by-hand"}
        asked = self.asked = []
        test = self

        class Answer(BaseHTTPRequestHandler):
            def answer(self):
                path, _, query = self.path.removeprefix("/api/v1").partition("?")
                status, body = 404, {"message": "Not Found"}
                if self.headers["Authorization"] != "token of-an-administrator":
                    status = 403
                elif path == "/admin/users":
                    status, body = 200, test.accounts
                elif path == "/orgs/contoso/teams":
                    status, body = 200, [{"id": number, "name": name} for number, name in names.items()]
                elif found := re.fullmatch(r"/teams/(\d+)/members", path):
                    status, body = 200, [{"login": login} for login in sorted(test.members[int(found[1])])]
                elif found := re.fullmatch(r"/teams/(\d+)/members/([^/]+)", path):
                    asked.append((self.command, found[1], found[2]))
                    if any(one["login"] == found[2] for one in test.accounts):
                        change = {"PUT": set.add, "DELETE": set.discard}[self.command]
                        change(test.members[int(found[1])], found[2])
                        status, body = 204, None
                if status == 200:
                    limits = dict(pair.split("=") for pair in query.split("&"))
                    first = (int(limits["page"]) - 1) * int(limits["limit"])
                    body = body[first : first + int(limits["limit"])]
                data = b"" if body is None else json.dumps(body).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            do_GET = do_PUT = do_DELETE = answer

            def log_message(self, *words):
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        self.addCleanup(server.server_close)
        self.addCleanup(server.shutdown)
        url = f"http://127.0.0.1:{server.server_port}"
        self.environment |= {"GITEA_URL": url, "GITEA_TOKEN": "of-an-administrator", "GITEA_SOURCE": "2"}

    def test_life(self):
        def seen():
            return {login.removesuffix("-git") for login in self.members[7]} or None

        self.life(lambda: self.recipe("gitea.py", "contoso", "SRE", self.cursor), seen)
        self.assertEqual((self.members[1], self.members[8]), ({"root"}, {"other2-git"}), "other teams are not touched")
        self.assertNotIn("impostor", [login for _, _, login in self.asked])
        # Everything is as it should be: again, from nothing, it asks for no change.
        self.cursor.unlink()
        before = len(self.asked)
        self.assertEqual(self.once("gitea.py", "contoso", "SRE", self.cursor), (0, ""))
        self.assertEqual(len(self.asked), before)

    def test_mistakes(self):
        self.assertEqual(self.once("gitea.py", "contoso", "SRE,Owners", self.cursor)[0], 1)
        status, said = self.once("gitea.py", "contoso", "SRE,Absent", self.cursor)
        self.assertEqual(status, 1)
        self.assertIn("contoso has no team Absent", said)
        self.environment["GITEA_TOKEN"] = "wrong"
        status, said = self.once("gitea.py", "contoso", "SRE", self.cursor)
        self.assertEqual(status, 1)
        self.assertIn("403", said)
        self.assertEqual((self.asked, self.cursor.exists()), ([], False))


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    PROGRAM = str(Path(sys.argv.pop(1)).resolve())
    unittest.main(verbosity=2)
