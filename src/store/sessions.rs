//! Browsers that are signed in, and links that sign in once.
//!
//! Both are known by a random secret of which only the SHA-256 is kept, like tokens.

use std::time::Duration;

use jiff::Timestamp;
use rusqlite::{OptionalExtension, Row};

use super::column::Millis;
use super::tokens::TokenHash;
use super::{Snapshot, TenantId, Tx};
use crate::error::{Doing, Result};

/// After how long without a request a session ends.
pub const IDLE: Duration = Duration::from_secs(12 * 60 * 60);

/// After how long it ends whatever happens.
pub const LIFETIME: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// For how long a link works.
pub const LINK_LIFETIME: Duration = Duration::from_secs(30 * 60);

/// Longest User-Agent that is kept, in characters.
const AGENT_MAX: usize = 200;

/// Who is signed in, or will be by a link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Holder {
    /// A local account, by its number.
    Account(i64),
    /// A person of the directory: a User's row number.
    Person(i64),
}

impl Holder {
    fn columns(&self) -> (Option<i64>, Option<i64>) {
        match *self {
            Holder::Account(id) => (Some(id), None),
            Holder::Person(row) => (None, Some(row)),
        }
    }

    fn from_columns(account: Option<i64>, person: Option<i64>) -> Option<Holder> {
        account.map(Holder::Account).or(person.map(Holder::Person))
    }
}

/// A session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// Its number.
    pub id: i64,
    /// Whose settings it may open.
    pub tenant: TenantId,
    /// Who is signed in.
    pub holder: Holder,
    /// The account's e-mail address, the person's display name.
    pub name: String,
    /// The person's SCIM id.
    pub person: Option<String>,
    /// Whether it may open the settings: every account may, and who has a role that says so.
    pub opens_settings: bool,
    /// When it began.
    pub created: Timestamp,
    /// Its last request, to the minute.
    pub last_seen: Timestamp,
    /// By what it began: `password`, `link`, `setup`, `sso`.
    pub method: String,
    /// When a password, a link or the provider last said who it is.
    pub authenticated: Timestamp,
    /// The browser's address at the beginning.
    pub address: String,
    /// Its User-Agent.
    pub agent: String,
}

impl Session {
    /// As events name who did it.
    pub fn actor(&self) -> String {
        match (&self.holder, &self.person) {
            (Holder::Account(id), _) => format!("account:{id}"),
            (Holder::Person(_), id) => format!("person:{}", id.as_deref().unwrap_or_default()),
        }
    }
}

const COLUMNS: &str = "session.id, session.tenant, session.account, session.person,
     coalesce(account.email, person.display) AS name, person.id AS person_id,
     session.account IS NOT NULL OR coalesce(role.opens_settings, 0) AS opens_settings,
     session.created, session.last_seen, session.authenticated, session.address, session.agent, session.method";

/// A person who is inactive or deleted has no session, whatever rows there are.
const FROM: &str = "session
     LEFT JOIN account ON account.id = session.account
     LEFT JOIN resource AS person
         ON person.row = session.person AND person.deleted_at IS NULL AND person.active IS NOT 0
     LEFT JOIN role ON role.id = person.role
     WHERE (account.id IS NOT NULL OR person.row IS NOT NULL)";

fn from_row(row: &Row<'_>) -> rusqlite::Result<Session> {
    let holder = Holder::from_columns(row.get(2)?, row.get(3)?);
    Ok(Session {
        id: row.get(0)?,
        tenant: row.get(1)?,
        holder: holder.ok_or(rusqlite::Error::InvalidQuery)?,
        name: row.get(4)?,
        person: row.get(5)?,
        opens_settings: row.get(6)?,
        created: row.get::<_, Millis>(7)?.0,
        last_seen: row.get::<_, Millis>(8)?.0,
        authenticated: row.get::<_, Millis>(9)?.0,
        address: row.get(10)?,
        agent: row.get(11)?,
        method: row.get(12)?,
    })
}

