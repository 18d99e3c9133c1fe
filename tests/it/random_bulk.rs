//! A bulk request does what the same requests do one by one, whatever they are: two tenants begin alike, one gets a bulk
//! request, the other one request after the other.

use std::collections::BTreeMap;

use jiff::Timestamp;
use proptest::prelude::{Just, ProptestConfig, Strategy, any, prop, prop_oneof, proptest};
use rollcall::error::{Error, Result};
use rollcall::provision::{self, Answer, Target};
use rollcall::scim::message::Projection;
use rollcall::scim::schema::Kind;
use rollcall::store::{Store, TenantId, archive, events, place, resources, roles, teams, tenants};
use serde_json::{Value, json};

use crate::bulk::{bulk_request, post};
use crate::random_life::call;
use crate::support::body_of;
use crate::tenant::text;
use crate::tenant::{group, patch_op, user};

/// What is there at the beginning, by the same names in both tenants: users, of whom the last is deleted, then teams.
const USERS: usize = 4;
const TEAMS: usize = 2;

/// Whom or what an operation is about. Numbers choose among what there is.
#[derive(Clone, Debug)]
enum Who {
    There(u8),
    /// What another operation of the request creates.
    Made(u8),
    Nobody,
}

#[derive(Clone, Debug)]
enum Deed {
    CreateUser {
        name: u8,
        external_id: Option<u8>,
        role_name: Option<bool>,
        manager: Option<u8>,
    },
    CreateTeam {
        name: u8,
        members: Vec<Who>,
    },
    ReplaceUser {
        who: Who,
        name: u8,
    },
    PatchUser {
        who: Who,
        operation: Value,
    },
    AddMembers {
        team: Who,
        members: Vec<Who>,
    },
    RemoveMember {
        team: Who,
        member: Who,
    },
    Delete {
        kind: Kind,
        who: Who,
    },
}

fn who() -> impl Strategy<Value = Who> {
    prop_oneof![
        6 => any::<u8>().prop_map(Who::There),
        6 => any::<u8>().prop_map(Who::Made),
        1 => Just(Who::Nobody),
    ]
}

fn deed() -> impl Strategy<Value = Deed> {
    let operation = prop_oneof![
        any::<bool>()
            .prop_map(|active| json!({"op": "replace", "path": "active", "value": active})),
        (0..6_u8)
            .prop_map(|name| json!({"op": "add", "path": "userName", "value": format!("u{name}")})),
        Just(json!({"op": "replace", "path": "roleName", "value": "Admin"})),
        Just(json!({"op": "remove"})),
    ];
    let some = || prop::collection::vec(who(), 0..3);
    let kind = any::<bool>().prop_map(|user| if user { Kind::User } else { Kind::Group });
    prop_oneof![
        4 => (0..7_u8, prop::option::of(0..4_u8), prop::option::of(any::<bool>()), prop::option::of(any::<u8>()))
            .prop_map(|(name, external_id, role_name, manager)| Deed::CreateUser { name, external_id, role_name, manager }),
        3 => (0..4_u8, some()).prop_map(|(name, members)| Deed::CreateTeam { name, members }),
        1 => (who(), 0..7_u8).prop_map(|(who, name)| Deed::ReplaceUser { who, name }),
        2 => (who(), operation).prop_map(|(who, operation)| Deed::PatchUser { who, operation }),
        2 => (who(), some()).prop_map(|(team, members)| Deed::AddMembers { team, members }),
        1 => (who(), who()).prop_map(|(team, member)| Deed::RemoveMember { team, member }),
        2 => (kind, who()).prop_map(|(kind, who)| Deed::Delete { kind, who }),
    ]
}

