//! Bulk requests over HTTP: limits, what the log says, what the brake does. What they answer is in
//! `data/transcripts/rfc/bulk.http`.

use std::fs;

use serde_json::{Value, json};

use crate::hazards::status;
use crate::support::Server;
use crate::tenant::{ScimClient, Tenant, group, run, text, user};

const URN: &str = "urn:ietf:params:scim:api:messages:2.0:BulkRequest";

/// A BulkRequest around operations.
pub fn bulk_request(operations: &[Value]) -> Value {
    json!({"schemas": [URN], "Operations": operations})
}

/// A POST as an operation.
pub fn post(path: &str, bulk_id: &str, data: Value) -> Value {
    json!({"method": "POST", "path": path, "bulkId": bulk_id, "data": data})
}

/// Sends operations; answers what each came to.
#[track_caller]
fn send(client: &mut ScimClient, operations: &[Value]) -> Vec<Value> {
    let answer = client.expect(200, "POST", "/Bulk", Some(&bulk_request(operations)));
    answer["Operations"].as_array().unwrap().clone()
}

fn statuses(results: &[Value]) -> Vec<String> {
    results
        .iter()
        .map(|result| text(&result["status"]))
        .collect()
}

fn log(server: &Server) -> Vec<Value> {
    run(server, &["log", "-o", "json", "-n", "1000"])
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

#[test]
fn a_thousand_operations_are_taken_and_one_more_is_413() {
    let server = Server::start();
    let mut client = Tenant::create(&server, "contoso").client();
    let config = client.get("/ServiceProviderConfig");
    let most = config["bulk"]["maxOperations"].as_u64().unwrap() as usize;
    let mut operations: Vec<Value> = (0..=most)
        .map(|n| post("/Users", &n.to_string(), user(&format!("u{n}"), json!({}))))
        .collect();
    let refusal = client.expect(413, "POST", "/Bulk", Some(&bulk_request(&operations)));
    assert!(text(&refusal["detail"]).contains(&format!("maxOperations ({most})")));
    assert_eq!(client.get("/Users")["totalResults"], json!(0));

    operations.pop();
    let results = send(&mut client, &operations);
    assert!(results.len() == most && statuses(&results).iter().all(|status| status == "201"));
    assert_eq!(client.get("/Users?count=0")["totalResults"], json!(most));
}

/// As values, all of them at a time would take more than ten times what their text does.
#[test]
fn a_bulk_request_takes_the_memory_of_its_text() {
    let server = Server::start();
    let mut client = Tenant::create(&server, "contoso").client();
    let emails: Vec<Value> = (0..60)
        .map(|n| json!({"value": format!("{n}@example.org"), "type": "work"}))
        .collect();
    let mut operations =
        vec![json!({"method": "DELETE", "path": "/Users/nobody", "bulkId": "none"})];
    operations.extend((1..1000).map(|n| {
        let person = user(&format!("u{n}"), json!({"emails": emails}));
        post("/Users", &n.to_string(), person)
    }));
    let mut request = bulk_request(&operations);
    request["failOnErrors"] = json!(1);
    let bytes = request.to_string().len();

    fs::write(server.proc("clear_refs"), "5").unwrap();
    let before = status(&server, "VmRSS");
    let answer = client.expect(200, "POST", "/Bulk", Some(&request));
    let grown = status(&server, "VmHWM") - before;
    assert_eq!(answer["Operations"].as_array().unwrap().len(), 1);
    assert!(grown < 4 * bytes, "{grown} bytes for a body of {bytes}");
}

#[test]
fn a_body_beyond_max_payload_size_is_413_and_names_it() {
    let server = Server::start();
    let tenant = Tenant::create(&server, "contoso");
    let config = tenant.client().get("/ServiceProviderConfig");
    let most = config["bulk"]["maxPayloadSize"].as_u64().unwrap();
    let mut wire = server.connect();
    wire.send(format!(
        "POST /scim/v2/Bulk HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {}\r\nContent-Length: {}\r\n\r\n{{",
        tenant.token,
        most + 1
    ));
    let answer = wire.answer();
    assert_eq!(answer.status, 413);
    let detail = text(&answer.json()["detail"]);
    assert!(
        detail.contains(&format!("maxPayloadSize is {most}")),
        "{detail}"
    );
}

#[test]
fn each_operation_has_its_line_in_the_log_and_the_request_one_after_them() {
    let server = Server::start();
    let mut client = Tenant::create(&server, "contoso").client();
    let operations = [
        post(
            "/Groups",
            "g",
            group("SRE", json!({"members": [{"value": "bulkId:a"}]})),
        ),
        post("/Users", "a", user("ana", json!({"shoeSize": 43}))),
        post(
            "/Users",
            "b",
            json!({"userName": "bob", "password": "Tr0ub4dor"}),
        ),
        json!({"method": "DELETE", "path": "/Users/bulkId:a"}),
    ];
    let results = send(&mut client, &operations);
    assert_eq!(statuses(&results), ["201", "201", "400", "204"]);
    let lines = log(&server);
    let said: Vec<(&str, &str, &str, u64)> = lines
        .iter()
        .map(|line| {
            let part = |name: &str| line[name].as_str().unwrap();
            let status = line["status"].as_u64().unwrap();
            (part("method"), part("target"), part("action"), status)
        })
        .collect();
    assert_eq!(
        said,
        [
            ("POST", "/scim/v2/Users", "created user ana", 201),
            (
                "POST",
                "/scim/v2/Groups",
                "created team SRE with 1 member",
                201
            ),
            ("POST", "/scim/v2/Users", "refused to create a user", 400),
            ("DELETE", "/scim/v2/Users/bulkId:a", "deleted user ana", 204),
            (
                "POST",
                "/scim/v2/Bulk",
                "bulk request: 3 done, 1 refused",
                200
            ),
        ]
    );
    assert_eq!(lines[0]["ignored"], json!(["shoeSize"]));
    assert_eq!(lines[0]["subject"], lines[3]["subject"]);
    assert_eq!(lines[2]["detail"], results[2]["response"]["detail"]);
    let kept = text(&lines[2]["requestBody"]);
    assert!(
        kept.contains("bob") && !kept.contains("Tr0ub4dor"),
        "{kept}"
    );
    assert!(
        lines
            .iter()
            .all(|line| line["requestId"] == lines[0]["requestId"])
    );

    let mut limited = bulk_request(&[
        json!({"method": "DELETE", "path": "/Users/none"}),
        json!({"method": "DELETE", "path": "/Users/none"}),
    ]);
    limited["failOnErrors"] = json!(1);
    client.expect(200, "POST", "/Bulk", Some(&limited));
    let last = log(&server).pop().unwrap();
    assert_eq!(
        last["action"],
        "bulk request: 0 done, 1 refused, 1 not tried"
    );
}

#[test]
fn unusual_removals_are_noticed_in_the_middle_and_nothing_is_purged() {
    let server = Server::start();
    let tenant = Tenant::create(&server, "contoso");
    let mut client = tenant.client();
    run(
        &server,
        &["tenant", "set", "contoso", "--retention-days", "0"],
    );
    let teams: Vec<Value> = (0..6)
        .map(|n| {
            post(
                "/Groups",
                &n.to_string(),
                group(&format!("t{n}"), json!({})),
            )
        })
        .collect();
    let deletions: Vec<Value> = send(&mut client, &teams)
        .iter()
        .map(|made| text(&made["location"]))
        .map(|url| json!({"method": "DELETE", "path": url.split("/v2").last().unwrap()}))
        .collect();
    assert_eq!(statuses(&send(&mut client, &deletions)), ["204"; 6]);
    let lines = log(&server);
    let unusual: Vec<&str> = lines
        .iter()
        .map(|line| line["action"].as_str().unwrap())
        .filter(|action| action.contains("unusual"))
        .collect();
    assert_eq!(
        unusual,
        ["deleted team t4; removals are unusual by now, nothing is purged"]
    );
    let archived = run(
        &server,
        &["team", "archived", "--tenant", "contoso", "-o", "json"],
    );
    let archived: Vec<Value> = serde_json::from_str(&archived).unwrap();
    assert_eq!(archived.len(), 2, "{archived:?}");
}

#[test]
fn roles_follow_what_a_bulk_request_does() {
    let server = Server::start();
    let mut client = Tenant::create(&server, "contoso").client();
    run(
        &server,
        &["role", "map-group", "--tenant", "contoso", "SRE", "Admin"],
    );
    let results = send(
        &mut client,
        &[
            post(
                "/Groups",
                "g",
                group("SRE", json!({"members": [{"value": "bulkId:a"}]})),
            ),
            post("/Users", "a", user("ana", json!({}))),
            post("/Users", "b", user("bob", json!({"roleName": "Responder"}))),
        ],
    );
    assert_eq!(statuses(&results), ["201"; 3]);
    for (name, role) in [("ana", "Admin"), ("bob", "Responder")] {
        let why = run(&server, &["role", "why", "--tenant", "contoso", name]);
        assert!(why.contains(role), "{name}: {why}");
    }
}
