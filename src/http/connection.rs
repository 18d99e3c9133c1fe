//! One connection, from its first byte to its last, on its own thread.
//!
//! Every head and every body has one deadline for the whole of it, so a peer gains nothing by sending a
//! byte now and then. Buffers grow with what arrives, never with what is announced. Whatever is refused here closes the
//! connection, because where the next request begins is then a matter of opinion. `head` and `chunked` decide what the bytes mean.

use std::any::Any;
use std::fs::File;
use std::io::{Read, Write};
use std::net::{IpAddr, Shutdown};
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Instant;

use socket2::Socket;

use super::chunked::Chunked;
use super::head::{Framing, ParsedHead, Refusal, parse_head};
use super::listen::Service;
use super::register::Place;
use super::render::{Form, Stamp, file_of, long_body_of, render};
use super::request::{Ends, Head, Request, Response, attribute};
use super::wire::{End, Wire};

/// How many bytes one read asks for at first, which most requests don't have. Each connection keeps as many.
const READ_BYTES: usize = 4 * 1024;
/// How many bytes of a file are sent at a time.
const FILE_BYTES: usize = 64 * 1024;
const LATE_BODY: &str = "the request's body did not arrive in time";
/// The most bytes that are read and thrown away after a last answer.
const LINGER_BYTES: usize = 1024 * 1024;

/// Serves the requests of one connection, until either side ends it.
pub(super) fn run(socket: Arc<Socket>, peer: IpAddr, place: &Place, service: &Service) {
    let wire = match &service.tls {
        None => Some(Wire::plain(socket)),
        // Until it's done, this connection may have to give way like an idle one.
        Some(tls) => Wire::secure(socket, tls.config(), Instant::now() + service.limits.head),
    };
    let Some((wire, local)) = wire.and_then(|wire| wire.local().map(|local| (wire, local))) else {
        return;
    };
    let ends = Ends {
        peer,
        local,
        is_secure: wire.is_secure(),
    };
    let mut connection = Connection {
        wire,
        ends,
        place,
        service,
        input: vec![0; READ_BYTES],
        unread: 0..0,
        spoke: Instant::now(),
    };
    while connection.exchange() && place.idle(connection.spoke) {}
    connection.wire.finish();
}

struct Connection<'a> {
    wire: Wire,
    ends: Ends,
    place: &'a Place,
    service: &'a Service,
    /// What has arrived.
    input: Vec<u8>,
    /// Where in `input` is what hasn't been used yet. What stands after it is only room.
    unread: Range<usize>,
    /// When the sending of our last words began: before the peer had all of them, so that what it does next is later.
    spoke: Instant,
}

/// Why a request could not be read.
enum Failure {
    /// The peer is gone, or the socket is broken: nobody to answer.
    Gone,
    /// Answered, then the connection is closed.
    Refused(Refusal),
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Failure {
        Failure::Refused(refusal)
    }
}

