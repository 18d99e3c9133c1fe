use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::{ProptestConfig, Strategy, prop, prop_oneof, proptest};
use serde_json::json;

use super::*;
use crate::scim::filter::Filter;
use crate::scim::resource::Document;
use crate::scim::schema::Kind;
use crate::store::fixture::{Fixture, at, fixture};
use crate::store::place::Start;
use crate::store::resources::{self, Query};
use crate::store::teams::Refused;
use crate::store::{archive, people};

const TEAMS: usize = 5;
const USERS: usize = 3;

/// Teams and users by their numbers; a member below `TEAMS` is a team.
#[derive(Clone, Debug)]
enum Deed {
    Add(usize, usize),
    Remove(usize, usize),
    Delete(usize),
    Restore(usize),
}

fn deed() -> impl Strategy<Value = Deed> {
    let pair = || (0..TEAMS, 0..TEAMS + USERS);
    prop_oneof![
        8 => pair().prop_map(|(team, member)| Deed::Add(team, member)),
        2 => pair().prop_map(|(team, member)| Deed::Remove(team, member)),
        1 => (0..TEAMS + USERS).prop_map(Deed::Delete),
        2 => (0..TEAMS + USERS).prop_map(Deed::Restore),
    ]
}

/// The same in the simplest way that there is: pairs, and what is gone.
#[derive(Default)]
struct Naive {
    pairs: BTreeSet<(usize, usize)>,
    deleted: BTreeSet<usize>,
}

impl Naive {
    fn is_live(&self, one: usize) -> bool {
        !self.deleted.contains(&one)
    }

    /// The live teams that one is in, by way of live ones: walked until nothing is new.
    fn above(&self, one: usize) -> BTreeSet<usize> {
        self.walk(one, |team| self.is_live(team))
    }

    fn walk(&self, one: usize, passes: impl Fn(usize) -> bool) -> BTreeSet<usize> {
        let mut found = BTreeSet::new();
        let mut news = vec![one];
        while let Some(member) = news.pop() {
            for (team, _) in self.pairs.iter().filter(|(_, of)| *of == member) {
                if passes(*team) && found.insert(*team) {
                    news.push(*team);
                }
            }
        }
        found
    }

    /// Whether a pair is taken; where deleted teams alone are in its way, they give way.
    fn add(&mut self, team: usize, member: usize) -> bool {
        if team == member || self.above(team).contains(&member) {
            return false;
        }
        while self.walk(team, |_| true).contains(&member) {
            let hidden = |(one, other): &(usize, usize)| {
                *other < TEAMS && !(self.is_live(*one) && self.is_live(*other))
            };
            // All pairs on a way from the member down to the team.
            let on_the_way = |(one, other): &(usize, usize)| {
                let reaches =
                    |from: usize, to: usize| from == to || self.walk(to, |_| true).contains(&from);
                reaches(member, *one) && reaches(*other, team)
            };
            let gone: Vec<_> = (self.pairs.iter())
                .filter(|pair| hidden(pair) && on_the_way(pair))
                .copied()
                .collect();
            self.pairs.retain(|pair| !gone.contains(pair));
        }
        self.pairs.insert((team, member));
        true
    }
}

struct Life {
    fixture: Fixture,
    all: Vec<Stored>,
    naive: Naive,
}

impl Life {
    fn new() -> Life {
        let fixture = fixture();
        let team = |n| fixture.insert(Kind::Group, json!({"displayName": format!("t{n}")}));
        let user = |n| fixture.insert(Kind::User, json!({"userName": format!("u{n}")}));
        let mut all: Vec<Stored> = (0..TEAMS).map(team).collect();
        all.extend((0..USERS).map(user));
        Life {
            fixture,
            all,
            naive: Naive::default(),
        }
    }

    fn does(&mut self, deed: &Deed) {
        let tenant = self.fixture.tenant;
        let stored = |number: usize| self.all[number].clone();
        match *deed {
            Deed::Add(team, member) => {
                if !self.naive.is_live(team) {
                    return;
                }
                let (group, id) = (stored(team), stored(member).id);
                let ids = [id.clone()];
                let added = self
                    .fixture
                    .store
                    .write(at(1), move |tx| teams::add(tx, tenant, &group, &ids));
                let expected = if !self.naive.is_live(member) {
                    Err(Refused::Unknown(id))
                } else if self.naive.add(team, member) {
                    Ok(())
                } else {
                    Err(Refused::Circle(id))
                };
                assert_eq!(added.unwrap().map(drop), expected);
            }
            Deed::Remove(team, member) => {
                if self.naive.is_live(team) {
                    let (group, ids) = (stored(team), [stored(member).id]);
                    let removed = self
                        .fixture
                        .store
                        .write(at(1), move |tx| teams::remove(tx, tenant, &group, &ids));
                    let was_there = self.naive.pairs.remove(&(team, member));
                    let told = was_there && self.naive.is_live(member);
                    assert_eq!(removed.unwrap().len(), usize::from(told));
                }
            }
            Deed::Delete(which) => {
                if self.naive.deleted.insert(which) {
                    let gone = stored(which);
                    let delete = self
                        .fixture
                        .store
                        .write(at(1), move |tx| resources::delete(tx, tenant, &gone));
                    delete.unwrap();
                }
            }
            Deed::Restore(which) => {
                if self.naive.deleted.remove(&which) {
                    let gone = stored(which);
                    let restored = self.fixture.store.write(at(1), move |tx| {
                        let archived = archive::get(tx, tenant, gone.kind, &gone.id)?.unwrap();
                        archive::undelete(tx, tenant, &archived, gone.document)
                    });
                    restored.unwrap();
                }
            }
        }
    }

