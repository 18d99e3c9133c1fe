//! The API for apps: the product's view of a tenant, team resources, the views of the file.

use std::collections::BTreeSet;

use rusqlite::{Connection, OpenFlags};
use serde_json::{Value, json};

use crate::support::{Answer, Client, Server};
use crate::tenant::{ScimClient, Tenant, group, query_escape, run, text, user};

/// A server with a tenant, its provider and an app of its own.
pub struct World {
    pub server: Server,
    pub scim: ScimClient,
    pub app: App,
}

pub fn world() -> World {
    let server = Server::start();
    let tenant = Tenant::create(&server, "acme");
    let (scim, app) = (tenant.client(), App::of(&server, "acme", "read,resources"));
    World { server, scim, app }
}

/// A connection with an API token. Paths are relative to `/api/v1`.
pub struct App {
    pub connection: Client,
    pub token: String,
}

impl App {
    #[track_caller]
    pub fn of(server: &Server, tenant: &str, scopes: &str) -> App {
        let token = run(
            server,
            &[
                "token", "create", "--tenant", tenant, "--api", "--scope", scopes,
            ],
        );
        App {
            connection: server.anyone().with_token(&token),
            token,
        }
    }

    pub fn send(
        &mut self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Answer {
        let path = format!("/api/v1{path}");
        self.connection
            .request(method, &path, headers, body.as_bytes())
    }

    #[track_caller]
    pub fn expect(&mut self, status: u16, method: &str, path: &str, body: &Value) -> Value {
        let body = match body {
            Value::Null => String::new(),
            body => body.to_string(),
        };
        let answer = self.send(method, path, &[], &body);
        assert_eq!(answer.status, status, "{method} {path}: {answer:?}");
        if status >= 400 {
            let error = &answer.json()["error"];
            assert_eq!(error["status"], json!(status), "{answer:?}");
            assert_eq!(error["requestId"].as_str(), answer.header("X-Request-Id"));
            assert_eq!(answer.header("Content-Type"), Some("application/json"));
        }
        match answer.body.is_empty() {
            true => Value::Null,
            false => answer.json(),
        }
    }

    #[track_caller]
    pub fn get(&mut self, path: &str) -> Value {
        self.expect(200, "GET", path, &Value::Null)
    }

    /// The values of `key` of all items, read page by page.
    #[track_caller]
    pub fn walk(&mut self, path: &str, limit: usize, key: &str) -> Vec<String> {
        let (mut found, mut cursor) = (Vec::new(), String::new());
        let and = if path.contains('?') { '&' } else { '?' };
        loop {
            let page = self.get(&format!("{path}{and}limit={limit}{cursor}"));
            let items = page["items"].as_array().unwrap();
            assert!(items.len() <= limit);
            found.extend(items.iter().map(|item| text(&item[key])));
            match &page["nextCursor"] {
                Value::Null => return found,
                next => cursor = format!("&cursor={}", text(next)),
            }
        }
    }
}

#[test]
fn an_app_sees_people_and_teams() {
    let World {
        server: _server,
        mut scim,
        mut app,
    } = world();
    let ana = scim.create(
        "/Users",
        &user(
            "Ana@contoso.example",
            json!({"displayName": "Ana Gil", "name": {"givenName": "Ana", "familyName": "Gil"}, "externalId": "x-1",
                   "emails": [{"type": "home", "value": "a@home.example"}, {"type": "work", "value": "ana@contoso.example"}]}),
        ),
    );
    let team = scim.create(
        "/Groups",
        &group(
            "SRE",
            json!({"externalId": "g-1", "members": [{"value": ana}]}),
        ),
    );
    let shown = app.get(&format!("/users/{ana}"));
    for (key, value) in [
        ("id", json!(ana)),
        ("userName", json!("Ana@contoso.example")),
        ("displayName", json!("Ana Gil")),
        ("givenName", json!("Ana")),
        ("familyName", json!("Gil")),
        ("email", json!("ana@contoso.example")),
        ("externalId", json!("x-1")),
        (
            "teams",
            json!([{"id": team, "name": "SRE", "direct": true}]),
        ),
    ] {
        assert_eq!(shown[key], value, "{key}");
    }
    assert_eq!(app.get("/whois?userName=ANA@contoso.example"), shown);
    assert_eq!(app.get("/users")["items"], json!([shown]));
    assert_eq!(
        app.get(&format!("/teams/{team}/people"))["items"],
        json!([shown])
    );
    let team_shown = app.get(&format!("/teams/{team}"));
    let expected =
        json!({"id": team, "name": "SRE", "externalId": "g-1", "people": 1, "resources": 0});
    assert_eq!(team_shown, expected);
    assert_eq!(app.get("/teams")["items"], json!([expected]));
    assert_eq!(
        app.get(&format!("/users/{ana}/teams"))["items"],
        json!([expected])
    );
    for (path, status) in [
        ("/users/nobody", 404),
        ("/teams/none/people", 404),
        ("/users/nobody/teams", 404),
        ("/whois?userName=nobody", 404),
        ("/whois", 400),
        ("/nothing", 404),
        ("/users?limit=0", 400),
        ("/users?limit=1001", 400),
        ("/users?cursor=%3F", 400),
        ("/users?filter=userName", 400),
        ("/users?filter=colour+eq+1", 400),
    ] {
        app.expect(status, "GET", path, &Value::Null);
    }
    app.expect(405, "POST", "/users", &json!({}));
}

#[test]
fn lists_are_walked_page_by_page_and_filtered() {
    let World {
        server: _server,
        mut scim,
        mut app,
    } = world();
    let mut ids = Vec::new();
    for number in 0..23 {
        let more = json!({"active": number % 4 != 0, "title": if number % 2 == 0 { "even" } else { "odd" }});
        ids.push(scim.create("/Users", &user(&format!("u{number}"), more)));
    }
    let members: Vec<Value> = ids.iter().map(|id| json!({"value": id})).collect();
    let team = scim.create("/Groups", &group("All", json!({"members": members})));
    let active: Vec<String> = (0..23)
        .filter(|n| n % 4 != 0)
        .map(|n| format!("u{n}"))
        .collect();
    for limit in [1, 5, 17, 18, 1000] {
        assert_eq!(app.walk("/users", limit, "userName"), active);
        assert_eq!(
            app.walk(&format!("/teams/{team}/people"), limit, "userName"),
            active
        );
    }
    let even = query_escape("title eq \"even\"");
    let expected: Vec<String> = (0..23)
        .filter(|n| n % 4 == 2)
        .map(|n| format!("u{n}"))
        .collect();
    assert_eq!(
        app.walk(&format!("/users?filter={even}"), 2, "userName"),
        expected
    );
    assert_eq!(
        app.walk(
            &format!("/teams/{team}/people?filter={even}"),
            2,
            "userName"
        ),
        expected
    );
    let name = query_escape("displayName eq \"all\"");
    assert_eq!(
        app.walk(&format!("/teams?filter={name}"), 2, "name"),
        ["All"]
    );
}

#[test]
fn deactivation_hides_a_person_everywhere_at_once_and_activation_brings_it_back() {
    let World {
        server,
        mut scim,
        mut app,
    } = world();
    let ana = scim.create("/Users", &user("ana", json!({})));
    scim.create("/Users", &user("ben", json!({})));
    let team = scim.create(
        "/Groups",
        &group("SRE", json!({"members": [{"value": ana}]})),
    );
    let member = query_escape(&format!("members eq \"{ana}\""));
    let present = query_escape("members pr");
    let mut seen = || {
        let person = app.send("GET", &format!("/users/{ana}"), &[], "").status == 200;
        let by_name = app.send("GET", "/whois?userName=ana", &[], "").status == 200;
        let teams = app
            .send("GET", &format!("/users/{ana}/teams"), &[], "")
            .status
            == 200;
        let views = view(
            &server,
            "SELECT user_name FROM v_user WHERE user_name = 'ana'",
        )
        .len()
            + view(&server, "SELECT user_name FROM v_team_member").len();
        json!([
            person,
            by_name,
            teams,
            app.walk("/users", 1, "userName")
                .contains(&"ana".to_owned()),
            app.walk(&format!("/teams/{team}/people"), 1, "userName")
                .len(),
            app.walk(&format!("/teams?filter={member}"), 1, "name")
                .len(),
            app.walk(&format!("/teams?filter={present}"), 1, "name")
                .len(),
            app.get(&format!("/teams/{team}"))["people"],
            views,
        ])
    };
    let (there, gone) = (
        json!([true, true, true, true, 1, 1, 1, 1, 2]),
        json!([false, false, false, false, 0, 0, 0, 0, 0]),
    );
    assert_eq!(seen(), there);
    for (active, expected) in [(json!("False"), &gone), (json!(true), &there)] {
        let operations = json!([{"op": "replace", "path": "active", "value": active}]);
        scim.patch(&format!("/Users/{ana}"), operations);
        assert_eq!(&seen(), expected, "active {active}");
    }
}

#[test]
fn entity_tags_change_with_what_is_shown() {
    let World {
        server: _server,
        mut scim,
        mut app,
    } = world();
    let ana = scim.create("/Users", &user("ana", json!({})));
    let team = scim.create("/Groups", &group("SRE", json!({})));
    let path = format!("/teams/{team}");
    let tag = app
        .send("GET", &path, &[], "")
        .header("ETag")
        .unwrap()
        .to_owned();
    let again = app.send("GET", &path, &[("If-None-Match", &tag)], "");
    assert_eq!(
        (again.status, again.header("ETag")),
        (304, Some(tag.as_str()))
    );
    scim.patch(
        &format!("/Groups/{team}"),
        json!([{"op": "add", "path": "members", "value": [{"value": ana}]}]),
    );
    assert_eq!(
        app.send("GET", &path, &[("If-None-Match", &tag)], "")
            .status,
        200
    );
}

#[test]
fn tokens_open_what_their_scopes_say_and_their_tenant_alone() {
    let World {
        server,
        mut scim,
        mut app,
    } = world();
    let ana = scim.create("/Users", &user("ana", json!({})));
    let team = scim.create(
        "/Groups",
        &group("SRE", json!({"members": [{"value": ana}]})),
    );
    let registered = format!("/teams/{team}/resources");
    let body = json!({"kind": "monitor", "name": "uptime"});
    let id = text(&app.expect(201, "POST", &registered, &body)["id"]);
    let one = format!("/resources/{id}");

    let mut reader = App::of(&server, "acme", "read");
    reader.get("/users");
    reader.get(&registered);
    reader.expect(403, "POST", &registered, &body);
    reader.expect(403, "PUT", &one, &body);
    reader.expect(403, "DELETE", &one, &Value::Null);
    let mut registrar = App::of(&server, "acme", "resources");
    registrar.get(&one);
    for path in [
        "/users",
        "/teams",
        "/events",
        "/whois?userName=ana",
        &registered,
    ] {
        registrar.expect(403, "GET", path, &Value::Null);
    }

    Tenant::create(&server, "other");
    let mut stranger = App::of(&server, "other", "read,resources");
    assert_eq!(stranger.get("/users")["items"], json!([]));
    assert_eq!(stranger.get("/teams")["items"], json!([]));
    let feed = stranger.get("/events");
    let kinds: BTreeSet<String> = feed["events"]
        .as_array()
        .unwrap()
        .iter()
        .map(|event| text(&event["kind"]))
        .collect();
    assert_eq!(
        kinds,
        BTreeSet::from(["tenant.created".to_owned(), "token.created".to_owned()])
    );
    for path in [
        &format!("/users/{ana}"),
        &format!("/teams/{team}"),
        &format!("/teams/{team}/people"),
        &registered,
        &one,
        "/whois?userName=ana",
    ] {
        stranger.expect(404, "GET", path, &Value::Null);
    }
    stranger.expect(404, "POST", &registered, &body);
    stranger.expect(404, "PUT", &one, &body);
    stranger.expect(404, "DELETE", &one, &Value::Null);

    // Only the other kind of token, none, or a revoked one.
    let scim_token = run(&server, &["token", "create", "--tenant", "acme"]);
    for token in ["", "rca_guess", &scim_token] {
        let answer = server.anyone().with_token(token).get("/api/v1/users");
        assert_eq!(answer.status, 401, "{token}: {answer:?}");
        assert!(answer.header("WWW-Authenticate").is_some());
    }
    let listed = run(
        &server,
        &["-o", "json", "token", "list", "--tenant", "acme"],
    );
    let listed: Value = serde_json::from_str(&listed).unwrap();
    let prefix = &app.token[..10];
    let listed = listed
        .as_array()
        .unwrap()
        .iter()
        .find(|row| row["prefix"] == prefix)
        .unwrap();
    assert_eq!(listed["scopes"], "read resources");
    assert!(listed["lastUsed"].is_string());
    run(
        &server,
        &[
            "token",
            "revoke",
            "--tenant",
            "acme",
            &listed["id"].to_string(),
        ],
    );
    app.expect(401, "GET", "/users", &Value::Null);
    assert_eq!(
        ScimClient::new(&server, &app.token)
            .call("GET", "/Users", None)
            .0,
        401
    );
}

#[test]
fn team_resources_are_registered_changed_and_removed() {
    let World {
        server: _server,
        mut scim,
        mut app,
    } = world();
    let team = scim.create("/Groups", &group("SRE", json!({})));
    let path = format!("/teams/{team}/resources");
    let body = json!({"kind": "monitor", "name": "uptime", "url": "https://m.example/1", "data": {"every": 30}});
    let made = app.expect(201, "POST", &path, &body);
    let one = format!("/resources/{}", text(&made["id"]));
    assert_eq!(app.get(&one), made);
    assert_eq!(app.get(&path)["items"], json!([made]));
    assert_eq!(app.get(&format!("/teams/{team}"))["resources"], json!(1));

    let renamed = json!({"kind": "monitor", "name": "latency"}).to_string();
    let stale = app.send("PUT", &one, &[("If-Match", "\"7\"")], &renamed);
    assert_eq!(stale.status, 412);
    let changed = app.send("PUT", &one, &[("If-Match", "\"1\"")], &renamed);
    assert_eq!(
        (changed.status, changed.header("ETag")),
        (200, Some("\"2\""))
    );
    assert_eq!(changed.json()["url"], Value::Null);
    for body in [
        json!({"name": "x"}),
        json!({"kind": "k", "name": ""}),
        json!({"kind": "k", "name": "n", "url": "javascript:alert(1)"}),
        json!({"kind": "k", "name": "n", "url": "ftp://x"}),
        json!({"kind": "k", "name": "n", "data": [1]}),
        json!({"kind": "k".repeat(101), "name": "n"}),
        json!({"kind": "k", "name": "n", "data": {"x": "y".repeat(70_000)}}),
        json!([]),
    ] {
        app.expect(400, "POST", &path, &body);
    }
    for number in 0..5 {
        app.expect(
            201,
            "POST",
            &path,
            &json!({"kind": "repo", "name": number.to_string()}),
        );
    }
    // Those of one millisecond may come in any order.
    let mut names = app.walk(&path, 2, "name");
    names.sort();
    assert_eq!(names, ["0", "1", "2", "3", "4", "latency"]);
    app.expect(204, "DELETE", &one, &Value::Null);
    app.expect(404, "GET", &one, &Value::Null);
    let feed = app.get("/events?kind=resource");
    let events = feed["events"].as_array().unwrap();
    let kinds: Vec<&str> = events
        .iter()
        .filter_map(|event| event["kind"].as_str())
        .collect();
    assert_eq!(kinds[..2], ["resource.created", "resource.changed"]);
    assert_eq!(kinds.last(), Some(&"resource.deleted"));
    assert!(text(&events[0]["actor"]).starts_with("app:"));
    assert_eq!(
        (&events[0]["object"], &events[0]["after"]["name"]),
        (&json!(team), &json!("uptime"))
    );

    let left = format!("/resources/{}", text(&app.get(&path)["items"][0]["id"]));
    scim.expect(204, "DELETE", &format!("/Groups/{team}"), None);
    app.expect(404, "GET", &path, &Value::Null);
    app.expect(404, "GET", &left, &Value::Null);
    app.expect(404, "DELETE", &left, &Value::Null);
}

/// The rows of a query on the file, as text, by a plain reader.
#[track_caller]
fn view(server: &Server, sql: &str) -> Vec<String> {
    let file = Connection::open_with_flags(
        server.data().join("rollcall.db"),
        OpenFlags::SQLITE_OPEN_READ_ONLY,
    )
    .unwrap();
    file.pragma_update(None, "trusted_schema", false).unwrap();
    let mut statement = file.prepare(sql).unwrap();
    let rows = statement.query_map([], |row| row.get(0)).unwrap();
    rows.map(|row| row.unwrap()).collect()
}

#[test]
fn the_views_tell_what_the_api_tells() {
    let World {
        server,
        mut scim,
        mut app,
    } = world();
    let emails = |list: Value| json!({"displayName": "A", "externalId": "x", "emails": list});
    let ana = scim.create(
        "/Users",
        &user(
            "ana",
            emails(json!([{"type": "home", "value": "h@x"}, {"type": "work", "value": "w@x"}])),
        ),
    );
    let more = json!({"name": {"givenName": "B"}, "emails": [{"value": "1@x"}, {"value": "2@x", "primary": true}]});
    scim.create("/Users", &user("ben", more));
    scim.create("/Users", &user("cem", json!({})));
    scim.create("/Users", &user("dov", json!({"active": false})));
    let members = json!({"externalId": "g", "members": [{"value": ana}]});
    let team = scim.create("/Groups", &group("SRE", members));
    let registered = format!("/teams/{team}/resources");
    app.expect(201, "POST", &registered, &json!({"kind": "k", "name": "n"}));
    let people = app.get("/users")["items"].as_array().unwrap().clone();
    let expected: Vec<Value> = people
        .iter()
        .map(|one| {
            json!(
                [
                    "id",
                    "userName",
                    "displayName",
                    "givenName",
                    "familyName",
                    "email",
                    "externalId",
                    "role"
                ]
                .map(|key| &one[key])
            )
        })
        .collect();
    let columns = "id, user_name, display_name, given_name, family_name, email, external_id, role";
    let rows = |columns: &str, from: &str| -> Vec<Value> {
        view(
            &server,
            &format!("SELECT json_array({columns}) FROM {from}"),
        )
        .iter()
        .map(|row| serde_json::from_str(row).unwrap())
        .collect()
    };
    assert_eq!(rows(columns, "v_user ORDER BY user_name"), expected);
    let team_row = json!([team, "acme", "SRE", "g", 1, 1]);
    assert_eq!(
        rows("id, tenant, name, external_id, people, resources", "v_team"),
        [team_row]
    );
    assert_eq!(
        rows("team, team_name, user, user_name", "v_team_member"),
        [json!([team, "SRE", ana, "ana"])]
    );
    view(
        &server,
        "SELECT tenant || name || rank || opens_settings FROM v_role",
    );
    let shown = scim.get(&format!("/Users/{ana}"));
    let created = view(
        &server,
        "SELECT created FROM v_user WHERE user_name = 'ana'",
    );
    assert_eq!(created, [text(&shown["meta"]["created"])]);
}
