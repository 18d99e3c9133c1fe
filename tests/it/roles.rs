//! Which role a user has, through SCIM and the command line against the running program.

use serde_json::{Value, json};

use crate::support::Server;
use crate::tenant::{ScimClient, Tenant, run};

const USER: &str = "urn:ietf:params:scim:schemas:core:2.0:User";
const GROUP: &str = "urn:ietf:params:scim:schemas:core:2.0:Group";

/// A tenant on a server of its own, and what is asked of its roles.
struct Fixture<'a> {
    server: &'a Server,
    client: ScimClient,
}

impl Fixture<'_> {
    fn new(server: &Server) -> Fixture<'_> {
        let tenant = Tenant::create(server, "contoso");
        let client = tenant.client();
        Fixture { server, client }
    }

    /// `rollcall role …`, which must succeed; its standard output.
    #[track_caller]
    fn role(&self, arguments: &[&str]) -> String {
        let mut all = vec!["role", "--tenant", "contoso"];
        all.extend(arguments);
        run(self.server, &all)
    }

    /// The role of a user, as `role why` ends with it, held against the one that is stored.
    #[track_caller]
    fn role_of(&self, user: &str) -> String {
        let listed = run(
            self.server,
            &["user", "list", "--tenant", "contoso", "-o", "json"],
        );
        let listed: Value = serde_json::from_str(&listed).unwrap();
        let row = listed
            .as_array()
            .unwrap()
            .iter()
            .find(|row| row["userName"] == json!(user))
            .unwrap();
        let stored = row["role"].as_str().unwrap().to_owned();
        let why = self.role(&["why", user]);
        let last = why.lines().last().unwrap();
        assert!(
            last.ends_with(&stored) || last.contains(&format!("gives {stored}")),
            "{stored}: {why}"
        );
        stored
    }

    #[track_caller]
    fn user(&mut self, name: &str, role_name: Option<&str>) -> String {
        self.client.create(
            "/Users",
            &json!({ "schemas": [USER], "userName": name, "roleName": role_name }),
        )
    }

    #[track_caller]
    fn group(&mut self, name: &str, members: &[&String]) -> String {
        let members: Vec<Value> = members.iter().map(|id| json!({ "value": id })).collect();
        self.client.create(
            "/Groups",
            &json!({ "schemas": [GROUP], "displayName": name, "members": members }),
        )
    }
}

#[test]
fn role_name_decides_before_roles_groups_and_the_default() {
    let server = Server::start();
    let mut fixture = Fixture::new(&server);
    let ana = fixture.user("ana", None);
    assert_eq!(fixture.role_of("ana"), "Member");

    fixture.role(&["map-group", "sre", "Responder"]);
    fixture.group("SRE", &[&ana]);
    assert_eq!(
        fixture.role_of("ana"),
        "Responder",
        "the row was there before the team"
    );

    let path = format!("/Users/{ana}");
    let roles = json!([{ "value": "Team lead" }, { "value": "Member" }]);
    fixture.client.patch(
        &path,
        json!([{ "op": "replace", "path": "roles", "value": roles }]),
    );
    assert_eq!(fixture.role_of("ana"), "Team lead");
    // Entra's way to name the primary one.
    let primary =
        json!([{ "op": "Add", "path": "roles[primary eq \"True\"].value", "value": "Member" }]);
    fixture.client.patch(&path, primary);
    assert_eq!(fixture.role_of("ana"), "Member");

    let admin = json!([{ "op": "Add", "path": format!("{USER}:roleName"), "value": "Admin" }]);
    fixture.client.patch(&path, admin);
    assert_eq!(fixture.role_of("ana"), "Admin");
    fixture.client.patch(
        &path,
        json!([{ "op": "Replace", "path": "roleName", "value": "admin" }]),
    );
    assert_eq!(fixture.role_of("ana"), "Member", "values compare exactly");
    assert!(fixture.role(&["unmapped"]).contains("admin  1"));
}

