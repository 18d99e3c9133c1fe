//! Passwords: which are good enough, and their argon2id hashes.

use std::sync::{LazyLock, Mutex, PoisonError};

use argon2::Argon2;
use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher, PasswordVerifier};

use crate::error::{Doing, Error, Result};

/// Fewest characters of a password.
pub const MIN_CHARS: usize = 12;

/// Most bytes of one, so that hashing has a bound.
const MAX_BYTES: usize = 1024;

/// One at a time: each takes 19 MiB and 10 ms or so, and whoever tries passwords in numbers should wait, not we swap.
static TURN: Mutex<()> = Mutex::new(());

/// What a password for an unknown account is compared with, so that it takes as long as any other.
static NOBODY: LazyLock<String> = LazyLock::new(|| hash("nobody has this").unwrap_or_default());

/// Why a password is not good enough, as a sentence for who chose it; `None`: it is.
pub fn objection(password: &str, email: &str) -> Option<String> {
    let chars = password.chars().count();
    let name = email.split('@').next().unwrap_or_default();
    let folded = password.to_lowercase();
    let distinct: std::collections::HashSet<char> = folded.chars().collect();
    if chars < MIN_CHARS {
        Some(format!(
            "The password has {chars} characters; choose one with at least {MIN_CHARS}, such as four unrelated words."
        ))
    } else if password.len() > MAX_BYTES {
        Some("The password is longer than 1,024 bytes; choose a shorter one.".to_owned())
    } else if name.len() > 3 && folded.contains(&name.to_lowercase()) {
        Some("The password contains the e-mail address; choose another one.".to_owned())
    } else if distinct.len() < 5 || folded.starts_with("password") || folded.starts_with("123456") {
        Some(
            "The password is easy to guess; choose another one, such as four unrelated words."
                .to_owned(),
        )
    } else {
        None
    }
}

/// The argon2id hash of a password as a PHC string, with a random salt (RFC 9106; 19 MiB, 2 passes).
pub fn hash(password: &str) -> Result<String> {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    match Argon2::default().hash_password(password.as_bytes()) {
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
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let matches = Argon2::default()
        .verify_password(password.as_bytes(), &parsed)
        .is_ok();
    Ok(matches && stored.is_some())
}

#[cfg(test)]
mod tests {
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
    fn weak_passwords_are_told_why() {
        for (password, word) in [
            ("short", "5 characters"),
            ("aaaaaaaaaaaaaaaa", "easy to guess"),
            ("Password1234567", "easy to guess"),
            ("my-ana.lovelace-1", "e-mail"),
        ] {
            let objection = objection(password, "Ana.Lovelace@example.org").unwrap();
            assert!(objection.contains(word), "{objection}");
        }
        assert_eq!(objection("four unrelated words", "ana@example.org"), None);
        assert_eq!(objection("пароль из слов", "ana@example.org"), None);
        assert!(objection(&"long words ".repeat(200), "ana@example.org").is_some());
    }
}
