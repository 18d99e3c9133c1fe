//! The API's JSON, out and in.

use serde_json::{Map, Value, json};

use crate::scim::ScimError;
use crate::store::people::{Person, Team};
use crate::store::team_resources::{Draft, TeamResource};

/// Most characters of a resource's kind, name and URL.
const KIND_MAX_CHARS: usize = 100;
const NAME_MAX_CHARS: usize = 500;
const URL_MAX_CHARS: usize = 2000;

/// Most bytes of a resource's `data`, as JSON.
const DATA_MAX_BYTES: usize = 64 * 1024;

pub(super) fn person(person: &Person) -> Value {
    let document = &person.document;
    let name = |part: &str| document.get("name").and_then(|name| name.get(part));
    let teams: Vec<Value> = person
        .teams
        .iter()
        .map(|team| json!({ "id": team.id, "name": team.display }))
        .collect();
    json!({
        "id": person.id,
        "userName": document.get("userName"),
        "displayName": document.get("displayName"),
        "givenName": name("givenName"),
        "familyName": name("familyName"),
        "email": person.email(),
        "externalId": document.get("externalId"),
        "role": person.role,
        "teams": teams,
    })
}

pub(super) fn team(team: &Team) -> Value {
    json!({
        "id": team.id,
        "name": team.document.get("displayName"),
        "externalId": team.document.get("externalId"),
        "people": team.people,
        "resources": team.resources,
    })
}

pub(super) fn resource(resource: &TeamResource) -> Value {
    json!({
        "id": resource.id,
        "team": resource.team,
        "kind": resource.draft.kind,
        "name": resource.draft.name,
        "url": resource.draft.url,
        "data": resource.draft.data,
        "created": resource.created.to_string(),
        "lastModified": resource.last_modified.to_string(),
    })
}

/// Reads what an app says of a resource. Other keys are ignored, so that what was read can be sent back.
///
/// Errors: 400 that names the key.
pub(super) fn draft(body: Value) -> Result<Draft, ScimError> {
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
