//! Signing out at the provider and from there, secrets that are rotated, and links that provisioning takes away.

use serde_json::{Value, json};

use crate::browser::{Browser, encoded};
use crate::internet::SECRET;
use crate::provider::now;
use crate::sign_on::{Acme, CLIENT, OID, entra_person, issuer};
use crate::support::Server;
use crate::tenant::{run, user};

const PAGE: &str = "/settings/sso";
const NEXT: &str = "zZ9~the-newer-secret";
const LOGOUT: &str = "/sso/logout/acme";
const EVENT: &str = "http://schemas.openid.net/event/backchannel-logout";

fn ana() -> Value {
    entra_person(OID, "ana", json!({}))
}

#[track_caller]
fn acme_with_ana(more: Value) -> (Acme, String) {
    let acme = Acme::connected();
    let mut scim = acme.tenant().client();
    let id = scim.create("/Users", &user("ana@contoso.example", more));
    (acme, id)
}

fn known() -> Value {
    json!({"externalId": OID, "displayName": "Ana Silva"})
}

fn is_in(browser: &mut Browser) -> bool {
    browser.get("/me");
    browser.path == "/me"
}

/// The status of a logout token that says `more`; null takes a claim away.
#[track_caller]
fn logs_out(acme: &Acme, more: Value) -> u16 {
    let mut claims = json!({
        "iss": acme.provider.issuer, "aud": CLIENT, "iat": now(), "exp": now() + 120, "jti": "1", "oid": OID, "sub": "x",
        "events": {EVENT: {}},
    });
    for (name, value) in more.as_object().unwrap() {
        claims[name] = value.clone();
    }
    let token = acme.provider.token(&claims);
    post(&acme.server, &token)
}

fn post(server: &Server, token: &str) -> u16 {
    let body = encoded(&[("logout_token", token)]);
    let kind = [("Content-Type", "application/x-www-form-urlencoded")];
    let answer = server
        .anyone()
        .request("POST", LOGOUT, &kind, body.as_bytes());
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    answer.status
}

#[test]
fn a_logout_token_from_the_provider_s_server_ends_sessions_once() {
    let (acme, _) = acme_with_ana(known());
    let mut browser = acme.visitor(ana());
    for more in [
        json!({"iss": issuer(OID)}),
        json!({"aud": "other"}),
        json!({"iat": now() + 400}),
        json!({"iat": now() - 700, "exp": now() + 3600}),
        json!({"exp": now() - 400}),
        json!({"jti": null}),
        json!({"events": {}}),
        json!({"nonce": "x"}),
        json!({"oid": null}),
    ] {
        assert_eq!(logs_out(&acme, more.clone()), 400, "{more}");
        assert!(is_in(&mut browser), "{more}");
    }
    assert_eq!(post(&acme.server, "x"), 400);
    assert_eq!(post(&acme.server, ""), 400);
    assert_eq!(logs_out(&acme, json!({})), 200);
    assert!(!is_in(&mut browser));
    let mut again = acme.visitor(ana());
    assert_eq!(
        logs_out(&acme, json!({})),
        400,
        "the same one a second time"
    );
    assert!(is_in(&mut again));
    assert_eq!(logs_out(&acme, json!({"jti": "2", "sid": "another"})), 200);
    assert!(is_in(&mut again), "only that session of the provider's");
    assert_eq!(
        logs_out(
            &acme,
            json!({"jti": "3", "oid": null, "sid": format!("sid-{OID}")})
        ),
        200
    );
    assert!(!is_in(&mut again));
    let events = run(&acme.server, &["events", "--tenant", "acme", "-o", "json"]);
    assert_eq!(events.matches("user.signed_out").count(), 2);
}

#[test]
fn a_frame_that_names_the_provider_s_session_ends_ours() {
    let (acme, _) = acme_with_ana(known());
    let mut browser = acme.visitor(ana());
    let sid = format!("sid-{OID}");
    let ours = acme.provider.issuer.as_str();
    let frame = |fields: &[(&str, &str)]| {
        let path = format!("{LOGOUT}?{}", encoded(fields));
        acme.server.anyone().get(&path).status
    };
    assert_eq!(frame(&[]), 400);
    assert_eq!(frame(&[("iss", ours)]), 400);
    assert_eq!(frame(&[("iss", ours), ("sid", "")]), 400);
    assert_eq!(
        frame(&[("iss", &issuer(OID)), ("sid", &sid)]),
        400,
        "another issuer"
    );
    assert_eq!(frame(&[("iss", ours), ("sid", "another")]), 200);
    assert!(is_in(&mut browser));
    assert_eq!(frame(&[("iss", ours), ("sid", &sid)]), 200);
    assert!(!is_in(&mut browser));
    assert_eq!(
        acme.server.anyone().get("/sso/logout/nobody?sid=x").status,
        400
    );
}

