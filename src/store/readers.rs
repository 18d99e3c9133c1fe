//! The pool of reading connections.

use std::path::PathBuf;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use rusqlite::Connection;

use super::known::Known;
use super::transaction::run;
use super::{Snapshot, connection, faults};
use crate::error::{Doing, Result};

/// Most connections. Each keeps pages and statements in memory for itself. With many more than processors nothing is faster;
/// with few, those who read one resource would wait for those who read a group of 100,000.
const MAX_CONNECTIONS: usize = 8;

/// Connections, opened when first needed.
#[derive(Debug)]
pub(super) struct Readers {
    path: PathBuf,
    pool: Mutex<Pool>,
    returned: Condvar,
}

#[derive(Debug, Default)]
struct Pool {
    idle: Vec<Reader>,
    /// Idle and lent ones.
    open: usize,
    /// How many wait for one: to wake nobody is a system call, too.
    awaited: usize,
}

/// A connection and what it knows.
#[derive(Debug)]
struct Reader {
    conn: Connection,
    known: Known,
}

impl Readers {
    /// Readers of the file at `path`. Opens nothing yet.
    pub(super) fn new(path: PathBuf) -> Readers {
        Readers {
            path,
            pool: Mutex::default(),
            returned: Condvar::new(),
        }
    }

    /// Begins to read.
    pub(super) fn begin(&self) -> Result<Reading<'_>> {
        let reading = self.borrow()?;
        let Reader { conn, known } = reading.reader();
        run(conn, "BEGIN").doing("beginning to read")?;
        known.refresh(conn)?;
        Ok(reading)
    }

    fn borrow(&self) -> Result<Reading<'_>> {
        let full = |pool: &mut Pool| pool.idle.is_empty() && pool.open >= MAX_CONNECTIONS;
        let mut pool = self.pool();
        if full(&mut pool) {
            pool.awaited += 1;
            pool = (self.returned.wait_while(pool, full)).unwrap_or_else(PoisonError::into_inner);
            pool.awaited -= 1;
        }
        if let Some(reader) = pool.idle.pop() {
            return Ok(Reading {
                readers: self,
                reader: Some(reader),
            });
        }
        pool.open += 1;
        drop(pool);
        // Without a connection yet: should opening fail, dropping it frees its place.
        let mut reading = Reading {
            readers: self,
            reader: None,
        };
        reading.reader = Some(Reader {
            conn: connection::open_reader(&self.path)?,
            known: Known::default(),
        });
        Ok(reading)
    }

    /// A panic while the lock is held is impossible but for a lack of memory, and leaves the pool whole.
    fn pool(&self) -> MutexGuard<'_, Pool> {
        self.pool.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One snapshot, on a connection that goes back to the pool when this is dropped.
#[derive(Debug)]
pub struct Reading<'a> {
    readers: &'a Readers,
    reader: Option<Reader>,
}

impl Reading<'_> {
    /// Asks something of the snapshot.
    ///
    /// # Errors
    ///
    /// Those of `question`; 503 in words for what the machine can't do at the moment.
    pub fn read<T>(&self, question: impl FnOnce(&Snapshot<'_>) -> Result<T>) -> Result<T> {
        let Reader { conn, known } = self.reader();
        question(&Snapshot { conn, known }).map_err(faults::in_words)
    }

    fn reader(&self) -> &Reader {
        (self.reader.as_ref()).expect("it has its connection until it is dropped")
    }
}

impl Drop for Reading<'_> {
    /// Also by a panic. There is nothing to commit.
    fn drop(&mut self) {
        // One that can't leave its transaction would show an old snapshot for ever: rather open a new one.
        let reader = (self.reader.take()).filter(|reader| run(&reader.conn, "ROLLBACK").is_ok());
        let mut pool = self.readers.pool();
        match reader {
            Some(reader) => pool.idle.push(reader),
            None => pool.open -= 1,
        }
        if pool.awaited > 0 {
            self.readers.returned.notify_one();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use super::*;
    use crate::store::fixture::{at, fixture};
    use crate::store::tenants;

    #[test]
    fn a_read_sees_one_snapshot_whatever_is_written_meanwhile() {
        let fixture = fixture();
        let store = &fixture.store;
        let counts = store.read(|snapshot| {
            let before = tenants::list(snapshot)?.len();
            store.write(at(0), |tx| tenants::create(tx, "meanwhile"))?;
            Ok((before, tenants::list(snapshot)?.len()))
        });
        assert_eq!(counts.unwrap(), (1, 1));
        assert_eq!(store.read(tenants::list).unwrap().len(), 2);
    }

    #[test]
    fn a_panicking_question_gives_its_connection_back_without_a_transaction() {
        let fixture = fixture();
        for _ in 0..MAX_CONNECTIONS + 1 {
            let question = |snapshot: &Snapshot<'_>| -> Result<()> {
                tenants::list(snapshot)?;
                panic!("on purpose")
            };
            catch_unwind(AssertUnwindSafe(|| fixture.store.read(question))).unwrap_err();
        }
        fixture
            .store
            .write(at(0), |tx| tenants::create(tx, "later"))
            .unwrap();
        assert_eq!(fixture.store.read(tenants::list).unwrap().len(), 2);
        assert_eq!(fixture.store.readers.pool().open, 1);
    }

    #[test]
    fn more_questions_than_connections_wait_for_their_turn() {
        let fixture = fixture();
        let store = &fixture.store;
        std::thread::scope(|scope| {
            for _ in 0..4 * MAX_CONNECTIONS {
                scope.spawn(|| assert_eq!(store.read(tenants::list).unwrap().len(), 1));
            }
        });
        assert!(store.readers.pool().open <= MAX_CONNECTIONS);
    }

    #[test]
    fn a_question_cannot_write() {
        let fixture = fixture();
        let write = |snapshot: &Snapshot<'_>| {
            snapshot
                .conn
                .execute("DELETE FROM tenant", [])
                .doing("deleting")
        };
        fixture.store.read(write).unwrap_err();
    }
}
