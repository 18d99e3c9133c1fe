//! How things were: `… show --at` and `rollcall diff`.

use std::thread::sleep;
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::Server;
use crate::tenant::{Tenant, run};

const USER: &str = "urn:ietf:params:scim:schemas:core:2.0:User";
const GROUP: &str = "urn:ietf:params:scim:schemas:core:2.0:Group";

/// The server's time right after what was done last, and well before what comes next.
fn moment(server: &Server) -> String {
    let log = run(server, &["log", "-o", "json", "-n", "1"]);
    let last: Value = serde_json::from_str(&log).unwrap();
    sleep(Duration::from_millis(20)); // times have milliseconds: what comes next must have another
    last["at"].as_str().unwrap().to_owned()
}

#[test]
fn users_and_teams_are_shown_as_they_were() {
    let server = Server::start();
    let mut client = Tenant::create(&server, "contoso").client();
    let shown = |what: &str, name: &str, at: &str| -> Value {
        serde_json::from_str(&run(
            &server,
            &[what, "show", "--tenant", "contoso", name, "--at", at],
        ))
        .unwrap()
    };
    let ana = client.create(
        "/Users",
        &json!({ "schemas": [USER], "userName": "ana", "roleName": "Admin" }),
    );
    let members = json!([{ "value": ana }]);
    let team = client.create(
        "/Groups",
        &json!({ "schemas": [GROUP], "displayName": "SRE", "members": members }),
    );
    let first = moment(&server);

    client.patch(
        &format!("/Users/{ana}"),
        json!([{ "op": "replace", "value": { "userName": "anna", "roleName": "Member" } }]),
    );
    client.patch(
        &format!("/Groups/{team}"),
        json!([{ "op": "remove", "path": "members" }]),
    );
    let second = moment(&server);
    client.expect(204, "DELETE", &format!("/Groups/{team}"), None);
    let third = moment(&server);

    let then = shown("user", "ana", &first);
    assert_eq!(
        (&then["role"], &then["groups"][0]["display"]),
        (&json!("Admin"), &json!("SRE"))
    );
    let then = shown("user", "ANNA", &second);
    assert_eq!(
        (&then["role"], &then["groups"], &then["id"]),
        (&json!("Member"), &json!([]), &json!(ana))
    );
    assert_eq!(
        shown("team", "sre", &first)["members"][0]["display"],
        json!("ana"),
        "as they were called then"
    );
    assert_eq!(shown("team", &team, &second)["members"], json!([]));
    for (what, name, at) in [
        ("team", "SRE", &third),
        ("user", "ana", &second),
        ("user", "ana", &"2020-01-01".to_owned()),
    ] {
        let output = server.rollcall(&[what, "show", "--tenant", "contoso", name, "--at", at]);
        assert_eq!(output.status.code(), Some(1), "{what} {name} at {at}");
    }

    let diff = |from: &str, to: &str| -> Vec<(String, String)> {
        let rows = run(
            &server,
            &[
                "diff", "--tenant", "contoso", "--from", from, "--to", to, "-o", "json",
            ],
        );
        let rows: Vec<Value> = serde_json::from_str(&rows).unwrap();
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        rows.iter()
            .map(|row| (text(&row["name"]), text(&row["change"])))
            .collect()
    };
    let pair = |name: &str, change: &str| (name.to_owned(), change.to_owned());
    assert_eq!(
        diff(&first, &second),
        [
            pair("anna", "roleName, userName, role, teams +0 −1"),
            pair("SRE", "members +0 −1")
        ]
    );
    assert_eq!(diff(&second, &third), [pair("SRE", "went")]);
    assert_eq!(
        diff("2020-01-01", &third),
        [pair("anna", "came")],
        "what came and went again isn't different"
    );
}
