//! A person as the provider knows them: attributes, where each is in a SCIM user, and which of them two versions differ in.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

/// The core schema of users (RFC 7643 §4.1).
pub const USER: &str = "urn:ietf:params:scim:schemas:core:2.0:User";

/// The enterprise extension (RFC 7643 §4.3).
pub const ENTERPRISE: &str = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User";

/// What is provisioned of a person, of single-valued text each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Attribute {
    /// `userName`
    UserName,
    /// `externalId`
    ExternalId,
    /// `displayName`
    DisplayName,
    /// `name.formatted`
    Formatted,
    /// `name.givenName`
    GivenName,
    /// `name.familyName`
    FamilyName,
    /// `title`
    Title,
    /// The value of the e-mail of type work.
    Email,
    /// The value of the telephone number of type work.
    Phone,
    /// `department` of the enterprise extension.
    Department,
    /// `employeeNumber` of the enterprise extension.
    EmployeeNumber,
    /// `roleName`, which no RFC knows.
    RoleName,
}

use Attribute::*;

impl Attribute {
    /// How reports call it: the path, without a URN.
    pub fn name(self) -> &'static str {
        match self {
            UserName => "userName",
            ExternalId => "externalId",
            DisplayName => "displayName",
            Formatted => "name.formatted",
            GivenName => "name.givenName",
            FamilyName => "name.familyName",
            Title => "title",
            Email => "emails[type eq \"work\"].value",
            Phone => "phoneNumbers[type eq \"work\"].value",
            Department => "department",
            EmployeeNumber => "employeeNumber",
            RoleName => "roleName",
        }
    }

    /// The path in a PATCH as Entra ID writes it: with a URN before what is not of the core schema, and before
    /// attributes that an administrator has added.
    pub fn path(self) -> String {
        match self {
            Department | EmployeeNumber => format!("{ENTERPRISE}:{}", self.name()),
            RoleName => format!("{USER}:{}", self.name()),
            _ => self.name().to_owned(),
        }
    }

    /// Whether the path selects in a list, and so can't be a key of a value without a path.
    pub fn is_in_a_list(self) -> bool {
        matches!(self, Email | Phone)
    }

    /// What a user has there, of whatever type.
    pub fn of(self, user: &Value) -> Option<&Value> {
        let found = match self {
            Formatted => &user["name"]["formatted"],
            GivenName => &user["name"]["givenName"],
            FamilyName => &user["name"]["familyName"],
            Email => work(&user["emails"])?,
            Phone => work(&user["phoneNumbers"])?,
            Department | EmployeeNumber => &user[ENTERPRISE][self.name()],
            _ => &user[self.name()],
        };
        (!found.is_null()).then_some(found)
    }

    /// Writes a value there, as the whole of a user is sent by POST and PUT.
    pub fn put(self, user: &mut Map<String, Value>, value: &str) {
        match self {
            Formatted => inner(user, "name", "formatted", value),
            GivenName => inner(user, "name", "givenName", value),
            FamilyName => inner(user, "name", "familyName", value),
            Department | EmployeeNumber => inner(user, ENTERPRISE, self.name(), value),
            Email => put_work(user, "emails", value, json!({"primary": true})),
            Phone => put_work(user, "phoneNumbers", value, json!({})),
            _ => {
                user.insert(self.name().to_owned(), value.into());
            }
        }
    }
}

/// The value of the item of type work.
fn work(list: &Value) -> Option<&Value> {
    let item = list.as_array()?.iter().find(|item| item["type"] == "work");
    item.map(|item| &item["value"])
}

fn inner(user: &mut Map<String, Value>, outer: &str, name: &str, value: &str) {
    let place = user.entry(outer).or_insert_with(|| json!({}));
    if !place.is_object() {
        *place = json!({});
    }
    place[name] = value.into();
}

fn put_work(user: &mut Map<String, Value>, name: &str, value: &str, more: Value) {
    let list = user.entry(name).or_insert_with(|| json!([]));
    let items = list.as_array_mut();
    let item = items.and_then(|items| items.iter_mut().find(|item| item["type"] == "work"));
    match item {
        Some(item) => item["value"] = value.into(),
        None => {
            let mut item = more;
            item["type"] = "work".into();
            item["value"] = value.into();
            *list = json!([item]);
        }
    }
}

/// Somebody in the provider's directory.
#[derive(Clone, Debug, PartialEq)]
pub struct Person {
    /// What is known of them.
    pub values: BTreeMap<Attribute, String>,
    /// Whether they may sign in.
    pub active: bool,
    /// Whose number is their manager's.
    pub manager: Option<usize>,
    /// What the server calls them, while they are there.
    pub id: Option<String>,
}

impl Person {
    /// An attribute's text; empty if there is none.
    pub fn text(&self, attribute: Attribute) -> &str {
        self.values.get(&attribute).map_or("", String::as_str)
    }

    /// With another value of an attribute.
    pub fn with(&self, attribute: Attribute, value: impl Into<String>) -> Person {
        let mut after = self.clone();
        after.values.insert(attribute, value.into());
        after
    }

    /// The attributes that `after` has other values of.
    pub fn changes<'a>(&self, after: &'a Person) -> Vec<(Attribute, &'a str)> {
        let changed = after
            .values
            .iter()
            .filter(|(attribute, value)| self.values.get(attribute) != Some(value));
        changed
            .map(|(attribute, value)| (*attribute, value.as_str()))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Attribute; 12] = [
        UserName,
        ExternalId,
        DisplayName,
        Formatted,
        GivenName,
        FamilyName,
        Title,
        Email,
        Phone,
        Department,
        EmployeeNumber,
        RoleName,
    ];

    #[test]
    fn what_is_put_is_found() {
        let mut user = Map::new();
        for attribute in ALL {
            attribute.put(&mut user, "before");
            attribute.put(&mut user, attribute.name());
        }
        let user = Value::Object(user);
        for attribute in ALL {
            assert_eq!(attribute.of(&user), Some(&json!(attribute.name())));
            assert_eq!(attribute.of(&json!({"userName": null})), None);
        }
        assert_eq!(user["emails"].as_array().map(Vec::len), Some(1));
    }

    #[test]
    fn what_is_put_leaves_the_rest_of_a_list() {
        let mut user = json!({"emails": [{"type": "home", "value": "h"}, {"type": "work", "value": "w", "display": "d"}]});
        Email.put(user.as_object_mut().unwrap(), "new");
        let expected = json!([{"type": "home", "value": "h"}, {"type": "work", "value": "new", "display": "d"}]);
        assert_eq!(user["emails"], expected);
    }

    #[test]
    fn changes_are_what_differs() {
        let person = Person {
            values: [
                (Title, "Engineer".to_owned()),
                (Phone, "+1 555 0100".to_owned()),
            ]
            .into(),
            active: true,
            manager: None,
            id: None,
        };
        let after = person.with(Title, "Architect").with(RoleName, "Responder");
        assert_eq!(
            person.changes(&after),
            [(Title, "Architect"), (RoleName, "Responder")]
        );
        assert!(person.changes(&person).is_empty());
    }
}
