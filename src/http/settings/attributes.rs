//! What the identity provider says of a user or team, for people to read: every attribute, also of unknown extensions.

use minijinja::context;
use minijinja::value::Value;
use serde_json::Value as Json;

use crate::scim::project::told;
use crate::scim::resource::Document;
use crate::scim::schema::ResourceType;

/// The core attributes first, then each extension's. A section has a title and attributes; an attribute a label, its name
/// and its values; a value parts, each a label (empty where the value is simple) and a text.
/// What is never returned isn't here either.
pub(super) fn sections(resource_type: &ResourceType, document: &Document) -> Vec<Value> {
    let document = told(document, resource_type);
    let is_extension = |key: &str| key.contains(':');
    let core = document
        .iter()
        .filter(|(key, _)| !is_extension(key))
        .map(|(name, value)| attribute(name, value))
        .collect::<Vec<_>>();
    let mut sections = vec![context! { title => "Attributes", urn => "", attributes => core }];
    let known = &resource_type.extensions;
    for (urn, value) in document.iter().filter(|(key, _)| is_extension(key)) {
        let title = known
            .iter()
            .find(|schema| schema.id.eq_ignore_ascii_case(urn))
            .map_or_else(|| "Extension".to_owned(), |schema| label(&schema.name));
        let attributes: Vec<Value> = match value {
            Json::Object(inner) => inner
                .iter()
                .map(|(name, value)| attribute(name, value))
                .collect(),
            other => vec![attribute("value", other)],
        };
        sections.push(context! { title => title, urn => urn, attributes => attributes });
    }
    sections
}

fn attribute(name: &str, value: &Json) -> Value {
    let values: Vec<Vec<Value>> = match value {
        Json::Array(items) => items.iter().map(parts).collect(),
        one => vec![parts(one)],
    };
    context! { label => label(name), name => name, values => values }
}

/// The parts of one value; what is nested deeper is shown as JSON.
fn parts(value: &Json) -> Vec<Value> {
    match value {
        Json::Object(inner) => inner
            .iter()
            .map(|(name, value)| context! { label => label(name), text => text(value) })
            .collect(),
        one => vec![context! { label => "", text => text(one) }],
    }
}

fn text(value: &Json) -> String {
    match value {
        Json::String(text) => text.clone(),
        Json::Bool(true) => "yes".to_owned(),
        Json::Bool(false) => "no".to_owned(),
        other => other.to_string(),
    }
}

/// `preferredLanguage` as `Preferred language`.
fn label(name: &str) -> String {
    let mut label = String::new();
    let mut previous_is_lower = false;
    for c in name.chars() {
        match c {
            _ if label.is_empty() => label.extend(c.to_uppercase()),
            _ if c.is_uppercase() && previous_is_lower => {
                label.push(' ');
                label.extend(c.to_lowercase());
            }
            _ => label.push(c),
        }
        previous_is_lower = c.is_lowercase();
    }
    label
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_become_labels() {
        for (name, words) in [
            ("userName", "User name"),
            ("preferredLanguage", "Preferred language"),
            ("externalId", "External id"),
            ("x509Certificates", "X509Certificates"),
            ("URL", "URL"),
            ("$ref", "$ref"),
            ("", ""),
        ] {
            assert_eq!(label(name), words);
        }
    }
}
