//! The settings' pages of people, as a browser without JavaScript uses them.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::browser::Browser;
use crate::support::Server;
use crate::tenant::{ScimClient, Tenant, group, query_escape, run, user};

/// The ids that a page of people links to, in order.
fn listed(page: &str) -> Vec<String> {
    page.split("<a href=\"/settings/people/")
        .skip(1)
        .filter_map(|rest| rest.split('"').next())
        .map(str::to_owned)
        .collect()
}

/// Where a page's link of this relation leads.
fn link(page: &str, rel: &str) -> Option<String> {
    let (before, _) = page.split_once(&format!("\" rel=\"{rel}\""))?;
    let (_, href) = before.rsplit_once("href=\"")?;
    Some(href.replace("&amp;", "&").replace("&#x2f;", "/"))
}

#[track_caller]
fn found(browser: &mut Browser, query: &str) -> Vec<String> {
    browser.get(&format!("/settings/people?{query}"));
    listed(&browser.page)
}

#[test]
fn people_are_found_by_the_beginning_of_a_name_or_address_in_any_case_and_state() {
    let server = Server::start();
    let tenant = Tenant::create(&server, "acme");
    let mut client = tenant.client();
    let mut make = |name: &str, more: Value| client.create("/Users", &user(name, more));
    let ada = make(
        "ada@x.example",
        json!({"displayName": "Émilie Straße",
        "emails": [{"value": "Lovelace@mail.example"}, {"value": "ada@x.example"}], "roleName": "Admin"}),
    );
    let bob = make(
        "bob@x.example",
        json!({"displayName": "ADAM", "active": false}),
    );
    let eve = make(
        "eve@x.example",
        json!({"displayName": "Eve", "emails": [{"value": "ada.eve@x.example"}]}),
    );
    let team = client.create(
        "/Groups",
        &group("SRE", json!({"members": [{"value": ada}, {"value": bob}]})),
    );
    client.expect(204, "DELETE", &format!("/Users/{eve}"), None);
    let mut browser = Browser::sign_in(&server, "acme");
    for (query, who) in [
        ("q=", vec![&ada, &bob, &eve]),
        ("q=ADA", vec![&eve, &ada, &bob]),
        ("q=ada%40X", vec![&ada]),
        ("q=lovelace", vec![&ada]),
        ("q=%C3%A9MILIE%20STRASSE", vec![&ada]),
        ("q=e%CC%81milie", vec![&ada]),
        ("q=x.example", vec![]),
        ("q=ada&state=active", vec![&ada]),
        ("state=inactive", vec![&bob]),
        ("q=ada&state=archived", vec![&eve]),
        ("state=archived", vec![&eve]),
        ("role=Admin", vec![&ada]),
        ("role=Member&q=bob", vec![&bob]),
        ("role=Nobody", vec![]),
        ("team=sre", vec![&ada, &bob]),
        ("team=SRE&state=inactive", vec![&bob]),
        ("team=Nowhere", vec![]),
        ("q=%25", vec![]),
    ] {
        let mut found = found(&mut browser, query);
        // Where "ada@x" and "adam" lie is a matter of code points; here it is about who.
        found.sort();
        let mut who: Vec<String> = who.into_iter().cloned().collect();
        who.sort();
        assert_eq!(found, who, "{query}");
    }
    browser.get("/settings/people");
    for words in ["ADAM", "inactive", "archived", "SRE"] {
        browser.must_show(words);
    }
    browser.get("/settings/people?team=Nowhere");
    browser.must_show("There is no team called");
    browser.get(&format!("/settings/teams/{team}"));
    assert_eq!(listed(&browser.page), [ada, bob]);
}

