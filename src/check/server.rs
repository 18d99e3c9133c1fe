//! What a server says of itself: what it need not be asked for, because it doesn't have it.

use serde_json::{Map, Value, json};

use super::pattern::get;
use super::script::{Check, Exchange, Step};
use super::{ENTERPRISE, GROUP, Profile, USER};
use crate::scim_client::{Answer, Client, Trouble};

/// What discovery told (RFC 7644 §4). What can't be read is `None`.
#[derive(Clone, Debug, Default)]
pub struct Server {
    config: Option<Map<String, Value>>,
    resource_types: Option<Vec<Value>>,
    schemas: Option<Vec<Value>>,
    has_token: bool,
}

impl Server {
    /// Asks all three.
    ///
    /// # Errors
    ///
    /// Nobody answers.
    pub fn discover(client: &Client, has_token: bool) -> Result<Server, Trouble> {
        let ask = |path| client.send("GET", path, None);
        let config = ask("/ServiceProviderConfig")?;
        Ok(Server {
            config: object(&config).cloned(),
            resource_types: listed(&ask("/ResourceTypes")?),
            schemas: listed(&ask("/Schemas")?),
            has_token,
        })
    }

    /// Whether anything of it was like a SCIM server's.
    pub fn is_silent(&self) -> bool {
        let has_schemas = |config: &Map<String, Value>| get(config, "schemas").is_some();
        !self.config.as_ref().is_some_and(has_schemas)
            && self.resource_types.is_none()
            && self.schemas.is_none()
    }

    /// Why a check can't be made here, if it can't.
    ///
    /// What a client of the profile `rfc` reads off first is read off the steps: who sends a PATCH needs `patch`.
    pub fn lacks(&self, profile: Profile, check: &Check) -> Option<String> {
        let mut needs = check.needs.clone();
        for step in &check.steps {
            match step {
                Step::Given(given) => {
                    needs.push(given.resource_type.clone());
                    for (name, value) in given.attributes.as_object().into_iter().flatten() {
                        needs.extend(needs_of(&given.resource_type, name, value));
                    }
                }
                Step::Exchange(exchange) => {
                    needs.extend(resource_type_of(&exchange.path).map(str::to_owned));
                    if profile == Profile::Rfc {
                        needs.extend(features_of(exchange).map(str::to_owned));
                    }
                }
            }
        }
        needs.iter().find_map(|need| self.lacks_one(need))
    }

    fn lacks_one(&self, need: &str) -> Option<String> {
        match need {
            "token" => (!self.has_token).then(|| "no token was given".to_owned()),
            "User" => self.lacks_type(USER, need),
            "Group" => self.lacks_type(GROUP, need),
            "Enterprise" => self.lacks_enterprise(),
            "cursor" => self.lacks_feature("pagination", "cursor"),
            "index" => self.lacks_index(),
            need if need.starts_with("default ") => self.isnt_default(&need["default ".len()..]),
            feature if !feature.contains('.') => self.lacks_feature(feature, "supported"),
            attribute => self.lacks_attribute(attribute),
        }
    }

    fn lacks_feature(&self, feature: &str, member: &str) -> Option<String> {
        let Some(config) = &self.config else {
            return Some("its ServiceProviderConfig can’t be read".to_owned());
        };
        let told = get(config, feature).and_then(Value::as_object);
        let is_supported = told.and_then(|told| get(told, member)) == Some(&json!(true));
        let word = if member == "cursor" {
            "paging by cursor"
        } else {
            feature
        };
        (!is_supported)
            .then(|| format!("its ServiceProviderConfig doesn’t say that {word} is supported"))
    }

    /// Paging by index is there unless something else is said (RFC 9865 §4).
    fn lacks_index(&self) -> Option<String> {
        let pagination = get(self.config.as_ref()?, "pagination")?.as_object()?;
        let is_lacking = get(pagination, "index") == Some(&json!(false));
        is_lacking
            .then(|| "its ServiceProviderConfig says that there is no paging by index".to_owned())
    }

    fn lacks_type(&self, schema: &str, name: &str) -> Option<String> {
        let types = self.resource_types.as_ref()?;
        let is_there = types.iter().any(|one| one["schema"] == *schema);
        (!is_there).then(|| format!("its ResourceTypes have no {name}"))
    }

    fn lacks_enterprise(&self) -> Option<String> {
        let types = self.resource_types.as_ref()?;
        let user = types.iter().find(|one| one["schema"] == USER)?;
        let extensions = user["schemaExtensions"].as_array();
        let is_there = extensions
            .into_iter()
            .flatten()
            .any(|one| one["schema"] == ENTERPRISE);
        (!is_there).then(|| "its users have no enterprise extension".to_owned())
    }

