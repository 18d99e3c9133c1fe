//! `export` and `import`: one tenant out and in, the same to the byte, or nothing at all.

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};

use crate::support::Server;
use crate::tenant::{ScimClient, Tenant, group, run, user};

/// A tenant in which there is something of everything.
struct Full {
    server: Server,
    token: String,
    /// A live user, a live team, a deleted user.
    ids: [String; 3],
}

fn full() -> Full {
    let server = Server::start();
    // So that numbers aren't by chance those of the copy.
    let other = Tenant::create(&server, "other");
    other.client().create("/Users", &user("someone", json!({})));
    let tenant = Tenant::create(&server, "Contoso é\u{1f600}");
    let name = &tenant.name;
    let second = run(
        &server,
        &[
            "token",
            "create",
            "--tenant",
            name,
            "--api",
            "--scope",
            "resources",
        ],
    );
    let gone = run(
        &server,
        &[
            "token",
            "create",
            "--tenant",
            name,
            "--name",
            "gone",
            "--expires",
            "9",
        ],
    );
    assert!(gone.starts_with("rcs_"));
    run(&server, &["token", "revoke", "--tenant", name, "4"]);
    run(
        &server,
        &[
            "role",
            "--tenant",
            name,
            "add",
            "Captain",
            "--opens-settings",
        ],
    );
    run(
        &server,
        &[
            "role",
            "--tenant",
            name,
            "map",
            "boss \"quoted\"",
            "Captain",
        ],
    );
    run(
        &server,
        &["role", "--tenant", name, "map-group", "Straße", "Admin"],
    );
    run(
        &server,
        &[
            "tenant",
            "set",
            name,
            "--retention-days",
            "60",
            "--returning-team",
            "fresh",
        ],
    );
    // Of the second, removed with its value, the tenant may have the value again.
    let attribute = ["attribute", "--tenant", name];
    run(
        &server,
        &[&attribute[..], &["add", "grade", "--matching"]].concat(),
    );
    run(
        &server,
        &[&attribute[..], &["add", "desk", "--type", "integer"]].concat(),
    );
    let mut client = tenant.client();
    let ana = client.create(
        "/Users",
        &user(
            "Ana@Example.org",
            json!({
                "externalId": "x-1", "grade": "R2", "desk": 42, "displayName": "Ana \\ \"Ana\"\n\u{7}", "roleName": "boss \"quoted\"",
                "emails": [{"value": "ana@example.org", "type": "work"}],
                "urn:example:weights": {"weight": 0.1, "exact": 1.5e-7, "whole": 12345678901234567890_u64},
            }),
        ),
    );
    run(&server, &[&attribute[..], &["remove", "desk"]].concat());
    let own = [
        "token", "create", "--tenant", name, "--api", "--name", "own",
    ];
    run(&server, &[&own[..], &["--for", "Ana@Example.org"]].concat());
    run(
        &server,
        &["account", "create", "Break@Glass.example", "--tenant", name],
    );
    let bob = client.create("/Users", &user("bob", json!({"active": false})));
    let team = client.create(
        "/Groups",
        &group(
            "STRASSE",
            json!({"members": [{"value": ana}, {"value": bob}]}),
        ),
    );
    let old_team = client.create(
        "/Groups",
        &group("old", json!({"members": [{"value": bob}]})),
    );
    for (team, name) in [(&team, "monitor"), (&old_team, "forgotten")] {
        let resource = json!({"kind": "monitor", "name": name, "data": {"ratio": 0.30000000000000004, "b": [1, null]}});
        let answer = server.anyone().with_token(&second).request(
            "POST",
            &format!("/api/v1/teams/{team}/resources"),
            &[("Content-Type", "application/json")],
            resource.to_string().as_bytes(),
        );
        assert_eq!(answer.status, 201, "{answer:?}");
    }
    client.expect(204, "DELETE", &format!("/Groups/{old_team}"), None);
    client.expect(204, "DELETE", &format!("/Users/{bob}"), None);
    client.create("/Users", &user("bob", json!({})));
    Full {
        token: tenant.token.clone(),
        ids: [ana, team, bob],
        server,
    }
}

const NAME: &str = "Contoso é\u{1f600}";

#[track_caller]
fn export(folder: &Path, more: &[&str]) -> String {
    let arguments = [&["export", "--tenant", NAME, "-"], more].concat();
    let output = rollcall(folder, &arguments, "");
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

fn rollcall(folder: &Path, arguments: &[&str], input: &str) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_rollcall"))
        .arg("--data")
        .arg(folder)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(input.as_bytes()).unwrap();
    drop(stdin);
    child.wait_with_output().unwrap()
}

