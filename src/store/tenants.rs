//! Tenants.

use jiff::Timestamp;
use rusqlite::{OptionalExtension, Row};

use super::column::Millis;
use super::tally::live;
use super::{Snapshot, TenantId, Tx, roles, sessions};
use crate::error::{Doing, Result};
use crate::scim::resource::fold;

/// An organisation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tenant {
    /// Its number.
    pub id: TenantId,
    /// As the operator wrote it.
    pub name: String,
    /// When it was made.
    pub created: Timestamp,
    /// Since when SCIM is answered 503.
    pub paused: Option<Timestamp>,
    /// Its setting of this name: here, because each SCIM request needs it.
    pub keep_bodies: bool,
}

const COLUMNS: &str = "id, name, created, paused, keep_bodies";

fn from_row(row: &Row<'_>) -> rusqlite::Result<Tenant> {
    Ok(Tenant {
        id: row.get(0)?,
        name: row.get(1)?,
        created: row.get::<_, Millis>(2)?.0,
        paused: row.get::<_, Option<Millis>>(3)?.map(|at| at.0),
        keep_bodies: row.get(4)?,
    })
}

/// Makes one, with the five default roles; `None` where the name is taken (compared folded).
pub fn create(tx: &Tx<'_>, name: &str) -> Result<Option<Tenant>> {
    if by_name(tx, name)?.is_some() {
        return Ok(None);
    }
    let tenant = tx
        .conn
        .prepare_cached(&format!(
            "INSERT INTO tenant (name, name_key, created) VALUES (?, ?, ?) RETURNING {COLUMNS}"
        ))
        .and_then(|mut statement| statement.query_row((name, fold(name), Millis(tx.now)), from_row))
        .doing("creating a tenant")?;
    roles::seed(tx, tenant.id)?;
    Ok(Some(tenant))
}

/// Whether nobody else has data in this database, or ever had: what was deleted may still be legible in free pages.
pub fn is_alone(snapshot: &Snapshot<'_>, tenant: &Tenant) -> Result<bool> {
    snapshot
        .conn
        .prepare_cached(
            // The highest number that was ever given; a database in which there was nobody is anybody's.
            "SELECT coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'tenant'), 0)
                  = (SELECT count(*) FROM tenant WHERE id = ? AND created = ?)",
        )
        .and_then(|mut statement| {
            let parameters = (tenant.id, Millis(tenant.created));
            statement.query_row(parameters, |row| row.get(0))
        })
        .doing("counting tenants")
}

/// By name, compared folded.
pub fn by_name(snapshot: &Snapshot<'_>, name: &str) -> Result<Option<Tenant>> {
    snapshot
        .conn
        .prepare_cached(&format!("SELECT {COLUMNS} FROM tenant WHERE name_key = ?"))
        .and_then(|mut statement| statement.query_row([fold(name)], from_row).optional())
        .doing("reading a tenant")
}

/// By id.
pub fn by_id(snapshot: &Snapshot<'_>, id: TenantId) -> Result<Option<Tenant>> {
    snapshot
        .conn
        .prepare_cached(&format!("SELECT {COLUMNS} FROM tenant WHERE id = ?"))
        .and_then(|mut statement| statement.query_row([id], from_row).optional())
        .doing("reading a tenant")
}

/// All, by name.
pub fn list(snapshot: &Snapshot<'_>) -> Result<Vec<Tenant>> {
    snapshot
        .conn
        .prepare_cached(&format!("SELECT {COLUMNS} FROM tenant ORDER BY name_key"))
        .and_then(|mut statement| statement.query_map([], from_row)?.collect())
        .doing("listing tenants")
}

/// Gives it another name; false where that is taken by another tenant.
pub fn rename(tx: &Tx<'_>, id: TenantId, name: &str) -> Result<bool> {
    if by_name(tx, name)?.is_some_and(|other| other.id != id) {
        return Ok(false);
    }
    tx.conn
        .prepare_cached("UPDATE tenant SET name = ?, name_key = ? WHERE id = ?")
        .and_then(|mut statement| statement.execute((name, fold(name), id)))
        .doing("renaming a tenant")?;
    Ok(true)
}

/// Pauses or resumes. A tenant that is paused already keeps the time since when.
pub fn set_paused(tx: &Tx<'_>, id: TenantId, paused: bool) -> Result<()> {
    tx.conn
        .prepare_cached("UPDATE tenant SET paused = iif(?, coalesce(paused, ?), NULL) WHERE id = ?")
        .and_then(|mut statement| statement.execute((paused, Millis(tx.now), id)))
        .doing("pausing a tenant")?;
    Ok(())
}

/// Deletes the tenant with all that it owns.
pub fn delete(tx: &Tx<'_>, id: TenantId) -> Result<()> {
    tx.known.forget();
    tx.conn
        .prepare_cached("DELETE FROM tenant WHERE id = ?")
        .and_then(|mut statement| statement.execute([id]))
        .doing("deleting a tenant")?;
    Ok(())
}

/// How much a tenant owns.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Owned {
    /// Live users.
    pub people: i64,
    /// Live teams.
    pub teams: i64,
    /// Users in the archive.
    pub archived_people: i64,
    /// Teams in the archive.
    pub archived_teams: i64,
    /// Resources of teams, live and archived.
    pub team_resources: i64,
    /// Tokens that work.
    pub tokens: i64,
    /// Local accounts.
    pub accounts: i64,
    /// Sessions that have not ended.
    pub sessions: i64,
}

