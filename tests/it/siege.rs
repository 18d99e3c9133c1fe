//! Attacks, each by hundreds of connections, and a client that behaves: it is served as if they weren't there.
//!
//! Prints what it has measured, as a table: `cargo test --test it siege -- --nocapture`. Each attack lasts for a second, or as
//! many as the variable `SIEGE_SECONDS` says.

use std::fs;
use std::io::{self, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::Command;
use std::time::{Duration, Instant};

use socket2::SockRef;

use crate::authority::{Authority, EC, Secure, start};
use crate::hazards::{HEALTH, MIB, descriptors, many_connections, status};
use crate::support::{PATIENCE, Server};
use crate::tls::await_that;

/// The most that the process may have resident during any attack.
const MEMORY: usize = 64 * MIB;
/// Places for connections, those that are just being left, and a few threads more: the writer, the chores, those of listening.
const THREADS: usize = 512 + 64;
/// As long as 99 of 100 answers may take while others say nothing, or next to nothing.
const SOON: Duration = Duration::from_millis(50);
/// The same while hundreds of others make us work, on a machine that other tests use as well.
const IN_TURN: Duration = Duration::from_secs(3);

/// What many connections do at once.
struct Attack {
    name: &'static str,
    connections: usize,
    /// What each says at first.
    opening: fn(token: &str, number: usize) -> Vec<u8>,
    /// What it says now and then; an empty text: nothing.
    then: &'static [u8],
    /// Begins anew instead, with a reset.
    resets: bool,
    /// As long as 99 of 100 answers to others may take.
    p99: Duration,
}

const ATTACKS: [Attack; 10] = [
    Attack::slow("idle", 2000, |_, _| Vec::new(), b""),
    Attack::slow(
        "slow heads",
        2000,
        |_, number| SLOW_HEAD[..number % SLOW_HEAD.len()].to_vec(),
        b"x",
    ),
    Attack::slow(
        "slow bodies",
        250,
        |token, _| post(token, "Content-Length: 50000", "{"),
        b" ",
    ),
    Attack::slow(
        "slow chunks",
        250,
        |token, _| post(token, "Transfer-Encoding: chunked", "1\r\n{\r\n"),
        b"1\r\n \r\n",
    ),
    Attack::slow(
        "slow readers",
        250,
        |_, _| LARGE_ANSWER.repeat(500).into_bytes(),
        b"",
    )
    .busy(),
    Attack::slow(
        "pipelining",
        100,
        |_, _| HEALTH.repeat(2000).into_bytes(),
        HEALTH.as_bytes(),
    )
    .busy(),
    Attack::anew("header floods", 200, |_, _| {
        [SLOW_HEAD, &[b'a'; 64 * 1024]].concat()
    }),
    Attack::anew("oversized bodies", 200, |token, _| {
        post(token, "Content-Length: 100000000000", "{\"a")
    }),
    Attack::anew("smuggling", 200, |token, number| {
        post(token, SMUGGLED[number % SMUGGLED.len()], HEALTH)
    }),
    Attack::anew("resets", 200, |_, _| HEALTH.as_bytes().to_vec()),
];

const SLOW_HEAD: &[u8] = b"GET /healthz HTTP/1.1\r\nHost: a\r\nX: ";
const LARGE_ANSWER: &str = "GET /static/style.css HTTP/1.1\r\nHost: a\r\n\r\n";
const SMUGGLED: [&str; 5] = [
    "Content-Length: 0\r\nTransfer-Encoding: chunked",
    "Content-Length: 5\r\nContent-Length: 50",
    "Content-Length: +5",
    "Transfer-Encoding: xchunked",
    "Transfer-Encoding : chunked",
];

/// A client hello that ends in the middle.
const HALF_A_HELLO: &[u8] = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc";
const HANDSHAKES: [Attack; 2] = [
    Attack::slow(
        "TLS handshakes that stall",
        600,
        |_, number| HALF_A_HELLO[..number % 10].to_vec(),
        b"",
    ),
    Attack::anew("no TLS at all", 200, |_, _| HEALTH.as_bytes().to_vec()),
];

const DESCRIPTORS: [Attack; 1] = [Attack::slow(
    "with 256 descriptors",
    300,
    |_, _| SLOW_HEAD.to_vec(),
    b"x",
)];

impl Attack {
    const fn slow(
        name: &'static str,
        connections: usize,
        opening: fn(&str, usize) -> Vec<u8>,
        then: &'static [u8],
    ) -> Attack {
        Attack {
            name,
            connections,
            opening,
            then,
            resets: false,
            p99: SOON,
        }
    }

    const fn anew(
        name: &'static str,
        connections: usize,
        opening: fn(&str, usize) -> Vec<u8>,
    ) -> Attack {
        Attack {
            name,
            connections,
            opening,
            then: b"",
            resets: true,
            p99: IN_TURN,
        }
    }

    const fn busy(self) -> Attack {
        Attack {
            p99: IN_TURN,
            ..self
        }
    }

    /// One connection of it, if there is room.
    fn connect(&self, address: SocketAddr, token: &str, number: usize) -> Option<TcpStream> {
        let mut socket = TcpStream::connect(address).ok()?;
        // Who attacks doesn't wait until the server reads.
        socket.set_nonblocking(true).ok()?;
        let _ = socket.write(&(self.opening)(token, number));
        Some(socket)
    }
}

fn post(token: &str, framing: &str, body: &str) -> Vec<u8> {
    format!("POST /scim/v2/Users HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {token}\r\n{framing}\r\n\r\n{body}")
        .into_bytes()
}

/// How answers came, one after the other.
struct Served {
    median: Duration,
    p99: Duration,
    longest: Duration,
}

/// Asks for a while, on one connection, and does something else after each answer.
fn served(
    mut ask: impl FnMut() -> bool,
    lasts: Duration,
    mut meanwhile: impl FnMut(usize),
) -> Served {
    // Who is turned away asks again. That is so while all others are new; there is room once they have been silent for a second.
    let mut get = || {
        let asked = Instant::now();
        while !ask() {
            assert!(asked.elapsed() < PATIENCE, "never served");
        }
        asked.elapsed()
    };
    get();
    let end = Instant::now() + lasts;
    let mut times = Vec::new();
    while times.len() < 200 || Instant::now() < end {
        meanwhile(times.len());
        times.push(get());
    }
    times.sort();
    Served {
        median: times[times.len() / 2],
        p99: times[times.len() * 99 / 100],
        longest: times[times.len() - 1],
    }
}

fn asks(server: &Server) -> impl FnMut() -> bool {
    let mut client = server.anyone();
    move || {
        let answer = client.try_request("GET", "/healthz", &[], b"");
        if answer.is_err() {
            client = server.anyone();
        }
        answer.is_ok_and(|answer| answer.status == 200)
    }
}

fn asks_by_tls(server: &Server, authority: &Authority) -> impl FnMut() -> bool {
    let (address, root) = (server.address, authority.path("root.pem"));
    let mut client = Secure::connect(address, &root);
    move || {
        let answer = client.try_ask(HEALTH);
        if answer.is_err() {
            client = Secure::connect(address, &root);
        }
        answer.is_ok_and(|(head, _)| head.starts_with("http/1.1 200"))
    }
}

/// Lets this process have as many descriptors as it takes.
fn allow_descriptors() {
    let pid = std::process::id().to_string();
    let set = Command::new("prlimit")
        .args(["--pid", &pid, "--nofile=6000"])
        .output()
        .unwrap();
    assert!(
        set.status.success(),
        "{}",
        String::from_utf8_lossy(&set.stderr)
    );
}

/// Lets an attack go on for a while; answers its line of the table. `ask` is who behaves.
fn lay_siege(
    server: &Server,
    token: &str,
    attack: &Attack,
    mut ask: impl FnMut() -> bool,
) -> String {
    let lasts = std::env::var("SIEGE_SECONDS")
        .ok()
        .and_then(|seconds| seconds.parse().ok());
    let lasts = Duration::from_secs(lasts.unwrap_or(1));
    let calm = served(&mut ask, Duration::ZERO, |_| {});
    // From here on, VmHWM is of this attack.
    fs::write(server.proc("clear_refs"), "5").unwrap();
    let threads_before = status(server, "Threads");
    let mut attackers: Vec<Option<TcpStream>> = (0..attack.connections)
        .map(|number| attack.connect(server.address, token, number))
        .collect();
    let (mut threads, mut held, mut next) = (0, 0, Instant::now());
    let during = served(&mut ask, lasts, |answers| {
        threads = threads.max(status(server, "Threads"));
        held = held.max(descriptors(server));
        for (number, attacker) in attackers
            .iter_mut()
            .enumerate()
            .skip(answers % 50)
            .step_by(50)
        {
            let is_over = match attacker {
                None => true,
                Some(socket) if !attack.resets => {
                    let said = socket.write(attack.then);
                    said.is_err_and(|error| error.kind() != io::ErrorKind::WouldBlock)
                }
                Some(socket) => {
                    let _ = SockRef::from(&*socket).set_linger(Some(Duration::ZERO));
                    true
                }
            };
            // Each comes back every ten seconds: more would be seen by the share that one address has of all places, which
            // loopback is free of.
            if is_over && (attack.resets || next.elapsed() > Duration::ZERO) {
                *attacker = attack.connect(server.address, token, number);
                next += Duration::from_secs(10) / attack.connections as u32;
            }
        }
    });
    let memory = status(server, "VmHWM");
    drop(attackers);
    let gone = Instant::now();
    await_that(|| status(server, "Threads") <= threads_before + 2);
    let recovered = gone.elapsed();
    let after = served(&mut ask, Duration::ZERO, |_| {});

    let name = attack.name;
    assert!(threads <= THREADS, "{name}: {threads} threads");
    assert!(memory < MEMORY, "{name}: {} MiB", memory / MIB);
    // On a busy machine the client itself waits for its turn.
    for (when, p99) in [("meanwhile", during.p99), ("afterwards", after.p99)] {
        assert!(
            p99 < attack.p99.max(20 * calm.p99),
            "{name}: {p99:?} {when}, {:?} before",
            calm.p99
        );
    }
    assert!(!server.stderr().contains("panicked"), "{}", server.stderr());
    format!(
        "{name:<26} {:>7} {held:>11} {threads:>7} {:>6.1} {:>9.2} {:>8.2} {:>8.2} {:>9.2}",
        attack.connections,
        memory as f64 / MIB as f64,
        millis(during.median),
        millis(during.p99),
        millis(during.longest),
        recovered.as_secs_f64(),
    )
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

#[test]
fn who_behaves_is_served_amid_all_who_do_not() {
    let _alone = many_connections();
    allow_descriptors();
    let mut table = vec![format!(
        "{:<26} {:>7} {:>11} {:>7} {:>6} {:>9} {:>8} {:>8} {:>9}",
        "attack",
        "sockets",
        "descriptors",
        "threads",
        "MiB",
        "median ms",
        "p99 ms",
        "max ms",
        "recover s"
    )];
    let open = Server::start_dev();
    for attack in &ATTACKS {
        table.push(lay_siege(&open, &open.token, attack, asks(&open)));
    }
    let poor = Server::start_with_descriptors(256);
    for attack in &DESCRIPTORS {
        table.push(lay_siege(&poor, "", attack, asks(&poor)));
    }
    let authority = Authority::new();
    let closed = start(&authority.issue("a", "localhost", EC), &[]);
    for attack in &HANDSHAKES {
        table.push(lay_siege(
            &closed,
            "",
            attack,
            asks_by_tls(&closed, &authority),
        ));
    }
    eprintln!("{}", table.join("\n"));
}
