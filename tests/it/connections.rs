//! The connection loop inside this process, with a tiny handler: what depends on a deadline that is
//! shorter than the product's, and failures that only a test can cause.

use std::fs::File;
use std::io::{Read, Seek, Write};
use std::net::SocketAddr;
use std::sync::{Arc, Barrier};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rollcall::http::bind::{Given, Listener};
use rollcall::http::limits::Limits;
use rollcall::http::listen::{Stop, Terms, serve};
use rollcall::http::request::{Body, Handler, Head, Request, Response};

use crate::support::{PATIENCE, Wire};

/// Answers with the body's length. `/panic` panics, `/big` answers 8 MiB, `/file` the same from a file, `/short` a file
/// that has lost its end, `/wait` meets the test twice.
struct Echo {
    meeting: Barrier,
}

impl Handler for Echo {
    fn body_limit(&self, head: &Head) -> u64 {
        assert_ne!(head.path, "/panic-early", "asked for a panic");
        1_000_000
    }

    fn answer(&self, request: Request) -> Response {
        let body = match request.head.path.as_str() {
            "/panic" => panic!("asked for a panic"),
            "/big" => big(),
            "/file" => return file_answer(Body::of_file(file(&big())).expect("a length")),
            "/short" => return file_answer(Body::File(file(b"hello"), 6)),
            "/wait" => {
                self.meeting.wait();
                self.meeting.wait();
                Vec::new()
            }
            _ => request.body.len().to_string().into_bytes(),
        };
        Response {
            status: 200,
            headers: Vec::new(),
            body: body.into(),
        }
    }

    fn refusal(&self, _: Option<&Head>, status: u16, detail: &str) -> Response {
        Response {
            status,
            headers: Vec::new(),
            body: detail.as_bytes().to_vec().into(),
        }
    }
}

/// 8 MiB in which no two places near each other look alike.
fn big() -> Vec<u8> {
    (0..1024 * 1024_u64).flat_map(u64::to_be_bytes).collect()
}

/// A file as if just opened.
fn file(bytes: &[u8]) -> File {
    let mut file = tempfile::tempfile().expect("a file");
    file.write_all(bytes).expect("written");
    file.rewind().expect("rewound");
    file
}

fn file_answer(body: Body) -> Response {
    Response {
        status: 200,
        headers: Vec::new(),
        body,
    }
}

/// A running loop.
struct Loop {
    address: SocketAddr,
    stop: Stop,
    handler: Arc<Echo>,
    thread: JoinHandle<()>,
}

impl Loop {
    fn start(limits: Limits) -> Loop {
        let place = "127.0.0.1:0".parse().expect("a place");
        let listener = Listener::open(&place, &mut Given::nothing()).expect("a port");
        let (address, stop) = (
            listener.address().expect("an address"),
            Stop::new([&listener]).expect("a descriptor"),
        );
        let handler = Arc::new(Echo {
            meeting: Barrier::new(2),
        });
        let theirs = (Arc::clone(&handler), stop.clone());
        let thread = thread::spawn(move || serve(listener, theirs.0, Terms::of(limits), theirs.1));
        Loop {
            address,
            stop,
            handler,
            thread,
        }
    }

    #[track_caller]
    fn connect(&self) -> Wire {
        Wire::connect(self.address)
    }

    /// A connection whose request runs until `handler.meeting` is reached again.
    #[track_caller]
    fn busy(&self) -> Wire {
        let wire = self.connect();
        wire.send(get("/wait"));
        self.handler.meeting.wait();
        wire
    }

    #[track_caller]
    fn stop(self) {
        self.stop.ask();
        self.thread.join().expect("the loop ends well");
    }
}

fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n")
}

const SHORT: Duration = Duration::from_millis(300);

/// The refusal, once the deadline has passed; the connection is then closed.
#[track_caller]
fn assert_late(wire: &mut Wire, started: Instant) {
    let answer = wire.answer();
    assert_eq!(
        (answer.status, answer.header("connection")),
        (408, Some("close"))
    );
    assert!(
        started.elapsed() >= SHORT,
        "{:?} is too early",
        started.elapsed()
    );
    assert!(wire.is_closed());
}

