//! Single Sign-On Settings: what may be entered, and where the client secret never shows up.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use rusqlite::Connection;

use crate::browser::Browser;
use crate::support::{PATIENCE, Server};
use crate::tenant::run;

const PAGE: &str = "/settings/sso";
const ID: &str = "7d1c9e02-5c7d-4e8f-9a0b-1c2d3e4f5a6b";
const SECRET: &str = "kE8~never-shown-again_Q";
const NEXT_SECRET: &str = "zZ9~nor-is-this-one_W";

/// What is entered for Entra ID.
fn entra(secret: &str) -> Vec<(&'static str, &str)> {
    vec![
        ("do", "save"),
        ("provider", "entra"),
        ("directory", ID),
        ("client_id", "2A6B2A34-5c7d-4e8f-9a0b-1c2d3e4f5a6b"),
        ("client_secret", secret),
    ]
}

/// A server with the tenants `acme` and `other`, and a browser that is signed in to the first.
fn acme() -> (Server, Browser) {
    let server = Server::start();
    run(&server, &["tenant", "create", "acme"]);
    run(&server, &["tenant", "create", "other"]);
    let mut browser = Browser::sign_in(&server, "acme");
    browser.get(PAGE);
    (server, browser)
}

#[track_caller]
fn database(server: &Server) -> Connection {
    let conn = Connection::open(server.data().join("rollcall.db")).unwrap();
    conn.busy_timeout(PATIENCE).unwrap();
    conn
}

#[test]
fn every_provider_has_a_card_and_a_form_with_the_redirect_uri() {
    let (server, mut browser) = acme();
    for title in [
        "Microsoft Azure",
        "Okta",
        "Google Workspace",
        "OpenID Connect",
    ] {
        browser.must_show(&format!("Set up {title}"));
    }
    assert_eq!(browser.page.matches("Not connected").count(), 4);
    let uri = format!("http://{}/sso/callback", server.address);
    for (provider, fields) in [
        ("entra", &["directory", "client_id", "client_secret"][..]),
        ("okta", &["issuer", "client_id", "client_secret"]),
        ("google", &["client_id", "directory", "client_secret"]),
        ("oidc", &["name", "issuer", "client_id", "client_secret"]),
    ] {
        browser.get(&format!("{PAGE}?provider={provider}"));
        assert_eq!(
            browser.value_by_id("redirect-uri").as_deref(),
            Some(uri.as_str())
        );
        for field in fields {
            browser.must_show(&format!("<label for=\"{field}\">"));
        }
    }
    assert_eq!(browser.get(&format!("{PAGE}?provider=nobody")).status, 200);
}

#[test]
fn a_mistake_is_told_at_its_field_and_what_was_typed_stays_but_for_the_secret() {
    let (_server, mut browser) = acme();
    for (fields, words) in [
        (
            vec![
                ("provider", "entra"),
                ("directory", "contoso.example"),
                ("client_id", ID),
            ],
            "looks like",
        ),
        (
            vec![
                ("provider", "entra"),
                ("directory", ID),
                ("client_id", ID),
                ("client_secret", ID),
            ],
            "This is the Secret ID",
        ),
        (
            vec![
                ("provider", "okta"),
                ("issuer", "acme-admin.okta.com"),
                ("client_id", "x"),
            ],
            "leave -admin out",
        ),
        (
            vec![
                ("provider", "google"),
                ("client_id", "x"),
                ("directory", "nodot"),
                ("client_secret", SECRET),
            ],
            "A domain looks like",
        ),
        (
            vec![
                ("provider", "oidc"),
                ("name", "A"),
                ("issuer", "http://a.example"),
                ("client_id", "x"),
            ],
            "begins with https://",
        ),
        (
            vec![
                ("provider", "oidc"),
                ("name", "A"),
                ("issuer", "https://a.example?b"),
                ("client_id", "x"),
            ],
            "no ? and no #",
        ),
        (
            vec![
                ("provider", "oidc"),
                ("name", "A"),
                ("issuer", "https://a.example#b"),
                ("client_id", "x"),
            ],
            "no ? and no #",
        ),
        (
            vec![
                ("provider", "oidc"),
                ("name", "A"),
                ("issuer", "https://a. example"),
                ("client_id", "x"),
            ],
            "a space in it",
        ),
        (
            vec![
                ("provider", "oidc"),
                ("name", "A"),
                ("issuer", "https://a.example"),
                ("client_id", "x"),
            ],
            "Enter the client secret",
        ),
    ] {
        browser.get(PAGE);
        let fields = [&fields[..], &[("do", "save")]].concat();
        assert_eq!(browser.post(PAGE, &fields).status, 400, "{fields:?}");
        let page = browser.page.replace("&#x2f;", "/");
        assert!(page.contains(words), "{words}: {page}");
        assert!(page.contains("aria-invalid=\"true\""), "{words}");
        let client_id = fields
            .iter()
            .find(|(name, _)| *name == "client_id")
            .unwrap()
            .1;
        assert_eq!(browser.value_by_id("client_id").as_deref(), Some(client_id));
        assert!(!browser.shows(SECRET));
    }
    browser.get(PAGE);
    let markup = [
        ("do", "save"),
        ("provider", "oidc"),
        ("name", "<b>\"A"),
        ("client_id", "x"),
    ];
    browser.post(PAGE, &markup);
    browser.must_show("value=\"&lt;b&gt;&quot;A\"");
    assert_eq!(
        browser
            .post(PAGE, &[("do", "save"), ("provider", "nobody")])
            .status,
        400
    );
}

