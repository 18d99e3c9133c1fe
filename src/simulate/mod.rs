//! Plays an identity provider's life against any SCIM server, and says what the server got wrong.
//!
//! A made-up organisation (`organisation`, `person`) lives through phases (`life`), each a heap of jobs, which become requests as
//! Entra ID or Okta write them (`dialect`). All of that is pure, as is what a server shows beside what it should (`compare`).
//! Here, and in `session`, `act` and `read_back`, requests are sent: by several connections at once, and everything is read
//! back after each phase. Nothing stays behind: names begin with the run's own prefix, and whatever bears it is deleted.

mod act;
mod compare;
mod dialect;
mod life;
mod organisation;
mod person;
mod read_back;
mod session;

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

pub use compare::{Finding, Kind, Ledger, Sort};
pub use dialect::{Dialect, FLAG};
pub use life::Phase;
pub use organisation::prefix;
pub use session::Trouble;

use crate::scim_client::Client;
use organisation::{Dice, Organisation};
use session::{Measures, Session, Shared, said};

/// What to play, and where.
#[derive(Clone)]
pub struct Plan {
    /// Whom.
    pub dialect: Dialect,
    /// The SCIM base URL.
    pub url: String,
    /// What lets in.
    pub token: String,
    /// How many people.
    pub users: usize,
    /// How many groups.
    pub groups: usize,
    /// How many connections at once.
    pub connections: usize,
    /// What the organisation is made of.
    pub seed: u64,
    /// Whether `roleName` is sent.
    pub roles: bool,
    /// Whether what was made stays.
    pub keep: bool,
}

/// How far a phase is.
#[derive(Clone, Copy, Debug)]
pub struct Progress<'a> {
    /// Its name.
    pub phase: &'a str,
    /// Whether everything is read back after it.
    pub reading: bool,
    /// How many jobs are done.
    pub done: usize,
    /// Of how many.
    pub of: usize,
}

/// What a phase took.
#[derive(Clone, Debug)]
pub struct Row {
    /// Which; `None` for all reading back.
    pub phase: Option<Phase>,
    /// How many requests.
    pub requests: usize,
    /// How long all of it.
    pub elapsed: Duration,
    /// Half of the requests took less.
    pub p50: Duration,
    /// All but one of a hundred took less.
    pub p99: Duration,
    /// The slowest.
    pub max: Duration,
    /// What was wrong, by the time it was read back.
    pub mismatches: u64,
}

/// How it went.
#[derive(Debug)]
pub struct Report {
    /// Each phase, and reading back.
    pub rows: Vec<Row>,
    /// What the server got wrong.
    pub ledger: Ledger,
    /// How many requests were put off (429).
    pub put_off: u64,
    /// For how long connections waited, added up.
    pub waited: Duration,
    /// How many requests were tried again because the server had failed.
    pub retried: u64,
    /// Why it ended before its end.
    pub trouble: Option<Trouble>,
    /// Whether some of what was made is still there, though it should not.
    pub left_behind: bool,
}

