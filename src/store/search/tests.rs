use std::sync::LazyLock;

use proptest::prelude::{Just, Strategy, prop_oneof};
use proptest::{prop_assert_eq, proptest};
use rusqlite::params_from_iter;
use serde_json::{Value, json};

use super::Statement;
use crate::scim::declare::Schemas;
use crate::scim::filter::Filter;
use crate::scim::member::Link;
use crate::scim::path::AttrPath;
use crate::scim::resource::{Document, Meta, assemble};
use crate::scim::schema::Kind;
use crate::store::fixture::{Fixture, at, document, fixture};
use crate::store::place::Start;
use crate::store::resources::{self, Query, Stored};
use crate::store::teams;

const ENTERPRISE: &str = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User";

fn everything(kinds: &[Kind]) -> Query<'_> {
    Query {
        kinds,
        filter: None,
        sort_by: None,
        descending: false,
        start: Start::Offset(0),
        limit: 1000,
    }
}

/// Two teams and some people who differ in what filters look at. The last of each is deleted.
fn crowd() -> Fixture {
    let fixture = fixture();
    let tenant = fixture.tenant;
    let users = [
        json!({"userName": "ada", "externalId": "X1", "active": true, "title": "Countess",
               "emails": [{"value": "Ada@example.com", "type": "work", "primary": true}]}),
        json!({"userName": "Adam", "externalId": "x1", "active": false,
               "emails": [{"value": "adam@example.com", "type": "home"}, {"value": "ada@example.com", "type": "home"}]}),
        json!({"userName": "bob", "displayName": "Team", "name": {"familyName": "Adams"},
               ENTERPRISE: {"department": "Sales", "manager": {"value": "X1"}}}),
        json!({"userName": "Ad\u{e9}le", "externalId": "", "title": "", "active": true, "emails": []}),
        json!({"userName": "\u{10ffff}", "roles": [{"value": "Admin"}, {"value": "Member", "primary": true}]}),
        json!({"userName": "gone", "externalId": "X9", "emails": [{"value": "gone@example.com"}]}),
    ];
    let users: Vec<Stored> = users
        .into_iter()
        .map(|user| fixture.insert(Kind::User, user))
        .collect();
    let groups = ["Team", "ada", "Gone"];
    let groups: Vec<Stored> = groups
        .map(|name| {
            fixture.insert(
                Kind::Group,
                json!({"displayName": name, "externalId": name}),
            )
        })
        .into();
    fixture
        .store
        .write(at(100), move |tx| {
            let ids = |users: &[usize]| -> Vec<String> {
                users.iter().map(|&user| IDS[user].to_owned()).collect()
            };
            for (number, stored) in users.iter().chain(&groups).enumerate() {
                // Ids that a filter can be written with.
                tx.conn
                    .execute(
                        "UPDATE resource SET id = ? WHERE row = ?",
                        (IDS[number], stored.row),
                    )
                    .unwrap();
            }
            // The last ones are teams in teams: who is in g0 is in g1, and in g2 by both.
            for (group, members) in [
                (0, vec![0, 1, 5]),
                (1, vec![1]),
                (2, vec![0, 2]),
                (1, vec![6]),
                (2, vec![7]),
            ] {
                teams::add(tx, tenant, &groups[group], &ids(&members))?.unwrap();
            }
            resources::update(tx, tenant, &users[2], users[2].document.clone())?;
            resources::delete(tx, tenant, &users[5])?;
            resources::delete(tx, tenant, &groups[2])
        })
        .unwrap();
    fixture
}

const IDS: [&str; 9] = ["u0", "u1", "u2", "u3", "u4", "u5", "g0", "g1", "g2"];

