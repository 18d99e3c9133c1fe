//! What must not get anybody in, or in as somebody else: a test for each attack, against a provider shaped like Entra ID.
//!
//! `tests/browser/sign_on_attacks.test.mjs` does some of it again with a provider that others wrote, in Chromium.

use std::time::Instant;

use serde_json::{Value, json};

use crate::browser::{Browser, encoded};
use crate::internet::{Internet, Reply};
use crate::provider::{Asked, Provider};
use crate::sign_on::{Acme, OID, TID, comes_back, entra_person, issuer, save, sent_to};
use crate::support::Server;
use crate::tenant::{run, user};

const START: &str = "/sso/start/acme";
const VICTIM: &str = "5e1c9e02-5c7d-4e8f-9a0b-1c2d3e4f5a6b";

fn ana() -> Value {
    entra_person(OID, "ana", json!({}))
}

/// Acme, where Ana is provisioned.
#[track_caller]
fn acme_with_ana() -> (Acme, String) {
    let acme = Acme::connected();
    let body = json!({"externalId": OID, "displayName": "Ana Silva"});
    let id = acme
        .tenant()
        .client()
        .create("/Users", &user("ana@contoso.example", body));
    (acme, id)
}

/// Whether this browser is signed in.
fn is_in(browser: &mut Browser) -> bool {
    browser.get("/me");
    browser.path == "/me"
}

#[test]
fn an_answer_is_worth_nothing_in_another_browser() {
    let (acme, _) = acme_with_ana();
    let mut mine = Browser::new(&acme.server);
    let back = acme.provider.sign_in(&sent_to(&mut mine, START), ana());
    let mut fresh = Browser::new(&acme.server);
    assert_eq!(fresh.get(&back).status, 400);
    fresh.must_show("begun in another browser");
    let mut known = Browser::new(&acme.server);
    known.get("/sign-in");
    assert_eq!(known.get(&back).status, 400, "with a cookie of ours, too");
    assert!(!is_in(&mut fresh) && !is_in(&mut known));
    // And it isn't used up by them.
    mine.get(&back);
    mine.must_show("Ana Silva");
}

#[test]
fn nobody_is_signed_in_as_the_attacker_without_knowing() {
    let (acme, _) = acme_with_ana();
    // Mallory, a person of the directory, too, keeps an answer back and has the victim's browser open it.
    let mut mallory = Browser::new(&acme.server);
    let back = acme.provider.sign_in(&sent_to(&mut mallory, START), ana());
    let mut victim = Browser::new(&acme.server);
    // Even while the victim is on the way there as well.
    let own = sent_to(&mut victim, START);
    assert_eq!(victim.get(&back).status, 400);
    assert!(!is_in(&mut victim));
    // Mallory's code with the victim's own state: the code was given for another challenge.
    let code = back
        .split("code=")
        .nth(1)
        .unwrap()
        .split('&')
        .next()
        .unwrap();
    let asked = Asked::of(&own);
    victim.get(&asked.back(&format!("code={code}&state={}", asked.state)));
    victim.must_show("This sign-in was used already");
    assert!(!is_in(&mut victim));
}

#[test]
fn an_answer_works_once() {
    let (acme, _) = acme_with_ana();
    let mut mine = Browser::new(&acme.server);
    let back = acme.provider.sign_in(&sent_to(&mut mine, START), ana());
    let before = mine.cookies.clone();
    mine.get(&back);
    mine.must_show("Ana Silva");
    assert_eq!(mine.get(&back).status, 400, "signed in");
    let mut again = Browser::new(&acme.server);
    again.cookies = before;
    assert_eq!(again.get(&back).status, 400, "with the cookie of before");
    assert!(!is_in(&mut again));
}

