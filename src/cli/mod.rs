//! The command line: the only place that reads arguments and environment, and that prints.
//!
//! Scripts depend on it: flag, then `ROLLCALL_…` in the environment, then default; results on stdout, talk on stderr;
//! exit 0 done, 1 failed, 2 usage, 3 found something bad (`doctor`, `check`, `simulate`).

mod account;
mod archive;
mod attribute;
mod backup;
mod check;
mod chores;
mod dev;
mod directory;
mod doctor;
mod door;
mod events;
mod history;
mod log;
mod manual;
mod notify;
mod role;
mod serve;
mod simulate;
mod table;
mod tenant;
mod tenant_copies;
mod token;
mod undo;

use std::fmt;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, Subcommand};
use jiff::Timestamp;

use crate::error::Error;
use crate::manage::OPERATOR;
use crate::store::tenants::{self, Tenant};
use crate::store::{Snapshot, Store, Tx};
use table::Format;

/// Single sign-on and SCIM provisioning in one executable with one SQLite file.
#[derive(Debug, Parser)]
#[command(version, arg_required_else_help = true)]
struct Arguments {
    /// Folder that holds rollcall.db; made where it is missing
    #[arg(
        long,
        global = true,
        value_name = "DIR",
        env = "ROLLCALL_DATA",
        default_value = "rollcall-data"
    )]
    data: PathBuf,
    /// How listings are printed
    #[arg(
        short,
        long,
        global = true,
        value_enum,
        value_name = "FORMAT",
        env = "ROLLCALL_OUTPUT",
        default_value_t
    )]
    output: Format,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve SCIM and pages until SIGTERM or SIGINT
    Serve(serve::Arguments),
    /// Make and manage tenants: organisations, each with its own users, teams and tokens
    #[command(subcommand)]
    Tenant(tenant::Command),
    /// Make and manage the bearer tokens that providers and apps show
    #[command(subcommand)]
    Token(token::Command),
    /// Make and manage local accounts: ways into the settings that need no provider
    #[command(subcommand)]
    Account(account::Command),
    /// Define roles and what gives them
    Role(role::Arguments),
    /// Declare attributes beyond the standard's, and say by which clients find users and groups
    Attribute(attribute::Arguments),
    /// Look at users
    #[command(subcommand)]
    User(directory::UserCommand),
    /// Look at teams
    #[command(subcommand)]
    Team(directory::TeamCommand),
    /// Say what was different in users and teams between two times
    Diff(history::Arguments),
    /// Bring back what was removed or deactivated since some time, all of it at once
    Undo(undo::Arguments),
    /// Show the provisioning log: each request of a provider, and what came of it
    Log(log::Arguments),
    /// Show the event feed: each change of a user, team, membership, resource, token or setting
    Events(events::Arguments),
    /// Copy the whole database into a file, also while the server runs
    Backup(backup::Backup),
    /// Put a backup in the place of the database, which is kept under another name; the server has to be stopped
    Restore(backup::Restore),
    /// Write a whole tenant as JSON Lines
    Export(tenant_copies::Export),
    /// Make a tenant of what `export` wrote, with the same ids: all of it or nothing
    Import(tenant_copies::Import),
    /// Play Entra ID or Okta against any SCIM server, and say what the server gets wrong; exit 3 where it does
    Simulate(simulate::Arguments),
    /// Look for what is not as it should be, and say what to do about it; exit 3 where something fails
    Doctor(doctor::Examined),
    /// Hold any SCIM server against the RFCs, Entra ID and Okta; exit 3 where something fails
    Check(check::Arguments),
    /// Say whether the server on this machine is well; for HEALTHCHECK of a container
    Healthcheck(doctor::Healthcheck),
    /// Print what lets a shell complete the commands
    Completions(manual::Completions),
    /// Print the manual, or write a page for each command
    Man(manual::Manual),
    /// Print the version
    Version,
}

