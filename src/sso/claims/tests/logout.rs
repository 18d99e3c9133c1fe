//! Logout tokens: each of their claims, and that they are no ID tokens, nor the other way round.

use super::*;

/// A good one's claims, but for `more`.
fn logout(more: Value) -> Value {
    let own = json!({
        "events": {LOGOUT_EVENT: {}}, "nonce": null, "jti": "1", "exp": NOW + 120, "nbf": null, "ver": null, "name": null,
        "sid": "session",
    });
    with(claims(own), more)
}

#[test]
fn each_claim_of_a_logout_token_is_checked() {
    let world = World::new();
    let told = |typ: Value, claims: Value| {
        let token = world.signed(&header(json!({"typ": typ})), &claims);
        check_logout(&token, &world.keys, &EXPECTED, now())
    };
    for typ in [
        json!("logout+jwt"),
        json!("JWT"),
        json!("Logout+JWT"),
        json!(null),
    ] {
        let (logout, id) = told(typ, logout(json!({}))).unwrap();
        assert_eq!(
            (logout.subject.as_deref(), logout.sid.as_deref()),
            (Some(OID), Some("session"))
        );
        assert_eq!(id, "1");
    }
    let skew = SKEW_SECS;
    for (more, reason) in [
        (json!({"iss": null}), Refusal::Missing("iss")),
        (json!({"iss": PLAIN}), Refusal::Issuer),
        (json!({"iss": format!("{ISSUER}/")}), Refusal::Issuer),
        (json!({"aud": null}), Refusal::Missing("aud")),
        (json!({"aud": "other"}), Refusal::Audience),
        (
            json!({"aud": ["client", "other"]}),
            Refusal::AuthorizedParty,
        ),
        (json!({"iat": null}), Refusal::Missing("iat")),
        (json!({"iat": NOW + skew + 1}), Refusal::IssuedLater),
        (json!({"exp": NOW - skew - 1}), Refusal::Expired),
        // However long it says that it is good.
        (
            json!({"iat": NOW - LOGOUT_MAX_AGE_SECS - 1, "exp": NOW + 86_400}),
            Refusal::Expired,
        ),
        (
            json!({"iat": NOW - LOGOUT_MAX_AGE_SECS - 1, "exp": null}),
            Refusal::Expired,
        ),
        (json!({"jti": null}), Refusal::Missing("jti")),
        (json!({"jti": ""}), Refusal::Missing("jti")),
        (json!({"jti": 1}), Refusal::Claims),
        (json!({"events": null}), Refusal::Missing("events")),
        (json!({"events": {}}), Refusal::Kind),
        (json!({"events": {"x": {}}}), Refusal::Kind),
        (json!({"events": [LOGOUT_EVENT]}), Refusal::Kind),
        (json!({"events": {LOGOUT_EVENT: true}}), Refusal::Kind),
        (json!({"nonce": "nonce"}), Refusal::Kind),
        (json!({"nonce": ""}), Refusal::Kind),
        (
            json!({"oid": null, "sid": null}),
            Refusal::Missing("sub or sid"),
        ),
        (
            json!({"oid": "", "sid": ""}),
            Refusal::Missing("sub or sid"),
        ),
    ] {
        let found = told(json!("logout+jwt"), logout(more.clone()));
        assert_eq!(found, Err(reason), "{more}");
    }
    for more in [
        json!({"iat": NOW - LOGOUT_MAX_AGE_SECS, "exp": null}),
        json!({"iat": NOW + skew, "exp": NOW + skew}),
        json!({"oid": null}),
        json!({"sid": null}),
        json!({"aud": ["client"]}),
    ] {
        assert!(
            told(json!("logout+jwt"), logout(more.clone())).is_ok(),
            "{more}"
        );
    }
    let foreign = header(json!({"typ": "logout+jwt", "kid": "foreign"}));
    let token = signed(
        &world.foreign,
        &RSA_PKCS1_SHA256,
        foreign.to_string(),
        logout(json!({})).to_string(),
    );
    assert_eq!(
        check_logout(&token, &world.keys, &EXPECTED, now()),
        Err(Refusal::KeyIssuer)
    );
}

#[test]
fn a_logout_token_is_no_id_token_and_no_id_token_signs_anybody_out() {
    let world = World::new();
    for (typ, reason) in [("logout+jwt", Refusal::Kind), ("JWT", Refusal::Kind)] {
        let both = claims(json!({"events": {LOGOUT_EVENT: {}}, "jti": "1"}));
        let token = world.signed(&header(json!({"typ": typ})), &both);
        assert_eq!(check(&token, &world.keys, &EXPECTED, now()), Err(reason));
        assert_eq!(
            check_logout(&token, &world.keys, &EXPECTED, now()),
            Err(Refusal::Kind)
        );
    }
    let token = world.signed(&header(json!({})), &claims(json!({"jti": "1"})));
    assert_eq!(
        check_logout(&token, &world.keys, &EXPECTED, now()),
        Err(Refusal::Missing("events"))
    );
}

#[test]
fn elsewhere_the_subject_is_sub() {
    let world = World::new();
    let keys = Keys::of(&json!({"keys": [jwk(&world.own, "1")]})).unwrap();
    let plain = Expected {
        issuer: PLAIN,
        directory: Directory::Any,
        ..EXPECTED
    };
    let token = logout(json!({"iss": PLAIN, "tid": null, "oid": null}));
    let token = signed(
        &world.own,
        &RSA_PKCS1_SHA256,
        json!({"alg": "RS256"}).to_string(),
        token.to_string(),
    );
    let (found, _) = check_logout(&token, &keys, &plain, now()).unwrap();
    assert_eq!(found.subject.as_deref(), Some("pairwise"));
}
