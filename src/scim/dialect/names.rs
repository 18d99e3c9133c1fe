//! A client's names for attributes, and what they name.

use serde_json::{Map, Value};

use super::values::{check_names, is_unassigned};
use crate::scim::ScimError;
use crate::scim::path::AttrPath;
use crate::scim::resource::{ROLE_NAME, is_extension_of, is_urn};
use crate::scim::schema::{Kind, Resolved, ResourceType};
use crate::scim::validate::{short_name, wrong_type};

/// What a name names.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Place<'a> {
    /// An attribute of a known schema; the path is spelled as the schema does, without the core schema's URN.
    Known(AttrPath, Resolved<'a>),
    /// An attribute of an extension that we have no schema of, as the client spells it.
    Foreign {
        /// The extension.
        urn: String,
        /// The key inside the extension's object. A dot in it has no meaning (entra.md §2.1).
        name: String,
    },
    /// A whole extension object, by its URN.
    Extension(String),
}

/// Finds what `path` names; None for what no schema knows.
///
/// More generous than [`ResourceType::resolve`]: what follows the pattern of Microsoft's custom attributes is somebody's,
/// so it is kept.
pub(super) fn locate<'a>(path: &AttrPath, resource_type: &'a ResourceType) -> Option<Place<'a>> {
    match &path.urn {
        Some(urn) if resource_type.is_foreign(path) => {
            let known = resource_type.extension(urn);
            let is_kept =
                known.is_some() || Kind::ALL.iter().any(|kind| is_extension_of(urn, *kind));
            let plain = AttrPath {
                urn: None,
                ..path.clone()
            };
            is_kept.then(|| Place::Foreign {
                urn: known.map_or(urn, |schema| &schema.id).clone(),
                name: plain.to_string(),
            })
        }
        _ => resource_type.resolve(path).map(known),
    }
}

fn known(resolved: Resolved<'_>) -> Place<'_> {
    let path = AttrPath {
        urn: resolved.extension.map(|schema| schema.id.clone()),
        name: resolved.attribute.name.clone(),
        sub_attr: resolved.sub_attribute.map(|sub| sub.name.clone()),
    };
    Place::Known(path, resolved)
}

/// Takes a client's object of attributes apart: a whole resource, or the value of a PATCH operation without a path.
///
/// Keys may be dotted (`name.givenName`) or start with a URN, as Entra ID sends them; the object under the core schema's
/// URN is part of the resource. `schemas` is left out. What nothing knows is added to `ignored`.
///
/// # Errors
/// 400 `invalidSyntax` for a name that is there twice in different case, 400 `invalidValue` for an extension that isn't
/// an object.
pub(super) fn expand<'a>(
    object: Map<String, Value>,
    resource_type: &'a ResourceType,
    ignored: &mut Vec<String>,
) -> Result<Vec<(Place<'a>, Value)>, ScimError> {
    check_names(&object)?;
    let mut found = Vec::with_capacity(object.len());
    for (key, value) in object {
        if key.eq_ignore_ascii_case("schemas") {
            continue;
        }
        let whole = if key.eq_ignore_ascii_case(&resource_type.core.id) {
            Some(None)
        } else {
            resource_type
                .extension(&key)
                .map(|schema| Some(schema.id.clone()))
        };
        match (whole, value) {
            (Some(urn), Value::Object(members)) if !members.is_empty() => {
                check_names(&members)?;
                for (name, value) in members {
                    let path = AttrPath::parse(&name)
                        .ok()
                        .filter(|path| path.urn.is_none());
                    match path.and_then(|path| {
                        locate(
                            &AttrPath {
                                urn: urn.clone(),
                                ..path
                            },
                            resource_type,
                        )
                    }) {
                        Some(place) => found.push((place, value)),
                        None => ignored.push(short_name(&format!("{key}:{name}"))),
                    }
                }
            }
            (Some(urn), value) if is_unassigned(&value) => {
                found.extend(urn.map(|urn| (Place::Extension(urn), Value::Null)));
            }
            (Some(_), value) => return Err(wrong_type(short_name(&key), &value, "an object")),
            (None, value) => match AttrPath::parse(&key)
                .ok()
                .and_then(|path| locate(&path, resource_type))
            {
                Some(place) => found.push((place, value)),
                None => foreign(key, value, resource_type, &mut found, ignored)?,
            },
        }
    }
    Ok(found)
}

