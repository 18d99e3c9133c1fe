//! `rollcall simulate …`

use std::fmt::Display;
use std::fs;
use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use clap::{Args, ValueEnum};
use serde_json::{Value, json};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;

use super::table::{self, Format};
use super::{Failure, Outcome, failure, now};
use crate::simulate::{self, Dialect, FLAG, Finding, Plan, Progress, Report, Row};

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Whom to play
    #[arg(value_enum)]
    provider: Provider,
    /// The SCIM base URL, as the provider would be given it. With ?aadOptscim062020 behind it, Entra ID speaks the dialect
    /// of that flag
    url: String,
    /// The bearer token
    #[arg(
        long,
        env = "ROLLCALL_SCIM_TOKEN",
        hide_env_values = true,
        required_unless_present = "token_file"
    )]
    token: Option<String>,
    /// A file with the token, in place of --token
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// How many people are made up
    #[arg(long, value_name = "N", default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    users: u32,
    /// How many groups; the first one is everybody
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u32).range(0..=10_000))]
    groups: u32,
    /// How many connections at once
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..=64))]
    connections: u32,
    /// What the people are made of: the same seed, the same people and names [default: another each time]
    #[arg(long, value_name = "NUMBER", value_parser = seed)]
    seed: Option<u64>,
    /// Send no roleName, for a server that doesn't have that attribute
    #[arg(long)]
    no_role_name: bool,
    /// Leave everything at the server
    #[arg(long)]
    keep: bool,
    /// Play nothing; delete what a run with this --seed has left
    #[arg(long, requires = "seed", conflicts_with = "keep")]
    clean_up: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Provider {
    /// Microsoft Entra ID
    Entra,
    /// Okta
    Okta,
}

pub(super) fn run(format: Format, arguments: Arguments) -> Outcome {
    let has_flag = arguments.url.split_once('?').is_some_and(|(_, query)| {
        query
            .to_ascii_lowercase()
            .contains(&FLAG.to_ascii_lowercase())
    });
    let plan = Plan {
        dialect: match arguments.provider {
            Provider::Entra if has_flag => Dialect::EntraFlag,
            Provider::Entra => Dialect::Entra,
            Provider::Okta => Dialect::Okta,
        },
        token: token(&arguments)?,
        url: arguments.url,
        users: arguments.users as usize,
        groups: arguments.groups as usize,
        connections: arguments.connections as usize,
        seed: arguments
            .seed
            .unwrap_or_else(|| now().as_millisecond().unsigned_abs()),
        roles: !arguments.no_role_name,
        keep: arguments.keep,
    };
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        // In this order: the first signal finds the flag down and lifts it, the second one ends the process.
        flag::register_conditional_default(signal, Arc::clone(&stop))?;
        flag::register(signal, Arc::clone(&stop))?;
    }
    let bar = Bar::default();
    let progress = |progress: Progress<'_>| bar.show(progress);
    let played = match arguments.clean_up {
        true => simulate::clean_up(&plan, &stop, &progress),
        false => simulate::run(&plan, &stop, &progress),
    };
    bar.end();
    let report = played.map_err(|trouble| said(&plan, trouble))?;
    match format {
        Format::Json => table::json(&as_json(&plan, &report))?,
        Format::Table => print(&plan, &report)?,
    }
    outcome(&plan, &report)
}

/// As reports write it, or with 0x before it as names do.
fn seed(text: &str) -> Result<u64, String> {
    let parsed = match text.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16),
        None => text.parse(),
    };
    parsed.map_err(|_| "write a number, as in 7 or 0x1f".to_owned())
}

fn token(arguments: &Arguments) -> Result<String, Failure> {
    let read = |file: &Path| {
        let text = fs::read_to_string(file);
        text.map_err(|error| failure(format!("{}: {error}", file.display())))
    };
    let text = match &arguments.token_file {
        Some(file) => read(file)?,
        None => arguments.token.clone().unwrap_or_default(),
    };
    match text.trim() {
        "" => Err(failure("the token is empty")),
        token => Ok(token.to_owned()),
    }
}

/// A failure at the server's address. Some of the words are the server's.
fn said(plan: &Plan, words: impl Display) -> Failure {
    failure(table::printable(&format!("{}: {words}", plan.url)))
}

fn outcome(plan: &Plan, report: &Report) -> Outcome {
    let again = format!(
        "something of it is still there: delete what is called {}-… with --clean-up --seed {}",
        simulate::prefix(plan.seed),
        plan.seed
    );
    match (&report.trouble, report.left_behind) {
        (Some(trouble), true) => Err(said(plan, format!("{trouble}; {again}"))),
        (Some(trouble), false) => Err(said(plan, trouble)),
        (None, true) => Err(said(plan, again)),
        (None, false) if report.ledger.count() > 0 => Err(Failure::Unwell),
        (None, false) => Ok(()),
    }
}

fn millis(time: Duration) -> f64 {
    (time.as_secs_f64() * 1e5).round() / 1e2
}

fn seconds(time: Duration) -> f64 {
    (time.as_secs_f64() * 1e2).round() / 1e2
}

fn per_second(row: &Row) -> u64 {
    // Rounded, and far from the largest number.
    (row.requests as f64 / row.elapsed.as_secs_f64().max(1e-6)).round() as u64
}

fn rows(report: &Report) -> Vec<Value> {
    let row = |row: &Row| {
        json!({
            "phase": row.phase.map_or("read back", |phase| phase.name()),
            "requests": row.requests,
            "seconds": seconds(row.elapsed),
            "per_second": per_second(row),
            "p50_ms": millis(row.p50),
            "p99_ms": millis(row.p99),
            "max_ms": millis(row.max),
            "mismatches": row.phase.map(|_| row.mismatches),
        })
    };
    report.rows.iter().map(row).collect()
}

