//! What is declared as never returned (RFC 7643 §7), or isn't declared any more, is shown and told nowhere.

use serde_json::{Value, json};

use crate::browser::Browser;
use crate::support::Server;
use crate::tenant::{Tenant, group, run, text, user};

const ACME: &str = "urn:ietf:params:scim:schemas:extension:acme:2.0:User";

/// Declares an attribute as it stands in a file.
fn declare(server: &Server, whose: &[&str], attribute: &Value) {
    let file = server.data().join("attribute.json");
    std::fs::write(&file, attribute.to_string()).unwrap();
    let add = [
        "attribute",
        "--tenant",
        "acme",
        "add",
        "--file",
        file.to_str().unwrap(),
    ];
    run(server, &[&add[..], whose].concat());
}

/// A part that is never returned, two levels down in an extension that hides nothing else.
#[test]
fn a_part_that_is_never_returned_is_in_no_answer() {
    let server = Server::start();
    let tenant = Tenant::create(&server, "acme");
    let mut client = tenant.client();
    let door = json!({"name": "door", "type": "complex", "subAttributes": [
        {"name": "house", "type": "string"}, {"name": "code", "type": "string", "returned": "never"}]});
    declare(&server, &["--schema", ACME], &door);
    let door = json!({"door": {"house": "HQ", "code": "SECRET"}});
    let ada = user("ada", json!({(ACME): door.clone()}));
    let created = client.expect(201, "POST", "/Users", Some(&ada));
    let path = format!("/Users/{}", text(&created["id"]));
    let patched = client.patch(
        &path,
        json!([{"op": "add", "path": format!("{ACME}:door"), "value": door["door"]},
               {"op": "add", "path": "title", "value": "Dr."}]),
    );
    let answers = [
        created,
        patched,
        client.expect(200, "PUT", &path, Some(&ada)),
        client.get(&path),
        client.get(&format!("{path}?attributes={ACME}")),
        client.get(&format!("{path}?attributes={ACME}:door")),
        client.get("/Users?filter=userName eq \"ada\"")["Resources"][0].clone(),
    ];
    for answer in answers {
        assert_eq!(answer[ACME]["door"], json!({"house": "HQ"}), "{answer}");
    }
    client.get(&format!("{path}?attributes={ACME}:door.code"));
}

/// What is never returned is told nowhere else either: not in the feed, not on pages, not at the command line.
#[test]
fn what_is_never_returned_stands_in_no_event_and_on_no_page() {
    let server = Server::start();
    let tenant = Tenant::create(&server, "acme");
    let mut client = tenant.client();
    let never = |name: &str| json!({"name": name, "type": "string", "returned": "never"});
    let door = json!({"name": "door", "type": "complex", "multiValued": true,
        "subAttributes": [{"name": "house", "type": "string"}, never("code")]});
    declare(&server, &["--schema", ACME], &never("pin"));
    declare(&server, &["--schema", ACME], &door);
    declare(&server, &["--for", "group"], &never("word"));
    let told = json!({"pin": "SECRET-1", "door": [{"house": "HQ", "code": "SECRET-2"}]});
    let ada = client.create("/Users", &user("ada", json!({(ACME): told})));
    let team = client.create("/Groups", &group("SRE", json!({"word": "SECRET-3"})));
    client.patch(
        &format!("/Users/{ada}"),
        json!([{"op": "replace", "path": format!("{ACME}:pin"), "value": "SECRET-4"}]),
    );
    // Nor once it is declared no more.
    let pin = format!("{ACME}:pin");
    run(&server, &["attribute", "--tenant", "acme", "remove", &pin]);
    client.patch(
        &format!("/Users/{ada}"),
        json!([{"op": "replace", "path": "title", "value": "Dr."}]),
    );
    client.expect(204, "DELETE", &format!("/Users/{ada}"), None);
    run(&server, &["user", "restore", "--tenant", "acme", &ada]);

    let token = run(
        &server,
        &[
            "token", "create", "--tenant", "acme", "--api", "--scope", "read",
        ],
    );
    let mut app = server.anyone().with_token(&token);
    let mut seen = vec![app.get("/api/v1/events?after=0").text().to_owned()];
    let mut browser = Browser::sign_in(&server, "acme");
    for page in [
        "events".to_owned(),
        format!("people/{ada}"),
        format!("teams/{team}"),
        format!("teams/{team}/download"),
    ] {
        browser.get(&format!("/settings/{page}"));
        seen.push(browser.page.clone());
    }
    for what in [["user", "show", "ada"], ["team", "show", "SRE"]] {
        seen.push(run(
            &server,
            &[what[0], what[1], "--tenant", "acme", what[2]],
        ));
    }
    assert!(seen[0].contains("HQ") && seen[2].contains("HQ"));
    for text in seen {
        assert!(!text.contains("SECRET"), "{text}");
    }
    // It is kept nevertheless.
    let copy = run(&server, &["export", "--tenant", "acme", "-"]);
    assert!(
        ["SECRET-2", "SECRET-3", "SECRET-4"]
            .iter()
            .all(|secret| copy.contains(secret))
    );
}