#[track_caller]
fn imported(folder: &Path, copy: &str) {
    let output = rollcall(folder, &["import", "-"], copy);
    assert!(output.status.success(), "{output:?}");
}

/// An import that must fail, and change nothing; what it says.
#[track_caller]
fn refused(folder: &Path, copy: &str) -> String {
    let tenants = || rollcall(folder, &["tenant", "list", "-o", "json"], "").stdout;
    let before = tenants();
    let output = rollcall(folder, &["import", "-"], copy);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert_eq!(tenants(), before, "an import that failed left something");
    String::from_utf8(output.stderr).unwrap()
}

fn empty() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    (folder, data)
}

#[test]
fn a_copy_imported_where_nothing_is_makes_the_same_copy_and_the_same_tenant() {
    let full = full();
    for more in [&[][..], &["--events"]] {
        let copy = export(&full.server.data(), more);
        let (_folder, data) = empty();
        imported(&data, &copy);
        assert_eq!(export(&data, more), copy, "{more:?}");
        let elsewhere = Server::start_in(&data);
        let look = |server: &Server| {
            let mut client = ScimClient::new(server, &full.token);
            let list = ["/Users", "/Groups"].map(|endpoint| client.all(endpoint));
            let host = server.address.to_string();
            let mut shown = vec![json!(list).to_string().replace(&host, "HOST")];
            for command in ["user", "team"] {
                let arguments = [command, "archived", "--tenant", NAME, "-o", "json"];
                shown.push(run(server, &arguments));
            }
            let accounts = ["account", "list", "--tenant", NAME, "-o", "json"];
            shown.push(run(server, &accounts));
            let role = ["role", "--tenant", NAME, "why", "Ana@Example.org"];
            shown.push(run(server, &role));
            shown
        };
        assert_eq!(look(&elsewhere), look(&full.server), "{more:?}");
        let [_, _, bob] = &full.ids;
        let mut client = ScimClient::new(&elsewhere, &full.token);
        let found = client.find("/Users", "emails.value eq \"ANA@example.org\"");
        assert_eq!(found, [full.ids[0].clone()]);
        let found = client.find("/Users", "grade eq \"r2\"");
        assert_eq!(found, [full.ids[0].clone()]);
        let again = [
            "attribute",
            "--tenant",
            NAME,
            "add",
            "desk",
            "--type",
            "integer",
        ];
        run(&elsewhere, &again);
        assert_eq!(client.get(&format!("/Users/{}", full.ids[0]))["desk"], 42);
        client.create("/Users", &user("new", json!({})));
        let first: Value = serde_json::from_str(copy.lines().next().unwrap()).unwrap();
        let last = first["last_event"].as_i64().unwrap();
        let arguments = ["events", "--tenant", NAME, "-o", "json", "--after"];
        let after = run(&elsewhere, &[&arguments[..], &[&last.to_string()]].concat());
        assert!(
            after.contains("user.created"),
            "a reader of the feed would miss it"
        );
        assert!(!after.contains(bob));
        let off = json!([{"op": "replace", "path": "active", "value": false}]);
        client.patch(&format!("/Users/{}", full.ids[0]), off);
        let tokens = run(
            &elsewhere,
            &["token", "list", "--tenant", NAME, "-o", "json"],
        );
        let tokens: Vec<Value> = serde_json::from_str(&tokens).unwrap();
        let own = tokens.iter().find(|token| token["name"] == "own").unwrap();
        assert!(
            own["revoked"].is_string(),
            "a person's token stays theirs: {own}"
        );
        let history = ["events", "--tenant", NAME, "-o", "json"];
        assert_eq!(run(&elsewhere, &history).contains(bob), !more.is_empty());
    }
}

#[test]
fn however_a_copy_spells_its_documents_they_are_stored_as_any_other() {
    let full = full();
    let copy = export(&full.server.data(), &[]);
    let edited = copy.replace("\"userName\":", "\"user\\u004eame\" : ");
    assert_ne!(edited, copy);
    let (_folder, data) = empty();
    imported(&data, &edited);
    assert_eq!(export(&data, &[]), copy);
}