/// All requests, and from the first to the last.
fn total(report: &Report) -> Row {
    Row {
        phase: None,
        requests: report.rows.iter().map(|row| row.requests).sum(),
        elapsed: report.rows.iter().map(|row| row.elapsed).sum(),
        p50: Duration::ZERO,
        p99: Duration::ZERO,
        max: Duration::ZERO,
        mismatches: report.ledger.count(),
    }
}

fn as_json(plan: &Plan, report: &Report) -> Value {
    let all = total(report);
    let example = |one: &Finding| {
        json!({
            "phase": one.phase.name(), "request": one.request, "expected": one.expected, "found": one.found,
        })
    };
    let findings = report.ledger.sorts().map(|(kind, sort)| {
        json!({
            "what": kind.title(), "count": sort.count, "consequence": kind.consequence(),
            "examples": sort.examples.iter().map(example).collect::<Vec<_>>(),
        })
    });
    json!({
        "provider": plan.dialect.name(), "url": plan.url, "seed": plan.seed,
        "users": plan.users, "groups": plan.groups, "connections": plan.connections,
        "requests": all.requests, "seconds": seconds(all.elapsed), "per_second": per_second(&all),
        "put_off": report.put_off, "waited_seconds": seconds(report.waited), "retried": report.retried,
        "mismatches": all.mismatches,
        "trouble": report.trouble.as_ref().map(ToString::to_string),
        "left_behind": report.left_behind,
        "phases": rows(report),
        "findings": findings.collect::<Vec<_>>(),
    })
}

const COLUMNS: &[(&str, &str)] = &[
    ("phase", "phase"),
    ("requests", "requests"),
    ("seconds", "seconds"),
    ("requests/s", "per_second"),
    ("p50 ms", "p50_ms"),
    ("p99 ms", "p99_ms"),
    ("max ms", "max_ms"),
    ("mismatches", "mismatches"),
];

fn print(plan: &Plan, report: &Report) -> Outcome {
    let (users, groups, connections) = (plan.users, plan.groups, plan.connections);
    table::line(&format!(
        "{} at {}: {users} users, {groups} groups, {connections} connections, seed {}\n",
        plan.dialect.name(),
        table::printable(&plan.url),
        plan.seed
    ))?;
    table::print(Format::Table, COLUMNS, &rows(report))?;
    let mut out = io::stdout().lock();
    let all = total(report);
    writeln!(
        out,
        "\n{} requests in {:.1} s, {} a second.",
        all.requests,
        all.elapsed.as_secs_f64(),
        per_second(&all)
    )?;
    if report.put_off > 0 {
        writeln!(
            out,
            "{} were put off by the server (429): {:.0} s of waiting, all connections together.",
            report.put_off,
            report.waited.as_secs_f64()
        )?;
    }
    if report.retried > 0 {
        let retried = report.retried;
        writeln!(
            out,
            "{retried} were tried again because the server failed or nobody answered."
        )?;
    }
    if plan.keep {
        writeln!(
            out,
            "All of it stays; --clean-up --seed {} deletes it.",
            plan.seed
        )?;
    }
    match (report.ledger.count(), &report.trouble) {
        (0, None) => writeln!(out, "No mismatch.")?,
        (0, Some(_)) => writeln!(out, "No mismatch until then.")?,
        (1, _) => writeln!(out, "1 mismatch:")?,
        (count, _) => writeln!(out, "{count} mismatches:")?,
    }
    for (kind, sort) in report.ledger.sorts() {
        writeln!(out, "\n{}: {}", kind.title(), sort.count)?;
        writeln!(out, "  {}", kind.consequence())?;
        for one in &sort.examples {
            let request = table::printable(&one.request);
            writeln!(out, "  - {}: {request}", one.phase.name())?;
            writeln!(out, "    expected {}", table::printable(&one.expected))?;
            writeln!(out, "    found    {}", table::printable(&one.found))?;
        }
        if sort.count > sort.examples.len() as u64 {
            writeln!(
                out,
                "  and {} more",
                sort.count - sort.examples.len() as u64
            )?;
        }
    }
    Ok(out.flush()?)
}

/// Progress on stderr: a bar where somebody looks at it, else a line a phase.
struct Bar {
    is_terminal: bool,
    last: Mutex<(String, Option<Instant>)>,
}

impl Default for Bar {
    fn default() -> Bar {
        Bar {
            is_terminal: io::stderr().is_terminal(),
            last: Mutex::default(),
        }
    }
}

/// How often a bar is drawn.
const DRAWN_EVERY: Duration = Duration::from_millis(100);

impl Bar {
    fn show(&self, progress: Progress<'_>) {
        let name = match progress.reading {
            true => format!("{}: reading back", progress.phase),
            false => progress.phase.to_owned(),
        };
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let is_new = last.0 != name;
        if !self.is_terminal {
            if is_new && !progress.reading {
                eprintln!("{name}");
            }
            if !progress.reading {
                last.0 = name;
            }
            return;
        }
        let is_due = last.1.is_none_or(|at| at.elapsed() >= DRAWN_EVERY);
        if is_new || is_due || progress.done == progress.of {
            const WIDTH: usize = 30;
            let (done, of) = (progress.done, progress.of);
            let filled = WIDTH * done / of.max(1);
            let bar = format!("{}{}", "█".repeat(filled), "░".repeat(WIDTH - filled));
            let count = if progress.reading {
                String::new()
            } else {
                format!("{done}/{of}")
            };
            // To the beginning of the line, whose rest is erased.
            eprint!("\r{name:32} {bar} {count}\x1b[K");
            *last = (name, Some(Instant::now()));
        }
    }

    fn end(&self) {
        if self.is_terminal {
            eprint!("\r\x1b[K");
        }
    }
}
