//! What apps do with a team's resources.

use serde_json::{Map, Value, json};

use crate::error::Result;
use crate::scim::ScimError;
use crate::scim::schema::Kind;
use crate::store::events::{self, Event};
use crate::store::resources;
use crate::store::team_resources::{self, Draft, TeamResource};
use crate::store::{TenantId, Tx};

/// Most characters of a resource's kind, name and URL.
const KIND_MAX_CHARS: usize = 100;
const NAME_MAX_CHARS: usize = 500;
const URL_MAX_CHARS: usize = 2000;

/// Most bytes of a resource's `data`, as JSON.
const DATA_MAX_BYTES: usize = 64 * 1024;

/// Reads what is said of a resource, by an app or in a downloaded team. Other keys are ignored, so that what was read can be sent back.
///
/// Errors: 400 that names the key.
pub fn read(body: &Value) -> std::result::Result<Draft, ScimError> {
    let text = |key: &str, most: usize| match &body[key] {
        Value::String(text)
            if !text.is_empty()
                && text.chars().count() <= most
                && !text.contains(char::is_control) =>
        {
            Ok(text.clone())
        }
        _ => Err(ScimError::invalid_value(format!(
            "{key} must be a text of 1 to {most} characters without control characters"
        ))),
    };
    let url = match &body["url"] {
        Value::Null => None,
        _ => Some(text("url", URL_MAX_CHARS)?),
    };
    // A browser is to open it: no javascript:, and no white space that hides one.
    if let Some(url) = &url {
        let host = url
            .strip_prefix("https://")
            .or_else(|| url.strip_prefix("http://"));
        if host.is_none_or(|host| {
            host.is_empty() || host.starts_with('/') || host.contains(char::is_whitespace)
        }) {
            return Err(ScimError::invalid_value(
                "url must begin with https:// or http:// and a host",
            ));
        }
    }
    let data: Map<String, Value> = match &body["data"] {
        Value::Null => Map::new(),
        Value::Object(data) if body["data"].to_string().len() <= DATA_MAX_BYTES => data.clone(),
        _ => {
            return Err(ScimError::invalid_value(format!(
                "data must be a JSON object of at most {DATA_MAX_BYTES} bytes"
            )));
        }
    };
    Ok(Draft {
        kind: text("kind", KIND_MAX_CHARS)?,
        name: text("name", NAME_MAX_CHARS)?,
        url,
        data,
    })
}

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

/// A resource as events and downloaded teams tell it.
pub(super) fn told(draft: &Draft) -> Value {
    json!({ "kind": draft.kind, "name": draft.name, "url": draft.url, "data": draft.data })
}

/// Appends the event of one resource.
pub(super) fn append(
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
