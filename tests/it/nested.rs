//! Teams in teams beyond the conversations: two requests at once, copies, undo, roles, apps and pages.

use std::sync::Barrier;
use std::thread;

use serde_json::{Value, json};

use crate::browser::Browser;
use crate::support::Server;
use crate::tenant::{ScimClient, Tenant, group, patch_op, run, text, user};

fn team(client: &mut ScimClient, name: &str, members: &[&str]) -> String {
    let members: Vec<Value> = members.iter().map(|id| json!({ "value": id })).collect();
    client.create("/Groups", &group(name, json!({ "members": members })))
}

fn join(member: &str) -> Value {
    json!([{ "op": "add", "path": "members", "value": [{ "value": member }] }])
}

fn leave(member: &str) -> Value {
    json!([{ "op": "remove", "path": "members", "value": [{ "value": member }] }])
}

#[test]
fn of_two_requests_at_once_that_close_a_circle_one_is_refused() {
    let server = Server::start();
    let tenant = Tenant::create(&server, "acme");
    let mut client = tenant.client();
    for round in 0..10 {
        let ids = ["a", "b"].map(|name| team(&mut client, &format!("{name}{round}"), &[]));
        let start = Barrier::new(2);
        let mut statuses = thread::scope(|scope| {
            let both = [(&ids[0], &ids[1]), (&ids[1], &ids[0])].map(|(whole, part)| {
                let (mut client, start) = (tenant.client(), &start);
                scope.spawn(move || {
                    start.wait();
                    let (path, body) = (format!("/Groups/{whole}"), patch_op(join(part)));
                    client.call("PATCH", &path, Some(&body)).0
                })
            });
            both.map(|one| one.join().unwrap())
        });
        statuses.sort_unstable();
        assert_eq!(statuses, [204, 400]);
    }
}

#[test]
fn who_is_in_a_team_by_way_of_another_has_its_role_and_apps_know_it() {
    let server = Server::start();
    let tenant = Tenant::create(&server, "acme");
    let mut client = tenant.client();
    run(
        &server,
        &["role", "map-group", "--tenant", "acme", "All", "Admin"],
    );
    let ada = client.create("/Users", &user("ada", json!({})));
    let inner = team(&mut client, "Inner", &[&ada]);
    let outer = team(&mut client, "All", &[]);
    let token = run(
        &server,
        &[
            "token", "create", "--tenant", "acme", "--api", "--scope", "read",
        ],
    );
    let mut app = server.anyone().with_token(&token);
    let mut role = || text(&app.get(&format!("/api/v1/users/{ada}")).json()["role"]);
    assert_eq!(role(), "Member");
    client.patch(&format!("/Groups/{outer}"), join(&inner));
    assert_eq!(role(), "Admin");
    let person = app.get(&format!("/api/v1/users/{ada}")).json();
    assert_eq!(
        person["teams"],
        json!([
            { "id": inner, "name": "Inner", "direct": true },
            { "id": outer, "name": "All", "direct": false },
        ])
    );
    let ids = |list: Value| -> Vec<String> {
        let items = list["items"].as_array().unwrap().iter();
        items.map(|item| text(&item["id"])).collect()
    };
    let mut get = |path: &str| app.get(&format!("/api/v1{path}")).json();
    assert_eq!(ids(get(&format!("/teams/{outer}/people"))), [&*ada]);
    assert_eq!(
        ids(get(&format!("/users/{ada}/teams"))),
        [inner.clone(), outer.clone()]
    );
    assert_eq!(get(&format!("/teams/{outer}"))["people"], 1);
    let kinds: Vec<String> = get("/events?after=0")["events"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|event| event["object"] == json!(inner))
        .map(|event| text(&event["kind"]))
        .collect();
    assert_eq!(kinds, ["subteam.added"]);
    // The entity tag of who is concerned is another one, each time.
    let version =
        |client: &mut ScimClient| text(&client.get(&format!("/Users/{ada}"))["meta"]["version"]);
    let before = version(&mut client);
    client.patch(&format!("/Groups/{outer}"), leave(&inner));
    assert_ne!(version(&mut client), before);
    assert_eq!(text(&get(&format!("/users/{ada}"))["role"]), "Member");
}

