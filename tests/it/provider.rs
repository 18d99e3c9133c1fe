//! A provider that is played, with real keys: what it publishes, whom it signs in, what it says that isn't so.

use std::collections::HashMap;
use std::sync::OnceLock;
use std::time::{SystemTime, UNIX_EPOCH};

use aws_lc_rs::digest;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{KeyPair, RSA_PKCS1_SHA256, RsaKeyPair};
use base64ct::{Base64UrlUnpadded, Encoding};
use serde_json::{Value, json};

use crate::internet::{Grant, Internet, Reply};

/// A provider: what it publishes, and the people whom it signs in.
#[derive(Clone)]
pub struct Provider {
    pub internet: Internet,
    pub issuer: String,
    key: &'static RsaKeyPair,
    kid: String,
}

impl Provider {
    /// One that signs with the first key; nothing is published yet.
    pub fn new(internet: &Internet, issuer: &str) -> Provider {
        Provider {
            internet: internet.clone(),
            issuer: issuer.to_owned(),
            key: key(0),
            kid: "key-1".to_owned(),
        }
    }

    /// Its addresses stand below this one.
    fn base(&self) -> String {
        // As Entra ID has them: beside the issuer and not below it.
        self.issuer
            .trim_end_matches("/v2.0")
            .trim_end_matches('/')
            .to_owned()
    }

    /// Its discovery document, with `more` said otherwise, and its one key.
    pub fn publish(&self, more: Value) {
        let base = self.base();
        let mut document = json!({
            "issuer": self.issuer,
            "authorization_endpoint": format!("{base}/oauth2/v2.0/authorize"),
            "token_endpoint": format!("{base}/oauth2/v2.0/token"),
            "jwks_uri": self.keys_url(),
            "end_session_endpoint": format!("{base}/oauth2/v2.0/logout"),
            "response_types_supported": ["code"],
            "token_endpoint_auth_methods_supported": ["client_secret_post", "private_key_jwt"],
        });
        for (name, value) in more.as_object().unwrap() {
            document[name] = value.clone();
        }
        self.internet
            .put(&self.document_url(), Reply::Json(document));
        self.publish_keys(json!([self.jwk()]));
    }

    /// Where its discovery document is.
    pub fn document_url(&self) -> String {
        let issuer = self.issuer.trim_end_matches('/');
        format!("{issuer}/.well-known/openid-configuration")
    }

    /// Where its keys are.
    pub fn keys_url(&self) -> String {
        format!("{}/discovery/v2.0/keys", self.base())
    }

    /// Where codes are redeemed.
    pub fn token_url(&self) -> String {
        format!("{}/oauth2/v2.0/token", self.base())
    }

    /// From now on these are its keys.
    pub fn publish_keys(&self, keys: Value) {
        self.internet
            .put(&self.keys_url(), Reply::Json(json!({"keys": keys})));
    }

    /// The same provider, which signs with another key, numbered from 0, from now on.
    pub fn with_key(&self, number: usize) -> Provider {
        Provider {
            key: key(number),
            kid: format!("key-{}", number + 1),
            ..self.clone()
        }
    }

    /// The public half of the key.
    pub fn jwk(&self) -> Value {
        let public = self.key.public_key();
        let n: Vec<u8> = public.modulus().big_endian_without_leading_zero().to_vec();
        let e: Vec<u8> = public.exponent().big_endian_without_leading_zero().to_vec();
        json!({"kty": "RSA", "use": "sig", "kid": self.kid, "n": url(n), "e": url(e), "issuer": self.template()})
    }

    /// Entra ID writes its keys' issuer as a template.
    fn template(&self) -> Value {
        match self.issuer.contains("login.microsoftonline.com") {
            true => json!("https://login.microsoftonline.com/{tenantid}/v2.0"),
            false => json!(self.issuer),
        }
    }

    /// A token with these claims.
    pub fn token(&self, claims: &Value) -> String {
        self.signed(
            &json!({"alg": "RS256", "typ": "JWT", "kid": self.kid}),
            claims,
        )
    }

