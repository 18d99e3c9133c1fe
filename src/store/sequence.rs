//! The numbers of events and of lines in the provisioning log: in the order of writing, and never given twice.
//!
//! AUTOINCREMENT would do the same, but reads and writes a table of its own for each row. Here a transaction looks the last
//! number up once, and a trigger keeps that of a row which is the last one when it goes, in SQLite's table of sequences.

use super::{Snapshot, Tx, known};
use crate::error::{Doing, Result};

/// What is numbered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Sequence {
    /// `event.seq`.
    Event,
    /// `exchange.seq`.
    Exchange,
}

/// Inserts so many rows by `insert`, which is told the number of the first; answers that.
pub(super) fn numbered(
    tx: &Tx<'_>,
    sequence: Sequence,
    rows: usize,
    insert: impl FnOnce(i64) -> Result<usize>,
) -> Result<i64> {
    let last = known::of(&tx.known.last, sequence, || last(tx, sequence))?;
    insert(last + 1)?;
    (tx.known.last.borrow_mut()).insert(sequence, last + rows as i64);
    Ok(last + 1)
}

/// The last number that was given; 0 where none was.
pub(super) fn last(snapshot: &Snapshot<'_>, sequence: Sequence) -> Result<i64> {
    let sql = match sequence {
        Sequence::Event => {
            "SELECT max(coalesce((SELECT max(seq) FROM event), 0),
                        coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'event'), 0))"
        }
        Sequence::Exchange => {
            "SELECT max(coalesce((SELECT max(seq) FROM exchange), 0),
                        coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'exchange'), 0))"
        }
    };
    snapshot
        .conn
        .prepare_cached(sql)
        .and_then(|mut statement| statement.query_row([], |row| row.get(0)))
        .doing("reading the last number that was given")
}

/// Lets the next event have a number after `seq`.
pub(super) fn skip_events(tx: &Tx<'_>, seq: i64) -> Result<()> {
    tx.known.forget();
    let kept = last(tx, Sequence::Event)?.max(seq);
    let write = |sql: &str| tx.conn.prepare_cached(sql)?.execute([kept]);
    write("UPDATE sqlite_sequence SET seq = ? WHERE name = 'event'")
        .and_then(|updated| match updated {
            0 => write("INSERT INTO sqlite_sequence (name, seq) VALUES ('event', ?)"),
            _ => Ok(updated),
        })
        .map(drop)
        .doing("keeping the numbers of events")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::events::{self, Event};
    use crate::store::fixture::{at, exchange, fixture, tenant};
    use crate::store::{Store, TenantId, exchanges, tenants};

    fn write(tx: &Tx<'_>, tenant: TenantId) -> Result<(i64, i64)> {
        let event = Event {
            actor: "operator",
            kind: "tenant.created",
            subject: "x",
            object: None,
            before: None,
            after: None,
        };
        events::append(tx, tenant, &event)?;
        exchanges::insert(tx, &exchange(tenant, 0))?;
        Ok((last(tx, Sequence::Event)?, last(tx, Sequence::Exchange)?))
    }

    #[test]
    fn numbers_rise_and_those_of_who_is_gone_are_not_given_again() {
        let fixture = fixture();
        let (store, ours) = (&fixture.store, fixture.tenant);
        let theirs = tenant(store, "other");
        for n in 1..4 {
            let both = store.write(at(0), move |tx| {
                write(tx, ours)?;
                write(tx, theirs)
            });
            assert_eq!(both.unwrap(), (2 * n, 2 * n));
        }
        let numbers = store.write(at(0), move |tx| {
            tenants::delete(tx, theirs)?;
            write(tx, ours)
        });
        assert_eq!(numbers.unwrap(), (7, 7));
        // All of the log goes, and its last number stays.
        let late = at(91 * 24 * 60 * 60);
        let gone = store.write(late, move |tx| exchanges::forget(tx, ours, 100));
        assert_eq!(gone.unwrap(), 4);
        assert_eq!(
            store.write(late, move |tx| write(tx, ours)).unwrap(),
            (8, 8)
        );
        store.write(at(0), |tx| skip_events(tx, 100)).unwrap();
        assert_eq!(
            store.write(at(0), move |tx| write(tx, ours)).unwrap(),
            (101, 9)
        );
        // Another process goes on where this one was, and this one after it.
        let other = Store::open(fixture.dir.path()).unwrap();
        for (store, numbers) in [(&other, (102, 10)), (store, (103, 11))] {
            let written = store.write(at(0), move |tx| write(tx, ours));
            assert_eq!(written.unwrap(), numbers);
        }
    }

    #[test]
    fn a_number_whose_row_is_undone_is_the_next_ones() {
        let fixture = fixture();
        let (store, ours) = (&fixture.store, fixture.tenant);
        for _ in 0..2 {
            let undone = store.write(at(0), move |tx| {
                write(tx, ours)?;
                Err::<(), _>("on purpose").doing("undoing it")
            });
            undone.unwrap_err();
            let part = store.write(at(0), move |tx| {
                tx.part(|tx| {
                    write(tx, ours)?;
                    Err::<(), _>("on purpose").doing("undoing it")
                })
                .map(drop)
            });
            part.unwrap();
        }
        assert_eq!(
            store.write(at(0), move |tx| write(tx, ours)).unwrap(),
            (1, 1)
        );
    }
}
