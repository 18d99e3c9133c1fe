//! People and teams that go and come back: over HTTP as providers do it, over the command line as operators do.

use serde_json::{Value, json};

use crate::support::Server;
use crate::tenant::{ScimClient, Tenant, group, run, text, user};

/// A tenant with three members in one team.
struct World<'a> {
    server: &'a Server,
    tenant: Tenant<'a>,
    client: ScimClient,
    people: Vec<String>,
    team: String,
}

impl<'a> World<'a> {
    fn new(server: &'a Server, name: &str) -> World<'a> {
        let tenant = Tenant::create(server, name);
        let mut client = tenant.client();
        let people: Vec<String> = ["ada", "bob", "cyd"]
            .iter()
            .map(|name| {
                client.create(
                    "/Users",
                    &user(name, json!({"externalId": format!("x-{name}")})),
                )
            })
            .collect();
        let members: Vec<Value> = people.iter().map(|id| json!({"value": id})).collect();
        let more = json!({"externalId": "g-1", "members": members});
        let team = client.create("/Groups", &group("SRE", more));
        World {
            server,
            tenant,
            client,
            people,
            team,
        }
    }

    #[track_caller]
    fn delete(&mut self, path: &str) {
        self.client.expect(204, "DELETE", path, None);
        self.client.expect(404, "GET", path, None);
    }

    /// Runs a command on this tenant.
    #[track_caller]
    fn run(&self, arguments: &[&str]) -> String {
        run(
            self.server,
            &[arguments, &["--tenant", &self.tenant.name]].concat(),
        )
    }

    #[track_caller]
    fn json(&self, arguments: &[&str]) -> Value {
        serde_json::from_str(&self.run(&[&["-o", "json"], arguments].concat())).unwrap()
    }

    /// A command that must fail; what it says.
    #[track_caller]
    fn refused(&self, arguments: &[&str]) -> String {
        let arguments = [arguments, &["--tenant", &self.tenant.name]].concat();
        let output = self.server.rollcall(&arguments);
        assert_eq!(output.status.code(), Some(1), "{arguments:?}");
        String::from_utf8(output.stderr).unwrap()
    }

    #[track_caller]
    fn set(&self, arguments: &[&str]) {
        run(
            self.server,
            &[&["tenant", "set", &self.tenant.name], arguments].concat(),
        );
    }

    #[track_caller]
    fn shown(&self) -> Value {
        let arguments = ["-o", "json", "tenant", "show", &self.tenant.name];
        serde_json::from_str(&run(self.server, &arguments)).unwrap()
    }

    /// Names of a team's members.
    #[track_caller]
    fn members(&mut self, team: &str) -> Vec<String> {
        displays(
            &self
                .client
                .get(&format!("/Groups/{team}?attributes=members.display"))["members"],
        )
    }

    /// Names of the teams of somebody.
    #[track_caller]
    fn groups(&mut self, person: &str) -> Vec<String> {
        displays(&self.client.get(&format!("/Users/{person}"))["groups"])
    }
}

fn displays(links: &Value) -> Vec<String> {
    let links = links.as_array().into_iter().flatten();
    links.map(|link| text(&link["display"])).collect()
}

#[test]
fn a_deleted_user_comes_back_by_a_post_with_the_same_external_id_or_name() {
    let server = Server::start();
    let mut world = World::new(&server, "post");
    let ada = world.people[0].clone();
    for (again, name) in [
        (user("ada", json!({"externalId": "x-ada"})), "ada"),
        (
            user("ada.l", json!({"externalId": "x-ada", "title": "Countess"})),
            "ada.l",
        ),
        (user("ADA.L", json!({})), "ADA.L"),
    ] {
        world.delete(&format!("/Users/{ada}"));
        assert_eq!(world.members(&world.team.clone()), ["bob", "cyd"]);
        let back = world.client.expect(201, "POST", "/Users", Some(&again));
        assert_eq!(back["id"], json!(ada));
        assert_eq!(back["userName"], json!(name));
        assert_eq!(back["active"], json!(true));
        assert_eq!(
            back["title"], again["title"],
            "the new document replaces the old one"
        );
        assert_eq!(world.groups(&ada), ["SRE"]);
    }
}

#[test]
fn an_external_id_says_more_than_a_name() {
    let server = Server::start();
    let mut world = World::new(&server, "external");
    let (ada, bob) = (world.people[0].clone(), world.people[1].clone());
    world.delete(&format!("/Users/{ada}"));
    world.delete(&format!("/Users/{bob}"));
    let back = world
        .client
        .create("/Users", &user("bob", json!({"externalId": "x-ada"})));
    assert_eq!(back, ada);
    // The other one's name is Ada's now.
    let said = world.refused(&["user", "restore", &bob]);
    assert!(
        said.contains("userName \"bob\" belongs to another user"),
        "{said}"
    );
    world
        .client
        .expect(404, "GET", &format!("/Users/{bob}"), None);
}

#[test]
fn a_membership_whose_team_is_gone_meanwhile_does_not_come_back() {
    let server = Server::start();
    let mut world = World::new(&server, "gone");
    let (ada, team) = (world.people[0].clone(), world.team.clone());
    world.delete(&format!("/Users/{ada}"));
    world.delete(&format!("/Groups/{team}"));
    world.run(&["user", "restore", &ada]);
    assert!(world.groups(&ada).is_empty());
    world.run(&["team", "restore", &team]);
    assert_eq!(world.groups(&ada), ["SRE"]);
    world.delete(&format!("/Groups/{team}"));
    world.run(&["team", "purge", &team]);
    assert!(world.groups(&ada).is_empty());
}

#[test]
fn an_operator_restores_a_user_who_is_a_new_version_for_everybody() {
    let server = Server::start();
    let mut world = World::new(&server, "operator");
    let (ada, team) = (world.people[0].clone(), world.team.clone());
    let version = |world: &mut World<'_>| {
        world.client.get(&format!("/Groups/{team}"))["meta"]["version"].clone()
    };
    let before = world.client.get(&format!("/Users/{ada}"));
    world.delete(&format!("/Users/{ada}"));
    let without = version(&mut world);
    let archived = world.json(&["user", "archived"]);
    assert_eq!(archived[0]["id"], json!(ada));
    world.run(&["user", "restore", &ada]);
    assert_ne!(version(&mut world), without);
    let mut after = world.client.get(&format!("/Users/{ada}"));
    assert_ne!(after["meta"]["version"], before["meta"]["version"]);
    after["meta"] = before["meta"].clone();
    assert_eq!(after, before);
    assert_eq!(world.json(&["user", "archived"]), json!([]));
    let said = world.refused(&["user", "restore", &ada]);
    assert!(said.contains("the archive has no user"), "{said}");
}