    fn check(&self) {
        let (tenant, naive) = (self.fixture.tenant, &self.naive);
        let name = |number: &usize| self.all[*number].id.clone();
        let checked = self.fixture.store.read(|snapshot| {
            for user in (TEAMS..TEAMS + USERS).filter(|user| naive.is_live(*user)) {
                let stored = &self.all[user];
                let found = teams::all_groups_of(snapshot, tenant, stored)?;
                let expected: BTreeMap<String, bool> = naive
                    .above(user)
                    .iter()
                    .map(|team| (name(team), naive.pairs.contains(&(*team, user))))
                    .collect();
                assert_eq!(found.len(), expected.len(), "each once");
                let found = found
                    .into_iter()
                    .map(|link| (link.id.clone(), link.is_direct()));
                assert_eq!(found.collect::<BTreeMap<_, _>>(), expected);
            }
            for team in (0..TEAMS).filter(|team| naive.is_live(*team)) {
                let stored = &self.all[team];
                assert!(!naive.walk(team, |_| true).contains(&team), "a circle");
                let above = teams_above(snapshot, tenant, stored)?
                    .into_iter()
                    .map(|link| link.id);
                assert_eq!(
                    above.collect::<BTreeSet<_>>(),
                    naive.above(team).iter().map(name).collect()
                );
                let inside =
                    |user: &usize| naive.is_live(*user) && naive.above(*user).contains(&team);
                let people: BTreeSet<String> = (TEAMS..TEAMS + USERS)
                    .filter(inside)
                    .map(|user| name(&user))
                    .collect();
                let below = people_below(snapshot, tenant, stored)?;
                assert_eq!(below.len(), people.len());
                assert_eq!(BTreeSet::from_iter(below), people);
                let count = people.len() as u64;
                assert_eq!(count_people(snapshot, tenant, stored, u64::MAX)?, count);
                assert_eq!(count_people(snapshot, tenant, stored, 1)?, count.min(1));
                let filter = Filter::parse(&format!("groups.value eq \"{}\"", stored.id)).unwrap();
                let page = resources::search::<Document>(snapshot, tenant, &query(&filter))?;
                let found = page.resources.into_iter().map(|user| user.id);
                assert_eq!(found.collect::<BTreeSet<_>>(), people, "{filter}");
                let listed = people::list(snapshot, tenant, None, Some(&stored.id), (0, 100))?;
                assert_eq!(
                    listed
                        .into_iter()
                        .map(|one| one.id)
                        .collect::<BTreeSet<_>>(),
                    people
                );
            }
            Ok(())
        });
        checked.unwrap();
        let circle = self
            .fixture
            .store
            .write(at(2), move |tx| has_circle(tx, tenant));
        assert!(!circle.unwrap());
        self.check_views();
    }

    /// The views tell people of other programs the same.
    fn check_views(&self) {
        let conn = rusqlite::Connection::open(self.fixture.dir.path().join("rollcall.db")).unwrap();
        let rows = |sql: &str| -> BTreeSet<(String, String, i64)> {
            let mut statement = conn.prepare(sql).unwrap();
            let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)));
            rows.unwrap().map(|row| row.unwrap()).collect()
        };
        let (naive, id) = (&self.naive, |number: usize| self.all[number].id.clone());
        let live =
            |numbers: std::ops::Range<usize>| numbers.filter(|number| naive.is_live(*number));
        let mut members = BTreeSet::new();
        let mut counts: BTreeSet<_> = BTreeSet::new();
        for team in live(0..TEAMS) {
            let inside: Vec<usize> = live(TEAMS..TEAMS + USERS)
                .filter(|user| naive.above(*user).contains(&team))
                .collect();
            counts.insert((id(team), String::new(), inside.len() as i64));
            for user in inside {
                members.insert((
                    id(team),
                    id(user),
                    i64::from(naive.pairs.contains(&(team, user))),
                ));
            }
        }
        assert_eq!(
            rows("SELECT team, user, direct FROM v_team_member"),
            members
        );
        assert_eq!(rows("SELECT id, '', people FROM v_team"), counts);
        let parts = naive
            .pairs
            .iter()
            .filter(|(one, other)| *other < TEAMS && naive.is_live(*one) && naive.is_live(*other));
        let parts = parts
            .map(|(one, other)| (id(*one), id(*other), 0))
            .collect();
        assert_eq!(rows("SELECT team, part, 0 FROM v_team_in_team"), parts);
    }
}

fn query(filter: &Filter) -> Query<'_> {
    Query {
        kinds: &[Kind::User],
        filter: Some(filter),
        sort_by: None,
        descending: false,
        start: Start::Offset(0),
        limit: 100,
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]

    #[test]
    fn who_is_in_which_team_is_what_walking_finds(deeds in prop::collection::vec(deed(), 1..60)) {
        let mut life = Life::new();
        for deed in &deeds {
            life.does(deed);
        }
        life.check();
    }
}

#[test]
fn a_deleted_team_gives_way_to_what_its_return_would_close_into_a_circle() {
    let mut life = Life::new();
    // t0 has t1, which has t2. Without t1, t2 may have t0.
    for deed in [
        Deed::Add(0, 1),
        Deed::Add(1, 2),
        Deed::Delete(1),
        Deed::Add(2, 0),
        Deed::Restore(1),
    ] {
        life.does(&deed);
    }
    life.check();
    assert_eq!(life.naive.pairs, BTreeSet::from([(2, 0)]));
}
