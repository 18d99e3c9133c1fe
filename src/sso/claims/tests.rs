//! Hostile tokens, made with real keys: each is refused, and for its own reason.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair,
    RSA_PKCS1_SHA256, RSA_PKCS1_SHA512, RSA_PSS_SHA256, RsaKeyPair,
};
use aws_lc_rs::{hmac, signature};
use serde_json::json;

use super::*;
use crate::sso::oidc::base64;

const NOW: i64 = 1_764_000_000;
const TID: &str = "1f6b2a34-5c7d-4e8f-9a0b-1c2d3e4f5a6b";
const OID: &str = "7d1c9e02-5c7d-4e8f-9a0b-1c2d3e4f5a6b";
const ISSUER: &str = "https://login.microsoftonline.com/1f6b2a34-5c7d-4e8f-9a0b-1c2d3e4f5a6b/v2.0";
const PLAIN: &str = "https://login.example.org";
const EXPECTED: Expected<'_> = Expected {
    issuer: ISSUER,
    client_id: "client",
    nonce: "nonce",
    directory: Directory::Entra(TID),
};

fn url(bytes: impl AsRef<[u8]>) -> String {
    base64(bytes.as_ref(), true)
}

/// The provider's keys, and others.
struct World {
    rsa: RsaKeyPair,
    ec: EcdsaKeyPair,
    /// Published, but for another issuer's tokens.
    foreign: RsaKeyPair,
    /// Published by nobody.
    own: RsaKeyPair,
    keys: Keys,
}

impl World {
    fn new() -> World {
        let rsa = || RsaKeyPair::generate(KeySize::Rsa2048).unwrap();
        let (ours, foreign, own) = (rsa(), rsa(), rsa());
        let ec = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
        let point = ec.public_key().as_ref();
        let more = |mut key: Value, more: Value| {
            let Value::Object(more) = more else { panic!() };
            key.as_object_mut().unwrap().extend(more);
            key
        };
        let secret =
            json!({"kty": "oct", "kid": "secret", "k": url("a secret of 32 bytes, published!")});
        let curve = json!({"kty": "EC", "crv": "P-256", "kid": "ec", "use": "sig",
                           "x": url(&point[1..33]), "y": url(&point[33..])});
        let template = "https://login.microsoftonline.com/{tenantid}/v2.0";
        let elsewhere =
            "https://login.microsoftonline.com/0f0f0f0f-5c7d-4e8f-9a0b-1c2d3e4f5a6b/v2.0";
        let keys = json!({"keys": [
            more(jwk(&ours, "rsa"), json!({"issuer": template, "use": "sig", "x5t": "rsa"})),
            more(jwk(&foreign, "foreign"), json!({"issuer": elsewhere})),
            more(jwk(&own, "encrypts"), json!({"use": "enc"})),
            more(jwk(&own, "wraps"), json!({"key_ops": ["wrapKey"]})),
            more(jwk(&ours, "only-512"), json!({"alg": "RS512"})),
            jwk(&ours, "twice"),
            jwk(&own, "twice"),
            curve, secret, {"kty": "new"}, "nonsense"]});
        World {
            rsa: ours,
            ec,
            foreign,
            own,
            keys: Keys::of(&keys).unwrap(),
        }
    }

    fn signed(&self, header: &Value, claims: &Value) -> String {
        signed(
            &self.rsa,
            &RSA_PKCS1_SHA256,
            header.to_string(),
            claims.to_string(),
        )
    }
}

fn jwk(pair: &RsaKeyPair, kid: &str) -> Value {
    let public = pair.public_key();
    let n: Vec<u8> = public.modulus().big_endian_without_leading_zero().to_vec();
    let e: Vec<u8> = public.exponent().big_endian_without_leading_zero().to_vec();
    json!({"kty": "RSA", "kid": kid, "n": url(n), "e": url(e)})
}

fn signed(
    pair: &RsaKeyPair,
    padding: &'static dyn signature::RsaEncoding,
    header: impl AsRef<[u8]>,
    claims: impl AsRef<[u8]>,
) -> String {
    let message = format!("{}.{}", url(header), url(claims));
    let mut signature = vec![0; pair.public_modulus_len()];
    let random = SystemRandom::new();
    pair.sign(padding, &random, message.as_bytes(), &mut signature)
        .unwrap();
    format!("{message}.{}", url(signature))
}

fn header(more: Value) -> Value {
    with(json!({"alg": "RS256", "kid": "rsa", "typ": "JWT"}), more)
}

/// A good token's claims, but for `more`; null takes one away.
fn claims(more: Value) -> Value {
    let good = json!({
        "iss": ISSUER, "aud": "client", "exp": NOW + 3600, "nbf": NOW, "iat": NOW, "nonce": "nonce", "ver": "2.0",
        "sub": "pairwise", "tid": TID, "oid": OID, "preferred_username": "ana@contoso.example", "name": "Ana"
    });
    with(good, more)
}

