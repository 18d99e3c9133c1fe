//! Listings: rows of JSON, printed as a table or as they are.

use std::io::{self, Write};

use serde_json::Value;

use super::{Failure, Outcome};

/// How a listing is printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Format {
    /// Columns for people
    #[default]
    Table,
    /// One JSON array for programs (the log: one object a line)
    Json,
}

/// Prints `rows`: as one JSON array, or the `columns` (heading, key) of each.
pub(super) fn print(format: Format, columns: &[(&str, &str)], rows: &[Value]) -> Outcome {
    let mut out = io::stdout().lock();
    match format {
        Format::Json => {
            serde_json::to_writer_pretty(&mut out, rows).map_err(io::Error::from)?;
            writeln!(out)?;
        }
        Format::Table => {
            let cells: Vec<Vec<String>> = std::iter::once(
                columns
                    .iter()
                    .map(|(heading, _)| (*heading).to_owned())
                    .collect(),
            )
            .chain(
                rows.iter()
                    .map(|row| columns.iter().map(|(_, key)| cell(&row[key])).collect()),
            )
            .collect();
            let widths: Vec<usize> = (0..columns.len())
                .map(|column| {
                    cells
                        .iter()
                        .map(|row| row[column].chars().count())
                        .max()
                        .unwrap_or(0)
                })
                .collect();
            for row in &cells {
                let padded: Vec<String> = row
                    .iter()
                    .zip(&widths)
                    .map(|(cell, width)| format!("{cell:width$}"))
                    .collect();
                writeln!(out, "{}", padded.join("  ").trim_end())?;
            }
        }
    }
    Ok(out.flush()?)
}

/// Prints one line.
pub(super) fn line(text: &str) -> Outcome {
    let mut out = io::stdout().lock();
    writeln!(out, "{text}")?;
    out.flush().map_err(Failure::from)
}

/// Prints one JSON value on as many lines as it takes.
pub(super) fn json(value: &Value) -> Outcome {
    let text = serde_json::to_string_pretty(value).map_err(io::Error::from)?;
    line(&text)
}

/// A value in a cell. Control characters would move the reader's cursor, and values come from strangers.
fn cell(value: &Value) -> String {
    let text = match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => text.clone(),
        Value::Bool(true) => "yes".to_owned(),
        Value::Bool(false) => "no".to_owned(),
        other => other.to_string(),
    };
    printable(&text)
}

/// `text` with control characters replaced.
pub(super) fn printable(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { '\u{fffd}' } else { c })
        .collect()
}
