//! Passwords: which are good enough, their argon2id hashes, and setting a person's.

use std::cell::RefCell;
use std::mem::take;
use std::sync::{Condvar, LazyLock, Mutex, PoisonError};
use std::thread;

use argon2::password_hash::phc::{Output, ParamsString, PasswordHash, Salt};
use argon2::password_hash::{self, CustomizedPasswordHasher, PasswordVerifier, try_generate_salt};
use argon2::{Algorithm, Argon2, Block, Params, Version};
use serde_json::json;
use unicode_normalization::UnicodeNormalization;

use crate::error::{Doing, Error, Result};
use crate::store::events::{self, Event};
use crate::store::resources::Stored;
use crate::store::sessions::{self, Holder};
use crate::store::{TenantId, Tx, passwords};

/// Fewest characters of a password that somebody chooses here.
pub const MIN_CHARS: usize = 12;

/// Fewest characters of one that a provider pushes: it has a policy of its own, and Okta makes up ones of 8. This is the
/// least that NIST SP 800-63B allows.
pub const MIN_CHARS_PUSHED: usize = 8;

/// Most bytes of one, so that hashing has a bound.
const MAX_BYTES: usize = 1024;

/// How many are hashed at a time: each takes 19 MiB and 10 ms or so, and whoever tries passwords in numbers should wait, not
/// we swap.
pub static AT_ONCE: LazyLock<u64> =
    LazyLock::new(|| thread::available_parallelism().map_or(1, |cores| cores.get().min(4) as u64));

/// What a password for an unknown account is compared with, so that it takes as long as any other.
static NOBODY: LazyLock<String> = LazyLock::new(|| hash("nobody has this").unwrap_or_default());

/// Why a password is not good enough for the account of this name, as a sentence for who chose it; `None`: it is.
pub fn objection(password: &str, name: &str, min_chars: usize) -> Option<String> {
    let chars = password.chars().count();
    let name = name.split('@').next().unwrap_or_default();
    let folded = password.to_lowercase();
    let distinct: std::collections::HashSet<char> = folded.chars().collect();
    if chars < min_chars {
        Some(format!(
            "The password has {chars} characters; choose one with at least {min_chars}, such as four unrelated words."
        ))
    } else if password.len() > MAX_BYTES {
        Some("The password is longer than 1,024 bytes; choose a shorter one.".to_owned())
    } else if password.contains(char::is_control) {
        Some("The password has a control character in it; choose another one.".to_owned())
    } else if name.len() > 3 && folded.contains(&name.to_lowercase()) {
        Some("The password contains the name that it is for; choose another one.".to_owned())
    } else if distinct.len() < 5 || folded.starts_with("password") || folded.starts_with("123456") {
        Some(
            "The password is easy to guess; choose another one, such as four unrelated words."
                .to_owned(),
        )
    } else {
        None
    }
}

/// A password as it is hashed and compared: whichever way a keyboard composes its letters, and whichever of Unicode's
/// spaces it has (RFC 7644 §5: PRECIS, OpaqueString of RFC 8265 §4.2.2). Upper and lower case count.
fn prepared(password: &str) -> String {
    let spaced = password.chars().map(|c| match c.is_whitespace() {
        true if !c.is_ascii() => ' ',
        _ => c,
    });
    spaced.nfc().collect()
}

/// Who is hashing, in the order of asking.
struct Turns {
    drawn: u64,
    done: u64,
    /// Kept as long as anybody hashes, for whose turn comes next: fresh memory makes a hash half as long again.
    idle: Vec<Hasher>,
}

static TURNS: Mutex<Turns> = Mutex::new(Turns {
    drawn: 0,
    done: 0,
    idle: Vec::new(),
});
static TURN_IS_OVER: Condvar = Condvar::new();

