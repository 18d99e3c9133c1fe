//! What took tiny_http's own server down or made it useless must not do so here.
//!
//! ARCHITECTURE.md has the table; each row is a test, and so is what a stop and a full house must look like.
//! `connections` has the rows that need a short deadline or a failure inside the process.

use std::fs;
use std::io::{ErrorKind, Write};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use socket2::SockRef;

use crate::support::{PATIENCE, Server, Wire};

pub const MIB: usize = 1024 * 1024;
pub const HEALTH: &str = "GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n";

/// Held by tests that open hundreds of connections, so that they don't exhaust our own descriptors together.
pub fn many_connections() -> MutexGuard<'static, ()> {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A field of `/proc/PID/status`: a count of threads, or bytes of memory.
#[track_caller]
pub fn status(server: &Server, field: &str) -> usize {
    let text = fs::read_to_string(server.proc("status")).expect("the server runs");
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix(field))
        .expect("a field of status");
    let number: usize = line
        .trim_start_matches(':')
        .trim()
        .trim_end_matches(" kB")
        .parse()
        .expect("a number");
    if line.ends_with("kB") {
        number * 1024
    } else {
        number
    }
}

pub fn descriptors(server: &Server) -> usize {
    fs::read_dir(server.proc("fd"))
        .expect("the server runs")
        .count()
}

/// Processor time used so far, in hundredths of a second.
fn processor_time(server: &Server) -> u64 {
    let text = fs::read_to_string(server.proc("stat")).expect("the server runs");
    // Fields 14 and 15, counted from behind the name, which may contain spaces.
    let fields: Vec<&str> = text
        .rsplit(')')
        .next()
        .unwrap_or_default()
        .split_whitespace()
        .collect();
    fields[11..13]
        .iter()
        .map(|ticks| ticks.parse::<u64>().expect("a number"))
        .sum()
}

/// The server still answers, has never used much memory, and nothing in it has panicked.
#[track_caller]
fn assert_well(server: &Server) {
    assert_eq!(server.anyone().get("/healthz").text(), "ok\n");
    let peak = status(server, "VmHWM");
    assert!(peak < 100 * MIB, "{} MiB were resident", peak / MIB);
    let stderr = server.stderr();
    assert!(!stderr.contains("panicked"), "{stderr}");
}

/// Writes until the server stops reading for `pause`, closes, or has `most` bytes. Returns how many it took.
fn pour(wire: &Wire, bytes: &[u8], most: usize, pause: Duration) -> usize {
    wire.stream()
        .set_write_timeout(Some(pause))
        .expect("a socket");
    let mut written = 0;
    while written < most {
        match wire.stream().write(bytes) {
            Ok(count) => written += count,
            Err(_) => break,
        }
    }
    written
}

#[test]
fn a_declared_length_is_never_allocated() {
    let server = Server::start();
    let mut wire = server.connect();
    wire.send(
        "POST /scim/v2/Users HTTP/1.1\r\nHost: a\r\nContent-Length: 100000000000\r\n\r\n{\"a",
    );
    let answer = wire.answer();
    assert_eq!(
        (answer.status, answer.header("connection")),
        (413, Some("close"))
    );
    assert!(wire.is_closed());
    assert_well(&server);
}

#[test]
fn a_body_without_a_valid_length_is_not_read_as_a_request() {
    let server = Server::start();
    for framing in [
        "Content-Length: abc",
        "Content-Length: 0\r\nTransfer-Encoding: chunked",
    ] {
        let mut wire = server.connect();
        wire.send(format!(
            "POST /scim/v2/Users HTTP/1.1\r\nHost: a\r\n{framing}\r\n\r\n{HEALTH}"
        ));
        assert_eq!(wire.answer().status, 400, "{framing}");
        assert!(wire.is_closed(), "{framing}");
    }
    assert_well(&server);
}

