//! Forward auth, as a proxy in front of an app asks: who is let in where, and until when.

use serde_json::json;

use crate::browser::Browser;
use crate::support::{Answer, Client, Server};
use crate::tenant::{Tenant, patch_op, run, user};

const APP: &str = "notes.example";

/// A proxy for an app's host: it says which one, and sends on the cookie of a browser.
pub struct Proxy {
    client: Client,
    host: &'static str,
    cookie: String,
}

impl Proxy {
    fn new(server: &Server, host: &'static str) -> Proxy {
        Proxy {
            client: server.anyone(),
            host,
            cookie: String::new(),
        }
    }

    #[track_caller]
    fn get(&mut self, path: &str) -> Answer {
        let cookie = format!("rollcall-app={}", self.cookie);
        let headers = [
            ("X-Forwarded-Host", self.host),
            ("X-Forwarded-Uri", "/page?a=b"),
            ("Accept", "text/html"),
            ("Cookie", &cookie),
        ];
        let answer = self.client.request("GET", path, &headers, b"");
        if let Some(set) = answer.header("set-cookie") {
            let value = set.strip_prefix("rollcall-app=").expect("its own cookie");
            self.cookie = value.split(';').next().unwrap().to_owned();
        }
        answer
    }

    /// One whose browser somebody of the tenant signed in with, on the way to an app that everybody may open.
    #[track_caller]
    pub fn let_in(server: &Server, tenant: &str, person: &str) -> Proxy {
        let mut admin = Browser::sign_in(server, tenant);
        admin.get("/settings/hosts");
        let fields = [("do", "save"), ("host", APP), ("role", ""), ("teams", "")];
        admin.post("/settings/hosts", &fields);
        admin.must_show("Saved: who may open it.");
        let mut proxy = Proxy::new(server, APP);
        let begin = path_of(&proxy.get("/auth/forward"), "http://notes.example").to_owned();
        let enter = path_of(&proxy.get(&begin), "http://login.example").to_owned();
        let sent = Browser::sign_in_as(server, tenant, person).request("GET", &enter, "");
        proxy.get(path_of(&sent, "http://notes.example"));
        assert_eq!(proxy.asks(), 200);
        proxy
    }

    /// The status of asking who somebody is.
    #[track_caller]
    pub fn asks(&mut self) -> u16 {
        self.get("/auth/forward").status
    }
}

/// Under another name than the apps, and behind a proxy that is believed.
const BEHIND_A_PROXY: [&str; 4] = [
    "--public-url",
    "http://login.example",
    "--trusted-proxy",
    "127.0.0.1",
];

#[track_caller]
fn path_of<'a>(answer: &'a Answer, origin: &str) -> &'a str {
    let location = answer.header("location").expect("a location");
    location
        .strip_prefix(origin)
        .unwrap_or_else(|| panic!("{location} is not at {origin}"))
}

