//! `/Me`: a person's own user, by a token of their own (RFC 7644 §3.11).

use serde_json::{Value, json};

use crate::browser::Browser;
use crate::support::Server;
use crate::tenant::{ROOT, ScimClient, Tenant, patch_op, run, text, user};

fn token(server: &Server, more: &[&str]) -> String {
    let token = run(
        server,
        &[
            &["token", "create", "--tenant", "acme", "--for", "ana"],
            more,
        ]
        .concat(),
    );
    assert!(token.starts_with("rcm_"), "{token}");
    token
}

/// Ana with something of everything, and a connection with her own token.
fn ana(server: &Server, more: &[&str]) -> (ScimClient, ScimClient, String) {
    let mut client = Tenant::create(server, "acme").client();
    let about = json!({
        "displayName": "Ana", "nickName": "A", "roleName": "Responder", "locale": "de",
        "emails": [{"value": "ana@example.org", "type": "work"}], "password": "Zwetschgen-Roster",
    });
    let id = client.create("/Users", &user("ana", about));
    let me = ScimClient::new(server, &token(server, more));
    (client, me, id)
}

fn change(path: &str, value: Value) -> Value {
    patch_op(json!([{"op": "replace", "path": path, "value": value}]))
}

#[test]
fn a_person_reads_all_of_themselves_under_the_permanent_address() {
    let server = Server::start();
    let (mut client, mut me, id) = ana(&server, &[]);
    let known = client.get(&format!("/Users/{id}"));
    assert_eq!(me.get("/Me"), known);
    let answer = me.bytes("GET", "/Me?attributes=nickName", None);
    let location = answer.header("Location").unwrap();
    assert!(
        location.ends_with(&format!("{ROOT}/Users/{id}")),
        "{location}"
    );
    assert_eq!(answer.header("ETag"), known["meta"]["version"].as_str());
    let keys: Vec<_> = answer.json().as_object().unwrap().keys().cloned().collect();
    assert_eq!(keys, ["id", "nickName", "schemas"]);
    let without = me.get("/Me?excludedAttributes=emails");
    assert_eq!(without.get("emails"), None);
}

#[test]
fn a_person_changes_what_is_harmless_and_nothing_else() {
    let server = Server::start();
    let (mut client, mut me, id) = ana(&server, &[]);
    for (path, value) in [
        ("nickName", json!("Anita")),
        (
            "phoneNumbers",
            json!([{"value": "tel:+431", "type": "home"}]),
        ),
        ("password", json!("Kobalt und Flieder")),
    ] {
        me.expect(200, "PATCH", "/Me", Some(&change(path, value)));
    }
    let after = client.get(&format!("/Users/{id}"));
    assert_eq!(
        (
            &after["nickName"],
            after["phoneNumbers"][0]["type"].as_str()
        ),
        (&json!("Anita"), Some("home"))
    );
    for (path, value) in [
        ("userName", json!("root")),
        ("active", json!(false)),
        ("roleName", json!("Admin")),
        ("displayName", json!("The boss")),
        ("emails[type eq \"work\"].value", json!("boss@example.org")),
        ("externalId", json!("x")),
        ("roles", json!([{"value": "Admin"}])),
        ("department", json!("Board")),
    ] {
        let refused = me.expect(403, "PATCH", "/Me", Some(&change(path, value)));
        assert!(
            text(&refused["detail"]).contains("can't be changed with this token"),
            "{refused}"
        );
    }
    let both = patch_op(json!([
        {"op": "replace", "path": "nickName", "value": "Boss"},
        {"op": "replace", "path": "userName", "value": "root"},
    ]));
    me.expect(403, "PATCH", "/Me", Some(&both));
    let groups = change("groups", json!([{"value": "x"}]));
    assert_eq!(
        me.expect(400, "PATCH", "/Me", Some(&groups))["scimType"],
        "mutability"
    );
    me.expect(403, "DELETE", "/Me", None);
    assert_eq!(
        client.get(&format!("/Users/{id}")),
        after,
        "nothing of it is done"
    );

    // What was read, changed and sent back; and without what isn't theirs.
    let mut read = me.get("/Me");
    read["nickName"] = json!("Annie");
    assert_eq!(
        me.expect(200, "PUT", "/Me", Some(&read))["nickName"],
        "Annie"
    );
    let put = me.expect(
        200,
        "PUT",
        "/Me",
        Some(&user("ana", json!({"locale": "fr"}))),
    );
    assert_eq!((put.get("nickName"), &put["locale"]), (None, &json!("fr")));
    assert_eq!(
        (&put["roleName"], &put["emails"], &put["displayName"]),
        (&after["roleName"], &after["emails"], &after["displayName"])
    );
    me.expect(
        403,
        "PUT",
        "/Me",
        Some(&user("ana", json!({"roleName": "Admin"}))),
    );
    let events = run(&server, &["events", "--tenant", "acme", "-o", "json"]);
    assert!(
        events.contains(&format!("\"person:{id}\"")),
        "told as theirs"
    );
}

