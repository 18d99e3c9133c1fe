//! Bearer tokens: random, shown once, kept as SHA-256.
//!
//! A slow hash would cost 11 ms on every request and add nothing to 256 random bits: that is for passwords.

use std::fmt;
use std::sync::Arc;

use aws_lc_rs::{constant_time, digest, rand};
use jiff::Timestamp;
use rusqlite::types::{FromSql, FromSqlError, FromSqlResult, ToSql, ToSqlOutput, ValueRef};
use rusqlite::{OptionalExtension, Row};

use super::column::Millis;
use super::tenants::{self, Tenant};
use super::{Snapshot, TenantId, Tx, attributes, known};
use crate::error::{Doing, Result};
use crate::scim::declare::Schemas;

/// What a token opens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenKind {
    /// `/scim/v2`.
    Scim,
    /// `/api/v1`.
    Api,
    /// `/scim/v2/Me`, for the user whose own it is.
    Me,
}

impl TokenKind {
    /// As stored and shown.
    pub fn as_str(self) -> &'static str {
        match self {
            TokenKind::Scim => "scim",
            TokenKind::Api => "api",
            TokenKind::Me => "me",
        }
    }

    /// What a secret begins with, so that scanners for leaked secrets know it.
    fn prefix(self) -> &'static str {
        match self {
            TokenKind::Scim => "rcs_",
            TokenKind::Api => "rca_",
            TokenKind::Me => "rcm_",
        }
    }
}

/// What a token for apps, or one for `/Me`, may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Read people, teams, resources and events.
    Read,
    /// Register, change and remove team resources.
    Resources,
    /// Of a token for `/Me`: do to its user whatever a provider may. Without it, what is harmless.
    Whole,
}

impl Scope {
    /// Those of an API token.
    pub const ALL: [Scope; 2] = [Scope::Read, Scope::Resources];

    /// As stored, typed and shown.
    pub fn as_str(self) -> &'static str {
        match self {
            Scope::Read => "read",
            Scope::Resources => "resources",
            Scope::Whole => "whole",
        }
    }

    /// The API token's that is called so.
    pub fn named(name: &str) -> Option<Scope> {
        Scope::ALL.into_iter().find(|scope| scope.as_str() == name)
    }
}

impl FromSql for TokenKind {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<TokenKind> {
        let name = value.as_str()?;
        let kinds = [TokenKind::Scim, TokenKind::Api, TokenKind::Me];
        kinds
            .into_iter()
            .find(|kind| kind.as_str() == name)
            .ok_or(FromSqlError::InvalidType)
    }
}

impl ToSql for TokenKind {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(self.as_str().into())
    }
}

/// Characters of a secret that are kept readable: its prefix and 24 of the 256 bits.
const SHOWN: usize = 10;

/// A secret that is shown once: 256 random bits in hexadecimal, of a token after `rcs_` or `rca_`. `Debug` hides it.
pub struct Secret(String);

impl Secret {
    /// A new one for a token.
    pub fn generate(kind: TokenKind) -> Result<Secret> {
        let Secret(digits) = Secret::random()?;
        Ok(Secret(kind.prefix().to_owned() + &digits))
    }

    /// A new one for a session or a link: the digits alone.
    pub fn random() -> Result<Secret> {
        let mut bits = [0; 32];
        rand::fill(&mut bits).doing("drawing random bits")?;
        Ok(Secret(
            bits.iter().map(|byte| format!("{byte:02x}")).collect(),
        ))
    }

    /// The text to show.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// The SHA-256 of a token, as stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TokenHash(pub [u8; 32]);

impl TokenHash {
    /// Of what a client sent.
    pub fn of(token: &str) -> TokenHash {
        let hash = digest::digest(&digest::SHA256, token.as_bytes());
        TokenHash(hash.as_ref().try_into().expect("a SHA-256 has 32 bytes"))
    }
}

/// A token's row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    /// Its number.
    pub id: i64,
    /// Whose data it opens.
    pub tenant: TenantId,
    /// What it opens.
    pub kind: TokenKind,
    /// The operator's name for it.
    pub label: String,
    /// What it may do; none of a provider's, which has no parts.
    pub scopes: Vec<Scope>,
    /// The user whose own token it is, by row number: it ends with them.
    pub person: Option<i64>,
    /// The first characters of the secret, to tell tokens apart.
    pub prefix: String,
    /// When it was made.
    pub created: Timestamp,
    /// From when on it opens nothing.
    pub expires: Option<Timestamp>,
    /// Since when it opens nothing.
    pub revoked: Option<Timestamp>,
    /// When a request with it was first answered, and not refused.
    pub first_used: Option<Timestamp>,
    /// When it was last used, to the minute.
    pub last_used: Option<Timestamp>,
    /// From which address.
    pub last_address: Option<String>,
}

