//! `rollcall token …`

use std::path::Path;

use clap::Subcommand;
use serde_json::json;

use super::directory::active_user;
use super::table::{self, Format};
use super::{Outcome, change, failure, look, now};
use crate::manage::{self, OPERATOR};
use crate::store::tokens::{self, New, Scope, Secret, TokenKind};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Make a token and print it, this once; with `-o json` with its number
    Create {
        /// Whose users and teams it opens
        #[arg(long)]
        tenant: String,
        /// What it is for, as in "Entra ID"
        #[arg(long, value_name = "LABEL", default_value = "SCIM")]
        name: String,
        /// Days until it expires; without this it never does
        #[arg(long, value_name = "DAYS", value_parser = clap::value_parser!(u32).range(1..=36_500))]
        expires: Option<u32>,
        /// For apps that read, not for SCIM
        #[arg(long)]
        api: bool,
        /// What an API token may do: read, resources
        #[arg(long, value_name = "SCOPE", requires = "api", value_delimiter = ',', value_parser = scope, default_value = "read")]
        scope: Vec<Scope>,
        /// The user whose own token it is, by userName: it is revoked with them. Without --api it opens /scim/v2/Me
        #[arg(long = "for", value_name = "USER")]
        person: Option<String>,
        /// Whether a token for /scim/v2/Me may change all of its user, and delete them, as the provider may
        #[arg(long, requires = "person", conflicts_with = "api")]
        whole: bool,
    },
    /// List a tenant's tokens, never the secrets
    List {
        /// Whose
        #[arg(long)]
        tenant: String,
    },
    /// Make a token open nothing any more
    Revoke {
        /// Whose
        #[arg(long)]
        tenant: String,
        /// Its number, from `token list`
        id: i64,
    },
}

pub(super) fn run(data: &Path, format: Format, command: Command) -> Outcome {
    match command {
        Command::Create {
            tenant,
            name,
            expires,
            api,
            scope,
            person,
            whole,
        } => {
            let kind = match (api, &person) {
                (true, _) => TokenKind::Api,
                (false, Some(_)) => TokenKind::Me,
                (false, None) => TokenKind::Scim,
            };
            let expires = expires.map(|days| manage::tokens::after_days(now(), days));
            let secret = Secret::generate(kind)?;
            let mut new = New {
                kind,
                label: name,
                expires,
                scopes: match (api, whole) {
                    (true, _) => scope,
                    (false, true) => vec![Scope::Whole],
                    (false, false) => vec![],
                },
                person: None,
            };
            let (token, secret) = change(data, tenant, move |tx, tenant| {
                if let Some(name) = person {
                    new.person = Some(active_user(tx, tenant.id, &name)?.row);
                }
                let token = manage::tokens::create(tx, tenant.id, OPERATOR, &secret, &new)?;
                Ok((token, secret))
            })?;
            match format {
                Format::Table => table::line(secret.reveal()),
                Format::Json => table::json(&json!({ "id": token.id, "token": secret.reveal() })),
            }
        }
        Command::List { tenant } => {
            let tokens = look(data, &tenant, |snapshot, tenant| {
                tokens::list(snapshot, tenant.id)
            })?;
            let now = now();
            let rows: Vec<_> = tokens
                .into_iter()
                .map(|token| {
                    json!({
                        "id": token.id,
                        "for": token.kind.as_str(),
                        "scopes": token.scopes.iter().map(|scope| scope.as_str()).collect::<Vec<_>>().join(" "),
                        "name": token.label,
                        "prefix": token.prefix,
                        "state": token.state(now).as_str(),
                        "created": token.created.to_string(),
                        "expires": token.expires.map(|at| at.to_string()),
                        "revoked": token.revoked.map(|at| at.to_string()),
                        "lastUsed": token.last_used.map(|at| at.to_string()),
                        "lastAddress": token.last_address,
                    })
                })
                .collect();
            let columns = [
                ("ID", "id"),
                ("FOR", "for"),
                ("SCOPES", "scopes"),
                ("NAME", "name"),
                ("PREFIX", "prefix"),
                ("STATE", "state"),
                ("CREATED", "created"),
                ("EXPIRES", "expires"),
                ("LAST USED", "lastUsed"),
                ("FROM", "lastAddress"),
            ];
            table::print(format, &columns, &rows)
        }
        Command::Revoke { tenant, id } => {
            let revoked = change(data, tenant, move |tx, tenant| {
                manage::tokens::revoke(tx, tenant.id, OPERATOR, id)
            })?;
            if revoked {
                Ok(())
            } else {
                Err(failure(format!(
                    "there is no token {id} that could be revoked"
                )))
            }
        }
    }
}

/// A scope by its name.
fn scope(name: &str) -> Result<Scope, String> {
    Scope::named(name).ok_or_else(|| "write read, resources, or read,resources".to_owned())
}
