//! Hosts of apps whose proxies ask who somebody is, and the browsers that are signed in at them.

use std::time::Duration;

use rusqlite::{OptionalExtension, Row};

use super::column::Millis;
use super::sessions::{self, Session};
use super::tokens::TokenHash;
use super::{Snapshot, TenantId, Tx};
use crate::access::roles::RoleId;
use crate::error::{Doing, Result};

/// For how long a ticket works.
pub const TICKET_LIFETIME: Duration = Duration::from_secs(60);

/// A host, and who may open it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AppHost {
    /// In lower case, with a port if its address has one.
    pub host: String,
    /// Whose people.
    pub tenant: TenantId,
    /// At least this role; `None`: any.
    pub role: Option<RoleId>,
    /// One of these teams, by id; empty: any or none.
    pub teams: Vec<String>,
}

const COLUMNS: &str = "host, tenant, role, teams";

fn from_row(row: &Row<'_>) -> rusqlite::Result<AppHost> {
    let teams: String = row.get(3)?;
    Ok(AppHost {
        host: row.get(0)?,
        tenant: row.get(1)?,
        role: row.get::<_, Option<i64>>(2)?.map(RoleId),
        teams: teams.split_whitespace().map(str::to_owned).collect(),
    })
}

/// The one of this name, of whatever tenant.
pub fn find(snapshot: &Snapshot<'_>, host: &str) -> Result<Option<AppHost>> {
    snapshot
        .conn
        .prepare_cached(&format!("SELECT {COLUMNS} FROM app_host WHERE host = ?"))
        .and_then(|mut statement| statement.query_row([host], from_row).optional())
        .doing("reading an app's host")
}

/// A tenant's, by name.
pub fn list(snapshot: &Snapshot<'_>, tenant: TenantId) -> Result<Vec<AppHost>> {
    snapshot
        .conn
        .prepare_cached(&format!(
            "SELECT {COLUMNS} FROM app_host WHERE tenant = ? ORDER BY host"
        ))
        .and_then(|mut statement| statement.query_map([tenant], from_row)?.collect())
        .doing("listing apps' hosts")
}

/// Writes one. Who is signed in there stays so, and is asked after by the new rule. False where it is another tenant's.
pub fn save(tx: &Tx<'_>, host: &AppHost) -> Result<bool> {
    tx.conn
        .prepare_cached(&format!(
            "INSERT INTO app_host ({COLUMNS}, created) VALUES (?, ?, ?, ?, ?)
             ON CONFLICT (host) DO UPDATE SET role = excluded.role, teams = excluded.teams
             WHERE app_host.tenant = excluded.tenant"
        ))
        .and_then(|mut statement| {
            let values = (&host.host, host.tenant, host.role, host.teams.join(" "));
            statement.execute((values.0, values.1, values.2, values.3, Millis(tx.now)))
        })
        .map(|written| written == 1)
        .doing("writing an app's host")
}

/// Removes one; false where the tenant has none of this name.
pub fn remove(tx: &Tx<'_>, tenant: TenantId, host: &str) -> Result<bool> {
    tx.conn
        .prepare_cached("DELETE FROM app_host WHERE tenant = ? AND host = ?")
        .and_then(|mut statement| statement.execute((tenant, host)))
        .map(|removed| removed == 1)
        .doing("removing an app's host")
}

/// Makes a ticket with which one browser gets a cookie of the host; takes those away that are late.
pub fn create_ticket(
    tx: &Tx<'_>,
    (tenant, session): (TenantId, i64),
    host: &str,
    ticket: &TokenHash,
    browser: &TokenHash,
) -> Result<()> {
    tx.conn
        .prepare_cached("DELETE FROM app_session WHERE expires <= ?")
        .and_then(|mut statement| statement.execute([Millis(tx.now)]))
        .doing("removing late tickets")?;
    tx.conn
        .prepare_cached(
            "INSERT INTO app_session (hash, tenant, session, host, browser, expires) VALUES (?, ?, ?, ?, ?, ?)",
        )
        .and_then(|mut statement| {
            let expires = Millis(tx.now + TICKET_LIFETIME);
            statement.execute((ticket.0, tenant, session, host, browser.0, expires))
        })
        .doing("making a ticket")?;
    Ok(())
}

/// Turns a ticket into a cookie's row; false where it is late, used, of another host or of another browser.
pub fn use_ticket(
    tx: &Tx<'_>,
    host: &str,
    (ticket, browser): (&TokenHash, &TokenHash),
    cookie: &TokenHash,
) -> Result<bool> {
    tx.conn
        .prepare_cached(
            "UPDATE app_session SET hash = ?, browser = NULL, expires = NULL
             WHERE hash = ? AND host = ? AND browser = ? AND expires > ?",
        )
        .and_then(|mut statement| {
            statement.execute((cookie.0, ticket.0, host, browser.0, Millis(tx.now)))
        })
        .map(|used| used == 1)
        .doing("using a ticket")
}

/// The session behind a host's cookie, unless it has ended by `now`.
pub fn session(
    snapshot: &Snapshot<'_>,
    host: &str,
    cookie: &TokenHash,
    now: jiff::Timestamp,
) -> Result<Option<Session>> {
    let found = snapshot
        .conn
        .prepare_cached(
            "SELECT session.hash FROM app_session JOIN session ON session.id = app_session.session
             WHERE app_session.hash = ? AND app_session.host = ? AND app_session.expires IS NULL",
        )
        .and_then(|mut statement| {
            statement
                .query_row((cookie.0, host), |row| row.get(0))
                .optional()
        })
        .doing("reading a session at an app")?;
    match found {
        Some(hash) => sessions::by_hash(snapshot, &TokenHash(hash), now),
        None => Ok(None),
    }
}
