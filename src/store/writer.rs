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

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use jiff::Timestamp;
use rusqlite::Connection;

use super::exchanges::{self, Exchange};
use super::faults::{self, Anchor};
use super::transaction::{self, Transaction};
use super::wal::Wal;
use super::{Known, Tx};
use crate::error::{Doing, Error, Result};
use crate::scim::ScimError;

/// Changes in one transaction at most: the first one mustn't wait long for the last.
const MAX_CHANGES: usize = 256;
/// What transactions are counted by: how many changes they hold at most.
pub const BATCH_SIZES: [usize; 9] = [1, 2, 4, 8, 16, 32, 64, 128, MAX_CHANGES];
/// Exchanges in one transaction at most, for the same reason.
const MAX_EXCHANGES: usize = 512;
/// Exchanges that come along with changes at most: whoever waits for a change is not to wait for the log of everybody's
/// reads. With eight clients that read as fast as they can, 512 made a PATCH take 37 ms.
const MAX_EXCHANGES_ALONG: usize = 64;
/// Exchanges that may wait; a body of 1 KB each makes it 4 MiB.
const MAX_WAITING_EXCHANGES: usize = 4096;
/// From here on each one that is added waits before that: where readers are faster than the log, it slows them, and misses
/// none of them.
const CROWDED_EXCHANGES: usize = 1024;
/// For how long, unless there are fewer before. The thread takes some every few milliseconds. While the disk stands still it
/// doesn't; then the rest of the queue fills, and nobody waits any more.
const PATIENCE: Duration = Duration::from_millis(5);
/// How long exchanges wait for a change to come along with when nothing else is going on.
const EXCHANGE_DELAY: Duration = Duration::from_millis(20);

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

/// What waits for the writer.
#[derive(Default)]
struct Waiting {
    changes: VecDeque<Change>,
    exchanges: VecDeque<Exchange>,
    closing: bool,
}

impl Waiting {
    fn is_empty(&self) -> bool {
        self.changes.is_empty() && self.exchanges.is_empty() && !self.closing
    }

    /// So many exchanges that one more has to wait.
    fn is_crowded(&self) -> bool {
        (CROWDED_EXCHANGES..MAX_WAITING_EXCHANGES).contains(&self.exchanges.len())
    }

    /// Only exchanges, and few enough to wait for more.
    fn can_wait(&self) -> bool {
        self.changes.is_empty() && self.exchanges.len() < MAX_EXCHANGES && !self.closing
    }
}

#[derive(Default)]
struct Queue {
    waiting: Mutex<Waiting>,
    arrived: Condvar,
    /// Exchanges were taken where they were many.
    drained: Condvar,
    dropped_exchanges: AtomicU64,
    batches: [AtomicU64; BATCH_SIZES.len()],
    changes: AtomicU64,
    lost: AtomicU64,
    commits: Mutex<Commits>,
    committed: Condvar,
}

#[derive(Default)]
struct Commits {
    /// Those that changed something.
    count: u64,
    /// How many wait for the next one: to wake nobody is a system call, too.
    awaited: usize,
}

impl Queue {
    /// A panic while the lock is held is impossible but for a lack of memory, and leaves the queue whole.
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn count_commit(&self, changes: usize) {
        let size = BATCH_SIZES.iter().position(|most| changes <= *most);
        self.batches[size.unwrap_or(BATCH_SIZES.len() - 1)].fetch_add(1, Ordering::Relaxed);
        self.changes.fetch_add(changes as u64, Ordering::Relaxed);
        let mut commits = self.commits();
        commits.count += 1;
        if commits.awaited > 0 {
            self.committed.notify_all();
        }
    }

