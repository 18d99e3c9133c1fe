//! Who asks: from a request's `Authorization` to a tenant.

use std::sync::Arc;

use super::App;
use super::request::Head;
use super::throttle::Key;
use crate::error::Result;
use crate::scim::ScimError;
use crate::scim::declare::Schemas;
use crate::store::tenants::{self, Tenant};
use crate::store::tokens::{self, State, Token, TokenHash, TokenKind, Use};
use crate::store::{Store, attributes};

/// What who shows a token that is none learns.
const OPENS_NOTHING: &str = "this token opens nothing here: it is unknown, revoked or of another kind; \
                             compare it with the Secret Token of the tenant";

/// What opens SCIM.
pub(super) const CLIENT: [TokenKind; 2] = [TokenKind::Scim, TokenKind::Me];

/// What opens the API.
pub(super) const APP: [TokenKind; 1] = [TokenKind::Api];

/// A client that showed a valid SCIM token.
#[derive(Clone, Debug)]
pub(super) struct Caller {
    /// What it showed.
    pub token: Token,
    /// What the token opens.
    pub tenant: Tenant,
    /// The tenant's schemas.
    pub schemas: Arc<Schemas>,
}

/// The client behind a request (RFC 6750 §2.1).
///
/// Errors: 401 without a token, or with one that is unknown, revoked, expired, or for apps and not for SCIM. Unknown
/// and revoked read alike, since who guesses should learn nothing. 429 for who shows many unknown ones; whoever shares
/// an address with them and has a valid one is served all the same.
pub(super) fn caller(app: &App, head: &Head) -> Result<Caller> {
    holder(app, head, &CLIENT)
}

/// The app behind a request for the API; as [`caller`], for tokens of the other kind. Notes the token's use.
pub(super) fn app(app: &App, head: &Head) -> Result<Caller> {
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
pub(super) fn is_known(store: &Store, head: &Head, kinds: &[TokenKind]) -> bool {
    matches!(whose(store, head), Ok(Some(caller)) if valid(&caller.token, head, kinds).is_ok())
}

fn holder(app: &App, head: &Head, kinds: &[TokenKind]) -> Result<Caller> {
    let token = bearer(head).ok_or_else(|| {
        ScimError::unauthorized(match kinds.contains(&TokenKind::Api) {
            false => {
                "this address needs a token: send one `Authorization: Bearer` header with the Secret Token of the tenant"
            }
            true => {
                "this address needs a token: send one `Authorization: Bearer` header with one of rollcall token create --api"
            }
        })
    })?;
    match find(&app.store, token)? {
        Some(caller) => {
            valid(&caller.token, head, kinds)?;
            Ok(caller)
        }
        None => Err(guessed(app, head).into()),
    }
}

fn valid(token: &Token, head: &Head, kinds: &[TokenKind]) -> std::result::Result<(), ScimError> {
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
fn guessed(app: &App, head: &Head) -> ScimError {
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

/// Whose token a request shows, valid or not: so that a tenant's log can tell why its own client is refused.
pub(super) fn whose(store: &Store, head: &Head) -> Result<Option<Caller>> {
    bearer(head).map_or(Ok(None), |token| find(store, token))
}

fn find(store: &Store, token: &str) -> Result<Option<Caller>> {
    let hash = TokenHash::of(token);
    store.read(|snapshot| {
        let Some(token) = tokens::by_hash(snapshot, &hash)? else {
            return Ok(None);
        };
        let Some(tenant) = tenants::by_id(snapshot, token.tenant)? else {
            return Ok(None);
        };
        Ok(Some(Caller {
            schemas: attributes::schemas(snapshot, tenant.id)?,
            token,
            tenant,
        }))
    })
}

/// Whether a request shows any credentials at all.
pub(super) fn shows_credentials(head: &Head) -> bool {
    head.header("authorization").is_some()
}

/// The bearer token that a request shows, valid or not.
///
/// None where there are two `Authorization` headers: a proxy in front may have checked the other one.
pub(super) fn bearer(head: &Head) -> Option<&str> {
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
