//! References by bulkId in a body (RFC 7644 §3.7.2): where they may stand, and ids in their place.

use std::collections::BTreeSet;
use std::ops::Range;

use serde_json::{Map, Value};

/// What stands before a bulkId where it is used in place of an id.
pub(super) const REFERENCE: &str = "bulkId:";

/// Puts ids in the place of all references in `data`.
///
/// # Errors
/// Those of `id_of`.
pub fn resolve<E>(data: &mut Value, id_of: &impl Fn(&str) -> Result<String, E>) -> Result<(), E> {
    resolve_at(data, Place::Elsewhere, id_of)
}

fn resolve_at<E>(
    data: &mut Value,
    place: Place,
    id_of: &impl Fn(&str) -> Result<String, E>,
) -> Result<(), E> {
    match data {
        Value::String(text) => {
            // From the last to the first, for the places of those before it stay as they are.
            for (range, bulk_id) in place.references(text).into_iter().rev() {
                text.replace_range(range, &id_of(&bulk_id)?);
            }
            Ok(())
        }
        Value::Array(values) => values
            .iter_mut()
            .try_for_each(|value| resolve_at(value, place, id_of)),
        Value::Object(members) => {
            let is_operation = is_operation(members);
            members
                .iter_mut()
                .try_for_each(|(key, value)| resolve_at(value, Place::of(key, is_operation), id_of))
        }
        _ => Ok(()),
    }
}

/// Where a text stands, which decides how it may refer.
#[derive(Clone, Copy)]
enum Place {
    /// The path of a PATCH operation: by values in its filter, as in `members[value eq "bulkId:x"]`.
    Path,
    /// `$ref`: a URL that ends in a reference, as in `../Groups/bulkId:x`.
    Ref,
    /// As the whole text.
    Elsewhere,
}

impl Place {
    fn of(key: &str, is_operation: bool) -> Place {
        match key.to_ascii_lowercase().as_str() {
            "path" if is_operation => Place::Path,
            "$ref" => Place::Ref,
            _ => Place::Elsewhere,
        }
    }

    /// The references in a text, in their order: each bulkId, and what the id takes the place of.
    fn references(self, text: &str) -> Vec<(Range<usize>, String)> {
        let whole = |start: usize| {
            let bulk_id = text[start..].strip_prefix(REFERENCE)?;
            Some((start..text.len(), bulk_id.to_owned()))
        };
        match self {
            Place::Elsewhere => whole(0).into_iter().collect(),
            Place::Ref => {
                let start = text.rfind('/').map_or(0, |slash| slash + 1);
                whole(start).or_else(|| whole(0)).into_iter().collect()
            }
            Place::Path => quoted(text)
                .into_iter()
                .filter_map(|(range, value)| {
                    Some((range, value.strip_prefix(REFERENCE)?.to_owned()))
                })
                .collect(),
        }
    }
}

fn is_operation(members: &Map<String, Value>) -> bool {
    members.keys().any(|key| key.eq_ignore_ascii_case("op"))
}

/// The JSON strings in a path: where each stands, without its quotes, and what it says.
fn quoted(path: &str) -> Vec<(Range<usize>, String)> {
    let mut found = Vec::new();
    let mut start = None;
    let mut escaped = false;
    for (at, c) in path.char_indices() {
        match (start, c) {
            (Some(_), _) if escaped => escaped = false,
            (Some(_), '\\') => escaped = true,
            (Some(from), '"') => {
                if let Ok(value) = serde_json::from_str(&path[from..=at]) {
                    found.push((from + 1..at, value));
                }
                start = None;
            }
            (None, '"') => start = Some(at),
            _ => {}
        }
    }
    found
}

/// Adds the bulkIds that `data` refers to.
pub(super) fn collect(data: &Value, found: &mut BTreeSet<String>) {
    collect_at(data, Place::Elsewhere, found);
}

fn collect_at(data: &Value, place: Place, found: &mut BTreeSet<String>) {
    match data {
        Value::String(text) => {
            found.extend(place.references(text).into_iter().map(|(_, id)| id));
        }
        Value::Array(values) => {
            (values.iter()).for_each(|value| collect_at(value, place, found));
        }
        Value::Object(members) => {
            let is_operation = is_operation(members);
            for (key, value) in members {
                collect_at(value, Place::of(key, is_operation), found);
            }
        }
        _ => {}
    }
}
