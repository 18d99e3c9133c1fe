//! A clock that jumps: a virtual machine that was asleep, a bad battery, a time server that was wrong.

use std::fs;

use serde_json::{Value, json};

use crate::browser::Browser;
use crate::preload;
use crate::support::Server;
use crate::tenant::{Tenant, run, text, user};

const DAY: i64 = 24 * 60 * 60;

#[test]
fn a_clock_that_jumps_back_stops_nothing_and_turns_no_times_around() {
    let scratch = tempfile::tempdir().unwrap();
    let library = preload::library("clock", scratch.path());
    let (folder, clock) = (scratch.path().join("data"), scratch.path().join("clock"));
    let jump = |days: i64| fs::write(&clock, (days * DAY).to_string()).unwrap();
    jump(0);
    let environment = [("LD_PRELOAD", library.as_path()), ("CLOCK", &clock)];
    let server = Server::start_in_with_environment(&folder, &environment);
    let tenant = Tenant::create(&server, "contoso");
    let mut client = tenant.client();
    let mut browser = Browser::sign_in(&server, "contoso");
    let people = ["a", "b", "c"].map(|name| client.create("/Users", &user(name, json!({}))));
    let first = client.get("/Users?count=1&cursor");
    let before = client.get(&format!("/Users/{}", people[0]));

    jump(-3);
    // All who were in are in, and what was begun goes on.
    browser.get("/settings");
    let second = client.get(&format!(
        "/Users?count=1&cursor={}",
        text(&first["nextCursor"])
    ));
    assert_eq!(second["Resources"][0]["id"], json!(people[1]));
    assert_eq!(client.get("/Users")["totalResults"], json!(3));

    // A change is a new version, and no older than the one before.
    let title = json!([{"op": "replace", "path": "title", "value": "Boss"}]);
    let after = client.patch(&format!("/Users/{}", people[0]), title);
    assert_ne!(after["meta"]["version"], before["meta"]["version"]);
    assert!(text(&after["meta"]["lastModified"]) >= text(&before["meta"]["lastModified"]));
    assert_eq!(after["meta"]["created"], before["meta"]["created"]);

    // Removing and returning, events in the order in which things happened, and new people behind old ones.
    let path = format!("/Users/{}", people[1]);
    client.expect(204, "DELETE", &path, None);
    client.expect(404, "GET", &path, None);
    assert_eq!(client.create("/Users", &user("b", json!({}))), people[1]);
    let late = client.create("/Users", &user("d", json!({})));
    let list = client.get("/Users");
    assert_eq!(
        list["Resources"].as_array().unwrap().last().unwrap()["id"],
        json!(late)
    );
    let kinds = events(&server);
    assert!(
        kinds.ends_with(
            &[
                "user.changed",
                "user.deleted",
                "user.restored",
                "user.created"
            ]
            .map(str::to_owned)
        ),
        "{kinds:?}"
    );
    jump(0);
    browser.get("/settings");
    assert_eq!(client.get("/Users")["totalResults"], json!(4));
}

/// What happened to users, by the feed.
fn events(server: &Server) -> Vec<String> {
    run(server, &["events", "--tenant", "contoso", "-o", "json"])
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .map(|event| text(&event["kind"]))
        .filter(|kind| kind.starts_with("user."))
        .collect()
}
