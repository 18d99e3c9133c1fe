//! An ID token, the provider's keys and the time: who signed in, or why that can't be believed.
//!
//! The checks are those of OpenID Connect Core 1.0 §3.1.3.7 and, for Entra ID, of Microsoft's own list: issuer and
//! directory are the ones of the connection, and the person is known by `oid`. `jsonwebtoken` reads the header and
//! verifies the signature; times are compared here, because the clock is an argument.

use jiff::Timestamp;
use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyOperations, PublicKeyUse};
use jsonwebtoken::{Algorithm, AlgorithmFamily, DecodingKey, Header, Validation};
use serde::Deserialize;
use serde_json::Value;

/// How far the provider's clock may be from ours, in seconds.
pub const SKEW_SECS: i64 = 300;

/// Most bytes of an ID token: one with 200 groups has 10 KiB.
const TOKEN_MAX_BYTES: usize = 64 * 1024;

/// How old a logout token may be, in seconds, whatever it says of its end.
pub(super) const LOGOUT_MAX_AGE_SECS: i64 = 2 * SKEW_SECS;

/// Asymmetric ones alone: a public key must never serve as an HMAC's secret, and nothing may go unsigned.
const ALGORITHMS: [Algorithm; 8] = [
    Algorithm::RS256,
    Algorithm::RS384,
    Algorithm::RS512,
    Algorithm::PS256,
    Algorithm::PS384,
    Algorithm::PS512,
    Algorithm::ES256,
    Algorithm::ES384,
];

/// What a logout token is about.
const LOGOUT_EVENT: &str = "http://schemas.openid.net/event/backchannel-logout";

/// The directory of personal Microsoft accounts, which belong to no organisation.
pub(super) const PERSONAL: &str = "9188040d-6c67-4c5b-b112-36a304b66dad";

/// What Entra ID writes in the place of the directory where a document is for all of them.
const TENANT_ID: &str = "{tenantid}";

/// What the token of this sign-in has to say.
#[derive(Clone, Copy, Debug)]
pub struct Expected<'a> {
    /// The connection's issuer, exactly.
    pub issuer: &'a str,
    /// What the provider calls us.
    pub client_id: &'a str,
    /// What was sent with the request.
    pub nonce: &'a str,
    /// Of which directory the person has to be.
    pub directory: Directory<'a>,
}

/// Whose people may sign in.
#[derive(Clone, Copy, Debug)]
pub enum Directory<'a> {
    /// Everybody whom the issuer signs in.
    Any,
    /// Entra ID: the directory with this tenant ID.
    Entra(&'a str),
    /// Google: the Workspace domain.
    Google(&'a str),
}

/// Who signed in, as the provider says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claims {
    /// What never changes and is never given to another: Entra ID's `oid`, else `sub`.
    pub subject: String,
    /// A sign-in name, which may change and be given to another: for showing, and for matching where that is wanted.
    pub user_name: Option<String>,
    /// For showing.
    pub name: Option<String>,
    /// For showing.
    pub given_name: Option<String>,
    /// For showing.
    pub family_name: Option<String>,
    /// Never used to find somebody.
    pub email: Option<String>,
    /// Whether the provider says that the address is theirs.
    pub email_verified: bool,
    /// The provider's session, for sign-out from there.
    pub sid: Option<String>,
    /// Entra ID: whether it is an account of another directory, as a guest of this one.
    pub is_guest: bool,
}

