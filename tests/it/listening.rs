//! The other ways to listen: a redirect, a Unix socket, sockets of systemd, a certificate of `--dev`.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::process::Command;

use crate::authority::{Authority, EC, HEALTH, Secure, start, text};
use crate::support::{Client, Server, Wire};

#[test]
fn plain_http_is_sent_on_to_https() {
    let authority = Authority::new();
    let free = free_address();
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

/// What systemd does before it starts a service: the sockets that are named stand from descriptor 3 on.
const ACTIVATE: &str = r#"
import os, socket, sys
sockets, names, command = sys.argv[1].split(), sys.argv[2], sys.argv[3:]
held = []
for kind in sockets:
    if kind == "file":
        made = open("/dev/null")
    elif kind == "udp":
        made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    elif kind == "connected":
        listener = socket.create_server(("127.0.0.1", 0))
        made = socket.create_connection(listener.getsockname())
    elif kind.startswith("/"):
        made = socket.socket(socket.AF_UNIX)
        made.bind(kind)
        made.listen()
    else:
        host, _, port = kind.rpartition(":")
        made = socket.create_server((host, int(port)))
        made.setblocking(False)
    held.append(made)
# Out of the way first, so that none is overwritten by another.
spare = [os.dup2(made.fileno(), 100 + number) for number, made in enumerate(held)]
for number, descriptor in enumerate(spare):
    os.dup2(descriptor, 3 + number)
os.closerange(3 + len(spare), 200)
os.environ.update(LISTEN_FDS=str(len(spare)), LISTEN_PID=str(os.getpid()), LISTEN_FDNAMES=names)
os.execv(command[0], command)
"#;

fn activated(sockets: &str, names: &str) -> Command {
    let mut command = Command::new("python3");
    let program = env!("CARGO_BIN_EXE_rollcall");
    command.args(["-c", ACTIVATE, sockets, names, program]);
    command
}

fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
}

#[test]
fn systemd_can_give_the_socket() {
    let address = free_address();
    let listen = ["--listen", "systemd"];
    let mut server = Server::start_by(activated(&address.to_string(), "rollcall.socket"), &listen);
    assert_eq!(server.address, address);
    assert_eq!(server.anyone().get("/healthz").text(), "ok\n");
    server.terminate();
    assert!(server.wait().success());
    // A Unix socket, which belongs to systemd, so it stays.
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("http.sock");
    let mut server = Server::start_by(activated(path.to_str().unwrap(), ""), &listen);
    let mut socket = UnixStream::connect(&path).unwrap();
    let request = "GET /healthz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    socket.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).unwrap();
    assert!(answer.ends_with("ok\n"), "{answer}");
    server.terminate();
    assert!(server.wait().success());
    assert!(path.exists());
}

#[test]
fn systemd_can_give_several_sockets_by_name() {
    let (main, metrics) = (free_address(), free_address());
    let command = activated(&format!("{metrics} {main}"), "metrics:web");
    let options = ["--listen", "systemd:web", "--metrics", "systemd:metrics"];
    let server = Server::start_by(command, &options);
    assert_eq!(server.address, main);
    assert_eq!(server.anyone().get("/healthz").text(), "ok\n");
    assert_eq!(Client::to(metrics).get("/metrics").status, 200);
}

#[test]
fn what_systemd_gave_and_cannot_be_used_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let free = "127.0.0.1:0";
    let both = format!("{free} {free}");
    for (sockets, names, listen, words) in [
        (
            "file",
            "a",
            "systemd",
            "descriptor 3 is no socket that listens",
        ),
        (
            "udp",
            "a",
            "systemd",
            "descriptor 3 is no socket that listens",
        ),
        ("connected", "a", "systemd", "Accept=no"),
        (
            &both,
            "a:b",
            "systemd",
            "say which one, as in systemd:NAME: a, b",
        ),
        (&both, "a:b", "systemd:c", "there is: a, b"),
        (&both, "a:b", "systemd:b", "that no option takes: a"),
        (
            &both,
            "",
            "systemd:unknown",
            "that no option takes: unknown",
        ),
        (free, "a", free, "that no option takes: a"),
        ("", "", "systemd", "systemd gave no socket (LISTEN_FDS)"),
    ] {
        let output = activated(sockets, names)
            .args(["serve", "--listen", listen, "--data"])
            .arg(folder.path())
            .output()
            .unwrap();
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{listen}: {said}");
        assert!(said.contains(words), "{listen}: {said}");
    }
    // Meant for another process, as for a child of it.
    let output = Command::new(env!("CARGO_BIN_EXE_rollcall"))
        .args(["serve", "--listen", "systemd", "--data"])
        .arg(folder.path())
        .envs([("LISTEN_PID", "1"), ("LISTEN_FDS", "1")])
        .output()
        .unwrap();
    assert!(text(&output.stderr).contains("systemd gave no socket"));
}
