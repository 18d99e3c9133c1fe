//! Consistent copies of the whole database while it is in use, each one checked before it counts as made.
//!
//! SQLite's backup interface copies the pages of one snapshot, and the rows are counted in that same snapshot, so the
//! copy can be held against it. `VACUUM INTO` would leave free pages out, but can't run inside a transaction: what it
//! copied could not be compared with anything. Writers go on meanwhile, into the WAL.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use rusqlite::backup::{Backup, StepResult};
use rusqlite::{Connection, OpenFlags};

use super::known::Known;
use super::tally::live;
use super::tenants::{self, Tenant};
use super::{Snapshot, Store, connection, upgrade};
use crate::error::{Doing, Result};

/// What a database holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Contents {
    /// Tenants.
    pub tenants: i64,
    /// Live users of all tenants.
    pub users: i64,
    /// Live teams of all tenants.
    pub teams: i64,
    /// The number of the last event: all changes up to that one are in it.
    pub event: i64,
}

/// A backup that was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Made {
    /// Where it is.
    pub file: PathBuf,
    /// Its size.
    pub bytes: u64,
    /// What it holds.
    pub contents: Contents,
}

/// What to do with a file that is there already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Existing {
    /// Leave it, and fail.
    Keep,
    /// Put the backup in its place, once that is whole.
    Replace,
}

/// Copies the database into `file`: all that was committed before, nothing by half.
///
/// The copy is one file, closed to other accounts, on disk and checked (integrity, foreign keys, the same number of
/// rows) before it gets its name; whatever fails leaves nothing behind.
///
/// # Errors
///
/// Where `file` is there and to be kept, can't be written, or the copy is not what it should be.
pub fn make(store: &Store, file: &Path, existing: Existing) -> Result<Made> {
    refuse_existing(file, existing)?;
    let partial = Partial::beside(file)?;
    let (contents, rows) = store.read(|snapshot| {
        refuse_itself(file, Path::new(snapshot.conn.path().unwrap_or_default()))?;
        let (contents, rows) = (contents(snapshot.conn)?, rows(snapshot.conn)?);
        partial.fill(snapshot.conn)?;
        Ok((contents, rows))
    })?;
    partial.has(&rows)?;
    refuse_existing(file, existing)?;
    Ok(Made {
        file: file.to_owned(),
        bytes: partial.put(file)?,
        contents,
    })
}

/// Copies a database that is about to become one of schema version `newest`, to `rollcall.db.before-version-N` beside it,
/// checked as any backup. One of that name is left of an upgrade that did not succeed, and is older than this one.
///
/// # Errors
///
/// Where there's no room, or the database is not whole: then it should stay as it is.
pub(super) fn before_upgrade(database: &Path, newest: i32) -> Result<()> {
    let file = companion(database, &format!(".before-version-{newest}"));
    let partial = Partial::beside(&file)?;
    // A connection of its own: SQLite doesn't copy by one that is about to write.
    let conn = connection::open_reader(database)?;
    let snapshot = conn.unchecked_transaction().doing("beginning to read")?;
    let rows = rows(&snapshot)?;
    partial.fill(&snapshot)?;
    partial.has(&rows)?;
    partial.put(&file)?;
    log::info!(
        "the database gets schema version {newest}; it stays as it was in {}",
        file.display()
    );
    Ok(())
}

fn refuse_existing(file: &Path, existing: Existing) -> Result<()> {
    if existing == Existing::Keep && file.exists() {
        return Err(format!("{} is there already", file.display())).doing("making a backup");
    }
    Ok(())
}

/// To replace the database that is in use would be the end of it.
fn refuse_itself(file: &Path, database: &Path) -> Result<()> {
    let number = |path: &Path| fs::metadata(path).ok().map(|file| (file.dev(), file.ino()));
    let target = number(file);
    let is_target = |suffix| target.is_some() && target == number(&companion(database, suffix));
    if ["", "-wal", "-shm"].into_iter().any(is_target) {
        return Err("the file is the database itself").doing("making a backup");
    }
    Ok(())
}

