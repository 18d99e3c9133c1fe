//! Accepts connections and gives each its own thread, until it is told to stop.
//!
//! ```no_run
//! # fn example(handler: std::sync::Arc<dyn rollcall::http::request::Handler>) -> std::io::Result<()> {
//! use rollcall::http::{bind::{Given, Listener}, limits::Limits, listen};
//! let listener = Listener::open(&"127.0.0.1:8080".parse().expect("a place"), &mut Given::nothing())?;
//! let stop = listen::Stop::new([&listener])?;
//! stop.on_signals(|| {}, || {})?;
//! listen::serve(listener, handler, listen::Terms::of(Limits::default()), stop);
//! // Nothing runs any more: checkpoint and exit.
//! # Ok(())
//! # }
//! ```
//!
//! Nothing that a peer or the machine does ends the loop: without descriptors or threads it turns
//! connections away and goes on. Which connections may be open is `register`'s question, what happens on
//! one is `connection`'s.

use std::io::{self, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, Shutdown, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use ipnet::IpNet;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGXFSZ};
use signal_hook::iterator::Signals;
use socket2::Socket;

use super::bind::Listener;
use super::connection::{run, turn_away};
use super::limits::Limits;
use super::register::Register;
use super::request::Handler;
use super::tls::Tls;

/// How long accepting pauses after a failure, unless a connection ends sooner.
const PAUSE: Duration = Duration::from_millis(100);
/// How often a trouble that goes on is logged.
const LOG_EVERY: Duration = Duration::from_secs(10);

/// What every connection needs.
pub(super) struct Service {
    pub(super) handler: Arc<dyn Handler>,
    pub(super) limits: Limits,
    pub(super) trusted: Vec<IpNet>,
    pub(super) tls: Option<Arc<Tls>>,
    traffic: Arc<Traffic>,
}

/// Connections in numbers.
#[derive(Debug, Default)]
pub struct Traffic {
    /// Open ones.
    pub open: AtomicU64,
    /// Accepted so far.
    pub accepted: AtomicU64,
    /// Of these, turned away for want of a place or a thread.
    pub turned_away: AtomicU64,
}

/// On what terms connections are served.
#[derive(Clone, Debug)]
pub struct Terms {
    /// What one peer may cost.
    pub limits: Limits,
    /// The proxies whose X-Forwarded-For, -Proto and -Host count. A peer on a Unix socket is always one.
    pub trusted: Vec<IpNet>,
    /// With it, nothing but TLS is spoken.
    pub tls: Option<Arc<Tls>>,
    /// Where they are counted.
    pub traffic: Arc<Traffic>,
}

impl Terms {
    /// No proxies, no TLS.
    pub fn of(limits: Limits) -> Terms {
        Terms {
            limits,
            trusted: Vec::new(),
            tls: None,
            traffic: Arc::default(),
        }
    }
}