/// Plays it. `progress` is called from all connections, after each job. `stop` is the operator's.
///
/// # Errors
///
/// Nothing was begun: nobody answers, the token doesn't let in, or it's no SCIM server. Later troubles are in the report.
pub fn run(
    plan: &Plan,
    stop: &AtomicBool,
    progress: &(dyn Fn(Progress<'_>) + Sync),
) -> Result<Report, Trouble> {
    let shared = Shared::default();
    let mut play = Play::new(plan, &shared, stop, progress)?;
    play.connect()?;
    let mut all = Organisation::new(plan.dialect, plan.seed, plan.users, plan.groups);
    if plan.roles && !plan.dialect.is_entra() {
        all = all.with_roles();
    }
    let mut trouble = play.live(&mut all).err();
    let mut left_behind = false;
    if !plan.keep {
        // What somebody else's run with this seed has left is theirs.
        let by_name = !matches!(trouble, Some(Trouble::Taken(_)));
        left_behind = match play.clean_up(&all, by_name) {
            Ok(left) => left,
            Err(late) => {
                trouble.get_or_insert(late);
                true
            }
        };
    }
    Ok(play.report(trouble, left_behind))
}

/// Deletes what a run with this seed has left.
///
/// # Errors
///
/// As for [`run`].
pub fn clean_up(
    plan: &Plan,
    stop: &AtomicBool,
    progress: &(dyn Fn(Progress<'_>) + Sync),
) -> Result<Report, Trouble> {
    let shared = Shared::default();
    let mut play = Play::new(plan, &shared, stop, progress)?;
    play.connect()?;
    let nobody = Organisation::new(plan.dialect, plan.seed, 0, 0);
    let left_behind = play.clean_up(&nobody, true)?;
    Ok(play.report(None, left_behind))
}

struct Play<'a> {
    plan: &'a Plan,
    shared: &'a Shared,
    progress: &'a (dyn Fn(Progress<'_>) + Sync),
    /// At least one.
    sessions: Vec<Session<'a>>,
    dice: Dice,
    rows: Vec<Row>,
    reading: (Measures, Duration),
    all_measures: Measures,
}

impl<'a> Play<'a> {
    fn new(
        plan: &'a Plan,
        shared: &'a Shared,
        stop: &'a AtomicBool,
        progress: &'a (dyn Fn(Progress<'_>) + Sync),
    ) -> Result<Play<'a>, Trouble> {
        let session = |_| {
            let client = Client::new(&plan.url, Some(&plan.token))?;
            let mut session = Session::new(client, shared, plan.dialect);
            session.stop = Some(stop);
            Ok(session)
        };
        Ok(Play {
            plan,
            shared,
            progress,
            sessions: (0..plan.connections.max(1))
                .map(session)
                .collect::<Result<_, Trouble>>()?,
            dice: Dice::new(!plan.seed),
            rows: Vec::new(),
            reading: (Measures::default(), Duration::ZERO),
            all_measures: Measures::default(),
        })
    }

    /// *Test Connection*.
    fn connect(&mut self) -> Result<(), Trouble> {
        let begun = Instant::now();
        let request = self
            .plan
            .dialect
            .test_connection(&organisation::guid(&mut self.dice));
        let session = &mut self.sessions[0];
        let answer = session.ask_once(&request)?;
        match answer.status {
            401 | 403 => return Err(Trouble::Token(answer.status)),
            // Busy or broken for now; what comes next waits and tries again.
            429 | 500..=599 => {}
            200 if answer.json.is_some() => {
                let found = session.list(&request, answer);
                let others =
                    found.filter(|(found, _)| self.plan.dialect.is_entra() && !found.is_empty());
                if let Some((found, _)) = others {
                    let found = format!("{} users", found.len());
                    session.finding(Kind::Search, "test", &request, "nobody of that name", found);
                }
            }
            _ => return Err(Trouble::NotScim(said(&answer))),
        }
        self.settle(Phase::Connect, begun, false, &mut None);
        Ok(())
    }

    /// All phases, each read back.
    fn live(&mut self, all: &mut Organisation) -> Result<(), Trouble> {
        for phase in Phase::life(self.plan.dialect) {
            let plan = self.plan;
            let jobs = life::jobs(phase, plan.dialect, all, &mut self.dice, plan.roles);
            let begun = Instant::now();
            let done = self.work(phase, &jobs, |session, job| session.act(all, job));
            self.settle(phase, begun, false, &mut Some(all));
            done?;
            self.read_back(phase, all)?;
        }
        Ok(())
    }

    fn read_back(&mut self, phase: Phase, all: &mut Organisation) -> Result<(), Trouble> {
        let begun = Instant::now();
        (self.progress)(Progress {
            phase: phase.name(),
            reading: true,
            done: 0,
            of: 1,
        });
        let read = self.sessions[0].read_back(all);
        self.settle(phase, begun, true, &mut Some(all));
        if let Some(row) = self.rows.iter_mut().find(|row| row.phase == Some(phase)) {
            row.mismatches = self.shared.ledger().count_in(phase);
        }
        read
    }

    /// Does all jobs, by all connections; the first trouble of one is the end for all.
    fn work<J: Sync>(
        &mut self,
        phase: Phase,
        jobs: &[J],
        act: impl Fn(&mut Session<'a>, &J) -> Result<(), Trouble> + Sync,
    ) -> Result<(), Trouble> {
        let (next, done) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let trouble: Mutex<Option<Trouble>> = Mutex::default();
        let (shared, progress) = (self.shared, self.progress);
        let work = |session: &mut Session<'a>| {
            session.phase = phase;
            while !shared.over.load(Ordering::Relaxed) {
                let Some(job) = jobs.get(next.fetch_add(1, Ordering::Relaxed)) else {
                    break;
                };
                if let Err(found) = act(session, job) {
                    shared.over.store(true, Ordering::Relaxed);
                    let mut trouble = trouble.lock().unwrap_or_else(PoisonError::into_inner);
                    trouble.get_or_insert(found);
                    break;
                }
                progress(Progress {
                    phase: phase.name(),
                    reading: false,
                    done: done.fetch_add(1, Ordering::Relaxed) + 1,
                    of: jobs.len(),
                });
            }
        };
        thread::scope(|scope| {
            for session in &mut self.sessions {
                scope.spawn(|| work(session));
            }
        });
        let trouble = trouble.into_inner();
        match trouble.unwrap_or_else(PoisonError::into_inner) {
            Some(trouble) => Err(trouble),
            None => Ok(()),
        }
    }

    /// Takes from all connections what they have: effects and times.
    fn settle(
        &mut self,
        phase: Phase,
        begun: Instant,
        reading: bool,
        all: &mut Option<&mut Organisation>,
    ) {
        let mut measures = Measures::default();
        for session in &mut self.sessions {
            measures.merge(std::mem::take(&mut session.measures));
            for effect in session.effects.drain(..) {
                if let Some(all) = all {
                    all.apply(effect);
                }
            }
        }
        self.all_measures.put_off += measures.put_off;
        self.all_measures.waited += measures.waited;
        self.all_measures.retried += measures.retried;
        if reading {
            self.reading.0.merge(measures);
            self.reading.1 += begun.elapsed();
            return;
        }
        let mismatches = self.shared.ledger().count_in(phase);
        self.rows
            .push(row(Some(phase), measures, begun.elapsed(), mismatches));
    }

    /// Deletes all that is known by its id, or by the prefix of its name, and looks whether it's gone. Whether something is left.
    fn clean_up(&mut self, all: &Organisation, by_name: bool) -> Result<bool, Trouble> {
        self.shared.over.store(false, Ordering::Relaxed);
        for session in &mut self.sessions {
            // Whoever interrupts once wants to be rid of it all; whoever does twice ends the process.
            session.stop = None;
            session.phase = Phase::CleanUp;
        }
        let begun = Instant::now();
        let people = all.people.iter().filter_map(|person| person.id.as_ref());
        let groups = all.groups.iter().filter_map(|group| group.id.as_ref());
        let known = groups.map(|id| format!("/Groups/{id}"));
        let known: HashSet<String> = known
            .chain(people.map(|id| format!("/Users/{id}")))
            .collect();
        let listed = match by_name {
            true => self.sessions[0].ours(&all.prefix)?,
            false => HashSet::new(),
        };
        let paths: Vec<String> = known.union(&listed).cloned().collect();
        let done = self.work(Phase::CleanUp, &paths, |session, path| {
            let request = dialect::delete(path);
            let (answer, _) = session.ask(&request)?;
            // What is known but not listed may be gone.
            session.expect(&request, &answer, &[204, 404]);
            Ok(())
        });
        self.settle(Phase::CleanUp, begun, false, &mut None);
        done?;
        let begun = Instant::now();
        let mut left = self.sessions[0].ours(&all.prefix)?;
        left.retain(|path| by_name || known.contains(path));
        for path in &left {
            let request = dialect::get(path);
            let found = "it is still listed";
            self.sessions[0].finding(Kind::Surplus, path, &request, "gone after DELETE", found);
        }
        self.settle(Phase::CleanUp, begun, true, &mut None);
        if let Some(row) = self.rows.last_mut() {
            row.mismatches = self.shared.ledger().count_in(Phase::CleanUp);
        }
        Ok(!left.is_empty())
    }

    fn report(mut self, trouble: Option<Trouble>, left_behind: bool) -> Report {
        let (measures, elapsed) = self.reading;
        self.rows.push(row(None, measures, elapsed, 0));
        Report {
            rows: self.rows,
            ledger: std::mem::take(&mut *self.shared.ledger()),
            put_off: self.all_measures.put_off,
            waited: self.all_measures.waited,
            retried: self.all_measures.retried,
            trouble,
            left_behind,
        }
    }
}

fn row(phase: Option<Phase>, mut measures: Measures, elapsed: Duration, mismatches: u64) -> Row {
    measures.micros.sort_unstable();
    let micros = &measures.micros;
    let at = |percent: usize| {
        let place = (micros.len() * percent).div_ceil(100).saturating_sub(1);
        Duration::from_micros(micros.get(place).copied().unwrap_or_default().into())
    };
    Row {
        phase,
        requests: micros.len(),
        elapsed,
        p50: at(50),
        p99: at(99),
        max: at(100),
        mismatches,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_told_in_percentiles() {
        let measures = Measures {
            micros: (1..=200).rev().collect(),
            ..Measures::default()
        };
        let row = row(Some(Phase::Churn), measures, Duration::from_secs(1), 3);
        let told = [row.p50, row.p99, row.max].map(|time| time.as_micros());
        assert_eq!((row.requests, told), (200, [100, 198, 200]));
        let none = super::row(None, Measures::default(), Duration::ZERO, 0);
        assert_eq!((none.requests, none.max), (0, Duration::ZERO));
    }
}
