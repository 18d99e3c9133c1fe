//! The page of events, as a browser without JavaScript sees it.

use std::path::Path;

use rollcall::store::events::{KINDS, MOST_LOOKED_AT};
use serde_json::json;

use crate::browser::{Browser, encoded};
use crate::support::Server;
use crate::tenant::{Tenant, group, run, user};

const HERE: &str = "/settings/events";

#[test]
fn each_event_is_told_in_words_with_who_did_it() {
    let server = Server::start();
    run(&server, &["tenant", "create", "contoso"]);
    let token = run(
        &server,
        &["token", "create", "--tenant", "contoso", "--name", "Entra"],
    );
    let mut client = crate::tenant::ScimClient::new(&server, &token);
    let ana = client.create("/Users", &user("ana", json!({ "roleName": "Team lead" })));
    let team = client.create(
        "/Groups",
        &group("SRE", json!({ "members": [{ "value": ana }] })),
    );
    let title = json!([{ "op": "Replace", "path": "title", "value": "Chief" }]);
    client.patch(&format!("/Users/{ana}"), title);
    run(
        &server,
        &["role", "--tenant", "contoso", "map", "Chef", "Admin"],
    );
    run(
        &server,
        &["tenant", "set", "contoso", "--retention-days", "7"],
    );
    let mut browser = Browser::sign_in(&server, "contoso");
    browser.get(HERE);
    let person = format!("<a href=\"/settings/people/{ana}\">ana</a>");
    let place = format!("<a href=\"/settings/teams/{team}\">SRE</a>");
    for sentence in [
        format!("The client “Entra” created user {person}"),
        format!("The client “Entra” gave {person} the role Team lead"),
        format!("The client “Entra” added {person} to team {place}"),
        format!("The client “Entra” changed title of user {person}"),
        "The operator let the roleName &quot;Chef&quot; give the role Admin".to_owned(),
        "The operator changed the setting retention_days".to_owned(),
        "before: <code>30</code><br>after: <code>7</code>".to_owned(),
        "The operator made the token “Entra”".to_owned(),
        "The local account admin-0@example.org signed in by link".to_owned(),
        "after: <code>&quot;Chief&quot;</code>".to_owned(),
    ] {
        browser.must_show(&sentence);
    }
    browser.must_show("/api/v1/events?after=NUMBER");

    for (query, there, not) in [
        ("kind=user.changed", "changed title", "created user"),
        ("kind=user", "created user", "added <a"),
        ("about=ANA", "added <a", "created team"),
        ("about=sre&kind=member", "added <a", "created team"),
        ("about=Chef", "give the role Admin", "created user"),
    ] {
        browser.get(&format!("{HERE}?{query}"));
        assert!(
            browser.shows(there) && !browser.shows(not),
            "{query}: {}",
            browser.page
        );
    }
    browser.get(&format!("{HERE}?kind=nothing"));
    browser.must_show("No event is like that");
}

#[test]
fn a_frequent_kind_is_sought_among_so_many_events_at_a_time() {
    let server = Server::start();
    let tenant = Tenant::create(&server, "contoso");
    tenant.client().create("/Users", &user("ana", json!({})));
    let conn = rusqlite::Connection::open(server.data().join("rollcall.db")).unwrap();
    let tenant = "SELECT id FROM tenant WHERE name = 'contoso'";
    conn.execute_batch(&format!(
        "WITH RECURSIVE number (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM number WHERE n < {MOST_LOOKED_AT})
         INSERT INTO event (seq, tenant, at, actor, kind, subject) SELECT 1000 + n, ({tenant}), 0, 'x', 'user.changed', 'x' FROM number"
    ))
    .unwrap();
    let mut browser = Browser::sign_in(&server, "contoso");
    browser.get(&format!("{HERE}?kind=user.created"));
    browser.must_show("None of the events that were looked at is like that.");
    let further = browser
        .page
        .split("href=\"")
        .find(|part| part.contains("Look further back"));
    let further = further
        .unwrap()
        .split('"')
        .next()
        .unwrap()
        .replace("&amp;", "&");
    browser.get(&format!("{HERE}{further}"));
    browser.must_show(" created user ");
}

