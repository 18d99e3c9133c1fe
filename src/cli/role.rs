//! `rollcall role …`

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::table::{self, Format};
use super::{Failure, Outcome, failure, look};
use crate::access::roles::Role;
use crate::error::Result;
use crate::manage::role_rules::{self, Change};
use crate::manage::{self, OPERATOR};
use crate::scim::ScimError;
use crate::store::{Snapshot, TenantId, Tx, roles};

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
            let name = role_rules::name(&name)?;
            role_rules::add(tx, tenant, OPERATOR, &name, opens_settings).map(drop)
        }),
        Command::Rename { name, new_name } => place.of_role(name, move |tx, tenant, role| {
            let name = role_rules::name(&new_name)?;
            role_rules::rename(tx, tenant, OPERATOR, role, &name)
        }),
        Command::OpensSettings { name, yes } => {
            place.make(name, move |role| Change::OpensSettings(role, yes))
        }
        Command::Move { name, rank } => place.make(name, move |role| Change::Rank(role, rank)),
        Command::Remove { name } => place.of_role(name, |tx, tenant, role| {
            role_rules::remove(tx, tenant, OPERATOR, role)
        }),
        Command::Map { value, role } => {
            place.make(role, move |role| Change::Value(value, Some(role)))
        }
        Command::MapGroup { group, role } => {
            place.make(role, move |role| Change::Group(group, Some(role)))
        }
        Command::Default { role } => place.make(role, Change::Default),
        Command::Unmap { value } => place.change(move |tx, tenant| {
            role_rules::make(tx, tenant, OPERATOR, &Change::Value(value, None)).map(drop)
        }),
        Command::UnmapGroup { group } => place.change(move |tx, tenant| {
            role_rules::make(tx, tenant, OPERATOR, &Change::Group(group, None)).map(drop)
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
        question: impl FnOnce(&Snapshot<'_>, TenantId) -> Result<T>,
    ) -> std::result::Result<T, Failure> {
        look(&self.data, &self.tenant, |snapshot, tenant| {
            question(snapshot, tenant.id)
        })
    }

    /// One transaction on the tenant.
    fn change(
        self,
        change: impl FnOnce(&Tx<'_>, TenantId) -> Result<()> + Send + 'static,
    ) -> Outcome {
        super::change(&self.data, self.tenant, move |tx, tenant| {
            change(tx, tenant.id)
        })
    }

    /// The same, on one of its roles.
    fn of_role(
        self,
        name: String,
        change: impl FnOnce(&Tx<'_>, TenantId, &Role) -> Result<()> + Send + 'static,
    ) -> Outcome {
        self.change(move |tx, tenant| match roles::by_name(tx, tenant, &name)? {
            Some(role) => change(tx, tenant, &role),
            None => Err(ScimError::not_found(format!(
                "there is no role {name:?}; `rollcall role list` shows them"
            ))
            .into()),
        })
    }

    /// A change of what gives one of its roles, or of what it opens.
    fn make(self, name: String, change: impl FnOnce(Role) -> Change + Send + 'static) -> Outcome {
        self.of_role(name, move |tx, tenant, role| {
            role_rules::make(tx, tenant, OPERATOR, &change(role.clone())).map(drop)
        })
    }

    fn list(&self, format: Format) -> Outcome {
        let rows = self.read(|snapshot, tenant| {
            let rules = roles::rules(snapshot, tenant)?;
            let row = |role: &Role| {
                Ok(json!({
                    "rank": role.rank,
                    "name": role.name,
                    "opensSettings": role.opens_settings,
                    "default": role.id == rules.default,
                    "people": roles::holders(snapshot, tenant, role.id)?.0,
                }))
            };
            rules.roles.iter().map(row).collect::<Result<Vec<Value>>>()
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
        let (values, groups) = self.read(roles::mappings)?;
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
        let values = self.read(roles::unmapped)?;
        let rows: Vec<Value> = values
            .into_iter()
            .map(|(value, people)| json!({ "value": value, "people": people }))
            .collect();
        table::print(format, &[("VALUE", "value"), ("PEOPLE", "people")], &rows)
    }

    fn why(&self, format: Format, user: &str) -> Outcome {
        let (_, said) = self
            .read(|snapshot, tenant| manage::roles::why(snapshot, tenant, user))?
            .ok_or_else(|| failure(format!("there is no user {user:?} in this tenant")))?;
        match format {
            Format::Json => table::json(&json!(said)),
            Format::Table => said
                .iter()
                .try_for_each(|step| table::line(&table::printable(step))),
        }
    }
}
