//! Which attributes an answer shows (RFC 7644 §3.9, RFC 7643 §7 `returned`).

use std::borrow::Cow;

use serde_json::{Map, Value};

use super::message::Projection;
use super::path::AttrPath;
use super::resource::Document;
use super::schema::{Attribute, ResourceType, Returned};
use super::stored::parted;

/// `resource` with what `projection` and each attribute's `returned` let through. `schemas` and `id` always stay.
/// Names that the resource doesn't have are ignored.
pub fn project(
    resource: Document,
    projection: &Projection,
    resource_type: &ResourceType,
) -> Document {
    let selection = Selection::of(projection, resource_type);
    let mut shown = Map::new();
    for (key, value) in resource {
        let (returned, children) = described(&key, resource_type);
        if let Some(value) = show(value, returned, children, &selection.below(&key)) {
            shown.insert(key, value);
        }
    }
    shown
}

/// How much is shown of an attribute's value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Extent {
    /// All of it.
    Whole,
    /// Not all that it may have.
    Part,
    /// None of it.
    Nothing,
}

/// How much [`project`] shows of the top-level attribute `key` where nothing is selected.
pub(super) fn by_default(key: &str, resource_type: &ResourceType) -> Extent {
    // Nearly all attributes have nothing to hide, and a look at the schema costs more.
    if !resource_type.may_hide(key) {
        return Extent::Whole;
    }
    let (returned, children) = described(key, resource_type);
    if !matches!(returned, Returned::Default | Returned::Always) {
        Extent::Nothing
    } else if children.iter().any(Attribute::hides) {
        Extent::Part
    } else {
        Extent::Whole
    }
}

/// What [`project`] leaves of an attribute that is shown in [part](Extent::Part).
pub(super) fn part(key: &str, value: Value, resource_type: &ResourceType) -> Option<Value> {
    let (returned, children) = described(key, resource_type);
    let everything = Selection {
        only: None,
        without: Vec::new(),
        written: Vec::new(),
    };
    show(value, returned, children, &everything)
}

/// When the top-level attribute or extension `key` is returned, and what it consists of.
fn described<'a>(key: &str, resource_type: &'a ResourceType) -> (Returned, &'a [Attribute]) {
    if let Some(schema) = resource_type.extension(key) {
        return (Returned::Default, &schema.attributes);
    }
    let attribute = resource_type.attribute(key);
    let children = attribute.map_or(&[][..], |attribute| &attribute.sub_attributes);
    (returned(attribute, key), children)
}

/// A document without what nobody is ever shown (`returned: never`) and what is withheld, as it is told wherever else than
/// in an answer.
pub fn told<'a>(document: &'a Document, resource_type: &ResourceType) -> Cow<'a, Document> {
    let (mut document, _) = parted(document, resource_type);
    // Nearly all documents have nothing to hide, and a copy costs more than the look.
    if (document.keys()).any(|key| resource_type.may_hide(key)) {
        document.to_mut().retain(|key, value| {
            let (returned, inside) = described(key, resource_type);
            hide(value, inside);
            returned != Returned::Never
        });
    }
    document
}

fn is_never(attribute: &Attribute) -> bool {
    attribute.returned == Returned::Never
}

fn named<'a>(attributes: &'a [Attribute], key: &str) -> Option<&'a Attribute> {
    (attributes.iter()).find(|attribute| attribute.name.eq_ignore_ascii_case(key))
}

fn hide(value: &mut Value, attributes: &[Attribute]) {
    match value {
        Value::Object(members) => members.retain(|key, value| {
            let known = named(attributes, key);
            if let Some(attribute) = known {
                hide(value, &attribute.sub_attributes);
            }
            !known.is_some_and(is_never)
        }),
        Value::Array(values) => values.iter_mut().for_each(|value| hide(value, attributes)),
        _ => {}
    }
}

/// Whether an answer under `projection` can show the top-level attribute `name`: if not, it need not be computed.
pub fn shows(projection: &Projection, name: &str, resource_type: &ResourceType) -> bool {
    if *projection == Projection::default() {
        return by_default(name, resource_type) != Extent::Nothing;
    }
    let selection = Selection::of(projection, resource_type).below(name);
    selection.lets_through(returned(resource_type.attribute(name), name))
}

/// When the top-level attribute is returned. `id` and `schemas` are returned always, whatever a schema says.
fn returned(attribute: Option<&Attribute>, key: &str) -> Returned {
    match attribute {
        _ if key == "id" || key == "schemas" => Returned::Always,
        Some(attribute) => attribute.returned,
        None => Returned::Default,
    }
}

