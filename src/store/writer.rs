//! The one writer: group commit.
//!
//! A thread owns the only connection that writes. It takes all changes that are waiting, runs them in one transaction,
//! commits once and then lets all of their callers go on: an answer means "on disk", and many callers share one fsync.
//! While it commits, the next batch gathers by itself.
//!
//! A change that is refused is undone alone. A savepoint around each sees to that, but keeps a copy of each page that a
//! change touches, a tenth of what it costs. So changes that can be made again go without: only where one of them is
//! refused after it has written something is the transaction rolled back, and each made again in a savepoint.
//!
//! Exchanges of read requests come along with the next commit. They mustn't hold anybody up, so their queue is
//! bounded: who finds many there waits for a moment, so that readers don't outrun the log, and what doesn't fit after all is
//! counted and dropped.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::atomic::Ordering;
use std::sync::mpsc;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use jiff::Timestamp;
use rusqlite::Connection;

pub use self::queue::BATCH_SIZES;
use self::queue::{PATIENCE, Queue};
use super::exchanges::{self, AT_ONCE, Exchange};
use super::faults::{self, Anchor};
use super::transaction::{self, Transaction};
use super::wal::Wal;
use super::{Known, Tx};
use crate::error::{Doing, Error, Result};
use crate::scim::ScimError;

mod queue;

/// From here on the WAL is large, in bytes; SQLite by itself begins it anew at a quarter of it.
const LARGE_WAL_BYTES: u64 = 256 * 1024 * 1024;
/// How long changes wait for readers when the WAL is large.
const WAIT_FOR_READERS: Duration = Duration::from_secs(5);

/// Lets a caller go on, once its change is on disk. Dropped where the commit failed.
type Answer = Box<dyn FnOnce() + Send>;

/// What a change came to: whether to keep it, the answer, and what the machine could not do.
type Outcome = (bool, Answer, Option<ScimError>);

/// Makes a change.
type Run = Box<dyn FnMut(&Tx<'_>) -> Outcome + Send>;

/// Lets the caller go on where the whole transaction was lost; with the machine's reason, if that is known.
type Lost = Box<dyn FnOnce(Option<ScimError>) + Send>;

/// A change with the time it carries.
struct Change {
    now: Timestamp,
    run: Run,
    /// Whether it may be run again where what it did was rolled back.
    repeats: bool,
    lost: Lost,
}

/// The writer thread's handle.
pub struct Writer {
    queue: Arc<Queue>,
    /// `None` once closed.
    thread: Option<JoinHandle<Result<()>>>,
}

impl std::fmt::Debug for Writer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Writer").finish_non_exhaustive()
    }
}

impl Writer {
    /// Starts the thread, which ends when this is closed or dropped.
    pub fn start(conn: Connection) -> Result<Writer> {
        let queue = Arc::new(Queue::default());
        let its_queue = Arc::clone(&queue);
        let thread = std::thread::Builder::new()
            .name("writer".to_owned())
            .spawn(move || run(conn, &its_queue))
            .doing("starting the writer thread")?;
        Ok(Writer {
            queue,
            thread: Some(thread),
        })
    }

    /// See [`Store::write`](super::Store::write).
    pub fn write<T: Send + 'static>(
        &self,
        now: Timestamp,
        change: impl FnOnce(&Tx<'_>) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        self.run(now, once(change), false, Result::is_ok)
    }

    /// See [`Store::write_again`](super::Store::write_again).
    pub fn write_again<T: Send + 'static>(
        &self,
        now: Timestamp,
        change: impl FnMut(&Tx<'_>) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        self.run(now, change, true, Result::is_ok)
    }

    /// See [`Store::rehearse`](super::Store::rehearse).
    pub fn rehearse<T: Send + 'static>(
        &self,
        now: Timestamp,
        change: impl FnOnce(&Tx<'_>) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        self.run(now, once(change), false, |_| false)
    }