#[test]
fn paging_forward_and_back_shows_each_of_250_people_once() {
    let server = Server::start();
    let tenant = Tenant::create(&server, "acme");
    let mut client = tenant.client();
    let mut members = vec![];
    for number in 0..250 {
        let more = json!({"displayName": format!("Person {}", number * 7 % 250),
            "emails": [{"value": format!("person.{number}@x.example")}, {"value": format!("p{number}@x.example")}]});
        let id = client.create("/Users", &user(&format!("person{number}"), more));
        members.push(json!({"value": id}));
    }
    let team = client.create("/Groups", &group("All", json!({"members": members})));
    let mut browser = Browser::sign_in(&server, "acme");
    for first in [
        "/settings/people".to_owned(),
        "/settings/people?q=PERSON".to_owned(),
        "/settings/people?q=p".to_owned(),
        "/settings/people?role=Member".to_owned(),
        "/settings/people?team=All&state=active".to_owned(),
        format!("/settings/teams/{team}"),
    ] {
        browser.get(&first);
        let mut pages = vec![listed(&browser.page)];
        assert_eq!(link(&browser.page, "prev"), None, "{first}");
        while let Some(next) = link(&browser.page, "next") {
            assert!(pages.len() < 10, "{first} goes round in circles");
            browser.get(&next);
            pages.push(listed(&browser.page));
        }
        let all: BTreeSet<&String> = pages.iter().flatten().collect();
        assert_eq!((pages.len(), all.len()), (5, 250), "{first}");
        assert_eq!(pages.iter().flatten().count(), 250, "{first}");
        for page in pages.iter().rev().skip(1) {
            browser.get(&link(&browser.page, "prev").expect("a way back"));
            assert_eq!(&listed(&browser.page), page, "{first}");
        }
        assert_eq!(link(&browser.page, "prev"), None, "{first}");
    }
}

#[test]
fn a_persons_page_tells_all_that_the_provider_said_and_why_they_have_their_role() {
    let server = Server::start();
    let tenant = Tenant::create(&server, "acme");
    let mut client = tenant.client();
    let extension = "urn:ietf:params:scim:schemas:extension:Contoso:2.0:User";
    let enterprise = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User";
    let id = client.create(
        "/Users",
        &user("ana@x.example", json!({"displayName": "Ana", "roleName": "Boss", "title": "Lead",
            "schemas": ["urn:ietf:params:scim:schemas:core:2.0:User", extension, enterprise],
            "name": {"givenName": "Ana Maria", "familyName": "Reis"},
            "phoneNumbers": [{"type": "work", "value": "+49 1"}, {"type": "mobile", "value": "+49 2"}],
            enterprise: {"department": "Research"}, extension: {"shoeSize": 41, "nested": {"deep": true}}})),
    );
    let team = client.create(
        "/Groups",
        &group("SRE", json!({"members": [{"value": id}]})),
    );
    let mut browser = Browser::sign_in(&server, "acme");
    browser.get(&format!("/settings/people/{id}"));
    for words in [
        "<h1>Ana</h1>",
        "ana@x.example",
        "from the provider",
        "Ana Maria",
        "Family name",
        "+49 2",
        "Research",
        "Enterprise user",
        "Shoe size",
        "41",
        "which no row maps to a role",
        "the default role is Member",
        "Not signed in.",
        "Joined SRE",
        "Created",
    ] {
        browser.must_show(words);
    }
    for link in [
        format!("/settings/teams/{team}"),
        format!("/settings/log?subject={id}"),
    ] {
        browser.must_show(&link);
    }
    client.patch(
        &format!("/Users/{id}"),
        json!([{"op": "replace", "path": "title", "value": "Head"}]),
    );
    client.patch(
        &format!("/Users/{id}"),
        json!([{"op": "replace", "path": "active", "value": false}]),
    );
    browser.get(&format!("/settings/people/{id}"));
    browser.must_show("Changed: title");
    browser.must_show("inactive</span> since");
}