/// When backups are made while serving, and how many are kept.
#[derive(Clone, Debug)]
pub struct Schedule {
    /// The folder.
    pub dir: PathBuf,
    /// From the beginning of one to the beginning of the next.
    pub every: Duration,
    /// The newest ones stay.
    pub keep: usize,
}

/// A backup in a folder of [`make_in`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Its file name: `rollcall-20260503T090000Z.db`.
    pub name: String,
    /// When it was begun, as its name says.
    pub at: Timestamp,
    /// Its size.
    pub bytes: u64,
}

/// The time in a name, always in UTC.
const NAME: &str = "rollcall-%Y%m%dT%H%M%SZ.db";

/// Makes a backup named for `now` in `dir`, which is made where it is missing.
pub fn make_in(store: &Store, dir: &Path, now: Timestamp) -> Result<Made> {
    create_folder(dir)?;
    make(store, &dir.join(name(now)), Existing::Keep)
}

/// Makes a folder for backups where it is missing, but not the one in which it is to be: a disk that isn't mounted
/// should be noticed.
pub fn create_folder(dir: &Path) -> Result<()> {
    match DirBuilder::new().mode(0o700).create(dir) {
        Err(_) if dir.is_dir() => Ok(()),
        made => made.doing("making the folder for backups"),
    }
}

/// The backups in `dir` that [`make_in`] made, newest first. Other files aren't listed.
pub fn list(dir: &Path) -> Result<Vec<Listed>> {
    let mut listed = Vec::new();
    for entry in fs::read_dir(dir).doing("listing backups")? {
        let entry = entry.doing("listing backups")?;
        let name = entry.file_name().to_string_lossy().into_owned();
        // One that is gone meanwhile isn't there.
        if let (Some(at), Ok(file)) = (time_of(&name), entry.metadata())
            && file.is_file()
        {
            let bytes = file.len();
            listed.push(Listed { name, at, bytes });
        }
    }
    listed.sort_by_key(|backup| Reverse(backup.at));
    Ok(listed)
}

/// How long after `now` the next backup in `dir` is due, where one is to be made `every` so often.
pub fn due_in(dir: &Path, every: Duration, now: Timestamp) -> Result<Duration> {
    let age = newest(dir, now)?.map(|backup| now.duration_since(backup.at).unsigned_abs());
    Ok(age.map_or(Duration::ZERO, |age| every.saturating_sub(age)))
}

/// The newest backup in `dir`.
pub fn newest(dir: &Path, now: Timestamp) -> Result<Option<Listed>> {
    Ok(until(dir, now)?.into_iter().next())
}

/// Whether `dir` has a backup that was begun in the same second.
pub fn is_there(dir: &Path, now: Timestamp) -> bool {
    dir.join(name(now)).exists()
}

/// Opens the backup `name` of [`list`], if nobody's data but this tenant's was ever in it: the folder may be older than
/// what is served now. The name comes from a client, and only ever meets those of the list.
pub fn open_own(dir: &Path, name: &str, tenant: &Tenant) -> Result<Option<File>> {
    let Some(listed) = list(dir)?.into_iter().find(|listed| listed.name == name) else {
        return Ok(None);
    };
    let path = dir.join(listed.name);
    let file = File::open(&path).doing("opening a backup")?;
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let conn = Connection::open_with_flags(&path, flags).doing("opening a backup")?;
    let alone = Snapshot {
        conn: &conn,
        known: &Known::default(),
    };
    let is_own = tenants::is_alone(&alone, tenant)?;
    close(conn)?;
    Ok(is_own.then_some(file))
}

/// An empty file beside the database, closed to other accounts. It has no name and is gone once it is closed.
pub fn nameless(snapshot: &Snapshot<'_>) -> Result<File> {
    let partial = Partial::beside(Path::new(snapshot.conn.path().unwrap_or_default()))?;
    partial.file.try_clone().doing("making a temporary file")
}

