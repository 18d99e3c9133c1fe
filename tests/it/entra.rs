//! Whole lives of a directory, as Entra ID and Okta push them, held against a model after each phase;
//! and what of Entra's traffic needs more than one connection (fixtures F39 and F40).

use std::sync::Barrier;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::directory::{Directory, ENTERPRISE, Person, Team};
use crate::support::Server;
use crate::tenant::{ScimClient, Tenant, group, patch_op, query_escape, user};

#[test]
fn entra_provisions_a_directory_in_its_default_dialect() {
    entra_life(Dialect::Default);
}

#[test]
fn entra_provisions_a_directory_with_the_aad_optscim_flag() {
    entra_life(Dialect::Flag);
}

/// Entra's two ways of writing PATCH (`?aadOptscim062020` in the Tenant URL).
#[derive(Clone, Copy, PartialEq)]
enum Dialect {
    Default,
    Flag,
}

impl Dialect {
    fn at(self, path: &str) -> String {
        match (self, path.contains('?')) {
            (Dialect::Default, _) => path.to_owned(),
            (Dialect::Flag, false) => format!("{path}?aadOptscim062020"),
            (Dialect::Flag, true) => format!("{path}&aadOptscim062020"),
        }
    }

    /// The operations that set single-valued attributes.
    fn set(self, attributes: &[(&str, &str)]) -> Value {
        match self {
            Dialect::Default => attributes
                .iter()
                .map(|(path, value)| json!({"op": "Replace", "path": path, "value": value}))
                .collect(),
            Dialect::Flag => {
                let value: serde_json::Map<String, Value> = attributes
                    .iter()
                    .map(|(path, value)| (path.to_string(), json!(value)))
                    .collect();
                json!([{"op": "replace", "value": value}])
            }
        }
    }

    fn set_active(self, active: bool) -> Value {
        match self {
            Dialect::Default => {
                json!([{"op": "Replace", "path": "active", "value": if active { "True" } else { "False" }}])
            }
            Dialect::Flag => json!([{"op": "replace", "path": "active", "value": active}]),
        }
    }

    fn add_members(self, ids: &[String]) -> Value {
        let values: Vec<Value> = ids
            .iter()
            .map(|id| json!({"$ref": null, "value": id}))
            .collect();
        match self {
            Dialect::Default => json!([{"op": "Add", "path": "members", "value": values}]),
            Dialect::Flag => json!([{"op": "add", "path": "members", "value": values}]),
        }
    }

    fn remove_members(self, ids: &[String]) -> Value {
        match self {
            Dialect::Default => {
                let values: Vec<Value> = ids
                    .iter()
                    .map(|id| json!({"$ref": null, "value": id}))
                    .collect();
                json!([{"op": "Remove", "path": "members", "value": values}])
            }
            Dialect::Flag => ids
                .iter()
                .map(|id| json!({"op": "remove", "path": format!("members[value eq \"{id}\"]")}))
                .collect(),
        }
    }
}

const USERS: usize = 1000;
const GROUPS: usize = 50;
const THREADS: usize = 8;

/// A directory's life with Entra ID, in its order of calls (entra.md §1.4).
fn entra_life(dialect: Dialect) {
    let server = Server::start();
    let tenant = Tenant::create(&server, "contoso");
    let mut client = tenant.client();
    let mut model = Directory::default();

    let guid = "5f3c0a52-8d38-4a83-9a61-2b1a0ac0d1f7";
    assert!(find(&mut client, dialect, "/Users", "userName", guid).is_empty());

    initial_users(&tenant, dialect, &mut model);
    model.assert_same(&mut client, "the initial cycle's users");
    initial_groups(&mut client, dialect, &mut model);
    model.assert_same(&mut client, "the initial cycle's groups");

    change_attributes(&mut client, dialect, &mut model);
    model.assert_same(&mut client, "changes of attributes and names");
    churn_members(&tenant, dialect, &mut model);
    model.assert_same(&mut client, "eight threads' changes of one group");
    disable_and_enable(&mut client, dialect, &mut model);
    model.assert_same(&mut client, "disabling and enabling");
    let gone = delete_some(&mut client, &mut model);
    model.assert_same(&mut client, "deletions");
    restore(&mut client, dialect, &mut model, gone);
    model.assert_same(&mut client, "restoring");
}