/// Counts what a tenant owns at `now`.
pub fn owned(snapshot: &Snapshot<'_>, id: TenantId, now: Timestamp) -> Result<Owned> {
    snapshot
        .conn
        .prepare_cached(
            &format!("SELECT {}, {},
                    (SELECT count(*) FROM resource WHERE tenant = ?1 AND kind = 'User' AND deleted_at > 0),
                    (SELECT count(*) FROM resource WHERE tenant = ?1 AND kind = 'Group' AND deleted_at > 0),
                    (SELECT count(*) FROM resource AS team JOIN team_resource ON team_resource.team = team.row
                     WHERE team.tenant = ?1 AND team.kind = 'Group'),
                    (SELECT count(*) FROM token
                     WHERE tenant = ?1 AND revoked IS NULL AND (expires IS NULL OR expires > ?2)),
                    (SELECT count(*) FROM account WHERE tenant = ?1),
                    (SELECT count(*) FROM session WHERE tenant = ?1 AND last_seen >= ?3 AND created >= ?4)",
                live("?1", "'User'"), live("?1", "'Group'")),
        )
        .and_then(|mut statement| {
            let (idle, born) = (Millis(now - sessions::IDLE), Millis(now - sessions::LIFETIME));
            statement.query_row((id, Millis(now), idle, born), |row| {
                Ok(Owned {
                    people: row.get(0)?,
                    teams: row.get(1)?,
                    archived_people: row.get(2)?,
                    archived_teams: row.get(3)?,
                    team_resources: row.get(4)?,
                    tokens: row.get(5)?,
                    accounts: row.get(6)?,
                    sessions: row.get(7)?,
                })
            })
        })
        .doing("counting what a tenant owns")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::scim::schema::Kind;
    use crate::store::events::{self, Event};
    use crate::store::fixture::{at, exchange, fixture, tenant};
    use crate::store::{exchanges, teams};

    #[test]
    fn names_are_unique_whatever_their_case() {
        let fixture = fixture();
        let store = &fixture.store;
        assert_eq!(store.write(at(0), |tx| create(tx, "ACME")).unwrap(), None);
        let globex = tenant(store, "Globex");
        assert!(
            !store
                .write(at(0), move |tx| rename(tx, globex, "Acme"))
                .unwrap()
        );
        assert!(
            store
                .write(at(0), move |tx| rename(tx, globex, "GLOBEX"))
                .unwrap()
        );
        let names: Vec<_> = store
            .read(list)
            .unwrap()
            .into_iter()
            .map(|tenant| tenant.name)
            .collect();
        assert_eq!(names, ["acme", "GLOBEX"]);
        let found = store
            .read(|snapshot| by_name(snapshot, "gloBex"))
            .unwrap()
            .unwrap();
        assert_eq!((found.id, found.created), (globex, at(0)));
    }

    #[test]
    fn pausing_again_keeps_the_time() {
        let fixture = fixture();
        let (store, id) = (&fixture.store, fixture.tenant);
        let paused = || {
            store
                .read(|snapshot| by_id(snapshot, id))
                .unwrap()
                .unwrap()
                .paused
        };
        store
            .write(at(1), move |tx| set_paused(tx, id, true))
            .unwrap();
        store
            .write(at(2), move |tx| set_paused(tx, id, true))
            .unwrap();
        assert_eq!(paused(), Some(at(1)));
        store
            .write(at(3), move |tx| set_paused(tx, id, false))
            .unwrap();
        assert_eq!(paused(), None);
    }

    #[test]
    fn deleting_takes_all_that_the_tenant_owns_and_nothing_else() {
        let fixture = fixture();
        let (store, id) = (&fixture.store, fixture.tenant);
        let token = fixture.token().id;
        let user = fixture.insert(
            Kind::User,
            json!({"userName": "ada", "emails": [{"value": "a@b"}]}),
        );
        let group = fixture.insert(Kind::Group, json!({"displayName": "team"}));
        store
            .write(at(0), move |tx| {
                teams::add(tx, id, &group, &[user.id])?.unwrap();
                exchanges::insert(tx, &exchange(id, token))?;
                let event = Event {
                    actor: "operator",
                    kind: "user.created",
                    subject: "x",
                    object: None,
                    before: None,
                    after: None,
                };
                events::append(tx, id, &event)
            })
            .unwrap();
        let other = tenant(store, "other");
        store.write(at(0), move |tx| delete(tx, id)).unwrap();
        let left = store.read(|snapshot| {
            let mut tables = snapshot
                .conn
                .prepare("SELECT name FROM sqlite_schema WHERE type = 'table'")
                .unwrap();
            let names = tables.query_map([], |row| row.get::<_, String>(0)).unwrap();
            let count = |name: &String| -> i64 {
                snapshot
                    .conn
                    .query_row(&format!("SELECT count(*) FROM {name}"), [], |row| {
                        row.get(0)
                    })
                    .unwrap()
            };
            let names = names
                .map(|name| name.unwrap())
                .filter(|name| !name.starts_with("sqlite_"));
            Ok(names
                .map(|name| (count(&name), name))
                .filter(|(count, _)| *count > 0)
                .collect::<Vec<_>>())
        });
        let of_the_other = [
            (1, "tenant"),
            (1, "epoch"), // of the file
            (5, "role"),
            (5, "role_value"),
            (1, "cursor_key"), // of the file
        ];
        assert_eq!(
            left.unwrap(),
            of_the_other.map(|(count, name)| (count, name.to_owned()))
        );
        assert!(
            store
                .read(|snapshot| by_id(snapshot, other))
                .unwrap()
                .is_some()
        );
        // A number is never used again.
        assert_ne!(tenant(store, "third"), id);
    }
}