#[test]
fn a_code_works_once_and_a_token_belongs_to_one_sign_in() {
    let (acme, _) = acme_with_ana();
    let mut browser = Browser::new(&acme.server);
    let first = Asked::of(&sent_to(&mut browser, START));
    let token = acme.provider.token(&acme.provider.claims(&first, ana()));
    let code = acme.provider.code(&first, token.clone());
    browser.get(&first.back(&format!("code={code}&state={}", first.state)));
    browser.must_show("Ana Silva");
    let mut browser = Browser::new(&acme.server);
    let second = Asked::of(&sent_to(&mut browser, START));
    browser.get(&second.back(&format!("code={code}&state={}", second.state)));
    browser.must_show("This sign-in was used already");
    // A provider that gives the old token once more, for a new code.
    let third = Asked::of(&sent_to(&mut browser, START));
    browser.get(&acme.provider.answer(&third, token));
    browser.must_show("its ID token belongs to another sign-in");
    assert!(!is_in(&mut browser));
}

#[test]
fn an_answer_is_late_after_ten_minutes() {
    let (acme, _) = acme_with_ana();
    let mut browser = Browser::new(&acme.server);
    let back = acme.provider.sign_in(&sent_to(&mut browser, START), ana());
    acme.server
        .sql("UPDATE sso_attempt SET expires = expires - 600000");
    assert_eq!(browser.get(&back).status, 400);
    browser.must_show("older than ten minutes");
}

/// Two tenants of one server: `acme` at Entra ID, `evil` at a provider of Mallory's.
fn two_tenants() -> (Acme, Provider) {
    let (acme, _) = acme_with_ana();
    let evil = acme
        .internet
        .provider("https://login.example.org/realms/a")
        .with_key(1);
    evil.publish(json!({}));
    run(&acme.server, &["tenant", "create", "evil"]);
    let mut mallory = Browser::sign_in(&acme.server, "evil");
    save(&mut mallory, "oidc");
    comes_back(
        &mut mallory,
        "/settings/sso/connect",
        &evil,
        json!({"sub": "mallory"}),
    );
    mallory.must_show("successfully connected");
    (acme, evil)
}

#[test]
fn an_answer_of_one_tenant_s_provider_is_none_for_another_tenant() {
    let (acme, evil) = two_tenants();
    // Mallory's provider forges Ana's token, for the state that was begun for acme.
    let mut browser = Browser::new(&acme.server);
    let asked = Asked::of(&sent_to(&mut browser, START));
    let forged = evil.token(&acme.provider.claims(&asked, ana()));
    browser.get(&evil.answer(&asked, forged));
    browser.must_show("is signed with a key that it does not publish");
    let asked = Asked::of(&sent_to(&mut browser, START));
    let header = json!({"alg": "RS256", "kid": "key-1"});
    let forged = evil.signed(&header, &acme.provider.claims(&asked, ana()));
    browser.get(&evil.answer(&asked, forged));
    browser.must_show("the signature of its ID token is wrong");
    assert!(!is_in(&mut browser));
    // It says who it is, and another one was asked (RFC 9207).
    let asked = Asked::of(&sent_to(&mut browser, START));
    let token = evil.token(&evil.claims(&asked, json!({"sub": "x"})));
    let code = evil.code(&asked, token);
    for iss in [
        evil.issuer.as_str(),
        "https://login.microsoftonline.com/{tenantid}/v2.0",
    ] {
        let asked = Asked::of(&sent_to(&mut browser, START));
        let query = encoded(&[("code", &code), ("state", &asked.state), ("iss", iss)]);
        assert_eq!(browser.get(&asked.back(&query)).status, 403);
        browser.must_show("The answer is from another provider.");
    }
    // A code of acme's provider that is brought to Mallory's: it never gets there with acme's secret or verifier.
    let (mut one, mut other) = (Browser::new(&acme.server), Browser::new(&acme.server));
    let at_acme = Asked::of(&sent_to(&mut one, START));
    let code = acme.provider.code(
        &at_acme,
        acme.provider.token(&acme.provider.claims(&at_acme, ana())),
    );
    let at_evil = Asked::of(&sent_to(&mut other, "/sso/start/evil"));
    other.get(&at_evil.back(&encoded(&[("code", &code), ("state", &at_evil.state)])));
    assert!(!is_in(&mut other));
    // And both states stay with the tenant for which they were begun.
    one.get(&at_acme.back(&encoded(&[("code", "x"), ("state", &at_evil.state)])));
    one.must_show("begun in another browser");
}

