//! Where `serve` listens, by which certificate, and what else listens beside it.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use clap::Args;
use ipnet::IpNet;
use jiff::SignedDuration;

use super::chores::Chore;
use super::notify::Supervisor;
use super::{Failure, Outcome, dev, failure, now};
use crate::http::App;
use crate::http::bind::{Given, Listener, Place};
use crate::http::limits::Limits;
use crate::http::listen::{self, Stop, Terms};
use crate::http::metrics::Page;
use crate::http::pretend::Pretend;
use crate::http::probe::Target;
use crate::http::redirect::Redirect;
use crate::http::request::Handler;
use crate::http::tls::{Files, Reload, Tls};

/// How often it is looked whether the certificate's files have changed.
const RELOAD_EVERY: Duration = Duration::from_secs(5);

/// How long before its end a certificate is warned of.
const SOON: SignedDuration = SignedDuration::from_hours(14 * 24);

/// Connections at one time to a listener that isn't the main one.
const SIDE_CONNECTIONS: usize = 64;

#[derive(Debug, Args)]
pub(super) struct Listening {
    /// Where to listen: ADDRESS:PORT, unix:/PATH, systemd for the socket of a .socket unit, systemd:NAME for one of several
    #[arg(
        long,
        value_name = "ADDR",
        env = "ROLLCALL_LISTEN",
        default_value = "127.0.0.1:8080"
    )]
    listen: Place,
    /// Speak HTTPS by this certificate: PEM, the server's own first, then those up to a root; read again when it changes
    #[arg(
        long,
        value_name = "FILE",
        env = "ROLLCALL_TLS_CERT",
        requires = "tls_key"
    )]
    tls_cert: Option<PathBuf>,
    /// The certificate's key: PEM, RSA or EC, not encrypted
    #[arg(
        long,
        value_name = "FILE",
        env = "ROLLCALL_TLS_KEY",
        requires = "tls_cert"
    )]
    tls_key: Option<PathBuf>,
    /// With --dev: speak HTTPS by a certificate that signs itself
    #[arg(long, requires = "dev", conflicts_with = "tls_cert")]
    tls: bool,
    /// Listen here too, for plain HTTP, and send everybody on to HTTPS
    #[arg(long, value_name = "ADDR", env = "ROLLCALL_HTTP_REDIRECT")]
    http_redirect: Option<Place>,
    /// Listen here too, for Prometheus: GET /metrics, without a token, so keep it inside
    #[arg(long, value_name = "ADDR", env = "ROLLCALL_METRICS")]
    metrics: Option<Place>,
    /// A reverse proxy whose X-Forwarded-For, -Proto and -Host are believed; repeatable
    #[arg(long, value_name = "CIDR", env = "ROLLCALL_TRUSTED_PROXY", value_delimiter = ',', value_parser = network)]
    trusted_proxy: Vec<IpNet>,
}

/// What listens.
pub(super) struct Door {
    listener: Listener,
    redirect: Option<Listener>,
    metrics: Option<Listener>,
    pretend: Option<Listener>,
    trusted: Vec<IpNet>,
    tls: Option<Arc<Tls>>,
    stop: Stop,
}

impl Listening {
    /// The certificate, if there is to be one.
    fn tls(&self, data: &Path, is_dev: bool) -> Result<Option<Arc<Tls>>, Failure> {
        let files = match (&self.tls_cert, &self.tls_key) {
            (Some(certificate), Some(key)) => Files {
                certificate: certificate.clone(),
                key: key.clone(),
            },
            _ if is_dev && self.tls => dev::certificate(data)?,
            _ => return Ok(None),
        };
        let tls = Tls::load(files).map_err(failure)?;
        if let Some(until) = tls.until()
            && until - SOON < now()
        {
            log::warn!("the certificate ends at {until}: put a new one into its file");
        }
        Ok(Some(Arc::new(tls)))
    }

    /// Opens all listeners, so that whatever stands in the way is said before anything is served.
    pub(super) fn open(
        &self,
        data: &Path,
        is_dev: bool,
        supervisor: &Supervisor,
    ) -> Result<Door, Failure> {
        let tls = self.tls(data, is_dev)?;
        if self.http_redirect.is_some() && tls.is_none() {
            return Err(failure(
                "--http-redirect sends everybody to HTTPS, and there is none: give --tls-cert and --tls-key",
            ));
        }
        let names = std::env::var("LISTEN_FDNAMES").unwrap_or_default();
        let mut given = Given::from_environment(&names);
        let mut opened = |place: &Place| {
            Listener::open(place, &mut given)
                .map_err(|error| failure(format!("cannot listen on {place}: {error}")))
        };
        let listener = opened(&self.listen)?;
        if let Some(address) = listener.address()
            && is_dev
            && !address.ip().is_loopback()
        {
            return Err(failure(format!(
                "--dev is for this machine alone: {address} is not a loopback address; listen on 127.0.0.1"
            )));
        }
        let redirect = self.http_redirect.as_ref().map(&mut opened).transpose()?;
        let metrics = self.metrics.as_ref().map(&mut opened).transpose()?;
        if !given.unused().is_empty() {
            return Err(failure(format!(
                "systemd gave sockets that no option takes: {}; say --listen systemd, or --listen systemd:NAME",
                given.unused().join(", ")
            )));
        }
        let pretend = is_dev.then(dev::pretend_listener).transpose()?;
        let sides = redirect.iter().chain(&metrics).chain(&pretend);
        let stop = Stop::new([&listener].into_iter().chain(sides))?;
        let (reloaded, supervisor) = (tls.clone(), supervisor.clone());
        let reload = move || match &reloaded {
            Some(tls) => report(&tls.reload(), &mut None),
            None => log::info!("SIGHUP: there is no certificate to read again"),
        };
        stop.on_signals(reload, move || supervisor.stopping())?;
        Ok(Door {
            listener,
            redirect,
            metrics,
            pretend,
            trusted: self.trusted_proxy.clone(),
            tls,
            stop,
        })
    }
}

