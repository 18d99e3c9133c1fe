//! What Entra ID and Okta send, request by request. Pure.
//!
//! Entra ID: Microsoft Learn, "Develop and plan provisioning for a SCIM endpoint" and "Known issues and resolutions with
//! SCIM 2.0 protocol compliance", for the feature flag `aadOptscim062020` too. Okta: Okta Developer, "SCIM 2.0 protocol
//! reference", as an application made by an administrator, which changes users by PUT.

use serde_json::{Map, Value, json};

use super::organisation::Group;
use super::person::{Attribute, ENTERPRISE, Person, USER};

const GROUP: &str = "urn:ietf:params:scim:schemas:core:2.0:Group";
const PATCH_OP: &str = "urn:ietf:params:scim:api:messages:2.0:PatchOp";

/// Most resources of a page, and most members that are named in a PATCH of Entra ID.
pub const PAGE: usize = 100;

/// Entra ID's flag in the Tenant URL.
pub const FLAG: &str = "aadOptscim062020";

/// Who is played.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// Entra ID as it is without a flag: `Replace`, and booleans as text.
    Entra,
    /// Entra ID with `?aadOptscim062020` in the Tenant URL: closer to the RFC.
    EntraFlag,
    /// Okta.
    Okta,
}

/// A request, relative to the SCIM base URL. Entra ID's flag is in that.
#[derive(Clone, Debug, PartialEq)]
pub struct Request {
    /// GET, POST, PUT, PATCH or DELETE.
    pub method: &'static str,
    /// Path and query.
    pub path: String,
    /// JSON that is sent.
    pub body: Option<Value>,
}

impl Dialect {
    /// Whether it is Entra ID, in whichever way.
    pub fn is_entra(self) -> bool {
        self != Dialect::Okta
    }

