//! Accepts connections and gives each its own thread, until it is told to stop.
//!
//! ```no_run
//! # fn example(handler: std::sync::Arc<impl rollcall::http::request::Handler>) -> std::io::Result<()> {
//! use rollcall::http::{limits::Limits, listen};
//! let listener = listen::bind("127.0.0.1:8080".parse().expect("an address"))?;
//! let stop = listen::Stop::new(&listener)?;
//! stop.on_signals()?;
//! listen::serve(listener, handler, Limits::default(), Vec::new(), stop);
//! // Nothing runs any more: checkpoint and exit.
//! # Ok(())
//! # }
//! ```
//!
//! Nothing that a peer or the machine does ends the loop: without descriptors or threads it turns
//! connections away and goes on. Which connections may be open is `register`'s question, what happens on
//! one is `connection`'s.

use std::io::{self, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use ipnet::IpNet;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use socket2::{Domain, SockRef, Socket, Type};

use super::connection::{run, turn_away};
use super::limits::Limits;
use super::register::Register;
use super::request::Handler;

/// Connections that the kernel completes before we accept them.
const BACKLOG: i32 = 1024;
/// How long accepting pauses after a failure, unless a connection ends sooner.
const PAUSE: Duration = Duration::from_millis(100);
/// How often a trouble that goes on is logged.
const LOG_EVERY: Duration = Duration::from_secs(10);

/// What every connection needs.
pub(super) struct Service {
    pub(super) handler: Arc<dyn Handler>,
    pub(super) limits: Limits,
    pub(super) trusted: Vec<IpNet>,
}

/// Opens the listener. Port 0 takes a free one. `[::]` listens on IPv4, too.
///
/// # Errors
///
/// What the system says: the address is in use, is not ours, or needs a privilege.
pub fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    // Else a restart has to wait until the last run's connections are forgotten.
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(false)?;
    }
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// Serves connections until `stop` is asked for, then ends as it should: idle connections are closed,
/// and requests that run have `limits.drain` to finish. When it returns, the caller may exit.
///
/// `trusted` are the proxies whose X-Forwarded-For, -Proto and -Host count.
pub fn serve(
    listener: TcpListener,
    handler: Arc<impl Handler>,
    limits: Limits,
    trusted: Vec<IpNet>,
    stop: Stop,
) {
    let service = Arc::new(Service {
        handler,
        limits,
        trusted,
    });
    let register = Arc::new(Register::new(service.limits.connections));
    let mut trouble = Trouble::default();
    loop {
        let accepted = listener.accept();
        if stop.is_asked() {
            break;
        }
        match accepted {
            Ok((socket, peer)) => admit(
                socket,
                peer.ip().to_canonical(),
                &service,
                &register,
                &mut trouble,
            ),
            // The peer left while it waited for us, or a signal came.
            Err(error)
                if matches!(
                    error.kind(),
                    ErrorKind::ConnectionAborted | ErrorKind::Interrupted
                ) => {}
            Err(error) => {
                // Most likely we are out of descriptors, and the connection stays in the backlog. Close
                // an idle one for it. The pause keeps this from spinning where none is idle.
                trouble.warn(&format!("a connection could not be accepted: {error}"));
                register.evict();
                register.wait(PAUSE);
            }
        }
    }
    drop(listener);
    log::info!(
        "stopping: no new connections, running requests have {:?}",
        service.limits.drain
    );
    service.handler.stop();
    match register.close(service.limits.drain) {
        0 => log::info!("stopped"),
        left => log::warn!("stopped with {left} requests unfinished"),
    }
}

/// Gives a new connection a place and a thread, or turns it away.
fn admit(
    socket: TcpStream,
    peer: IpAddr,
    service: &Arc<Service>,
    register: &Arc<Register>,
    trouble: &mut Trouble,
) {
    // Without it, the second of two small writes waits for the first one's acknowledgement. Fails
    // only where the peer has left already.
    let _ = socket.set_nodelay(true);
    let limits = &service.limits;
    let is_ours = peer.is_loopback() || service.trusted.iter().any(|net| net.contains(&peer));
    let share = if is_ours {
        limits.connections
    } else {
        limits.connections_per_address
    };
    let socket = Arc::new(socket);
    let Some(place) = register.enter(&socket, peer, share) else {
        trouble.warn(&format!("{peer} was turned away: too many connections"));
        return turn_away(&socket, service);
    };
    let theirs = (Arc::clone(&socket), Arc::clone(service));
    let thread = thread::Builder::new()
        .name("connection".to_owned())
        .stack_size(limits.stack_bytes);
    let started = thread.spawn(move || {
        let (socket, service) = theirs;
        run(socket, peer, &place, &service);
    });
    if let Err(error) = started {
        trouble.warn(&format!(
            "{peer} was turned away: no thread could be started: {error}"
        ));
        turn_away(&socket, service);
    }
}

/// Ends a running [`serve`].
#[derive(Clone)]
pub struct Stop {
    asked: Arc<AtomicBool>,
    listener: Arc<TcpListener>,
}

impl Stop {
    /// For the `serve` that is given this listener.
    ///
    /// # Errors
    ///
    /// No descriptor is left.
    pub fn new(listener: &TcpListener) -> io::Result<Stop> {
        Ok(Stop {
            asked: Arc::default(),
            listener: Arc::new(listener.try_clone()?),
        })
    }

    /// Ends it, from any thread. Returns at once.
    pub fn ask(&self) {
        self.asked.store(true, Ordering::SeqCst);
        // The loop sleeps in accept. Linux wakes it up when the listener is shut down; other systems
        // refuse that, and are sent a connection.
        if SockRef::from(&*self.listener)
            .shutdown(Shutdown::Both)
            .is_err()
            && let Ok(mut address) = self.listener.local_addr()
        {
            match address.ip() {
                IpAddr::V4(ip) if ip.is_unspecified() => address.set_ip(Ipv4Addr::LOCALHOST.into()),
                IpAddr::V6(ip) if ip.is_unspecified() => address.set_ip(Ipv6Addr::LOCALHOST.into()),
                _ => {}
            }
            // If the backlog is full, this fails; but then accept doesn't sleep.
            let _ = TcpStream::connect_timeout(&address, Duration::from_secs(1));
        }
    }

    /// Ends it on SIGTERM or SIGINT. A second signal ends the process at once, as if it weren't handled.
    ///
    /// # Errors
    ///
    /// The handlers can't be installed, or no thread can be started to wait for signals.
    pub fn on_signals(&self) -> io::Result<()> {
        let mut signals = Signals::new([SIGTERM, SIGINT])?;
        let stop = self.clone();
        let wait = move || {
            for signal in &mut signals {
                if stop.is_asked() {
                    let _ = signal_hook::low_level::emulate_default_handler(signal);
                }
                stop.ask();
            }
        };
        thread::Builder::new()
            .name("signals".to_owned())
            .spawn(wait)
            .map(drop)
    }

    fn is_asked(&self) -> bool {
        self.asked.load(Ordering::SeqCst)
    }
}

/// Logs what can happen thousands of times a second.
#[derive(Default)]
struct Trouble {
    logged: Option<Instant>,
    silent: u64,
}

impl Trouble {
    fn warn(&mut self, message: &str) {
        if self
            .logged
            .is_some_and(|logged| logged.elapsed() < LOG_EVERY)
        {
            self.silent += 1;
            return;
        }
        log::warn!("{message} ({} more since the last such line)", self.silent);
        *self = Trouble {
            logged: Some(Instant::now()),
            silent: 0,
        };
    }
}
