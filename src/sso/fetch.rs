//! Talking to providers: the discovery document, the keys, the token endpoint.
//!
//! What comes back is taken for what it says it is only within bounds: HTTPS (plain HTTP on loopback where `serve --dev`
//! allows it), no redirects, so many bytes, so much time, JSON by its content type, and addresses of the same sort.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use aws_lc_rs::digest;
use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use serde_json::Value;
use ureq::{Agent, Body, http};

use super::claims::{self, Claims, Expected, Keys, Logout, Refusal};
use super::oidc;
use crate::outgoing;

/// For a whole exchange with a provider.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Most bytes of an answer: Entra ID's keys have 10 KiB.
const ANSWER_MAX_BYTES: u64 = 512 * 1024;

/// For how long documents and keys are taken as known.
const LIFETIME: SignedDuration = SignedDuration::from_hours(24);

/// How often keys are asked for anew at most, because a token names an unknown one.
const ASKED_AGAIN_AFTER: SignedDuration = SignedDuration::from_mins(5);

/// For how long a logout token that was used has to be known: it may be issued in the future by the clocks' difference.
const USED_FOR: SignedDuration =
    SignedDuration::from_secs(claims::LOGOUT_MAX_AGE_SECS + claims::SKEW_SECS);

/// Most of them that are known. Whoever sends more has a provider of their own, and can end their people's sessions twice.
const USED_MAX: usize = 10_000;

/// Most issuers that are remembered; a server has one for each tenant.
const KNOWN_MAX: usize = 10_000;

/// Why a provider gave no answer that is of use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// No answer, or none in time; why, in words.
    Unreachable(String),
    /// An answer that should not be; what is wrong with it, in words.
    Strange(String),
    /// The token endpoint's own error (RFC 6749 §5.2): its code and description.
    Refused(String, String),
}

/// For people: what is wrong, without what is secret.
impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Trouble::Unreachable(why) => write!(f, "the provider can’t be reached: {why}"),
            Trouble::Strange(what) => write!(f, "the provider answers strangely: {what}"),
            Trouble::Refused(code, _) => write!(f, "the provider refuses: {code}"),
        }
    }
}

/// What a provider says of itself (OpenID Connect Discovery 1.0 §3).
#[derive(Clone, Debug, Deserialize)]
pub struct Metadata {
    issuer: String,
    /// Where browsers sign in.
    pub authorization_endpoint: String,
    token_endpoint: String,
    jwks_uri: String,
    /// Where browsers sign out.
    pub end_session_endpoint: Option<String>,
    token_endpoint_auth_methods_supported: Option<Vec<String>>,
    /// Whether answers name their issuer (RFC 9207).
    #[serde(default)]
    pub authorization_response_iss_parameter_supported: bool,
}

/// Who redeems a code, and for what.
#[derive(Clone, Copy, Debug)]
pub struct Redemption<'a> {
    /// What the provider calls us.
    pub client_id: &'a str,
    /// What came with the callback.
    pub code: &'a str,
    /// PKCE's.
    pub verifier: &'a str,
    /// As in the authorization request.
    pub redirect_uri: &'a str,
}

/// A provider as it is remembered.
#[derive(Clone)]
struct Known {
    metadata: Arc<Metadata>,
    keys: Arc<Keys>,
    /// When both were read.
    read: Timestamp,
    /// When the keys were last asked for, with or without success.
    asked: Timestamp,
}

/// The providers that are known, and the way to them.
pub struct Providers {
    agent: Agent,
    /// Whether an issuer may be plain HTTP on this machine.
    loopback: bool,
    known: Mutex<HashMap<String, Known>>,
    /// Logout tokens that signed somebody out, by the SHA-256 of whose they are and their own ID, with the time.
    used: Mutex<HashMap<Vec<u8>, Timestamp>>,
}

impl fmt::Debug for Providers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Providers(…)")
    }
}

impl Providers {
    /// Remembers nobody yet. With `loopback`, an issuer may be plain HTTP on this machine.
    pub fn new(loopback: bool) -> Providers {
        Providers {
            agent: outgoing::agent(TIMEOUT, loopback),
            loopback,
            known: Mutex::default(),
            used: Mutex::default(),
        }
    }

    /// Whether an issuer may be plain HTTP on this machine.
    pub fn allow_loopback(&self) -> bool {
        self.loopback
    }

    /// What the issuer says of itself: as remembered, or as asked now.
    pub fn metadata(
        &self,
        expected: &Expected<'_>,
        now: Timestamp,
    ) -> Result<Arc<Metadata>, Trouble> {
        self.provider(expected, now).map(|known| known.metadata)
    }

