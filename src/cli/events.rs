//! `rollcall events`: the event feed.

use std::io::{self, Write};
use std::path::Path;
use std::time::Duration;

use clap::Args;

use super::table::{self, Format};
use super::{Outcome, existing, tenant_named};
use crate::store::events::{self, Recorded};

/// How often `--follow` looks for new events.
const FOLLOW_EVERY: Duration = Duration::from_millis(300);

/// Most events read at once.
const BATCH: usize = 500;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Whose
    #[arg(long)]
    tenant: String,
    /// Only what happened after this place in the feed
    #[arg(long, value_name = "SEQ", default_value_t = 0)]
    after: i64,
    /// Only this kind, as user.created, or all of a noun, as team
    #[arg(long)]
    kind: Option<String>,
    /// Go on printing what happens, until interrupted
    #[arg(short, long)]
    follow: bool,
}

pub(super) fn run(data: &Path, format: Format, arguments: Arguments) -> Outcome {
    let store = existing(data)?;
    let tenant = store
        .read(|snapshot| tenant_named(snapshot, &arguments.tenant))??
        .id;
    let mut last = arguments.after;
    loop {
        let found = store.read(|snapshot| {
            events::after(snapshot, tenant, last, arguments.kind.as_deref(), BATCH)
        })?;
        let mut out = io::stdout().lock();
        for event in &found {
            match format {
                Format::Table => writeln!(out, "{}", sentence(event))?,
                Format::Json => writeln!(out, "{}", event.to_json())?,
            }
        }
        out.flush()?;
        drop(out);
        last = found.last().map_or(last, |event| event.seq);
        if found.len() < BATCH {
            if !arguments.follow {
                return Ok(());
            }
            std::thread::sleep(FOLLOW_EVERY);
        }
    }
}

/// One line for people: place, when, what, to whom, by whom.
fn sentence(event: &Recorded) -> String {
    let mut text = format!(
        "{}  {}  {}  {}",
        event.seq, event.at, event.kind, event.subject
    );
    if let Some(object) = &event.object {
        text.push_str(&format!("  {object}"));
    }
    text.push_str(&format!("  by {}", event.actor));
    table::printable(&text)
}
