//! `rollcall simulate` against this program, and against it behind a proxy that breaks what passes: each fault has its name.

use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpListener};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use serde_json::{Value, json};

use crate::broken::{self, Fault, Reply};
use crate::support::Server;
use crate::tenant::{ROOT, Tenant, user};

const FLAG: &str = "/?aadOptscim062020";

#[test]
fn this_server_is_right_in_each_dialect_and_nothing_stays() {
    let server = Server::start();
    let dialects = [("entra", ""), ("entra", FLAG), ("okta", "")];
    let tenants = ["one", "two", "three"].map(|name| Tenant::create(&server, name));
    let real: Vec<String> = tenants
        .iter()
        .map(|tenant| {
            tenant
                .client()
                .create("/Users", &user("sim-real", json!({})))
        })
        .collect();
    let runs = dialects.iter().zip(&tenants);
    let reports = at_once(runs.map(|((provider, flag), tenant)| {
        let (url, token) = (
            format!("{}{flag}", base(server.address)),
            tenant.token.clone(),
        );
        move || simulate(provider, &url, &token, &[])
    }));
    for ((report, tenant), real) in reports.iter().zip(&tenants).zip(real) {
        let found = json_of(report);
        assert_eq!(report.status.code(), Some(0), "{}", text(report));
        assert_eq!(found["mismatches"], 0);
        assert!(found["requests"].as_u64() > Some(700), "{found}");
        let ids: Vec<String> = tenant.client().all("/Users").into_keys().collect();
        assert_eq!((ids, tenant.client().all("/Groups").len()), (vec![real], 0));
    }
}

#[test]
fn each_fault_is_named() {
    let server = Server::start();
    let faults: Vec<(&str, &str, &str, Fault)> = vec![
        (
            "entra",
            "members are missing",
            "add members",
            Box::new(broken::drops_a_member),
        ),
        (
            "entra",
            "members are missing",
            "churn",
            Box::new(broken::removes_all_members),
        ),
        (
            "entra",
            "members are there",
            "churn",
            Box::new(broken::keeps_members),
        ),
        (
            "entra",
            "title isn't what was sent",
            "churn",
            Box::new(broken::loses_titles),
        ),
        (
            "entra",
            "active isn't what was sent",
            "disable",
            Box::new(broken::knows_no_text_as_boolean),
        ),
        (
            "okta",
            "active isn't what was sent",
            "disable",
            Box::new(broken::needs_a_path),
        ),
        (
            "okta",
            "userName isn't what was sent",
            "create users",
            Box::new(broken::lowers_user_names),
        ),
        (
            "entra",
            "manager isn't what was sent",
            "managers and roles",
            Box::new(broken::flattens_managers),
        ),
        (
            "entra",
            "requests were refused",
            "create users",
            Box::new(broken::answers_404_for_nobody),
        ),
        (
            "entra",
            "a filter found the wrong ones",
            "create users",
            Box::new(broken::ignores_filters),
        ),
        (
            "entra",
            "pages of a list don't fit",
            "create users",
            Box::new(broken::knows_one_page),
        ),
        (
            "entra",
            "what should be gone",
            "delete",
            Box::new(broken::deletes_late()),
        ),
        (
            "okta",
            "a group isn't called what was sent",
            "rename",
            Box::new(broken::loses_group_names),
        ),
        (
            "entra",
            "answers aren't what",
            "create users",
            Box::new(broken::tells_no_id),
        ),
    ];
    let tenants: Vec<Tenant<'_>> = (0..faults.len())
        .map(|number| Tenant::create(&server, &format!("fault{number}")))
        .collect();
    let (expected, faults): (Vec<_>, Vec<_>) = faults
        .into_iter()
        .map(|(provider, title, phase, fault)| ((title, phase), (provider, fault)))
        .unzip();
    let runs = faults.into_iter().zip(&tenants).zip(&expected);
    let reports = at_once(runs.map(|(((provider, fault), tenant), (title, _))| {
        let (url, token) = (
            base(broken::in_front_of(server.address, fault)),
            tenant.token.clone(),
        );
        // Where pages matter, more users than one has.
        let users = if title.starts_with("pages") {
            "110"
        } else {
            "40"
        };
        move || simulate(provider, &url, &token, &["--users", users, "--groups", "3"])
    }));
    for ((report, tenant), (title, phase)) in reports.iter().zip(&tenants).zip(expected) {
        let found = json_of(report);
        assert_eq!(report.status.code(), Some(3), "{title}: {}", text(report));
        let findings = found["findings"].as_array().unwrap();
        let one = findings
            .iter()
            .find(|one| one["what"].as_str().unwrap().starts_with(title))
            .unwrap_or_else(|| panic!("not found: {title}: {found:#}"));
        assert_eq!(one["examples"][0]["phase"], phase, "{one:#}");
        for part in ["request", "expected", "found"] {
            assert_ne!(one["examples"][0][part], "", "{one:#}");
        }
        assert!(tenant.client().all("/Users").is_empty(), "{title}");
    }
}

#[test]
fn a_busy_server_is_waited_for_and_a_stumble_forgiven() {
    let server = Server::start();
    let tenant = Tenant::create(&server, "busy");
    let count = AtomicUsize::new(0);
    let proxy = broken::in_front_of(
        server.address,
        Box::new(
            move |asked, next| match count.fetch_add(1, Ordering::Relaxed) {
                number if number % 20 == 7 => Reply {
                    retry_after: Some(0),
                    ..Reply::error(429)
                },
                // After it was done: the next try finds it done.
                number if number % 60 == 31 => {
                    next(asked);
                    Reply::error(503)
                }
                _ => next(asked),
            },
        ),
    );
    let report = simulate(
        "entra",
        &base(proxy),
        &tenant.token,
        &["--users", "40", "--groups", "2"],
    );
    let found = json_of(&report);
    assert_eq!(report.status.code(), Some(0), "{}", text(&report));
    assert!(found["put_off"].as_u64() > Some(5), "{found}");
    assert!(found["retried"].as_u64() > Some(1), "{found}");
}

