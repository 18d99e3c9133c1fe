//! HTTPS as OpenSSL and rustls see it: versions, suites, chain, reload, and what comes in instead of a handshake.
//!
//! The certificates are made by the `openssl` command for each test.

use std::collections::BTreeSet;
use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use crate::authority::{Authority, EC, HEALTH, RSA, Secure, start, text};
use crate::hazards::many_connections;
use crate::support::PATIENCE;

#[test]
fn openssl_gets_two_versions_and_suites_with_forward_secrecy_alone() {
    let authority = Authority::new();
    let listed = Command::new("openssl")
        .args([
            "ciphers",
            "-s",
            "-tls1_2",
            "ALL:COMPLEMENTOFALL:@SECLEVEL=0",
        ])
        .output()
        .unwrap();
    let listed = text(&listed.stdout);
    let all: BTreeSet<&str> = listed.trim().split(':').collect();
    assert!(all.contains("AES128-SHA") && all.len() > 50, "{all:?}");
    for (name, key) in [("ECDSA", EC), ("RSA", RSA)] {
        let server = start(&authority.issue(name, "localhost", key), &[]);
        let ask = |arguments: &[&str]| {
            let arguments = [&["-quiet", "-ign_eof"], arguments].concat();
            let closing = HEALTH.replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n");
            let output = authority.s_client(server.address, &arguments, &closing);
            text(&output.stdout).ends_with("\r\n\r\nok\n")
        };
        let weakest = "ALL:COMPLEMENTOFALL:@SECLEVEL=0";
        assert!(ask(&[]), "{name}");
        assert!(ask(&["-tls1_2"]), "{name} by TLS 1.2");
        assert!(ask(&["-tls1_3"]), "{name} by TLS 1.3");
        for old in ["-tls1", "-tls1_1"] {
            assert!(!ask(&[old, "-cipher", weakest]), "{name} by {old}");
        }
        let taken = all
            .iter()
            .filter(|suite| ask(&["-tls1_2", "-cipher", &format!("{suite}:@SECLEVEL=0")]));
        let strong = [
            "AES128-GCM-SHA256",
            "AES256-GCM-SHA384",
            "CHACHA20-POLY1305",
        ];
        assert_eq!(
            taken.map(|suite| suite.to_string()).collect::<Vec<_>>(),
            strong.map(|end| format!("ECDHE-{name}-{end}"))
        );
        for (suite, is_taken) in [
            ("TLS_AES_128_GCM_SHA256", true),
            ("TLS_AES_256_GCM_SHA384", true),
            ("TLS_CHACHA20_POLY1305_SHA256", true),
            ("TLS_AES_128_CCM_SHA256", false),
        ] {
            assert_eq!(
                ask(&["-tls1_3", "-ciphersuites", suite]),
                is_taken,
                "{suite}"
            );
        }
        assert!(!ask(&["-alpn", "h2"]), "HTTP/2 alone");
        assert!(ask(&["-alpn", "h2,http/1.1"]));
    }
}

#[test]
fn the_whole_chain_is_sent() {
    let authority = Authority::new();
    let server = start(&authority.issue("a", "localhost", EC), &[]);
    let output = authority.s_client(server.address, &["-showcerts"], "");
    let said = text(&output.stdout);
    assert!(output.status.success(), "{said} {}", text(&output.stderr));
    assert_eq!(said.matches("BEGIN CERTIFICATE").count(), 2, "{said}");
    assert!(said.contains("Verify return code: 0 (ok)"), "{said}");
}

#[test]
fn a_client_cannot_renegotiate() {
    let authority = Authority::new();
    let server = start(&authority.issue("a", "localhost", RSA), &[]);
    // R at the beginning of a line asks for it.
    let output = authority.s_client(server.address, &["-tls1_2"], "R\nGET / HTTP/1.1\n");
    let said = text(&output.stdout) + &text(&output.stderr);
    assert!(said.contains("Secure Renegotiation IS supported"), "{said}");
    assert!(
        said.contains("RENEGOTIATING") && said.contains("no renegotiation"),
        "{said}"
    );
    assert!(!said.contains("HTTP/1.1 200"), "{said}");
    let mut client = Secure::connect(server.address, &authority.path("root.pem"));
    assert_eq!(client.ask(HEALTH).1, b"ok\n");
}

