//! Connecting through the operator's application at Entra ID: who agrees, who signs in, and what is forged on the way.

use serde_json::{Value, json};

use crate::browser::Browser;
use crate::internet::{Internet, SECRET};
use crate::provider::{Asked, Provider};
use crate::sign_on::{CLIENT, OID, TID, comes_back, entra_person, issuer, sent_to};
use crate::support::Server;
use crate::tenant::run;

const PAGE: &str = "/settings/sso";
const CONSENT: &str = "/settings/sso/consent";
const OTHER: &str = "0f0f0f0f-5c7d-4e8f-9a0b-1c2d3e4f5a6b";
const CONNECTED: &str = "Azure Single Sign-On was successfully connected.";

/// A server whose operator has an application, with a tenant for each name.
#[track_caller]
fn start(names: &[&str]) -> (Internet, Server) {
    let internet = Internet::start();
    let own = [
        ("ROLLCALL_ENTRA_CLIENT_ID", CLIENT),
        ("ROLLCALL_ENTRA_CLIENT_SECRET", SECRET),
    ];
    let server = internet.server_with(&own, &[]);
    for name in names {
        run(&server, &["tenant", "create", name]);
    }
    (internet, server)
}

/// The administrator goes to agree; answers the query's fields.
#[track_caller]
fn asked(admin: &mut Browser) -> Asked {
    let sent_to = sent_to(admin, CONSENT);
    let at = "https://login.microsoftonline.com/organizations/v2.0/adminconsent?";
    assert!(sent_to.starts_with(at), "{sent_to}");
    assert!(
        sent_to.contains("scope=openid%20profile%20email"),
        "{sent_to}"
    );
    Asked::of(&sent_to)
}

/// The answer that an administrator of this directory agreed.
fn agreed(asked: &Asked, directory: &str) -> String {
    let state = &asked.state;
    asked.back(&format!(
        "admin_consent=True&tenant={directory}&scope=openid&state={state}"
    ))
}

/// The administrator agrees and signs in.
#[track_caller]
fn connect(admin: &mut Browser, directory: &Provider, id: &str, claims: Value) {
    let asked = asked(admin);
    comes_back(admin, &agreed(&asked, id), directory, claims);
}

#[track_caller]
fn connections(server: &Server) -> i64 {
    server.number("SELECT count(*) FROM connection")
}

#[test]
fn an_administrator_connects_by_agreeing_and_signing_in_and_people_sign_in() {
    let (internet, server) = start(&["acme"]);
    let entra = internet.provider(&issuer(TID));
    let mut admin = Browser::sign_in(&server, "acme");
    admin.get(PAGE);
    admin.must_show("An administrator of your directory agrees there");
    connect(
        &mut admin,
        &entra,
        TID,
        entra_person(OID, "boss", json!({})),
    );
    admin.must_show(CONNECTED);
    admin.must_show("Through the application of whoever runs this server.");
    admin.post(PAGE, &[("do", "admit"), ("creates_people", "yes")]);
    let mut eve = Browser::new(&server);
    let claims = entra_person("0c0c0c0c-5c7d-4e8f-9a0b-1c2d3e4f5a6b", "eve", json!({}));
    comes_back(&mut eve, "/sso/start/acme", &entra, claims);
    assert_eq!(eve.path, "/me");
    // Again is a test of it, and the same from the card.
    connect(
        &mut admin,
        &entra,
        TID,
        entra_person(OID, "boss", json!({})),
    );
    admin.must_show("Signing in works: you came back as boss@contoso.example.");
    comes_back(
        &mut admin,
        "/settings/sso/connect",
        &entra,
        entra_person(OID, "boss", json!({})),
    );
    admin.must_show("Signing in works");
    // Its form asks for an application of their own, and the secret is the server's alone.
    admin.get(&format!("{PAGE}?provider=entra"));
    assert_eq!(admin.value_by_id("client_id").as_deref(), Some(""));
    let events = run(&server, &["events", "--tenant", "acme", "-o", "json"]);
    assert!(
        events.contains("\"through_the_operators_application\":true"),
        "{events}"
    );
    assert!(!events.contains(SECRET) && !server.stderr().contains(SECRET));
    admin.post(PAGE, &[("do", "remove"), ("provider", "entra")]);
    assert_eq!(connections(&server), 0);
}

