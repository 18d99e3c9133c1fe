//! `rollcall tenant …`

use std::path::Path;

use clap::{Args, Subcommand, ValueEnum};
use serde_json::{Value, json};

use super::table::{self, Format};
use super::{OPERATOR, Outcome, change, existing, failure, look, now};
use crate::manage;
use crate::settings::{RETENTION_MAX_DAYS, ReturningTeam, UnmappedRole};
use crate::store::{Store, removals, settings, tenants};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Make a tenant
    Create { name: String },
    /// List tenants
    List,
    /// Show a tenant's settings, and whether removals of it were unusual
    Show { name: String },
    /// Change a tenant's settings
    Set(Set),
    /// Give a tenant another name
    Rename { name: String, new_name: String },
    /// Answer a tenant's SCIM requests with 503 until it is resumed; providers try again later
    Pause { name: String },
    /// Serve a paused tenant again
    Resume { name: String },
    /// Delete a tenant with its users, teams, tokens and log, for good
    Delete {
        name: String,
        /// Say that it is meant
        #[arg(long)]
        yes: bool,
    },
}

#[derive(Debug, Args)]
#[group(required = true, multiple = true)]
struct Wanted {
    /// Days until what was removed is purged; 0: at once
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(0..=i64::from(RETENTION_MAX_DAYS)))]
    retention_days: Option<u32>,
    /// What a group is that has the externalId or name of an archived team
    #[arg(long, value_enum)]
    returning_team: Option<Returning>,
    /// More removals than so many within an hour are unusual
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32))]
    removal_count: Option<u32>,
    /// More removals than so many percent within an hour are unusual
    #[arg(long, value_name = "P", value_parser = clap::value_parser!(u32).range(0..=100))]
    removal_percent: Option<u32>,
    /// What to do with a roleName that no role is mapped to
    #[arg(long, value_enum)]
    unmapped_role: Option<Unmapped>,
    /// Days until a line of the provisioning log is removed
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=i64::from(RETENTION_MAX_DAYS)))]
    log_days: Option<u32>,
    /// Whether the log keeps the bodies of requests that succeed, and of their answers: whole users
    #[arg(long, value_enum)]
    keep_bodies: Option<Switch>,
    /// Whether people sign in by userName and a password that was pushed, while single sign-on is not enforced
    #[arg(long, value_enum)]
    password_sign_in: Option<Switch>,
    /// Say that unusual removals were meant: what is due is purged again
    #[arg(long, value_enum)]
    removals: Option<Removals>,
}