    /// The ID token for a code (OpenID Connect Core 1.0 §3.1.3).
    pub fn redeem(
        &self,
        metadata: &Metadata,
        redemption: &Redemption<'_>,
        secret: &str,
    ) -> Result<String, Trouble> {
        let mut fields = vec![
            ("grant_type", "authorization_code"),
            ("code", redemption.code),
            ("redirect_uri", redemption.redirect_uri),
            ("code_verifier", redemption.verifier),
        ];
        let mut request = self
            .agent
            .post(&metadata.token_endpoint)
            .header("Accept", "application/json")
            .content_type("application/x-www-form-urlencoded");
        let methods = metadata.token_endpoint_auth_methods_supported.as_ref();
        let basic = |method: &String| method == "client_secret_basic";
        if methods.is_none_or(|methods| methods.iter().any(basic)) {
            request = request.header("Authorization", oidc::basic(redemption.client_id, secret));
        } else {
            fields.push(("client_id", redemption.client_id));
            fields.push(("client_secret", secret));
        }
        let (status, answer) = json(request.send(oidc::form(&fields)), &["application/json"])?;
        let text = |name: &str| answer.get(name).and_then(Value::as_str).unwrap_or_default();
        match (status, text("id_token")) {
            (200, "") => Err(strange("its answer to the code has no ID token")),
            (200, token) => Ok(token.to_owned()),
            (400..500, _) if !text("error").is_empty() => {
                let shown = |name: &str| text(name).chars().take(500).collect();
                Err(Trouble::Refused(shown("error"), shown("error_description")))
            }
            (status, _) => Err(strange(&format!("status {status} to the code"))),
        }
    }

    /// Who signed in, with the keys as remembered; where the token names an unknown one, they are asked for anew.
    pub fn check(
        &self,
        token: &str,
        expected: &Expected<'_>,
        now: Timestamp,
    ) -> Result<Result<Claims, Refusal>, Trouble> {
        self.with_keys(expected, now, |keys| {
            claims::check(token, keys, expected, now)
        })
    }

    /// Whom a logout token signs out, once; its keys as for an ID token.
    pub fn check_logout(
        &self,
        token: &str,
        expected: &Expected<'_>,
        now: Timestamp,
    ) -> Result<Result<Logout, Refusal>, Trouble> {
        let checked = self.with_keys(expected, now, |keys| {
            claims::check_logout(token, keys, expected, now)
        })?;
        Ok(
            checked.and_then(|(logout, id)| match self.is_first(expected, &id, now) {
                true => Ok(logout),
                false => Err(Refusal::Repeated),
            }),
        )
    }

    /// Whether a logout token was not here before.
    fn is_first(&self, expected: &Expected<'_>, id: &str, now: Timestamp) -> bool {
        let whose = [expected.issuer, expected.client_id, id].join("\n");
        let whose = digest::digest(&digest::SHA256, whose.as_bytes());
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        if used.len() >= USED_MAX {
            used.retain(|_, at| now.duration_since(*at) <= USED_FOR);
        }
        if used.len() >= USED_MAX {
            used.clear();
        }
        used.insert(whose.as_ref().to_vec(), now).is_none()
    }

    fn with_keys<T>(
        &self,
        expected: &Expected<'_>,
        now: Timestamp,
        check: impl Fn(&Keys) -> Result<T, Refusal>,
    ) -> Result<Result<T, Refusal>, Trouble> {
        let known = self.provider(expected, now)?;
        let checked = check(&known.keys);
        let is_unknown = matches!(checked, Err(Refusal::UnknownKey));
        if !is_unknown || now.duration_since(known.asked) < ASKED_AGAIN_AFTER {
            return Ok(checked);
        }
        let known = self.ask(expected, now)?;
        Ok(check(&known.keys))
    }

    /// The document and keys of an issuer. Those that are old are asked for anew, and stay in use where that fails.
    fn provider(&self, expected: &Expected<'_>, now: Timestamp) -> Result<Known, Trouble> {
        let remembered = self.lock().get(expected.issuer).cloned();
        match remembered {
            Some(known)
                if now.duration_since(known.read) < LIFETIME
                    || now.duration_since(known.asked) < ASKED_AGAIN_AFTER =>
            {
                Ok(known)
            }
            Some(known) => self.ask(expected, now).or_else(|trouble| {
                log::warn!(
                    "{}: {trouble}; its keys of before are used",
                    expected.issuer
                );
                Ok(known)
            }),
            None => self.ask(expected, now),
        }
    }