/// What is asked of one object: names below it, each as the steps that lead there.
struct Selection {
    /// None: no selection, so everything that is returned by default.
    only: Option<Vec<Vec<String>>>,
    without: Vec<Vec<String>>,
    /// Returned on request, and written by this one.
    written: Vec<Vec<String>>,
}

impl Selection {
    fn of(projection: &Projection, resource_type: &ResourceType) -> Selection {
        let steps = |paths: &[AttrPath]| {
            paths
                .iter()
                .flat_map(|path| steps(path, resource_type))
                .collect::<Vec<_>>()
        };
        if projection.attributes.is_empty() {
            return Selection {
                only: None,
                without: steps(&projection.excluded_attributes),
                written: steps(&projection.written),
            };
        }
        Selection {
            only: Some(steps(&projection.attributes)),
            without: Vec::new(),
            written: Vec::new(),
        }
    }

    /// What is asked of the member `key`. An empty list of steps asks for all of it.
    fn below(&self, key: &str) -> Selection {
        let below = |paths: &[Vec<String>]| {
            let inside = |path: &Vec<String>| {
                let (first, rest) = path.split_first()?;
                first.eq_ignore_ascii_case(key).then(|| rest.to_vec())
            };
            paths.iter().filter_map(inside).collect::<Vec<_>>()
        };
        Selection {
            only: self.only.as_deref().map(below),
            without: below(&self.without),
            written: below(&self.written),
        }
    }

    fn lets_through(&self, returned: Returned) -> bool {
        let excluded = self.without.iter().any(Vec::is_empty);
        match returned {
            Returned::Always => true,
            Returned::Never => false,
            Returned::Default => {
                !excluded && self.only.as_ref().is_none_or(|only| !only.is_empty())
            }
            Returned::Request => {
                let asked = self.only.as_ref().is_some_and(|only| !only.is_empty());
                !excluded && (asked || !self.written.is_empty())
            }
        }
    }

    /// The same for what lies below: who asks for the whole attribute asks for no selection of its parts.
    fn inside(&self) -> Selection {
        let whole = self
            .only
            .as_ref()
            .is_none_or(|only| only.is_empty() || only.iter().any(Vec::is_empty));
        let only = if whole { None } else { self.only.clone() };
        Selection {
            only,
            without: self.without.clone(),
            written: self.written.clone(),
        }
    }
}

/// A path as the keys that lead to what it names: core URN left out, an extension's URN as the first, said or not. Two
/// readings where it may be an extension's own URN, which looks like a URN with a name behind it.
fn steps(path: &AttrPath, resource_type: &ResourceType) -> Vec<Vec<String>> {
    let named = |first: Option<&String>| {
        let names = [first, Some(&path.name), path.sub_attr.as_ref()];
        names.into_iter().flatten().cloned().collect::<Vec<_>>()
    };
    match &path.urn {
        Some(urn) if urn.eq_ignore_ascii_case(&resource_type.core.id) => vec![named(None)],
        Some(urn) => vec![named(Some(urn)), vec![path.to_string()]],
        None => {
            // `manager`, as in filters and PATCH paths.
            let extension = resource_type
                .resolve(path)
                .and_then(|named| named.extension);
            vec![named(extension.map(|schema| &schema.id))]
        }
    }
}

fn show(
    value: Value,
    returned: Returned,
    children: &[Attribute],
    selection: &Selection,
) -> Option<Value> {
    if !selection.lets_through(returned) {
        return None;
    }
    let inside = selection.inside();
    if inside.only.is_none() && inside.without.is_empty() && !children.iter().any(Attribute::hides)
    {
        return Some(value);
    }
    match value {
        // A group's empty list of members is shown as such; one that the selection left nothing of isn't.
        Value::Array(values) if values.is_empty() => Some(Value::Array(values)),
        Value::Array(values) => {
            let shown: Vec<Value> = values
                .into_iter()
                .filter_map(|value| parts(value, children, &inside))
                .collect();
            (!shown.is_empty()).then_some(Value::Array(shown))
        }
        value => parts(value, children, &inside),
    }
}

