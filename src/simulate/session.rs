//! One connection of the provider: asks, waits where it is told to, tries again, and keeps what it saw.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::compare::{Difference, Finding, Kind, Ledger, short, told};
use super::dialect::{Dialect, Request};
use super::life::Phase;
use super::organisation::Effect;
use crate::scim_client::{self, Answer, Client};

/// How often a request is tried again after an error of the server, or of the way there.
const RETRIES: u32 = 3;

/// The pause before the first of these; it doubles.
const PAUSE: Duration = Duration::from_millis(250);

/// Longest wait for one request that the server puts off (429).
const PATIENCE: Duration = Duration::from_secs(300);

/// Longest single wait, whatever `Retry-After` says.
const WAIT_MAX: Duration = Duration::from_secs(60);

/// So many requests in a row that the server failed to do are the end.
const FAILURES_MAX: u32 = 50;

/// Why it can't go on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// The URL or the token can't be used, or nobody answers.
    Client(scim_client::Trouble),
    /// The server doesn't let the token in: the status.
    Token(u16),
    /// What answers is no SCIM server: what it said.
    NotScim(String),
    /// There is already somebody of a name that is to be made: an earlier run with the same seed.
    Taken(String),
    /// The server fails again and again: its last answer.
    Failing(String),
    /// The server puts a request off for too long.
    PutOff,
    /// The operator has ended it.
    Interrupted,
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Trouble::Client(trouble) => trouble.fmt(f),
            Trouble::Token(status) => {
                write!(f, "the server refuses the token: it answers {status}")
            }
            Trouble::NotScim(said) => write!(f, "that is no SCIM base URL: {said}"),
            Trouble::Taken(name) => write!(
                f,
                "{name} is there already: a run with the same seed made it; delete what it left with --clean-up, or take \
                 another seed"
            ),
            Trouble::Failing(said) => write!(
                f,
                "the server failed {FAILURES_MAX} times in a row; the last time it said {said}"
            ),
            Trouble::PutOff => write!(
                f,
                "the server has put off a request for {} s",
                PATIENCE.as_secs()
            ),
            Trouble::Interrupted => f.write_str("interrupted"),
        }
    }
}

impl std::error::Error for Trouble {}

impl From<scim_client::Trouble> for Trouble {
    fn from(trouble: scim_client::Trouble) -> Trouble {
        Trouble::Client(trouble)
    }
}

/// What all connections share.
#[derive(Debug, Default)]
pub struct Shared {
    /// Whether all shall end: somebody can't go on.
    pub over: AtomicBool,
    failures: AtomicU32,
    ledger: Mutex<Ledger>,
}

impl Shared {
    /// What the server got wrong so far.
    pub fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What went over a connection, and how long it took.
#[derive(Debug, Default)]
pub struct Measures {
    /// How long each request took, in microseconds; waits before it is tried again are no part of it.
    pub micros: Vec<u32>,
    /// How many were put off by the server (429).
    pub put_off: u64,
    /// How long that was.
    pub waited: Duration,
    /// How many were tried again after the server failed.
    pub retried: u64,
}

impl Measures {
    /// Takes in another one's.
    pub fn merge(&mut self, mut other: Measures) {
        self.micros.append(&mut other.micros);
        self.put_off += other.put_off;
        self.waited += other.waited;
        self.retried += other.retried;
    }
}

/// A connection. Its client keeps it open between requests.
pub struct Session<'a> {
    client: Client,
    shared: &'a Shared,
    /// Whether the operator has had enough; nobody asks while cleaning up.
    pub stop: Option<&'a AtomicBool>,
    /// Whom it plays.
    pub dialect: Dialect,
    /// Which phase it is.
    pub phase: Phase,
    /// What went over it.
    pub measures: Measures,
    /// What the server has done.
    pub effects: Vec<Effect>,
}