#[test]
fn pages_go_back_to_the_first_event_without_a_gap() {
    let server = Server::start();
    let mut client = Tenant::create(&server, "contoso").client();
    for number in 0..60 {
        client.create("/Users", &user(&format!("u{number}"), json!({})));
    }
    let mut browser = Browser::sign_in(&server, "contoso");
    for (filter, least) in [("kind=&about=", 120), ("kind=user.created&about=", 60)] {
        let mut seen: Vec<i64> = Vec::new();
        let mut query = filter.to_owned();
        for _ in 0..10 {
            browser.get(&format!("{HERE}?{query}"));
            let numbers = browser.page.split("<tr><td>").skip(1);
            seen.extend(numbers.map(|row| row.split('<').next().unwrap().parse::<i64>().unwrap()));
            let Some((before, _)) = browser.page.split_once("\">Older events") else {
                break;
            };
            let (_, address) = before.rsplit_once("href=\"?").unwrap();
            query = address.replace("&amp;", "&");
        }
        assert!(seen.len() >= least, "{filter}: {}", seen.len());
        assert!(seen.is_sorted_by(|newer, older| newer > older), "{seen:?}");
    }
}

#[test]
fn other_tenants_events_are_not_there_and_markup_is_text() {
    let server = Server::start();
    let mut theirs = Tenant::create(&server, "theirs").client();
    let mallory = theirs.create("/Users", &user("mallory", json!({})));
    let mut ours = Tenant::create(&server, "ours").client();
    let markup = "<s>x</s>";
    let more = json!({ "roleName": markup, "displayName": markup });
    let ana = ours.create("/Users", &user(markup, more));
    ours.create(
        "/Groups",
        &group(markup, json!({ "members": [{ "value": ana }] })),
    );
    run(
        &server,
        &["role", "--tenant", "ours", "map", markup, "Admin"],
    );
    let mut browser = Browser::sign_in(&server, "ours");
    for query in [
        "",
        &encoded(&[("about", markup)]),
        "kind=role",
        "kind=member",
    ] {
        browser.get(&format!("{HERE}?{query}"));
        browser.must_show("&lt;s&gt;x&lt;&#x2f;s&gt;");
        assert!(
            !browser.shows("<s>") && !browser.shows("mallory"),
            "{}",
            browser.page
        );
    }
    for about in ["mallory", &mallory] {
        browser.get(&format!("{HERE}?about={about}"));
        browser.must_show("No event is like that");
    }
}

/// The filter offers what can happen, so a new kind of event belongs in the list.
#[test]
fn the_list_of_kinds_is_complete() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut missing = Vec::new();
    for folder in ["manage", "provision"] {
        for file in std::fs::read_dir(root.join(folder)).unwrap() {
            let text = std::fs::read_to_string(file.unwrap().path()).unwrap();
            let code = text.split("#[cfg(test)]").next().unwrap();
            let literals = code.split('"').skip(1).step_by(2);
            // What the log hides is named by attribute paths.
            let literals = literals.filter(|literal| !literal.ends_with(".value"));
            let kinds = literals.filter(|literal| {
                let word = |part: &str| {
                    !part.is_empty()
                        && part
                            .bytes()
                            .all(|byte| byte.is_ascii_lowercase() || byte == b'_')
                };
                literal
                    .split_once('.')
                    .is_some_and(|(noun, verb)| word(noun) && word(verb))
            });
            missing.extend(
                kinds
                    .filter(|kind| !KINDS.contains(kind))
                    .map(str::to_owned),
            );
        }
    }
    assert!(
        missing.is_empty(),
        "store::events::KINDS has no {missing:?}"
    );
    assert!(KINDS.is_sorted());
}
