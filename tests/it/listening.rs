//! The other ways to listen: a redirect, a Unix socket, a socket that was given, a certificate of `--dev`.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};

use crate::authority::{Authority, EC, HEALTH, Secure, start, text};
use crate::support::{Server, Wire};

#[test]
fn plain_http_is_sent_on_to_https() {
    let authority = Authority::new();
    let free = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let files = authority.issue("a", "localhost", EC);
    let mut server = start(&files, &["--http-redirect", &free.to_string()]);
    let port = server.address.port();
    let mut plain = Wire::connect(free);
    for (request, location) in [
        (
            "GET /settings?a=b%20c HTTP/1.1\r\nHost: id.example:80\r\n\r\n",
            format!("https://id.example:{port}/settings?a=b%20c"),
        ),
        (
            "GET / HTTP/1.1\r\nHost: [::1]\r\n\r\n",
            format!("https://[::1]:{port}/"),
        ),
        (
            "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n",
            format!("https://a:{port}/"),
        ),
        (
            "POST /scim/v2/Users HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n{}",
            format!("https://a:{port}/scim/v2/Users"),
        ),
    ] {
        plain.send(request);
        let answer = plain.answer();
        assert_eq!(answer.status, 308, "{request} {answer:?}");
        assert_eq!(answer.header("location"), Some(location.as_str()));
    }
    server.terminate();
    assert!(server.wait().success());
    let output = Command::new(env!("CARGO_BIN_EXE_rollcall"))
        .args(["serve", "--http-redirect", "127.0.0.1:0", "--data"])
        .arg(authority.path("data"))
        .output()
        .unwrap();
    assert!(text(&output.stderr).contains("--tls-cert"));
}

#[test]
fn dev_makes_a_certificate_for_itself_and_keeps_it() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let options = ["--dev", "--tls"];
    let pem = data.join("dev-cert.pem");
    let mut shown = Vec::new();
    for _ in 0..2 {
        let mut server = Server::start_in_with(&data, &options);
        assert!(server.line().starts_with("settings: https://127.0.0.1:"));
        let mut client = Secure::connect(server.address, &pem);
        assert_eq!(client.ask(HEALTH).1, b"ok\n");
        shown.push(client.shown());
        let mode = fs::metadata(data.join("dev-key.pem"))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600);
        server.terminate();
        assert!(server.wait().success());
    }
    assert_eq!(shown[0], shown[1]);
    // OpenSSL finds nothing amiss in it either.
    let checked = Command::new("openssl")
        .args(["verify", "-x509_strict", "-purpose", "sslserver", "-CAfile"])
        .arg(&pem)
        .arg(&pem)
        .output()
        .unwrap();
    assert!(checked.status.success(), "{}", text(&checked.stderr));
}

#[test]
fn a_proxy_on_the_same_machine_can_use_a_unix_socket() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("http.sock");
    let listen = format!("unix:{}", path.display());
    let mut server = Server::start_with(&["--listen", &listen]);
    assert_eq!(
        fs::metadata(&path).unwrap().permissions().mode() & 0o777,
        0o660
    );
    let mut socket = UnixStream::connect(&path).unwrap();
    let request =
        "GET /sign-in HTTP/1.1\r\nHost: a\r\nX-Forwarded-Proto: https\r\nConnection: close\r\n\r\n";
    socket.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).unwrap();
    assert!(
        answer.starts_with("HTTP/1.1 200") && answer.contains("__Host-"),
        "{answer}"
    );
    server.terminate();
    assert!(server.wait().success());
    assert!(!path.exists());
}

#[test]
fn a_socket_can_be_given_as_standard_input() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let mut server = Server::start_on_stdin(listener, &["--listen", "stdin"]);
    assert_eq!(server.address, address);
    assert_eq!(server.anyone().get("/healthz").text(), "ok\n");
    server.terminate();
    assert!(server.wait().success());
    let output = Command::new(env!("CARGO_BIN_EXE_rollcall"))
        .args(["serve", "--listen", "stdin", "--data"])
        .arg(server.data())
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert!(text(&output.stderr).contains("StandardInput=socket"));
}