const COLUMNS: &str =
    "id, tenant, kind, label, prefix, created, expires, revoked, last_used, last_address, scopes,
     person, first_used";

fn from_row(row: &Row<'_>) -> rusqlite::Result<Token> {
    let time = |column| {
        row.get::<_, Option<Millis>>(column)
            .map(|at| at.map(|at| at.0))
    };
    Ok(Token {
        id: row.get(0)?,
        tenant: row.get(1)?,
        kind: row.get(2)?,
        label: row.get(3)?,
        prefix: row.get(4)?,
        created: row.get::<_, Millis>(5)?.0,
        expires: time(6)?,
        revoked: time(7)?,
        last_used: time(8)?,
        last_address: row.get(9)?,
        scopes: row
            .get_ref(10)?
            .as_str()?
            .split(' ')
            .filter_map(|name| match name {
                "whole" => Some(Scope::Whole),
                name => Scope::named(name),
            })
            .collect(),
        person: row.get(11)?,
        first_used: time(12)?,
    })
}

/// Whether a token opens anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It does.
    Valid,
    /// Its time is over.
    Expired,
    /// Somebody took it back.
    Revoked,
}

impl State {
    /// As shown.
    pub fn as_str(self) -> &'static str {
        match self {
            State::Valid => "valid",
            State::Expired => "expired",
            State::Revoked => "revoked",
        }
    }
}

impl Token {
    /// Whether it opens anything at `now`.
    pub fn state(&self, now: Timestamp) -> State {
        if self.revoked.is_some() {
            State::Revoked
        } else if self.expires.is_some_and(|expires| expires <= now) {
            State::Expired
        } else {
            State::Valid
        }
    }
}

/// What a new token is to be.
#[derive(Clone, Debug)]
pub struct New {
    /// What it opens.
    pub kind: TokenKind,
    /// The operator's name for it.
    pub label: String,
    /// From when on it opens nothing.
    pub expires: Option<Timestamp>,
    /// What an API token may do.
    pub scopes: Vec<Scope>,
    /// The user whose own token it is, by row number.
    pub person: Option<i64>,
}

/// Stores a new token.
pub fn create(tx: &Tx<'_>, tenant: TenantId, secret: &Secret, new: &New) -> Result<Token> {
    let text = secret.reveal();
    let prefix = text.get(..SHOWN).unwrap_or_default();
    let scopes: Vec<_> = new.scopes.iter().map(|scope| scope.as_str()).collect();
    tx.conn
        .prepare_cached(&format!(
            "INSERT INTO token (tenant, kind, label, prefix, hash, created, expires, scopes, person)
             VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) RETURNING {COLUMNS}"
        ))
        .and_then(|mut statement| {
            let values = (
                tenant,
                new.kind,
                &new.label,
                prefix,
                TokenHash::of(text).0,
                Millis(tx.now),
                new.expires.map(Millis),
                scopes.join(" "),
                new.person,
            );
            statement.query_row(values, from_row)
        })
        .doing("creating a token")
}

/// Who shows a token (RFC 6750 §1.2).
#[derive(Clone, Debug, PartialEq)]
pub struct Bearer {
    /// What they show, whatever its state.
    pub token: Token,
    /// What the token opens.
    pub tenant: Tenant,
    /// The tenant's schemas.
    pub schemas: Arc<Schemas>,
}

/// Whose token has this hash.
pub fn bearer(snapshot: &Snapshot<'_>, hash: &TokenHash) -> Result<Option<Arc<Bearer>>> {
    known::of(&snapshot.known.bearers, *hash, || {
        let Some(token) = by_hash(snapshot, hash)? else {
            return Ok(None);
        };
        let Some(tenant) = tenants::by_id(snapshot, token.tenant)? else {
            return Ok(None);
        };
        Ok(Some(Arc::new(Bearer {
            schemas: attributes::schemas(snapshot, tenant.id)?,
            token,
            tenant,
        })))
    })
}