    fn commits(&self) -> MutexGuard<'_, Commits> {
        self.commits.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next batch, in the order of arrival; `None` once the queue is closed and empty.
    fn next(&self) -> Option<(Vec<Change>, Vec<Exchange>)> {
        let idle = |waiting: &mut Waiting| waiting.is_empty();
        let waiting = self
            .arrived
            .wait_while(self.lock(), idle)
            .unwrap_or_else(PoisonError::into_inner);
        let alone = |waiting: &mut Waiting| waiting.can_wait();
        let (mut waiting, _) = self
            .arrived
            .wait_timeout_while(waiting, EXCHANGE_DELAY, alone)
            .unwrap_or_else(PoisonError::into_inner);
        // All of them alike: one that can be made once only would cost the others a savepoint each.
        let repeats = waiting.changes.front().is_some_and(|first| first.repeats);
        let alike = |change: &&Change| change.repeats == repeats;
        let changes = (waiting.changes.iter().take(MAX_CHANGES))
            .take_while(alike)
            .count();
        let most = if changes == 0 {
            MAX_EXCHANGES
        } else {
            MAX_EXCHANGES_ALONG
        };
        let exchanges = waiting.exchanges.len().min(most);
        if changes == 0 && exchanges == 0 {
            return None;
        }
        let was_crowded = waiting.is_crowded();
        let changes = waiting.changes.drain(..changes).collect();
        let exchanges = waiting.exchanges.drain(..exchanges).collect();
        if was_crowded && !waiting.is_crowded() {
            self.drained.notify_all();
        }
        Some((changes, exchanges))
    }
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
        let mut waiting = self.queue.lock();
        waiting.changes.push_back(Change {
            now,
            run: Box::new(run),
            repeats,
            lost: Box::new(lost),
        });
        let count = waiting.changes.len();
        drop(waiting);
        // Where there are others, the thread is awake, or about to be.
        if count == 1 {
            self.queue.arrived.notify_one();
        }
        // Fails where both closures are gone: then there is no answer either.
        let _ = answered.recv();
        let answer = place.lock().unwrap_or_else(PoisonError::into_inner).take();
        answer.unwrap_or_else(|| Err(NOT_COMMITTED).doing("committing a change"))
    }

    /// See [`Store::record`](super::Store::record).
    pub fn record(&self, exchange: Exchange) {
        self.record_within(PATIENCE, exchange);
    }

    /// See [`Store::record_at_once`](super::Store::record_at_once).
    pub fn record_at_once(&self, exchange: Exchange) {
        self.record_within(Duration::ZERO, exchange);
    }

    fn record_within(&self, patience: Duration, exchange: Exchange) {
        let crowded = |waiting: &mut Waiting| waiting.is_crowded();
        let (mut waiting, _) = self
            .queue
            .drained
            .wait_timeout_while(self.queue.lock(), patience, crowded)
            .unwrap_or_else(PoisonError::into_inner);
        if waiting.exchanges.len() == MAX_WAITING_EXCHANGES {
            self.queue.dropped_exchanges.fetch_add(1, Ordering::Relaxed);
            return;
        }
        waiting.exchanges.push_back(exchange);
        let count = waiting.exchanges.len();
        drop(waiting);
        // The first starts the delay and the last one ends it; those between need no attention.
        if count == 1 || count == MAX_EXCHANGES {
            self.queue.arrived.notify_one();
        }
    }

    /// See [`Store::dropped_exchanges`](super::Store::dropped_exchanges).
    pub fn dropped_exchanges(&self) -> u64 {
        self.queue.dropped_exchanges.load(Ordering::Relaxed)
    }

    /// See [`Store::commits`](super::Store::commits).
    pub fn commits(&self) -> u64 {
        self.queue.commits().count
    }

    /// See [`Store::changes`](super::Store::changes).
    pub fn changes(&self) -> u64 {
        self.queue.changes.load(Ordering::Relaxed)
    }

    /// See [`Store::batches`](super::Store::batches).
    pub fn batches(&self) -> [u64; BATCH_SIZES.len()] {
        self.queue
            .batches
            .each_ref()
            .map(|count| count.load(Ordering::Relaxed))
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
        let mut commits = self.queue.commits();
        commits.awaited += 1;
        let waited = self
            .queue
            .committed
            .wait_timeout_while(commits, timeout, |commits| commits.count == seen);
        waited.unwrap_or_else(PoisonError::into_inner).0.awaited -= 1;
    }

    /// Waits for what is queued and ends the thread.
    pub fn close(&mut self) -> Result<()> {
        let Some(thread) = self.thread.take() else {
            return Ok(());
        };
        self.queue.lock().closing = true;
        self.queue.arrived.notify_one();
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
    while let Some((mut changes, exchanges)) = queue.next() {
        let recorded = exchanges.len() as u64;
        let committed = commit(&conn, &anchor, &known, &mut changes, &exchanges);
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
                    .fetch_add(recorded, Ordering::Relaxed);
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

/// One transaction. Where it fails, all answers are dropped.
fn commit(
    conn: &Connection,
    anchor: &Anchor,
    known: &Known,
    changes: &mut [Change],
    exchanges: &[Exchange],
) -> Result<Vec<Answer>> {
    let mut transaction = begin(conn, known, exchanges)?;
    let alone = changes.len() == 1;
    let plainly = alone || changes.iter().all(|change| change.repeats);
    let made = plainly
        .then(|| run_plainly(conn, known, changes))
        .transpose()?;
    if let Some((_, false)) = made {
        transaction.roll_back().doing("rolling back a change")?;
        transaction = begin(conn, known, exchanges)?;
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

/// Begins a transaction with exchanges: first, so that the log tells of a read before the change that followed it.
fn begin<'c>(
    conn: &'c Connection,
    known: &Known,
    exchanges: &[Exchange],
) -> Result<Transaction<'c>> {
    let transaction = Transaction::writing(conn).doing("beginning to write")?;
    known.refresh(conn)?;
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
    Ok(transaction)
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
