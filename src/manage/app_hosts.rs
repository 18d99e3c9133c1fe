//! Hosts of apps behind a proxy that asks who somebody is: who may open which, and changing that.

use serde_json::json;

use crate::error::Result;
use crate::scim::ScimError;
use crate::scim::schema::Kind;
use crate::store::app_hosts::{self, AppHost};
use crate::store::events::{self, Event};
use crate::store::people::Person;
use crate::store::{Snapshot, TenantId, Tx, resources, roles};

/// Whether a person may open a host: of its tenant, of its role or a higher one, and in one of its teams.
pub fn may_open(
    snapshot: &Snapshot<'_>,
    tenant: TenantId,
    host: &AppHost,
    person: &Person,
) -> Result<bool> {
    if tenant != host.tenant {
        return Ok(false);
    }
    let in_team = |id: &String| person.teams.iter().any(|team| team.id == *id);
    if !host.teams.is_empty() && !host.teams.iter().any(in_team) {
        return Ok(false);
    }
    let Some(least) = host.role else {
        return Ok(true);
    };
    let roles = roles::list(snapshot, tenant)?;
    let least = roles.iter().find(|role| role.id == least);
    let own = roles
        .iter()
        .find(|role| Some(&role.name) == person.role.as_ref());
    Ok(matches!((own, least), (Some(own), Some(least)) if own.rank <= least.rank))
}

/// Saves who may open a host. `role` and `teams` are names, and empty for any.
///
/// Errors: 400 for what is no host, no role or no team of the tenant's; 409 for another tenant's host.
pub fn save(
    tx: &Tx<'_>,
    tenant: TenantId,
    actor: &str,
    (host, role, teams): (&str, &str, &str),
) -> Result<()> {
    let host = checked(host)?;
    let by_role = match role {
        "" => None,
        name => Some(roles::by_name(tx, tenant, name)?.ok_or_else(|| {
            ScimError::invalid_value(format!(
                "There is no role {name}. Choose one from the list."
            ))
        })?),
    };
    let mut ids = vec![];
    for name in teams
        .split(',')
        .map(str::trim)
        .filter(|name| !name.is_empty())
    {
        let team = resources::by_name(tx, tenant, Kind::Group, name)?.ok_or_else(|| {
            ScimError::invalid_value(format!(
                "There is no team {name}. Write teams as they are called, with commas between them."
            ))
        })?;
        ids.push(team.id);
    }
    let saved = AppHost {
        host,
        tenant,
        role: by_role.map(|role| role.id),
        teams: ids,
    };
    if !app_hosts::save(tx, &saved)? {
        return Err(ScimError::uniqueness(
            "This host belongs to another organisation here. Ask whoever runs the server.",
        )
        .into());
    }
    let after = json!({ "role": role, "teams": saved.teams });
    let event = Event {
        actor,
        kind: "host.saved",
        subject: &saved.host,
        object: None,
        before: None,
        after: Some(&after),
    };
    events::append(tx, tenant, &event)?;
    Ok(())
}

/// Removes a host, so that nobody gets in; false where the tenant has none of this name.
pub fn remove(tx: &Tx<'_>, tenant: TenantId, actor: &str, host: &str) -> Result<bool> {
    if !app_hosts::remove(tx, tenant, host)? {
        return Ok(false);
    }
    let event = Event {
        actor,
        kind: "host.removed",
        subject: host,
        object: None,
        before: None,
        after: None,
    };
    events::append(tx, tenant, &event)?;
    Ok(true)
}

/// A host as browsers send it: a name or address in lower case, and a port where there is one.
fn checked(text: &str) -> std::result::Result<String, ScimError> {
    let host = text.to_lowercase();
    let plain = |c: char| c.is_ascii_alphanumeric() || "-._:[]".contains(c);
    if host.is_empty() || host.len() > 255 || !host.chars().all(plain) {
        return Err(ScimError::invalid_value(
            "A host looks like wiki.example.org, without https:// and without a path.",
        ));
    }
    Ok(host)
}
