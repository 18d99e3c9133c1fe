//! The attribute `password`: who sets it, who never sees it, and who signs in by it.

use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};

use rusqlite::Connection;
use serde_json::{Value, json};

use crate::browser::Browser;
use crate::bulk::{bulk_request, post};
use crate::hazards::{MIB, status};
use crate::support::Server;
use crate::tenant::{ScimClient, Tenant, group, patch_op, query_escape, run, text, user};

const FIRST: &str = "Zwetschgen-Roster";
const SECOND: &str = "Kobalt und Flieder";

/// The hash that is kept of somebody's password.
fn hash(server: &Server, user_name: &str) -> Option<String> {
    let conn = Connection::open(server.data().join("rollcall.db")).unwrap();
    let sql = "SELECT hash FROM password JOIN resource ON row = person
               WHERE document ->> '$.userName' = ? AND deleted_at IS NULL";
    conn.query_row(sql, [user_name], |row| row.get(0)).ok()
}

/// A tenant whose people may sign in by a password.
fn open<'a>(server: &'a Server, name: &str) -> Tenant<'a> {
    let tenant = Tenant::create(server, name);
    run(server, &["tenant", "set", name, "--password-sign-in", "on"]);
    tenant
}

#[track_caller]
fn sign_in(server: &Server, name: &str, password: &str) -> (u16, Browser) {
    let mut browser = Browser::new(server);
    browser.get("/sign-in");
    let answer = browser.post("/sign-in", &[("email", name), ("password", password)]);
    (answer.status, browser)
}

fn set(password: &str) -> Value {
    json!([{"op": "replace", "path": "password", "value": password}])
}

fn events(server: &Server) -> String {
    run(server, &["events", "--tenant", "acme", "-o", "json"])
}

/// Each hash takes 19 MiB, which the C library would keep for the thread.
#[test]
fn threads_that_hashed_hold_no_memory_for_it() {
    let server = Server::start();
    let tenant = Tenant::create(&server, "acme");
    let mut clients: Vec<ScimClient> = (0..4).map(|_| tenant.client()).collect();
    let mut create = |round: u32, more: Value| {
        for (n, client) in clients.iter_mut().enumerate() {
            client.create("/Users", &user(&format!("u{round}-{n}"), more.clone()));
        }
    };
    create(1, json!({}));
    let before = status(&server, "VmRSS");
    create(2, json!({"password": FIRST}));
    create(3, json!({"password": FIRST}));
    let grown = status(&server, "VmRSS").saturating_sub(before);
    assert!(grown < 8 * MIB, "{} MiB more", grown / MIB);
}

/// A group that names nobody is refused once it is written, and then all that came with it are made again.
#[test]
fn who_is_written_beside_something_refused_has_their_password_all_the_same() {
    let server = Server::start();
    let tenant = open(&server, "acme");
    let nobody = json!({"members": [{"value": "nobody"}]});
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for n in 0..6 {
            let (mut client, done) = (tenant.client(), &done);
            let refused = group(&format!("g{n}"), nobody.clone());
            scope.spawn(move || {
                let mut tries = 0..500;
                while !done.load(Ordering::Relaxed) && tries.next().is_some() {
                    assert!(client.call("POST", "/Groups", Some(&refused)).0 >= 400);
                }
            });
        }
        let mut client = tenant.client();
        for n in 0..20 {
            client.create(
                "/Users",
                &user(&format!("u{n}"), json!({"password": FIRST})),
            );
        }
        done.store(true, Ordering::Relaxed);
    });
    for n in 0..20 {
        assert!(
            hash(&server, &format!("u{n}"))
                .unwrap()
                .starts_with("$argon2id$")
        );
    }
}