/// The token with this hash, whatever its state.
pub fn by_hash(snapshot: &Snapshot<'_>, hash: &TokenHash) -> Result<Option<Token>> {
    let found = snapshot
        .conn
        .prepare_cached(&format!("SELECT {COLUMNS}, hash FROM token WHERE hash = ?"))
        .and_then(|mut statement| {
            statement
                .query_row([hash.0], |row| {
                    Ok((from_row(row)?, row.get::<_, [u8; 32]>("hash")?))
                })
                .optional()
        })
        .doing("reading a token")?;
    // The index compares byte by byte and may tell, by its time, how far a guess of the hash got. That is of no use
    // without a preimage, and it is this comparison, in constant time, that decides.
    Ok(found
        .filter(|(_, stored)| constant_time::verify_slices_are_equal(stored, &hash.0).is_ok())
        .map(|(token, _)| token))
}

/// A tenant's, newest first.
pub fn list(snapshot: &Snapshot<'_>, tenant: TenantId) -> Result<Vec<Token>> {
    snapshot
        .conn
        .prepare_cached(&format!(
            "SELECT {COLUMNS} FROM token WHERE tenant = ? ORDER BY id DESC"
        ))
        .and_then(|mut statement| statement.query_map([tenant], from_row)?.collect())
        .doing("listing tokens")
}

/// One of a tenant's by its number.
pub fn get(snapshot: &Snapshot<'_>, tenant: TenantId, id: i64) -> Result<Option<Token>> {
    snapshot
        .conn
        .prepare_cached(&format!(
            "SELECT {COLUMNS} FROM token WHERE tenant = ? AND id = ?"
        ))
        .and_then(|mut statement| statement.query_row((tenant, id), from_row).optional())
        .doing("reading a token")
}

/// Up to `limit` of a kind that are not revoked, newest first, from below the number `before` on.
pub fn standing(
    snapshot: &Snapshot<'_>,
    tenant: TenantId,
    kind: TokenKind,
    before: Option<i64>,
    limit: usize,
) -> Result<Vec<Token>> {
    snapshot
        .conn
        .prepare_cached(&format!(
            "SELECT {COLUMNS} FROM token
             WHERE tenant = ? AND kind = ? AND revoked IS NULL AND id < ? ORDER BY id DESC LIMIT ?"
        ))
        .and_then(|mut statement| {
            let before = before.unwrap_or(i64::MAX);
            statement
                .query_map((tenant, kind, before, limit as i64), from_row)?
                .collect()
        })
        .doing("listing tokens")
}

/// The last `limit` of a kind that were revoked.
pub fn revoked(
    snapshot: &Snapshot<'_>,
    tenant: TenantId,
    kind: TokenKind,
    limit: usize,
) -> Result<Vec<Token>> {
    snapshot
        .conn
        .prepare_cached(&format!(
            "SELECT {COLUMNS} FROM token
             WHERE tenant = ? AND kind = ? AND revoked IS NOT NULL ORDER BY revoked DESC, id DESC LIMIT ?"
        ))
        .and_then(|mut statement| {
            statement
                .query_map((tenant, kind, limit as i64), from_row)?
                .collect()
        })
        .doing("listing revoked tokens")
}

/// The operator's name for one.
pub fn label(snapshot: &Snapshot<'_>, tenant: TenantId, id: i64) -> Result<Option<String>> {
    snapshot
        .conn
        .prepare_cached("SELECT label FROM token WHERE tenant = ? AND id = ?")
        .and_then(|mut statement| {
            statement
                .query_row((tenant, id), |row| row.get(0))
                .optional()
        })
        .doing("reading a token's name")
}

/// A user's own that are not revoked.
pub fn of_person(snapshot: &Snapshot<'_>, tenant: TenantId, person: i64) -> Result<Vec<Token>> {
    snapshot
        .conn
        .prepare_cached(&format!(
            "SELECT {COLUMNS} FROM token WHERE tenant = ? AND person = ? AND revoked IS NULL ORDER BY id"
        ))
        .and_then(|mut statement| statement.query_map((tenant, person), from_row)?.collect())
        .doing("listing a user's tokens")
}

