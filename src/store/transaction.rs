//! A transaction whose words SQLite compiles once: rusqlite's own has BEGIN and COMMIT compiled each time, a tenth of a read.

use rusqlite::{Connection, Result};

/// One of changes in progress; rolled back where it is dropped, also by a panic.
pub(super) struct Transaction<'c>(&'c Connection);

impl<'c> Transaction<'c> {
    /// Begins to write. A lock that is got at the beginning can't be refused in the middle.
    pub(super) fn writing(conn: &'c Connection) -> Result<Transaction<'c>> {
        run(conn, "BEGIN IMMEDIATE")?;
        Ok(Transaction(conn))
    }

    /// On success it is on disk; otherwise it is rolled back.
    pub(super) fn commit(self) -> Result<()> {
        run(self.0, "COMMIT")
    }

    /// Undoes it.
    pub(super) fn roll_back(self) -> Result<()> {
        run(self.0, "ROLLBACK")
    }
}

impl Drop for Transaction<'_> {
    fn drop(&mut self) {
        // Over where it was committed or rolled back, and after some failures: a full disk, for one.
        if !self.0.is_autocommit() {
            // Whoever uses the connection next finds out where this fails: its own BEGIN is refused.
            let _ = run(self.0, "ROLLBACK");
        }
    }
}

/// Runs words that begin or end something; they stay compiled.
pub(super) fn run(conn: &Connection, words: &str) -> Result<()> {
    conn.prepare_cached(words)?.execute([]).map(drop)
}
