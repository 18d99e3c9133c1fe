//! What a service manager is told (sd_notify(3)): that the server serves, ends, and is alive, and not that it is where it isn't.

use std::fs::{self, File};
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::authority::{Authority, EC};
use crate::preload;
use crate::support::{PATIENCE, Server};
use crate::tenant::{Tenant, user};

/// How often the server is asked to say that it is alive, at least; it does twice as often.
const WATCHDOG: Duration = Duration::from_millis(200);

/// The other end of `NOTIFY_SOCKET`.
struct Manager(UnixDatagram);

impl Manager {
    fn at(address: &SocketAddr) -> Manager {
        let socket = UnixDatagram::bind_addr(address).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        Manager(socket)
    }

    #[track_caller]
    fn message(&self) -> String {
        let mut bytes = [0; 1024];
        let length = self.0.recv(&mut bytes).expect("a message");
        String::from_utf8(bytes[..length].to_vec()).unwrap()
    }

    /// Reads on until a message is this one.
    #[track_caller]
    fn hears(&self, wanted: &str) {
        let deadline = Instant::now() + PATIENCE;
        while self.message() != wanted {
            assert!(Instant::now() < deadline, "{wanted} isn't said");
        }
    }

    /// Whether nothing comes for so long.
    fn is_silent(&self, time: Duration) -> bool {
        self.0.set_read_timeout(Some(time)).unwrap();
        let heard = self.0.recv(&mut [0; 1024]);
        self.0.set_read_timeout(Some(PATIENCE)).unwrap();
        heard.is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
    }
}

fn environment(socket: &str) -> [(&str, String); 2] {
    let watchdog = WATCHDOG.as_micros().to_string();
    [
        ("NOTIFY_SOCKET", socket.to_owned()),
        ("WATCHDOG_USEC", watchdog),
    ]
}

#[track_caller]
fn start(variables: &[(&str, String)], options: &[&str]) -> Server {
    let variables: Vec<_> = variables
        .iter()
        .map(|(name, value)| (*name, value.as_str()))
        .collect();
    Server::start_with_env(&variables, options)
}

#[test]
fn it_is_told_when_the_server_serves_lives_and_ends() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("notify");
    let name = format!("rollcall-test-{}", std::process::id());
    let authority = Authority::new();
    let files = authority.issue("a", "localhost", EC);
    let [cert, key] = [&files.0, &files.1].map(|file| file.to_str().unwrap());
    let socket = format!("unix:{}", folder.path().join("http").display());
    for (address, named, options) in [
        (
            SocketAddr::from_pathname(&path).unwrap(),
            path.to_str().unwrap().to_owned(),
            vec!["--listen", "0.0.0.0:0"],
        ),
        (
            SocketAddr::from_abstract_name(&name).unwrap(),
            format!("@{name}"),
            vec!["--tls-cert", cert, "--tls-key", key],
        ),
        (
            SocketAddr::from_abstract_name(format!("{name}-2")).unwrap(),
            format!("@{name}-2"),
            vec!["--listen", &socket],
        ),
    ] {
        let manager = Manager::at(&address);
        let mut server = start(&environment(&named), &options);
        manager.hears("READY=1");
        for _ in 0..3 {
            manager.hears("WATCHDOG=1");
        }
        server.terminate();
        manager.hears("STOPPING=1");
        assert!(server.wait().success());
    }
}

#[test]
fn it_is_not_told_that_a_server_is_alive_whose_writer_hangs() {
    let folder = tempfile::tempdir().unwrap();
    let library = preload::library("stuck", folder.path());
    let stuck = folder.path().join("stuck");
    let path = folder.path().join("notify");
    let manager = Manager::at(&SocketAddr::from_pathname(&path).unwrap());
    let text = |path: &Path| path.to_str().unwrap().to_owned();
    let [notify, watchdog] = environment(path.to_str().unwrap());
    let variables = [
        notify,
        watchdog,
        ("LD_PRELOAD", text(&library)),
        ("STUCK", text(&stuck)),
    ];
    let server = start(&variables, &[]);
    let tenant = Tenant::create(&server, "contoso");
    manager.hears("WATCHDOG=1");
    File::create(&stuck).unwrap();
    let mut client = tenant.client();
    let writing = thread::spawn(move || client.create("/Users", &user("ada", json!({}))));
    // It was perhaps about to say so once more.
    let deadline = Instant::now() + PATIENCE;
    while !manager.is_silent(WATCHDOG * 3) {
        assert!(
            Instant::now() < deadline,
            "it goes on saying that it is alive"
        );
    }
    assert_eq!(server.anyone().get("/readyz").status, 200, "reads go on");
    fs::remove_file(&stuck).unwrap();
    manager.hears("WATCHDOG=1");
    writing.join().unwrap();
}

#[test]
fn nobody_to_tell_or_nobody_there_is_no_reason_not_to_serve() {
    for (name, value) in [
        ("NOTIFY_SOCKET", "/nowhere/at/all"),
        ("NOTIFY_SOCKET", "vsock:2:9999"),
        ("WATCHDOG_USEC", "soon"),
    ] {
        let mut server = start(&[(name, value.to_owned())], &[]);
        assert_eq!(server.anyone().get("/healthz").text(), "ok\n");
        server.terminate();
        assert!(server.wait().success());
        let told = server.stderr().contains("NOTIFY_SOCKET=");
        assert_eq!(told, name == "NOTIFY_SOCKET", "{}", server.stderr());
    }
}

#[test]
fn what_is_meant_for_another_process_is_left_to_it() {
    let name = format!("rollcall-test-{}-other", std::process::id());
    let manager = Manager::at(&SocketAddr::from_abstract_name(&name).unwrap());
    let [notify, watchdog] = environment("");
    let notify = (notify.0, format!("@{name}"));
    let _server = start(&[notify, watchdog, ("WATCHDOG_PID", "1".to_owned())], &[]);
    assert_eq!(manager.message(), "READY=1");
    assert!(manager.is_silent(WATCHDOG * 3));
}
