//! `rollcall check`: nothing on ourselves, in any profile; each fault of a server that has some; clear words where there is no
//! SCIM server; and nothing left behind.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Command, Output, Stdio};
use std::thread;

use serde_json::{Value, json};

use crate::support::Server;
use crate::tenant::json_of;

/// We ask faster than any provider.
const FAST: [&str; 4] = ["--scim-rate", "100000", "--scim-burst", "100000"];

/// A word that is in no output.
const TOKEN: &str = "the-token-that-nobody-prints";

/// Runs it with a token in the environment.
fn check(url: &str, token: &str, options: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_rollcall"))
        .args(["check", url])
        .args(options)
        .env("ROLLCALL_CHECK_TOKEN", token)
        .output()
        .unwrap()
}

fn url_of(address: SocketAddr) -> String {
    format!("http://{address}/scim/v2")
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// The report, and the state of each check.
#[track_caller]
fn report(output: &Output) -> (Value, BTreeMap<String, String>) {
    let said = String::from_utf8_lossy(&output.stdout);
    let report: Value = serde_json::from_str(&said)
        .unwrap_or_else(|error| panic!("{error}: {said} {}", stderr(output)));
    let text = |check: &Value, name: &str| check[name].as_str().unwrap().to_owned();
    let checks = report["checks"].as_array().unwrap().iter();
    let states = checks
        .map(|check| (text(check, "check"), text(check, "state")))
        .collect();
    (report, states)
}

/// How many users and groups there are, deleted ones left out.
fn count(server: &Server) -> [Value; 2] {
    ["/scim/v2/Users?count=0", "/scim/v2/Groups?count=0"]
        .map(|path| json_of(&server.client().get(path))["totalResults"].clone())
}

#[test]
fn nothing_is_found_on_ourselves_in_any_profile() {
    let server = Server::start_dev_with(&FAST);
    let before = count(&server);
    for (profile, fewest) in [("rfc", 140), ("entra", 25), ("okta", 15)] {
        let options = ["--profile", profile, "-o", "json"];
        let output = check(&url_of(server.address), &server.token, &options);
        let (report, states) = report(&output);
        let found: Vec<&Value> = report["checks"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|one| one["state"] != "ok")
            .collect();
        // A token of the tenant's is nobody's, so that there is no /Me for it.
        let skipped = |one: &Value| one["state"] == "skip" && one["check"] == "me-says-where";
        assert!(found.iter().all(|one| skipped(one)), "{found:#?}");
        assert!(
            states.len() >= fewest,
            "only {} checks of {profile}",
            states.len()
        );
        assert_eq!(report["leftBehind"], json!([]));
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    }
    assert_eq!(count(&server), before, "something was left behind");
}

#[test]
fn a_server_with_faults_is_told_of_each() {
    let address = Faulty { deletes: true }.start();
    let names = "create-user,create-duplicate,filter-eq,filter-finds-nobody,patch-replace,delete-user,bulk-creates,group-create,\
                 entra-test-connection,okta-find-nobody";
    let options = ["--profile", "rfc,entra,okta", "--only", names, "-o", "json"];
    let output = check(&url_of(address), TOKEN, &options);
    let (report, states) = report(&output);
    let expected = [
        ("bulk-creates", "skip"),
        ("create-duplicate", "fail"),
        ("create-user", "fail"),
        ("delete-user", "ok"),
        ("entra-test-connection", "fail"),
        ("filter-eq", "ok"),
        ("filter-finds-nobody", "fail"),
        ("group-create", "skip"),
        ("okta-find-nobody", "skip"),
        ("patch-replace", "fail"),
    ];
    let expected =
        BTreeMap::from(expected.map(|(name, state)| (name.to_owned(), state.to_owned())));
    assert_eq!(states, expected, "{report:#}");
    let note = |name: &str| {
        let mut checks = report["checks"].as_array().unwrap().iter();
        checks.find(|one| one["check"] == name).unwrap()["notes"][0]
            .as_str()
            .unwrap()
            .to_owned()
    };
    assert_eq!(
        note("create-duplicate"),
        "POST /Users: expected 409, found 201"
    );
    assert_eq!(
        note("create-user"),
        "POST /Users: the header Location: expected a simple value, found none"
    );
    assert!(
        note("patch-replace").ends_with(r#"title: expected "After", found "Before""#),
        "{}",
        note("patch-replace")
    );
    assert_eq!(
        note("bulk-creates"),
        "its ServiceProviderConfig doesn’t say that bulk is supported"
    );
    assert_eq!(note("group-create"), "its ResourceTypes have no Group");
    assert_eq!(output.status.code(), Some(3));
    assert_eq!(stderr(&output), "");
}

#[test]
fn the_conversation_is_shown_without_the_token() {
    let address = Faulty { deletes: true }.start();
    let folder = tempfile::tempdir().unwrap();
    let junit = folder.path().join("junit.xml");
    let options = [
        "--only",
        "create-*",
        "-v",
        "--junit",
        junit.to_str().unwrap(),
    ];
    let output = check(&url_of(address), TOKEN, &options);
    assert_eq!(output.status.code(), Some(3), "{}", stderr(&output));
    let said = String::from_utf8(output.stdout).unwrap();
    for words in [
        "FAIL  create-duplicate ",
        "(RFC 7644 §3.3)\n",
        "\n      > POST /Users\n",
        "\n      < 201\n",
        "checks: ",
    ] {
        assert!(said.contains(words), "no {words:?} in {said}");
    }
    let junit = std::fs::read_to_string(junit).unwrap();
    assert!(
        junit.contains(r#"<failure message="POST /Users: expected 409, found 201">"#),
        "{junit}"
    );
    for text in [said, junit] {
        assert!(
            !text.contains(TOKEN) && !text.contains("Authorization"),
            "{text}"
        );
    }
}

#[test]
fn what_cannot_be_deleted_is_named() {
    let address = Faulty { deletes: false }.start();
    let options = ["--only", "filter-eq", "-o", "json"];
    let output = check(&url_of(address), TOKEN, &options);
    let (report, states) = report(&output);
    assert_eq!(states["filter-eq"], "ok");
    let left = report["leftBehind"].as_array().unwrap();
    assert_eq!(left.len(), 2, "{report:#}");
    assert!(
        left.iter()
            .all(|one| one["why"] == "DELETE is answered 500"),
        "{left:?}"
    );
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(
        stderr(&output),
        "rollcall: 2 of what was made could not be deleted\n"
    );
}

#[test]
fn where_nothing_can_be_checked_it_says_why() {
    let server = Server::start_dev();
    let nobody = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let page = format!("http://{}/sign-in", server.address);
    for (url, token, words) in [
        (url_of(nobody), TOKEN, "no answer: "),
        (
            url_of(server.address),
            TOKEN,
            "the server refuses the token: 401 for GET /Users",
        ),
        (
            url_of(server.address),
            "",
            "the server wants a token: 401 for GET /Users",
        ),
        (
            page,
            server.token.as_str(),
            "that is no SCIM server: GET /Users is answered 404 with ",
        ),
        (
            "scim.example.org/v2".to_owned(),
            TOKEN,
            "the base URL begins with neither https:// nor http://",
        ),
        (
            url_of(server.address),
            "a\nb",
            "the token or a header has characters that can’t be sent",
        ),
    ] {
        let output = check(&url, token, &[]);
        assert_eq!(output.status.code(), Some(1), "{url}");
        let said = stderr(&output);
        assert!(said.contains(words), "{said}");
        assert!(
            !said.contains(&server.token) && !said.contains(TOKEN),
            "{said}"
        );
        assert!(output.stdout.is_empty());
    }
    let output = check(
        &url_of(server.address),
        &server.token,
        &["--only", "nothing-of-the-sort"],
    );
    assert!(
        stderr(&output).contains("no check of these profiles is called \"nothing-of-the-sort\"")
    );
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn the_token_may_be_in_a_file() {
    let server = Server::start_dev_with(&FAST);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    std::fs::write(&file, format!("{}\n", server.token)).unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_rollcall"))
        .args([
            "check",
            &url_of(server.address),
            "--only",
            "access-*,delete-user",
        ])
        .arg("--token-file")
        .arg(file)
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
}

#[test]
fn a_server_that_is_asked_too_often_is_waited_for() {
    let server = Server::start_dev_with(&["--scim-rate", "25", "--scim-burst", "25"]);
    let options = ["--only", "group-*", "-o", "json"];
    let output = check(&url_of(server.address), &server.token, &options);
    let (report, states) = report(&output);
    assert!(states.values().all(|state| state == "ok"), "{report:#}");
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
}

#[test]
fn the_list_needs_no_server() {
    let output = Command::new(env!("CARGO_BIN_EXE_rollcall"))
        .args(["check", "--list"])
        .output()
        .unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    for words in [
        "rfc      patch-remove ",
        "RFC 7644 §3.5.2.2",
        "entra    entra-test-connection",
        "okta     okta-group-rename",
    ] {
        assert!(said.contains(words), "no {words:?} in {said}");
    }
}

#[test]
fn an_interruption_cleans_up() {
    let server = Server::start_dev_with(&FAST);
    let before = count(&server);
    let mut child = Command::new(env!("CARGO_BIN_EXE_rollcall"))
        .args(["check", &url_of(server.address)])
        .env("ROLLCALL_CHECK_TOKEN", &server.token)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert!(
        lines.any(|line| line.unwrap().contains("group-create")),
        "it ended too early"
    );
    let interrupted = Command::new("kill")
        .args(["-INT", &child.id().to_string()])
        .status()
        .unwrap();
    assert!(interrupted.success());
    let last = lines.last().unwrap().unwrap();
    assert!(last.contains(" checks: "), "{last}");
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(
        stderr(&output).ends_with(": interrupted\n"),
        "{}",
        stderr(&output)
    );
    assert_eq!(count(&server), before, "something was left behind");
}

/// A SCIM server of users that creates everybody twice, without saying where, ignores PATCH, and takes nobody for an error.
#[derive(Clone, Copy)]
struct Faulty {
    deletes: bool,
}

impl Faulty {
    /// Serves one connection after the other, until the tests end.
    fn start(self) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        thread::spawn(move || {
            let mut users: Vec<Value> = Vec::new();
            let mut made = 0;
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let Some((method, path, body)) = received(&stream) else {
                    continue;
                };
                let (status, answer) = self.answer(&method, &path, &body, &mut users, &mut made);
                let answer = answer.map(|answer| answer.to_string()).unwrap_or_default();
                let length = answer.len();
                write!(
                    stream,
                    "HTTP/1.1 {status} So\r\nContent-Type: application/scim+json\r\nContent-Length: {length}\r\n\
                     Connection: close\r\n\r\n{answer}"
                )
                .unwrap();
            }
        });
        address
    }

    fn answer(
        self,
        method: &str,
        path: &str,
        body: &Value,
        users: &mut Vec<Value>,
        made: &mut u32,
    ) -> (u16, Option<Value>) {
        let path = path.strip_prefix("/scim/v2").unwrap();
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        let at = path
            .strip_prefix("/Users/")
            .and_then(|id| users.iter().position(|user| user["id"] == id));
        let list = |found: &[Value]| {
            let schemas = ["urn:ietf:params:scim:api:messages:2.0:ListResponse"];
            json!({ "schemas": schemas, "totalResults": found.len(), "Resources": found })
        };
        match (method, path, at) {
            ("GET", "/ServiceProviderConfig", _) => {
                let yes = json!({ "supported": true });
                let schemas = ["urn:ietf:params:scim:schemas:core:2.0:ServiceProviderConfig"];
                (
                    200,
                    Some(
                        json!({ "schemas": schemas, "patch": yes, "filter": yes, "bulk": { "supported": false } }),
                    ),
                )
            }
            ("GET", "/ResourceTypes", _) => {
                let user = json!({ "name": "User", "schema": "urn:ietf:params:scim:schemas:core:2.0:User" });
                (200, Some(list(&[user])))
            }
            ("GET", "/Users", _) => {
                let sought = query.split("%22").nth(1);
                let found = users
                    .iter()
                    .filter(|user| sought.is_none_or(|sought| user["userName"] == sought));
                let found: Vec<Value> = found.cloned().collect();
                match sought {
                    Some(_) if found.is_empty() => (404, None),
                    _ => (200, Some(list(&found))),
                }
            }
            ("POST", "/Users", _) => {
                *made += 1;
                let mut user = body.clone();
                user["id"] = json!(made.to_string());
                users.push(user.clone());
                (201, Some(user))
            }
            ("GET", _, Some(at)) => (200, Some(users[at].clone())),
            ("PATCH", _, Some(_)) => (204, None),
            ("DELETE", _, Some(at)) if self.deletes => {
                users.remove(at);
                (204, None)
            }
            ("DELETE", _, Some(_)) => (500, None),
            _ => (404, None),
        }
    }
}

/// Method, path and JSON of a request.
fn received(stream: &TcpStream) -> Option<(String, String, Value)> {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line).ok()?;
    let mut words = line.split(' ').map(str::to_owned);
    let (method, path) = (words.next()?, words.next()?);
    let mut length = 0;
    loop {
        let mut field = String::new();
        reader.read_line(&mut field).ok()?;
        let field = field.trim().to_ascii_lowercase();
        if field.is_empty() {
            break;
        }
        if let Some(value) = field.strip_prefix("content-length:") {
            length = value.trim().parse().ok()?;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some((
        method,
        path,
        serde_json::from_slice(&body).unwrap_or_default(),
    ))
}
