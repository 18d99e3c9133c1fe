//! Whatever a client, an operator and time do in whatever order: the feed tells it all, the archive keeps it all, and
//! roles are as explained, a copy is the whole of it. In this process, because a thousand short lives are lived.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Cursor;
use std::sync::Arc;
use std::time::Instant;

use jiff::{Timestamp, ToSpan};
use proptest::prelude::{ProptestConfig, Strategy, any, prop, prop_oneof, proptest};
use rollcall::access::roles::decide;
use rollcall::error::{Error, Result};
use rollcall::manage::archive;
use rollcall::manage::role_rules::{self, Change};
use rollcall::manage::tenant_copies::{self, Events};
use rollcall::provision::{self, Call, Target};
use rollcall::scim::message::Projection;
use rollcall::scim::resource::Document;
use rollcall::scim::schema::Kind;
use rollcall::store::archive as archived;
use rollcall::store::{Snapshot, Store, TenantId, Tx, events, resources, roles, teams, tenants};
use serde_json::{Value, json};

use crate::support::body_of;
use crate::tenant::text;
use crate::tenant::{group, patch_op, user};

const ROLE_NAMES: [&str; 3] = ["Admin", "Member", "unmapped"];

/// One thing that happens. Numbers choose among what there is at that moment.
#[derive(Clone, Debug)]
enum Deed {
    CreateUser { name: u8, role_name: Option<usize> },
    CreateTeam { name: u8, members: Vec<u8> },
    PatchUser { user: u8, operation: Value },
    PatchTeam { team: u8, operation: TeamChange },
    Delete { kind: Kind, which: u8 },
    Restore { kind: Kind, which: u8 },
    Map { what: u8, from: u8, role: usize },
}

#[derive(Clone, Debug)]
enum TeamChange {
    Add(u8),
    Remove(u8),
    AddTeam(u8),
    RemoveTeam(u8),
    Clear,
    Rename(u8),
}

fn deed() -> impl Strategy<Value = Deed> {
    let kind = prop_oneof![
        proptest::prelude::Just(Kind::User),
        proptest::prelude::Just(Kind::Group)
    ];
    let role_name = prop::option::of(0..ROLE_NAMES.len());
    let attribute = prop_oneof![
        any::<bool>()
            .prop_map(|active| json!({ "op": "replace", "path": "active", "value": active })),
        (0..ROLE_NAMES.len())
            .prop_map(|name| json!({ "op": "add", "path": "roleName", "value": ROLE_NAMES[name] })),
        proptest::prelude::Just(json!({ "op": "remove", "path": "roleName" })),
        (0..6_u8).prop_map(
            |name| json!({ "op": "replace", "value": { "userName": format!("u{name}") } })
        ),
    ];
    let change = prop_oneof![
        any::<u8>().prop_map(TeamChange::Add),
        any::<u8>().prop_map(TeamChange::Remove),
        any::<u8>().prop_map(TeamChange::AddTeam),
        any::<u8>().prop_map(TeamChange::RemoveTeam),
        proptest::prelude::Just(TeamChange::Clear),
        (0..3_u8).prop_map(TeamChange::Rename),
    ];
    prop_oneof![
        3 => (0..6_u8, role_name).prop_map(|(name, role_name)| Deed::CreateUser { name, role_name }),
        2 => (0..3_u8, prop::collection::vec(any::<u8>(), 0..3))
            .prop_map(|(name, members)| Deed::CreateTeam { name, members }),
        3 => (any::<u8>(), attribute).prop_map(|(user, operation)| Deed::PatchUser { user, operation }),
        4 => (any::<u8>(), change).prop_map(|(team, operation)| Deed::PatchTeam { team, operation }),
        2 => (kind.clone(), any::<u8>()).prop_map(|(kind, which)| Deed::Delete { kind, which }),
        3 => (kind, any::<u8>()).prop_map(|(kind, which)| Deed::Restore { kind, which }),
        3 => (0..6_u8, 0..3_u8, 0..5_usize).prop_map(|(what, from, role)| Deed::Map { what, from, role }),
    ]
}

