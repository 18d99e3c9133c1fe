//! The settings' pages of teams, live and archived, as a browser without JavaScript uses them.

use serde_json::{Value, json};

use crate::browser::Browser;
use crate::support::Server;
use crate::tenant::{Tenant, group, run, text, user};

/// Registers a resource for a team through the API.
#[track_caller]
fn register(server: &Server, tenant: &str, team: &str, name: &str) -> String {
    let token = run(
        server,
        &[
            "token",
            "create",
            "--tenant",
            tenant,
            "--api",
            "--scope",
            "read,resources",
        ],
    );
    let body = json!({"kind": "monitor", "name": name, "url": "https://mon.example/1"}).to_string();
    let answer = server.anyone().with_token(&token).request(
        "POST",
        &format!("/api/v1/teams/{team}/resources"),
        &[("Content-Type", "application/json")],
        body.as_bytes(),
    );
    assert_eq!(answer.status, 201, "{answer:?}");
    text(&answer.json()["id"])
}

/// A team with a member and a resource, removed by the provider; answers the ids of team and member.
#[track_caller]
fn removed_team(server: &Server, tenant: &Tenant<'_>, name: &str) -> (String, String) {
    let mut client = tenant.client();
    let member = client.create("/Users", &user(&format!("ana-of-{name}"), json!({})));
    let team = client.create(
        "/Groups",
        &group(
            name,
            json!({"externalId": name, "members": [{"value": member}]}),
        ),
    );
    let plain = name.split_whitespace().next().expect("a word");
    register(server, &tenant.name, &team, &format!("monitor of {plain}"));
    client.expect(204, "DELETE", &format!("/Groups/{team}"), None);
    (team, member)
}

#[test]
fn a_group_that_the_provider_removed_comes_back_by_a_button() {
    let server = Server::start();
    let tenant = Tenant::create(&server, "acme");
    let (team, member) = removed_team(&server, &tenant, "SRE");
    let mut browser = Browser::sign_in(&server, "acme");
    browser.get("/settings/teams");
    browser.must_show("No team is here yet");
    browser.get("/settings/teams?show=archived");
    for words in ["SRE", "just now", "in 30 days", "Restore", "Download"] {
        browser.must_show(words);
    }
    browser.post("/settings/teams", &[("do", "restore"), ("id", &team)]);
    browser.must_show("SRE is back, as before.");
    browser.must_show("monitor of SRE");
    browser.must_show(&format!("/settings/people/{member}"));
    let back = tenant.client().get(&format!("/Groups/{team}"));
    assert_eq!(back["members"][0]["value"], json!(member));
    browser.get("/settings/teams?q=s");
    browser.must_show(&format!("/settings/teams/{team}"));
    // Going back and pressing the button again says why nothing happens.
    let again = browser.post("/settings/teams", &[("do", "restore"), ("id", &team)]);
    assert_eq!(again.status, 404);
}

#[test]
fn purging_needs_the_typed_name() {
    let server = Server::start();
    let tenant = Tenant::create(&server, "acme");
    let (team, _) = removed_team(&server, &tenant, "SRE");
    let mut browser = Browser::sign_in(&server, "acme");
    let page = format!("/settings/teams/{team}");
    for typed in ["", "sre", "SRE2"] {
        browser.get(&page);
        browser.post(&page, &[("do", "purge"), ("name", typed)]);
        browser.must_show("Nothing was purged");
        browser.must_show("monitor of SRE");
    }
    browser.post(&page, &[("do", "purge"), ("name", " SRE ")]);
    browser.must_show("SRE is gone for good.");
    browser.must_show("The archive has no team");
    assert_eq!(browser.get(&page).status, 404);
}

#[test]
fn a_live_team_can_not_be_purged() {
    let server = Server::start();
    let tenant = Tenant::create(&server, "acme");
    let team = tenant.client().create("/Groups", &group("SRE", json!({})));
    let mut browser = Browser::sign_in(&server, "acme");
    let page = format!("/settings/teams/{team}");
    browser.get(&page);
    assert!(!browser.shows("Purge this team"));
    let answer = browser.post(&page, &[("do", "purge"), ("name", "SRE")]);
    assert_eq!(answer.status, 404);
    tenant.client().get(&format!("/Groups/{team}"));
}