/// Runs the command that the arguments name and says how it ended.
pub fn run() -> ExitCode {
    let arguments = Arguments::parse();
    let outcome = match arguments.command {
        Command::Serve(serve) => serve::run(&arguments.data, serve),
        Command::Tenant(command) => tenant::run(&arguments.data, arguments.output, command),
        Command::Token(command) => token::run(&arguments.data, arguments.output, command),
        Command::Account(command) => account::run(&arguments.data, arguments.output, command),
        Command::Role(role) => role::run(&arguments.data, arguments.output, role),
        Command::Attribute(attribute) => {
            attribute::run(&arguments.data, arguments.output, attribute)
        }
        Command::User(command) => directory::users(&arguments.data, arguments.output, command),
        Command::Team(command) => directory::teams(&arguments.data, arguments.output, command),
        Command::Diff(diff) => history::diff(&arguments.data, arguments.output, diff),
        Command::Undo(undo) => undo::run(&arguments.data, arguments.output, undo),
        Command::Log(log) => log::run(&arguments.data, arguments.output, log),
        Command::Events(events) => events::run(&arguments.data, arguments.output, events),
        Command::Backup(backup) => backup::backup(&arguments.data, arguments.output, backup),
        Command::Restore(restore) => backup::restore(&arguments.data, arguments.output, &restore),
        Command::Export(export) => tenant_copies::export(&arguments.data, &export),
        Command::Import(import) => tenant_copies::import(&arguments.data, &import),
        Command::Simulate(simulate) => simulate::run(arguments.output, simulate),
        Command::Doctor(examined) => doctor::run(&arguments.data, arguments.output, &examined),
        Command::Check(check) => check::run(arguments.output, &check),
        Command::Healthcheck(healthcheck) => doctor::healthcheck(&healthcheck),
        Command::Completions(completions) => manual::completions(&completions),
        Command::Man(man) => manual::man(&man),
        Command::Version => table::line(&format!("rollcall {}", env!("CARGO_PKG_VERSION"))),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure::Closed) => ExitCode::SUCCESS,
        Err(Failure::Unwell) => ExitCode::from(3),
        Err(Failure::Said(message)) => {
            eprintln!("rollcall: {message}");
            ExitCode::FAILURE
        }
        Err(Failure::Failed(error)) => {
            match error {
                // The status is for clients.
                Error::Scim(refusal) => eprintln!("rollcall: {}", refusal.detail()),
                error @ Error::Internal { .. } => eprintln!("rollcall: {error}"),
            }
            ExitCode::FAILURE
        }
    }
}

/// Why a command did not do what it was asked.
#[derive(Debug)]
enum Failure {
    /// A sentence for the operator.
    Said(String),
    /// Of ours: what was begun has to be rolled back.
    Failed(Error),
    /// What `doctor`, `check` or `simulate` found is bad, as it has said.
    Unwell,
    /// Nobody reads our output any more, as behind `| head`: no failure of ours.
    Closed,
}

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        Failure::Failed(error)
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Failure {
        match error.kind() {
            std::io::ErrorKind::BrokenPipe => Failure::Closed,
            _ => Failure::Said(error.to_string()),
        }
    }
}

/// A failure in the given words.
fn failure(message: impl fmt::Display) -> Failure {
    Failure::Said(message.to_string())
}

/// What commands answer.
type Outcome = std::result::Result<(), Failure>;

/// The clock, read once for each command.
#[allow(clippy::disallowed_methods)] // the command line is one of the two places that read the clock
fn now() -> Timestamp {
    Timestamp::now()
}

/// The store of a data folder that exists: only `serve` and `tenant create` may make one.
fn existing(data: &std::path::Path) -> std::result::Result<Store, Failure> {
    if !data.join("rollcall.db").is_file() {
        return Err(failure(format!(
            "there is no rollcall.db in {}: name the data folder with --data, or make a tenant first",
            data.display()
        )));
    }
    Ok(Store::open(data)?)
}

/// Scheme and host as clients reach the server.
fn public_url(text: &str) -> Result<String, String> {
    crate::http::public_url(text)
        .ok_or_else(|| "write scheme and host alone, as in https://rollcall.example.org".to_owned())
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

/// The tenant called `name`, or a failure that says so.
fn tenant_named(
    snapshot: &Snapshot<'_>,
    name: &str,
) -> crate::error::Result<std::result::Result<Tenant, Failure>> {
    Ok(tenants::by_name(snapshot, name)?.ok_or_else(|| {
        failure(format!(
            "there is no tenant called {name:?}; `rollcall tenant list` shows them"
        ))
    }))
}

/// Changes the tenant called `name` in one transaction.
fn change<T: Send + 'static>(
    data: &std::path::Path,
    name: String,
    change: impl FnOnce(&Tx<'_>, &Tenant) -> crate::error::Result<T> + Send + 'static,
) -> Result<T, Failure> {
    existing(data)?.write(now(), move |tx| match tenant_named(tx, &name)? {
        Ok(tenant) => change(tx, &tenant).map(Ok),
        Err(failure) => Ok(Err(failure)),
    })?
}

/// Looks at the tenant called `name`, in one snapshot.
fn look<T>(
    data: &std::path::Path,
    name: &str,
    look: impl FnOnce(&Snapshot<'_>, &Tenant) -> crate::error::Result<T>,
) -> Result<T, Failure> {
    existing(data)?.read(|snapshot| match tenant_named(snapshot, name)? {
        Ok(tenant) => look(snapshot, &tenant).map(Ok),
        Err(failure) => Ok(Err(failure)),
    })?
}