fn find(
    client: &mut ScimClient,
    dialect: Dialect,
    endpoint: &str,
    attribute: &str,
    value: &str,
) -> Vec<Value> {
    let filter = query_escape(&format!("{attribute} eq \"{value}\""));
    let excluded = if endpoint == "/Groups" {
        "excludedAttributes=members&"
    } else {
        ""
    };
    let list = client.get(&dialect.at(&format!("{endpoint}?{excluded}filter={filter}")));
    list["Resources"].as_array().cloned().unwrap_or_default()
}

fn person(number: usize) -> Person {
    Person {
        user_name: format!("person{number:04}@contoso.example"),
        external_id: format!("c1f4a7de-6f57-4f0b-9d0c-{number:012}"),
        display_name: format!("Person {number}"),
        department: format!("Department {}", number % 9),
        active: true,
    }
}

fn entra_user(person: &Person) -> Value {
    let mail = json!([{"primary": true, "type": "work", "value": person.user_name}]);
    json!({
        "schemas": ["urn:ietf:params:scim:schemas:core:2.0:User", ENTERPRISE],
        "externalId": person.external_id, "userName": person.user_name, "active": person.active,
        "displayName": person.display_name, "emails": mail, "meta": {"resourceType": "User"}, "roles": [],
        "name": {"formatted": person.display_name, "familyName": "Person", "givenName": "A"},
        ENTERPRISE: {"department": person.department},
    })
}

/// Looks for a user and creates it: two calls, as for each user of Entra's initial cycle.
fn provision(client: &mut ScimClient, dialect: Dialect, person: &Person) -> String {
    assert!(find(client, dialect, "/Users", "userName", &person.user_name).is_empty());
    client.create(&dialect.at("/Users"), &entra_user(person))
}

fn initial_users(tenant: &Tenant<'_>, dialect: Dialect, model: &mut Directory) {
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS)
            .map(|thread| {
                let mut client = tenant.client();
                scope.spawn(move || {
                    let people = (thread..USERS).step_by(THREADS).map(person);
                    people
                        .map(|person| (provision(&mut client, dialect, &person), person))
                        .collect::<Vec<_>>()
                })
            })
            .collect();
        for thread in threads {
            model.people.extend(thread.join().unwrap());
        }
    });
    assert_eq!(model.people.len(), USERS);
}

/// Groups are created empty; their members follow by PATCH.
fn initial_groups(client: &mut ScimClient, dialect: Dialect, model: &mut Directory) {
    let ids: Vec<String> = model.people.keys().cloned().collect();
    for number in 0..GROUPS {
        let name = format!("Group {number}");
        assert!(find(client, dialect, "/Groups", "displayName", &name).is_empty());
        let body = json!({
            "schemas": ["urn:ietf:params:scim:schemas:core:2.0:Group",
                        "http://schemas.microsoft.com/2006/11/ResourceManagement/ADSCIM/2.0/Group"],
            "externalId": format!("8aa1a0c0-{number}"), "displayName": name, "meta": {"resourceType": "Group"},
        });
        let id = client.create(&dialect.at("/Groups"), &body);
        let members: Vec<String> = ids.iter().skip(number).step_by(17).cloned().collect();
        for some in members.chunks(20) {
            client.patch(
                &dialect.at(&format!("/Groups/{id}")),
                dialect.add_members(some),
            );
        }
        model.teams.insert(
            id,
            Team {
                display_name: name,
                members: members.into_iter().collect(),
            },
        );
    }
}

