//! Opening the file: the folder, the permissions and the pragmas.

use std::fs::{DirBuilder, OpenOptions};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};

use super::{faults, function};
use crate::error::{Doing, Result};

/// How long to wait for another process that writes, as a command does while the server runs. Deleting a tenant of
/// 100,000 users takes 2 s; clients wait about a minute for an answer.
pub const BUSY_TIMEOUT: Duration = Duration::from_secs(30);

/// More than all fixed statements; what remains serves the filters that come again and again.
const CACHED_STATEMENTS: usize = 128;

/// Makes the data folder where it is missing, closed to other accounts of the machine: it holds people's data.
pub fn create_folder(dir: &Path) -> Result<()> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(dir)
        .map_err(|error| faults::of_file(dir, &error))
        .doing("making the data folder")
}

/// Where the database of a data folder is.
pub fn file(dir: &Path) -> PathBuf {
    dir.join("rollcall.db")
}

/// Makes an empty database in `dir` where there is none, closed like its folder. SQLite gives its WAL the permissions
/// of the file. Returns the file's path.
pub fn create(dir: &Path) -> Result<PathBuf> {
    let path = file(dir);
    OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(&path)
        .map_err(|error| faults::of_file(&path, &error))
        .doing("opening the database")?;
    Ok(path)
}

/// Opens a connection that can write.
pub fn open(path: &Path) -> Result<Connection> {
    let conn = open_any(path)?;
    // 16 MiB of pages: the upper levels of the indexes of a million users, so that a write reads little.
    conn.pragma_update(None, "cache_size", -16_384)
        .doing("setting cache_size")?;
    // A change's savepoint, where it has one, keeps the pages as they were before it. Left to itself, SQLite writes them to
    // a temporary file, a system call for each.
    conn.pragma_update(None, "temp_store", "MEMORY")
        .doing("setting temp_store")?;
    Ok(conn)
}

/// Opens a connection for questions.
pub fn open_reader(path: &Path) -> Result<Connection> {
    let conn = open_any(path)?;
    // 1 MiB: there are many readers, and the system's file cache stands behind them.
    conn.pragma_update(None, "cache_size", -1_024)
        .doing("setting cache_size")?;
    // Nothing but the writer writes; a statement that would is our mistake, and fails.
    conn.pragma_update(None, "query_only", true)
        .doing("setting query_only")?;
    Ok(conn)
}

fn open_any(path: &Path) -> Result<Connection> {
    // NO_MUTEX: a connection is used by one thread at a time, which the borrow checker sees to.
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let conn = Connection::open_with_flags(path, flags).doing("opening the database")?;
    conn.set_prepared_statement_cache_capacity(CACHED_STATEMENTS);
    // First, since each of the following may meet another process that holds a lock.
    conn.busy_timeout(BUSY_TIMEOUT)
        .doing("setting busy_timeout")?;
    // Readers see their snapshot while the writer goes on.
    conn.pragma_update(None, "journal_mode", "WAL")
        .doing("setting journal_mode")?;
    // An answer means "on disk". NORMAL would gain little, since many changes share one commit.
    conn.pragma_update(None, "synchronous", "FULL")
        .doing("setting synchronous")?;
    // Off by default, for compatibility with SQLite of 2009.
    conn.pragma_update(None, "foreign_keys", true)
        .doing("setting foreign_keys")?;
    // A file from elsewhere can't make us run functions by way of its schema.
    conn.pragma_update(None, "trusted_schema", false)
        .doing("setting trusted_schema")?;
    // One plan for a statement whatever is bound to it: else SQLite compiles a cached join anew each time that it comes
    // out of the cache, which was nearly half of a read's time.
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)
        .doing("setting ENABLE_QPSG")?;
    // 64 MiB of WAL. At the default of 1,000 pages checkpoints stand in the way of commits (p99 5.8 ms, now 0.44).
    conn.pragma_update(None, "wal_autocheckpoint", 16_000)
        .doing("setting wal_autocheckpoint")?;
    function::register(&conn).doing("registering functions")?;
    Ok(conn)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use rusqlite::StatementStatus;

    use crate::store::Store;
    use crate::store::fixture::fixture;

    #[test]
    fn a_cached_statement_is_not_compiled_anew() {
        let fixture = fixture();
        let compiled_again = fixture.store.read(|snapshot| {
            let question =
                "SELECT 1 FROM team_member JOIN resource ON resource.row = team_member.team
                            WHERE team_member.member = ? AND resource.tenant = ?";
            let again = |member: i64| {
                let mut statement = snapshot.conn.prepare_cached(question).unwrap();
                assert!(!statement.exists((member, 1)).unwrap());
                statement.get_status(StatementStatus::RePrepare)
            };
            Ok([again(1), again(2)])
        });
        assert_eq!(compiled_again.unwrap(), [0, 0]);
    }

    /// With its statistics, each allocation of any connection takes one lock.
    #[test]
    fn sqlite_is_built_as_the_configuration_says() {
        let fixture = fixture();
        let options = fixture.store.read(|snapshot| {
            let mut statement = snapshot.conn.prepare("PRAGMA compile_options").unwrap();
            let options = statement.query_map([], |row| row.get(0)).unwrap();
            Ok(options.collect::<Result<Vec<String>, _>>().unwrap())
        });
        let options = options.unwrap();
        let has = |name: &str| options.iter().any(|option| option == name);
        assert!(has("DEFAULT_MEMSTATUS=0"), "{options:?}");
        assert!(!has("ENABLE_FTS5"), "{options:?}");
    }

    #[test]
    fn other_accounts_of_the_machine_are_kept_out() {
        let parent = tempfile::tempdir().unwrap();
        let dir = parent.path().join("new").join("data");
        let _store = Store::open(&dir).unwrap();
        let mode = |path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(dir.clone()), 0o700);
        for file in ["rollcall.db", "rollcall.db-wal", "rollcall.db-shm"] {
            assert_eq!(mode(dir.join(file)), 0o600, "{file}");
        }
    }
}
