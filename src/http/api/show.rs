//! The API's JSON, out and in.

use serde_json::{Value, json};

use crate::store::people::{Person, Team};
use crate::store::team_resources::TeamResource;

pub(super) fn person(person: &Person) -> Value {
    let document = &person.document;
    let name = |part: &str| document.get("name").and_then(|name| name.get(part));
    let teams: Vec<Value> = person
        .teams
        .iter()
        .map(|team| json!({ "id": team.id, "name": team.display, "direct": team.is_direct() }))
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
