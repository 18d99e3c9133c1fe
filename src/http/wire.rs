//! The bytes of one connection, in and out, plain or by TLS, each under a deadline.
//!
//! The only place that passes bytes through a socket, so that `connection` needn't know which of the two it is.
//! `tls` decides which versions, suites and certificates there are.

use std::io::{self, ErrorKind, IoSlice, Read, Write};
use std::net::Shutdown;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::{ServerConfig, ServerConnection};
use socket2::Socket;

/// What who speaks plain HTTP to a port for TLS is told, as it can't be told by TLS.
const PLAIN_HTTP: &[u8] =
    b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\n\
      Content-Length: 65\r\nConnection: close\r\n\r\n\
      This port speaks HTTPS only: write https:// instead of http://.\r\n";

/// How long a peer may take for our last words, which say that it is the end and no more.
const FAREWELL: Duration = Duration::from_millis(500);

/// How much later than at its deadline a read or write may end. The system's own clock for it is hardly finer.
const SLACK: Duration = Duration::from_millis(10);

/// One connection.
pub(super) struct Wire {
    line: Line,
    tls: Option<Box<ServerConnection>>,
}

/// Why nothing was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// The deadline has passed.
    Late,
    /// The peer is gone, or speaks no TLS that we understand.
    Gone,
}

impl Wire {
    /// A wire on which bytes are what they are.
    pub(super) fn plain(socket: Arc<Socket>) -> Wire {
        Wire {
            line: Line {
                socket,
                timeout: Duration::MAX,
            },
            tls: None,
        }
    }

    /// A wire by TLS, once the handshake is done. `None` where it isn't by `deadline`, or fails.
    pub(super) fn secure(
        socket: Arc<Socket>,
        config: Arc<ServerConfig>,
        deadline: Instant,
    ) -> Option<Wire> {
        let mut wire = Wire::plain(socket);
        wire.tls = Some(Box::new(ServerConnection::new(config).ok()?));
        while wire.tls.as_ref().is_some_and(|tls| tls.is_handshaking()) {
            wire.receive(deadline).ok()?;
        }
        Some(wire)
    }

    /// Whether nobody on the way can read along.
    pub(super) fn is_secure(&self) -> bool {
        self.tls.is_some()
    }

    /// Our end's address, as a client would write it.
    pub(super) fn local(&self) -> Option<String> {
        let address = self.line.socket.local_addr().ok()?;
        Some(match address.as_socket() {
            Some(address) => address.to_string(),
            None => "localhost".to_owned(),
        })
    }

    /// Reads what there is, at least one byte.
    pub(super) fn read(&mut self, bytes: &mut [u8], deadline: Instant) -> Result<usize, End> {
        loop {
            let Some(tls) = &mut self.tls else {
                let mut socket = Timed::new(&mut self.line, deadline);
                return match socket.read(bytes) {
                    Ok(0) => Err(End::Gone),
                    Ok(count) => Ok(count),
                    Err(_) => Err(socket.end()),
                };
            };
            match tls.reader().read(bytes) {
                Ok(0) => return Err(End::Gone),
                Ok(count) => return Ok(count),
                Err(error) if error.kind() == ErrorKind::WouldBlock => self.receive(deadline)?,
                Err(_) => return Err(End::Gone),
            }
        }
    }

    /// Sends all of `bytes`, usually in one write. False if the peer is gone or too slow.
    pub(super) fn send(&mut self, mut bytes: &[u8], deadline: Instant) -> bool {
        let Some(tls) = &mut self.tls else {
            return Timed::new(&mut self.line, deadline)
                .write_all(bytes)
                .is_ok();
        };
        while !bytes.is_empty() {
            // Takes no more than its buffer holds.
            let Ok(count) = tls.writer().write(bytes) else {
                return false;
            };
            bytes = &bytes[count..];
            if !flush(tls, &mut self.line, deadline) {
                return false;
            }
        }
        true
    }

    /// Says that nothing follows. False if the peer is gone.
    pub(super) fn finish(&mut self) -> bool {
        if let Some(tls) = &mut self.tls {
            tls.send_close_notify();
            let _ = flush(tls, &mut self.line, Instant::now() + FAREWELL);
        }
        self.line.socket.shutdown(Shutdown::Write).is_ok()
    }

