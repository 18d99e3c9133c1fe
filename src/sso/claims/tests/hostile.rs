//! Hostile tokens, made with real keys: each is refused, and for its own reason.

use aws_lc_rs::hmac;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, RSA_PKCS1_SHA512, RSA_PSS_SHA256};

use super::*;

/// What is wrong in the claims.
fn bad_claims() -> Vec<(Value, Refusal)> {
    let skew = SKEW_SECS;
    vec![
        (json!({"iss": null}), Refusal::Missing("iss")),
        (json!({"iss": format!("{ISSUER}/")}), Refusal::Issuer),
        (json!({"iss": ISSUER.to_uppercase()}), Refusal::Issuer),
        (
            json!({"iss": ISSUER.replace("https", "http")}),
            Refusal::Issuer,
        ),
        (
            json!({"iss": ISSUER.replace(TID, "{tenantid}")}),
            Refusal::Issuer,
        ),
        (
            json!({"iss": format!("https://sts.windows.net/{TID}/")}),
            Refusal::Issuer,
        ),
        (json!({"iss": ISSUER.replace(TID, OID)}), Refusal::Issuer),
        (json!({"iss": format!("{ISSUER}\u{0}")}), Refusal::Issuer),
        (json!({"iss": ""}), Refusal::Issuer),
        (json!({"iss": format!("{ISSUER}?x")}), Refusal::Issuer),
        (json!({"iss": format!(" {ISSUER}")}), Refusal::Issuer),
        (
            json!({"iss": ISSUER.replace("login.", "login\u{2024}")}),
            Refusal::Issuer,
        ),
        (json!({"iss": "https://evil.example"}), Refusal::Issuer),
        (json!({"iss": [ISSUER]}), Refusal::Claims),
        (json!({"aud": null}), Refusal::Missing("aud")),
        (json!({"aud": "other"}), Refusal::Audience),
        (json!({"aud": ""}), Refusal::Audience),
        (json!({"aud": []}), Refusal::Audience),
        (json!({"aud": ["other"]}), Refusal::Audience),
        (json!({"aud": "Client"}), Refusal::Audience),
        (json!({"aud": "client other"}), Refusal::Audience),
        (json!({"aud": {"client": true}}), Refusal::Claims),
        (json!({"aud": ["client", null]}), Refusal::Claims),
        (
            json!({"aud": ["client", "client"]}),
            Refusal::AuthorizedParty,
        ),
        (
            json!({"aud": ["client", "other"]}),
            Refusal::AuthorizedParty,
        ),
        (
            json!({"aud": ["client", "other"], "azp": "other"}),
            Refusal::AuthorizedParty,
        ),
        (json!({"azp": "other"}), Refusal::AuthorizedParty),
        (json!({"azp": ""}), Refusal::AuthorizedParty),
        (json!({"exp": null}), Refusal::Missing("exp")),
        (json!({"exp": NOW - skew - 1}), Refusal::Expired),
        (json!({"exp": 0}), Refusal::Expired),
        (json!({"exp": i64::MIN}), Refusal::Expired),
        (json!({"exp": (NOW + 60).to_string()}), Refusal::Claims),
        (json!({"exp": 1e300}), Refusal::Claims),
        (json!({"exp": u64::MAX}), Refusal::Claims),
        (json!({"exp": NOW as f64 + 3600.5}), Refusal::Claims),
        (json!({"exp": true}), Refusal::Claims),
        (json!({"iat": NOW.to_string()}), Refusal::Claims),
        (json!({"nbf": i64::MAX}), Refusal::NotYet),
        (json!({"nbf": NOW + skew + 1}), Refusal::NotYet),
        (json!({"iat": null}), Refusal::Missing("iat")),
        (json!({"iat": NOW + skew + 1}), Refusal::IssuedLater),
        (json!({"iat": i64::MAX}), Refusal::IssuedLater),
        (json!({"nonce": null}), Refusal::Missing("nonce")),
        (json!({"nonce": "of the last sign-in"}), Refusal::Nonce),
        (json!({"nonce": ""}), Refusal::Nonce),
        (json!({"nonce": "NONCE"}), Refusal::Nonce),
        (json!({"nonce": ["nonce"]}), Refusal::Claims),
        (json!({"sub": null}), Refusal::Missing("sub")),
        (json!({"sub": ""}), Refusal::Missing("sub")),
        (json!({"sub": 7}), Refusal::Claims),
        (json!({"tid": null}), Refusal::Missing("tid")),
        (json!({"tid": OID}), Refusal::Directory),
        (json!({"tid": format!("{TID} ")}), Refusal::Directory),
        (json!({"tid": PERSONAL}), Refusal::Personal),
        (json!({"tid": PERSONAL.to_uppercase()}), Refusal::Personal),
        (json!({"tid": [TID]}), Refusal::Claims),
        (json!({"ver": "1.0"}), Refusal::Version),
        (json!({"ver": null}), Refusal::Version),
        (json!({"oid": null}), Refusal::Missing("oid")),
        (json!({"oid": ""}), Refusal::Missing("oid")),
        (json!({"oid": [OID]}), Refusal::Claims),
        (
            json!({"events": {"http://schemas.openid.net/event/backchannel-logout": {}}}),
            Refusal::Kind,
        ),
    ]
}

