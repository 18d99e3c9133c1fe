//! Whether a document is a valid resource (RFC 7643 §2, §7).
//!
//! Strict: what a client may write differently is put right in [`dialect`](super::dialect) first. `canonicalValues` are
//! suggestions (RFC 7643 §7) and aren't enforced, nor is the form of a `timezone` or a URI: a directory's odd value must
//! not keep a person out.

use std::fmt::Display;

use serde_json::Value;

use super::ScimError;
use super::date_time::instant;
use super::resource::{Document, is_urn};
use super::schema::{Attribute, Mutability, ResourceType, Type};

/// Longest string, in bytes. A photo's data URI or a certificate fits; the whole body has a limit of its own.
pub const MAX_STRING_BYTES: usize = 64 * 1024;
/// Most values of one multi-valued attribute. Members are rows and don't count.
pub const MAX_VALUES: usize = 1000;

/// Longest document as JSON, in bytes. Extensions that we have no schema of are bounded by nothing else.
pub const MAX_DOCUMENT_BYTES: usize = 1024 * 1024;

/// Longest excerpt of a client's value that a detail repeats, in characters.
const MAX_EXCERPT: usize = 60;
/// Longest excerpt of a client's name for something: long enough for an extension's URN and what stands behind it.
const MAX_NAME: usize = 200;

/// Checks types, required attributes, that at most one value is `primary`, and limits. The document is canonical already.
/// What it lacks although it is required may be missing `before` too: an attribute that a tenant declares later must not
/// make every change of who is there already fail.
///
/// # Errors
/// 400 `invalidValue`, which names the attribute, what was found and what was expected.
pub fn validate(
    document: &Document,
    before: Option<&Document>,
    resource_type: &ResourceType,
) -> Result<(), ScimError> {
    for (key, value) in document {
        if let Some(schema) = resource_type.extension(key) {
            members(value, key, &schema.attributes)?;
        } else if let Some(attribute) = resource_type.attribute(key) {
            attribute_value(attribute, value, key)?;
        } else if !is_urn(key) || !value.is_object() {
            return Err(ScimError::invalid_value(format!(
                "{} is no attribute",
                short_name(key)
            )));
        }
    }
    // A byte of a string is six at most. So much is known quickly, and hardly any document needs more.
    if object_bytes(document, |text| 2 + 6 * text.len()) > MAX_DOCUMENT_BYTES {
        let length = object_bytes(document, string_bytes);
        if length > MAX_DOCUMENT_BYTES {
            return Err(ScimError::invalid_value(format!(
                "the resource has {length} bytes where at most {MAX_DOCUMENT_BYTES} are kept"
            )));
        }
    }
    for attribute in resource_type.core.attributes.iter().filter(must_be_given) {
        let lacks = |document: &Document| is_blank(document.get(&attribute.name));
        if lacks(document) && !before.is_some_and(lacks) {
            return Err(missing(&attribute.name));
        }
    }
    for schema in &resource_type.extensions {
        for attribute in schema.attributes.iter().filter(must_be_given) {
            let value = |document: &Document| {
                is_blank(
                    document
                        .get(&schema.id)
                        .and_then(|it| it.get(&attribute.name)),
                )
            };
            if value(document) && !before.is_some_and(value) {
                return Err(missing(&format!("{}:{}", schema.id, attribute.name)));
            }
        }
    }
    Ok(())
}

fn must_be_given(attribute: &&Attribute) -> bool {
    attribute.required && attribute.mutability != Mutability::ReadOnly
}

fn is_blank(value: Option<&Value>) -> bool {
    match value {
        Some(Value::String(text)) => text.trim().is_empty(),
        Some(_) => false,
        None => true,
    }
}

/// How long `value` is as JSON, counted and not written.
pub(super) fn json_bytes(value: &Value) -> usize {
    value_bytes(value, string_bytes)
}

fn value_bytes(value: &Value, string: fn(&str) -> usize) -> usize {
    match value {
        Value::Null | Value::Bool(true) => 4,
        Value::Bool(false) => 5,
        Value::Number(number) => number.to_string().len(),
        Value::String(text) => string(text),
        Value::Array(values) => listed_bytes(values.iter().map(|it| value_bytes(it, string))),
        Value::Object(members) => object_bytes(members, string),
    }
}

fn object_bytes(members: &Document, string: fn(&str) -> usize) -> usize {
    let member = |(key, value): (&String, _)| string(key) + 1 + value_bytes(value, string);
    listed_bytes(members.iter().map(member))
}

/// In brackets or braces, with commas between.
fn listed_bytes(elements: impl ExactSizeIterator<Item = usize>) -> usize {
    let commas = elements.len().saturating_sub(1);
    2 + commas + elements.sum::<usize>()
}

