//! `rollcall check`: holds any SCIM server against the RFCs, Entra ID and Okta, and says what is not as it should be.

mod junit;
mod print;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use aws_lc_rs::rand;
use clap::{ArgAction, Args};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;

use super::table::Format;
use super::{Failure, Outcome, failure};
use crate::check::pattern::fits_text;
use crate::check::play::Run;
use crate::check::script::Check;
use crate::check::{Halt, Profile, State};
use crate::error::Doing;
use crate::scim_client::Client;
use crate::sso::fetch::is_loopback;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The server's SCIM base URL, below which /Users is
    #[arg(required_unless_present = "list")]
    url: Option<String>,
    /// What it is held against, one or more of rfc, entra and okta, with commas between
    #[arg(long, value_name = "PROFILE", value_delimiter = ',', default_value = "rfc", value_parser = profile)]
    profile: Vec<Profile>,
    /// The server's bearer token; others can read it in the list of processes, so rather use the variable or a file
    #[arg(
        long,
        value_name = "TOKEN",
        env = "ROLLCALL_CHECK_TOKEN",
        hide_env_values = true,
        conflicts_with = "token_file"
    )]
    token: Option<String>,
    /// A file that holds the token
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// Make these checks alone; * is any text, as in 'patch-*'
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    only: Vec<String>,
    /// List the checks and where each comes from, and make none
    #[arg(long)]
    list: bool,
    /// Write the results also into this file, as JUnit's XML
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,
    /// Show what was said in each check that found something
    #[arg(short, long, action = ArgAction::SetTrue)]
    verbose: bool,
}

fn profile(text: &str) -> Result<Profile, String> {
    let mut all = Profile::ALL.into_iter();
    let known = all.find(|profile| profile.as_str() == text);
    known.ok_or_else(|| "write rfc, entra or okta".to_owned())
}

pub(super) fn run(format: Format, arguments: &Arguments) -> Outcome {
    let checks = chosen(arguments)?;
    if arguments.list {
        return print::list(format, &checks);
    }
    let url = arguments.url.as_deref().unwrap_or_default();
    let token = token(arguments)?;
    let client = Client::new(url, token.as_deref()).map_err(failure)?;
    if token.is_some() && url.starts_with("http://") && !is_loopback(url) {
        eprintln!("rollcall: warning: the token goes by plain HTTP, where others can read it");
    }
    // The first signal ends the checks and cleans up. The second one ends at once.
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        flag::register_conditional_shutdown(signal, 1, Arc::clone(&stop))?;
        flag::register(signal, Arc::clone(&stop))?;
    }
    let run = Run::begin(&client, token.is_some(), mark()?, &stop);
    let mut run = run.map_err(|refused| failure(format!("{url}: {refused}")))?;
    let mut printer = print::Printer::new(format, arguments.verbose);
    let (mut reports, mut halted, mut closed) = (Vec::new(), None::<Halt>, Ok(()));
    for (profile, check) in &checks {
        match run.play(*profile, check) {
            Ok(report) => {
                closed = printer.report(&report);
                reports.push(report);
            }
            Err(halt) => halted = Some(halt),
        }
        if halted.is_some() || closed.is_err() {
            break;
        }
    }
    let left = run.end();
    closed?;
    printer.end(url, &reports, &left)?;
    if let Some(file) = &arguments.junit {
        let trouble = |error| failure(format!("{}: {error}", file.display()));
        std::fs::write(file, junit::document(&reports, &left)).map_err(trouble)?;
    }
    if let Some(halt) = halted {
        return Err(failure(format!("{url}: {halt}")));
    }
    if reports.iter().any(|report| report.state == State::Fail) {
        return Err(Failure::Unwell);
    }
    match left.len() {
        0 => Ok(()),
        count => Err(failure(format!(
            "{count} of what was made could not be deleted"
        ))),
    }
}

/// The checks of the profiles that are asked for, each once.
fn chosen(arguments: &Arguments) -> Result<Vec<(Profile, Check)>, Failure> {
    let mut profiles = arguments.profile.clone();
    if arguments.list && arguments.url.is_none() && profiles == [Profile::Rfc] {
        profiles = Profile::ALL.to_vec();
    }
    profiles.sort_unstable();
    profiles.dedup();
    let all = profiles.iter();
    let all = all.flat_map(|profile| profile.checks().into_iter().map(|check| (*profile, check)));
    let mut all: Vec<(Profile, Check)> = all.collect();
    for pattern in &arguments.only {
        if !all.iter().any(|(_, check)| fits_text(pattern, &check.name)) {
            return Err(failure(format!(
                "no check of these profiles is called {pattern:?}; `rollcall check --list` shows them"
            )));
        }
    }
    let only = &arguments.only;
    all.retain(|(_, check)| only.is_empty() || only.iter().any(|one| fits_text(one, &check.name)));
    Ok(all)
}

/// The token of the file, of the option or of the environment.
fn token(arguments: &Arguments) -> Result<Option<String>, Failure> {
    let token = match &arguments.token_file {
        Some(file) => {
            let trouble = |error| failure(format!("{}: {error}", file.display()));
            Some(std::fs::read_to_string(file).map_err(trouble)?)
        }
        None => arguments.token.clone(),
    };
    let token = token.map(|token| token.trim().to_owned());
    Ok(token.filter(|token| !token.is_empty()))
}

/// What everything that is made begins with: another one for each run, so that nothing of anybody else's is meant.
fn mark() -> Result<String, Failure> {
    let mut bits = [0; 4];
    rand::fill(&mut bits).doing("drawing random bits")?;
    let bits: String = bits.iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(format!("rollcall-check-{bits}"))
}
