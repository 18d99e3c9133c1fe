//! What waits for the writer, and how it is taken: batch by batch.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::Change;
use crate::store::exchanges::Exchange;

/// Changes in one transaction at most: the first one mustn't wait long for the last.
const MAX_CHANGES: usize = 256;
/// What transactions are counted by: how many changes they hold at most.
pub const BATCH_SIZES: [usize; 9] = [1, 2, 4, 8, 16, 32, 64, 128, MAX_CHANGES];
/// Exchanges in one transaction at most. The more there are, the fewer commits make readers read their pages anew; whoever
/// has a change doesn't wait for them.
pub(super) const MAX_EXCHANGES: usize = 2048;
/// Exchanges that come along with changes at most: whoever waits for a change is not to wait for the log of everybody's
/// reads. With eight clients that read as fast as they can, 512 made a PATCH take 37 ms.
const MAX_EXCHANGES_ALONG: usize = 128;
/// From here on readers are busy: so many exchanges wait.
pub(super) const EXCHANGES_OF_BUSY_READERS: usize = 32;
/// How long changes gather then: fewer commits leave processors to those who read, and each makes readers read their pages
/// anew.
pub(super) const GATHERING: Duration = Duration::from_micros(500);
/// Exchanges that may wait; with a body of 1 KB each it is 12 MiB.
pub(super) const MAX_WAITING_EXCHANGES: usize = 8192;
/// From here on each one that is added waits before that: where readers are faster than the log, it slows them, and misses
/// none of them.
pub(super) const CROWDED_EXCHANGES: usize = 4096;
/// For how long, unless there are fewer before. The thread takes some every few milliseconds. While the disk stands still it
/// doesn't; then the rest of the queue fills, and nobody waits any more.
pub(super) const PATIENCE: Duration = Duration::from_millis(5);
/// How long exchanges wait for a change to come along with when nothing else is going on.
const EXCHANGE_DELAY: Duration = Duration::from_millis(50);

/// What waits for the writer.
#[derive(Default)]
pub(super) struct Waiting {
    pub(super) changes: VecDeque<Change>,
    pub(super) exchanges: VecDeque<Exchange>,
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

    /// Changes beside busy readers, and few enough to wait for more.
    fn can_gather(&self) -> bool {
        (1..MAX_CHANGES).contains(&self.changes.len())
            && self.exchanges.len() >= EXCHANGES_OF_BUSY_READERS
            && !self.closing
    }

    /// Only exchanges, and few enough to wait for more.
    fn can_wait(&self) -> bool {
        self.changes.is_empty() && self.exchanges.len() < MAX_EXCHANGES && !self.closing
    }
}

/// What waits, and what was counted of it.
#[derive(Default)]
pub(super) struct Queue {
    waiting: Mutex<Waiting>,
    arrived: Condvar,
    /// Exchanges were taken where they were many.
    drained: Condvar,
    pub(super) dropped_exchanges: AtomicU64,
    batches: [AtomicU64; BATCH_SIZES.len()],
    changes: AtomicU64,
    pub(super) lost: AtomicU64,
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
    pub(super) fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a commit of so many changes, and wakes who waits for one.
    pub(super) fn count_commit(&self, changes: usize) {
        let size = BATCH_SIZES.iter().position(|most| changes <= *most);
        self.batches[size.unwrap_or(BATCH_SIZES.len() - 1)].fetch_add(1, Ordering::Relaxed);
        self.changes.fetch_add(changes as u64, Ordering::Relaxed);
        let mut commits = self.count();
        commits.count += 1;
        if commits.awaited > 0 {
            self.committed.notify_all();
        }
    }

    fn count(&self) -> MutexGuard<'_, Commits> {
        self.commits.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next batch, in the order of arrival; `None` once the queue is closed and empty.
    pub(super) fn next(&self) -> Option<(Vec<Change>, Vec<Exchange>)> {
        let idle = |waiting: &mut Waiting| waiting.is_empty();
        let waiting = self
            .arrived
            .wait_while(self.lock(), idle)
            .unwrap_or_else(PoisonError::into_inner);
        let alone = |waiting: &mut Waiting| waiting.can_wait();
        let (waiting, _) = self
            .arrived
            .wait_timeout_while(waiting, EXCHANGE_DELAY, alone)
            .unwrap_or_else(PoisonError::into_inner);
        let gathering = |waiting: &mut Waiting| waiting.can_gather();
        let (mut waiting, _) = self
            .arrived
            .wait_timeout_while(waiting, GATHERING, gathering)
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

    /// See [`Store::commits`](crate::store::Store::commits).
    pub(super) fn commits(&self) -> u64 {
        self.count().count
    }

    /// See [`Store::changes`](crate::store::Store::changes).
    pub(super) fn changes(&self) -> u64 {
        self.changes.load(Ordering::Relaxed)
    }

    /// See [`Store::batches`](crate::store::Store::batches).
    pub(super) fn batches(&self) -> [u64; BATCH_SIZES.len()] {
        let load = |count: &AtomicU64| count.load(Ordering::Relaxed);
        self.batches.each_ref().map(load)
    }

    /// Adds a change.
    pub(super) fn add_change(&self, change: Change) {
        let mut waiting = self.lock();
        waiting.changes.push_back(change);
        let count = waiting.changes.len();
        drop(waiting);
        // Where there are others, the thread is awake, or about to be.
        if count == 1 {
            self.arrived.notify_one();
        }
    }

    /// Adds an exchange of a read; where there are many, once there are fewer or `patience` is over.
    pub(super) fn add_exchange(&self, patience: Duration, exchange: Exchange) {
        let crowded = |waiting: &mut Waiting| waiting.is_crowded();
        let (mut waiting, _) = self
            .drained
            .wait_timeout_while(self.lock(), patience, crowded)
            .unwrap_or_else(PoisonError::into_inner);
        // Those that were given back may have made it more.
        if waiting.exchanges.len() >= MAX_WAITING_EXCHANGES {
            self.dropped_exchanges.fetch_add(1, Ordering::Relaxed);
            return;
        }
        waiting.exchanges.push_back(exchange);
        let count = waiting.exchanges.len();
        drop(waiting);
        // The first starts the delay and the last one ends it; those between need no attention.
        if count == 1 || count == MAX_EXCHANGES {
            self.arrived.notify_one();
        }
    }

    /// Whether a change waits.
    pub(super) fn has_changes(&self) -> bool {
        !self.lock().changes.is_empty()
    }

    /// Puts exchanges that were taken, but not recorded, before the others.
    pub(super) fn give_back(&self, exchanges: Vec<Exchange>) {
        if exchanges.is_empty() {
            return;
        }
        let mut waiting = self.lock();
        for exchange in exchanges.into_iter().rev() {
            waiting.exchanges.push_front(exchange);
        }
    }

    /// See [`Store::wait_for_commit`](crate::store::Store::wait_for_commit).
    pub(super) fn wait_for_commit(&self, seen: u64, timeout: Duration) {
        let mut commits = self.count();
        commits.awaited += 1;
        let waited = self
            .committed
            .wait_timeout_while(commits, timeout, |commits| commits.count == seen);
        waited.unwrap_or_else(PoisonError::into_inner).0.awaited -= 1;
    }

    /// Lets the thread end with what is waiting.
    pub(super) fn close(&self) {
        self.lock().closing = true;
        self.arrived.notify_one();
    }
}
