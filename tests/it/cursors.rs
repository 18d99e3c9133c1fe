//! Cursors over time (RFC 9865): restarts, other tenants, old ones, and walks while others write.

use std::collections::{BTreeMap, BTreeSet};
use std::thread;

use jiff::Timestamp;
use rollcall::scim::discovery::CURSOR_TIMEOUT_SECS;
use rollcall::scim::schema::Kind;
use rollcall::store::{Store, tenants};
use serde_json::{Value, json};

use crate::sorts::page;
use crate::support::Server;
use crate::tenant::{ScimClient, Tenant, group, text, user};

/// Follows the cursors of `search`, a path and query, forward to the end; the names on the way.
#[track_caller]
fn walk(client: &mut ScimClient, search: &str) -> Vec<String> {
    let (mut names, mut cursor) = (vec![], String::new());
    // More pages than any test here has.
    for _ in 0..10_000 {
        let page = client.get(&format!("{search}&cursor={cursor}"));
        let found = page["Resources"].as_array().unwrap().iter();
        names.extend(found.map(|resource| text(&resource["displayName"])));
        match &page["nextCursor"] {
            Value::Null => return names,
            next => cursor = text(next),
        }
    }
    panic!("{search} has no end");
}

#[test]
fn a_cursor_is_one_of_its_tenants_alone() {
    let server = Server::start();
    let [one, other] = ["one", "other"].map(|name| {
        let tenant = Tenant::create(&server, name);
        for n in 0..3 {
            let mut client = tenant.client();
            client.create("/Users", &user(&format!("{name}{n}"), json!({})));
        }
        tenant
    });
    let page = one.client().get("/Users?cursor&count=1");
    let path = format!("/Users?cursor={}&count=1", text(&page["nextCursor"]));
    assert_eq!(one.client().get(&path)["Resources"][0]["userName"], "one1");
    let refused = other.client().expect(400, "GET", &path, None);
    let forged = other
        .client()
        .expect(400, "GET", "/Users?cursor=00&count=1", None);
    assert_eq!(refused["scimType"], "invalidCursor");
    assert_eq!(refused, forged, "nothing tells that it is another's");
}

#[test]
fn a_walk_goes_on_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let (token, cursor) = {
        let server = Server::start_in(folder.path());
        let tenant = Tenant::create(&server, "one");
        let mut client = tenant.client();
        for n in 0..3 {
            client.create("/Users", &user(&format!("u{n}"), json!({})));
        }
        let page = client.get("/Users?cursor&count=2");
        (tenant.token.clone(), text(&page["nextCursor"]))
    };
    let server = Server::start_in(folder.path());
    let page = ScimClient::new(&server, &token).get(&format!("/Users?cursor={cursor}&count=2"));
    assert_eq!(page["Resources"][0]["userName"], "u2");
    assert_eq!(page["nextCursor"], Value::Null);
}

/// A letter more or less, or another one anywhere, and it is no cursor.
#[test]
fn every_changed_cursor_is_refused() {
    let server = Server::start();
    let tenant = Tenant::create(&server, "one");
    let mut client = tenant.client();
    for n in 0..3 {
        client.create("/Users", &user(&format!("u{n}"), json!({})));
    }
    let cursor = text(&client.get("/Users?cursor&count=1")["nextCursor"]);
    let unreserved = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    assert!(cursor.bytes().all(unreserved), "{cursor}");
    let mut changed: Vec<String> = (0..cursor.len())
        .map(|at| {
            let mut bytes = cursor.clone().into_bytes();
            bytes[at] = if bytes[at] == b'0' { b'1' } else { b'0' };
            String::from_utf8(bytes).unwrap()
        })
        .collect();
    changed.extend((1..cursor.len()).map(|length| cursor[..length].to_owned()));
    for cursor in changed {
        let refused = client.expect(400, "GET", &format!("/Users?cursor={cursor}&count=1"), None);
        assert_eq!(refused["scimType"], "invalidCursor", "{cursor}");
    }
}

#[test]
fn a_cursor_fits_into_a_url_whatever_the_list_is_sorted_by() {
    let server = Server::start();
    let tenant = Tenant::create(&server, "one");
    let mut client = tenant.client();
    for name in ["c", "a", "b"] {
        let title = format!("{name}{}", "é".repeat(20_000));
        let fields = json!({"displayName": name, "title": title});
        client.create("/Users", &user(name, fields));
    }
    assert_eq!(
        walk(&mut client, "/Users?sortBy=title&count=1"),
        ["a", "b", "c"]
    );
}

