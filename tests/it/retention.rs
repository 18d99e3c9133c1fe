//! What the archive does over time and in bulk: in this process, with a given clock.

use std::sync::Arc;
use std::time::Instant;

use jiff::{Timestamp, ToSpan};
use rollcall::manage::{archive, settings as manage_settings, team_copies, undo};
use rollcall::provision::{self, Answer, Call, Target};
use rollcall::scim::message::Projection;
use rollcall::scim::schema::Kind;
use rollcall::settings::Settings;
use rollcall::store::{self, Store, TenantId, events, removals, resources, settings, tenants};
use serde_json::{Value, json};

use crate::support::body_of;
use crate::tenant::{group, patch_op, text, user};

/// A tenant in a store of its own, and a client of it.
struct World {
    store: Store,
    tenant: TenantId,
    _folder: tempfile::TempDir,
}

fn at(hours: i64) -> Timestamp {
    Timestamp::from_second(1_700_000_000).unwrap() + hours.hours()
}

impl World {
    fn new(wanted: Settings) -> World {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        let tenant = store
            .write(at(0), move |tx| {
                let tenant = tenants::create(tx, "acme")?.unwrap().id;
                manage_settings::set(tx, tenant, "operator", &wanted)?;
                Ok(tenant)
            })
            .unwrap();
        World {
            store,
            tenant,
            _folder: folder,
        }
    }

    fn call(&self, hours: i64, body: &str) -> Arc<Call> {
        Arc::new(Call {
            tenant: self.tenant,
            schemas: rollcall::scim::declare::Schemas::built_in().clone(),
            paused: false,
            me: None,
            token: 1,
            now: at(hours),
            started: Instant::now(),
            address: "192.0.2.1".to_owned(),
            request_id: "r".to_owned(),
            method: "POST".to_owned(),
            target: "/scim/v2/Users".to_owned(),
            base: "https://scim.example/scim/v2".to_owned(),
            body: body.into(),
            keep_bodies: false,
            rehearsal: None,
        })
    }

    #[track_caller]
    fn create(&self, hours: i64, kind: Kind, resource: &Value) -> String {
        let body = resource.to_string();
        let call = self.call(hours, &body);
        let projection = Projection::default();
        let answer = provision::create(&self.store, call, kind, projection).unwrap();
        text(&body_of(&answer)["id"])
    }

    #[track_caller]
    fn delete(&self, hours: i64, kind: Kind, id: &str) {
        let target = Target {
            kind,
            id: id.to_owned(),
        };
        provision::delete(&self.store, self.call(hours, ""), target, None).unwrap();
    }

    #[track_caller]
    fn patch(&self, hours: i64, id: &str, operations: Value) -> Answer {
        let target = Target {
            kind: Kind::User,
            id: id.to_owned(),
        };
        let body = patch_op(operations).to_string();
        let projection = Projection::default();
        provision::patch(
            &self.store,
            self.call(hours, &body),
            target,
            projection,
            None,
        )
        .unwrap()
    }

    fn archived(&self, kind: Kind) -> usize {
        let list =
            |snapshot: &store::Snapshot<'_>| store::archive::list(snapshot, self.tenant, kind);
        self.store.read(list).unwrap().len()
    }

    fn live(&self, kind: Kind, id: &str) -> bool {
        self.store
            .read(|snapshot| resources::get(snapshot, self.tenant, kind, id))
            .unwrap()
            .is_some()
    }

    fn is_marked(&self) -> bool {
        self.store
            .read(|snapshot| removals::unusual_since(snapshot, self.tenant))
            .unwrap()
            .is_some()
    }

    fn events(&self, kind: &str) -> usize {
        let events = self
            .store
            .read(|snapshot| events::after(snapshot, self.tenant, 0, None, usize::MAX >> 1))
            .unwrap();
        events.iter().filter(|event| event.kind == kind).count()
    }

    /// Undoes since the hour; how many steps that took, which a dry run has told before.
    #[track_caller]
    fn undo(&self, since: i64, now: i64) -> usize {
        let told = self
            .store
            .read(|snapshot| undo::plan(snapshot, self.tenant, at(since)))
            .unwrap();
        let tenant = self.tenant;
        let done = self
            .store
            .write(at(now), move |tx| {
                undo::apply(tx, tenant, "operator", at(since))
            })
            .unwrap();
        assert_eq!(told, done);
        done.len()
    }

    fn members(&self, team: &str) -> usize {
        self.store
            .read(|snapshot| {
                let team = resources::get(snapshot, self.tenant, Kind::Group, team)?.unwrap();
                store::teams::members(snapshot, self.tenant, &team)
            })
            .unwrap()
            .len()
    }
}