/// The selected parts of one object, or None where there are none.
fn parts(value: Value, children: &[Attribute], selection: &Selection) -> Option<Value> {
    let Value::Object(object) = value else {
        return Some(value);
    };
    let mut shown = Map::new();
    for (key, value) in object {
        let child = children.iter().find(|child| child.name == key);
        let returned = child.map_or(Returned::Default, |child| child.returned);
        let grandchildren = child.map_or(&[][..], |child| &child.sub_attributes);
        if let Some(value) = show(value, returned, grandchildren, &selection.below(&key)) {
            shown.insert(key, value);
        }
    }
    (!shown.is_empty()).then_some(Value::Object(shown))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::scim::schema::{ENTERPRISE_URN, Kind, USER_URN};

    fn ada() -> Document {
        let ada = json!({
            "schemas": [USER_URN, ENTERPRISE_URN, "urn:example:x:2.0:User"],
            "id": "1",
            "userName": "ada",
            "name": {"givenName": "Ada", "familyName": "Lovelace"},
            "emails": [{"value": "a@x", "type": "work"}, {"type": "home"}],
            ENTERPRISE_URN: {"department": "Maths", "manager": {"value": "2"}},
            "urn:example:x:2.0:User": {"badge": 7},
            "meta": {"resourceType": "User", "version": "W/\"1\""},
        });
        let Value::Object(ada) = ada else {
            unreachable!()
        };
        ada
    }

    fn paths(names: &[&str]) -> Vec<AttrPath> {
        names
            .iter()
            .map(|name| AttrPath::parse(name).unwrap())
            .collect()
    }

    #[track_caller]
    fn only(names: &[&str], expected: Value) {
        let projection = Projection {
            attributes: paths(names),
            ..Projection::default()
        };
        let mut shown = project(ada(), &projection, Kind::User.resource_type());
        assert_eq!(shown.remove("id"), Some(json!("1")));
        assert!(shown.remove("schemas").is_some());
        assert_eq!(Value::Object(shown), expected);
    }

    #[test]
    fn shows_what_is_asked_for() {
        only(&["USERNAME"], json!({"userName": "ada"}));
        only(&["nothing"], json!({}));
        only(
            &["name.givenname", "meta.version"],
            json!({"name": {"givenName": "Ada"}, "meta": {"version": "W/\"1\""}}),
        );
        only(&["emails.value"], json!({"emails": [{"value": "a@x"}]}));
        only(
            &["emails.value", "emails"],
            json!({"emails": [{"value": "a@x", "type": "work"}, {"type": "home"}]}),
        );
        only(
            &["urn:ietf:params:scim:schemas:core:2.0:User:userName"],
            json!({"userName": "ada"}),
        );
    }

    #[test]
    fn shows_what_is_asked_for_of_extensions() {
        let whole = json!({"department": "Maths", "manager": {"value": "2"}});
        only(&[ENTERPRISE_URN], json!({ENTERPRISE_URN: whole}));
        only(
            &[&format!("{ENTERPRISE_URN}:department")],
            json!({ENTERPRISE_URN: {"department": "Maths"}}),
        );
        only(
            &[&format!("{ENTERPRISE_URN}:manager.value")],
            json!({ENTERPRISE_URN: {"manager": {"value": "2"}}}),
        );
        only(
            &["manager.value"],
            json!({ENTERPRISE_URN: {"manager": {"value": "2"}}}),
        );
        for foreign in ["urn:example:x:2.0:User:badge", "URN:example:X:2.0:user"] {
            only(&[foreign], json!({"urn:example:x:2.0:User": {"badge": 7}}));
        }
    }

    #[test]
    fn leaves_out_what_is_excluded_but_never_the_id() {
        let names = [
            "id",
            "schemas",
            "meta",
            "emails.type",
            "name",
            &format!("{ENTERPRISE_URN}:manager"),
        ];
        let projection = Projection {
            excluded_attributes: paths(&names),
            ..Projection::default()
        };
        let shown = project(ada(), &projection, Kind::User.resource_type());
        assert_eq!(
            Value::Object(shown),
            json!({
                "schemas": [USER_URN, ENTERPRISE_URN, "urn:example:x:2.0:User"],
                "id": "1",
                "userName": "ada",
                "emails": [{"value": "a@x"}],
                ENTERPRISE_URN: {"department": "Maths"},
                "urn:example:x:2.0:User": {"badge": 7},
            })
        );
    }

    #[test]
    fn without_a_projection_everything_stays() {
        assert_eq!(
            project(ada(), &Projection::default(), Kind::User.resource_type()),
            ada()
        );
    }

    #[test]
    fn members_are_computed_only_where_they_show() {
        let group = Kind::Group.resource_type();
        let excluding = |names: &[&str]| Projection {
            excluded_attributes: paths(names),
            ..Projection::default()
        };
        let selecting = |names: &[&str]| Projection {
            attributes: paths(names),
            ..Projection::default()
        };
        assert!(shows(&Projection::default(), "members", group));
        assert!(!shows(&excluding(&["Members"]), "members", group));
        assert!(shows(&excluding(&["members.display"]), "members", group));
        assert!(!shows(&selecting(&["displayName"]), "members", group));
        assert!(shows(&selecting(&["members.value"]), "members", group));
    }
}