#[test]
fn inactive_users_keep_all_and_are_back_at_once_in_both_dialects() {
    let server = Server::start();
    let mut world = World::new(&server, "active");
    let path = format!("/Users/{}", world.people[0]);
    let whole = world.client.get(&path);
    for (off, on) in [
        (
            json!([{"op": "Replace", "path": "active", "value": "False"}]),
            json!([{"op": "Replace", "path": "active", "value": "True"}]),
        ),
        (
            json!([{"op": "replace", "path": "active", "value": false}]),
            json!([{"op": "replace", "value": {"active": true}}]),
        ),
    ] {
        let inactive = world.client.patch(&path, off);
        assert_eq!(
            (&inactive["active"], &inactive["groups"]),
            (&json!(false), &whole["groups"])
        );
        let mut active = world.client.patch(&path, on);
        active["meta"] = whole["meta"].clone();
        assert_eq!(active, whole);
    }
}

#[test]
fn a_group_comes_back_with_its_members_also_under_another_name() {
    let server = Server::start();
    let mut world = World::new(&server, "groups");
    let team = world.team.clone();
    for (again, members) in [
        (
            group("SRE", json!({"externalId": "g-1"})),
            vec!["ada", "bob", "cyd"],
        ),
        (
            group("Reliability", json!({"externalId": "g-1", "members": []})),
            vec!["ada", "bob", "cyd"],
        ),
        (
            group(
                "reliability",
                json!({"members": [{"value": world.people[1]}]}),
            ),
            vec!["bob"],
        ),
    ] {
        world.delete(&format!("/Groups/{team}"));
        let person = world.people[1].clone();
        assert!(world.groups(&person).is_empty());
        assert_eq!(world.client.create("/Groups", &again), team);
        assert_eq!(world.members(&team), members);
        assert_eq!(world.groups(&person), [text(&again["displayName"])]);
    }
}

