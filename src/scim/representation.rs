//! A resource as an answer shows it, written as JSON text.
//!
//! Most answers show all that is returned by default. Such a one is written straight from the stored document, since a
//! second tree of the same values costs more than all else that a read does, and a group of 100,000 members would be in
//! memory several times. Anything else takes the long way, [`assemble`] and [`project`], which says what this must be, too.

use std::{fmt, io, mem};

use serde::ser::{Serialize, SerializeMap, SerializeSeq, Serializer};
use serde_json::Value;

use super::member::Link;
use super::message::Projection;
use super::project::{Extent, by_default, part, project};
use super::resource::{Content, Document, Meta, assemble};
use super::schema::{Attribute, ResourceType};

/// Most bytes of a piece of a [`Text`].
const PIECE_BYTES: usize = 256 * 1024;

/// The values of the membership attribute: shows each to who asks, in their order.
pub type Links<'a> = &'a dyn Fn(&mut dyn FnMut(&Link));

/// What an answer shows of a resource.
#[derive(Clone, Copy)]
pub struct Representation<'a, D> {
    /// As stored.
    pub document: &'a D,
    /// What the service provider adds.
    pub meta: &'a Meta<'a>,
    /// The membership attribute, where it is shown and has a value; a Group's has one always, which may be empty.
    pub links: Option<Links<'a>>,
    /// What of it is asked for.
    pub projection: &'a Projection,
    /// The tenant's.
    pub resource_type: &'a ResourceType,
}

impl<D: Content> Representation<'_, D> {
    /// Whether all is shown that is returned by default, and nothing can be withheld.
    fn is_plain(&self) -> bool {
        *self.projection == Projection::default()
            && (self.resource_type.declared.iter()).all(|declaration| declaration.is_built_in())
    }

    /// The long way.
    fn assembled(&self) -> Document {
        let membership = self.links.map(|links| {
            let mut values = vec![];
            links(&mut |link| values.push(link.to_json(self.meta.base)));
            values
        });
        let member = |(key, value): (&str, _)| (key.to_owned(), D::value(value).into_owned());
        let document = self.document.members().map(member).collect();
        let resource = assemble(document, self.meta, membership, self.resource_type);
        project(resource, self.projection, self.resource_type)
    }
}

impl<D: Content> Serialize for Representation<'_, D> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if !self.is_plain() {
            return self.assembled().serialize(serializer);
        }
        let resource_type = self.resource_type;
        let mut map = serializer.serialize_map(None)?;
        let keys = self.document.members().map(|(key, _)| key);
        map.serialize_entry("schemas", &resource_type.schemas_of(keys))?;
        map.serialize_entry("id", self.meta.id)?;
        for (key, value) in self.document.members() {
            match by_default(key, resource_type) {
                Extent::Whole => map.serialize_entry(key, value)?,
                Extent::Part => {
                    if let Some(value) = part(key, D::value(value).into_owned(), resource_type) {
                        map.serialize_entry(key, &value)?;
                    }
                }
                Extent::Nothing => {}
            }
        }
        let name = self.meta.kind.membership_attribute();
        if let Some(links) = self.links
            && let Some(attribute) = resource_type
                .attribute(name)
                .filter(|it| it.is_by_default())
        {
            let links = Membership {
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
struct Membership<'a> {
    links: Links<'a>,
    base: &'a str,
    attribute: &'a Attribute,
}

impl Serialize for Membership<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let shows = |name: &str| {
            let parts = &self.attribute.sub_attributes;
            (parts.iter().find(|part| part.name == name)).is_none_or(Attribute::is_by_default)
        };
        let [value, location, display, r#type] = ["value", "$ref", "display", "type"].map(shows);
        let mut list = serializer.serialize_seq(None)?;
        let mut written = Ok(());
        (self.links)(&mut |link| {
            if written.is_ok() {
                written = list.serialize_element(&Shown {
                    value: value.then_some(link.id.as_str()),
                    location: location.then(|| link.location(self.base)),
                    display: display.then_some(link.display.as_str()),
                    r#type: r#type.then_some(link.r#type),
                });
            }
        });
        written?;
        list.end()
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

/// JSON text in pieces, none of which is large: a long buffer is copied as it grows, and the system's allocator never gives
/// back as much as it has once seen in one.
#[derive(Clone, Debug, Default)]
pub struct Text {
    full: Vec<Vec<u8>>,
    last: Vec<u8>,
}

impl Text {
    /// A value's text; what is written here can always be written.
    pub fn of(value: &impl Serialize) -> Text {
        let mut text = Text::default();
        if serde_json::to_writer(&mut text, value).is_err() {
            text = Text::of(&Value::Null);
        }
        text
    }

    /// Its bytes, in order.
    pub fn into_pieces(self) -> Vec<Vec<u8>> {
        let mut pieces = self.full;
        pieces.push(self.last);
        pieces
    }

    /// Makes room for so many bytes in the last piece.
    #[cold]
    fn make_room(&mut self, bytes: usize) {
        if self.last.len() + bytes <= PIECE_BYTES {
            // The first grows, since most texts are short.
            let room = (self.last.capacity() * 2).clamp(1024, PIECE_BYTES);
            self.last.reserve_exact(bytes.max(room - self.last.len()));
        } else {
            let next = Vec::with_capacity(PIECE_BYTES.max(bytes));
            self.full.push(mem::replace(&mut self.last, next));
        }
    }
}

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A piece ends where a string that was written ends, and so within no character.
        (self.full.iter().chain([&self.last]))
            .try_for_each(|piece| f.write_str(&String::from_utf8_lossy(piece)))
    }
}

