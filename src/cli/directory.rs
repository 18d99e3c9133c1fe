//! `rollcall user …` and `rollcall team …`: a look at what providers have sent.

use std::path::Path;

use clap::{Args, Subcommand};
use jiff::Timestamp;
use serde_json::{Value, json};

use super::account::{Public, print_link};
use super::history;
use super::table::{self, Format};
use super::{Failure, Outcome, archive, change, existing, failure, look};
use crate::error::Error;
use crate::scim::ScimError;
use crate::scim::filter::Filter;
use crate::scim::project::told;
use crate::scim::resource;
use crate::scim::schema::Kind;
use crate::store::people::{self, Person};
use crate::store::place::Start;
use crate::store::resources::{self, Query, Stored};
use crate::store::sessions::{Holder, Link};
use crate::store::{Snapshot, TenantId, attributes, history as past, roles, teams};

#[derive(Debug, Args)]
pub(super) struct Listing {
    /// Whose
    #[arg(long)]
    tenant: String,
    /// A SCIM filter, as in 'active eq false'
    #[arg(long)]
    filter: Option<String>,
    /// How many at most
    #[arg(long, default_value_t = 1000)]
    limit: u64,
}

#[derive(Debug, Subcommand)]
pub(super) enum UserCommand {
    /// List users
    List(Listing),
    /// Show one user: attributes and teams
    Show {
        /// Whose
        #[arg(long)]
        tenant: String,
        /// userName, or id
        user: String,
        /// As it was then: 2026-05-03 or 2026-05-03T08:00:00Z
        #[arg(long, value_name = "TIME", value_parser = history::time)]
        at: Option<Timestamp>,
    },
    /// Print a link that signs a user in once within 30 minutes, without their provider
    SignInLink {
        /// Whose
        #[arg(long)]
        tenant: String,
        /// userName
        user: String,
        #[command(flatten)]
        public: Public,
    },
    #[command(flatten)]
    Archive(archive::UserCommand),
}

#[derive(Debug, Subcommand)]
pub(super) enum TeamCommand {
    /// List teams
    List(Listing),
    /// Show one team: attributes and members
    Show {
        /// Whose
        #[arg(long)]
        tenant: String,
        /// Name, or id
        team: String,
        /// As it was then: 2026-05-03 or 2026-05-03T08:00:00Z
        #[arg(long, value_name = "TIME", value_parser = history::time)]
        at: Option<Timestamp>,
    },
    #[command(flatten)]
    Archive(archive::TeamCommand),
}

pub(super) fn users(data: &Path, format: Format, command: UserCommand) -> Outcome {
    match command {
        UserCommand::List(listing) => {
            let columns = [
                ("USERNAME", "userName"),
                ("NAME", "displayName"),
                ("ACTIVE", "active"),
                ("ROLE", "role"),
                ("ROLE NAME", "roleName"),
                ("TEAMS", "teams"),
                ("ID", "id"),
            ];
            list(data, format, Kind::User, listing, &columns)
        }
        UserCommand::Show {
            tenant,
            user,
            at: Some(at),
        } => show_at(data, Kind::User, &tenant, &user, at),
        UserCommand::Show {
            tenant,
            user,
            at: None,
        } => show(data, Kind::User, &tenant, &user),
        UserCommand::SignInLink {
            tenant,
            user,
            public,
        } => {
            let link = change(data, tenant, move |tx, tenant| {
                let user = active_user(tx, tenant.id, &user)?;
                Ok(Link::SignIn(tenant.id, Holder::Person(user.row)))
            })?;
            print_link(&existing(data)?, link, &public.public_url)
        }
        UserCommand::Archive(command) => archive::users(data, format, command),
    }
}

pub(super) fn teams(data: &Path, format: Format, command: TeamCommand) -> Outcome {
    match command {
        TeamCommand::List(listing) => {
            let columns = [
                ("NAME", "displayName"),
                ("MEMBERS", "members"),
                ("EXTERNAL ID", "externalId"),
                ("ID", "id"),
            ];
            list(data, format, Kind::Group, listing, &columns)
        }
        TeamCommand::Show {
            tenant,
            team,
            at: Some(at),
        } => show_at(data, Kind::Group, &tenant, &team, at),
        TeamCommand::Show {
            tenant,
            team,
            at: None,
        } => show(data, Kind::Group, &tenant, &team),
        TeamCommand::Archive(command) => archive::teams(data, format, command),
    }
}

