//! A tenant's connection for signing in through its provider.

use jiff::Timestamp;
use rusqlite::types::{FromSql, FromSqlError, FromSqlResult, ToSql, ToSqlOutput, ValueRef};
use rusqlite::{OptionalExtension, Row, params};

use super::column::Millis;
use super::{Snapshot, TenantId, Tx};
use crate::error::{Doing, Result};

/// Who signs people in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Provider {
    /// Microsoft Entra ID.
    Entra,
    /// Okta.
    Okta,
    /// Google Workspace.
    Google,
    /// Anybody else who speaks OpenID Connect.
    Oidc,
}

impl Provider {
    /// All there are, in the order of pages.
    pub const ALL: [Provider; 4] = [
        Provider::Entra,
        Provider::Okta,
        Provider::Google,
        Provider::Oidc,
    ];

    /// As stored, and in addresses and events.
    pub fn as_str(self) -> &'static str {
        match self {
            Provider::Entra => "entra",
            Provider::Okta => "okta",
            Provider::Google => "google",
            Provider::Oidc => "oidc",
        }
    }

    /// The one that is called so.
    pub fn named(name: &str) -> Option<Provider> {
        Provider::ALL
            .into_iter()
            .find(|provider| provider.as_str() == name)
    }
}

impl FromSql for Provider {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Provider> {
        Provider::named(value.as_str()?).ok_or(FromSqlError::InvalidType)
    }
}

impl ToSql for Provider {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(self.as_str().into())
    }
}

/// A connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Connection {
    /// Who signs people in.
    pub provider: Provider,
    /// As people read it where they sign in.
    pub name: String,
    /// The provider's issuer, exactly.
    pub issuer: String,
    /// What the provider calls us.
    pub client_id: String,
    /// Entra ID: the directory (tenant) ID; Google: the domain.
    pub directory: Option<String>,
    /// The client secret, sealed; `None`: the operator's application signs in, whose secret is the server's.
    pub secret: Option<Vec<u8>>,
    /// When it was first saved; that of a new one is the transaction's time.
    pub created: Timestamp,
    /// When it was last saved.
    pub changed: Timestamp,
    /// A newer client secret, sealed, that the provider hasn't accepted yet.
    pub next_secret: Option<Vec<u8>>,
    /// When somebody of the directory first came back from the provider.
    pub connected: Option<Timestamp>,
    /// Since when it signs nobody in.
    pub disabled: Option<Timestamp>,
    /// E-mail domains of its people, with spaces between; empty: any.
    pub domains: String,
    /// Whether passwords of local accounts work no more, but for break-glass ones.
    pub enforced: bool,
    /// Whether who isn't provisioned is created when they sign in.
    pub creates_people: bool,
    /// Whether a user of the same userName is taken for who signs in.
    pub matches_user_name: bool,
}

impl Connection {
    /// One that nobody has signed in through, with everything optional off; `secret`: see [`Connection::secret`].
    pub fn new(
        provider: Provider,
        name: &str,
        issuer: &str,
        client_id: &str,
        secret: Option<Vec<u8>>,
        now: Timestamp,
    ) -> Connection {
        Connection {
            provider,
            name: name.to_owned(),
            issuer: issuer.to_owned(),
            client_id: client_id.to_owned(),
            directory: None,
            secret,
            created: now,
            changed: now,
            next_secret: None,
            connected: None,
            disabled: None,
            domains: String::new(),
            creates_people: false,
            matches_user_name: false,
            enforced: false,
        }
    }

    /// Whether the operator's application signs in.
    pub fn is_operators(&self) -> bool {
        self.secret.is_none()
    }

    /// Whether people sign in through it.
    pub fn signs_in(&self) -> bool {
        self.connected.is_some() && self.disabled.is_none()
    }

    /// Whether passwords of local accounts work no more: not while nobody can sign in through it either.
    pub fn is_enforced(&self) -> bool {
        self.enforced && self.signs_in()
    }

    /// The e-mail domains of its people.
    pub fn domains(&self) -> impl Iterator<Item = &str> {
        self.domains.split_ascii_whitespace()
    }
}

const COLUMNS: &str = "provider, name, issuer, client_id, directory, secret, created, changed, next_secret, connected,
     disabled, domains, creates_people, matches_user_name, enforced";