#[test]
fn every_way_to_write_sets_it_as_argon2id_and_no_way_to_read_shows_it() {
    let server = Server::start();
    let tenant = Tenant::create(&server, "acme");
    let mut client = tenant.client();
    let config = client.get("/ServiceProviderConfig");
    assert_eq!(config["changePassword"], json!({"supported": true}));

    let id = client.create("/Users", &user("ana", json!({"password": FIRST})));
    let path = format!("/Users/{id}");
    let mut known = vec![hash(&server, "ana").expect("by POST")];
    assert!(
        known[0].starts_with("$argon2id$v=19$m=19456,t=2,p=1$"),
        "{known:?}"
    );
    let urn = "urn:ietf:params:scim:schemas:core:2.0:User";
    for operation in [
        json!({"op": "add", "path": "password", "value": SECOND}),
        json!({"op": "Replace", "path": format!("{urn}:PassWord"), "value": FIRST}),
        json!({"op": "replace", "value": {"password": SECOND}}),
    ] {
        client.patch(&path, json!([operation]));
        let new = hash(&server, "ana").expect("by PATCH");
        assert!(!known.contains(&new), "{operation} sets it");
        known.push(new);
    }
    client.expect(
        200,
        "PUT",
        &path,
        Some(&user("ana", json!({"password": FIRST}))),
    );
    let by_put = hash(&server, "ana");
    assert!(!known.contains(by_put.as_ref().expect("by PUT")));
    client.expect(
        200,
        "PUT",
        &path,
        Some(&user("ana", json!({"title": "Boss"}))),
    );
    assert_eq!(hash(&server, "ana"), by_put, "a PUT without one leaves it");
    client.patch(&path, json!([{"op": "remove", "path": "password"}]));
    assert_eq!(hash(&server, "ana"), None, "by PATCH remove");

    client.patch(&path, set(FIRST));
    for projection in [
        "",
        "?attributes=password",
        "?attributes=userName,password",
        "?excludedAttributes=title",
    ] {
        let shown = client.get(&format!("{path}{projection}"));
        assert_eq!(shown.get("password"), None, "{projection}: {shown}");
    }
    let answer = client.patch(&format!("{path}?attributes=password"), set(SECOND));
    assert!(!answer.to_string().contains("assword"), "{answer}");
    for filter in [
        format!("password eq \"{SECOND}\""),
        "password pr".to_owned(),
        "not (password sw \"K\")".to_owned(),
        format!("{urn}:password co \"a\""),
    ] {
        let refused = client.expect(
            400,
            "GET",
            &format!("/Users?filter={}", query_escape(&filter)),
            None,
        );
        assert_eq!(refused["scimType"], "invalidFilter", "{filter}");
        assert!(
            text(&refused["detail"]).contains("is never returned"),
            "{refused}"
        );
    }
    let refused = client.expect(400, "GET", "/Users?sortBy=password", None);
    assert!(
        text(&refused["detail"]).contains("never returned"),
        "{refused}"
    );
}

#[test]
fn what_is_no_good_password_is_refused_with_the_reason_and_nothing_changes() {
    let server = Server::start();
    let mut client = Tenant::create(&server, "acme").client();
    let id = client.create("/Users", &user("lovelace", json!({"password": FIRST})));
    let kept = hash(&server, "lovelace");
    let version = client.get(&format!("/Users/{id}"))["meta"]["version"].clone();
    for (password, reason) in [
        (
            json!("short"),
            "has 5 characters; choose one with at least 8",
        ),
        (json!("aaaaaaaaaaaaaaaa"), "easy to guess"),
        (json!("xx Lovelace 1815"), "contains the name"),
        (json!("x".repeat(2000)), "longer than 1,024 bytes"),
        (json!(73_519_824), "what was sent is not repeated"),
        (
            json!(["Kobalt und", "Flieder"]),
            "what was sent is not repeated",
        ),
    ] {
        let body = user(
            "lovelace",
            json!({"title": "Countess", "password": password}),
        );
        let patch = patch_op(json!([
            {"op": "replace", "path": "title", "value": "Countess"},
            {"op": "replace", "path": "password", "value": password},
        ]));
        let path = format!("/Users/{id}");
        let other = user("lovelace@x", json!({"password": password}));
        for (method, path, body) in [
            ("PUT", path.as_str(), &body),
            ("PATCH", &path, &patch),
            ("POST", "/Users", &other),
        ] {
            let refused = client.expect(400, method, path, Some(body));
            assert_eq!(refused["scimType"], "invalidValue", "{method} {password}");
            assert!(
                text(&refused["detail"]).contains(reason),
                "{method}: {refused}"
            );
        }
    }
    assert_eq!(hash(&server, "lovelace"), kept);
    assert_eq!(
        client.get(&format!("/Users/{id}"))["meta"]["version"],
        version
    );
    assert_eq!(client.get("/Users")["totalResults"], 1);
    let log = run(&server, &["log", "-o", "json", "-n", "1000"]);
    assert!(
        !log.contains("73519824") && !log.contains("Kobalt und"),
        "{log}"
    );
}

#[test]
fn a_bulk_request_sets_passwords_also_where_ids_are_not_known_yet() {
    let server = Server::start();
    let mut client = open(&server, "acme").client();
    let enterprise = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User";
    let managed_by = |id: &str, password: &str| json!({enterprise: {"manager": {"value": format!("bulkId:{id}")}}, "password": password});
    let operations = [
        post("/Users", "a", user("ana", managed_by("b", FIRST))),
        post("/Users", "b", user("bob", managed_by("a", SECOND))),
        post("/Users", "c", user("cyd", managed_by("a", "short"))),
        json!({"method": "PATCH", "path": "/Users/bulkId:d", "data": patch_op(set(SECOND))}),
        post("/Users", "d", user("dan", json!({"password": FIRST}))),
        post(
            "/Groups",
            "g",
            group("SRE", json!({"members": [{"value": "bulkId:a"}]})),
        ),
    ];
    let answer = client.expect(200, "POST", "/Bulk", Some(&bulk_request(&operations)));
    let statuses: Vec<_> = answer["Operations"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| text(&it["status"]))
        .collect();
    assert_eq!(
        statuses,
        ["201", "201", "400", "200", "201", "201"],
        "{answer}"
    );
    assert!(answer.to_string().contains("at least 8"), "{answer}");
    for (name, password) in [("ana", FIRST), ("bob", SECOND), ("dan", SECOND)] {
        assert_eq!(sign_in(&server, name, password).0, 200, "{name}");
    }
    assert_eq!(sign_in(&server, "dan", FIRST).0, 403);
}

