//! The pretend provider of `serve --dev`: the other side of OpenID Connect, so that a developer sees people sign in
//! without any provider and without the Internet.
//!
//! It is one more issuer that is reached by HTTP, and nothing of the relying party knows of it. It does only what that
//! one asks for, but this strictly, so that a mistake of ours is seen here first: addresses are compared exactly, PKCE is
//! a must, a code works once and for a minute. Keys and codes live in memory, and are others after each start. Pages,
//! and who there is to pick, are left to `http`.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use aws_lc_rs::constant_time;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use jiff::{SignedDuration, Timestamp};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};

use super::oidc;
use crate::error::{Doing, Result};

/// What the relying party is called here.
pub const CLIENT_ID: &str = "rollcall-dev";

/// For how long a code may be redeemed.
const CODE_LIFETIME: SignedDuration = SignedDuration::from_secs(60);

/// For how long an ID token is valid.
const TOKEN_LIFETIME: SignedDuration = SignedDuration::from_mins(5);

/// Most codes and sessions that are kept; beyond, all are forgotten.
const KEPT: usize = 1_000;

/// Somebody who can be picked, as the ID token will tell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Person {
    /// `sub`
    pub subject: String,
    /// `preferred_username`
    pub user_name: String,
    /// `name`
    pub name: Option<String>,
    /// `email`
    pub email: Option<String>,
}

/// An authorization request that is in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    redirect_uri: String,
    state: String,
    nonce: Option<String>,
    challenge: String,
}

/// What a code is for.
struct Grant {
    asked: Asked,
    person: Person,
    sid: String,
    until: Timestamp,
}

/// The provider.
pub struct Provider {
    issuer: String,
    /// Scheme and host of the relying party, in each spelling by which a browser may know it.
    origins: Vec<String>,
    /// What the relying party has to send as `Authorization`.
    authorization: String,
    key: EncodingKey,
    public: Value,
    codes: Mutex<HashMap<String, Grant>>,
    /// Who is signed in here, by the random value of a browser's cookie.
    sessions: Mutex<HashMap<String, Person>>,
}

