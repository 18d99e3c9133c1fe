//! What Prometheus is told: it agrees with what was done, and it is told nowhere else.

use std::collections::BTreeMap;
use std::net::TcpListener;

use serde_json::json;

use crate::support::{Server, Wire};
use crate::tenant::{Tenant, run, user};

/// Every line of `/metrics`, by name and labels.
struct Numbers(BTreeMap<String, f64>);

impl Numbers {
    #[track_caller]
    fn of(wire: &mut Wire) -> Numbers {
        wire.send("GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n");
        let answer = wire.answer();
        assert_eq!(answer.status, 200, "{answer:?}");
        let kind = answer.header("content-type").unwrap();
        assert!(kind.starts_with("text/plain; version=0.0.4"), "{kind}");
        let mut numbers = BTreeMap::new();
        let mut typed = Vec::new();
        for line in answer.text().lines() {
            if let Some(comment) = line.strip_prefix("# ") {
                let words: Vec<&str> = comment.splitn(3, ' ').collect();
                assert!(matches!(words[..], ["HELP" | "TYPE", _, _]), "{line}");
                if words[0] == "TYPE" {
                    assert!(!typed.contains(&words[1].to_owned()), "{line} again");
                    typed.push(words[1].to_owned());
                }
                continue;
            }
            let (name, value) = line.rsplit_once(' ').unwrap();
            let family = name.split('{').next().unwrap();
            assert!(
                typed.iter().any(|known| family.starts_with(known.as_str())),
                "{line}"
            );
            let was = numbers.insert(name.to_owned(), value.parse().unwrap());
            assert!(was.is_none(), "{name} twice");
        }
        Numbers(numbers)
    }

    #[track_caller]
    fn get(&self, name: &str) -> f64 {
        *self
            .0
            .get(name)
            .unwrap_or_else(|| panic!("no {name} in {:#?}", self.0))
    }
}

#[test]
fn the_numbers_are_those_of_what_was_done() {
    let free = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let server = Server::start_with(&["--metrics", &free.to_string()]);
    let odd = "Acme \"& \\ Söhne";
    let acme = Tenant::create(&server, odd);
    let quiet = Tenant::create(&server, "quiet");
    let mut client = server.anyone().with_token(&acme.token);
    let ids: Vec<String> = (0..30)
        .map(|number| {
            let body = user(&format!("u{number}@example.org"), json!({})).to_string();
            let headers = [("Content-Type", "application/json")];
            let made = client.request("POST", "/scim/v2/Users", &headers, body.as_bytes());
            assert_eq!(made.status, 201);
            made.json()["id"].as_str().unwrap().to_owned()
        })
        .collect();
    let mut metrics = Wire::connect(free);
    let before = Numbers::of(&mut metrics);
    let of = |name: &str, tenant: &str| {
        let tenant = tenant.replace('\\', "\\\\").replace('"', "\\\"");
        format!("{name}{{tenant=\"{tenant}\"}}")
    };
    assert_eq!(before.get(&of("rollcall_users", odd)), 30.0);
    assert_eq!(before.get(&of("rollcall_unusual_removals", odd)), 0.0);
    let created = "rollcall_requests_total{route=\"scim_users\",status=\"201\"}";
    assert_eq!(before.get(created), 30.0);
    for id in &ids[..25] {
        let path = format!("/scim/v2/Users/{id}");
        assert_eq!(client.request("DELETE", &path, &[], b"").status, 204);
    }
    assert_eq!(server.anyone().get("/scim/v2/Users").status, 401);
    let mut broken = server.connect();
    broken.send("GET /\r\n\r\n");
    assert_eq!(broken.answer().status, 400);
    run(
        &server,
        &["token", "create", "--tenant", "quiet", "--expires", "5"],
    );
    let after = Numbers::of(&mut metrics);
    for (name, expected) in [
        (of("rollcall_users", odd), 5.0),
        (of("rollcall_archived_users", odd), 25.0),
        (of("rollcall_unusual_removals", odd), 1.0),
        (of("rollcall_unusual_removals", "quiet"), 0.0),
        (of("rollcall_tokens", "quiet"), 2.0),
        (of("rollcall_tokens_expiring", "quiet"), 0.0),
        (
            "rollcall_requests_total{route=\"scim_users\",status=\"204\"}".to_owned(),
            25.0,
        ),
        (
            "rollcall_requests_total{route=\"scim_users\",status=\"401\"}".to_owned(),
            1.0,
        ),
        (
            "rollcall_requests_total{route=\"unread\",status=\"400\"}".to_owned(),
            1.0,
        ),
        (
            "rollcall_request_seconds_count{route=\"scim_users\"}".to_owned(),
            56.0,
        ),
        (
            "rollcall_request_seconds_bucket{route=\"scim_users\",le=\"+Inf\"}".to_owned(),
            56.0,
        ),
        ("rollcall_dropped_log_lines_total".to_owned(), 0.0),
        ("rollcall_lost_transactions_total".to_owned(), 0.0),
    ] {
        assert_eq!(after.get(&name), expected, "{name}");
    }
    let commits = after.get("rollcall_commit_changes_count");
    assert!(commits >= 25.0);
    assert!(after.get("rollcall_commit_changes_sum") >= commits);
    // One client, one request after the other.
    assert_eq!(
        after.get("rollcall_commit_changes_bucket{le=\"1\"}"),
        commits
    );
    assert!(after.get("rollcall_connections") >= 1.0);
    assert!(after.get("process_resident_memory_bytes") > 1e6);
    assert!(after.get(&of("rollcall_last_client_request_seconds", odd)) > 1.7e9);
    // The one that lasts is revoked: now the end of the other is near.
    let tokens = run(
        &server,
        &["token", "list", "--tenant", "quiet", "-o", "json"],
    );
    let tokens: serde_json::Value = serde_json::from_str(&tokens).unwrap();
    let lasting = tokens
        .as_array()
        .unwrap()
        .iter()
        .find(|token| token["expires"].is_null());
    let id = lasting.unwrap()["id"].to_string();
    run(&server, &["token", "revoke", "--tenant", "quiet", &id]);
    assert_eq!(
        Numbers::of(&mut metrics).get(&of("rollcall_tokens_expiring", "quiet")),
        1.0
    );
    drop(quiet);
    // Nothing else is served there, and nothing of it at the main listener.
    metrics.send("GET /settings HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(metrics.answer().status, 404);
    assert_eq!(server.anyone().get("/metrics").status, 404);
}