#[test]
fn a_downloaded_team_can_be_imported_after_its_purge() {
    let server = Server::start();
    let tenant = Tenant::create(&server, "acme");
    let name = "Größe \"x\";\r\nSet-Cookie: a=b";
    let (team, member) = removed_team(&server, &tenant, name);
    let mut browser = Browser::sign_in(&server, "acme");
    let page = format!("/settings/teams/{team}");
    let file = browser.get(&format!("{page}/download"));
    let disposition = file.header("content-disposition").expect("an attachment");
    assert!(
        disposition.starts_with("attachment; filename=\"team-Gr--e--x----Set-Cookie--a-b.json\"; "),
        "{disposition}"
    );
    assert_eq!(file.header("set-cookie"), None);
    assert_eq!(file.header("content-type"), Some("application/json"));
    let copy = file.text().to_owned();
    assert_eq!(file.json()["id"], json!(team));

    browser.get(&page);
    browser.post(&page, &[("do", "purge"), ("name", name)]);
    browser.must_show("gone for good");
    browser.post("/settings/teams", &[("do", "import"), ("copy", &copy)]);
    browser.must_show("is here again");
    browser.must_show(&format!("/settings/people/{member}"));
    browser.must_show("monitor of Größe");
    let back = tenant.client().get(&format!("/Groups/{team}"));
    assert_eq!(back["displayName"], json!(name));

    for nonsense in ["", "{", "[]", "{\"format\": 1}"] {
        browser.get("/settings/teams");
        browser.post("/settings/teams", &[("do", "import"), ("copy", nonsense)]);
        browser.must_show("flash failed");
        browser.must_show("is no downloaded team");
    }
}

#[test]
fn resources_move_to_the_team_that_is_named() {
    let server = Server::start();
    let tenant = Tenant::create(&server, "acme");
    let (team, _) = removed_team(&server, &tenant, "SRE");
    let target = tenant
        .client()
        .create("/Groups", &group("Operations", json!({})));
    let mut browser = Browser::sign_in(&server, "acme");
    let page = format!("/settings/teams/{team}");
    browser.get(&page);
    browser.post(&page, &[("do", "transfer"), ("to", "Nowhere")]);
    browser.must_show("There is no live team called");
    browser.must_show("monitor of SRE");
    browser.post(&page, &[("do", "transfer"), ("to", "operations")]);
    browser.must_show("One resource moved to operations.");
    browser.must_show("Apps have registered nothing for this team.");
    browser.get(&format!("/settings/teams/{target}"));
    browser.must_show("monitor of SRE");
    browser.must_show("A resource came from SRE");
}

#[test]
fn what_governs_the_archive_is_saved_or_refused_with_a_reason() {
    let server = Server::start();
    Tenant::create(&server, "acme");
    let mut browser = Browser::sign_in(&server, "acme");
    let good = [
        ("do", "settings"),
        ("retention_days", "7"),
        ("returning_team", "fresh"),
        ("removal_count", "5"),
        ("removal_percent", "50"),
    ];
    browser.get("/settings/teams");
    browser.post("/settings/teams", &good);
    browser.must_show("Saved.");
    let saved: Value =
        serde_json::from_str(&run(&server, &["tenant", "show", "acme", "-o", "json"])).unwrap();
    let shown = saved.to_string();
    for (name, value) in &good[1..] {
        assert!(shown.contains(value), "{name} in {shown}");
    }
    for (name, value, reason) in [
        ("retention_days", "3651", "0 to 3650 days"),
        ("retention_days", "-1", "whole number"),
        ("removal_percent", "101", "percentage"),
        ("removal_count", "many", "whole number"),
    ] {
        let mut bad = good;
        bad.iter_mut().find(|(known, _)| *known == name).unwrap().1 = value;
        browser.get("/settings/teams");
        browser.post("/settings/teams", &bad);
        browser.must_show(reason);
        let now: Value =
            serde_json::from_str(&run(&server, &["tenant", "show", "acme", "-o", "json"])).unwrap();
        assert_eq!(now, saved, "{name} {value}");
    }
}

