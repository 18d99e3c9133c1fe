//! What no client should send: each is a clear 4xx in SCIM's own form, and nothing changes.

use std::io::{Read, Write};

use serde_json::{Value, json};

use crate::directory::ENTERPRISE;
use crate::support::Server;
use crate::tenant::{ROOT, ScimClient, Tenant, group, query_escape, refusal_fault, user};

const PATCH_OP: &str = "urn:ietf:params:scim:api:messages:2.0:PatchOp";
const SEARCH_REQUEST: &str = "urn:ietf:params:scim:api:messages:2.0:SearchRequest";

/// A tenant with a user in a group; `check` may try what it likes, and all must be as before.
fn unharmed(check: impl FnOnce(&mut Attacker)) {
    let server = Server::start();
    let tenant = Tenant::create(&server, "target");
    let mut client = tenant.client();
    let emails = json!([{"type": "work", "value": "ana@contoso.example"}]);
    let user = client.create(
        "/Users",
        &user("ana", json!({"title": "Engineer", "emails": emails})),
    );
    let group = client.create(
        "/Groups",
        &group("SRE", json!({"members": [{"value": user}]})),
    );
    let mut attacker = Attacker {
        client,
        user: format!("/Users/{user}"),
        group: format!("/Groups/{group}"),
    };
    let before = attacker.state();
    check(&mut attacker);
    assert_eq!(
        attacker.state(),
        before,
        "a refused request left something behind"
    );
}

struct Attacker {
    client: ScimClient,
    /// The user's path.
    user: String,
    /// The group's path.
    group: String,
}

impl Attacker {
    fn state(&mut self) -> Value {
        json!([
            self.client.get("/Users?sortBy=id"),
            self.client.get("/Groups?sortBy=id")
        ])
    }

    /// The answer must be a well-formed refusal with this status.
    #[track_caller]
    fn refused(&mut self, status: u16, method: &str, path: &str, body: &[u8]) {
        let answer = self.client.bytes(method, path, Some(body));
        let shown: String = String::from_utf8_lossy(body).chars().take(120).collect();
        let said = String::from_utf8_lossy(&answer.body).into_owned();
        assert_eq!(answer.status, status, "{method} {path} {shown}\n{said}");
        assert_eq!(refusal_fault(&answer), None, "{method} {path} {shown}");
        assert!(
            said.len() < 2000,
            "{method} {path}: the detail repeats the whole request: {} bytes",
            said.len()
        );
    }

    /// POST, PUT and PATCH with this body, for users and for groups.
    #[track_caller]
    fn refused_everywhere(&mut self, body: &[u8]) {
        let (user, group) = (self.user.clone(), self.group.clone());
        for path in [
            "/Users",
            "/Groups",
            "/Users/.search",
            "/Groups/.search",
            "/.search",
        ] {
            self.refused(400, "POST", path, body);
        }
        for path in [&user, &group] {
            self.refused(400, "PUT", path, body);
            self.refused(400, "PATCH", path, body);
        }
    }
}