/// The operations, numbered by bulkId, with names in the place of ids: `<user 1>`, `<team 0>` for what was there, references for the rest.
/// Managers are created earlier in the list than who has them, so that there are no circles.
fn operations(deeds: &[Deed]) -> Vec<Value> {
    let created = |team: bool| -> Vec<usize> {
        let of_kind = deeds.iter().enumerate().filter(|(_, deed)| match deed {
            Deed::CreateTeam { .. } => team,
            Deed::CreateUser { .. } => !team,
            _ => false,
        });
        of_kind.map(|(index, _)| index).collect()
    };
    let (users, made_teams) = (created(false), created(true));
    let chosen = |from: &[usize], number: u8| -> String {
        match usize::from(number).checked_rem(from.len()) {
            Some(at) => format!("bulkId:{}", from[at]),
            None => "<nobody>".to_owned(),
        }
    };
    let name = |kind: Kind, who: &Who| match (kind, who) {
        (_, Who::Nobody) => "<nobody>".to_owned(),
        (Kind::User, Who::There(number)) => format!("<user {}>", usize::from(*number) % USERS),
        (Kind::Group, Who::There(number)) => format!("<team {}>", usize::from(*number) % TEAMS),
        (Kind::User, Who::Made(number)) => chosen(&users, *number),
        (Kind::Group, Who::Made(number)) => chosen(&made_teams, *number),
    };
    let path = |kind: Kind, who: &Who| format!("/{}/{}", kind.endpoint(), name(kind, who));
    let values = |members: &[Who]| -> Vec<Value> {
        let names = members.iter().map(|member| name(Kind::User, member));
        names.map(|name| json!({"value": name})).collect()
    };
    let patch = |path: String, operation: Value| json!({"method": "PATCH", "path": path, "data": patch_op(json!([operation]))});
    deeds
        .iter()
        .enumerate()
        .map(|(index, deed)| {
            let mut operation = match deed {
            Deed::CreateUser { name, external_id, role_name, manager } => {
                let earlier = &users[..users.partition_point(|user| *user < index)];
                let manager = manager.filter(|_| !earlier.is_empty()).map(|number| chosen(earlier, number));
                let more = json!({
                    "externalId": external_id.map(|id| format!("x{id}")),
                    "roleName": role_name.map(|known| if known { "Admin" } else { "unmapped" }),
                    "manager": manager,
                });
                post("/Users", &index.to_string(), user(&format!("u{name}"), more))
            }
            Deed::CreateTeam { name, members } => {
                let more = json!({"members": values(members)});
                post("/Groups", &index.to_string(), group(&format!("t{name}"), more))
            }
            Deed::ReplaceUser { who, name } => {
                json!({"method": "PUT", "path": path(Kind::User, who), "data": user(&format!("u{name}"), json!({}))})
            }
            Deed::PatchUser { who, operation } => patch(path(Kind::User, who), operation.clone()),
            Deed::AddMembers { team, members } => patch(
                path(Kind::Group, team),
                json!({"op": "add", "path": "members", "value": values(members)}),
            ),
            Deed::RemoveMember { team, member } => patch(
                path(Kind::Group, team),
                json!({"op": "Remove", "path": "members", "value": values(std::slice::from_ref(member))}),
            ),
            Deed::Delete { kind, who } => json!({"method": "DELETE", "path": path(*kind, who)}),
            };
            // Only a POST needs one, but every answer repeats it.
            operation["bulkId"] = json!(index.to_string());
            operation
        })
        .collect()
}

/// The bulkIds that stand in an operation, in the order of their numbers.
fn references(operation: &Value) -> Vec<usize> {
    let text = operation.to_string();
    let mut found: Vec<usize> = text
        .split("bulkId:")
        .skip(1)
        .map(|rest| {
            rest.split(|c: char| !c.is_ascii_digit())
                .next()
                .unwrap()
                .parse()
                .unwrap()
        })
        .collect();
    found.sort_unstable();
    found
}

/// The order that is promised: the request's, but for what others need, which comes just before them.
fn in_order(operations: &[Value], index: usize, order: &mut Vec<usize>) {
    if !order.contains(&index) {
        for needed in references(&operations[index]) {
            in_order(operations, needed, order);
        }
        order.push(index);
    }
}