/// Every live resource as a client sees it, in the order of a list.
fn assembled(fixture: &Fixture) -> Vec<(Kind, Document)> {
    let tenant = fixture.tenant;
    let read = fixture.store.read(|snapshot| {
        let mut all = Vec::new();
        for stored in resources::search::<Document>(snapshot, tenant, &everything(&Kind::ALL))?.resources {
            let links = match stored.kind {
                Kind::User => teams::all_groups_of(snapshot, tenant, &stored)?,
                Kind::Group => teams::members(snapshot, tenant, &stored)?,
            };
            let link = |link: Link| json!({"value": link.id, "display": link.display, "type": link.r#type});
            let links: Vec<Value> = links.into_iter().map(link).collect();
            let meta = Meta {
                kind: stored.kind,
                id: &stored.id,
                created: stored.created,
                last_modified: stored.last_modified,
                version: stored.version,
                base: "",
            };
            all.push((
                stored.kind,
                assemble(
                    stored.document,
                    &meta,
                    Some(links),
                    stored.kind.resource_type(),
                ),
            ));
        }
        Ok(all)
    });
    read.unwrap()
}

/// Ids of what a query finds, and the total.
#[track_caller]
fn found(fixture: &Fixture, query: &Query<'_>) -> (u64, Vec<String>) {
    let page = fixture
        .store
        .read(|snapshot| resources::search::<Document>(snapshot, fixture.tenant, query))
        .unwrap();
    (
        page.total,
        page.resources.into_iter().map(|stored| stored.id).collect(),
    )
}

static CROWD: LazyLock<(Fixture, Vec<(Kind, Document)>)> = LazyLock::new(|| {
    let fixture = crowd();
    let all = assembled(&fixture);
    (fixture, all)
});

/// A condition that some of the crowd fulfil: every attribute that SQL knows of, and some that it doesn't.
fn condition() -> impl Strategy<Value = String> {
    let attr = prop_oneof![
        Just("userName"),
        Just("displayName"),
        Just("externalId"),
        Just("id"),
        Just("emails"),
        Just("emails.value"),
        Just("emails.type"),
        Just("members"),
        Just("members.value"),
        Just("members.display"),
        Just("groups"),
        Just("groups.value"),
        Just("title"),
        Just("name.familyName"),
        Just("roles"),
        Just("meta.version"),
        Just("meta.resourceType"),
        Just("urn:ietf:params:scim:schemas:core:2.0:User:USERNAME"),
        Just("urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:department"),
        Just("urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:manager"),
    ];
    let op = prop_oneof![
        4 => Just("eq"), 2 => Just("ne"), 2 => Just("sw"), 1 => Just("co"), 1 => Just("ew"), 1 => Just("gt"), 1 => Just("le"),
    ];
    let value = prop_oneof![
        Just("\"ada\""),
        Just("\"ADAM\""),
        Just("\"X1\""),
        Just("\"x1\""),
        Just("\"Ade\u{301}LE\""),
        Just("\"ade\""),
        Just("\"\u{10ffff}\""),
        Just("\"\""),
        Just("\"team\""),
        Just("\"gone\""),
        Just("\"ada@EXAMPLE.com\""),
        Just("\"gone@example.com\""),
        Just("\"work\""),
        Just("\"home\""),
        Just("\"u0\""),
        Just("\"U1\""),
        Just("\"u1\""),
        Just("\"u5\""),
        Just("\"g0\""),
        Just("\"g2\""),
        Just("\"W/\\\"2\\\"\""),
        Just("\"User\""),
        Just("\"Group\""),
        Just("null"),
    ];
    let time_op = prop_oneof![
        Just("eq"),
        Just("ne"),
        Just("gt"),
        Just("ge"),
        Just("lt"),
        Just("le"),
        Just("sw")
    ];
    let time = prop_oneof![
        Just("2023-11-14T22:13:20Z"),
        Just("2023-11-14T22:13:20.0001Z"),
        Just("2023-11-14T22:15:00Z"),
        Just("2023-11-14T22:14:59.999999+00:00"),
        Just("2023-11-14T23:15:00+01:00"),
    ];
    let time_attr = prop_oneof![Just("meta.created"), Just("meta.lastModified")];
    let inside = prop_oneof![Just("value"), Just("type"), Just("display")];
    let complex = prop_oneof![
        Just("emails"),
        Just("members"),
        Just("groups"),
        Just("roles")
    ];
    prop_oneof![
        8 => (attr.clone(), op.clone(), value.clone()).prop_map(|(attr, op, value)| format!("{attr} {op} {value}")),
        1 => attr.prop_map(|attr| format!("{attr} pr")),
        1 => prop_oneof![Just("active eq true"), Just("active eq false"), Just("active ne true"), Just("active pr")]
            .prop_map(str::to_owned),
        2 => (time_attr, time_op, time).prop_map(|(attr, op, time)| format!("{attr} {op} \"{time}\"")),
        3 => (complex, inside, op, value.clone(), proptest::bool::ANY, value)
            .prop_map(|(complex, inside, op, value, both, other)| {
                let and = if both { format!(" and value eq {other}") } else { String::new() };
                format!("{complex}[{inside} {op} {value}{and}]")
            }),
    ]
}

fn filter() -> impl Strategy<Value = String> {
    condition().prop_recursive(4, 12, 2, |inner| {
        prop_oneof![
            (inner.clone(), inner.clone())
                .prop_map(|(left, right)| format!("({left}) and ({right})")),
            (inner.clone(), inner.clone())
                .prop_map(|(left, right)| format!("({left}) or ({right})")),
            inner.prop_map(|inner| format!("not ({inner})")),
        ]
    })
}

proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig {
        cases: 1500, failure_persistence: None, ..Default::default()
    })]

    #[test]
    fn sql_finds_what_the_filter_matches(
        text in filter(),
        kinds in prop_oneof![Just(&Kind::ALL[..1]), Just(&Kind::ALL[1..]), Just(&Kind::ALL[..])],
        sort_by in prop_oneof![Just(None), Just(Some("externalId")), Just(Some("userName")), Just(Some("title"))],
    ) {
        let (fixture, all) = &*CROWD;
        let filter = Filter::parse(&text).unwrap();
        let mut expected: Vec<_> = all
            .iter()
            .filter(|(kind, resource)| kinds.contains(kind) && filter.matches(resource, kind.resource_type()))
            .map(|(_, resource)| resource["id"].as_str().unwrap_or_default().to_owned())
            .collect();
        let path = sort_by.map(|name| AttrPath::parse(name).unwrap());
        let query = Query { filter: Some(&filter), sort_by: path.as_ref(), ..everything(kinds) };
        let (total, mut ids) = found(fixture, &query);
        if sort_by.is_some() {
            // Another test is about the order.
            ids.sort();
            expected.sort();
        }
        prop_assert_eq!((total, ids), (expected.len() as u64, expected));
    }
}

