//! The pages that connect a provider and apps, as a browser without JavaScript goes through them.

use std::time::Instant;

use serde_json::json;

use crate::browser::Browser;
use crate::support::{PATIENCE, Server};
use crate::tenant::{ROOT, ScimClient, Tenant, group, run, user};

const PAGE: &str = "/settings/provisioning";

/// A server with a tenant `acme` that nobody has connected to anything yet, and a browser that is signed in to it.
#[track_caller]
fn unconnected() -> (Server, Browser) {
    let server = Server::start();
    run(&server, &["tenant", "create", "acme"]);
    let mut browser = Browser::sign_in(&server, "acme");
    browser.get(PAGE);
    (server, browser)
}

/// The same with provisioning enabled, and the Secret Token.
#[track_caller]
fn connected() -> (Server, Browser, String) {
    let (server, mut browser) = unconnected();
    let token = enable(&mut browser);
    (server, browser, token)
}

#[track_caller]
fn enable(browser: &mut Browser) -> String {
    browser.post(PAGE, &[("do", "enable"), ("expires", "never")]);
    browser.value_by_id("secret-token").expect("a Secret Token")
}

/// Which steps of the checklist on the page are met, in order: `token`, `test`, `user`, `group`, `role`.
fn met(browser: &Browser) -> Vec<bool> {
    let (_, list) = browser
        .page
        .split_once("id=\"checklist\"")
        .expect("a checklist");
    let (_, list) = list.split_once("Is it working?").expect("its heading");
    let (list, _) = list.split_once("</ol>").expect("its end");
    list.split("<li")
        .skip(1)
        .map(|step| step.starts_with(" class=\"met\""))
        .collect()
}

/// Looks until the log's queue is written and the page shows these words.
#[track_caller]
fn look_for(browser: &mut Browser, words: &str) {
    let deadline = Instant::now() + PATIENCE;
    while Instant::now() < deadline {
        browser.get(PAGE);
        if browser.shows(words) {
            return;
        }
    }
    browser.must_show(words);
}

/// The number of the token whose row begins with this prefix.
#[track_caller]
fn id_of(server: &Server, tenant: &str, secret: &str) -> String {
    let listed = run(server, &["token", "list", "--tenant", tenant, "-o", "json"]);
    let listed: serde_json::Value = serde_json::from_str(&listed).unwrap();
    let found = listed
        .as_array()
        .unwrap()
        .iter()
        .find(|token| token["prefix"] == secret[..10]);
    found.expect("the token")["id"].to_string()
}

#[test]
fn enabling_shows_url_and_token_once_and_the_calls_turn_the_checklist() {
    let (server, mut browser) = unconnected();
    browser.must_show("Enable provisioning");
    let token = enable(&mut browser);
    let url = browser.value_by_id("tenant-url").unwrap();
    assert_eq!(url, format!("http://{}{ROOT}", server.address));
    browser.get(PAGE);
    assert!(!browser.shows(&token) && browser.shows(&token[..10]));
    assert_eq!(met(&browser), [true, false, false, false, false]);

    // What a reload of the answer sends must not make a second token.
    browser.post(PAGE, &[("do", "enable"), ("expires", "never")]);
    browser.must_show("enabled already");

    let mut scim = ScimClient::new(&server, &token);
    let test = "/Users?filter=userName eq \"5f3c0a52-8d38-4a83-9a61-2b1a0ac0d1f7\"";
    assert_eq!(scim.get(test)["totalResults"], 0);
    look_for(&mut browser, "data-live=\"2-0\"");
    assert_eq!(met(&browser), [true, true, false, false, false]);

    scim.expect(400, "POST", "/Users", Some(&json!({"schemas": []})));
    look_for(&mut browser, "What fails");
    browser.must_show("refused to create a user");
    browser.must_show("userName");
    browser.must_show("What to do:");

    let ana = scim.create("/Users", &user("ana@contoso.example", json!({})));
    look_for(&mut browser, ">ana@contoso.example</a>");
    assert_eq!(met(&browser), [true, true, true, false, false]);
    assert!(
        !browser.shows("What fails"),
        "the step came after the failure"
    );

    scim.create("/Groups", &group("SRE", json!({})));
    look_for(&mut browser, ">SRE</a>");
    scim.patch(
        &format!("/Users/{ana}"),
        json!([{"op": "Add", "path": "roleName", "value": "Admin"}]),
    );
    look_for(&mut browser, "Provisioning is set up");
    assert_eq!(met(&browser), [true; 5]);
    browser.must_show("data-live=\"\"");
}

