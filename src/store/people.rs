//! The product's view of users and groups: people and teams. Who is inactive or deleted isn't there, nor counted.

use serde_json::{Value, json};

use super::resources::{self, Stored};
use super::teams;
use super::{Snapshot, TenantId, nesting, tally};
use crate::error::{Doing, Result};
use crate::scim::filter::{CompareOp, Filter};
use crate::scim::member::Link;
use crate::scim::path::AttrPath;
use crate::scim::resource::Document;
use crate::scim::schema::Kind;

/// An active user.
#[derive(Clone, Debug, PartialEq)]
pub struct Person {
    /// Row number, where the next page begins.
    pub row: i64,
    /// The SCIM id.
    pub id: String,
    /// What the provider says of it.
    pub document: Document,
    /// The role's name, where it is decided.
    pub role: Option<String>,
    /// Its teams, and those that it is in by way of others.
    pub teams: Vec<Link>,
}

/// A live group.
#[derive(Clone, Debug, PartialEq)]
pub struct Team {
    /// Row number, where the next page begins.
    pub row: i64,
    /// The SCIM id.
    pub id: String,
    /// What the provider says of it.
    pub document: Document,
    /// How many active people are in it, or in a team below it.
    pub people: u64,
    /// How many resources it has.
    pub resources: u64,
}

impl Person {
    /// The address for work.
    pub fn email(&self) -> Option<&str> {
        email(&self.document)
    }
}

/// A user's address for work: of type work, else the primary one, else the first.
pub fn email(document: &Document) -> Option<&str> {
    let emails = document.get("emails")?.as_array()?;
    let kind = |email: &Value| email.get("type").and_then(Value::as_str) == Some("work");
    let primary = |email: &Value| email.get("primary") == Some(&Value::Bool(true));
    let found = emails
        .iter()
        .find(|email| kind(email))
        .or_else(|| emails.iter().find(|email| primary(email)))
        .or(emails.first())?;
    found.get("value")?.as_str()
}

/// The person with this id.
pub fn person(snapshot: &Snapshot<'_>, tenant: TenantId, id: &str) -> Result<Option<Person>> {
    let stored = resources::get(snapshot, tenant, Kind::User, id)?;
    shown(snapshot, tenant, stored)
}

/// The person of this row number.
pub fn by_row(snapshot: &Snapshot<'_>, tenant: TenantId, row: i64) -> Result<Option<Person>> {
    let stored = resources::by_row(snapshot, tenant, row)?;
    shown(snapshot, tenant, stored)
}

/// How many people there are: from the table that keeps count, less the inactive ones, who are few.
pub fn count(snapshot: &Snapshot<'_>, tenant: TenantId) -> Result<u64> {
    let inactive: i64 = snapshot
        .conn
        .prepare_cached(
            "SELECT count(*) FROM resource
             WHERE tenant = ? AND kind = ? AND deleted_at IS NULL AND active IS 0",
        )
        .and_then(|mut statement| statement.query_row((tenant, Kind::User), |row| row.get(0)))
        .doing("counting who is inactive")?;
    let live = tally::count(snapshot, tenant, Kind::User)?;
    Ok(live.saturating_sub(inactive.unsigned_abs()))
}

/// The person with this userName, compared folded.
pub fn named(snapshot: &Snapshot<'_>, tenant: TenantId, name: &str) -> Result<Option<Person>> {
    let stored = resources::by_name(snapshot, tenant, Kind::User, name)?;
    shown(snapshot, tenant, stored)
}

fn shown(
    snapshot: &Snapshot<'_>,
    tenant: TenantId,
    stored: Option<Stored>,
) -> Result<Option<Person>> {
    stored
        .filter(|stored| stored.document.get("active") != Some(&Value::Bool(false)))
        .map(|stored| complete(snapshot, tenant, stored))
        .transpose()
}

/// Up to `limit` people with a row number after `after` who fulfil `filter`; those of one team where it is named.
pub fn list(
    snapshot: &Snapshot<'_>,
    tenant: TenantId,
    filter: Option<Filter>,
    team: Option<&str>,
    page: (i64, u64),
) -> Result<Vec<Person>> {
    let filter = linked(filter, "groups", team);
    resources::walk(snapshot, tenant, Kind::User, filter.as_ref(), page)?
        .into_iter()
        .map(|stored| complete(snapshot, tenant, stored))
        .collect()
}

fn complete(snapshot: &Snapshot<'_>, tenant: TenantId, stored: Stored) -> Result<Person> {
    let role = snapshot
        .conn
        .prepare_cached(
            "SELECT (SELECT name FROM role WHERE role.id = resource.role) FROM resource WHERE tenant = ? AND row = ?",
        )
        .and_then(|mut statement| statement.query_row((tenant, stored.row), |row| row.get(0)))
        .doing("reading a person's role")?;
    Ok(Person {
        teams: teams::all_groups_of(snapshot, tenant, &stored)?,
        row: stored.row,
        id: stored.id,
        document: stored.document,
        role,
    })
}

/// The team with this id.
pub fn team(snapshot: &Snapshot<'_>, tenant: TenantId, id: &str) -> Result<Option<Team>> {
    resources::get(snapshot, tenant, Kind::Group, id)?
        .map(|stored| counted(snapshot, tenant, stored))
        .transpose()
}

/// Up to `limit` teams with a row number after `after` that fulfil `filter`; those of one person where it is named.
pub fn teams(
    snapshot: &Snapshot<'_>,
    tenant: TenantId,
    filter: Option<Filter>,
    person: Option<&str>,
    page: (i64, u64),
) -> Result<Vec<Team>> {
    let filter = linked(filter, "members", person);
    resources::walk(snapshot, tenant, Kind::Group, filter.as_ref(), page)?
        .into_iter()
        .map(|stored| counted(snapshot, tenant, stored))
        .collect()
}

fn counted(snapshot: &Snapshot<'_>, tenant: TenantId, stored: Stored) -> Result<Team> {
    let resources: i64 = snapshot
        .conn
        .prepare_cached("SELECT count(*) FROM team_resource WHERE team = ? AND tenant = ?")
        .and_then(|mut statement| statement.query_row((stored.row, tenant), |row| row.get(0)))
        .doing("counting what a team has")?;
    let people = nesting::count_people(snapshot, tenant, &stored, u64::MAX)?;
    Ok(Team {
        row: stored.row,
        id: stored.id,
        document: stored.document,
        people,
        resources: resources.unsigned_abs(),
    })
}

/// `filter`, and that one of the `links` has this id.
fn linked(filter: Option<Filter>, links: &str, id: Option<&str>) -> Option<Filter> {
    let Some(id) = id else {
        return filter;
    };
    let link = Filter::Compare {
        attr: AttrPath {
            urn: None,
            name: links.to_owned(),
            sub_attr: Some("value".to_owned()),
        },
        op: CompareOp::Eq,
        value: json!(id),
    };
    Some(match filter {
        Some(filter) => Filter::And(Box::new(link), Box::new(filter)),
        None => link,
    })
}
