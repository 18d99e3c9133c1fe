//! The provisioning log's words: what a request did, said for an administrator; and what the log never shows.

use serde_json::Value;

use super::membership::Delta;
use crate::scim::message::{self, SearchRequest};
use crate::scim::resource;
use crate::scim::schema::Kind;
use crate::store::resources::Stored;

/// What stands in the log for a secret.
const MASK: &str = "***";

/// A change's name in the event feed.
pub(super) fn created(kind: Kind) -> &'static str {
    match kind {
        Kind::User => "user.created",
        Kind::Group => "team.created",
    }
}

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
pub(super) fn subject(stored: &Stored) -> String {
    let name = resource::name_of(&stored.document, stored.kind.resource_type());
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
pub(super) fn change(before: &Stored, after: &Stored, delta: &Delta) -> String {
    let mut parts = vec![];
    let who = subject(before);
    let mut attributes = changed_attributes(before, after);
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

/// The top-level attributes whose values differ.
fn changed_attributes<'a>(before: &'a Stored, after: &'a Stored) -> Vec<&'a str> {
    let mut names: Vec<&str> = before
        .document
        .keys()
        .chain(after.document.keys())
        .map(String::as_str)
        .collect();
    names.sort_unstable();
    names.dedup();
    names.retain(|name| before.document.get(*name) != after.document.get(*name));
    names
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

/// What a refused request tried.
pub(super) fn refused(method: &str, target: &str) -> String {
    let path = target.split('?').next().unwrap_or_default();
    let what = if path.contains("/Groups") {
        "team"
    } else if path.contains("/Users") {
        "user"
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

/// Path and query as the log shows them: a filter may name a password, and a confused client its token.
pub(super) fn masked_target(target: &str) -> String {
    match target.split_once('?') {
        Some((path, query)) if query.to_ascii_lowercase().contains("password") => {
            format!("{path}?{MASK}")
        }
        _ => masked_tokens(target),
    }
}

/// A request's body as the log shows it: no password, no token.
pub(super) fn masked_body(body: &str) -> String {
    // `\u` could spell the word in escapes.
    if !body.to_ascii_lowercase().contains("password") && !body.contains("\\u") {
        return masked_tokens(body);
    }
    match message::parse_json(body.as_bytes()) {
        Ok(mut value) => {
            mask_passwords(&mut value);
            masked_tokens(&value.to_string())
        }
        Err(_) => "(not kept: it is not JSON and speaks of a password)".to_owned(),
    }
}

fn mask_passwords(value: &mut Value) {
    match value {
        Value::Object(object) => {
            // A PATCH operation on the password carries it under "value".
            let names_password = object
                .get("path")
                .and_then(Value::as_str)
                .is_some_and(is_password);
            for (name, value) in object.iter_mut() {
                if is_password(name) || (names_password && name == "value") {
                    *value = MASK.into();
                } else {
                    mask_passwords(value);
                }
            }
        }
        Value::Array(values) => values.iter_mut().for_each(mask_passwords),
        _ => {}
    }
}

/// `password`, also behind a URN.
fn is_password(name: &str) -> bool {
    name.rsplit([':', '.'])
        .next()
        .is_some_and(|last| last.eq_ignore_ascii_case("password"))
}

/// `text` with what follows each token prefix (`rcs_`, `rca_`) hidden.
fn masked_tokens(text: &str) -> String {
    let mut masked = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = ["rcs_", "rca_"]
        .iter()
        .filter_map(|prefix| rest.find(prefix))
        .min()
    {
        let (before, token) = rest.split_at(at);
        let end = token
            .find(|c: char| !c.is_ascii_alphanumeric() && c != '_' && c != '-')
            .unwrap_or(token.len());
        masked.push_str(before);
        masked.push_str(&token[..4]);
        masked.push_str(MASK);
        rest = &token[end..];
    }
    masked.push_str(rest);
    masked
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hides_passwords_wherever_a_client_puts_them() {
        for (body, shown) in [
            (
                r#"{"userName":"a","password":"t0p"}"#,
                r#"{"password":"***","userName":"a"}"#,
            ),
            (
                r#"{"Operations":[{"op":"replace","path":"password","value":"t0p"}]}"#,
                r#"{"Operations":[{"op":"replace","path":"password","value":"***"}]}"#,
            ),
            (
                r#"{"Operations":[{"op":"replace","value":{"PassWord":"t0p"}}]}"#,
                r#"{"Operations":[{"op":"replace","value":{"PassWord":"***"}}]}"#,
            ),
            (r#"{"pass\u0077ord":"t0p"}"#, r#"{"password":"***"}"#),
            (r#"{"userName":"a"}"#, r#"{"userName":"a"}"#),
        ] {
            assert_eq!(masked_body(body), shown);
        }
        assert!(
            !masked_body(r#"{"password":"t0p","#).contains("t0p"),
            "also where the JSON is cut short"
        );
    }

    #[test]
    fn hides_tokens_and_password_filters_in_targets() {
        assert_eq!(
            masked_target("/scim/v2/Users?t=rcs_AbC-1_2&x=1"),
            "/scim/v2/Users?t=rcs_***&x=1"
        );
        assert_eq!(
            masked_target("/scim/v2/Users?filter=password+eq+%22x%22"),
            "/scim/v2/Users?***"
        );
        assert_eq!(
            masked_target("/scim/v2/Users?startIndex=2"),
            "/scim/v2/Users?startIndex=2"
        );
    }
}
