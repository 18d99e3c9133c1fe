//! `rollcall serve`

use std::fs;
use std::io::Write;
use std::net::{SocketAddr, ToSocketAddrs};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use ipnet::IpNet;
use jiff::Timestamp;

use super::account::make_link;
use super::chores::{self, Chores, Schedule};
use super::{Failure, Outcome, failure, now, public_url, table};
use crate::error::Doing;
use crate::http::limits::Limits;
use crate::http::listen::{self, Stop};
use crate::http::{self, App};
use crate::manage::{self, OPERATOR};
use crate::seal::KeyFile;
use crate::store::sessions::{Holder, Link};
use crate::store::tenants::Tenant;
use crate::store::tokens::{self, New, Secret, TokenHash, TokenKind};
use crate::store::{Store, Tx, accounts, backup, lock, tenants};

/// The tenant of `--dev`.
const DEV_TENANT: &str = "dev";

/// Its local account.
const DEV_ACCOUNT: &str = "dev@localhost";

/// The file in the data folder that keeps `--dev`'s token, so that a client stays connected over restarts.
const DEV_TOKEN_FILE: &str = "dev-token";

/// The file in the data folder that seals what the database must not show.
const KEY_FILE: &str = "rollcall.key";

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Address and port to listen on
    #[arg(
        long,
        value_name = "ADDR",
        env = "ROLLCALL_LISTEN",
        default_value = "127.0.0.1:8080"
    )]
    listen: String,
    /// How clients reach this server, as in https://rollcall.example.org; without it, as each request says
    #[arg(long, value_name = "URL", env = "ROLLCALL_PUBLIC_URL", value_parser = public_url)]
    public_url: Option<String>,
    /// A reverse proxy whose X-Forwarded-For, -Proto and -Host are believed; repeatable
    #[arg(long, value_name = "CIDR", env = "ROLLCALL_TRUSTED_PROXY", value_delimiter = ',', value_parser = network)]
    trusted_proxy: Vec<IpNet>,
    /// Most bytes in a request's body
    #[arg(long, value_name = "BYTES", env = "ROLLCALL_MAX_BODY", default_value_t = http::BODY_MAX_BYTES,
          value_parser = clap::value_parser!(u64).range(65_536..=1_073_741_824))]
    max_body: u64,
    /// Folder for backups that are made while serving; without it, none are
    #[arg(long, value_name = "DIR", env = "ROLLCALL_BACKUP_DIR")]
    backup_dir: Option<PathBuf>,
    /// How often a backup is made: a number with s, m, h or d behind it
    #[arg(long, value_name = "TIME", env = "ROLLCALL_BACKUP_EVERY", default_value = "24h", value_parser = interval)]
    backup_every: Duration,
    /// How many of them are kept
    #[arg(long, value_name = "N", env = "ROLLCALL_BACKUP_KEEP", default_value_t = 7,
          value_parser = clap::value_parser!(u32).range(1..=10_000))]
    backup_keep: u32,
    /// The key that seals providers' client secrets; made where it is missing [default: rollcall.key in the data folder]
    #[arg(long, value_name = "FILE", env = "ROLLCALL_KEY_FILE")]
    key_file: Option<PathBuf>,
    /// For trying out: loopback only, with a tenant "dev", a sign-in link and a token, all printed, and all bodies in the log
    #[arg(long)]
    dev: bool,
}

pub(super) fn run(data: &Path, arguments: Arguments) -> Outcome {
    env_logger::Builder::from_env(env_logger::Env::default().default_filter_or("info")).init();
    let address = resolved(&arguments.listen)?;
    if arguments.dev && !address.ip().is_loopback() {
        return Err(failure(format!(
            "--dev is for this machine alone: {address} is not a loopback address; listen on 127.0.0.1"
        )));
    }
    if let Some(dir) = &arguments.backup_dir {
        // Who names a folder that can't be used should hear of it now and not from the log.
        backup::create_folder(dir)?;
    }
    let _serving = lock::serve(data)?;
    let store = Store::open(data)?;
    let dev_token = if arguments.dev {
        Some(dev_token(data, &store)?)
    } else {
        None
    };
    let listener = listen::bind(address)
        .map_err(|error| failure(format!("cannot listen on {address}: {error}")))?;
    let stop = Stop::new(&listener)?;
    stop.on_signals()?;
    let origin = format!("http://{}", listener.local_addr()?);
    let public = arguments
        .public_url
        .clone()
        .unwrap_or_else(|| origin.clone());
    table::line(&format!("listening on {origin}"))?;
    match dev_token {
        Some(token) => {
            let link = dev_link(&store)?;
            table::line(&format!(
                "settings: {public}/sign-in/link/{}",
                link.reveal()
            ))?;
            table::line(&format!("SCIM base URL: {public}/scim/v2"))?;
            table::line(&format!("SCIM token: {token}"))?;
        }
        None if store.read(tenants::list)?.is_empty() => {
            let link = make_link(&store, Link::SetUp)?;
            table::line(&format!(
                "set up: {public}/setup/{} (once, within 30 minutes)",
                link.reveal()
            ))?;
            eprintln!(
                "or by commands: rollcall tenant create NAME, rollcall account create EMAIL --tenant NAME"
            );
        }
        None => {}
    }
    let key_file = arguments.key_file.unwrap_or_else(|| data.join(KEY_FILE));
    let app = Arc::new(App {
        store,
        public_url: arguments.public_url,
        body_max_bytes: arguments.max_body,
        keep_bodies: arguments.dev,
        key_file: KeyFile::at(key_file),
        throttle: Default::default(),
        stopping: Default::default(),
    });
    let mut chores = vec![chores::purge(&app)];
    if let Some(dir) = arguments.backup_dir {
        let schedule = Schedule {
            dir,
            every: arguments.backup_every,
            keep: arguments.backup_keep as usize,
        };
        chores.push(chores::back_up(&app, schedule));
    }
    let chores = Chores::start(chores)?;
    listen::serve(
        listener,
        Arc::clone(&app),
        Limits::default(),
        arguments.trusted_proxy,
        stop,
    );
    chores.stop();
    match Arc::try_unwrap(app) {
        Ok(app) => app.store.close()?,
        // A connection outlived the time to drain; the writer ends with the process, and what it acknowledged is on disk.
        Err(_) => log::warn!("stopped with requests still running"),
    }
    Ok(())
}

