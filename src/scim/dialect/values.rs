//! A client's value, brought into the form that its attribute has in the schema.

use std::collections::HashSet;
use std::fmt::Display;

use serde_json::{Map, Value};

use crate::scim::ScimError;
use crate::scim::message::parse_json;
use crate::scim::patch;
use crate::scim::schema::{Attribute, Mutability, Returned, Type};
use crate::scim::validate::{MAX_VALUES, short_name, simple, too_many_values, wrong_type};

/// Reads `value` as a value of `attribute`; None if that leaves it unassigned. `place` is what a detail calls it, and
/// unknown sub-attributes are added to `ignored`.
///
/// # Errors
/// 400 `invalidValue` for a value of the wrong type, 400 `invalidSyntax` for a name that is there twice.
pub(super) fn read(
    attribute: &Attribute,
    value: Value,
    place: &dyn Display,
    ignored: &mut Vec<String>,
) -> Result<Option<Value>, ScimError> {
    if is_unassigned(&value) {
        return Ok(None);
    }
    if !attribute.multi_valued {
        return read_one(attribute, value, place, ignored);
    }
    // A single one where a list is expected is a list of one.
    let given = match value {
        Value::Array(values) => values,
        value => vec![value],
    };
    if given.len() > MAX_VALUES {
        return Err(too_many_values(place, given.len()));
    }
    let mut values = Vec::new();
    for value in given {
        values.extend(read_one(attribute, value, place, ignored)?);
    }
    let mut list = Vec::new();
    patch::append(&mut list, values);
    Ok((!list.is_empty()).then_some(Value::Array(list)))
}

/// Reads one value: of a single-valued attribute, or one element of a multi-valued one.
pub(super) fn read_one(
    attribute: &Attribute,
    value: Value,
    place: &dyn Display,
    ignored: &mut Vec<String>,
) -> Result<Option<Value>, ScimError> {
    if is_unassigned(&value) {
        return Ok(None);
    }
    let value = unwrapped(attribute, value);
    if attribute.data_type != Type::Complex {
        let value = boolean(attribute, value);
        simple(attribute.data_type, &value, place).map_err(|refusal| match attribute.returned {
            // The refusal has what was sent in it, and goes into the log.
            Returned::Never => ScimError::invalid_value(format!(
                "{place} is not of the type that the schema says; what was sent is not repeated here"
            )),
            _ => refusal,
        })?;
        return Ok(Some(value));
    }
    let object = match value {
        Value::Object(object) => object,
        // Entra's `manager` and members are bare ids.
        Value::String(_) if attribute.sub_attribute("value").is_some() => {
            Map::from_iter([("value".to_owned(), value)])
        }
        value => return Err(wrong_type(place, &value, "an object")),
    };
    let object = read_object(attribute, object, place, ignored)?;
    let object = without_app_role(attribute, object);
    Ok((!object.is_empty()).then_some(Value::Object(object)))
}

/// RFC 7643 §2.5: null and an empty list are the same as nothing. Entra's "SCIM null update" test adds the empty string.
pub(super) fn is_unassigned(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(values) => values.is_empty(),
        Value::Object(members) => members.is_empty(),
        Value::Bool(_) | Value::Number(_) => false,
    }
}

/// Most names in one object of a client's.
const MAX_NAMES: usize = 1000;
/// So many are compared with each other faster than by a set.
const FEW_NAMES: usize = 32;
/// Longest name, in bytes.
const MAX_NAME_BYTES: usize = 1024;

/// Refuses an object with names that differ in nothing but case, for they are one attribute (RFC 7643 §2.1), and one with
/// more or longer names than anybody has attributes.
pub(in crate::scim) fn check_names(object: &Map<String, Value>) -> Result<(), ScimError> {
    if object.len() > MAX_NAMES {
        let found = object.len();
        return Err(ScimError::invalid_value(format!(
            "an object has {found} names where at most {MAX_NAMES} are allowed"
        )));
    }
    if let Some(key) = object.keys().find(|key| key.len() > MAX_NAME_BYTES) {
        let found = key.len();
        return Err(ScimError::invalid_value(format!(
            "a name has {found} bytes where at most {MAX_NAME_BYTES} are allowed"
        )));
    }
    let repeats = if object.len() <= FEW_NAMES {
        let keys: Vec<&String> = object.keys().collect();
        let is_before = |(at, key): &(usize, &&String)| {
            (keys[..*at].iter()).any(|other| other.eq_ignore_ascii_case(key))
        };
        let found = keys.iter().enumerate().find(is_before);
        found.map(|(_, key)| *key)
    } else {
        let mut seen = HashSet::new();
        (object.keys()).find(|key| !seen.insert(key.to_ascii_lowercase()))
    };
    repeats.map_or(Ok(()), |key| Err(repeated(key)))
}

