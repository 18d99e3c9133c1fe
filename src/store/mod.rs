//! All SQL: one file, one writer with group commit, a pool of readers.
//!
//! [`Store::write`] and [`Store::read`] begin the only transactions there are. What runs inside is a function of one
//! of the modules here, each of which holds the statements of the nouns it is named for. Several processes may have
//! the file open: a command works while the server runs.
//!
//! Functions give an `Option`, a `bool` or [`Error::Internal`](crate::error::Error::Internal). Refusing a client, in
//! words, is left to `provision`, but for what the machine can't do (`faults`).

use std::cell::Cell;
use std::ops::Deref;
use std::path::Path;
use std::time::Duration;

use jiff::Timestamp;
use rusqlite::Connection;

use self::known::Known;
pub use self::readers::Reading;
pub use self::writer::BATCH_SIZES;
use crate::error::Result;

pub mod accounts;
pub mod app_hosts;
pub mod archive;
pub mod attempts;
pub mod attributes;
pub mod backup;
mod column;
mod connection;
pub mod cursor_key;
pub mod directory;
pub mod events;
pub mod exchange_search;
pub mod exchanges;
mod faults;
mod filter;
mod function;
pub mod health;
pub mod history;
pub mod identities;
mod known;
pub mod lock;
pub mod milestones;
pub mod nesting;
pub mod passwords;
pub mod people;
pub mod place;
mod readers;
pub mod removals;
pub mod resources;
pub mod restore;
pub mod roles;
mod search;
mod sequence;
pub mod sessions;
pub mod settings;
pub mod sso;
pub mod tally;
pub mod team_copies;
pub mod team_resources;
pub mod teams;
pub mod tenant_copies;
pub mod tenants;
pub mod tokens;
mod transaction;
mod upgrade;
mod wal;
mod writer;

/// A tenant's row number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TenantId(pub i64);

/// The database of one data folder.
#[derive(Debug)]
pub struct Store {
    writer: writer::Writer,
    readers: readers::Readers,
    anchor: faults::Anchor,
    /// Last, so that it is released once all connections are closed.
    in_use: lock::Lock,
}

/// What one read sees: one snapshot of the database.
#[derive(Debug)]
pub struct Snapshot<'a> {
    conn: &'a Connection,
    known: &'a Known,
}

/// One write in progress: a savepoint of the writer's transaction. Also a snapshot that sees its own changes.
#[derive(Debug)]
pub struct Tx<'a> {
    snapshot: Snapshot<'a>,
    /// The time that every row written by it carries, in whole milliseconds as the rows keep it.
    pub now: Timestamp,
    /// Places in the feed of the first and the last event since the write began, or since its last line in the log.
    events: Cell<Option<(i64, i64)>>,
}

impl<'a> Tx<'a> {
    fn new(conn: &'a Connection, known: &'a Known, now: Timestamp) -> Tx<'a> {
        let now = Timestamp::from_millisecond(now.as_millisecond()).unwrap_or(now);
        Tx {
            snapshot: Snapshot { conn, known },
            now,
            events: Cell::default(),
        }
    }

    /// Runs a part of the change that may fail alone: where the inner result is an error, that part is undone and the rest
    /// stands. Parts don't have parts.
    ///
    /// # Errors
    ///
    /// Where the whole transaction is lost.
    pub fn part<T>(&self, part: impl FnOnce(&Tx<'_>) -> Result<T>) -> Result<Result<T>> {
        let events = self.events.get();
        writer::in_savepoint(self.conn, "part", || {
            let result = part(self);
            if result.is_err() {
                self.events.set(events);
                self.known.forget();
            }
            (result.is_ok(), result)
        })
    }
}

impl<'a> Deref for Tx<'a> {
    type Target = Snapshot<'a>;

    fn deref(&self) -> &Snapshot<'a> {
        &self.snapshot
    }
}

impl Store {
    /// Opens (and, where needed, makes) `DIR/rollcall.db`, upgrades its schema after a copy of the file, starts the writer
    /// thread.
    ///
    /// # Errors
    ///
    /// Where the folder or the file can't be used, or the file is a newer rollcall's or not a rollcall's at all.
    pub fn open(dir: &Path) -> Result<Store> {
        connection::create_folder(dir)?;
        let in_use = lock::share(dir)?;
        let path = connection::create(dir)?;
        let mut conn = connection::open(&path).map_err(|error| faults::at_start(error, dir))?;
        upgrade::upgrade(&mut conn, |newest| backup::before_upgrade(&path, newest))?;
        Ok(Store {
            writer: writer::Writer::start(conn)?,
            anchor: faults::Anchor::of(&path),
            readers: readers::Readers::new(path),
            in_use,
        })
    }

