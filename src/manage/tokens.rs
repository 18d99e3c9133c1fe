//! Making and revoking tokens.

use serde_json::json;

use crate::error::Result;
use crate::store::events::{self, Event};
use crate::store::tokens::{self, New, Secret, Token};
use crate::store::{TenantId, Tx};

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