#[test]
fn a_head_has_one_deadline_however_it_trickles_in() {
    let server = Loop::start(Limits {
        head: SHORT,
        ..Limits::default()
    });
    let (mut wire, started) = (server.connect(), Instant::now());
    let trickle = wire.stream().try_clone().expect("a descriptor");
    wire.send("GET / HTTP/1.1\r\nX: ");
    let writer = thread::spawn(move || {
        // Each read waits 50 ms for an answer that isn't there yet: a byte every 50 ms.
        trickle
            .set_read_timeout(Some(Duration::from_millis(50)))
            .expect("a socket");
        while (&trickle).write_all(b"a").is_ok() && trickle.peek(&mut [0]).is_err() {}
        trickle.set_read_timeout(Some(PATIENCE)).expect("a socket");
        let mut rest = String::new();
        // A reset at the end is as good as an end.
        let _ = (&trickle).read_to_string(&mut rest);
        rest
    });
    let answer = writer.join().expect("a writer");
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    assert!(
        started.elapsed() >= SHORT && started.elapsed() < PATIENCE,
        "{:?}",
        started.elapsed()
    );
    assert!(wire.is_closed());
    server.stop();
}

#[test]
fn a_connection_may_idle_for_a_while_and_is_then_closed_without_a_word() {
    let server = Loop::start(Limits {
        idle: SHORT,
        head: Duration::ZERO,
        ..Limits::default()
    });
    let started = Instant::now();
    assert!(server.connect().is_closed());
    assert!(
        started.elapsed() >= SHORT,
        "{:?} is too early",
        started.elapsed()
    );
    server.stop();
}

#[test]
fn a_wait_with_a_short_timeout_is_not_the_end_of_a_longer_one() {
    let server = Loop::start(Limits {
        head: 2 * SHORT,
        idle: 12 * SHORT,
        ..Limits::default()
    });
    let mut wire = server.connect();
    // In two pieces, so that the rest of the head is waited for.
    let (first, second) = ("GET / HTTP/1.1\r\n", "Host: a\r\n\r\n");
    wire.send(first);
    thread::sleep(SHORT / 10);
    wire.send(second);
    assert_eq!(wire.answer().status, 200);
    thread::sleep(3 * SHORT);
    let started = Instant::now();
    wire.send(first);
    assert_late(&mut wire, started);
    server.stop();
}

#[test]
fn a_long_head_is_one_request_of_many() {
    let server = Loop::start(Limits::default());
    let mut wire = server.connect();
    for length in [0, 4000, 8000, 30_000, 0] {
        let head = get(&format!("/?{}", "a".repeat(length)));
        // Once alone, so that nothing is left to be read, and once with others around it.
        wire.send(&head);
        assert_eq!(wire.answer().text(), "0", "{length}");
        wire.send(get("/") + &head + &get("/"));
        let answers = [wire.answer(), wire.answer(), wire.answer()];
        assert!(
            answers.iter().all(|answer| answer.text() == "0"),
            "{length}"
        );
    }
    server.stop();
}

#[test]
fn a_body_of_a_known_length_ends_where_it_says() {
    let server = Loop::start(Limits::default());
    let mut wire = server.connect();
    for length in [1, 4095, 4096, 4097, 100_000, 1_000_000] {
        let head = format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n");
        let next = get("/");
        wire.send(format!("{head}{}{next}", "a".repeat(length)));
        assert_eq!(wire.answer().text(), length.to_string());
        assert_eq!(wire.answer().text(), "0");
    }
    server.stop();
}

#[test]
fn a_body_must_arrive_at_some_rate() {
    let server = Loop::start(Limits {
        body: SHORT,
        ..Limits::default()
    });
    for body in [
        "Content-Length: 9\r\n\r\na",
        "Transfer-Encoding: chunked\r\n\r\n9\r\na",
    ] {
        let (mut wire, started) = (server.connect(), Instant::now());
        wire.send(format!("POST / HTTP/1.1\r\nHost: a\r\n{body}"));
        assert_late(&mut wire, started);
    }
    server.stop();
}

#[test]
fn a_body_over_the_limit_is_refused_as_it_arrives() {
    let server = Loop::start(Limits::default());
    let mut wire = server.connect();
    let chunk = format!("186a0\r\n{}\r\n", "a".repeat(100_000));
    wire.send(format!(
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n{}1\r\n",
        chunk.repeat(10)
    ));
    assert_eq!(wire.answer().status, 413);
    let mut fits = server.connect();
    fits.send(format!(
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n{}0\r\n\r\n",
        chunk.repeat(10)
    ));
    assert_eq!(fits.answer().text(), "1000000");
    server.stop();
}