#[test]
fn who_signs_out_is_out_here_and_shown_the_way_out_there() {
    let (acme, _) = acme_with_ana(known());
    let mut browser = acme.visitor(ana());
    let cookies = browser.cookies.clone();
    browser.get("/me");
    browser.post("/sign-out", &[]);
    browser.must_show("You are signed out here, but Microsoft Azure may still know you");
    let page = browser.page.replace("&#x2f;", "/").replace("&amp;", "&");
    let origin = format!("http://{}", acme.server.address);
    let back = encoded(&[("post_logout_redirect_uri", &format!("{origin}/sign-in"))]);
    let back = back
        .replace("%2E", ".")
        .replace("%2D", "-")
        .replace("post%5Flogout%5Fredirect%5Furi", "post_logout_redirect_uri");
    let end = acme.provider.issuer.replace("/v2.0", "/oauth2/v2.0/logout");
    assert!(
        page.contains(&format!("{end}?client_id={CLIENT}&{back}")),
        "{back}: {page}"
    );
    let mut copy = Browser::new(&acme.server);
    copy.cookies = cookies;
    assert!(!is_in(&mut copy));
}

#[test]
fn a_newer_secret_takes_over_when_the_provider_accepts_it_and_both_work_until_then() {
    let (mut acme, _) = acme_with_ana(known());
    let entra = [
        ("do", "save"),
        ("provider", "entra"),
        ("directory", crate::sign_on::TID),
        ("client_id", CLIENT),
        ("client_secret", NEXT),
    ];
    acme.admin.get(PAGE);
    acme.admin.post(PAGE, &entra);
    acme.admin.must_show("Both work until then.");
    let waits = "SELECT count(*) FROM connection WHERE next_secret IS NOT NULL";
    acme.visitor(ana()).must_show("Ana Silva");
    assert_eq!(
        acme.server.number(waits),
        1,
        "the provider knows only the old one"
    );
    acme.internet.accept(&[SECRET, NEXT]);
    acme.visitor(ana()).must_show("Ana Silva");
    assert_eq!(acme.server.number(waits), 0);
    acme.internet.accept(&[NEXT]);
    acme.visitor(ana()).must_show("Ana Silva");
    acme.internet.accept(&["another"]);
    acme.visitor(ana()).must_show("The client secret is wrong.");
    let events = run(&acme.server, &["events", "--tenant", "acme", "-o", "json"]);
    assert_eq!(events.matches("connection.rotated").count(), 1);
}

#[test]
fn another_external_id_drops_the_link_and_ends_the_sessions_at_once() {
    let (acme, id) = acme_with_ana(known());
    let mut scim = acme.tenant().client();
    let mut browser = acme.visitor(ana());
    let path = format!("/Users/{id}");
    let mut give = |external_id: &str| {
        scim.patch(
            &path,
            json!([{"op": "Replace", "path": "externalId", "value": external_id}]),
        );
    };
    give(&OID.to_uppercase());
    assert!(is_in(&mut browser), "the same ID");
    give("ana.silva");
    assert!(
        is_in(&mut browser),
        "a mail nickname says nothing of who it is"
    );
    give("9e1c9e02-5c7d-4e8f-9a0b-1c2d3e4f5a6b");
    assert_eq!(acme.count("identity"), 0);
    assert!(!is_in(&mut browser));
    acme.visitor(ana()).must_show("You are not provisioned yet");
    let events = run(&acme.server, &["events", "--tenant", "acme", "-o", "json"]);
    assert_eq!(events.matches("identity.unlinked").count(), 1);
    give(OID);
    acme.visitor(ana()).must_show("Ana Silva");
}

#[test]
fn a_name_finds_a_user_once_and_never_one_who_may_open_the_settings() {
    let (mut acme, id) = acme_with_ana(json!({"displayName": "Ana Silva", "roleName": "Admin"}));
    acme.visitor(ana()).must_show("You are not provisioned yet");
    acme.admits(&[("matches_user_name", "yes")]);
    acme.visitor(ana())
        .must_show("The user with your name may open the settings");
    assert_eq!(acme.count("identity"), 0);
    let mut scim = acme.tenant().client();
    let path = format!("/Users/{id}");
    scim.patch(
        &path,
        json!([{"op": "Replace", "path": "roleName", "value": "Member"}]),
    );
    acme.visitor(ana()).must_show("Ana Silva");
    let other = entra_person("9e1c9e02-5c7d-4e8f-9a0b-1c2d3e4f5a6b", "ana", json!({}));
    acme.visitor(other)
        .must_show("There is a user with your name");
    assert_eq!(acme.count("identity WHERE linked_by = 'userName'"), 1);
}