/// A tenant with its ids by name.
struct World {
    store: Store,
    tenant: TenantId,
    ids: BTreeMap<String, String>,
    _folder: tempfile::TempDir,
}

impl World {
    fn new() -> World {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        let tenant = store
            .write(now(), |tx| Ok(tenants::create(tx, "acme")?.unwrap().id))
            .unwrap();
        let ids = BTreeMap::from([("<nobody>".to_owned(), "nobody".to_owned())]);
        let mut world = World {
            store,
            tenant,
            ids,
            _folder: folder,
        };
        for n in 0..USERS {
            let body = user(&format!("u{n}"), json!({"externalId": format!("x{n}")}));
            world.begin(format!("<user {n}>"), Kind::User, body);
        }
        for n in 0..TEAMS {
            let members = json!({"members": [{"value": world.ids["<user 0>"]}]});
            world.begin(
                format!("<team {n}>"),
                Kind::Group,
                group(&format!("t{n}"), members),
            );
        }
        let last = world.ids[&format!("<user {}>", USERS - 1)].clone();
        world
            .send("DELETE", Kind::User, Some(last), &Value::Null)
            .unwrap();
        world
    }

    fn begin(&mut self, name: String, kind: Kind, body: Value) {
        let answer = self.send("POST", kind, None, &body).unwrap();
        self.ids.insert(name, text(&body_of(&answer)["id"]));
    }

    fn send(&self, method: &str, kind: Kind, id: Option<String>, body: &Value) -> Result<Answer> {
        let (store, call) = (&self.store, call(self.tenant, now(), &body.to_string()));
        let target = Target {
            kind,
            id: id.unwrap_or_default(),
        };
        let projection = Projection::default();
        match method {
            "POST" => provision::create(store, call, kind, projection),
            "PUT" => provision::replace(store, call, target, projection, None),
            "PATCH" => provision::patch(store, call, target, projection, None),
            _ => provision::delete(store, call, target, None),
        }
    }

    /// `value` with ids in the place of names.
    fn told(&self, value: &Value) -> Value {
        let mut text = value.to_string();
        for (name, id) in &self.ids {
            text = text.replace(name, id);
        }
        serde_json::from_str(&text).unwrap()
    }

    /// One request after the other, up to `limit` refusals; their statuses by place.
    fn one_by_one(
        &mut self,
        operations: &[Value],
        order: &[usize],
        limit: u64,
    ) -> Vec<Option<u16>> {
        let (mut statuses, mut refused) = (vec![None; operations.len()], 0);
        for &index in order {
            let operation = &operations[index];
            let resolvable = references(operation)
                .iter()
                .all(|needed| self.ids.contains_key(&format!("bulkId:{needed}\"")));
            let status = match resolvable {
                true => self.single(index, operation),
                false => 409,
            };
            statuses[index] = Some(status);
            refused += u64::from(status >= 400);
            if refused >= limit {
                break;
            }
        }
        statuses
    }

    fn single(&mut self, index: usize, operation: &Value) -> u16 {
        // The closing quote tells bulkId:1 from bulkId:12; it comes back with the id.
        let operation = self.told(operation);
        let path = operation["path"].as_str().unwrap();
        let (endpoint, id) = match path[1..].split_once('/') {
            Some((endpoint, id)) => (endpoint, Some(id.to_owned())),
            None => (&path[1..], None),
        };
        let kind = if endpoint == "Users" {
            Kind::User
        } else {
            Kind::Group
        };
        match self.send(
            operation["method"].as_str().unwrap(),
            kind,
            id,
            &operation["data"],
        ) {
            Ok(answer) => {
                if answer.status == 201 {
                    let id = text(&body_of(&answer)["id"]);
                    self.ids
                        .insert(format!("bulkId:{index}\""), format!("{id}\""));
                }
                answer.status
            }
            Err(Error::Scim(refusal)) => refusal.status(),
            Err(fault) => panic!("{operation}: {fault}"),
        }
    }