/// What is wrong in the header.
fn bad_headers() -> Vec<(Value, Refusal)> {
    vec![
        (json!({"alg": null}), Refusal::Header),
        (json!({"alg": "None"}), Refusal::Header),
        (json!({"alg": "rs256"}), Refusal::Header),
        (json!({"alg": ["RS256"]}), Refusal::Header),
        (json!({"alg": "HS512"}), Refusal::Algorithm),
        (json!({"alg": "EdDSA"}), Refusal::Algorithm),
        (json!({"alg": "ES512"}), Refusal::Header),
        (json!({"alg": "RS256 "}), Refusal::Header),
        (json!({"alg": ""}), Refusal::Header),
        (json!({"alg": "PS256"}), Refusal::Signature),
        (json!({"alg": "RS512"}), Refusal::Signature),
        (json!({"alg": "ES256"}), Refusal::UnknownKey),
        (json!({"alg": "ES256", "kid": "ec"}), Refusal::Signature),
        (json!({"kid": null}), Refusal::AmbiguousKey),
        (json!({"kid": "twice"}), Refusal::AmbiguousKey),
        (json!({"kid": "another"}), Refusal::UnknownKey),
        (json!({"kid": "RSA"}), Refusal::UnknownKey),
        (json!({"kid": "../../dev/null"}), Refusal::UnknownKey),
        (json!({"kid": "ec"}), Refusal::UnknownKey),
        (json!({"kid": "only-512"}), Refusal::UnknownKey),
        (json!({"crit": ["exp"]}), Refusal::Critical),
        (json!({"crit": ["b64"], "b64": false}), Refusal::Critical),
        (json!({"crit": []}), Refusal::Critical),
        (json!({"jku": "https://evil.example/keys"}), Refusal::OwnKey),
        (
            json!({"x5u": "https://evil.example/chain"}),
            Refusal::OwnKey,
        ),
        (json!({"x5u": ""}), Refusal::OwnKey),
        (json!({"kid": 1}), Refusal::Header),
        (json!({"typ": "at+jwt"}), Refusal::Kind),
        (json!({"typ": "JWE"}), Refusal::Kind),
        (json!({"typ": "logout+jwt"}), Refusal::Kind),
        (json!({"cty": "JWT"}), Refusal::Kind),
        (json!({"enc": "A256GCM"}), Refusal::Kind),
        (json!({"zip": "DEF"}), Refusal::Kind),
    ]
}