fn change_attributes(client: &mut ScimClient, dialect: Dialect, model: &mut Directory) {
    for (id, person) in model.people.iter_mut().step_by(10) {
        person.display_name.push_str(" Ruiz");
        person.department = "Retail".to_owned();
        person.user_name = person.user_name.replace("person", "Renamed");
        let department = format!("{ENTERPRISE}:department");
        let attributes = [
            ("displayName", &*person.display_name),
            (&department, "Retail"),
            ("userName", &*person.user_name),
        ];
        client.get(&dialect.at(&format!("/Users/{id}")));
        let answer = client.patch(
            &dialect.at(&format!("/Users/{id}")),
            dialect.set(&attributes),
        );
        assert_eq!(answer["userName"], person.user_name.as_str());
    }
    for (id, team) in model.teams.iter_mut().step_by(5) {
        team.display_name.push_str(" EU");
        client.patch(
            &dialect.at(&format!("/Groups/{id}")),
            dialect.set(&[("displayName", &team.display_name)]),
        );
    }
}

/// Eight threads add and remove members of one group at the same time; each owns its own people.
fn churn_members(tenant: &Tenant<'_>, dialect: Dialect, model: &mut Directory) {
    let path = dialect.at(&format!("/Groups/{}", model.teams.keys().next().unwrap()));
    let ids: Vec<String> = model.people.keys().take(160).cloned().collect();
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let own: Vec<String> = ids.iter().skip(thread).step_by(THREADS).cloned().collect();
            let (path, mut client) = (&path, tenant.client());
            scope.spawn(move || {
                for pair in own.chunks(2) {
                    client.patch(path, dialect.add_members(pair));
                    client.patch(path, dialect.remove_members(pair));
                    client.patch(path, dialect.add_members(&pair[..1]));
                }
            });
        }
    });
    let members = &mut model.teams.values_mut().next().unwrap().members;
    for (index, id) in ids.iter().enumerate() {
        // Each thread's list takes every eighth id; of each of its pairs the first stays.
        if (index / THREADS).is_multiple_of(2) {
            members.insert(id.clone());
        } else {
            members.remove(id);
        }
    }
}

fn disable_and_enable(client: &mut ScimClient, dialect: Dialect, model: &mut Directory) {
    for (number, (id, person)) in model.people.iter_mut().step_by(13).enumerate() {
        let path = dialect.at(&format!("/Users/{id}"));
        assert_eq!(
            client.patch(&path, dialect.set_active(false))["active"],
            json!(false)
        );
        person.active = number % 2 == 0;
        if person.active {
            // Assigned again: found by the filter though disabled, then enabled.
            let found = find(client, dialect, "/Users", "userName", &person.user_name);
            assert_eq!(found.len(), 1);
            assert_eq!(found[0]["active"], json!(false));
            assert_eq!(
                client.patch(&path, dialect.set_active(true))["active"],
                json!(true)
            );
        }
    }
}

/// Deletes some users and groups; answers the directory as it was, less the groups.
fn delete_some(client: &mut ScimClient, model: &mut Directory) -> Directory {
    let mut before = model.clone();
    let people: Vec<String> = model.people.keys().step_by(20).cloned().collect();
    for id in &people {
        client.expect(204, "DELETE", &format!("/Users/{id}"), None);
        client.expect(404, "GET", &format!("/Users/{id}"), None);
        model.delete_person(id);
    }
    for id in model.teams.keys().step_by(9).cloned().collect::<Vec<_>>() {
        client.expect(204, "DELETE", &format!("/Groups/{id}"), None);
        model.teams.remove(&id);
        before.teams.remove(&id);
    }
    before
}

/// Whoever was deleted comes back by a POST with the same names, under the same id and in the same groups.
fn restore(
    client: &mut ScimClient,
    dialect: Dialect,
    model: &mut Directory,
    mut before: Directory,
) {
    for (id, person) in &mut before.people {
        if !model.people.contains_key(id) {
            person.active = true;
            assert_eq!(&provision(client, dialect, person), id);
        }
    }
    *model = before;
}

