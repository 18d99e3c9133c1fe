//! What a server does from time to time without being asked, all of it in one thread.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::backup::words;
use super::now;
use crate::error::Result;
use crate::http::App;
use crate::manage::archive;
use crate::manage::log::forget_everywhere;
use crate::store::backup::{self, Schedule};

/// When archive and log are first looked through for what is to be purged: not while all clients connect again.
const FIRST_PURGE: Duration = Duration::from_secs(60);

/// How often after that. Retention is reckoned in days.
const PURGE_EVERY: Duration = Duration::from_secs(10 * 60);

/// How long after a failure a backup is tried again, at most.
const BACKUP_RETRY: Duration = Duration::from_secs(5 * 60);

/// Something to do again and again.
pub(super) struct Chore {
    /// How long after the start it is done first.
    first: Duration,
    /// Does it and says how long after that it is to be done again. Tells of failures itself.
    run: Box<dyn FnMut() -> Duration + Send>,
}

impl Chore {
    /// Something that is done first after `first`, and again after what it returns.
    pub(super) fn new(first: Duration, run: impl FnMut() -> Duration + Send + 'static) -> Chore {
        Chore {
            first,
            run: Box::new(run),
        }
    }
}

/// The thread.
pub(super) struct Chores {
    stop: Sender<()>,
    thread: JoinHandle<()>,
}

impl Chores {
    /// Starts it.
    pub(super) fn start(chores: impl IntoIterator<Item = Chore>) -> io::Result<Chores> {
        let (stop, stopped) = mpsc::channel::<()>();
        let started = Instant::now();
        let mut chores: Vec<_> = chores
            .into_iter()
            .map(|chore| (started + chore.first, chore.run))
            .collect();
        let work = move || {
            while let Some((due, run)) = chores.iter_mut().min_by_key(|(due, _)| *due) {
                let wait = due.saturating_duration_since(Instant::now());
                if stopped.recv_timeout(wait) != Err(RecvTimeoutError::Timeout) {
                    return;
                }
                let again = run();
                *due = Instant::now() + again;
            }
        };
        let thread = thread::Builder::new()
            .name("chores".to_owned())
            .spawn(work)?;
        Ok(Chores { stop, thread })
    }

    /// Ends it once what it does at the moment is done.
    pub(super) fn stop(self) {
        drop(self.stop);
        if self.thread.join().is_err() {
            log::error!("the thread of chores panicked");
        }
    }
}

/// Purges what is due in all tenants, archive and log.
pub(super) fn purge(app: &Arc<App>) -> Chore {
    let app = Arc::clone(app);
    Chore {
        first: FIRST_PURGE,
        run: Box::new(move || {
            match archive::purge_everywhere(&app.store, now()) {
                Ok(0) => {}
                Ok(count) => log::info!("purged {count} users and teams whose retention has ended"),
                Err(error) => log::error!("{error}"),
            }
            if let Err(error) = forget_everywhere(&app.store, now()) {
                log::error!("{error}");
            }
            PURGE_EVERY
        }),
    }
}

/// Makes backups. What is there already counts, so that a restart neither skips one nor makes one more.
pub(super) fn back_up(app: &Arc<App>, schedule: Schedule) -> Chore {
    let app = Arc::clone(app);
    Chore {
        first: Duration::ZERO,
        run: Box::new(move || {
            back_up_if_due(&app, &schedule).unwrap_or_else(|error| {
                let wait = BACKUP_RETRY.min(schedule.every);
                log::error!("no backup was made, trying again in {wait:?}: {error}");
                wait
            })
        }),
    }
}

fn back_up_if_due(app: &App, Schedule { dir, every, keep }: &Schedule) -> Result<Duration> {
    let now = now();
    backup::create_folder(dir)?;
    let wait = backup::due_in(dir, *every, now)?;
    if !wait.is_zero() {
        return Ok(wait);
    }
    let started = Instant::now();
    let made = backup::make_in(&app.store, dir, now)?;
    log::info!(
        "backed up to {}: {}, {} bytes, in {} ms",
        made.file.display(),
        words(&made.contents),
        made.bytes,
        started.elapsed().as_millis()
    );
    match backup::prune(dir, *keep, now) {
        Ok(0) => {}
        Ok(count) => log::info!("removed {count} older backups"),
        // The new one is made all the same.
        Err(error) => log::error!("{error}"),
    }
    Ok(every.saturating_sub(started.elapsed()))
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::Receiver;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(20);

    /// A chore that tells each time, and is to be done again after `again`.
    fn told(first: Duration, again: Duration) -> (Chore, Receiver<Instant>) {
        let (sender, times) = mpsc::channel();
        let run = Box::new(move || {
            let _ = sender.send(Instant::now());
            again
        });
        (Chore { first, run }, times)
    }

    #[test]
    fn each_is_done_when_it_is_due_whatever_the_others_wait_for() {
        let (often, at_once) = (Duration::from_millis(5), Duration::ZERO);
        let (rare, rare_times) = told(PATIENCE * 1000, often);
        let (busy, busy_times) = told(at_once, often);
        let (single, single_times) = told(at_once, PATIENCE * 1000);
        let started = Instant::now();
        let chores = Chores::start(vec![rare, busy, single]).unwrap();
        single_times.recv_timeout(PATIENCE).unwrap();
        let mut last = started;
        for _ in 0..4 {
            last = busy_times.recv_timeout(PATIENCE).unwrap();
        }
        assert!(last - started >= often * 3, "it was done too often");
        chores.stop();
        assert!(rare_times.try_recv().is_err(), "it was done too early");
        assert!(single_times.try_recv().is_err(), "it was done again");
        assert!(
            started.elapsed() < PATIENCE,
            "the end waited for something that is due in hours"
        );
    }
}