impl Provider {
    /// With new keys, for the one client whose secret this is.
    ///
    /// # Errors
    ///
    /// The system has no random bytes.
    pub fn new(issuer: String, origins: Vec<String>, client_secret: &str) -> Result<Provider> {
        let doing = "making keys for the pretend provider";
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).doing(doing)?;
        let key = EncodingKey::from_ec_der(pair.to_pkcs8v1().doing(doing)?.as_ref());
        // 4, and both coordinates (SEC 1 §2.3.3).
        let (x, y) = pair.public_key().as_ref()[1..].split_at(32);
        let (x, y) = (oidc::base64(x, true), oidc::base64(y, true));
        // Named by itself, so that another start's key has another name.
        let public = json!({ "kty": "EC", "crv": "P-256", "alg": "ES256", "use": "sig", "kid": x, "x": x, "y": y });
        Ok(Provider {
            issuer,
            origins,
            authorization: oidc::basic(CLIENT_ID, client_secret),
            key,
            public,
            codes: Mutex::default(),
            sessions: Mutex::default(),
        })
    }

    /// Its issuer, which is where it is reached.
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// What it says of itself (OpenID Connect Discovery 1.0 §3).
    pub fn metadata(&self) -> Value {
        let at = |path: &str| format!("{}{path}", self.issuer);
        json!({
            "issuer": self.issuer,
            "authorization_endpoint": at("/authorize"),
            "token_endpoint": at("/token"),
            "jwks_uri": at("/keys"),
            "end_session_endpoint": at("/sign-out"),
            "response_types_supported": ["code"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["ES256"],
            "token_endpoint_auth_methods_supported": ["client_secret_basic"],
            "code_challenge_methods_supported": ["S256"],
            "authorization_response_iss_parameter_supported": true,
        })
    }

    /// Its public key (RFC 7517 §5).
    pub fn keys(&self) -> Value {
        json!({ "keys": [self.public] })
    }

    /// An authorization request, by its parameters. `Err` says what is wrong with it: to the person at the browser, since
    /// whoever sent it can't be trusted with an answer.
    pub fn asked<'a>(
        &self,
        field: impl Fn(&str) -> Option<&'a str>,
    ) -> std::result::Result<Asked, &'static str> {
        let is = |name: &str, wanted: &str| field(name) == Some(wanted);
        let redirect_uri = field("redirect_uri").unwrap_or_default();
        let challenge = field("code_challenge").unwrap_or_default();
        let faults = [
            (
                !is("client_id", CLIENT_ID),
                "client_id names nobody known here.",
            ),
            (
                !self.is_of_client(redirect_uri, "/sso/callback"),
                "redirect_uri is not the client’s.",
            ),
            (
                !is("response_type", "code"),
                "response_type has to be code.",
            ),
            (
                !field("scope")
                    .unwrap_or_default()
                    .split(' ')
                    .any(|scope| scope == "openid"),
                "scope has to contain openid.",
            ),
            (
                !is("code_challenge_method", "S256"),
                "code_challenge_method has to be S256.",
            ),
            (
                challenge.len() != 43,
                "code_challenge has to have 43 characters.",
            ),
        ];
        if let Some((_, fault)) = faults.into_iter().find(|(is_wrong, _)| *is_wrong) {
            return Err(fault);
        }
        Ok(Asked {
            redirect_uri: redirect_uri.to_owned(),
            state: field("state").unwrap_or_default().to_owned(),
            nonce: field("nonce").map(str::to_owned),
            challenge: challenge.to_owned(),
        })
    }

    fn is_of_client(&self, url: &str, path: &str) -> bool {
        let mut origins = self.origins.iter();
        origins.any(|origin| url.strip_prefix(origin.as_str()) == Some(path))
    }

    /// Signs somebody in: where the browser goes back to, with a code, and what its cookie is to hold.
    pub fn sign_in(
        &self,
        asked: Asked,
        person: Person,
        now: Timestamp,
    ) -> Result<(String, String)> {
        let (code, sid) = (oidc::random()?, oidc::random()?);
        let back = self.back(&asked, &[("code", &code)]);
        bounded(&self.sessions).insert(sid.clone(), person.clone());
        let grant = Grant {
            asked,
            person,
            sid: sid.clone(),
            until: now + CODE_LIFETIME,
        };
        bounded(&self.codes).insert(code, grant);
        Ok((back, sid))
    }

    /// Where the browser goes back to whose person agreed to nothing (OpenID Connect Core 1.0 §3.1.2.6).
    pub fn refuse(&self, asked: &Asked) -> String {
        self.back(asked, &[("error", "access_denied")])
    }

    /// Answers name their issuer (RFC 9207).
    fn back(&self, asked: &Asked, fields: &[(&str, &str)]) -> String {
        let common = [("state", asked.state.as_str()), ("iss", &self.issuer)];
        oidc::with_query(&asked.redirect_uri, &[fields, &common].concat())
    }

    /// Who is signed in at a browser with this cookie.
    pub fn signed_in(&self, sid: &str) -> Option<Person> {
        locked(&self.sessions).get(sid).cloned()
    }

    /// Signs out, and says where to go then, if that is the client's (OpenID Connect RP-Initiated Logout 1.0 §2).
    pub fn sign_out(&self, sid: &str, back_to: &str) -> Option<String> {
        locked(&self.sessions).remove(sid);
        self.is_of_client(back_to, "/sign-in")
            .then(|| back_to.to_owned())
    }

    /// The answer of the token endpoint; `Err` is an error code (RFC 6749 §5.2).
    ///
    /// A code is used up by whoever shows it, so that a stolen one that is tried is of no use to anybody.
    pub fn redeem<'a>(
        &self,
        authorization: &str,
        field: impl Fn(&str) -> &'a str,
        now: Timestamp,
    ) -> Result<std::result::Result<Value, &'static str>> {
        let (shown, right) = (authorization.as_bytes(), self.authorization.as_bytes());
        if constant_time::verify_slices_are_equal(shown, right).is_err() {
            return Ok(Err("invalid_client"));
        }
        if field("grant_type") != "authorization_code" {
            return Ok(Err("unsupported_grant_type"));
        }
        let grant = locked(&self.codes).remove(field("code"));
        let is_right = |grant: &Grant| {
            grant.until > now
                && grant.asked.redirect_uri == field("redirect_uri")
                && grant.asked.challenge == oidc::challenge(field("code_verifier"))
        };
        let Some(grant) = grant.filter(is_right) else {
            return Ok(Err("invalid_grant"));
        };
        Ok(Ok(json!({
            "access_token": oidc::random()?,
            "token_type": "Bearer",
            "expires_in": TOKEN_LIFETIME.as_secs(),
            "id_token": self.id_token(&grant, now)?,
        })))
    }

    fn id_token(&self, grant: &Grant, now: Timestamp) -> Result<String> {
        let person = &grant.person;
        let mut claims = json!({
            "iss": self.issuer,
            "aud": CLIENT_ID,
            "iat": now.as_second(),
            "exp": (now + TOKEN_LIFETIME).as_second(),
            "sub": person.subject,
            "sid": grant.sid,
            "preferred_username": person.user_name,
        });
        for (name, value) in [
            ("nonce", &grant.asked.nonce),
            ("name", &person.name),
            ("email", &person.email),
        ] {
            if let Some(value) = value {
                claims[name] = json!(value);
            }
        }
        let header = Header {
            kid: self.public["kid"].as_str().map(str::to_owned),
            ..Header::new(Algorithm::ES256)
        };
        jsonwebtoken::encode(&header, &claims, &self.key).doing("signing an ID token")
    }
}

