//! `rollcall serve`

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use clap::Args;

use super::account::make_link;
use super::chores::{self, Chores};
use super::notify::Supervisor;
use super::{Failure, Outcome, dev, door, failure, interval, public_url, table};
use crate::http::pretend::Pretend;
use crate::http::rate::{self, Rate};
use crate::http::{self, App, sso};
use crate::seal::KeyFile;
use crate::sso::entra;
use crate::sso::fetch::Providers;
use crate::store::backup::Schedule;
use crate::store::sessions::Link;
use crate::store::{Store, backup, lock, tenants};

/// The file in the data folder that seals what the database must not show.
const KEY_FILE: &str = "rollcall.key";

#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    door: door::Listening,
    /// How clients reach this server, as in https://rollcall.example.org; without it, as each request says
    #[arg(long, value_name = "URL", env = "ROLLCALL_PUBLIC_URL", value_parser = public_url)]
    public_url: Option<String>,
    /// Most bytes in a request's body
    #[arg(long, value_name = "BYTES", env = "ROLLCALL_MAX_BODY", default_value_t = http::BODY_MAX_BYTES,
          value_parser = clap::value_parser!(u64).range(65_536..=1_073_741_824))]
    max_body: u64,
    /// Requests a second by one SCIM token; what comes beyond is told to wait (429)
    #[arg(long, value_name = "N", env = "ROLLCALL_SCIM_RATE", default_value_t = 100,
          value_parser = clap::value_parser!(u32).range(i64::from(rate::LEAST)..))]
    scim_rate: u32,
    /// Requests at once by a SCIM token that has rested
    #[arg(long, value_name = "N", env = "ROLLCALL_SCIM_BURST", default_value_t = 400,
          value_parser = clap::value_parser!(u32).range(i64::from(rate::LEAST)..))]
    scim_burst: u32,
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
    /// Application (client) ID of an application of yours at Entra ID for all directories: administrators of tenants then
    /// connect by agreeing to it. Its secret comes from the next option or from ROLLCALL_ENTRA_CLIENT_SECRET
    #[arg(long, value_name = "ID", env = "ROLLCALL_ENTRA_CLIENT_ID", value_parser = entra_id)]
    entra_client_id: Option<String>,
    /// File with its client secret on the first line
    #[arg(
        long,
        value_name = "FILE",
        env = "ROLLCALL_ENTRA_CLIENT_SECRET_FILE",
        requires = "entra_client_id"
    )]
    entra_client_secret_file: Option<PathBuf>,
    /// For trying out: loopback only, with a tenant "dev", a sign-in link and a token, all printed, and all bodies in the log
    #[arg(long)]
    dev: bool,
}

pub(super) fn run(data: &Path, arguments: Arguments) -> Outcome {
    env_logger::Builder::from_env(env_logger::Env::default().default_filter_or("info")).init();
    if let Some(dir) = &arguments.backup_dir {
        // Who names a folder that can't be used should hear of it now and not from the log.
        backup::create_folder(dir)?;
    }
    let entra = application(&arguments)?;
    let _serving = lock::serve(data)?;
    // Before the database, so that what is wrong is said at once. Who connects meanwhile waits a moment.
    let supervisor = Supervisor::from_environment();
    let door = arguments.door.open(data, arguments.dev, &supervisor)?;
    let store = Store::open(data)?;
    let public = arguments
        .public_url
        .clone()
        .unwrap_or_else(|| door.origin());
    table::line(&format!("listening on {}", door.words()))?;
    let key_file = arguments.key_file.unwrap_or_else(|| data.join(KEY_FILE));
    let key_file = KeyFile::at(key_file);
    let mut pretend = None;
    if arguments.dev {
        let named = arguments.public_url.as_deref();
        pretend = dev::begin(data, &store, &key_file, &door, named)?;
    } else if store.read(tenants::list)?.is_empty() {
        let link = make_link(&store, Link::SetUp)?;
        table::line(&format!(
            "set up: {public}/setup/{} (once, within 30 minutes)",
            link.reveal()
        ))?;
        eprintln!(
            "or by commands: rollcall tenant create NAME, rollcall account create EMAIL --tenant NAME"
        );
    }
    let backups = arguments.backup_dir.map(|dir| Schedule {
        dir,
        every: arguments.backup_every,
        keep: arguments.backup_keep as usize,
    });
    let app = Arc::new(App {
        store,
        backups,
        public_url: arguments.public_url,
        body_max_bytes: arguments.max_body,
        keep_bodies: arguments.dev,
        key_file,
        providers: Providers::new(arguments.dev),
        entra,
        throttle: Default::default(),
        metrics: Default::default(),
        rate: Rate::new(arguments.scim_rate, arguments.scim_burst),
        departures: sso::departures(),
        stopping: Default::default(),
    });
    let mut chores = vec![chores::purge(&app)];
    if let Some(schedule) = &app.backups {
        chores.push(chores::back_up(&app, schedule.clone()));
    }
    chores.extend(door.reloading());
    let chores = Chores::start(chores)?;
    let watch = Chores::start(supervisor.watch(&app, door.target()))?;
    let pretend = pretend.map(|(tenant, provider)| Pretend {
        app: Arc::clone(&app),
        tenant,
        provider,
    });
    supervisor.ready();
    door.serve(&app, pretend)?;
    watch.stop();
    chores.stop();
    match Arc::try_unwrap(app) {
        Ok(app) => app.store.close()?,
        // A connection outlived the time to drain; the writer ends with the process, and what it acknowledged is on disk.
        Err(_) => log::warn!("stopped with requests still running"),
    }
    Ok(())
}

/// The operator's application at Entra ID, with its secret from the file or the environment.
fn application(arguments: &Arguments) -> Result<Option<entra::Application>, Failure> {
    let Some(client_id) = arguments.entra_client_id.clone() else {
        return Ok(None);
    };
    let secret = match &arguments.entra_client_secret_file {
        Some(file) => std::fs::read_to_string(file)
            .map_err(|error| failure(format!("{}: {error}", file.display())))?,
        None => std::env::var("ROLLCALL_ENTRA_CLIENT_SECRET").unwrap_or_default(),
    };
    let secret = secret.lines().next().unwrap_or_default().trim().to_owned();
    if secret.is_empty() {
        return Err(failure(
            "--entra-client-id needs a secret: --entra-client-secret-file or ROLLCALL_ENTRA_CLIENT_SECRET",
        ));
    }
    Ok(Some(entra::Application { client_id, secret }))
}

/// In lower case, as tokens have it.
fn entra_id(text: &str) -> Result<String, String> {
    match entra::is_id(text) {
        true => Ok(text.to_ascii_lowercase()),
        false => Err(
            "it looks like 1f6b2a34-5c7d-4e8f-9a0b-1c2d3e4f5a6b, on the application’s Overview"
                .to_owned(),
        ),
    }
}