#[derive(Debug, Args)]
pub(super) struct Set {
    name: String,
    #[command(flatten)]
    wanted: Wanted,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Returning {
    /// That team again: the same id, members and resources
    Revive,
    /// Another team; the archived one stays where it is
    Fresh,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Unmapped {
    /// Keep it; the user has the default role
    Accept,
    /// Refuse the request
    Reject,
}

#[derive(Clone, Copy, Debug, PartialEq, ValueEnum)]
enum Switch {
    On,
    Off,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Removals {
    /// They are as they should be
    Usual,
}

pub(super) fn run(data: &Path, format: Format, command: Command) -> Outcome {
    match command {
        Command::Create { name } => {
            let name = manage::tenants::name(&name).map_err(crate::error::Error::from)?;
            let wanted = name.clone();
            Store::open(data)?
                .write(now(), move |tx| {
                    manage::tenants::create(tx, OPERATOR, &wanted)
                })?
                .ok_or_else(|| failure(format!("a tenant called {name:?} is there already")))?;
            eprintln!("made tenant {name}; next: rollcall token create --tenant {name:?}");
            Ok(())
        }
        Command::List => {
            let rows: Vec<_> = existing(data)?
                .read(tenants::list)?
                .into_iter()
                .map(|tenant| {
                    json!({
                        "name": tenant.name,
                        "created": tenant.created.to_string(),
                        "paused": tenant.paused.map(|since| since.to_string()),
                    })
                })
                .collect();
            table::print(
                format,
                &[
                    ("NAME", "name"),
                    ("CREATED", "created"),
                    ("PAUSED SINCE", "paused"),
                ],
                &rows,
            )
        }
        Command::Show { name } => show(data, format, &name),
        Command::Set(Set { name, wanted }) => change(data, name, move |tx, tenant| {
            let mut settings = settings::read(tx, tenant.id)?;
            if let Some(days) = wanted.retention_days {
                settings.retention_days = days;
            }
            if let Some(returning) = wanted.returning_team {
                settings.returning_team = match returning {
                    Returning::Revive => ReturningTeam::Revive,
                    Returning::Fresh => ReturningTeam::Fresh,
                };
            }
            if let Some(count) = wanted.removal_count {
                settings.removals.count = count.into();
            }
            if let Some(percent) = wanted.removal_percent {
                settings.removals.percent = percent.into();
            }
            if let Some(unmapped) = wanted.unmapped_role {
                settings.unmapped_role = match unmapped {
                    Unmapped::Accept => UnmappedRole::Accept,
                    Unmapped::Reject => UnmappedRole::Reject,
                };
            }
            if let Some(days) = wanted.log_days {
                settings.log_days = days;
            }
            if let Some(switch) = wanted.keep_bodies {
                settings.keep_bodies = switch == Switch::On;
            }
            if let Some(switch) = wanted.password_sign_in {
                settings.password_sign_in = switch == Switch::On;
            }
            manage::settings::set(tx, tenant.id, OPERATOR, &settings)?;
            if let Some(Removals::Usual) = wanted.removals {
                manage::undo::release(tx, tenant.id, OPERATOR)?;
            }
            Ok(())
        }),
        Command::Rename { name, new_name } => {
            let new_name = manage::tenants::name(&new_name).map_err(crate::error::Error::from)?;
            let wanted = new_name.clone();
            let done = change(data, name, move |tx, tenant| {
                manage::tenants::rename(tx, OPERATOR, tenant, &wanted)
            })?;
            if done {
                Ok(())
            } else {
                Err(failure(format!(
                    "a tenant called {new_name:?} is there already"
                )))
            }
        }
        Command::Pause { name } => change(data, name, |tx, tenant| {
            manage::tenants::set_paused(tx, OPERATOR, tenant, true)
        }),
        Command::Resume { name } => change(data, name, |tx, tenant| {
            manage::tenants::set_paused(tx, OPERATOR, tenant, false)
        }),
        Command::Delete { name, yes: false } => Err(failure(format!(
            "this deletes every user, team, token and log line of {name:?} for good; repeat it with --yes"
        ))),
        Command::Delete { name, yes: true } => {
            change(data, name, |tx, tenant| tenants::delete(tx, tenant.id))
        }
    }
}

fn show(data: &Path, format: Format, name: &str) -> Outcome {
    let mut rows: Vec<(&str, Value)> = look(data, name, |snapshot, tenant| {
        let unusual = removals::unusual_since(snapshot, tenant.id)?;
        let mut rows = vec![
            ("name", json!(tenant.name)),
            ("created", json!(tenant.created.to_string())),
            ("paused", json!(tenant.paused.map(|at| at.to_string()))),
            ("unusual_removals", json!(unusual.map(|at| at.to_string()))),
        ];
        rows.extend(manage::settings::named(&settings::read(
            snapshot, tenant.id,
        )?));
        Ok(rows)
    })?;
    if format == Format::Json {
        let rows = rows.drain(..).map(|(name, value)| (name.to_owned(), value));
        return table::json(&Value::Object(rows.collect()));
    }
    let rows: Vec<_> = rows
        .into_iter()
        .map(|(name, value)| json!({"name": name, "value": value}))
        .collect();
    table::print(format, &[("SETTING", "name"), ("VALUE", "value")], &rows)
}