#[test]
fn what_was_deleted_is_purged_when_its_retention_has_ended_and_not_an_hour_earlier() {
    let world = World::new(Settings::default());
    let keep: Vec<String> = (0..8)
        .map(|n| world.create(0, Kind::User, &user(&format!("u{n}"), json!({}))))
        .collect();
    let teams: Vec<String> = (0..5)
        .map(|n| world.create(0, Kind::Group, &group(&format!("t{n}"), json!({}))))
        .collect();
    world.delete(1, Kind::User, &keep[0]);
    world.delete(2, Kind::Group, &teams[0]);
    for (hours, users, teams) in [
        (30 * 24, 1, 1),
        (30 * 24 + 1, 0, 1),
        (30 * 24 + 2, 0, 0),
        (30 * 24 + 3, 0, 0),
    ] {
        archive::purge_everywhere(&world.store, at(hours)).unwrap();
        let found = (world.archived(Kind::User), world.archived(Kind::Group));
        assert_eq!(found, (users, teams), "after {hours} hours");
    }
    assert_eq!(
        (world.events("user.purged"), world.events("team.purged")),
        (1, 1)
    );
    assert!(world.live(Kind::User, &keep[1]));
}

#[test]
fn nothing_is_purged_of_a_tenant_with_unusual_removals_until_they_are_said_to_be_usual() {
    for days in [0, 30] {
        let world = World::new(Settings {
            retention_days: days,
            ..Settings::default()
        });
        let tenant = world.tenant;
        let teams: Vec<String> = (0..8)
            .map(|n| world.create(0, Kind::Group, &group(&format!("t{n}"), json!({}))))
            .collect();
        for (number, team) in teams.iter().enumerate() {
            world.delete(1, Kind::Group, team);
            assert_eq!(world.is_marked(), number >= 4, "after {}", number + 1);
        }
        assert_eq!(world.events("removals.unusual"), 1);
        archive::purge_everywhere(&world.store, at(1000)).unwrap();
        // The first four are too few to be unusual. With no retention they are purged at once.
        let kept = if days == 0 { 4 } else { 8 };
        assert_eq!(world.archived(Kind::Group), kept, "{days} days");
        let released = world
            .store
            .write(at(1000), move |tx| undo::release(tx, tenant, "operator"))
            .unwrap();
        assert!(released);
        archive::purge_everywhere(&world.store, at(1000)).unwrap();
        assert_eq!(world.archived(Kind::Group), 0);
    }
}

#[test]
fn removals_that_are_spread_over_time_are_usual() {
    let world = World::new(Settings::default());
    let people: Vec<String> = (0..12)
        .map(|n| world.create(0, Kind::User, &user(&format!("u{n}"), json!({}))))
        .collect();
    for (hour, id) in people.iter().enumerate().take(8) {
        world.delete(2 * hour as i64 + 1, Kind::User, id);
    }
    assert!(!world.is_marked());
}

#[test]
fn nine_hundred_of_a_thousand_are_deactivated_and_one_undo_restores_all() {
    let world = World::new(Settings::default());
    let people: Vec<String> = (0..1000)
        .map(|n| world.create(0, Kind::User, &user(&format!("u{n}"), json!({}))))
        .collect();
    let off = json!([{"op": "Replace", "path": "active", "value": "False"}]);
    // One who was inactive before stays so.
    world.patch(1, &people[999], off.clone());
    for (number, id) in people[..900].iter().enumerate() {
        world.patch(10, id, off.clone());
        assert_eq!(world.is_marked(), number >= 20, "after {}", number + 1);
    }
    assert_eq!(world.events("removals.unusual"), 1);
    let started = Instant::now();
    assert_eq!(world.undo(10, 11), 900);
    println!("undo of 900 deactivations: {:?}", started.elapsed());
    assert_eq!(world.events("user.activated"), 900);
    assert_eq!(world.undo(10, 11), 0);
    // The undone ones don't raise the brake again.
    let tenant = world.tenant;
    world
        .store
        .write(at(11), move |tx| undo::release(tx, tenant, "operator"))
        .unwrap();
    world.patch(11, &people[0], off);
    assert!(!world.is_marked());
}