fn resolved(listen: &str) -> Result<SocketAddr, Failure> {
    listen
        .to_socket_addrs()
        .ok()
        .and_then(|mut addresses| addresses.next())
        .ok_or_else(|| {
            failure(format!(
                "--listen {listen:?} is no address; write 127.0.0.1:8080 or [::1]:8080"
            ))
        })
}

/// An address, or a network in CIDR notation.
fn network(text: &str) -> Result<IpNet, String> {
    text.parse::<IpNet>()
        .or_else(|_| text.parse::<std::net::IpAddr>().map(IpNet::from))
        .map_err(|_| "write an address or a network, as in 10.0.0.0/8".to_owned())
}

/// A number with s, m, h or d behind it.
fn interval(text: &str) -> Result<Duration, String> {
    let parsed = text.char_indices().last().and_then(|(at, unit)| {
        let seconds = match unit {
            's' => 1,
            'm' => 60,
            'h' => 60 * 60,
            'd' => 24 * 60 * 60,
            _ => return None,
        };
        let number: u32 = text[..at].parse().ok()?;
        (number > 0).then(|| Duration::from_secs(u64::from(number) * seconds))
    });
    parsed.ok_or_else(|| "write how often as 30m, 24h or 1d".to_owned())
}

/// The token of the tenant "dev": the one of the last start if it still opens the tenant, else a new one.
fn dev_token(data: &Path, store: &Store) -> Result<String, Failure> {
    let path = data.join(DEV_TOKEN_FILE);
    let now = now();
    if let Ok(kept) = fs::read_to_string(&path)
        && opens_dev(store, kept.trim(), now)?
    {
        return Ok(kept.trim().to_owned());
    }
    let secret = Secret::generate(TokenKind::Scim)?;
    let new = New {
        kind: TokenKind::Scim,
        label: "serve --dev".to_owned(),
        expires: None,
        scopes: vec![],
        person: None,
    };
    let secret = store.write(now, move |tx| {
        let dev = dev_tenant(tx)?;
        tokens::create(tx, dev.id, &secret, &new)?;
        Ok(secret)
    })?;
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&path)?;
    file.write_all(secret.reveal().as_bytes())?;
    Ok(secret.reveal().to_owned())
}

/// The tenant "dev", made where it is missing.
fn dev_tenant(tx: &Tx<'_>) -> crate::error::Result<Tenant> {
    if let Some(tenant) = tenants::by_name(tx, DEV_TENANT)? {
        return Ok(tenant);
    }
    let made = manage::tenants::create(tx, OPERATOR, DEV_TENANT)?;
    made.ok_or(())
        .map_err(|()| "its name is taken")
        .doing("making the tenant \"dev\"")
}

/// A link that signs in as the local account of the tenant "dev", which is made where it is missing.
fn dev_link(store: &Store) -> Result<Secret, Failure> {
    let link = store.write(now(), |tx| {
        let dev = dev_tenant(tx)?;
        let account = match accounts::by_email(tx, DEV_ACCOUNT)? {
            Some(account) => account,
            None => manage::accounts::create(tx, dev.id, OPERATOR, DEV_ACCOUNT, None)?,
        };
        Ok(Link::SignIn(account.tenant, Holder::Account(account.id)))
    })?;
    Ok(make_link(store, link)?)
}

fn opens_dev(store: &Store, token: &str, now: Timestamp) -> Result<bool, Failure> {
    Ok(store.read(|snapshot| {
        let Some(token) = tokens::by_hash(snapshot, &TokenHash::of(token))? else {
            return Ok(false);
        };
        let dev = tenants::by_name(snapshot, DEV_TENANT)?;
        Ok(token.revoked.is_none()
            && token.expires.is_none_or(|expires| expires > now)
            && dev.is_some_and(|dev| dev.id == token.tenant))
    })?)
}
