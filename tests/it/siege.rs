//! Two thousand connections that say nothing, or next to nothing: a client that behaves is served as if they weren't there.
//!
//! Prints the figures that it checks: `cargo test --test it siege -- --nocapture`.

use std::fs;
use std::io::Write;
use std::net::TcpStream;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::hazards::many_connections;
use crate::support::Server;
use crate::tls::await_that;

const BESIEGERS: usize = 2000;
const ASKED: usize = 1000;
const MIB: usize = 1024 * 1024;

/// A number in `/proc/PID/status`, in its own unit.
fn status(server: &Server, field: &str) -> usize {
    let text = fs::read_to_string(server.proc("status")).unwrap();
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix(field))
        .unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// Lets this process have as many descriptors as it takes.
fn allow_descriptors() {
    let most = format!("--nofile={}", 2 * BESIEGERS + 1000);
    let pid = std::process::id().to_string();
    let set = Command::new("prlimit")
        .args(["--pid", &pid, &most])
        .output()
        .unwrap();
    assert!(
        set.status.success(),
        "{}",
        String::from_utf8_lossy(&set.stderr)
    );
}

/// One that has sent so much of a request, if the server let it.
fn besieger(server: &Server, number: usize) -> Option<TcpStream> {
    let mut socket = TcpStream::connect(server.address).ok()?;
    let said = ["", "G", "GET /healthz HTTP/1.1\r\nHost: a\r\nX: "][number % 3];
    let _ = socket.write_all(said.as_bytes());
    Some(socket)
}

/// The median and the 99th percentile of many answers, one after the other.
fn served(server: &Server, mut meanwhile: impl FnMut(usize)) -> (Duration, Duration) {
    let mut client = server.anyone();
    // There is room once a besieger has been silent for a second.
    let mut times = Vec::new();
    await_that(|| {
        let mut first = server.anyone();
        let answer = first.try_request("GET", "/healthz", &[], b"");
        answer.is_ok_and(|answer| answer.status == 200)
    });
    for number in 0..ASKED {
        meanwhile(number);
        let asked = Instant::now();
        let answer = client.get("/healthz");
        assert_eq!(answer.status, 200, "{answer:?}");
        times.push(asked.elapsed());
    }
    times.sort();
    (times[ASKED / 2], times[ASKED * 99 / 100])
}

#[test]
fn two_thousand_silent_and_slow_connections_take_nothing_from_others() {
    let _alone = many_connections();
    allow_descriptors();
    let server = Server::start();
    let before = (status(&server, "Threads"), status(&server, "VmRSS"));
    let (calm, calm_99) = served(&server, |_| {});
    let mut besiegers: Vec<_> = (0..BESIEGERS)
        .filter_map(|n| besieger(&server, n))
        .collect();
    let held = status(&server, "Threads");
    let (median, p99) = served(&server, |number| {
        // A byte now and then from those that are slow.
        for besieger in besiegers.iter_mut().skip(number % 50).step_by(50) {
            let _ = besieger.write_all(b"x");
        }
    });
    let resident = status(&server, "VmHWM") * 1024;
    eprintln!(
        "besiegers {BESIEGERS}, threads {held}, most resident {} MiB",
        resident / MIB
    );
    eprintln!("answers: median {median:?} (calm {calm:?}), p99 {p99:?} (calm {calm_99:?})");
    assert!(held < 560, "{held} threads");
    assert!(resident < 64 * MIB, "{} MiB", resident / MIB);
    assert!(p99 < Duration::from_millis(50), "{p99:?}");
    drop(besiegers);
    await_that(|| status(&server, "Threads") <= before.0 + 2);
    let (_, after) = served(&server, |_| {});
    assert!(after < Duration::from_millis(50), "{after:?}");
    assert!(!server.stderr().contains("panicked"), "{}", server.stderr());
}