#[test]
fn a_forged_answer_that_names_another_directory_connects_nothing() {
    let (internet, server) = start(&["acme"]);
    let (entra, other) = (
        internet.provider(&issuer(TID)),
        internet.provider(&issuer(OTHER)),
    );
    let mut admin = Browser::sign_in(&server, "acme");
    let claims = || entra_person(OID, "boss", json!({}));
    // The directory of the answer is only where the administrator is asked to sign in, and they are of another one.
    for (signer, words) in [
        (&entra, "its ID token is from another issuer"),
        (&other, "this account is of another organisation"),
    ] {
        let asked = asked(&mut admin);
        let sent = sent_to(&mut admin, &agreed(&asked, OTHER));
        assert!(
            sent.starts_with(&format!("https://login.microsoftonline.com/{OTHER}/")),
            "{sent}"
        );
        let there = Asked::of(&sent);
        let token = signer.token(&signer.claims(&there, claims()));
        admin.get(&other.answer(&there, token));
        admin.must_show(&format!("Not connected. You are not signed in: {words}"));
        assert_eq!(connections(&server), 0);
    }
    // Nor does an answer that names none, an error, or a second use of the same one.
    for (query, words) in [
        ("admin_consent=True&tenant=common", "names no directory"),
        ("admin_consent=True", "names no directory"),
        (
            "admin_consent=True&tenant=9188040d-6c67-4c5b-b112-36a304b66dad",
            "names no directory",
        ),
        (
            "admin_consent=True&error=consent_required&error_description=AADSTS65004&tenant=1f6b2a34-5c7d-4e8f-9a0b-1c2d3e4f5a6b",
            "You did not agree to the permissions",
        ),
    ] {
        let asked = asked(&mut admin);
        admin.get(&asked.back(&format!("{query}&state={}", asked.state)));
        admin.must_show(words);
    }
    let once = asked(&mut admin);
    sent_to(&mut admin, &agreed(&once, TID));
    assert_eq!(admin.get(&agreed(&once, TID)).status, 400, "it works once");
    assert_eq!(connections(&server), 0);
}

#[test]
fn an_answer_that_another_administrator_began_connects_nothing() {
    let (internet, server) = start(&["acme", "evil"]);
    let entra = internet.provider(&issuer(TID));
    let mut admin = Browser::sign_in(&server, "acme");
    let mut mallory = Browser::sign_in(&server, "evil");
    // Mallory has the victim open the answer to Mallory's question, and the other way round.
    let theirs = asked(&mut mallory);
    assert_eq!(admin.get(&agreed(&theirs, TID)).status, 400);
    let mine = asked(&mut admin);
    assert_eq!(mallory.get(&agreed(&mine, TID)).status, 400);
    // The same in the second leg.
    let sent = sent_to(&mut mallory, &agreed(&theirs, TID));
    let back = entra.sign_in(&sent, entra_person(OID, "boss", json!({})));
    assert_eq!(admin.get(&back).status, 400);
    // Nor to the same browser once the session is over.
    let asked = asked(&mut admin);
    server.sql("DELETE FROM session WHERE tenant = (SELECT id FROM tenant WHERE name = 'acme')");
    assert_eq!(admin.get(&agreed(&asked, TID)).status, 400);
    assert_eq!(connections(&server), 0);
}

#[test]
fn a_directory_is_one_tenant_s_and_no_guest_s() {
    let (internet, server) = start(&["acme", "second"]);
    let entra = internet.provider(&issuer(TID));
    let mut admin = Browser::sign_in(&server, "acme");
    let guest = json!({"idp": format!("https://sts.windows.net/{OTHER}/")});
    connect(&mut admin, &entra, TID, entra_person(OID, "guest", guest));
    admin.must_show("You are a guest of this directory.");
    assert_eq!(connections(&server), 0);
    connect(
        &mut admin,
        &entra,
        TID,
        entra_person(OID, "boss", json!({})),
    );
    admin.must_show(CONNECTED);
    let mut second = Browser::sign_in(&server, "second");
    connect(
        &mut second,
        &entra,
        TID,
        entra_person(OID, "boss", json!({})),
    );
    second.must_show("This directory is connected to another organisation on this server already.");
    second.must_show("Not connected");
    assert_eq!(connections(&server), 1);
    // An application of their own shows that they manage the directory: that may be twice there.
    crate::sign_on::save(&mut second, "entra");
    comes_back(
        &mut second,
        "/settings/sso/connect",
        &entra,
        entra_person(OID, "boss", json!({})),
    );
    second.must_show(CONNECTED);
    assert_eq!(connections(&server), 2);
}

