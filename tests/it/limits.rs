//! Who asks too often is told to wait, and nobody else notices.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::Server;

#[test]
fn a_token_is_held_to_its_rate_and_told_when_to_come_again() {
    let server = Server::start_dev_with(&["--scim-rate", "25", "--scim-burst", "50"]);
    let mut client = server.client();
    let started = Instant::now();
    let answers: Vec<_> = (0..300)
        .map(|_| client.get("/scim/v2/Users?count=1"))
        .collect();
    let took = started.elapsed();
    let served = answers.iter().filter(|answer| answer.status == 200).count();
    let most = 50 + (25.0 * took.as_secs_f64()) as usize + 1;
    assert!((50..=most).contains(&served), "{served} in {took:?}");
    let refused = answers.iter().find(|answer| answer.status != 200).unwrap();
    assert_eq!(refused.status, 429, "{refused:?}");
    assert_eq!(refused.header("retry-after"), Some("1"));
    assert_eq!(
        refused.header("content-type"),
        Some("application/scim+json")
    );
    let body = refused.json();
    assert_eq!(
        body["schemas"],
        json!(["urn:ietf:params:scim:api:messages:2.0:Error"])
    );
    assert_eq!(body["status"], "429");
    assert!(
        body["detail"]
            .as_str()
            .unwrap()
            .contains("25 times a second")
    );
    // Another token has its own; and Entra's 25 a second are never too many.
    let made = server.rollcall(&["token", "create", "--tenant", "dev", "--name", "other"]);
    let printed = String::from_utf8(made.stdout).unwrap();
    let token = printed
        .split_whitespace()
        .find(|word| word.len() > 40)
        .unwrap();
    let mut other = server.client().with_token(token);
    assert_eq!(other.get("/scim/v2/Users?count=1").status, 200);
    std::thread::park_timeout(Duration::from_millis(1100));
    for _ in 0..25 {
        assert_eq!(client.get("/scim/v2/Users?count=1").status, 200);
    }
    // The tenant's log says so, and isn't flooded.
    let log = server.rollcall(&["log", "--tenant", "dev", "-n", "1000", "-o", "json"]);
    let lines = String::from_utf8(log.stdout)
        .unwrap()
        .matches("25 times a second")
        .count();
    assert!((1..20).contains(&lines), "{lines}");
}

#[test]
fn unknown_tokens_are_slowed_by_address_and_valid_ones_are_not() {
    let server = Server::start_dev();
    let mut guessing = server.anyone().with_token("rc_scim_guess");
    let statuses: Vec<u16> = (0..150)
        .map(|_| guessing.get("/scim/v2/Users").status)
        .collect();
    assert!(
        statuses[..100].iter().all(|status| *status == 401),
        "{statuses:?}"
    );
    assert!(statuses[110..].contains(&429), "{statuses:?}");
    let answer = (0..50)
        .map(|_| guessing.get("/api/v1/users"))
        .find(|answer| answer.status == 429)
        .expect("slowed there, too");
    let seconds: u64 = answer.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=60).contains(&seconds));
    assert_eq!(server.client().get("/scim/v2/Users").status, 200);
    let entries = server.rollcall(&["token", "list", "--tenant", "dev", "-o", "json"]);
    assert!(entries.status.success());
}

#[test]
fn an_address_sets_out_for_a_provider_so_often_and_nobody_else_notices() {
    let server = Server::start_dev_with(&["--trusted-proxy", "127.0.0.1"]);
    let mut client = server.anyone();
    let mut start = |address: &str| {
        let headers = [("X-Forwarded-For", address)];
        client.request("GET", "/sso/start/dev", &headers, b"")
    };
    let began = Instant::now();
    let answers: Vec<_> = (0..600).map(|_| start("192.0.2.1")).collect();
    let took = began.elapsed();
    let sent = answers.iter().filter(|answer| answer.status == 303).count();
    let most = 300 + (5.0 * took.as_secs_f64()) as usize + 1;
    assert!((300..=most).contains(&sent), "{sent} in {took:?}");
    let refused = answers.iter().find(|answer| answer.status != 303).unwrap();
    assert_eq!(refused.status, 429, "{refused:?}");
    assert_eq!(refused.header("retry-after"), Some("1"));
    assert!(refused.text().contains("Wait a few seconds"));
    // A network of the Internet's sixth version is one visitor, as another is another.
    assert_eq!(start("192.0.2.2").status, 303);
    for last in 0..300 {
        assert_eq!(start(&format!("2001:db8::{last:x}")).status, 303);
    }
    let beyond = (0..100).map(|last| start(&format!("2001:db8::f:{last:x}")).status);
    assert!(beyond.collect::<Vec<_>>().contains(&429));
    let conn = rusqlite::Connection::open(server.data().join("rollcall.db")).unwrap();
    let rows = "SELECT count(*) FROM sso_attempt";
    let rows: i64 = conn.query_row(rows, [], |row| row.get(0)).unwrap();
    assert!(
        rows <= 2 * most as i64 + 100,
        "a refusal leaves nothing behind: {rows}"
    );
    std::thread::park_timeout(Duration::from_millis(1100));
    assert_eq!(start("192.0.2.1").status, 303, "and it goes on by itself");
}
