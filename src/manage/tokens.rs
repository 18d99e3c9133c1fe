//! Making, replacing and revoking tokens.

use jiff::{Timestamp, ToSpan};
use serde_json::json;

use crate::error::Result;
use crate::scim::ScimError;
use crate::store::events::{self, Event};
use crate::store::tokens::{self, New, Secret, Token, TokenKind};
use crate::store::{TenantId, Tx};

/// Tokens that one step of [`revoke_all`] holds in memory.
const REVOKED_AT_ONCE: usize = 1000;

/// `text` as a token's label; else a refusal that says what one is.
pub fn label(text: &str) -> std::result::Result<String, ScimError> {
    let label = text.trim();
    if label.is_empty() || label.chars().count() > 100 || label.chars().any(char::is_control) {
        return Err(ScimError::invalid_value(
            "A token’s label has 1 to 100 characters and no control characters; write what the token is for.",
        ));
    }
    Ok(label.to_owned())
}

/// The end of so many days.
pub fn after_days(now: Timestamp, days: u32) -> Timestamp {
    now + (i64::from(days) * 24).hours()
}

/// Makes a token with this secret.
pub fn create(
    tx: &Tx<'_>,
    tenant: TenantId,
    actor: &str,
    secret: &Secret,
    new: &New,
) -> Result<Token> {
    let token = tokens::create(tx, tenant, secret, new)?;
    let scopes: Vec<_> = token.scopes.iter().map(|scope| scope.as_str()).collect();
    let after = json!({
        "for": token.kind.as_str(),
        "name": token.label,
        "prefix": token.prefix,
        "scopes": scopes,
        "expires": token.expires.map(|at| at.to_string()),
    });
    let event = Event {
        actor,
        kind: "token.created",
        subject: &token.id.to_string(),
        object: None,
        before: None,
        after: Some(&after),
    };
    events::append(tx, tenant, &event)?;
    Ok(token)
}

/// Makes a token like `old`, for as long as that one was made for. Both are valid until the old one is revoked, so that
/// whoever holds it has the time to change it.
pub fn replace(
    tx: &Tx<'_>,
    tenant: TenantId,
    actor: &str,
    old: Token,
    secret: &Secret,
) -> Result<Token> {
    let new = New {
        kind: old.kind,
        label: old.label,
        expires: old
            .expires
            .map(|expires| tx.now + old.created.duration_until(expires)),
        scopes: old.scopes,
        person: old.person,
    };
    create(tx, tenant, actor, secret, &new)
}

/// Makes a token open nothing any more; false where there is none that does.
pub fn revoke(tx: &Tx<'_>, tenant: TenantId, actor: &str, id: i64) -> Result<bool> {
    let revoked = tokens::revoke(tx, tenant, id)?;
    if revoked {
        let event = Event {
            actor,
            kind: "token.revoked",
            subject: &id.to_string(),
            object: None,
            before: None,
            after: None,
        };
        events::append(tx, tenant, &event)?;
    }
    Ok(revoked)
}

/// Revokes all of a kind; answers how many these were.
pub fn revoke_all(tx: &Tx<'_>, tenant: TenantId, actor: &str, kind: TokenKind) -> Result<usize> {
    let mut count = 0;
    loop {
        let standing = tokens::standing(tx, tenant, kind, None, REVOKED_AT_ONCE)?;
        if standing.is_empty() {
            return Ok(count);
        }
        for token in standing {
            revoke(tx, tenant, actor, token.id)?;
            count += 1;
        }
    }
}
