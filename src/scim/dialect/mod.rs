//! What clients really send, turned into what the RFC says.
//!
//! Every tolerance for Entra ID, Okta and others is in this folder, with the client's name on it: `names` knows how they
//! spell attributes, `values` how they write values, `operations` how they PATCH. All of it applies always, to every
//! client; there are no flags.

mod names;
mod operations;
mod values;

use std::collections::HashSet;
use std::fmt::Display;

use serde_json::Value;
use serde_json::map::{Entry, Map};

use super::ScimError;
use super::member::{self, MEMBERS};
use super::password::{self, NewPassword};
use super::resource::{Document, ROLE_NAME, settle_role_name, spelled_in};
use super::schema::{Kind, Mutability, ResourceType};
use super::validate::{short_name, validate, wrong_type};
pub use operations::read_patch;
pub(super) use values::check_names;

use names::{Place, expand, is_foreign_role};

/// Most names that are reported as ignored.
const MAX_IGNORED: usize = 100;

/// A POST or PUT body, read.
#[derive(Clone, Debug, PartialEq)]
pub struct Incoming {
    /// Validated document (see [`super::resource`]).
    pub document: Document,
    /// For a Group: the ids in `members`, each once; None where the body has no `members`. Null is an empty list.
    pub members: Option<Vec<String>>,
    /// The `roleName` of an extension object where the plain one says otherwise; for
    /// [`take_extension_role`](super::resource::take_extension_role).
    pub extension_role: Option<Value>,
    /// A user's password; None where the body has none, or an empty one.
    pub password: Option<NewPassword>,
    /// What was ignored because nothing knows it, each as the client named it. ReadOnly attributes aren't named: clients
    /// send back what they were given.
    pub ignored: Vec<String>,
}

/// Reads the body of a POST or PUT. `schemas` is required and must name the core schema; what else it names is ignored,
/// for Entra ID adds URIs of its own and leaves out those of custom extensions.
///
/// The document comes back canonical (names as the schema spells them, nulls and empty lists dropped) and validated.
///
/// # Errors
/// 400 `invalidSyntax` for a body that is no resource of this type, 400 `invalidValue` for an attribute's value.
pub fn read_resource(body: Value, resource_type: &ResourceType) -> Result<Incoming, ScimError> {
    let Value::Object(body) = body else {
        return Err(ScimError::invalid_syntax(format!(
            "the body is not an object where a {} was expected",
            resource_type.kind.as_str()
        )));
    };
    check_schemas(
        &body,
        |urn| urn.eq_ignore_ascii_case(&resource_type.core.id),
        &resource_type.core.id,
    )?;
    let mut incoming = Incoming {
        document: Map::new(),
        members: None,
        extension_role: None,
        password: None,
        ignored: Vec::new(),
    };
    let mut foreign_role = None;
    for (place, value) in expand(body, resource_type, &mut incoming.ignored)? {
        if is_foreign_role(&place, resource_type) {
            foreign_role = Some(value.clone());
        }
        match place {
            Place::Known(path, _)
                if resource_type.kind == Kind::Group
                    && path.name == MEMBERS
                    && path.sub_attr.is_none() =>
            {
                incoming.members = Some(member::ids(&value)?);
            }
            Place::Known(_, resolved) if resolved.attribute.mutability == Mutability::ReadOnly => {}
            Place::Known(_, resolved) if resolved.leaf().mutability == Mutability::ReadOnly => {}
            Place::Known(path, resolved) => {
                // Half of a list, as in `emails.value`, can't be matched with its other half.
                if resolved.attribute.multi_valued && resolved.sub_attribute.is_some() {
                    incoming.ignored.push(path.to_string());
                    continue;
                }
                let Some(value) =
                    values::read(resolved.leaf(), value, &path, &mut incoming.ignored)?
                else {
                    continue;
                };
                let object = object_at(&mut incoming.document, path.urn.as_deref(), &path)?;
                let value = match path.sub_attr {
                    None => value,
                    Some(sub) => Value::Object(Map::from_iter([(sub, value)])),
                };
                put(object, path.name, value)?;
            }
            Place::Foreign { urn, name } => {
                object_at(&mut incoming.document, Some(&urn), &urn)?.insert(name, value);
            }
            Place::Extension(_) => {}
        }
    }
    adopt_role(&mut incoming, foreign_role, resource_type)?;
    settle_role_name(&mut incoming.document, resource_type.kind);
    validate(&incoming.document, None, resource_type)?;
    incoming.password = password::take(&mut incoming.document, resource_type.kind);
    incoming.ignored = each_once(incoming.ignored);
    Ok(incoming)
}