#[test]
fn bodies_that_are_not_a_json_object() {
    let deep = format!("{}{}", "[".repeat(200), "]".repeat(200));
    let deep_object = format!("{}1{}", r#"{"a":"#.repeat(200), "}".repeat(200));
    let very_deep = "[".repeat(1_000_000);
    let bodies: &[&[u8]] = &[
        b"",
        b"   ",
        b"{",
        b"}",
        b"nonsense",
        b"{'a': 1}",
        b"{\"a\": 1,}",
        b"{\"a\": 1} {\"a\": 2}",
        b"null",
        b"true",
        b"42",
        b"\"text\"",
        b"[]",
        b"[{}]",
        b"{}",
        b"\xff\xfe{\x00}\x00",
        b"{\"schemas\": [\"\xc3\x28\"]}",
        b"{\"schemas\": [\"\xed\xa0\x80\"]}",
        deep.as_bytes(),
        deep_object.as_bytes(),
        very_deep.as_bytes(),
    ];
    unharmed(|attacker| {
        for body in bodies {
            attacker.refused_everywhere(body);
        }
    });
}

#[test]
fn strings_numbers_and_keys_that_json_cannot_mean() {
    let core = "urn:ietf:params:scim:schemas:core:2.0:User";
    let nested = format!("{}1{}", r#"{"a":"#.repeat(200), "}".repeat(200));
    let bodies = [
        format!(r#"{{"schemas": ["{core}"], "userName": "ben", "userName": "cleo"}}"#),
        format!(
            r#"{{"schemas": ["{core}"], "userName": "ben", "name": {{"givenName": "a", "givenName": "b"}}}}"#
        ),
        format!(r#"{{"schemas": ["{core}"], "userName": "ben\u0000"}}"#),
        format!(r#"{{"schemas": ["{core}"], "userName": "ben", "title": "a\u0000b"}}"#),
        format!(r#"{{"schemas": ["{core}"], "userName": "ben", "urn:x:y": {{"a": "\u0000"}}}}"#),
        format!(r#"{{"schemas": ["{core}"], "userName": "ben", "title": "\ud800"}}"#),
        format!(r#"{{"schemas": ["{core}"], "userName": "ben", "title": "\udc00\ud800"}}"#),
        format!(r#"{{"schemas": ["{core}"], "userName": "ben", "title": 1e999}}"#),
        format!(
            r#"{{"schemas": ["{core}"], "userName": "ben", "title": {}}}"#,
            "9".repeat(400)
        ),
        format!("{{\"schemas\": [\"{core}\"], \"userName\": \"ben\nben\"}}"),
        format!(
            r#"{{"schemas": ["{core}"], "userName": "ben", "urn:ietf:params:scim:schemas:extension:X:2.0:User": {nested}}}"#
        ),
    ];
    unharmed(|attacker| {
        let path = attacker.user.clone();
        for body in &bodies {
            attacker.refused(400, "POST", "/Users", body.as_bytes());
            attacker.refused(400, "PUT", &path, body.as_bytes());
        }
    });
}

#[test]
fn wrong_json_types_for_each_kind_of_attribute() {
    let attributes: &[(&str, &[Value])] = &[
        (
            "userName",
            &[
                json!(5),
                json!(true),
                json!({"a": "b"}),
                json!(["a", "b"]),
                json!(null),
                json!(""),
            ],
        ),
        ("externalId", &[json!(5), json!({"a": "b"})]),
        (
            "title",
            &[
                json!(5),
                json!(false),
                json!({"value2": "x"}),
                json!(["a", "b"]),
            ],
        ),
        ("roleName", &[json!(5), json!({"a": "b"})]),
        (
            "active",
            &[
                json!(1),
                json!("perhaps"),
                json!({"a": true}),
                json!([true, false]),
            ],
        ),
        ("profileUrl", &[json!(5), json!(true)]),
        (
            "name",
            &[
                json!("Ana Ruiz"),
                json!(5),
                json!({"familyName": 5}),
                json!({"familyName": {"a": "b"}}),
            ],
        ),
        (
            "emails",
            &[
                json!(5),
                json!(true),
                json!([5]),
                json!([{"value": 5}]),
                json!([{"value": ["a", "b"]}]),
            ],
        ),
        (
            "emails",
            &[
                json!([{"value": "a", "primary": "perhaps"}]),
                json!([{"value": "a", "type": 5}]),
            ],
        ),
        ("addresses", &[json!([{"locality": 5}]), json!(5)]),
        (
            "schemas",
            &[
                json!(5),
                json!({"a": "b"}),
                json!([5]),
                json!([]),
                json!(["urn:example:other"]),
            ],
        ),
        (
            ENTERPRISE,
            &[
                json!("Ops"),
                json!(5),
                json!({"department": 5}),
                json!({"manager": 5}),
                json!({"manager": true}),
            ],
        ),
    ];
    unharmed(|attacker| {
        let path = attacker.user.clone();
        for (attribute, values) in attributes {
            for value in *values {
                let body = user("ben", json!({ *attribute: value })).to_string();
                attacker.refused(400, "POST", "/Users", body.as_bytes());
                attacker.refused(400, "PUT", &path, body.as_bytes());
            }
        }
    });
}

#[test]
fn members_of_wrong_shapes() {
    let values = [
        json!(5),
        json!(true),
        json!([5]),
        json!([{"value": 5}]),
        json!([{"display": "Ana"}]),
        json!([["x"]]),
    ];
    unharmed(|attacker| {
        let path = attacker.group.clone();
        for value in values {
            let body = group("New", json!({"members": value})).to_string();
            attacker.refused(400, "POST", "/Groups", body.as_bytes());
            attacker.refused(400, "PUT", &path, body.as_bytes());
            for op in ["add", "replace", "Remove"] {
                let operations = json!([{"op": op, "path": "members", "value": value}]);
                let body = json!({"schemas": [PATCH_OP], "Operations": operations}).to_string();
                attacker.refused(400, "PATCH", &path, body.as_bytes());
            }
        }
        for value in [json!(5), json!(""), json!({"a": "b"})] {
            let body = group("New", json!({"displayName": value})).to_string();
            attacker.refused(400, "POST", "/Groups", body.as_bytes());
        }
    });
}

#[test]
fn operations_of_wrong_shapes() {
    let long = "a".repeat(100_000);
    let deep = format!(
        "emails[{}type eq \"x\"{}].value",
        "(".repeat(5000),
        ")".repeat(5000)
    );
    let operations = [
        json!(null),
        json!(5),
        json!("replace"),
        json!([]),
        json!([null]),
        json!([5]),
        json!(["replace"]),
        json!([[]]),
        json!([{}]),
        json!([{"op": 5, "path": "title", "value": "x"}]),
        json!([{"op": null, "path": "title", "value": "x"}]),
        json!([{"op": "", "path": "title", "value": "x"}]),
        json!([{"op": "move", "path": "title", "value": "x"}]),
        json!([{"path": "title", "value": "x"}]),
        json!([{"op": "add"}]),
        json!([{"op": "add", "path": "title"}]),
        json!([{"op": "replace", "value": 5}]),
        json!([{"op": "replace", "value": "x"}]),
        json!([{"op": "replace", "value": ["x"]}]),
        json!([{"op": "remove"}]),
        json!([{"op": "replace", "path": 5, "value": "x"}]),
        json!([{"op": "replace", "path": {"a": "b"}, "value": "x"}]),
        json!([{"op": "replace", "path": "title", "value": {"a": "b"}}]),
        json!([{"op": "replace", "path": "title", "value": 5}]),
        json!([{"op": "replace", "path": "active", "value": "perhaps"}]),
        json!([{"op": "replace", "path": "emails", "value": 5}]),
        json!([{"op": "replace", "path": "emails[", "value": "x"}]),
        json!([{"op": "replace", "path": "emails]", "value": "x"}]),
        json!([{"op": "replace", "path": "emails[type eq \"work\"", "value": "x"}]),
        json!([{"op": "replace", "path": "emails[type eq \"work\"].", "value": "x"}]),
        json!([{"op": "replace", "path": "emails[type eq \"work\"].value.value", "value": "x"}]),
        json!([{"op": "replace", "path": "emails[shoeSize eq \"work\"].value", "value": "x"}]),
        json!([{"op": "replace", "path": ".title", "value": "x"}]),
        json!([{"op": "replace", "path": "title title", "value": "x"}]),
        json!([{"op": "replace", "path": "title.value", "value": "x"}]),
        json!([{"op": "replace", "path": "urn:example:unknown:title", "value": "x"}]),
        json!([{"op": "replace", "path": long, "value": "x"}]),
        json!([{"op": "replace", "path": deep, "value": "x"}]),
        json!([{"op": "replace", "path": "title", "value": "x"}, {"op": "replace", "path": "shoeSize", "value": 1}]),
    ];
    unharmed(|attacker| {
        let path = attacker.user.clone();
        for operations in &operations {
            let body = json!({"schemas": [PATCH_OP], "Operations": operations}).to_string();
            attacker.refused(400, "PATCH", &path, body.as_bytes());
        }
        attacker.refused(
            400,
            "PATCH",
            &path,
            json!({"schemas": [PATCH_OP]}).to_string().as_bytes(),
        );
        let without_schemas =
            json!({"Operations": [{"op": "replace", "path": "title", "value": "x"}]}).to_string();
        attacker.refused(400, "PATCH", &path, without_schemas.as_bytes());
    });
}

#[test]
fn filters_that_are_broken_deep_or_huge() {
    let deep = format!("{}userName pr{}", "(".repeat(5000), ")".repeat(5000));
    let nots = format!("{}userName pr{}", "not (".repeat(5000), ")".repeat(5000));
    let brackets = "emails[".repeat(5000);
    let bad = [
        "userName",
        "eq",
        "userName eq \"x\" \"y\"",
        "userName eq \"\\ud800\"",
        "userName eq \"\\u00\"",
        "userName eq \"\\q\"",
        "userName eq {}",
        "userName eq []",
        "userName eq \"a\u{0}b\"",
        "and",
        "userName pr and",
        "userName pr userName pr",
        "not userName",
        "emails[type eq \"work\"",
        "emails[emails[type eq \"x\"]]",
        "emails.value.value eq \"x\"",
        "active gt false",
        &deep,
        &nots,
        &brackets,
    ];
    unharmed(|attacker| {
        for filter in bad {
            let body = json!({"schemas": [SEARCH_REQUEST], "filter": filter}).to_string();
            attacker.refused(400, "POST", "/Users/.search", body.as_bytes());
            if filter.len() < 1000 {
                let answer = attacker.client.bytes(
                    "GET",
                    &format!("/Users?filter={}", query_escape(filter)),
                    None,
                );
                assert_eq!(
                    (answer.status, refusal_fault(&answer)),
                    (400, None),
                    "GET with {filter}"
                );
            }
        }
        // Long but correct: it may be answered or refused, but not with a 500 and not by dying.
        let long = vec!["userName eq \"nobody\""; 20_000].join(" or ");
        let wide = format!("userName eq \"{}\"", "x".repeat(1_000_000));
        for filter in [long, wide] {
            let body = json!({"schemas": [SEARCH_REQUEST], "filter": filter});
            let (status, answer) = attacker.client.call("POST", "/Users/.search", Some(&body));
            assert!(
                status == 400 || (status == 200 && answer["totalResults"] == json!(0)),
                "{status} {answer}"
            );
        }
    });
}

#[test]
fn queries_with_impossible_numbers_and_escapes() {
    unharmed(|attacker| {
        for (query, status) in [
            ("startIndex=99999999999999999999999999", 400),
            ("count=99999999999999999999999999", 400),
            ("startIndex=1.5", 400),
            ("count=%FF", 400),
            ("filter=%ZZ", 400),
            ("filter=%C3%28", 400),
            ("attributes=%00", 400),
            ("sortBy=emails[type%20eq%20%22work%22]", 400),
            ("sortOrder=sideways", 400),
        ] {
            let answer = attacker
                .client
                .bytes("GET", &format!("/Users?{query}"), None);
            assert_eq!(
                (answer.status, refusal_fault(&answer)),
                (status, None),
                "{query}"
            );
        }
        let end = attacker
            .client
            .get("/Users?startIndex=9223372036854775807&count=9223372036854775807");
        assert_eq!(end["itemsPerPage"], json!(0));
        for path in [
            "/Users/%00",
            "/Users/%FF",
            "/Users/..%2F..%2Fetc",
            "/Users/'%20OR%201=1",
            "/%00",
        ] {
            let answer = attacker.client.bytes("GET", path, None);
            assert!(
                matches!(answer.status, 400 | 404),
                "{path}: {}",
                answer.status
            );
            assert_eq!(refusal_fault(&answer), None, "{path}");
        }
    });
}

#[test]
fn ten_mebibytes_are_refused_before_they_are_read() {
    let server = Server::start();
    let tenant = Tenant::create(&server, "large");
    for declared in ["10485760", "100000000000"] {
        let mut stream = std::net::TcpStream::connect(server.address).unwrap();
        stream
            .set_read_timeout(Some(std::time::Duration::from_secs(20)))
            .unwrap();
        let head = format!(
            "POST {ROOT}/Users HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {}\r\n\
             Content-Type: application/scim+json\r\nContent-Length: {declared}\r\n\r\n",
            server.address, tenant.token
        );
        stream.write_all(head.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 413 "), "{declared}: {answer}");
        assert!(
            answer.contains("urn:ietf:params:scim:api:messages:2.0:Error"),
            "{declared}: {answer}"
        );
    }
    assert!(tenant.client().all("/Users").is_empty());
}

#[test]
fn a_body_just_below_the_limit_is_read() {
    let server = Server::start();
    let tenant = Tenant::create(&server, "large");
    let mut client = tenant.client();
    // White space counts for the limit, though for nothing else.
    let mut body = user("ana", json!({})).to_string().into_bytes();
    body.resize(8 * 1024 * 1024, b' ');
    assert_eq!(client.bytes("POST", "/Users", Some(&body)).status, 201);
}

#[test]
fn content_types_that_are_not_json() {
    let server = Server::start();
    let tenant = Tenant::create(&server, "types");
    let authorization = format!("Bearer {}", tenant.token);
    let body = user("ana", json!({})).to_string();
    let types = [
        "text/plain",
        "text/html",
        "application/xml",
        "multipart/form-data; boundary=x",
        "application/octet-stream",
    ];
    for content_type in types {
        let headers = [
            ("Authorization", &*authorization),
            ("Content-Type", content_type),
        ];
        let answer = server
            .anyone()
            .request("POST", "/scim/v2/Users", &headers, body.as_bytes());
        assert_eq!(
            (answer.status, refusal_fault(&answer)),
            (415, None),
            "{content_type}"
        );
    }
    assert!(tenant.client().all("/Users").is_empty());
}