#[test]
fn people_sign_in_by_it_only_where_their_tenant_lets_them() {
    let server = Server::start();
    let tenant = Tenant::create(&server, "acme");
    let mut client = tenant.client();
    client.create(
        "/Users",
        &user("Ana@Example.org", json!({"password": FIRST})),
    );
    let (status, browser) = sign_in(&server, "ana@example.org", FIRST);
    assert_eq!(status, 403, "off by default");
    browser.must_show("There is no account with this name and password");
    let mut admin = Browser::sign_in(&server, "acme");
    admin.get("/settings/accounts");
    admin.post(
        "/settings/accounts",
        &[("do", "people"), ("password_sign_in", "on")],
    );
    admin.must_show("People may sign in by userName");

    let (status, mut browser) = sign_in(&server, "ANA@example.org", FIRST);
    assert_eq!((status, browser.path.as_str()), (200, "/me"));
    browser.must_show("Ana@Example.org");
    assert_eq!(sign_in(&server, "ana@example.org", SECOND).0, 403);
    assert!(events(&server).contains("\"by\":\"password\""));
    assert_eq!(
        browser.get("/settings").status,
        403,
        "only who has the role for it"
    );

    admin.get("/settings/accounts");
    admin.post("/settings/accounts", &[("do", "people")]);
    admin.must_show("through the provider alone");
    assert_eq!(sign_in(&server, "ana@example.org", FIRST).0, 403);
    assert!(events(&server).contains("password_sign_in"));
}

#[test]
fn another_password_ends_sessions_and_the_same_one_changes_nothing() {
    let server = Server::start();
    let mut client = open(&server, "acme").client();
    let id = client.create("/Users", &user("ana", json!({"password": FIRST})));
    let path = format!("/Users/{id}");
    let (_, mut browser) = sign_in(&server, "ana", FIRST);
    let before = client.get(&path);
    let same = client.patch(&path, set(FIRST));
    assert_eq!(same["meta"], before["meta"], "it is so already");
    client.expect(
        200,
        "PUT",
        &path,
        Some(&user("ana", json!({"password": FIRST}))),
    );
    browser.get("/me");
    assert_eq!(browser.path, "/me", "still signed in");

    let after = client.patch(&path, set(SECOND));
    assert_ne!(after["meta"]["version"], before["meta"]["version"]);
    browser.get("/me");
    browser.must_show("Password");
    assert!(browser.path.starts_with("/sign-in"), "signed out");
    assert_eq!(sign_in(&server, "ana", FIRST).0, 403);
    assert_eq!(sign_in(&server, "ana", SECOND).0, 200);
    let events = events(&server);
    assert_eq!(
        events.matches("user.password_changed").count(),
        2,
        "{events}"
    );
    let log = run(&server, &["log", "-n", "1000"]);
    assert!(
        log.contains("changed password of user ana") && log.contains("changed nothing"),
        "{log}"
    );
}

#[test]
fn who_is_inactive_deleted_or_has_to_use_the_provider_stays_out() {
    let server = Server::start();
    let mut client = open(&server, "acme").client();
    let id = client.create("/Users", &user("ana", json!({"password": FIRST})));
    let path = format!("/Users/{id}");
    let active = |active: bool| json!([{"op": "replace", "path": "active", "value": active}]);
    let is_in = || sign_in(&server, "ana", FIRST).0 == 200;
    assert!(is_in());
    client.patch(&path, active(false));
    assert!(!is_in(), "inactive");
    client.patch(&path, active(true));
    assert!(is_in(), "active again");
    client.expect(204, "DELETE", &path, None);
    assert!(!is_in(), "deleted");
    run(&server, &["user", "restore", &id, "--tenant", "acme"]);
    assert!(is_in(), "restored with the password");

    server.sql(
        "INSERT INTO connection (tenant, provider, name, issuer, client_id, secret, created, changed, connected, enforced)
         SELECT id, 'oidc', 'Example', 'https://idp.example', 'x', x'00', 1, 1, 1, 1 FROM tenant",
    );
    let (status, browser) = sign_in(&server, "ana", FIRST);
    assert_eq!(status, 403);
    browser.must_show("signs in through its provider alone");
    server.sql("UPDATE connection SET disabled = 1");
    assert!(is_in(), "single sign-on is off");

    client.expect(204, "DELETE", &path, None);
    assert_eq!(
        client.create("/Users", &user("ana", json!({}))),
        id,
        "brought back"
    );
    assert_eq!(
        hash(&server, "ana"),
        None,
        "a namesake doesn't inherit a password"
    );
    assert!(!is_in());
}