/// Why a token isn't believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// It is too long.
    TooLarge,
    /// It is encrypted.
    Encrypted,
    /// It has not three parts in base64url.
    Malformed,
    /// Its header can't be read, or names an algorithm that nobody knows, or `none`.
    Header,
    /// Its algorithm is not one of [`ALGORITHMS`].
    Algorithm,
    /// Its header demands what we don't understand (RFC 7515 §4.1.11).
    Critical,
    /// Its header brings its own key, or says where to get one.
    OwnKey,
    /// It is another kind of token.
    Kind,
    /// The provider has no such key for this algorithm.
    UnknownKey,
    /// It doesn't say which of several keys.
    AmbiguousKey,
    /// The key is another issuer's.
    KeyIssuer,
    /// The signature is wrong.
    Signature,
    /// Its claims can't be read: not JSON, of a wrong type, or twice there.
    Claims,
    /// A claim is missing.
    Missing(&'static str),
    /// Another issuer.
    Issuer,
    /// It is not for us.
    Audience,
    /// It is for several, and was not issued to us.
    AuthorizedParty,
    /// It has expired.
    Expired,
    /// It is not valid yet.
    NotYet,
    /// It was issued in the future.
    IssuedLater,
    /// It was issued for another sign-in.
    Nonce,
    /// Another directory's.
    Directory,
    /// A personal account.
    Personal,
    /// Not a token of Entra ID's version 2.0.
    Version,
    /// A logout token that was here before.
    Repeated,
}

impl Refusal {
    /// In words, after "The provider’s answer is refused: ".
    pub fn words(self) -> String {
        match self {
            Refusal::TooLarge => "its ID token is too long",
            Refusal::Encrypted => "its ID token is encrypted; let the provider only sign it",
            Refusal::Malformed => "its ID token is no signed token",
            Refusal::Header => "the header of its ID token can’t be read",
            Refusal::Algorithm => {
                "its ID token is signed in a way that is not accepted; choose RS256, PS256 or ES256"
            }
            Refusal::Critical => "its ID token demands an extension that is not known here",
            Refusal::OwnKey => "its ID token brings its own key",
            Refusal::Kind => "what it sent is another kind of token than an ID token",
            Refusal::UnknownKey => "its ID token is signed with a key that it does not publish",
            Refusal::AmbiguousKey => "its ID token does not say with which key it is signed",
            Refusal::KeyIssuer => "its ID token is signed with the key of another issuer",
            Refusal::Signature => "the signature of its ID token is wrong",
            Refusal::Claims => "the claims of its ID token can’t be read",
            Refusal::Missing(claim) => return format!("its ID token has no {claim}"),
            Refusal::Issuer => "its ID token is from another issuer",
            Refusal::Audience => "its ID token is for another application",
            Refusal::AuthorizedParty => "its ID token was issued to another application",
            Refusal::Expired => {
                "its ID token has expired; if that stays so, compare the server’s clock"
            }
            Refusal::NotYet => "its ID token is not valid yet; compare the server’s clock",
            Refusal::IssuedLater => {
                "its ID token was issued in the future; compare the server’s clock"
            }
            Refusal::Nonce => "its ID token belongs to another sign-in",
            Refusal::Directory => "this account is of another organisation",
            Refusal::Personal => {
                "this is a personal account; sign in with the one of your organisation"
            }
            Refusal::Version => "its ID token is not of version 2.0",
            Refusal::Repeated => "its logout token was used already",
        }
        .to_owned()
    }
}

/// The provider's keys (RFC 7517 §5). Those that can't be read, or are of no use here, are left out.
#[derive(Clone, Debug, Default)]
pub struct Keys(Vec<Key>);

#[derive(Clone, Debug)]
struct Key {
    jwk: Jwk,
    /// Entra ID: whose tokens it signs, maybe as a template.
    issuer: Option<String>,
}

impl Keys {
    /// Reads a key set; `None` where it is none.
    pub fn of(document: &Value) -> Option<Keys> {
        let keys = document.get("keys")?.as_array()?;
        let read = |key: &Value| {
            Some(Key {
                jwk: serde_json::from_value(key.clone()).ok()?,
                issuer: key.get("issuer").and_then(Value::as_str).map(str::to_owned),
            })
        };
        Some(Keys(keys.iter().filter_map(read).collect()))
    }

