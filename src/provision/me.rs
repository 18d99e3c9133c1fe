//! What a person may do to their own user at `/Me` (RFC 7644 §3.11).
//!
//! Everything about them can be read. What identifies them, gives them something or is their organisation's word is not
//! theirs to change: names, addresses by which apps know people, `active`, roles, extensions. A token that is made for the
//! whole user may do what a provider may.

use crate::error::Result;
use crate::scim::ScimError;
use crate::scim::resource::{Document, differences};
use crate::store::resources::Stored;

use super::Call;

/// Attributes that nothing follows from, beside the password.
const HARMLESS: [&str; 9] = [
    "nickName",
    "profileUrl",
    "preferredLanguage",
    "locale",
    "timezone",
    "phoneNumbers",
    "ims",
    "photos",
    "addresses",
];

/// Whose token a request shows, where it is a user's own.
#[derive(Clone, Debug)]
pub struct Me {
    /// The user's id.
    pub id: String,
    /// Whether it may do to them whatever a provider may.
    pub whole: bool,
}

/// Whether the request is one of a person who may change what is harmless alone.
fn is_held(call: &Call) -> bool {
    call.me.as_ref().is_some_and(|me| !me.whole)
}

/// What a person's PUT leaves out and may not change stays as it is.
pub(super) fn keep(call: &Call, document: &mut Document, before: &Document) {
    if !is_held(call) {
        return;
    }
    for (name, value) in before {
        if !HARMLESS.contains(&name.as_str()) && !document.contains_key(name) {
            document.insert(name.clone(), value.clone());
        }
    }
}

/// Refuses (403) a person's change of what is not theirs to change.
pub(super) fn check(call: &Call, before: &Document, after: &Document) -> Result<()> {
    if !is_held(call) {
        return Ok(());
    }
    let changed = differences(before, after);
    match changed.into_iter().find(|name| !HARMLESS.contains(name)) {
        Some(name) => Err(ScimError::forbidden(format!(
            "{name} can't be changed with this token; password, {} can",
            HARMLESS.join(", ")
        ))
        .into()),
        None => Ok(()),
    }
}

/// Refuses (403) that a person deletes themselves.
pub(super) fn check_deletion(call: &Call, user: &Stored) -> Result<()> {
    if is_held(call) {
        let id = &user.id;
        return Err(ScimError::forbidden(format!(
            "the user {id} can't be deleted with this token, but by the provider, or with a token for the whole user"
        ))
        .into());
    }
    Ok(())
}
