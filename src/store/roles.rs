//! Roles, the rows that give them, and which one each user has.

use std::collections::HashMap;
use std::sync::Arc;

use rusqlite::types::{FromSql, FromSqlResult, Null, ToSql, ToSqlOutput, ValueRef};
use rusqlite::{OptionalExtension, Row};

use super::resources::{self, Stored};
use super::teams;
use super::{Snapshot, TenantId, Tx, known, nesting};
use crate::access::roles::{DEFAULT_ROLES, Facts, Role, RoleId, Rules};
use crate::error::{Doing, Result};
use crate::scim::member::Link;
use crate::scim::resource::{Document, fold};
use crate::scim::schema::Kind;

impl FromSql for RoleId {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<RoleId> {
        value.as_i64().map(RoleId)
    }
}

impl ToSql for RoleId {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(self.0.into())
    }
}

const COLUMNS: &str = "id, name, rank, opens_settings";

fn from_row(row: &Row<'_>) -> rusqlite::Result<Role> {
    Ok(Role {
        id: row.get(0)?,
        name: row.get(1)?,
        rank: row.get(2)?,
        opens_settings: row.get(3)?,
    })
}

/// A row that gives a role to who has a value, or is in a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mapping {
    /// The value of `roleName` or `roles`, or the group's name.
    pub from: String,
    /// The role's name.
    pub role: String,
}

/// Gives a new tenant its five roles: each given by its own name, the lowest one the default.
pub(super) fn seed(tx: &Tx<'_>, tenant: TenantId) -> Result<()> {
    let mut lowest = None;
    for (name, opens_settings) in DEFAULT_ROLES {
        let role = add(tx, tenant, name, opens_settings)?;
        map_value(tx, tenant, name, role.id)?;
        lowest = Some(role.id);
    }
    lowest.map_or(Ok(()), |role| set_default(tx, tenant, role))
}

/// A tenant's roles, highest first.
pub fn list(snapshot: &Snapshot<'_>, tenant: TenantId) -> Result<Vec<Role>> {
    snapshot
        .conn
        .prepare_cached(&format!(
            "SELECT {COLUMNS} FROM role WHERE tenant = ? ORDER BY rank, id"
        ))
        .and_then(|mut statement| statement.query_map([tenant], from_row)?.collect())
        .doing("listing roles")
}

/// A role by its name, exact case.
pub fn by_name(snapshot: &Snapshot<'_>, tenant: TenantId, name: &str) -> Result<Option<Role>> {
    snapshot
        .conn
        .prepare_cached(&format!(
            "SELECT {COLUMNS} FROM role WHERE tenant = ? AND name = ?"
        ))
        .and_then(|mut statement| statement.query_row((tenant, name), from_row).optional())
        .doing("reading a role")
}

/// What a tenant decided about roles.
///
/// # Errors
///
/// Internal where the tenant has no default role, which [`seed`] gave it and nothing takes away.
pub fn rules(snapshot: &Snapshot<'_>, tenant: TenantId) -> Result<Arc<Rules>> {
    known::of(&snapshot.known.rules, tenant, || {
        read_rules(snapshot, tenant).map(Arc::new)
    })
}

fn read_rules(snapshot: &Snapshot<'_>, tenant: TenantId) -> Result<Rules> {
    let pairs = |sql: &str| -> Result<HashMap<String, RoleId>> {
        snapshot
            .conn
            .prepare_cached(sql)
            .and_then(|mut statement| {
                statement
                    .query_map([tenant], |row| Ok((row.get(0)?, row.get(1)?)))?
                    .collect()
            })
            .doing("reading the rows that give roles")
    };
    let default = snapshot
        .conn
        .prepare_cached("SELECT default_role FROM tenant WHERE id = ?")
        .and_then(|mut statement| statement.query_row([tenant], |row| row.get(0)))
        .doing("reading the default role")?;
    Ok(Rules {
        roles: list(snapshot, tenant)?,
        by_value: pairs("SELECT value, role FROM role_value WHERE tenant = ?")?,
        by_group: pairs("SELECT name_key, role FROM role_group WHERE tenant = ?")?,
        default,
    })
}

/// What a user's role is decided by.
pub fn facts(snapshot: &Snapshot<'_>, tenant: TenantId, user: &Stored) -> Result<Facts> {
    Ok(said(
        &user.document,
        teams::all_groups_of(snapshot, tenant, user)?,
    ))
}

/// The same of a user with `document` who is in `groups`.
pub fn said(document: &Document, groups: Vec<Link>) -> Facts {
    let text = |value: &serde_json::Value| value.as_str().map(str::to_owned);
    let roles = document
        .get("roles")
        .and_then(|roles| roles.as_array())
        .into_iter()
        .flatten();
    Facts {
        role_name: document.get("roleName").and_then(text),
        roles: roles
            .filter_map(|role| {
                Some((
                    text(role.get("value")?)?,
                    role.get("primary") == Some(&true.into()),
                ))
            })
            .collect(),
        groups: groups
            .into_iter()
            .map(|group| (fold(&group.display), group.display))
            .map(|(key, name)| (name, key))
            .collect(),
    }
}

