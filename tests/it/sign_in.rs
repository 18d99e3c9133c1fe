//! Getting in and staying out: set-up, passwords, links, sessions, and those who try what they shouldn't.

use serde_json::json;

use crate::browser::{Browser, encoded};
use crate::support::Server;
use crate::tenant::{Tenant, run, user};

const PASSWORD: &str = "four unrelated words";

/// The path of the set-up link that the server printed.
#[track_caller]
fn setup_path(server: &Server) -> String {
    let line = server.line();
    let url = line.strip_prefix("set up: ").expect("a set-up link");
    let path = &url[url.find("/setup/").expect("a path")..];
    path.split(' ').next().unwrap().to_owned()
}

/// A tenant `acme` with the account `ana@example.org`, made by the set-up link.
#[track_caller]
fn set_up(server: &Server) -> Browser {
    let path = setup_path(server);
    let mut browser = Browser::new(server);
    browser.get(&path);
    let fields = [
        ("tenant", "acme"),
        ("email", "ana@example.org"),
        ("password", PASSWORD),
    ];
    browser.post(&path, &fields);
    browser.must_show("rollcall is set up");
    browser
}

#[track_caller]
fn sign_in(server: &Server, email: &str, password: &str) -> (u16, Browser) {
    let mut browser = Browser::new(server);
    browser.get("/sign-in");
    let answer = browser.post("/sign-in", &[("email", email), ("password", password)]);
    (answer.status, browser)
}

#[test]
fn the_set_up_link_makes_tenant_and_account_once_and_in_time() {
    let server = Server::start();
    let path = setup_path(&server);
    let mut browser = Browser::new(&server);
    assert_eq!(browser.get(&path).status, 200);
    for (tenant, email, password, trouble) in [
        ("", "ana@example.org", PASSWORD, "name has 1 to 100"),
        ("acme", "ana", PASSWORD, "no e-mail address"),
        ("acme", "ana@example.org", "short", "at least 12"),
    ] {
        let fields = [("tenant", tenant), ("email", email), ("password", password)];
        assert_eq!(browser.post(&path, &fields).status, 400);
        browser.must_show(trouble);
    }
    server.sql("UPDATE link SET expires = expires - 1800000");
    assert_eq!(browser.get(&path).status, 410);
    server.sql("UPDATE link SET expires = expires + 1800000");
    browser.get(&path);
    let fields = [
        ("tenant", "acme"),
        ("email", "ana@example.org"),
        ("password", PASSWORD),
    ];
    browser.post(&path, &fields);
    assert_eq!(browser.path, "/settings");
    browser.must_show("rollcall is set up");
    browser.get("/settings");
    assert!(
        !browser.shows("rollcall is set up"),
        "words survive one redirect"
    );
    let mut second = Browser::new(&server);
    assert_eq!(second.get(&path).status, 410);
    second.get("/sign-in");
    let fields = [
        ("tenant", "evil"),
        ("email", "eve@example.org"),
        ("password", PASSWORD),
    ];
    assert_eq!(second.post(&path, &fields).status, 410);
    assert!(!run(&server, &["tenant", "list"]).contains("evil"));
}

#[test]
fn a_password_opens_its_account_alone_and_every_refusal_reads_the_same() {
    let server = Server::start();
    drop(set_up(&server));
    let (status, browser) = sign_in(&server, "ANA@example.org", PASSWORD);
    assert_eq!((status, browser.path.as_str()), (200, "/settings"));
    let (status, wrong) = sign_in(&server, "ana@example.org", "four unrelated word");
    let (other, unknown) = sign_in(&server, "bob@example.org", PASSWORD);
    assert_eq!((status, other), (403, 403));
    // But for the address, the token and the request's id.
    let words = |browser: &Browser| {
        let (_, rest) = browser.page.split_once("role=\"alert\">").expect("words");
        rest.split("</p>").next().unwrap().to_owned()
    };
    assert_eq!(words(&wrong), words(&unknown));
}