#[test]
fn okta_provisions_a_directory() {
    let server = Server::start();
    let tenant = Tenant::create(&server, "okta");
    let mut client = tenant.client();
    let mut model = Directory::default();

    for number in 0..60 {
        let person = Person {
            department: String::new(),
            ..person(number)
        };
        assert!(
            client
                .find("/Users", &format!("userName eq \"{}\"", person.user_name))
                .is_empty()
        );
        let id = client.create("/Users", &okta_user(&person));
        model.people.insert(id, person);
    }
    let ids: Vec<String> = model.people.keys().cloned().collect();
    for number in 0..6 {
        let name = format!("Okta {number}");
        let members = ids.iter().skip(number).step_by(6).cloned().collect();
        let id = client.create("/Groups", &group(&name, json!({"members": []})));
        let team = Team {
            display_name: name,
            members,
        };
        client.patch(
            &format!("/Groups/{id}"),
            json!([{"op": "replace", "path": "members", "value": okta_members(&team)}]),
        );
        model.teams.insert(id, team);
    }
    model.assert_same(&mut client, "Okta's first push");

    okta_updates(&mut client, &mut model);
    model.assert_same(&mut client, "Okta's updates of users");
    okta_group_push(&mut client, &mut model, &ids);
    model.assert_same(&mut client, "Okta's updates of groups");
}

fn okta_user(person: &Person) -> Value {
    let more = json!({
        "externalId": person.external_id, "displayName": person.display_name, "active": person.active,
        "locale": "en-US", "groups": [], "password": "1mz050nq",
        "emails": [{"primary": true, "type": "work", "value": person.user_name}],
    });
    user(&person.user_name, more)
}

fn okta_members(team: &Team) -> Value {
    team.members
        .iter()
        .map(|id| json!({"value": id, "display": "somebody"}))
        .collect()
}

/// Reads, changes and PUTs the whole representation; deactivates without a path.
fn okta_updates(client: &mut ScimClient, model: &mut Directory) {
    for (number, (id, person)) in model.people.iter_mut().enumerate() {
        let path = format!("/Users/{id}");
        let mut body = client.get(&path);
        person.display_name.push_str(" of Okta");
        body["displayName"] = json!(person.display_name);
        client.expect(200, "PUT", &path, Some(&body));
        if number % 4 == 0 {
            client.patch(
                &path,
                json!([{"op": "replace", "value": {"active": false}}]),
            );
            person.active = number % 8 == 0;
            if person.active {
                // Assigned again: a POST is told that the user is there, the filter finds it.
                let refusal = client.expect(409, "POST", "/Users", Some(&okta_user(person)));
                assert_eq!(refusal["scimType"], "uniqueness");
                assert_eq!(
                    client.find(
                        "/Users",
                        &format!("externalId eq \"{}\"", person.external_id)
                    ),
                    [id.as_str()]
                );
                client.patch(&path, json!([{"op": "replace", "value": {"active": true}}]));
            }
        }
    }
}

/// Renames with the id inside the value, removes and adds in one request, replaces by PUT, deletes.
fn okta_group_push(client: &mut ScimClient, model: &mut Directory, ids: &[String]) {
    let group_ids: Vec<String> = model.teams.keys().cloned().collect();
    for (number, id) in group_ids.iter().enumerate() {
        let team = model.teams.get_mut(id).unwrap();
        let path = format!("/Groups/{id}");
        team.display_name.push_str(" renamed");
        let rename =
            json!({"op": "replace", "value": {"id": id, "displayName": team.display_name}});
        let leaver = team.members.pop_first().unwrap();
        let joiner = ids[number + 7].clone();
        let remove = json!({"op": "remove", "path": format!("members[value eq \"{leaver}\"]")});
        let add = json!({"op": "add", "path": "members", "value": [{"value": joiner, "display": "somebody"}]});
        team.members.insert(joiner);
        client.patch(&path, json!([rename, remove, add]));
        if number == 1 {
            team.members = ids.iter().take(9).cloned().collect();
            let body = group(
                &team.display_name,
                json!({"id": id, "members": okta_members(team)}),
            );
            client.expect(200, "PUT", &path, Some(&body));
        }
        if number == 2 {
            team.members.clear();
            client.patch(
                &path,
                json!([{"op": "replace", "path": "members", "value": []}]),
            );
        }
    }
    client.expect(204, "DELETE", &format!("/Groups/{}", group_ids[3]), None);
    model.teams.remove(&group_ids[3]);
}

