//! The provisioning log's words: what a request did, said for an administrator.

use serde_json::Value;

use super::membership::Delta;
use crate::scim::message::SearchRequest;
use crate::scim::resource::{self, Content};
use crate::scim::schema::Kind;
use crate::store::resources::Stored;

/// A deletion's name in the event feed.
pub(super) fn deleted(kind: Kind) -> &'static str {
    match kind {
        Kind::User => "user.deleted",
        Kind::Group => "team.deleted",
    }
}

/// The name in the event feed of what happened between two versions.
pub(super) fn changed(before: &Stored, after: &Stored) -> &'static str {
    match (before.kind, is_active(before), is_active(after)) {
        (Kind::User, true, false) => "user.deactivated",
        (Kind::User, false, true) => "user.activated",
        (Kind::User, ..) => "user.changed",
        (Kind::Group, ..) => "team.changed",
    }
}

/// A user counts as active unless the client says otherwise (RFC 7643 §4.1.1).
fn is_active(stored: &Stored) -> bool {
    stored.document.get("active") != Some(&Value::Bool(false))
}

/// `user ana@contoso.example`, `team SRE`.
pub(super) fn subject<D: Content>(stored: &Stored<D>) -> String {
    let name = stored.document.member(stored.kind.name_attribute());
    let name = name.map(D::value);
    let name = name.as_deref().and_then(Value::as_str).unwrap_or_default();
    match stored.kind {
        Kind::User => format!("user {name}"),
        Kind::Group => format!("team {name}"),
    }
}

/// What a POST did: `created`, or `brought back` from the archive.
pub(super) fn creation(verb: &str, stored: &Stored, delta: &Delta) -> String {
    let mut words = format!("{verb} {}", subject(stored));
    if stored.kind == Kind::User && !is_active(stored) {
        words.push_str(", inactive");
    }
    if !delta.added.is_empty() {
        words.push_str(&format!(" with {}", members(delta.added.len())));
    }
    words
}

/// What a PUT or PATCH did.
pub(super) fn change(
    before: &Stored,
    after: &Stored,
    delta: &Delta,
    with_password: bool,
) -> String {
    let mut parts = vec![];
    let who = subject(before);
    let mut attributes = resource::differences(&before.document, &after.document);
    match changed(before, after) {
        "user.deactivated" => parts.push(format!("deactivated {who}")),
        "user.activated" => parts.push(format!("reactivated {who}")),
        _ => {}
    }
    attributes.retain(|name| *name != "active");
    let name = before.kind.name_attribute();
    if attributes.contains(&name) {
        attributes.retain(|attribute| *attribute != name);
        parts.push(format!("renamed {who} to {}", subject(after)));
    }
    if with_password {
        attributes.push("password");
    }
    if !attributes.is_empty() {
        parts.push(format!(
            "changed {} of {}",
            attributes.join(", "),
            subject(after)
        ));
    }
    if !delta.added.is_empty() {
        parts.push(format!(
            "added {} to {}",
            members(delta.added.len()),
            subject(after)
        ));
    }
    if !delta.removed.is_empty() {
        parts.push(format!(
            "removed {} from {}",
            members(delta.removed.len()),
            subject(after)
        ));
    }
    if parts.is_empty() {
        return format!("changed nothing of {who}: all of it was so already");
    }
    parts.join("; ")
}

fn members(count: usize) -> String {
    if count == 1 {
        "1 member".to_owned()
    } else {
        format!("{count} members")
    }
}

/// What a search asked and found.
pub(super) fn search(kinds: &[Kind], request: &SearchRequest, total: u64) -> String {
    let what = match kinds {
        [Kind::User] => "users",
        [Kind::Group] => "teams",
        _ => "users and teams",
    };
    match &request.filter {
        None => format!("listed {what}: {total} in all"),
        Some(filter) => format!("looked for {what} with {filter}: {total} found"),
    }
}

/// How a bulk request went, in numbers of operations. Each of them has said by itself what it did.
pub(super) fn bulk(done: usize, refused: usize, untried: usize) -> String {
    let mut words = format!("bulk request: {done} done");
    for (count, what) in [(refused, "refused"), (untried, "not tried")] {
        if count > 0 {
            words.push_str(&format!(", {count} {what}"));
        }
    }
    words
}

/// What a refused request tried.
pub(super) fn refused(method: &str, target: &str) -> String {
    let path = target.split('?').next().unwrap_or_default();
    let what = if path.contains("/Groups") {
        "team"
    } else if path.contains("/Users") || path.ends_with("/Me") {
        "user"
    } else if path.ends_with("/Bulk") {
        return "refused a bulk request".to_owned();
    } else {
        return "refused".to_owned();
    };
    match method {
        "POST" if path.ends_with("/.search") => format!("refused to search for {what}s"),
        "POST" => format!("refused to create a {what}"),
        "PUT" | "PATCH" => format!("refused to change a {what}"),
        "DELETE" => format!("refused to delete a {what}"),
        _ => format!("refused to read a {what}"),
    }
}