#[test]
fn a_copy_is_refused_where_its_name_or_ids_are_and_beside_other_tenants_it_fits() {
    let full = full();
    let copy = export(&full.server.data(), &[]);
    let data = full.server.data();
    assert!(refused(&data, &copy).contains("whose name another one has"));
    run(&full.server, &["tenant", "rename", NAME, "renamed"]);
    assert!(refused(&data, &copy).contains("is here already"));

    // An account signs in without naming its tenant.
    let third = Server::start();
    Tenant::create(&third, "a");
    run(
        &third,
        &["account", "create", "BREAK@glass.example", "--tenant", "a"],
    );
    assert!(refused(&third.data(), &copy).contains("whose email"));

    // All numbers of the copy are taken here.
    let elsewhere = Server::start();
    let others = ["a", "b", "c", "d", "e"].map(|name| Tenant::create(&elsewhere, name));
    for name in 0..20 {
        others[0]
            .client()
            .create("/Users", &user(&name.to_string(), json!({})));
    }
    imported(&elsewhere.data(), &copy);
    let mut client = ScimClient::new(&elsewhere, &full.token);
    client.get(&format!("/Groups/{}", full.ids[1]));
    assert_eq!(others[0].client().all("/Users").len(), 20);
    assert_eq!(others[1].client().all("/Users").len(), 0);

    run(&full.server, &["tenant", "rename", "renamed", NAME]);
    let with_events = export(&data, &["--events"]);
    run(&elsewhere, &["tenant", "delete", NAME, "--yes"]);
    let said = refused(&elsewhere.data(), &with_events);
    assert!(said.contains("import a copy without events"), "{said}");
    imported(&elsewhere.data(), &export(&data, &[]));
}

#[test]
fn what_is_no_whole_copy_changes_nothing() {
    let full = full();
    let copy = export(&full.server.data(), &[]);
    let lines: Vec<&str> = copy.lines().collect();
    let without = |number: usize| {
        let mut rest = lines.clone();
        rest.remove(number);
        rest.join("\n") + "\n"
    };
    let of = |table: &str| {
        let start = format!("{{\"{table}\":");
        lines
            .iter()
            .position(|line| line.starts_with(&start))
            .unwrap()
    };
    let with = |table: &str, from: &str, to: &str| {
        let mut changed: Vec<String> = lines.iter().map(|line| (*line).to_owned()).collect();
        let line = &mut changed[of(table)];
        assert!(line.contains(from), "{line}");
        *line = line.replacen(from, to, 1);
        changed.join("\n") + "\n"
    };
    let [ana, team, _] = &full.ids;
    let cases = [
        (String::new(), "ends in line 1"),
        (copy[..copy.len() - 1].to_owned(), "no whole copy"),
        (copy[..copy.len() / 2].to_owned(), "no whole copy"),
        (without(lines.len() - 1), "no whole copy"),
        (without(0), "line 1"),
        (without(1), "is not the tenant"),
        (without(of("resource")), "names a role, user or team"),
        (without(of("team_resource")), "rows"),
        (format!("{}\n{copy}", lines[0]), "line 2"),
        (
            "{\"format\":\"rollcall tenant 2\",\"last_event\":0}\n".to_owned(),
            "its format is",
        ),
        (with("role", "\"role\"", "\"roles\""), "no table"),
        (with("role", "\"rank\":1", "\"rank\":\"high\""), "role.rank"),
        (with("tenant", "Member", "Nobody"), "names a role"),
        (with("resource", ana, "1"), "no UUID"),
        (with("resource", "\"User\"", "\"Robot\""), "no user or team"),
        (
            with(
                "resource",
                "\"userName\":\"Ana@Example.org\"",
                "\"userName\":7",
            ),
            "userName",
        ),
        (with("team_member", team, ana), "names a role, user or team"),
        (
            with(
                "token",
                "\"person\":null",
                &format!("\"person\":\"{team}\""),
            ),
            "names a role, user or team",
        ),
    ];
    for (damaged, reason) in cases {
        let (_folder, data) = empty();
        rollcall(&data, &["tenant", "create", "other"], "");
        let said = refused(&data, &damaged);
        assert!(said.contains(reason), "{reason}: {said}");
    }
}

#[test]
fn a_file_is_made_closed_to_others_and_never_written_over() {
    let full = full();
    let (folder, data) = empty();
    let file = folder.path().join("copy.jsonl");
    let name = file.to_str().unwrap();
    run(&full.server, &["export", "--tenant", NAME, name]);
    let mode = fs::metadata(&file).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert_eq!(
        fs::read_to_string(&file).unwrap(),
        export(&full.server.data(), &[])
    );
    let again = full.server.rollcall(&["export", "--tenant", NAME, name]);
    assert_eq!(again.status.code(), Some(1));
    let missing = folder.path().join("missing.jsonl");
    full.server
        .rollcall(&["export", "--tenant", "nobody", missing.to_str().unwrap()]);
    assert!(!missing.exists());
    assert!(rollcall(&data, &["import", name], "").status.success());
    assert_eq!(export(&data, &[]), fs::read_to_string(&file).unwrap());
}