/// The refusal of an attribute that has two values.
pub(super) fn repeated(name: &str) -> ScimError {
    ScimError::invalid_syntax(format!("{} is there twice", short_name(name)))
}

fn read_object(
    attribute: &Attribute,
    object: Map<String, Value>,
    place: &dyn Display,
    ignored: &mut Vec<String>,
) -> Result<Map<String, Value>, ScimError> {
    check_names(&object)?;
    let has_display = object.keys().any(|key| key.eq_ignore_ascii_case("display"));
    let mut read_members = Map::new();
    for (key, value) in object {
        // Entra's AppRoleAssignmentsComplex writes displayName for display.
        let is_alias = !has_display && key.eq_ignore_ascii_case("displayName");
        let known = attribute.sub_attribute(&key).or_else(|| {
            is_alias
                .then(|| attribute.sub_attribute("display"))
                .flatten()
        });
        match known {
            None if is_unassigned(&value) => {}
            None => ignored.push(format!("{place}.{}", short_name(&key))),
            Some(sub) if sub.mutability == Mutability::ReadOnly => {}
            Some(sub) => {
                let place = &format_args!("{place}.{}", sub.name);
                if let Some(value) = read(sub, value, place, ignored)? {
                    read_members.insert(sub.name.clone(), value);
                }
            }
        }
    }
    Ok(read_members)
}

/// `[X]` where one value is expected, and `{"value": X}` where a simple one is: Microsoft's old library sends
/// `[{"value": X}]` for whatever it is given.
fn unwrapped(attribute: &Attribute, value: Value) -> Value {
    let value = match value {
        Value::Array(mut values) if values.len() == 1 && !attribute.multi_valued => {
            values.remove(0)
        }
        value => value,
    };
    match value {
        Value::Object(mut object) if attribute.data_type != Type::Complex && object.len() == 1 => {
            match object.remove("value") {
                Some(value) => value,
                None => Value::Object(object),
            }
        }
        value => value,
    }
}

/// Entra sends "True" and "False" for booleans, and other spellings where an admin edited the expression. A "False" that
/// isn't read as false would leave a person signed in.
fn boolean(attribute: &Attribute, value: Value) -> Value {
    match &value {
        Value::String(text) if attribute.data_type == Type::Boolean => {
            spelled_boolean(text).map_or(value, Value::Bool)
        }
        _ => value,
    }
}

/// What `text` says as a boolean, in any case.
pub(super) fn spelled_boolean(text: &str) -> Option<bool> {
    if text.eq_ignore_ascii_case("true") {
        Some(true)
    } else if text.eq_ignore_ascii_case("false") {
        Some(false)
    } else {
        None
    }
}