#[test]
fn a_long_history_is_read_page_by_page() {
    let server = Server::start();
    let tenant = Tenant::create(&server, "acme");
    let mut client = tenant.client();
    let id = client.create("/Users", &user("ana", json!({})));
    for number in 0..45 {
        let value = format!("title {number}");
        client.patch(
            &format!("/Users/{id}"),
            json!([{"op": "replace", "path": "title", "value": value}]),
        );
    }
    let mut browser = Browser::sign_in(&server, "acme");
    browser.get(&format!("/settings/people/{id}"));
    let (mut changes, mut pages) = (0, 0);
    loop {
        changes += browser.page.matches("Changed: title").count();
        pages += 1;
        let earlier = browser
            .page
            .split_once("#history\">Earlier")
            .map(|(before, _)| before.to_owned());
        let Some(before) = earlier else { break };
        let (_, href) = before.rsplit_once("href=\"").unwrap();
        assert!(pages < 10);
        browser.get(&href.replace("&#x2f;", "/"));
    }
    assert_eq!((changes, pages), (45, 3));
    browser.must_show("Created");
}

#[test]
fn sessions_and_tokens_of_a_person_end_from_their_page() {
    let server = Server::start();
    let tenant = Tenant::create(&server, "acme");
    let id = tenant
        .client()
        .create("/Users", &user("ana", json!({"roleName": "Admin"})));
    let token = run(
        &server,
        &[
            "token", "create", "--tenant", "acme", "--api", "--for", "ana", "--name", "laptop",
        ],
    );
    let mut ana = Browser::sign_in_as(&server, "acme", "ana");
    let mut second = Browser::sign_in_as(&server, "acme", "ana");
    let mut browser = Browser::sign_in(&server, "acme");
    let page = format!("/settings/people/{id}");
    browser.get(&page);
    browser.must_show("laptop");
    let session = browser.value_of("session").expect("a session");
    browser.post(&page, &[("do", "end"), ("session", &session)]);
    browser.must_show("The session is ended.");
    let mut open = [&mut ana, &mut second].map(|one| one.request("GET", "/settings", "").status);
    open.sort_unstable();
    assert_eq!(open, [200, 303]);
    browser.post(&page, &[("do", "end-all")]);
    browser.must_show("One session is ended.");
    browser.must_show("Not signed in.");
    let wanted = browser.value_of("token").expect("a token");
    browser.post(&page, &[("do", "revoke"), ("token", &wanted)]);
    browser.must_show("The token is revoked.");
    let answer = server.anyone().with_token(&token).get("/api/v1/users");
    assert_eq!(answer.status, 401);
}

#[test]
fn a_removed_person_comes_back_or_is_purged_by_name() {
    let server = Server::start();
    let tenant = Tenant::create(&server, "acme");
    let mut client = tenant.client();
    let id = client.create("/Users", &user("ana@x.example", json!({})));
    let page = format!("/settings/people/{id}");
    client.expect(204, "DELETE", &format!("/Users/{id}"), None);
    let mut browser = Browser::sign_in(&server, "acme");
    browser.get(&page);
    browser.must_show("It is purged in 30 days.");
    browser.post(&page, &[("do", "restore")]);
    browser.must_show("ana@x.example is back, as before.");
    client.get(&format!("/Users/{id}"));
    client.expect(204, "DELETE", &format!("/Users/{id}"), None);
    browser.get(&page);
    browser.post(&page, &[("do", "purge"), ("name", "ana")]);
    browser.must_show("Nothing was purged");
    browser.post(&page, &[("do", "purge"), ("name", "ana@x.example")]);
    browser.must_show("ana@x.example is gone for good.");
    assert_eq!(browser.get(&page).status, 404);
}