#[test]
fn a_first_password_needs_a_sign_in_of_late() {
    let server = Server::start();
    run(&server, &["tenant", "create", "acme"]);
    let mut browser = Browser::sign_in(&server, "acme");
    server.sql(
        "UPDATE session SET created = created - 700000, authenticated = authenticated - 700000",
    );
    let fields = [("do", "password"), ("new", PASSWORD)];
    browser.get("/me");
    browser.post("/me", &fields);
    browser.must_show("Sign in by a new link");
    let (status, _) = sign_in(&server, "admin-0@example.org", PASSWORD);
    assert_eq!(status, 403);
    let mut browser = Browser::new(&server);
    let link = run(&server, &["account", "sign-in-link", "admin-0@example.org"]);
    let path = &link[link.find("/sign-in/link/").unwrap()..];
    browser.get(path);
    browser.post(path, &[]);
    browser.get("/me");
    browser.post("/me", &fields);
    browser.must_show("The password is changed.");
}

#[test]
fn a_new_password_needs_the_old_one() {
    let server = Server::start();
    let mut browser = set_up(&server);
    for (old, new, words) in [
        (
            "",
            "four other unrelated words",
            "The old password is wrong",
        ),
        (
            "wrong",
            "four other unrelated words",
            "The old password is wrong",
        ),
        (PASSWORD, "short", "at least 12"),
        (
            PASSWORD,
            "four other unrelated words",
            "The password is changed.",
        ),
        (
            PASSWORD,
            "yet other unrelated words",
            "The old password is wrong",
        ),
    ] {
        browser.get("/me");
        browser.post("/me", &[("do", "password"), ("old", old), ("new", new)]);
        browser.must_show(words);
    }
    let (status, _) = sign_in(&server, "ana@example.org", "four other unrelated words");
    assert_eq!(status, 200);
}

#[test]
fn cookies_are_closed_to_scripts_other_sites_and_other_hosts() {
    let server = Server::start();
    let mut client = server.anyone();
    let flags = |cookie: &str| {
        cookie.contains("; HttpOnly; SameSite=Lax; Max-Age=") && cookie.contains("; Path=/;")
    };
    let plain = client.get("/sign-in");
    let cookie = plain.header("set-cookie").expect("a cookie");
    assert!(cookie.starts_with("rollcall=") && flags(cookie), "{cookie}");
    assert_eq!(plain.header("strict-transport-security"), None);
    let public = ["--public-url", "https://rollcall.example.org"];
    let server = Server::start_with(&public);
    let secure = server.anyone().get("/sign-in");
    let cookie = secure.header("set-cookie").expect("a cookie");
    assert!(
        cookie.starts_with("__Host-rollcall=") && flags(cookie) && cookie.ends_with("; Secure"),
        "{cookie}"
    );
    let transport = secure.header("strict-transport-security");
    assert_eq!(transport, Some("max-age=31536000"));
}

#[test]
fn a_form_without_its_pages_token_changes_nothing() {
    let server = Server::start();
    let mut browser = set_up(&server);
    browser.get("/settings/accounts");
    let token = browser.token();
    let create = ("do", "create");
    let email = ("email", "eve@example.org");
    let other = Browser::new(&server);
    let others = {
        let mut other = other;
        other.get("/sign-in");
        other.token()
    };
    for fields in [
        vec![create, email],
        vec![create, email, ("csrf", "")],
        vec![create, email, ("csrf", others.as_str())],
        vec![create, email, ("csrf", &token[1..])],
    ] {
        let answer = browser.post_bare("/settings/accounts", &fields);
        assert_eq!(answer.status, 403, "{fields:?}");
        browser.must_show("another site sent it");
    }
    assert_eq!(browser.post_bare("/sign-out", &[]).status, 403);
    assert_eq!(
        browser
            .request("POST", "/settings/accounts", "%zz=%")
            .status,
        400
    );
    assert!(!run(&server, &["account", "list"]).contains("eve"));
    assert_eq!(browser.get("/settings/accounts").status, 200);
    // Signing in needs one, too: nobody is signed in to somebody else's account unawares.
    let mut stranger = Browser::new(&server);
    let fields = [("email", "ana@example.org"), ("password", PASSWORD)];
    assert_eq!(stranger.post_bare("/sign-in", &fields).status, 403);
}

