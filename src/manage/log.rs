//! The provisioning log as administrators use it: how long it is kept, and whom a line is about.

use jiff::Timestamp;

use super::archive::{name, noun};
use crate::error::Result;
use crate::scim::schema::Kind;
use crate::store::resources::{self, Stored};
use crate::store::{Snapshot, Store, TenantId, archive, exchanges, tenants};

/// Lines that are removed in one transaction at most: nobody waits long for it.
const FORGOTTEN_AT_ONCE: usize = 1000;

/// A user or team that lines of the log are about.
#[derive(Clone, Debug, PartialEq)]
pub struct Subject {
    /// It, as it is or as it was when it was deleted.
    pub stored: Stored,
    /// Whether it waits in the archive.
    pub archived: bool,
}

impl Subject {
    /// `user ana@contoso.example`, `team SRE (in the archive)`.
    pub fn words(&self) -> String {
        let place = if self.archived {
            " (in the archive)"
        } else {
            ""
        };
        let noun = noun(self.stored.kind);
        format!("{noun} {}{place}", name(&self.stored))
    }
}

/// Removes the lines of all tenants that are older than each one's `log_days`; answers how many.
pub fn forget_everywhere(store: &Store, now: Timestamp) -> Result<usize> {
    let mut forgotten = 0;
    for tenant in store.read(tenants::list)? {
        loop {
            let batch = store.write(now, move |tx| {
                exchanges::forget(tx, tenant.id, FORGOTTEN_AT_ONCE)
            })?;
            forgotten += batch;
            if batch < FORGOTTEN_AT_ONCE {
                break;
            }
        }
    }
    Ok(forgotten)
}

/// The user or team with this id; else the one of this name, a user before a team and a live one before an archived one.
pub fn subject(snapshot: &Snapshot<'_>, tenant: TenantId, wanted: &str) -> Result<Option<Subject>> {
    for kind in [Kind::User, Kind::Group] {
        let found = match resources::get(snapshot, tenant, kind, wanted)? {
            None => resources::by_name(snapshot, tenant, kind, wanted)?,
            found => found,
        };
        if let Some(stored) = found {
            return Ok(Some(Subject {
                stored,
                archived: false,
            }));
        }
    }
    for kind in [Kind::User, Kind::Group] {
        let found = match archive::get(snapshot, tenant, kind, wanted)? {
            None => archive::by_name(snapshot, tenant, kind, wanted)?,
            found => found,
        };
        if let Some(archived) = found {
            return Ok(Some(Subject {
                stored: archived.stored,
                archived: true,
            }));
        }
    }
    Ok(None)
}
