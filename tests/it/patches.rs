//! Runs `tests/data/patch/*.json`: what a client sends, and what the resource is before and after it.
//!
//! A case has a `name`, a `kind`, `before`, `operations`, and either `after` or the `scimType` of the refusal, with the
//! text that its `detail` must contain. A group's `members` are a list of ids here. `ignored` lists what isn't known.

use std::fs;
use std::path::Path;

use proptest::prelude::{Just, Strategy, any, prop_oneof, proptest};
use rollcall::scim::dialect::read_patch;
use rollcall::scim::member::{MemberChange, split};
use rollcall::scim::password;
use rollcall::scim::patch::apply;
use rollcall::scim::resource::Document;
use rollcall::scim::schema::Kind;
use rollcall::scim::validate::validate;
use rollcall::scim::{ScimError, ScimType};
use serde_json::{Map, Value, json};

/// The target's id in every case.
const ID: &str = "target";

/// What a PATCH makes of a document, of a group's members and of what it doesn't know.
type Patched = (Document, Vec<String>, Vec<String>);

fn patch(
    kind: Kind,
    before: &Document,
    members: &[String],
    operations: Value,
) -> Result<Patched, ScimError> {
    let resource_type = kind.resource_type();
    let body = json!({"schemas": ["urn:ietf:params:scim:api:messages:2.0:PatchOp"], "Operations": operations});
    let (operations, ignored) = read_patch(body, resource_type, ID)?;
    let (operations, changes) = if kind == Kind::Group {
        split(operations)?
    } else {
        (password::split(operations).0, Vec::new())
    };
    let after = apply(before, &operations, resource_type)?;
    Ok((after, changed(members, changes), ignored))
}

fn changed(members: &[String], changes: Vec<MemberChange>) -> Vec<String> {
    let attribute = Kind::Group.resource_type().attribute("members").unwrap();
    let mut members = members.to_vec();
    for change in changes {
        match change {
            MemberChange::Add(ids) => members.extend(ids),
            MemberChange::Remove(ids) => members.retain(|id| !ids.contains(id)),
            MemberChange::Replace(ids) => members = ids,
            MemberChange::RemoveMatching(filter) => members.retain(|id| {
                let member = json!({"value": id, "type": "User"});
                !filter.matches_value(member.as_object().unwrap(), attribute)
            }),
        }
        members.sort();
        members.dedup();
    }
    members
}

fn strings(list: &Value) -> Vec<String> {
    list.as_array()
        .into_iter()
        .flatten()
        .map(|text| text.as_str().unwrap().to_owned())
        .collect()
}

fn case(case: &Value) -> Result<(), String> {
    let kind = if case["kind"] == "Group" {
        Kind::Group
    } else {
        Kind::User
    };
    let mut before: Document = case["before"].as_object().ok_or("no before")?.clone();
    let members = strings(&before.remove("members").unwrap_or_default());
    validate(&before, None, kind.resource_type())
        .map_err(|error| format!("before is invalid: {error}"))?;
    match (
        patch(kind, &before, &members, case["operations"].clone()),
        case.get("after"),
        case["scimType"].as_str(),
    ) {
        (Ok((mut after, members, ignored)), Some(expected), None) => {
            if !members.is_empty() {
                after.insert("members".to_owned(), members.into());
            }
            let after = Value::Object(after);
            if after != *expected {
                return Err(format!("expected {expected:#}\nfound {after:#}"));
            }
            let expected = strings(&case["ignored"]);
            if ignored != expected {
                Err(format!(
                    "expected to ignore {expected:?}, ignored {ignored:?}"
                ))
            } else {
                Ok(())
            }
        }
        (Ok((after, ..)), _, _) => Err(format!("was not refused: {:#}", Value::Object(after))),
        (Err(error), _, Some(expected)) => {
            let found = error.scim_type().map(ScimType::as_str);
            let detail = case["detail"].as_str().unwrap_or_default();
            let is_expected =
                found == Some(expected) && error.status() == 400 && error.detail().contains(detail);
            if is_expected {
                Ok(())
            } else {
                Err(format!(
                    "expected {expected} with {detail:?}, found {error}"
                ))
            }
        }
        (Err(error), _, None) => Err(format!("was refused: {error}")),
    }
}

