//! Removals: how many there were, the mark of a tenant where they were unusual, and what of them still stands.

use std::time::Duration;

use jiff::Timestamp;

use super::column::Millis;
use super::events::BY_KIND;
use super::nesting::Above;
use super::resources::{self, Stored};
use super::{Snapshot, TenantId, Tx, known, tally, teams};
use crate::error::{Doing, Result};
use crate::scim::schema::Kind;

/// Since when a tenant is marked, so that nothing of it is purged.
pub fn unusual_since(snapshot: &Snapshot<'_>, tenant: TenantId) -> Result<Option<Timestamp>> {
    known::of(&snapshot.known.unusual_since, tenant, || {
        mark(snapshot, tenant)
    })
}

fn mark(snapshot: &Snapshot<'_>, tenant: TenantId) -> Result<Option<Timestamp>> {
    snapshot
        .conn
        .prepare_cached("SELECT unusual_since FROM tenant WHERE id = ?")
        .and_then(|mut statement| {
            statement.query_row([tenant], |row| row.get::<_, Option<Millis>>(0))
        })
        .map(|since| since.map(|at| at.0))
        .doing("reading a tenant's mark")
}

/// Marks the tenant as of now, or takes the mark away.
pub fn set_unusual(tx: &Tx<'_>, tenant: TenantId, unusual: bool) -> Result<()> {
    tx.known.forget();
    tx.conn
        .prepare_cached("UPDATE tenant SET unusual_since = iif(?, ?, NULL) WHERE id = ?")
        .and_then(|mut statement| statement.execute((unusual, Millis(tx.now), tenant)))
        .doing("marking a tenant")?;
    Ok(())
}

/// How many of a kind clients removed or deactivated within the last `window` that are gone or inactive still, and how
/// many others are there. What happened before the mark was last taken away doesn't count.
pub fn recent(tx: &Tx<'_>, tenant: TenantId, kind: Kind, window: Duration) -> Result<(u64, u64)> {
    let kinds = match kind {
        Kind::User => "'user.deactivated', 'user.deleted'",
        Kind::Group => "'team.deleted'",
    };
    let (removed, of_these_live): (i64, i64) = tx
        .conn
        .prepare_cached(&format!(
            "SELECT count(DISTINCT event.subject),
                    count(DISTINCT iif(resource.row IS NOT NULL AND resource.deleted_at IS NULL, event.subject, NULL))
             FROM event INDEXED BY event_kind LEFT JOIN resource ON resource.id = event.subject AND resource.tenant = event.tenant
             WHERE event.tenant = ?1 AND event.kind IN ({kinds}) AND {BY_KIND} AND event.at > ?2 AND event.actor LIKE 'token:%'
               AND event.seq > coalesce((SELECT max(seq) FROM event INDEXED BY event_kind
                                                WHERE tenant = ?1 AND kind = 'removals.usual' AND {BY_KIND}), 0)
               AND NOT (resource.row IS NOT NULL AND resource.deleted_at IS NULL AND resource.active IS NOT 0)"
        ))
        .and_then(|mut statement| {
            statement.query_row((tenant, Millis(tx.now - window)), |row| Ok((row.get(0)?, row.get(1)?)))
        })
        .doing("counting removals")?;
    let live = tally::count(tx, tenant, kind)?;
    Ok((
        removed.unsigned_abs(),
        live.saturating_sub(of_these_live.unsigned_abs()),
    ))
}

/// The users that were deactivated at `since` or later and are inactive still, deleted ones too; by age.
pub fn deactivated(
    snapshot: &Snapshot<'_>,
    tenant: TenantId,
    since: Timestamp,
) -> Result<Vec<Stored>> {
    let columns = resources::COLUMNS;
    snapshot
        .conn
        .prepare_cached(&format!(
            "SELECT {columns} FROM resource
             WHERE tenant = ?1 AND kind = 'User' AND active = 0
               AND id IN (SELECT subject FROM event INDEXED BY event_kind
                          WHERE tenant = ?1 AND kind = 'user.deactivated' AND {BY_KIND} AND at >= ?2)
             ORDER BY row"
        ))
        .and_then(|mut statement| {
            statement.query_map((tenant, Millis(since)), resources::from_row)?.collect()
        })
        .doing("reading who was deactivated")
}

/// A team and somebody, or a team, who was removed from it.
#[derive(Clone, Debug, PartialEq)]
pub struct Gap {
    /// The team, live or archived.
    pub team: Stored,
    /// The user or team, live or archived.
    pub member: Stored,
}

/// The memberships that ended at `since` or later and don't exist, by team. Those of deleted teams and users still exist.
pub fn gaps(snapshot: &Snapshot<'_>, tenant: TenantId, since: Timestamp) -> Result<Vec<Gap>> {
    let rows: Vec<(i64, i64)> = snapshot
        .conn
        .prepare_cached(&format!(
            "SELECT DISTINCT team.row, member.row
             FROM event INDEXED BY event_kind
             JOIN resource AS team ON team.id = event.subject AND team.tenant = event.tenant
             JOIN resource AS member ON member.id = event.object AND member.tenant = event.tenant
             WHERE event.tenant = ? AND event.kind IN ('member.removed', 'subteam.removed') AND {BY_KIND}
               AND event.at >= ?
               AND NOT EXISTS (SELECT 1 FROM team_member WHERE team = team.row AND member = member.row)
             ORDER BY team.row, member.row"
        ))
        .and_then(|mut statement| {
            statement
                .query_map((tenant, Millis(since)), |row| {
                    Ok((row.get(0)?, row.get(1)?))
                })?
                .collect()
        })
        .doing("reading who was removed")?;
    let read = |row: i64| {
        snapshot
            .conn
            .prepare_cached(&format!(
                "SELECT {} FROM resource WHERE tenant = ? AND row = ?",
                resources::COLUMNS
            ))
            .and_then(|mut statement| statement.query_row((tenant, row), resources::from_row))
            .doing("reading a resource")
    };
    let mut gaps: Vec<Gap> = Vec::with_capacity(rows.len());
    for (team, member) in rows {
        let team = match gaps.last() {
            Some(last) if last.team.row == team => last.team.clone(),
            _ => read(team)?,
        };
        gaps.push(Gap {
            team,
            member: read(member)?,
        });
    }
    Ok(gaps)
}

/// Makes it a member again, whether the two are live or archived. False, and nothing done, where a team would be in
/// itself.
pub fn close(tx: &Tx<'_>, gap: &Gap) -> Result<bool> {
    if would_circle(tx, gap)? {
        return Ok(false);
    }
    teams::insert(tx, gap.team.row, gap.member.row, gap.member.kind)?;
    Ok(true)
}

/// Whether a team would be in itself with this member, by whatever way.
pub fn would_circle(snapshot: &Snapshot<'_>, gap: &Gap) -> Result<bool> {
    Ok(gap.member.kind == Kind::Group && Above::of(snapshot, gap.team.row)?.has(gap.member.row))
}
