//! A PATCH leaves a valid resource or is refused. Input: a case as in `tests/data/patch`, of which `before` and
//! `operations` count, and `declared` (true: with attributes of every sort).

use rollcall::scim::dialect::{read_patch, read_resource};
use rollcall::scim::message::parse_json;
use rollcall::scim::patch::apply;
use rollcall::scim::resource::Document;
use rollcall::scim::schema::ResourceType;
use rollcall::scim::validate::validate;
use rollcall::scim::{member, password};
use serde_json::{Value, json};

use super::resource::comes_back;
use super::resource_types;

/// The target's id.
const ID: &str = "target";

pub fn run(data: &[u8]) {
    let Ok(case) = parse_json(data) else { return };
    let is_declared = case["declared"] == true;
    let [user, group, declared_user, declared_group] = resource_types();
    let resource_type = match (case["kind"] == "Group", is_declared) {
        (false, false) => user,
        (true, false) => group,
        (false, true) => declared_user,
        (true, true) => declared_group,
    };
    let Some(before) = stored(&case["before"], resource_type) else {
        return;
    };
    let body = json!({"schemas": ["urn:ietf:params:scim:api:messages:2.0:PatchOp"], "Operations": case["operations"]});
    let Ok((operations, _)) = read_patch(body, resource_type, ID) else {
        return;
    };
    // As provision does: members and passwords are no part of a document.
    let operations = if case["kind"] == "Group" {
        match member::split(operations) {
            Ok((operations, _)) => operations,
            Err(_) => return,
        }
    } else {
        password::split(operations).0
    };
    let Ok(after) = apply(&before, &operations, resource_type) else {
        return;
    };
    validate(&after, Some(&before), resource_type).unwrap();
    comes_back(&after, resource_type);
    if operations.is_empty() {
        assert_eq!(after, before);
    }
}

/// The document that is kept of a body.
fn stored(body: &Value, resource_type: &ResourceType) -> Option<Document> {
    let mut body = body.clone();
    body.as_object_mut()?
        .insert("schemas".to_owned(), json!([resource_type.core.id]));
    Some(read_resource(body, resource_type).ok()?.document)
}
