//! Tokens made with real keys: what a good one says, and in [`hostile`] what makes one bad.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair, RSA_PKCS1_SHA256, RsaKeyPair,
};
use serde_json::json;

mod hostile;
mod logout;

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
