//! The `password` of a user (RFC 7643 §4.1.1): hashed before a transaction, for that takes long, and written inside it.

use std::sync::Mutex;
use std::{mem, thread};

use super::change::Change;
use super::{Call, Target};
use crate::error::{Error, Result};
use crate::manage::passwords::{self, AT_ONCE, MIN_CHARS_PUSHED};
use crate::scim::ScimError;
use crate::scim::password::NewPassword;
use crate::scim::resource::{self, Document};
use crate::scim::schema::Kind;
use crate::store::resources::{self, Stored};
use crate::store::{self, Snapshot, Store, Tx};

/// Hashes the password that a change has in the clear, if it has one.
///
/// A password that is the user's already is given the hash that is kept of it, so that sending it again changes nothing. A
/// rehearsal has no password: the log masks them.
///
/// Errors: 400 `invalidValue` that says why it is not good enough.
pub(super) fn hash(store: &Store, call: &Call, change: &mut Change) -> Result<()> {
    let Some((password, target, document)) = change.password() else {
        return Ok(());
    };
    let Some(NewPassword::Plain(text)) = password else {
        return Ok(());
    };
    let text = mem::take(text);
    if call.rehearsal.is_some() {
        *password = None;
        return Ok(());
    }
    let (kept, name) = match target {
        Some(target) => {
            let known = store.read(|snapshot| known(snapshot, call, target))?;
            known.map_or((None, None), |(hash, name)| (hash, Some(name)))
        }
        None => (None, None),
    };
    let name = document.map(name_of).or(name).unwrap_or_default();
    if let Some(objection) = passwords::objection(&text, &name, MIN_CHARS_PUSHED) {
        return Err(ScimError::invalid_value(objection).into());
    }
    *password = Some(NewPassword::Hashed(match kept {
        Some(kept) if passwords::verify(&text, Some(&kept))? => kept,
        _ => passwords::hash(&text)?,
    }));
    Ok(())
}

/// The same for many, several at a time; the results are in their order.
pub(super) fn hash_all(store: &Store, call: &Call, changes: Vec<&mut Change>) -> Vec<Result<()>> {
    let results: Vec<_> = changes.iter().map(|_| Mutex::new(Ok(()))).collect();
    let queue = Mutex::new(results.iter().zip(changes));
    let next = || queue.lock().ok()?.next();
    let work = || {
        while let Some((result, change)) = next() {
            let hashed = hash(store, call, change);
            if let Ok(mut result) = result.lock() {
                *result = hashed;
            }
        }
    };
    thread::scope(|scope| {
        for _ in 1..(*AT_ONCE).min(results.len() as u64) {
            // Where no thread can be started, the work is done all the same.
            let _ = thread::Builder::new().spawn_scoped(scope, work);
        }
        work();
    });
    let broken = |_| Error::Internal {
        doing: "hashing passwords",
        source: "a thread panicked".into(),
    };
    let taken = |result: Mutex<Result<()>>| result.into_inner().map_err(broken).flatten();
    results.into_iter().map(taken).collect()
}

/// The hash that is kept of a user's password, and their name.
fn known(
    snapshot: &Snapshot<'_>,
    call: &Call,
    target: &Target,
) -> Result<Option<(Option<String>, String)>> {
    let Some(stored) = resources::get(snapshot, call.tenant, target.kind, &target.id)? else {
        return Ok(None);
    };
    let hash = store::passwords::get(snapshot, call.tenant, stored.row)?;
    Ok(Some((hash, name_of(&stored.document))))
}

fn name_of(document: &Document) -> String {
    resource::name_of(document, Kind::User.resource_type()).to_owned()
}

/// `sent`, unless it is the user's password already.
pub(super) fn new(
    tx: &Tx<'_>,
    call: &Call,
    user: &Stored,
    sent: Option<NewPassword>,
) -> Result<Option<NewPassword>> {
    let Some(sent) = sent else { return Ok(None) };
    let kept = store::passwords::get(tx, call.tenant, user.row)?;
    let is_new = kept.as_deref() != hash_of(&sent)?;
    Ok(is_new.then_some(sent))
}

/// Writes it, with its event; the user's sessions end.
pub(super) fn write(tx: &Tx<'_>, call: &Call, user: &Stored, new: &NewPassword) -> Result<()> {
    passwords::set(tx, call.tenant, &call.actor(), user, hash_of(new)?, None)
}

fn hash_of(new: &NewPassword) -> Result<Option<&str>> {
    match new {
        NewPassword::Hashed(hash) => Ok(Some(hash)),
        NewPassword::None => Ok(None),
        NewPassword::Plain(_) => Err(Error::Internal {
            doing: "writing a password",
            source: "it is not hashed".into(),
        }),
    }
}
