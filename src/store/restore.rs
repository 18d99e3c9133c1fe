//! Putting a backup in the place of the database.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use rusqlite::{Connection, ErrorCode};

use super::backup::{self, Contents, Partial};
use super::{connection, lock, upgrade};
use crate::error::{Doing, Error, Result};

/// A database that was put in place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Restored {
    /// What it holds.
    pub contents: Contents,
    /// Where the old database is kept; `None` where there was none.
    pub kept: Option<PathBuf>,
}

/// Puts a copy of `file` in the place of the database in `dir`, and keeps the old one beside it, named for `now`.
///
/// The copy is checked, brought to the newest schema and on disk before anything changes, and the exchange itself is
/// one renaming. `file` may have a WAL beside it, which is read with it; both are left as they are.
///
/// # Errors
///
/// Where a server or a command uses the folder, or `file` is not a whole database of a rollcall that is no newer than
/// this one. Nothing has changed then.
pub fn restore(dir: &Path, file: &Path, now: Timestamp) -> Result<Restored> {
    let mut given = File::open(file).doing("opening the backup")?;
    let _serving = lock::serve(dir)?;
    let _alone = lock::alone(dir)?;
    let database = connection::file(dir);
    let mut partial = Partial::beside(&database)?;
    io::copy(&mut given, &mut partial.file).doing("copying the backup")?;
    for suffix in ["-wal", "-journal"] {
        copy_companion(&backup::companion(file, suffix), &partial.companion(suffix))?;
    }
    let mut conn = partial.checked()?;
    // The file that was given is left as it is.
    upgrade::upgrade(&mut conn, |_| Ok(()))?;
    let contents = backup::contents(&conn)?;
    backup::close(conn)?;
    let kept = set_aside(&database, now)?;
    partial.put(&database)?;
    Ok(Restored { contents, kept })
}

fn copy_companion(from: &Path, to: &Path) -> Result<()> {
    let mut given = match File::open(from) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        opened => opened.doing("opening what belongs to the backup")?,
    };
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(to)
        .and_then(|mut copy| io::copy(&mut given, &mut copy))
        .doing("copying what belongs to the backup")?;
    Ok(())
}

/// Gives the database another name beside its own, and takes away its WAL, which SQLite would apply to the next file
/// of that name. There is a `rollcall.db` at any moment: without one, a server that starts would make an empty one.
fn set_aside(database: &Path, now: Timestamp) -> Result<Option<PathBuf>> {
    let stamp = now.strftime("%Y%m%dT%H%M%SZ");
    let kept = backup::companion(database, &format!(".before-{stamp}"));
    if kept.exists() {
        return Err(format!("{} is there already", kept.display())).doing("keeping the database");
    }
    let is_there = fs::metadata(database).is_ok_and(|file| file.len() > 0);
    if is_there {
        // Whoever restores may do so because it is damaged. Then it is kept as it is, with its WAL.
        if is_sqlite(database)
            && let Err(error) = fold_wal(database)
            && is_busy(&error)
        {
            return Err("another program uses it").doing("closing the database");
        }
        fs::hard_link(database, &kept)
            // Not every file system has links.
            .or_else(|_| fs::copy(database, &kept).map(drop))
            .doing("keeping the database")?;
    }
    for suffix in ["-wal", "-journal"] {
        let file = backup::companion(database, suffix);
        if file.exists() {
            fs::rename(file, backup::companion(&kept, suffix)).doing("keeping the database")?;
        }
    }
    // An index of the WAL, made anew when needed.
    let _ = fs::remove_file(backup::companion(database, "-shm"));
    backup::sync_folder(database)?;
    Ok(is_there.then_some(kept))
}

/// Whether a file begins like a database. SQLite would delete the WAL of one that is shorter than a page.
fn is_sqlite(file: &Path) -> bool {
    let mut start = [0; 100];
    let read = File::open(file).and_then(|mut file| file.read_exact(&mut start));
    read.is_ok() && start.starts_with(b"SQLite format 3\0")
}

/// Writes all of the WAL into the database and removes it, which SQLite does for who is alone with a file.
fn fold_wal(database: &Path) -> Result<()> {
    let conn = Connection::open(database).doing("opening the database")?;
    conn.pragma_update(None, "journal_mode", "DELETE")
        .doing("closing the database")?;
    backup::close(conn)
}