/// Entra's PATCH of app roles has a JSON document inside a string: `{"id":"…","value":"25","displayName":"Role"}`.
fn without_app_role(attribute: &Attribute, mut object: Map<String, Value>) -> Map<String, Value> {
    // Once more where there is such a document inside it, so that what was read stays the same when it is sent back.
    while attribute.name == "roles"
        && let Some(Value::String(text)) = object.get("value")
        && text.trim_start().starts_with('{')
        && let Ok(Value::Object(mut role)) = parse_json(text.as_bytes())
        && let Some(value @ Value::String(_)) = role.remove("value")
        && !is_unassigned(&value)
    {
        object.insert("value".to_owned(), value);
        for name in ["displayName", "display"] {
            if let Some(text @ Value::String(_)) = role.remove(name)
                && !is_unassigned(&text)
            {
                object.insert("display".to_owned(), text);
            }
        }
    }
    object
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::scim::path::AttrPath;
    use crate::scim::schema::Kind;

    #[track_caller]
    fn reads(path: &str, value: Value, expected: Value) {
        let mut ignored = Vec::new();
        let path = AttrPath::parse(path).unwrap();
        let attribute = Kind::User.resource_type().resolve(&path).unwrap().leaf();
        let read = read(attribute, value, &attribute.name, &mut ignored)
            .unwrap()
            .unwrap_or(Value::Null);
        assert_eq!(read, expected);
        assert_eq!(ignored, Vec::<String>::new());
    }

    #[test]
    fn booleans_come_as_strings() {
        reads("active", json!("False"), json!(false));
        reads("active", json!("TRUE"), json!(true));
        reads("active", json!([{"value": "false"}]), json!(false));
        reads(
            "emails",
            json!({"value": "a", "primary": "True"}),
            json!([{"value": "a", "primary": true}]),
        );
        reads("title", json!("True"), json!("True"));
    }

    #[test]
    fn a_manager_comes_in_many_forms() {
        let manager = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:manager";
        reads(manager, json!("7"), json!({"value": "7"}));
        reads(manager, json!(["7"]), json!({"value": "7"}));
        reads(
            manager,
            json!([{"value": "7", "$ref": null}]),
            json!({"value": "7"}),
        );
        reads(
            manager,
            json!({"value": "7", "displayName": "Grace"}),
            json!({"value": "7"}),
        );
        reads(manager, json!({"value": "", "$ref": null}), json!(null));
        reads(manager, json!(""), json!(null));
    }

    #[test]
    fn app_roles_come_as_json_in_a_string() {
        let role = r#"{"id":"06b0","value":"25","displayName":"Role1234"}"#;
        reads(
            "roles",
            json!([{"value": role}]),
            json!([{"value": "25", "display": "Role1234"}]),
        );
        reads(
            "roles",
            json!([role]),
            json!([{"value": "25", "display": "Role1234"}]),
        );
        reads(
            "roles",
            json!([{"Value": r#"{"value":"{\"value\":\"25\"}"}"#}]),
            json!([{"value": "25"}]),
        );
        for kept in [r#"{"value":""}"#, r#"{"value":"\u0000"}"#] {
            reads("roles", json!([kept]), json!([{ "value": kept }]));
        }
        reads(
            "roles",
            json!([{"value": "{not json"}]),
            json!([{"value": "{not json"}]),
        );
        reads(
            "roles",
            json!([{"value": "25", "displayName": "R"}]),
            json!([{"value": "25", "display": "R"}]),
        );
        reads("emails", json!(["{}"]), json!([{"value": "{}"}]));
    }

    #[test]
    fn lists_lose_duplicates_and_second_primaries() {
        let given = json!([
            {"value": "a", "type": "work", "primary": true},
            {"value": "b", "type": "home", "primary": true},
            {"value": "a", "type": "WORK", "display": "A"},
            {"value": "", "type": null},
        ]);
        let expected = json!([
            {"value": "a", "type": "WORK", "display": "A", "primary": false},
            {"value": "b", "type": "home", "primary": true},
        ]);
        reads("emails", given, expected);
    }

    #[test]
    fn unknown_parts_are_named() {
        let mut ignored = Vec::new();
        let name = Kind::User.resource_type().attribute("name").unwrap();
        let read = read(
            name,
            json!({"GivenName": "Ada", "nick": "x"}),
            &"name",
            &mut ignored,
        )
        .unwrap();
        assert_eq!(read, Some(json!({"givenName": "Ada"})));
        assert_eq!(ignored, ["name.nick"]);
    }

    #[test]
    fn a_name_is_found_twice_among_few_and_among_many() {
        for count in [2, FEW_NAMES, FEW_NAMES + 1, MAX_NAMES - 1] {
            let name = |number: usize| (format!("name{number}"), Value::Null);
            let mut object: Map<_, _> = (0..count).map(name).collect();
            assert_eq!(check_names(&object), Ok(()));
            object.insert("NAME1".to_owned(), Value::Null);
            assert_eq!(check_names(&object).unwrap_err().status(), 400, "{count}");
        }
    }
}
