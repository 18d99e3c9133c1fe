//! What many requests have in common, read once and known until something is committed.
//!
//! Each connection knows for itself, and asks SQLite at the beginning of each transaction whether anybody else has committed
//! since its last one: another thread, or a command in another process. Then it forgets; but what it knows of tenants and
//! tokens only where one of these has changed, which a number in the file tells.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::fmt::Debug;
use std::hash::Hash;
use std::sync::Arc;

use jiff::Timestamp;
use rusqlite::Connection;

use super::TenantId;
use super::sequence::Sequence;
use super::tokens::{Bearer, TokenHash};
use crate::access::roles::Rules;
use crate::error::{Doing, Result};
use crate::scim::declare::Schemas;
use crate::scim::schema::Kind;
use crate::settings::Settings;

/// Most of a kind that a connection knows: where there are more, it begins anew.
const MOST: usize = 1000;

/// Where those of one kind are kept.
pub(super) type Shelf<K, T> = RefCell<HashMap<K, T>>;

/// What one connection knows.
#[derive(Debug, Default)]
pub(super) struct Known {
    /// SQLite's number that is another one after each commit of anybody else.
    version: Cell<i64>,
    /// The number that rises with each change of a tenant or a token.
    epoch: Cell<Option<i64>>,
    // Of tenants and tokens.
    pub(super) bearers: Shelf<TokenHash, Option<Arc<Bearer>>>,
    pub(super) schemas: Shelf<TenantId, Arc<Schemas>>,
    pub(super) settings: Shelf<TenantId, Settings>,
    pub(super) unusual_since: Shelf<TenantId, Option<Timestamp>>,
    // Of all else.
    /// Whether anything is archived: where nothing is, nobody comes back from there.
    pub(super) archives: Shelf<(TenantId, Kind), bool>,
    /// The last number of each sequence that was given.
    pub(super) last: Shelf<Sequence, i64>,
    pub(super) rules: Shelf<TenantId, Arc<Rules>>,
    /// From which block on the tally counts when it is asked.
    pub(super) tails: Shelf<(TenantId, Kind), i64>,
    /// The last use of each token that was noted: in which second since 1970, and whether it was answered.
    pub(super) used: Shelf<i64, (i64, bool)>,
}

impl Known {
    /// Whatever may have changed it says so.
    pub(super) fn forget(&self) {
        let Known {
            version: _,
            epoch: _,
            bearers,
            schemas,
            settings,
            unusual_since,
            archives: _,
            last: _,
            rules: _,
            tails: _,
            used: _,
        } = self;
        clear(bearers);
        clear(schemas);
        clear(settings);
        clear(unusual_since);
        self.forget_others();
    }

    /// Forgets all but what is known of tenants and tokens that are there.
    fn forget_others(&self) {
        clear(&self.archives);
        clear(&self.last);
        clear(&self.rules);
        clear(&self.tails);
        clear(&self.used);
        // A new token is no change of one.
        self.bearers
            .borrow_mut()
            .retain(|_, bearer| bearer.is_some());
    }

    /// Forgets what may be another where others have committed since; asked inside a transaction, so that it stays true in it.
    pub(super) fn refresh(&self, conn: &Connection) -> Result<()> {
        let version = conn
            .prepare_cached("PRAGMA data_version")
            .and_then(|mut statement| statement.query_row([], |row| row.get(0)))
            .doing("asking whether others have written")?;
        if self.version.replace(version) == version {
            return Ok(());
        }
        // A file that was made before there was such a number has no table for it.
        let epoch = conn.prepare_cached("SELECT coalesce(max(number), 0) FROM epoch");
        let epoch = epoch.and_then(|mut statement| statement.query_row([], |row| row.get(0)));
        let epoch = epoch.ok();
        if epoch.is_some() && self.epoch.replace(epoch) == epoch {
            self.forget_others();
        } else {
            self.forget();
        }
        Ok(())
    }
}

/// Forgets those of one kind alone.
pub(super) fn clear<K, T>(shelf: &Shelf<K, T>) {
    shelf.borrow_mut().clear();
}

/// What is known under a key; else what `read` gives, which is known from then on.
pub(super) fn of<K: Eq + Hash, T: Clone + Debug + PartialEq>(
    shelf: &Shelf<K, T>,
    key: K,
    read: impl Fn() -> Result<T>,
) -> Result<T> {
    let found = shelf.borrow().get(&key).cloned();
    if let Some(found) = found {
        debug_assert_eq!(found, read()?, "known and not forgotten");
        return Ok(found);
    }
    let found = read()?;
    let mut shelf = shelf.borrow_mut();
    if shelf.len() >= MOST {
        shelf.clear();
    }
    shelf.insert(key, found.clone());
    Ok(found)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::store::fixture::{at, fixture, for_scim};
    use crate::store::tokens::{self, Secret, TokenKind};
    use crate::store::{Store, Tx, tenants};

    #[test]
    fn a_reader_knows_a_token_until_this_or_another_process_changes_what_it_opens() {
        let fixture = fixture();
        let (ours, tenant) = (&fixture.store, fixture.tenant);
        let theirs = Store::open(fixture.dir.path()).unwrap();
        let secret = Secret::generate(TokenKind::Scim).unwrap();
        let hash = TokenHash::of(secret.reveal());
        let look = || {
            let bearer = ours
                .read(|snapshot| tokens::bearer(snapshot, &hash))
                .unwrap();
            bearer.map(|it| (it.token.revoked.is_some(), it.tenant.paused.is_some()))
        };
        assert_eq!((look(), look()), (None, None));
        let create = move |tx: &Tx<'_>| tokens::create(tx, tenant, &secret, &for_scim());
        let id = theirs.write(at(0), create).unwrap().id;
        assert_eq!(
            (look(), look()),
            (Some((false, false)), Some((false, false)))
        );
        let pause = move |tx: &Tx<'_>| tenants::set_paused(tx, tenant, true);
        ours.write(at(0), pause).unwrap();
        assert_eq!(look(), Some((false, true)));
        let revoke = move |tx: &Tx<'_>| tokens::revoke(tx, tenant, id);
        assert!(theirs.write(at(0), revoke).unwrap());
        assert_eq!(look(), Some((true, true)));
        let delete = move |tx: &Tx<'_>| tenants::delete(tx, tenant);
        ours.write(at(0), delete).unwrap();
        assert_eq!(look(), None);
    }

    #[test]
    fn what_is_known_of_a_token_outlasts_commits_that_change_none() {
        let fixture = fixture();
        let (store, tenant) = (&fixture.store, fixture.tenant);
        let secret = Secret::generate(TokenKind::Scim).unwrap();
        let hash = TokenHash::of(secret.reveal());
        let look = || {
            store
                .read(|snapshot| tokens::bearer(snapshot, &hash))
                .unwrap()
        };
        let create = move |tx: &Tx<'_>| tokens::create(tx, tenant, &secret, &for_scim());
        store.write(at(0), create).unwrap();
        let known = look().unwrap();
        fixture.insert(Kind::User, json!({"userName": "ana"}));
        assert!(Arc::ptr_eq(&known, &look().unwrap()));
        let pause = move |tx: &Tx<'_>| tenants::set_paused(tx, tenant, true);
        store.write(at(0), pause).unwrap();
        assert!(!Arc::ptr_eq(&known, &look().unwrap()));
    }
}