#[test]
fn an_answer_that_is_not_read_is_given_up() {
    assert_given_up("/big");
}

#[test]
fn a_file_that_is_not_read_is_given_up() {
    assert_given_up("/file");
}

#[test]
fn a_file_comes_whole_or_the_connection_is_closed() {
    let server = Loop::start(Limits::default());
    let mut wire = server.connect();
    wire.send("HEAD /file HTTP/1.1\r\nHost: a\r\n\r\n".to_owned() + &get("/file") + &get("/"));
    let head = wire.try_head().expect("a head");
    assert_eq!(head.header("content-length"), Some("8388608"));
    assert!(wire.answer().body == big());
    assert_eq!(wire.answer().text(), "0");
    wire.send(get("/short") + &get("/"));
    assert!(wire.try_answer().is_err(), "a byte is missing");
    assert!(wire.is_closed());
    server.stop();
}

#[track_caller]
fn assert_given_up(path: &str) {
    let limits = Limits {
        write: SHORT,
        bytes_per_second: u64::MAX,
        linger: SHORT,
        ..Limits::default()
    };
    let server = Loop::start(limits);
    let mut wire = server.connect();
    wire.send(get(path).repeat(3));
    let started = Instant::now();
    // Busy connections are waited for, so the end shows that this one was given up.
    while wire.stream().peek(&mut [0]).is_err() {}
    server.stop();
    assert!(
        started.elapsed() < Duration::from_secs(5),
        "{:?}",
        started.elapsed()
    );
    assert!((0..3).any(|_| wire.try_answer().is_err()));
}

#[test]
fn a_panic_is_a_500_for_one_request() {
    let server = Loop::start(Limits::default());
    let mut wire = server.connect();
    wire.send(get("/panic") + &get("/"));
    assert_eq!((wire.answer().status, wire.answer().status), (500, 200));
    wire.send("POST /panic-early HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\na");
    assert_eq!(wire.answer().status, 500);
    assert!(wire.is_closed(), "its body was not read");
    server.stop();
}

#[test]
fn a_thread_that_can_not_be_started_is_an_answer_of_503() {
    // No machine has room for this stack.
    let server = Loop::start(Limits {
        stack_bytes: 1 << 47,
        ..Limits::default()
    });
    for _ in 0..3 {
        let mut wire = server.connect();
        let answer = wire.answer();
        assert_eq!(
            (answer.status, answer.header("retry-after")),
            (503, Some("5"))
        );
        assert!(wire.is_closed());
    }
    server.stop();
}

#[test]
fn who_finds_all_others_busy_is_turned_away() {
    let server = Loop::start(Limits {
        connections: 1,
        ..Limits::default()
    });
    let mut first = server.busy();
    let mut second = server.connect();
    let answer = second.answer();
    assert_eq!(
        (answer.status, answer.header("retry-after")),
        (503, Some("5"))
    );
    server.handler.meeting.wait();
    assert_eq!(first.answer().status, 200);
    first.send(get("/"));
    assert_eq!(first.answer().status, 200);
    // A connection counts as busy for a moment after its answer, so this may take more than one attempt.
    let served = (0..1000).any(|_| {
        let mut third = server.connect();
        // Fails where it's turned away first.
        let _ = third.stream().write_all(get("/").as_bytes());
        third.try_answer().is_ok_and(|answer| answer.status == 200)
    });
    assert!(served);
    assert!(first.is_closed());
    server.stop();
}

#[test]
fn http_1_0_clients_are_served_and_kept_only_if_they_ask() {
    let server = Loop::start(Limits::default());
    let mut wire = server.connect();
    wire.send("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\nGET / HTTP/1.0\r\n\r\n");
    let connections =
        [wire.answer(), wire.answer()].map(|answer| answer.header("connection").map(str::to_owned));
    assert_eq!(
        connections,
        [Some("keep-alive".to_owned()), Some("close".to_owned())]
    );
    assert!(wire.is_closed());
    server.stop();
}

#[test]
fn a_stop_waits_for_a_running_request_but_not_for_ever() {
    let server = Loop::start(Limits {
        drain: SHORT,
        ..Limits::default()
    });
    let (_wire, handler) = (server.busy(), Arc::clone(&server.handler));
    let started = Instant::now();
    server.stop();
    assert!(
        started.elapsed() >= SHORT && started.elapsed() < PATIENCE,
        "{:?}",
        started.elapsed()
    );
    handler.meeting.wait();
}
