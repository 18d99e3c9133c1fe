//! PATCH a second time, read from RFC 7644 §3.5.2 sentence by sentence and slow where that is simpler. Shares no code with
//! `scim::patch` and knows no schemas: an operation says which sort of attribute it is about.
//!
//! What the RFC leaves open is decided as `tests/data/patch` has it, with the reason beside it.

use serde_json::{Map, Value, json};

/// Either what is left, or the `scimType` of the refusal.
pub type Outcome<T> = Result<T, &'static str>;

/// A condition on a value of a list. Strings compare without case, as all of the core schema that stand in these tests.
#[derive(Clone, Debug)]
pub enum Condition {
    Text(&'static str, &'static str, &'static str),
    Primary(bool),
    Both(Box<Condition>, Box<Condition>),
    Either(Box<Condition>, Box<Condition>),
    Not(Box<Condition>),
}

/// What an operation is about.
#[derive(Clone, Debug)]
pub enum Target {
    /// A simple attribute, or a part of a complex one with a single value, as keys from the resource inwards.
    Simple(Vec<&'static str>),
    /// A complex attribute with a single value.
    Complex(Vec<&'static str>),
    /// A list of complex values: all, or those that fulfil the condition; whole or one part of each.
    List(&'static str, Option<Condition>, Option<&'static str>),
    /// An extension with all in it.
    Extension(&'static str),
}

#[derive(Clone, Debug)]
pub struct Operation {
    pub op: &'static str,
    pub target: Target,
    /// Null for `remove`.
    pub value: Value,
}

/// All operations in their order; nothing is changed where one fails ("SHALL be treated as atomic").
pub fn patch(before: &Value, operations: &[Operation]) -> Outcome<Value> {
    let mut resource = before.clone();
    for operation in operations {
        resource = step(resource, operation)?;
    }
    Ok(resource)
}

fn step(mut resource: Value, operation: &Operation) -> Outcome<Value> {
    let Operation { op, target, value } = operation;
    match target {
        // §3.5.2.2: "defined as a required attribute … mutability".
        Target::Simple(keys) if *op == "remove" && keys == &["userName"] => {
            return Err("mutability");
        }
        Target::Simple(keys) | Target::Complex(keys) if *op == "remove" => {
            take(&mut resource, keys);
        }
        // §3.5.2.1, §3.5.2.3: "the existing value is replaced", and added where there is none.
        Target::Simple(keys) => put(&mut resource, keys, value.clone()),
        // §3.5.2.1, §3.5.2.3: the sub-attributes "specified in the value parameter", and no others.
        Target::Complex(keys) => {
            for (part, value) in value.as_object().unwrap() {
                let keys = [keys.as_slice(), &[part.as_str()]].concat();
                put(&mut resource, &keys, value.clone());
            }
        }
        Target::Extension(urn) => {
            // "replace" leaves nothing of what was there: the object itself is the target.
            if *op != "add" {
                take(&mut resource, &[urn]);
            }
            for (name, value) in value.as_object().into_iter().flatten() {
                put(&mut resource, &[urn, name], value.clone());
            }
        }
        Target::List(name, condition, part) => {
            let values = take(&mut resource, &[name]);
            let values = values.as_array().cloned().unwrap_or_default();
            let values = list(values, op, condition.as_ref(), *part, value)?;
            // §3.5.2.2: without a value, "the attribute SHALL be considered unassigned".
            if !values.is_empty() {
                resource[name] = values.into();
            }
        }
    }
    Ok(resource)
}

/// A value of a list, and whether the operation has given it something.
type Marked = (Value, bool);

fn list(
    values: Vec<Value>,
    op: &str,
    condition: Option<&Condition>,
    part: Option<&str>,
    value: &Value,
) -> Outcome<Vec<Value>> {
    let selected = |value: &Value| condition.is_none_or(|condition| holds(condition, value));
    if op == "remove" {
        let left = values.into_iter().filter_map(|mut value| {
            if !selected(&value) {
                return Some(value);
            }
            value.as_object_mut().unwrap().remove(part?);
            // What is left says nothing: a label of nothing.
            let mut names = value.as_object().unwrap().keys();
            names
                .any(|name| name != "type" && name != "primary")
                .then_some(value)
        });
        return Ok(settled(left.map(|value| (value, false)).collect()));
    }
    let new: Vec<Value> = match (condition, part) {
        // "If the target location specifies a multi-valued attribute, a new value is added".
        (None, None) => value.as_array().unwrap().clone(),
        (None, Some("value")) if op == "add" => vec![json!({ "value": value })],
        _ => vec![],
    };
    if !new.is_empty() {
        let new = settled(new.into_iter().map(|value| (value, true)).collect());
        let kept = if op == "add" { values } else { vec![] };
        let kept = kept.into_iter().map(|value| (value, false));
        let new = new.into_iter().map(|value| (value, true));
        return Ok(settled(kept.chain(new).collect()));
    }
    let given = match part {
        Some(part) => json!({ part: value }),
        None => value.clone(),
    };
    let said = condition.map_or(Some(json!({})), said);
    if !values.iter().any(selected) {
        // §3.5.2.3 wants noTarget. Entra ID relies on the element being made, if the filter says what it is like.
        let element = said.map(|said| merged(said, &given));
        let element = element.filter(|element| condition.is_some() && selected(element));
        let element = (element.ok_or("noTarget")?, true);
        let values = values.into_iter().map(|value| (value, false));
        return Ok(settled(values.chain([element]).collect()));
    }
    let changed = values.into_iter().map(|value| {
        if !selected(&value) {
            return (value, false);
        }
        // §3.5.2.3: a record that a filter selects is replaced, but for what makes it that record; a part of it alone,
        // or what is added, leaves the rest.
        let is_replaced = op == "replace" && part.is_none();
        let rest = if is_replaced {
            said.clone().unwrap_or(json!({}))
        } else {
            value
        };
        (merged(rest, &given), true)
    });
    Ok(settled(changed.collect()))
}

/// The list as RFC 7643 §2.4 wants it: one primary value, and none twice by type and value. What the operation has just
/// said is what counts.
fn settled(mut values: Vec<Marked>) -> Vec<Value> {
    let is_primary = |(value, is_new): &Marked| *is_new && value["primary"] == true;
    if let Some(winner) = values.iter().rposition(is_primary) {
        for (index, (value, _)) in values.iter_mut().enumerate() {
            if index != winner && value["primary"] == true {
                value["primary"] = false.into();
            }
        }
    }
    let mut settled: Vec<Marked> = vec![];
    for (value, is_new) in values {
        let same = settled.iter_mut().find(|(it, _)| is_same(it, &value));
        match same {
            None => settled.push((value, is_new)),
            Some((first, true)) if !is_new => *first = merged(value, first),
            Some((first, was_new)) => {
                *first = merged(first.clone(), &value);
                *was_new |= is_new;
            }
        }
    }
    settled.into_iter().map(|(value, _)| value).collect()
}

fn is_same(one: &Value, other: &Value) -> bool {
    let kind = |value: &Value| value["type"].as_str().unwrap_or_default().to_lowercase();
    match (&one["value"], &other["value"]) {
        (Value::Null, _) | (_, Value::Null) => one == other,
        (value, same) => value == same && kind(one) == kind(other),
    }
}

/// What a condition says that its values are like: only equalities do, and only if they don't contradict each other.
fn said(condition: &Condition) -> Option<Value> {
    match condition {
        Condition::Text(part, "eq", text) => Some(json!({ *part: text })),
        Condition::Primary(primary) => Some(json!({ "primary": primary })),
        Condition::Both(one, other) => {
            let (one, other) = (said(one)?, said(other)?);
            let both = merged(one.clone(), &other);
            (merged(both.clone(), &one) == both).then_some(both)
        }
        _ => None,
    }
}

/// §3.4.2.2, table 3.
fn holds(condition: &Condition, value: &Value) -> bool {
    match condition {
        Condition::Text(part, op, text) => {
            let found = value[part].as_str().map(str::to_lowercase);
            let text = text.to_lowercase();
            match (*op, found) {
                ("ne", found) => found != Some(text),
                ("pr", found) => found.is_some(),
                (_, None) => false,
                ("eq", Some(found)) => found == text,
                ("co", Some(found)) => found.contains(&text),
                ("sw", Some(found)) => found.starts_with(&text),
                ("ew", Some(found)) => found.ends_with(&text),
                (op, _) => panic!("no such operator: {op}"),
            }
        }
        // RFC 7643 §2.4: where it isn't said, it is false.
        Condition::Primary(primary) => (value["primary"] == true) == *primary,
        Condition::Both(one, other) => holds(one, value) && holds(other, value),
        Condition::Either(one, other) => holds(one, value) || holds(other, value),
        Condition::Not(inner) => !holds(inner, value),
    }
}

fn merged(mut value: Value, given: &Value) -> Value {
    let given = given.as_object().unwrap().clone();
    value.as_object_mut().unwrap().extend(given);
    value
}

fn put(resource: &mut Value, keys: &[&str], value: Value) {
    let [outer @ .., last] = keys else {
        unreachable!()
    };
    let mut object = resource;
    for key in outer {
        object = &mut object[key];
    }
    object[last] = value;
}

/// Takes out what is at `keys`, and what is empty without it.
fn take(resource: &mut Value, keys: &[&str]) -> Value {
    let Some(object) = resource.as_object_mut() else {
        return Value::Null;
    };
    match keys {
        [last] => object.remove(*last).unwrap_or_default(),
        [first, inner @ ..] => {
            let taken = object
                .get_mut(*first)
                .map(|value| take(value, inner))
                .unwrap_or_default();
            object.retain(|key, value| key != first || *value != Value::Object(Map::new()));
            taken
        }
        [] => Value::Null,
    }
}
