//! Which user somebody is who signs in through a provider.

use rusqlite::OptionalExtension;

use super::column::Millis;
use super::{Snapshot, TenantId, Tx};
use crate::error::{Doing, Result};

/// An identity that is linked to a user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The user's row number; they may be deleted by now.
    pub person: i64,
    /// What linked it: `externalId`, `userName`, `created`.
    pub linked_by: String,
}

/// The one of this issuer's subject.
pub fn find(
    snapshot: &Snapshot<'_>,
    tenant: TenantId,
    issuer: &str,
    subject: &str,
) -> Result<Option<Identity>> {
    snapshot
        .conn
        .prepare_cached(
            "SELECT person, linked_by FROM identity WHERE tenant = ? AND issuer = ? AND subject = ?",
        )
        .and_then(|mut statement| {
            statement
                .query_row((tenant, issuer, subject), |row| {
                    Ok(Identity {
                        person: row.get(0)?,
                        linked_by: row.get(1)?,
                    })
                })
                .optional()
        })
        .doing("reading an identity")
}

/// The subjects of this issuer that are linked to a user.
pub fn subjects_of(
    snapshot: &Snapshot<'_>,
    tenant: TenantId,
    issuer: &str,
    person: i64,
) -> Result<Vec<String>> {
    snapshot
        .conn
        .prepare_cached(
            "SELECT subject FROM identity WHERE tenant = ? AND issuer = ? AND person = ? ORDER BY subject",
        )
        .and_then(|mut statement| {
            statement
                .query_map((tenant, issuer, person), |row| row.get(0))?
                .collect()
        })
        .doing("reading a user's identities")
}

/// Links it, in the place of what it was linked to, and notes the sign-in at the transaction's time.
pub fn link(
    tx: &Tx<'_>,
    tenant: TenantId,
    (issuer, subject): (&str, &str),
    person: i64,
    linked_by: &str,
) -> Result<()> {
    tx.conn
        .prepare_cached(
            "INSERT OR REPLACE INTO identity (tenant, issuer, subject, person, linked, linked_by, last_sign_in)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?5)",
        )
        .and_then(|mut statement| {
            statement.execute((tenant, issuer, subject, person, Millis(tx.now), linked_by))
        })
        .doing("linking an identity")?;
    Ok(())
}

/// Notes a sign-in at the transaction's time.
pub fn signed_in(tx: &Tx<'_>, tenant: TenantId, issuer: &str, subject: &str) -> Result<()> {
    tx.conn
        .prepare_cached(
            "UPDATE identity SET last_sign_in = ? WHERE tenant = ? AND issuer = ? AND subject = ?",
        )
        .and_then(|mut statement| statement.execute((Millis(tx.now), tenant, issuer, subject)))
        .doing("noting a sign-in")?;
    Ok(())
}

/// Takes the link away.
pub fn unlink(tx: &Tx<'_>, tenant: TenantId, issuer: &str, subject: &str) -> Result<()> {
    tx.conn
        .prepare_cached("DELETE FROM identity WHERE tenant = ? AND issuer = ? AND subject = ?")
        .and_then(|mut statement| statement.execute((tenant, issuer, subject)))
        .doing("unlinking an identity")?;
    Ok(())
}
