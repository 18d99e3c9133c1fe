//! A team with all that belongs to it, live or archived, and its way into another team or back from a file.

use rusqlite::OptionalExtension;

use super::column::{Json, Millis};
use super::resources::{self, New, Stored};
use super::team_resources::{self, Draft, TeamResource};
use super::{Snapshot, TenantId, Tx, teams};
use crate::error::{Doing, Result};
use crate::id;
use crate::scim::resource::{Document, fold};
use crate::scim::schema::Kind;

/// A team by id, live or archived.
pub fn team(snapshot: &Snapshot<'_>, tenant: TenantId, id: &str) -> Result<Option<Stored>> {
    snapshot
        .conn
        .prepare_cached(&format!(
            "SELECT {} FROM resource WHERE tenant = ? AND kind = ? AND id = ?",
            resources::COLUMNS
        ))
        .and_then(|mut statement| {
            statement
                .query_row((tenant, Kind::Group, id), resources::from_row)
                .optional()
        })
        .doing("reading a team")
}

/// Id and name of each member of a type, live or archived, by age.
pub fn members(
    snapshot: &Snapshot<'_>,
    tenant: TenantId,
    team: &Stored,
    kind: Kind,
) -> Result<Vec<(String, String)>> {
    snapshot
        .conn
        .prepare_cached(
            "SELECT resource.id, resource.document ->> ?
             FROM team_member CROSS JOIN resource ON resource.row = team_member.member
             WHERE team_member.team = ? AND resource.tenant = ? AND resource.kind = ? ORDER BY team_member.member",
        )
        .and_then(|mut statement| {
            let values = (kind.name_attribute(), team.row, tenant, kind);
            statement
                .query_map(values, |row| Ok((row.get(0)?, row.get(1)?)))?
                .collect()
        })
        .doing("reading members")
}

/// Up to `limit` of what a team owns, live or archived, with an id after `after`, by age: each with its id.
pub fn belongings(
    snapshot: &Snapshot<'_>,
    tenant: TenantId,
    team: &Stored,
    (after, limit): (&str, usize),
) -> Result<Vec<(String, Draft)>> {
    snapshot
        .conn
        .prepare_cached(
            "SELECT id, kind, name, url, data FROM team_resource
             WHERE tenant = ? AND team = ? AND id > ? ORDER BY id LIMIT ?",
        )
        .and_then(|mut statement| {
            let limit = i64::try_from(limit).unwrap_or(i64::MAX);
            statement
                .query_map((tenant, team.row, after, limit), |row| {
                    let draft = Draft {
                        kind: row.get(1)?,
                        name: row.get(2)?,
                        url: row.get(3)?,
                        data: row.get::<_, Json<_>>(4)?.0,
                    };
                    Ok((row.get(0)?, draft))
                })?
                .collect()
        })
        .doing("reading a team's resources")
}

/// Gives all that one team owns to another.
pub fn hand_over(tx: &Tx<'_>, tenant: TenantId, from: &Stored, to: &Stored) -> Result<()> {
    tx.conn
        .prepare_cached(
            "UPDATE team_resource SET team = ?, last_modified = ?, version = version + 1 WHERE tenant = ? AND team = ?",
        )
        .and_then(|mut statement| statement.execute((to.row, Millis(tx.now), tenant, from.row)))
        .doing("moving a team's resources")?;
    Ok(())
}

/// Inserts a team under `id`, or under a fresh one where something has that.
pub fn insert(tx: &Tx<'_>, tenant: TenantId, id: &str, document: Document) -> Result<Stored> {
    let id = free(tx, "resource", id)?;
    resources::insert_as(tx, tenant, Kind::Group, id, None, New::of(document)?)
}

/// Makes the user or team with this id, or else the live one with this name, a member. Tells whether it is live; `None`
/// where there is no such one, live or archived, and where it is the team itself.
pub fn join(
    tx: &Tx<'_>,
    tenant: TenantId,
    team: &Stored,
    kind: Kind,
    (id, name): (&str, &str),
) -> Result<Option<(String, bool)>> {
    let found: Option<(i64, String, bool)> = tx
        .conn
        .prepare_cached(
            "SELECT row, id, deleted_at IS NULL FROM resource
             WHERE tenant = ?1 AND kind = ?4 AND (id = ?2 OR (name_key = ?3 AND deleted_at IS NULL)) AND row <> ?5
             ORDER BY id = ?2 DESC LIMIT 1",
        )
        .and_then(|mut statement| {
            statement
                .query_row((tenant, id, fold(name), kind, team.row), |row| {
                    Ok((row.get(0)?, row.get(1)?, row.get(2)?))
                })
                .optional()
        })
        .doing("looking a member up")?;
    let Some((row, id, live)) = found else {
        return Ok(None);
    };
    teams::insert(tx, team.row, row, kind)?;
    Ok(Some((id, live)))
}

/// Gives a team a resource, under this id or under a fresh one where another has that.
pub fn insert_belonging(
    tx: &Tx<'_>,
    tenant: TenantId,
    team: &Stored,
    id: &str,
    draft: Draft,
) -> Result<TeamResource> {
    let id = free(tx, "team_resource", id)?;
    team_resources::insert_as(tx, tenant, team, id, draft)
}

/// `id` if it is one of ours in form and nothing in `table` has it, in whatever tenant; else a fresh one.
fn free(tx: &Tx<'_>, table: &'static str, id: &str) -> Result<String> {
    let taken = tx
        .conn
        .prepare_cached(&format!("SELECT 1 FROM {table} WHERE id = ?"))
        .and_then(|mut statement| statement.exists([id]))
        .doing("looking for an id")?;
    let ours = uuid::Uuid::parse_str(id).is_ok_and(|parsed| parsed.to_string() == id);
    if taken || !ours {
        return id::fresh(tx.now);
    }
    Ok(id.to_owned())
}
