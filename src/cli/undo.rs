//! `rollcall undo`: brings back what was removed.

use std::path::Path;

use clap::Args;
use jiff::{Timestamp, ToSpan};

use super::table::{self, Format};
use super::{OPERATOR, Outcome, change, look, now};
use crate::manage::undo;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Whose
    #[arg(long)]
    tenant: String,
    /// From when on: 2026-05-03T09:00:00Z, or how long ago, as in 90m, 2h, 1d
    #[arg(long, value_name = "TIME", value_parser = since)]
    since: Timestamp,
    /// Only list what would be brought back
    #[arg(long)]
    dry_run: bool,
}

pub(super) fn run(data: &Path, format: Format, arguments: Arguments) -> Outcome {
    let Arguments {
        tenant,
        since,
        dry_run,
    } = arguments;
    let steps = if dry_run {
        look(data, &tenant, |snapshot, tenant| {
            undo::plan(snapshot, tenant.id, since)
        })?
    } else {
        change(data, tenant, move |tx, tenant| {
            undo::apply(tx, tenant.id, OPERATOR, since)
        })?
    };
    if format == Format::Json {
        let rows: Vec<_> = steps.iter().map(undo::Step::to_json).collect();
        return table::print(format, &[], &rows);
    }
    for step in &steps {
        let words = table::printable(&step.words());
        match &step.hindrance {
            None => table::line(&words)?,
            Some(reason) => table::line(&format!("not: {words}, for {reason}"))?,
        }
    }
    let possible = steps.iter().filter(|step| step.hindrance.is_none()).count();
    let done = if dry_run {
        "would be brought back"
    } else {
        "brought back"
    };
    eprintln!("{possible} of {} {done}", steps.len());
    Ok(())
}

/// A time in RFC 3339, or how long ago: a number with m, h or d behind it.
fn since(text: &str) -> Result<Timestamp, String> {
    let ago = text.char_indices().last().and_then(|(at, unit)| {
        let minutes: i64 = match unit {
            'm' => 1,
            'h' => 60,
            'd' => 24 * 60,
            _ => return None,
        };
        text[..at]
            .parse::<u32>()
            .ok()
            .map(|number| i64::from(number) * minutes)
    });
    match ago {
        Some(minutes) => now()
            .checked_sub(minutes.minutes())
            .map_err(|error| error.to_string()),
        None => text.parse().map_err(|_| {
            "write a time as 2026-05-03T09:00:00Z, or how long ago as 90m, 2h or 1d".to_owned()
        }),
    }
}
