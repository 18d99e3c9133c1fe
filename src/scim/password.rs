//! A user's `password` (RFC 7643 §4.1.1), taken out of what a client sends: it is in no document, so that no event, no
//! answer and no filter can have it.

use std::fmt;

use serde_json::Value;

use super::patch::{Op, Operation};
use super::path::PatchPath;
use super::resource::Document;
use super::schema::Kind;

/// The attribute that is taken out.
pub(super) const PASSWORD: &str = "password";

/// What a client says of a user's password. `Debug` tells nothing of it.
#[derive(Clone, PartialEq, Eq)]
pub enum NewPassword {
    /// This one, in the clear.
    Plain(String),
    /// This one, as the hash that is kept of it.
    Hashed(String),
    /// None from now on.
    None,
}

impl fmt::Debug for NewPassword {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            NewPassword::Plain(_) => "Plain(…)",
            NewPassword::Hashed(_) => "Hashed(…)",
            NewPassword::None => "None",
        })
    }
}

/// Takes a user's password out of a document that was read from a body.
pub(super) fn take(document: &mut Document, kind: Kind) -> Option<NewPassword> {
    match (kind, document.remove(PASSWORD)?) {
        (Kind::User, Value::String(text)) => Some(NewPassword::Plain(text)),
        _ => None,
    }
}

/// Takes the operations on a user's password out of `operations`; the last of them counts.
pub fn split(operations: Vec<Operation>) -> (Vec<Operation>, Option<NewPassword>) {
    let is_password = |operation: &Operation| match &operation.path {
        PatchPath::Attribute { attr, filter: None } => {
            attr.urn.is_none() && attr.name == PASSWORD && attr.sub_attr.is_none()
        }
        _ => false,
    };
    let (password, rest): (Vec<_>, Vec<_>) = operations.into_iter().partition(is_password);
    let last = password.into_iter().next_back();
    let new = last.map(|operation| match (operation.op, operation.value) {
        (Op::Add | Op::Replace, Some(Value::String(text))) => NewPassword::Plain(text),
        _ => NewPassword::None,
    });
    (rest, new)
}
