//! Tests of pages: walks from place to place while resources come and go, and what deep pages cost.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use proptest::prelude::{Just, Strategy, any, prop_oneof};
use proptest::{collection, prop_assert, prop_assert_eq, proptest};
use rusqlite::StatementStatus;
use serde_json::json;

use super::super::{Params, Statement};
use super::FORWARD;
use crate::scim::declare::Schemas;
use crate::scim::filter::Filter;
use crate::scim::path::AttrPath;
use crate::scim::resource::Document;
use crate::scim::schema::Kind;
use crate::store::fixture::{COUNT, Fixture, at, document, fixture};
use crate::store::place::Start;
use crate::store::resources::{self, Page, Query, Stored};
use crate::store::{TenantId, tally, tenants};

static FIXTURE: LazyLock<Fixture> = LazyLock::new(fixture);

/// What comes or goes between two pages.
#[derive(Clone, Debug)]
enum Change {
    Come(Kind, u8),
    Go(usize),
    Nothing,
}

fn change() -> impl Strategy<Value = Change> {
    prop_oneof![
        3 => (kind(), any::<u8>()).prop_map(|(kind, seed)| Change::Come(kind, seed)),
        3 => any::<usize>().prop_map(Change::Go),
        1 => Just(Change::Nothing),
    ]
}

fn kind() -> impl Strategy<Value = Kind> {
    prop_oneof![3 => Just(Kind::User), 1 => Just(Kind::Group)]
}

/// A name is taken once; what else it is sorted by repeats, or is missing.
fn make(tenant: TenantId, kind: Kind, seed: u8, number: usize) -> Stored {
    let name = format!("{}{number}", char::from(b'a' + seed % 26));
    let mut value = json!({"userName": name, "displayName": format!("D{}", seed % 5)});
    if kind == Kind::Group {
        value["displayName"] = name.into();
    }
    if !seed.is_multiple_of(3) {
        value["title"] = format!("t{}", seed % 4).into();
        value["externalId"] = format!("x{}-{number}", seed % 7).into();
    }
    FIXTURE
        .store
        .write(at(0), move |tx| {
            resources::insert(tx, tenant, kind, document(value))
        })
        .unwrap()
}

/// A tenant that lives through a walk.
struct World {
    tenant: TenantId,
    live: Vec<Stored>,
    made: usize,
    /// Rows that were there at some time after the walk began, but not all the time.
    unsteady: BTreeSet<i64>,
}

impl World {
    fn new(first: &[(Kind, u8)]) -> World {
        let tenant = FIXTURE.store.write(at(0), |tx| {
            let name = format!("walk {}", tenants::list(tx)?.len());
            Ok(tenants::create(tx, &name)?.unwrap().id)
        });
        let mut world = World {
            tenant: tenant.unwrap(),
            live: vec![],
            made: 0,
            unsteady: BTreeSet::new(),
        };
        for (kind, seed) in first {
            world.come(*kind, *seed);
        }
        world.unsteady.clear();
        world
    }

    fn come(&mut self, kind: Kind, seed: u8) {
        let stored = make(self.tenant, kind, seed, self.made);
        self.made += 1;
        self.unsteady.insert(stored.row);
        self.live.push(stored);
    }

    fn suffer(&mut self, change: &Change) {
        match change {
            Change::Come(kind, seed) => self.come(*kind, *seed),
            Change::Go(which) if !self.live.is_empty() => {
                let gone = self.live.remove(which % self.live.len());
                let tenant = self.tenant;
                self.unsteady.insert(gone.row);
                FIXTURE
                    .store
                    .write(at(1), move |tx| resources::delete(tx, tenant, &gone))
                    .unwrap();
            }
            Change::Go(_) | Change::Nothing => {}
        }
    }

    fn page(&self, query: &Query<'_>) -> Page {
        FIXTURE
            .store
            .read(|snapshot| resources::search::<Document>(snapshot, self.tenant, query))
            .unwrap()
    }
}

fn rows(page: &Page) -> Vec<i64> {
    page.resources.iter().map(|stored| stored.row).collect()
}

proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig {
        cases: 150, failure_persistence: None, ..Default::default()
    })]

    #[test]
    fn a_walk_gives_what_is_there_throughout_exactly_once(
        first in collection::vec((kind(), any::<u8>()), 0..14),
        changes in collection::vec(change(), 0..24),
        limit in 1_u64..5,
        kinds in prop_oneof![Just(&Kind::ALL[..1]), Just(&Kind::ALL[1..]), Just(&Kind::ALL[..])],
        filter in prop_oneof![Just(None), Just(Some("title pr")), Just(Some("displayName sw \"d\"")), Just(Some("id pr"))],
        sort_by in prop_oneof![
            Just(None), Just(Some("userName")), Just(Some("title")), Just(Some("externalId")), Just(Some("displayName")),
            Just(Some("meta.created")), Just(Some("meta.version")),
        ],
        descending in any::<bool>(),
    ) {
        let mut world = World::new(&first);
        let filter = filter.map(|text| Filter::parse(text).unwrap());
        let sort_by = sort_by.map(|name| AttrPath::parse(name).unwrap());
        let query = Query {
            kinds, filter: filter.as_ref(), sort_by: sort_by.as_ref(), descending, start: Start::After(None), limit,
        };
        let whole = rows(&world.page(&query.at(&Start::Offset(0), 1000)));
        let (mut walked, mut changes) = (vec![], changes.into_iter());
        let mut page = world.page(&query);
        prop_assert!(page.previous.is_none());
        loop {
            prop_assert!(page.resources.len() as u64 <= limit);
            walked.extend(rows(&page));
            prop_assert!(walked.len() <= world.made, "goes round in {:?}", walked);
            let Some(next) = page.next.take() else { break };
            changes.next().iter().for_each(|change| world.suffer(change));
            page = world.page(&query.at(&next, limit));
        }
        // Twice nothing, also of what came or went.
        let once: BTreeSet<i64> = walked.iter().copied().collect();
        prop_assert_eq!(once.len(), walked.len(), "twice in {:?}", walked);
        // What stayed, in its order.
        let steady = |rows: &[i64]| -> Vec<i64> {
            rows.iter().copied().filter(|row| !world.unsteady.contains(row)).collect()
        };
        prop_assert_eq!(steady(&walked), steady(&whole));

        // Back again, while nothing changes: all that is before the last page, and not a first page too early.
        let whole = rows(&world.page(&query.at(&Start::Offset(0), 1000)));
        let last = rows(&page);
        let mut back = vec![];
        while let Some(previous) = page.previous.take() {
            page = world.page(&query.at(&previous, limit));
            prop_assert!(!page.resources.is_empty());
            prop_assert!(page.next.is_some());
            back.splice(0..0, rows(&page));
            prop_assert!(back.len() <= world.made, "goes round in {:?}", back);
        }
        if let Some(first) = last.first() {
            let before: Vec<i64> = whole.iter().copied().take_while(|row| row != first).collect();
            prop_assert_eq!(back, before);
        }
    }

    #[test]
    fn pages_by_index_are_slices_of_the_whole(
        first in collection::vec((kind(), any::<u8>()), 0..14),
        changes in collection::vec(change(), 0..8),
        offset in 0_u64..16,
        limit in 0_u64..16,
        kinds in prop_oneof![Just(&Kind::ALL[..1]), Just(&Kind::ALL[..])],
        sort_by in prop_oneof![Just(None), Just(Some("userName")), Just(Some("title"))],
        descending in any::<bool>(),
    ) {
        let mut world = World::new(&first);
        changes.iter().for_each(|change| world.suffer(change));
        let sort_by = sort_by.map(|name| AttrPath::parse(name).unwrap());
        let query = Query {
            kinds, filter: None, sort_by: sort_by.as_ref(), descending, start: Start::Offset(0), limit: 1000,
        };
        let whole = world.page(&query);
        let page = world.page(&query.at(&Start::Offset(offset), limit));
        let wanted: Vec<i64> =
            rows(&whole).into_iter().skip(offset as usize).take(limit as usize).collect();
        prop_assert_eq!(rows(&page), wanted);
        prop_assert_eq!(page.total, whole.total);
        prop_assert_eq!(page.total, whole.resources.len() as u64);
    }
}

#[test]
fn a_page_of_no_size_leads_nowhere() {
    let world = World::new(&[(Kind::User, 1), (Kind::User, 2)]);
    let query = Query {
        kinds: &[Kind::User],
        filter: None,
        sort_by: None,
        descending: false,
        start: Start::After(None),
        limit: 0,
    };
    let page = world.page(&query);
    assert_eq!((page.total, page.next, page.previous), (2, None, None));
}

