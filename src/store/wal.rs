//! Keeping the WAL from growing for ever.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use rusqlite::Connection;

use super::connection::BUSY_TIMEOUT;

/// SQLite begins the WAL anew once nobody reads in it, and with searches that follow one another without a gap that is
/// never. So once it has grown large, writing waits a moment for those who read: whoever comes meanwhile reads past
/// the WAL, and holds up nobody.
pub(super) struct Wal {
    path: PathBuf,
    /// Large, in bytes.
    large: u64,
    /// The size at which to try (again).
    next: u64,
    /// How long to wait for readers.
    patience: Duration,
}

impl Wal {
    /// The WAL of `conn`'s database.
    pub fn of(conn: &Connection, large: u64, patience: Duration) -> Wal {
        Wal {
            path: PathBuf::from(format!("{}-wal", conn.path().unwrap_or_default())),
            large,
            next: large,
            patience,
        }
    }

    /// To be called by who writes, between transactions.
    pub fn keep_small(&mut self, conn: &Connection) -> rusqlite::Result<()> {
        let bytes = fs::metadata(&self.path).map_or(0, |file| file.len());
        if bytes < self.next {
            return Ok(());
        }
        conn.busy_timeout(self.patience)?;
        let unfinished = conn.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0));
        conn.busy_timeout(BUSY_TIMEOUT)?;
        // Another program reads for longer, as one that ships the WAL to a standby does: don't wait at every change.
        self.next = if unfinished? {
            bytes + self.large
        } else {
            self.large
        };
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::fixture::{at, fixture};
    use crate::store::{connection, tenants};

    #[test]
    fn a_large_wal_is_emptied_once_nobody_reads_in_it() {
        let fixture = fixture();
        let store = &fixture.store;
        let conn = connection::open(&fixture.dir.path().join("rollcall.db")).unwrap();
        let mut wal = Wal::of(&conn, 1, Duration::ZERO);
        let size = || {
            fs::metadata(fixture.dir.path().join("rollcall.db-wal"))
                .unwrap()
                .len()
        };
        let while_read = store.read(|snapshot| {
            tenants::list(snapshot)?;
            store.write(at(0), |tx| tenants::create(tx, "meanwhile"))?;
            wal.keep_small(&conn).unwrap();
            Ok(size())
        });
        let while_read = while_read.unwrap();
        assert!(while_read > 0);
        assert_eq!(wal.next, while_read + 1);
        wal.keep_small(&conn).unwrap();
        assert_eq!(size(), while_read, "not again before it has grown");
        wal.next = 1;
        wal.keep_small(&conn).unwrap();
        assert_eq!((size(), wal.next), (0, 1));
    }
}