#[test]
fn a_role_by_default_is_none_that_the_provider_gave() {
    let (server, mut browser, token) = connected();
    let mut scim = ScimClient::new(&server, &token);
    scim.create("/Users", &user("ana@contoso.example", json!({})));
    look_for(&mut browser, ">ana@contoso.example</a>");
    assert!(!met(&browser)[4]);
    // Member is the default role, too; but here the provider says so.
    let bob = user("bob@contoso.example", json!({"roleName": "Member"}));
    scim.create("/Users", &bob);
    look_for(&mut browser, ">bob@contoso.example</a>");
    assert!(met(&browser)[4]);
}

#[test]
fn rotating_leaves_no_gap() {
    let (server, mut browser, old) = connected();
    let id = id_of(&server, "acme", &old);
    browser.get(PAGE);
    assert!(!browser.shows("Rotating"));
    browser.post(PAGE, &[("do", "rotate"), ("id", &id)]);
    let new = browser.value_by_id("secret-token").unwrap();
    assert_ne!(new, old);
    browser.must_show("Rotating the token Identity provider");
    browser.must_show("not yet. Put it into the provider");
    for token in [&old, &new] {
        ScimClient::new(&server, token).get("/Users");
    }
    look_for(&mut browser, "The old one can go");
    browser.post(PAGE, &[("do", "revoke"), ("id", &id)]);
    browser.must_show("is revoked: it opens nothing any more");
    assert!(!browser.shows("Rotating"));
    ScimClient::new(&server, &old).expect(401, "GET", "/Users", None);
    ScimClient::new(&server, &new).get("/Users");
    // What the old token's client is told appears, with the remedy.
    look_for(&mut browser, "put it into the provider as Secret Token");
}

#[test]
fn a_token_lasts_as_long_as_was_chosen_and_is_warned_of_at_its_end() {
    let (server, mut browser) = unconnected();
    browser.post(PAGE, &[("do", "enable"), ("expires", "12")]);
    browser.must_show("Choose when the token expires");
    browser.post(PAGE, &[("do", "enable"), ("expires", "90")]);
    browser.get(PAGE);
    browser.must_show("in 90 days");
    assert!(!browser.shows("class=\"note warn\">The token"));
    for (days, words) in [
        (20, "note \">The token"),
        (5, "note warn\">The token"),
        (0, "note bad\">The token"),
    ] {
        let statement =
            format!("UPDATE token SET expires = (unixepoch('now') + {days} * 86400 + 60) * 1000");
        server.sql(&statement);
        for page in [PAGE, "/settings"] {
            browser.get(page);
            browser.must_show(words);
        }
    }
}

#[test]
fn a_paused_tenant_is_answered_503_and_a_disabled_one_401() {
    let (server, mut browser, token) = connected();
    let mut scim = ScimClient::new(&server, &token);
    browser.post(PAGE, &[("do", "pause")]);
    browser.must_show("Provisioning is paused since");
    let answer = scim.bytes("GET", "/Users", None);
    assert_eq!(
        (answer.status, answer.header("retry-after")),
        (503, Some("300"))
    );
    look_for(&mut browser, "resume it under Provisioning");
    browser.get("/settings");
    browser.must_show("Provisioning is paused");
    browser.get(PAGE);
    browser.post(PAGE, &[("do", "resume")]);
    assert!(!browser.shows("Provisioning is paused since"));
    scim.get("/Users");

    browser.post(
        PAGE,
        &[
            ("do", "create"),
            ("label", "Okta trial"),
            ("expires", "never"),
        ],
    );
    let second = browser.value_by_id("secret-token").unwrap();
    browser.post(PAGE, &[("do", "disable")]);
    browser.must_show("Provisioning is disabled");
    browser.must_show("Enable provisioning");
    for token in [&token, &second] {
        ScimClient::new(&server, token).expect(401, "GET", "/Users", None);
    }
}