/// Runs `hashing` once there is room for it: first come, first served, so that a request with a thousand passwords keeps
/// nobody from signing in.
fn in_turn<T>(hashing: impl FnOnce(&Hasher) -> T) -> T {
    /// Ends also where `hashing` panics.
    struct Turn(Hasher);
    impl Drop for Turn {
        fn drop(&mut self) {
            let mut turns = TURNS.lock().unwrap_or_else(PoisonError::into_inner);
            turns.done += 1;
            turns.idle.push(take(&mut self.0));
            if turns.done == turns.drawn {
                turns.idle.clear();
            }
            TURN_IS_OVER.notify_all();
        }
    }
    let mut turns = TURNS.lock().unwrap_or_else(PoisonError::into_inner);
    let own = turns.drawn;
    turns.drawn += 1;
    while own >= turns.done + *AT_ONCE {
        turns = TURN_IS_OVER
            .wait(turns)
            .unwrap_or_else(PoisonError::into_inner);
    }
    let turn = Turn(turns.idle.pop().unwrap_or_default());
    drop(turns);
    hashing(&turn.0)
}

/// Argon2 in memory that goes back to the system.
///
/// Left to itself, the crate asks for 19 MiB. The C library keeps what was as large as that for the thread's next hash, for up
/// to eight threads a core. Only what has more than 32 MiB is always the system's own; of that, what isn't touched costs nothing.
#[derive(Default)]
struct Hasher(RefCell<Vec<Block>>);

/// More blocks of memory than the C library would keep.
const BLOCKS: usize = 32 * 1024 * 1024 / Block::SIZE + 1;

impl CustomizedPasswordHasher<PasswordHash> for Hasher {
    type Params = Params;

    fn hash_password_customized(
        &self,
        password: &[u8],
        salt: &[u8],
        algorithm: Option<&str>,
        version: Option<u32>,
        params: Params,
    ) -> password_hash::Result<PasswordHash> {
        let algorithm = algorithm.map(Algorithm::try_from).transpose()?;
        let version = version.map(Version::try_from).transpose()?;
        let (algorithm, version) = (algorithm.unwrap_or_default(), version.unwrap_or_default());
        let mut memory = self.0.borrow_mut();
        if memory.capacity() < params.block_count() {
            *memory = Vec::with_capacity(params.block_count().max(BLOCKS));
        }
        memory.resize(params.block_count(), Block::default());
        let length = params.output_len().unwrap_or(Params::DEFAULT_OUTPUT_LEN);
        let mut output = [0; Output::MAX_LENGTH];
        let output = (output.get_mut(..length)).ok_or(password_hash::Error::OutputSize)?;
        Argon2::new(algorithm, version, params.clone()).hash_password_into_with_memory(
            password,
            salt,
            output,
            memory.as_mut_slice(),
        )?;
        Ok(PasswordHash {
            algorithm: algorithm.ident(),
            version: Some(version.into()),
            params: ParamsString::try_from(&params)?,
            salt: Some(Salt::new(salt)?),
            hash: Some(Output::new(output)?),
        })
    }
}

/// The argon2id hash of a password as a PHC string, with a random salt (RFC 9106; 19 MiB, 2 passes).
pub fn hash(password: &str) -> Result<String> {
    let password = prepared(password);
    let salt = try_generate_salt().doing("making a salt")?;
    match in_turn(|hasher| {
        hasher.hash_password_with_params(password.as_bytes(), &salt, Params::default())
    }) {
        Ok(hash) => Ok(hash.to_string()),
        Err(error) => Err::<String, _>(error.to_string()).doing("hashing a password"),
    }
}

/// Whether `password` is the one behind `stored`; with `None`, no password is, and it takes as long to say so.
pub fn verify(password: &str, stored: Option<&str>) -> Result<bool> {
    if password.len() > MAX_BYTES {
        return Ok(false);
    }
    let nobody = &*NOBODY;
    let parsed = PasswordHash::new(stored.unwrap_or(nobody)).map_err(|error| Error::Internal {
        doing: "reading a password's hash",
        source: error.to_string().into(),
    })?;
    let password = prepared(password);
    let matches = in_turn(|hasher| hasher.verify_password(password.as_bytes(), &parsed).is_ok());
    Ok(matches && stored.is_some())
}

