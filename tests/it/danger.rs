//! Danger zone: nothing happens without the typed name and a fresh sign-in, and then to this tenant alone.

use serde_json::json;

use crate::browser::Browser;
use crate::support::Server;
use crate::tenant::{Tenant, group, run, user};

const PAGE: &str = "/settings/danger";
const PASSWORD: &str = "four unrelated words";

#[track_caller]
fn does(browser: &mut Browser, action: &str, field: (&str, &str)) {
    browser.get(PAGE);
    browser.post(PAGE, &[("do", action), field]);
}

#[test]
fn the_organisation_is_renamed_unless_the_name_is_taken_or_none() {
    let server = Server::start();
    run(&server, &["tenant", "create", "acme"]);
    run(&server, &["tenant", "create", "other"]);
    let mut browser = Browser::sign_in(&server, "acme");
    for (name, words) in [
        ("", "1 to 100 characters"),
        ("-x", "1 to 100 characters"),
        ("OTHER", "called OTHER already"),
        (
            "Acme & Söhne",
            "The organisation is called Acme &amp; Söhne now.",
        ),
    ] {
        does(&mut browser, "rename", ("name", name));
        browser.must_show(words);
    }
    let events = run(
        &server,
        &["events", "--tenant", "acme & söhne", "-o", "json"],
    );
    assert_eq!(events.matches("tenant.renamed").count(), 1);
    assert_eq!(browser.post(PAGE, &[("do", "nothing")]).status, 400);
}

#[test]
fn deleting_needs_the_typed_name_and_a_fresh_sign_in_and_spares_others() {
    let server = Server::start();
    let acme = Tenant::create(&server, "acme");
    let other = Tenant::create(&server, "other");
    acme.client()
        .create("/Users", &user("ana@example.org", json!({})));
    acme.client().create("/Groups", &group("SRE", json!({})));
    let mut theirs = Browser::sign_in(&server, "other");
    let mut browser = Browser::sign_in(&server, "acme");
    browser.get("/me");
    browser.post("/me", &[("do", "password"), ("new", PASSWORD)]);
    browser.get(PAGE);
    browser.must_show("<li>People: 1, and 0 in the archive");
    browser.must_show("Tokens that work: 1;");
    browser.must_show("href=\"/settings/backup\"");
    for typed in ["", "Acme", "other", "acme x"] {
        does(&mut browser, "delete", ("confirm", typed));
        browser.must_show("Nothing was done");
    }
    server.sql("UPDATE session SET authenticated = authenticated - 700000");
    does(&mut browser, "delete", ("confirm", "acme"));
    browser.must_show("Confirm that it is you");
    let wrong = [
        ("do", "delete"),
        ("confirm", "acme"),
        ("confirm_password", "wrong"),
    ];
    browser.post(PAGE, &wrong);
    browser.must_show("The password is wrong");
    assert!(run(&server, &["tenant", "list"]).contains("acme"));
    let right = [
        ("do", "delete"),
        ("confirm", "acme"),
        ("confirm_password", PASSWORD),
    ];
    browser.post(PAGE, &right);
    assert_eq!(browser.path, "/sign-in");
    browser.must_show("acme and everything in it are deleted.");
    assert!(!run(&server, &["tenant", "list"]).contains("acme"));
    assert_eq!(acme.client().call("GET", "/Users", None).0, 401);
    assert_eq!(other.client().call("GET", "/Users", None).0, 200);
    browser.get("/settings");
    assert!(browser.path.starts_with("/sign-in"));
    theirs.get(PAGE);
    assert_eq!(theirs.path, PAGE);
    assert!(server.stderr().contains("deleted tenant 1 (\"acme\")"));
}

#[test]
fn purging_empties_this_tenants_archive_but_not_while_removals_are_unusual() {
    let server = Server::start();
    let tenants = ["acme", "other"].map(|name| Tenant::create(&server, name));
    for tenant in &tenants {
        let mut scim = tenant.client();
        for (endpoint, resource) in [
            ("/Users", user("ana@example.org", json!({}))),
            ("/Users", user("bob@example.org", json!({}))),
            ("/Groups", group("SRE", json!({}))),
        ] {
            let id = scim.create(endpoint, &resource);
            scim.expect(204, "DELETE", &format!("{endpoint}/{id}"), None);
        }
    }
    let mut browser = Browser::sign_in(&server, "acme");
    browser.get(PAGE);
    browser.must_show("(people: 2, teams: 1), with memberships");
    does(&mut browser, "purge", ("confirm", "ACME"));
    browser.must_show("Nothing was done");
    server.sql("UPDATE tenant SET unusual_since = 1700000000000 WHERE name = 'acme'");
    does(&mut browser, "purge", ("confirm", "acme"));
    browser.must_show("Removals were unusual, so nothing more is purged");
    browser.must_show("so nothing is purged. Look at");
    assert!(!browser.shows("Purge the archive now"));
    run(&server, &["tenant", "set", "acme", "--removals", "usual"]);
    does(&mut browser, "purge", ("confirm", "acme"));
    browser.must_show("People and teams purged: 3.");
    browser.must_show("The archive is empty: nothing");
    let archived = |name| run(&server, &["team", "archived", "--tenant", name]);
    assert!(!archived("acme").contains("SRE"));
    assert!(archived("other").contains("SRE"));
    let events = run(&server, &["events", "--tenant", "acme", "-o", "json"]);
    assert_eq!(events.matches("user.purged").count(), 2, "{events}");
    assert_eq!(events.matches("team.purged").count(), 1);
}

#[test]
fn everybody_elses_sessions_end_in_this_tenant_alone() {
    let server = Server::start();
    let acme = Tenant::create(&server, "acme");
    Tenant::create(&server, "other");
    let ana = user("ana@example.org", json!({"roleName": "Admin"}));
    acme.client().create("/Users", &ana);
    let mut theirs = Browser::sign_in(&server, "other");
    let mut colleague = Browser::sign_in(&server, "acme");
    let mut person = Browser::sign_in_as(&server, "acme", "ana@example.org");
    let mut browser = Browser::sign_in(&server, "acme");
    browser.get(PAGE);
    browser.must_show("Other sessions now: 2.");
    // It is not asked for the name, but for who it is.
    server.sql("UPDATE session SET authenticated = authenticated - 700000 WHERE tenant = 1");
    does(&mut browser, "sessions", ("x", ""));
    browser.must_show("Confirm that it is you");
    server.sql("UPDATE session SET authenticated = authenticated + 700000 WHERE tenant = 1");
    does(&mut browser, "sessions", ("x", ""));
    browser.must_show("2 sessions are ended.");
    browser.must_show("Nobody else is signed in now.");
    for ended in [&mut colleague, &mut person] {
        ended.get("/settings");
        assert!(ended.path.starts_with("/sign-in"));
    }
    theirs.get("/settings");
    assert_eq!(theirs.path, "/settings");
    let events = run(&server, &["events", "--tenant", "acme", "-o", "json"]);
    assert_eq!(events.matches("sessions.ended").count(), 1);
}