#[test]
fn a_person_is_let_in_as_the_host_s_rule_says_and_not_a_request_longer() {
    let server = Server::start_with(&BEHIND_A_PROXY);
    let tenant = Tenant::create(&server, "acme");
    let mut scim = tenant.client();
    let body = json!({"displayName": "Ana", "roleName": "Admin", "emails": [{"type": "work", "value": "a@x.example"}]});
    let ana = scim.create("/Users", &user("ana@x.example", body));
    let members = json!({"members": [{"value": ana}]});
    scim.create("/Groups", &crate::tenant::group("SRE, on call", members));
    let mut admin = Browser::sign_in(&server, "acme");
    let (mut proxy, mut other) = (
        Proxy::new(&server, APP),
        Proxy::new(&server, "chat.example"),
    );
    assert_eq!(proxy.asks(), 403, "no host of anybody's");
    admin.get("/settings/hosts");
    for fields in [
        [
            ("host", "https://notes.example"),
            ("role", ""),
            ("teams", ""),
        ],
        [("host", APP), ("role", "Nobody"), ("teams", "")],
        [("host", APP), ("role", ""), ("teams", "Nobody")],
    ] {
        admin.post(
            "/settings/hosts",
            &[&fields[..], &[("do", "save")]].concat(),
        );
        admin.must_show("flash failed");
    }
    let save = |admin: &mut Browser, host, role| {
        admin.post(
            "/settings/hosts",
            &[
                ("do", "save"),
                ("host", host),
                ("role", role),
                ("teams", ""),
            ],
        );
        admin.must_show("Saved: who may open it.");
    };
    save(&mut admin, APP, "Team lead");
    save(&mut admin, "chat.example", "");
    // Another tenant can't take a host over.
    run(&server, &["tenant", "create", "other"]);
    let mut theirs = Browser::sign_in(&server, "other");
    theirs.get("/settings/hosts");
    assert!(!theirs.shows(APP));
    theirs.post(
        "/settings/hosts",
        &[("do", "save"), ("host", APP), ("role", ""), ("teams", "")],
    );
    theirs.must_show("belongs to another organisation");
    theirs.post("/settings/hosts", &[("do", "remove"), ("host", APP)]);

    let asked = proxy.get("/auth/forward");
    assert_eq!(asked.status, 302);
    let begin = path_of(&asked, "http://notes.example").to_owned();
    assert_eq!(begin, "/.rollcall/begin?to=%2Fpage%3Fa%3Db");
    assert_eq!(proxy.get("/auth/forward?redirect=no").status, 401);
    let enter = path_of(&proxy.get(&begin), "http://login.example").to_owned();
    let mut browser = Browser::new(&server);
    assert!(path_of(&browser.request("GET", &enter, ""), "").starts_with("/sign-in?next="));
    assert_eq!(
        admin.request("GET", &enter, "").status,
        403,
        "a local account is nobody's"
    );
    assert_eq!(theirs.request("GET", &enter, "").status, 403);
    let mut browser = Browser::sign_in_as(&server, "acme", "ana@x.example");
    let sent = browser.request("GET", &enter, "");
    let ticket = path_of(&sent, "http://notes.example").to_owned();
    assert_eq!(
        Proxy::new(&server, APP).get(&ticket).status,
        400,
        "another browser"
    );
    other.cookie.clone_from(&proxy.cookie);
    assert_eq!(other.get(&ticket).status, 400, "another host");
    let back = proxy.get(&ticket);
    assert_eq!(
        (back.status, back.header("location")),
        (303, Some("/page?a=b"))
    );
    let mut again = Proxy::new(&server, APP);
    again.cookie.clone_from(&other.cookie);
    assert_eq!(again.get(&ticket).status, 400, "twice");
    assert_eq!(again.asks(), 302, "the cookie from before");

    let told = proxy.get("/auth/forward");
    assert_eq!(told.status, 200);
    for (name, value) in [
        ("remote-user", "ana@x.example"),
        ("remote-name", "Ana"),
        ("remote-email", "a@x.example"),
        ("remote-groups", "SRE  on call"),
        ("remote-role", "Admin"),
    ] {
        assert_eq!(told.header(name), Some(value));
    }
    other.cookie.clone_from(&proxy.cookie);
    assert_eq!(other.asks(), 302, "each host has its own cookie");
    let mut change = |path: &str, value: serde_json::Value| {
        let change = patch_op(json!([{"op": "replace", "path": path, "value": value}]));
        scim.expect(200, "PATCH", &format!("/Users/{ana}"), Some(&change));
    };
    change("roleName", json!("Member"));
    assert_eq!(proxy.asks(), 403);
    change("roleName", json!("Team lead"));
    assert_eq!(proxy.asks(), 200);
    change("active", json!(false));
    assert_eq!(proxy.asks(), 302);
    change("active", json!(true));
    assert_eq!(proxy.asks(), 302, "who comes back signs in again");
}

#[test]
fn a_link_to_an_app_leads_nowhere_else() {
    let server = Server::start_with(&BEHIND_A_PROXY);
    let tenant = Tenant::create(&server, "acme");
    tenant
        .client()
        .create("/Users", &user("ana@x.example", json!({})));
    let mut browser = Browser::sign_in_as(&server, "acme", "ana@x.example");
    let digits = "0".repeat(64);
    for (to, status) in [
        ("http%3A%2F%2Fevil.example%2F", 403),
        ("%2F%2Fevil.example%2F", 400),
        ("http%3A%2F%2Fnotes.example%40evil.example%2F", 400),
        ("http%3A%2F%2Fnotes.example%5C.evil.example%2F", 400),
        ("javascript%3Aalert(1)%2F", 400),
        ("", 400),
    ] {
        let path = format!("/auth/enter?browser={digits}&to={to}");
        assert_eq!(browser.request("GET", &path, "").status, status, "{to}");
    }
    let mut proxy = Proxy::new(&server, APP);
    for to in [
        "//evil.example",
        "%2F%2Fevil.example",
        "https://evil.example",
        "%2F%5Cevil.example",
        "",
    ] {
        let sent = proxy.get(&format!("/.rollcall/begin?to={to}"));
        let path = path_of(&sent, "http://login.example");
        assert!(
            path.ends_with("&to=http%3A%2F%2Fnotes.example%2F"),
            "{to}: {path}"
        );
    }
}