#[test]
fn a_provider_that_names_itself_in_answers_must_do_so() {
    let (acme, evil) = two_tenants();
    evil.publish(json!({"authorization_response_iss_parameter_supported": true}));
    let other = "https://login.example.net";
    let server = acme.internet.server(&[]);
    run(&server, &["tenant", "create", "acme"]);
    let mut admin = Browser::sign_in(&server, "acme");
    save(&mut admin, "oidc");
    let mut come = |iss: Option<&str>| {
        let asked = Asked::of(&sent_to(&mut admin, "/settings/sso/connect"));
        let token = evil.token(&evil.claims(&asked, json!({"sub": "boss"})));
        let code = evil.code(&asked, token);
        let mut fields = vec![("code", code.as_str()), ("state", asked.state.as_str())];
        fields.extend(iss.map(|iss| ("iss", iss)));
        admin.get(&asked.back(&encoded(&fields)));
        admin.shows("successfully connected")
    };
    assert!(!come(None) && !come(Some(other)) && !come(Some("")));
    assert!(!come(Some("https://login.example.org/realms/a/")));
    assert!(come(Some(&evil.issuer)));
}

#[test]
fn somebody_else_s_address_or_name_in_an_attacker_s_directory_is_of_no_use() {
    let (mut acme, _) = acme_with_ana();
    let mut scim = acme.tenant().client();
    let emails = json!([{"value": "victim@contoso.example", "type": "work", "primary": true}]);
    let body =
        json!({"externalId": VICTIM, "displayName": "Vic", "emails": emails, "roleName": "Admin"});
    scim.create("/Users", &user("victim@contoso.example", body));
    let claims = json!({
        "email": "victim@contoso.example", "email_verified": true, "xms_edov": true, "verified_primary_email": ["victim@contoso.example"],
        "preferred_username": "victim@contoso.example", "upn": "victim@contoso.example",
    });
    let refused = |acme: &Acme, more: Value, words: &str| {
        let mut all = claims.clone();
        all.as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        let mut browser = acme.visitor(entra_person(
            OID.replace("7d1c", "6666").as_str(),
            "mallory",
            all,
        ));
        browser.must_show(words);
        assert!(!is_in(&mut browser));
    };
    // In a directory of Mallory's own, with Mallory's issuer or with ours.
    let evil = "0e0e0e0e-5c7d-4e8f-9a0b-1c2d3e4f5a6b";
    refused(
        &acme,
        json!({"tid": evil, "iss": issuer(evil)}),
        "its ID token is from another issuer",
    );
    refused(
        &acme,
        json!({"tid": evil}),
        "this account is of another organisation",
    );
    // In the same directory, by another account there.
    refused(&acme, json!({}), "You are not provisioned yet");
    acme.admits(&[("creates_people", "yes")]);
    refused(&acme, json!({}), "There is a user with your name");
    acme.admits(&[("creates_people", "yes"), ("matches_user_name", "yes")]);
    refused(&acme, json!({}), "There is a user with your name");
    assert_eq!(acme.count("identity"), 0);
    assert_eq!(acme.count("resource WHERE kind = 'User'"), 2);
}

