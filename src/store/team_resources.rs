//! Team resources: what apps register for a team. Those of an archived team aren't there.

use jiff::Timestamp;
use rusqlite::{OptionalExtension, Row, params};
use serde_json::{Map, Value};

use super::column::{Json, Millis};
use super::resources::Stored;
use super::{Snapshot, TenantId, Tx};
use crate::error::{Doing, Result};
use crate::id;

/// What an app says of a team resource.
#[derive(Clone, Debug, PartialEq)]
pub struct Draft {
    /// The app's word for its sort: monitor, repository, calendar.
    pub kind: String,
    /// What people call it.
    pub name: String,
    /// Where they open it.
    pub url: Option<String>,
    /// Whatever else the app wants to find again.
    pub data: Map<String, Value>,
}

/// One that is stored.
#[derive(Clone, Debug, PartialEq)]
pub struct TeamResource {
    /// UUID v7.
    pub id: String,
    /// Its team's id.
    pub team: String,
    /// What the app says of it.
    pub draft: Draft,
    /// When it was registered.
    pub created: Timestamp,
    /// When it was last changed.
    pub last_modified: Timestamp,
    /// 1 at first, one more with each change.
    pub version: i64,
}

const SELECT: &str = "SELECT own.id, team.id, own.kind, own.name, own.url, own.data, own.created, own.last_modified, own.version
     FROM team_resource AS own JOIN resource AS team ON team.row = own.team AND team.deleted_at IS NULL";

fn from_row(row: &Row<'_>) -> rusqlite::Result<TeamResource> {
    Ok(TeamResource {
        id: row.get(0)?,
        team: row.get(1)?,
        draft: Draft {
            kind: row.get(2)?,
            name: row.get(3)?,
            url: row.get(4)?,
            data: row.get::<_, Json<_>>(5)?.0,
        },
        created: row.get::<_, Millis>(6)?.0,
        last_modified: row.get::<_, Millis>(7)?.0,
        version: row.get(8)?,
    })
}

/// By id.
pub fn get(snapshot: &Snapshot<'_>, tenant: TenantId, id: &str) -> Result<Option<TeamResource>> {
    snapshot
        .conn
        .prepare_cached(&format!("{SELECT} WHERE own.tenant = ? AND own.id = ?"))
        .and_then(|mut statement| statement.query_row((tenant, id), from_row).optional())
        .doing("reading a team resource")
}

/// Up to `limit` of a team's with an id after `after`, by id, which is the order of their making to the
/// millisecond.
pub fn of_team(
    snapshot: &Snapshot<'_>,
    tenant: TenantId,
    team: i64,
    (after, limit): (&str, u64),
) -> Result<Vec<TeamResource>> {
    snapshot
        .conn
        .prepare_cached(&format!(
            "{SELECT} WHERE own.tenant = ? AND own.team = ? AND own.id > ? ORDER BY own.id LIMIT ?"
        ))
        .and_then(|mut statement| {
            statement
                .query_map((tenant, team, after, limit as i64), from_row)?
                .collect()
        })
        .doing("listing team resources")
}

/// Stores a new one.
pub fn insert(tx: &Tx<'_>, tenant: TenantId, team: &Stored, draft: Draft) -> Result<TeamResource> {
    insert_as(tx, tenant, team, id::fresh(tx.now)?, draft)
}

/// Stores one under an id that nothing has.
pub(super) fn insert_as(
    tx: &Tx<'_>,
    tenant: TenantId,
    team: &Stored,
    id: String,
    draft: Draft,
) -> Result<TeamResource> {
    tx.conn
        .prepare_cached(
            "INSERT INTO team_resource (id, tenant, team, kind, name, url, data, created, last_modified, version)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?8, 1)",
        )
        .and_then(|mut statement| {
            statement.execute(params![
                id,
                tenant,
                team.row,
                draft.kind,
                draft.name,
                draft.url,
                Json(&draft.data),
                Millis(tx.now)
            ])
        })
        .doing("storing a team resource")?;
    Ok(TeamResource {
        id,
        team: team.id.clone(),
        draft,
        created: tx.now,
        last_modified: tx.now,
        version: 1,
    })
}

/// Writes what the app says now, version + 1.
pub fn update(
    tx: &Tx<'_>,
    tenant: TenantId,
    before: TeamResource,
    draft: Draft,
) -> Result<TeamResource> {
    tx.conn
        .prepare_cached(
            "UPDATE team_resource SET kind = ?, name = ?, url = ?, data = ?, last_modified = ?, version = version + 1
             WHERE tenant = ? AND id = ?",
        )
        .and_then(|mut statement| {
            statement.execute(params![
                draft.kind,
                draft.name,
                draft.url,
                Json(&draft.data),
                Millis(tx.now),
                tenant,
                before.id
            ])
        })
        .doing("changing a team resource")?;
    Ok(TeamResource {
        draft,
        last_modified: tx.now,
        version: before.version + 1,
        ..before
    })
}

/// Removes it for good.
pub fn delete(tx: &Tx<'_>, tenant: TenantId, id: &str) -> Result<()> {
    tx.conn
        .prepare_cached("DELETE FROM team_resource WHERE tenant = ? AND id = ?")
        .and_then(|mut statement| statement.execute((tenant, id)))
        .doing("removing a team resource")?;
    Ok(())
}
