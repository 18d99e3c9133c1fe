//! Figures of the RFCs, typed from their text: each is read, kept and shown as it was.

use std::fs;
use std::path::Path;

use rollcall::scim::dialect::read_resource;
use rollcall::scim::message::parse_json;
use rollcall::scim::password::NewPassword;
use rollcall::scim::resource::{Meta, assemble};
use rollcall::scim::schema::Kind;
use serde_json::Value;

/// What the server decides and a client can't set.
const OURS: [&str; 3] = ["id", "meta", "schemas"];

#[track_caller]
fn round_trips(file: &str, kind: Kind) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/data/rfc")
        .join(file);
    let mut figure = parse_json(&fs::read(path).unwrap()).unwrap();
    let incoming = read_resource(figure.clone(), kind.resource_type()).unwrap();
    let meta = Meta {
        kind,
        id: figure["id"].as_str().unwrap(),
        created: figure["meta"]["created"].as_str().unwrap().parse().unwrap(),
        last_modified: figure["meta"]["lastModified"]
            .as_str()
            .unwrap()
            .parse()
            .unwrap(),
        version: 1,
        base: "https://example.com/v2",
    };
    let mut shown = assemble(incoming.document, &meta, None, kind.resource_type());
    let expected = figure.as_object_mut().unwrap();
    assert_eq!(shown["id"], expected["id"]);
    assert_eq!(shown["meta"]["location"], expected["meta"]["location"]);
    assert_eq!(shown["schemas"], expected["schemas"]);
    for name in OURS {
        shown.remove(name);
        expected.remove(name);
    }
    let members = expected.remove("members").unwrap_or_default();
    let ids: Vec<&str> = members
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|member| member["value"].as_str())
        .collect();
    assert_eq!(incoming.members.unwrap_or_default(), ids);
    // Read-only, and what is never shown.
    expected.remove("groups");
    let password = expected.remove("password");
    let password = password.and_then(|text| text.as_str().map(str::to_owned));
    assert_eq!(incoming.password, password.map(NewPassword::Plain));
    assert_eq!(incoming.ignored, Vec::<String>::new());
    if let Some(manager) = expected
        .values_mut()
        .find_map(|value| value.get_mut("manager"))
        .and_then(Value::as_object_mut)
    {
        manager.remove("displayName");
    }
    assert_eq!(shown, *expected);
}

#[test]
fn a_minimal_user_is_read_and_shown() {
    round_trips("rfc7643-8.1-minimal-user.json", Kind::User);
}

#[test]
fn a_full_user_is_read_and_shown() {
    round_trips("rfc7643-8.2-full-user.json", Kind::User);
}

#[test]
fn an_enterprise_user_is_read_and_shown() {
    round_trips("rfc7643-8.3-enterprise-user.json", Kind::User);
}

#[test]
fn a_group_is_read_and_shown() {
    round_trips("rfc7643-8.4-group.json", Kind::Group);
}
