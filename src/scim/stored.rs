//! What a stored document and the schemas of today mean to each other.
//!
//! A tenant's own attributes come and go while documents stay. A value whose attribute was removed, or declared anew with
//! another type, is *withheld*: the document keeps it, and to everybody else it isn't there. So a declaration never
//! makes a resource unreadable, and declaring the attribute as it was brings its values back.

use std::borrow::Cow;

use serde_json::{Map, Value};

use super::ScimError;
use super::declare::Declaration;
use super::patch::Operation;
use super::path::{AttrPath, PatchPath};
use super::resource::{Document, fold, spelled_in};
use super::schema::{Attribute, Mutability, ResourceType, Returned, Type};
use super::validate::attribute_value;

/// Takes what is withheld out of `document`.
pub fn withhold(document: &mut Document, resource_type: &ResourceType) -> Document {
    let mut withheld = Map::new();
    for declaration in &resource_type.declared {
        let name = &declaration.attribute.name;
        // What every tenant has was never another's.
        if declaration.is_built_in() {
            continue;
        }
        let Some(urn) = declaration.extension() else {
            if document
                .get(name)
                .is_some_and(|value| !fits(value, declaration))
            {
                withheld.extend(document.remove_entry(name));
            }
            continue;
        };
        let urn = spelled_in(document, urn);
        let Some(Value::Object(object)) = document.get_mut(&urn) else {
            continue;
        };
        if object
            .get(name)
            .is_none_or(|value| fits(value, declaration))
        {
            continue;
        }
        let entry = object.remove_entry(name);
        if object.is_empty() {
            document.remove(&urn);
        }
        if let Value::Object(inner) = withheld.entry(urn).or_insert_with(|| Map::new().into()) {
            inner.extend(entry);
        }
    }
    withheld
}

/// Whether a value is one of the attribute as it is declared.
fn fits(value: &Value, declaration: &Declaration) -> bool {
    let attribute = &declaration.attribute;
    declaration.removed.is_none() && attribute_value(attribute, value, &attribute.name).is_ok()
}

/// `document` without what is withheld, and that: of most tenants all of it as it is, and nothing.
pub fn parted<'a>(
    document: &'a Document,
    resource_type: &ResourceType,
) -> (Cow<'a, Document>, Document) {
    if resource_type.declared.iter().all(Declaration::is_built_in) {
        return (Cow::Borrowed(document), Map::new());
    }
    let mut rest = document.clone();
    let withheld = withhold(&mut rest, resource_type);
    (Cow::Owned(rest), withheld)
}

/// Puts what was withheld back where nothing has come instead.
pub fn give_back(document: &mut Document, withheld: Document) {
    for (key, value) in withheld {
        match (document.get_mut(&key), value) {
            (None, value) => drop(document.insert(key, value)),
            (Some(Value::Object(object)), Value::Object(inner)) => {
                for (name, value) in inner {
                    object.entry(name).or_insert(value);
                }
            }
            (Some(_), _) => {}
        }
    }
}

/// What a PUT leaves out of attributes that are set once stays as it is.
pub fn keep_immutable(document: &mut Document, before: &Document, resource_type: &ResourceType) {
    for declaration in own(resource_type) {
        let (urn, attribute) = (declaration.extension(), &declaration.attribute);
        let Some(was) = value_of(before, declaration) else {
            continue;
        };
        let holder = match urn {
            None => &mut *document,
            Some(urn) if document.contains_key(urn) || is_immutable(attribute) => {
                let inner = document.entry(urn).or_insert_with(|| Map::new().into());
                let Value::Object(inner) = inner else {
                    continue;
                };
                inner
            }
            Some(_) => continue,
        };
        match (holder.get_mut(&attribute.name), was) {
            (None, was) if is_immutable(attribute) => {
                holder.insert(attribute.name.clone(), was.clone());
            }
            (Some(Value::Object(is)), Value::Object(was)) => {
                for sub in attribute
                    .sub_attributes
                    .iter()
                    .filter(|sub| is_immutable(sub))
                {
                    if let Some(value) = was.get(&sub.name) {
                        is.entry(&sub.name).or_insert_with(|| value.clone());
                    }
                }
            }
            _ => {}
        }
    }
}

fn is_immutable(attribute: &Attribute) -> bool {
    attribute.mutability == Mutability::Immutable
}

