//! What one peer may cost us: every bound of the connection loop, with its default.
//!
//! They are constants of the product and not settings. The loop takes them as an argument so that a
//! test can wait 300 ms for a deadline instead of 10 s.

use std::time::Duration;

/// The most header fields of a request.
pub const HEADERS: usize = 64;

/// The bounds of the connection loop. `Limits::default()` is what the product uses.
#[derive(Clone, Debug)]
pub struct Limits {
    /// The most bytes of a request's head, from the first byte to the empty line.
    pub head_bytes: usize,
    /// For the whole head, from its first byte on.
    pub head: Duration,
    /// For the first byte of a request, on a new connection and between two requests.
    pub idle: Duration,
    /// For a body without its bytes: the bytes that arrived extend it at `bytes_per_second`.
    pub body: Duration,
    /// For an answer without its bytes: its size (of a file, what has been sent of it) extends it at `bytes_per_second`.
    pub write: Duration,
    /// The slowest peer that is still served.
    pub bytes_per_second: u64,
    /// Connections open at one time.
    pub connections: usize,
    /// Of those, the share of one address. Loopback and trusted proxies may take all.
    pub connections_per_address: usize,
    /// For the requests that run when the server is stopped.
    pub drain: Duration,
    /// For a peer to read our last answer before its connection is closed.
    pub linger: Duration,
    /// The stack of a connection's thread. Only the part in use takes memory.
    pub stack_bytes: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            head_bytes: 32 * 1024,
            head: Duration::from_secs(10),
            idle: Duration::from_secs(60),
            body: Duration::from_secs(10),
            write: Duration::from_secs(30),
            bytes_per_second: 64 * 1024,
            connections: 512,
            connections_per_address: 64,
            drain: Duration::from_secs(10),
            linger: Duration::from_secs(2),
            stack_bytes: 2 * 1024 * 1024,
        }
    }
}

impl Limits {
    /// How long `bytes` take the slowest peer that is still served.
    pub(super) fn time_for(&self, bytes: u64) -> Duration {
        Duration::from_millis(bytes.saturating_mul(1000) / self.bytes_per_second.max(1))
    }
}