/// The active user of this userName. Errors: 404.
pub(super) fn active_user(
    snapshot: &Snapshot<'_>,
    tenant: TenantId,
    name: &str,
) -> crate::error::Result<Person> {
    people::named(snapshot, tenant, name)?.ok_or_else(|| {
        ScimError::not_found(format!(
            "there is no active user {name:?}; `rollcall user list` shows them"
        ))
        .into()
    })
}

fn list(
    data: &Path,
    format: Format,
    kind: Kind,
    listing: Listing,
    columns: &[(&str, &str)],
) -> Outcome {
    let filter = listing.filter.as_deref().map(Filter::parse).transpose();
    let filter = filter.map_err(Error::from)?;
    let query = Query {
        kinds: &[kind],
        filter: filter.as_ref(),
        sort_by: None,
        descending: false,
        start: Start::Offset(0),
        limit: listing.limit,
    };
    let (rows, total) = look(data, &listing.tenant, |snapshot, tenant| {
        if let Some(filter) = &filter {
            filter.check(&[attributes::schemas(snapshot, tenant.id)?.of(kind)])?;
        }
        let page = resources::search(snapshot, tenant.id, &query)?;
        let rows = page
            .resources
            .iter()
            .map(|stored| row(snapshot, tenant.id, stored))
            .collect::<crate::error::Result<Vec<Value>>>()?;
        Ok((rows, page.total))
    })?;
    table::print(format, columns, &rows)?;
    if total > rows.len() as u64 {
        eprintln!("{} of {total}; --limit shows more", rows.len());
    }
    Ok(())
}

/// One line of a listing; the count of teams or members instead of their names.
fn row(
    snapshot: &Snapshot<'_>,
    tenant: crate::store::TenantId,
    stored: &Stored,
) -> crate::error::Result<Value> {
    let mut row = json!({ "id": stored.id });
    for name in ["userName", "displayName", "roleName", "externalId"] {
        row[name] = stored.document.get(name).cloned().unwrap_or(Value::Null);
    }
    match stored.kind {
        Kind::User => {
            row["role"] = json!(roles::name_of(snapshot, tenant, stored)?);
            row["active"] = json!(stored.document.get("active") != Some(&Value::Bool(false)));
            row["teams"] = json!(teams::all_groups_of(snapshot, tenant, stored)?.len());
        }
        Kind::Group => row["members"] = json!(teams::member_count(snapshot, tenant, stored)?),
    }
    Ok(row)
}

/// Prints one resource as a SCIM client would see it, without URLs.
fn show(data: &Path, kind: Kind, tenant: &str, wanted: &str) -> Outcome {
    let shown = look(data, tenant, |snapshot, tenant| {
        let Some(stored) = resources::get(snapshot, tenant.id, kind, wanted)?.map_or_else(
            || resources::by_name(snapshot, tenant.id, kind, wanted),
            |found| Ok(Some(found)),
        )?
        else {
            return Ok(Err(missing(kind, wanted)));
        };
        let links = match kind {
            Kind::User => teams::all_groups_of(snapshot, tenant.id, &stored)?,
            Kind::Group => teams::members(snapshot, tenant.id, &stored)?,
        };
        let links = links
            .iter()
            .map(|link| json!({ "value": link.id, "display": link.display, "type": link.r#type }))
            .collect();
        let schemas = attributes::schemas(snapshot, tenant.id)?;
        let mut shown = told(&stored.document, schemas.of(kind)).into_owned();
        shown.insert("id".into(), stored.id.into());
        shown.insert(kind.membership_attribute().into(), Value::Array(links));
        let meta = json!({
            "created": stored.created.to_string(),
            "lastModified": stored.last_modified.to_string(),
            "version": resource::etag(stored.version),
        });
        shown.insert("meta".into(), meta);
        Ok(Ok(Value::Object(shown)))
    })??;
    table::json(&shown)
}

/// Prints one resource as it was at a time, by what it was called then, or by its id.
fn show_at(data: &Path, kind: Kind, tenant: &str, wanted: &str, at: Timestamp) -> Outcome {
    let shown = look(data, tenant, |snapshot, tenant| {
        let tenant = tenant.id;
        let id =
            past::named(snapshot, tenant, kind, wanted, at)?.unwrap_or_else(|| wanted.to_owned());
        Ok(history::show(snapshot, tenant, kind, &id, at)?.ok_or_else(|| missing(kind, wanted)))
    })??;
    table::json(&shown)
}

fn missing(kind: Kind, wanted: &str) -> Failure {
    let what = match kind {
        Kind::User => "user",
        Kind::Group => "team",
    };
    failure(format!(
        "there is no {what} {wanted:?} in this tenant; `rollcall {what} list` shows them"
    ))
}
