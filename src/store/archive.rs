//! The archive: deleted users and teams, which wait there for their return or for the end of their retention.
//!
//! They are rows like the live ones, with their memberships and team resources still attached; `deleted_at` alone
//! tells them apart.

use jiff::Timestamp;
use rusqlite::{OptionalExtension, Params, Row, params};

use super::column::Millis;
use super::resources::{self, COLUMNS, Stored, external_id};
use super::{Snapshot, TenantId, Tx, known, tally};
use crate::error::{Doing, Result};
use crate::scim::resource::{Document, fold, name_of};
use crate::scim::schema::Kind;

/// A deleted user or team.
#[derive(Clone, Debug, PartialEq)]
pub struct Archived {
    /// What it was.
    pub stored: Stored,
    /// When it was deleted.
    pub since: Timestamp,
}

fn from_row(row: &Row<'_>) -> rusqlite::Result<Archived> {
    Ok(Archived {
        stored: resources::from_row(row)?,
        since: row.get::<_, Millis>("deleted_at")?.0,
    })
}

/// Those of a kind, the last deleted first.
pub fn list(snapshot: &Snapshot<'_>, tenant: TenantId, kind: Kind) -> Result<Vec<Archived>> {
    snapshot
        .conn
        .prepare_cached(&format!(
            "SELECT {COLUMNS}, deleted_at FROM resource
             WHERE tenant = ? AND kind = ? AND deleted_at IS NOT NULL ORDER BY deleted_at DESC, row DESC"
        ))
        .and_then(|mut statement| statement.query_map((tenant, kind), from_row)?.collect())
        .doing("listing the archive")
}

/// By id.
pub fn get(
    snapshot: &Snapshot<'_>,
    tenant: TenantId,
    kind: Kind,
    id: &str,
) -> Result<Option<Archived>> {
    newest(snapshot, "id = ?", (tenant, kind, id))
}

/// By userName or displayName, compared folded; of several the last deleted.
pub fn by_name(
    snapshot: &Snapshot<'_>,
    tenant: TenantId,
    kind: Kind,
    name: &str,
) -> Result<Option<Archived>> {
    newest(snapshot, "name_key = ?", (tenant, kind, fold(name)))
}

/// The one that a new `document` brings back: it has the same `externalId` or, if none has, the same name.
pub fn returning(
    snapshot: &Snapshot<'_>,
    tenant: TenantId,
    kind: Kind,
    document: &Document,
) -> Result<Option<Archived>> {
    let has_any = known::of(&snapshot.known.archives, (tenant, kind), || {
        has_any(snapshot, tenant, kind)
    });
    if !has_any? {
        return Ok(None);
    }
    if let Some(external_id) = external_id(document)
        && let Some(found) = newest(snapshot, "external_id = ?", (tenant, kind, external_id))?
    {
        return Ok(Some(found));
    }
    let name = name_of(document, kind.resource_type());
    by_name(snapshot, tenant, kind, name)
}

fn has_any(snapshot: &Snapshot<'_>, tenant: TenantId, kind: Kind) -> Result<bool> {
    snapshot
        .conn
        .prepare_cached(
            "SELECT 1 FROM resource WHERE tenant = ? AND kind = ? AND deleted_at IS NOT NULL",
        )
        .and_then(|mut statement| statement.exists((tenant, kind)))
        .doing("looking into the archive")
}

fn newest_sql(condition: &str) -> String {
    format!(
        "SELECT {COLUMNS}, deleted_at FROM resource
         WHERE tenant = ? AND kind = ? AND {condition} AND deleted_at IS NOT NULL
         ORDER BY deleted_at DESC, row DESC LIMIT 1"
    )
}

/// `condition` is one of the fixed ones above.
fn newest(
    snapshot: &Snapshot<'_>,
    condition: &str,
    values: impl Params,
) -> Result<Option<Archived>> {
    snapshot
        .conn
        .prepare_cached(&newest_sql(condition))
        .and_then(|mut statement| statement.query_row(values, from_row).optional())
        .doing("looking into the archive")
}

/// Makes it live again, as `document`, with the memberships and team resources that it had. Nothing else may have its
/// name or externalId.
pub fn undelete(
    tx: &Tx<'_>,
    tenant: TenantId,
    archived: &Archived,
    document: Document,
) -> Result<Stored> {
    // In this order, since the name that it had may be another's by now.
    let was = &archived.stored;
    let stored = resources::rewrite(tx, tenant, was, document, "deleted_at IS NOT NULL")?;
    known::clear(&tx.known.archives);
    tally::returns(tx, tenant, stored.kind, stored.row)?;
    tx.conn
        .prepare_cached("UPDATE resource SET deleted_at = NULL WHERE tenant = ? AND row = ?")
        .and_then(|mut statement| statement.execute((tenant, stored.row)))
        .doing("restoring a resource")?;
    Ok(stored)
}

/// Removes it for good, with its memberships and team resources.
pub fn purge(tx: &Tx<'_>, tenant: TenantId, archived: &Archived) -> Result<()> {
    known::clear(&tx.known.archives);
    resources::leave_index(tx, tenant, &archived.stored)?;
    tx.conn
        .prepare_cached(
            "DELETE FROM resource WHERE tenant = ? AND row = ? AND deleted_at IS NOT NULL",
        )
        .and_then(|mut statement| statement.execute((tenant, archived.stored.row)))
        .doing("purging a resource")?;
    Ok(())
}

/// Up to `limit` that were deleted at `latest` or before, the oldest first.
pub fn due(
    snapshot: &Snapshot<'_>,
    tenant: TenantId,
    latest: Timestamp,
    limit: usize,
) -> Result<Vec<Archived>> {
    snapshot
        .conn
        .prepare_cached(&format!(
            "SELECT {COLUMNS}, deleted_at FROM resource
             WHERE tenant = ? AND kind IN ('User', 'Group') AND deleted_at <= ?
             ORDER BY deleted_at, row LIMIT ?"
        ))
        .and_then(|mut statement| {
            let values = params![tenant, Millis(latest), limit as i64];
            statement.query_map(values, from_row)?.collect()
        })
        .doing("looking for what is to be purged")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::fixture::fixture;

    /// Each new user is looked for here, however many are in the archive.
    #[test]
    fn one_is_found_without_walking_the_archive() {
        let fixture = fixture();
        for (condition, index) in [
            ("external_id = ?", "resource_archived_external_id"),
            ("name_key = ?", "resource_archived_name"),
            ("id = ?", "sqlite_autoindex_resource_1"),
        ] {
            let plan: String = fixture
                .store
                .read(|snapshot| {
                    let sql = format!("EXPLAIN QUERY PLAN {}", newest_sql(condition));
                    let values = (fixture.tenant, Kind::User, "x");
                    (snapshot.conn)
                        .query_row(&sql, values, |row| row.get("detail"))
                        .doing("asking for a plan")
                })
                .unwrap();
            assert!(plan.contains(index), "{condition}: {plan}");
        }
    }
}