    /// The one that signed a token with this header.
    fn find(&self, header: &Header, expected: &Expected<'_>) -> Result<&Jwk, Refusal> {
        let named = |key: &&Key| match &header.kid {
            Some(kid) => key.jwk.common.key_id.as_ref() == Some(kid),
            None => true,
        };
        let found: Vec<&Key> = self.0.iter().filter(named).collect();
        let usable = |key: &&&Key| is_usable(&key.jwk, header.alg);
        let found: Vec<&&Key> = found.iter().filter(usable).collect();
        let ours = |key: &&&&Key| {
            let issuer = key.issuer.as_deref();
            issuer.is_none_or(|issuer| fits(issuer, expected))
        };
        match found.iter().filter(ours).collect::<Vec<_>>()[..] {
            [key] => Ok(&key.jwk),
            [] if found.is_empty() => Err(Refusal::UnknownKey),
            [] => Err(Refusal::KeyIssuer),
            _ => Err(Refusal::AmbiguousKey),
        }
    }
}

/// Whether a key verifies signatures of this algorithm.
fn is_usable(jwk: &Jwk, algorithm: Algorithm) -> bool {
    let of_kind = match (&jwk.algorithm, algorithm) {
        (AlgorithmParameters::EllipticCurve(key), Algorithm::ES256) => {
            key.curve == EllipticCurve::P256
        }
        (AlgorithmParameters::EllipticCurve(key), Algorithm::ES384) => {
            key.curve == EllipticCurve::P384
        }
        (AlgorithmParameters::RSA(_), algorithm) => algorithm.family() == AlgorithmFamily::Rsa,
        _ => false,
    };
    let common = &jwk.common;
    let signs = matches!(common.public_key_use, None | Some(PublicKeyUse::Signature));
    let operations = common.key_operations.as_ref();
    let verifies = operations.is_none_or(|known| known.contains(&KeyOperations::Verify));
    let declared = common.key_algorithm;
    of_kind && signs && verifies && declared.is_none_or(|declared| declared == algorithm.into())
}

/// Whether an issuer, maybe as Entra ID's template, is the expected one.
pub(super) fn fits(issuer: &str, expected: &Expected<'_>) -> bool {
    match expected.directory {
        Directory::Entra(id) => issuer.replace(TENANT_ID, id) == expected.issuer,
        _ => issuer == expected.issuer,
    }
}

/// The claims as the token has them. What is twice there is an error of serde's.
#[derive(Deserialize)]
struct Told {
    iss: Option<String>,
    sub: Option<String>,
    aud: Option<Audience>,
    azp: Option<String>,
    exp: Option<i64>,
    nbf: Option<i64>,
    iat: Option<i64>,
    nonce: Option<String>,
    tid: Option<String>,
    oid: Option<String>,
    ver: Option<String>,
    hd: Option<String>,
    /// Entra ID: the issuer of the directory that they come from, where that is another one.
    idp: Option<String>,
    preferred_username: Option<String>,
    upn: Option<String>,
    email: Option<String>,
    email_verified: Option<Value>,
    name: Option<String>,
    given_name: Option<String>,
    family_name: Option<String>,
    sid: Option<String>,
    jti: Option<String>,
    /// Of a logout token, which is no ID token whatever else it says (OpenID Connect Back-Channel Logout 1.0 §2.4).
    events: Option<Value>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Audience {
    One(String),
    Several(Vec<String>),
}

/// Who signed in, if this token may be believed at `now`.
pub fn check(
    token: &str,
    keys: &Keys,
    expected: &Expected<'_>,
    now: Timestamp,
) -> Result<Claims, Refusal> {
    let told = verified(token, keys, expected, &["JWT"])?;
    if told.events.is_some() {
        return Err(Refusal::Kind);
    }
    check_parties(&told, expected)?;
    check_times((told.exp, told.nbf, told.iat), now.as_second())?;
    let nonce = told.nonce.as_deref().ok_or(Refusal::Missing("nonce"))?;
    if nonce != expected.nonce {
        return Err(Refusal::Nonce);
    }
    let sub = filled(&told.sub).ok_or(Refusal::Missing("sub"))?;
    let subject = match expected.directory {
        Directory::Any => sub.to_owned(),
        Directory::Entra(directory) => check_entra(&told, directory)?,
        Directory::Google(domain) => {
            let told = filled(&told.hd).ok_or(Refusal::Missing("hd"))?;
            if !told.eq_ignore_ascii_case(domain) {
                return Err(Refusal::Directory);
            }
            sub.to_owned()
        }
    };
    // Google has no name to sign in with but the address, which it owns itself.
    let by_email = told.email.as_ref().filter(|_| told.hd.is_some());
    let user_name = told.preferred_username.as_ref().or(told.upn.as_ref());
    Ok(Claims {
        subject,
        user_name: user_name.or(by_email).cloned(),
        name: told.name,
        given_name: told.given_name,
        family_name: told.family_name,
        email: told.email,
        // Some providers send it as text.
        email_verified: told
            .email_verified
            .is_some_and(|told| told == true || told == "true"),
        sid: told.sid,
        is_guest: matches!((expected.directory, told.idp), (Directory::Entra(id), Some(home)) if !home.contains(id)),
    })
}

/// Whom a provider signs out: at least one of the two is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Logout {
    /// Everywhere, if no session is named.
    pub subject: Option<String>,
    /// The provider's session.
    pub sid: Option<String>,
}

