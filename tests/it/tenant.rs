//! A tenant of a running server with its token, and SCIM in one line for each call.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::support::{Answer, Client, Server};

/// The SCIM root's path.
pub const ROOT: &str = "/scim/v2";

/// A tenant, made through the CLI while the server runs.
pub struct Tenant<'a> {
    server: &'a Server,
    pub name: String,
    pub token: String,
}

impl<'a> Tenant<'a> {
    #[track_caller]
    pub fn create(server: &'a Server, name: &str) -> Tenant<'a> {
        run(server, &["tenant", "create", name]);
        let token = run(server, &["token", "create", "--tenant", name]);
        Tenant::known(server, name, token)
    }

    /// One that is there already, with a token of it.
    pub fn known(server: &'a Server, name: &str, token: String) -> Tenant<'a> {
        Tenant {
            server,
            name: name.to_owned(),
            token,
        }
    }

    /// A new connection that carries the token.
    pub fn client(&self) -> ScimClient {
        ScimClient::new(self.server, &self.token)
    }
}

/// Runs a command that must succeed; answers its standard output, trimmed.
#[track_caller]
pub fn run(server: &Server, arguments: &[&str]) -> String {
    let output = server.rollcall(arguments);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "rollcall {arguments:?} failed: {said}"
    );
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// A connection with a token. Paths are relative to the SCIM root: `/Users`.
pub struct ScimClient {
    connection: Client,
}

impl ScimClient {
    pub fn new(server: &Server, token: &str) -> ScimClient {
        ScimClient {
            connection: server.anyone().with_token(token),
        }
    }

    /// Any body, as SCIM JSON.
    pub fn bytes(&mut self, method: &str, path: &str, body: Option<&[u8]>) -> Answer {
        self.try_bytes(method, path, body)
            .unwrap_or_else(|error| panic!("{method} {path}: {error}"))
    }

    /// As [`ScimClient::bytes`], for a server that may vanish meanwhile.
    pub fn try_bytes(
        &mut self,
        method: &str,
        path: &str,
        body: Option<&[u8]>,
    ) -> std::io::Result<Answer> {
        let headers: &[(&str, &str)] = match body {
            Some(_) => &[("Content-Type", "application/scim+json; charset=utf-8")],
            None => &[],
        };
        self.connection.try_request(
            method,
            &format!("{ROOT}{}", encode(path)),
            headers,
            body.unwrap_or_default(),
        )
    }

    /// Sends `body`, if any, and answers status and JSON (null where there is none).
    pub fn call(&mut self, method: &str, path: &str, body: Option<&Value>) -> (u16, Value) {
        let bytes = body.map(|value| value.to_string().into_bytes());
        let answer = self.bytes(method, path, bytes.as_deref());
        (answer.status, json_of(&answer))
    }

    /// As [`ScimClient::call`], and the status must be this one.
    #[track_caller]
    pub fn expect(&mut self, status: u16, method: &str, path: &str, body: Option<&Value>) -> Value {
        let (found, answer) = self.call(method, path, body);
        assert_eq!(
            found,
            status,
            "{method} {path} {}: {answer}",
            body.unwrap_or(&Value::Null)
        );
        answer
    }

    /// POSTs a resource; answers its id.
    #[track_caller]
    pub fn create(&mut self, endpoint: &str, resource: &Value) -> String {
        text(&self.expect(201, "POST", endpoint, Some(resource))["id"])
    }

    #[track_caller]
    pub fn get(&mut self, path: &str) -> Value {
        self.expect(200, "GET", path, None)
    }

    /// PATCHes with these operations; 200 for a User, 204 for a Group.
    #[track_caller]
    pub fn patch(&mut self, path: &str, operations: Value) -> Value {
        let status = if path.starts_with("/Groups") {
            204
        } else {
            200
        };
        self.expect(status, "PATCH", path, Some(&patch_op(operations)))
    }

    /// The ids that a filter finds.
    #[track_caller]
    pub fn find(&mut self, endpoint: &str, filter: &str) -> Vec<String> {
        let list = self.get(&format!("{endpoint}?filter={}", query_escape(filter)));
        list["Resources"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|resource| text(&resource["id"]))
            .collect()
    }

    /// All resources of an endpoint by id, read page by page.
    #[track_caller]
    pub fn all(&mut self, endpoint: &str) -> BTreeMap<String, Value> {
        let mut resources = BTreeMap::new();
        loop {
            let page = self.get(&format!(
                "{endpoint}?startIndex={}&count=200",
                resources.len() + 1
            ));
            let found = page["Resources"].as_array().cloned().unwrap_or_default();
            assert_eq!(page["itemsPerPage"], json!(found.len()));
            for resource in &found {
                let before = resources.insert(text(&resource["id"]), resource.clone());
                assert!(
                    before.is_none(),
                    "{} is on two pages of {endpoint}",
                    resource["id"]
                );
            }
            let total = page["totalResults"].as_u64().unwrap() as usize;
            if found.is_empty() || resources.len() >= total {
                assert_eq!(
                    resources.len(),
                    total,
                    "{endpoint}: totalResults and the pages disagree"
                );
                return resources;
            }
        }
    }
}

/// A PatchOp around operations.
pub fn patch_op(operations: Value) -> Value {
    json!({"schemas": ["urn:ietf:params:scim:api:messages:2.0:PatchOp"], "Operations": operations})
}

/// The core User schema and a userName, and whatever else `more` holds.
pub fn user(user_name: &str, more: Value) -> Value {
    resource(
        json!({"schemas": ["urn:ietf:params:scim:schemas:core:2.0:User"], "userName": user_name}),
        more,
    )
}

/// The core Group schema and a displayName, and whatever else `more` holds.
pub fn group(display_name: &str, more: Value) -> Value {
    resource(
        json!({"schemas": ["urn:ietf:params:scim:schemas:core:2.0:Group"], "displayName": display_name}),
        more,
    )
}

fn resource(mut base: Value, more: Value) -> Value {
    if let (Some(base), Value::Object(more)) = (base.as_object_mut(), more) {
        base.extend(more);
    }
    base
}

/// The body as JSON, null where there is none.
#[track_caller]
pub fn json_of(answer: &Answer) -> Value {
    match answer.body.as_slice() {
        [] => Value::Null,
        body => serde_json::from_slice(body).unwrap_or_else(|error| {
            panic!("not JSON ({error}): {}", String::from_utf8_lossy(body))
        }),
    }
}

/// A JSON string's text.
#[track_caller]
pub fn text(value: &Value) -> String {
    value
        .as_str()
        .unwrap_or_else(|| panic!("expected a string, found {value}"))
        .to_owned()
}

/// The rules for every refusal (RFC 7644 §3.12): a SCIM Error in JSON whose `status` repeats the answer's.
pub fn refusal_fault(answer: &Answer) -> Option<String> {
    let Ok(error) = serde_json::from_slice::<Value>(&answer.body) else {
        return Some(format!(
            "body of {} isn't JSON: {:?}",
            answer.status,
            String::from_utf8_lossy(&answer.body)
        ));
    };
    let well_formed = answer.header("Content-Type") == Some("application/scim+json")
        && error["schemas"] == json!(["urn:ietf:params:scim:api:messages:2.0:Error"])
        && error["status"] == json!(answer.status.to_string())
        && error["detail"]
            .as_str()
            .is_some_and(|detail| detail.len() > 8);
    (!well_formed).then(|| {
        format!(
            "not a SCIM Error ({:?}): {error}",
            answer.header("Content-Type")
        )
    })
}

/// Percent-encodes what may not stand in a request line and leaves the rest, also existing escapes.
pub fn encode(path: &str) -> String {
    escape(path, |byte| {
        byte.is_ascii_graphic() && !b"\"<>\\^`{|}[]#".contains(&byte)
    })
}

/// A value of a query parameter.
pub fn query_escape(value: &str) -> String {
    escape(value, |byte| {
        byte.is_ascii_alphanumeric() || b"-._~:".contains(&byte)
    })
}

fn escape(text: &str, plain: impl Fn(u8) -> bool) -> String {
    let mut escaped = String::new();
    for byte in text.bytes() {
        match plain(byte) {
            true => escaped.push(byte as char),
            false => escaped.push_str(&format!("%{byte:02X}")),
        }
    }
    escaped
}
