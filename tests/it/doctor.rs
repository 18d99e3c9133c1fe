//! `rollcall doctor` and `healthcheck`: what they say of a server that is well, and of each thing that isn't.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::Path;

use serde_json::Value;

use crate::authority::{Authority, EC, start};
use crate::support::{PATIENCE, Server};
use crate::tenant::{Tenant, run};

/// The findings and the exit status.
#[track_caller]
fn examine(server: &Server, options: &[&str]) -> (Vec<Value>, i32) {
    let output = server.rollcall(&[&["doctor", "-o", "json"], options].concat());
    let said = String::from_utf8(output.stdout).unwrap();
    let findings = serde_json::from_str(&said).unwrap_or_else(|error| {
        panic!(
            "{error}: {said} {}",
            String::from_utf8_lossy(&output.stderr)
        )
    });
    (findings, output.status.code().unwrap())
}

/// What it finds of `check`: the worst state, and its words with the fix.
fn of(findings: &[Value], check: &str) -> (String, String) {
    let ours = findings.iter().filter(|one| one["check"] == check);
    let worst = ours.max_by_key(|one| {
        ["ok", "warn", "fail"]
            .iter()
            .position(|state| one["state"] == *state)
    });
    let worst = worst.unwrap_or_else(|| panic!("no {check} in {findings:#?}"));
    let text = |field: &str| worst[field].as_str().unwrap_or_default().to_owned();
    (text("state"), text("found") + " → " + &text("fix"))
}

#[track_caller]
fn sql(folder: &Path, statement: &str) {
    let conn = rusqlite::Connection::open(folder.join("rollcall.db")).unwrap();
    conn.busy_timeout(PATIENCE).unwrap();
    conn.execute_batch(statement).unwrap();
}

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

#[test]
fn a_server_that_is_well_passes_every_check() {
    let authority = Authority::new();
    let files = authority.issue("a", "localhost", EC);
    let port = free_port();
    let (listen, url) = (
        format!("127.0.0.1:{port}"),
        format!("https://localhost:{port}"),
    );
    let backups = authority.path("backups");
    let backups = backups.to_str().unwrap();
    let server = start(
        &files,
        &[
            "--listen",
            &listen,
            "--public-url",
            &url,
            "--backup-dir",
            backups,
        ],
    );
    Tenant::create(&server, "acme");
    let (certificate, key) = (files.0.to_str().unwrap(), files.1.to_str().unwrap());
    let root = authority.path("root.pem");
    let options = [
        "--public-url",
        &url,
        "--ca-file",
        root.to_str().unwrap(),
        "--tls-cert",
        certificate,
        "--tls-key",
        key,
        "--backup-dir",
        backups,
    ];
    crate::tls::await_that(|| {
        fs::read_dir(backups).is_ok_and(|all| {
            all.flatten()
                .any(|one| !one.file_name().to_string_lossy().starts_with('.'))
        })
    });
    let (findings, code) = examine(&server, &options);
    for check in [
        "permissions",
        "integrity",
        "foreign keys",
        "clock",
        "tokens",
        "backups",
        "certificate",
        "public URL",
        "proxy",
    ] {
        let (state, words) = of(&findings, check);
        assert_eq!(state, "ok", "{check}: {words}");
    }
    // The disk of whoever runs this may be nearly full.
    assert!(code == 0 || of(&findings, "disk").0 == "fail");
    let table = server.rollcall(&[&["doctor"], &options[..]].concat());
    let table = String::from_utf8(table.stdout).unwrap();
    assert!(table.contains("ok    integrity     "), "{table}");
    let well = server.rollcall(&[
        "healthcheck",
        "--listen",
        &listen,
        "--tls-cert",
        certificate,
    ]);
    assert!(well.status.success());
    let other = authority.issue("b", "localhost", EC).0;
    let stranger = server.rollcall(&[
        "healthcheck",
        "--listen",
        &listen,
        "--tls-cert",
        other.to_str().unwrap(),
    ]);
    assert_eq!(stranger.status.code(), Some(1));
    // A public URL that leads here, but under another name than the server knows.
    let other = format!("https://localhost.localdomain:{port}");
    let (findings, code) = examine(
        &server,
        &["--public-url", &other, "--ca-file", root.to_str().unwrap()],
    );
    assert_eq!((of(&findings, "public URL").0.as_str(), code), ("fail", 3));
    let others = Authority::new();
    let elsewhere = others.path("root.pem");
    let elsewhere = elsewhere.to_str().unwrap();
    let untrusted = examine(&server, &["--public-url", &url, "--ca-file", elsewhere]);
    let (state, words) = of(&untrusted.0, "public URL");
    assert!(state == "fail" && words.contains("certificate"), "{words}");
}