#[test]
fn a_connection_is_saved_changed_replaced_and_removed_each_with_its_event() {
    let (server, mut browser) = acme();
    browser.post(PAGE, &entra(SECRET));
    browser.must_show("Set up, not connected yet");
    browser.must_show("Saved. Now connect it");
    assert_eq!(browser.page.matches("Not connected").count(), 3);
    browser.get(&format!("{PAGE}?provider=entra"));
    browser.must_show("A secret is stored");
    assert_eq!(browser.value_by_id("directory").as_deref(), Some(ID));
    assert_eq!(
        browser.value_by_id("client_id").as_deref(),
        Some("2a6b2a34-5c7d-4e8f-9a0b-1c2d3e4f5a6b")
    );
    let sealed = |server: &Server| -> Vec<u8> {
        let conn = database(server);
        conn.query_row("SELECT secret FROM connection", [], |row| row.get(0))
            .unwrap()
    };
    let first = sealed(&server);
    browser.post(PAGE, &entra(""));
    browser.must_show("Set up, not connected yet");
    assert_eq!(sealed(&server), first, "left empty, it is kept");
    browser.post(PAGE, &entra(NEXT_SECRET));
    assert_ne!(sealed(&server), first);
    // A secret never goes to another issuer or client than it was entered for.
    let mut other_client = entra("");
    other_client[3] = ("client_id", ID);
    browser.get(PAGE);
    assert_eq!(browser.post(PAGE, &other_client).status, 400);
    browser.must_show("none is stored for this issuer and client");
    browser.get(&format!("{PAGE}?provider=okta"));
    browser.must_show("Saving this removes the connection to Microsoft Azure");
    let okta = [
        ("do", "save"),
        ("provider", "okta"),
        ("issuer", "acme.okta.com"),
        ("client_id", "0oa1"),
        ("client_secret", SECRET),
    ];
    browser.post(PAGE, &okta);
    browser.must_show("https:&#x2f;&#x2f;acme.okta.com");
    assert_eq!(browser.page.matches("Set up, not connected yet").count(), 1);
    browser.post(PAGE, &[("do", "remove")]);
    browser.must_show("The connection and its secret are removed.");
    assert_eq!(browser.page.matches("Not connected").count(), 4);
    let events = run(&server, &["events", "--tenant", "acme", "-o", "json"]);
    assert_eq!(events.matches("connection.saved").count(), 4, "{events}");
    assert_eq!(events.matches("connection.removed").count(), 1);
}