fn is_busy(error: &Error) -> bool {
    let Error::Internal { source, .. } = error else {
        return false;
    };
    let code = source.downcast_ref::<rusqlite::Error>();
    code.and_then(rusqlite::Error::sqlite_error_code) == Some(ErrorCode::DatabaseBusy)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::backup::Existing;
    use crate::store::fixture::{at, fixture, tenant};
    use crate::store::{Store, tenants};

    fn names(dir: &Path) -> Vec<String> {
        let store = Store::open(dir).unwrap();
        let tenants = store.read(tenants::list).unwrap();
        tenants.into_iter().map(|tenant| tenant.name).collect()
    }

    /// All files of a folder but the locks, with their bytes.
    fn files(dir: &Path) -> Vec<(String, Vec<u8>)> {
        let mut files: Vec<_> = fs::read_dir(dir)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.extension().is_none_or(|ending| ending != "lock"))
            .map(|path| {
                let name = path.file_name().unwrap().to_string_lossy().into_owned();
                (name, fs::read(&path).unwrap())
            })
            .collect();
        files.sort();
        files
    }

    #[test]
    fn the_state_of_the_backup_comes_back_and_what_was_there_is_kept() {
        let fixture = fixture();
        let (dir, elsewhere) = (fixture.dir.path(), tempfile::tempdir().unwrap());
        let file = elsewhere.path().join("copy.db");
        let made = backup::make(&fixture.store, &file, Existing::Keep).unwrap();
        tenant(&fixture.store, "later");
        let while_open = restore(dir, &file, at(0)).unwrap_err().to_string();
        assert!(
            while_open.contains("another rollcall command"),
            "{while_open}"
        );
        fixture.store.close().unwrap();
        let restored = restore(dir, &file, at(0)).unwrap();
        assert_eq!(restored.contents, made.contents);
        assert_eq!(names(dir), ["acme"]);
        let kept = restored.kept.unwrap();
        assert_eq!(kept, dir.join("rollcall.db.before-20231114T221320Z"));
        let again = restore(dir, &kept, at(1)).unwrap();
        assert!(again.kept.is_some());
        assert_eq!(names(dir), ["acme", "later"]);
    }

    #[test]
    fn a_damaged_database_is_replaced_and_kept_with_its_wal() {
        let fixture = fixture();
        let (dir, elsewhere) = (fixture.dir.path(), tempfile::tempdir().unwrap());
        let file = elsewhere.path().join("copy.db");
        backup::make(&fixture.store, &file, Existing::Keep).unwrap();
        fixture.store.close().unwrap();
        fs::write(dir.join("rollcall.db"), "no database").unwrap();
        fs::write(dir.join("rollcall.db-wal"), "no WAL").unwrap();
        let kept = restore(dir, &file, at(0)).unwrap().kept.unwrap();
        assert_eq!(fs::read(&kept).unwrap(), b"no database");
        assert_eq!(
            fs::read(backup::companion(&kept, "-wal")).unwrap(),
            b"no WAL"
        );
        assert!(!dir.join("rollcall.db-wal").exists());
        assert_eq!(names(dir), ["acme"]);
    }

    #[test]
    fn what_is_no_whole_database_of_rollcall_is_refused_and_nothing_changes() {
        let fixture = fixture();
        let (dir, elsewhere) = (fixture.dir.path(), tempfile::tempdir().unwrap());
        let file = elsewhere.path().join("copy.db");
        backup::make(&fixture.store, &file, Existing::Keep).unwrap();
        fixture.store.close().unwrap();
        let (before, good) = (files(dir), fs::read(&file).unwrap());
        let foreign = {
            let path = elsewhere.path().join("foreign.db");
            let conn = Connection::open(&path).unwrap();
            conn.execute_batch("CREATE TABLE bookmark (url TEXT)")
                .unwrap();
            backup::close(conn).unwrap();
            fs::read(path).unwrap()
        };
        let mut newer = good.clone();
        newer[60..64].copy_from_slice(&99_u32.to_be_bytes());
        let mut scrambled = good.clone();
        let middle = good.len() / 2 / 4096 * 4096;
        scrambled[middle..middle + 4096].fill(0xa5);
        for (what, bytes, reason) in [
            ("cut off", &good[..good.len() - 4096], "malformed"),
            (
                "cut off amid a page",
                &good[..good.len() - 5000],
                "malformed",
            ),
            ("text", b"once upon a time".as_slice(), "not a database"),
            ("empty", &[], "it is empty"),
            ("another program's", &foreign, "not a rollcall database"),
            ("a newer rollcall's", &newer, "newer rollcall"),
            ("scrambled", &scrambled, ""),
        ] {
            fs::write(&file, bytes).unwrap();
            let error = restore(dir, &file, at(0)).expect_err(what).to_string();
            assert!(error.contains(reason), "{what}: {error}");
            assert!(files(dir) == before, "{what}: the folder has changed");
        }
    }

    #[test]
    fn a_folder_that_is_new_gets_the_database_too() {
        let fixture = fixture();
        let elsewhere = tempfile::tempdir().unwrap();
        let file = elsewhere.path().join("copy.db");
        backup::make(&fixture.store, &file, Existing::Keep).unwrap();
        let dir = elsewhere.path().join("new");
        assert_eq!(restore(&dir, &file, at(0)).unwrap().kept, None);
        assert_eq!(names(&dir), ["acme"]);
    }
}