impl<'a> Session<'a> {
    /// A connection by this client.
    pub fn new(client: Client, shared: &'a Shared, dialect: Dialect) -> Session<'a> {
        Session {
            client,
            shared,
            stop: None,
            dialect,
            phase: Phase::Connect,
            measures: Measures::default(),
            effects: Vec::new(),
        }
    }

    /// Whether to leave off.
    pub fn ended(&self) -> Option<Trouble> {
        let interrupted = self.stop.is_some_and(|stop| stop.load(Ordering::Relaxed));
        interrupted.then_some(Trouble::Interrupted)
    }

    /// Asks once, whatever comes.
    pub fn ask_once(&mut self, request: &Request) -> Result<Answer, scim_client::Trouble> {
        let begun = Instant::now();
        let answer = self
            .client
            .send(request.method, &request.path, request.body.as_ref());
        let micros = begun.elapsed().as_micros();
        self.measures
            .micros
            .push(u32::try_from(micros).unwrap_or(u32::MAX));
        answer
    }

    /// Asks until there is an answer that will not change by asking again. The answer to what was tried again may be about
    /// the first try; then the second value is true.
    pub fn ask(&mut self, request: &Request) -> Result<(Answer, bool), Trouble> {
        let (mut tries, mut waited) = (0, Duration::ZERO);
        loop {
            if let Some(trouble) = self.ended() {
                return Err(trouble);
            }
            let outcome = self.ask_once(request);
            let pause = match &outcome {
                Ok(answer) if answer.status == 429 => {
                    if waited >= PATIENCE {
                        return Err(Trouble::PutOff);
                    }
                    let pause = retry_after(answer).unwrap_or(Duration::from_secs(1));
                    self.measures.put_off += 1;
                    self.measures.waited += pause;
                    waited += pause;
                    pause
                }
                Ok(answer) if matches!(answer.status, 500 | 502..=504) => {
                    if tries >= RETRIES {
                        let failures = self.shared.failures.fetch_add(1, Ordering::Relaxed);
                        if failures + 1 >= FAILURES_MAX {
                            return Err(Trouble::Failing(said(answer)));
                        }
                        return outcome.map(|answer| (answer, true)).map_err(Trouble::from);
                    }
                    tries += 1;
                    self.measures.retried += 1;
                    retry_after(answer).unwrap_or(PAUSE * 2u32.pow(tries - 1))
                }
                Ok(answer) if matches!(answer.status, 401) => {
                    return Err(Trouble::Token(answer.status));
                }
                Ok(_) => {
                    self.shared.failures.store(0, Ordering::Relaxed);
                    return outcome
                        .map(|answer| (answer, tries > 0))
                        .map_err(Trouble::from);
                }
                Err(scim_client::Trouble::Unreachable(_)) if tries < RETRIES => {
                    tries += 1;
                    self.measures.retried += 1;
                    PAUSE * 2u32.pow(tries - 1)
                }
                Err(trouble) => return Err(trouble.clone().into()),
            };
            self.wait(pause);
        }
    }

    /// Sleeps, unless it's over.
    fn wait(&self, pause: Duration) {
        let end = Instant::now() + pause;
        while Instant::now() < end
            && self.ended().is_none()
            && !self.shared.over.load(Ordering::Relaxed)
        {
            let left = end.saturating_duration_since(Instant::now());
            thread::sleep(left.min(Duration::from_millis(50)));
        }
    }

    /// Keeps a mismatch.
    pub fn finding(
        &mut self,
        kind: Kind,
        about: &str,
        request: &Request,
        expected: impl Into<String>,
        found: impl Into<String>,
    ) {
        self.shared.ledger().add(Finding {
            kind,
            phase: self.phase,
            about: about.to_owned(),
            request: format!("{} {}", request.method, request.path),
            expected: expected.into(),
            found: found.into(),
        });
    }

    /// Keeps each of these.
    pub fn differences(&mut self, about: &str, request: &Request, differences: Vec<Difference>) {
        for (kind, expected, found) in differences {
            self.finding(kind, about, request, expected, found);
        }
    }

    /// Whether the status is one of these; else it's a mismatch.
    pub fn expect(&mut self, request: &Request, answer: &Answer, statuses: &[u16]) -> bool {
        if statuses.contains(&answer.status) {
            return true;
        }
        let expected: Vec<String> = statuses.iter().map(u16::to_string).collect();
        let mut expected = expected.join(" or ");
        if let Some(body) = &request.body {
            expected.push_str(&format!(" for {}", short(&body.to_string())));
        }
        let about = format!("{} {}", request.method, request.path);
        self.finding(Kind::Refused, &about, request, expected, said(answer));
        false
    }

    /// The resources of a list, and how many there are of all; `None` where it is no list, which is a mismatch.
    pub fn list(&mut self, request: &Request, answer: Answer) -> Option<(Vec<Value>, u64)> {
        if !self.expect(request, &answer, &[200]) {
            return None;
        }
        let mut list = answer.json.unwrap_or_default();
        let total = list["totalResults"].as_u64();
        let resources = match list["Resources"].take() {
            Value::Array(resources) => Some(resources),
            // An empty list needs none (RFC 7644 §3.4.2).
            Value::Null if total == Some(0) => Some(Vec::new()),
            _ => None,
        };
        match (resources, total) {
            (Some(resources), Some(total)) => Some((resources, total)),
            _ => {
                let expected = "a ListResponse with totalResults, a number, and Resources";
                let found = told(Some(&list));
                self.finding(Kind::Answer, &request.path, request, expected, found);
                None
            }
        }
    }
}

/// How long the server asks to wait: in seconds. A date is as good as nothing said.
fn retry_after(answer: &Answer) -> Option<Duration> {
    let seconds: u64 = answer.header("Retry-After")?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds).min(WAIT_MAX))
}