/// Begins one at the transaction's time; takes those away that have ended by themselves.
pub fn create(
    tx: &Tx<'_>,
    tenant: TenantId,
    holder: &Holder,
    hash: &TokenHash,
    (method, address, agent): (&str, &str, &str),
) -> Result<i64> {
    tx.conn
        .prepare_cached("DELETE FROM session WHERE tenant = ? AND (last_seen < ? OR created < ?)")
        .and_then(|mut statement| {
            statement.execute((tenant, Millis(tx.now - IDLE), Millis(tx.now - LIFETIME)))
        })
        .doing("removing sessions that have ended")?;
    let (account, person) = holder.columns();
    let agent: String = agent.chars().take(AGENT_MAX).collect();
    tx.conn
        .prepare_cached(
            "INSERT INTO session (tenant, account, person, hash, created, last_seen, authenticated, method, address, agent)
             VALUES (?1, ?2, ?3, ?4, ?5, ?5, ?5, ?6, ?7, ?8)",
        )
        .and_then(|mut statement| {
            statement.insert((tenant, account, person, hash.0, Millis(tx.now), method, address, agent))
        })
        .doing("beginning a session")
}

/// The session of a cookie, unless it has ended by `now`.
pub fn by_hash(
    snapshot: &Snapshot<'_>,
    hash: &TokenHash,
    now: Timestamp,
) -> Result<Option<Session>> {
    snapshot
        .conn
        .prepare_cached(&format!(
            "SELECT {COLUMNS} FROM {FROM} AND session.hash = ? AND last_seen >= ? AND session.created >= ?"
        ))
        .and_then(|mut statement| {
            let values = (hash.0, Millis(now - IDLE), Millis(now - LIFETIME));
            statement.query_row(values, from_row).optional()
        })
        .doing("reading a session")
}

/// The sessions of an account or a person that have not ended by the given time, the last seen first.
pub fn of(
    snapshot: &Snapshot<'_>,
    tenant: TenantId,
    holder: &Holder,
    now: Timestamp,
) -> Result<Vec<Session>> {
    snapshot
        .conn
        .prepare_cached(&format!(
            "SELECT {COLUMNS} FROM {FROM} AND session.tenant = ?
                 AND (session.account = ? OR session.person = ?) AND last_seen >= ? AND session.created >= ?
             ORDER BY last_seen DESC, session.id DESC"
        ))
        .and_then(|mut statement| {
            let (account, person) = holder.columns();
            let values = (tenant, account, person, Millis(now - IDLE), Millis(now - LIFETIME));
            statement.query_map(values, from_row)?.collect()
        })
        .doing("listing sessions")
}

/// Notes a request at the transaction's time.
pub fn seen(tx: &Tx<'_>, tenant: TenantId, id: i64) -> Result<()> {
    tx.conn
        .prepare_cached(
            "UPDATE session SET last_seen = max(last_seen, ?) WHERE tenant = ? AND id = ?",
        )
        .and_then(|mut statement| statement.execute((Millis(tx.now), tenant, id)))
        .doing("noting a session's use")?;
    Ok(())
}

/// Notes at the transaction's time that it was said again who it is.
pub fn authenticated(tx: &Tx<'_>, tenant: TenantId, id: i64) -> Result<()> {
    tx.conn
        .prepare_cached("UPDATE session SET authenticated = ? WHERE tenant = ? AND id = ?")
        .and_then(|mut statement| statement.execute((Millis(tx.now), tenant, id)))
        .doing("noting an authentication")?;
    Ok(())
}

/// Notes which session of the provider's it came from.
pub fn came_from(tx: &Tx<'_>, tenant: TenantId, id: i64, provider_session: &str) -> Result<()> {
    tx.conn
        .prepare_cached("UPDATE session SET provider_session = ? WHERE tenant = ? AND id = ?")
        .and_then(|mut statement| statement.execute((provider_session, tenant, id)))
        .doing("noting a provider's session")?;
    Ok(())
}

/// Ends those that came from a session of the provider's; returns the row numbers of whose they were.
pub fn end_from(tx: &Tx<'_>, tenant: TenantId, provider_session: &str) -> Result<Vec<i64>> {
    tx.conn
        .prepare_cached(
            "DELETE FROM session WHERE tenant = ? AND provider_session = ? AND person IS NOT NULL RETURNING person",
        )
        .and_then(|mut statement| {
            statement
                .query_map((tenant, provider_session), |row| row.get(0))?
                .collect()
        })
        .doing("ending sessions of a provider's")
}

