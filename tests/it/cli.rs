//! The command line beside a running server: what it prints, where, and how it ends.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Output};

use serde_json::{Value, json};

use crate::support::Server;
use crate::tenant::{Tenant, run};

const USER: &str = "urn:ietf:params:scim:schemas:core:2.0:User";
const GROUP: &str = "urn:ietf:params:scim:schemas:core:2.0:Group";

/// A command that must fail with this exit code; its standard error. Nothing may be on standard output.
#[track_caller]
fn fails(server: &Server, code: i32, arguments: &[&str]) -> String {
    let output = server.rollcall(arguments);
    assert_eq!(output.status.code(), Some(code), "{arguments:?}");
    assert!(output.stdout.is_empty(), "{arguments:?}");
    String::from_utf8(output.stderr).unwrap()
}

#[track_caller]
fn rows(server: &Server, arguments: &[&str]) -> Vec<Value> {
    let mut all = arguments.to_vec();
    all.extend(["-o", "json"]);
    serde_json::from_str(&run(server, &all)).unwrap()
}

/// The status that a token gets.
fn status(server: &Server, token: &str) -> u16 {
    server
        .anyone()
        .with_token(token)
        .get("/scim/v2/Users")
        .status
}

#[test]
fn tenants_are_made_listed_renamed_paused_and_deleted() {
    let server = Server::start();
    let tenant = Tenant::create(&server, "Contoso");
    assert!(fails(&server, 1, &["tenant", "create", "CONTOSO"]).contains("there already"));
    assert!(fails(&server, 1, &["tenant", "create", " \t "]).contains("1 to 100 characters"));
    run(&server, &["tenant", "rename", "contoso", "Fabrikam"]);
    assert!(fails(&server, 1, &["tenant", "pause", "Contoso"]).contains("no tenant called"));

    assert_eq!(status(&server, &tenant.token), 200);
    run(&server, &["tenant", "pause", "Fabrikam"]);
    let answer = server
        .anyone()
        .with_token(&tenant.token)
        .get("/scim/v2/Users");
    assert_eq!(
        (answer.status, answer.header("Retry-After").is_some()),
        (503, true)
    );
    assert!(rows(&server, &["tenant", "list"])[0]["paused"].is_string());
    run(&server, &["tenant", "resume", "Fabrikam"]);
    assert_eq!(status(&server, &tenant.token), 200);

    assert!(fails(&server, 1, &["tenant", "delete", "Fabrikam"]).contains("--yes"));
    run(&server, &["tenant", "delete", "Fabrikam", "--yes"]);
    assert_eq!(status(&server, &tenant.token), 401);
    assert_eq!(rows(&server, &["tenant", "list"]), Vec::<Value>::new());
}

#[test]
fn names_can_be_typed_and_pasted() {
    let server = Server::start();
    let name = "Café & 'Söhne' GmbH";
    let tenant = Tenant::create(&server, name);
    assert_eq!(status(&server, &tenant.token), 200);
    assert_eq!(rows(&server, &["tenant", "list"])[0]["name"], json!(name));
    for bad in ["--", "-x", "a\nb", "\u{1b}[31m", &"x".repeat(101)] {
        let said = fails(&server, 1, &["tenant", "create", "--", bad]);
        assert!(said.contains("1 to 100 characters"), "{bad:?}: {said}");
    }
    let made = server.rollcall(&["tenant", "create", "Two words"]);
    let said = String::from_utf8(made.stderr).unwrap();
    assert!(said.contains("--tenant \"Two words\""), "{said}");
    assert!(made.stdout.is_empty());
}

#[test]
fn tokens_are_shown_once_live_side_by_side_and_end() {
    let server = Server::start();
    let first = Tenant::create(&server, "contoso").token;
    let made = run(
        &server,
        &[
            "token", "create", "--tenant", "contoso", "--name", "second", "-o", "json",
        ],
    );
    let second: Value = serde_json::from_str(&made).unwrap();
    let secret = second["token"].as_str().unwrap();
    assert_eq!(
        [status(&server, &first), status(&server, secret)],
        [200, 200]
    );

    let listed = run(
        &server,
        &["token", "list", "--tenant", "contoso", "-o", "json"],
    );
    assert!(
        !listed.contains(secret) && !listed.contains(&first),
        "never the secrets"
    );
    run(
        &server,
        &[
            "token",
            "revoke",
            "--tenant",
            "contoso",
            &second["id"].to_string(),
        ],
    );
    assert_eq!(
        [status(&server, &first), status(&server, secret)],
        [200, 401]
    );
    assert!(
        fails(
            &server,
            1,
            &["token", "revoke", "--tenant", "contoso", "99"]
        )
        .contains("no token 99")
    );

    let api = run(
        &server,
        &[
            "token",
            "create",
            "--tenant",
            "contoso",
            "--api",
            "--expires",
            "1",
        ],
    );
    assert!(api.starts_with("rca_"));
    assert_eq!(status(&server, &api), 401, "a token for apps opens no SCIM");
    let states: Vec<(Value, Value)> = rows(&server, &["token", "list", "--tenant", "contoso"])
        .into_iter()
        .map(|row| (row["state"].clone(), row["expires"].is_string().into()))
        .collect();
    let (valid, revoked) = (json!("valid"), json!("revoked"));
    assert_eq!(
        states,
        [
            (valid.clone(), json!(true)),
            (revoked, json!(false)),
            (valid, json!(false))
        ],
        "newest first"
    );
}