fn locked<T>(map: &Mutex<HashMap<String, T>>) -> MutexGuard<'_, HashMap<String, T>> {
    map.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The same with room for one more.
fn bounded<T>(map: &Mutex<HashMap<String, T>>) -> MutexGuard<'_, HashMap<String, T>> {
    let mut map = locked(map);
    if map.len() >= KEPT {
        map.clear();
    }
    map
}

#[cfg(test)]
mod tests {
    use super::*;

    const BACK: &str = "http://127.0.0.1:8080/sso/callback";
    const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
    const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";
    const GOOD: [(&str, &str); 8] = [
        ("client_id", CLIENT_ID),
        ("redirect_uri", BACK),
        ("response_type", "code"),
        ("scope", "openid profile"),
        ("state", "a b"),
        ("nonce", "n"),
        ("code_challenge", CHALLENGE),
        ("code_challenge_method", "S256"),
    ];

    fn provider() -> Provider {
        let origins = vec!["http://127.0.0.1:8080".to_owned()];
        Provider::new("http://127.0.0.1:8079".to_owned(), origins, "secret").unwrap()
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_764_000_000 + second).unwrap()
    }

    /// `fields` but for the one that is changed; an empty value leaves it out.
    fn changed<'a>(
        fields: &[(&'a str, &'a str)],
        (name, value): (&'a str, &'a str),
    ) -> Vec<(&'a str, &'a str)> {
        let others = fields.iter().filter(|(known, _)| *known != name);
        let mut fields: Vec<_> = others.copied().collect();
        fields.extend((!value.is_empty()).then_some((name, value)));
        fields
    }

    fn find<'a>(fields: &[(&'a str, &'a str)], name: &str) -> Option<&'a str> {
        let found = fields.iter().find(|(known, _)| *known == name);
        found.map(|(_, value)| *value)
    }

    fn code(provider: &Provider) -> String {
        let asked = provider.asked(|name| find(&GOOD, name)).unwrap();
        let ana = Person {
            subject: "ana".to_owned(),
            user_name: "ana@example.org".to_owned(),
            name: None,
            email: None,
        };
        let (back, _) = provider.sign_in(asked, ana, at(0)).unwrap();
        let code = back.strip_prefix(&format!("{BACK}?code=")).unwrap();
        let (code, rest) = code.split_once('&').unwrap();
        assert_eq!(rest, "state=a%20b&iss=http%3A%2F%2F127.0.0.1%3A8079");
        code.to_owned()
    }

    #[test]
    fn only_what_the_client_may_ask_is_answered() {
        let provider = provider();
        assert!(provider.asked(|name| find(&GOOD, name)).is_ok());
        for wrong in [
            ("client_id", "other"),
            ("redirect_uri", "http://127.0.0.1:8080/sso/callback/"),
            (
                "redirect_uri",
                "http://127.0.0.1:8080@evil.example/sso/callback",
            ),
            ("redirect_uri", "https://evil.example/sso/callback"),
            ("redirect_uri", ""),
            ("response_type", "token"),
            ("scope", "profile"),
            ("code_challenge_method", "plain"),
            ("code_challenge_method", ""),
            ("code_challenge", ""),
        ] {
            let fields = changed(&GOOD, wrong);
            assert!(
                provider.asked(|name| find(&fields, name)).is_err(),
                "{wrong:?}"
            );
        }
    }

    #[test]
    fn a_code_works_once_in_time_for_its_client_verifier_and_address() {
        let provider = provider();
        let authorization = oidc::basic(CLIENT_ID, "secret");
        let redeem = |wrong: (&str, &str), authorization: &str, second| {
            let code = code(&provider);
            let good = [
                ("grant_type", "authorization_code"),
                ("code", code.as_str()),
                ("redirect_uri", BACK),
                ("code_verifier", VERIFIER),
            ];
            let fields = changed(&good, wrong);
            let field = |name: &str| find(&fields, name).unwrap_or_default();
            let first = provider.redeem(authorization, field, at(second)).unwrap();
            let field = |name: &str| find(&good, name).unwrap_or_default();
            let again = provider
                .redeem(&oidc::basic(CLIENT_ID, "secret"), field, at(0))
                .unwrap();
            (
                first.map(|answer| answer["token_type"].clone()),
                again.is_ok(),
            )
        };
        let good = ("x", "");
        assert_eq!(
            redeem(good, &authorization, 59),
            (Ok(json!("Bearer")), false)
        );
        let refused = (Err("invalid_grant"), false);
        assert_eq!(redeem(good, &authorization, 60), refused);
        assert_eq!(
            redeem(("code_verifier", CHALLENGE), &authorization, 0),
            refused
        );
        assert_eq!(redeem(("code_verifier", ""), &authorization, 0), refused);
        assert_eq!(
            redeem(
                ("redirect_uri", "http://127.0.0.1:8080/"),
                &authorization,
                0
            ),
            refused
        );
        for wrong in ["", "Basic", &oidc::basic(CLIENT_ID, "other")] {
            // Who isn't the client uses nothing up.
            assert_eq!(redeem(good, wrong, 0), (Err("invalid_client"), true));
        }
        let grant = redeem(("grant_type", "password"), &authorization, 0);
        assert_eq!(grant, (Err("unsupported_grant_type"), true));
    }

    #[test]
    fn signing_out_leads_to_the_client_alone() {
        let provider = provider();
        let back = "http://127.0.0.1:8080/sign-in";
        assert_eq!(provider.sign_out("", back).as_deref(), Some(back));
        for elsewhere in [
            "",
            "https://evil.example/sign-in",
            "http://127.0.0.1:8080/sign-in?x",
        ] {
            assert_eq!(provider.sign_out("", elsewhere), None);
        }
    }
}