fn with(mut object: Value, more: Value) -> Value {
    let fields = object.as_object_mut().unwrap();
    for (name, value) in more.as_object().unwrap() {
        match value {
            Value::Null => fields.remove(name),
            value => fields.insert(name.clone(), value.clone()),
        };
    }
    object
}

fn now() -> Timestamp {
    Timestamp::from_second(NOW).unwrap()
}

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
        (json!({"iss": [ISSUER]}), Refusal::Claims),
        (json!({"aud": null}), Refusal::Missing("aud")),
        (json!({"aud": "other"}), Refusal::Audience),
        (json!({"aud": ""}), Refusal::Audience),
        (json!({"aud": []}), Refusal::Audience),
        (json!({"aud": ["other"]}), Refusal::Audience),
        (json!({"aud": "Client"}), Refusal::Audience),
        (json!({"aud": "client other"}), Refusal::Audience),
        (json!({"aud": {"client": true}}), Refusal::Claims),
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
        (json!({"ver": "1.0"}), Refusal::Version),
        (json!({"ver": null}), Refusal::Version),
        (json!({"oid": null}), Refusal::Missing("oid")),
        (json!({"oid": ""}), Refusal::Missing("oid")),
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
        (json!({"typ": "at+jwt"}), Refusal::Kind),
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
    assert!(count >= 60, "{count}");
}

#[test]
fn a_good_token_says_who_signed_in() {
    let world = World::new();
    let skew = SKEW_SECS;
    for more in [
        json!({}),
        json!({"exp": NOW - skew, "iat": NOW + skew, "nbf": NOW + skew}),
        json!({"aud": ["client"], "nbf": null, "name": null}),
        json!({"aud": ["client", "other"], "azp": "client"}),
        json!({"tid": TID.to_uppercase(), "oid": OID.to_uppercase()}),
        // A guest, whose groups are too many to be in it.
        json!({"acct": 1, "_claim_names": {"groups": "src1"}, "_claim_sources": {"src1": {"endpoint": "https://x"}}}),
    ] {
        let token = world.signed(&header(json!({})), &claims(more.clone()));
        let found = check(&token, &world.keys, &EXPECTED, now());
        let found = found.unwrap_or_else(|refusal| panic!("{refusal:?} of {more}"));
        assert_eq!(found.subject, OID);
        assert_eq!(found.user_name.as_deref(), Some("ana@contoso.example"));
    }
    let message = |head: Value| {
        format!(
            "{}.{}",
            url(head.to_string()),
            url(claims(json!({})).to_string())
        )
    };
    let message = message(header(json!({"alg": "ES256", "kid": "ec", "typ": null})));
    let by_ec = world
        .ec
        .sign(&SystemRandom::new(), message.as_bytes())
        .unwrap();
    let token = format!("{message}.{}", url(by_ec.as_ref()));
    assert!(check(&token, &world.keys, &EXPECTED, now()).is_ok());
}

#[test]
fn other_providers_know_people_by_sub_and_google_by_its_domain_too() {
    let world = World::new();
    let keys = Keys::of(&json!({"keys": [jwk(&world.own, "1")]})).unwrap();
    let by = |more: Value| {
        let claims = claims(with(
            json!({"iss": PLAIN, "tid": null, "oid": null, "ver": null}),
            more,
        ));
        signed(
            &world.own,
            &RSA_PKCS1_SHA256,
            json!({"alg": "RS256"}).to_string(),
            claims.to_string(),
        )
    };
    let plain = Expected {
        issuer: PLAIN,
        directory: Directory::Any,
        ..EXPECTED
    };
    let found = check(&by(json!({})), &keys, &plain, now()).unwrap();
    assert_eq!(found.subject, "pairwise");
    let google = Expected {
        directory: Directory::Google("contoso.example"),
        ..plain
    };
    let refused = |more: Value| check(&by(more), &keys, &google, now()).err();
    assert_eq!(refused(json!({})), Some(Refusal::Missing("hd")));
    assert_eq!(
        refused(json!({"hd": "evil.example"})),
        Some(Refusal::Directory)
    );
    assert_eq!(refused(json!({"hd": "Contoso.example"})), None);
}

#[test]
fn a_logout_token_is_no_id_token_and_no_id_token_signs_anybody_out() {
    let world = World::new();
    let refused = |typ: &str, more: Value| {
        let token = world.signed(&header(json!({"typ": typ})), &claims(more));
        check_logout(&token, &world.keys, &EXPECTED, now()).err()
    };
    let events = json!({LOGOUT_EVENT: {}});
    let good = json!({"events": events, "nonce": null});
    assert_eq!(refused("logout+jwt", good.clone()), None);
    for (more, reason) in [
        (json!({"nonce": "nonce"}), Refusal::Kind),
        (json!({"events": {"x": {}}}), Refusal::Kind),
        (json!({"events": null}), Refusal::Missing("events")),
        (json!({"aud": "other"}), Refusal::Audience),
        (json!({"exp": 1}), Refusal::Expired),
        (json!({"oid": ""}), Refusal::Missing("sub or sid")),
    ] {
        assert_eq!(refused("JWT", with(good.clone(), more)), Some(reason));
    }
}
