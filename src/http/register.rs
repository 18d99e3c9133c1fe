//! The connections that are open: how many there may be, which one must go first, and the end of all.
//!
//! One lock, held for the length of a scan over at most a few hundred entries.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr, Shutdown};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use socket2::Socket;

/// How long a new connection is safe. Its first request is on the way, and whoever closes it for the
/// next one serves neither.
const GRACE: Duration = Duration::from_secs(1);

/// Every open connection.
pub(super) struct Register {
    most: usize,
    state: Mutex<State>,
    /// Told whenever a connection has ended.
    left: Condvar,
}

#[derive(Default)]
struct State {
    entries: HashMap<u64, Entry>,
    next: u64,
    closing: bool,
}

struct Entry {
    /// The address that this connection is counted for.
    address: IpAddr,
    /// Since when it has waited for a request, `None` while one is being served. For a new connection
    /// this is the end of its grace.
    idle_since: Option<Instant>,
    socket: Arc<Socket>,
}

/// A connection's place in the register, given up by dropping it.
///
/// An idle connection may lose its place at any moment: its socket is then shut down, and its thread
/// ends as if the peer had left. Drop it after the socket, so that a descriptor is free when it's told.
pub(super) struct Place {
    register: Arc<Register>,
    id: u64,
}

impl Register {
    /// A register for at most so many connections.
    pub(super) fn new(most: usize) -> Register {
        Register {
            most,
            state: Mutex::default(),
            left: Condvar::new(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Finds a place for a new connection, at the cost of the longest idle one if need be.
    ///
    /// `share` is how many connections its address may have. `None` if everybody else is busy.
    pub(super) fn enter(
        self: &Arc<Register>,
        socket: &Arc<Socket>,
        address: IpAddr,
        share: usize,
    ) -> Option<Place> {
        let (address, now) = (subscriber(address), Instant::now());
        let mut state = self.state();
        if state
            .entries
            .values()
            .filter(|entry| entry.address == address)
            .count()
            >= share
            && !state.evict(now, |entry| entry.address == address)
        {
            return None;
        }
        if state.entries.len() >= self.most && !state.evict(now, |_| true) {
            return None;
        }
        let id = state.next;
        state.next += 1;
        state.entries.insert(
            id,
            Entry {
                address,
                idle_since: Some(now + GRACE),
                socket: Arc::clone(socket),
            },
        );
        Some(Place {
            register: Arc::clone(self),
            id,
        })
    }

    /// Closes the longest idle connection, if there is one.
    pub(super) fn evict(&self) {
        self.state().evict(Instant::now(), |_| true);
    }

    /// Waits until a connection ends, but no longer than `most`.
    pub(super) fn wait(&self, most: Duration) {
        // A wake-up without cause only makes the wait shorter.
        let _ = self.left.wait_timeout(self.state(), most);
    }

    /// Closes all idle connections, and waits until the others have ended. Returns how many have not in time.
    pub(super) fn close(&self, most: Duration) -> usize {
        let mut state = self.state();
        state.closing = true;
        let everybody = Instant::now() + GRACE;
        while state.evict(everybody, |_| true) {}
        let waited = self
            .left
            .wait_timeout_while(state, most, |state| !state.entries.is_empty());
        waited
            .unwrap_or_else(PoisonError::into_inner)
            .0
            .entries
            .len()
    }
}

impl State {
    /// Closes the longest idle of the connections in question. False if none of them is idle at `now`.
    fn evict(&mut self, now: Instant, in_question: impl Fn(&Entry) -> bool) -> bool {
        let idle = self.entries.iter().filter(|(_, entry)| in_question(entry));
        let longest = idle
            .filter_map(|(id, entry)| Some((entry.idle_since?, *id)))
            .filter(|(since, _)| *since <= now)
            .min();
        let evicted = longest.and_then(|(_, id)| self.entries.remove(&id));
        if let Some(entry) = &evicted {
            // Fails only where the peer has left already, and then its thread ends anyway.
            let _ = entry.socket.shutdown(Shutdown::Both);
        }
        evicted.is_some()
    }
}

impl Place {
    /// Says that the connection waits for a request, since a time that is its own and not when its thread came to say so.
    /// False if it must end instead.
    pub(super) fn idle(&self, since: Instant) -> bool {
        let mut state = self.register.state();
        let closing = state.closing;
        let entry = state.entries.get_mut(&self.id);
        entry.map(|entry| entry.idle_since = Some(since)).is_some() && !closing
    }

    /// Says that a request has begun. False if the connection has lost its place meanwhile.
    pub(super) fn busy(&self) -> bool {
        let mut state = self.register.state();
        state
            .entries
            .get_mut(&self.id)
            .map(|entry| entry.idle_since = None)
            .is_some()
    }

    /// Whether the server ends: no further request is served on this connection.
    pub(super) fn is_closing(&self) -> bool {
        self.register.state().closing
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.register.state().entries.remove(&self.id);
        self.register.left.notify_all();
    }
}

/// What one subscriber can use at will: an IPv4 address, or the upper half of an IPv6 address.
pub(super) fn subscriber(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() >> 64 << 64).into(),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::net::{IpAddr, TcpListener, TcpStream};
    use std::sync::Arc;
    use std::time::{Duration, Instant};

    use socket2::Socket;

    use super::{Place, Register};

    /// Two ends of a connection.
    fn pair() -> (Arc<Socket>, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let far =
            TcpStream::connect(listener.local_addr().expect("an address")).expect("a connection");
        (
            Arc::new(listener.accept().expect("the same connection").0.into()),
            far,
        )
    }

    /// A new connection from `address`, which may have two; the far end beside it.
    fn enter(register: &Arc<Register>, address: &str) -> Option<(Place, TcpStream)> {
        let (near, far) = pair();
        let address: IpAddr = address.parse().expect("an address");
        Some((register.enter(&near, address, 2)?, far))
    }

    #[track_caller]
    fn assert_shut(mut far: TcpStream) {
        far.set_read_timeout(Some(Duration::from_secs(5)))
            .expect("a socket");
        assert_eq!(far.read(&mut [0]).expect("the end, and not a timeout"), 0);
    }

    #[test]
    fn the_longest_idle_connection_makes_room() {
        let register = Arc::new(Register::new(3));
        let (first, _far) = enter(&register, "192.0.2.1").expect("room");
        let (second, second_far) = enter(&register, "192.0.2.2").expect("room");
        let (third, _far) = enter(&register, "192.0.2.3").expect("room");
        assert!(enter(&register, "192.0.2.4").is_none(), "all are new");
        let since = Instant::now();
        assert!(first.busy() && first.idle(Instant::now()) && second.idle(since) && third.busy());
        let (fourth, _far) = enter(&register, "192.0.2.4").expect("room made by the second");
        assert_shut(second_far);
        assert!(!second.busy());
        assert!(first.busy() && fourth.busy());
        assert!(enter(&register, "192.0.2.5").is_none(), "all are busy");
        drop(first);
        assert!(enter(&register, "192.0.2.5").is_some());
    }

    #[test]
    fn an_address_competes_with_itself_once_its_share_is_used() {
        let register = Arc::new(Register::new(100));
        let (_other, _far) = enter(&register, "2001:db8:0:1::1").expect("room");
        let (first, first_far) = enter(&register, "2001:db8::1").expect("room");
        let (second, _far) = enter(&register, "2001:db8::2").expect("room");
        assert!(first.idle(Instant::now()));
        let (third, _far) = enter(&register, "2001:db8::3").expect("room made by the first");
        assert_shut(first_far);
        drop(first);
        assert!(second.busy() && third.busy());
        assert!(enter(&register, "2001:db8::4").is_none());
    }

    #[test]
    fn closing_ends_the_idle_and_counts_the_busy() {
        let register = Arc::new(Register::new(100));
        let (idle, idle_far) = enter(&register, "192.0.2.1").expect("room");
        let (busy, _far) = enter(&register, "192.0.2.1").expect("room");
        assert!(busy.busy());
        assert_eq!(register.close(Duration::from_millis(1)), 1);
        assert_shut(idle_far);
        assert!(!idle.busy() && busy.is_closing() && !busy.idle(Instant::now()));
        drop(busy);
        assert_eq!(register.close(Duration::from_secs(60)), 0);
    }
}