/// The role that a user has.
pub fn role_of(snapshot: &Snapshot<'_>, tenant: TenantId, user: &Stored) -> Result<Option<RoleId>> {
    snapshot
        .conn
        .prepare_cached("SELECT role FROM resource WHERE tenant = ? AND row = ?")
        .and_then(|mut statement| statement.query_row((tenant, user.row), |row| row.get(0)))
        .doing("reading a user's role")
}

/// The name of the role that a user has.
pub fn name_of(snapshot: &Snapshot<'_>, tenant: TenantId, user: &Stored) -> Result<Option<String>> {
    snapshot
        .conn
        .prepare_cached(
            "SELECT role.name FROM resource JOIN role ON role.id = resource.role
             WHERE resource.tenant = ? AND resource.row = ?",
        )
        .and_then(|mut statement| {
            statement
                .query_row((tenant, user.row), |row| row.get(0))
                .optional()
        })
        .doing("reading a user's role")
}

/// Gives a user a role.
pub fn give(tx: &Tx<'_>, tenant: TenantId, user: &Stored, role: RoleId) -> Result<()> {
    tx.conn
        .prepare_cached("UPDATE resource SET role = ? WHERE tenant = ? AND row = ?")
        .and_then(|mut statement| statement.execute((role, tenant, user.row)))
        .doing("giving a role")?;
    Ok(())
}

/// Whom a change of what gives roles may concern.
#[derive(Clone, Debug)]
pub enum Scope<'a> {
    /// Who has this `roleName`, or none but `roles`.
    Value(&'a str),
    /// Who is in the live group of this folded name, or in one below it, and has no `roleName`.
    Group(&'a str),
    /// Who has this role.
    Role(RoleId),
    /// Who has no `roleName`.
    NoValue,
}

/// Up to `limit` live users within `scope` after the row number `after`, in the order of their rows.
pub fn users_after(
    snapshot: &Snapshot<'_>,
    tenant: TenantId,
    scope: &Scope<'_>,
    after: i64,
    limit: usize,
) -> Result<Vec<Stored>> {
    let below = nesting::below(
        "SELECT row FROM resource WHERE tenant = ?1 AND kind = 'Group' AND name_key = ?5 AND deleted_at IS NULL",
    );
    let in_group = format!(
        "role_name IS NULL AND row IN (
             WITH RECURSIVE {below}
             SELECT link.member FROM below CROSS JOIN team_member AS link ON link.team = below.team AND NOT link.nested)"
    );
    let (condition, parameter): (_, &dyn ToSql) = match scope {
        Scope::Value(value) => (
            "(role_name = ?5 OR role_name IS NULL AND document -> '$.roles' IS NOT NULL)",
            value,
        ),
        Scope::Group(name_key) => (in_group.as_str(), name_key),
        Scope::Role(role) => ("role = ?5", role),
        Scope::NoValue => ("role_name IS ?5", &Null),
    };
    let rows: Vec<i64> = snapshot
        .conn
        .prepare_cached(&format!(
            "SELECT row FROM resource
             WHERE tenant = ?1 AND kind = ?2 AND deleted_at IS NULL AND row > ?3 AND {condition} ORDER BY row LIMIT ?4"
        ))
        .and_then(|mut statement| {
            let limit = i64::try_from(limit).unwrap_or(i64::MAX);
            statement
                .query_map((tenant, Kind::User, after, limit, parameter), |row| row.get(0))?
                .collect()
        })
        .doing("listing users")?;
    rows.into_iter()
        .filter_map(|row| resources::by_row(snapshot, tenant, row).transpose())
        .collect()
}

/// Adds a role below all others.
pub fn add(tx: &Tx<'_>, tenant: TenantId, name: &str, opens_settings: bool) -> Result<Role> {
    tx.known.forget();
    tx.conn
        .prepare_cached(&format!(
            "INSERT INTO role (tenant, name, rank, opens_settings)
             VALUES (?1, ?2, (SELECT count(*) + 1 FROM role WHERE tenant = ?1), ?3) RETURNING {COLUMNS}"
        ))
        .and_then(|mut statement| statement.query_row((tenant, name, opens_settings), from_row))
        .doing("adding a role")
}

/// Gives a role another name.
pub fn rename(tx: &Tx<'_>, tenant: TenantId, role: RoleId, name: &str) -> Result<()> {
    change(
        tx,
        "UPDATE role SET name = ?3 WHERE tenant = ?1 AND id = ?2",
        (tenant, role, name),
    )
}

/// Says whether a role opens the settings.
pub fn set_opens_settings(tx: &Tx<'_>, tenant: TenantId, role: RoleId, opens: bool) -> Result<()> {
    change(
        tx,
        "UPDATE role SET opens_settings = ?3 WHERE tenant = ?1 AND id = ?2",
        (tenant, role, opens),
    )
}

/// Ranks a tenant's roles as in `order`, which names each of them once.
pub fn reorder(tx: &Tx<'_>, tenant: TenantId, order: &[RoleId]) -> Result<()> {
    for (rank, role) in (1_i64..).zip(order) {
        change(
            tx,
            "UPDATE role SET rank = ?3 WHERE tenant = ?1 AND id = ?2",
            (tenant, *role, rank),
        )?;
    }
    Ok(())
}

