//! What clients do again and again costs the same with 100,000 users as with ten, and with 100,000 members.
//!
//! Costs are counted in steps of SQLite's virtual machine and not in seconds, so that they are the same everywhere: a
//! statement that takes more than a few hundred is interrupted, and fails.

use std::collections::BTreeMap;

use rusqlite::Connection;
use serde_json::{Value, json};

use super::directory::{self, From, Key, State, Wanted};
use super::fixture::{COUNT, Fixture, at, fixture};
use super::known::Known;
use super::place::Start;
use super::resources::{self, Query, Stored};
use super::{Tx, attributes, connection, nesting, teams};
use crate::access::roles::RoleId;
use crate::scim::declare::Declaration;
use crate::scim::filter::Filter;
use crate::scim::resource::Document;
use crate::scim::schema::Kind;

const USERS: i64 = 100_000;

/// A look-up through an index takes about twenty; a scan of the users, hundreds of thousands.
const MAX_STEPS: i32 = 500;

/// Users `u1`, `u2`, … and two teams: everybody is in `all`, and the first ten are in `few`.
fn crowd() -> Fixture {
    let fixture = fixture();
    let conn = connection::open(&fixture.dir.path().join("rollcall.db")).unwrap();
    conn.execute_batch(&format!(
        "BEGIN;
         CREATE TEMP TABLE number AS WITH RECURSIVE n (i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i < {USERS})
             SELECT i, 'u' || i AS name FROM n;
         INSERT INTO resource (row, tenant, kind, id, name_key, display, external_id, active, created, last_modified,
                               version, document)
             SELECT i, {tenant}, 'User', name, name, name, 'x' || i, 1, 0, 0, 1,
                    json_object('userName', name, 'displayName', name, 'badge', i,
                                'emails', json_array(json_object('value', name || '@example.com')))
             FROM number;
         INSERT INTO resource_value SELECT {tenant}, 'emails.value', name || '@example.com', i FROM number;
         INSERT INTO resource_value SELECT {tenant}, 'displayName', name, i FROM number;
         INSERT INTO resource (tenant, kind, id, name_key, display, created, last_modified, version, document)
             SELECT {tenant}, 'Group', name, name, name, 0, 0, 1, '{{\"displayName\":\"' || name || '\"}}'
             FROM (SELECT 'all' AS name UNION SELECT 'few');
         INSERT INTO team_member
             SELECT row, i, 0, 0 FROM resource JOIN number ON resource.id = 'all' OR i <= 10 WHERE kind = 'Group';
         {COUNT};
         COMMIT;",
        tenant = fixture.tenant.0
    ))
    .unwrap();
    fixture
}

/// An attribute of users, in the core schema.
fn declaration(attribute: Value) -> Declaration {
    serde_json::from_value(json!({
        "resourceType": "User",
        "schema": Kind::User.resource_type().core.id,
        "attribute": attribute,
    }))
    .unwrap()
}

/// A connection on which a statement of more steps fails.
fn bounded(fixture: &Fixture, max_steps: i32) -> Connection {
    let mut conn = connection::open(&fixture.dir.path().join("rollcall.db")).unwrap();
    conn.progress_handler(max_steps, Some(|| true)).unwrap();
    conn
}