#[test]
fn a_sign_in_leads_to_pages_of_ours_whatever_the_address_says() {
    let (acme, _) = acme_with_ana();
    let leads = |next: &str| {
        let mut browser = Browser::new(&acme.server);
        let sent = sent_to(&mut browser, &format!("{START}?next={next}"));
        let back = acme.provider.sign_in(&sent, ana());
        let answer = browser.request("GET", &back, "");
        assert_eq!(answer.status, 303);
        answer.header("location").unwrap().to_owned()
    };
    for next in [
        "//evil.example",
        "///evil.example",
        "/%2Fevil.example",
        "%2F%2Fevil.example",
        "%252F%252Fevil.example",
        "/%5Cevil.example",
        "%5C%5Cevil.example",
        "/me%5C..%5C%5Cevil.example",
        "https%3A%2F%2Fevil.example",
        "https%3Aevil.example",
        "javascript%3Aalert(1)",
        "%2Fme%40evil.example",
        "https%3A%2F%2F127.0.0.1%40evil.example%2F",
        "/me%0D%0ASet-Cookie:%20a=b",
        "/me%0ALocation:%20https://evil.example",
        "%09//evil.example",
        "%20//evil.example",
        "/me%00",
        "/sign-out",
        "/sso/start/evil",
        "/meevil",
        "%E2%81%84%E2%81%84evil.example",
        "",
    ] {
        assert_eq!(leads(next), "/me", "{next}");
    }
    assert_eq!(leads("/settings%2Fpeople"), "/settings/people");
    assert_eq!(
        leads("/me%3Fa=%2F%2Fevil.example"),
        "/me?a=//evil.example",
        "in our own query it does no harm"
    );
    // The sign-in page passes it on by the same rule.
    let mut browser = Browser::new(&acme.server);
    browser.get("/sign-in?next=//evil.example");
    assert!(!browser.shows("evil.example"));
}

#[test]
fn a_cookie_that_somebody_else_knows_is_of_no_use_after_the_sign_in() {
    let (acme, _) = acme_with_ana();
    let planted = "ab".repeat(32);
    let mut victim = Browser::new(&acme.server);
    victim
        .cookies
        .insert("rollcall".to_owned(), planted.clone());
    comes_back(&mut victim, START, &acme.provider, ana());
    victim.must_show("Ana Silva");
    assert_ne!(victim.cookies["rollcall"], planted);
    let mut mallory = Browser::new(&acme.server);
    mallory.cookies.insert("rollcall".to_owned(), planted);
    assert!(!is_in(&mut mallory));
    // Who signs in again has a new session, and the one before is over.
    let before = victim.cookies.clone();
    comes_back(&mut victim, START, &acme.provider, ana());
    let mut old = Browser::new(&acme.server);
    old.cookies = before;
    assert!(is_in(&mut victim) && !is_in(&mut old));
}

#[test]
fn who_is_deactivated_or_deleted_on_the_way_does_not_get_in() {
    let (acme, id) = acme_with_ana();
    let mut scim = acme.tenant().client();
    acme.visitor(ana()).must_show("Ana Silva");
    let mut browser = Browser::new(&acme.server);
    let (first, second) = (sent_to(&mut browser, START), sent_to(&mut browser, START));
    let path = format!("/Users/{id}");
    scim.patch(
        &path,
        json!([{"op": "Replace", "path": "active", "value": "False"}]),
    );
    browser.get(&acme.provider.sign_in(&first, ana()));
    browser.must_show("Your user is deactivated.");
    scim.expect(204, "DELETE", &path, None);
    browser.get(&acme.provider.sign_in(&second, ana()));
    browser.must_show("Your user was removed.");
    assert!(!is_in(&mut browser));
    let stays = "SELECT count(*) FROM resource WHERE kind = 'User' AND deleted_at IS NULL";
    assert_eq!(acme.server.number(stays), 0, "no ghost row");
}