/// How many have a role: live users, and deleted ones in the archive.
pub fn holders(snapshot: &Snapshot<'_>, tenant: TenantId, role: RoleId) -> Result<(u64, u64)> {
    let (live, all): (i64, i64) = snapshot
        .conn
        .prepare_cached(
            "SELECT count(*) FILTER (WHERE deleted_at IS NULL), count(*) FROM resource WHERE role = ? AND tenant = ?",
        )
        .and_then(|mut statement| {
            statement.query_row((role, tenant), |row| Ok((row.get(0)?, row.get(1)?)))
        })
        .doing("counting who has a role")?;
    Ok((live.unsigned_abs(), (all - live).unsigned_abs()))
}

/// Removes a role that nobody has and nothing gives.
///
/// # Errors
///
/// Internal where it is in use: the caller has looked.
pub fn remove(tx: &Tx<'_>, tenant: TenantId, role: RoleId) -> Result<()> {
    change(
        tx,
        "DELETE FROM role WHERE tenant = ? AND id = ?",
        (tenant, role),
    )?;
    let order: Vec<RoleId> = list(tx, tenant)?.into_iter().map(|role| role.id).collect();
    reorder(tx, tenant, &order)
}

/// Makes a role the one for who gets none otherwise.
pub fn set_default(tx: &Tx<'_>, tenant: TenantId, role: RoleId) -> Result<()> {
    change(
        tx,
        "UPDATE tenant SET default_role = ?2 WHERE id = ?1",
        (tenant, role),
    )
}

/// Lets a value of `roleName` or `roles` give a role.
pub fn map_value(tx: &Tx<'_>, tenant: TenantId, value: &str, role: RoleId) -> Result<()> {
    let sql = "INSERT INTO role_value (tenant, value, role) VALUES (?, ?, ?)
               ON CONFLICT DO UPDATE SET role = excluded.role";
    change(tx, sql, (tenant, value, role))
}

/// Takes a value's row away.
pub fn unmap_value(tx: &Tx<'_>, tenant: TenantId, value: &str) -> Result<()> {
    change(
        tx,
        "DELETE FROM role_value WHERE tenant = ? AND value = ?",
        (tenant, value),
    )
}

/// Lets membership in the group of this name give a role.
pub fn map_group(tx: &Tx<'_>, tenant: TenantId, name: &str, role: RoleId) -> Result<()> {
    let sql = "INSERT INTO role_group (tenant, name_key, name, role) VALUES (?, ?, ?, ?)
               ON CONFLICT DO UPDATE SET name = excluded.name, role = excluded.role";
    change(tx, sql, (tenant, fold(name), name, role))
}

/// Takes a group's row away.
pub fn unmap_group(tx: &Tx<'_>, tenant: TenantId, name: &str) -> Result<()> {
    change(
        tx,
        "DELETE FROM role_group WHERE tenant = ? AND name_key = ?",
        (tenant, fold(name)),
    )
}

fn change(tx: &Tx<'_>, sql: &str, parameters: impl rusqlite::Params) -> Result<()> {
    tx.known.forget();
    tx.conn
        .prepare_cached(sql)
        .and_then(|mut statement| statement.execute(parameters))
        .doing("changing what roles are given by")?;
    Ok(())
}

/// The rows that give roles by value, and those that give them by group.
pub fn mappings(snapshot: &Snapshot<'_>, tenant: TenantId) -> Result<(Vec<Mapping>, Vec<Mapping>)> {
    let read = |table: &str, from: &str| -> Result<Vec<Mapping>> {
        snapshot
            .conn
            .prepare_cached(&format!(
                "SELECT given.{from}, role.name FROM {table} AS given JOIN role ON role.id = given.role
                 WHERE given.tenant = ? ORDER BY role.rank, given.{from}"
            ))
            .and_then(|mut statement| {
                statement.query_map([tenant], |row| Ok(Mapping { from: row.get(0)?, role: row.get(1)? }))?.collect()
            })
            .doing("listing the rows that give roles")
    };
    Ok((read("role_value", "value")?, read("role_group", "name")?))
}

/// The values of `roleName` that live users have and no row maps, each with how many have it; most first.
pub fn unmapped(snapshot: &Snapshot<'_>, tenant: TenantId) -> Result<Vec<(String, u64)>> {
    snapshot
        .conn
        .prepare_cached(
            "SELECT role_name, count(*) AS users FROM resource
             WHERE tenant = ?1 AND role_name IS NOT NULL AND deleted_at IS NULL
             GROUP BY role_name
             HAVING NOT EXISTS (SELECT 1 FROM role_value WHERE tenant = ?1 AND value = role_name)
             ORDER BY users DESC, role_name",
        )
        .and_then(|mut statement| {
            let from_row = |row: &Row<'_>| Ok((row.get(0)?, row.get::<_, i64>(1)?.unsigned_abs()));
            statement.query_map([tenant], from_row)?.collect()
        })
        .doing("listing unmapped values")
}