#[test]
fn pages_cut_the_list_and_the_total_counts_it_all() {
    let (fixture, _) = &*CROWD;
    let filter = Filter::parse("userName pr").unwrap();
    for filter in [None, Some(&filter)] {
        let page = |offset, limit| {
            found(
                fixture,
                &Query {
                    filter,
                    start: Start::Offset(offset),
                    limit,
                    ..everything(&[Kind::User])
                },
            )
        };
        let ids = |ids: &[&str]| ids.iter().map(|id| (*id).to_owned()).collect::<Vec<_>>();
        assert_eq!(page(0, 2), (5, ids(&["u0", "u1"])));
        assert_eq!(page(4, 2), (5, ids(&["u4"])));
        assert_eq!(page(9, 2), (5, ids(&[])));
        assert_eq!(page(0, 0), (5, ids(&[])));
        assert_eq!(page(1, u64::MAX), (5, ids(&["u1", "u2", "u3", "u4"])));
    }
    assert_eq!(
        found(fixture, &everything(&Kind::ALL)).1,
        ["u0", "u1", "u2", "u3", "u4", "g0", "g1"]
    );
}

#[test]
fn sorting_goes_by_the_attribute_with_missing_ones_last_and_descending_turns_it_round() {
    let (fixture, _) = &*CROWD;
    for (sort_by, kinds, order) in [
        ("userName", &Kind::ALL[..1], "u0 u1 u3 u2 u4"),
        ("externalId", &Kind::ALL[..1], "u0 u1 u2 u3 u4"),
        ("id", &Kind::ALL[..1], "u0 u1 u2 u3 u4"),
        ("meta.lastModified", &Kind::ALL[..1], "u0 u1 u3 u4 u2"),
        ("title", &Kind::ALL[..1], "u3 u0 u1 u2 u4"),
        ("active", &Kind::ALL[..1], "u1 u0 u3 u2 u4"),
        ("emails", &Kind::ALL[..1], "u0 u1 u2 u3 u4"),
        ("roles.value", &Kind::ALL[..1], "u4 u0 u1 u2 u3"),
        ("name.familyName", &Kind::ALL[..1], "u2 u0 u1 u3 u4"),
        (
            "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:department",
            &Kind::ALL[..1],
            "u2 u0 u1 u3 u4",
        ),
        ("displayName", &Kind::ALL[1..], "g1 g0"),
        ("displayName", &Kind::ALL[..], "g1 u2 g0 u0 u1 u3 u4"),
        ("userName", &Kind::ALL[..], "u0 u1 u3 u2 u4 g0 g1"),
    ] {
        let path = AttrPath::parse(sort_by).unwrap();
        let query = Query {
            sort_by: Some(&path),
            ..everything(kinds)
        };
        assert_eq!(found(fixture, &query).1.join(" "), order, "{sort_by}");
        let mut turned: Vec<_> = order.split(' ').collect();
        turned.reverse();
        let query = Query {
            descending: true,
            ..query
        };
        assert_eq!(found(fixture, &query).1, turned, "{sort_by}, descending");
    }
}

