//! Signing in and out.

use serde_json::json;

use super::tokens;
use crate::error::Result;
use crate::store::events::{self, Event};
use crate::store::resources::Stored;
use crate::store::sessions::{self, Holder};
use crate::store::tokens::{self as stored_tokens, Secret, TokenHash};
use crate::store::{TenantId, Tx, accounts};

/// Who signs in, and from where.
#[derive(Clone, Debug)]
pub struct SignIn {
    /// Whose settings.
    pub tenant: TenantId,
    /// As whom.
    pub holder: Holder,
    /// As an actor of events: `account:3`, `person:ID`.
    pub actor: String,
    /// By what: `password`, `link`, `setup`, `sso`.
    pub method: &'static str,
    /// The browser's address.
    pub address: String,
    /// Its User-Agent.
    pub agent: String,
}

/// Begins a session that is known by this secret.
pub fn sign_in(tx: &Tx<'_>, who: &SignIn, secret: &Secret) -> Result<()> {
    let hash = TokenHash::of(secret.reveal());
    let from = (who.method, who.address.as_str(), who.agent.as_str());
    sessions::create(tx, who.tenant, &who.holder, &hash, from)?;
    let kind = match who.holder {
        Holder::Account(id) => {
            accounts::signed_in(tx, who.tenant, id)?;
            "account.signed_in"
        }
        Holder::Person(_) => "user.signed_in",
    };
    let after = json!({ "by": who.method, "address": who.address });
    let event = Event {
        actor: &who.actor,
        kind,
        subject: who.actor.split_once(':').map_or("", |(_, id)| id),
        object: None,
        before: None,
        after: Some(&after),
    };
    events::append(tx, who.tenant, &event)?;
    Ok(())
}

/// Ends all sessions, links and own tokens of a user who was deactivated or deleted.
pub fn end_with(tx: &Tx<'_>, tenant: TenantId, actor: &str, user: &Stored) -> Result<()> {
    sessions::end_all(tx, tenant, &Holder::Person(user.row), None)?;
    for token in stored_tokens::of_person(tx, tenant, user.row)? {
        tokens::revoke(tx, tenant, actor, token.id)?;
    }
    Ok(())
}

/// Ends all sessions and unused links of a tenant, except for the session `own`; returns how many there were.
pub fn end_everybody(tx: &Tx<'_>, tenant: TenantId, actor: &str, own: i64) -> Result<usize> {
    let ended = sessions::end_everybody(tx, tenant, own)?;
    let after = json!({ "count": ended });
    let event = Event {
        actor,
        kind: "sessions.ended",
        subject: actor.split_once(':').map_or("", |(_, id)| id),
        object: None,
        before: None,
        after: Some(&after),
    };
    events::append(tx, tenant, &event)?;
    Ok(ended)
}