#[test]
fn with_100_000_users_and_members_nothing_common_walks_through_them() {
    let fixture = crowd();
    let tenant = fixture.tenant;
    let badge = declaration(json!({ "name": "badge", "type": "integer", "uniqueness": "server" }));
    let declared = fixture.store.write(at(0), move |tx| {
        attributes::write(tx, tenant, std::slice::from_ref(&badge))?;
        attributes::adopt(tx, tenant, &badge)
    });
    assert_eq!(declared.unwrap(), 0);
    let (conn, known) = (bounded(&fixture, MAX_STEPS), Known::default());
    let tx = Tx::new(&conn, &known, at(0));
    let get =
        |kind, id: &str| -> Stored { resources::get(&tx, tenant, kind, id).unwrap().unwrap() };

    let user = get(Kind::User, "u99999");
    resources::by_name(&tx, tenant, Kind::User, "U99999")
        .unwrap()
        .unwrap();
    resources::taken(&tx, tenant, Kind::User, &user.document, None).unwrap();
    let schemas = attributes::schemas(&tx, tenant).unwrap();
    let user_type = schemas.of(Kind::User);
    let taken = attributes::taken(&tx, tenant, &user.document, None, user_type).unwrap();
    assert_eq!(taken, Some(("badge".to_owned(), "99999".to_owned())));
    for (kind, filter) in [
        (Kind::User, "userName eq \"U99999\""),
        (Kind::User, "externalId eq \"x99999\""),
        (Kind::User, "emails[value eq \"u99999@example.com\"]"),
        (Kind::User, "id eq \"u99999\" and groups eq \"all\""),
        (Kind::Group, "id eq \"all\" and members eq \"u99999\""),
        (Kind::Group, "displayName eq \"All\""),
        (Kind::User, "badge eq 99999"),
        (
            Kind::User,
            "urn:ietf:params:scim:schemas:core:2.0:User:badge eq 99999 and active eq true",
        ),
    ] {
        let parsed = Filter::parse(filter).unwrap();
        let query = Query {
            kinds: &[kind],
            filter: Some(&parsed),
            sort_by: None,
            descending: false,
            start: Start::Offset(0),
            limit: 10,
        };
        let page = resources::search::<Document>(&tx, tenant, &query);
        assert_eq!(
            page.unwrap_or_else(|error| panic!("{filter}: {error}"))
                .total,
            1,
            "{filter}"
        );
    }

    let id = [user.id.clone()];
    let touched = BTreeMap::from([(user.id.clone(), Kind::User)]);
    for group in ["all", "few"] {
        let group = get(Kind::Group, group);
        teams::remove(&tx, tenant, &group, &id).unwrap();
        teams::add(&tx, tenant, &group, &id).unwrap().unwrap();
        teams::touch(&tx, tenant, &group, &touched).unwrap();
    }
    teams::all_groups_of(&tx, tenant, &user).unwrap();
    resources::update(&tx, tenant, &user, user.document.clone()).unwrap();

    // A small team's own costs follow its members, and not everybody else.
    let few = get(Kind::Group, "few");
    nesting::touch_people_below(&tx, tenant, &few).unwrap();
    teams::members(&tx, tenant, &few).unwrap();
    resources::delete(&tx, tenant, &few).unwrap();

    // That a walk through all would have been noticed:
    let all = get(Kind::Group, "all");
    teams::members(&tx, tenant, &all).unwrap_err();
}

/// For a page of the settings: fifty people, and what is on it.
const MAX_STEPS_OF_A_PAGE: i32 = 25_000;

/// Where hardly anybody is wanted, so many candidates are looked at and no more.
const MAX_STEPS_OF_A_WALK: i32 = 300_000;

#[test]
fn a_page_of_100_000_people_costs_what_is_on_it() {
    let fixture = crowd();
    let (tenant, known) = (fixture.tenant, Known::default());
    let conn = bounded(&fixture, MAX_STEPS_OF_A_PAGE);
    let tx = Tx::new(&conn, &known, at(0));
    let all = resources::get(&tx, tenant, Kind::Group, "all")
        .unwrap()
        .unwrap();
    let anybody = Wanted {
        kind: Kind::User,
        prefix: "",
        state: None,
        role: None,
        team: None,
    };
    let key = |value: &str, row| Key {
        value: value.to_owned(),
        row,
    };
    let middle = key("u5", 0);
    for (wanted, from, first) in [
        (anybody.clone(), From::Start, "u1"),
        (anybody.clone(), From::After(middle.clone()), "u5"),
        (anybody.clone(), From::Before(middle.clone()), "u49954"),
        (
            Wanted {
                prefix: "U",
                ..anybody.clone()
            },
            From::After(middle.clone()),
            "u5",
        ),
        (
            Wanted {
                prefix: "u",
                state: Some(State::Active),
                ..anybody.clone()
            },
            From::Before(middle.clone()),
            "u49954",
        ),
        (
            Wanted {
                team: Some(all.row),
                ..anybody.clone()
            },
            From::After(key("", 70_000)),
            "u70001",
        ),
        (
            Wanted {
                team: Some(all.row),
                ..anybody.clone()
            },
            From::Before(key("", 70_000)),
            "u69950",
        ),
        (
            Wanted {
                prefix: "u99999@",
                ..anybody.clone()
            },
            From::Start,
            "u99999",
        ),
    ] {
        // A cached statement's steps are counted on from where it is used again.
        let conn = bounded(&fixture, MAX_STEPS_OF_A_PAGE);
        let page = directory::search(&Tx::new(&conn, &known, at(0)), tenant, &wanted, &from, 50)
            .unwrap_or_else(|error| panic!("{wanted:?} {from:?}: {error}"));
        assert_eq!(page.entries[0].stored.id, first, "{wanted:?} {from:?}");
    }
    for state in [State::Inactive, State::Archived] {
        let wanted = Wanted {
            state: Some(state),
            ..anybody.clone()
        };
        let page = directory::search(&tx, tenant, &wanted, &From::Start, 50).unwrap();
        assert_eq!((page.entries.len(), page.after), (0, None));
    }
    directory::counts(&tx, tenant, &all).unwrap();

    let conn = bounded(&fixture, MAX_STEPS_OF_A_WALK);
    let tx = Tx::new(&conn, &known, at(0));
    let nobody = Wanted {
        prefix: "u",
        role: Some(RoleId(1)),
        ..anybody
    };
    let page = directory::search(&tx, tenant, &nobody, &From::Start, 50).unwrap();
    assert!(page.entries.is_empty() && page.after.is_some());
    // That a walk through all would have been noticed:
    conn.query_row("SELECT sum(length(display)) FROM resource", [], |_| Ok(()))
        .unwrap_err();
}

