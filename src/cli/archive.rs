//! What `rollcall user …` and `rollcall team …` do with the archive, and with a team as a whole.

use std::io::Read;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::table::{self, Format};
use super::{Failure, OPERATOR, Outcome, change, failure, look, now};
use crate::manage::{archive, team_copies};
use crate::scim::schema::Kind;
use crate::store::archive::{self as archived, Archived};
use crate::store::{removals, settings};

#[derive(Debug, Args)]
pub(super) struct Tenant {
    /// Whose
    #[arg(long)]
    tenant: String,
}

#[derive(Debug, Args)]
pub(super) struct One {
    /// Whose
    #[arg(long)]
    tenant: String,
    /// Its id, from `archived`
    id: String,
}

#[derive(Debug, Subcommand)]
pub(super) enum UserCommand {
    /// List deleted users, and the days until they are purged
    Archived(Tenant),
    /// Bring a deleted user back: the same id, in the teams that still exist
    Restore(One),
}

#[derive(Debug, Subcommand)]
pub(super) enum TeamCommand {
    /// List deleted teams, and the days until they are purged
    Archived(Tenant),
    /// Bring a deleted team back with its members and resources, under the same ids
    Restore(One),
    /// Remove a deleted team with its resources for good
    Purge(One),
    /// Give all resources of a team, live or deleted, to another one
    Transfer {
        /// Whose
        #[arg(long)]
        tenant: String,
        /// Name or id of the team that has them
        from: String,
        /// Name or id of the team that gets them
        to: String,
    },
    /// Print a team, live or deleted, with members and resources as one JSON document
    Download {
        /// Whose
        #[arg(long)]
        tenant: String,
        /// Name, or id
        team: String,
    },
    /// Make a downloaded team again, under the same ids where they are free
    Import {
        /// Whose
        #[arg(long)]
        tenant: String,
        /// What `download` printed; - is standard input
        file: PathBuf,
    },
}

pub(super) fn users(data: &Path, format: Format, command: UserCommand) -> Outcome {
    match command {
        UserCommand::Archived(of) => list(data, format, Kind::User, &of.tenant),
        UserCommand::Restore(one) => restore(data, Kind::User, one),
    }
}

pub(super) fn teams(data: &Path, format: Format, command: TeamCommand) -> Outcome {
    match command {
        TeamCommand::Archived(of) => list(data, format, Kind::Group, &of.tenant),
        TeamCommand::Restore(one) => restore(data, Kind::Group, one),
        TeamCommand::Purge(One { tenant, id }) => change(data, tenant, move |tx, tenant| {
            archive::purge(tx, tenant.id, OPERATOR, Kind::Group, &id)
        }),
        TeamCommand::Transfer { tenant, from, to } => {
            let count = change(data, tenant, move |tx, tenant| {
                let from = team_copies::id_of(tx, tenant.id, &from)?;
                let to = team_copies::id_of(tx, tenant.id, &to)?;
                team_copies::transfer(tx, tenant.id, OPERATOR, &from, &to)
            })?;
            eprintln!("moved {count} resources");
            Ok(())
        }
        TeamCommand::Download { tenant, team } => {
            let copy = look(data, &tenant, |snapshot, tenant| {
                let id = team_copies::id_of(snapshot, tenant.id, &team)?;
                team_copies::download(snapshot, tenant.id, &id)
            })?;
            table::json(&copy)
        }
        TeamCommand::Import { tenant, file } => import(data, tenant, &file),
    }
}

fn list(data: &Path, format: Format, kind: Kind, tenant: &str) -> Outcome {
    let now = now();
    let rows = look(data, tenant, |snapshot, tenant| {
        let days = settings::read(snapshot, tenant.id)?.retention_days;
        let held = removals::unusual_since(snapshot, tenant.id)?.is_some();
        let archived = archived::list(snapshot, tenant.id, kind)?;
        Ok(archived
            .iter()
            .map(|archived| {
                row(
                    archived,
                    (!held).then(|| archive::days_left(archived.since, days, now)),
                )
            })
            .collect::<Vec<_>>())
    })?;
    let columns = [
        ("NAME", "name"),
        ("ARCHIVED", "archived"),
        ("DAYS LEFT", "daysLeft"),
        ("ID", "id"),
    ];
    table::print(format, &columns, &rows)
}

/// `days_left` is `None` while nothing is purged.
fn row(Archived { stored, since }: &Archived, days_left: Option<i64>) -> Value {
    json!({
        "id": stored.id,
        "name": stored.document.get(stored.kind.name_attribute()),
        "externalId": stored.document.get("externalId"),
        "archived": since.to_string(),
        "daysLeft": days_left,
    })
}

fn restore(data: &Path, kind: Kind, One { tenant, id }: One) -> Outcome {
    change(data, tenant, move |tx, tenant| {
        archive::restore(tx, tenant.id, OPERATOR, kind, &id)
    })?;
    Ok(())
}

fn import(data: &Path, tenant: String, file: &Path) -> Outcome {
    let mut text = String::new();
    if file == Path::new("-") {
        std::io::stdin().read_to_string(&mut text)?;
    } else {
        text = std::fs::read_to_string(file)
            .map_err(|error| failure(format!("cannot read {}: {error}", file.display())))?;
    }
    let copy: Value = serde_json::from_str(&text)
        .map_err(|error| Failure::Said(format!("{} is not JSON: {error}", file.display())))?;
    let imported = change(data, tenant, move |tx, tenant| {
        team_copies::import(tx, tenant.id, OPERATOR, &copy)
    })?;
    for name in &imported.missing {
        eprintln!(
            "left out {}: there is none of this name",
            table::printable(name)
        );
    }
    table::line(&imported.team.id)
}