#[test]
fn a_connection_that_changes_on_the_way_signs_nobody_in() {
    let (mut acme, _) = acme_with_ana();
    let mut browser = Browser::new(&acme.server);
    let sent = [(); 3].map(|()| sent_to(&mut browser, START));
    let page = "/settings/sso";
    acme.admin.post(page, &[("do", "disable")]);
    browser.get(&acme.provider.sign_in(&sent[0], ana()));
    browser.must_show("The connection to the provider was changed meanwhile.");
    acme.admin.post(page, &[("do", "enable")]);
    save(&mut acme.admin, "okta");
    browser.get(&acme.provider.sign_in(&sent[1], ana()));
    browser.must_show("was changed meanwhile");
    acme.admin.post(page, &[("do", "remove")]);
    browser.get(&acme.provider.sign_in(&sent[2], ana()));
    browser.must_show("was changed meanwhile");
    assert!(!is_in(&mut browser));
}

/// A server whose tenant `acme` waits to be connected to the provider at `https://login.example.org/realms/a`.
fn to_connect(internet: &Internet) -> (Server, Browser) {
    let server = internet.server(&[]);
    run(&server, &["tenant", "create", "acme"]);
    let mut admin = Browser::sign_in(&server, "acme");
    save(&mut admin, "oidc");
    (server, admin)
}

/// An answer of this status, type and body.
fn raw(status: u16, kind: &'static str, body: impl Into<Vec<u8>>) -> Reply {
    Reply::Raw(status, kind, String::new(), body.into())
}

/// What no provider answers, and what is said of it.
fn lies() -> Vec<(Reply, &'static str)> {
    let json = "application/json";
    let redirect = "Location: https://login.example.net/\r\n".to_owned();
    vec![
        (
            Reply::Raw(302, json, redirect, b"{}".to_vec()),
            "it redirects where it should answer",
        ),
        (
            raw(200, "text/html", "<h1>Sign in to the network"),
            "no JSON",
        ),
        (raw(200, "text/plain", "{}"), "no JSON"),
        (raw(200, json, "{"), "not JSON"),
        (raw(200, json, vec![b'['; 300_000]), "not JSON"),
        (
            raw(200, json, vec![b' '; 10_000_000]),
            "its answer is too long",
        ),
        (raw(503, json, "{}"), "status 503"),
        (Reply::Nothing, "can’t be reached"),
    ]
}

#[test]
fn what_a_lying_provider_says_of_itself_is_not_believed() {
    let internet = Internet::start();
    let provider = internet.provider("https://login.example.org/realms/a");
    let (_server, mut admin) = to_connect(&internet);
    let mut told = |words: &str| {
        admin.get("/settings/sso/connect");
        admin.must_show("Not connected: the provider");
        admin.must_show(words);
    };
    for (reply, words) in lies() {
        internet.put(&provider.document_url(), reply);
        told(words);
    }
    for (more, words) in [
        (
            json!({"issuer": "https://login.example.org/realms/a/"}),
            "it calls itself",
        ),
        (
            json!({"issuer": "https://login.example.org/realms/b"}),
            "it calls itself",
        ),
        (json!({"issuer": 7}), "its openid-configuration"),
        (json!({"token_endpoint": null}), "its openid-configuration"),
        (
            json!({"token_endpoint": "http://login.example.org/t"}),
            "not https",
        ),
        (json!({"jwks_uri": "file:///etc/passwd"}), "not https"),
        (json!({"jwks_uri": "http://127.0.0.1:1/keys"}), "not https"),
        (
            json!({"authorization_endpoint": "javascript:alert(1)"}),
            "not https",
        ),
        (
            json!({"authorization_endpoint": "https://a\r\nSet-Cookie: a=b"}),
            "not https",
        ),
    ] {
        provider.publish(more);
        told(words);
    }
    provider.publish(json!({}));
    for (reply, words) in lies() {
        internet.put(&provider.keys_url(), reply);
        told(words);
    }
    internet.put(&provider.keys_url(), Reply::Json(json!({"keys": {}})));
    told("its keys are no key set");
}