/// What Traefik's ForwardAuth sends: always a GET, and these headers beside those of the browser.
#[test]
fn traefik_is_told_to_let_in_to_send_away_or_to_refuse() {
    let options = ["--public-url", "https://login.example", "--trusted-proxy"];
    let server = Server::start_with(&[&options[..], &["127.0.0.1"]].concat());
    let tenant = Tenant::create(&server, "acme");
    tenant.client().create(
        "/Users",
        &user("ana@x.example", json!({"displayName": "Ana"})),
    );
    let mut admin = Browser::sign_in(&server, "acme");
    // The server takes itself for one that is reached by HTTPS, and so do its cookies.
    admin.get("/settings/hosts");
    let fields = [("do", "save"), ("host", APP), ("role", ""), ("teams", "")];
    admin.post("/settings/hosts", &fields);
    admin.must_show("Saved: who may open it.");
    let ask = |server: &Server, path: &str, more: &[(&str, &str)]| {
        let headers = [
            ("X-Forwarded-Method", "POST"),
            ("X-Forwarded-Proto", "https"),
            ("X-Forwarded-Host", APP),
            ("X-Forwarded-Uri", "/page?a=b"),
            ("X-Forwarded-For", "192.0.2.1"),
            // The browser's own words, which Traefik hands on.
            ("Remote-User", "root"),
        ];
        let headers = [&headers[..], more].concat();
        server.anyone().request("GET", path, &headers, b"")
    };
    let page = [("Accept", "text/html,*/*;q=0.8")];
    let away = ask(&server, "/auth/forward", &page);
    let begin = "/.rollcall/begin?to=%2Fpage%3Fa%3Db";
    let location = format!("https://{APP}{begin}");
    assert_eq!(
        (away.status, away.header("location")),
        (302, Some(location.as_str()))
    );
    assert_eq!(away.header("remote-user"), None);
    let script = ask(&server, "/auth/forward", &[("Accept", "application/json")]);
    assert_eq!(script.status, 401);
    let cookie_of = |answer: &Answer| {
        let set = answer.header("set-cookie").expect("a cookie").to_owned();
        assert!(
            set.starts_with("__Host-rollcall-app=") && set.contains("; Secure"),
            "{set}"
        );
        set.split(';').next().unwrap().to_owned()
    };
    let begun = ask(&server, begin, &page);
    let cookie = cookie_of(&begun);
    let enter = path_of(&begun, "https://login.example").to_owned();
    let mut ana = Browser::sign_in_as(&server, "acme", "ana@x.example");
    let ticket = ana.request("GET", &enter, "");
    let ticket = path_of(&ticket, &format!("https://{APP}")).to_owned();
    let back = ask(&server, &ticket, &[("Cookie", &cookie)]);
    assert_eq!(
        (back.status, back.header("location")),
        (303, Some("/page?a=b"))
    );
    let cookie = cookie_of(&back);
    let told = ask(&server, "/auth/forward", &[("Cookie", &cookie)]);
    assert_eq!(
        (told.status, told.header("remote-user")),
        (200, Some("ana@x.example"))
    );
    // A header for each that Traefik copies, so that none of the browser's own is left.
    for name in [
        "remote-name",
        "remote-email",
        "remote-groups",
        "remote-role",
    ] {
        assert!(told.header(name).is_some(), "{name}");
    }
    // Whom nobody named as the proxy is not believed which host it speaks for.
    let alone = Server::start_with(&[&options[..], &["192.0.2.9"]].concat());
    assert_eq!(ask(&alone, "/auth/forward", &page).status, 403);
}
