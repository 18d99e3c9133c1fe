//! People's passwords: argon2id hashes that SCIM sets and nothing shows.

use rusqlite::OptionalExtension;

use super::column::Millis;
use super::{Snapshot, TenantId, Tx};
use crate::error::{Doing, Result};
use crate::scim::resource::fold;

/// Most people of one userName, of as many tenants, whose passwords are tried at a sign-in.
const NAMESAKES: usize = 8;

/// A person who may sign in by a password.
#[derive(Clone, PartialEq, Eq)]
pub struct Candidate {
    /// Whose user.
    pub tenant: TenantId,
    /// By row number.
    pub row: i64,
    /// The SCIM id.
    pub id: String,
    /// Of the password, as a PHC string.
    pub hash: String,
}

/// The hash of a user's password, by row number; of one who is archived, too.
pub fn get(snapshot: &Snapshot<'_>, tenant: TenantId, person: i64) -> Result<Option<String>> {
    snapshot
        .conn
        .prepare_cached("SELECT hash FROM password WHERE tenant = ? AND person = ?")
        .and_then(|mut statement| {
            statement
                .query_row((tenant, person), |row| row.get(0))
                .optional()
        })
        .doing("reading a password's hash")
}

/// Sets it, or takes it away.
pub fn set(tx: &Tx<'_>, tenant: TenantId, person: i64, hash: Option<&str>) -> Result<()> {
    match hash {
        Some(hash) => tx
            .conn
            .prepare_cached(
                "INSERT INTO password (person, tenant, hash, changed) VALUES (?1, ?2, ?3, ?4)
                 ON CONFLICT (person) DO UPDATE SET hash = ?3, changed = ?4 WHERE tenant = ?2",
            )
            .and_then(|mut statement| statement.execute((person, tenant, hash, Millis(tx.now)))),
        None => tx
            .conn
            .prepare_cached("DELETE FROM password WHERE tenant = ? AND person = ?")
            .and_then(|mut statement| statement.execute((tenant, person))),
    }
    .doing("setting a password")?;
    Ok(())
}

/// The active people of this userName who have a password, of all tenants whose people may sign in by one: a sign-in
/// names no tenant.
pub fn candidates(snapshot: &Snapshot<'_>, user_name: &str) -> Result<Vec<Candidate>> {
    snapshot
        .conn
        .prepare_cached(
            "SELECT person.tenant, person.row, person.id, password.hash
             FROM tenant
             CROSS JOIN resource AS person ON person.tenant = tenant.id AND person.kind = 'User' AND person.name_key = ?
                 AND person.deleted_at IS NULL AND person.active IS NOT 0
             JOIN password ON password.person = person.row AND password.tenant = tenant.id
             WHERE tenant.password_sign_in ORDER BY tenant.id LIMIT ?",
        )
        .and_then(|mut statement| {
            statement
                .query_map((fold(user_name), NAMESAKES as i64), |row| {
                    Ok(Candidate {
                        tenant: row.get(0)?,
                        row: row.get(1)?,
                        id: row.get(2)?,
                        hash: row.get(3)?,
                    })
                })?
                .collect()
        })
        .doing("looking for who signs in")
}

/// Whether people of any tenant may sign in by a password.
pub fn any(snapshot: &Snapshot<'_>) -> Result<bool> {
    snapshot
        .conn
        .prepare_cached("SELECT EXISTS (SELECT 1 FROM tenant WHERE password_sign_in)")
        .and_then(|mut statement| statement.query_row([], |row| row.get(0)))
        .doing("looking for who may sign in by a password")
}

/// How many passwords there are, of accounts and of people, and how many of them are no argon2id hashes.
pub fn kinds(snapshot: &Snapshot<'_>) -> Result<(u64, u64, u64)> {
    snapshot
        .conn
        .query_row(
            "SELECT count(*) FILTER (WHERE NOT of_person), count(*) FILTER (WHERE of_person),
                 count(*) FILTER (WHERE hash NOT LIKE '$argon2id$%')
             FROM (SELECT password AS hash, 0 AS of_person FROM account WHERE password IS NOT NULL
                   UNION ALL SELECT hash, 1 FROM password)",
            [],
            |row| {
                let count = |column| row.get::<_, i64>(column).map(i64::unsigned_abs);
                Ok((count(0)?, count(1)?, count(2)?))
            },
        )
        .doing("counting passwords")
}