    /// What administrators call it.
    pub fn name(self) -> &'static str {
        match self {
            Dialect::Entra => "Entra ID",
            Dialect::EntraFlag => "Entra ID with aadOptscim062020",
            Dialect::Okta => "Okta",
        }
    }

    /// The button *Test Connection*: Entra ID looks for somebody who can't be there, Okta reads the beginning.
    pub fn test_connection(self, guid: &str) -> Request {
        match self {
            Dialect::Okta => get("/Users?startIndex=1&count=2"),
            _ => self.find_user(guid),
        }
    }

    /// Whether somebody of this userName is there.
    pub fn find_user(self, user_name: &str) -> Request {
        self.find("/Users?", "userName", user_name)
    }

    /// Whether a group of this name is there.
    pub fn find_group(self, name: &str) -> Request {
        match self {
            Dialect::Okta => self.find("/Groups?", "displayName", name),
            _ => self.find("/Groups?excludedAttributes=members&", "displayName", name),
        }
    }

    fn find(self, path: &str, attribute: &str, value: &str) -> Request {
        let quoted = value.replace('\\', "\\\\").replace('"', "\\\"");
        let filter = escaped(&format!("{attribute} eq \"{quoted}\""));
        match self {
            Dialect::Okta => get(&format!(
                "{path}filter={}&startIndex=1&count={PAGE}",
                filter.replace('+', "%20")
            )),
            _ => get(&format!("{path}filter={filter}")),
        }
    }

    /// A person for the first time. Entra ID sends no roleName with it, since that is no URN; it follows.
    pub fn create_user(self, person: &Person) -> Request {
        let mut user = match self {
            Dialect::Okta => json!({"locale": "en-US", "groups": []}),
            _ => json!({"meta": {"resourceType": "User"}, "roles": []}),
        };
        user["schemas"] = json!([USER, ENTERPRISE]);
        user["active"] = person.active.into();
        if let Some(user) = user.as_object_mut() {
            let sent = person
                .values
                .iter()
                .filter(|(attribute, _)| !(self.is_entra() && **attribute == Attribute::RoleName));
            sent.for_each(|(attribute, value)| attribute.put(user, value));
        }
        request("POST", "/Users", Some(user))
    }

    /// What has changed of a person, if anything but `active`. Okta writes back what it has just read, `current`.
    pub fn change_user(
        self,
        id: &str,
        before: &Person,
        after: &Person,
        current: &Value,
    ) -> Option<Request> {
        let changes = before.changes(after);
        if changes.is_empty() {
            return None;
        }
        let path = format!("/Users/{id}");
        if self == Dialect::Okta {
            let mut user = current.as_object().cloned().unwrap_or_default();
            changes
                .iter()
                .for_each(|(attribute, value)| attribute.put(&mut user, value));
            return Some(request("PUT", &path, Some(Value::Object(user))));
        }
        let verb = |attribute| match before.values.contains_key(&attribute) {
            true => "Replace",
            false => "Add",
        };
        let alone = |(attribute, value): &(Attribute, &str)| json!({"op": self.verb(verb(*attribute)), "path": attribute.path(), "value": value});
        if self == Dialect::Entra {
            return Some(patch(&path, changes.iter().map(alone).collect()));
        }
        let (in_lists, plain): (Vec<_>, Vec<_>) = changes
            .iter()
            .partition(|(attribute, _)| attribute.is_in_a_list());
        let mut operations: Vec<Value> = in_lists.into_iter().map(alone).collect();
        if !plain.is_empty() {
            let key = |attribute: Attribute| match attribute {
                Attribute::RoleName => attribute.name().to_owned(),
                _ => attribute.path(),
            };
            let value: Map<String, Value> = plain
                .into_iter()
                .map(|(attribute, value)| (key(*attribute), (*value).into()))
                .collect();
            operations.push(json!({"op": "replace", "value": value}));
        }
        Some(patch(&path, operations))
    }

    /// Lets a person in or not.
    pub fn set_active(self, id: &str, active: bool) -> Request {
        let operation = match self {
            Dialect::Entra => {
                let text = if active { "True" } else { "False" };
                json!({"op": "Replace", "path": "active", "value": text})
            }
            Dialect::EntraFlag => json!({"op": "replace", "path": "active", "value": active}),
            Dialect::Okta => json!({"op": "replace", "value": {"active": active}}),
        };
        patch(&format!("/Users/{id}"), vec![operation])
    }

    /// Entra ID's reference to a manager, by the server's ids, once both are there.
    pub fn set_manager(self, id: &str, manager: &str) -> Request {
        let path = format!("{ENTERPRISE}:manager");
        let operation = json!({"op": self.verb("Add"), "path": path, "value": manager});
        patch(&format!("/Users/{id}"), vec![operation])
    }

    /// A group for the first time, without its members.
    pub fn create_group(self, group: &Group) -> Request {
        let body = match self {
            Dialect::Okta => json!({
                "schemas": [GROUP], "displayName": group.name, "members": [],
            }),
            _ => json!({
                "schemas": [GROUP, "http://schemas.microsoft.com/2006/11/ResourceManagement/ADSCIM/2.0/Group"],
                "externalId": group.external_id, "displayName": group.name, "meta": {"resourceType": "Group"},
            }),
        };
        request("POST", "/Groups", Some(body))
    }

    /// Another name for a group.
    pub fn rename_group(self, id: &str, name: &str) -> Request {
        let operation = match self {
            Dialect::Entra => json!({"op": "Replace", "path": "displayName", "value": name}),
            Dialect::EntraFlag => json!({"op": "replace", "value": {"displayName": name}}),
            Dialect::Okta => okta_name(id, name),
        };
        patch(&format!("/Groups/{id}"), vec![operation])
    }

    /// All members of a group, as Okta pushes it anew.
    pub fn replace_members(self, id: &str, members: &[Member<'_>]) -> Request {
        let operation = json!({"op": "replace", "path": "members", "value": self.members(members)});
        patch(&format!("/Groups/{id}"), vec![operation])
    }

    /// Who joins and who leaves a group called `name`: for Entra ID a request each, for Okta one, which has the name too.
    pub fn change_members(
        self,
        id: &str,
        name: &str,
        joining: &[Member<'_>],
        leaving: &[Member<'_>],
    ) -> Vec<Request> {
        let path = format!("/Groups/{id}");
        let add =
            json!({"op": self.verb("Add"), "path": "members", "value": self.members(joining)});
        let one_by_one = leaving.iter().map(|member| {
            let path = format!("members[value eq \"{}\"]", member.id);
            json!({"op": "remove", "path": path})
        });
        if self == Dialect::Okta {
            let mut operations = vec![okta_name(id, name)];
            operations.extend(one_by_one);
            operations.extend((!joining.is_empty()).then_some(add));
            return vec![patch(&path, operations)];
        }
        let mut requests = Vec::new();
        if !joining.is_empty() {
            requests.push(patch(&path, vec![add]));
        }
        if !leaving.is_empty() {
            let operations = match self {
                Dialect::Entra => {
                    vec![json!({"op": "Remove", "path": "members", "value": self.members(leaving)})]
                }
                _ => one_by_one.collect(),
            };
            requests.push(patch(&path, operations));
        }
        requests
    }

    fn members(self, members: &[Member<'_>]) -> Value {
        let one = |member: &Member<'_>| match self {
            Dialect::Okta => json!({"value": member.id, "display": member.name}),
            _ => json!({"$ref": null, "value": member.id}),
        };
        members.iter().map(one).collect()
    }

    /// Entra ID's verbs begin with a capital where no flag says otherwise.
    fn verb(self, verb: &str) -> String {
        match self {
            Dialect::Entra => verb.to_owned(),
            _ => verb.to_ascii_lowercase(),
        }
    }
}

/// A page of `/Users` or `/Groups`, by the number of its first resource; groups without their members.
pub fn page(endpoint: &str, start: usize) -> Request {
    let excluded = match endpoint {
        "/Groups" => "&excludedAttributes=members",
        _ => "",
    };
    get(&format!(
        "{endpoint}?startIndex={start}&count={PAGE}{excluded}"
    ))
}

/// A resource by its path: `/Users/ID`.
pub fn get(path: &str) -> Request {
    request("GET", path, None)
}

/// Deletes a resource.
pub fn delete(path: &str) -> Request {
    request("DELETE", path, None)
}

fn patch(path: &str, operations: Vec<Value>) -> Request {
    let body = json!({"schemas": [PATCH_OP], "Operations": operations});
    request("PATCH", path, Some(body))
}

fn request(method: &'static str, path: &str, body: Option<Value>) -> Request {
    Request {
        method,
        path: path.to_owned(),
        body,
    }
}

/// Somebody who joins or leaves a group.
#[derive(Clone, Copy, Debug)]
pub struct Member<'a> {
    /// The server's id.
    pub id: &'a str,
    /// Their name, which Okta says too.
    pub name: &'a str,
}

fn okta_name(id: &str, name: &str) -> Value {
    json!({"op": "replace", "value": {"id": id, "displayName": name}})
}

/// A query's value, with spaces as Entra ID has them.
fn escaped(text: &str) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        match byte {
            b' ' => out.push('+'),
            b'-' | b'.' | b'_' | b'~' => out.push(byte.into()),
            _ if byte.is_ascii_alphanumeric() => out.push(byte.into()),
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use Attribute::*;

    fn ana() -> Person {
        let text = [
            (ExternalId, "c1f4a7de-6f57-4f0b-9d0c-2f9d8c1b7a10"),
            (UserName, "ana.ruiz@contoso.example"),
            (DisplayName, "Ana Ruiz"),
            (Title, "Engineer"),
            (Email, "ana.ruiz@contoso.example"),
            (Formatted, "Ana Ruiz"),
            (FamilyName, "Ruiz"),
            (GivenName, "Ana"),
            (EmployeeNumber, "701984"),
            (Department, "Ops"),
            (RoleName, "Responder"),
        ];
        Person {
            values: text.map(|(name, value)| (name, value.to_owned())).into(),
            active: true,
            manager: None,
            id: None,
        }
    }

    /// Each line of a file is a name, then method and path, then the body.
    fn assert_sends(file: &str, sent: &[(&str, Request)]) {
        let expected: Vec<Value> = serde_json::from_str(file).unwrap();
        let sent: Vec<Value> = sent
            .iter()
            .map(|(name, request)| {
                json!({"what": name, "request": format!("{} {}", request.method, request.path), "body": request.body})
            })
            .collect();
        for (sent, expected) in sent.iter().zip(&expected) {
            assert_eq!(sent, expected);
        }
        assert_eq!(sent.len(), expected.len());
    }

    fn requests(dialect: Dialect) -> Vec<(&'static str, Request)> {
        let before = ana();
        let mut unassigned = before.clone();
        unassigned.values.remove(&RoleName);
        let after = before
            .with(Title, "Architect")
            .with(Email, "ana@contoso.example")
            .with(Department, "Retail");
        let group = Group {
            name: "SRE".to_owned(),
            external_id: "8aa1a0c0".to_owned(),
            planned: BTreeSet::new(),
            members: BTreeSet::new(),
            former: BTreeSet::new(),
            id: None,
        };
        let [one, two] = ["U1", "U2"].map(|id| Member {
            id,
            name: "Somebody",
        });
        let current =
            json!({"id": "U1", "title": "Engineer", "emails": [{"type": "work", "value": "old"}]});
        let changed = |before: &Person, after: &Person| {
            dialect.change_user("U1", before, after, &current).unwrap()
        };
        let mut all = vec![
            (
                "test connection",
                dialect.test_connection("5f3c0a52-8d38-4a83-9a61-2b1a0ac0d1f7"),
            ),
            ("find", dialect.find_user("ana.ruiz@contoso.example")),
            ("create", dialect.create_user(&before)),
            ("change", changed(&before, &after)),
            ("role", changed(&unassigned, &before)),
            ("disable", dialect.set_active("U1", false)),
            ("restore", dialect.set_active("U1", true)),
            ("find group", dialect.find_group("SRE")),
            ("create group", dialect.create_group(&group)),
            ("rename group", dialect.rename_group("G1", "SRE EU")),
        ];
        let change = dialect.change_members("G1", "SRE", &[one, two], &[one]);
        all.extend(change.into_iter().map(|request| ("members", request)));
        match dialect {
            Dialect::Okta => all.push(("all members", dialect.replace_members("G1", &[one, two]))),
            _ => all.push(("manager", dialect.set_manager("U1", "M1"))),
        }
        all.push(("delete", delete("/Groups/G1")));
        all
    }

    #[test]
    fn entra_sends_what_microsoft_documents() {
        let file = include_str!("../../tests/data/simulate/entra.json");
        assert_sends(file, &requests(Dialect::Entra));
    }

    #[test]
    fn entra_sends_what_microsoft_documents_for_its_flag() {
        let file = include_str!("../../tests/data/simulate/entra-flag.json");
        assert_sends(file, &requests(Dialect::EntraFlag));
    }

    #[test]
    fn okta_sends_what_okta_documents() {
        let file = include_str!("../../tests/data/simulate/okta.json");
        assert_sends(file, &requests(Dialect::Okta));
    }

    #[test]
    fn nothing_is_sent_where_nothing_has_changed() {
        let before = ana();
        let mut disabled = before.clone();
        disabled.active = false;
        for dialect in [Dialect::Entra, Dialect::EntraFlag, Dialect::Okta] {
            assert_eq!(
                dialect.change_user("U1", &before, &disabled, &Value::Null),
                None
            );
        }
    }

    #[test]
    fn a_filter_survives_its_query() {
        let request = Dialect::Entra.find_user("o'brien+\"x\\@contoso.example");
        let expected =
            "/Users?filter=userName+eq+%22o%27brien%2B%5C%22x%5C%5C%40contoso.example%22";
        assert_eq!(request.path, expected);
    }
}
