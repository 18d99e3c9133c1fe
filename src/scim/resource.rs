//! A resource's JSON: what is kept, and what is shown.
//!
//! A *document* is what the store keeps of a resource: the client's attributes under the schema's spelling of their
//! names, values byte for byte, extension objects under their URN. It never holds `schemas`, `id`, `meta`, nor the
//! membership attribute (`members` of a Group, `groups` of a User): [`assemble`] adds those.

use std::borrow::Cow;
use std::fmt;

use caseless::Caseless;
use jiff::Timestamp;
use jiff::fmt::temporal::DateTimePrinter;
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};
use unicode_normalization::UnicodeNormalization;

use super::schema::{Kind, ResourceType};
use super::stored::withhold;

/// A JSON object of attributes.
pub type Document = Map<String, Value>;

/// What the text that a document is stored as is read into.
pub trait FromText: Sized {
    /// Reads it.
    ///
    /// # Errors
    /// Where it isn't the JSON of a document.
    fn from_text(text: &str) -> serde_json::Result<Self>;

    /// What to keep of the text beside it.
    fn beside(text: &str) -> String;
}

impl FromText for Document {
    fn from_text(text: &str) -> serde_json::Result<Document> {
        serde_json::from_str(text)
    }

    fn beside(text: &str) -> String {
        text.to_owned()
    }
}

/// The text itself, of which an [`Outline`] will be read.
impl FromText for String {
    fn from_text(text: &str) -> serde_json::Result<String> {
        Ok(text.to_owned())
    }

    fn beside(_: &str) -> String {
        String::new()
    }
}

/// A document of which each value is still the text that it was stored as: most are only shown, and never looked into.
#[derive(Clone, Debug)]
pub struct Outline<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

impl<'de> Deserialize<'de> for Outline<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Outline<'de>, D::Error> {
        deserializer.deserialize_map(Members)
    }
}

struct Members;

impl<'de> Visitor<'de> for Members {
    type Value = Outline<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a document")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<Outline<'de>, A::Error> {
        #[derive(serde::Deserialize)]
        struct Key<'a>(#[serde(borrow)] Cow<'a, str>);

        let mut members = Vec::with_capacity(16);
        while let Some((Key(key), value)) = object.next_entry()? {
            members.push((key, value));
        }
        Ok(Outline(members))
    }
}

/// A [`Document`], or the [`Outline`] of one.
pub trait Content {
    /// Its attributes and extensions.
    type Value: Serialize;

    /// By their keys, in the order in which they are stored.
    fn members(&self) -> impl Iterator<Item = (&str, &Self::Value)>;

    /// What is behind a key.
    fn member(&self, key: &str) -> Option<&Self::Value>;

    /// Looks into a value.
    fn value(value: &Self::Value) -> Cow<'_, Value>;
}

impl Content for Document {
    type Value = Value;

    fn members(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.iter().map(|(key, value)| (key.as_str(), value))
    }

    fn member(&self, key: &str) -> Option<&Value> {
        self.get(key)
    }

    fn value(value: &Value) -> Cow<'_, Value> {
        Cow::Borrowed(value)
    }
}

impl<'a> Content for Outline<'a> {
    type Value = &'a RawValue;

    fn members(&self) -> impl Iterator<Item = (&str, &&'a RawValue)> {
        self.0.iter().map(|(key, value)| (key.as_ref(), value))
    }

    fn member(&self, key: &str) -> Option<&&'a RawValue> {
        self.members()
            .find_map(|(at, value)| (at == key).then_some(value))
    }

    fn value<'v>(value: &'v &'a RawValue) -> Cow<'v, Value> {
        // It was read as JSON before, and is.
        Cow::Owned(serde_json::from_str(value.get()).unwrap_or_default())
    }
}

/// The attribute that decides a user's role; see [`settle_role_name`].
pub(super) const ROLE_NAME: &str = "roleName";

/// What extension URNs of the pattern that Microsoft asks admins to follow begin with (entra.md §2.1).
const EXTENSION_PREFIX: &str = "urn:ietf:params:scim:schemas:extension:";

/// What the service provider adds to a document.
#[derive(Clone, Debug)]
pub struct Meta<'a> {
    /// `meta.resourceType`, and the endpoint in `meta.location`.
    pub kind: Kind,
    /// The resource's `id`.
    pub id: &'a str,
    /// `meta.created`.
    pub created: Timestamp,
    /// `meta.lastModified`.
    pub last_modified: Timestamp,
    /// Counts from 1; `meta.version` is its [`etag`].
    pub version: i64,
    /// URL of the SCIM root without a slash at its end, as in `https://HOST/scim/v2`.
    pub base: &'a str,
}

impl Serialize for Meta<'_> {
    /// The attribute `meta` (RFC 7643 §3.1).
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let (endpoint, id) = (self.kind.endpoint(), self.id);
        let mut map = serializer.serialize_map(Some(5))?;
        map.serialize_entry("resourceType", self.kind.as_str())?;
        map.serialize_entry("created", &date_time(self.created))?;
        map.serialize_entry("lastModified", &date_time(self.last_modified))?;
        map.serialize_entry("location", &[self.base, endpoint, id].join("/"))?;
        map.serialize_entry("version", &etag(self.version))?;
        map.end()
    }
}

