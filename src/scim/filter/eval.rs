//! What a filter means. See [`super`] for the choices in it; the store's SQL is held against this.

use std::borrow::Cow;
use std::cmp::Ordering;

use jiff::Timestamp;
use serde_json::{Map, Number, Value};

use super::{CompareOp, Filter, Scope};
use crate::scim::date_time;
use crate::scim::resource::fold;
use crate::scim::schema::{Attribute, Resolved, Type};

/// Whether `object`, a resource or one value of a complex attribute, fulfils `filter`.
pub(super) fn matches(filter: &Filter, object: &Map<String, Value>, scope: Scope<'_>) -> bool {
    match filter {
        Filter::And(left, right) => matches(left, object, scope) && matches(right, object, scope),
        Filter::Or(left, right) => matches(left, object, scope) || matches(right, object, scope),
        Filter::Not(inner) => !matches(inner, object, scope),
        Filter::Present(attr) => scope
            .resolve(attr)
            .is_some_and(|named| present(object, &named)),
        Filter::Compare { attr, op, value } => match scope.resolve(attr) {
            Some(named) => compare(object, &named, scope, *op, value),
            // No value: nothing equals it but null.
            None => match op {
                CompareOp::Eq => value.is_null(),
                CompareOp::Ne => !value.is_null(),
                _ => false,
            },
        },
        Filter::ValuePath { attr, filter } => scope.resolve(attr).is_some_and(|named| {
            let inside = Scope::Values(named.leaf());
            values(object, &named)
                .filter_map(Value::as_object)
                .any(|value| matches(filter, value, inside))
        }),
    }
}

fn present(object: &Map<String, Value>, named: &Resolved<'_>) -> bool {
    values(object, named).any(is_present)
}

/// `pr`: something is in it (RFC 7644 §3.4.2.2, table 3).
fn is_present(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(_) | Value::Number(_) => true,
        Value::String(text) => !text.is_empty(),
        Value::Array(values) => values.iter().any(is_present),
        Value::Object(members) => members.values().any(is_present),
    }
}

fn compare(
    object: &Map<String, Value>,
    named: &Resolved<'_>,
    scope: Scope<'_>,
    op: CompareOp,
    wanted: &Value,
) -> bool {
    match op {
        CompareOp::Ne => !compare(object, named, scope, CompareOp::Eq, wanted),
        _ if wanted.is_null() => op == CompareOp::Eq && !present(object, named),
        _ if is_primary(named, scope) && as_boolean(wanted) == Some(false) => {
            op == CompareOp::Eq && has_secondary(object, named)
        }
        _ => named.compared().is_some_and(|attribute| {
            let of_complex = named.leaf().data_type == Type::Complex;
            values(object, named)
                .filter_map(|value| {
                    if of_complex {
                        value.get(&attribute.name)
                    } else {
                        Some(value)
                    }
                })
                .any(|value| holds(attribute, value, op, wanted))
        }),
    }
}

/// Whether it is the `primary` of values.
fn is_primary(named: &Resolved<'_>, scope: Scope<'_>) -> bool {
    let is_part = named.sub_attribute.is_some() || matches!(scope, Scope::Values(_));
    is_part && named.leaf().name == "primary" && named.leaf().data_type == Type::Boolean
}

/// Whether a value isn't the primary one: it says so, or says nothing (RFC 7643 §2.4). `object` has the values, or is one.
fn has_secondary(object: &Map<String, Value>, named: &Resolved<'_>) -> bool {
    let whole = Resolved {
        sub_attribute: None,
        ..*named
    };
    match named.sub_attribute {
        Some(primary) => values(object, &whole).any(|value| value[&primary.name] != true),
        None => object.get(&named.attribute.name) != Some(&Value::Bool(true)),
    }
}