#[test]
fn the_client_secret_stands_nowhere_but_sealed() {
    let (server, mut browser) = acme();
    let mut pages = String::new();
    browser.post(PAGE, &entra(SECRET));
    pages += &browser.page;
    browser.get(&format!("{PAGE}?provider=entra"));
    pages += &browser.page;
    // Not even while the password is asked for again.
    let stale = "UPDATE session SET authenticated = authenticated - 700000";
    database(&server).execute_batch(stale).unwrap();
    browser.get(&format!("{PAGE}?provider=entra"));
    browser.post(PAGE, &entra(NEXT_SECRET));
    browser.must_show("Confirm that it is you");
    pages += &browser.page;
    let left_out = browser.value_of("client_secret_left_out");
    assert_eq!(left_out.as_deref(), Some("yes"));
    let fresh = "UPDATE session SET authenticated = authenticated + 700000";
    database(&server).execute_batch(fresh).unwrap();
    let mut again = entra("");
    again.push(("client_secret_left_out", "yes"));
    assert_eq!(browser.post(PAGE, &again).status, 400);
    browser.must_show("Enter the client secret once more");
    pages += &browser.page;
    pages += &run(&server, &["events", "--tenant", "acme", "-o", "json"]);
    pages += &run(&server, &["log", "--tenant", "acme", "-o", "json"]);
    pages += &server.stderr();
    for secret in [SECRET, NEXT_SECRET] {
        assert!(!pages.contains(secret));
        for file in fs::read_dir(server.data()).unwrap() {
            let path = file.unwrap().path();
            let bytes = fs::read(&path).unwrap();
            let found = bytes
                .windows(secret.len())
                .any(|part| part == secret.as_bytes());
            assert!(!found, "{} has it", path.display());
        }
    }
    let key = server.data().join("rollcall.key");
    assert_eq!(fs::metadata(&key).unwrap().len(), 32);
    assert_eq!(
        fs::metadata(&key).unwrap().permissions().mode() & 0o777,
        0o600
    );
    // Another key opens nothing, and the page says so.
    fs::write(&key, [7; 32]).unwrap();
    browser.get(&format!("{PAGE}?provider=entra"));
    browser.must_show("The stored client secret can’t be read");
    fs::remove_file(&key).unwrap();
    browser.get(PAGE);
    browser.must_show("The stored client secret can’t be read");
    assert!(!key.exists(), "looking makes no key");
}

#[test]
fn another_tenant_neither_sees_nor_changes_it_nor_can_its_row_be_moved_there() {
    let (server, mut browser) = acme();
    browser.post(PAGE, &entra(SECRET));
    let mut theirs = Browser::sign_in(&server, "other");
    theirs.get(&format!("{PAGE}?provider=entra"));
    assert_eq!(theirs.page.matches("Not connected").count(), 4);
    assert!(!theirs.shows(ID));
    theirs.post(
        PAGE,
        &[("do", "remove"), ("provider", "entra"), ("tenant", "1")],
    );
    theirs.post(PAGE, &entra(NEXT_SECRET));
    theirs.must_show("Set up, not connected yet");
    browser.get(&format!("{PAGE}?provider=entra"));
    browser.must_show("A secret is stored, sealed");
    let moved = "DELETE FROM connection WHERE tenant = 2; UPDATE connection SET tenant = 2";
    database(&server).execute_batch(moved).unwrap();
    theirs.get(PAGE);
    theirs.must_show("The stored client secret can’t be read");
    browser.get(PAGE);
    assert_eq!(browser.page.matches("Not connected").count(), 4);
}

#[test]
fn where_it_is_enforced_passwords_work_for_break_glass_accounts_alone_and_are_warned_of() {
    let (server, mut admin) = acme();
    let file = server.data().join("password");
    fs::write(&file, "correct horse battery staple").unwrap();
    let file = file.to_str().unwrap();
    let account = [
        "account",
        "create",
        "ana@example.org",
        "--tenant",
        "acme",
        "--password-file",
        file,
    ];
    run(&server, &account);
    let sign_in = |words: &str| {
        let mut browser = Browser::new(&server);
        browser.get("/sign-in");
        let fields = [
            ("email", "ana@example.org"),
            ("password", "correct horse battery staple"),
        ];
        browser.post("/sign-in", &fields);
        browser.must_show(words);
    };
    admin.post(PAGE, &entra(SECRET));
    admin.post(PAGE, &[("do", "admit"), ("enforced", "yes")]);
    sign_in("Overview"); // nobody can sign in through it yet
    database(&server)
        .execute_batch("UPDATE connection SET connected = 1")
        .unwrap();
    sign_in("signs in through its provider alone");
    let conn = database(&server);
    let id: i64 = conn
        .query_row(
            "SELECT id FROM account WHERE email LIKE 'ana@%'",
            [],
            |row| row.get(0),
        )
        .unwrap();
    admin.get("/settings/accounts");
    let id = id.to_string();
    admin.post("/settings/accounts", &[("do", "exempt"), ("id", &id)]);
    admin.must_show("Break-glass");
    sign_in("You signed in past single sign-on");
    assert!(server.stderr().contains("signs in past single sign-on"));
    let events = run(&server, &["events", "--tenant", "acme", "-o", "json"]);
    assert!(events.contains("break-glass password"), "{events}");
    admin.post("/settings/accounts", &[("do", "unexempt"), ("id", &id)]);
    sign_in("signs in through its provider alone");
    admin.get(PAGE);
    admin.post(PAGE, &[("do", "disable")]);
    sign_in("Overview");
}