#[test]
fn a_planted_cookie_is_no_session_and_signing_in_changes_it() {
    let server = Server::start();
    drop(set_up(&server));
    let mut browser = Browser::new(&server);
    let planted = "ab".repeat(32);
    browser
        .cookies
        .insert("rollcall".to_owned(), planted.clone());
    browser.get("/sign-in");
    assert_eq!(browser.cookies["rollcall"], planted);
    browser.post(
        "/sign-in",
        &[("email", "ana@example.org"), ("password", PASSWORD)],
    );
    assert_eq!(browser.path, "/settings");
    assert_ne!(browser.cookies["rollcall"], planted);
    let mut attacker = Browser::new(&server);
    attacker.cookies.insert("rollcall".to_owned(), planted);
    attacker.get("/settings");
    assert!(attacker.path.starts_with("/sign-in"), "{}", attacker.path);
    // Nor does an old session's cookie live on after signing in again.
    let before = browser.cookies["rollcall"].clone();
    browser.get("/me");
    browser.post("/sign-out", &[]);
    browser.must_show("You are signed out.");
    attacker.cookies.insert("rollcall".to_owned(), before);
    attacker.get("/settings");
    assert!(attacker.path.starts_with("/sign-in"));
}

#[test]
fn signing_in_leads_back_to_the_page_that_asked_and_nowhere_else() {
    let server = Server::start();
    drop(set_up(&server));
    let mut browser = Browser::new(&server);
    browser.get("/settings/accounts?a=b%20c");
    assert_eq!(
        browser.path,
        "/sign-in?next=%2Fsettings%2Faccounts%3Fa%3Db%2520c"
    );
    let next = browser.value_of("next").unwrap().replace("&#x2f;", "/");
    let fields = [
        ("email", "ana@example.org"),
        ("password", PASSWORD),
        ("next", next.as_str()),
    ];
    browser.post("/sign-in", &fields);
    assert_eq!(browser.path, "/settings/accounts?a=b%20c");
    for next in [
        "//evil.example",
        "https://evil.example/settings",
        "/\\evil.example",
        "/settings\r\nSet-Cookie: a=b",
        "/sign-in/../..//evil.example",
    ] {
        let (_, mut browser) = sign_in(&server, "nobody@example.org", "x");
        let fields = [
            ("email", "ana@example.org"),
            ("password", PASSWORD),
            ("next", next),
        ];
        browser.post("/sign-in", &fields);
        assert_eq!(browser.path, "/settings", "{next:?}");
    }
}

#[test]
fn who_tries_passwords_has_to_wait_and_a_link_from_the_operator_gets_in() {
    let server = Server::start();
    drop(set_up(&server));
    let mut browser = Browser::new(&server);
    browser.get("/sign-in");
    let fields = [("email", "ana@example.org"), ("password", "wrong")];
    let statuses: Vec<u16> = (0..8)
        .map(|_| browser.post("/sign-in", &fields).status)
        .collect();
    assert_eq!(statuses[..6], [403; 6]);
    assert_eq!(statuses[6..], [429; 2]);
    browser.must_show("too many tries");
    // Not even the right password gets in then.
    let (status, _) = sign_in(&server, "ana@example.org", PASSWORD);
    assert_eq!(status, 429);
    let link = run(&server, &["account", "sign-in-link", "ana@example.org"]);
    let path = &link[link.find("/sign-in/link/").unwrap()..];
    let mut scanner = Browser::new(&server);
    assert_eq!(scanner.get(path).status, 200);
    browser.get(path);
    browser.post(path, &[]);
    assert_eq!(browser.path, "/settings");
    assert_eq!(scanner.post(path, &[]).status, 410, "it works once");
    // Who came by a link need not know the old password.
    browser.get("/me");
    browser.post(
        "/me",
        &[("do", "password"), ("new", "four other unrelated words")],
    );
    browser.must_show("The password is changed.");
}

#[test]
fn sessions_end_when_they_are_idle_old_or_ended_elsewhere() {
    let server = Server::start();
    let mut first = set_up(&server);
    let (_, mut second) = sign_in(&server, "ana@example.org", PASSWORD);
    second.get("/me");
    second.post("/me", &[("do", "end-others")]);
    first.get("/settings");
    assert!(first.path.starts_with("/sign-in"));
    for (change, back) in [
        (
            "last_seen = last_seen - 43260000",
            "last_seen = last_seen + 43260000",
        ),
        (
            "created = created - 604860000",
            "created = created + 604860000",
        ),
    ] {
        server.sql(&format!("UPDATE session SET {change}"));
        second.get("/settings");
        assert!(second.path.starts_with("/sign-in"), "{change}");
        server.sql(&format!("UPDATE session SET {back}"));
        second.get("/settings");
        assert_eq!(second.path, "/settings", "{back}");
    }
    let reset = ["account", "reset", "ana@example.org"];
    run(&server, &reset);
    second.get("/settings");
    assert!(second.path.starts_with("/sign-in"));
    let (status, _) = sign_in(&server, "ana@example.org", PASSWORD);
    assert_eq!(status, 403, "the password is gone");
}

