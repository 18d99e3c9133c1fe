//! Making, renaming and pausing tenants.

use serde_json::json;

use crate::error::Result;
use crate::scim::ScimError;
use crate::store::events::{self, Event};
use crate::store::tenants::{self, Tenant};
use crate::store::{TenantId, Tx};

/// `text` without white space around it, if it can be typed and told apart; else a refusal that says so.
pub fn name(text: &str) -> std::result::Result<String, ScimError> {
    let name = text.trim();
    // One that began with `-` would be an option wherever a command is given it.
    if name.is_empty()
        || name.starts_with('-')
        || name.chars().count() > 100
        || name.chars().any(char::is_control)
    {
        return Err(ScimError::invalid_value(
            "a tenant's name has 1 to 100 characters, no control characters and no - at its beginning",
        ));
    }
    Ok(name.to_owned())
}

/// Makes one; `None` where the name is taken.
pub fn create(tx: &Tx<'_>, actor: &str, name: &str) -> Result<Option<Tenant>> {
    let made = tenants::create(tx, name)?;
    if let Some(tenant) = &made {
        told(tx, tenant.id, actor, "tenant.created", (None, name))?;
    }
    Ok(made)
}

/// Gives it another name; false where that is taken.
pub fn rename(tx: &Tx<'_>, actor: &str, tenant: &Tenant, name: &str) -> Result<bool> {
    let done = tenants::rename(tx, tenant.id, name)?;
    if done && name != tenant.name {
        let names = (Some(tenant.name.as_str()), name);
        told(tx, tenant.id, actor, "tenant.renamed", names)?;
    }
    Ok(done)
}

/// Pauses or resumes it.
pub fn set_paused(tx: &Tx<'_>, actor: &str, tenant: &Tenant, paused: bool) -> Result<()> {
    tenants::set_paused(tx, tenant.id, paused)?;
    if paused == tenant.paused.is_some() {
        return Ok(());
    }
    let kind = if paused {
        "tenant.paused"
    } else {
        "tenant.resumed"
    };
    let names = (Some(tenant.name.as_str()), tenant.name.as_str());
    told(tx, tenant.id, actor, kind, names)
}

fn told(
    tx: &Tx<'_>,
    tenant: TenantId,
    actor: &str,
    kind: &'static str,
    (before, after): (Option<&str>, &str),
) -> Result<()> {
    let before = before.map(|name| json!({ "name": name }));
    let event = Event {
        actor,
        kind,
        subject: after,
        object: None,
        before: before.as_ref(),
        after: Some(&json!({ "name": after })),
    };
    events::append(tx, tenant, &event)?;
    Ok(())
}