/// Each name once, in order, and no more of them than somebody reads.
fn each_once(names: Vec<String>) -> Vec<String> {
    let mut seen = HashSet::new();
    let mut once: Vec<String> = names
        .into_iter()
        .filter(|name| seen.insert(name.clone()))
        .collect();
    once.truncate(MAX_IGNORED);
    once
}

/// Refuses a message whose `schemas` has no URN that `is_wanted`; `wanted` is what the detail asks for.
pub(super) fn check_schemas(
    body: &Map<String, Value>,
    is_wanted: impl Fn(&str) -> bool,
    wanted: &str,
) -> Result<(), ScimError> {
    let Some((_, schemas)) = body
        .iter()
        .find(|(key, _)| key.eq_ignore_ascii_case("schemas"))
    else {
        return Err(ScimError::invalid_syntax(format!(
            "schemas is missing; it must contain {wanted}"
        )));
    };
    let Value::Array(schemas) = schemas else {
        return Err(wrong_type("schemas", schemas, "a list of URNs"));
    };
    if let Some(other) = schemas.iter().find(|schema| !schema.is_string()) {
        return Err(wrong_type("an element of schemas", other, "a string"));
    }
    if !schemas.iter().filter_map(Value::as_str).any(is_wanted) {
        return Err(ScimError::invalid_syntax(format!(
            "schemas does not contain {wanted}"
        )));
    }
    Ok(())
}

/// The object that holds an attribute: the document, or the extension's in it.
fn object_at<'d>(
    document: &'d mut Document,
    urn: Option<&str>,
    place: &dyn Display,
) -> Result<&'d mut Map<String, Value>, ScimError> {
    let Some(urn) = urn else { return Ok(document) };
    let key = spelled_in(document, urn);
    match document
        .entry(key)
        .or_insert_with(|| Value::Object(Map::new()))
    {
        Value::Object(object) => Ok(object),
        other => Err(wrong_type(
            short_name(&place.to_string()),
            other,
            "an object",
        )),
    }
}

/// Sets an attribute that may have come in parts (`name` and `name.givenName`), but not twice with two meanings.
fn put(object: &mut Map<String, Value>, name: String, value: Value) -> Result<(), ScimError> {
    let mut present = match object.entry(name) {
        Entry::Vacant(free) => {
            free.insert(value);
            return Ok(());
        }
        Entry::Occupied(present) => present,
    };
    match (present.get_mut(), value) {
        (Value::Object(present), Value::Object(parts)) => {
            for (name, value) in parts {
                put(present, name, value)?;
            }
        }
        (is, value) if *is != value => return Err(values::repeated(present.key())),
        _ => {}
    }
    Ok(())
}