#[test]
fn scim_ends_a_persons_sessions_and_tokens_and_never_reaches_a_local_account() {
    let server = Server::start();
    let tenant = Tenant::create(&server, "acme");
    let mut scim = tenant.client();
    let mut admin = Browser::sign_in(&server, "acme");
    // As Entra says it with and without its compatibility flag, and as Okta does.
    for deactivation in [
        json!([{"op": "Replace", "path": "active", "value": "False"}]),
        json!([{"op": "replace", "path": "active", "value": false}]),
        json!([{"op": "replace", "value": {"active": false}}]),
    ] {
        let ana = user("ana@example.org", json!({"roleName": "Admin"}));
        let path = format!("/Users/{}", scim.create("/Users", &ana));
        let mut browser = Browser::sign_in_as(&server, "acme", "ana@example.org");
        assert_eq!(browser.path, "/settings", "her role opens them");
        let own = [
            "token",
            "create",
            "--tenant",
            "acme",
            "--api",
            "--for",
            "ana@example.org",
        ];
        let mut app = server.anyone().with_token(&run(&server, &own));
        assert_eq!(app.get("/api/v1/users").status, 200);
        scim.patch(&path, deactivation);
        browser.get("/settings");
        assert!(
            browser.path.starts_with("/sign-in"),
            "out at the next request"
        );
        assert_eq!(app.get("/api/v1/users").status, 401);
        let link = [
            "user",
            "sign-in-link",
            "--tenant",
            "acme",
            "ana@example.org",
        ];
        assert!(!server.rollcall(&link).status.success());
        // Back again, she has to sign in anew.
        scim.patch(
            &path,
            json!([{"op": "replace", "path": "active", "value": true}]),
        );
        browser.get("/settings");
        assert!(browser.path.starts_with("/sign-in"));
        let mut browser = Browser::sign_in_as(&server, "acme", "ana@example.org");
        assert_eq!(browser.path, "/settings");
        let unused = run(&server, &link);
        scim.expect(204, "DELETE", &path, None);
        browser.get("/settings");
        assert!(browser.path.starts_with("/sign-in"));
        let unused = &unused[unused.find("/sign-in/link/").unwrap()..];
        assert_eq!(
            browser.get(unused).status,
            410,
            "a link ends with them, too"
        );
    }
    // A user of the account's own address is somebody else.
    let twin = user("admin-0@example.org", json!({"active": false}));
    let path = format!("/Users/{}", scim.create("/Users", &twin));
    scim.expect(204, "DELETE", &path, None);
    admin.get("/settings");
    assert_eq!(admin.path, "/settings");
}

#[test]
fn a_person_whose_role_does_not_open_the_settings_sees_their_own_page_alone() {
    let server = Server::start();
    let tenant = Tenant::create(&server, "acme");
    let mut scim = tenant.client();
    scim.create(
        "/Users",
        &user("bob@example.org", json!({"displayName": "<b>Bob</b>"})),
    );
    let mut browser = Browser::sign_in_as(&server, "acme", "bob@example.org");
    for page in ["/settings", "/settings/accounts", "/settings/danger"] {
        assert_eq!(browser.get(page).status, 403, "{page}");
        browser.must_show("Your role does not open the settings");
    }
    assert_eq!(browser.get("/me").status, 200);
    browser.must_show("&lt;b&gt;Bob");
    browser.must_show("Member");
    let token = browser.token();
    let posted = encoded(&[
        ("csrf", &token),
        ("do", "create"),
        ("email", "eve@example.org"),
    ]);
    let answer = browser.request("POST", "/settings/accounts", &posted);
    assert_eq!(answer.status, 403);
    assert!(!run(&server, &["account", "list"]).contains("eve"));
}