#[test]
fn endless_heads_are_refused_and_not_kept() {
    let server = Server::start();
    let tiny = "a: b\r\n".repeat(10_000);
    for (endless, most) in [("a".repeat(64 * 1024), 300 * MIB), (tiny, 100 * MIB)] {
        let mut wire = server.connect();
        wire.send("GET /healthz HTTP/1.1\r\nHost: a\r\nX: ");
        let taken = pour(&wire, endless.as_bytes(), most, PATIENCE);
        assert!(taken < 20 * MIB, "{} MiB were read", taken / MIB);
        // The reset of whoever goes on writing may overtake the answer.
        if let Ok(answer) = wire.try_answer() {
            assert_eq!(answer.status, 431);
        }
        assert_well(&server);
    }
    let mut polite = server.connect();
    polite.send(format!(
        "GET /healthz HTTP/1.1\r\nHost: a\r\nX: {}",
        "a".repeat(40_000)
    ));
    assert_eq!(polite.answer().status, 431);
    assert!(polite.is_closed());
}

#[test]
fn idle_connections_make_room_when_descriptors_run_out() {
    let _guard = many_connections();
    let server = Server::start_with_descriptors(256);
    let mut kept = Vec::new();
    for _ in 0..300 {
        let mut wire = server.connect();
        wire.send(HEALTH);
        assert_eq!(wire.answer().status, 200);
        kept.push(wire);
    }
    assert_well(&server);
}

#[test]
fn running_out_of_descriptors_is_survived_without_spinning() {
    let _guard = many_connections();
    let server = Server::start_with_descriptors(256);
    let unfinished: Vec<Wire> = (0..300)
        .map(|_| {
            let wire = server.connect();
            wire.send("GET /healthz HTTP/1.1\r\n");
            wire
        })
        .collect();
    let mut waiting = server.connect();
    waiting.send(HEALTH);
    let before = processor_time(&server);
    waiting
        .stream()
        .set_read_timeout(Some(Duration::from_secs(1)))
        .expect("a socket");
    // Waits for a second. Whether it's answered depends on how many descriptors the program needs itself.
    let early = waiting.try_answer();
    let used = processor_time(&server) - before;
    assert!(
        used < 30,
        "{used} hundredths of a second were used to wait for one"
    );
    drop(unfinished);
    waiting
        .stream()
        .set_read_timeout(Some(PATIENCE))
        .expect("a socket");
    assert_eq!(early.unwrap_or_else(|_| waiting.answer()).status, 200);
    assert_well(&server);
}

#[test]
fn slow_bodies_keep_nobody_else_waiting() {
    let server = Server::start();
    let slow: Vec<Wire> = (0..40)
        .map(|_| {
            let wire = server.connect();
            wire.send("POST /scim/v2/Users HTTP/1.1\r\nHost: a\r\nContent-Length: 50000\r\n\r\n{");
            wire
        })
        .collect();
    let started = Instant::now();
    let mut client = server.anyone();
    for _ in 0..50 {
        assert_eq!(client.get("/healthz").status, 200);
    }
    assert!(
        started.elapsed() < Duration::from_secs(5),
        "{:?}",
        started.elapsed()
    );
    drop(slow);
    assert_well(&server);
}

#[test]
fn a_client_that_never_reads_is_not_read_for_ever() {
    let server = Server::start();
    let wire = server.connect();
    let all = 400_000 * HEALTH.len();
    let taken = pour(
        &wire,
        HEALTH.repeat(1000).as_bytes(),
        all,
        Duration::from_secs(1),
    );
    assert!(taken < all, "all was read, and the answers are somewhere");
    assert_well(&server);
}

#[test]
fn three_thousand_resets_leave_nothing_behind() {
    let server = Server::start();
    server.anyone().get("/healthz");
    let (descriptors_before, threads_before) = (descriptors(&server), status(&server, "Threads"));
    for _ in 0..3_000 {
        let wire = server.connect();
        wire.send(HEALTH);
        // Closing now is a reset.
        SockRef::from(wire.stream())
            .set_linger(Some(Duration::ZERO))
            .expect("a socket");
    }
    let deadline = Instant::now() + PATIENCE;
    while descriptors(&server) > descriptors_before + 2
        || status(&server, "Threads") > threads_before + 2
    {
        assert!(
            Instant::now() < deadline,
            "{} descriptors, {} threads",
            descriptors(&server),
            status(&server, "Threads")
        );
        // Waits as long as an answer takes.
        server.anyone().get("/healthz");
    }
    assert_well(&server);
}