    /// A token with this header and these claims.
    pub fn signed(&self, header: &Value, claims: &Value) -> String {
        let message = format!("{}.{}", url(header.to_string()), url(claims.to_string()));
        let mut signature = vec![0; self.key.public_modulus_len()];
        let random = SystemRandom::new();
        self.key
            .sign(
                &RSA_PKCS1_SHA256,
                &random,
                message.as_bytes(),
                &mut signature,
            )
            .unwrap();
        format!("{message}.{}", url(signature))
    }

    /// Somebody signs in: where the browser was sent becomes where it is sent back to, with a code for a good ID token
    /// that says `more`, too; null takes a claim away.
    #[track_caller]
    pub fn sign_in(&self, sent_to: &str, more: Value) -> String {
        let asked = Asked::of(sent_to);
        assert!(sent_to.starts_with(&self.base()), "sent to {sent_to}");
        let claims = self.claims(&asked, more);
        self.answer(&asked, self.token(&claims))
    }

    /// The claims of a good ID token, but for `more`.
    pub fn claims(&self, asked: &Asked, more: Value) -> Value {
        let now = now();
        let mut claims = json!({
            "iss": self.issuer, "aud": asked.client_id, "iat": now, "nbf": now, "exp": now + 3600,
            "nonce": asked.nonce,
        });
        let fields = claims.as_object_mut().unwrap();
        for (name, value) in more.as_object().unwrap() {
            match value {
                Value::Null => fields.remove(name),
                value => fields.insert(name.clone(), value.clone()),
            };
        }
        claims
    }

    /// The path that the browser comes back to, with a code for this token.
    #[track_caller]
    pub fn answer(&self, asked: &Asked, token: String) -> String {
        let code = self.code(asked, token);
        asked.back(&format!("code={code}&state={}", asked.state))
    }

    /// A code for this token.
    pub fn code(&self, asked: &Asked, token: String) -> String {
        self.internet.code(Grant {
            token,
            challenge: asked.challenge.clone(),
            redirect_uri: asked.redirect_uri.clone(),
            client_id: asked.client_id.clone(),
        })
    }
}

/// What a browser brings to a provider.
pub struct Asked {
    pub client_id: String,
    pub redirect_uri: String,
    pub state: String,
    pub nonce: String,
    challenge: String,
}

impl Asked {
    /// Reads where a browser was sent.
    #[track_caller]
    pub fn of(sent_to: &str) -> Asked {
        let (_, query) = sent_to.split_once('?').expect("a query");
        let mut fields = fields(query);
        let mut take = |name: &str| fields.remove(name).unwrap_or_default();
        Asked {
            client_id: take("client_id"),
            redirect_uri: take("redirect_uri"),
            state: take("state"),
            nonce: take("nonce"),
            challenge: take("code_challenge"),
        }
    }

    /// Where the browser comes back to, with this query.
    pub fn back(&self, query: &str) -> String {
        let (_, rest) = self.redirect_uri.split_once("://").expect("a scheme");
        let (_, path) = rest.split_once('/').expect("a path");
        format!("/{path}?{query}")
    }
}

/// Keys are made once: they take time.
fn key(number: usize) -> &'static RsaKeyPair {
    static MADE: [OnceLock<RsaKeyPair>; 3] = [const { OnceLock::new() }; 3];
    MADE[number].get_or_init(|| RsaKeyPair::generate(KeySize::Rsa2048).unwrap())
}

/// The machine's time, which is the server's, too.
#[allow(clippy::disallowed_methods)]
pub fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    since.as_secs() as i64
}

fn url(bytes: impl AsRef<[u8]>) -> String {
    Base64UrlUnpadded::encode_string(bytes.as_ref())
}

pub fn sha256(text: &str) -> String {
    url(digest::digest(&digest::SHA256, text.as_bytes()))
}

/// The fields of a query or a form.
pub fn fields(text: &str) -> HashMap<String, String> {
    let pairs = text.split('&').filter_map(|pair| pair.split_once('='));
    pairs
        .map(|(name, value)| (decoded(name), decoded(value)))
        .collect()
}

pub fn decoded(text: &str) -> String {
    let mut bytes = vec![];
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'+' => b' ',
            b'%' => {
                let digits = [rest.next().unwrap(), rest.next().unwrap()];
                u8::from_str_radix(std::str::from_utf8(&digits).unwrap(), 16).unwrap()
            }
            byte => byte,
        });
    }
    String::from_utf8(bytes).unwrap()
}