fn from_row(row: &Row<'_>) -> rusqlite::Result<Connection> {
    Ok(Connection {
        provider: row.get(0)?,
        name: row.get(1)?,
        issuer: row.get(2)?,
        client_id: row.get(3)?,
        directory: row.get(4)?,
        secret: row.get(5)?,
        created: row.get::<_, Millis>(6)?.0,
        changed: row.get::<_, Millis>(7)?.0,
        next_secret: row.get(8)?,
        connected: row.get::<_, Option<Millis>>(9)?.map(|at| at.0),
        disabled: row.get::<_, Option<Millis>>(10)?.map(|at| at.0),
        domains: row.get(11)?,
        creates_people: row.get(12)?,
        matches_user_name: row.get(13)?,
        enforced: row.get(14)?,
    })
}

/// The tenant's, if it has one.
pub fn read(snapshot: &Snapshot<'_>, tenant: TenantId) -> Result<Option<Connection>> {
    snapshot
        .conn
        .prepare_cached(&format!(
            "SELECT {COLUMNS} FROM connection WHERE tenant = ?"
        ))
        .and_then(|mut statement| statement.query_row([tenant], from_row).optional())
        .doing("reading a connection")
}

/// The tenants whose people have addresses of this e-mail domain (in lower case) and sign in through a provider.
pub fn tenants_of_domain(snapshot: &Snapshot<'_>, domain: &str) -> Result<Vec<TenantId>> {
    snapshot
        .conn
        .prepare_cached(
            "SELECT tenant FROM connection
             WHERE connected IS NOT NULL AND disabled IS NULL
               AND instr(' ' || domains || ' ', ' ' || ? || ' ') > 0
             ORDER BY tenant",
        )
        .and_then(|mut statement| statement.query_map([domain], |row| row.get(0))?.collect())
        .doing("looking for a domain's provider")
}

/// The tenant that a directory of Entra ID's is connected to through the operator's application.
pub fn holder(snapshot: &Snapshot<'_>, directory: &str) -> Result<Option<TenantId>> {
    snapshot
        .conn
        .prepare_cached("SELECT tenant FROM connection WHERE secret IS NULL AND directory = ?")
        .and_then(|mut statement| {
            statement
                .query_row([directory], |row| row.get(0))
                .optional()
        })
        .doing("looking for a directory's tenant")
}

/// Up to two tenants whose people sign in through a provider.
pub fn some_tenants(snapshot: &Snapshot<'_>) -> Result<Vec<TenantId>> {
    snapshot
        .conn
        .prepare_cached(
            "SELECT tenant FROM connection WHERE connected IS NOT NULL AND disabled IS NULL ORDER BY tenant LIMIT 2",
        )
        .and_then(|mut statement| statement.query_map([], |row| row.get(0))?.collect())
        .doing("looking for providers")
}

/// Writes it, in the place of the one that there was.
pub fn write(tx: &Tx<'_>, tenant: TenantId, connection: &Connection) -> Result<()> {
    // Not INSERT OR REPLACE, which would take another tenant's away where it has the same directory.
    remove(tx, tenant)?;
    tx.conn
        .prepare_cached(&format!(
            "INSERT INTO connection (tenant, {COLUMNS})
             VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
        ))
        .and_then(|mut statement| {
            statement.execute(params![
                tenant,
                connection.provider,
                connection.name,
                connection.issuer,
                connection.client_id,
                connection.directory,
                connection.secret,
                Millis(connection.created),
                Millis(connection.changed),
                connection.next_secret,
                connection.connected.map(Millis),
                connection.disabled.map(Millis),
                connection.domains,
                connection.creates_people,
                connection.matches_user_name,
                connection.enforced,
            ])
        })
        .doing("writing a connection")?;
    Ok(())
}

/// Removes it; false where there is none.
pub fn remove(tx: &Tx<'_>, tenant: TenantId) -> Result<bool> {
    tx.conn
        .prepare_cached("DELETE FROM connection WHERE tenant = ?")
        .and_then(|mut statement| statement.execute([tenant]))
        .map(|removed| removed == 1)
        .doing("removing a connection")
}