/// Gives a person the password behind `hash`, or none, and ends their sessions but for `except`. Without an effect where it
/// is that already.
pub fn set(
    tx: &Tx<'_>,
    tenant: TenantId,
    actor: &str,
    person: &Stored,
    hash: Option<&str>,
    except: Option<i64>,
) -> Result<()> {
    if passwords::get(tx, tenant, person.row)?.as_deref() == hash {
        return Ok(());
    }
    passwords::set(tx, tenant, person.row, hash)?;
    sessions::end_all(tx, tenant, &Holder::Person(person.row), except)?;
    let after = json!({ "password": if hash.is_some() { "set" } else { "none" } });
    let event = Event {
        actor,
        kind: "user.password_changed",
        subject: &person.id,
        object: None,
        before: None,
        after: Some(&after),
    };
    events::append(tx, tenant, &event)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use argon2::PasswordHasher;

    use super::*;

    #[test]
    fn a_password_matches_its_hash_alone() {
        let stored = hash("four unrelated words").unwrap();
        assert!(
            stored.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"),
            "{stored}"
        );
        assert_ne!(stored, hash("four unrelated words").unwrap(), "salted");
        assert!(verify("four unrelated words", Some(&stored)).unwrap());
        assert!(!verify("four unrelated word", Some(&stored)).unwrap());
        assert!(!verify("nobody has this", None).unwrap());
        assert!(verify("x", Some("plain")).is_err());
    }

    #[test]
    fn memory_that_was_used_before_changes_no_hash() {
        let hasher = Hasher::default();
        let hash = |params| {
            hasher.hash_password_with_params(b"four unrelated words", b"8 or more", params)
        };
        let first = hash(Params::default()).unwrap();
        let small = Params::new(64, 3, 2, None).unwrap();
        hash(small).unwrap();
        assert_eq!(hash(Params::default()).unwrap(), first);
        let theirs =
            Argon2::default().hash_password_with_salt(b"four unrelated words", b"8 or more");
        assert_eq!(theirs.unwrap(), first);
    }

    #[test]
    fn a_password_matches_however_its_letters_are_composed_but_not_in_another_case() {
        let stored = hash("Zoe\u{308}\u{a0}ist hier").unwrap();
        assert!(verify("Zo\u{eb} ist hier", Some(&stored)).unwrap());
        assert!(!verify("zo\u{eb} ist hier", Some(&stored)).unwrap());
    }

    #[test]
    fn so_many_are_hashed_at_once_and_no_more() {
        use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
        let (running, most) = (AtomicU64::new(0), AtomicU64::new(0));
        thread::scope(|scope| {
            for _ in 0..32 {
                scope.spawn(|| {
                    in_turn(|_| {
                        most.fetch_max(running.fetch_add(1, SeqCst) + 1, SeqCst);
                        thread::yield_now();
                        running.fetch_sub(1, SeqCst);
                    });
                });
            }
        });
        let most = most.into_inner();
        assert!((1..=*AT_ONCE).contains(&most), "{most}");
        let failed = thread::spawn(|| in_turn(|_| panic!("on purpose"))).join();
        assert!(failed.is_err());
        assert_eq!(in_turn(|_| 7), 7, "a panic ends its turn");
    }

    #[test]
    fn weak_passwords_are_told_why() {
        for (password, word) in [
            ("short", "5 characters"),
            ("aaaaaaaaaaaaaaaa", "easy to guess"),
            ("Password1234567", "easy to guess"),
            ("my-ana.lovelace-1", "contains the name"),
            ("two\u{7}bells in a row", "control character"),
        ] {
            let objection = objection(password, "Ana.Lovelace@example.org", MIN_CHARS).unwrap();
            assert!(objection.contains(word), "{objection}");
        }
        let judge = |password: &str, min_chars| objection(password, "ana@example.org", min_chars);
        assert_eq!(judge("four unrelated words", MIN_CHARS), None);
        assert_eq!(judge("пароль из слов", MIN_CHARS), None);
        assert!(judge(&"long words ".repeat(200), MIN_CHARS).is_some());
        // What Okta makes up, and the one of RFC 7643 §8.2.
        for pushed in ["1mz050nq", "t1meMa$heen"] {
            assert_eq!(judge(pushed, MIN_CHARS_PUSHED), None);
            assert!(judge(pushed, MIN_CHARS).is_some());
        }
    }
}
