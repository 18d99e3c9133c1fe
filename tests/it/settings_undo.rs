//! The page of undo, as a browser without JavaScript sees it.

use serde_json::json;

use crate::browser::Browser;
use crate::support::Server;
use crate::tenant::{ScimClient, Tenant, group, run, user};

const HERE: &str = "/settings/undo";

/// A tenant's users and the team that all of them are in.
fn fill(client: &mut ScimClient, users: usize) -> (Vec<String>, String) {
    let ids: Vec<String> = (0..users)
        .map(|number| client.create("/Users", &user(&format!("user{number}"), json!({}))))
        .collect();
    let members: Vec<_> = ids.iter().map(|id| json!({ "value": id })).collect();
    let team = client.create(
        "/Groups",
        &group("Everybody", json!({ "members": members })),
    );
    (ids, team)
}

/// Sends the form of the list that the page shows.
#[track_caller]
fn bring_back(browser: &mut Browser) {
    let at = browser.value_of("at").expect("a time");
    let shown = browser.value_of("shown").expect("a fingerprint");
    browser.post(HERE, &[("do", "undo"), ("at", &at), ("shown", &shown)]);
}

#[test]
fn nine_of_ten_who_were_removed_come_back_as_the_list_said() {
    let server = Server::start();
    let tenant = Tenant::create(&server, "contoso");
    let mut client = tenant.client();
    let (ids, team) = fill(&mut client, 200);
    let before = client.all("/Users").len();
    for id in &ids[..150] {
        client.expect(204, "DELETE", &format!("/Users/{id}"), None);
    }
    let inactive = json!([{ "op": "Replace", "path": "active", "value": "False" }]);
    for id in &ids[150..180] {
        client.patch(&format!("/Users/{id}"), inactive.clone());
    }
    let leave = json!([{ "op": "Remove", "path": "members", "value": [{ "value": ids[190] }] }]);
    client.patch(&format!("/Groups/{team}"), leave);

    let mut browser = Browser::sign_in(&server, "contoso");
    browser.get(HERE);
    browser.must_show("Removals were unusual");
    browser.must_show("21 users had been removed within an hour");
    assert!(
        !browser.shows("Would come back"),
        "nothing is listed unasked"
    );
    browser.get(&format!("{HERE}?since=1h"));
    let said = "180 users and 1 membership";
    browser.must_show(&format!("Would come back: <strong>{said}</strong>"));
    assert_eq!(browser.page.matches("<td>restore user user").count(), 150);
    assert_eq!(browser.page.matches("<td>activate user user").count(), 30);
    browser.must_show("add user user190 to team Everybody");
    assert_eq!(client.all("/Users").len(), 50, "a dry run changes nothing");

    bring_back(&mut browser);
    browser.must_show(&format!("Brought back: {said}."));
    assert_eq!(client.all("/Users").len(), before);
    let everybody = client.get(&format!("/Groups/{team}"));
    assert_eq!(everybody["members"].as_array().unwrap().len(), 200);
    assert_eq!(
        client.find("/Users", "active eq false"),
        Vec::<String>::new()
    );
    browser.get(&format!("{HERE}?since=1h"));
    browser.must_show("Nothing that was removed since then is still gone.");

    browser.post(HERE, &[("do", "usual")]);
    browser.must_show("the removals are as they should be");
    assert!(!browser.shows("Removals were unusual"));
}

#[test]
fn what_is_not_the_list_any_more_is_not_done() {
    let server = Server::start();
    let mut client = Tenant::create(&server, "contoso").client();
    let (ids, _) = fill(&mut client, 3);
    client.expect(204, "DELETE", &format!("/Users/{}", ids[0]), None);
    let mut browser = Browser::sign_in(&server, "contoso");
    browser.get(&format!("{HERE}?since=3h"));
    browser.must_show("<strong>1 user</strong>");
    client.expect(204, "DELETE", &format!("/Users/{}", ids[1]), None);
    bring_back(&mut browser);
    browser.must_show("Nothing was brought back: more was removed");
    browser.must_show("<strong>2 users</strong>");
    assert_eq!(client.all("/Users").len(), 1);
    bring_back(&mut browser);
    browser.must_show("Brought back: 2 users.");
    assert_eq!(client.all("/Users").len(), 3);
}

#[test]
fn hindrances_are_said_times_are_in_utc_and_markup_is_text() {
    let server = Server::start();
    let mut client = Tenant::create(&server, "contoso").client();
    let markup = "<i>\"SRE\"</i>";
    let team = client.create("/Groups", &group(markup, json!({})));
    client.expect(204, "DELETE", &format!("/Groups/{team}"), None);
    run(
        &server,
        &["tenant", "set", "contoso", "--returning-team", "fresh"],
    );
    client.create("/Groups", &group(markup, json!({})));
    let mut browser = Browser::sign_in(&server, "contoso");
    browser.get(&format!("{HERE}?since=at&at=2020-01-01T00:00"));
    browser.must_show("title=\"2020-01-01 00:00:00 UTC\"");
    browser.must_show("1 cannot, for the reason beside them.");
    browser.must_show("belongs to another team by now");
    assert!(
        !browser.shows("<i>") && !browser.shows("name=\"shown\""),
        "{}",
        browser.page
    );
    browser.get(&format!("{HERE}?since=at&at=yesterday"));
    browser.must_show("write a date and time in UTC");
    browser.get(&format!("{HERE}?since=at&at=2999-01-01T00:00"));
    browser.must_show("Nothing that was removed since then");
}

#[test]
fn another_tenants_removals_stay_where_they_are() {
    let server = Server::start();
    let mut theirs = Tenant::create(&server, "theirs").client();
    Tenant::create(&server, "ours");
    let (ids, _) = fill(&mut theirs, 2);
    theirs.expect(204, "DELETE", &format!("/Users/{}", ids[0]), None);
    let mut browser = Browser::sign_in(&server, "theirs");
    browser.get(&format!("{HERE}?since=1h"));
    let (at, shown) = (
        browser.value_of("at").unwrap(),
        browser.value_of("shown").unwrap(),
    );
    let mut browser = Browser::sign_in(&server, "ours");
    browser.get(&format!("{HERE}?since=1h"));
    assert!(!browser.shows("user0"));
    browser.post(HERE, &[("do", "undo"), ("at", &at), ("shown", &shown)]);
    browser.must_show("Nothing was brought back");
    assert_eq!(theirs.all("/Users").len(), 1);
}