#[test]
fn users_and_teams_are_listed_and_shown() {
    let server = Server::start();
    let mut client = Tenant::create(&server, "contoso").client();
    let ana = client.create(
        "/Users",
        &json!({ "schemas": [USER], "userName": "ana", "title": "\u{1b}[31mred" }),
    );
    client.create(
        "/Users",
        &json!({ "schemas": [USER], "userName": "bob", "active": false }),
    );
    let members = json!([{ "value": ana }]);
    client.create(
        "/Groups",
        &json!({ "schemas": [GROUP], "displayName": "SRE\u{7}", "members": members }),
    );

    let users = rows(&server, &["user", "list", "--tenant", "contoso"]);
    let names: Vec<&Value> = users.iter().map(|user| &user["userName"]).collect();
    assert_eq!(names, [&json!("ana"), &json!("bob")]);
    assert_eq!(
        (&users[0]["teams"], &users[1]["active"]),
        (&json!(1), &json!(false))
    );
    let some = rows(
        &server,
        &[
            "user",
            "list",
            "--tenant",
            "contoso",
            "--filter",
            "active eq false",
        ],
    );
    assert_eq!(some.len(), 1);
    assert!(
        fails(
            &server,
            1,
            &[
                "user",
                "list",
                "--tenant",
                "contoso",
                "--filter",
                "shoe eq 1"
            ]
        )
        .contains("shoe")
    );

    for name in ["ANA", &ana] {
        let shown: Value = serde_json::from_str(&run(
            &server,
            &["user", "show", "--tenant", "contoso", name],
        ))
        .unwrap();
        assert_eq!(
            (&shown["userName"], &shown["groups"][0]["display"]),
            (&json!("ana"), &json!("SRE\u{7}"))
        );
    }
    assert!(
        fails(
            &server,
            1,
            &["team", "show", "--tenant", "contoso", "Nobody"]
        )
        .contains("no team \"Nobody\"")
    );
    let table = run(&server, &["team", "list", "--tenant", "contoso"]);
    assert!(
        table.contains("SRE\u{fffd}"),
        "a stranger's control characters never reach the terminal: {table:?}"
    );
}

#[test]
fn wrong_usage_is_two_and_what_cannot_be_done_is_one() {
    let server = Server::start();
    for arguments in [
        &["tenant"][..],
        &["token", "create"],
        &["serve", "--max-body", "1"],
        &["nonsense"],
    ] {
        assert_eq!(
            server.rollcall(arguments).status.code(),
            Some(2),
            "{arguments:?}"
        );
    }
    let program = |arguments: &[&str]| -> Output {
        let folder = tempfile::tempdir().unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_rollcall"));
        command
            .arg("--data")
            .arg(folder.path().join("none"))
            .args(arguments)
            .output()
            .unwrap()
    };
    for (arguments, said) in [
        (&["tenant", "list"][..], "no rollcall.db"),
        (
            &["serve", "--dev", "--listen", "0.0.0.0:0"],
            "not a loopback address",
        ),
        (
            &["serve", "--listen", &server.address.to_string()],
            "cannot listen",
        ),
    ] {
        let output = program(arguments);
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{arguments:?} {stderr}");
        assert!(stderr.contains(said), "{arguments:?} {stderr}");
    }
    for arguments in [
        ["--public-url", "https://x/y"],
        ["--listen", "nowhere"],
        ["--tls-cert", "alone"],
    ] {
        let output = program(&[&["serve"], &arguments[..]].concat());
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
    }
    assert_eq!(
        program(&["version"]).stdout,
        format!("rollcall {}\n", env!("CARGO_PKG_VERSION")).into_bytes()
    );
}

#[test]
fn dev_keeps_its_token_and_nobody_else_can_read_the_files() {
    let server = Server::start_dev();
    assert!(server.settings.starts_with("http://127.0.0.1:"));
    assert_eq!(server.client().get("/scim/v2/Users").status, 200);
    let mode = |name: &str| {
        fs::metadata(server.data().join(name))
            .unwrap()
            .permissions()
            .mode()
            & 0o777
    };
    assert_eq!(
        [mode(""), mode("rollcall.db"), mode("dev-token")],
        [0o700, 0o600, 0o600]
    );
    let kept = fs::read_to_string(server.data().join("dev-token")).unwrap();
    assert_eq!(kept, server.token);
    assert_eq!(
        rows(&server, &["token", "list", "--tenant", "dev"]).len(),
        1
    );
}

#[test]
fn a_reader_that_goes_away_is_no_failure() {
    let server = Server::start_dev();
    let folder = server.data();
    let script = "\"$0\" --data \"$1\" tenant list | true; exit ${PIPESTATUS[0]}";
    let output = Command::new("bash")
        .args(["-c", script, env!("CARGO_BIN_EXE_rollcall")])
        .arg(folder)
        .output()
        .unwrap();
    assert_eq!(
        (output.status.code(), output.stderr.as_slice()),
        (Some(0), &b""[..])
    );
}