/// An answer in a line: its status, and the detail of a SCIM error (RFC 7644 §3.12).
pub fn said(answer: &Answer) -> String {
    let empty = Value::Null;
    let json = answer.json.as_ref().unwrap_or(&empty);
    let part = |name: &str| json[name].as_str().map(|text| format!(" {}", short(text)));
    let (sort, detail) = (part("scimType"), part("detail"));
    let body = match (&detail, answer.body.is_empty()) {
        (None, false) => Some(format!(
            " {}",
            short(&String::from_utf8_lossy(&answer.body))
        )),
        _ => None,
    };
    let texts = [Some(answer.status.to_string()), sort, detail, body];
    texts.into_iter().flatten().collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn answer(status: u16, headers: &[(&str, &str)], body: &str) -> Answer {
        let headers = headers.iter();
        Answer {
            status,
            headers: headers
                .map(|(name, value)| (name.to_string(), value.to_string()))
                .collect(),
            body: body.as_bytes().to_vec(),
            json: serde_json::from_str(body).ok(),
        }
    }

    #[test]
    fn a_wait_is_a_number_of_seconds_and_bounded() {
        let wait = |value| retry_after(&answer(429, &[("retry-after", value)], ""));
        assert_eq!(wait("2"), Some(Duration::from_secs(2)));
        assert_eq!(wait("86400"), Some(WAIT_MAX));
        assert_eq!(wait("Wed, 21 Oct 2026 07:28:00 GMT"), None);
        assert_eq!(retry_after(&answer(429, &[], "")), None);
    }

    #[test]
    fn a_refusal_is_told_in_its_words() {
        let body = json!({"scimType": "invalidValue", "detail": "title is no text"}).to_string();
        assert_eq!(
            said(&answer(400, &[], &body)),
            "400 invalidValue title is no text"
        );
        assert_eq!(
            said(&answer(502, &[], "<h1>Bad Gateway</h1>")),
            "502 <h1>Bad Gateway</h1>"
        );
        assert_eq!(said(&answer(204, &[], "")), "204");
    }
}