#[test]
fn membership_names_and_deletion_of_a_group_count_at_once() {
    let server = Server::start();
    let mut fixture = Fixture::new(&server);
    fixture.role(&["map-group", "SRE", "Team lead"]);
    let (ana, bob) = (fixture.user("ana", None), fixture.user("bob", None));
    let team = format!("/Groups/{}", fixture.group("SRE", &[&ana]));
    assert_eq!(
        [fixture.role_of("ana"), fixture.role_of("bob")],
        ["Team lead", "Member"]
    );

    let swap = json!([
        { "op": "Remove", "path": "members", "value": [{ "value": ana }] },
        { "op": "Add", "path": "members", "value": [{ "value": bob }] },
    ]);
    fixture.client.patch(&team, swap);
    assert_eq!(
        [fixture.role_of("ana"), fixture.role_of("bob")],
        ["Member", "Team lead"]
    );

    fixture.client.patch(
        &team,
        json!([{ "op": "Replace", "path": "displayName", "value": "Ops" }]),
    );
    assert_eq!(
        fixture.role_of("bob"),
        "Member",
        "no stale role after a rename"
    );
    fixture.client.patch(
        &team,
        json!([{ "op": "Replace", "path": "displayName", "value": "sre" }]),
    );
    assert_eq!(fixture.role_of("bob"), "Team lead");

    fixture.client.expect(204, "DELETE", &team, None);
    assert_eq!(fixture.role_of("bob"), "Member");
}

#[test]
fn a_change_of_what_gives_roles_counts_for_everybody_at_once() {
    let server = Server::start();
    let mut fixture = Fixture::new(&server);
    let (ana, bob) = (fixture.user("ana", Some("Chef")), fixture.user("bob", None));
    fixture.role(&["map", "Chef", "Admin"]);
    assert_eq!(
        [fixture.role_of("ana"), fixture.role_of("bob")],
        ["Admin", "Member"]
    );
    fixture.role(&["default", "Responder"]);
    assert_eq!(
        [fixture.role_of("ana"), fixture.role_of("bob")],
        ["Admin", "Responder"]
    );
    fixture.role(&["unmap", "Chef"]);
    assert_eq!(fixture.role_of("ana"), "Responder");

    // Two groups give roles: the higher rank counts, and it can change.
    fixture.role(&["map-group", "A", "Team lead"]);
    fixture.role(&["map-group", "B", "Billing admin"]);
    fixture.group("A", &[&bob]);
    fixture.group("B", &[&bob, &ana]);
    assert_eq!(fixture.role_of("bob"), "Billing admin");
    fixture.role(&["move", "Team lead", "1"]);
    assert_eq!(fixture.role_of("bob"), "Team lead");
    fixture.role(&["unmap-group", "a"]);
    assert_eq!(fixture.role_of("bob"), "Billing admin");
}

#[test]
fn roles_are_added_renamed_and_removed_when_unused() {
    let server = Server::start();
    let mut fixture = Fixture::new(&server);
    fixture.role(&["add", "Auditor", "--opens-settings"]);
    fixture.role(&["map", "audit", "Auditor"]);
    fixture.user("ana", Some("audit"));
    fixture.role(&["rename", "Auditor", "Controller"]);
    assert_eq!(fixture.role_of("ana"), "Controller");

    let refused = |arguments: &[&str]| {
        let mut all = vec!["role", "--tenant", "contoso"];
        all.extend(arguments);
        let output = server.rollcall(&all);
        assert_eq!(output.status.code(), Some(1), "{arguments:?}");
        String::from_utf8(output.stderr).unwrap()
    };
    assert!(refused(&["remove", "Controller"]).contains("somebody has the role"));
    assert!(
        refused(&["remove", "Member"]).contains("somebody has the role"),
        "the default one"
    );
    assert!(refused(&["rename", "Controller", "Admin"]).contains("there already"));
    assert!(refused(&["map", "x", "Nobody"]).contains("no role \"Nobody\""));

    fixture.role(&["unmap", "audit"]);
    fixture.role(&["opens-settings", "Controller", "false"]);
    fixture.role(&["remove", "Controller"]);
    let listed: Value = serde_json::from_str(&fixture.role(&["list", "-o", "json"])).unwrap();
    let names: Vec<&str> = listed
        .as_array()
        .unwrap()
        .iter()
        .map(|role| role["name"].as_str().unwrap())
        .collect();
    assert_eq!(
        names,
        ["Admin", "Billing admin", "Team lead", "Responder", "Member"]
    );
    let settings: Vec<bool> = listed
        .as_array()
        .unwrap()
        .iter()
        .map(|role| role["opensSettings"].as_bool().unwrap())
        .collect();
    assert_eq!(settings, [true, false, false, false, false]);
    assert_eq!(listed[4]["default"], json!(true));
    assert_eq!(listed[4]["people"], json!(1));
}