#[test]
fn another_tenants_token_is_out_of_reach() {
    let (server, mut browser, _) = connected();
    let other = Tenant::create(&server, "globex");
    let api = run(&server, &["token", "create", "--api", "--tenant", "globex"]);
    for (page, secret) in [(PAGE, &other.token), ("/settings/apps", &api)] {
        let id = id_of(&server, "globex", secret);
        for action in ["rotate", "revoke"] {
            browser.get(page);
            let answer = browser.post(page, &[("do", action), ("id", &id)]);
            let refused =
                browser.shows("revoked already, or was never here") || answer.status == 400;
            assert!(refused, "{action}: {answer:?}");
        }
        browser.get(page);
        assert!(!browser.shows(&secret[..10]));
    }
    other.client().get("/Users");
    let listed = run(
        &server,
        &["token", "list", "--tenant", "globex", "-o", "json"],
    );
    assert_eq!(listed.matches("\"valid\"").count(), 2);
}

#[test]
fn what_is_dangerous_asks_for_the_password_again() {
    let (server, mut browser, token) = connected();
    server.sql("UPDATE session SET authenticated = authenticated - 700000");
    let id = id_of(&server, "acme", &token);
    for action in ["revoke", "disable", "create", "rotate"] {
        browser.get(PAGE);
        let fields = [
            ("do", action),
            ("id", &id),
            ("label", "mine"),
            ("expires", "never"),
        ];
        browser.post(PAGE, &fields);
        browser.must_show("Confirm that it is you");
        ScimClient::new(&server, &token).get("/Users");
    }
    // Whoever finds a browser alone shall neither take a token along, nor open an app, nor shorten the log.
    for (page, fields) in [
        (
            "/settings/apps",
            [("do", "create"), ("label", "mine"), ("scope", "read")],
        ),
        (
            "/settings/hosts",
            [("do", "save"), ("host", "wiki.example"), ("role", "")],
        ),
        (
            "/settings/log",
            [("log_days", "1"), ("keep_bodies", "on"), ("do", "keep")],
        ),
    ] {
        browser.get(page);
        browser.post(page, &fields);
        browser.must_show("Confirm that it is you");
    }
    // A pause is not dangerous, nor is a log that is kept for longer.
    browser.get(PAGE);
    browser.post(PAGE, &[("do", "pause")]);
    browser.must_show("Provisioning is paused");
    browser.get("/settings/log");
    browser.post("/settings/log", &[("log_days", "400")]);
    browser.must_show("Lines are kept for 400 days");
}

#[test]
fn an_app_gets_a_token_that_is_shown_once_and_can_be_revoked() {
    let (server, mut browser) = unconnected();
    let apps = "/settings/apps";
    browser.get(apps);
    browser.must_show("No app has a token yet");
    browser.post(
        apps,
        &[("do", "create"), ("label", "Pager"), ("expires", "never")],
    );
    browser.must_show("Choose what the app may do");
    browser.post(
        apps,
        &[
            ("do", "create"),
            ("label", " "),
            ("scope", "read"),
            ("expires", "never"),
        ],
    );
    browser.must_show("has 1 to 100 characters");
    let fields = [
        ("do", "create"),
        ("label", "<b>Pager</b>"),
        ("scope", "read"),
        ("scope", "resources"),
        ("expires", "365"),
    ];
    browser.post(apps, &fields);
    let token = browser.value_by_id("token").unwrap();
    browser.must_show("read, resources");
    browser.must_show("&lt;b&gt;Pager");
    let mut app = server.anyone().with_token(&token);
    assert_eq!(app.get("/api/v1/users").status, 200);
    assert_eq!(app.get("/scim/v2/Users").status, 401);
    browser.get(apps);
    assert!(!browser.shows(&token));
    browser.must_show("from 127.0.0.1");
    let id = id_of(&server, "acme", &token);
    // A token for apps is none of provisioning's.
    browser.get(PAGE);
    browser.post(PAGE, &[("do", "revoke"), ("id", &id)]);
    assert_eq!(app.get("/api/v1/users").status, 200);
    browser.get(apps);
    browser.post(apps, &[("do", "revoke"), ("id", &id)]);
    browser.must_show("is revoked");
    assert_eq!(app.get("/api/v1/users").status, 401);
}

