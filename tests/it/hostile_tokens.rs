//! Hostile tokens through the running program: each is refused on a page with its own reason, and none reaches anybody.
//!
//! All of them, some 140, are cases of the unit tests of `src/sso/claims.rs`; here is one of each sort.

use rollcall::sso::claims::Refusal;
use serde_json::{Value, json};

use crate::browser::Browser;
use crate::provider::{Asked, now};
use crate::sign_on::{Acme, OID, TID, entra_person, issuer, sent_to};
use crate::tenant::{run, user};

/// What differs from a good token: in the header, in the claims, or in the finished token.
type Case = (Value, Value, fn(String) -> String, Refusal);

fn as_it_is(token: String) -> String {
    token
}

fn cases() -> Vec<Case> {
    let none = || json!({});
    let header = |more: Value, reason| (more, none(), as_it_is as fn(String) -> String, reason);
    let claims = |more: Value, reason| (none(), more, as_it_is as fn(String) -> String, reason);
    let token = |change: fn(String) -> String, reason| (none(), none(), change, reason);
    vec![
        header(json!({"alg": "none"}), Refusal::Header),
        header(json!({"alg": "HS256"}), Refusal::Algorithm),
        header(json!({"alg": "ES256"}), Refusal::UnknownKey),
        header(json!({"kid": "another"}), Refusal::UnknownKey),
        header(json!({"crit": ["exp"]}), Refusal::Critical),
        header(json!({"jku": "https://evil.example/keys"}), Refusal::OwnKey),
        header(json!({"typ": "at+jwt"}), Refusal::Kind),
        claims(json!({"iss": format!("{}/", issuer(TID))}), Refusal::Issuer),
        claims(json!({"iss": issuer("{tenantid}")}), Refusal::Issuer),
        claims(json!({"iss": [issuer(TID)]}), Refusal::Claims),
        claims(json!({"aud": "other"}), Refusal::Audience),
        claims(
            json!({"aud": [crate::sign_on::CLIENT, "other"]}),
            Refusal::AuthorizedParty,
        ),
        claims(json!({"azp": "other"}), Refusal::AuthorizedParty),
        claims(json!({"exp": now() - 3600}), Refusal::Expired),
        claims(json!({"nbf": now() + 3600}), Refusal::NotYet),
        claims(json!({"iat": now() + 3600}), Refusal::IssuedLater),
        claims(json!({"nonce": null}), Refusal::Missing("nonce")),
        claims(json!({"nonce": "of the last one"}), Refusal::Nonce),
        claims(json!({"tid": OID}), Refusal::Directory),
        claims(json!({"ver": "1.0"}), Refusal::Version),
        claims(json!({"oid": null}), Refusal::Missing("oid")),
        claims(json!({"events": {"x": {}}}), Refusal::Kind),
        claims(json!({"name": "x".repeat(60_000)}), Refusal::TooLarge),
        token(|good| format!("{good}.AAAA.AAAA"), Refusal::Encrypted),
        token(|good| good[..good.len() - 2].to_owned(), Refusal::Signature),
        token(
            |good| good[..good.rfind('.').unwrap() + 1].to_owned(),
            Refusal::Signature,
        ),
        token(|_| "x".to_owned(), Refusal::Malformed),
    ]
}

#[test]
fn no_hostile_token_reaches_anybody() {
    let mut acme = Acme::connected();
    // Whoever is believed gets in: the user is there, and others would be created.
    acme.admits(&[("creates_people", "yes"), ("matches_user_name", "yes")]);
    let body = json!({"externalId": OID, "displayName": "Ana Silva"});
    acme.tenant()
        .client()
        .create("/Users", &user("ana@contoso.example", body));
    let sessions = acme.count("session");
    let mut browser = Browser::new(&acme.server);
    let cases = cases();
    for (header, claims, change, reason) in &cases {
        let asked = Asked::of(&sent_to(&mut browser, "/sso/start/acme"));
        let mut head = json!({"alg": "RS256", "typ": "JWT", "kid": "key-1"});
        head.as_object_mut()
            .unwrap()
            .extend(header.as_object().unwrap().clone());
        let claims = acme
            .provider
            .claims(&asked, entra_person(OID, "ana", claims.clone()));
        let token = change(acme.provider.signed(&head, &claims));
        let answer = browser.get(&acme.provider.answer(&asked, token));
        assert_eq!(answer.status, 403, "{reason:?}");
        browser.must_show(&format!("You are not signed in: {}.", reason.words()));
    }
    assert_eq!(acme.count("identity"), 0);
    assert_eq!(acme.count("session"), sessions);
    assert_eq!(acme.count("resource WHERE kind = 'User'"), 1);
    let events = run(&acme.server, &["events", "--tenant", "acme", "-o", "json"]);
    assert_eq!(events.matches("sign_in.refused").count(), cases.len());
    assert!(!events.contains("identity.linked"), "{events}");
    // The same browser, the same person, a good token.
    acme.visitor(entra_person(OID, "ana", json!({})))
        .must_show("Ana Silva");
}
