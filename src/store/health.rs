//! Whether the database of a data folder is whole, without changing anything in it.

use std::path::Path;

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension};

use super::column::Millis;
use super::{connection, lock, upgrade};
use crate::error::{Doing, Result};

/// Findings of one kind that are worth naming.
const NAMED: usize = 5;

/// What was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Health {
    /// Faults in the file's pages and indexes; none where it is whole.
    pub faults: Vec<String>,
    /// Rows that refer to something that isn't there, by table.
    pub orphans: Vec<String>,
    /// When the newest event was, by the clock of then.
    pub newest: Option<Timestamp>,
    /// Bytes of the database and its WAL.
    pub bytes: u64,
}

/// Looks through all of it, which takes a while where it is large: about a second for 200 MB.
///
/// # Errors
///
/// Where it can't be opened: not there, no database, another program's, a newer rollcall's, or damaged at its beginning.
pub fn check(dir: &Path) -> Result<Health> {
    let _in_use = lock::share(dir)?;
    let path = connection::file(dir);
    let conn = connection::open_reader(&path)?;
    if upgrade::version(&conn)?.is_none() {
        return Err("it is empty").doing("opening the database");
    }
    let mut faults = lines(&conn, &format!("PRAGMA integrity_check({NAMED})"))?;
    faults.retain(|line| line != "ok");
    let orphans = lines(&conn, "PRAGMA foreign_key_check")?;
    let newest = conn
        .query_row(
            "SELECT at FROM event ORDER BY seq DESC LIMIT 1",
            [],
            |row| row.get::<_, Millis>(0),
        )
        .optional()
        .doing("reading the newest event")?;
    let size = |path: &Path| std::fs::metadata(path).map_or(0, |file| file.len());
    Ok(Health {
        faults,
        orphans,
        newest: newest.map(|at| at.0),
        bytes: size(&path) + size(&path.with_extension("db-wal")),
    })
}

fn lines(conn: &Connection, pragma: &str) -> Result<Vec<String>> {
    conn.prepare(pragma)
        .and_then(|mut statement| {
            statement
                .query_map([], |row| row.get(0))?
                .take(NAMED)
                .collect()
        })
        .doing("checking the database")
}

#[cfg(test)]
mod tests {
    use std::fs::OpenOptions;
    use std::os::unix::fs::FileExt;

    use super::*;
    use crate::store::Store;
    use crate::store::fixture::{at, fixture};
    use crate::store::tenants;

    #[test]
    fn a_whole_file_has_no_faults_and_a_damaged_one_does() {
        let fixture = fixture();
        let dir = fixture.dir.path();
        for number in 0..200 {
            let name = format!("tenant {number}");
            fixture
                .store
                .write(at(0), move |tx| tenants::create(tx, &name))
                .unwrap();
        }
        let found = check(dir).unwrap();
        assert_eq!((found.faults.len(), found.orphans.len()), (0, 0));
        let conn = connection::open(&connection::file(dir)).unwrap();
        conn.execute_batch(
            "PRAGMA foreign_keys = OFF; UPDATE token SET tenant = 999999;
             INSERT INTO account (tenant, email, email_key, created) VALUES (999999, 'a', 'a', 0);",
        )
        .unwrap();
        assert_eq!(check(dir).unwrap().orphans.first().unwrap(), "account");
        drop(conn);
        fixture.store.close().unwrap();
        let path = connection::file(dir);
        let file = OpenOptions::new().write(true).open(&path).unwrap();
        let length = file.metadata().unwrap().len();
        // All pages but the first, which holds the schema.
        for page in 1..length / 4096 {
            file.write_all_at(&[0xaa; 64], page * 4096).unwrap();
        }
        let broken = check(dir);
        assert!(broken.is_err() || !broken.unwrap().faults.is_empty());
        assert!(Store::open(dir).is_err() || check(dir).is_err());
    }
}