#[test]
fn every_patch_in_the_data_files_does_what_it_says() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/patch");
    let mut failures = Vec::new();
    let mut ran = 0;
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let cases: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        for tested in cases.as_array().unwrap() {
            ran += 1;
            if let Err(failure) = case(tested) {
                failures.push(format!(
                    "{}: {}: {failure}",
                    path.file_name().unwrap().display(),
                    tested["name"]
                ));
            }
        }
    }
    assert!(
        failures.is_empty(),
        "{} of {ran} failed\n\n{}",
        failures.len(),
        failures.join("\n\n")
    );
    assert!(ran >= 60, "only {ran} cases were found");
}

fn value() -> impl Strategy<Value = Value> {
    let text = prop_oneof![
        Just("work"),
        Just("home"),
        Just("a@x"),
        Just("True"),
        Just(""),
        Just("{\"value\":\"5\"}")
    ];
    let leaf = prop_oneof![
        text.prop_map(Value::from),
        any::<bool>().prop_map(Value::from),
        (0..3i64).prop_map(Value::from),
        Just(Value::Null),
    ];
    let key = prop_oneof![
        Just("value"),
        Just("type"),
        Just("primary"),
        Just("display"),
        Just("givenName"),
        Just("roleName"),
        Just("name.familyName"),
        Just("userName"),
        Just("emails"),
        Just("urn:ietf:params:scim:schemas:extension:acme:2.0:User"),
    ];
    leaf.prop_recursive(3, 12, 3, move |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
            proptest::collection::vec((key.clone(), inner), 0..3).prop_map(|members| {
                Value::Object(
                    members
                        .into_iter()
                        .map(|(key, value)| (key.to_owned(), value))
                        .collect::<Map<_, _>>(),
                )
            }),
        ]
    })
}

fn operation() -> impl Strategy<Value = Value> {
    let op = prop_oneof![Just("Add"), Just("remove"), Just("replace")];
    let path = prop_oneof![
        Just(Value::Null),
        Just(json!("userName")),
        Just(json!("title")),
        Just(json!("active")),
        Just(json!("name")),
        Just(json!("name.givenName")),
        Just(json!("emails")),
        Just(json!("emails.type")),
        Just(json!("emails.value")),
        Just(json!("emails[type eq \"work\"]")),
        Just(json!("emails[type eq \"work\"].value")),
        Just(json!("emails[type ne \"work\"].primary")),
        Just(json!("roles[primary eq \"True\"].value")),
        Just(json!("manager")),
        Just(json!("roleName")),
        Just(json!(
            "urn:ietf:params:scim:schemas:extension:acme:2.0:User:roleName"
        )),
        Just(json!(
            "urn:ietf:params:scim:schemas:extension:acme:2.0:User"
        )),
    ];
    (op, path, value())
        .prop_map(|(op, path, value)| json!({"op": op, "path": path, "value": value}))
}

proptest! {
    #[test]
    fn a_patch_that_succeeds_leaves_a_valid_resource(lists in proptest::collection::vec(proptest::collection::vec(operation(), 1..4), 1..8)) {
        let mut document = json!({"userName": "ada"}).as_object().unwrap().clone();
        for operations in lists {
            if let Ok((after, ..)) = patch(Kind::User, &document, &[], operations.into()) {
                validate(&after, None, Kind::User.resource_type()).unwrap();
                let text = Value::Object(after.clone()).to_string();
                assert!(!text.contains("{}") && !text.contains("[]") || text.contains("acme"), "unassigned is absent: {text}");
                document = after;
            }
        }
    }

    #[test]
    fn the_same_replace_again_changes_nothing(before in operation(), mut again in operation()) {
        again["op"] = "replace".into();
        let empty = json!({"userName": "ada"}).as_object().unwrap().clone();
        let start = patch(Kind::User, &empty, &[], json!([before])).map_or(empty, |(after, ..)| after);
        if let Ok((once, ..)) = patch(Kind::User, &start, &[], json!([again])) {
            match patch(Kind::User, &once, &[], json!([again])) {
                Ok((twice, ..)) => assert_eq!(once, twice),
                // What the filter selected may be gone; then nothing is changed either.
                Err(error) => assert_eq!(error.scim_type(), Some(ScimType::NoTarget)),
            }
        }
    }
}