/// Whether one value of `attribute` fulfils a comparison other than `ne`.
fn holds(attribute: &Attribute, value: &Value, op: CompareOp, wanted: &Value) -> bool {
    match attribute.data_type {
        Type::String | Type::Reference | Type::Binary => match (value, text(wanted)) {
            (Value::String(value), Some(wanted)) if attribute.case_exact => {
                text_holds(value, op, &wanted)
            }
            (Value::String(value), Some(wanted)) => text_holds(&fold(value), op, &fold(&wanted)),
            _ => false,
        },
        Type::Boolean => {
            let wanted = as_boolean(wanted);
            op == CompareOp::Eq && wanted.is_some() && wanted == value.as_bool()
        }
        Type::DateTime => ordered(
            instant(value).zip(instant(wanted)).map(|(a, b)| a.cmp(&b)),
            op,
        ),
        Type::Integer | Type::Decimal => match (value, wanted) {
            (Value::Number(value), Value::Number(wanted)) => ordered(numeric(value, wanted), op),
            _ => false,
        },
        Type::Complex => false,
    }
}

/// What a text is compared with. Entra ID's documentation leaves the quotes out, so that `701984` may be an externalId.
pub(super) fn text(wanted: &Value) -> Option<Cow<'_, str>> {
    match wanted {
        Value::String(text) => Some(text.into()),
        Value::Number(number) => Some(number.to_string().into()),
        _ => None,
    }
}

fn text_holds(value: &str, op: CompareOp, wanted: &str) -> bool {
    match op {
        CompareOp::Co => value.contains(wanted),
        CompareOp::Sw => value.starts_with(wanted),
        CompareOp::Ew => value.ends_with(wanted),
        _ => ordered(Some(value.cmp(wanted)), op),
    }
}

/// Whether `ordering`, of the value to what it is compared with, is the one that `op` asks for.
fn ordered(ordering: Option<Ordering>, op: CompareOp) -> bool {
    ordering.is_some_and(|ordering| match op {
        CompareOp::Eq => ordering.is_eq(),
        CompareOp::Ne => ordering.is_ne(),
        CompareOp::Gt => ordering.is_gt(),
        CompareOp::Ge => ordering.is_ge(),
        CompareOp::Lt => ordering.is_lt(),
        CompareOp::Le => ordering.is_le(),
        CompareOp::Co | CompareOp::Sw | CompareOp::Ew => false,
    })
}

fn instant(value: &Value) -> Option<Timestamp> {
    date_time::instant(value.as_str()?)
}

fn numeric(value: &Number, wanted: &Number) -> Option<Ordering> {
    match (value.as_i128(), wanted.as_i128()) {
        // Doubles would make neighbours above 2^53 equal.
        (Some(value), Some(wanted)) => Some(value.cmp(&wanted)),
        _ => value.as_f64()?.partial_cmp(&wanted.as_f64()?),
    }
}

fn as_boolean(wanted: &Value) -> Option<bool> {
    wanted.as_bool().or_else(|| boolean(wanted.as_str()?))
}

/// A boolean as Entra ID may quote it: "True", "False", in any case.
pub(super) fn boolean(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "true" => Some(true),
        "false" => Some(false),
        _ => None,
    }
}

/// All values of the attribute, or of its sub-attribute, in `object`.
fn values<'a>(
    object: &'a Map<String, Value>,
    named: &Resolved<'a>,
) -> impl Iterator<Item = &'a Value> {
    let holder = match named.extension {
        None => Some(object),
        Some(schema) => object.get(&schema.id).and_then(Value::as_object),
    };
    let sub_attribute = named.sub_attribute;
    holder
        .and_then(|holder| holder.get(&named.attribute.name))
        .into_iter()
        .flat_map(each)
        .filter_map(move |value| match sub_attribute {
            None => Some(value),
            Some(sub_attribute) => value.get(&sub_attribute.name),
        })
        .flat_map(each)
}

