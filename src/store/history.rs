//! How things were: users, teams, memberships and roles at a time, from the events.

use std::collections::BTreeMap;

use jiff::Timestamp;
use rusqlite::OptionalExtension;
use serde_json::Value;

use super::column::{Json, Millis};
use super::{Snapshot, TenantId};
use crate::error::{Doing, Result};
use crate::scim::resource::{Document, fold};
use crate::scim::schema::Kind;

/// A user or team as it was.
#[derive(Clone, Debug, PartialEq)]
pub struct Past {
    /// Of which resource type.
    pub kind: Kind,
    /// Its id.
    pub id: String,
    /// What the client had said of it.
    pub document: Document,
    /// The name of a user's role.
    pub role: Option<String>,
    /// Ids of the teams that a user was a member of, or of a team's members, those that were there at that time.
    pub links: Vec<String>,
}

/// The user or team with this id as it was at `at`; `None` where it wasn't there.
pub fn at(
    snapshot: &Snapshot<'_>,
    tenant: TenantId,
    id: &str,
    at: Timestamp,
) -> Result<Option<Past>> {
    let Some((kind, document)) = document(snapshot, tenant, id, at)? else {
        return Ok(None);
    };
    let mut links = Vec::new();
    for other in neighbours(snapshot, tenant, kind, id, at)? {
        if self::document(snapshot, tenant, &other, at)?.is_some() {
            links.push(other);
        }
    }
    let role = match kind {
        Kind::User => role(snapshot, tenant, id, at)?,
        Kind::Group => None,
    };
    Ok(Some(Past {
        kind,
        id: id.to_owned(),
        document,
        role,
        links,
    }))
}

/// The id of the user or team that was called `name` at `at`, compared folded. Reads every event of the tenant: for a
/// person at the command line, not for a page.
pub fn named(
    snapshot: &Snapshot<'_>,
    tenant: TenantId,
    kind: Kind,
    name: &str,
    at: Timestamp,
) -> Result<Option<String>> {
    let wanted = fold(name);
    let is_called = |name: Option<&Value>| {
        name.and_then(Value::as_str)
            .is_some_and(|name| fold(name) == wanted)
    };
    let pattern = match kind {
        Kind::User => "user.*",
        Kind::Group => "team.*",
    };
    let mut statement = snapshot
        .conn
        .prepare_cached(
            "SELECT DISTINCT subject, after ->> ? FROM event
             WHERE tenant = ? AND at <= ? AND kind GLOB ? AND after IS NOT NULL",
        )
        .doing("looking a name up")?;
    let candidates: Vec<(String, Option<String>)> = statement
        .query_map(
            (kind.name_attribute(), tenant, Millis(at), pattern),
            |row| Ok((row.get(0)?, row.get(1)?)),
        )
        .and_then(Iterator::collect)
        .doing("looking a name up")?;
    for (id, name) in candidates {
        if is_called(name.map(Value::String).as_ref()) {
            let then = document(snapshot, tenant, &id, at)?;
            if then.is_some_and(|(_, document)| is_called(document.get(kind.name_attribute()))) {
                return Ok(Some(id));
            }
        }
    }
    Ok(None)
}

/// Ids of the users and teams to which something happened after `from` and up to `to`, oldest change first.
pub fn touched(
    snapshot: &Snapshot<'_>,
    tenant: TenantId,
    from: Timestamp,
    to: Timestamp,
) -> Result<Vec<String>> {
    let mut seen = BTreeMap::new();
    let subjects: Vec<(String, Option<String>)> = snapshot
        .conn
        .prepare_cached(
            "SELECT subject, object FROM event
             WHERE tenant = ? AND at > ? AND at <= ?
               AND (kind GLOB 'user.*' OR kind GLOB 'team.*' OR kind GLOB 'member.*' OR kind GLOB 'subteam.*' OR kind = 'role.assigned')
             ORDER BY seq",
        )
        .and_then(|mut statement| {
            let times = (tenant, Millis(from), Millis(to));
            statement.query_map(times, |row| Ok((row.get(0)?, row.get(1)?)))?.collect()
        })
        .doing("listing what was touched")?;
    for (subject, object) in subjects {
        for id in [Some(subject), object].into_iter().flatten() {
            let place = seen.len();
            seen.entry(id).or_insert(place);
        }
    }
    let mut ids: Vec<(usize, String)> = seen.into_iter().map(|(id, place)| (place, id)).collect();
    ids.sort_unstable();
    Ok(ids.into_iter().map(|(_, id)| id).collect())
}

/// The latest event about the resource itself says what it was like; one without an `after` that it was gone.
fn document(
    snapshot: &Snapshot<'_>,
    tenant: TenantId,
    id: &str,
    at: Timestamp,
) -> Result<Option<(Kind, Document)>> {
    let latest: Option<(String, Option<Json<Value>>)> = snapshot
        .conn
        .prepare_cached(
            "SELECT kind, after FROM event
             WHERE tenant = ? AND subject = ? AND at <= ? AND (kind GLOB 'user.*' OR kind GLOB 'team.*')
             ORDER BY seq DESC LIMIT 1",
        )
        .and_then(|mut statement| {
            statement
                .query_row((tenant, id, Millis(at)), |row| Ok((row.get(0)?, row.get(1)?)))
                .optional()
        })
        .doing("reading how a resource was")?;
    Ok(match latest {
        Some((kind, Some(Json(Value::Object(document))))) => {
            let kind = if kind.starts_with("user.") {
                Kind::User
            } else {
                Kind::Group
            };
            Some((kind, document))
        }
        _ => None,
    })
}

/// Whom the latest of the events about each pair says to be together.
fn neighbours(
    snapshot: &Snapshot<'_>,
    tenant: TenantId,
    kind: Kind,
    id: &str,
    at: Timestamp,
) -> Result<Vec<String>> {
    let sql = match kind {
        Kind::User => {
            "SELECT subject, kind FROM event
             WHERE tenant = ? AND object = ? AND at <= ? AND kind GLOB 'member.*' ORDER BY seq"
        }
        Kind::Group => {
            "SELECT object, kind FROM event
             WHERE tenant = ? AND subject = ? AND at <= ? AND (kind GLOB 'member.*' OR kind GLOB 'subteam.*') ORDER BY seq"
        }
    };
    let changes: Vec<(String, String)> = snapshot
        .conn
        .prepare_cached(sql)
        .and_then(|mut statement| {
            statement
                .query_map((tenant, id, Millis(at)), |row| {
                    Ok((row.get(0)?, row.get(1)?))
                })?
                .collect()
        })
        .doing("reading how memberships were")?;
    let latest: BTreeMap<String, String> = changes.into_iter().collect();
    Ok(latest
        .into_iter()
        .filter(|(_, kind)| kind.ends_with(".added"))
        .map(|(id, _)| id)
        .collect())
}

fn role(
    snapshot: &Snapshot<'_>,
    tenant: TenantId,
    id: &str,
    at: Timestamp,
) -> Result<Option<String>> {
    let after: Option<Json<Value>> = snapshot
        .conn
        .prepare_cached(
            "SELECT after FROM event
             WHERE tenant = ? AND subject = ? AND at <= ? AND kind = 'role.assigned' ORDER BY seq DESC LIMIT 1",
        )
        .and_then(|mut statement| statement.query_row((tenant, id, Millis(at)), |row| row.get(0)).optional())
        .doing("reading which role a user had")?;
    Ok(after.and_then(|Json(after)| Some(after["role"].as_str()?.to_owned())))
}