    /// Hands a change to the thread and waits for it; `lasts` says of its result whether it is kept.
    fn run<T: Send + 'static>(
        &self,
        now: Timestamp,
        mut change: impl FnMut(&Tx<'_>) -> Result<T> + Send + 'static,
        repeats: bool,
        lasts: fn(&Result<T>) -> bool,
    ) -> Result<T> {
        // The channel says that there is an answer and doesn't carry it: one for each type of answer is a quarter of a
        // megabyte of code.
        let (done, answered) = mpsc::sync_channel::<()>(1);
        let place = Arc::new(Mutex::new(None));
        let its_place = Arc::clone(&place);
        let answer = move |result: Result<T>| {
            *its_place.lock().unwrap_or_else(PoisonError::into_inner) = Some(result);
            // Nobody may be waiting any more, which is no reason to fail.
            let _ = done.send(());
        };
        let unanswered = answer.clone();
        let run = move |tx: &Tx<'_>| -> Outcome {
            // A panicking statement has been reset by the unwinding, and the rest is rolled back as that of a refused change.
            let result = catch_unwind(AssertUnwindSafe(|| change(tx))).unwrap_or_else(|panic| {
                Err(message(&*panic)).doing("changing the database (it panicked)")
            });
            let result = result.map_err(faults::in_words);
            let (keep, trouble) = (lasts(&result), unavailable(result.as_ref().err()));
            let answer = answer.clone();
            (keep, Box::new(move || answer(result)), trouble)
        };
        let lost = move |reason: Option<ScimError>| {
            let failure = match reason {
                Some(refusal) => Err(refusal.into()),
                None => Err(NOT_COMMITTED).doing("committing a change"),
            };
            unanswered(failure);
        };
        self.queue.add_change(Change {
            now,
            run: Box::new(run),
            repeats,
            lost: Box::new(lost),
        });
        // Fails where both closures are gone: then there is no answer either.
        let _ = answered.recv();
        let answer = place.lock().unwrap_or_else(PoisonError::into_inner).take();
        answer.unwrap_or_else(|| Err(NOT_COMMITTED).doing("committing a change"))
    }

    /// See [`Store::record`](super::Store::record).
    pub fn record(&self, exchange: Exchange) {
        self.queue.add_exchange(PATIENCE, exchange);
    }

    /// See [`Store::record_at_once`](super::Store::record_at_once).
    pub fn record_at_once(&self, exchange: Exchange) {
        self.queue.add_exchange(Duration::ZERO, exchange);
    }

    /// See [`Store::dropped_exchanges`](super::Store::dropped_exchanges).
    pub fn dropped_exchanges(&self) -> u64 {
        self.queue.dropped_exchanges.load(Ordering::Relaxed)
    }

    /// See [`Store::commits`](super::Store::commits).
    pub fn commits(&self) -> u64 {
        self.queue.commits()
    }

    /// See [`Store::changes`](super::Store::changes).
    pub fn changes(&self) -> u64 {
        self.queue.changes()
    }

    /// See [`Store::batches`](super::Store::batches).
    pub fn batches(&self) -> [u64; BATCH_SIZES.len()] {
        self.queue.batches()
    }

    /// See [`Store::lost`](super::Store::lost).
    pub fn lost(&self) -> u64 {
        self.queue.lost.load(Ordering::Relaxed)
    }

    /// See [`Store::waiting`](super::Store::waiting).
    pub fn waiting(&self) -> (u64, u64) {
        let waiting = self.queue.lock();
        (waiting.changes.len() as u64, waiting.exchanges.len() as u64)
    }

    /// See [`Store::wait_for_commit`](super::Store::wait_for_commit).
    pub fn wait_for_commit(&self, seen: u64, timeout: Duration) {
        self.queue.wait_for_commit(seen, timeout);
    }

    /// Waits for what is queued and ends the thread.
    pub fn close(&mut self) -> Result<()> {
        let Some(thread) = self.thread.take() else {
            return Ok(());
        };
        self.queue.close();
        thread
            .join()
            .unwrap_or_else(|panic| Err(message(&*panic)).doing("ending the writer thread"))
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        if let Err(error) = self.close() {
            log::error!("{error}");
        }
    }
}