#[test]
fn such_a_token_opens_nothing_else_and_ends_with_its_person() {
    let server = Server::start();
    let (mut client, mut me, id) = ana(&server, &[]);
    for (method, path) in [
        ("GET", "/Users"),
        ("GET", "/"),
        ("GET", &format!("/Users/{id}")),
        ("DELETE", &format!("/Users/{id}")),
        ("POST", "/Bulk"),
        ("POST", "/.search"),
    ] {
        let body = (method == "POST").then(|| json!({}));
        let refused = me.expect(403, method, path, body.as_ref());
        assert!(
            text(&refused["detail"]).contains("opens /scim/v2/Me alone"),
            "{method} {path}"
        );
    }
    let refused = me.bytes("POST", "/Me", Some(b"{}"));
    assert_eq!(
        (refused.status, refused.header("Allow")),
        (405, Some("GET, HEAD, PUT, PATCH, DELETE"))
    );
    assert_eq!(
        server
            .anyone()
            .with_token(&token(&server, &[]))
            .get("/api/v1/users")
            .status,
        401
    );
    me.get("/Schemas");
    let refused = client.expect(501, "GET", "/Me", None);
    assert!(text(&refused["detail"]).contains("--for USER"), "{refused}");
    client.patch(
        &format!("/Users/{id}"),
        json!([{"op": "replace", "path": "active", "value": false}]),
    );
    me.expect(401, "GET", "/Me", None);
}

#[test]
fn a_token_for_the_whole_user_does_what_a_provider_may_and_versions_are_heeded() {
    let server = Server::start();
    let (mut client, mut me, id) = ana(&server, &["--whole"]);
    let changed = me.expect(
        200,
        "PATCH",
        "/Me",
        Some(&change("roleName", json!("Admin"))),
    );
    assert_eq!(changed["roleName"], "Admin");
    let mut wire = server.anyone().with_token(&token(&server, &["--whole"]));
    let stale = wire.request(
        "DELETE",
        &format!("{ROOT}/Me"),
        &[("If-Match", "W/\"1\"")],
        b"",
    );
    assert_eq!(stale.status, 412);
    let version = text(&changed["meta"]["version"]);
    let same = wire.request(
        "GET",
        &format!("{ROOT}/Me"),
        &[("If-None-Match", &version)],
        b"",
    );
    assert_eq!(same.status, 304);
    me.expect(204, "DELETE", "/Me", None);
    client.expect(404, "GET", &format!("/Users/{id}"), None);
    me.expect(401, "GET", "/Me", None);
}

#[test]
fn an_administrator_makes_such_a_token_on_the_persons_page() {
    let server = Server::start();
    let (_, _, id) = ana(&server, &[]);
    let mut admin = Browser::sign_in(&server, "acme");
    let page = format!("/settings/people/{id}");
    admin.get(&page);
    admin.post(
        &page,
        &[("do", "token"), ("label", "Phone book"), ("expires", "90")],
    );
    admin.must_show("It is shown only now.");
    let token = admin.value_by_id("token").unwrap();
    let mut me = ScimClient::new(&server, &token);
    assert_eq!(me.get("/Me")["userName"], "ana");
    me.expect(403, "PATCH", "/Me", Some(&change("title", json!("Boss"))));
    admin.get(&page);
    admin.must_show("change what is harmless");
    admin.must_show("Phone book");
    assert!(!run(&server, &["token", "list", "--tenant", "acme"]).contains(&token));
    admin.get("/settings/provisioning");
    assert!(!admin.shows("Phone book"), "no token of the provider's");
}
