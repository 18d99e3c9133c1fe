//! How many users and groups are live, kept count of in blocks of row numbers.
//!
//! To count each as it comes would cost each a page of the WAL. So the table ends before what came last: the tail of a
//! tenant and kind begins with the block behind the last one that it has there, and what is in the tail is counted when somebody asks, in the
//! index that lists are ordered by. Whoever comes into a later block first has those before it entered, so no tail has more
//! live resources than a block. Of the rest, triggers keep count (schema.sql); in the tail they find nothing to change.

use std::ops::Range;
use std::sync::LazyLock;

use super::{Snapshot, TenantId, Tx, known};
use crate::error::{Doing, Result};
use crate::scim::schema::Kind;

/// Bits of a row number that tell rows of a block apart, as in schema.sql.
pub(super) const BLOCK_BITS: u32 = 10;

/// The first block of a tail, as an expression of SQL that says whose and of which kind.
fn tail_of(tenant: &str, kind: &str) -> String {
    format!(
        "(SELECT coalesce(max(block), -1) + 1 FROM tally WHERE tenant = {tenant} AND kind = {kind})"
    )
}

/// How many are in a tail, as one.
fn in_tail(tenant: &str, kind: &str) -> String {
    let tail = tail_of(tenant, kind);
    format!(
        "(SELECT count(*) FROM resource
          WHERE tenant = {tenant} AND kind = {kind} AND deleted_at IS NULL AND row >= {tail} << 10)"
    )
}

/// How many there are, as one.
pub(super) fn live(tenant: &str, kind: &str) -> String {
    let in_tail = in_tail(tenant, kind);
    format!(
        "((SELECT coalesce(sum(live), 0) FROM tally WHERE tenant = {tenant} AND kind = {kind}) + {in_tail})"
    )
}

static TAIL: LazyLock<String> = LazyLock::new(|| format!("SELECT {}", tail_of("?1", "?2")));

/// The number of those of a tenant (`?1`) and kind (`?2`).
pub(super) static COUNT: LazyLock<String> =
    LazyLock::new(|| format!("SELECT {}", live("?1", "?2")));

/// In which blocks they are, and how many in each; the last of them is the tail.
pub(super) static BLOCKS: LazyLock<String> = LazyLock::new(|| {
    let (tail, live) = (tail_of("?1", "?2"), in_tail("?1", "?2"));
    format!(
        "SELECT block, live FROM tally WHERE tenant = ?1 AND kind = ?2 UNION ALL SELECT {tail}, {live} ORDER BY block"
    )
});

/// How many live ones of a kind there are.
pub fn count(snapshot: &Snapshot<'_>, tenant: TenantId, kind: Kind) -> Result<u64> {
    let live: i64 = snapshot
        .conn
        .prepare_cached(&COUNT)
        .and_then(|mut statement| statement.query_row((tenant, kind), |row| row.get(0)))
        .doing("counting resources")?;
    Ok(live.unsigned_abs())
}

/// Counts one that was inserted, live.
pub(super) fn came(tx: &Tx<'_>, tenant: TenantId, kind: Kind, row: i64) -> Result<()> {
    let (block, tail) = (row >> BLOCK_BITS, tail(tx, tenant, kind)?);
    if block > tail {
        return enter(tx, tenant, kind, tail..block);
    }
    if block == tail {
        return Ok(());
    }
    // It is entered: the number was that of one who is purged, or somebody of the block came back meanwhile.
    tx.conn
        .prepare_cached(
            "INSERT INTO tally (tenant, kind, block, live) VALUES (?, ?, ?, 1)
                 ON CONFLICT (tenant, kind, block) DO UPDATE SET live = live + 1",
        )
        .and_then(|mut statement| statement.execute((tenant, kind, block)))
        .doing("counting a resource")?;
    Ok(())
}

/// Lets an archived one become live again: a trigger counts it, in a block that has to be there.
pub(super) fn returns(tx: &Tx<'_>, tenant: TenantId, kind: Kind, row: i64) -> Result<()> {
    let (block, tail) = (row >> BLOCK_BITS, tail(tx, tenant, kind)?);
    if block < tail {
        return Ok(());
    }
    enter(tx, tenant, kind, tail..block + 1)
}

