//! What came of the checks: lines for people while they are made, or one document for programs at the end.

use std::collections::BTreeMap;
use std::io::{self, Write};

use serde_json::{Value, json};

use crate::check::play::Left;
use crate::check::script::Check;
use crate::check::{Profile, Report, Said, State};
use crate::cli::Outcome;
use crate::cli::table::{self, Format, printable};

/// All checks, with where each comes from.
pub(super) fn list(format: Format, checks: &[(Profile, Check)]) -> Outcome {
    let rows = checks.iter().map(|(profile, check)| {
        json!({
            "profile": profile.as_str(), "check": check.name, "source": check.source, "title": check.title
        })
    });
    let rows: Vec<Value> = rows.collect();
    let columns = [
        ("PROFILE", "profile"),
        ("CHECK", "check"),
        ("SOURCE", "source"),
        ("WHAT", "title"),
    ];
    table::print(format, &columns, &rows)
}

/// Prints as it is asked.
pub(super) struct Printer {
    format: Format,
    verbose: bool,
}

impl Printer {
    pub(super) fn new(format: Format, verbose: bool) -> Printer {
        Printer { format, verbose }
    }

    /// One check, as soon as it is made.
    pub(super) fn report(&mut self, report: &Report) -> io::Result<()> {
        if self.format != Format::Table {
            return Ok(());
        }
        let mut out = io::stdout().lock();
        let state = match report.state {
            State::Fail => "FAIL",
            state => state.as_str(),
        };
        let (name, source, title) = (&report.name, &report.source, &report.title);
        writeln!(out, "{state:4}  {name:34}  {title} ({source})")?;
        for note in &report.notes {
            writeln!(out, "{:6}{}", "", printable(note))?;
        }
        if self.verbose && report.state >= State::Warn {
            for said in &report.conversation {
                write!(out, "{}", conversation(said))?;
            }
        }
        out.flush()
    }

    /// All of them, and what is still there.
    pub(super) fn end(&mut self, url: &str, reports: &[Report], left: &[Left]) -> Outcome {
        match self.format {
            Format::Table => {
                let mut out = io::stdout().lock();
                writeln!(out, "{}", summary(reports))?;
                for left in left {
                    writeln!(
                        out,
                        "left behind: {} ({})",
                        printable(&left.path),
                        printable(&left.why)
                    )?;
                }
                Ok(out.flush()?)
            }
            Format::Json => table::json(&document(url, reports, left)),
        }
    }
}

/// `84 checks: 70 ok, 2 fail, …`
fn summary(reports: &[Report]) -> String {
    let counts = [State::Ok, State::Fail, State::Warn, State::Skip].map(|state| {
        let count = reports
            .iter()
            .filter(|report| report.state == state)
            .count();
        format!("{count} {}", state.as_str())
    });
    format!("{} checks: {}", reports.len(), counts.join(", "))
}

fn document(url: &str, reports: &[Report], left: &[Left]) -> Value {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for report in reports {
        *counts.entry(report.state.as_str()).or_default() += 1;
    }
    let checks = reports.iter().map(|report| {
        json!({
            "profile": report.profile.as_str(), "check": report.name, "source": report.source,
            "title": report.title, "state": report.state.as_str(), "notes": report.notes,
        })
    });
    let left = left
        .iter()
        .map(|left| json!({ "path": left.path, "why": left.why }));
    json!({
        "url": url, "counts": counts,
        "checks": checks.collect::<Vec<_>>(), "leftBehind": left.collect::<Vec<_>>(),
    })
}

/// A request and its answer on indented lines: `>` is sent, `<` is received.
pub(super) fn conversation(said: &Said) -> String {
    let mut lines = vec![format!("> {}", said.request)];
    lines.extend(
        said.sent
            .iter()
            .map(|(name, value)| format!("> {name}: {value}")),
    );
    lines.extend(said.body.iter().map(|body| format!("> {body}")));
    lines.push(format!("< {}", said.status));
    lines.extend(
        said.headers
            .iter()
            .map(|(name, value)| format!("< {name}: {value}")),
    );
    if !said.answer.is_empty() {
        lines.push(format!("< {}", said.answer));
    }
    lines
        .iter()
        .map(|line| format!("      {}\n", printable(line)))
        .collect()
}
