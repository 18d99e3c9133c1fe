//! Deleted users and teams: how they come back, and when they are gone for good.

use jiff::{Timestamp, ToSpan};
use serde_json::Value;

use super::roles;
use crate::error::{Doing, Result};
use crate::scim::ScimError;
use crate::scim::resource::{self, Document};
use crate::scim::schema::Kind;
use crate::settings::Settings;
use crate::store::archive::{self, Archived};
use crate::store::events::{self, Event};
use crate::store::resources::{self, Stored};
use crate::store::{
    Snapshot, Store, TenantId, Tx, attributes, nesting, removals, settings, teams, tenants,
};

/// The actor of what nobody asked for.
pub const ROLLCALL: &str = "rollcall";

/// How many are purged in one transaction, so that others don't wait for long.
const PURGED_AT_ONCE: usize = 200;

/// Brings a deleted user or team back as it was, under the same id, into the memberships that still exist.
///
/// Errors: 404 where the archive has no such id, 409 where another has the name or `externalId` by now.
pub fn restore(tx: &Tx<'_>, tenant: TenantId, actor: &str, kind: Kind, id: &str) -> Result<Stored> {
    let archived = find(tx, tenant, kind, id)?;
    if let Some(reason) = hindrance(tx, tenant, &archived.stored)? {
        return Err(ScimError::uniqueness(reason).into());
    }
    let document = archived.stored.document.clone();
    revive(tx, tenant, actor, &archived, document)
}

/// Why a deleted user or team can't come back as it was: another has its name or `externalId` by now.
pub(super) fn hindrance(
    snapshot: &Snapshot<'_>,
    tenant: TenantId,
    stored: &Stored,
) -> Result<Option<String>> {
    let document = &stored.document;
    let taken = match resources::taken(snapshot, tenant, stored.kind, document, None)? {
        Some(attribute) => {
            let value = document.get(attribute).and_then(Value::as_str);
            Some((attribute.to_owned(), value.unwrap_or_default().to_owned()))
        }
        None => {
            let schemas = attributes::schemas(snapshot, tenant)?;
            attributes::taken(snapshot, tenant, document, None, schemas.of(stored.kind))?
        }
    };
    Ok(taken.map(|(attribute, value)| {
        format!(
            "{attribute} {value:?} belongs to another {} by now: rename or remove that one first",
            noun(stored.kind)
        )
    }))
}

/// Brings a deleted user or team back as `document`, whose name and `externalId` the caller has found to be free.
pub fn revive(
    tx: &Tx<'_>,
    tenant: TenantId,
    actor: &str,
    archived: &Archived,
    document: Document,
) -> Result<Stored> {
    let stored = archive::undelete(tx, tenant, archived, document)?;
    let (user, team) = ("user.restored", "team.restored");
    changed(
        tx,
        tenant,
        actor,
        by_kind(stored.kind, user, team),
        &stored,
        None,
    )?;
    // The rows were there all the time; to everybody else these members join now.
    for group in teams::groups_of(tx, tenant, &stored)? {
        joined(tx, tenant, actor, &group.id, (&stored.id, stored.kind))?;
        teams::touch_group(tx, tenant, &group.id)?;
    }
    match stored.kind {
        // What gives roles may have changed meanwhile.
        Kind::User => roles::settle(tx, tenant, actor, &stored)?,
        Kind::Group => {
            for member in teams::members(tx, tenant, &stored)? {
                joined(tx, tenant, actor, &stored.id, (&member.id, member.kind))?;
            }
            nesting::touch_people_below(tx, tenant, &stored)?;
            roles::settle_team(tx, tenant, actor, &stored, None)?;
        }
    }
    Ok(stored)
}

/// Removes a deleted user or team for good, with memberships and team resources.
///
/// Errors: 404 where the archive has no such id.
pub fn purge(tx: &Tx<'_>, tenant: TenantId, actor: &str, kind: Kind, id: &str) -> Result<()> {
    let archived = find(tx, tenant, kind, id)?;
    purge_one(tx, tenant, actor, &archived)
}

fn purge_one(tx: &Tx<'_>, tenant: TenantId, actor: &str, archived: &Archived) -> Result<()> {
    let stored = &archived.stored;
    archive::purge(tx, tenant, archived)?;
    let event = Event {
        actor,
        kind: by_kind(stored.kind, "user.purged", "team.purged"),
        subject: &stored.id,
        object: None,
        before: None,
        after: None,
    };
    events::append(tx, tenant, &event)?;
    Ok(())
}

/// What was just deleted stays in the archive, unless the tenant keeps nothing.
pub fn keep_or_purge(tx: &Tx<'_>, tenant: TenantId, actor: &str, deleted: &Stored) -> Result<()> {
    if settings::read(tx, tenant)?.retention_days > 0
        || removals::unusual_since(tx, tenant)?.is_some()
    {
        return Ok(());
    }
    purge(tx, tenant, actor, deleted.kind, &deleted.id)
}