/// The elements of a list; of anything else, itself.
fn each(value: &Value) -> std::slice::Iter<'_, Value> {
    match value {
        Value::Array(values) => values.iter(),
        value => std::slice::from_ref(value).iter(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Map, Value, json};

    use super::holds;
    use crate::scim::filter::{CompareOp, Filter};
    use crate::scim::schema::{Attribute, Kind};

    fn object(value: Value) -> Map<String, Value> {
        value.as_object().expect("an object").clone()
    }

    fn group() -> Map<String, Value> {
        object(json!({
            "schemas": ["urn:ietf:params:scim:schemas:core:2.0:Group"],
            "id": "g1",
            "displayName": "Sré",
            "members": [
                { "value": "u1", "$ref": "https://example.com/scim/v2/Users/u1", "type": "User", "display": "Ada" },
                { "value": "u2", "type": "User" },
            ],
            "meta": { "resourceType": "Group" },
        }))
    }

    #[test]
    fn groups_are_found_by_name_and_members() {
        for (text, found) in [
            (r#"displayName eq "SRÉ""#, true),
            (r#"id eq "g1" and members eq "u2""#, true),
            (r#"members eq "u3""#, false),
            (r#"members eq "U1""#, false),
            (r#"members.value eq "u1""#, true),
            (r#"members[value eq "u1" and display eq "ada"]"#, true),
            (r#"members[value eq "u2" and display pr]"#, false),
            (r#"members.$ref ew "/Users/u1""#, true),
            (r#"externalId pr"#, false),
        ] {
            let filter = Filter::parse(text).expect(text);
            filter.check(&[Kind::Group.resource_type()]).expect(text);
            assert_eq!(
                filter.matches(&group(), Kind::Group.resource_type()),
                found,
                "{text}"
            );
        }
    }

    #[test]
    fn what_a_resource_type_lacks_has_no_value_there() {
        let types = Kind::ALL.map(Kind::resource_type);
        for (text, found) in [
            (r#"userName eq "g1" or displayName eq "sré""#, true),
            ("userName pr", false),
            (r#"userName sw """#, false),
            (r#"userName ne "x""#, true),
            ("userName eq null", true),
            ("userName ne null", false),
            ("not (userName pr)", true),
            (r#"emails[type eq "work"]"#, false),
            (r#"emails[type ne "work"]"#, false),
        ] {
            let filter = Filter::parse(text).expect(text);
            filter.check(&types).expect(text);
            assert_eq!(
                filter.matches(&group(), Kind::Group.resource_type()),
                found,
                "{text}"
            );
        }
    }

    #[test]
    fn a_filter_from_brackets_is_about_one_value() {
        let emails = Kind::User
            .resource_type()
            .attribute("emails")
            .expect("emails");
        let value = object(json!({ "type": "work", "value": "ada@example.com", "primary": true }));
        for (text, found) in [
            (r#"TYPE eq "Work" and primary eq "true""#, true),
            (r#"value ew ".org""#, false),
        ] {
            let filter = Filter::parse(text).expect(text);
            filter.check_values(emails).expect(text);
            assert_eq!(filter.matches_value(&value, emails), found, "{text}");
        }
        let error = Filter::parse("userName pr")
            .expect("a filter")
            .check_values(emails)
            .expect_err("no sub-attribute");
        assert_eq!(
            error.to_string(),
            "400 invalidFilter: userName is no attribute of emails"
        );
    }

    /// No schema has a number yet.
    #[test]
    fn numbers_compare_by_value() {
        let attribute: Attribute = serde_json::from_value(json!({
            "name": "n", "type": "decimal", "multiValued": false, "description": "A number", "required": false,
        }))
        .expect("a definition");
        for (value, op, wanted, held) in [
            (json!(1), CompareOp::Eq, json!(1.0), true),
            (json!(10), CompareOp::Gt, json!(9), true),
            (json!(-0.5), CompareOp::Lt, json!(0), true),
            (
                json!(9_007_199_254_740_993_u64),
                CompareOp::Eq,
                json!(9_007_199_254_740_992_u64),
                false,
            ),
            (json!("1"), CompareOp::Eq, json!(1), false),
        ] {
            assert_eq!(
                holds(&attribute, &value, op, &wanted),
                held,
                "{value} {op} {wanted}"
            );
        }
    }
}