fn tail(tx: &Tx<'_>, tenant: TenantId, kind: Kind) -> Result<i64> {
    known::of(&tx.known.tails, (tenant, kind), || {
        tx.conn
            .prepare_cached(&TAIL)
            .and_then(|mut statement| statement.query_row((tenant, kind), |row| row.get(0)))
            .doing("looking for what is counted")
    })
}

/// Enters these blocks, which the tail begins with: it begins behind them from now on.
fn enter(tx: &Tx<'_>, tenant: TenantId, kind: Kind, blocks: Range<i64>) -> Result<()> {
    tx.conn
        .prepare_cached(
            "INSERT INTO tally (tenant, kind, block, live)
             SELECT ?1, ?2, row >> 10, count(*) FROM resource
             WHERE tenant = ?1 AND kind = ?2 AND deleted_at IS NULL AND row >= ?3 << 10 AND row < ?4 << 10
             GROUP BY row >> 10",
        )
        .and_then(|mut statement| statement.execute((tenant, kind, blocks.start, blocks.end)))
        .doing("counting resources")?;
    // Also where nothing is in the last one.
    tx.conn
        .prepare_cached(
            "INSERT OR IGNORE INTO tally (tenant, kind, block, live) VALUES (?, ?, ?, 0)",
        )
        .and_then(|mut statement| statement.execute((tenant, kind, blocks.end - 1)))
        .doing("counting resources")?;
    (tx.known.tails.borrow_mut()).insert((tenant, kind), blocks.end);
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{ProptestConfig, Strategy, prop, prop_assert_eq, prop_oneof, proptest};
    use rusqlite::params;
    use serde_json::json;

    use super::*;
    use crate::store::fixture::{at, document, fixture};
    use crate::store::resources::{self, Stored};
    use crate::store::{Store, archive, tenants};

    #[derive(Clone, Debug)]
    enum Deed {
        /// One of a kind, for one of two tenants.
        Come(usize, bool),
        /// Deleted, returned and purged, by its place among all that ever came.
        Go(usize),
        Return(usize),
        Purge(usize),
        /// The next one comes near the end of a block, so many blocks later.
        Skip(i64),
        /// Nothing is known any more, as when another process has written.
        Forget,
    }

    fn deed() -> impl Strategy<Value = Deed> {
        prop_oneof![
            6 => (0..2_usize, prop::bool::ANY).prop_map(|(tenant, user)| Deed::Come(tenant, user)),
            3 => (0..100_usize).prop_map(Deed::Go),
            2 => (0..100_usize).prop_map(Deed::Return),
            2 => (0..100_usize).prop_map(Deed::Purge),
            1 => (1_i64..4).prop_map(Deed::Skip),
            1 => prop::strategy::Just(Deed::Forget),
        ]
    }

    /// The tenants, whose is the third, and everybody who ever came.
    struct World {
        tenants: [TenantId; 3],
        all: Vec<(TenantId, Stored)>,
    }

    impl World {
        fn suffer(&mut self, tx: &Tx<'_>, deed: &Deed) -> Result<()> {
            let nth = |n: &usize| (!self.all.is_empty()).then(|| &self.all[n % self.all.len()]);
            match deed {
                Deed::Come(tenant, user) => {
                    let (tenant, name) = (self.tenants[*tenant], format!("n{}", self.all.len()));
                    let kind = if *user { Kind::User } else { Kind::Group };
                    let document = document(json!({ (kind.name_attribute()): name }));
                    let stored = resources::insert(tx, tenant, kind, document)?;
                    self.all.push((tenant, stored));
                }
                Deed::Go(n) => {
                    if let Some((tenant, stored)) = nth(n) {
                        resources::delete(tx, *tenant, stored)?;
                    }
                }
                Deed::Return(n) | Deed::Purge(n) => {
                    let Some((tenant, stored)) = nth(n) else {
                        return Ok(());
                    };
                    let Some(archived) = archive::get(tx, *tenant, stored.kind, &stored.id)? else {
                        return Ok(());
                    };
                    match deed {
                        Deed::Purge(_) => archive::purge(tx, *tenant, &archived)?,
                        _ => {
                            archive::undelete(tx, *tenant, &archived, stored.document.clone())?;
                        }
                    }
                }
                Deed::Skip(blocks) => {
                    // The third tenant has the row before.
                    let sql = "INSERT INTO resource
                                   (row, tenant, kind, id, name_key, display, created, last_modified, version, document)
                               SELECT n, ?2, 'User', n, n, '', 0, 0, 1, '{}' FROM (
                                   SELECT (((coalesce(max(row), 0) >> 10) + ?1) << 10) + 1021 AS n FROM resource)";
                    let inserted = tx.conn.execute(sql, params![blocks, self.tenants[2]]);
                    inserted.doing("skipping rows")?;
                }
                Deed::Forget => tx.known.forget(),
            }
            Ok(())
        }

        /// What is counted, and what there is, for each tenant and kind.
        fn counts(&self, tx: &Tx<'_>) -> Result<(Vec<u64>, Vec<u64>)> {
            let (mut counted, mut live) = (vec![], vec![]);
            for tenant in &self.tenants[..2] {
                for kind in Kind::ALL {
                    counted.push(count(tx, *tenant, kind)?);
                    let sql = "SELECT count(*) FROM resource WHERE tenant = ? AND kind = ? AND deleted_at IS NULL";
                    let all = tx
                        .conn
                        .query_row(sql, (tenant, kind), |row| row.get::<_, i64>(0));
                    live.push(all.doing("counting all")?.unsigned_abs());
                    let blocks: Vec<(i64, i64)> = (tx.conn)
                        .prepare(&BLOCKS)
                        .and_then(|mut statement| {
                            let block = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get(1)?));
                            statement.query_map((tenant, kind), block)?.collect()
                        })
                        .doing("reading blocks")?;
                    for (place, (block, counted)) in blocks.iter().enumerate() {
                        let end = if place + 1 == blocks.len() {
                            i64::MAX
                        } else {
                            (block + 1) << 10
                        };
                        let sql = "SELECT count(*) FROM resource WHERE tenant = ? AND kind = ? AND deleted_at IS NULL
                                   AND row >= ? AND row < ?";
                        let there: i64 = (tx.conn)
                            .query_row(sql, (tenant, kind, block << 10, end), |row| row.get(0))
                            .doing("counting a block")?;
                        assert_eq!(there, *counted, "in block {block} of {blocks:?}");
                    }
                }
            }
            Ok((counted, live))
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 100, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn the_tally_counts_what_there_is(deeds in prop::collection::vec(deed(), 1..60)) {
            let fixture = fixture();
            let told = fixture.store.write(at(0), move |tx| {
                let named = |name| tenants::create(tx, name).map(|tenant| tenant.unwrap().id);
                let mut world = World { tenants: [named("a")?, named("b")?, named("c")?], all: vec![] };
                for deed in &deeds {
                    world.suffer(tx, deed)?;
                    let (counted, live) = world.counts(tx)?;
                    if counted != live {
                        return Ok(Some(format!("after {deed:?}: {counted:?} and not {live:?}")));
                    }
                }
                Ok(None)
            });
            prop_assert_eq!(told.unwrap(), None);
        }
    }

    #[test]
    fn what_another_process_enters_is_not_entered_again() {
        let fixture = fixture();
        let tenant = fixture.tenant;
        let theirs = Store::open(fixture.dir.path()).unwrap();
        let come = |store: &Store, name: &str| {
            let document = document(json!({ "userName": name }));
            store.write(at(0), move |tx| {
                let stored = resources::insert(tx, tenant, Kind::User, document)?;
                // The next one comes into the next block.
                let skip = "UPDATE resource SET row = row | 1023 WHERE row = ?";
                tx.conn.execute(skip, [stored.row]).doing("skipping rows")?;
                count(tx, tenant, Kind::User)
            })
        };
        for (number, store) in [&fixture.store, &theirs, &fixture.store]
            .into_iter()
            .enumerate()
        {
            let counted = come(store, &format!("n{number}")).unwrap();
            assert_eq!(counted, number as u64 + 1);
        }
    }
}