/// F39: a tenant's steady load is above the 25 requests a second that Microsoft requires.
#[test]
fn sixty_requests_a_second_are_neither_refused_nor_slow() {
    let server = Server::start();
    let tenant = Tenant::create(&server, "steady");
    let mut client = tenant.client();
    let id = client.create("/Users", &entra_user(&person(0)));
    let start = Instant::now();
    let mut slowest = Duration::ZERO;
    for number in 1..=300u32 {
        // Pace, not a wait for something to happen: the load has to last.
        std::thread::sleep(
            (start + number * Duration::from_secs(1) / 60)
                .saturating_duration_since(Instant::now()),
        );
        let sent = Instant::now();
        match number % 4 {
            0 => {
                client.create("/Users", &entra_user(&person(number as usize)));
            }
            1 => {
                let set = Dialect::Default.set(&[("displayName", &format!("Name {number}"))]);
                client.patch(&format!("/Users/{id}"), set);
            }
            2 => assert_eq!(
                client.find("/Users", "userName eq \"person0000@contoso.example\""),
                [id.as_str()]
            ),
            _ => {
                client.get(&format!("/Users/{id}"));
            }
        }
        slowest = slowest.max(sent.elapsed());
    }
    assert!(
        start.elapsed() < Duration::from_secs(7),
        "300 requests took {:?}",
        start.elapsed()
    );
    assert!(
        slowest < Duration::from_secs(2),
        "one request took {slowest:?}"
    );
}

/// F40: of two POSTs of one user at the same time, one creates it and the other is told.
#[test]
fn of_two_simultaneous_creates_one_wins() {
    let server = Server::start();
    let tenant = Tenant::create(&server, "twins");
    let barrier = Barrier::new(2);
    for number in 0..20 {
        let body = entra_user(&person(number));
        let create = |mut client: ScimClient| {
            barrier.wait();
            client.call("POST", "/Users", Some(&body)).0
        };
        let (first, second) = (tenant.client(), tenant.client());
        let mut statuses = std::thread::scope(|scope| {
            let (one, two) = (
                scope.spawn(|| create(first)),
                scope.spawn(|| create(second)),
            );
            [one.join().unwrap(), two.join().unwrap()]
        });
        statuses.sort_unstable();
        assert_eq!(statuses, [201, 409]);
    }
    assert_eq!(tenant.client().all("/Users").len(), 20);
}

/// Two clients that read the same version and write it back: the second must read again.
#[test]
fn if_match_lets_one_of_two_writers_through() {
    let server = Server::start();
    let tenant = Tenant::create(&server, "versions");
    let mut client = tenant.client();
    let id = client.create("/Users", &entra_user(&person(1)));
    let path = format!("/Users/{id}");
    let version = client.get(&path)["meta"]["version"]
        .as_str()
        .unwrap()
        .to_owned();
    let body = patch_op(Dialect::Default.set(&[("title", "Engineer")])).to_string();
    let mut statuses = Vec::new();
    for _ in 0..2 {
        let mut connection = server.anyone();
        let token = format!("Bearer {}", tenant.token);
        let headers = [
            ("Authorization", &*token),
            ("Content-Type", "application/scim+json"),
            ("If-Match", &*version),
        ];
        statuses.push(
            connection
                .request(
                    "PATCH",
                    &format!("/scim/v2{path}"),
                    &headers,
                    body.as_bytes(),
                )
                .status,
        );
    }
    assert_eq!(statuses, [200, 412]);
}