#[test]
fn behind_https_cookies_are_bound_and_browsers_told_to_stay() {
    let authority = Authority::new();
    let server = start(&authority.issue("a", "localhost", EC), &[]);
    let mut client = Secure::connect(server.address, &authority.path("root.pem"));
    let (head, body) = client.ask("GET /sign-in HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert!(
        head.contains("strict-transport-security: max-age="),
        "{head}"
    );
    assert!(
        head.contains("__host-") && head.contains("secure"),
        "{head}"
    );
    assert!(body.len() > 1000);
    // More than a record holds, both ways.
    let long = "a".repeat(60_000);
    let request = format!(
        "POST /sign-in HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n{long}",
        long.len()
    );
    assert!(client.ask(&request).0.starts_with("http/1.1 4"));
    let (head, body) = client.ask("GET /api/v1/openapi.json HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert!(body.len() > 16 * 1024, "{head}");
    serde_json::from_slice::<serde_json::Value>(&body).unwrap();
}

#[test]
fn a_new_certificate_is_used_without_a_restart_and_open_connections_go_on() {
    let authority = Authority::new();
    let files = authority.issue("a", "localhost", EC);
    let next = authority.issue("b", "localhost", RSA);
    let server = start(&files, &[]);
    let connect = || Secure::connect(server.address, &authority.path("root.pem"));
    let mut old = connect();
    assert_eq!(old.ask(HEALTH).1, b"ok\n");
    let shown = |pem: &Path| CertificateDer::from_pem_file(pem).unwrap().to_vec();
    let (first, second) = (shown(&files.0), shown(&next.0));
    assert_eq!(old.shown(), first);
    // Half of the pair: refused, and the old pair stays.
    fs::copy(&next.0, &files.0).unwrap();
    server.signal("-HUP");
    await_that(|| {
        server
            .stderr()
            .contains("is not that of the first certificate")
    });
    assert_eq!(connect().ask(HEALTH).1, b"ok\n");
    // The other half, noticed without a signal.
    fs::copy(&next.1, &files.1).unwrap();
    await_that(|| {
        let mut new = connect();
        assert_eq!(new.ask(HEALTH).1, b"ok\n");
        new.shown() == second
    });
    assert_eq!(old.ask(HEALTH).1, b"ok\n");
    // By the signal, at once.
    let third = authority.issue("c", "localhost", EC);
    fs::copy(&third.0, &files.0).unwrap();
    fs::copy(&third.1, &files.1).unwrap();
    server.signal("-HUP");
    await_that(|| {
        let mut new = connect();
        new.ask(HEALTH);
        new.shown() == shown(&third.0)
    });
    assert_eq!(old.ask(HEALTH).1, b"ok\n");
    fs::remove_file(&files.0).unwrap();
    server.signal("-HUP");
    await_that(|| server.stderr().contains("No such file"));
    assert_eq!(connect().ask(HEALTH).1, b"ok\n");
}

/// Asks every so often.
#[track_caller]
pub fn await_that(is_so: impl Fn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < deadline, "it did not happen");
        thread::park_timeout(Duration::from_millis(50));
    }
}

#[test]
fn what_is_no_handshake_is_told_so_or_closed() {
    let authority = Authority::new();
    let server = start(&authority.issue("a", "localhost", EC), &[]);
    let mut plain = server.connect();
    plain.send(HEALTH);
    let answer = plain.answer();
    assert_eq!(answer.status, 400, "{answer:?}");
    assert!(answer.text().contains("https://"), "{answer:?}");
    assert!(plain.is_closed());
    for noise in [
        &b"\x16\x03\x01\xff\xff"[..],
        b"\x16\x03\x01\x00\x05\x01\x00\x00\x01\x00",
        b"\x80\x2e\x01\x00\x02",
        b"SSH-2.0-OpenSSH_9.9\r\n",
        &[0; 100],
        &[0xff; 70_000],
    ] {
        let mut socket = TcpStream::connect(server.address).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        // It may be closed before all of it is sent.
        let _ = socket.write_all(noise);
        let _ = socket.shutdown(std::net::Shutdown::Write);
        let mut answer = Vec::new();
        let _ = socket.read_to_end(&mut answer);
        assert!(answer.len() < 300, "{}", text(&answer));
    }
    let mut client = Secure::connect(server.address, &authority.path("root.pem"));
    assert_eq!(client.ask(HEALTH).1, b"ok\n");
    assert!(!server.stderr().contains("panicked"), "{}", server.stderr());
}