    /// Asks the issuer, and remembers what it says.
    fn ask(&self, expected: &Expected<'_>, now: Timestamp) -> Result<Known, Trouble> {
        if let Some(known) = self.lock().get_mut(expected.issuer) {
            known.asked = now;
        }
        let metadata = self.discover(expected)?;
        let types = ["application/json", "application/jwk-set+json"];
        let keys = self.get(&metadata.jwks_uri, &types)?;
        let keys = Keys::of(&keys).ok_or_else(|| strange("its keys are no key set"))?;
        let known = Known {
            metadata: Arc::new(metadata),
            keys: Arc::new(keys),
            read: now,
            asked: now,
        };
        let mut all = self.lock();
        if all.len() >= KNOWN_MAX {
            all.clear();
        }
        all.insert(expected.issuer.to_owned(), known.clone());
        Ok(known)
    }

    /// Reads and checks the discovery document.
    fn discover(&self, expected: &Expected<'_>) -> Result<Metadata, Trouble> {
        let issuer = expected.issuer;
        let url = format!(
            "{}/.well-known/openid-configuration",
            issuer.trim_end_matches('/')
        );
        let document = self.get(&url, &["application/json"])?;
        let metadata: Metadata = serde_json::from_value(document)
            .map_err(|error| strange(&format!("its openid-configuration: {error}")))?;
        if !claims::fits(&metadata.issuer, expected) {
            let told: String = metadata.issuer.chars().take(200).collect();
            return Err(strange(&format!(
                "it calls itself {told}, and not {issuer}; enter the issuer exactly as it does"
            )));
        }
        let endpoints = [
            Some(&metadata.authorization_endpoint),
            Some(&metadata.token_endpoint),
            Some(&metadata.jwks_uri),
            metadata.end_session_endpoint.as_ref(),
        ];
        if endpoints.into_iter().flatten().any(|url| !self.allows(url)) {
            return Err(strange("one of its addresses is not https"));
        }
        Ok(metadata)
    }

    fn allows(&self, url: &str) -> bool {
        let plain = url.bytes().all(|byte| byte.is_ascii_graphic());
        plain && (url.starts_with("https://") || self.loopback && is_loopback(url))
    }

    fn get(&self, url: &str, types: &[&str]) -> Result<Value, Trouble> {
        if !self.allows(url) {
            return Err(strange("one of its addresses is not https"));
        }
        let request = self.agent.get(url).header("Accept", types.join(", "));
        match json(request.call(), types)? {
            (200, document) => Ok(document),
            (status, _) => Err(strange(&format!("status {status} from {url}"))),
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<String, Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether an address is plain HTTP on this machine.
pub fn is_loopback(url: &str) -> bool {
    let Some(rest) = url.strip_prefix("http://") else {
        return false;
    };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    ["127.0.0.1", "localhost", "[::1]"].iter().any(|host| {
        let port = authority.strip_prefix(host);
        port.is_some_and(|port| {
            port.is_empty()
                || port
                    .strip_prefix(':')
                    .is_some_and(|port| port.bytes().all(|byte| byte.is_ascii_digit()))
        })
    })
}

/// Status and body of an answer that says that it is JSON. An error of a provider's proxy, say, is no JSON.
fn json(
    answer: Result<http::Response<Body>, ureq::Error>,
    types: &[&str],
) -> Result<(u16, Value), Trouble> {
    let unreachable = |error: ureq::Error| match error {
        ureq::Error::BodyExceedsLimit(_) => strange("its answer is too long"),
        error => Trouble::Unreachable(error.to_string()),
    };
    let mut answer = answer.map_err(unreachable)?;
    let status = answer.status().as_u16();
    if (300..400).contains(&status) {
        return Err(strange("it redirects where it should answer"));
    }
    let told = answer.body().mime_type().unwrap_or_default().to_owned();
    if !types.iter().any(|known| told.eq_ignore_ascii_case(known)) {
        return Err(strange(&format!(
            "status {status} and no JSON; is the address right?"
        )));
    }
    let body = answer.body_mut().with_config().limit(ANSWER_MAX_BYTES);
    let body = body.read_to_vec().map_err(unreachable)?;
    let document =
        serde_json::from_slice(&body).map_err(|_| strange("what it sent is not JSON"))?;
    Ok((status, document))
}

fn strange(what: &str) -> Trouble {
    Trouble::Strange(what.to_owned())
}

#[cfg(test)]
mod tests {
    use super::is_loopback;

    #[test]
    fn only_this_machine_is_loopback() {
        for good in [
            "http://127.0.0.1:9",
            "http://localhost/a",
            "http://[::1]:8080/a?b",
            "http://127.0.0.1",
        ] {
            assert!(is_loopback(good), "{good}");
        }
        for bad in [
            "https://127.0.0.1",
            "http://127.0.0.1.example",
            "http://localhost@evil.example",
            "http://localhost:1@evil.example",
            "http://example.org#localhost",
            "http://10.0.0.1",
            "",
        ] {
            assert!(!is_loopback(bad), "{bad}");
        }
    }
}
