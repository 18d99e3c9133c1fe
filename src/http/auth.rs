//! Who asks: from a request's `Authorization` to a tenant.

use std::sync::Arc;

use super::App;
use super::request::Head;
use super::throttle::Key;
use crate::error::Result;
use crate::scim::ScimError;
use crate::store::Snapshot;
use crate::store::tokens::{self, Bearer, State, Token, TokenHash, TokenKind, Use};

/// What who shows a token that is none learns.
const OPENS_NOTHING: &str = "this token opens nothing here: it is unknown, revoked or of another kind; \
                             compare it with the Secret Token of the tenant";

/// What opens SCIM.
pub(super) const CLIENT: [TokenKind; 2] = [TokenKind::Scim, TokenKind::Me];

/// What opens the API.
pub(super) const APP: [TokenKind; 1] = [TokenKind::Api];

/// Whose valid token a request shows (RFC 6750 §2.1), of a snapshot of its own.
///
/// Errors: 401 without a token, or with one that is unknown, revoked, expired, or of another kind. Unknown and revoked read
/// alike, since who guesses should learn nothing. 429 for who shows many unknown ones; whoever shares an address with them
/// and has a valid one is served all the same.
pub(super) fn holder(app: &App, head: &Head, kinds: &[TokenKind]) -> Result<Arc<Bearer>> {
    let token = token(head, kinds)?;
    let Some(bearer) = app.store.read(|snapshot| bearer(snapshot, token))? else {
        return Err(guessed(app, head).into());
    };
    valid(&bearer.token, head, kinds)?;
    Ok(bearer)
}

/// The app behind a request for the API. Notes the token's use.
pub(super) fn app(app: &App, head: &Head) -> Result<Arc<Bearer>> {
    let caller = holder(app, head, &APP)?;
    let (id, tenant) = (caller.token.id, caller.tenant.id);
    let noted = caller.token.last_used;
    // To the minute, so that hardly any request writes.
    if noted.is_none_or(|at| head.now.as_millisecond() - at.as_millisecond() >= 60_000) {
        let (now, address) = (head.now, head.address.to_string());
        app.note(head, move |tx| {
            let shown = Use {
                id,
                at: now,
                address: &address,
                answered: true,
            };
            tokens::used(tx, tenant, &shown)
        });
    }
    Ok(caller)
}

/// Whether a request shows a valid token of the kind that its address needs.
pub(super) fn is_known(app: &App, head: &Head, kinds: &[TokenKind]) -> bool {
    let is_valid = |token| {
        let known = app.store.read(|snapshot| bearer(snapshot, token));
        matches!(known, Ok(Some(bearer)) if valid(&bearer.token, head, kinds).is_ok())
    };
    shown(head).is_some_and(is_valid)
}

/// The token that a request shows, valid or not.
///
/// Errors: 401 where it shows none.
pub(super) fn token<'a>(
    head: &'a Head,
    kinds: &[TokenKind],
) -> std::result::Result<&'a str, ScimError> {
    shown(head).ok_or_else(|| {
        ScimError::unauthorized(match kinds.contains(&TokenKind::Api) {
            false => {
                "this address needs a token: send one `Authorization: Bearer` header with the Secret Token of the tenant"
            }
            true => {
                "this address needs a token: send one `Authorization: Bearer` header with one of rollcall token create --api"
            }
        })
    })
}

/// Whose a token is, valid or not.
pub(super) fn bearer(snapshot: &Snapshot<'_>, token: &str) -> Result<Option<Arc<Bearer>>> {
    tokens::bearer(snapshot, &TokenHash::of(token))
}

/// Refuses (401) a token that opens nothing here, or nothing any more.
pub(super) fn valid(
    token: &Token,
    head: &Head,
    kinds: &[TokenKind],
) -> std::result::Result<(), ScimError> {
    match token.state(head.now) {
        _ if !kinds.contains(&token.kind) => Err(ScimError::unauthorized(OPENS_NOTHING)),
        State::Revoked => Err(ScimError::unauthorized(OPENS_NOTHING)),
        State::Expired => Err(ScimError::unauthorized(
            "this token has expired: make a new one and put it into the provider",
        )),
        _ => Ok(()),
    }
}

/// The refusal of a token that there never was. No tenant's log can have it, so the server's own does, until there are many.
pub(super) fn guessed(app: &App, head: &Head) -> ScimError {
    match app.throttle.attempt(&[Key::guess(head.address)], head.now) {
        Ok(()) => {
            log::warn!(
                "{}: refused an unknown token from {}",
                head.request_id,
                head.address
            );
            ScimError::unauthorized(OPENS_NOTHING)
        }
        Err(wait) => ScimError::too_many_requests(
            "too many unknown tokens were shown from this address: wait, and check the Secret Token",
            wait.as_secs(),
        ),
    }
}

/// Whether a request shows any credentials at all.
pub(super) fn shows_credentials(head: &Head) -> bool {
    head.header("authorization").is_some()
}

/// The bearer token that a request shows, valid or not.
///
/// None where there are two `Authorization` headers: a proxy in front may have checked the other one.
pub(super) fn shown(head: &Head) -> Option<&str> {
    let mut shown = head
        .headers
        .iter()
        .filter(|(name, _)| name.eq_ignore_ascii_case("authorization"));
    let (Some((_, value)), None) = (shown.next(), shown.next()) else {
        return None;
    };
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}
