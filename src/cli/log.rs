//! `rollcall log`: the provisioning log.

use std::io::{self, Write};
use std::path::Path;
use std::time::Duration;

use clap::Args;

use super::table::{self, Format};
use super::{Outcome, existing, tenant_named};
use crate::store::exchanges::{self, Recorded};

/// How often `--follow` looks for new lines.
const FOLLOW_EVERY: Duration = Duration::from_millis(300);

/// Most lines read at once.
const BATCH: usize = 500;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Only this tenant's
    #[arg(long)]
    tenant: Option<String>,
    /// How many lines, the newest last
    #[arg(short = 'n', long, default_value_t = 50)]
    lines: usize,
    /// Go on printing what is added, until interrupted
    #[arg(short, long)]
    follow: bool,
}

pub(super) fn run(data: &Path, format: Format, arguments: Arguments) -> Outcome {
    let store = existing(data)?;
    let tenant = match &arguments.tenant {
        None => None,
        Some(name) => Some(store.read(|snapshot| tenant_named(snapshot, name))??.id),
    };
    // One line more than wanted where none is: it says from where on to follow.
    let mut lines =
        store.read(|snapshot| exchanges::last(snapshot, tenant, arguments.lines.max(1)))?;
    let mut seen = lines.last().map_or(0, |line| line.seq);
    lines.truncate(arguments.lines);
    loop {
        let mut out = io::stdout().lock();
        for line in &lines {
            match format {
                Format::Table => writeln!(out, "{}", sentence(line))?,
                Format::Json => writeln!(out, "{}", line.to_json())?,
            }
        }
        out.flush()?;
        drop(out);
        if !arguments.follow {
            return Ok(());
        }
        seen = lines.last().map_or(seen, |line| line.seq);
        if lines.len() < BATCH {
            std::thread::sleep(FOLLOW_EVERY);
        }
        lines = store.read(|snapshot| exchanges::after(snapshot, tenant, seen, BATCH))?;
    }
}

/// One line for people: when, status, what, why.
fn sentence(line: &Recorded) -> String {
    let exchange = &line.exchange;
    let mut text = format!(
        "{}  {}  {}  {}",
        exchange.at, line.tenant, exchange.status, exchange.action
    );
    if let Some(detail) = &exchange.detail {
        text.push_str(": ");
        text.push_str(detail);
    }
    if !exchange.ignored.is_empty() {
        text.push_str(&format!(" (ignored: {})", exchange.ignored.join(", ")));
    }
    text.push_str(&format!(
        "  [{:.1} ms, {}]",
        exchange.duration_us as f64 / 1000.0,
        exchange.request_id
    ));
    table::printable(&text)
}
