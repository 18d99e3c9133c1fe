//! Everything about a value, over declared attributes: the tables of tests/data/declared.

use std::sync::LazyLock;

use serde_json::{Value, json};

use super::*;
use crate::scim::dialect::{read_patch, read_resource};
use crate::scim::filter::Filter;
use crate::scim::resource::{Document, Meta, assemble};
use crate::scim::stored::{check_immutable, give_back, keep_immutable, requested, withhold};
use crate::scim::{patch, project};

static SCHEMAS: LazyLock<Schemas> = LazyLock::new(|| {
    Schemas::parse(include_str!("../../../tests/data/declared/attributes.json")).unwrap()
});

/// The rows of a table, each with its cells.
fn rows(table: &str, columns: usize) -> Vec<Vec<&str>> {
    let rows: Vec<Vec<&str>> = table
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .map(|line| line.split('|').map(str::trim).collect())
        .collect();
    assert!(
        rows.len() > 15 && rows.iter().all(|row| row.len() == columns),
        "{rows:?}"
    );
    rows
}

fn user(members: Value) -> Document {
    let mut document = Document::from_iter([("userName".to_owned(), json!("ada"))]);
    document.extend(members.as_object().unwrap().clone());
    document
}

fn at(path: &str) -> (Option<String>, String) {
    let path = AttrPath::parse(path).unwrap();
    let found = SCHEMAS
        .of(Kind::User)
        .declared
        .iter()
        .find(|declaration| declaration.attribute.name.eq_ignore_ascii_case(&path.name));
    match found {
        Some(found) => (
            found.extension().map(str::to_owned),
            found.attribute.name.clone(),
        ),
        None => (path.urn, path.name),
    }
}

/// A stored user with one value, `""` for none.
fn stored(attribute: &str, value: &str) -> Document {
    let (urn, name) = at(attribute);
    if value.is_empty() {
        return user(json!({}));
    }
    let value: Value = serde_json::from_str(value).unwrap_or_else(|_| panic!("{value}"));
    match urn {
        None => user(json!({ name: value })),
        Some(urn) => user(json!({ urn: { name: value } })),
    }
}

fn kept(document: &Document, attribute: &str) -> Option<Value> {
    let (urn, name) = at(attribute);
    match urn {
        None => document.get(&name).cloned(),
        Some(urn) => document.get(&urn)?.get(&name).cloned(),
    }
}

#[track_caller]
fn same(found: Result<Option<Value>, ScimError>, expected: &str, row: &[&str]) {
    match (found, expected.strip_prefix('!')) {
        (Err(error), Some(words)) => {
            assert!(error.to_string().contains(words.trim()), "{row:?}: {error}");
        }
        (Ok(value), None) => {
            let expected = (!expected.is_empty())
                .then(|| serde_json::from_str(expected).unwrap_or_else(|_| panic!("{row:?}")));
            assert_eq!(value, expected, "{row:?}");
        }
        (found, _) => panic!("{row:?}: {found:?}"),
    }
}

#[test]
fn what_is_kept_of_a_value() {
    for row in rows(include_str!("../../../tests/data/declared/values.txt"), 3) {
        let mut body = json!({ "schemas": [USER_URN], "userName": "ada" });
        body[row[0]] = serde_json::from_str(row[1]).unwrap_or_else(|_| panic!("{row:?}"));
        let read = read_resource(body, SCHEMAS.of(Kind::User));
        same(read.map(|it| kept(&it.document, row[0])), row[2], &row);
    }
}

#[test]
fn what_a_filter_finds() {
    let user_type = SCHEMAS.of(Kind::User);
    for row in rows(include_str!("../../../tests/data/declared/filters.txt"), 4) {
        let filter = Filter::parse(row[2]).unwrap();
        let meta = Meta {
            kind: Kind::User,
            id: "1",
            created: jiff::Timestamp::UNIX_EPOCH,
            last_modified: jiff::Timestamp::UNIX_EPOCH,
            version: 1,
            base: "",
        };
        let resource = assemble(stored(row[0], row[1]), &meta, None, user_type);
        match (filter.check(&[user_type]), row[3]) {
            (Ok(()), holds) => {
                let found = if filter.matches(&resource, user_type) {
                    "yes"
                } else {
                    "no"
                };
                assert_eq!(found, holds, "{row:?}");
            }
            (Err(error), words) => assert_eq!(format!("! {}", error.detail()), words, "{row:?}"),
        }
    }
}