/// Whom this logout token signs out, and its own ID, by which to know it again (OpenID Connect Back-Channel Logout 1.0
/// §2.6). It is good for [`LOGOUT_MAX_AGE_SECS`] at most.
pub fn check_logout(
    token: &str,
    keys: &Keys,
    expected: &Expected<'_>,
    now: Timestamp,
) -> Result<(Logout, String), Refusal> {
    let told = verified(token, keys, expected, &["JWT", "logout+jwt"])?;
    check_parties(&told, expected)?;
    // The specification of 2023 wants exp, and providers from before don't send it.
    let issued = told.iat.ok_or(Refusal::Missing("iat"))?;
    let latest = issued.saturating_add(LOGOUT_MAX_AGE_SECS - SKEW_SECS);
    let expires = told.exp.map_or(latest, |exp| exp.min(latest));
    check_times((Some(expires), told.nbf, told.iat), now.as_second())?;
    let events = told.events.as_ref().ok_or(Refusal::Missing("events"))?;
    if !events.get(LOGOUT_EVENT).is_some_and(Value::is_object) || told.nonce.is_some() {
        return Err(Refusal::Kind);
    }
    let id = filled(&told.jti).ok_or(Refusal::Missing("jti"))?;
    let subject = match expected.directory {
        Directory::Entra(_) => filled(&told.oid),
        _ => filled(&told.sub),
    };
    let logout = Logout {
        subject: subject.map(str::to_owned),
        sid: filled(&told.sid).map(str::to_owned),
    };
    match (&logout.subject, &logout.sid) {
        (None, None) => Err(Refusal::Missing("sub or sid")),
        _ => Ok((logout, id.to_owned())),
    }
}

/// The claims of a token whose signature is right.
fn verified(
    token: &str,
    keys: &Keys,
    expected: &Expected<'_>,
    types: &[&str],
) -> Result<Told, Refusal> {
    if token.len() > TOKEN_MAX_BYTES {
        return Err(Refusal::TooLarge);
    }
    match token.matches('.').count() {
        2 => {}
        4 => return Err(Refusal::Encrypted),
        _ => return Err(Refusal::Malformed),
    }
    let header = jsonwebtoken::decode_header(token).map_err(|error| match error.kind() {
        ErrorKind::Base64(_) => Refusal::Malformed,
        _ => Refusal::Header,
    })?;
    check_header(&header, types)?;
    let jwk = keys.find(&header, expected)?;
    let key = DecodingKey::from_jwk(jwk).map_err(|_| Refusal::UnknownKey)?;
    // The crate would ask the machine's clock, and is content with any of several audiences: that is checked here.
    let mut validation = Validation::new(header.alg);
    validation.validate_exp = false;
    validation.validate_aud = false;
    validation.required_spec_claims.clear();
    match jsonwebtoken::decode::<Told>(token, &key, &validation) {
        Ok(decoded) => Ok(decoded.claims),
        Err(error) => Err(match error.kind() {
            ErrorKind::Base64(_) | ErrorKind::InvalidToken => Refusal::Malformed,
            ErrorKind::Json(_) | ErrorKind::Utf8(_) => Refusal::Claims,
            _ => Refusal::Signature,
        }),
    }
}

