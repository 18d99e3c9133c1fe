//! A tenant's live settings: columns of its row.

use rusqlite::types::{FromSql, FromSqlError, FromSqlResult, ToSql, ToSqlOutput, ValueRef};

use super::{Snapshot, TenantId, Tx, known};
use crate::access::brake::Limits;
use crate::error::{Doing, Result};
use crate::settings::{ReturningTeam, Settings, UnmappedRole};

/// Reads them.
pub fn read(snapshot: &Snapshot<'_>, tenant: TenantId) -> Result<Settings> {
    known::of(&snapshot.known.settings, tenant, || row(snapshot, tenant))
}

fn row(snapshot: &Snapshot<'_>, tenant: TenantId) -> Result<Settings> {
    snapshot
        .conn
        .prepare_cached(
            "SELECT unmapped_role, returning_team, retention_days, removal_count, removal_percent, log_days,
                    keep_bodies, password_sign_in
             FROM tenant WHERE id = ?",
        )
        .and_then(|mut statement| {
            statement.query_row([tenant], |row| {
                Ok(Settings {
                    unmapped_role: row.get(0)?,
                    returning_team: row.get(1)?,
                    retention_days: row.get(2)?,
                    removals: Limits {
                        count: row.get::<_, u32>(3)?.into(),
                        percent: row.get::<_, u32>(4)?.into(),
                    },
                    log_days: row.get(5)?,
                    keep_bodies: row.get(6)?,
                    password_sign_in: row.get(7)?,
                })
            })
        })
        .doing("reading a tenant's settings")
}

/// Writes them.
pub fn write(tx: &Tx<'_>, tenant: TenantId, settings: &Settings) -> Result<()> {
    let bounded = |limit: u64| {
        i64::try_from(limit)
            .unwrap_or(i64::MAX)
            .min(u32::MAX.into())
    };
    tx.known.forget();
    tx.conn
        .prepare_cached(
            "UPDATE tenant SET unmapped_role = ?, returning_team = ?, retention_days = ?, removal_count = ?,
                               removal_percent = ?, log_days = ?, keep_bodies = ?, password_sign_in = ?
             WHERE id = ?",
        )
        .and_then(|mut statement| {
            statement.execute((
                settings.unmapped_role,
                settings.returning_team,
                settings.retention_days,
                bounded(settings.removals.count),
                bounded(settings.removals.percent),
                settings.log_days,
                settings.keep_bodies,
                settings.password_sign_in,
                tenant,
            ))
        })
        .doing("writing a tenant's settings")?;
    Ok(())
}

const UNMAPPED: [(UnmappedRole, &str); 2] = [
    (UnmappedRole::Accept, "accept"),
    (UnmappedRole::Reject, "reject"),
];
const RETURNING: [(ReturningTeam, &str); 2] = [
    (ReturningTeam::Revive, "revive"),
    (ReturningTeam::Fresh, "fresh"),
];

fn named<T: Copy>(names: &[(T, &str)], value: ValueRef<'_>) -> FromSqlResult<T> {
    let text = value.as_str()?;
    names
        .iter()
        .find(|(_, name)| *name == text)
        .map(|(value, _)| *value)
        .ok_or(FromSqlError::InvalidType)
}

fn name<T: PartialEq>(names: &[(T, &'static str)], value: &T) -> ToSqlOutput<'static> {
    names
        .iter()
        .find(|(known, _)| known == value)
        .map_or("", |(_, name)| *name)
        .into()
}

impl FromSql for UnmappedRole {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<UnmappedRole> {
        named(&UNMAPPED, value)
    }
}

impl ToSql for UnmappedRole {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(name(&UNMAPPED, self))
    }
}

impl FromSql for ReturningTeam {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<ReturningTeam> {
        named(&RETURNING, value)
    }
}

impl ToSql for ReturningTeam {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(name(&RETURNING, self))
    }
}