#[test]
fn what_a_patch_makes_of_a_value() {
    let user_type = SCHEMAS.of(Kind::User);
    for row in rows(include_str!("../../../tests/data/declared/changes.txt"), 6) {
        let mut operation = json!({ "op": row[2], "path": row[3] });
        if !row[4].is_empty() {
            operation["value"] = serde_json::from_str(row[4]).unwrap_or_else(|_| panic!("{row:?}"));
        }
        let body = json!({
            "schemas": ["urn:ietf:params:scim:api:messages:2.0:PatchOp"],
            "Operations": [operation],
        });
        let mut before = stored(row[0], row[1]);
        let withheld = withhold(&mut before, user_type);
        let after = read_patch(body, user_type, "1")
            .and_then(|(operations, _)| patch::apply(&before, &operations, user_type))
            .map(|mut after| {
                give_back(&mut after, withheld);
                kept(&after, row[0])
            });
        same(after, row[5], &row);
    }
}

#[test]
fn a_put_keeps_what_is_set_once_and_may_not_change_it() {
    let user_type = SCHEMAS.of(Kind::User);
    let before = user(json!({ "once": "a", "place": { "building": "A", "floor": 1 } }));
    let put = |members: Value| {
        let mut document = user(members);
        keep_immutable(&mut document, &before, user_type);
        check_immutable(&before, &document, user_type).map(|()| Value::Object(document))
    };
    assert_eq!(
        put(json!({ "place": { "floor": 2 } })).unwrap(),
        json!({ "userName": "ada", "once": "a", "place": { "building": "A", "floor": 2 } })
    );
    assert_eq!(put(json!({ "once": "b" })).unwrap_err().status(), 400);
    assert!(put(json!({ "place": { "building": "B" } })).is_err());
}

#[test]
fn what_is_required_is_asked_for_but_not_of_who_is_there_without_it() {
    let group_type = SCHEMAS.of(Kind::Group);
    let body = json!({ "schemas": [GROUP_URN], "displayName": "SRE" });
    let error = read_resource(body, group_type).unwrap_err();
    assert_eq!(
        error.to_string(),
        "400 invalidValue: owner is required and must not be empty"
    );
    let patch = |document: Value, operation: Value| {
        let body = json!({
            "schemas": ["urn:ietf:params:scim:api:messages:2.0:PatchOp"], "Operations": [operation],
        });
        let (operations, _) = read_patch(body, group_type, "1")?;
        patch::apply(document.as_object().unwrap(), &operations, group_type)
    };
    let rename = json!({ "op": "replace", "path": "displayName", "value": "Ops" });
    patch(json!({ "displayName": "SRE" }), rename).unwrap();
    let remove = json!({ "op": "remove", "path": "owner" });
    assert!(patch(json!({ "displayName": "SRE", "owner": "ada" }), remove).is_err());
}

#[test]
fn an_answer_shows_what_returned_says() {
    let user_type = SCHEMAS.of(Kind::User);
    let document = user(json!({
        "secret": "x", "onRequest": "r", "shown": "s", "count": 1, "pagers": [{ "value": "1", "note": "n" }],
    }));
    let shown = |attributes: &[&str]| {
        let projection = crate::scim::message::Projection {
            attributes: attributes
                .iter()
                .map(|name| AttrPath::parse(name).unwrap())
                .collect(),
            ..Default::default()
        };
        Value::Object(project::project(document.clone(), &projection, user_type))
    };
    assert_eq!(
        shown(&[]),
        json!({ "userName": "ada", "shown": "s", "count": 1, "pagers": [{ "value": "1" }] })
    );
    assert_eq!(
        shown(&["onRequest", "secret", "pagers.note"]),
        json!({ "onRequest": "r", "shown": "s" })
    );
    let paths: Vec<String> = requested(&document, None, user_type)
        .iter()
        .map(AttrPath::to_string)
        .collect();
    assert_eq!(paths, ["onRequest"]);
}