    /// Takes some of TLS's records in, and sends what they call for.
    fn receive(&mut self, deadline: Instant) -> Result<(), End> {
        let Some(tls) = &mut self.tls else {
            return Err(End::Gone);
        };
        let was_handshaking = tls.is_handshaking();
        let mut socket = Timed::new(&mut self.line, deadline);
        match tls.read_tls(&mut socket) {
            Ok(0) => return Err(End::Gone),
            Ok(_) => {}
            Err(_) => return Err(socket.end()),
        }
        let speaks_http = was_handshaking && socket.first.is_some_and(|b| b.is_ascii_uppercase());
        if let Err(error) = tls.process_new_packets() {
            log::debug!("TLS failed: {error}");
            let soon = deadline.min(Instant::now() + FAREWELL);
            if speaks_http {
                // A record never begins with a letter, so this is the first thing that was said.
                let _ = Timed::new(&mut self.line, soon).write_all(PLAIN_HTTP);
            } else {
                flush(tls, &mut self.line, soon);
            }
            // What else has arrived must not turn the close into a reset, which could swallow our words.
            let _ = self.line.socket.shutdown(Shutdown::Write);
            let mut rest = Timed::new(&mut self.line, soon);
            while matches!(rest.read(&mut [0; 4096]), Ok(1..)) {}
            return Err(End::Gone);
        }
        if flush(tls, &mut self.line, deadline) {
            Ok(())
        } else {
            Err(End::Gone)
        }
    }
}

/// Sends the records that are ready. False if the peer is gone or too slow.
fn flush(tls: &mut ServerConnection, line: &mut Line, deadline: Instant) -> bool {
    let mut socket = Timed::new(line, deadline);
    while tls.wants_write() {
        if tls.write_tls(&mut socket).is_err() {
            return false;
        }
    }
    true
}

/// A socket, and how long its reads and writes wait before they give up.
struct Line {
    socket: Arc<Socket>,
    timeout: Duration,
}

/// A socket whose reads and writes fail once a deadline has passed, however often they made a little progress.
struct Timed<'a> {
    line: &'a mut Line,
    deadline: Instant,
    /// The first byte that was read.
    first: Option<u8>,
    late: bool,
}

impl<'a> Timed<'a> {
    fn new(line: &'a mut Line, deadline: Instant) -> Timed<'a> {
        Timed {
            line,
            deadline,
            first: None,
            late: false,
        }
    }

    /// Why the last call failed.
    fn end(&self) -> End {
        if self.late { End::Late } else { End::Gone }
    }

    /// Has the next read or write end by the deadline. Fails if that has passed.
    fn hurry(&mut self) -> io::Result<()> {
        let left = self.deadline.saturating_duration_since(Instant::now());
        self.late = left.is_zero();
        if self.late {
            return Err(ErrorKind::TimedOut.into());
        }
        // After a timeout that is shorter we come here again, so it does, too, unless that happened many times.
        let Line { socket, timeout } = &mut *self.line;
        if *timeout > left + SLACK || *timeout < left / 8 {
            // Less than a microsecond would be taken for no timeout.
            *timeout = left.max(SLACK);
            socket.set_read_timeout(Some(*timeout))?;
            socket.set_write_timeout(Some(*timeout))?;
        }
        Ok(())
    }

    fn write_some(&mut self, write: impl Fn(&Socket) -> io::Result<usize>) -> io::Result<usize> {
        loop {
            self.hurry()?;
            match write(&self.line.socket) {
                Err(error) if is_temporary(error.kind()) => {}
                done => return done,
            }
        }
    }
}

impl Read for Timed<'_> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        loop {
            self.hurry()?;
            match (&mut &*self.line.socket).read(bytes) {
                Err(error) if is_temporary(error.kind()) => {}
                done => {
                    if let Ok(1..) = done {
                        self.first = self.first.or(bytes.first().copied());
                    }
                    return done;
                }
            }
        }
    }
}

impl Write for Timed<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.write_some(|mut socket| socket.write(bytes))
    }

    fn write_vectored(&mut self, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        self.write_some(|mut socket| socket.write_vectored(pieces))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Whether a read or write may be tried again, if its deadline allows.
fn is_temporary(kind: ErrorKind) -> bool {
    matches!(
        kind,
        ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted
    )
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::{Duration, Instant};

    use socket2::{Domain, Socket, Type};

    use super::{Line, Timed};

    #[test]
    fn a_timeout_is_set_where_it_would_come_late_or_many_times() {
        let (near, _far) = Socket::pair(Domain::UNIX, Type::STREAM, None).expect("a pair");
        let (socket, timeout) = (Arc::new(near), Duration::MAX);
        let mut line = Line { socket, timeout };
        // Seconds that are left, and those of the timeout by then.
        for (left, timeout) in [(60.0, 60), (59.995, 60), (10.0, 10), (60.0, 10), (81.0, 81)] {
            let deadline = Instant::now() + Duration::from_secs_f64(left);
            Timed::new(&mut line, deadline).hurry().expect("time left");
            let set = [line.socket.read_timeout(), line.socket.write_timeout()];
            let set = set.map(|set| set.expect("a socket").expect("a timeout").as_secs_f64());
            assert_eq!(set.map(|set| set.round() as u64), [timeout; 2], "{left}");
        }
        assert!(Timed::new(&mut line, Instant::now()).hurry().is_err());
    }
}