#[test]
fn who_stalls_in_the_handshake_holds_nobody_up() {
    let authority = Authority::new();
    let server = start(&authority.issue("a", "localhost", EC), &[]);
    let _alone = many_connections();
    let started = Instant::now();
    // More than there are places, silent or cut off in the middle of their first record.
    let stalled: Vec<TcpStream> = (0..600)
        .map(|number| {
            let mut socket = TcpStream::connect(server.address).unwrap();
            if number % 2 == 0 {
                let _ = socket.write_all(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc");
            }
            socket
        })
        .collect();
    let mut slowest = Duration::ZERO;
    for _ in 0..20 {
        let asked = Instant::now();
        // Turned away while all others are new; there is room once they have been silent for a second.
        await_that(|| {
            let output = Command::new("curl")
                .args(["-s", "--max-time", "5", "--cacert"])
                .arg(authority.path("root.pem"))
                .args(["--connect-to", &format!("localhost:443:{}", server.address)])
                .arg("https://localhost/healthz")
                .output()
                .unwrap();
            output.stdout == b"ok\n"
        });
        slowest = slowest.max(asked.elapsed());
    }
    assert!(slowest < Duration::from_secs(5), "{slowest:?}");
    // Those that are left are closed once their time is over.
    for mut socket in stalled {
        let left = (started + PATIENCE).saturating_duration_since(Instant::now());
        let left = left.max(Duration::from_millis(1));
        socket.set_read_timeout(Some(left)).unwrap();
        match socket.read(&mut [0; 100]) {
            Ok(0) => {}
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => {}
            other => panic!("still open: {other:?}"),
        }
    }
}

#[test]
fn what_is_wrong_with_the_files_is_said_with_their_names() {
    let authority = Authority::new();
    let good = authority.issue("good", "localhost", EC);
    let other = authority.issue("other", "localhost", RSA);
    let weak = authority.issue("weak", "localhost", &["rsa:1024"]);
    authority.openssl(&[
        "pkey",
        "-in",
        "good.key",
        "-aes128",
        "-passout",
        "pass:x",
        "-out",
        "locked.key",
    ]);
    authority.openssl(&["ec", "-in", "good.key", "-out", "sec1.key"]);
    authority.openssl(&[
        "rsa",
        "-in",
        "other.key",
        "-traditional",
        "-out",
        "pkcs1.key",
    ]);
    fs::write(authority.path("empty.pem"), "").unwrap();
    fs::write(
        authority.path("cut.pem"),
        "-----BEGIN CERTIFICATE-----\nAAAA\n",
    )
    .unwrap();
    fs::write(
        authority.path("junk.pem"),
        "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
    )
    .unwrap();
    let path = |name: &str| authority.path(name);
    for (certificate, key, named, words) in [
        (
            path("none.pem"),
            good.1.clone(),
            "none.pem",
            "can't be read",
        ),
        (
            path("empty.pem"),
            good.1.clone(),
            "empty.pem",
            "no certificate",
        ),
        (path("cut.pem"), good.1.clone(), "cut.pem", "can't be read"),
        (
            path("junk.pem"),
            good.1.clone(),
            "junk.pem",
            "can't be used",
        ),
        (good.1.clone(), good.1.clone(), "good.key", "no certificate"),
        (
            good.0.clone(),
            path("none.key"),
            "none.key",
            "can't be read",
        ),
        (good.0.clone(), good.0.clone(), "good.pem", "no private key"),
        (
            good.0.clone(),
            other.1.clone(),
            "other.key",
            "is not that of",
        ),
        (
            good.0.clone(),
            path("locked.key"),
            "locked.key",
            "encrypted",
        ),
        (weak.0.clone(), weak.1.clone(), "weak.key", "2048"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let output = Command::new(env!("CARGO_BIN_EXE_rollcall"))
            .args(["serve", "--listen", "127.0.0.1:0", "--data"])
            .arg(folder.path().join("data"))
            .arg("--tls-cert")
            .arg(certificate)
            .arg("--tls-key")
            .arg(key)
            .output()
            .unwrap();
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{named}: {said}");
        assert!(
            said.contains(named) && said.contains(words),
            "{named}: {said}"
        );
    }
    for (certificate, key) in [(good.0, path("sec1.key")), (other.0, path("pkcs1.key"))] {
        let server = start(&(certificate, key), &[]);
        let mut client = Secure::connect(server.address, &path("root.pem"));
        assert_eq!(client.ask(HEALTH).1, b"ok\n");
    }
}