/// A change that can be made once.
fn once<T>(change: impl FnOnce(&Tx<'_>) -> Result<T>) -> impl FnMut(&Tx<'_>) -> Result<T> {
    let mut change = Some(change);
    move |tx| {
        let change = change.take().ok_or("it was made before");
        change.doing("changing the database")?(tx)
    }
}

/// What a caller learns where its batch was lost: the reason is the same for all, and is logged once.
const NOT_COMMITTED: &str = "the transaction could not be committed, see the log";

fn message(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "a panic".to_owned())
}

/// What the machine could not do, if that is why.
fn unavailable(error: Option<&Error>) -> Option<ScimError> {
    match error {
        Some(Error::Scim(refusal)) if refusal.status() == 503 => Some(refusal.clone()),
        _ => None,
    }
}

/// The thread.
fn run(conn: Connection, queue: &Queue) -> Result<()> {
    let mut told = 0;
    let anchor = Anchor::of(Path::new(conn.path().unwrap_or_default()));
    let mut wal = Wal::of(&conn, LARGE_WAL_BYTES, WAIT_FOR_READERS);
    let known = Known::default();
    while let Some((mut changes, mut exchanges)) = queue.next() {
        let mut recorded = exchanges.len();
        let committed = commit(
            &conn,
            &anchor,
            &known,
            &mut changes,
            &exchanges,
            &mut recorded,
            queue,
        );
        queue.give_back(exchanges.split_off(recorded));
        // Only those that can be made again, which are many, are known to leave it as it is.
        if committed.is_err() || changes.iter().any(|change| !change.repeats) {
            known.forget();
        }
        match committed.map_err(faults::in_words) {
            Ok(answers) => {
                if !answers.is_empty() {
                    queue.count_commit(answers.len());
                }
                answers.into_iter().for_each(|answer| answer());
            }
            Err(error) => {
                queue
                    .dropped_exchanges
                    .fetch_add(exchanges.len() as u64, Ordering::Relaxed);
                queue.lost.fetch_add(1, Ordering::Relaxed);
                log::error!("a transaction was lost: {error}");
                if let Some(refusal) = anchor.refusal() {
                    log::error!("{refusal}");
                }
                let reason = unavailable(Some(&error));
                (changes.into_iter()).for_each(|change| (change.lost)(reason.clone()));
            }
        }
        if let Err(error) = wal.keep_small(&conn) {
            log::warn!("emptying the WAL: {error}");
        }
        let dropped = queue.dropped_exchanges.load(Ordering::Relaxed);
        if dropped > told {
            log::warn!(
                "{} exchanges are missing in the provisioning log",
                dropped - told
            );
            told = dropped;
        }
    }
    // Whoever closes the file last empties the WAL into it and leaves one file, whole. A command that ends while the
    // server runs leaves the WAL alone: the server would have to wait for it.
    conn.close()
        .map_err(|(_, error)| error)
        .doing("closing the database")
}

/// One transaction, which says how many of the exchanges are `recorded` with it. Where it fails, all answers are dropped.
fn commit(
    conn: &Connection,
    anchor: &Anchor,
    known: &Known,
    changes: &mut [Change],
    exchanges: &[Exchange],
    recorded: &mut usize,
    queue: &Queue,
) -> Result<Vec<Answer>> {
    // Exchanges alone make room as soon as there is a change.
    let hurries = changes.is_empty();
    let begin = || begin(conn, known, exchanges, || hurries && queue.has_changes());
    let (mut transaction, count) = begin()?;
    *recorded = count;
    let alone = changes.len() == 1;
    let plainly = alone || changes.iter().all(|change| change.repeats);
    let made = plainly
        .then(|| run_plainly(conn, known, changes))
        .transpose()?;
    if let Some((_, false)) = made {
        transaction.roll_back().doing("rolling back a change")?;
        (transaction, _) = begin()?;
    }
    let answers = match made {
        Some((answers, all)) if all || alone => answers,
        _ => run_apart(conn, known, changes)?,
    };
    anchor.holds()?;
    transaction.commit().doing("committing")?;
    Ok(answers)
}

