//! `static/openapi.json` against what is served: every address answers, and every answer fits its schema.

use serde_json::{Value, json};

use crate::api::{World, world};
use crate::tenant::{group, text, user};

/// The methods that the document may speak of.
const METHODS: [&str; 5] = ["get", "post", "put", "patch", "delete"];

#[test]
fn the_document_says_what_is_served() {
    let World {
        server,
        mut scim,
        mut app,
    } = world();
    let ana = scim.create("/Users", &user("ana", json!({"displayName": "Ana"})));
    let team = scim.create(
        "/Groups",
        &group("SRE", json!({"members": [{"value": ana}]})),
    );
    let register = format!("/teams/{team}/resources");
    let body = json!({"kind": "monitor", "name": "uptime", "url": "https://m.example/"});
    app.expect(201, "POST", &register, &body);
    let document = server.anyone().get("/api/v1/openapi.json").json();
    assert_eq!(document["openapi"], "3.1.0");
    let mut answered = 0;
    for (path, operations) in document["paths"].as_object().unwrap() {
        let known = |method: &&str| operations.get(*method).is_some();
        for method in METHODS.iter().filter(|method| known(method)) {
            let responses = &operations[*method]["responses"];
            let method = method.to_uppercase();
            // Deleting takes what others need: each operation has a resource of its own.
            let one = text(&app.expect(201, "POST", &register, &body)["id"]);
            let id = match path.split('/').nth(1) {
                Some("users") => &ana,
                Some("teams") => &team,
                _ => &one,
            };
            let target = path
                .replace("{id}", id)
                .replace("/whois", "/whois?userName=ana");
            let sent = match method.as_str() {
                "POST" | "PUT" => body.to_string(),
                _ => String::new(),
            };
            let answer = app.send(&method, &target, &[], &sent);
            let said = &responses[answer.status.to_string()];
            assert!(
                said.is_object() && answer.status < 300,
                "{method} {path}: {answer:?}"
            );
            if let Some(schema) = said.pointer("/content/application~1json/schema") {
                fits(
                    &document,
                    schema,
                    &answer.json(),
                    &format!("{method} {path}"),
                );
            }
            if path.contains("{id}") {
                let missing = app.send(&method, &path.replace("{id}", "none"), &[], &sent);
                let schema = &responses["404"]["content"]["application/json"]["schema"];
                assert_eq!(missing.status, 404, "{method} {path}");
                fits(
                    &document,
                    schema,
                    &missing.json(),
                    &format!("404 of {method} {path}"),
                );
            }
            answered += 1;
        }
        for method in METHODS.iter().filter(|method| !known(method)) {
            let answer = app.send(
                &method.to_uppercase(),
                &path.replace("{id}", "none"),
                &[],
                "",
            );
            assert_eq!(
                answer.status, 405,
                "{method} {path} is served, but isn't in the document"
            );
        }
    }
    assert!(answered >= 14, "only {answered} operations");
}

#[test]
fn every_route_is_in_the_document() {
    let routes = include_str!("../../src/http/route.rs");
    let document: Value = serde_json::from_str(include_str!("../../static/openapi.json")).unwrap();
    let listed: Vec<&str> = routes
        .split("fn api(")
        .nth(1)
        .and_then(|rest| rest.split("\n}").next())
        .into_iter()
        .flat_map(str::lines)
        .filter_map(|line| line.trim().strip_prefix('[')?.split(']').next())
        .collect();
    assert_eq!(listed.len(), document["paths"].as_object().unwrap().len());
    for route in listed {
        let path: String = route
            .split(", ")
            .map(|segment| match segment.strip_prefix('"') {
                Some(name) => format!("/{}", name.trim_end_matches('"')),
                None => format!("/{{{segment}}}"),
            })
            .collect();
        assert!(document["paths"].get(&path).is_some(), "{path} is missing");
    }
}

/// Fails where `value` doesn't fit: `$ref`, `type`, `properties`, `required` and `items` count. Keys that the schema
/// doesn't name are a fault of the document too.
#[track_caller]
fn fits(document: &Value, schema: &Value, value: &Value, place: &str) {
    if let Some(name) = schema["$ref"].as_str() {
        let pointer = name.trim_start_matches('#');
        let target = document.pointer(pointer);
        return fits(
            document,
            target.unwrap_or_else(|| panic!("{name} leads nowhere")),
            value,
            place,
        );
    }
    let kind = match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_f64() => "number",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    let types = match &schema["type"] {
        Value::Array(types) => types.clone(),
        one => vec![one.clone()],
    };
    assert!(
        types.contains(&json!(kind)),
        "{place} is {value}, not {types:?}"
    );
    for name in schema["required"].as_array().into_iter().flatten() {
        assert!(
            value.get(name.as_str().unwrap()).is_some(),
            "{place} lacks {name}"
        );
    }
    if let (Some(properties), Some(object)) = (schema["properties"].as_object(), value.as_object())
    {
        for (key, inner) in object {
            let place = format!("{place}.{key}");
            let schema = properties
                .get(key)
                .unwrap_or_else(|| panic!("{place} isn't in the document"));
            fits(document, schema, inner, &place);
        }
    }
    for (index, item) in value.as_array().into_iter().flatten().enumerate() {
        fits(
            document,
            &schema["items"],
            item,
            &format!("{place}[{index}]"),
        );
    }
}
