//! The values of a multi-valued attribute, and what is true of all such lists (RFC 7643 §2.4): no value is in one twice,
//! and at most one is primary.

use std::collections::HashMap;

use serde_json::{Map, Value};

use super::merge;
use crate::scim::filter::{CompareOp, Filter};
use crate::scim::schema::Attribute;

/// Adds `new` to `values`: a value of the same type and value is merged into the one that is there, and a primary one
/// takes over from the others.
pub(in crate::scim) fn append(values: &mut Vec<Value>, new: Vec<Value>) {
    let first = values.len();
    values.extend(new);
    let added: Vec<usize> = (first..values.len()).collect();
    settle(values, &added);
}

/// Makes `values` a list again after an operation has changed those at `given`, which ascend, or put them there.
pub(super) fn settle(values: &mut Vec<Value>, given: &[usize]) {
    if values.len() > 1 {
        yield_primary(values, given);
        collapse(values, given);
    }
}

/// If one of the values at `given` is primary, it (the last of several) is the only one from now on (RFC 7644 §3.5.2).
fn yield_primary(values: &mut [Value], given: &[usize]) {
    let Some(&winner) = given
        .iter()
        .rev()
        .find(|&&at| values[at]["primary"] == true)
    else {
        return;
    };
    for (at, value) in values.iter_mut().enumerate() {
        if at != winner && value["primary"] == true {
            value["primary"] = false.into();
        }
    }
}

/// Merges values of the same `type` and `value` into the first of them (RFC 7643 §2.4: no pair more than once). What was
/// given just now counts more than what was there, wherever it stands.
fn collapse(values: &mut Vec<Value>, given: &[usize]) {
    let mut first_of: HashMap<String, usize> = HashMap::new();
    let mut kept: Vec<(Value, bool)> = Vec::with_capacity(values.len());
    for (at, mut value) in values.drain(..).enumerate() {
        let is_given = given.binary_search(&at).is_ok();
        let identity = identity(&value);
        let Some(&first) = first_of.get(&identity) else {
            first_of.insert(identity, kept.len());
            kept.push((value, is_given));
            continue;
        };
        let (present, was_given) = &mut kept[first];
        if *was_given && !is_given {
            std::mem::swap(present, &mut value);
        }
        *was_given |= is_given;
        if let (Value::Object(present), Value::Object(new)) = (present, &value) {
            merge(present, new);
        }
    }
    values.extend(kept.into_iter().map(|(value, _)| value));
}

/// In what a value is the same as another one: the pair of `type` and `value`, or all of it where it has no `value`.
fn identity(value: &Value) -> String {
    match value.get("value") {
        Some(inner) => {
            let kind = value["type"].as_str().unwrap_or_default();
            format!("{}\n{inner}", kind.to_ascii_lowercase())
        }
        None => value.to_string(),
    }
}

/// Whether `remove` with `value` means `present`: by `value`, and `type` where given; else by everything that is given.
pub(super) fn is_listed(present: &Value, value: Option<&Value>) -> bool {
    let means = |listed: &Value| match (present, listed) {
        (Value::Object(present), Value::Object(listed)) => {
            let by_value = listed.contains_key("value");
            listed
                .iter()
                .filter(|(key, _)| !by_value || *key == "value" || *key == "type")
                .all(|(key, value)| present.get(key) == Some(value))
        }
        _ => present == listed,
    };
    match value {
        Some(Value::Array(listed)) => listed.iter().any(means),
        Some(listed) => means(listed),
        None => false,
    }
}

/// The values of a list; one that isn't in a list is a list of one.
pub(super) fn list_of(value: &Value) -> Vec<Value> {
    match value {
        Value::Array(values) => values.clone(),
        value => vec![value.clone()],
    }
}

/// The sub-attributes that a conjunction of `eq` gives a value to; None for a filter of another form, or one that compares
/// with nothing: null, or an empty text, which no value has.
pub(super) fn described(filter: &Filter, attribute: &Attribute) -> Option<Map<String, Value>> {
    match filter {
        Filter::And(left, right) => {
            let mut element = described(left, attribute)?;
            for (name, value) in described(right, attribute)? {
                if element
                    .insert(name, value.clone())
                    .is_some_and(|other| other != value)
                {
                    return None;
                }
            }
            Some(element)
        }
        Filter::Compare {
            attr,
            op: CompareOp::Eq,
            value,
        } if attr.sub_attr.is_none() && !value.is_null() && value != "" => {
            let sub = attribute.sub_attribute(&attr.name)?;
            Some(Map::from_iter([(sub.name.clone(), value.clone())]))
        }
        _ => None,
    }
}