impl Connection<'_> {
    /// Reads one request and answers it. False if the connection is to be closed.
    fn exchange(&mut self) -> bool {
        if !self.await_request() {
            return false;
        }
        let stamp = Stamp::now();
        let parsed = match self.read_head(stamp.started + self.service.limits.head) {
            Ok(parsed) => parsed,
            Err(failure) => return self.refuse(failure, None, false, &stamp),
        };
        // Not before: whoever sends a head byte by byte gives way like one who says nothing.
        if !self.place.busy() {
            return false;
        }
        let (framing, expects_continue) = (parsed.framing, parsed.expects_continue);
        let (keep_alive, is_http_1_0) = (parsed.keep_alive, parsed.is_http_1_0);
        let without_body = parsed.method == "HEAD";
        let head = Arc::new(attribute(
            parsed,
            &self.ends,
            &self.service.trusted,
            &stamp.request_id,
            (stamp.started, stamp.now),
        ));
        let body = match self.read_body(&stamp, &head, framing, expects_continue) {
            Ok(body) => body,
            Err(failure) => return self.refuse(failure, Some(&head), without_body, &stamp),
        };
        let handler = &self.service.handler;
        let request = Request {
            head: Arc::clone(&head),
            body,
        };
        let response = survive(&stamp, || handler.answer(request)).unwrap_or_else(|| {
            refusal(self.service, Some(&head), 500, "the server failed", &stamp)
        });
        let connection = match (keep_alive && !self.place.is_closing(), is_http_1_0) {
            (false, _) => Some("close"),
            (true, true) => Some("keep-alive"),
            (true, false) => None,
        };
        self.answer(
            &response,
            &stamp,
            Form {
                without_body,
                connection,
            },
        )
    }

    /// Waits for the first byte of a request. False if there will be none.
    fn await_request(&mut self) -> bool {
        if self.unread().is_empty() {
            // A connection that waits holds no memory from an unusual request.
            self.unread = 0..0;
            self.input.truncate(READ_BYTES);
            self.input.shrink_to(READ_BYTES);
            let deadline = Instant::now() + self.service.limits.idle;
            return self.fill(deadline, "").is_ok();
        }
        true
    }

    fn read_head(&mut self, deadline: Instant) -> Result<ParsedHead, Failure> {
        let limits = &self.service.limits;
        loop {
            if let Some((head, used)) = parse_head(self.unread(), limits)? {
                self.unread.start += used;
                return Ok(head);
            }
            // Parsing starts over each time, so it waits for the end of a line: a head that arrives
            // byte by byte costs no more than one that has as many lines.
            loop {
                let had = self.unread().len();
                self.fill(deadline, "the request's head did not arrive in time")?;
                let unread = self.unread();
                if unread[had..].contains(&b'\n') || unread.len() >= limits.head_bytes {
                    break;
                }
            }
        }
    }

    fn read_body(
        &mut self,
        stamp: &Stamp,
        head: &Head,
        framing: Framing,
        expects_continue: bool,
    ) -> Result<Vec<u8>, Failure> {
        if matches!(framing, Framing::Empty | Framing::Length(0)) {
            return Ok(Vec::new());
        }
        let handler = &self.service.handler;
        let limit = survive(stamp, || handler.body_limit(head))
            .ok_or_else(|| Refusal::new(500, "the server failed"))?;
        if let Framing::Length(length) = framing
            && length > limit
        {
            let detail =
                format!("the body has {length} bytes, and at most {limit} are accepted here");
            return Err(Refusal::new(413, detail).into());
        }
        // Whoever has sent some of the body does not wait for our word.
        if expects_continue
            && self.unread().is_empty()
            && !self.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        {
            return Err(Failure::Gone);
        }
        let (started, limits) = (Instant::now(), &self.service.limits);
        let deadline = |arrived: usize| started + limits.body + limits.time_for(arrived as u64);
        match framing {
            Framing::Empty => Ok(Vec::new()),
            Framing::Length(length) => {
                self.read_length(usize::try_from(length).unwrap_or(usize::MAX), deadline)
            }
            Framing::Chunked => self.read_chunks(limit, deadline),
        }
    }

    /// Reads a body of so many bytes to where it stays. There is room for what has arrived, and for as much again.
    fn read_length(
        &mut self,
        length: usize,
        deadline: impl Fn(usize) -> Instant,
    ) -> Result<Vec<u8>, Failure> {
        let mut arrived = length.min(self.unread.len());
        let mut body = self.unread()[..arrived].to_vec();
        self.unread.start += arrived;
        while arrived < length {
            if arrived == body.len() {
                body.resize(length.min(READ_BYTES.max(2 * arrived)), 0);
            }
            let read = self.wire.read(&mut body[arrived..], deadline(arrived));
            arrived += read.map_err(|end| failure(end, LATE_BODY))?;
        }
        Ok(body)
    }

    fn read_chunks(
        &mut self,
        limit: u64,
        deadline: impl Fn(usize) -> Instant,
    ) -> Result<Vec<u8>, Failure> {
        let (mut body, mut decoder) = (Vec::new(), Chunked::new());
        loop {
            let used = decoder.decode(self.unread(), &mut body, limit)?;
            self.unread.start += used;
            if decoder.is_done() {
                return Ok(body);
            }
            self.fill(deadline(body.len()), LATE_BODY)?;
        }
    }

    fn unread(&self) -> &[u8] {
        &self.input[self.unread.clone()]
    }

    /// Reads what there is, at least one byte. `late` is the refusal's detail where nothing comes until `deadline`.
    fn fill(&mut self, deadline: Instant, late: &str) -> Result<(), Failure> {
        if self.unread.start > 0 {
            self.input.copy_within(self.unread.clone(), 0);
            self.unread = 0..self.unread.len();
        }
        if self.unread.end == self.input.len() {
            self.input.resize(self.unread.end + READ_BYTES, 0);
        }
        let read = self.wire.read(&mut self.input[self.unread.end..], deadline);
        self.unread.end += read.map_err(|end| failure(end, late))?;
        Ok(())
    }

    /// Sends all of `bytes`, usually in one write. False if the peer is gone or too slow.
    fn send(&mut self, bytes: &[u8]) -> bool {
        self.send_pieces([bytes])
    }

    /// The same with bytes that don't lie side by side.
    fn send_pieces<'a>(&mut self, pieces: impl IntoIterator<Item = &'a [u8]>) -> bool {
        let limits = &self.service.limits;
        let started = Instant::now();
        let mut sent = 0;
        pieces.into_iter().all(|piece| {
            sent += piece.len() as u64;
            let deadline = started + limits.write + limits.time_for(sent);
            self.say(piece, deadline)
        })
    }

    /// Sends `length` bytes of a file with the memory of one piece. False if the peer is gone, too slow at any point,
    /// or the file shorter than it was.
    fn send_file(&mut self, mut file: &File, length: u64) -> bool {
        let limits = &self.service.limits;
        let started = Instant::now();
        let mut piece = vec![0; FILE_BYTES];
        let mut sent = 0;
        while sent < length {
            let wanted = (length - sent).min(FILE_BYTES as u64) as usize;
            let count = match file.read(&mut piece[..wanted]) {
                Ok(count) if count > 0 => count,
                early => {
                    log::error!("a file for {} ended early: {early:?}", self.ends.peer);
                    return false;
                }
            };
            sent += count as u64;
            let deadline = started + limits.write + limits.time_for(sent);
            if !self.say(&piece[..count], deadline) {
                return false;
            }
        }
        true
    }

    fn say(&mut self, bytes: &[u8], deadline: Instant) -> bool {
        self.spoke = Instant::now();
        self.wire.send(bytes, deadline)
    }

    /// Answers what could not be read, if there is anybody to answer. False: the connection is to be closed.
    fn refuse(
        &mut self,
        failure: Failure,
        head: Option<&Head>,
        without_body: bool,
        stamp: &Stamp,
    ) -> bool {
        let Failure::Refused(Refusal { status, detail }) = failure else {
            return false;
        };
        log::debug!(
            "request {} of {} refused: {status}, {detail}",
            stamp.request_id,
            self.ends.peer
        );
        let response = refusal(self.service, head, status, &detail, stamp);
        self.answer(
            &response,
            stamp,
            Form {
                without_body,
                connection: Some("close"),
            },
        )
    }

    /// Sends an answer. False if the connection is to be closed.
    fn answer(&mut self, response: &Response, stamp: &Stamp, form: Form) -> bool {
        let sent = self.send(&render(response, stamp, form))
            && self.send_pieces(long_body_of(response, form).iter().map(Vec::as_slice))
            && file_of(response, form).is_none_or(|(file, length)| self.send_file(file, length));
        let is_last = form.connection == Some("close");
        if sent && is_last {
            self.linger();
        }
        sent && !is_last
    }

    /// Lets the peer read our last answer before the connection is closed.
    ///
    /// Closing a socket with unread bytes resets the connection, and a reset may discard the answer on
    /// the other side. So say that nothing follows, and throw away for a while what still comes.
    fn linger(&mut self) {
        self.place.idle(self.spoke);
        if !self.wire.finish() {
            return;
        }
        let deadline = Instant::now() + self.service.limits.linger;
        let mut left = LINGER_BYTES;
        while left > 0 {
            match self.wire.read(&mut self.input, deadline) {
                Ok(count) => left = left.saturating_sub(count),
                Err(_) => return,
            }
        }
    }
}