fn string_bytes(text: &str) -> usize {
    let escaped = |byte| match byte {
        b'"' | b'\\' | b'\n' | b'\r' | b'\t' | 0x08 | 0x0c => 2,
        b' '.. => 1,
        _ => 6,
    };
    2 + text.bytes().map(escaped).sum::<usize>()
}

/// The refusal of a resource without a required attribute.
pub(super) fn missing(name: &str) -> ScimError {
    ScimError::invalid_value(format!("{name} is required and must not be empty"))
}

/// Checks one value of a simple type; `place` is what the detail calls it, which becomes a text only where there is one.
pub(super) fn simple(data_type: Type, value: &Value, place: &dyn Display) -> Result<(), ScimError> {
    let expected = match (data_type, value) {
        (Type::Boolean, Value::Bool(_)) | (Type::Decimal, Value::Number(_)) => return Ok(()),
        (Type::Integer, Value::Number(number)) if number.is_i64() || number.is_u64() => {
            return Ok(());
        }
        (Type::String | Type::Reference | Type::DateTime | Type::Binary, Value::String(text)) => {
            return string(data_type, text, place);
        }
        (Type::Boolean, _) => "true or false",
        (Type::Decimal, _) => "a number",
        (Type::Integer, _) => "a whole number",
        (Type::DateTime, _) => "a dateTime as a string",
        (Type::Binary, _) => "base64 in a string",
        (Type::String | Type::Reference, _) => "a string",
        (Type::Complex, _) => "an object",
    };
    Err(wrong_type(place, value, expected))
}

/// The refusal of a value of another type than `expected`, which completes "… was expected".
pub(super) fn wrong_type(place: impl Display, value: &Value, expected: &str) -> ScimError {
    let found = match value {
        Value::Null => "null".to_owned(),
        Value::Bool(_) | Value::Number(_) => value.to_string(),
        Value::String(text) => format!("the string \"{}\"", excerpt(text)),
        Value::Array(_) => "a list".to_owned(),
        Value::Object(_) => "an object".to_owned(),
    };
    ScimError::invalid_value(format!("{place} is {found} where {expected} was expected"))
}

/// The beginning of `text`, short enough for a detail.
pub(super) fn excerpt(text: &str) -> String {
    beginning(text, MAX_EXCERPT)
}

/// `name` as the client wrote it, short enough for a detail.
pub(super) fn short_name(name: &str) -> String {
    beginning(name, MAX_NAME)
}