/// Ends one; false where there is none of this holder.
pub fn end(tx: &Tx<'_>, tenant: TenantId, holder: &Holder, id: i64) -> Result<bool> {
    let (account, person) = holder.columns();
    tx.conn
        .prepare_cached(
            "DELETE FROM session WHERE tenant = ? AND (account = ? OR person = ?) AND id = ?",
        )
        .and_then(|mut statement| statement.execute((tenant, account, person, id)))
        .map(|ended| ended == 1)
        .doing("ending a session")
}

/// Ends all of a holder's, except for one, and its unused links; returns how many sessions there were.
pub fn end_all(
    tx: &Tx<'_>,
    tenant: TenantId,
    holder: &Holder,
    except: Option<i64>,
) -> Result<usize> {
    let (account, person) = holder.columns();
    tx.conn
        .prepare_cached("DELETE FROM link WHERE tenant = ? AND (account = ? OR person = ?)")
        .and_then(|mut statement| statement.execute((tenant, account, person)))
        .doing("removing links")?;
    tx.conn
        .prepare_cached(
            "DELETE FROM session WHERE tenant = ? AND (account = ? OR person = ?) AND id IS NOT ?",
        )
        .and_then(|mut statement| statement.execute((tenant, account, person, except)))
        .doing("ending sessions")
}

/// Ends all of a tenant's, except for one, and all unused links; returns how many sessions there were.
pub fn end_everybody(tx: &Tx<'_>, tenant: TenantId, except: i64) -> Result<usize> {
    tx.conn
        .prepare_cached("DELETE FROM link WHERE tenant = ?")
        .and_then(|mut statement| statement.execute([tenant]))
        .doing("removing links")?;
    tx.conn
        .prepare_cached("DELETE FROM session WHERE tenant = ? AND id <> ?")
        .and_then(|mut statement| statement.execute((tenant, except)))
        .doing("ending sessions")
}

/// What a link does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Link {
    /// Makes the first tenant and account.
    SetUp,
    /// Signs in.
    SignIn(TenantId, Holder),
}

/// Makes a link that works until [`LINK_LIFETIME`] from now; takes those away that are late.
pub fn create_link(tx: &Tx<'_>, link: &Link, hash: &TokenHash) -> Result<()> {
    tx.conn
        .prepare_cached("DELETE FROM link WHERE expires <= ?")
        .and_then(|mut statement| statement.execute([Millis(tx.now)]))
        .doing("removing late links")?;
    let (tenant, (account, person)) = match link {
        Link::SetUp => (None, (None, None)),
        Link::SignIn(tenant, holder) => (Some(*tenant), holder.columns()),
    };
    tx.conn
        .prepare_cached(
            "INSERT INTO link (hash, tenant, account, person, expires) VALUES (?, ?, ?, ?, ?)",
        )
        .and_then(|mut statement| {
            let expires = Millis(tx.now + LINK_LIFETIME);
            statement.execute((hash.0, tenant, account, person, expires))
        })
        .doing("making a link")?;
    Ok(())
}

/// What a link does, if it still works at `now`.
pub fn link(snapshot: &Snapshot<'_>, hash: &TokenHash, now: Timestamp) -> Result<Option<Link>> {
    snapshot
        .conn
        .prepare_cached("SELECT tenant, account, person FROM link WHERE hash = ? AND expires > ?")
        .and_then(|mut statement| {
            let read = |row: &Row<'_>| {
                let holder = Holder::from_columns(row.get(1)?, row.get(2)?);
                Ok(match (row.get::<_, Option<TenantId>>(0)?, holder) {
                    (Some(tenant), Some(holder)) => Link::SignIn(tenant, holder),
                    _ => Link::SetUp,
                })
            };
            statement.query_row((hash.0, Millis(now)), read).optional()
        })
        .doing("reading a link")
}

/// Uses a link up; false where it was used before.
pub fn use_link(tx: &Tx<'_>, hash: &TokenHash) -> Result<bool> {
    tx.conn
        .prepare_cached("DELETE FROM link WHERE hash = ? AND expires > ?")
        .and_then(|mut statement| statement.execute((hash.0, Millis(tx.now))))
        .map(|used| used == 1)
        .doing("using a link")
}