/// Takes an extension's `roleName` as the user's where there is no plain one. Another one is kept aside.
fn adopt_role(
    incoming: &mut Incoming,
    role: Option<Value>,
    resource_type: &ResourceType,
) -> Result<(), ScimError> {
    let (Some(role), Some(attribute)) = (role, resource_type.attribute(ROLE_NAME)) else {
        return Ok(());
    };
    let Some(role) = values::read(attribute, role, &ROLE_NAME, &mut incoming.ignored)? else {
        return Ok(());
    };
    let plain = (incoming.document.entry(ROLE_NAME)).or_insert_with(|| role.clone());
    incoming.extension_role = (*plain != role).then_some(role);
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::scim::schema::{ENTERPRISE_URN, GROUP_URN, USER_URN};

    const ACME: &str = "urn:ietf:params:scim:schemas:extension:acme:2.0:User";

    fn read(kind: Kind, urn: &str, mut body: Value) -> Result<Incoming, String> {
        body["schemas"] = json!([urn]);
        read_resource(body, kind.resource_type()).map_err(|error| error.to_string())
    }

    #[track_caller]
    fn user(body: Value, expected: Value) {
        assert_eq!(
            Value::Object(read(Kind::User, USER_URN, body).unwrap().document),
            expected
        );
    }

    #[track_caller]
    fn refuses(body: Value, expected: &str) {
        let error = read(Kind::User, USER_URN, body).unwrap_err();
        assert!(error.contains(expected), "{error}");
    }

    /// The body of entra.md §1.6, and fixture F6: what a client can't set or leaves empty.
    #[test]
    fn reads_what_entra_posts() {
        let body = json!({
            "schemas": [USER_URN.to_ascii_lowercase(), ENTERPRISE_URN, "http://schemas.microsoft.com/x"],
            "id": "theirs",
            "meta": {"resourceType": "User"},
            "groups": [],
            "userName": "ana.ruiz@contoso.example",
            "active": "True",
            "nickName": null,
            "title": "",
            "roles": [],
            "emails": [{"primary": true, "type": "work", "value": "ana.ruiz@contoso.example"}],
            "name": {"formatted": "Ana Ruiz", "middleName": null},
            "addresses": [{"type": null}],
            "department": "Ops",
            ENTERPRISE_URN: {"employeeNumber": "701984", "manager": "M1"},
            ACME: {"badge": [1, null, {"x": ""}]},
            "favouriteColour": "red",
        });
        let incoming = read_resource(body, Kind::User.resource_type()).unwrap();
        assert_eq!(incoming.ignored, ["favouriteColour"]);
        assert_eq!(incoming.members, None);
        assert_eq!(
            Value::Object(incoming.document),
            json!({
                "userName": "ana.ruiz@contoso.example",
                "active": true,
                "emails": [{"primary": true, "type": "work", "value": "ana.ruiz@contoso.example"}],
                "name": {"formatted": "Ana Ruiz"},
                ENTERPRISE_URN: {"department": "Ops", "employeeNumber": "701984", "manager": {"value": "M1"}},
                ACME: {"badge": [1, null, {"x": ""}]},
            })
        );
    }

    #[test]
    fn dotted_and_qualified_keys_are_parts_of_one_attribute() {
        user(
            json!({
                "USERNAME": "ana",
                "name": {"givenName": "Ana"},
                "name.familyName": "Ruiz",
                "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:department": "Ops",
                "urn:ietf:params:scim:schemas:core:2.0:User": {"title": "Boss"},
            }),
            json!({
                "userName": "ana",
                "name": {"givenName": "Ana", "familyName": "Ruiz"},
                "title": "Boss",
                ENTERPRISE_URN: {"department": "Ops"},
            }),
        );
    }

    #[test]
    fn a_role_comes_in_four_ways() {
        let expected = json!({"userName": "ana", "roleName": "Admin"});
        user(
            json!({"userName": "ana", "rolename": "Admin"}),
            expected.clone(),
        );
        user(
            json!({"userName": "ana", USER_URN: {"roleName": "Admin"}}),
            expected.clone(),
        );
        user(
            json!({"userName": "ana", format!("{USER_URN}:roleName"): "Admin"}),
            expected,
        );
        user(
            json!({"userName": "ana", ACME: {"roleName": "Admin"}}),
            json!({"userName": "ana", "roleName": "Admin", ACME: {"roleName": "Admin"}}),
        );
        user(
            json!({"userName": "ana", "roleName": "Member", ACME: {"roleName": "Admin"}}),
            json!({"userName": "ana", "roleName": "Member", ACME: {"roleName": "Member"}}),
        );
        user(
            json!({"userName": "ana", ACME: {"roleName": ""}}),
            json!({"userName": "ana"}),
        );
    }

    #[test]
    fn schemas_must_name_the_core_schema() {
        let read = |body| {
            read_resource(body, Kind::User.resource_type())
                .unwrap_err()
                .to_string()
        };
        assert!(
            read(json!({"userName": "ana"}))
                .contains("schemas is missing; it must contain urn:ietf")
        );
        assert!(
            read(json!({"schemas": [GROUP_URN], "userName": "ana"})).contains("does not contain")
        );
        assert!(
            read(json!({"schemas": USER_URN, "userName": "ana"}))
                .contains("a list of URNs was expected")
        );
        assert!(
            read(json!({"schemas": [7, USER_URN], "userName": "ana"}))
                .contains("an element of schemas is 7")
        );
        assert!(read(json!([])).contains("not an object"));
    }

    #[test]
    fn refuses_what_has_two_meanings_or_none() {
        refuses(
            json!({"userName": "ana", "title": "a", "Title": "b"}),
            "400 invalidSyntax: title is there twice",
        );
        refuses(
            json!({"userName": "ana", "name": {"givenName": "A"}, "name.givenName": "B"}),
            "givenName is there twice",
        );
        refuses(
            json!({"title": "Boss"}),
            "400 invalidValue: userName is required",
        );
        refuses(
            json!({"userName": ""}),
            "400 invalidValue: userName is required",
        );
        refuses(
            json!({"userName": {"x": 1}}),
            "400 invalidValue: userName is an object where a string was expected",
        );
        refuses(
            json!({"userName": "ana", ENTERPRISE_URN: "x"}),
            "where an object was expected",
        );
        refuses(
            json!({"userName": "ana", "emails": [["a", "b"]]}),
            "emails is a list where an object was expected",
        );
    }

    #[test]
    fn a_groups_members_are_taken_out() {
        let group = |body| read(Kind::Group, GROUP_URN, body).unwrap();
        let incoming = group(
            json!({"displayName": "SRE", "members": [{"value": "U1", "display": "x"}, "U2", {"Value": "U1"}]}),
        );
        assert_eq!(
            incoming.members,
            Some(vec!["U1".to_owned(), "U2".to_owned()])
        );
        assert_eq!(
            Value::Object(incoming.document),
            json!({"displayName": "SRE"})
        );
        assert_eq!(
            group(json!({"displayName": "SRE", "members": null})).members,
            Some(vec![])
        );
        assert_eq!(group(json!({"displayName": "SRE"})).members, None);
    }

    #[test]
    fn ignored_names_are_reported_once_and_not_without_end() {
        let emails: Vec<Value> = (0..3)
            .map(|i| json!({"value": i.to_string(), "colour": "red"}))
            .collect();
        let incoming = read(
            Kind::User,
            USER_URN,
            json!({"userName": "ana", "emails": emails}),
        )
        .unwrap();
        assert_eq!(incoming.ignored, ["emails.colour"]);
        let mut many = json!({"userName": "ana"});
        for i in 0..500 {
            many[format!("x{i}")] = i.into();
        }
        assert_eq!(
            read(Kind::User, USER_URN, many).unwrap().ignored.len(),
            MAX_IGNORED
        );
    }

    #[test]
    fn what_nobody_sends_is_refused_before_it_costs_anything() {
        let names = |count: usize| {
            (0..count)
                .map(|i| (format!("x{i}"), Value::from(i)))
                .collect::<Map<_, _>>()
        };
        refuses(
            json!({"userName": "ana", ACME: names(1001)}),
            "an object has 1001 names",
        );
        refuses(
            json!({"userName": "ana", "x".repeat(1025): 1}),
            "a name has 1025 bytes",
        );
        let urns: Map<_, _> = (0..3)
            .map(|i| (format!("urn:{i}"), Value::from(names(900))))
            .collect();
        let body = json!({"schemas": ["x:PatchOp"], "Operations": [{"op": "add", "value": urns}]});
        let user = Kind::User.resource_type();
        let (operations, _) = read_patch(body, user, "1").unwrap();
        let before = read(Kind::User, USER_URN, json!({"userName": "ana"}))
            .unwrap()
            .document;
        let error = crate::scim::patch::apply(&before, &operations, user).unwrap_err();
        assert!(
            error
                .detail()
                .contains("2700 attributes where at most 1000"),
            "{error}"
        );
    }

    #[test]
    fn a_patch_names_its_schema_in_any_namespace() {
        let patch = |schema: &str, count: usize| {
            let operations = vec![json!({"op": "add", "path": "title", "value": "x"}); count];
            let body = json!({"schemas": [schema], "operations": operations});
            read_patch(body, Kind::User.resource_type(), "1")
                .map(|(operations, _)| operations.len())
        };
        assert_eq!(
            patch("urn:ietf:params:scim:api:messages:2.0:PatchOp", 2),
            Ok(2)
        );
        assert_eq!(
            patch("urn:ietf:params:scim:schemas:core:2.0:PATCHOP", 1),
            Ok(1)
        );
        assert!(patch(USER_URN, 1).is_err());
        assert!(patch("urn:ietf:params:scim:api:messages:2.0:PatchOp", 10_001).is_err());
    }
}