fn beginning(text: &str, max: usize) -> String {
    match text.char_indices().nth(max) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// The refusal of a list with more than [`MAX_VALUES`] values.
pub(super) fn too_many_values(place: impl Display, found: usize) -> ScimError {
    ScimError::invalid_value(format!(
        "{place} has {found} values where at most {MAX_VALUES} are kept"
    ))
}

fn string(data_type: Type, text: &str, place: &dyn Display) -> Result<(), ScimError> {
    let fits = match data_type {
        Type::DateTime => instant(text).is_some(),
        Type::Binary => is_base64(text),
        _ => true,
    };
    if text.len() > MAX_STRING_BYTES {
        return Err(ScimError::invalid_value(format!(
            "{place} has {} bytes where at most {MAX_STRING_BYTES} are kept",
            text.len()
        )));
    }
    if !fits {
        let expected = if data_type == Type::Binary {
            "base64"
        } else {
            "a dateTime like 2026-11-24T13:27:25Z"
        };
        return Err(wrong_type(place, &text.into(), expected));
    }
    Ok(())
}

/// RFC 7643 §2.3.6, in either alphabet of RFC 4648; padding may be missing.
fn is_base64(text: &str) -> bool {
    let data = text.trim_end_matches('=');
    let padding = text.len() - data.len();
    let known = |byte: u8| byte.is_ascii_alphanumeric() || b"+/-_".contains(&byte);
    data.bytes().all(known)
        && data.len() % 4 != 1
        && (padding == 0 || (padding <= 2 && text.len().is_multiple_of(4)))
}

/// Checks the value of an attribute; `place` is what the detail calls it.
pub(super) fn attribute_value(
    attribute: &Attribute,
    value: &Value,
    place: &dyn Display,
) -> Result<(), ScimError> {
    if !attribute.multi_valued {
        return single(attribute, value, place);
    }
    let Value::Array(values) = value else {
        return Err(wrong_type(place, value, "a list"));
    };
    if values.len() > MAX_VALUES {
        return Err(too_many_values(place, values.len()));
    }
    for value in values {
        single(attribute, value, place)?;
    }
    if values
        .iter()
        .filter(|value| value["primary"] == true)
        .count()
        > 1
    {
        return Err(ScimError::invalid_value(format!(
            "{place} has more than one primary value"
        )));
    }
    Ok(())
}

fn single(attribute: &Attribute, value: &Value, place: &dyn Display) -> Result<(), ScimError> {
    match attribute.data_type {
        Type::Complex => object(value, place, &attribute.sub_attributes),
        data_type => simple(data_type, value, place),
    }
}

/// Checks one value of a complex attribute.
fn object(value: &Value, place: &dyn Display, attributes: &[Attribute]) -> Result<(), ScimError> {
    members(value, place, attributes)?;
    match attributes
        .iter()
        .find(|attribute| attribute.required && value.get(&attribute.name).is_none())
    {
        Some(attribute) => Err(missing(&format!("{place}.{}", attribute.name))),
        None => Ok(()),
    }
}

/// Checks what is in an object.
fn members(value: &Value, place: &dyn Display, attributes: &[Attribute]) -> Result<(), ScimError> {
    let Value::Object(object) = value else {
        return Err(wrong_type(place, value, "an object"));
    };
    for attribute in attributes {
        if let Some(value) = object.get(&attribute.name) {
            let place = &format_args!("{place}.{}", attribute.name);
            attribute_value(attribute, value, place)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::scim::schema::Kind;

    #[track_caller]
    fn check(document: Value) -> Result<(), String> {
        let Value::Object(document) = document else {
            panic!("not an object")
        };
        validate(&document, None, Kind::User.resource_type()).map_err(|error| error.to_string())
    }

    #[test]
    fn names_what_was_found_and_what_was_expected() {
        assert_eq!(
            check(
                json!({"userName": "ada", "active": true, "emails": [{"value": "a@x", "primary": true}]})
            ),
            Ok(())
        );
        assert_eq!(
            check(json!({"userName": "ada", "active": "yes"})),
            Err(
                "400 invalidValue: active is the string \"yes\" where true or false was expected"
                    .to_owned()
            )
        );
        assert_eq!(
            check(json!({"userName": "ada", "emails": [{"value": 7}]})),
            Err("400 invalidValue: emails.value is 7 where a string was expected".to_owned())
        );
        assert_eq!(
            check(json!({"userName": "  "})),
            Err("400 invalidValue: userName is required and must not be empty".to_owned())
        );
    }

    #[test]
    fn a_length_is_that_of_the_text() {
        let text: String = ('\0'..='\u{80}').chain(['ü', '😀']).collect();
        let value = json!({
            "": {}, text.clone(): [], "list": [text, null, true, false], "numbers": [-1, u64::MAX, 0.1, 1e300, -2.5e-9]
        });
        assert_eq!(json_bytes(&value), value.to_string().len());
    }

    #[test]
    fn refuses_two_primaries_and_too_much() {
        let two = json!([{"value": "a", "primary": true}, {"value": "b", "primary": true}]);
        assert!(check(json!({"userName": "ada", "emails": two})).is_err());
        assert!(
            check(json!({"userName": "ada", "title": "x".repeat(MAX_STRING_BYTES + 1)})).is_err()
        );
        assert!(
            check(
                json!({"userName": "ada", "emails": vec![json!({"value": "x"}); MAX_VALUES + 1]})
            )
            .is_err()
        );
        let large = |bytes| json!({"userName": "ada", "urn:example:x": {"a": "x".repeat(bytes)}});
        let others = json_bytes(&large(0));
        assert_eq!(check(large(MAX_DOCUMENT_BYTES - others)), Ok(()));
        assert_eq!(
            check(large(MAX_DOCUMENT_BYTES - others + 1)),
            Err(
                "400 invalidValue: the resource has 1048577 bytes where at most 1048576 are kept"
                    .to_owned()
            )
        );
        let long = check(json!({"userName": "ada", "active": "é".repeat(500)})).unwrap_err();
        assert!(long.chars().count() < 200, "{long}");
    }

    #[test]
    fn dates_and_base64_have_their_form() {
        for (text, good) in [
            ("2026-11-24T13:27:25Z", true),
            ("2026-11-24T13:27:25.5+01:00", true),
            ("2026-11-24T13:27:25", true),
            ("2026-11-24", false),
            ("2026-13-24T13:27:25Z", false),
            ("yesterday", false),
        ] {
            assert_eq!(
                simple(Type::DateTime, &text.into(), &"x").is_ok(),
                good,
                "{text}"
            );
        }
        for (text, good) in [
            ("TQ==", true),
            ("TWE=", true),
            ("TWFu", true),
            ("TQ", true),
            ("T", false),
            ("T=Q=", false),
            ("a b", false),
        ] {
            assert_eq!(
                simple(Type::Binary, &text.into(), &"x").is_ok(),
                good,
                "{text}"
            );
        }
    }
}
