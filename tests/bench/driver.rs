//! The load generator: keep-alive connections, each with a thread that sends as fast as it is answered.
//!
//! It does next to nothing for a request: one write of bytes that are put together in a buffer that stays, one read
//! in nearly all cases, and a head parsed by httparse. What it reaches against a constant answer is in the report.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::ops::Range;
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

    /// A rollcall, with a session's cookie.
    pub fn signed_in(address: SocketAddr, cookie: &str) -> Target {
        Target {
            address,
            prefix: String::new(),
            fields: format!("Host: {address}\r\nCookie: {cookie}\r\n"),
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
        let (status, body) = self.receive()?;
        self.latencies.add(started.elapsed());
        let body = &self.answer[body];
        if !(200..300).contains(&status) {
            let text = String::from_utf8_lossy(body);
            return Err(format!("{method} {prefix}{path} was answered {status} {text}").into());
        }
        Ok(body)
    }

    /// Reads an answer: its status, and where in `answer` its body is.
    fn receive(&mut self) -> Result<(u16, Range<usize>)> {
        let mut filled = 0;
        let head = loop {
            filled = self.read(filled, 0)?;
            if let Some(head) = Head::parse(&self.answer[..filled])? {
                break head;
            }
        };
        self.ended = head.closes;
        let end = match head.length {
            Some(length) => {
                let end = head.bytes + length;
                while filled < end {
                    filled = self.read(filled, end)?;
                }
                end
            }
            None => self.chunks(head.bytes, filled)?,
        };
        Ok((head.status, head.bytes..end))
    }

    /// Reads on behind the bytes that are there, with room up to `end` at least; how many bytes there are then.
    fn read(&mut self, filled: usize, end: usize) -> Result<usize> {
        let room = end.max(filled + 8192);
        if self.answer.len() < room {
            self.answer.resize(room, 0);
        }
        match self.stream.read(&mut self.answer[filled..])? {
            0 => Err("the server closed a connection in the middle".into()),
            bytes => Ok(filled + bytes),
        }
    }

    /// Reads a chunked body that begins at `start` and moves its pieces together; where it ends then.
    fn chunks(&mut self, start: usize, mut filled: usize) -> Result<usize> {
        let (mut end, mut next) = (start, start);
        loop {
            let chunk = httparse::parse_chunk_size(&self.answer[next..filled])
                .map_err(|_| "a chunk without a size")?;
            let httparse::Status::Complete((line, size)) = chunk else {
                filled = self.read(filled, 0)?;
                continue;
            };
            let (from, to) = (next + line, next + line + usize::try_from(size)?);
            // With the line break behind it. Trailers are nobody's here.
            while filled < to + 2 {
                filled = self.read(filled, to + 2)?;
            }
            if size == 0 {
                return Ok(end);
            }
            self.answer.copy_within(from..to, end);
            end += to - from;
            next = to + 2;
        }
    }
}

struct Head {
    status: u16,
    /// Its own length.
    bytes: usize,
    /// The body's; `None` where it is chunked.
    length: Option<usize>,
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
            Some(length) => Some(length.trim().parse()?),
            None if status == 204 => Some(0),
            None if field("transfer-encoding").is_some() => None,
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
