//! How often each token may ask, and how often each address may set out for a provider.
//!
//! A bucket for each: it holds so many requests at most, and fills at an even rate. In memory, since a restart harms nobody.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The least that may be set for tokens: Entra ID sends 25 requests a second.
pub const LEAST: u32 = 25;

/// Buckets that are remembered. One that is full again is as good as none.
const REMEMBERED: usize = 10_000;

/// How often a token's refusals are worth a line in its tenant's log.
const TELL_EVERY: Duration = Duration::from_secs(1);

/// What each of them may ask, and what it has asked of late: tokens by their row, visitors by their address.
#[derive(Debug)]
pub struct Rate<K> {
    per_second: f64,
    burst: f64,
    buckets: Mutex<HashMap<K, Bucket>>,
}

#[derive(Clone, Copy, Debug)]
struct Bucket {
    left: f64,
    at: Instant,
    told: Option<Instant>,
}

impl Bucket {
    fn fill<K>(&mut self, rate: &Rate<K>, now: Instant) {
        let since = now.saturating_duration_since(self.at).as_secs_f64();
        self.left = (self.left + since * rate.per_second).min(rate.burst);
        // Requests come here in another order than they began.
        self.at = self.at.max(now);
    }
}

/// A request too many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TooMany {
    /// Whether the log should tell: not of each, for there may be thousands in a second.
    pub(super) is_worth_a_line: bool,
}

impl<K: Copy + Eq + Hash> Rate<K> {
    /// So many requests a second for each, and `burst` at once after a rest.
    pub fn new(per_second: u32, burst: u32) -> Rate<K> {
        Rate {
            per_second: per_second.into(),
            burst: burst.into(),
            buckets: Mutex::default(),
        }
    }

    /// Requests a second, in words for who sent too many.
    pub(super) fn per_second(&self) -> u64 {
        self.per_second as u64
    }

    /// Counts a request.
    pub(super) fn take(&self, who: K, now: Instant) -> Result<(), TooMany> {
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        if buckets.len() >= REMEMBERED && !buckets.contains_key(&who) {
            buckets.retain(|_, bucket| {
                bucket.fill(self, now);
                bucket.left < self.burst
            });
        }
        let bucket = buckets.entry(who).or_insert(Bucket {
            left: self.burst,
            at: now,
            told: None,
        });
        bucket.fill(self, now);
        if bucket.left >= 1.0 {
            bucket.left -= 1.0;
            return Ok(());
        }
        let is_worth_a_line = bucket
            .told
            .is_none_or(|told| now.saturating_duration_since(told) >= TELL_EVERY);
        if is_worth_a_line {
            bucket.told = Some(now);
        }
        Err(TooMany { is_worth_a_line })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// How many of a thousand requests at once are served.
    fn served(rate: &Rate<i64>, token: i64, now: Instant) -> usize {
        (0..1000).filter(|_| rate.take(token, now).is_ok()).count()
    }

    #[test]
    fn a_burst_is_served_and_then_so_many_a_second() {
        let (rate, start) = (Rate::new(100, 400), Instant::now());
        assert_eq!(served(&rate, 1, start), 400);
        assert_eq!(served(&rate, 1, start + SECOND / 2), 50);
        assert_eq!(served(&rate, 2, start), 400, "each token has its own");
        assert_eq!(served(&rate, 1, start + SECOND * 3600), 400);
        assert_eq!(served(&rate, 1, start), 0, "an earlier one changes nothing");
    }

    #[test]
    fn one_refusal_a_second_is_worth_a_line() {
        let (rate, start) = (Rate::new(25, 25), Instant::now());
        let lines = |now| {
            (0..1000)
                .filter(|_| matches!(rate.take(1, now), Err(refused) if refused.is_worth_a_line))
                .count()
        };
        assert_eq!(
            (lines(start), lines(start), lines(start + SECOND)),
            (1, 0, 1)
        );
    }

    #[test]
    fn full_buckets_are_forgotten() {
        let (rate, start) = (Rate::new(25, 25), Instant::now());
        for token in 0..3 * REMEMBERED as i64 {
            let now = start + SECOND * u32::try_from(token).unwrap();
            rate.take(token, now).unwrap();
        }
        assert!(rate.buckets.lock().unwrap().len() <= REMEMBERED);
    }
}
