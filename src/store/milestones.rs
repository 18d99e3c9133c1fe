//! What came first: the milestones of a tenant's provisioning.

use jiff::Timestamp;
use rusqlite::{OptionalExtension, Params, Row};

use super::column::Millis;
use super::events::BY_KIND;
use super::{Snapshot, TenantId};
use crate::error::{Doing, Result};
use crate::scim::schema::Kind;

/// Something that happened to a user or a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Milestone {
    /// When.
    pub at: Timestamp,
    /// The resource's id.
    pub id: String,
    /// What it is called now; its id where it is purged.
    pub name: String,
}

/// The first user or group that was created.
pub fn created(snapshot: &Snapshot<'_>, tenant: TenantId, kind: Kind) -> Result<Option<Milestone>> {
    // Users come first of all, so the first is found at the beginning of the feed.
    let first = match kind {
        Kind::User => {
            "event INDEXED BY event_tenant WHERE tenant = ?1 AND kind = 'user.created' ORDER BY seq"
                .to_owned()
        }
        Kind::Group => {
            format!(
                "event INDEXED BY event_kind WHERE tenant = ?1 AND kind = 'team.created' AND {BY_KIND} ORDER BY at, seq"
            )
        }
    };
    find(
        snapshot,
        &format!(
            "SELECT at, subject, coalesce((SELECT display FROM resource WHERE id = subject AND tenant = ?1), subject)
             FROM {first} LIMIT 1"
        ),
        [tenant],
    )
}

/// The eldest user who has a role from the provider, and when that was given: by a value of `roleName` that is mapped,
/// or, whatever gave it, another one than the default.
pub fn role(snapshot: &Snapshot<'_>, tenant: TenantId) -> Result<Option<Milestone>> {
    // One look into an index for each role and each mapped value, so that a tenant of default roles costs no scan.
    let row: Option<i64> = snapshot
        .conn
        .prepare_cached(
            "SELECT min(row) FROM (
                 SELECT (SELECT row FROM resource WHERE role = role.id AND tenant = ?1 AND deleted_at IS NULL
                         ORDER BY row LIMIT 1) AS row
                 FROM role JOIN tenant ON tenant.id = role.tenant
                 WHERE role.tenant = ?1 AND role.id IS NOT tenant.default_role
                 UNION ALL
                 SELECT (SELECT row FROM resource WHERE tenant = ?1 AND role_name = value AND deleted_at IS NULL
                         ORDER BY row LIMIT 1)
                 FROM role_value WHERE tenant = ?1)",
        )
        .and_then(|mut statement| statement.query_row([tenant], |row| row.get(0)))
        .doing("looking for a role that was given")?;
    let Some(row) = row else {
        return Ok(None);
    };
    find(
        snapshot,
        "SELECT event.at, resource.id, display
         FROM resource JOIN event ON event.tenant = resource.tenant AND event.subject = resource.id
         WHERE resource.tenant = ?1 AND resource.row = ?2 AND event.kind = 'role.assigned'
         ORDER BY event.seq DESC LIMIT 1",
        (tenant, row),
    )
}

fn find(snapshot: &Snapshot<'_>, sql: &str, params: impl Params) -> Result<Option<Milestone>> {
    let from_row = |row: &Row<'_>| {
        Ok(Milestone {
            at: row.get::<_, Millis>(0)?.0,
            id: row.get(1)?,
            name: row.get(2)?,
        })
    };
    snapshot
        .conn
        .prepare_cached(sql)
        .and_then(|mut statement| statement.query_row(params, from_row).optional())
        .doing("reading what came first")
}
