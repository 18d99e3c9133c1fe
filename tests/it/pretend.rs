//! The pretend provider of `serve --dev`: signing in as whoever is picked there, who is refused, and where there is none.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};

use serde_json::json;

use crate::browser::Browser;
use crate::support::{Client, Server};
use crate::tenant::{ScimClient, patch_op, user};

/// A person's browser, at rollcall and at the provider.
struct Visitor {
    own: Browser,
    there: Browser,
    issuer: String,
}

impl Visitor {
    /// One that has been sent to the provider once, to learn where it is.
    #[track_caller]
    fn new(server: &Server) -> Visitor {
        let mut own = Browser::new(server);
        let sent = own.request("GET", "/sso/start/dev", "");
        let to = sent.header("location").expect("a provider");
        let (issuer, _) = to.split_once("/authorize?").expect("its page");
        let address = issuer.strip_prefix("http://").unwrap().parse().unwrap();
        Visitor {
            there: Browser::of(Client::to(address)),
            issuer: issuer.to_owned(),
            own,
        }
    }

    /// To the provider's page.
    #[track_caller]
    fn leave(&mut self) {
        let sent = self.own.request("GET", "/sso/start/dev", "");
        let to = sent.header("location").expect("a provider");
        let path = to.strip_prefix(&self.issuer).expect("the same provider");
        assert_eq!(self.there.get(path).status, 200);
    }

    /// The path of the callback, after the link with these words was followed at the provider.
    #[track_caller]
    fn pick(&mut self, server: &Server, words: &str) -> String {
        let link = link(&self.there.page, words);
        let sent = self.there.request("GET", &link, "");
        assert_eq!(sent.status, 303, "{sent:?}");
        let back = sent.header("location").unwrap();
        let path = back.strip_prefix(&format!("http://{}", server.address));
        path.expect("back to rollcall").to_owned()
    }

    /// Signs in as somebody; the status, and rollcall shows what came of it.
    #[track_caller]
    fn sign_in(&mut self, server: &Server, words: &str) -> u16 {
        self.leave();
        let callback = self.pick(server, words);
        self.own.get(&callback).status
    }
}

/// The address of a page's link with these words.
#[track_caller]
fn link(page: &str, words: &str) -> String {
    let (before, _) = page
        .split_once(&format!(">{words}</a>"))
        .unwrap_or_else(|| panic!("no link {words:?}: {page}"));
    let href = before.rsplit("href=\"").next().unwrap();
    let href = href.split('"').next().unwrap();
    href.replace("&amp;", "&").replace("&#x2f;", "/")
}

/// Pushes somebody whom the provider knows, or doesn't.
fn push(scim: &mut ScimClient, name: &str, external_id: Option<&str>) -> String {
    let mut more = json!({"displayName": name});
    if let Some(external_id) = external_id {
        more["externalId"] = json!(external_id);
    }
    scim.create("/Users", &user(&format!("{name}@x.example"), more))
}

#[test]
fn who_is_picked_gets_in_as_provisioning_says_and_signs_out_there() {
    let server = Server::start_dev();
    let mut visitor = Visitor::new(&server);
    visitor.leave();
    visitor.there.must_show("Nobody yet. Push somebody");
    let mut scim = ScimClient::new(&server, &server.token);
    push(&mut scim, "Ana", Some("a-1"));
    push(&mut scim, "Bob", None);
    let eve = push(&mut scim, "Eve", Some("e-1"));
    let dan = push(&mut scim, "Dan", Some("d-1"));
    let deactivate = patch_op(json!([{"op": "replace", "path": "active", "value": false}]));
    scim.expect(200, "PATCH", &format!("/Users/{eve}"), Some(&deactivate));
    scim.expect(204, "DELETE", &format!("/Users/{dan}"), None);
    for (who, words) in [
        ("Bob", "You are not provisioned yet"),
        ("Eve", "Your user is deactivated"),
        ("Dan", "You are not provisioned yet"),
        ("Nina Newcomer", "You are not provisioned yet"),
        ("Igor Impostor", "You are not provisioned yet"),
        ("Refuse, and go back", "or you stopped"),
    ] {
        assert_eq!(visitor.sign_in(&server, who), 403, "{who}");
        visitor.own.must_show(words);
    }
    assert_eq!(visitor.sign_in(&server, "Ana"), 200);
    assert_eq!(visitor.own.path, "/me");
    visitor.own.must_show("<dd>Ana</dd>");
    // Who got in once is known by that, and still not let in when deleted.
    let ana = scim.find("/Users", "externalId eq \"a-1\"").remove(0);
    visitor.leave();
    visitor.there.must_show("Signed in here as Ana@x.example");
    visitor.own.get("/me");
    visitor.own.post("/sign-out", &[]);
    let out = link(&visitor.own.page, "Sign out of Pretend provider, too");
    let out = out
        .strip_prefix(&visitor.issuer)
        .expect("at the provider")
        .to_owned();
    let sent = visitor.there.request("GET", &out, "");
    let back = format!("http://{}/sign-in", server.address);
    assert_eq!(
        (sent.status, sent.header("location")),
        (303, Some(back.as_str()))
    );
    visitor.leave();
    assert!(!visitor.there.shows("Signed in here"));
    assert!(visitor.own.get("/me").status == 200 && visitor.own.path.starts_with("/sign-in"));
    scim.expect(204, "DELETE", &format!("/Users/{ana}"), None);
    assert_eq!(visitor.sign_in(&server, "Ana"), 403);
    visitor.own.must_show("Your user was removed");
}

