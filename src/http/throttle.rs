//! Slows down who tries passwords and tokens.
//!
//! In memory: a restart forgets, and needs somebody at the machine. A try counts before it is answered, so that a hundred
//! at once gain nothing.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;

use super::register::subscriber;

/// Most accounts and addresses that are remembered.
const REMEMBERED: usize = 10_000;

/// How long after its last try somebody is forgotten.
const FORGOTTEN: Duration = Duration::from_secs(15 * 60);

/// Whose tries are counted.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Key {
    /// Those for an account, by its folded e-mail address, whether there is one or not.
    Account(String),
    /// Those of passwords from an address.
    Address(IpAddr),
    /// Tokens from an address that there never were.
    Guess(IpAddr),
}

impl Key {
    /// Passwords from an address.
    pub(super) fn address(address: IpAddr) -> Key {
        Key::Address(subscriber(address))
    }

    /// Unknown tokens from an address.
    pub(super) fn guess(address: IpAddr) -> Key {
        Key::Guess(subscriber(address))
    }

    /// How many tries are free, and the longest wait after those. An account's is short: whoever tries it must not be
    /// able to keep its owner out.
    fn limits(&self) -> (u32, u64) {
        match self {
            Key::Account(_) => (5, 60),
            Key::Address(_) => (20, 15 * 60),
            // A token can't be guessed; this keeps a client with a wrong one from asking for ever. Many clients may
            // share an address, as behind a provider's gateway, so it takes a while to begin and is short.
            Key::Guess(_) => (100, 60),
        }
    }
}

#[derive(Clone, Copy, Debug)]
struct Tries {
    count: u32,
    last: Timestamp,
    until: Timestamp,
}

/// The tries of late.
#[derive(Debug, Default)]
pub struct Throttle(Mutex<HashMap<Key, Tries>>);

impl Throttle {
    /// Counts a try under all `keys`. `Err` says how long to wait where there were too many; then none is counted.
    pub(super) fn attempt(&self, keys: &[Key], now: Timestamp) -> Result<(), Duration> {
        let mut tries = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let wait = keys
            .iter()
            .filter_map(|key| tries.get(key))
            .filter_map(|tries| Duration::try_from(tries.until.duration_since(now)).ok())
            .max()
            .unwrap_or_default();
        if !wait.is_zero() {
            return Err(wait);
        }
        if tries.len() + keys.len() > REMEMBERED {
            tries.retain(|_, tries| tries.last + FORGOTTEN > now);
        }
        if tries.len() + keys.len() > REMEMBERED {
            let oldest = tries.iter().min_by_key(|(_, tries)| tries.last);
            if let Some(key) = oldest.map(|(key, _)| key.clone()) {
                tries.remove(&key);
            }
        }
        for key in keys {
            let (free, longest) = key.limits();
            let entry = tries.entry(key.clone()).or_insert(Tries {
                count: 0,
                last: now,
                until: now,
            });
            if entry.last + FORGOTTEN <= now {
                entry.count = 0;
            }
            entry.count += 1;
            entry.last = now;
            let beyond = entry.count.saturating_sub(free);
            if beyond > 0 {
                let seconds = 1_u64
                    .checked_shl(beyond - 1)
                    .unwrap_or(longest)
                    .min(longest);
                entry.until = now + Duration::from_secs(seconds);
            }
        }
        Ok(())
    }

    /// Forgets the tries for an account: this one was right. To its address it gives back this one alone: else a whole
    /// office would wait after its twentieth sign-in, or whoever has an account could try others without end.
    pub(super) fn succeeded(&self, account: &Key, address: &Key) {
        let mut tries = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        tries.remove(account);
        if let Some(of_address) = tries.get_mut(address) {
            of_address.count = of_address.count.saturating_sub(1);
            if of_address.count <= address.limits().0 {
                of_address.until = of_address.last;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_700_000_000 + second).unwrap()
    }

    #[test]
    fn an_account_waits_longer_after_each_try_beyond_five_and_a_minute_at_most() {
        let (throttle, keys) = (Throttle::default(), [Key::Account("ana".to_owned())]);
        for _ in 0..6 {
            throttle.attempt(&keys, at(0)).unwrap();
        }
        assert_eq!(throttle.attempt(&keys, at(0)), Err(Duration::from_secs(1)));
        let mut now = 1;
        for expected in [2, 4, 8, 16, 32, 60, 60] {
            throttle.attempt(&keys, at(now)).unwrap();
            assert_eq!(
                throttle.attempt(&keys, at(now)),
                Err(Duration::from_secs(expected))
            );
            now += expected as i64;
        }
        throttle.succeeded(&keys[0], &Key::Address([192, 0, 2, 1].into()));
        throttle.attempt(&keys, at(now)).unwrap();
        throttle.attempt(&keys, at(now)).unwrap();
    }

    #[test]
    fn an_office_signs_in_from_one_address_unless_somebody_there_guesses() {
        let throttle = Throttle::default();
        let address = Key::Address([192, 0, 2, 1].into());
        let sign_in = |name: u32| {
            let account = Key::Account(name.to_string());
            throttle
                .attempt(&[account.clone(), address.clone()], at(0))
                .map(|()| throttle.succeeded(&account, &address))
        };
        for name in 0..100 {
            sign_in(name).unwrap();
        }
        // One's own right password gives nothing back of the tries for others.
        for name in 100..121 {
            let wrong = [Key::Account(name.to_string()), address.clone()];
            throttle.attempt(&wrong, at(0)).unwrap();
        }
        assert_eq!(sign_in(0), Err(Duration::from_secs(1)));
    }

    #[test]
    fn an_address_is_slowed_over_all_accounts_and_forgotten_after_a_quarter_of_an_hour() {
        let throttle = Throttle::default();
        let address = Key::Address([192, 0, 2, 1].into());
        let attempt = |name: u32, second| {
            throttle.attempt(
                &[Key::Account(name.to_string()), address.clone()],
                at(second),
            )
        };
        for name in 0..21 {
            attempt(name, 0).unwrap();
        }
        assert_eq!(attempt(99, 0), Err(Duration::from_secs(1)));
        attempt(99, 20 * 60).unwrap();
        attempt(98, 20 * 60).unwrap();
    }

    #[test]
    fn memory_is_bounded() {
        let throttle = Throttle::default();
        for name in 0..REMEMBERED + 50 {
            let key = Key::Account(name.to_string());
            throttle.attempt(&[key], at(name as i64 / 100)).unwrap();
        }
        assert!(throttle.0.lock().unwrap().len() <= REMEMBERED);
    }
}
