//! The pool of reading connections.

use std::num::NonZero;
use std::path::PathBuf;
use std::sync::{Condvar, LazyLock, Mutex, MutexGuard, PoisonError};
use std::thread;

use rusqlite::Connection;

use super::transaction::Transaction;
use super::{Snapshot, connection};
use crate::error::{Doing, Result};

/// Most connections. More would only contend for the processor, since a question takes microseconds, and each keeps pages in
/// memory for itself. At least four, lest a long question or two keep the short ones waiting.
static MAX_CONNECTIONS: LazyLock<usize> = LazyLock::new(|| {
    let cores = thread::available_parallelism().map_or(1, NonZero::get);
    (2 * cores).clamp(4, 8)
});

/// Connections, opened when first needed.
#[derive(Debug)]
pub struct Readers {
    path: PathBuf,
    pool: Mutex<Pool>,
    returned: Condvar,
}

#[derive(Debug, Default)]
struct Pool {
    idle: Vec<Connection>,
    /// Idle and lent ones.
    open: usize,
    /// How many wait for one: to wake nobody is a system call, too.
    awaited: usize,
}

impl Readers {
    /// Readers of the file at `path`. Opens nothing yet.
    pub fn new(path: PathBuf) -> Readers {
        Readers {
            path,
            pool: Mutex::default(),
            returned: Condvar::new(),
        }
    }

    /// Runs `question` on one snapshot.
    pub fn read<T>(&self, question: impl FnOnce(&Snapshot<'_>) -> Result<T>) -> Result<T> {
        let loan = self.borrow()?;
        let conn = loan
            .conn
            .as_ref()
            .expect("a loan has its connection until it is dropped");
        // Rolled back when dropped, also by a panic; there is nothing to commit.
        let _transaction = Transaction::reading(conn).doing("beginning to read")?;
        question(&Snapshot { conn })
    }

    fn borrow(&self) -> Result<Loan<'_>> {
        let full = |pool: &mut Pool| pool.idle.is_empty() && pool.open >= *MAX_CONNECTIONS;
        let mut pool = self.pool();
        if full(&mut pool) {
            pool.awaited += 1;
            pool = (self.returned.wait_while(pool, full)).unwrap_or_else(PoisonError::into_inner);
            pool.awaited -= 1;
        }
        if let Some(conn) = pool.idle.pop() {
            return Ok(Loan {
                readers: self,
                conn: Some(conn),
            });
        }
        pool.open += 1;
        drop(pool);
        // Without a connection yet: should opening fail, dropping the loan frees its place.
        let mut loan = Loan {
            readers: self,
            conn: None,
        };
        loan.conn = Some(connection::open_reader(&self.path)?);
        Ok(loan)
    }

    /// A panic while the lock is held is impossible but for a lack of memory, and leaves the pool whole.
    fn pool(&self) -> MutexGuard<'_, Pool> {
        self.pool.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A connection that goes back when this is dropped.
struct Loan<'a> {
    readers: &'a Readers,
    conn: Option<Connection>,
}

impl Drop for Loan<'_> {
    fn drop(&mut self) {
        // One that couldn't leave its transaction would show an old snapshot for ever: rather open a new one.
        let conn = self.conn.take().filter(Connection::is_autocommit);
        let mut pool = self.readers.pool();
        match conn {
            Some(conn) => pool.idle.push(conn),
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
        for _ in 0..*MAX_CONNECTIONS + 1 {
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
            for _ in 0..4 * *MAX_CONNECTIONS {
                scope.spawn(|| assert_eq!(store.read(tenants::list).unwrap().len(), 1));
            }
        });
        assert!(store.readers.pool().open <= *MAX_CONNECTIONS);
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