/// Runs changes one after the other, and ends early with `false` where one that was refused has written something.
fn run_plainly(
    conn: &Connection,
    known: &Known,
    changes: &mut [Change],
) -> Result<(Vec<Answer>, bool)> {
    let mut answers = Vec::with_capacity(changes.len());
    for change in changes {
        let rows = conn.total_changes();
        let (keep, answer, trouble) = (change.run)(&Tx::new(conn, known, change.now));
        whole(conn).map_err(|error| trouble.map_or(error, Error::from))?;
        answers.push(answer);
        if !keep && conn.total_changes() != rows {
            known.forget();
            return Ok((answers, false));
        }
    }
    Ok((answers, true))
}

/// Runs each change in a savepoint of its own.
fn run_apart(conn: &Connection, known: &Known, changes: &mut [Change]) -> Result<Vec<Answer>> {
    let run = |change: &mut Change| {
        let mut trouble = None;
        let answer = in_savepoint(conn, "change", || {
            let (keep, answer, its_trouble) = (change.run)(&Tx::new(conn, known, change.now));
            trouble = its_trouble;
            if !keep {
                known.forget();
            }
            (keep, answer)
        });
        // SQLite rolls all of it back where the disk is full; then this is why.
        answer.map_err(|error| trouble.map_or(error, Error::from))
    };
    changes.iter_mut().map(run).collect()
}

/// Begins a transaction with exchanges: first, so that the log tells of a read before the change that followed it, as far as
/// there are not too many of them. Answers how many are in it: not all where somebody is in a `hurry`.
fn begin<'c>(
    conn: &'c Connection,
    known: &Known,
    exchanges: &[Exchange],
    hurry: impl Fn() -> bool,
) -> Result<(Transaction<'c>, usize)> {
    let transaction = Transaction::writing(conn).doing("beginning to write")?;
    known.refresh(conn)?;
    for (piece, lines) in exchanges.chunks(AT_ONCE).enumerate() {
        if piece > 0 && hurry() {
            return Ok((transaction, piece * AT_ONCE));
        }
        record(conn, known, lines)?;
    }
    Ok((transaction, exchanges.len()))
}

/// Records up to [`AT_ONCE`] exchanges.
fn record(conn: &Connection, known: &Known, exchanges: &[Exchange]) -> Result<()> {
    if let Ok(lines) = <&[Exchange; AT_ONCE]>::try_from(exchanges) {
        match exchanges::insert_many(&Tx::new(conn, known, lines[0].at), lines) {
            Ok(()) => return Ok(()),
            Err(error) if whole(conn).is_err() => return Err(error),
            Err(_) => {}
        }
    }
    for exchange in exchanges {
        // The tenant may be gone by now, for one; the others' lines are none the worse for it.
        if let Err(error) = exchanges::insert(&Tx::new(conn, known, exchange.at), exchange) {
            // A full disk, for one, makes SQLite roll back all of it.
            if whole(conn).is_err() {
                return Err(error);
            }
            log::warn!("an exchange is missing in the provisioning log: {error}");
        }
    }
    Ok(())
}

/// Whether the transaction is still there. A full disk, for one, makes SQLite roll back all of it. What is written then
/// would begin a transaction of its own, and commit it.
fn whole(conn: &Connection) -> Result<()> {
    if conn.is_autocommit() {
        return Err("SQLite rolled the transaction back").doing("writing");
    }
    Ok(())
}

/// Runs something that says whether to keep what it did, and undoes it otherwise. `name` must not be that of a savepoint
/// around it: after a panic that one is rolled back by its name.
///
/// # Errors
///
/// Where the whole transaction is lost.
pub(super) fn in_savepoint<T>(
    conn: &Connection,
    name: &'static str,
    run: impl FnOnce() -> (bool, T),
) -> Result<T> {
    let execute = |what| transaction::run(conn, &format!("{what} {name}"));
    execute("SAVEPOINT").doing("setting a savepoint")?;
    let (keep, answer) = run();
    whole(conn)?;
    if !keep {
        execute("ROLLBACK TO").doing("rolling back a change")?;
    }
    execute("RELEASE").doing("releasing a savepoint")?;
    Ok(answer)
}

#[cfg(test)]
mod tests;