#[test]
fn a_group_is_another_one_where_the_tenant_wants_it_so() {
    let server = Server::start();
    let mut world = World::new(&server, "fresh");
    let first = world.team.clone();
    world.set(&["--returning-team", "fresh"]);
    world.delete(&format!("/Groups/{first}"));
    let second = world.client.create("/Groups", &group("SRE", json!({})));
    assert_ne!(second, first);
    assert!(world.members(&second).is_empty());
    let said = world.refused(&["team", "restore", &first]);
    assert!(
        said.contains("displayName \"SRE\" belongs to another team"),
        "{said}"
    );
    // A renamed team makes room.
    world.client.patch(
        &format!("/Groups/{second}"),
        json!([{"op": "replace", "path": "displayName", "value": "New"}]),
    );
    world.run(&["team", "restore", &first]);
    assert_eq!(world.members(&first), ["ada", "bob", "cyd"]);
}

#[test]
fn nothing_is_kept_where_retention_is_zero() {
    let server = Server::start();
    let mut world = World::new(&server, "zero");
    world.set(&["--retention-days", "0", "--removal-percent", "100"]);
    let (ada, team) = (world.people[0].clone(), world.team.clone());
    world.delete(&format!("/Groups/{team}"));
    world.delete(&format!("/Users/{ada}"));
    assert_eq!(world.json(&["team", "archived"]), json!([]));
    assert_eq!(world.json(&["user", "archived"]), json!([]));
    assert_ne!(
        world.client.create("/Groups", &group("SRE", json!({}))),
        team
    );
    assert_ne!(
        world
            .client
            .create("/Users", &user("ada", json!({"externalId": "x-ada"}))),
        ada
    );
}

#[test]
fn settings_are_shown_as_they_were_set() {
    let server = Server::start();
    let world = World::new(&server, "settings");
    let shown = world.shown();
    assert_eq!(
        (&shown["retention_days"], &shown["returning_team"]),
        (&json!(30), &json!("revive"))
    );
    world.set(&[
        "--retention-days",
        "7",
        "--returning-team",
        "fresh",
        "--removal-count",
        "5",
        "--removal-percent",
        "50",
        "--unmapped-role",
        "reject",
    ]);
    let shown = world.shown();
    for (name, value) in [
        ("retention_days", json!(7)),
        ("returning_team", json!("fresh")),
        ("removal_count", json!(5)),
        ("removal_percent", json!(50)),
        ("unmapped_role", json!("reject")),
        ("unusual_removals", Value::Null),
    ] {
        assert_eq!(shown[name], value, "{name}");
    }
}

/// Deactivates and deletes with few words.
fn remove_all(world: &mut World<'_>) {
    let off = json!([{"op": "Replace", "path": "active", "value": "False"}]);
    let people = world.people.clone();
    world.client.patch(&format!("/Users/{}", people[0]), off);
    world.delete(&format!("/Users/{}", people[1]));
    let members = json!([{"op": "Remove", "path": "members", "value": [{"value": people[2]}]}]);
    world
        .client
        .patch(&format!("/Groups/{}", world.team), members);
    world.delete(&format!("/Groups/{}", world.team.clone()));
}