/// An extension object that we have no schema of is kept as it is, so that an admin's own mapping doesn't fail.
fn foreign(
    key: String,
    value: Value,
    resource_type: &ResourceType,
    found: &mut Vec<(Place<'_>, Value)>,
    ignored: &mut Vec<String>,
) -> Result<(), ScimError> {
    match value {
        Value::Object(members) if is_urn(&key) => {
            check_names(&members)?;
            for (name, value) in members {
                if resource_type.declaration(Some(&key), &name).is_some() {
                    ignored.push(short_name(&format!("{key}:{name}")));
                    continue;
                }
                let urn = key.clone();
                found.push((Place::Foreign { urn, name }, value));
            }
        }
        value if is_unassigned(&value) => {}
        _ => ignored.push(short_name(&key)),
    }
    Ok(())
}

/// Whether the value of `place` is a user's role, sent in the way of Microsoft's naming rule for custom attributes.
pub(super) fn is_foreign_role(place: &Place<'_>, resource_type: &ResourceType) -> bool {
    match place {
        Place::Foreign { urn, name } => {
            resource_type.kind == Kind::User
                && is_extension_of(urn, Kind::User)
                && name.eq_ignore_ascii_case(ROLE_NAME)
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[track_caller]
    fn finds(object: Value, expected: &[&str]) {
        let Value::Object(object) = object else {
            panic!("not an object")
        };
        let mut ignored = Vec::new();
        let found = expand(object, Kind::User.resource_type(), &mut ignored).unwrap();
        let mut names: Vec<String> = found
            .into_iter()
            .map(|(place, _)| match place {
                Place::Known(path, _) => path
                    .to_string()
                    .replace("urn:ietf:params:scim:schemas:extension:", "ext:"),
                Place::Foreign { urn, name } => format!("{urn} {name}"),
                Place::Extension(urn) => urn,
            })
            .collect();
        names.extend(ignored.into_iter().map(|name| format!("- {name}")));
        assert_eq!(names, expected);
    }

    #[test]
    fn names_come_plain_dotted_and_qualified() {
        finds(
            json!({"USERNAME": 1, "Schemas": [], "name.givenname": 1}),
            &["userName", "name.givenName"],
        );
        finds(
            json!({"urn:ietf:params:scim:schemas:core:2.0:User:roleName": 1}),
            &["roleName"],
        );
        finds(
            json!({"urn:ietf:params:scim:schemas:core:2.0:User": {"rolename": 1, "x": 2}}),
            &["roleName", "- urn:ietf:params:scim:schemas:core:2.0:User:x"],
        );
        finds(
            json!({"urn:ietf:params:scim:schemas:extension:Enterprise:2.0:User:department": 1}),
            &["ext:enterprise:2.0:User:department"],
        );
        finds(
            json!({"department": 1, "manager": 2, "shoeSize": 3}),
            &[
                "ext:enterprise:2.0:User:department",
                "ext:enterprise:2.0:User:manager",
                "- shoeSize",
            ],
        );
    }

    #[test]
    fn unknown_extensions_are_found_as_they_are() {
        finds(
            json!({"urn:example:x": {"a.b": 1, "c": null}}),
            &["urn:example:x a.b", "urn:example:x c"],
        );
        finds(
            json!({"urn:ietf:params:scim:schemas:extension:acme:2.0:User:a.b": 1}),
            &["urn:ietf:params:scim:schemas:extension:acme:2.0:User a.b"],
        );
        finds(json!({"urn:example:x": 1}), &["- urn:example:x"]);
    }
}
