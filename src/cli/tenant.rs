//! `rollcall tenant …`

use std::path::Path;

use clap::Subcommand;
use serde_json::json;

use super::table::{self, Format};
use super::{Outcome, existing, failure, now, tenant_named};
use crate::manage::{self, OPERATOR};
use crate::store::tenants::{self, Tenant};
use crate::store::{Store, Tx};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Make a tenant
    Create { name: String },
    /// List tenants
    List,
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

pub(super) fn run(data: &Path, format: Format, command: Command) -> Outcome {
    match command {
        Command::Create { name } => {
            let name = checked(name)?;
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
        Command::Rename { name, new_name } => {
            let new_name = checked(new_name)?;
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

/// Changes the tenant called `name` in one transaction.
fn change<T: Send + 'static>(
    data: &Path,
    name: String,
    change: impl FnOnce(&Tx<'_>, &Tenant) -> crate::error::Result<T> + Send + 'static,
) -> Result<T, super::Failure> {
    existing(data)?.write(now(), move |tx| match tenant_named(tx, &name)? {
        Ok(tenant) => change(tx, &tenant).map(Ok),
        Err(failure) => Ok(Err(failure)),
    })?
}

/// A name that can be typed and told apart.
fn checked(name: String) -> Result<String, super::Failure> {
    let name = name.trim().to_owned();
    // One that began with `-` would be an option wherever a command is given it.
    if name.is_empty()
        || name.starts_with('-')
        || name.chars().count() > 100
        || name.chars().any(char::is_control)
    {
        return Err(failure(
            "a tenant's name has 1 to 100 characters, no control characters and no - at its beginning",
        ));
    }
    Ok(name)
}
