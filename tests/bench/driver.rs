//! The load generator: keep-alive connections, each with a thread that sends as fast as it is answered.
//!
//! It does next to nothing for a request: one write of bytes that are put together in a buffer that stays, one read
//! in nearly all cases, and a head parsed by httparse. What it reaches against a constant answer is in the report.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::Result;
use crate::histogram::Histogram;

/// How long an answer may take before the benchmark gives up.
const PATIENCE: Duration = Duration::from_secs(120);

/// Where to send to.
#[derive(Clone, Debug)]
pub struct Target {
    address: SocketAddr,
    /// What stands before each path.
    prefix: String,
    /// Header lines of every request.
    fields: String,
}

impl Target {
    /// A rollcall, with a token.
    pub fn new(address: SocketAddr, token: &str) -> Target {
        Target {
            address,
            prefix: String::new(),
            fields: format!("Host: {address}\r\nAuthorization: Bearer {token}\r\n"),
        }
    }

    /// The same with another thing before each path.
    pub fn with_prefix(self, prefix: &str) -> Target {
        Target {
            prefix: prefix.to_owned(),
            ..self
        }
    }
}

/// When to stop: at whichever comes first.
#[derive(Clone, Copy, Debug)]
pub struct Budget {
    pub time: Duration,
    pub steps: u64,
}

impl Budget {
    pub fn time(time: Duration) -> Budget {
        Budget {
            time,
            steps: u64::MAX,
        }
    }

    /// For work that is done when it is done.
    pub fn steps(steps: usize) -> Budget {
        Budget {
            time: Duration::from_secs(3600),
            steps: steps as u64,
        }
    }
}

/// What a workload came to.
#[derive(Clone, Debug)]
pub struct Sample {
    pub elapsed: Duration,
    pub latencies: Histogram,
}

impl Sample {
    pub fn per_second(&self) -> f64 {
        self.latencies.count() as f64 / self.elapsed.as_secs_f64().max(1e-9)
    }
}

/// Runs `step` with 0, 1, 2, … over so many connections at a time, until the budget is used up. Every request of a
/// step counts.
///
/// # Errors
///
/// The first failure: an answer other than 2xx is one.
pub fn drive(
    target: &Target,
    connections: usize,
    budget: Budget,
    step: impl Fn(&mut Connection<'_>, u64) -> Result<()> + Sync,
) -> Result<Sample> {
    let mut open = (0..connections)
        .map(|_| Connection::open(target))
        .collect::<Result<Vec<_>>>()?;
    let (next, started) = (AtomicU64::new(0), Instant::now());
    let work = |connection: &mut Connection<'_>| -> Result<()> {
        while started.elapsed() < budget.time {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= budget.steps {
                break;
            }
            step(connection, number)?;
        }
        Ok(())
    };
    thread::scope(|scope| {
        let threads: Vec<_> = open
            .iter_mut()
            .map(|connection| scope.spawn(|| work(connection)))
            .collect();
        threads.into_iter().try_for_each(|thread| {
            thread
                .join()
                .map_err(|_| "a connection's thread panicked")?
        })
    })?;
    let mut sample = Sample {
        elapsed: started.elapsed(),
        latencies: Histogram::default(),
    };
    for connection in &open {
        sample.latencies.merge(&connection.latencies);
    }
    Ok(sample)
}

/// One connection, and how long what was sent over it took.
pub struct Connection<'a> {
    target: &'a Target,
    stream: TcpStream,
    /// Whether the server closes it after the last answer.
    ended: bool,
    request: Vec<u8>,
    answer: Vec<u8>,
    latencies: Histogram,
}

impl Connection<'_> {
    pub fn open(target: &Target) -> Result<Connection<'_>> {
        Ok(Connection {
            target,
            stream: connect(target.address)?,
            ended: false,
            request: Vec::new(),
            answer: Vec::new(),
            latencies: Histogram::default(),
        })
    }

    pub fn get(&mut self, path: &str) -> Result<&[u8]> {
        self.send("GET", path, "")
    }

    /// Sends a request and answers the body; 2xx alone is no error. An empty body is none.
    pub fn send(&mut self, method: &str, path: &str, body: &str) -> Result<&[u8]> {
        if self.ended {
            self.stream = connect(self.target.address)?;
        }
        let Target { prefix, fields, .. } = self.target;
        self.request.clear();
        write!(self.request, "{method} {prefix}{path} HTTP/1.1\r\n{fields}")?;
        if !body.is_empty() {
            let length = body.len();
            write!(
                self.request,
                "Content-Type: application/scim+json\r\nContent-Length: {length}\r\n"
            )?;
        }
        write!(self.request, "\r\n{body}")?;
        let started = Instant::now();
        self.stream.write_all(&self.request)?;
        let Head {
            status,
            bytes,
            length,
            closes,
        } = self.receive()?;
        self.latencies.add(started.elapsed());
        self.ended = closes;
        let body = &self.answer[bytes..bytes + length];
        if !(200..300).contains(&status) {
            let text = String::from_utf8_lossy(body);
            return Err(format!("{method} {prefix}{path} was answered {status} {text}").into());
        }
        Ok(body)
    }

    fn receive(&mut self) -> Result<Head> {
        let mut filled = 0;
        let mut head: Option<Head> = None;
        loop {
            if let Some(head) = head.filter(|head| filled >= head.bytes + head.length) {
                return Ok(head);
            }
            let wanted = head.map_or(0, |head| head.bytes + head.length);
            self.answer
                .resize(wanted.max(filled + 8192).max(self.answer.len()), 0);
            match self.stream.read(&mut self.answer[filled..])? {
                0 => return Err("the server closed a connection in the middle".into()),
                bytes => filled += bytes,
            }
            if head.is_none() {
                head = Head::parse(&self.answer[..filled])?;
            }
        }
    }
}

#[derive(Clone, Copy)]
struct Head {
    status: u16,
    /// Its own length.
    bytes: usize,
    /// The body's.
    length: usize,
    closes: bool,
}

impl Head {
    /// `None` where it is not complete yet.
    fn parse(bytes: &[u8]) -> Result<Option<Head>> {
        let mut fields = [httparse::EMPTY_HEADER; 32];
        let mut parsed = httparse::Response::new(&mut fields);
        let httparse::Status::Complete(size) = parsed.parse(bytes)? else {
            return Ok(None);
        };
        let status = parsed.code.unwrap_or_default();
        let field = |name: &str| {
            let found = parsed
                .headers
                .iter()
                .find(|field| field.name.eq_ignore_ascii_case(name));
            found.map(|field| String::from_utf8_lossy(field.value))
        };
        let length = match field("content-length") {
            Some(length) => length.trim().parse()?,
            None if status == 204 => 0,
            None => return Err("an answer without a length".into()),
        };
        Ok(Some(Head {
            status,
            bytes: size,
            length,
            closes: field("connection").is_some_and(|value| value.eq_ignore_ascii_case("close")),
        }))
    }
}

fn connect(address: SocketAddr) -> Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    Ok(stream)
}
