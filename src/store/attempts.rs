//! Sign-ins that were begun and haven't come back from the provider.

use std::time::Duration;

use rusqlite::{OptionalExtension, Row, params};

use super::column::Millis;
use super::tokens::TokenHash;
use super::{TenantId, Tx};
use crate::error::{Doing, Result};

/// For how long one may be away.
pub const LIFETIME: Duration = Duration::from_secs(10 * 60);

/// A sign-in on its way.
#[derive(Clone, PartialEq, Eq)]
pub struct Attempt {
    /// Through whose connection.
    pub tenant: TenantId,
    /// That connection's issuer.
    pub issuer: String,
    /// That connection's client.
    pub client_id: String,
    /// What the ID token has to say.
    pub nonce: String,
    /// PKCE's verifier.
    pub verifier: String,
    /// The administrator's session whose connection it proves; `None`: it signs in.
    pub session: Option<i64>,
    /// The page of ours that it leads to.
    pub next: Option<String>,
}

const COLUMNS: &str = "tenant, issuer, client_id, nonce, verifier, session, next";

fn from_row(row: &Row<'_>) -> rusqlite::Result<Attempt> {
    Ok(Attempt {
        tenant: row.get(0)?,
        issuer: row.get(1)?,
        client_id: row.get(2)?,
        nonce: row.get(3)?,
        verifier: row.get(4)?,
        session: row.get(5)?,
        next: row.get(6)?,
    })
}

/// Keeps one until [`LIFETIME`] from now, for this state and browser; takes those away that are late.
pub fn keep(tx: &Tx<'_>, state: &TokenHash, browser: &TokenHash, attempt: &Attempt) -> Result<()> {
    tx.conn
        .prepare_cached("DELETE FROM sso_attempt WHERE expires <= ?")
        .and_then(|mut statement| statement.execute([Millis(tx.now)]))
        .doing("removing late sign-ins")?;
    tx.conn
        .prepare_cached(&format!(
            "INSERT INTO sso_attempt ({COLUMNS}, state, browser, expires) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
        ))
        .and_then(|mut statement| {
            statement.execute(params![
                attempt.tenant,
                attempt.issuer,
                attempt.client_id,
                attempt.nonce,
                attempt.verifier,
                attempt.session,
                attempt.next,
                state.0,
                browser.0,
                Millis(tx.now + LIFETIME),
            ])
        })
        .doing("keeping a sign-in")?;
    Ok(())
}

/// Uses one up; `None` where this browser has begun none with this state, used it already, or is late.
pub fn take(tx: &Tx<'_>, state: &TokenHash, browser: &TokenHash) -> Result<Option<Attempt>> {
    tx.conn
        .prepare_cached(&format!(
            "DELETE FROM sso_attempt WHERE state = ? AND browser = ? AND expires > ? RETURNING {COLUMNS}"
        ))
        .and_then(|mut statement| {
            statement
                .query_row((state.0, browser.0, Millis(tx.now)), from_row)
                .optional()
        })
        .doing("taking a sign-in")
}