/// What a read that ended without a byte is. `late` is the refusal's detail where its deadline has passed.
fn failure(end: End, late: &str) -> Failure {
    match end {
        End::Late => Refusal::new(408, late).into(),
        End::Gone => Failure::Gone,
    }
}

/// Runs a piece of the handler. `None` if it panics, which is logged.
fn survive<T>(stamp: &Stamp, run: impl FnOnce() -> T) -> Option<T> {
    // What a panic leaves half done is out of reach afterwards: the request is dropped with it, and
    // the store's transaction is rolled back.
    let result = catch_unwind(AssertUnwindSafe(run));
    let text = |panic: Box<dyn Any + Send>| match panic.downcast::<String>() {
        Ok(text) => *text,
        Err(panic) => panic
            .downcast::<&str>()
            .map_or_else(|_| String::new(), |text| text.to_string()),
    };
    result
        .map_err(|panic| log::error!("request {} panicked: {}", stamp.request_id, text(panic)))
        .ok()
}

/// The handler's answer to a refusal of ours; a bare one if the handler fails at that, too.
fn refusal(
    service: &Service,
    head: Option<&Head>,
    status: u16,
    detail: &str,
    stamp: &Stamp,
) -> Response {
    survive(stamp, || service.handler.refusal(head, status, detail)).unwrap_or_else(|| Response {
        status,
        headers: Vec::new(),
        body: Vec::new().into(),
    })
}

/// The 503 that is all there is for a connection without a thread or a place.
///
/// Best effort, because it's sent by the thread that accepts: nothing here waits for the peer. A small
/// answer always fits the send buffer of a new connection.
pub(super) fn turn_away(socket: &Socket, service: &Service) {
    // By TLS nothing can be said before the handshake, and that one waits for the peer.
    if service.tls.is_some() {
        return;
    }
    let stamp = Stamp::now();
    let detail = "the server has as many connections as it can serve; try again in a few seconds";
    let mut response = refusal(service, None, 503, detail, &stamp);
    response.headers.push(("Retry-After", "5".to_owned()));
    let bytes = render(
        &response,
        &stamp,
        Form {
            without_body: false,
            connection: Some("close"),
        },
    );
    let sent = socket
        .set_nonblocking(true)
        .and_then(|()| (&mut &*socket).write_all(&bytes));
    if sent.and_then(|()| socket.shutdown(Shutdown::Write)).is_ok() {
        // A request that has arrived already must not turn the close into a reset.
        let _ = (&mut &*socket).read(&mut [0; READ_BYTES]);
    }
}
