//! A tenant's connection through the operator's application at Entra ID, which has one secret for all tenants.
//!
//! Who has agreed to that application has agreed for their directory and not for a tenant of ours. So a directory belongs
//! to the first tenant for which one of its people signs in; others need an application of their own, whose secret shows
//! that they manage the directory.

use jiff::Timestamp;
use serde_json::json;

use super::sso::{shown, tell};
use crate::error::Result;
use crate::sso::claims::Claims;
use crate::sso::entra;
use crate::store::sso::{self, Connection, Provider};
use crate::store::{TenantId, Tx};

/// What came of somebody's sign-in for a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bound {
    /// The directory is the tenant's from now on.
    First,
    /// It was so before.
    Again,
    /// It is another tenant's.
    Taken,
    /// Who signed in is a guest there.
    Guest,
}

/// The connection as it would be; it isn't stored.
pub fn connection(directory: &str, client_id: &str, now: Timestamp) -> Connection {
    let issuer = entra::issuer(directory);
    let name = "Microsoft Azure";
    Connection {
        directory: Some(directory.to_owned()),
        ..Connection::new(Provider::Entra, name, &issuer, client_id, None, now)
    }
}

/// Stores the connection, in the place of the one that there was, because somebody of its directory signed in.
pub fn bind(
    tx: &Tx<'_>,
    tenant: TenantId,
    actor: &str,
    wanted: &Connection,
    claims: &Claims,
) -> Result<Bound> {
    if claims.is_guest {
        return Ok(Bound::Guest);
    }
    match sso::holder(tx, wanted.directory.as_deref().unwrap_or_default())? {
        Some(holder) if holder == tenant => return Ok(Bound::Again),
        Some(_) => return Ok(Bound::Taken),
        None => {}
    }
    let before = sso::read(tx, tenant)?.as_ref().map(shown);
    let after = Connection {
        connected: Some(tx.now),
        ..wanted.clone()
    };
    sso::write(tx, tenant, &after)?;
    let mut told = shown(&after);
    told["by"] = json!({ "subject": claims.subject, "user_name": claims.user_name });
    let sides = (before, Some(told));
    tell(tx, tenant, actor, "connection.connected", sides)?;
    Ok(Bound::First)
}