/// What is wrong around them: keys, signatures, framing.
fn bad_tokens(world: &World) -> Vec<(&'static str, String, Refusal)> {
    let rs256 = &RSA_PKCS1_SHA256;
    let (good_header, good_claims) = (header(json!({})), claims(json!({})));
    let good = world.signed(&good_header, &good_claims);
    let (message, signature) = good.rsplit_once('.').unwrap();
    let [part, body] = message.split('.').collect::<Vec<_>>()[..] else {
        panic!()
    };
    let by = |pair: &RsaKeyPair, more: Value| {
        signed(
            pair,
            rs256,
            header(more).to_string(),
            good_claims.to_string(),
        )
    };
    let raw = |head: &str, claims: &str| signed(&world.rsa, rs256, head, claims);
    let with_twice = |more: &str| {
        let text = good_claims.to_string();
        raw(
            &good_header.to_string(),
            &format!("{{{more},{}", &text[1..]),
        )
    };
    let ec = |signature: &[u8]| {
        let head = header(json!({"alg": "ES256", "kid": "ec"})).to_string();
        format!("{}.{body}.{}", url(head), url(signature))
    };
    let es256 = header(json!({"alg": "ES256", "kid": "ec"})).to_string();
    let der = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).unwrap();
    let in_der = der
        .sign(
            &SystemRandom::new(),
            format!("{}.{body}", url(es256)).as_bytes(),
        )
        .unwrap();
    let public = jwk(&world.rsa, "rsa")["n"].as_str().unwrap().to_owned();
    let mac = |key: &[u8], kid: &str| {
        let head = url(header(json!({"alg": "HS256", "kid": kid})).to_string());
        let tag = hmac::sign(
            &hmac::Key::new(hmac::HMAC_SHA256, key),
            format!("{head}.{body}").as_bytes(),
        );
        format!("{head}.{body}.{}", url(tag.as_ref()))
    };
    let unsigned = url(r#"{"alg":"none","typ":"JWT"}"#);
    let other = url(claims(json!({"oid": TID})).to_string());
    let own_jwk = json!({"jwk": jwk(&world.own, "rsa")});
    vec![
        (
            "alg none without a signature",
            format!("{unsigned}.{body}."),
            Refusal::Header,
        ),
        (
            "alg none with the old signature",
            format!("{unsigned}.{body}.{signature}"),
            Refusal::Header,
        ),
        (
            "HS256 with the public key",
            mac(public.as_bytes(), "rsa"),
            Refusal::Algorithm,
        ),
        (
            "HS256 with the public key as DER",
            mac(world.rsa.public_key().as_ref(), "rsa"),
            Refusal::Algorithm,
        ),
        ("HS256 with nothing", mac(b"", "rsa"), Refusal::Algorithm),
        (
            "HS256 with a published secret",
            mac(b"a secret of 32 bytes, published!", "secret"),
            Refusal::Algorithm,
        ),
        (
            "a key that nobody publishes",
            by(&world.own, json!({})),
            Refusal::Signature,
        ),
        (
            "a key of another issuer",
            by(&world.foreign, json!({"kid": "foreign"})),
            Refusal::KeyIssuer,
        ),
        (
            "a key for encryption",
            by(&world.own, json!({"kid": "encrypts"})),
            Refusal::UnknownKey,
        ),
        (
            "a key that only wraps keys",
            by(&world.own, json!({"kid": "wraps"})),
            Refusal::UnknownKey,
        ),
        (
            "its own key inside",
            by(&world.own, own_jwk),
            Refusal::OwnKey,
        ),
        (
            "PSS where PKCS1 is said",
            signed(
                &world.rsa,
                &RSA_PSS_SHA256,
                good_header.to_string(),
                good_claims.to_string(),
            ),
            Refusal::Signature,
        ),
        (
            "SHA-512 where SHA-256 is said",
            signed(
                &world.rsa,
                &RSA_PKCS1_SHA512,
                good_header.to_string(),
                good_claims.to_string(),
            ),
            Refusal::Signature,
        ),
        ("no signature", format!("{message}."), Refusal::Signature),
        (
            "a signature cut short",
            good[..good.len() - 2].to_owned(),
            Refusal::Signature,
        ),
        (
            "a longer signature",
            format!("{good}AAAA"),
            Refusal::Signature,
        ),
        (
            "a padded signature",
            format!("{good}=="),
            Refusal::Malformed,
        ),
        (
            "other claims under the signature",
            format!("{part}.{other}.{signature}"),
            Refusal::Signature,
        ),
        ("ECDSA of zeros", ec(&[0; 64]), Refusal::Signature),
        ("ECDSA of nothing", ec(&[]), Refusal::Signature),
        (
            "ECDSA in DER, of another key",
            ec(in_der.as_ref()),
            Refusal::Signature,
        ),
        ("ECDSA of ones", ec(&[255; 64]), Refusal::Signature),
        (
            "alg twice",
            raw(
                r#"{"alg":"none","alg":"RS256","kid":"rsa"}"#,
                &good_claims.to_string(),
            ),
            Refusal::Header,
        ),
        (
            "kid twice",
            raw(
                r#"{"alg":"RS256","kid":"x","kid":"rsa"}"#,
                &good_claims.to_string(),
            ),
            Refusal::Header,
        ),
        (
            "iss twice",
            with_twice(r#""iss":"https://evil.example""#),
            Refusal::Claims,
        ),
        (
            "oid twice",
            with_twice(r#""oid":"1f6b2a34-5c7d-4e8f-9a0b-1c2d3e4f5a6b""#),
            Refusal::Claims,
        ),
        ("aud twice", with_twice(r#""aud":"other""#), Refusal::Claims),
        ("exp twice", with_twice(r#""exp":1"#), Refusal::Claims),
        (
            "a claim twice by another spelling in JSON",
            with_twice(r#""\u0074id":"x""#),
            Refusal::Claims,
        ),
        (
            "a nonce that is null",
            raw(
                &good_header.to_string(),
                &good_claims
                    .to_string()
                    .replace("\"nonce\":\"nonce\"", "\"nonce\":null"),
            ),
            Refusal::Missing("nonce"),
        ),
        (
            "a certificate of its own in x5c",
            by(&world.own, json!({"x5c": ["MIIB"]})),
            Refusal::Signature,
        ),
        ("nonce twice", with_twice(r#""nonce":"x""#), Refusal::Claims),
        (
            "claims that are a list",
            raw(&good_header.to_string(), "[1]"),
            Refusal::Claims,
        ),
        (
            "claims that are no JSON",
            raw(&good_header.to_string(), "{"),
            Refusal::Claims,
        ),
        (
            "claims that are no UTF-8",
            signed(
                &world.rsa,
                rs256,
                good_header.to_string(),
                b"{\"iss\":\"\xff\"}",
            ),
            Refusal::Claims,
        ),
        (
            "a header that is no JSON",
            raw("{", &good_claims.to_string()),
            Refusal::Header,
        ),
        (
            "a header that is a list",
            raw("[]", &good_claims.to_string()),
            Refusal::Header,
        ),
        ("an empty text", String::new(), Refusal::Malformed),
        ("two dots", "..".to_owned(), Refusal::Header),
        ("two parts", message.to_owned(), Refusal::Malformed),
        ("four parts", format!("{good}.AAAA"), Refusal::Malformed),
        (
            "a JWE",
            format!("{part}.AAAA.AAAA.AAAA.AAAA"),
            Refusal::Encrypted,
        ),
        (
            "white space before it",
            format!(" {good}"),
            Refusal::Malformed,
        ),
        (
            "a line break in it",
            good.replacen('.', ".\n", 1),
            Refusal::Signature,
        ),
        (
            "base64 and not base64url",
            format!("{part}+/.{body}.{signature}"),
            Refusal::Malformed,
        ),
        (
            "a huge one",
            world.signed(&good_header, &claims(json!({"name": "x".repeat(60_000)}))),
            Refusal::TooLarge,
        ),
    ]
}

#[test]
fn every_hostile_token_is_refused_for_its_own_reason() {
    let world = World::new();
    let mut wrong = vec![];
    let mut count = 0;
    let mut refuse = |name: String, token: &str, reason| {
        count += 1;
        let found = check(token, &world.keys, &EXPECTED, now());
        if found != Err(reason) {
            wrong.push(format!("{name}: {found:?} and not {reason:?}"));
        }
    };
    for (more, reason) in bad_claims() {
        let token = world.signed(&header(json!({})), &claims(more.clone()));
        refuse(more.to_string(), &token, reason);
    }
    for (more, reason) in bad_headers() {
        let token = world.signed(&header(more.clone()), &claims(json!({})));
        refuse(more.to_string(), &token, reason);
    }
    for (name, token, reason) in bad_tokens(&world) {
        refuse(name.to_owned(), &token, reason);
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(count >= 140, "{count}");
}