/// So many users, and as many of another tenant between them.
fn many(count: u32) -> Fixture {
    let fixture = fixture();
    let other = crate::store::fixture::tenant(&fixture.store, "other");
    let tenants = [fixture.tenant.0, other.0];
    fixture
        .store
        .write(at(0), move |tx| {
            tx.conn
                .execute(
                    "WITH RECURSIVE n(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < ?3)
                     INSERT INTO resource (tenant, kind, id, name_key, display, created, last_modified, version, document)
                     SELECT tenant.value, 'User', tenant.value || '-' || n, 'u' || n, 'u', 0, 0, 1, '{\"userName\": \"u\"}'
                     FROM n JOIN (SELECT ?1 AS value UNION ALL SELECT ?2) AS tenant",
                    (tenants[0], tenants[1], count),
                )
                .unwrap();
            tx.conn.execute(COUNT, []).unwrap();
            Ok(())
        })
        .unwrap();
    fixture
}

/// Steps of SQLite's machine, which are what a statement costs, whatever else the computer does.
#[test]
fn the_last_page_of_a_long_list_costs_about_what_the_first_does() {
    const COUNT: u32 = 30_000;
    let fixture = many(COUNT);
    let by_name = AttrPath::parse("userName").unwrap();
    let steps = |sort_by: Option<&AttrPath>, offset: u32| {
        let query = Query {
            kinds: &[Kind::User],
            filter: None,
            sort_by,
            descending: false,
            start: Start::Offset(offset.into()),
            limit: 100,
        };
        let steps = fixture.store.read(|snapshot| {
            // A statement's counter is set back when it is read.
            let counted = |sql: &str| {
                let statement = snapshot.conn.prepare_cached(sql).unwrap();
                statement.reset_status(StatementStatus::VmStep)
            };
            let mut texts = vec![
                FORWARD.to_owned(),
                tally::BLOCKS.to_owned(),
                tally::COUNT.to_owned(),
            ];
            for descending in [false, true] {
                let params = Params::new(fixture.tenant, Schemas::built_in().clone());
                let query = Query {
                    descending,
                    ..query.clone()
                };
                let sql = Statement::of(params, &query).sql();
                texts.push(format!("{sql} LIMIT ?2 OFFSET ?3"));
            }
            for sql in &texts {
                counted(sql);
            }
            let page = resources::search::<Document>(snapshot, fixture.tenant, &query)?;
            assert_eq!(page.total, u64::from(COUNT));
            assert_eq!(page.resources.len(), 100, "at {offset}");
            Ok(texts.iter().map(|sql| counted(sql)).sum::<i32>())
        });
        steps.unwrap()
    };
    for sort_by in [None, Some(&by_name)] {
        let first = steps(sort_by, 0);
        assert!(first > 100, "{first} steps are no page");
        let last = steps(sort_by, COUNT - 100);
        assert!(
            last < first + 8_000,
            "{last} steps, {first} at the beginning"
        );
    }
    let middle = steps(None, COUNT / 2);
    assert!(
        middle < steps(None, 0) + 8_000,
        "{middle} steps in the middle"
    );
}

#[test]
fn a_sorted_page_begins_in_the_index() {
    let fixture = many(10);
    let by_name = AttrPath::parse("userName").unwrap();
    let query = Query {
        kinds: &[Kind::User],
        filter: None,
        sort_by: Some(&by_name),
        descending: false,
        start: Start::After(None),
        limit: 2,
    };
    let page = |query: &Query<'_>| {
        let page = |snapshot: &crate::store::Snapshot<'_>| {
            resources::search::<Document>(snapshot, fixture.tenant, query)
        };
        fixture.store.read(page).unwrap()
    };
    let next = page(&query).next.unwrap();
    let previous = page(&query.at(&next, 2)).previous.unwrap();
    for (start, seek) in [(next, "name_key>?"), (previous, "name_key<?")] {
        let query = query.at(&start, 2);
        let mut statement = Statement::of(
            Params::new(fixture.tenant, Schemas::built_in().clone()),
            &query,
        );
        let place = start.place().unwrap();
        let behind = statement.order.behind(place, &mut statement.params);
        statement.found += &format!(" AND {behind}");
        let sql = format!("EXPLAIN QUERY PLAN {}", statement.sql());
        let plan = fixture.store.read(|snapshot| {
            let mut explain = snapshot.conn.prepare(&sql).unwrap();
            let values = rusqlite::params_from_iter(statement.params.values());
            let steps = explain.query_map(values, |row| row.get::<_, String>(3));
            Ok(steps.unwrap().map(|step| step.unwrap()).collect::<Vec<_>>())
        });
        let plan = plan.unwrap().join("; ");
        assert!(
            plan.contains("resource_name") && plan.contains(seek),
            "{plan}"
        );
        assert!(!plan.contains("TEMP B-TREE"), "{plan}");
    }
}