/// The entity tag of a version, a weak one: `W/"3"` (RFC 7644 §3.14).
pub fn etag(version: i64) -> String {
    format!("W/\"{version}\"")
}

/// The resource as a client sees it: `document` without what is [withheld](withhold), with `schemas` (core plus each
/// extension object's URN), `id`, `meta` and, if given, the membership attribute's values.
pub fn assemble(
    document: Document,
    meta: &Meta<'_>,
    membership: Option<Vec<Value>>,
    resource_type: &ResourceType,
) -> Document {
    let mut resource = document;
    withhold(&mut resource, resource_type);
    let schemas = resource_type
        .schemas_of(resource.keys().map(String::as_str))
        .into();
    resource.insert("schemas".to_owned(), schemas);
    resource.insert("id".to_owned(), meta.id.into());
    resource.insert("meta".to_owned(), json!(meta));
    // A user's empty `groups` is unassigned and left out (RFC 7643 §2.5); a group's empty `members` is shown, for
    // Entra reads it back after each create.
    if let Some(values) = membership
        && (meta.kind == Kind::Group || !values.is_empty())
    {
        resource.insert(meta.kind.membership_attribute().to_owned(), values.into());
    }
    resource
}

/// RFC 3339 in UTC, always with milliseconds, so that equal lengths sort like the times they stand for.
fn date_time(at: Timestamp) -> String {
    const WRITER: DateTimePrinter = DateTimePrinter::new().precision(Some(3));
    WRITER.timestamp_to_string(&at)
}

/// `text` folded for caseless comparison: two names are the same if their foldings are (Unicode's canonical caseless
/// match, §3.13 D145). Not for display.
pub fn fold(text: &str) -> String {
    if text.is_ascii() {
        return text.to_ascii_lowercase();
    }
    text.nfd().default_case_fold().nfc().collect()
}

/// The attribute that names the resource (`userName` or `displayName`), e.g. for a log line. Empty where unassigned.
pub fn name_of<'a>(document: &'a Document, resource_type: &ResourceType) -> &'a str {
    document
        .get(resource_type.kind.name_attribute())
        .and_then(Value::as_str)
        .unwrap_or_default()
}

/// The names of the attributes and extensions in which two documents differ, in order.
pub fn differences<'a>(before: &'a Document, after: &'a Document) -> Vec<&'a str> {
    // Both are in the order of their keys.
    let mut after = after.iter().peekable();
    let mut names = vec![];
    for (name, value) in before {
        while let Some((added, _)) = after.next_if(|(other, _)| *other < name) {
            names.push(added.as_str());
        }
        let is = after.next_if(|(other, _)| *other == name);
        if is.is_none_or(|(_, is)| is != value) {
            names.push(name);
        }
    }
    names.extend(after.map(|(added, _)| added.as_str()));
    names
}

/// Whether a key of a document is an extension's URN and not an attribute's name.
pub(super) fn is_urn(key: &str) -> bool {
    starts_with(key, "urn:")
}

/// Whether `urn` has the form `urn:ietf:params:scim:schemas:extension:<X>:2.0:<type name>`, which Microsoft tells admins to
/// give to the attributes that they add.
pub(super) fn is_extension_of(urn: &str, kind: Kind) -> bool {
    let name = (starts_with(urn, EXTENSION_PREFIX).then(|| &urn[EXTENSION_PREFIX.len()..]))
        .and_then(|rest| without_end(rest, kind.as_str()))
        .and_then(|rest| without_end(rest, ":2.0:"));
    name.is_some_and(|name| !name.is_empty())
}

fn starts_with(text: &str, prefix: &str) -> bool {
    text.get(..prefix.len())
        .is_some_and(|start| start.eq_ignore_ascii_case(prefix))
}

/// What is in front of `end`, if `text` ends with it.
fn without_end<'a>(text: &'a str, end: &str) -> Option<&'a str> {
    let (text, is) = text.split_at_checked(text.len().checked_sub(end.len())?)?;
    is.eq_ignore_ascii_case(end).then_some(text)
}

/// `key` as `object` spells it, else as given: names and URNs compare without ASCII case.
pub(super) fn spelled_in(object: &Document, key: &str) -> String {
    object
        .keys()
        .find(|present| present.eq_ignore_ascii_case(key))
        .map_or_else(|| key.to_owned(), String::clone)
}

/// Makes a user's `roleName` and the `roleName` in extension objects one attribute.
///
/// Admins who follow Microsoft's naming rule map a role to `urn:…:extension:<X>:2.0:User:roleName`. Entra reads it back
/// from there, and sends it again for ever if it isn't found, while the product goes by the plain one. So the
/// extension's copy always follows the plain attribute.
pub(super) fn settle_role_name(document: &mut Document, kind: Kind) {
    if kind != Kind::User {
        return;
    }
    let plain = document.get(ROLE_NAME).cloned();
    document.retain(|urn, object| {
        let Value::Object(object) = object else {
            return true;
        };
        if !is_extension_of(urn, Kind::User) {
            return true;
        }
        let key = spelled_in(object, ROLE_NAME);
        match (&plain, object.contains_key(&key)) {
            (Some(value), true) => drop(object.insert(key, value.clone())),
            (None, true) => drop(object.remove(&key)),
            (_, false) => {}
        }
        !object.is_empty()
    });
}