#[test]
fn a_weaker_brake_and_a_shorter_archive_ask_who_it_is() {
    let server = Server::start();
    Tenant::create(&server, "acme");
    let mut browser = Browser::sign_in(&server, "acme");
    server.sql("UPDATE session SET authenticated = authenticated - 700000");
    for (days, count, percent, asks) in [
        ("29", "20", "25", true),
        ("30", "21", "25", true),
        ("30", "20", "26", true),
        ("31", "19", "24", false),
    ] {
        let fields = [
            ("do", "settings"),
            ("retention_days", days),
            ("returning_team", "revive"),
            ("removal_count", count),
            ("removal_percent", percent),
        ];
        browser.get("/settings/teams");
        browser.post("/settings/teams", &fields);
        browser.must_show(if asks {
            "Confirm that it is you"
        } else {
            "Saved."
        });
    }
}

#[test]
fn while_removals_are_unusual_the_archive_says_that_it_keeps_all() {
    let server = Server::start();
    let tenant = Tenant::create(&server, "acme");
    run(&server, &["tenant", "set", "acme", "--removal-count", "0"]);
    let (team, _) = removed_team(&server, &tenant, "SRE");
    let mut browser = Browser::sign_in(&server, "acme");
    browser.get("/settings/teams?show=archived");
    browser.must_show("kept while removals are unusual");
    browser.get(&format!("/settings/teams/{team}"));
    browser.must_show("It is kept while removals are unusual");
}

#[test]
fn another_tenants_teams_are_not_there() {
    let server = Server::start();
    let (ours, theirs) = (
        Tenant::create(&server, "acme"),
        Tenant::create(&server, "other"),
    );
    let (archived, _) = removed_team(&server, &theirs, "Secret");
    let live = theirs
        .client()
        .create("/Groups", &group("Live secret", json!({})));
    let own = ours.client().create("/Groups", &group("Own", json!({})));
    register(&server, "acme", &own, "own monitor");
    let before = run(&server, &["events", "--tenant", "other", "-o", "json"]);
    let mut browser = Browser::sign_in(&server, "acme");
    for id in [&archived, &live] {
        for path in [
            format!("/settings/teams/{id}"),
            format!("/settings/teams/{id}/download"),
        ] {
            let answer = browser.get(&path);
            assert_eq!(answer.status, 404, "{path}");
            assert!(!answer.text().to_lowercase().contains("secret"), "{path}");
        }
        for fields in [
            &[("do", "restore")][..],
            &[("do", "purge"), ("name", "Secret")],
            &[("do", "transfer"), ("to", "Own")],
        ] {
            browser.get("/settings/teams");
            let answer = browser.post(&format!("/settings/teams/{id}"), fields);
            assert_eq!(answer.status, 404, "{fields:?}");
        }
        browser.get("/settings/teams");
        let answer = browser.post("/settings/teams", &[("do", "restore"), ("id", id)]);
        assert_eq!(answer.status, 404);
        for to in [id.as_str(), "Live secret"] {
            let page = format!("/settings/teams/{own}");
            browser.get(&page);
            browser.post(&page, &[("do", "transfer"), ("to", to)]);
            browser.must_show("There is no live team called");
            browser.must_show("own monitor");
        }
    }
    for list in [
        "/settings/teams",
        "/settings/teams?show=archived",
        "/settings/teams?q=s",
    ] {
        browser.get(list);
        assert!(!browser.page.to_lowercase().contains("secret"), "{list}");
    }
    assert_eq!(
        run(&server, &["events", "--tenant", "other", "-o", "json"]),
        before
    );
}
