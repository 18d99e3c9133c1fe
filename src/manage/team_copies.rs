//! A team as one JSON document, out and in again; and what a team owns, on its way to another.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::archive::{self, changed, joined};
use super::roles;
use super::team_resources::{self, append, told};
use crate::error::Result;
use crate::scim::ScimError;
use crate::scim::dialect;
use crate::scim::project;
use crate::scim::schema::Kind;
use crate::store::events::{self, Event};
use crate::store::resources::{self, Stored};
use crate::store::team_copies;
use crate::store::{Snapshot, TenantId, Tx, archive as archived, attributes, nesting};

/// What a downloaded document says it is. Another layout gets another number.
const FORMAT: &str = "rollcall team 1";

/// All that a team owns.
const ALL: (&str, usize) = ("", usize::MAX);

/// A team, live or archived, with its members and resources. 404 where there is none with this id.
pub fn download(snapshot: &Snapshot<'_>, tenant: TenantId, id: &str) -> Result<Value> {
    let team =
        team_copies::team(snapshot, tenant, id)?.ok_or_else(|| unknown(id, "live or archived"))?;
    let since = archived::get(snapshot, tenant, Kind::Group, id)?.map(|archived| archived.since);
    let members = |kind: Kind| -> Result<Vec<Value>> {
        let members = team_copies::members(snapshot, tenant, &team, kind)?.into_iter();
        let named = |(id, name)| json!({"id": id, (kind.name_attribute()): name});
        Ok(members.map(named).collect())
    };
    let resources: Vec<Value> = team_copies::belongings(snapshot, tenant, &team, ALL)?
        .into_iter()
        .map(|(id, draft)| {
            let mut value = told(&draft);
            value["id"] = id.into();
            value
        })
        .collect();
    let schemas = attributes::schemas(snapshot, tenant)?;
    let attributes = project::told(&team.document, schemas.of(Kind::Group));
    Ok(json!({
        "format": FORMAT,
        "id": team.id,
        "created": team.created.to_string(),
        "lastModified": team.last_modified.to_string(),
        "archived": since.map(|at| at.to_string()),
        "attributes": attributes,
        "members": members(Kind::User)?,
        "teams": members(Kind::Group)?,
        "resources": resources,
    }))
}

/// What an import made, and whom of the members it didn't find.
#[derive(Clone, Debug, PartialEq)]
pub struct Imported {
    /// The team.
    pub team: Stored,
    /// userNames of those who are no users of the tenant, and names of what is no team of it.
    pub missing: Vec<String>,
}

/// Makes a downloaded team again, under the same ids where they are free.
///
/// Errors: 400 for another document, 409 where a team has its name or `externalId`.
pub fn import(tx: &Tx<'_>, tenant: TenantId, actor: &str, copy: &Value) -> Result<Imported> {
    if copy["format"] != FORMAT {
        return Err(ScimError::invalid_value(format!(
            "this is no downloaded team: its format is {}, not {FORMAT:?}",
            copy["format"]
        ))
        .into());
    }
    let mut said = copy["attributes"].clone();
    let extensions = said.as_object().into_iter().flat_map(Map::keys);
    let urns: Vec<Value> = std::iter::once(&Kind::Group.resource_type().core.id)
        .chain(extensions.filter(|name| name.starts_with("urn:")))
        .map(|urn| urn.as_str().into())
        .collect();
    if let Some(said) = said.as_object_mut() {
        said.insert("schemas".to_owned(), urns.into());
    }
    let schemas = attributes::schemas(tx, tenant)?;
    let document = dialect::read_resource(said, schemas.of(Kind::Group))?.document;
    if let Some(attribute) = resources::taken(tx, tenant, Kind::Group, &document, None)? {
        return Err(ScimError::uniqueness(format!(
            "{attribute} {} belongs to another team: rename or remove that one first",
            document[attribute]
        ))
        .into());
    }
    let team = team_copies::insert(tx, tenant, text(copy, "id"), document)?;
    changed(tx, tenant, actor, "team.created", &team, None)?;
    let mut missing = Vec::new();
    let mut live = BTreeMap::new();
    // The team is new and in no other, so teams in it can't lead back to it.
    for (kind, members) in [(Kind::User, "members"), (Kind::Group, "teams")] {
        for member in list(copy, members) {
            let named = (text(member, "id"), text(member, kind.name_attribute()));
            match team_copies::join(tx, tenant, &team, kind, named)? {
                Some((id, true)) => drop(live.insert(id, kind)),
                Some(_) => {}
                None => missing.push(named.1.to_owned()),
            }
        }
    }
    for (id, kind) in &live {
        joined(tx, tenant, actor, &team.id, (id, *kind))?;
    }
    for value in list(copy, "resources") {
        let draft = team_resources::read(value).map_err(|refusal| refusal.at("resources"))?;
        let made = team_copies::insert_belonging(tx, tenant, &team, text(value, "id"), draft)?;
        let after = told(&made.draft);
        append(
            tx,
            tenant,
            actor,
            ("resource.created", &made),
            (None, Some(&after)),
        )?;
    }
    nesting::touch_people_below(tx, tenant, &team)?;
    roles::settle_members(tx, tenant, actor, &team, &live)?;
    Ok(Imported { team, missing })
}

/// Gives all that one team owns, live or archived, to another live one; tells how much that is.
///
/// Errors: 404 where one of the two isn't there, 400 where both are the same.
pub fn transfer(tx: &Tx<'_>, tenant: TenantId, actor: &str, from: &str, to: &str) -> Result<usize> {
    if from == to {
        return Err(ScimError::invalid_value("both are the same team").into());
    }
    let from =
        team_copies::team(tx, tenant, from)?.ok_or_else(|| unknown(from, "live or archived"))?;
    let to = resources::get(tx, tenant, Kind::Group, to)?.ok_or_else(|| unknown(to, "live"))?;
    let belongings = team_copies::belongings(tx, tenant, &from, ALL)?;
    team_copies::hand_over(tx, tenant, &from, &to)?;
    let (before, after) = (json!({"team": from.id}), json!({"team": to.id}));
    for (id, _) in &belongings {
        let event = Event {
            actor,
            kind: "resource.moved",
            subject: id,
            object: Some(&to.id),
            before: Some(&before),
            after: Some(&after),
        };
        events::append(tx, tenant, &event)?;
    }
    Ok(belongings.len())
}

/// The id of a team that is called so: an id itself, the live team with the name, or the last that was deleted with it.
pub fn id_of(snapshot: &Snapshot<'_>, tenant: TenantId, wanted: &str) -> Result<String> {
    if team_copies::team(snapshot, tenant, wanted)?.is_some() {
        return Ok(wanted.to_owned());
    }
    if let Some(live) = resources::by_name(snapshot, tenant, Kind::Group, wanted)? {
        return Ok(live.id);
    }
    archived::by_name(snapshot, tenant, Kind::Group, wanted)?
        .map(|archived| archived.stored.id)
        .ok_or_else(|| unknown(wanted, "live or archived").into())
}

fn unknown(wanted: &str, state: &str) -> ScimError {
    let noun = archive::noun(Kind::Group);
    ScimError::not_found(format!("there is no {noun} {wanted:?}, {state}"))
}

fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name].as_str().unwrap_or_default()
}

fn list<'a>(value: &'a Value, name: &str) -> &'a [Value] {
    value[name].as_array().map_or(&[], Vec::as_slice)
}