#[test]
fn what_there_is_goes_only_when_the_new_directory_has_signed_somebody_in() {
    let (internet, server) = start(&["acme"]);
    let entra = internet.provider(&issuer(TID));
    let okta = internet.provider("https://acme.okta.com");
    let mut admin = Browser::sign_in(&server, "acme");
    crate::sign_on::save(&mut admin, "okta");
    comes_back(
        &mut admin,
        "/settings/sso/connect",
        &okta,
        json!({"sub": "boss"}),
    );
    admin.must_show("the one that you have goes when you come back");
    let asked = asked(&mut admin);
    let sent = sent_to(&mut admin, &agreed(&asked, TID));
    let provider = "SELECT count(*) FROM connection WHERE provider = 'okta'";
    assert_eq!(server.number(provider), 1, "not before");
    admin.get(&entra.sign_in(&sent, entra_person(OID, "boss", json!({}))));
    admin.must_show(CONNECTED);
    assert_eq!(server.number(provider), 0);
}

#[test]
fn who_it_is_is_asked_first_and_an_application_that_is_gone_is_told() {
    let (internet, server) = start(&["acme"]);
    let entra = internet.provider(&issuer(TID));
    let mut admin = Browser::sign_in(&server, "acme");
    server.sql("UPDATE session SET authenticated = authenticated - 700000");
    admin.get(CONSENT);
    admin.must_show("Confirm that it is you");
    server.sql("UPDATE session SET authenticated = authenticated + 700000");
    connect(
        &mut admin,
        &entra,
        TID,
        entra_person(OID, "boss", json!({})),
    );
    let folder = tempfile::tempdir().unwrap();
    let copy = folder.path().join("copy.db");
    run(&server, &["backup", copy.to_str().unwrap()]);
    // The same database behind a server without that application.
    let without = internet.server(&[]);
    run(&without, &["tenant", "create", "acme"]);
    let mut admin = Browser::sign_in(&without, "acme");
    admin.get(PAGE);
    assert!(!admin.shows("agrees there"));
    assert_eq!(admin.get(CONSENT).status, 200);
    assert_eq!(admin.path, PAGE);
    let columns = "provider, name, issuer, client_id, directory, created, changed, connected";
    without.sql(&format!(
        "ATTACH '{}' AS copy; INSERT INTO connection (tenant, {columns}) SELECT 1, {columns} FROM copy.connection",
        copy.display()
    ));
    admin.get(PAGE);
    admin.must_show("This server is started without that application");
    let mut eve = Browser::new(&without);
    comes_back(
        &mut eve,
        "/sso/start/acme",
        &entra,
        entra_person(OID, "eve", json!({})),
    );
    eve.must_show("the application of this server is not set up any more");
}

#[test]
fn an_application_needs_an_id_and_a_secret() {
    let server = Server::start();
    for (options, words) in [
        (vec!["--entra-client-id", "rollcall"], "it looks like"),
        (vec!["--entra-client-id", CLIENT], "needs a secret"),
        (
            vec![
                "--entra-client-id",
                CLIENT,
                "--entra-client-secret-file",
                "/nowhere",
            ],
            "/nowhere",
        ),
        (
            vec!["--entra-client-secret-file", "/nowhere"],
            "--entra-client-id",
        ),
    ] {
        let output =
            server.rollcall(&[&["serve", "--listen", "127.0.0.1:0"], &options[..]].concat());
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(
            !output.status.success() && said.contains(words),
            "{options:?}: {said}"
        );
    }
    let file = server.data().join("secret");
    std::fs::write(&file, format!("{SECRET}\n")).unwrap();
    let options = [
        "--entra-client-id",
        CLIENT,
        "--entra-client-secret-file",
        file.to_str().unwrap(),
    ];
    let with = Server::start_with(&options);
    run(&with, &["tenant", "create", "acme"]);
    let mut admin = Browser::sign_in(&with, "acme");
    admin.get(PAGE);
    admin.must_show("agrees there");
}