/// One use of a token.
#[derive(Clone, Debug)]
pub struct Use<'a> {
    /// The token, by its number.
    pub id: i64,
    /// When it was shown.
    pub at: Timestamp,
    /// From which address.
    pub address: &'a str,
    /// Whether the request was answered, and not refused.
    pub answered: bool,
}

/// Notes a use: the first that was answered, and the last to the minute.
pub fn used(tx: &Tx<'_>, tenant: TenantId, shown: &Use<'_>) -> Result<()> {
    // Who uses it often does so many times within a second, and only the first of these can be news.
    let this = (shown.at.as_second(), shown.answered);
    if tx.known.used.borrow_mut().insert(shown.id, this) == Some(this) {
        return Ok(());
    }
    tx.conn
        .prepare_cached(
            "UPDATE token
             SET last_used = ?3, last_address = ?4, first_used = coalesce(first_used, iif(?5, ?3, NULL))
             WHERE tenant = ?1 AND id = ?2
               AND (last_used IS NULL OR last_used <= ?3 - 60000 OR (?5 AND first_used IS NULL))",
        )
        .and_then(|mut statement| {
            statement.execute((tenant, shown.id, Millis(shown.at), shown.address, shown.answered))
        })
        .doing("noting a token's use")?;
    Ok(())
}

/// Revokes by id; false where there is none to revoke.
pub fn revoke(tx: &Tx<'_>, tenant: TenantId, id: i64) -> Result<bool> {
    tx.conn
        .prepare_cached(
            "UPDATE token SET revoked = ? WHERE tenant = ? AND id = ? AND revoked IS NULL",
        )
        .and_then(|mut statement| statement.execute((Millis(tx.now), tenant, id)))
        .map(|changed| changed == 1)
        .doing("revoking a token")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::fixture::{at, fixture, tenant};

    #[test]
    fn a_secret_has_its_kinds_prefix_and_is_hidden_from_debug() {
        let secret = Secret::generate(TokenKind::Scim).unwrap();
        assert!(secret.reveal().starts_with("rcs_"));
        assert_eq!(secret.reveal().len(), 4 + 64);
        assert_eq!(format!("{secret:?}"), "Secret(…)");
        assert!(
            Secret::generate(TokenKind::Api)
                .unwrap()
                .reveal()
                .starts_with("rca_")
        );
        assert_ne!(
            secret.reveal(),
            Secret::generate(TokenKind::Scim).unwrap().reveal()
        );
    }

    #[test]
    fn a_token_is_found_by_its_hash_alone() {
        let fixture = fixture();
        let (store, tenant) = (&fixture.store, fixture.tenant);
        let secret = Secret::generate(TokenKind::Api).unwrap();
        let text = secret.reveal().to_owned();
        let made = store
            .write(at(0), move |tx| {
                let new = New {
                    kind: TokenKind::Api,
                    label: "app".to_owned(),
                    expires: Some(at(9)),
                    scopes: vec![Scope::Read],
                    person: None,
                };
                create(tx, tenant, &secret, &new)
            })
            .unwrap();
        let found = store
            .read(|snapshot| by_hash(snapshot, &TokenHash::of(&text)))
            .unwrap();
        assert_eq!(found, Some(made.clone()));
        assert_eq!(
            (made.prefix.as_str(), made.expires),
            (&text[..10], Some(at(9)))
        );
        let stored = std::fs::read(fixture.dir.path().join("rollcall.db-wal")).unwrap();
        assert!(
            !stored
                .windows(text.len())
                .any(|bytes| bytes == text.as_bytes())
        );
        assert_eq!(
            store
                .read(|snapshot| by_hash(snapshot, &TokenHash::of("rca_guess")))
                .unwrap(),
            None
        );
    }

    #[test]
    fn revoking_is_once_and_within_the_tenant() {
        let fixture = fixture();
        let (store, ours) = (&fixture.store, fixture.tenant);
        let id = fixture.token().id;
        let other = tenant(store, "other");
        assert!(!store.write(at(1), move |tx| revoke(tx, other, id)).unwrap());
        assert!(store.write(at(1), move |tx| revoke(tx, ours, id)).unwrap());
        assert!(!store.write(at(2), move |tx| revoke(tx, ours, id)).unwrap());
        assert_eq!(
            store.read(|snapshot| list(snapshot, ours)).unwrap()[0].revoked,
            Some(at(1))
        );
        assert_eq!(store.read(|snapshot| list(snapshot, other)).unwrap(), []);
    }
}