/// Whole days until what is archived since then is purged, rounded up.
pub fn days_left(since: Timestamp, retention_days: u32, now: Timestamp) -> i64 {
    const DAY_SECS: i64 = 24 * 60 * 60;
    let seconds = since.as_second() + i64::from(retention_days) * DAY_SECS - now.as_second();
    ((seconds + DAY_SECS - 1) / DAY_SECS).max(0)
}

/// Removes for good up to `limit` of what has been in the archive for the tenant's retention; tells how many.
///
/// None while the tenant is marked for unusual removals.
pub fn purge_due(tx: &Tx<'_>, tenant: TenantId, limit: usize) -> Result<usize> {
    if removals::unusual_since(tx, tenant)?.is_some() {
        return Ok(0);
    }
    let Settings { retention_days, .. } = settings::read(tx, tenant)?;
    let latest = tx
        .now
        .checked_sub((i64::from(retention_days) * 24).hours())
        .doing("reckoning the end of a retention")?;
    let due = archive::due(tx, tenant, latest, limit)?;
    for archived in &due {
        purge_one(tx, tenant, ROLLCALL, archived)?;
    }
    Ok(due.len())
}

/// Removes for good whatever is due at `now` in any tenant, a batch in each transaction; tells how many.
pub fn purge_everywhere(store: &Store, now: Timestamp) -> Result<usize> {
    let mut purged = 0;
    for tenant in store.read(tenants::list)? {
        loop {
            let batch = store.write(now, move |tx| purge_due(tx, tenant.id, PURGED_AT_ONCE))?;
            purged += batch;
            if batch < PURGED_AT_ONCE {
                break;
            }
        }
        let values = move |tx: &Tx<'_>| super::attributes::purge_due(tx, tenant.id, PURGED_AT_ONCE);
        while store.write(now, values)? == PURGED_AT_ONCE {}
    }
    Ok(purged)
}

/// Removes for good what is in a tenant's archive at `now`, a batch in each transaction; tells how many.
///
/// Errors: 409 while the tenant is marked for unusual removals.
pub fn purge_all(store: &Store, tenant: TenantId, actor: &str, now: Timestamp) -> Result<usize> {
    let mut purged = 0;
    loop {
        let actor = actor.to_owned();
        let batch = store.write(now, move |tx| {
            if removals::unusual_since(tx, tenant)?.is_some() {
                return Err(ScimError::uniqueness(
                    "Removals were unusual, so nothing more is purged. Look at Undo first: take them back, or say that they were meant.",
                )
                .into());
            }
            let due = archive::due(tx, tenant, tx.now, PURGED_AT_ONCE)?;
            for archived in &due {
                purge_one(tx, tenant, &actor, archived)?;
            }
            Ok(due.len())
        })?;
        purged += batch;
        if batch < PURGED_AT_ONCE {
            return Ok(purged);
        }
    }
}

fn find(tx: &Tx<'_>, tenant: TenantId, kind: Kind, id: &str) -> Result<Archived> {
    archive::get(tx, tenant, kind, id)?.ok_or_else(|| {
        ScimError::not_found(format!(
            "the archive has no {} with id {id:?}: it was never deleted, is back already, or was purged",
            noun(kind)
        ))
        .into()
    })
}

/// The event of a user or team that changed from `before`.
pub(super) fn changed(
    tx: &Tx<'_>,
    tenant: TenantId,
    actor: &str,
    kind: &'static str,
    stored: &Stored,
    before: Option<&Stored>,
) -> Result<()> {
    let event = Event {
        actor,
        kind,
        subject: &stored.id,
        object: None,
        before,
        after: Some(stored),
    };
    events::append_document(tx, tenant, &event)?;
    Ok(())
}

/// The event of a new member.
pub(super) fn joined(
    tx: &Tx<'_>,
    tenant: TenantId,
    actor: &str,
    team: &str,
    (member, kind): (&str, Kind),
) -> Result<()> {
    let event = Event {
        actor,
        kind: by_kind(kind, "member.added", "subteam.added"),
        subject: team,
        object: Some(member),
        before: None,
        after: None,
    };
    events::append(tx, tenant, &event)?;
    Ok(())
}

pub(super) fn by_kind<T>(kind: Kind, user: T, team: T) -> T {
    match kind {
        Kind::User => user,
        Kind::Group => team,
    }
}

/// What the product calls it.
pub(super) fn noun(kind: Kind) -> &'static str {
    by_kind(kind, "user", "team")
}

/// `ana@contoso.example`, `SRE`.
pub(super) fn name(stored: &Stored) -> &str {
    resource::name_of(&stored.document, stored.kind.resource_type())
}
