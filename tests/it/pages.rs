//! All settings pages at once: every link is followed, every form found, and what holds for one must hold for each.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use crate::browser::{Browser, encoded};
use crate::support::Server;
use crate::tenant::{Tenant, group, run, text, user};

/// What clients put into every text that they can, and no page may repeat as it is.
const MARKUP: &str = "\"><img src=x onerror=alert(1)>'{{7*7}}";

/// Most pages that are looked at.
const PAGES_MAX: usize = 150;

/// A form that a page has: where it goes, and its fields with one of its buttons.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Form {
    path: String,
    fields: Vec<(String, String)>,
}

/// A tenant with something of everything, every text of it spoilt by `mark`.
fn filled<'a>(server: &'a Server, name: &str, mark: &str) -> Tenant<'a> {
    let tenant = Tenant::create(server, name);
    let mut scim = tenant.client();
    let mut ids = vec![];
    for (at, role) in ["Admin", "Boss", "Member"].iter().enumerate() {
        let body = json!({
            "displayName": format!("Person {mark}"),
            "externalId": format!("x-{at}-{mark}"),
            "name": {"givenName": mark, "familyName": mark},
            "emails": [{"type": "work", "value": format!("{at}-{mark}@example.org")}],
            "roleName": format!("{role}{}", if at == 1 { mark } else { "" }),
            "urn:example:extension": {"note": mark},
        });
        ids.push(scim.create("/Users", &user(&format!("user-{at}-{mark}"), body)));
    }
    for at in 0..3 {
        let members = json!({"members": [{"value": ids[0], "display": mark}, {"value": ids[at]}]});
        let team = scim.create("/Groups", &group(&format!("Team {at} {mark}"), members));
        if at == 2 {
            scim.expect(204, "DELETE", &format!("/Groups/{team}"), None);
        } else {
            let key = [
                "token",
                "create",
                "--tenant",
                name,
                "--api",
                "--scope",
                "read,resources",
            ];
            let mut app = server.anyone().with_token(&run(server, &key));
            let resource = json!({"kind": mark, "name": mark, "data": {"note": mark}}).to_string();
            let path = format!("/api/v1/teams/{team}/resources");
            assert_eq!(
                app.request("POST", &path, &[], resource.as_bytes()).status,
                201
            );
        }
    }
    scim.expect(204, "DELETE", &format!("/Users/{}", ids[2]), None);
    let off = json!([{"op": "replace", "path": "active", "value": false}]);
    scim.patch(&format!("/Users/{}", ids[1]), off);
    // Refusals that quote the client.
    scim.call(
        "POST",
        "/Users",
        Some(&user(&format!("user-0-{mark}"), json!({}))),
    );
    let filter = crate::tenant::query_escape(&format!("{mark} eq 1"));
    scim.call("GET", &format!("/Users?filter={filter}"), None);
    for words in [
        vec!["role", "--tenant", name, "add", "Auditor"],
        vec!["role", "--tenant", name, "map", mark, "Auditor"],
        vec!["role", "--tenant", name, "map-group", mark, "Auditor"],
        vec!["token", "create", "--tenant", name, "--name", mark],
    ] {
        run(server, &words);
    }
    tenant
}

/// Every page that the menu leads to, and what is behind those, by path.
fn crawl(browser: &mut Browser) -> BTreeMap<String, String> {
    let mut pages = BTreeMap::new();
    let mut left = vec!["/settings".to_owned()];
    while let Some(path) = left.pop() {
        if pages.contains_key(&path) || pages.len() == PAGES_MAX {
            continue;
        }
        let answer = browser.get(&path);
        assert_eq!(answer.status, 200, "{path}: {}", browser.page);
        if answer.header("content-type") != Some("text/html; charset=utf-8") {
            continue;
        }
        let page = browser.page.clone();
        left.extend(links(&page));
        pages.insert(path, page);
    }
    pages
}

/// The settings pages that a page leads to, not past the second page of any list.
fn links(page: &str) -> BTreeSet<String> {
    page.split("href=\"")
        .skip(1)
        .filter_map(|rest| rest.split('"').next())
        .map(unescaped)
        .filter(|path| path.starts_with("/settings") || path.starts_with("/docs"))
        .map(|path| path.split('#').next().unwrap_or_default().to_owned())
        .collect()
}

/// What attributes escape, as it was.
fn unescaped(text: &str) -> String {
    [
        ("&#x2f;", "/"),
        ("&lt;", "<"),
        ("&gt;", ">"),
        ("&quot;", "\""),
        ("&#x27;", "'"),
        ("&amp;", "&"),
    ]
    .iter()
    .fold(text.to_owned(), |text, (from, to)| text.replace(from, to))
}

