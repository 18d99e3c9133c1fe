//! The provisioning log: what each request did in words, and what must never be in it.

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::browser::Browser;
use crate::support::{PATIENCE, Server};
use crate::tenant::{ScimClient, Tenant, run};

const USER: &str = "urn:ietf:params:scim:schemas:core:2.0:User";
const GROUP: &str = "urn:ietf:params:scim:schemas:core:2.0:Group";

/// The log once it has `count` lines; reads reach it a moment after their answers.
#[track_caller]
fn log(server: &Server, count: usize) -> Vec<Value> {
    let start = Instant::now();
    loop {
        let text = run(server, &["log", "-o", "json", "-n", "1000"]);
        let lines: Vec<Value> = text
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        if lines.len() >= count {
            return lines;
        }
        assert!(
            start.elapsed() < PATIENCE,
            "{} of {count} lines",
            lines.len()
        );
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn actions(lines: &[Value]) -> Vec<&str> {
    lines
        .iter()
        .map(|line| line["action"].as_str().unwrap())
        .collect()
}

#[test]
fn says_in_words_what_each_request_did() {
    let server = Server::start();
    let mut client = Tenant::create(&server, "contoso").client();
    let ana = client.create(
        "/Users",
        &json!({ "schemas": [USER], "userName": "ana@contoso.example", "shoeSize": 43 }),
    );
    let team = client.create(
        "/Groups",
        &json!({ "schemas": [GROUP], "displayName": "SRE" }),
    );
    let (user, group) = (format!("/Users/{ana}"), format!("/Groups/{team}"));
    let add = json!([{ "op": "Add", "path": "members", "value": [{ "value": ana }] }]);
    client.patch(&group, add);
    client.patch(
        &group,
        json!([{ "op": "Replace", "path": "displayName", "value": "SRE EU" }]),
    );
    client.patch(
        &user,
        json!([{ "op": "Replace", "path": "active", "value": "False" }]),
    );
    client.patch(
        &user,
        json!([{ "op": "Replace", "path": "active", "value": "False" }]),
    );
    client.patch(&user, json!([{ "op": "Replace", "path": "active", "value": "True" }, { "op": "Add", "path": "title", "value": "Chief" }]));
    client.patch(
        &user,
        json!([{ "op": "Replace", "path": "userName", "value": "anna@contoso.example" }]),
    );
    client.patch(
        &group,
        json!([{ "op": "Remove", "path": "members", "value": [{ "value": ana }] }]),
    );
    client.find("/Users", "userName eq \"nobody\"");
    client.expect(204, "DELETE", &user, None);
    client.expect(404, "GET", &user, None);

    let lines = log(&server, 12);
    assert_eq!(
        actions(&lines),
        [
            "created user ana@contoso.example",
            "created team SRE",
            "added 1 member to team SRE",
            "renamed team SRE to team SRE EU",
            "deactivated user ana@contoso.example",
            "changed nothing of user ana@contoso.example: all of it was so already",
            "reactivated user ana@contoso.example; changed title of user ana@contoso.example",
            "renamed user ana@contoso.example to user anna@contoso.example",
            "removed 1 member from team SRE EU",
            "looked for users with userName eq \"nobody\": 0 found",
            "deleted user anna@contoso.example",
            "refused to read a user",
        ]
    );
    let first = &lines[0];
    assert_eq!(first["ignored"], json!(["shoeSize"]));
    assert_eq!(
        (&first["subject"], &first["status"], &first["tenant"]),
        (&json!(ana), &json!(201), &json!("contoso"))
    );
    assert_eq!(
        (&first["method"], &first["target"]),
        (&json!("POST"), &json!("/scim/v2/Users"))
    );
    assert_eq!(
        (&first["requestBody"], &first["token"]),
        (&Value::Null, &json!("SCIM"))
    );
    assert!(first["durationMs"].as_f64().unwrap() > 0.0 && first["requestId"].is_string());
    let people = run(&server, &["log", "--tenant", "contoso", "-n", "1"]);
    assert!(
        people.contains("404  refused to read a user: there is no User with id"),
        "{people}"
    );
}

#[test]
fn keeps_the_body_and_the_reason_of_what_was_refused() {
    let server = Server::start();
    let mut client = Tenant::create(&server, "contoso").client();
    let body = json!({ "schemas": [USER], "userName": 7 });
    let answer = client.expect(400, "POST", "/Users", Some(&body));
    client.expect(501, "GET", "/Me", None);
    let lines = log(&server, 2);
    assert_eq!(lines[0]["detail"], answer["detail"]);
    assert_eq!(
        (&lines[0]["status"], &lines[0]["scimType"]),
        (&json!(400), &json!("invalidValue"))
    );
    let kept: Value = serde_json::from_str(lines[0]["requestBody"].as_str().unwrap()).unwrap();
    let replied: Value = serde_json::from_str(lines[0]["responseBody"].as_str().unwrap()).unwrap();
    assert_eq!((kept, replied), (body, answer));
    assert_eq!(lines[1]["status"], json!(501));
}

#[test]
fn tells_a_tenant_why_its_own_token_is_refused() {
    let server = Server::start();
    let tenant = Tenant::create(&server, "contoso");
    run(&server, &["token", "revoke", "--tenant", "contoso", "1"]);
    ScimClient::new(&server, "rcs_of_nobody").call("GET", "/Users", None);
    tenant.client().expect(401, "GET", "/Users", None);
    let lines = log(&server, 1);
    assert_eq!((lines.len(), &lines[0]["status"]), (1, &json!(401)));
    assert!(lines[0]["detail"].as_str().unwrap().contains("revoked"));
}

#[test]
fn says_which_removal_made_removals_unusual() {
    let server = Server::start();
    let mut client = Tenant::create(&server, "contoso").client();
    let teams: Vec<String> = (0..6)
        .map(|n| {
            client.create(
                "/Groups",
                &json!({ "schemas": [GROUP], "displayName": format!("t{n}") }),
            )
        })
        .collect();
    for team in &teams {
        std::thread::sleep(Duration::from_millis(2)); // each in a millisecond of its own
        client.expect(204, "DELETE", &format!("/Groups/{team}"), None);
    }
    let lines = log(&server, 12);
    let said: Vec<bool> = actions(&lines[6..])
        .iter()
        .map(|action| action.contains("unusual"))
        .collect();
    assert_eq!(said, [false, false, false, false, true, false]);
}

#[test]
fn dev_keeps_all_bodies() {
    let server = Server::start_dev();
    let mut client = ScimClient::new(&server, &server.token);
    let id = client.create("/Users", &json!({ "schemas": [USER], "userName": "ana" }));
    client.get(&format!("/Users/{id}"));
    for line in log(&server, 2) {
        assert!(
            line["responseBody"]
                .as_str()
                .unwrap()
                .contains("\"userName\":\"ana\"")
        );
    }
}

/// A running `rollcall log --follow`. It ends with the test, also where the test fails.
struct Follower {
    child: Child,
    lines: Receiver<String>,
}

impl Follower {
    #[track_caller]
    fn start(server: &Server, options: &[&str]) -> Follower {
        let mut child = Command::new(env!("CARGO_BIN_EXE_rollcall"))
            .arg("--data")
            .arg(server.data())
            .args(["log", "--follow"])
            .args(options)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (sender, lines) = mpsc::channel();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        thread::spawn(move || {
            stdout
                .lines()
                .map_while(Result::ok)
                .try_for_each(|line| sender.send(line))
        });
        Follower { child, lines }
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        // Both fail only if it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn goes_on_with_what_is_added() {
    let server = Server::start();
    let mut client = Tenant::create(&server, "contoso").client();
    let follower = Follower::start(&server, &[]);
    for name in ["ana", "bob", "cy"] {
        client.create("/Users", &json!({ "schemas": [USER], "userName": name }));
        let line = follower.lines.recv_timeout(PATIENCE).unwrap();
        assert!(line.contains(&format!("created user {name}")), "{line}");
    }
}

#[test]
fn follows_from_now_on_where_no_line_is_asked_for() {
    let server = Server::start();
    let mut client = Tenant::create(&server, "contoso").client();
    client.create(
        "/Users",
        &json!({ "schemas": [USER], "userName": "before" }),
    );
    assert_eq!(run(&server, &["log", "-n", "0"]), "");
    let follower = Follower::start(&server, &["-n", "0"]);
    // When it has begun to follow is not known, so go on adding until it has seen something.
    let start = Instant::now();
    let mut count = 0;
    let line = loop {
        assert!(start.elapsed() < PATIENCE, "nothing is followed");
        count += 1;
        let name = format!("after-{count}");
        client.create("/Users", &json!({ "schemas": [USER], "userName": name }));
        if let Ok(line) = follower.lines.recv_timeout(Duration::from_millis(100)) {
            break line;
        }
    };
    assert!(line.contains("created user after-"), "{line}");
}

#[test]
fn no_secret_is_ever_in_the_file() {
    let server = Server::start_dev();
    let mut client = ScimClient::new(&server, &server.token);
    let secret = "Tr0ub4dor-and-3";
    let id = client.create(
        "/Users",
        &json!({ "schemas": [USER], "userName": "ana", "password": secret }),
    );
    let path = format!("/Users/{id}");
    let operations = |operation: Value| json!({ "schemas": ["urn:ietf:params:scim:api:messages:2.0:PatchOp"], "Operations": [operation] });
    for operation in [
        json!({ "op": "replace", "path": "password", "value": secret }),
        json!({ "op": "replace", "value": { "password": secret } }),
        json!({ "op": "replace", "path": format!("{USER}:password"), "value": secret }),
    ] {
        client.call("PATCH", &path, Some(&operations(operation)));
    }
    client.call(
        "GET",
        &format!("/Users?filter=password eq \"{secret}\""),
        None,
    );
    client.bytes(
        "POST",
        "/Users",
        Some(format!("{{\"password\": \"{secret}\", ").as_bytes()),
    );
    client.bytes(
        "POST",
        "/Users",
        Some(format!("{{\"pass\\u0077ord\": \"{secret}\"}}").as_bytes()),
    );
    let token = server.token.clone();
    client.call("GET", &format!("/Users?access_token={token}"), None);
    client.call(
        "POST",
        "/Users",
        Some(&json!({ "schemas": [], "userName": token })),
    );
    for place in [
        format!("/Users/{token}"),
        format!("/{token}"),
        format!("/Users?filter={token} eq 1"),
        format!("/Users?sortBy={token}"),
        format!("/Users?filter=userName eq \"{token}\""),
    ] {
        client.call("GET", &place, None);
    }
    let search = json!({
        "schemas": ["urn:ietf:params:scim:api:messages:2.0:SearchRequest"],
        "filter": format!("password eq \"{secret}\""),
    });
    client.call("POST", "/.search/", Some(&search));
    for operation in [
        json!({ "op": "replace", "path": " password", "value": secret }),
        json!({ "op": "replace", "path": format!("password[value eq \"{secret}\"]"), "value": 1 }),
        json!({ "op": "replace", "Path": "password", "Value": secret }),
    ] {
        client.call("PATCH", &path, Some(&operations(operation)));
    }
    log(&server, 18);

    let mut bytes = Vec::new();
    for name in ["rollcall.db", "rollcall.db-wal"] {
        bytes.extend(fs::read(server.data().join(name)).unwrap_or_default());
    }
    bytes.extend(server.stderr().into_bytes());
    let holds = |text: &str| {
        bytes
            .windows(text.len())
            .any(|window| window == text.as_bytes())
    };
    assert!(
        holds("looked for users") || holds("created user"),
        "the log is there"
    );
    assert!(!holds(secret), "a password");
    assert!(!holds(&token), "a token");
}

/// Who may read the journal of a machine need not be who may read the directory. What happened to whom is in the
/// provisioning log and in the events.
#[test]
fn the_server_s_own_log_names_nobody() {
    let server = Server::start();
    let tenant = Tenant::create(&server, "contoso");
    run(
        &server,
        &["tenant", "set", "contoso", "--password-sign-in", "on"],
    );
    let mut client = tenant.client();
    let person = |number: usize| {
        json!({ "schemas": [USER], "userName": format!("marker{number}@example.org"), "displayName": "Marker Person",
                "password": "Zwetschgen-Roster", "phoneNumbers": [{ "value": "+49 30 marker" }] })
    };
    let ids: Vec<String> = (0..25)
        .map(|number| client.create("/Users", &person(number)))
        .collect();
    client.expect(409, "POST", "/Users", Some(&person(0)));
    client.call("GET", "/Users?filter=displayName eq \"Marker Person", None);
    client.call("GET", "/Users/marker", None);
    client.bytes("POST", "/Users", Some(b"{\"userName\": \"marker"));
    let team = json!({ "schemas": [GROUP], "displayName": "Marker Team", "members": [{ "value": ids[0] }] });
    client.create("/Groups", &team);
    for (name, password) in [
        ("marker0@example.org", "Zwetschgen-Roster"),
        ("marker0@example.org", "wrong"),
        ("marker-nobody@example.org", "wrong"),
    ] {
        let mut browser = Browser::new(&server);
        browser.get("/sign-in");
        browser.post("/sign-in", &[("email", name), ("password", password)]);
    }
    for id in &ids {
        client.expect(204, "DELETE", &format!("/Users/{id}"), None);
    }
    let mut stranger = server.anyone().with_token("rcs_marker");
    stranger.get("/scim/v2/Users");
    // It did speak of these things.
    let said = server.stderr();
    for words in [
        "refused a sign-in from 127.0.0.1",
        "refused an unknown token from 127.0.0.1",
        "nothing is purged",
    ] {
        assert!(said.contains(words), "{said}");
    }
    assert!(!said.to_lowercase().contains("marker"), "{said}");
}
