//! Pages of everything, in the order of the rows.
//!
//! Where a page begins is found by adding up the tally's blocks, so that the last page of a long list costs about what
//! the first one does.

use rusqlite::types::Value as Sql;

use crate::error::{Doing, Result};
use crate::scim::schema::Kind;
use crate::store::place::{Place, Start};
use crate::store::tally::{BLOCK_BITS, BLOCKS};
use crate::store::{Snapshot, TenantId};

/// The first `limit` places from `start` on, kind by kind; those before it, the nearest first, where it says so.
pub(super) fn page(
    snapshot: &Snapshot<'_>,
    tenant: TenantId,
    kinds: &[Kind],
    start: &Start,
    limit: u64,
) -> Result<Vec<Place>> {
    let backward = start.is_backward();
    let mut kinds_in_order = kinds.to_vec();
    if backward {
        kinds_in_order.reverse();
    }
    let mut bound = start.place();
    let mut skipped = match start {
        Start::Offset(offset) => *offset,
        _ => 0,
    };
    let mut places = Vec::new();
    for kind in kinds_in_order {
        let key = key(kinds, kind);
        let mut from = match bound {
            Some(place) if place.key != key => continue,
            Some(place) => place.row,
            None if backward => i64::MAX,
            None => 0,
        };
        bound = None;
        if skipped > 0 {
            let block;
            (block, skipped) = skip(snapshot, tenant, kind, skipped)?;
            match block {
                Some(block) => from = (block << BLOCK_BITS) - 1,
                None => continue,
            }
        }
        let left = limit - places.len() as u64;
        let rows = rows(snapshot, (tenant, kind), (from, backward), (left, skipped))?;
        skipped = 0;
        places.extend(rows.into_iter().map(|row| Place {
            key: key.clone(),
            row,
        }));
    }
    Ok(places)
}

/// What places of a kind have as their key: nothing where there is only one kind, else what orders the kinds.
fn key(kinds: &[Kind], kind: Kind) -> Sql {
    match kinds {
        [_] => Sql::Null,
        _ => Sql::Integer((kind == Kind::Group).into()),
    }
}

/// The block in which the resource behind the first `offset` is, and how many of those are in it. `None` where there are no
/// more than `offset`, and how many of `offset` are left then.
fn skip(
    snapshot: &Snapshot<'_>,
    tenant: TenantId,
    kind: Kind,
    offset: u64,
) -> Result<(Option<i64>, u64)> {
    let add_up = || -> rusqlite::Result<_> {
        let mut statement = snapshot.conn.prepare_cached(&BLOCKS)?;
        let mut blocks = statement.query((tenant, kind))?;
        let mut left = offset;
        while let Some(row) = blocks.next()? {
            let live = row.get::<_, i64>(1)?.unsigned_abs();
            if left < live {
                return Ok((Some(row.get(0)?), left));
            }
            left -= live;
        }
        Ok((None, left))
    };
    add_up().doing("looking for a page")
}

fn rows(
    snapshot: &Snapshot<'_>,
    (tenant, kind): (TenantId, Kind),
    (from, backward): (i64, bool),
    (limit, offset): (u64, u64),
) -> Result<Vec<i64>> {
    let sql = if backward { BACKWARD } else { FORWARD };
    let [limit, offset] = [limit, offset].map(super::saturated);
    snapshot
        .conn
        .prepare_cached(sql)
        .and_then(|mut statement| {
            statement
                .query_map((tenant, kind, from, limit, offset), |row| row.get(0))?
                .collect()
        })
        .doing("listing resources")
}

pub(super) const FORWARD: &str = "SELECT row FROM resource
     WHERE tenant = ? AND kind = ? AND deleted_at IS NULL AND row > ? ORDER BY row LIMIT ? OFFSET ?";
const BACKWARD: &str = "SELECT row FROM resource
     WHERE tenant = ? AND kind = ? AND deleted_at IS NULL AND row < ? ORDER BY row DESC LIMIT ? OFFSET ?";

#[cfg(test)]
mod tests;