/// As [`list`], without those of the future: made while the clock was wrong, they must not pass for the newest ones.
fn until(dir: &Path, now: Timestamp) -> Result<Vec<Listed>> {
    let mut listed = list(dir)?;
    listed.retain(|backup| backup.at <= now);
    Ok(listed)
}

/// Removes all but the newest `keep` backups in `dir`, and what was left of attempts that were cut off; tells how many
/// backups that were.
pub fn prune(dir: &Path, keep: usize, now: Timestamp) -> Result<usize> {
    let old: Vec<_> = until(dir, now)?.into_iter().skip(keep).collect();
    for backup in &old {
        fs::remove_file(dir.join(&backup.name)).doing("removing an old backup")?;
    }
    for entry in fs::read_dir(dir).doing("listing backups")?.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let of_ours = |rest: &str| rest.get(..name_length()).and_then(time_of).is_some();
        if name.ends_with(PARTIAL) && name.strip_prefix('.').is_some_and(of_ours) {
            remove_abandoned(&entry.path());
        }
    }
    Ok(old.len())
}

fn name(at: Timestamp) -> String {
    at.strftime(NAME).to_string()
}

fn name_length() -> usize {
    name(Timestamp::UNIX_EPOCH).len()
}

fn time_of(name: &str) -> Option<Timestamp> {
    let time = DateTime::strptime(NAME, name).ok()?;
    let at = TimeZone::UTC.to_timestamp(time).ok()?;
    // strptime accepts other spellings, too.
    (self::name(at) == name).then_some(at)
}

/// What the name of an unfinished file ends in.
const PARTIAL: &str = ".partial";

/// A database that has no name yet. Removed when dropped, unless it was put in place.
#[derive(Debug)]
pub(super) struct Partial {
    path: PathBuf,
    /// Locked as long as somebody works on it.
    pub(super) file: File,
}

impl Partial {
    /// Makes an empty one in the folder of `file`: only there it can be renamed to it.
    pub(super) fn beside(file: &Path) -> Result<Partial> {
        let name = file
            .file_name()
            .ok_or("the path names no file")
            .doing("making a backup")?;
        let mut hidden = OsString::from(".");
        hidden.push(name);
        hidden.push(format!(".{}{PARTIAL}", uuid::Uuid::now_v7()));
        let path = file.with_file_name(hidden);
        let made = OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)
            .doing("making a file for the backup")?;
        made.lock().doing("locking the file for the backup")?;
        Ok(Partial { path, file: made })
    }

    /// The path of what SQLite keeps beside it: `-wal`, `-journal`.
    pub(super) fn companion(&self, suffix: &str) -> PathBuf {
        companion(&self.path, suffix)
    }

    fn open(&self) -> Result<Connection> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let conn = Connection::open_with_flags(&self.path, flags).doing("opening the backup")?;
        conn.pragma_update(None, "trusted_schema", false)
            .doing("setting trusted_schema")?;
        // It is on disk once it is put in place.
        conn.pragma_update(None, "synchronous", "OFF")
            .doing("setting synchronous")?;
        Ok(conn)
    }

    /// Copies what `conn` sees, whose transaction keeps it the same.
    fn fill(&self, conn: &Connection) -> Result<()> {
        let mut copy = self.open()?;
        // Nobody needs half a copy back: a journal would double what is written.
        copy.pragma_update(None, "journal_mode", "OFF")
            .doing("setting journal_mode")?;
        let backup = Backup::new(conn, &mut copy).doing("beginning a backup")?;
        match backup.step(-1).doing("copying the database")? {
            StepResult::Done => Ok(()),
            _ => Err("another program has locked it").doing("copying the database"),
        }
    }

    /// Whether it is whole and has as many rows as the database of which it is a copy.
    fn has(&self, rows: &BTreeMap<String, i64>) -> Result<()> {
        let copy = self.checked()?;
        if self::rows(&copy)? != *rows {
            return Err("it doesn't have the rows of the database").doing("checking the backup");
        }
        close(copy)
    }

    /// Makes it one file that needs no other beside it, and looks through all of it.
    ///
    /// # Errors
    ///
    /// Where it is no database, not rollcall's, a newer rollcall's, or damaged.
    pub(super) fn checked(&self) -> Result<Connection> {
        let conn = self.open()?;
        if upgrade::version(&conn)?.is_none() {
            return Err("it is empty").doing("checking the backup");
        }
        // As copied it would want a WAL beside it, even to be read.
        conn.pragma_update(None, "journal_mode", "DELETE")
            .doing("setting journal_mode")?;
        let faults = |pragma: &str, good: &str| -> Result<()> {
            let found: Vec<String> = conn
                .prepare(pragma)
                .and_then(|mut statement| statement.query_map([], |row| row.get(0))?.collect())
                .doing("checking the backup")?;
            match found.into_iter().find(|line| line != good) {
                Some(fault) => Err(format!("{pragma} found: {fault}")).doing("checking the backup"),
                None => Ok(()),
            }
        };
        faults("PRAGMA integrity_check(1)", "ok")?;
        faults("PRAGMA foreign_key_check", "")?;
        Ok(conn)
    }

    /// Sees to it that it is on disk, and gives it its name. Returns its size in bytes.
    pub(super) fn put(self, file: &Path) -> Result<u64> {
        self.file.sync_all().doing("writing the backup to disk")?;
        let bytes = self.file.metadata().doing("writing the backup to disk")?;
        fs::rename(&self.path, file).doing("putting the backup in its place")?;
        sync_folder(file)?;
        Ok(bytes.len())
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        remove(&self.path);
    }
}