/// Serves connections until `stop` is asked for, then ends as it should: idle connections are closed,
/// and requests that run have `limits.drain` to finish. When it returns, the caller may exit.
pub fn serve(listener: Listener, handler: Arc<dyn Handler>, terms: Terms, stop: Stop) {
    let Terms {
        limits,
        mut trusted,
        tls,
        traffic,
    } = terms;
    if listener.address().is_none() {
        // Peers on a Unix socket have no address. They count as this machine, and who may open the file is the proxy.
        trusted.push(IpAddr::from(Ipv4Addr::LOCALHOST).into());
    }
    let service = Arc::new(Service {
        handler,
        limits,
        trusted,
        tls,
        traffic,
    });
    let register = Arc::new(Register::new(service.limits.connections));
    let mut trouble = Trouble::default();
    loop {
        let accepted = listener.socket.accept();
        if stop.is_asked() {
            break;
        }
        match accepted {
            Ok((socket, peer)) => admit(
                socket,
                peer.as_socket()
                    .map_or(Ipv4Addr::LOCALHOST.into(), |peer| peer.ip().to_canonical()),
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
    socket: Socket,
    peer: IpAddr,
    service: &Arc<Service>,
    register: &Arc<Register>,
    trouble: &mut Trouble,
) {
    // Without it, the second of two small writes waits for the first one's acknowledgement. Fails
    // only where the peer has left already, or where there is no such wait.
    let _ = socket.set_tcp_nodelay(true);
    let (limits, traffic) = (&service.limits, &service.traffic);
    traffic.accepted.fetch_add(1, Ordering::Relaxed);
    let is_ours = peer.is_loopback() || service.trusted.iter().any(|net| net.contains(&peer));
    let share = if is_ours {
        limits.connections
    } else {
        limits.connections_per_address
    };
    let socket = Arc::new(socket);
    let Some(place) = register.enter(&socket, peer, share) else {
        traffic.turned_away.fetch_add(1, Ordering::Relaxed);
        trouble.warn(&format!("{peer} was turned away: too many connections"));
        return turn_away(&socket, service);
    };
    let theirs = (Arc::clone(&socket), Arc::clone(service));
    let thread = thread::Builder::new()
        .name("connection".to_owned())
        .stack_size(limits.stack_bytes);
    traffic.open.fetch_add(1, Ordering::Relaxed);
    let started = thread.spawn(move || {
        let (socket, service) = theirs;
        run(socket, peer, &place, &service);
        service.traffic.open.fetch_sub(1, Ordering::Relaxed);
    });
    if let Err(error) = started {
        traffic.open.fetch_sub(1, Ordering::Relaxed);
        traffic.turned_away.fetch_add(1, Ordering::Relaxed);
        trouble.warn(&format!(
            "{peer} was turned away: no thread could be started: {error}"
        ));
        turn_away(&socket, service);
    }
}

/// Ends each running [`serve`] that was given it.
#[derive(Clone)]
pub struct Stop {
    asked: Arc<AtomicBool>,
    listeners: Arc<[Socket]>,
}

impl Stop {
    /// For each `serve` that is given one of these listeners.
    ///
    /// # Errors
    ///
    /// No descriptor is left.
    pub fn new<'a>(listeners: impl IntoIterator<Item = &'a Listener>) -> io::Result<Stop> {
        let listeners = listeners.into_iter().map(|each| each.socket.try_clone());
        Ok(Stop {
            asked: Arc::default(),
            listeners: listeners.collect::<io::Result<_>>()?,
        })
    }

    /// Ends them, from any thread. Returns at once.
    pub fn ask(&self) {
        self.asked.store(true, Ordering::SeqCst);
        self.listeners.iter().for_each(wake);
    }

    /// Ends them on SIGTERM or SIGINT, and runs `ending` before. A second signal ends the process at once, as if it weren't
    /// handled. On SIGHUP, runs `reload`.
    ///
    /// # Errors
    ///
    /// The handlers can't be installed, or no thread can be started to wait for signals.
    pub fn on_signals(
        &self,
        reload: impl Fn() + Send + 'static,
        ending: impl Fn() + Send + 'static,
    ) -> io::Result<()> {
        let mut signals = Signals::new([SIGTERM, SIGINT, SIGHUP, SIGXFSZ])?;
        let stop = self.clone();
        let wait = move || {
            for signal in &mut signals {
                match signal {
                    SIGHUP => {
                        reload();
                        continue;
                    }
                    // A file reached its limit (`ulimit -f`): a failed write, which is survived, and not the end.
                    SIGXFSZ => continue,
                    _ => {}
                }
                if stop.is_asked() {
                    let _ = signal_hook::low_level::emulate_default_handler(signal);
                }
                ending();
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

/// Wakes up the loop that sleeps in `accept`. Linux does when the listener is shut down; other systems refuse that, and
/// are sent a connection.
fn wake(listener: &Socket) {
    if listener.shutdown(Shutdown::Both).is_ok() {
        return;
    }
    let address = listener.local_addr().ok();
    if let Some(mut address) = address.and_then(|address| address.as_socket()) {
        match address.ip() {
            IpAddr::V4(ip) if ip.is_unspecified() => address.set_ip(Ipv4Addr::LOCALHOST.into()),
            IpAddr::V6(ip) if ip.is_unspecified() => address.set_ip(Ipv6Addr::LOCALHOST.into()),
            _ => {}
        }
        // If the backlog is full, this fails; but then accept doesn't sleep.
        let _ = TcpStream::connect_timeout(&address, Duration::from_secs(1));
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