impl io::Write for Text {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.write_all(bytes).map(|()| bytes.len())
    }

    #[inline]
    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.last.capacity() - self.last.len() < bytes.len() {
            self.make_room(bytes.len());
        }
        self.last.extend_from_slice(bytes);
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use serde_json::json;

    use super::*;
    use crate::scim::declare::Schemas;
    use crate::scim::resource::Outline;
    use crate::scim::schema::{Kind, Returned};

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
        let links = links.filter(|links| resource_type.kind == Kind::Group || !links.is_empty());
        let each = |with: &mut dyn FnMut(&Link)| links.unwrap_or_default().iter().for_each(with);
        let representation = Representation {
            document: of,
            meta: &meta,
            links: links.is_some().then_some(&each),
            projection: &Projection::default(),
            resource_type,
        };
        assert!(representation.is_plain());
        let text = Text::of(&representation).to_string();
        let written: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(written, Value::Object(representation.assembled()));
        let stored = serde_json::to_string(of).unwrap();
        let outline: Outline = serde_json::from_str(&stored).unwrap();
        let outlined = Representation {
            document: &outline,
            meta: representation.meta,
            links: representation.links,
            projection: representation.projection,
            resource_type,
        };
        assert_eq!(Text::of(&outlined).to_string(), text);
        assert_eq!(outlined.assembled(), representation.assembled());
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
            "displayName": "SRE", "externalId": "7", "urn:example:unknown": {"color": "red"}, "urn:ex:\"\n": [1]
        }));
        for links in [None, Some(vec![]), Some(links(Kind::User))] {
            is_the_same(groups, &group, links.as_deref());
        }
    }

    #[test]
    fn a_long_text_is_in_pieces_and_none_of_them_is_long() {
        let value = json!(vec!["ü😀 and more"; 100_000]);
        let text = Text::of(&value);
        assert_eq!(text.to_string(), value.to_string());
        let pieces = text.into_pieces();
        assert!(pieces.len() > 1 && pieces.iter().all(|piece| piece.capacity() <= PIECE_BYTES));
        assert_eq!(Text::of(&json!({})).into_pieces(), [b"{}"]);
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
        let users = users.finished();
        for person in people() {
            is_the_same(&users, &person, Some(&links(Kind::Group)));
        }
    }
}