#[test]
fn each_thing_that_is_not_well_is_named_with_what_to_do() {
    let authority = Authority::new();
    let server = Server::start();
    let data = server.data();
    Tenant::create(&server, "acme");
    run(
        &server,
        &[
            "token",
            "create",
            "--tenant",
            "acme",
            "--name",
            "old",
            "--expires",
            "3",
        ],
    );
    let url = format!("http://{}", server.address);
    let (findings, code) = examine(&server, &["--public-url", &url]);
    assert_eq!(code, 0, "{findings:#?}");
    for (check, words) in [
        ("public URL", "plain HTTP"),
        ("backups", "--backup-dir"),
        ("tokens", "put the new one into the provider"),
    ] {
        let (state, found) = of(&findings, check);
        assert!(
            state == "warn" && found.contains(words),
            "{check}: {state} {found}"
        );
    }
    assert_eq!(of(&findings, "proxy").0, "ok");
    // Behind a name that it doesn't know.
    let alias = format!("http://localhost:{}", server.address.port());
    let known = Server::start_with(&["--public-url", "https://id.example.org"]);
    let (findings, code) = examine(
        &known,
        &["--public-url", &format!("http://{}", known.address)],
    );
    let (state, words) = of(&findings, "proxy");
    assert!(
        (state.as_str(), code) == ("fail", 3) && words.contains("id.example.org"),
        "{words}"
    );
    assert_eq!(
        of(&examine(&server, &["--public-url", &alias]).0, "proxy").0,
        "ok"
    );

    fs::set_permissions(data.join("rollcall.db"), fs::Permissions::from_mode(0o644)).unwrap();
    sql(
        &data,
        "UPDATE event SET at = 4000000000000 WHERE seq = (SELECT max(seq) FROM event);
                UPDATE tenant SET unusual_since = 1700000000000;
                PRAGMA foreign_keys = OFF;
                INSERT INTO account (tenant, email, email_key, created) VALUES (999, 'a', 'a', 0);",
    );
    fs::create_dir(authority.path("empty")).unwrap();
    let empty = authority.path("empty");
    authority.openssl(&[
        "req",
        "-x509",
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-keyout",
        "short.key",
        "-out",
        "short.pem",
        "-subj",
        "/CN=a",
        "-days",
        "5",
    ]);
    let [pem, key, ec] = ["short.pem", "short.key", "root.key"]
        .map(|name| authority.path(name).to_str().unwrap().to_owned());
    let closed = format!("http://127.0.0.1:{}", free_port());
    let (findings, code) = examine(
        &server,
        &[
            "--public-url",
            &closed,
            "--backup-dir",
            empty.to_str().unwrap(),
            "--tls-cert",
            &pem,
            "--tls-key",
            &key,
        ],
    );
    assert_eq!(code, 3);
    for (check, expected, words) in [
        ("permissions", "fail", "chmod 600"),
        ("clock", "fail", "NTP"),
        ("foreign keys", "fail", "account"),
        ("removals", "warn", "rollcall undo"),
        ("backups", "warn", "none"),
        ("certificate", "warn", "4 days"),
        ("public URL", "fail", "refused"),
    ] {
        let (state, found) = of(&findings, check);
        assert!(
            state == expected && found.contains(words),
            "{check}: {state} {found}"
        );
    }
    let (findings, _) = examine(&server, &["--tls-cert", &pem, "--tls-key", &ec]);
    assert_eq!(of(&findings, "certificate").0, "fail");
    let health = |listen: &str| {
        server
            .rollcall(&["healthcheck", "--listen", listen])
            .status
            .code()
    };
    assert_eq!(health(&server.address.to_string()), Some(0));
    assert_eq!(health(closed.trim_start_matches("http://")), Some(1));
}

#[test]
fn a_damaged_database_is_found_and_left_alone() {
    let mut server = Server::start();
    for name in 0..40 {
        run(&server, &["tenant", "create", &format!("tenant {name}")]);
    }
    server.terminate();
    server.wait();
    let path = server.data().join("rollcall.db");
    let whole = fs::read(&path).unwrap();
    let file = fs::OpenOptions::new().write(true).open(&path).unwrap();
    for page in 2..whole.len() as u64 / 4096 {
        file.write_all_at(&[0xaa; 64], page * 4096).unwrap();
    }
    let damaged = fs::read(&path).unwrap();
    let (findings, code) = examine(&server, &[]);
    let bad = findings.iter().find(|one| one["state"] == "fail").unwrap();
    assert!(
        code == 3 && bad["fix"].as_str().unwrap().contains("rollcall restore"),
        "{bad}"
    );
    assert_eq!(fs::read(&path).unwrap(), damaged);
    fs::remove_file(&path).unwrap();
    let (findings, code) = examine(&server, &[]);
    assert_eq!((of(&findings, "database").0.as_str(), code), ("fail", 3));
}