#[test]
fn what_a_lying_provider_answers_to_a_code_is_not_believed() {
    let internet = Internet::start();
    let provider = internet.provider("https://login.example.org/realms/a");
    let (server, mut admin) = to_connect(&internet);
    let mut told = |words: &str| {
        let sent = sent_to(&mut admin, "/settings/sso/connect");
        admin.get(&provider.sign_in(&sent, json!({"sub": "boss"})));
        admin.must_show("Not connected.");
        admin.must_show(words);
    };
    for (reply, words) in lies() {
        internet.put(&provider.token_url(), reply);
        told(words);
    }
    for (reply, words) in [
        (json!({"access_token": "x"}), "has no ID token"),
        (json!({"id_token": 7}), "has no ID token"),
        (json!({"id_token": ["a", "b"]}), "has no ID token"),
        (json!({"id_token": "x"}), "is no signed token"),
        (
            json!({"error": "invalid_grant"}),
            "has expired or was used already",
        ),
        (
            json!({"error": "<b>", "error_description": "<b>AADSTS7000222"}),
            "The client secret has expired.",
        ),
    ] {
        internet.put(&provider.token_url(), Reply::Json(reply));
        told(words);
    }
    let connected = "SELECT count(*) FROM connection WHERE connected IS NOT NULL";
    assert_eq!(server.number(connected), 0);
}

#[test]
fn keys_without_a_name_serve_only_where_there_is_no_other() {
    let internet = Internet::start();
    let provider = internet.provider("https://login.example.org/realms/a");
    let other = provider.with_key(1);
    let nameless = |provider: &Provider| {
        let mut key = provider.jwk();
        key.as_object_mut().unwrap().remove("kid");
        key
    };
    let (one, two) = (nameless(&provider), nameless(&other));
    for (keys, kid, works) in [
        (json!([one]), false, true),
        (json!([one]), true, false), // it names a key that nobody publishes
        (json!([one, two]), false, false),
        (json!([]), false, false),
        (json!([two]), false, false),
    ] {
        provider.publish_keys(keys.clone());
        let (_server, mut admin) = to_connect(&internet);
        let asked = Asked::of(&sent_to(&mut admin, "/settings/sso/connect"));
        let claims = provider.claims(&asked, json!({"sub": "boss"}));
        let mut header = json!({"alg": "RS256"});
        if kid {
            header["kid"] = json!("key-1");
        }
        admin.get(&provider.answer(&asked, provider.signed(&header, &claims)));
        assert_eq!(
            admin.shows("successfully connected"),
            works,
            "{keys}, {kid}: {}",
            admin.page
        );
    }
}

#[test]
fn a_provider_that_is_away_or_slow_keeps_nobody_waiting_but_who_asks_for_it() {
    let internet = Internet::start();
    let provider = internet.provider(&issuer(TID));
    internet.put(&provider.document_url(), Reply::Silence);
    let server = internet.server(&[]);
    run(&server, &["tenant", "create", "acme"]);
    let mut admin = Browser::sign_in(&server, "acme");
    save(&mut admin, "entra");
    server.sql("UPDATE connection SET connected = 1");
    let started = Instant::now();
    std::thread::scope(|scope| {
        let mut browser = Browser::new(&server);
        let slow = scope.spawn(move || {
            assert_eq!(browser.get(START).status, 502);
            browser.must_show("The provider does not answer as it should. Try again in a minute");
        });
        while internet.asked(&format!(
            "GET {}",
            provider.document_url().replace("https://", "")
        )) == 0
        {
            std::thread::yield_now();
            assert!(started.elapsed() < crate::support::PATIENCE);
        }
        assert_eq!(admin.get("/settings").status, 200);
        assert!(
            started.elapsed().as_secs() < 9,
            "meanwhile everything else goes on"
        );
        slow.join().unwrap();
    });
    assert!(started.elapsed().as_secs() < 15);
    internet.put(&provider.document_url(), Reply::Nothing);
    let mut browser = Browser::new(&server);
    assert_eq!(browser.get(START).status, 502);
    provider.publish(json!({}));
    assert_eq!(browser.request("GET", START, "").status, 303, "it is back");
}