/// The forms that a page posts, once for each of their buttons.
fn forms(path: &str, page: &str) -> Vec<Form> {
    let mut found = vec![];
    for part in page.split("<form ").skip(1) {
        let form = part.split("</form>").next().unwrap_or_default();
        let (head, inner) = form.split_once('>').unwrap_or_default();
        if attribute(head, "method").as_deref() != Some("post") {
            continue;
        }
        let target = attribute(head, "action").unwrap_or_else(|| path.to_owned());
        let (mut fields, mut buttons) = (vec![], vec![]);
        for tag in inner.split('<').skip(1) {
            let (tag, _) = tag.split_once('>').unwrap_or((tag, ""));
            let Some(name) = attribute(tag, "name").filter(|name| name != "csrf") else {
                continue;
            };
            let value = attribute(tag, "value").filter(|value| !value.is_empty());
            let field = (name, value.unwrap_or_else(|| "x".to_owned()));
            match tag.split_whitespace().next() {
                Some("button") => buttons.push(field),
                Some("input" | "select" | "textarea") => fields.push(field),
                _ => {}
            }
        }
        let with = |button: Option<(String, String)>| Form {
            path: target.clone(),
            fields: fields.iter().cloned().chain(button).collect(),
        };
        if buttons.is_empty() {
            found.push(with(None));
        }
        found.extend(buttons.into_iter().map(|button| with(Some(button))));
    }
    found
}

fn attribute(tag: &str, name: &str) -> Option<String> {
    let (_, rest) = tag.split_once(&format!("{name}=\""))?;
    rest.split('"').next().map(unescaped)
}

/// What a tenant has been through.
fn events(server: &Server, tenant: &str) -> String {
    run(server, &["-o", "json", "events", "--tenant", tenant])
}

#[test]
fn what_clients_send_is_shown_as_text_on_every_page() {
    let server = Server::start();
    filled(&server, "acme", MARKUP);
    let mut browser = Browser::sign_in(&server, "acme");
    let pages = crawl(&mut browser);
    for prefix in [
        "/settings/people/",
        "/settings/teams/",
        "/settings/log/",
        "/docs/",
    ] {
        assert!(
            pages.keys().any(|path| path.starts_with(prefix)),
            "no {prefix}"
        );
    }
    let mut shown = 0;
    for (path, page) in &pages {
        assert!(
            !page.contains("<img src=x"),
            "{path} shows markup as it is:\n{page}"
        );
        assert!(!page.contains("'49"), "{path} runs what it shows:\n{page}");
        shown += usize::from(page.contains("onerror=alert"));
    }
    assert!(
        shown >= 8,
        "hardly any page shows what clients send: {shown}"
    );
}

#[test]
fn no_form_does_anything_without_its_pages_token() {
    let server = Server::start();
    filled(&server, "acme", "plain");
    let mut browser = Browser::sign_in(&server, "acme");
    let found: BTreeSet<Form> = crawl(&mut browser)
        .iter()
        .flat_map(|(path, page)| forms(path, page))
        .collect();
    assert!(found.len() > 20, "{found:?}");
    let before = events(&server, "acme");
    for form in &found {
        let fields: Vec<_> = form
            .fields
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect();
        for token in [None, Some("0".repeat(64))] {
            let mut fields = fields.clone();
            fields.extend(token.as_deref().map(|token| ("csrf", token)));
            let answer = browser.request("POST", &form.path, &encoded(&fields));
            assert_eq!(answer.status, 403, "{form:?}");
        }
    }
    assert_eq!(events(&server, "acme"), before);
}

#[test]
fn no_form_and_no_page_reaches_another_tenant() {
    let server = Server::start();
    filled(&server, "acme", "secret-of-acme");
    Tenant::create(&server, "other");
    let mut browser = Browser::sign_in(&server, "acme");
    let pages = crawl(&mut browser);
    let before = events(&server, "acme");
    let mut other = Browser::sign_in(&server, "other");
    for path in pages.keys() {
        other.get(path);
        assert!(!other.shows("secret-of-acme"), "{path} shows it");
    }
    let found: BTreeSet<Form> = pages
        .iter()
        .flat_map(|(path, page)| forms(path, page))
        .filter(|form| form.path != "/sign-out")
        .collect();
    for form in &found {
        other.get("/settings/accounts");
        if other.path != "/settings/accounts" {
            // One of the forms ended its session, or its tenant.
            if !run(&server, &["tenant", "list"]).contains("other") {
                run(&server, &["tenant", "create", "other"]);
            }
            other = Browser::sign_in(&server, "other");
            other.get("/settings/accounts");
        }
        let token = other.token();
        let mut fields: Vec<_> = form
            .fields
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect();
        fields.push(("csrf", &token));
        let answer = other.request("POST", &form.path, &encoded(&fields));
        assert!(answer.status < 500, "{form:?}: {answer:?}");
        assert_eq!(events(&server, "acme"), before, "{form:?}");
    }
    let list: Value = serde_json::from_str(&run(
        &server,
        &["-o", "json", "user", "list", "--tenant", "acme"],
    ))
    .unwrap();
    assert_eq!(list.as_array().map(Vec::len), Some(2), "{list}");
    assert!(text(&list[0]["userName"]).contains("secret-of-acme"));
}