    /// The same in one request.
    fn at_once(&mut self, operations: &[Value], limit: u64) -> Vec<Option<u16>> {
        let mut request = bulk_request(operations);
        request["failOnErrors"] = json!(limit);
        let body = self.told(&request).to_string();
        let answer = provision::bulk(&self.store, call(self.tenant, now(), &body)).unwrap();
        let body = body_of(&answer);
        let mut statuses = vec![None; operations.len()];
        for result in body["Operations"].as_array().unwrap() {
            let index: usize = result["bulkId"].as_str().unwrap().parse().unwrap();
            if result["status"] == "201" {
                let id = result["location"].as_str().unwrap().rsplit('/').next();
                let id = format!("{}\"", id.unwrap());
                self.ids.insert(format!("bulkId:{index}\""), id);
            }
            statuses[index] = Some(result["status"].as_str().unwrap().parse().unwrap());
        }
        statuses
    }

    /// All that is there and all that the feed tells, with names in the place of ids.
    fn state(&self) -> String {
        let state = self.store.read(|snapshot| {
            let mut state = vec![];
            for kind in Kind::ALL {
                let query = resources::Query {
                    kinds: &[kind],
                    filter: None,
                    sort_by: None,
                    descending: false,
                    start: place::Start::Offset(0),
                    limit: 1000,
                };
                for stored in resources::search(snapshot, self.tenant, &query)?.resources {
                    let members = match kind {
                        Kind::User => vec![],
                        Kind::Group => teams::members(snapshot, self.tenant, &stored)?,
                    };
                    let mut members: Vec<String> =
                        members.into_iter().map(|link| link.display).collect();
                    members.sort();
                    let role = roles::role_of(snapshot, self.tenant, &stored)?.map(|role| role.0);
                    state.push(json!([
                        stored.id,
                        stored.version,
                        stored.document,
                        members,
                        role
                    ]));
                }
                for archived in archive::list(snapshot, self.tenant, kind)? {
                    state.push(json!([
                        "archived",
                        archived.stored.id,
                        archived.stored.document
                    ]));
                }
            }
            for event in events::after(snapshot, self.tenant, 0, None, 10_000)? {
                state.push(json!([
                    event.kind,
                    event.subject,
                    event.object,
                    event.before,
                    event.after
                ]));
            }
            Ok(state)
        });
        let lines: Vec<String> = state.unwrap().iter().map(Value::to_string).collect();
        let mut text = lines.join("\n");
        for (name, id) in &self.ids {
            text = text.replace(id.trim_end_matches('"'), name.trim_end_matches('"'));
        }
        // Who joins in one change is told in the order of the ids, which is chance.
        let mut lines: Vec<&str> = text.lines().collect();
        let kind = |line: &str| line.split(',').next().map(str::to_owned);
        for alike in lines.chunk_by_mut(|one, next| kind(one) == kind(next)) {
            alike.sort_unstable();
        }
        lines.join("\n")
    }
}

fn now() -> Timestamp {
    Timestamp::from_second(1_700_000_000).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 80, ..ProptestConfig::default() })]

    #[test]
    fn a_bulk_request_does_what_the_same_requests_do_one_by_one(
        deeds in prop::collection::vec(deed(), 1..14),
        limit in prop_oneof![3 => Just(u64::MAX), 1 => 1..3_u64],
    ) {
        let operations = operations(&deeds);
        let mut order = vec![];
        for index in 0..operations.len() {
            in_order(&operations, index, &mut order);
        }
        let (mut single, mut bulk) = (World::new(), World::new());
        let expected = single.one_by_one(&operations, &order, limit);
        let found = bulk.at_once(&operations, limit);
        assert_eq!(found, expected, "{operations:#?}");
        assert_eq!(bulk.state(), single.state(), "{operations:#?}");
    }
}
