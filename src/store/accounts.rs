//! Local accounts: ways in that need no provider.

use jiff::Timestamp;
use rusqlite::{OptionalExtension, Row};

use super::column::Millis;
use super::{Snapshot, TenantId, Tx};
use crate::error::{Doing, Result};
use crate::scim::resource::fold;

/// A local account.
#[derive(Clone, PartialEq, Eq)]
pub struct Account {
    /// Its number.
    pub id: i64,
    /// Whose settings it opens.
    pub tenant: TenantId,
    /// As typed.
    pub email: String,
    /// The password's argon2id hash as a PHC string; `None`: only a sign-in link opens it.
    pub password: Option<String>,
    /// When it was made.
    pub created: Timestamp,
    /// When somebody last signed in with it.
    pub last_sign_in: Option<Timestamp>,
    /// Whether its password works where single sign-on is enforced.
    pub break_glass: bool,
}

/// Without the hash.
impl std::fmt::Debug for Account {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Account({}, {})", self.id, self.email)
    }
}

const COLUMNS: &str = "id, tenant, email, password, created, last_sign_in, break_glass";

fn from_row(row: &Row<'_>) -> rusqlite::Result<Account> {
    Ok(Account {
        id: row.get(0)?,
        tenant: row.get(1)?,
        email: row.get(2)?,
        password: row.get(3)?,
        created: row.get::<_, Millis>(4)?.0,
        last_sign_in: row.get::<_, Option<Millis>>(5)?.map(|at| at.0),
        break_glass: row.get(6)?,
    })
}

/// Makes one; `None` where any tenant has an account of this e-mail address (compared folded).
pub fn create(
    tx: &Tx<'_>,
    tenant: TenantId,
    email: &str,
    password: Option<&str>,
) -> Result<Option<Account>> {
    tx.conn
        .prepare_cached(&format!(
            "INSERT INTO account (tenant, email, email_key, password, created) VALUES (?, ?, ?, ?, ?)
             ON CONFLICT (email_key) DO NOTHING RETURNING {COLUMNS}"
        ))
        .and_then(|mut statement| {
            let values = (tenant, email, fold(email), password, Millis(tx.now));
            statement.query_row(values, from_row).optional()
        })
        .doing("creating an account")
}

/// The account of an e-mail address, whichever tenant's.
pub fn by_email(snapshot: &Snapshot<'_>, email: &str) -> Result<Option<Account>> {
    snapshot
        .conn
        .prepare_cached(&format!(
            "SELECT {COLUMNS} FROM account WHERE email_key = ?"
        ))
        .and_then(|mut statement| statement.query_row([fold(email)], from_row).optional())
        .doing("reading an account")
}

/// By its number.
pub fn get(snapshot: &Snapshot<'_>, tenant: TenantId, id: i64) -> Result<Option<Account>> {
    snapshot
        .conn
        .prepare_cached(&format!(
            "SELECT {COLUMNS} FROM account WHERE tenant = ? AND id = ?"
        ))
        .and_then(|mut statement| statement.query_row((tenant, id), from_row).optional())
        .doing("reading an account")
}

/// A tenant's, oldest first.
pub fn list(snapshot: &Snapshot<'_>, tenant: TenantId) -> Result<Vec<Account>> {
    snapshot
        .conn
        .prepare_cached(&format!(
            "SELECT {COLUMNS} FROM account WHERE tenant = ? ORDER BY id"
        ))
        .and_then(|mut statement| statement.query_map([tenant], from_row)?.collect())
        .doing("listing accounts")
}

/// Whether there is any account, of any tenant.
pub fn any(snapshot: &Snapshot<'_>) -> Result<bool> {
    snapshot
        .conn
        .prepare_cached("SELECT EXISTS (SELECT 1 FROM account)")
        .and_then(|mut statement| statement.query_row([], |row| row.get(0)))
        .doing("looking for an account")
}

/// Sets the password's hash, or takes it away.
pub fn set_password(tx: &Tx<'_>, tenant: TenantId, id: i64, password: Option<&str>) -> Result<()> {
    tx.conn
        .prepare_cached("UPDATE account SET password = ? WHERE tenant = ? AND id = ?")
        .and_then(|mut statement| statement.execute((password, tenant, id)))
        .doing("setting a password")?;
    Ok(())
}

/// Says whether its password works where single sign-on is enforced.
pub fn set_break_glass(tx: &Tx<'_>, tenant: TenantId, id: i64, break_glass: bool) -> Result<()> {
    tx.conn
        .prepare_cached("UPDATE account SET break_glass = ? WHERE tenant = ? AND id = ?")
        .and_then(|mut statement| statement.execute((break_glass, tenant, id)))
        .doing("changing an account")?;
    Ok(())
}

/// Notes a sign-in at the transaction's time.
pub fn signed_in(tx: &Tx<'_>, tenant: TenantId, id: i64) -> Result<()> {
    tx.conn
        .prepare_cached("UPDATE account SET last_sign_in = ? WHERE tenant = ? AND id = ?")
        .and_then(|mut statement| statement.execute((Millis(tx.now), tenant, id)))
        .doing("noting a sign-in")?;
    Ok(())
}

/// Removes one with its sessions and links; false where there is none.
pub fn remove(tx: &Tx<'_>, tenant: TenantId, id: i64) -> Result<bool> {
    tx.conn
        .prepare_cached("DELETE FROM account WHERE tenant = ? AND id = ?")
        .and_then(|mut statement| statement.execute((tenant, id)))
        .map(|removed| removed == 1)
        .doing("removing an account")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::fixture::{at, fixture, tenant};

    #[test]
    fn an_address_has_one_account_in_all_tenants_in_any_case() {
        let fixture = fixture();
        let (ours, theirs) = (fixture.tenant, tenant(&fixture.store, "other"));
        let make = |tenant, email: &'static str| {
            fixture
                .store
                .write(at(5), move |tx| create(tx, tenant, email, Some("hash")))
                .unwrap()
        };
        let made = make(ours, "Ana@Example.org").unwrap();
        assert_eq!(make(theirs, "ana@example.ORG"), None);
        let look = |email| fixture.store.read(|snapshot| by_email(snapshot, email));
        assert_eq!(look("ANA@example.org").unwrap(), Some(made.clone()));
        assert_eq!(format!("{made:?}"), "Account(1, Ana@Example.org)");
        let removed = fixture
            .store
            .write(at(6), move |tx| remove(tx, theirs, made.id));
        assert!(!removed.unwrap(), "another tenant's");
    }
}