#[test]
fn undo_brings_back_all_sorts_of_removals_and_its_dry_run_told_so() {
    let server = Server::start();
    let mut world = World::new(&server, "undo");
    world.set(&["--removal-count", "1"]);
    let before = (world.client.all("/Users"), world.client.all("/Groups"));
    remove_all(&mut world);
    assert_ne!(world.shown()["unusual_removals"], Value::Null);
    let undo = ["undo", "--since", "1h"];
    let told = world.json(&[&undo[..], &["--dry-run"]].concat());
    let deeds: Vec<String> = told
        .as_array()
        .unwrap()
        .iter()
        .map(|step| text(&step["do"]))
        .collect();
    assert_eq!(
        deeds,
        [
            "restore user",
            "restore team",
            "activate user",
            "add member"
        ]
    );
    world
        .client
        .expect(404, "GET", &format!("/Groups/{}", world.team), None);
    assert_eq!(world.json(&undo), told);
    let without_meta = |resources: std::collections::BTreeMap<String, Value>| {
        let mut resources: Vec<Value> = resources.into_values().collect();
        resources
            .iter_mut()
            .for_each(|resource| resource["meta"] = Value::Null);
        resources
    };
    let after = (world.client.all("/Users"), world.client.all("/Groups"));
    assert_eq!(without_meta(after.0), without_meta(before.0));
    assert_eq!(without_meta(after.1), without_meta(before.1));
    assert_eq!(world.json(&undo), json!([]), "nothing is left to undo");
    // The mark stays until somebody says that all is well, and what was undone doesn't count again.
    assert_ne!(world.shown()["unusual_removals"], Value::Null);
    world.set(&["--removals", "usual"]);
    assert_eq!(world.shown()["unusual_removals"], Value::Null);
}

#[test]
fn undo_leaves_what_was_removed_before_and_what_has_lost_its_name() {
    let server = Server::start();
    let mut world = World::new(&server, "hindered");
    world.set(&["--returning-team", "fresh"]);
    let team = world.team.clone();
    world.delete(&format!("/Groups/{team}"));
    world.client.create("/Groups", &group("SRE", json!({})));
    let steps = world.json(&["undo", "--since", "1h"]);
    assert!(
        text(&steps[0]["hindrance"]).contains("belongs to another team"),
        "{steps}"
    );
    world
        .client
        .expect(404, "GET", &format!("/Groups/{team}"), None);
    assert_eq!(
        world.json(&["undo", "--since", "2100-01-01T00:00:00Z"]),
        json!([])
    );
}

#[test]
fn a_team_is_downloaded_live_or_archived_and_imported_under_the_same_id() {
    let server = Server::start();
    let mut world = World::new(&server, "copies");
    let team = world.team.clone();
    let live = world.json(&["team", "download", "SRE"]);
    world.delete(&format!("/Groups/{team}"));
    let mut archived = world.json(&["team", "download", &team]);
    assert_ne!(archived["archived"], Value::Null);
    archived["archived"] = Value::Null;
    assert_eq!(archived, live);
    world.run(&["team", "purge", &team]);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("team.json");
    std::fs::write(&file, archived.to_string()).unwrap();
    let file = file.to_str().unwrap();
    assert_eq!(world.run(&["team", "import", file]), team);
    assert_eq!(world.members(&team), ["ada", "bob", "cyd"]);
    let said = world.refused(&["team", "import", file]);
    assert!(said.contains("belongs to another team"), "{said}");
}

#[test]
fn a_teams_resources_go_to_another_team_by_command_also_from_the_archive() {
    let server = Server::start();
    let mut world = World::new(&server, "transfer");
    let (from, to) = (
        world.team.clone(),
        world.client.create("/Groups", &group("New", json!({}))),
    );
    let key = world.run(&["token", "create", "--api", "--scope", "read,resources"]);
    let mut app = server.anyone().with_token(key.trim());
    let names = |app: &mut crate::support::Client, team: &str| -> Vec<String> {
        let listed = app.get(&format!("/api/v1/teams/{team}/resources")).json();
        let items = listed["items"].as_array().unwrap();
        items.iter().map(|item| text(&item["name"])).collect()
    };
    for name in ["monitor", "calendar"] {
        let resource = json!({"kind": "check", "name": name, "data": {}}).to_string();
        let path = format!("/api/v1/teams/{from}/resources");
        let answer = app.request("POST", &path, &[], resource.as_bytes());
        assert_eq!(answer.status, 201, "{answer:?}");
        // The first while the team is live, the second out of the archive.
        if name == "calendar" {
            world.delete(&format!("/Groups/{from}"));
        }
        world.run(&["team", "transfer", &from, &to]);
    }
    assert_eq!(names(&mut app, &to), ["monitor", "calendar"]);
    world.run(&["team", "restore", &from]);
    assert!(names(&mut app, &from).is_empty());
    let said = world.refused(&["team", "transfer", &from, "nowhere"]);
    assert!(said.contains("nowhere"), "{said}");
}