#[test]
fn an_answer_of_the_pretend_provider_passes_the_same_checks_as_any() {
    let server = Server::start_dev();
    push(
        &mut ScimClient::new(&server, &server.token),
        "Ana",
        Some("a-1"),
    );
    let (mut ana, mut other) = (Visitor::new(&server), Visitor::new(&server));
    ana.leave();
    let callback = ana.pick(&server, "Ana");
    assert_eq!(other.own.get(&callback).status, 400, "another browser");
    let elsewhere = callback.replace("&iss=http", "&iss=https");
    assert_eq!(ana.own.get(&elsewhere).status, 403);
    ana.own.must_show("another provider");
    assert_eq!(ana.own.get(&callback).status, 400, "it is used up");
    ana.leave();
    let (one, path) = (ana.pick(&server, "Ana"), ana.there.page.clone());
    let two = ana.pick(&server, "Ana");
    assert!(path == ana.there.page && one != two, "a code for each");
    assert_eq!(ana.own.get(&one).status, 200);
    let mut there = Client::to(ana.issuer.strip_prefix("http://").unwrap().parse().unwrap());
    let code = two
        .split("code=")
        .nth(1)
        .unwrap()
        .split('&')
        .next()
        .unwrap();
    let body = format!("grant_type=authorization_code&code={code}");
    let answer = there.request("POST", "/token", &[], body.as_bytes());
    assert_eq!(
        (answer.status, answer.text()),
        (401, r#"{"error":"invalid_client"}"#)
    );
    // Under a name that was made to lead here, it is nobody.
    for path in ["/authorize", "/keys"] {
        let raw = format!("GET {path} HTTP/1.1\r\nHost: evil.example\r\n\r\n");
        let mut wire = crate::support::Wire::connect(
            ana.issuer.strip_prefix("http://").unwrap().parse().unwrap(),
        );
        wire.send(raw);
        assert_eq!(wire.answer().status, 403, "{path}");
    }
    let asked = there
        .get("/authorize?client_id=rollcall-dev&redirect_uri=https://evil.example/sso/callback");
    assert_eq!(asked.status, 400, "{asked:?}");
}

/// Where a server listens, as the system says.
fn listening(server: &Server) -> Vec<SocketAddr> {
    let sockets: Vec<String> = fs::read_dir(server.proc("fd"))
        .unwrap()
        .filter_map(|entry| fs::read_link(entry.ok()?.path()).ok())
        .map(|to| to.to_string_lossy().into_owned())
        .collect();
    let table = fs::read_to_string(server.proc("net/tcp")).unwrap();
    table
        .lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>())
        .filter(|fields| fields.get(3) == Some(&"0A"))
        .filter(|fields| sockets.contains(&format!("socket:[{}]", fields[9])))
        .map(|fields| {
            let (address, port) = fields[1].split_once(':').unwrap();
            // In the machine's own order of bytes.
            let address = u32::from_str_radix(address, 16).unwrap().to_ne_bytes();
            let port = u16::from_str_radix(port, 16).unwrap();
            (Ipv4Addr::from(address), port).into()
        })
        .collect()
}

/// The lines that a server prints at its start, up to the token.
fn said(server: &Server) -> Vec<String> {
    let mut lines = vec![];
    while lines
        .last()
        .is_none_or(|line: &String| !line.starts_with("SCIM token"))
    {
        lines.push(server.line());
    }
    lines
}

#[test]
fn there_is_none_without_dev_and_none_for_other_machines() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let dev = Server::start_in_with(folder, &["--dev"]);
    let link = format!("sign-in: http://{}/sso/start/dev", dev.address);
    assert!(said(&dev).contains(&link));
    let ports = listening(&dev);
    assert_eq!(ports.len(), 2, "{ports:?}");
    assert!(
        ports.iter().all(|address| address.ip().is_loopback()),
        "{ports:?}"
    );
    drop(dev);
    // The same tenant with the same connection, but for real: its provider is gone, and would not be asked.
    let server = Server::start_in(folder);
    assert_eq!(listening(&server), [server.address]);
    let refused = server.anyone().get("/sso/start/dev");
    assert_eq!(refused.status, 502, "{refused:?}");
    assert!(
        server.stderr().contains("is not https"),
        "{}",
        server.stderr()
    );
}

#[test]
fn the_connection_stays_over_restarts_and_another_one_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    for _ in 0..2 {
        let dev = Server::start_in_with(folder, &["--dev"]);
        let token = said(&dev).pop().unwrap();
        let mut scim = ScimClient::new(&dev, token.trim_start_matches("SCIM token: "));
        if scim.find("/Users", "externalId eq \"a-1\"").is_empty() {
            push(&mut scim, "Ana", Some("a-1"));
        }
        assert_eq!(Visitor::new(&dev).sign_in(&dev, "Ana"), 200);
        dev.sql("UPDATE connection SET disabled = 1");
        assert_eq!(dev.anyone().get("/sso/start/dev").status, 404);
        dev.sql("UPDATE connection SET disabled = NULL");
    }
    let dev = Server::start_in_with(folder, &["--dev"]);
    said(&dev);
    dev.sql("UPDATE connection SET client_id = 'theirs', name = 'Theirs'");
    drop(dev);
    let dev = Server::start_in_with(folder, &["--dev"]);
    assert!(!said(&dev).iter().any(|line| line.starts_with("sign-in: ")));
    let mut browser = Browser::sign_in(&dev, "dev");
    browser.get("/settings/sso");
    browser.must_show("Theirs");
}