/// Clients make and delete users and groups while others walk.
#[test]
fn who_is_there_throughout_is_met_exactly_once_while_others_come_and_go() {
    const STAY: usize = 60;
    const COME_AND_GO: usize = 40;
    let server = Server::start();
    let tenant = Tenant::create(&server, "one");
    let mut client = tenant.client();
    let mut steady = BTreeSet::new();
    for n in 0..STAY {
        let name = format!("stays {:03}", n * 7 % STAY);
        match n % 3 {
            0 => client.create("/Groups", &group(&name, json!({}))),
            _ => client.create("/Users", &user(&name, json!({"displayName": name}))),
        };
        steady.insert(name);
    }
    let writer = |mut client: ScimClient, number: usize| {
        for n in 0..COME_AND_GO {
            let name = format!("{} {number} {n}", if n % 2 == 0 { "a" } else { "z" });
            let id = client.create("/Users", &user(&name, json!({"displayName": name})));
            if n % 3 > 0 {
                client.expect(204, "DELETE", &format!("/Users/{id}"), None);
            }
        }
    };
    let walker = |mut client: ScimClient, search: &str| {
        for _ in 0..6 {
            let names = walk(&mut client, search);
            let mut met = BTreeMap::new();
            for name in &names {
                *met.entry(name.clone()).or_insert(0) += 1;
            }
            assert!(met.values().all(|times| *times == 1), "{search}: {met:?}");
            let kept: BTreeSet<_> = met
                .into_keys()
                .filter(|name| steady.contains(name))
                .collect();
            assert_eq!(kept, steady, "{search}");
        }
    };
    thread::scope(|scope| {
        let (writer, walker) = (&writer, &walker);
        for number in 0..2 {
            let client = tenant.client();
            scope.spawn(move || writer(client, number));
        }
        for search in [
            "?count=3",
            "?count=7&sortBy=displayName",
            "?count=4&sortBy=displayName&sortOrder=descending&filter=displayName%20pr",
        ] {
            let client = tenant.client();
            scope.spawn(move || walker(client, search));
        }
    });
}

#[test]
fn a_cursor_lasts_as_long_as_advertised_and_each_page_gives_a_fresh_one() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).unwrap();
    let tenant = store
        .write(Timestamp::UNIX_EPOCH, |tx| {
            let tenant = tenants::create(tx, "one")?.unwrap().id;
            for n in 0..3 {
                let Value::Object(document) = json!({"userName": format!("u{n}")}) else {
                    unreachable!()
                };
                rollcall::store::resources::insert(tx, tenant, Kind::User, document)?;
            }
            Ok(tenant)
        })
        .unwrap();
    let search = |seconds: i64, cursor: &str| {
        let now = Timestamp::from_second(1_700_000_000 + seconds).unwrap();
        page(&store, tenant, now, &[("count", "1"), ("cursor", cursor)])
    };
    let first = text(&search(0, "").unwrap()["nextCursor"]);
    let last_moment = search(CURSOR_TIMEOUT_SECS, &first).unwrap();
    assert_eq!(last_moment["Resources"][0]["userName"], "u1");
    assert_eq!(
        search(CURSOR_TIMEOUT_SECS + 1, &first),
        Err("expiredCursor".to_owned())
    );
    let second = text(&last_moment["nextCursor"]);
    let later = search(2 * CURSOR_TIMEOUT_SECS, &second).unwrap();
    assert_eq!(later["Resources"][0]["userName"], "u2");
    // A clock that was set back expires nothing.
    assert!(search(-5, &first).is_ok());
}

/// Slashes at the end of an address say nothing.
#[test]
fn a_search_is_one_however_its_address_ends() {
    let server = Server::start();
    let tenant = Tenant::create(&server, "acme");
    let mut client = tenant.client();
    client.create("/Users", &user("ada", json!({})));
    let search = json!({"schemas": ["urn:ietf:params:scim:api:messages:2.0:SearchRequest"]});
    for path in [
        "/.search",
        "/.search/",
        "/Users/.search/",
        "/Users//.search",
        "/Users/%2Esearch",
    ] {
        let found = client.expect(200, "POST", path, Some(&search));
        assert_eq!(found["totalResults"], 1, "{path}");
    }
}