#[test]
fn tokens_for_apps_are_paged_and_say_whose_they_are() {
    let (server, mut browser, token) = connected();
    let mut scim = ScimClient::new(&server, &token);
    scim.create("/Users", &user("ana@contoso.example", json!({})));
    run(
        &server,
        &[
            "token",
            "create",
            "--api",
            "--tenant",
            "acme",
            "--for",
            "ana@contoso.example",
            "--name",
            "oldest",
        ],
    );
    for _ in 0..50 {
        run(
            &server,
            &[
                "token", "create", "--api", "--tenant", "acme", "--name", "newer",
            ],
        );
    }
    browser.get("/settings/apps");
    assert!(!browser.shows("oldest"));
    assert_eq!(browser.page.matches("<td>newer").count(), 50);
    let (_, rest) = browser.page.split_once("/settings/apps?before=").unwrap();
    let path = format!("/settings/apps?before={}", rest.split('"').next().unwrap());
    browser.get(&path);
    browser.must_show("oldest");
    browser.must_show(">ana@contoso.example</a>");
}

#[test]
fn the_overview_tells_what_is_there_and_what_wants_attention() {
    let (server, mut browser) = unconnected();
    browser.get("/settings");
    browser.must_show("Enable provisioning");
    browser.must_show("None yet. It appears");
    browser.get(PAGE);
    let token = enable(&mut browser);
    let mut scim = ScimClient::new(&server, &token);
    let people: Vec<String> = ["ana", "bob", "cyd", "dan", "eve", "fay"]
        .iter()
        .map(|name| {
            let more = json!({"roleName": "<i>Boss</i>"});
            scim.create("/Users", &user(&format!("{name}@contoso.example"), more))
        })
        .collect();
    scim.create("/Groups", &group("SRE", json!({})));
    scim.expect(
        409,
        "POST",
        "/Users",
        Some(&user("ana@contoso.example", json!({}))),
    );
    scim.create("/Groups", &group("Ops", json!({})));
    browser.get("/settings");
    browser.must_show("figure\">6<");
    browser.must_show("figure\">2<");
    browser.must_show("&lt;i&gt;Boss&lt;&#x2f;i&gt;</code> (6 people)");
    browser.must_show("refused to create a user");
    browser.must_show("make them differ at the provider");
    browser.must_show("team created, Ops");
    browser.must_show("created team Ops</a>");
    assert!(!browser.shows("Removals are unusual") && !browser.shows("plain HTTP"));

    for id in &people[..5] {
        scim.expect(204, "DELETE", &format!("/Users/{id}"), None);
    }
    browser.get(PAGE);
    browser.must_show("Removals are unusual since");
    browser.get("/settings");
    browser.must_show("Removals are unusual since");
    browser.must_show("figure\">1<");
    browser.post("/settings", &[("do", "usual")]);
    browser.must_show("Removals are as they should be: ");
    assert!(!browser.shows("Removals are unusual since"));
}

#[test]
fn the_overview_of_a_tenant_shows_nothing_of_another() {
    let (server, mut browser) = unconnected();
    let other = Tenant::create(&server, "globex");
    let mut scim = other.client();
    scim.create(
        "/Users",
        &user("zoe@globex.example", json!({"roleName": "Boss"})),
    );
    scim.expect(
        409,
        "POST",
        "/Users",
        Some(&user("zoe@globex.example", json!({}))),
    );
    scim.create("/Groups", &group("Globex staff", json!({})));
    for page in ["/settings", PAGE] {
        browser.get(page);
        for word in ["zoe", "Boss", "Globex", "refused to"] {
            assert!(!browser.shows(word), "{page} shows {word}");
        }
    }
}