#[test]
fn tries_are_slowed_and_two_tenants_may_have_people_of_one_name() {
    let server = Server::start();
    let (ours, theirs) = (open(&server, "acme"), open(&server, "contoso"));
    ours.client()
        .create("/Users", &user("ana", json!({"password": FIRST})));
    theirs
        .client()
        .create("/Users", &user("ana", json!({"password": SECOND})));
    for (password, organisation) in [(FIRST, "acme"), (SECOND, "contoso")] {
        let (_, browser) = sign_in(&server, "ana", password);
        browser.must_show(organisation);
    }
    let statuses: Vec<u16> = (0..8).map(|_| sign_in(&server, "ana", "wrong").0).collect();
    assert!(
        statuses.starts_with(&[403; 5]) && statuses.ends_with(&[429]),
        "{statuses:?}"
    );
    assert_eq!(
        sign_in(&server, "ana", FIRST).0,
        429,
        "not even the right one"
    );
}

#[test]
fn who_may_sign_in_by_it_changes_it_on_their_page() {
    let server = Server::start();
    let mut client = open(&server, "acme").client();
    let id = client.create("/Users", &user("ana", json!({"password": FIRST})));
    let version = client.get(&format!("/Users/{id}"))["meta"]["version"].clone();
    let (_, mut browser) = sign_in(&server, "ana", FIRST);
    let (_, mut elsewhere) = sign_in(&server, "ana", FIRST);
    browser.get("/me");
    browser.must_show("New password");
    for (old, new, words) in [
        ("wrong", SECOND, "old password is wrong"),
        (FIRST, "short", "at least 12"),
        (FIRST, SECOND, "The password is changed."),
    ] {
        browser.post("/me", &[("do", "password"), ("old", old), ("new", new)]);
        browser.must_show(words);
    }
    browser.get("/me");
    assert_eq!(browser.path, "/me");
    elsewhere.get("/me");
    assert!(
        elsewhere.path.starts_with("/sign-in"),
        "all others are signed out"
    );
    assert_eq!(sign_in(&server, "ana", SECOND).0, 200);
    assert_ne!(
        client.get(&format!("/Users/{id}"))["meta"]["version"],
        version
    );

    run(
        &server,
        &["tenant", "set", "acme", "--password-sign-in", "off"],
    );
    browser.get("/me");
    assert!(!browser.shows("New password"));
    browser.post(
        "/me",
        &[
            ("do", "password"),
            ("old", SECOND),
            ("new", "four unrelated words"),
        ],
    );
    browser.must_show("Your password is your provider");
}

#[test]
fn it_is_nowhere_in_the_clear_and_a_copy_takes_its_hash_along() {
    let server = Server::start_dev();
    let mut client = ScimClient::new(&server, &server.token);
    let id = client.create("/Users", &user("ana", json!({"password": FIRST})));
    client.patch(&format!("/Users/{id}"), set(SECOND));
    run(
        &server,
        &["tenant", "set", "dev", "--password-sign-in", "on"],
    );
    assert_eq!(sign_in(&server, "ana", SECOND).0, 200);
    let shown = run(&server, &["user", "show", "--tenant", "dev", "ana"]);
    let copy = run(&server, &["export", "--tenant", "dev", "-"]);
    let mut bytes = Vec::new();
    for name in ["rollcall.db", "rollcall.db-wal"] {
        bytes.extend(fs::read(server.data().join(name)).unwrap_or_default());
    }
    for text in [
        shown,
        copy.clone(),
        run(&server, &["events", "--tenant", "dev"]),
        server.stderr(),
    ] {
        bytes.extend(text.into_bytes());
    }
    for secret in [FIRST, SECOND] {
        assert!(
            !bytes
                .windows(secret.len())
                .any(|it| it == secret.as_bytes()),
            "{secret}"
        );
    }
    assert!(run(&server, &["doctor"]).contains("1 of people, all as argon2id hashes"));

    let other = Server::start();
    let file = other.data().join("copy");
    fs::write(&file, copy + "\n").unwrap();
    run(&other, &["import", file.to_str().unwrap()]);
    assert_eq!(sign_in(&other, "ana", SECOND).0, 200);
    assert_eq!(hash(&other, "ana"), hash(&server, "ana"));
}