#[track_caller]
fn declared(attribute: Value, schema: &str) -> Result<Declaration, String> {
    let declaration = json!({ "resourceType": "User", "schema": schema, "attribute": attribute });
    let declaration: Declaration = serde_json::from_value(declaration).unwrap();
    declaration
        .checked(&SCHEMAS.own)
        .map_err(|error| error.to_string())
}

#[test]
fn refuses_what_cannot_be_declared() {
    let acme = "urn:ietf:params:scim:schemas:extension:acme:2.0:User";
    for (attribute, schema, words) in [
        (
            json!({ "name": "userName", "type": "string" }),
            USER_URN,
            "has the attribute userName already",
        ),
        (
            json!({ "name": "Department", "type": "string" }),
            USER_URN,
            "has the attribute Department already",
        ),
        (
            json!({ "name": "id", "type": "string" }),
            USER_URN,
            "has the attribute id already",
        ),
        (
            json!({ "name": "roleName", "type": "string" }),
            acme,
            "has the attribute roleName already",
        ),
        (
            json!({ "name": "BADGE", "type": "string" }),
            acme,
            "is declared for a User already",
        ),
        (
            json!({ "name": "a b", "type": "string" }),
            USER_URN,
            "is no name for an attribute",
        ),
        (
            json!({ "name": "a.b", "type": "string" }),
            USER_URN,
            "is no name for an attribute",
        ),
        (
            json!({ "name": "a", "type": "complex" }),
            USER_URN,
            "needs subAttributes",
        ),
        (
            json!({ "name": "a", "type": "string", "subAttributes": [{ "name": "b", "type": "string" }] }),
            USER_URN,
            "must be complex",
        ),
        (
            json!({ "name": "a", "type": "complex", "subAttributes": [{ "name": "b", "type": "complex" }] }),
            USER_URN,
            "complex attributes don't nest",
        ),
        (
            json!({ "name": "a", "type": "complex", "subAttributes": [
                { "name": "b", "type": "string" }, { "name": "B", "type": "string" }] }),
            USER_URN,
            "is there twice",
        ),
        (
            json!({ "name": "a", "type": "boolean", "uniqueness": "server" }),
            USER_URN,
            "can't be unique",
        ),
        (
            json!({ "name": "a", "type": "integer", "canonicalValues": ["1"] }),
            USER_URN,
            "must be string",
        ),
        (
            json!({ "name": "a", "type": "string" }),
            ENTERPRISE_URN,
            "schema of the standard",
        ),
        (
            json!({ "name": "a", "type": "string" }),
            GROUP_URN,
            "schema of the standard",
        ),
        (
            json!({ "name": "a", "type": "string" }),
            "acme",
            "is no URN",
        ),
        (
            json!({ "name": "a", "type": "string" }),
            "urn:x:\"y",
            "is no URN",
        ),
        (
            json!({ "name": "a", "type": "string", "required": true, "mutability": "readOnly" }),
            USER_URN,
            "no client could give",
        ),
    ] {
        let error = declared(attribute.clone(), schema).unwrap_err();
        assert!(error.contains(words), "{attribute}: {error}");
    }
}

#[test]
fn what_follows_is_filled_in() {
    let declaration = declared(json!({ "name": "key", "type": "reference" }), USER_URN).unwrap();
    let attribute = declaration.attribute;
    assert!(attribute.case_exact && !attribute.description.is_empty());
    assert_eq!(attribute.reference_types, ["external"]);
    let secret = json!({ "name": "pin", "type": "string", "mutability": "writeOnly" });
    let declaration = declared(secret, USER_URN).unwrap();
    assert_eq!(declaration.attribute.returned, Returned::Never);
}

#[test]
fn role_name_is_declared_like_any_other_for_every_tenant() {
    let [role] = Schemas::built_in_declarations() else {
        panic!("one")
    };
    assert_eq!(role.path().to_string(), "roleName");
    assert!(role.is_built_in() && !SCHEMAS.own[0].is_built_in());
    assert!(
        Schemas::built_in()
            .of(Kind::User)
            .attribute("roleName")
            .is_some()
    );
}