/// Goes by the `roleName` that an extension object had in the body of a PUT, where the plain one is still what it was.
///
/// Okta changes the attribute that an admin mapped in what it has read, and sends all of it back: the other name for
/// the same attribute is stale then, and must not win.
pub fn take_extension_role(document: &mut Document, before: &Document, role: Option<Value>) {
    if let Some(role) = role
        && document.get(ROLE_NAME) == before.get(ROLE_NAME)
    {
        document.insert(ROLE_NAME.to_owned(), role);
        settle_role_name(document, Kind::User);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(value: Value) -> Document {
        let Value::Object(object) = value else {
            panic!("not an object: {value}")
        };
        object
    }

    #[test]
    fn shows_schemas_id_and_meta_around_the_document() {
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        let meta = Meta {
            kind: Kind::User,
            id: "42",
            created: at("2026-11-24T13:27:25.123456Z"),
            last_modified: at("2026-11-24T14:00:00Z"),
            version: 3,
            base: "https://scim.example/scim/v2",
        };
        let document = object(json!({"userName": "ada", "urn:example:x:2.0:User": {"a": 1}}));
        let shown = assemble(
            document,
            &meta,
            Some(vec![json!({"value": "g"})]),
            Kind::User.resource_type(),
        );
        assert_eq!(
            Value::Object(shown),
            json!({
                "schemas": ["urn:ietf:params:scim:schemas:core:2.0:User", "urn:example:x:2.0:User"],
                "id": "42",
                "userName": "ada",
                "groups": [{"value": "g"}],
                "urn:example:x:2.0:User": {"a": 1},
                "meta": {
                    "resourceType": "User",
                    "created": "2026-11-24T13:27:25.123Z",
                    "lastModified": "2026-11-24T14:00:00.000Z",
                    "location": "https://scim.example/scim/v2/Users/42",
                    "version": "W/\"3\"",
                },
            })
        );
    }

    /// Default case folding knows no language: İ and ı are no Latin i, in whatever case.
    #[test]
    fn folding_is_the_same_in_every_language() {
        assert_eq!(fold("ΣΊΣΥΦΟΣ"), fold("σίσυφος"));
        assert_eq!(fold("İ"), fold("i\u{307}"));
        assert_ne!(fold("İ"), fold("i"));
        assert_ne!(fold("ı"), fold("I"));
        assert_eq!(fold("ﬁ"), fold("FI"));
    }

    #[test]
    fn differences_are_named_in_order() {
        let before = object(json!({"b": 1, "c": 2, "d": [3], "f": 4}));
        let after = object(json!({"a": 0, "b": 1, "d": [], "e": 1, "f": 4, "g": 5}));
        assert_eq!(differences(&before, &after), ["a", "c", "d", "e", "g"]);
        assert_eq!(differences(&after, &before), ["a", "c", "d", "e", "g"]);
        assert!(differences(&after, &after).is_empty());
    }

    #[test]
    fn folds_case_and_composition() {
        assert_eq!(fold("Zoë@EXAMPLE.com"), fold("ZOE\u{308}@example.COM"));
        assert_eq!(fold("STRASSE"), fold("straße"));
        assert_ne!(fold("ada"), fold("ade"));
    }

    #[test]
    fn knows_the_extension_urns_that_microsoft_prescribes() {
        let is = |urn: &str| is_extension_of(urn, Kind::User);
        assert!(is("urn:ietf:params:scim:schemas:extension:Acme:2.0:User"));
        assert!(is(
            "URN:ietf:params:scim:schemas:extension:acme.co:2.0:user"
        ));
        assert!(!is("urn:ietf:params:scim:schemas:extension:acme:2.0:Group"));
        assert!(!is("urn:ietf:params:scim:schemas:extension::2.0:User"));
        assert!(!is("urn:ietf:params:scim:schemas:extension:2.0:User"));
        assert!(!is("urn:ietf:params:scim:schemas:core:2.0:User"));
        assert!(!is("urn:ietf:params:scim:schemas:extension:é"));
    }

    #[test]
    fn an_extensions_role_name_follows_the_plain_one() {
        let urn = "urn:ietf:params:scim:schemas:extension:acme:2.0:User";
        let mut document =
            object(json!({"roleName": "Admin", urn: {"RoleName": "Member", "badge": "7"}}));
        settle_role_name(&mut document, Kind::User);
        assert_eq!(document[urn], json!({"RoleName": "Admin", "badge": "7"}));
        document.remove("roleName");
        settle_role_name(&mut document, Kind::User);
        assert_eq!(document[urn], json!({"badge": "7"}));
    }
}