#[test]
fn ten_thousand_members_go_and_come_back_in_one_transaction_each() {
    let world = World::new(Settings::default());
    let tenant = world.tenant;
    // Straight into the store, for speed.
    let ids: Vec<String> = world
        .store
        .write(at(0), move |tx| {
            (0..10_000)
                .map(|n| {
                    let Value::Object(document) = json!({"userName": format!("u{n}")}) else {
                        unreachable!()
                    };
                    Ok(resources::insert(tx, tenant, Kind::User, document)?.id)
                })
                .collect()
        })
        .unwrap();
    let members: Vec<Value> = ids.iter().map(|id| json!({"value": id})).collect();
    let team = world.create(0, Kind::Group, &group("all", json!({"members": members})));

    let timed = |what: &str, run: &dyn Fn()| {
        let started = Instant::now();
        run();
        println!(
            "{what} 10,000 members: {} ms",
            started.elapsed().as_millis()
        );
    };
    timed("deprovision", &|| world.delete(1, Kind::Group, &team));
    let id = team.clone();
    timed("restore", &|| {
        let id = id.clone();
        world
            .store
            .write(at(2), move |tx| {
                archive::restore(tx, tenant, "operator", Kind::Group, &id)
            })
            .unwrap();
    });
    assert_eq!(world.members(&team), 10_000);
    world.delete(3, Kind::Group, &team);
    timed("undo", &|| assert_eq!(world.undo(3, 4), 1));
    assert_eq!(world.members(&team), 10_000);
}

#[test]
fn what_a_team_owns_comes_back_with_it_and_can_go_to_another() {
    let world = World::new(Settings::default());
    let tenant = world.tenant;
    let ids: Vec<String> = ["one", "two"]
        .iter()
        .map(|name| world.create(0, Kind::Group, &group(name, json!({}))))
        .collect();
    let copy = |id: &str| {
        world
            .store
            .read(|snapshot| team_copies::download(snapshot, tenant, id))
            .unwrap()
    };
    // An import is the way to a team that owns something.
    let mut document = copy(&ids[0]);
    document["attributes"]["displayName"] = json!("three");
    document["id"] = json!("not an id of ours");
    let monitor = json!({"id": "018bcfe5-6800-7965-845e-0e543c594ed4", "kind": "monitor", "name": "db",
                         "url": "https://m.example/1", "data": {"a": 1}});
    // What an app may not register can't come in by a file either, and nothing of that file stays.
    for (key, value) in [
        ("url", json!("javascript:x")),
        ("kind", json!("")),
        ("data", json!([1])),
    ] {
        let mut wrong = monitor.clone();
        wrong[key] = value;
        let mut document = document.clone();
        document["resources"] = json!([monitor, wrong]);
        let refused = world
            .store
            .write(at(1), move |tx| {
                team_copies::import(tx, tenant, "operator", &document)
            })
            .unwrap_err();
        assert!(
            refused.to_string().contains(&format!("resources: {key}")),
            "{refused}"
        );
    }
    assert_eq!(world.events("resource.created"), 0);
    document["resources"] = json!([monitor]);
    let imported = world
        .store
        .write(at(1), move |tx| {
            team_copies::import(tx, tenant, "operator", &document)
        })
        .unwrap();
    let three = imported.team.id;
    assert!(!ids.contains(&three));
    assert_eq!(copy(&three)["resources"], json!([monitor]));

    world.delete(2, Kind::Group, &three);
    assert_eq!(
        copy(&three)["resources"],
        json!([monitor]),
        "kept in the archive"
    );
    let again = world.create(3, Kind::Group, &group("three", json!({})));
    assert_eq!(again, three);
    assert_eq!(copy(&three)["resources"], json!([monitor]));

    world.delete(4, Kind::Group, &three);
    let move_to = |to: &str| {
        let (from, to) = (three.clone(), to.to_owned());
        world.store.write(at(5), move |tx| {
            team_copies::transfer(tx, tenant, "operator", &from, &to)
        })
    };
    assert_eq!(move_to(&ids[1]).unwrap(), 1);
    assert_eq!(copy(&ids[1])["resources"], json!([monitor]));
    assert_eq!(copy(&three)["resources"], json!([]));
    assert_eq!(world.events("resource.moved"), 1);
    world.delete(6, Kind::Group, &ids[0]);
    move_to(&ids[0]).unwrap_err();
}

#[test]
fn settings_are_read_as_written_and_told_once() {
    let world = World::new(Settings::default());
    let tenant = world.tenant;
    let wanted = Settings {
        retention_days: 7,
        ..Settings::default()
    };
    for _ in 0..2 {
        world
            .store
            .write(at(1), move |tx| {
                manage_settings::set(tx, tenant, "operator", &wanted)
            })
            .unwrap();
    }
    let read = world
        .store
        .read(|snapshot| settings::read(snapshot, tenant));
    assert_eq!(read.unwrap(), wanted);
    assert_eq!(world.events("setting.changed"), 1);
}
