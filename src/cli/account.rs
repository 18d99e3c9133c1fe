//! `rollcall account …`

use std::fs;
use std::io::{self, BufRead};
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use serde_json::json;

use super::table::{self, Format};
use super::{Failure, Outcome, change, existing, failure, look, now, public_url};
use crate::manage::{self, OPERATOR};
use crate::store::accounts::{self, Account};
use crate::store::sessions::{self, Holder, Link};
use crate::store::tokens::{Secret, TokenHash};
use crate::store::{Store, tenants};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Make a local account; without --password-file print a link that signs in once and asks for a password
    Create {
        /// E-mail address to sign in with
        email: String,
        /// Whose settings it opens
        #[arg(long)]
        tenant: String,
        #[command(flatten)]
        password: Password,
        #[command(flatten)]
        public: Public,
    },
    /// Set another password and end all sessions; without --password-file print a sign-in link
    Reset {
        /// The account's e-mail address
        email: String,
        #[command(flatten)]
        password: Password,
        #[command(flatten)]
        public: Public,
    },
    /// List local accounts
    List {
        /// Of this tenant alone
        #[arg(long)]
        tenant: Option<String>,
    },
    /// Print a link that signs in once within 30 minutes, for who has forgotten the password
    SignInLink {
        /// The account's e-mail address
        email: String,
        #[command(flatten)]
        public: Public,
    },
    /// Remove an account and end its sessions
    Remove {
        /// The account's e-mail address
        email: String,
    },
}

#[derive(Debug, Args)]
pub(super) struct Password {
    /// A file whose first line is the password; - reads it from standard input
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(super) struct Public {
    /// How browsers reach the server
    #[arg(long, value_name = "URL", env = "ROLLCALL_PUBLIC_URL", value_parser = public_url, default_value = "http://127.0.0.1:8080")]
    pub(super) public_url: String,
}

pub(super) fn run(data: &Path, format: Format, command: Command) -> Outcome {
    match command {
        Command::Create {
            email,
            tenant,
            password,
            public,
        } => {
            let email = manage::accounts::email(&email).map_err(crate::error::Error::from)?;
            let password = password.hashed(&email)?;
            let ready = password.is_some();
            let account = change(data, tenant, move |tx, tenant| {
                manage::accounts::create(tx, tenant.id, OPERATOR, &email, password.as_deref())
            })?;
            if ready {
                eprintln!(
                    "made account {}; sign in at {}/sign-in",
                    account.email, public.public_url
                );
                return Ok(());
            }
            print_link(&existing(data)?, opening(&account), &public.public_url)
        }
        Command::Reset {
            email,
            password,
            public,
        } => {
            let store = existing(data)?;
            let account = found(&store, &email)?;
            let password = password.hashed(&account.email)?;
            let ready = password.is_some();
            let changed = account.clone();
            store.write(now(), move |tx| {
                manage::accounts::set_password(tx, OPERATOR, &changed, password.as_deref(), None)
            })?;
            if ready {
                return Ok(());
            }
            print_link(&store, opening(&account), &public.public_url)
        }
        Command::List { tenant } => list(data, format, tenant.as_deref()),
        Command::SignInLink { email, public } => {
            let store = existing(data)?;
            print_link(&store, opening(&found(&store, &email)?), &public.public_url)
        }
        Command::Remove { email } => {
            let store = existing(data)?;
            let account = found(&store, &email)?;
            Ok(store.write(now(), move |tx| {
                manage::accounts::remove(tx, OPERATOR, &account)
            })?)
        }
    }
}

impl Password {
    /// The hash of the password in the file, if one is named.
    fn hashed(&self, email: &str) -> Result<Option<String>, Failure> {
        let Some(path) = &self.password_file else {
            return Ok(None);
        };
        let mut password = String::new();
        if path.as_os_str() == "-" {
            io::stdin().lock().read_line(&mut password)?;
        } else {
            password = fs::read_to_string(path)
                .map_err(|error| failure(format!("cannot read {}: {error}", path.display())))?;
        }
        let password = password.lines().next().unwrap_or_default();
        Ok(Some(manage::accounts::hashed(password, email)?))
    }
}

fn list(data: &Path, format: Format, tenant: Option<&str>) -> Outcome {
    let tenants = match tenant {
        Some(name) => vec![look(data, name, |_, tenant| Ok(tenant.clone()))?],
        None => existing(data)?.read(tenants::list)?,
    };
    let rows: Vec<_> = existing(data)?.read(|snapshot| {
        let mut rows = vec![];
        for tenant in &tenants {
            for account in accounts::list(snapshot, tenant.id)? {
                rows.push(json!({
                    "email": account.email,
                    "tenant": tenant.name,
                    "password": if account.password.is_some() { "set" } else { "none" },
                    "created": account.created.to_string(),
                    "lastSignIn": account.last_sign_in.map(|at| at.to_string()),
                }));
            }
        }
        Ok(rows)
    })?;
    let columns = [
        ("EMAIL", "email"),
        ("TENANT", "tenant"),
        ("PASSWORD", "password"),
        ("CREATED", "created"),
        ("LAST SIGN-IN", "lastSignIn"),
    ];
    table::print(format, &columns, &rows)
}

fn found(store: &Store, email: &str) -> Result<Account, Failure> {
    store
        .read(|snapshot| accounts::by_email(snapshot, email))?
        .ok_or_else(|| {
            failure(format!(
                "there is no account {email:?}; `rollcall account list` shows them"
            ))
        })
}

fn opening(account: &Account) -> Link {
    Link::SignIn(account.tenant, Holder::Account(account.id))
}

/// Prints the address that signs in once.
pub(super) fn print_link(store: &Store, link: Link, public_url: &str) -> Outcome {
    let secret = make_link(store, link)?;
    table::line(&format!("{public_url}/sign-in/link/{}", secret.reveal()))
}

/// Makes a link and returns its secret.
pub(super) fn make_link(store: &Store, link: Link) -> crate::error::Result<Secret> {
    let secret = Secret::random()?;
    store.write(now(), move |tx| {
        sessions::create_link(tx, &link, &TokenHash::of(secret.reveal()))?;
        Ok(secret)
    })
}