/// A client's call, in this process.
pub fn call(tenant: TenantId, now: Timestamp, body: &str) -> Arc<Call> {
    Arc::new(Call {
        tenant,
        schemas: rollcall::scim::declare::Schemas::built_in().clone(),
        paused: false,
        me: None,
        token: 1,
        now,
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

/// A tenant, and every id that it was ever answered with.
struct Life {
    store: Store,
    tenant: TenantId,
    known: BTreeSet<(Kind, String)>,
    hour: i64,
    _folder: tempfile::TempDir,
}

impl Life {
    fn new() -> Life {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        let start = Timestamp::from_second(1_700_000_000).unwrap();
        let tenant = store
            .write(start, |tx| Ok(tenants::create(tx, "acme")?.unwrap().id))
            .unwrap();
        Life {
            store,
            tenant,
            known: BTreeSet::new(),
            hour: 0,
            _folder: folder,
        }
    }

    /// Two hours apart, so that no removals are unusual.
    fn now(&self) -> Timestamp {
        Timestamp::from_second(1_700_000_000).unwrap() + self.hour.hours()
    }

    fn call(&self, body: &str) -> Arc<Call> {
        call(self.tenant, self.now(), body)
    }

    /// The live, or archived, id that a number chooses.
    fn chosen(&self, kind: Kind, live: bool, number: u8) -> Option<String> {
        let ids: Vec<&String> = self
            .known
            .iter()
            .filter(|(known, id)| *known == kind && self.find(kind, id).is_some() == live)
            .map(|(_, id)| id)
            .collect();
        let at = usize::from(number).checked_rem(ids.len())?;
        Some(ids[at].clone())
    }

    fn find(&self, kind: Kind, id: &str) -> Option<Document> {
        let found = self
            .store
            .read(|snapshot| resources::get(snapshot, self.tenant, kind, id));
        found.unwrap().map(|stored| stored.document)
    }

    fn write(
        &self,
        change: impl FnOnce(&Tx<'_>, TenantId) -> Result<()> + Send + 'static,
    ) -> Result<()> {
        let tenant = self.tenant;
        self.store.write(self.now(), move |tx| change(tx, tenant))
    }

    /// A refusal is as good an outcome as any; a fault of ours is not.
    fn does(&mut self, deed: Deed) {
        self.hour += 2;
        if let Err(fault @ Error::Internal { .. }) = self.try_to(deed.clone()) {
            panic!("{deed:?}: {fault}");
        }
    }

    fn try_to(&mut self, deed: Deed) -> Result<()> {
        let projection = Projection::default;
        match deed {
            Deed::CreateUser { name, role_name } => {
                let role_name = role_name.map(|name| ROLE_NAMES[name]);
                self.create(
                    Kind::User,
                    user(&format!("u{name}"), json!({ "roleName": role_name })),
                )
            }
            Deed::CreateTeam { name, members } => {
                let ids = members
                    .iter()
                    .filter_map(|member| self.chosen(Kind::User, true, *member));
                let members: Vec<Value> = ids.map(|id| json!({ "value": id })).collect();
                self.create(
                    Kind::Group,
                    group(&format!("t{name}"), json!({ "members": members })),
                )
            }
            Deed::PatchUser { user, operation } => {
                let Some(id) = self.chosen(Kind::User, true, user) else {
                    return Ok(());
                };
                let target = Target {
                    kind: Kind::User,
                    id,
                };
                let body = patch_op(json!([operation])).to_string();
                provision::patch(&self.store, self.call(&body), target, projection(), None)
                    .map(drop)
            }
            Deed::PatchTeam { team, operation } => {
                let Some(id) = self.chosen(Kind::Group, true, team) else {
                    return Ok(());
                };
                let chosen = |kind, number| self.chosen(kind, true, number).unwrap_or_default();
                let (member, part) = (
                    |number| chosen(Kind::User, number),
                    |number| chosen(Kind::Group, number),
                );
                let operation = match operation {
                    TeamChange::Add(user) => {
                        json!({ "op": "add", "path": "members", "value": [{ "value": member(user) }] })
                    }
                    TeamChange::Remove(user) => {
                        json!({ "op": "Remove", "path": "members", "value": [{ "value": member(user) }] })
                    }
                    TeamChange::AddTeam(team) => {
                        json!({ "op": "add", "path": "members", "value": [{ "value": part(team), "type": "Group" }] })
                    }
                    TeamChange::RemoveTeam(team) => {
                        json!({ "op": "remove", "path": format!("members[value eq \"{}\"]", part(team)) })
                    }
                    TeamChange::Clear => json!({ "op": "remove", "path": "members" }),
                    TeamChange::Rename(name) => {
                        json!({ "op": "replace", "path": "displayName", "value": format!("t{name}") })
                    }
                };
                let target = Target {
                    kind: Kind::Group,
                    id,
                };
                let body = patch_op(json!([operation])).to_string();
                provision::patch(&self.store, self.call(&body), target, projection(), None)
                    .map(drop)
            }
            Deed::Delete { kind, which } => match self.chosen(kind, true, which) {
                Some(id) => {
                    provision::delete(&self.store, self.call(""), Target { kind, id }, None)
                        .map(drop)
                }
                None => Ok(()),
            },
            Deed::Restore { kind, which } => match self.chosen(kind, false, which) {
                Some(id) => self.write(move |tx, tenant| {
                    archive::restore(tx, tenant, "operator", kind, &id).map(drop)
                }),
                None => Ok(()),
            },
            Deed::Map { what, from, role } => self.write(move |tx, tenant| {
                let role = roles::list(tx, tenant)?[role].clone();
                let (value, group) = (ROLE_NAMES[usize::from(from)].to_owned(), format!("t{from}"));
                let change = match what {
                    0 => Change::Value(value, Some(role)),
                    1 => Change::Value(value, None),
                    2 => Change::Group(group, Some(role)),
                    3 => Change::Group(group, None),
                    4 => Change::Default(role),
                    _ => Change::Rank(role, usize::from(from) + 1),
                };
                let foreseen = role_rules::preview(tx, tenant, &change, None)?.people;
                let changed = role_rules::make(tx, tenant, "operator", &change)?;
                assert_eq!(changed, foreseen, "{change:?}");
                Ok(())
            }),
        }
    }

    fn create(&mut self, kind: Kind, body: Value) -> Result<()> {
        let body = body.to_string();
        let answer = provision::create(&self.store, self.call(&body), kind, Projection::default())?;
        let id = text(&body_of(&answer)["id"]);
        self.known.insert((kind, id));
        Ok(())
    }

    fn check(&self) {
        let (state, replayed) = self
            .store
            .read(|snapshot| Ok((self.state(snapshot)?, self.replayed(snapshot)?)))
            .unwrap();
        assert_eq!(
            state, replayed,
            "the feed tells something else than what is there"
        );
        self.store
            .read(|snapshot| {
                let mut kept: BTreeSet<(Kind, String)> = state.resources.keys().cloned().collect();
                for kind in Kind::ALL {
                    let list = archived::list(snapshot, self.tenant, kind)?;
                    kept.extend(list.into_iter().map(|archived| (kind, archived.stored.id)));
                }
                assert_eq!(kept, self.known, "neither live nor in the archive");
                for (kind, id) in state.resources.keys() {
                    let stored = resources::get(snapshot, self.tenant, *kind, id)?.unwrap();
                    let role = roles::role_of(snapshot, self.tenant, &stored)?;
                    let decided = match kind {
                        Kind::User => {
                            let rules = roles::rules(snapshot, self.tenant)?;
                            let facts = roles::facts(snapshot, self.tenant, &stored)?;
                            Some(decide(&rules, &facts).role)
                        }
                        Kind::Group => None,
                    };
                    assert_eq!(role, decided, "{:?}", stored.document);
                }
                Ok(())
            })
            .unwrap();
    }

    /// A copy of it, imported where nothing is, makes the same copy.
    fn check_copies(&self) {
        let copy = |store: &Store| {
            let mut bytes = Vec::new();
            let export = |snapshot: &Snapshot<'_>| {
                let tenant = &tenants::list(snapshot)?[0];
                tenant_copies::export(snapshot, tenant, Events::Along, &mut bytes)
            };
            store.read(export).unwrap();
            String::from_utf8(bytes).unwrap()
        };
        let bytes = copy(&self.store);
        let folder = tempfile::tempdir().unwrap();
        let elsewhere = Store::open(folder.path()).unwrap();
        let mut input = Cursor::new(bytes.clone());
        elsewhere
            .write(self.now(), move |tx| tenant_copies::import(tx, &mut input))
            .unwrap();
        assert_eq!(copy(&elsewhere), bytes);
    }

    fn state(&self, snapshot: &Snapshot<'_>) -> Result<State> {
        let mut state = State::default();
        for (kind, id) in &self.known {
            let Some(stored) = resources::get(snapshot, self.tenant, *kind, id)? else {
                continue;
            };
            if *kind == Kind::Group {
                let members = teams::members(snapshot, self.tenant, &stored)?;
                state
                    .members
                    .extend(members.into_iter().map(|member| (id.clone(), member.id)));
            }
            state.resources.insert((*kind, id.clone()), stored.document);
        }
        Ok(state)
    }

    fn replayed(&self, snapshot: &Snapshot<'_>) -> Result<State> {
        let mut state = State::default();
        for event in events::after(snapshot, self.tenant, 0, None, usize::MAX >> 1)? {
            let pair = || (event.subject.clone(), event.object.clone().unwrap());
            let kind = match event.kind.split('.').next() {
                Some("user") => Kind::User,
                Some("team") => Kind::Group,
                _ => {
                    match event.kind.as_str() {
                        "member.added" | "subteam.added" => {
                            assert!(state.members.insert(pair()), "added twice")
                        }
                        "member.removed" | "subteam.removed" => {
                            assert!(state.members.remove(&pair()), "removed twice")
                        }
                        _ => {}
                    }
                    continue;
                }
            };
            let key = (kind, event.subject.clone());
            match event.after {
                Some(Value::Object(document)) => drop(state.resources.insert(key, document)),
                _ => drop(state.resources.remove(&key)),
            }
        }
        Ok(state)
    }
}

/// What is live.
#[derive(Debug, Default, PartialEq)]
struct State {
    resources: BTreeMap<(Kind, String), Document>,
    members: BTreeSet<(String, String)>,
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]

    #[test]
    fn nothing_is_lost_untold_or_unexplained(deeds in prop::collection::vec(deed(), 1..40)) {
        let mut life = Life::new();
        for deed in deeds {
            life.does(deed);
        }
        life.check();
        life.check_copies();
    }
}