#[test]
fn a_server_that_only_fails_is_given_up() {
    let server = Server::start();
    let tenant = Tenant::create(&server, "down");
    let proxy = broken::in_front_of(
        server.address,
        Box::new(|_, _| Reply {
            retry_after: Some(0),
            ..Reply::error(500)
        }),
    );
    let report = simulate("okta", &base(proxy), &tenant.token, &[]);
    assert_eq!(report.status.code(), Some(1), "{}", text(&report));
    assert!(
        text(&report).contains("failed 50 times in a row"),
        "{}",
        text(&report)
    );
}

#[test]
fn what_cannot_begin_says_why() {
    let server = Server::start();
    let tenant = Tenant::create(&server, "begin");
    let nobody = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let elsewhere = format!("http://{}/health", server.address);
    let wrong = tenant.token.replace(|c: char| c.is_ascii_digit(), "a");
    for (url, token, words) in [
        (
            base(server.address),
            &wrong,
            "refuses the token: it answers 401",
        ),
        (base(nobody), &tenant.token, "no answer"),
        (elsewhere, &tenant.token, "no SCIM base URL: 404"),
        (
            "scim.example.org".to_owned(),
            &tenant.token,
            "begins with neither https:// nor http://",
        ),
        (base(server.address), &String::new(), "the token is empty"),
    ] {
        let report = simulate("entra", &url, token, &[]);
        assert_eq!(report.status.code(), Some(1), "{words}: {}", text(&report));
        assert!(text(&report).contains(words), "{words}: {}", text(&report));
        assert!(token.is_empty() || !text(&report).contains(token.as_str()));
        assert!(report.stdout.is_empty());
    }
    let mut without = Command::new(env!("CARGO_BIN_EXE_rollcall"));
    without
        .args(["simulate", "entra", &base(server.address)])
        .env_remove("ROLLCALL_SCIM_TOKEN");
    assert_eq!(without.output().unwrap().status.code(), Some(2));
}

#[test]
fn what_was_kept_is_nobody_elses_until_it_is_cleaned_up() {
    let server = Server::start();
    let tenant = Tenant::create(&server, "kept");
    let file = server.data().join("token");
    std::fs::write(&file, format!("{}\n", tenant.token)).unwrap();
    let again = |more: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_rollcall"));
        command
            .args(["simulate", "okta", &base(server.address), "--token-file"])
            .arg(&file);
        command
            .args(["--seed", "7", "--users", "30", "--groups", "2"])
            .args(more);
        command.output().unwrap()
    };
    let kept = again(&["--keep"]);
    assert_eq!(kept.status.code(), Some(0), "{}", text(&kept));
    let users = tenant.client().all("/Users");
    assert_eq!(users.len(), 30);
    assert!(users.values().all(|user| {
        user["userName"]
            .as_str()
            .unwrap()
            .to_lowercase()
            .starts_with("sim-7-")
    }));

    let refused = again(&[]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(
        text(&refused).contains("is there already"),
        "{}",
        text(&refused)
    );
    assert_eq!(tenant.client().all("/Users").len(), 30);

    let gone = again(&["--clean-up"]);
    assert_eq!(gone.status.code(), Some(0), "{}", text(&gone));
    assert!(tenant.client().all("/Users").is_empty() && tenant.client().all("/Groups").is_empty());
}

#[test]
fn an_interrupted_run_takes_everything_with_it() {
    let server = Server::start();
    let tenant = Tenant::create(&server, "interrupted");
    let mut child = Command::new(env!("CARGO_BIN_EXE_rollcall"))
        .args([
            "simulate",
            "entra",
            &base(server.address),
            "--users",
            "5000",
        ])
        .env("ROLLCALL_SCIM_TOKEN", &tenant.token)
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = BufReader::new(child.stderr.take().unwrap());
    let mut line = String::new();
    said.read_line(&mut line).unwrap();
    assert_eq!(line, "create users\n");
    assert!(!tenant.client().all("/Users").is_empty());
    let signal = Command::new("kill")
        .args(["-INT", &child.id().to_string()])
        .status();
    assert!(signal.unwrap().success());
    let rest: Vec<String> = said.lines().map_while(Result::ok).collect();
    assert_eq!(child.wait().unwrap().code(), Some(1));
    assert_eq!(rest.first().map(String::as_str), Some("clean up"));
    assert!(rest.last().unwrap().ends_with("interrupted"), "{rest:?}");
    assert!(tenant.client().all("/Users").is_empty());
}

/// What each of these answers, a thread each.
fn at_once<T: Send>(all: impl Iterator<Item = impl FnOnce() -> T + Send>) -> Vec<T> {
    thread::scope(|scope| {
        let threads: Vec<_> = all.map(|one| scope.spawn(one)).collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .collect()
    })
}

fn base(address: SocketAddr) -> String {
    format!("http://{address}{ROOT}")
}

/// Runs it with `-o json`, the token by the environment.
fn simulate(provider: &str, url: &str, token: &str, more: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rollcall"));
    command
        .args(["simulate", provider, url, "-o", "json"])
        .args(more);
    command.env("ROLLCALL_SCIM_TOKEN", token).output().unwrap()
}

#[track_caller]
fn json_of(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}", text(output)))
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&[&output.stdout[..], &output.stderr].concat()).into_owned()
}