/// Sees to it that the names in the folder of `file` are on disk.
pub(super) fn sync_folder(file: &Path) -> Result<()> {
    let folder = file.parent().filter(|path| !path.as_os_str().is_empty());
    File::open(folder.unwrap_or(Path::new(".")))
        .and_then(|folder| folder.sync_all())
        .doing("writing a folder to disk")
}

/// Removes an unfinished file and what SQLite left beside it. Most of it is usually not there.
fn remove(path: &Path) {
    for suffix in ["-wal", "-shm", "-journal", ""] {
        let _ = fs::remove_file(companion(path, suffix));
    }
}

/// Removes an unfinished file on which nobody works any more.
fn remove_abandoned(path: &Path) {
    if File::open(path).is_ok_and(|file| file.try_lock().is_ok()) {
        remove(path);
    }
}

pub(super) fn companion(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

pub(super) fn close(conn: Connection) -> Result<()> {
    conn.close()
        .map_err(|(_, error)| error)
        .doing("closing the backup")
}

/// What is in a database.
pub(super) fn contents(conn: &Connection) -> Result<Contents> {
    conn.query_row(
        &format!(
            "SELECT count(*), coalesce(sum({}), 0), coalesce(sum({}), 0), (SELECT coalesce(max(seq), 0) FROM event) FROM tenant",
            live("tenant.id", "'User'"),
            live("tenant.id", "'Group'")
        ),
        [],
        |row| {
            Ok(Contents {
                tenants: row.get(0)?,
                users: row.get(1)?,
                teams: row.get(2)?,
                event: row.get(3)?,
            })
        },
    )
    .doing("counting what is in the database")
}

/// How many rows each table has.
fn rows(conn: &Connection) -> Result<BTreeMap<String, i64>> {
    let tables: Vec<String> = conn
        .prepare("SELECT name FROM sqlite_schema WHERE type = 'table'")
        .and_then(|mut statement| statement.query_map([], |row| row.get(0))?.collect())
        .doing("listing tables")?;
    tables
        .into_iter()
        .map(|table| {
            let count = conn
                .query_row(&format!("SELECT count(*) FROM {table}"), [], |row| {
                    row.get(0)
                })
                .doing("counting rows")?;
            Ok((table, count))
        })
        .collect()
}

#[cfg(test)]
mod tests;
