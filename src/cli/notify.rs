//! Tells systemd how the server is, as `Type=notify` and `WatchdogSec=` of a unit ask for: sd_notify(3),
//! sd_watchdog_enabled(3). A message is one datagram of `NAME=VALUE` to the socket that the environment names.
//!
//! The watchdog is told only what was seen: a connection that was answered, and a transaction that the writer finished.
//! Whether the answer was a good one doesn't matter, since no restart makes room on a disk or brings a database back.

use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use std::{env, io, process};

use super::chores::Chore;
use super::now;
use crate::http::App;
use crate::http::probe::{self, Target};

/// Whoever started the server and wants to know how it is; often nobody.
#[derive(Clone, Default)]
pub(super) struct Supervisor {
    socket: Option<Arc<UnixDatagram>>,
    /// How often it wants to hear that the server is alive, at least.
    watchdog: Option<Duration>,
}

impl Supervisor {
    /// The one that the environment names.
    pub(super) fn from_environment() -> Supervisor {
        let Some(name) = env::var_os("NOTIFY_SOCKET").and_then(|name| name.into_string().ok())
        else {
            return Supervisor::default();
        };
        let number = |name| env::var(name).ok()?.parse::<u64>().ok();
        // Those variables may have been meant for the process that started us.
        let is_ours = number("WATCHDOG_PID").is_none_or(|id| id == u64::from(process::id()));
        let watchdog = number("WATCHDOG_USEC").filter(|micros| is_ours && *micros > 0);
        match connect(&name) {
            Ok(socket) => Supervisor {
                socket: Some(Arc::new(socket)),
                watchdog: watchdog.map(Duration::from_micros),
            },
            Err(error) => {
                log::warn!("NOTIFY_SOCKET={name} can't be used: {error}");
                Supervisor::default()
            }
        }
    }

    /// Who connects from now on is served.
    pub(super) fn ready(&self) {
        self.tell("READY=1");
    }

    /// The server was asked to end, and does.
    pub(super) fn stopping(&self) {
        self.tell("STOPPING=1");
    }

    /// What to do again and again where the supervisor wants to hear that the server is alive. On a thread of its own, as
    /// it waits for the server and other chores take long.
    pub(super) fn watch(&self, app: &Arc<App>, target: Option<Target>) -> Option<Chore> {
        // Half, so that one that comes late is none that is missing; as sd_watchdog_enabled(3) has it.
        let every = self.watchdog? / 2;
        let (supervisor, app) = (self.clone(), Arc::clone(app));
        Some(Chore::new(Duration::ZERO, move || {
            let is_stopping = app.stopping.load(Ordering::Relaxed);
            if is_stopping || target.as_ref().is_none_or(probe::is_answered) {
                // Waits for ever where the writer hangs, and then nothing is told.
                drop(app.store.rehearse(now(), |_| Ok(())));
                supervisor.tell("WATCHDOG=1");
            } else {
                log::error!("this server does not answer itself");
            }
            every
        }))
    }

    fn tell(&self, message: &str) {
        let sent = self.socket.as_ref().map(|to| to.send(message.as_bytes()));
        if let Some(Err(error)) = sent {
            log::warn!("{message} could not be told to NOTIFY_SOCKET: {error}");
        }
    }
}

/// A path, or behind an @ a name in Linux's abstract namespace.
fn connect(name: &str) -> io::Result<UnixDatagram> {
    let address = match name.strip_prefix('@') {
        Some(name) => SocketAddr::from_abstract_name(name)?,
        None => SocketAddr::from_pathname(name)?,
    };
    let socket = UnixDatagram::unbound()?;
    socket.connect_addr(&address)?;
    Ok(socket)
}