#[test]
fn accounts_are_managed_on_their_page_within_their_tenant() {
    let server = Server::start();
    run(&server, &["tenant", "create", "acme"]);
    run(&server, &["tenant", "create", "other"]);
    let mut admin = Browser::sign_in(&server, "acme");
    let mut theirs = Browser::sign_in(&server, "other");
    admin.get("/settings/accounts");
    admin.post(
        "/settings/accounts",
        &[("do", "create"), ("email", "eve@example.org")],
    );
    let link = admin.value_by_id("link").expect("a link");
    let path = &link[link.find("/sign-in/link/").unwrap()..];
    let mut eve = Browser::new(&server);
    eve.get(path);
    eve.post(path, &[]);
    assert_eq!(eve.path, "/settings");
    admin.post(
        "/settings/accounts",
        &[("do", "create"), ("email", "EVE@example.org")],
    );
    admin.must_show("has an account already");
    for id in ["1", "3", "99", "x"] {
        for action in ["link", "end", "remove"] {
            theirs.get("/settings/accounts");
            theirs.post("/settings/accounts", &[("do", action), ("id", id)]);
            theirs.must_show("This account is gone already.");
        }
    }
    admin.get("/settings/accounts");
    admin.post("/settings/accounts", &[("do", "remove"), ("id", "1")]);
    admin.must_show("the account you are signed in with");
    admin.post("/settings/accounts", &[("do", "remove"), ("id", "3")]);
    admin.must_show("The account eve@example.org is removed.");
    eve.get("/settings");
    assert!(eve.path.starts_with("/sign-in"));
    // What can't be taken back easily asks again who it is, and then does it; who has no password yet is told so.
    run(&server, &["account", "reset", "admin-0@example.org"]);
    let mut admin = Browser::sign_in(&server, "acme");
    let stale = "UPDATE session SET authenticated = authenticated - 700000";
    let fresh = "UPDATE session SET authenticated = authenticated + 700000";
    server.sql(stale);
    admin.get("/settings/accounts");
    admin.post(
        "/settings/accounts",
        &[("do", "create"), ("email", "zoe@example.org")],
    );
    admin.must_show("have no password yet");
    server.sql(fresh);
    admin.get("/me");
    admin.post("/me", &[("do", "password"), ("new", PASSWORD)]);
    server.sql("UPDATE session SET authenticated = authenticated - 700000");
    admin.get("/settings/accounts");
    let fields = [("do", "create"), ("email", "zoe+a@example.org")];
    admin.post("/settings/accounts", &fields);
    admin.must_show("Confirm that it is you");
    assert_eq!(
        admin.value_of("email").as_deref(),
        Some("zoe+a@example.org")
    );
    assert!(!run(&server, &["account", "list"]).contains("zoe"));
    let wrong = [fields[0], fields[1], ("confirm_password", "wrong")];
    admin.post("/settings/accounts", &wrong);
    admin.must_show("The password is wrong");
    let right = [fields[0], fields[1], ("confirm_password", PASSWORD)];
    admin.post("/settings/accounts", &right);
    admin.must_show("This link signs in as");
    assert!(run(&server, &["account", "list"]).contains("zoe+a@example.org"));
    // Who has the link acts in another's name, so it is told who made it.
    admin.get("/settings/events");
    admin.must_show("made a sign-in link for zoe+a@example.org");
}

#[test]
fn passwords_and_links_stand_nowhere_in_the_file_or_the_log() {
    let server = Server::start();
    let path = setup_path(&server);
    let mut browser = Browser::new(&server);
    browser.get(&path);
    let fields = [
        ("tenant", "acme"),
        ("email", "ana@example.org"),
        ("password", PASSWORD),
    ];
    browser.post(&path, &fields);
    let link = run(&server, &["account", "sign-in-link", "ana@example.org"]);
    let secrets = [
        path.rsplit('/').next().unwrap().to_owned(),
        link.rsplit('/').next().unwrap().to_owned(),
        browser.cookies["rollcall"].clone(),
        PASSWORD.to_owned(),
    ];
    for file in ["rollcall.db", "rollcall.db-wal"] {
        let bytes = std::fs::read(server.data().join(file)).unwrap();
        for secret in &secrets {
            let found = bytes
                .windows(secret.len())
                .any(|part| part == secret.as_bytes());
            assert!(!found, "{file} has {secret}");
        }
    }
    let log = server.stderr();
    assert!(
        secrets.iter().all(|secret| !log.contains(secret.as_str())),
        "{log}"
    );
}
