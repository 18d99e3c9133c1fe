//! A resource as an answer shows it, written as JSON text.
//!
//! Most answers show all that is returned by default. Such a one is written straight from the stored document, since a
//! second tree of the same values costs more than all else that a read does, and a group of 100,000 members would be in
//! memory several times. Anything else takes the long way, [`assemble`] and [`project`], which says what this must be, too.

use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::Value;

use super::member::Link;
use super::message::Projection;
use super::project::{Selected, by_default, is_by_default, project};
use super::resource::{Document, Meta, assemble};
use super::schema::{Attribute, Kind, ResourceType};

/// What an answer shows of a resource.
#[derive(Clone, Copy, Debug)]
pub struct Representation<'a> {
    /// As stored.
    pub document: &'a Document,
    /// What the service provider adds.
    pub meta: &'a Meta<'a>,
    /// The values of the membership attribute, where it is shown.
    pub links: Option<&'a [Link]>,
    /// What of it is asked for.
    pub projection: &'a Projection,
    /// The tenant's.
    pub resource_type: &'a ResourceType,
}

impl Representation<'_> {
    /// Whether all is shown that is returned by default, and nothing can be withheld.
    fn is_plain(&self) -> bool {
        *self.projection == Projection::default()
            && (self.resource_type.declared.iter()).all(|declaration| declaration.is_built_in())
    }

    /// The long way.
    fn assembled(&self) -> Document {
        let value = |link: &Link| link.to_json(self.meta.base);
        let membership = (self.links).map(|links| links.iter().map(value).collect());
        let resource = assemble(
            self.document.clone(),
            self.meta,
            membership,
            self.resource_type,
        );
        project(resource, self.projection, self.resource_type)
    }
}

impl Serialize for Representation<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if !self.is_plain() {
            return self.assembled().serialize(serializer);
        }
        let (kind, resource_type) = (self.meta.kind, self.resource_type);
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("schemas", &resource_type.schemas_of(self.document))?;
        map.serialize_entry("id", self.meta.id)?;
        for (key, value) in self.document {
            match by_default(key, value, resource_type) {
                Some(Selected::Whole(value)) => map.serialize_entry(key, value)?,
                Some(Selected::Part(value)) => map.serialize_entry(key, &value)?,
                None => {}
            }
        }
        let name = kind.membership_attribute();
        if let Some(links) = self.links
            // As `assemble` has it.
            && (kind == Kind::Group || !links.is_empty())
            && let Some(attribute) = resource_type.attribute(name).filter(|it| is_by_default(it))
        {
            let links = Links {
                links,
                base: self.meta.base,
                attribute,
            };
            map.serialize_entry(name, &links)?;
        }
        map.serialize_entry("meta", self.meta)?;
        map.end()
    }
}

/// The membership attribute's values, with those of their parts that are returned by default.
struct Links<'a> {
    links: &'a [Link],
    base: &'a str,
    attribute: &'a Attribute,
}

impl Serialize for Links<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let shows = |name: &str| {
            let parts = &self.attribute.sub_attributes;
            (parts.iter().find(|part| part.name == name)).is_none_or(is_by_default)
        };
        let [value, location, display, r#type] = ["value", "$ref", "display", "type"].map(shows);
        serializer.collect_seq(self.links.iter().map(|link| Shown {
            value: value.then_some(link.id.as_str()),
            location: location.then(|| link.location(self.base)),
            display: display.then_some(link.display.as_str()),
            r#type: r#type.then_some(link.r#type),
        }))
    }
}

#[derive(serde::Serialize)]
struct Shown<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<&'a str>,
    #[serde(rename = "$ref", skip_serializing_if = "Option::is_none")]
    location: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    display: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    r#type: Option<&'a str>,
}

/// A value's text; what is written here can always be written.
pub fn text(value: &impl Serialize) -> String {
    serde_json::to_string(value).unwrap_or_else(|_| Value::Null.to_string())
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use serde_json::json;

    use super::*;
    use crate::scim::declare::Schemas;
    use crate::scim::schema::Returned;

    fn document(value: Value) -> Document {
        match value {
            Value::Object(document) => document,
            other => panic!("{other} is no object"),
        }
    }

    /// Whatever is shown by default is the same by either way.
    #[track_caller]
    fn is_the_same(resource_type: &ResourceType, of: &Document, links: Option<&[Link]>) {
        let meta = Meta {
            kind: resource_type.kind,
            id: "0192",
            created: Timestamp::UNIX_EPOCH,
            last_modified: Timestamp::UNIX_EPOCH,
            version: 3,
            base: "https://host/scim/v2",
        };
        let representation = Representation {
            document: of,
            meta: &meta,
            links,
            projection: &Projection::default(),
            resource_type,
        };
        assert!(representation.is_plain());
        let written: Value = serde_json::from_str(&text(&representation)).unwrap();
        assert_eq!(written, Value::Object(representation.assembled()));
    }

    fn people() -> Vec<Document> {
        let people: Document =
            serde_json::from_str(include_str!("../../tests/data/people.json")).unwrap();
        let stored = |(_, person)| {
            let mut person = document(person);
            person.retain(|key, _| !["schemas", "id", "meta", "groups"].contains(&key.as_str()));
            person
        };
        people.into_iter().map(stored).collect()
    }

    fn links(kind: Kind) -> Vec<Link> {
        let link = |number: usize| Link {
            id: format!("id-{number}"),
            kind,
            display: format!("Team \"{number}\""),
            r#type: if number == 0 { "direct" } else { "indirect" },
        };
        (0..3).map(link).collect()
    }

    #[test]
    fn what_is_written_is_what_is_assembled() {
        let schemas = Schemas::built_in();
        let (users, groups) = (schemas.of(Kind::User), schemas.of(Kind::Group));
        for person in people() {
            for links in [None, Some(vec![]), Some(links(Kind::Group))] {
                is_the_same(users, &person, links.as_deref());
            }
        }
        let group = document(json!({
            "displayName": "SRE", "externalId": "7", "urn:example:unknown": {"color": "red"}
        }));
        for links in [None, Some(vec![]), Some(links(Kind::User))] {
            is_the_same(groups, &group, links.as_deref());
        }
    }

    /// In no schema of ours, but a tenant may declare such.
    #[test]
    fn parts_that_are_not_returned_by_default_are_left_out() {
        let mut users = Schemas::built_in().of(Kind::User).clone();
        for (name, part, returned) in [
            ("emails", "value", Returned::Request),
            ("name", "givenName", Returned::Never),
            ("groups", "display", Returned::Never),
        ] {
            let mut attributes = users.core.attributes.iter_mut();
            let attribute = attributes.find(|it| it.name == name).unwrap();
            let mut parts = attribute.sub_attributes.iter_mut();
            parts.find(|it| it.name == part).unwrap().returned = returned;
        }
        let title = (users.core.attributes.iter_mut()).find(|it| it.name == "title");
        title.unwrap().returned = Returned::Request;
        for person in people() {
            is_the_same(&users, &person, Some(&links(Kind::Group)));
        }
    }
}
