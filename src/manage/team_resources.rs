//! What apps do with a team's resources.

use serde_json::{Value, json};

use crate::error::Result;
use crate::scim::ScimError;
use crate::scim::schema::Kind;
use crate::store::events::{self, Event};
use crate::store::resources;
use crate::store::team_resources::{self, Draft, TeamResource};
use crate::store::{TenantId, Tx};

/// Registers one for the team with this id. Errors: 404 where there is no such team.
pub fn create(
    tx: &Tx<'_>,
    tenant: TenantId,
    actor: &str,
    team: &str,
    draft: Draft,
) -> Result<TeamResource> {
    let team = resources::get(tx, tenant, Kind::Group, team)?
        .ok_or_else(|| ScimError::not_found(format!("there is no team with id {team:?}")))?;
    let made = team_resources::insert(tx, tenant, &team, draft)?;
    let after = told(&made.draft);
    append(
        tx,
        tenant,
        actor,
        ("resource.created", &made),
        (None, Some(&after)),
    )?;
    Ok(made)
}

/// Replaces what is known of one; nothing happens where that is the same. Errors: 404; 412 for another version.
pub fn replace(
    tx: &Tx<'_>,
    tenant: TenantId,
    actor: &str,
    (id, if_match): (&str, Option<&str>),
    draft: Draft,
) -> Result<TeamResource> {
    let before = found(tx, tenant, id, if_match)?;
    if before.draft == draft {
        return Ok(before);
    }
    let was = told(&before.draft);
    let after = team_resources::update(tx, tenant, before, draft)?;
    let is = told(&after.draft);
    append(
        tx,
        tenant,
        actor,
        ("resource.changed", &after),
        (Some(&was), Some(&is)),
    )?;
    Ok(after)
}

/// Removes one. Errors: 404; 412 for another version.
pub fn delete(
    tx: &Tx<'_>,
    tenant: TenantId,
    actor: &str,
    id: &str,
    if_match: Option<&str>,
) -> Result<()> {
    let before = found(tx, tenant, id, if_match)?;
    team_resources::delete(tx, tenant, id)?;
    let was = told(&before.draft);
    append(
        tx,
        tenant,
        actor,
        ("resource.deleted", &before),
        (Some(&was), None),
    )
}

/// The entity tag of a version, a strong one.
pub fn etag(version: i64) -> String {
    format!("\"{version}\"")
}

fn found(tx: &Tx<'_>, tenant: TenantId, id: &str, if_match: Option<&str>) -> Result<TeamResource> {
    let before = team_resources::get(tx, tenant, id)?
        .ok_or_else(|| ScimError::not_found(format!("there is no resource with id {id:?}")))?;
    let tag = etag(before.version);
    match if_match {
        Some(tags) if !tags.split(',').any(|one| ["*", &tag].contains(&one.trim())) => Err(
            ScimError::precondition_failed(format!(
                "If-Match names {tags}, but the resource is at version {tag}: read it again before changing it"
            ))
            .into(),
        ),
        _ => Ok(before),
    }
}

fn told(draft: &Draft) -> Value {
    json!({ "kind": draft.kind, "name": draft.name, "url": draft.url, "data": draft.data })
}

fn append(
    tx: &Tx<'_>,
    tenant: TenantId,
    actor: &str,
    (kind, of): (&'static str, &TeamResource),
    (before, after): (Option<&Value>, Option<&Value>),
) -> Result<()> {
    let event = Event {
        actor,
        kind,
        subject: &of.id,
        object: Some(&of.team),
        before,
        after,
    };
    events::append(tx, tenant, &event)?;
    Ok(())
}