    /// `default User.title`: returned where nothing is said about that, and not where other attributes are asked for.
    fn isnt_default(&self, path: &str) -> Option<String> {
        let (_, name) = path.split_once('.')?;
        let schema = self
            .schemas
            .as_ref()?
            .iter()
            .find(|one| one["id"] == USER)?;
        let mut attributes = schema["attributes"].as_array()?.iter();
        let returned = attributes.find(|one| is_called(one, name))?["returned"].as_str()?;
        (returned != "default")
            .then(|| format!("{path} is returned {returned}, as its schema says"))
    }

    /// `User.title`, `User.name.givenName`, `Enterprise.department`: in the schema, and writable unless it is read-only by
    /// the RFC.
    fn lacks_attribute(&self, path: &str) -> Option<String> {
        let mut names = path.split('.');
        let resource_type = names.next()?;
        let (schema, is_extension) = match resource_type {
            "Group" => (GROUP, false),
            "Enterprise" => (ENTERPRISE, true),
            _ => (USER, false),
        };
        if is_extension && let Some(why) = self.lacks_enterprise() {
            return Some(why);
        }
        let schema = self
            .schemas
            .as_ref()?
            .iter()
            .find(|one| one["id"] == schema)?;
        let mut attributes = &schema["attributes"];
        for name in names {
            if name == "externalId" {
                continue; // a common attribute, which is in no schema (RFC 7643 §3.1)
            }
            let mut all = attributes.as_array().into_iter().flatten();
            let found = all.find(|one| is_called(one, name));
            match found {
                Some(found) if found["mutability"] == "readOnly" && name != "groups" => {
                    return Some(format!("{path} is read-only in its schema"));
                }
                Some(found) => attributes = &found["subAttributes"],
                None => return Some(format!("its schema has no {path}")),
            }
        }
        None
    }

    /// Adds what the schema requires beyond what the RFC does, so that nothing is refused for that.
    pub fn complete(&self, resource: &mut Map<String, Value>, resource_type: &str, text: &str) {
        let id = if resource_type == "Group" {
            GROUP
        } else {
            USER
        };
        let schemas = self.schemas.iter().flatten();
        let schema = schemas.clone().find(|one| one["id"] == id);
        let attributes = schema.and_then(|schema| schema["attributes"].as_array());
        for attribute in attributes.into_iter().flatten() {
            let Some(name) = attribute["name"].as_str() else {
                continue;
            };
            if is_required(attribute) && get(resource, name).is_none() {
                resource.insert(name.to_owned(), example(attribute, text));
            }
        }
    }
}

fn is_required(attribute: &Value) -> bool {
    attribute["required"] == true && attribute["mutability"] != "readOnly"
}

fn is_called(attribute: &Value, name: &str) -> bool {
    attribute["name"]
        .as_str()
        .is_some_and(|known| known.eq_ignore_ascii_case(name))
}

/// A value that an attribute may have.
fn example(attribute: &Value, text: &str) -> Value {
    let canonical = attribute["canonicalValues"].get(0);
    let one = match attribute["type"].as_str() {
        Some("complex") => {
            let parts = attribute["subAttributes"].as_array().into_iter().flatten();
            let parts = parts.filter(|part| is_required(part) || is_called(part, "value"));
            let parts = parts
                .filter_map(|part| Some((part["name"].as_str()?.to_owned(), example(part, text))));
            Value::Object(parts.collect())
        }
        Some("boolean") => json!(false),
        Some("integer" | "decimal") => json!(1),
        Some("dateTime") => json!("2026-01-01T00:00:00Z"),
        Some("reference") => json!("https://example.com/"),
        _ => canonical
            .cloned()
            .unwrap_or_else(|| json!(format!("{text}@example.com"))),
    };
    match attribute["multiValued"] == true {
        true => json!([one]),
        false => one,
    }
}

/// `User.name` and `User.name.givenName` for a name that has one.
fn needs_of(resource_type: &str, name: &str, value: &Value) -> Vec<String> {
    let (resource_type, name) = match name {
        ENTERPRISE => ("Enterprise", ""),
        "schemas" => return Vec::new(),
        name => (resource_type, name),
    };
    let path = [resource_type, name].join(".");
    let path = path.trim_end_matches('.');
    let parts = match value {
        Value::Object(parts) => Some(parts),
        Value::Array(items) => items.first().and_then(Value::as_object),
        _ => None,
    };
    let parts = parts.into_iter().flat_map(Map::keys);
    let parts = parts.filter(|part| !part.starts_with('$'));
    let inner = parts.map(|part| format!("{path}.{part}"));
    inner.chain([path.to_owned()]).collect()
}