impl Door {
    /// Scheme and host by which this machine reaches it.
    pub(super) fn origin(&self) -> String {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        match self.listener.address() {
            Some(address) => format!("{scheme}://{address}"),
            None => format!("{scheme}://localhost"),
        }
    }

    /// Where this process can ask itself; `None` for a Unix socket that was given to it.
    pub(super) fn target(&self) -> Option<Target> {
        self.listener.target()
    }

    /// The address of the pretend provider, with --dev.
    pub(super) fn pretend_address(&self) -> Option<SocketAddr> {
        self.pretend.as_ref()?.address()
    }

    /// Scheme and host by each name that browsers on this machine use.
    pub(super) fn origins(&self) -> Vec<String> {
        let own = self.origin();
        let (scheme, _) = own.split_once("://").unwrap_or_default();
        let port = self.listener.address().map(|address| address.port());
        let named = port.map(|port| format!("{scheme}://localhost:{port}"));
        [own].into_iter().chain(named).collect()
    }

    /// Where it listens.
    pub(super) fn words(&self) -> String {
        match self.listener.address() {
            Some(_) => self.origin(),
            None => format!("{} ({})", self.listener, self.origin()),
        }
    }

    /// Reads the certificate's files again when they have changed.
    pub(super) fn reloading(&self) -> Option<Chore> {
        let tls = Arc::clone(self.tls.as_ref()?);
        let mut told = None;
        let run = move || {
            report(&tls.reload(), &mut told);
            RELOAD_EVERY
        };
        Some(Chore::new(RELOAD_EVERY, run))
    }

    /// Serves until SIGTERM or SIGINT; with --dev, the pretend provider beside it.
    pub(super) fn serve(self, app: &Arc<App>, pretend: Option<Pretend>) -> Outcome {
        let port = self.listener.address().map(|address| address.port());
        let mut sides = Vec::new();
        if let Some(listener) = self.redirect {
            let redirect = Redirect::new(app.public_url.clone(), port);
            sides.push(beside(listener, Arc::new(redirect), &self.stop)?);
        }
        if let Some(listener) = self.metrics {
            let page = Page {
                app: Arc::clone(app),
                tls: self.tls.clone(),
            };
            sides.push(beside(listener, Arc::new(page), &self.stop)?);
        }
        if let (Some(listener), Some(pretend)) = (self.pretend, pretend) {
            sides.push(beside(listener, Arc::new(pretend), &self.stop)?);
        }
        let terms = Terms {
            limits: Limits::default(),
            traffic: Arc::clone(&app.metrics.traffic),
            trusted: self.trusted,
            tls: self.tls,
        };
        listen::serve(
            self.listener,
            Arc::clone(app) as Arc<dyn Handler>,
            terms,
            self.stop,
        );
        for side in sides {
            if side.join().is_err() {
                log::error!("a listener's thread panicked");
            }
        }
        Ok(())
    }
}

/// Serves something else on a thread of its own, until the same stop.
fn beside(
    listener: Listener,
    handler: Arc<dyn Handler>,
    stop: &Stop,
) -> std::io::Result<thread::JoinHandle<()>> {
    let terms = Terms::of(Limits {
        connections: SIDE_CONNECTIONS,
        ..Limits::default()
    });
    let stop = stop.clone();
    thread::Builder::new()
        .name("listener".to_owned())
        .spawn(move || listen::serve(listener, handler, terms, stop))
}

/// Says what reading the certificate again came to; the same trouble once.
fn report(reload: &Reload, told: &mut Option<String>) {
    match reload {
        Reload::Same => {}
        Reload::Done(Some(until)) => {
            log::info!("a new certificate is in use, which ends at {until}")
        }
        Reload::Done(None) => log::info!("a new certificate is in use"),
        Reload::Refused(trouble) => {
            if told.as_ref() != Some(trouble) {
                log::error!("the certificate stays as it is: {trouble}");
            }
            *told = Some(trouble.clone());
            return;
        }
    }
    *told = None;
}

/// An address, or a network in CIDR notation.
fn network(text: &str) -> Result<IpNet, String> {
    text.parse::<IpNet>()
        .or_else(|_| text.parse::<std::net::IpAddr>().map(IpNet::from))
        .map_err(|_| "write an address or a network, as in 10.0.0.0/8".to_owned())
}