#[test]
fn undo_puts_a_team_back_unless_it_would_be_in_itself() {
    let server = Server::start();
    let tenant = Tenant::create(&server, "acme");
    let mut client = tenant.client();
    let (a, b, c) = (
        team(&mut client, "a", &[]),
        team(&mut client, "b", &[]),
        team(&mut client, "c", &[]),
    );
    for (whole, part) in [(&a, &b), (&b, &a), (&a, &c)] {
        client.patch(&format!("/Groups/{whole}"), join(part));
        client.patch(&format!("/Groups/{whole}"), leave(part));
    }
    let undone = run(
        &server,
        &["undo", "--tenant", "acme", "--since", "1h", "-o", "json"],
    );
    let undone: Vec<Value> = serde_json::from_str(&undone).unwrap();
    let hindered: Vec<bool> = undone
        .iter()
        .map(|step| step["hindrance"] != Value::Null)
        .collect();
    assert_eq!(hindered, [false, false, true], "{undone:?}");
    let members = client.get(&format!("/Groups/{a}"))["members"].clone();
    assert_eq!(members[0]["value"], json!(b));
    assert_eq!(members[1]["value"], json!(c));
    assert_eq!(client.get(&format!("/Groups/{b}"))["members"], json!([]));
}

#[test]
fn copies_take_teams_in_teams_along_and_bring_no_circle() {
    let server = Server::start();
    let tenant = Tenant::create(&server, "acme");
    let mut client = tenant.client();
    let inner = team(&mut client, "inner", &[]);
    let outer = team(&mut client, "outer", &[&inner]);
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, content: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, content).unwrap();
        path.to_str().unwrap().to_owned()
    };

    let copy = run(&server, &["team", "download", "--tenant", "acme", "outer"]);
    client.expect(204, "DELETE", &format!("/Groups/{outer}"), None);
    run(&server, &["team", "purge", "--tenant", "acme", &outer]);
    run(
        &server,
        &[
            "team",
            "import",
            "--tenant",
            "acme",
            &file("team.json", &copy),
        ],
    );
    assert_eq!(
        client.get(&format!("/Groups/{outer}"))["members"][0]["value"],
        json!(inner)
    );

    let copy = run(&server, &["export", "--tenant", "acme", "-"]);
    let elsewhere = Server::start();
    let import = |copy: &str| elsewhere.rollcall(&["import", &file("copy.jsonl", copy)]);
    let line = format!("{{\"team_member\":{{\"team\":\"{outer}\",\"member\":\"{inner}\"");
    let (before, after) = copy.split_once(&line).expect("the pair");
    let rest = after.split_once('\n').unwrap();
    let other = format!("{{\"team_member\":{{\"team\":\"{inner}\",\"member\":\"{outer}\"");
    let rows = copy.lines().count() - 2;
    let circular = format!("{before}{line}{}\n{other}{}\n{}\n", rest.0, rest.0, rest.1).replace(
        &format!("{{\"rows\":{rows}}}"),
        &format!("{{\"rows\":{}}}", rows + 1),
    );
    let refused = import(&circular);
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(
        !refused.status.success() && said.contains("a team is in itself"),
        "{said}"
    );
    assert!(import(&format!("{copy}\n")).status.success());
}

#[test]
fn pages_show_what_is_in_what() {
    let server = Server::start();
    let tenant = Tenant::create(&server, "acme");
    let mut client = tenant.client();
    let ada = client.create("/Users", &user("ada", json!({})));
    let inner = team(&mut client, "Inner", &[&ada]);
    let outer = team(&mut client, "Outer", &[&inner]);
    let mut browser = Browser::sign_in(&server, "acme");
    browser.get(&format!("/settings/teams/{outer}"));
    browser.must_show("<h2>Teams in this team</h2>");
    browser.must_show(&format!("<a href=\"/settings/teams/{inner}\">Inner</a>"));
    browser.must_show("1, with those of the teams in it");
    browser.get(&format!("/settings/teams/{inner}"));
    browser.must_show("<dt>Is in</dt>");
    browser.must_show(&format!("<a href=\"/settings/teams/{outer}\">Outer</a>"));
    browser.get(&format!("/settings/people/{ada}"));
    browser.must_show(&format!("<a href=\"/settings/teams/{outer}\">Outer</a> <span class=\"tag\">by way of another team</span>"));
    assert_eq!(browser.page.matches("by way of another team").count(), 1);
}