/// How SQLite goes about a search.
#[track_caller]
fn plan(fixture: &Fixture, query: &Query<'_>) -> String {
    let statement = Statement::of(
        crate::store::filter::Params::new(fixture.tenant, Schemas::built_in().clone()),
        query,
    );
    let steps = fixture.store.read(|snapshot| {
        let mut explain = snapshot
            .conn
            .prepare(&format!("EXPLAIN QUERY PLAN {}", statement.sql()))
            .unwrap();
        let steps = explain.query_map(params_from_iter(statement.params.values()), |row| {
            row.get::<_, String>(3)
        });
        Ok(steps.unwrap().map(|step| step.unwrap()).collect::<Vec<_>>())
    });
    steps.unwrap().join("; ")
}

#[test]
fn what_clients_match_on_is_found_through_an_index() {
    let (fixture, _) = &*CROWD;
    for (kinds, filter, index) in [
        (&Kind::ALL[..1], "id eq \"u0\"", "(id=?)"),
        (&Kind::ALL[..1], "userName eq \"ada\"", "resource_name"),
        (
            &Kind::ALL[..1],
            "externalId eq \"X1\"",
            "resource_external_id",
        ),
        (
            &Kind::ALL[..1],
            "emails eq \"a@b\"",
            "(tenant=? AND attribute=? AND value=?)",
        ),
        (
            &Kind::ALL[..1],
            "emails[type eq \"work\" and value eq \"a@b\"]",
            "(tenant=? AND attribute=? AND value=?)",
        ),
        (
            &Kind::ALL[..1],
            "title pr and emails.value eq \"a@b\"",
            "(tenant=? AND attribute=? AND value=?)",
        ),
        (
            &Kind::ALL[..1],
            "userName eq \"ada\" or emails.value eq \"a@b\"",
            "resource_name",
        ),
        (&Kind::ALL[..1], "groups eq \"g0\"", "(team=?)"),
        (&Kind::ALL[1..], "displayName eq \"Team\"", "resource_name"),
        (&Kind::ALL[1..], "members eq \"u0\"", "team_member_member"),
        (
            &Kind::ALL[1..],
            "id eq \"g0\" and members eq \"u0\"",
            "(id=?)",
        ),
        (
            &Kind::ALL[1..],
            "id eq \"g0\" and members[value eq \"u0\"]",
            "(id=?)",
        ),
        (&Kind::ALL[..], "userName eq \"ada\"", "resource_name"),
        (
            &Kind::ALL[..],
            "meta.resourceType eq \"Group\" and displayName eq \"Team\"",
            "resource_name",
        ),
    ] {
        let filter = Filter::parse(filter).unwrap();
        let plan = plan(
            fixture,
            &Query {
                filter: Some(&filter),
                ..everything(kinds)
            },
        );
        assert!(
            plan.contains("SEARCH r USING INTEGER PRIMARY KEY"),
            "{filter}: {plan}"
        );
        assert!(plan.contains(index), "{filter}: {plan}");
        // What is below a team: the team itself, nearly always.
        let walked = plan.replace("SCAN below", "");
        assert!(!walked.contains("SCAN"), "{filter}: {plan}");
        assert!(!plan.contains("resource_order"), "{filter}: {plan}");
    }
}