fn resource_type_of(path: &str) -> Option<&'static str> {
    let begins = |word: &str| path.starts_with(word);
    match path {
        _ if begins("/Users") => Some("User"),
        _ if begins("/Groups") => Some("Group"),
        _ => None,
    }
}

fn features_of(exchange: &Exchange) -> impl Iterator<Item = &'static str> {
    let asks = |word: &str| exchange.path.contains(word);
    let has_header = |word: &str| exchange.headers.iter().any(|(name, _)| name == word);
    let is_discovery = asks("/Schemas") || asks("/ResourceTypes") || asks("/ServiceProviderConfig");
    let features = [
        ("patch", exchange.method == "PATCH"),
        ("filter", asks("filter=") && !is_discovery),
        ("sort", asks("sortBy=") && !is_discovery),
        ("bulk", asks("/Bulk")),
        (
            "etag",
            has_header("If-Match") || has_header("If-None-Match"),
        ),
    ];
    features
        .into_iter()
        .filter(|(_, needed)| *needed)
        .map(|(feature, _)| feature)
}

fn object(answer: &Answer) -> Option<&Map<String, Value>> {
    let json = answer.json.as_ref().filter(|_| answer.status == 200);
    json.and_then(Value::as_object)
}

/// The resources of a list, or of what should have been one.
fn listed(answer: &Answer) -> Option<Vec<Value>> {
    let json = answer.json.as_ref().filter(|_| answer.status == 200)?;
    let items = match json {
        Value::Array(items) => Some(items),
        json => json
            .as_object()
            .and_then(|list| get(list, "Resources")?.as_array()),
    };
    items.cloned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::script::parse;

    fn server() -> Server {
        Server {
            config: json!({ "patch": { "supported": true }, "bulk": { "supported": false } })
                .as_object()
                .cloned(),
            resource_types: Some(vec![json!({ "schema": USER, "schemaExtensions": [] })]),
            schemas: Some(vec![json!({ "id": USER, "attributes": [
                { "name": "userName", "required": true },
                { "name": "title" },
                { "name": "nickName", "mutability": "readOnly" },
                { "name": "emails", "type": "complex", "multiValued": true, "required": true, "subAttributes": [
                    { "name": "value" }, { "name": "type", "canonicalValues": ["work"], "required": true }
                ] },
            ] })]),
            has_token: false,
        }
    }

    #[test]
    fn what_isnt_there_isnt_asked_for() {
        let enterprise = format!("+ ana User {{\"{ENTERPRISE}\": {{\"department\": \"x\"}}}}");
        for (steps, lacks) in [
            ("> PATCH /Users/{ana}", None),
            ("+ ana User {\"title\": \"x\", \"externalId\": \"y\"}", None),
            ("? User.emails.value\n> GET /Users", None),
            (
                "? User.emails.display\n> GET /Users",
                Some("its schema has no User.emails.display"),
            ),
            (
                "+ ana User {\"nickName\": \"x\"}",
                Some("User.nickName is read-only in its schema"),
            ),
            (
                "+ ana User {\"locale\": \"x\"}",
                Some("its schema has no User.locale"),
            ),
            ("+ sre Group", Some("its ResourceTypes have no Group")),
            ("> GET /Groups", Some("its ResourceTypes have no Group")),
            (
                "> POST /Bulk",
                Some("its ServiceProviderConfig doesn’t say that bulk is supported"),
            ),
            (
                "> GET /Users?filter=a pr",
                Some("its ServiceProviderConfig doesn’t say that filter is supported"),
            ),
            ("> GET /Schemas?filter=a pr", None),
            (
                "? cursor",
                Some("its ServiceProviderConfig doesn’t say that paging by cursor is supported"),
            ),
            ("? token", Some("no token was given")),
            (&enterprise, Some("its users have no enterprise extension")),
        ] {
            let check = &parse(&format!("== a | b | c\n{steps}\n")).unwrap()[0];
            assert_eq!(
                server().lacks(Profile::Rfc, check).as_deref(),
                lacks,
                "{steps}"
            );
        }
        let check = &parse("== a | b | c\n> GET /Users?filter=a pr\n").unwrap()[0];
        assert_eq!(server().lacks(Profile::Entra, check), None);
    }

    #[test]
    fn without_discovery_everything_may_be_there() {
        let check = &parse("== a | b | c\n+ sre Group {\"members\": []}\n").unwrap()[0];
        assert_eq!(Server::default().lacks(Profile::Rfc, check), None);
    }

    #[test]
    fn what_a_schema_requires_is_added() {
        let mut user = Map::from_iter([("username".to_owned(), json!("ana"))]);
        server().complete(&mut user, "User", "run");
        let expected = json!({ "username": "ana", "emails": [{ "value": "run@example.com", "type": "work" }] });
        assert_eq!(Value::Object(user), expected);
    }
}
