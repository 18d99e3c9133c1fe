//! `rollcall role …`

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::table::{self, Format};
use super::{Failure, Outcome, failure, look};
use crate::access::roles::Role;
use crate::manage::OPERATOR;
use crate::manage::roles::{self as manage, Giver};
use crate::scim::schema::Kind;
use crate::store::{Snapshot, TenantId, Tx, resources, roles};

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Whose
    #[arg(long, global = true)]
    tenant: Option<String>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// List roles, highest first, with how many people have each
    List,
    /// Add a role below all others
    Add {
        name: String,
        /// Who has it may open the settings
        #[arg(long)]
        opens_settings: bool,
    },
    /// Give a role another name
    Rename { name: String, new_name: String },
    /// Say whether who has a role may open the settings
    OpensSettings {
        name: String,
        #[arg(action = clap::ArgAction::Set)]
        yes: bool,
    },
    /// Put a role at a rank; 1 is the highest
    Move { name: String, rank: usize },
    /// Remove a role that nobody has and nothing gives
    Remove { name: String },
    /// Let a value of roleName (or of roles) give a role; upper and lower case matter
    Map { value: String, role: String },
    /// Take that away
    Unmap { value: String },
    /// Let membership in the group of this name give a role
    MapGroup { group: String, role: String },
    /// Take that away
    UnmapGroup { group: String },
    /// Give this role to whom nothing else gives one
    Default { role: String },
    /// List what gives which role
    Mappings,
    /// List values of roleName that give no role, with how many people have each
    Unmapped,
    /// Say step by step why a person has their role
    Why { user: String },
}

pub(super) fn run(data: &Path, format: Format, arguments: Arguments) -> Outcome {
    let Some(tenant) = arguments.tenant else {
        return Err(failure("name the tenant with --tenant"));
    };
    let place = Place {
        data: data.to_owned(),
        tenant,
    };
    match arguments.command {
        Command::List => place.list(format),
        Command::Mappings => place.mappings(format),
        Command::Unmapped => place.unmapped(format),
        Command::Why { user } => place.why(format, &user),
        Command::Add {
            name,
            opens_settings,
        } => place.change(move |tx, tenant| {
            let added = manage::add(tx, tenant, OPERATOR, &named(&name)?, opens_settings);
            added?.map(drop).ok_or_else(|| taken(&name))
        }),
        Command::Rename { name, new_name } => place.of_role(name, move |tx, tenant, role| {
            let done = manage::rename(tx, tenant, OPERATOR, role, &named(&new_name)?)?;
            if done { Ok(()) } else { Err(taken(&new_name)) }
        }),
        Command::OpensSettings { name, yes } => place.of_role(name, move |tx, tenant, role| {
            Ok(manage::set_opens_settings(tx, tenant, OPERATOR, role, yes)?)
        }),
        Command::Move { name, rank } => place.of_role(name, move |tx, tenant, role| {
            Ok(manage::reorder(tx, tenant, OPERATOR, role, rank)?)
        }),
        Command::Remove { name } => place.of_role(name.clone(), move |tx, tenant, role| {
            if manage::remove(tx, tenant, OPERATOR, role)? {
                return Ok(());
            }
            Err(failure(format!(
                "somebody has the role {name:?}, or something gives it; `role mappings` shows what"
            )))
        }),
        Command::Map { value, role } => place.of_role(role, move |tx, tenant, role| {
            Ok(manage::map(
                tx,
                tenant,
                OPERATOR,
                Giver::Value(&value),
                role,
            )?)
        }),
        Command::MapGroup { group, role } => place.of_role(role, move |tx, tenant, role| {
            Ok(manage::map(
                tx,
                tenant,
                OPERATOR,
                Giver::Group(&group),
                role,
            )?)
        }),
        Command::Default { role } => place.of_role(role, move |tx, tenant, role| {
            Ok(manage::map(tx, tenant, OPERATOR, Giver::Default, role)?)
        }),
        Command::Unmap { value } => place.change(move |tx, tenant| {
            Ok(manage::unmap(tx, tenant, OPERATOR, Giver::Value(&value))?)
        }),
        Command::UnmapGroup { group } => place.change(move |tx, tenant| {
            Ok(manage::unmap(tx, tenant, OPERATOR, Giver::Group(&group))?)
        }),
    }
}

/// Where a command works.
struct Place {
    data: PathBuf,
    tenant: String,
}