#[test]
fn whether_somebody_is_in_a_team_is_one_look_up_whatever_its_size() {
    let (fixture, _) = &*CROWD;
    for filter in [
        "id eq \"g0\" and members eq \"u0\"",
        "id eq \"u0\" and groups eq \"g0\"",
    ] {
        let kinds = if filter.contains("members") {
            &Kind::ALL[1..]
        } else {
            &Kind::ALL[..1]
        };
        let filter = Filter::parse(filter).unwrap();
        let plan = plan(
            fixture,
            &Query {
                filter: Some(&filter),
                ..everything(kinds)
            },
        );
        assert!(
            plan.contains("(team=? AND member=?)") || plan.contains("(member=? AND team=?)"),
            "{plan}"
        );
        let past_people = plan.replace("team_member_down (team=?)", "");
        assert!(
            !past_people.contains("(team=?)") && !past_people.contains("(member=?)"),
            "{plan}"
        );
    }
}

#[test]
fn lists_walk_an_index_in_its_order() {
    let (fixture, _) = &*CROWD;
    let by_name = AttrPath::parse("userName").unwrap();
    for (sort_by, index) in [
        (None, "COVERING INDEX resource_order"),
        (Some(&by_name), "INDEX resource_name"),
    ] {
        let plan = plan(
            fixture,
            &Query {
                sort_by,
                ..everything(&[Kind::User])
            },
        );
        assert!(plan.contains(index), "{plan}");
        assert!(!plan.contains("TEMP B-TREE"), "{plan}");
    }
    for (filter, index) in [
        (
            "userName sw \"ad\"",
            "INDEX resource_name (tenant=? AND kind=? AND name_key>? AND name_key<?)",
        ),
        ("active eq true", "COVERING INDEX resource_order"),
        ("active eq false", "INDEX resource_inactive"),
    ] {
        let filter = Filter::parse(filter).unwrap();
        let plan = plan(
            fixture,
            &Query {
                filter: Some(&filter),
                ..everything(&[Kind::User])
            },
        );
        assert!(plan.contains(index), "{filter}: {plan}");
    }
}

#[test]
fn a_filter_too_long_to_be_printed_again_is_refused_in_words() {
    let (fixture, _) = &*CROWD;
    let filter = Filter::Compare {
        attr: AttrPath::parse("title").unwrap(),
        op: crate::scim::filter::CompareOp::Co,
        value: "x".repeat(10_000).into(),
    };
    let query = Query {
        filter: Some(&filter),
        ..everything(&[Kind::User])
    };
    let error = fixture
        .store
        .read(|snapshot| resources::search::<Document>(snapshot, fixture.tenant, &query))
        .unwrap_err();
    assert!(matches!(error, crate::error::Error::Scim(_)), "{error}");
}

#[test]
fn the_total_of_a_list_follows_what_comes_and_goes() {
    let fixture = fixture();
    let tenant = fixture.tenant;
    let total = || found(&fixture, &everything(&Kind::ALL)).0;
    let ada = fixture.insert(Kind::User, json!({"userName": "ada"}));
    fixture.insert(Kind::Group, json!({"displayName": "team"}));
    assert_eq!(total(), 2);
    let refused = document(json!({"userName": "ADA"}));
    fixture
        .store
        .write(at(1), move |tx| {
            resources::insert(tx, tenant, Kind::User, refused)
        })
        .unwrap_err();
    assert_eq!(total(), 2);
    fixture
        .store
        .write(at(1), move |tx| resources::delete(tx, tenant, &ada))
        .unwrap();
    assert_eq!(total(), 1);
}