/// The attributes in `document` that are returned on request, which includes that a client writes them (RFC 7643 §7). What a
/// PATCH writes is what its operations name.
pub fn requested(
    document: &Document,
    operations: Option<&[Operation]>,
    resource_type: &ResourceType,
) -> Vec<AttrPath> {
    let names = |operation: &Operation, declaration: &Declaration| match &operation.path {
        PatchPath::Extension(urn) => declaration.extension() == Some(urn),
        PatchPath::Attribute { attr, .. } => {
            attr.urn.as_deref() == declaration.extension()
                && attr.name == declaration.attribute.name
        }
    };

    own(resource_type)
        .filter(|declaration| declaration.attribute.returned == Returned::Request)
        .filter(|declaration| {
            let is_written = operations.is_none_or(|operations| {
                (operations.iter()).any(|operation| names(operation, declaration))
            });
            is_written && value_of(document, declaration).is_some()
        })
        .map(Declaration::path)
        .collect()
}

/// The tenant's own attributes that are in the schemas.
fn own(resource_type: &ResourceType) -> impl Iterator<Item = &Declaration> {
    resource_type
        .declared
        .iter()
        .filter(|declaration| declaration.removed.is_none() && !declaration.is_built_in())
}

/// The value of a declared attribute.
pub fn value_of<'a>(document: &'a Document, declaration: &Declaration) -> Option<&'a Value> {
    let name = &declaration.attribute.name;
    match declaration.extension() {
        None => document.get(name),
        Some(urn) => document.get(urn)?.get(name),
    }
}

/// What the index has of an attribute in `document`: one entry for each value, as it is compared.
pub fn indexed(document: &Document, declaration: &Declaration) -> Vec<String> {
    let attribute = &declaration.attribute;
    let value = value_of(document, declaration).filter(|value| fits(value, declaration));
    let (Some(value), Some(compared)) = (value, compared(attribute)) else {
        return vec![];
    };
    let values = match value {
        Value::Array(values) => values.as_slice(),
        value => std::slice::from_ref(value),
    };
    values
        .iter()
        .filter_map(|value| match attribute.data_type {
            Type::Complex => index_key(compared, value.get(&compared.name)?),
            _ => index_key(compared, value),
        })
        .collect()
}

/// The attribute whose values a comparison looks at: a complex one stands for its `value`.
pub fn compared(attribute: &Attribute) -> Option<&Attribute> {
    match attribute.data_type {
        Type::Complex => attribute.sub_attribute("value"),
        _ => Some(attribute),
    }
}

/// A value as the index has it: two values have the same key just where a filter with `eq` finds one by the other. None
/// where the index doesn't know the value: a filter then has to look into documents.
pub fn index_key(compared: &Attribute, value: &Value) -> Option<String> {
    match (compared.data_type, value) {
        (Type::String | Type::Reference, Value::String(text)) if compared.case_exact => {
            Some(text.clone())
        }
        (Type::String | Type::Reference, Value::String(text)) => Some(fold(text)),
        (Type::Integer, Value::Number(number)) if !number.is_f64() => Some(number.to_string()),
        _ => None,
    }
}

/// Refuses a change of what can be set once and is (RFC 7643 §2.2, RFC 7644 §3.5).
///
/// Of a multi-valued complex attribute the values come and go whole, so sub-attributes are looked at in a single value only.
///
/// # Errors
/// 400 `mutability` that names the attribute.
pub fn check_immutable(
    before: &Document,
    after: &Document,
    resource_type: &ResourceType,
) -> Result<(), ScimError> {
    let refuse = |place: String| {
        Err(ScimError::mutability(format!(
            "{place} is immutable: it has a value, which can't be changed or removed"
        )))
    };
    for declaration in own(resource_type) {
        let attribute = &declaration.attribute;
        let Some(was) = value_of(before, declaration) else {
            continue;
        };
        let is = value_of(after, declaration);
        if attribute.mutability == Mutability::Immutable && is != Some(was) {
            return refuse(declaration.path().to_string());
        }
        for sub in &attribute.sub_attributes {
            let was = was.get(&sub.name);
            if sub.mutability == Mutability::Immutable
                && !attribute.multi_valued
                && was.is_some()
                && is.and_then(|is| is.get(&sub.name)) != was
            {
                return refuse(format!("{}.{}", declaration.path(), sub.name));
            }
        }
    }
    Ok(())
}
