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
    assert!(
        refused(&["remove", "Controller"]).contains("1 person has it; roleName \"audit\" gives it")
    );
    assert!(
        refused(&["remove", "Member"]).contains("it is the default role"),
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

#[test]
fn who_comes_back_has_the_role_that_is_theirs_now() {
    let server = Server::start();
    let mut fixture = Fixture::new(&server);
    fixture.role(&["map-group", "SRE", "Team lead"]);
    let ana = fixture.user("ana", None);
    let team = fixture.group("SRE", &[&ana]);
    fixture
        .client
        .expect(204, "DELETE", &format!("/Groups/{team}"), None);
    assert_eq!(fixture.role_of("ana"), "Member");
    run(&server, &["team", "restore", "--tenant", "contoso", &team]);
    assert_eq!(fixture.role_of("ana"), "Team lead");

    fixture
        .client
        .expect(204, "DELETE", &format!("/Users/{ana}"), None);
    fixture.role(&["map-group", "SRE", "Responder"]);
    run(&server, &["user", "restore", "--tenant", "contoso", &ana]);
    assert_eq!(fixture.role_of("ana"), "Responder");
}

#[test]
fn a_tenant_may_refuse_values_that_give_no_role() {
    let server = Server::start();
    let mut fixture = Fixture::new(&server);
    let ana = fixture.user("ana", Some("Chef"));
    run(
        &server,
        &["tenant", "set", "contoso", "--unmapped-role", "reject"],
    );
    let body = json!({ "schemas": [USER], "userName": "bob", "roleName": "chef" });
    let refused = fixture.client.expect(400, "POST", "/Users", Some(&body));
    assert_eq!(refused["scimType"], json!("invalidValue"));
    let detail = refused["detail"].as_str().unwrap();
    assert!(
        detail.contains("\"chef\"") && detail.contains("\"Team lead\""),
        "{detail}"
    );
    // That the name is taken is said first.
    let taken = json!({ "schemas": [USER], "userName": "ANA", "roleName": "chef" });
    fixture.client.expect(409, "POST", "/Users", Some(&taken));
    // What was accepted before stays, and does not stand in the way of other changes.
    let path = format!("/Users/{ana}");
    let title = json!([{ "op": "Replace", "path": "title", "value": "Chief" }]);
    assert_eq!(
        fixture.client.patch(&path, title)["roleName"],
        json!("Chef")
    );
    fixture.role(&["map", "chef", "Admin"]);
    fixture.client.expect(201, "POST", "/Users", Some(&body));
    assert_eq!(fixture.role_of("bob"), "Admin");
}
