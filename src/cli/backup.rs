//! `rollcall backup` and `rollcall restore`

use std::path::{Path, PathBuf};
use std::time::Instant;

use clap::Args;
use serde_json::json;

use super::table::{self, Format};
use super::{Outcome, existing, now};
use crate::store::backup::{self, Contents, Existing};
use crate::store::restore;

#[derive(Debug, Args)]
pub(super) struct Backup {
    /// File to make
    file: PathBuf,
    /// Replace the file where it is there already
    #[arg(long)]
    force: bool,
}

#[derive(Debug, Args)]
pub(super) struct Restore {
    /// A backup
    file: PathBuf,
}

pub(super) fn backup(data: &Path, format: Format, arguments: Backup) -> Outcome {
    let started = Instant::now();
    let present = if arguments.force {
        Existing::Replace
    } else {
        Existing::Keep
    };
    let made = backup::make(&existing(data)?, &arguments.file, present)?;
    let ms = started.elapsed().as_millis();
    let Contents {
        tenants,
        users,
        teams,
        event,
    } = made.contents;
    match format {
        Format::Json => table::json(&json!({
            "file": made.file,
            "tenants": tenants,
            "users": users,
            "teams": teams,
            "event": event,
            "bytes": made.bytes,
            "ms": ms as u64,
        })),
        Format::Table => table::line(&format!(
            "{}, {} bytes, in {ms} ms",
            words(&made.contents),
            made.bytes
        )),
    }
}

pub(super) fn restore(data: &Path, format: Format, arguments: &Restore) -> Outcome {
    let restored = restore::restore(data, &arguments.file, now())?;
    let Contents {
        tenants,
        users,
        teams,
        event,
    } = restored.contents;
    match format {
        Format::Json => table::json(&json!({
            "kept": restored.kept,
            "tenants": tenants,
            "users": users,
            "teams": teams,
            "event": event,
        })),
        Format::Table => {
            if let Some(kept) = &restored.kept {
                eprintln!("the database that was there is {} now", kept.display());
            }
            table::line(&words(&restored.contents))
        }
    }
}

/// `tenants: 1, users: 20, teams: 3, up to event 47`
pub(super) fn words(contents: &Contents) -> String {
    format!(
        "tenants: {}, users: {}, teams: {}, up to event {}",
        contents.tenants, contents.users, contents.teams, contents.event
    )
}