fn check_header(header: &Header, types: &[&str]) -> Result<(), Refusal> {
    if !ALGORITHMS.contains(&header.alg) {
        return Err(Refusal::Algorithm);
    }
    if header.crit.is_some() {
        return Err(Refusal::Critical);
    }
    if header.jwk.is_some() || header.jku.is_some() || header.x5u.is_some() {
        return Err(Refusal::OwnKey);
    }
    let typ = header.typ.as_deref();
    let is_known = typ.is_none_or(|typ| types.iter().any(|known| typ.eq_ignore_ascii_case(known)));
    if !is_known || header.cty.is_some() || header.enc.is_some() || header.zip.is_some() {
        return Err(Refusal::Kind);
    }
    Ok(())
}

/// From whom, and for whom (OpenID Connect Core 1.0 §3.1.3.7, 2 to 5).
fn check_parties(told: &Told, expected: &Expected<'_>) -> Result<(), Refusal> {
    let issuer = told.iss.as_deref().ok_or(Refusal::Missing("iss"))?;
    if issuer != expected.issuer {
        return Err(Refusal::Issuer);
    }
    let is_us = |party: &String| party == expected.client_id;
    let several = match told.aud.as_ref().ok_or(Refusal::Missing("aud"))? {
        Audience::One(audience) if is_us(audience) => false,
        Audience::Several(audiences) if audiences.iter().any(is_us) => audiences.len() > 1,
        _ => return Err(Refusal::Audience),
    };
    match &told.azp {
        None if several => Err(Refusal::AuthorizedParty),
        Some(party) if !is_us(party) => Err(Refusal::AuthorizedParty),
        _ => Ok(()),
    }
}

/// `exp`, `nbf` and `iat`.
fn check_times(
    (exp, nbf, iat): (Option<i64>, Option<i64>, Option<i64>),
    now: i64,
) -> Result<(), Refusal> {
    let expires = exp.ok_or(Refusal::Missing("exp"))?;
    let issued = iat.ok_or(Refusal::Missing("iat"))?;
    if expires.saturating_add(SKEW_SECS) < now {
        return Err(Refusal::Expired);
    }
    if nbf.is_some_and(|from| from > now + SKEW_SECS) {
        return Err(Refusal::NotYet);
    }
    if issued > now + SKEW_SECS {
        return Err(Refusal::IssuedLater);
    }
    Ok(())
}

/// The `oid` of a token of this directory, in lower case. It comes with the scope `profile`.
fn check_entra(told: &Told, directory: &str) -> Result<String, Refusal> {
    let tid = filled(&told.tid).ok_or(Refusal::Missing("tid"))?;
    if tid.eq_ignore_ascii_case(PERSONAL) {
        return Err(Refusal::Personal);
    }
    if !tid.eq_ignore_ascii_case(directory) {
        return Err(Refusal::Directory);
    }
    if told.ver.as_deref() != Some("2.0") {
        return Err(Refusal::Version);
    }
    let oid = filled(&told.oid).ok_or(Refusal::Missing("oid"))?;
    Ok(oid.to_ascii_lowercase())
}

fn filled(text: &Option<String>) -> Option<&str> {
    text.as_deref().filter(|text| !text.is_empty())
}

#[cfg(test)]
mod tests;