#[test]
fn markup_from_the_provider_is_shown_and_never_works() {
    let server = Server::start();
    let tenant = Tenant::create(&server, "acme");
    let mut client = tenant.client();
    let bad = |at: &str| format!("<img src=x onerror=alert('{at}')>\"'");
    let extension = "urn:ietf:params:scim:schemas:extension:<b>:2.0:User";
    let id = client.create(
        "/Users",
        &user(&bad("userName"), json!({"displayName": bad("displayName"), "title": bad("title"), "roleName": bad("role"),
            "schemas": ["urn:ietf:params:scim:schemas:core:2.0:User", extension],
            "emails": [{"value": bad("email"), "type": bad("type")}], extension: {"<i>name": bad("extension")}})),
    );
    let team = client.create(
        "/Groups",
        &group(
            &bad("team"),
            json!({"externalId": bad("external"), "members": [{"value": id}]}),
        ),
    );
    let mut browser = Browser::sign_in(&server, "acme");
    let check = |browser: &mut Browser, path: &str| {
        browser.get(path);
        for tag in ["<img", "<b>", "<i>"] {
            assert!(
                !browser.page.contains(tag),
                "{path} lets {tag} through: {}",
                browser.page
            );
        }
        browser.must_show("&lt;img");
    };
    let all = |browser: &mut Browser| {
        for path in [
            format!("/settings/people/{id}"),
            format!("/settings/people?q={}", query_escape("<img")),
            format!("/settings/people?team={}", query_escape(&bad("team"))),
            format!("/settings/teams/{team}"),
        ] {
            check(browser, &path);
        }
    };
    all(&mut browser);
    check(&mut browser, "/settings/teams");
    check(
        &mut browser,
        &format!(
            "/settings/people?team={}",
            query_escape("<img no such team")
        ),
    );
    client.expect(204, "DELETE", &format!("/Groups/{team}"), None);
    client.expect(204, "DELETE", &format!("/Users/{id}"), None);
    check(&mut browser, "/settings/teams?show=archived");
    check(&mut browser, &format!("/settings/teams/{team}"));
    check(&mut browser, &format!("/settings/people/{id}"));
    browser.post(
        &format!("/settings/people/{id}"),
        &[("do", "purge"), ("name", "<img>")],
    );
    assert!(!browser.page.contains("<img"));
    browser.must_show("flash failed");
}

#[test]
fn another_tenants_people_are_not_there() {
    let server = Server::start();
    let (ours, theirs) = (
        Tenant::create(&server, "acme"),
        Tenant::create(&server, "other"),
    );
    let mut client: ScimClient = theirs.client();
    let live = client.create("/Users", &user("secret", json!({"displayName": "secret"})));
    let gone = client.create("/Users", &user("secret-too", json!({})));
    client.create(
        "/Groups",
        &group("Secrets", json!({"members": [{"value": live}]})),
    );
    client.expect(204, "DELETE", &format!("/Users/{gone}"), None);
    run(
        &server,
        &[
            "token", "create", "--tenant", "other", "--api", "--for", "secret",
        ],
    );
    let mut victim = Browser::sign_in_as(&server, "other", "secret");
    let own = ours.client().create("/Users", &user("own", json!({})));
    let before = run(&server, &["events", "--tenant", "other", "-o", "json"]);

    let mut browser = Browser::sign_in(&server, "acme");
    for id in [&live, &gone] {
        let page = format!("/settings/people/{id}");
        let answer = browser.get(&page);
        assert_eq!(answer.status, 404);
        assert!(!answer.text().contains("secret"));
        for fields in [
            &[("do", "restore")][..],
            &[("do", "purge"), ("name", "secret-too")],
            &[("do", "end"), ("session", "1")],
            &[("do", "end-all")],
            &[("do", "revoke"), ("token", "1")],
        ] {
            browser.get("/settings/teams");
            assert_eq!(browser.post(&page, fields).status, 404, "{fields:?}");
        }
    }
    // Numbers of theirs in forms of our own person.
    let page = format!("/settings/people/{own}");
    for number in 1..10 {
        let number = number.to_string();
        for fields in [
            [("do", "end"), ("session", &*number)],
            [("do", "revoke"), ("token", &*number)],
        ] {
            browser.get(&page);
            assert_eq!(browser.post(&page, &fields).status, 404, "{fields:?}");
        }
    }
    for query in ["", "q=secret", "team=Secrets", "state=archived"] {
        browser.get(&format!("/settings/people?{query}"));
        assert!(!browser.page.contains("secret<"), "{query}");
    }
    assert_ne!(
        victim.request("GET", "/me", "").status,
        303,
        "the session lives"
    );
    assert_eq!(
        run(&server, &["events", "--tenant", "other", "-o", "json"]),
        before
    );
}