    /// Runs `change` in the writer thread and returns once its transaction is on disk. An `Err` rolls back this
    /// change alone. A panic inside is rolled back too and comes back as `Error::Internal`.
    pub fn write<T: Send + 'static>(
        &self,
        now: Timestamp,
        change: impl FnOnce(&Tx<'_>) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        self.writer.write(now, change)
    }

    /// As [`Store::write`], of a change that may be run several times: what it did before the last time is rolled back by
    /// then. Many of these at once cost less. Of tenants, roles, tokens and the archive they write
    /// what forgets by itself what is known of it (`known.rs`), and nothing else.
    pub fn write_again<T: Send + 'static>(
        &self,
        now: Timestamp,
        change: impl FnMut(&Tx<'_>) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        self.writer.write_again(now, change)
    }

    /// Runs `change` as [`Store::write`] does, and rolls it back all the same: what it would have come to.
    pub fn rehearse<T: Send + 'static>(
        &self,
        now: Timestamp,
        change: impl FnOnce(&Tx<'_>) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        self.writer.rehearse(now, change)
    }

    /// Runs `question` on one snapshot, as [`Store::reading`] gives it.
    pub fn read<T>(&self, question: impl FnOnce(&Snapshot<'_>) -> Result<T>) -> Result<T> {
        self.reading()?.read(question)
    }

    /// One snapshot for several questions. Waits for a connection where all readers are busy: so whoever has one is not to
    /// wait for anything, another snapshot or the writer, before it is dropped.
    pub fn reading(&self) -> Result<Reading<'_>> {
        self.readers.begin().map_err(faults::in_words)
    }

    /// Whether the file that is open is still the one in the folder.
    ///
    /// # Errors
    ///
    /// 503 where it was removed or replaced: then nothing is written any more.
    pub fn in_place(&self) -> Result<()> {
        self.anchor.holds()
    }

    /// Hands an exchange to the writer, to be stored with its next commit, or within a moment where there is none;
    /// dropped (and counted) when too many wait. Where many do, this waits for some milliseconds: not to be called while
    /// something is held that others wait for.
    pub fn record(&self, exchange: exchanges::Exchange) {
        self.writer.record(exchange);
    }

    /// The same without waiting.
    pub fn record_at_once(&self, exchange: exchanges::Exchange) {
        self.writer.record_at_once(exchange);
    }

    /// How many recorded exchanges were dropped since the store was opened.
    pub fn dropped_exchanges(&self) -> u64 {
        self.writer.dropped_exchanges()
    }

    /// How many commits of this process changed something so far.
    pub fn commits(&self) -> u64 {
        self.writer.commits()
    }

    /// How many changes there were in these.
    pub fn changes(&self) -> u64 {
        self.writer.changes()
    }

    /// How many commits there were of each of [`BATCH_SIZES`]: with no more changes, and more than the size before.
    pub fn batches(&self) -> [u64; BATCH_SIZES.len()] {
        self.writer.batches()
    }

    /// How many transactions could not be committed.
    pub fn lost(&self) -> u64 {
        self.writer.lost()
    }

    /// How many changes and how many exchanges wait for the writer.
    pub fn waiting(&self) -> (u64, u64) {
        self.writer.waiting()
    }

    /// Waits until there is another commit than the `seen` ones, but no longer than `timeout`. Other processes may
    /// write unseen, so look again from time to time all the same.
    pub fn wait_for_commit(&self, seen: u64, timeout: Duration) {
        self.writer.wait_for_commit(seen, timeout);
    }

    /// Waits for what is queued and ends the writer; the last process to do so empties the WAL. Dropping a `Store` does
    /// the same, and logs errors.
    pub fn close(self) -> Result<()> {
        let Store {
            mut writer,
            readers,
            anchor: _,
            in_use: _in_use,
        } = self;
        // First, so that the writer's connection is the last one and empties the WAL.
        drop(readers);
        writer.close()
    }
}

/// What the tests of the modules here share.
#[cfg(test)]
mod fixture;

#[cfg(test)]
mod tests;