/// What a filter without an index finds, the index finds, made before or after the values.
#[test]
fn an_index_changes_nothing_but_the_way() {
    let fixture = fixture();
    let tenant = fixture.tenant;
    let acme = "urn:ietf:params:scim:schemas:extension:acme:2.0:User";
    let spelled = "urn:ietf:params:scim:schemas:extension:ACME:2.0:User";
    let insert = |name: &str, badge: Value| {
        fixture.insert(
            Kind::User,
            json!({ "userName": name, (spelled): { "Badge": badge } }),
        );
    };
    insert("ada", json!("B-1"));
    insert("bob", json!(["B-1"]));
    let declare = |matching: bool, case_exact: bool| {
        let declaration = Declaration {
            schema: acme.to_owned(),
            matching,
            ..declaration(json!({ "name": "badge", "type": "string", "caseExact": case_exact }))
        };
        fixture.store.write(at(0), move |tx| {
            attributes::write(tx, tenant, std::slice::from_ref(&declaration))?;
            attributes::adopt(tx, tenant, &declaration)
        })
    };
    let found = |filter: &str| {
        let filter = Filter::parse(filter).unwrap();
        let query = Query {
            kinds: &[Kind::User],
            filter: Some(&filter),
            sort_by: None,
            descending: false,
            start: Start::Offset(0),
            limit: 10,
        };
        let page = fixture
            .store
            .read(|snapshot| resources::search::<Document>(snapshot, tenant, &query));
        let names: Vec<Value> = (page.unwrap().resources.iter())
            .map(|stored| stored.document["userName"].clone())
            .collect();
        Value::from(names)
    };
    let indexed = || -> i64 {
        let count = "SELECT count(*) FROM resource_value WHERE attribute LIKE '%badge'";
        let conn = connection::open(&fixture.dir.path().join("rollcall.db")).unwrap();
        conn.query_row(count, [], |row| row.get(0)).unwrap()
    };
    // A list is no value of an attribute that has one: it is withheld.
    assert_eq!(declare(false, false).unwrap(), 1);
    insert("cleo", json!("b-2"));
    for (matching, case_exact, rows) in [
        (false, false, 0),
        (true, false, 2),
        (true, true, 2),
        (false, true, 0),
    ] {
        declare(matching, case_exact).unwrap();
        assert_eq!(indexed(), rows);
        let [same, other] = [json!(["ada"]), json!(["cleo"])];
        assert_eq!(found("badge eq \"B-1\""), same);
        let folded = if case_exact { json!([]) } else { other.clone() };
        assert_eq!(found("badge eq \"B-2\""), folded);
        assert_eq!(found("badge pr and not (badge eq \"B-1\")"), other);
        assert_eq!(
            found(&format!("{acme}:badge ne \"B-1\"")),
            json!(["bob", "cleo"])
        );
    }
}