#[test]
fn a_long_answer_on_a_kept_connection_does_not_stall() {
    let server = Server::start();
    let mut client = server.anyone();
    let mut times: Vec<Duration> = (0..50)
        .map(|_| {
            let started = Instant::now();
            let answer = client.get("/scim/v2/Schemas");
            assert!(
                answer.status == 200 && answer.body.len() > 2_000,
                "{answer:?}"
            );
            started.elapsed()
        })
        .collect();
    times.sort();
    assert!(
        times[25] < Duration::from_millis(20),
        "half of the answers took longer than {:?}",
        times[25]
    );
}

#[test]
fn a_full_house_closes_who_has_been_idle_longest() {
    let _guard = many_connections();
    let server = Server::start();
    let mut kept: Vec<Wire> = (0..532)
        .map(|_| {
            let mut wire = server.connect();
            wire.send(HEALTH);
            assert_eq!(wire.answer().status, 200);
            wire
        })
        .collect();
    let threads = status(&server, "Threads");
    assert!(threads < 550, "{threads} threads");
    assert!(kept[0].is_closed() && kept[19].is_closed());
    kept[531].send(HEALTH);
    assert_eq!(kept[531].answer().status, 200);
    assert_well(&server);
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let server = Server::start();
    let mut wire = server.connect();
    let chunked = "POST /scim/v2/Users HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n";
    let length = "POST /scim/v2/Users HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n{}";
    wire.send(format!("{HEALTH}{chunked}{HEALTH}{length}{HEALTH}GET /scim/v2/Schemas HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"));
    let statuses: Vec<u16> = (0..6).map(|_| wire.answer().status).collect();
    assert_eq!(statuses, [200, 401, 200, 401, 200, 200]);
    assert!(wire.is_closed());
}

#[test]
fn a_head_request_has_the_head_of_a_get() {
    let server = Server::start();
    let mut client = server.anyone();
    let got = client.get("/scim/v2/Schemas");
    // The next answer would be garbage if a body followed this one.
    let head = client.request("HEAD", "/scim/v2/Schemas", &[], b"");
    assert_eq!(
        (head.status, head.header("content-length")),
        (200, got.header("content-length"))
    );
    assert_eq!(head.header("content-type"), got.header("content-type"));
    assert_eq!(client.get("/healthz").text(), "ok\n");
}

#[test]
fn a_client_is_told_to_continue_only_if_its_body_is_wanted() {
    let server = Server::start();
    let post = |length: usize, expect: &str| {
        let wire = server.connect();
        wire.send(format!("POST /scim/v2/Users HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\nExpect: {expect}\r\n\r\n"));
        wire
    };
    let mut wanted = post(2, "100-continue");
    assert_eq!(wanted.answer().status, 100);
    wanted.send("{}");
    assert_eq!(wanted.answer().status, 401);
    wanted.send(HEALTH);
    assert_eq!(wanted.answer().status, 200);
    for (mut wire, status) in [
        (post(70_000, "100-continue"), 413),
        (post(2, "a-pony"), 417),
    ] {
        assert_eq!(wire.answer().status, status);
        assert!(wire.is_closed());
    }
}

#[test]
fn every_answer_names_its_request() {
    let server = Server::start();
    let mut client = server.anyone();
    let (first, second) = (client.get("/healthz"), client.get("/healthz"));
    let mut wire = server.connect();
    wire.send("nonsense\r\n\r\n");
    let ids = [first, second, wire.answer()]
        .map(|answer| answer.header("x-request-id").expect("an id").to_owned());
    assert!(
        ids[0] < ids[1] && ids[1] < ids[2],
        "in the order of time: {ids:?}"
    );
}

#[test]
fn a_stop_lets_running_requests_finish_and_closes_the_others() {
    let mut server = Server::start();
    let mut idle = server.connect();
    idle.send(HEALTH);
    assert_eq!(idle.answer().status, 200);
    let mut running = server.connect();
    // Its body is read when the answer 100 comes, so it is surely running.
    running.send("POST /scim/v2/Users HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n");
    assert_eq!(running.answer().status, 100);
    server.terminate();
    assert!(idle.is_closed());
    let refused = std::net::TcpStream::connect(server.address).expect_err("nobody listens");
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
    running.send("{}");
    let answer = running.answer();
    assert_eq!(
        (answer.status, answer.header("connection")),
        (401, Some("close"))
    );
    drop(running);
    assert_eq!(server.wait().code(), Some(0));
}