impl Place {
    /// One snapshot of the tenant.
    fn read<T>(
        &self,
        question: impl FnOnce(&Snapshot<'_>, TenantId) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        look(&self.data, &self.tenant, |snapshot, tenant| {
            Ok(question(snapshot, tenant.id))
        })?
    }

    /// One transaction on the tenant. A failure that `change` words is found before it has changed anything.
    fn change(
        self,
        change: impl FnOnce(&Tx<'_>, TenantId) -> Result<(), Failure> + Send + 'static,
    ) -> Outcome {
        super::change(&self.data, self.tenant, move |tx, tenant| {
            match change(tx, tenant.id) {
                Err(Failure::Failed(error)) => Err(error),
                said => Ok(said),
            }
        })?
    }

    /// The same, on one of its roles.
    fn of_role(
        self,
        name: String,
        change: impl FnOnce(&Tx<'_>, TenantId, &Role) -> Result<(), Failure> + Send + 'static,
    ) -> Outcome {
        self.change(move |tx, tenant| match roles::by_name(tx, tenant, &name)? {
            Some(role) => change(tx, tenant, &role),
            None => Err(failure(format!(
                "there is no role {name:?}; `rollcall role list` shows them"
            ))),
        })
    }

    fn list(&self, format: Format) -> Outcome {
        let rows = self.read(|snapshot, tenant| {
            let default = roles::rules(snapshot, tenant)?.default;
            let counts = roles::counts(snapshot, tenant)?;
            let row = |role: Role| {
                json!({
                    "rank": role.rank,
                    "name": role.name,
                    "opensSettings": role.opens_settings,
                    "default": role.id == default,
                    "people": counts.get(&role.id).copied().unwrap_or(0),
                })
            };
            Ok(roles::list(snapshot, tenant)?
                .into_iter()
                .map(row)
                .collect::<Vec<Value>>())
        })?;
        let columns = [
            ("RANK", "rank"),
            ("ROLE", "name"),
            ("OPENS SETTINGS", "opensSettings"),
            ("DEFAULT", "default"),
            ("PEOPLE", "people"),
        ];
        table::print(format, &columns, &rows)
    }

    fn mappings(&self, format: Format) -> Outcome {
        let (values, groups) =
            self.read(|snapshot, tenant| Ok(roles::mappings(snapshot, tenant)?))?;
        let rows = |by: &'static str, mappings: Vec<roles::Mapping>| {
            mappings
                .into_iter()
                .map(move |row| json!({ "by": by, "from": row.from, "role": row.role }))
        };
        let rows: Vec<Value> = rows("value", values).chain(rows("group", groups)).collect();
        table::print(
            format,
            &[("BY", "by"), ("VALUE OR GROUP", "from"), ("ROLE", "role")],
            &rows,
        )
    }

    fn unmapped(&self, format: Format) -> Outcome {
        let values = self.read(|snapshot, tenant| Ok(roles::unmapped(snapshot, tenant)?))?;
        let rows: Vec<Value> = values
            .into_iter()
            .map(|(value, people)| json!({ "value": value, "people": people }))
            .collect();
        table::print(format, &[("VALUE", "value"), ("PEOPLE", "people")], &rows)
    }

    fn why(&self, format: Format, user: &str) -> Outcome {
        let steps = self.read(|snapshot, tenant| {
            let found = match resources::get(snapshot, tenant, Kind::User, user)? {
                Some(found) => Some(found),
                None => resources::by_name(snapshot, tenant, Kind::User, user)?,
            };
            let found = found
                .ok_or_else(|| failure(format!("there is no user {user:?} in this tenant")))?;
            Ok(manage::explain(snapshot, tenant, &found)?.steps)
        })?;
        let said: Vec<String> = steps.iter().map(ToString::to_string).collect();
        match format {
            Format::Json => table::json(&json!(said)),
            Format::Table => said
                .iter()
                .try_for_each(|step| table::line(&table::printable(step))),
        }
    }
}

fn taken(name: &str) -> Failure {
    failure(format!("a role called {name:?} is there already"))
}

/// A role's name that can be typed and told apart.
fn named(name: &str) -> Result<String, Failure> {
    let name = name.trim();
    if name.is_empty() || name.chars().count() > 100 || name.chars().any(char::is_control) {
        return Err(failure(
            "a role's name has 1 to 100 characters and no control characters",
        ));
    }
    Ok(name.to_owned())
}
