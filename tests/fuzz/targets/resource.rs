//! A body that is accepted is a valid resource, which comes back unchanged when a client sends what it was shown.

use rollcall::scim::ScimError;
use rollcall::scim::dialect::{Incoming, read_resource};
use rollcall::scim::message::parse_json;
use rollcall::scim::resource::Document;
use rollcall::scim::schema::ResourceType;
use rollcall::scim::validate::validate;
use serde_json::{Value, json};

use super::resource_types;

pub fn run(data: &[u8]) {
    let Ok(body) = parse_json(data) else { return };
    // Stricter than serde_json, and of the same opinion otherwise.
    assert_eq!(serde_json::from_slice::<Value>(data).unwrap(), body);
    assert_eq!(parse_json(body.to_string().as_bytes()), Ok(body.clone()));
    for resource_type in resource_types() {
        let Ok(incoming) = read_resource(body.clone(), resource_type) else {
            continue;
        };
        validate(&incoming.document, None, resource_type).unwrap();
        comes_back(&incoming.document, resource_type);
        let mut members = incoming.members.unwrap_or_default();
        members.sort();
        let all = members.len();
        members.dedup();
        assert_eq!(members.len(), all, "each member once");
    }
}

/// A document, sent back as it is kept, is the same.
pub(super) fn comes_back(document: &Document, resource_type: &ResourceType) {
    let again = read(document, resource_type).unwrap_or_else(|error| {
        panic!(
            "{error}: {}",
            serde_json::to_string_pretty(document).unwrap()
        )
    });
    assert_eq!(&again.document, document);
    assert_eq!(again.ignored, Vec::<String>::new());
    assert_eq!(again.extension_role, None);
}

fn read(document: &Document, resource_type: &ResourceType) -> Result<Incoming, ScimError> {
    let mut body = document.clone();
    body.insert("schemas".to_owned(), json!([resource_type.core.id]));
    read_resource(Value::Object(body), resource_type)
}
