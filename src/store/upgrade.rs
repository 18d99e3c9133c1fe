//! From any released schema to the newest.
//!
//! `schema.sql` is always the newest schema, whole. A file says by `user_version` which one it has, and by
//! `application_id` that it is ours.

use rusqlite::{Connection, TransactionBehavior};

use super::cursor_key;
use crate::error::{Doing, Result};

/// "roll" in ASCII.
const APPLICATION_ID: i32 = 0x726f_6c6c;

const SCHEMA: &str = include_str!("../../schema.sql");

/// `STEPS[n]` takes a file from version n + 1 to n + 2. Never change or remove one that was released: add another,
/// and change `schema.sql` to what all of them together give. `REGENERATE=1 cargo test --test it schema` then writes a
/// database of the new version for the tests.
const STEPS: &[&str] = &[];

/// The version of `schema.sql`.
const VERSION: i32 = 1 + STEPS.len() as i32;

/// Brings the file to the newest schema, all of it or nothing. `keep` is called before a schema that was released becomes
/// a newer one, with that one's version, to keep the file as it is; nobody else writes meanwhile.
///
/// # Errors
///
/// Where the file is a newer rollcall's, or another program's, or could not be kept.
pub fn upgrade(conn: &mut Connection, keep: impl FnOnce(i32) -> Result<()>) -> Result<()> {
    by(conn, STEPS, keep)
}

fn by(conn: &mut Connection, steps: &[&str], keep: impl FnOnce(i32) -> Result<()>) -> Result<()> {
    let newest = 1 + steps.len() as i32;
    // Almost always there is nothing to do; then no lock is taken that a running server would notice.
    if version_up_to(conn, newest)? == Some(newest) {
        return Ok(());
    }
    let tx = conn
        .transaction_with_behavior(TransactionBehavior::Exclusive)
        .doing("locking the database")?;
    // Another process may have been faster, so ask again.
    match version_up_to(&tx, newest)? {
        None => {
            tx.execute_batch(SCHEMA).doing("creating the schema")?;
            cursor_key::make(&tx)?;
        }
        Some(version) if version == newest => {}
        Some(version) => {
            keep(newest)?;
            for step in steps.iter().skip(version as usize - 1) {
                tx.execute_batch(step).doing("upgrading the schema")?;
            }
        }
    }
    tx.pragma_update(None, "application_id", APPLICATION_ID)
        .doing("setting application_id")?;
    tx.pragma_update(None, "user_version", newest)
        .doing("setting user_version")?;
    tx.commit().doing("committing the schema")
}

/// The version of the schema in the file, from 1 to [`VERSION`]; `None` for an empty file.
pub fn version(conn: &Connection) -> Result<Option<i32>> {
    version_up_to(conn, VERSION)
}

fn version_up_to(conn: &Connection, newest: i32) -> Result<Option<i32>> {
    let number = |name| conn.pragma_query_value(None, name, |row| row.get::<_, i32>(0));
    let application_id = number("application_id").doing("reading application_id")?;
    let version = number("user_version").doing("reading user_version")?;
    let empty: bool = conn
        .query_row(
            "SELECT NOT EXISTS (SELECT 1 FROM sqlite_schema)",
            [],
            |row| row.get(0),
        )
        .doing("reading the schema")?;
    match (application_id, version) {
        (0, 0) if empty => Ok(None),
        (APPLICATION_ID, version) if (1..=newest).contains(&version) => Ok(Some(version)),
        (APPLICATION_ID, newer) if newer > newest => Err(format!(
            "the database has schema version {newer}, and this rollcall knows versions up to {newest}: \
             it was used by a newer rollcall, so run that one or restore a backup"
        )),
        _ => Err("the file is not a rollcall database".to_owned()),
    }
    .doing("opening the database")
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::store::{backup, connection, restore};

    fn nothing_to_keep(_: i32) -> Result<()> {
        panic!("no released schema became a newer one")
    }

    fn upgraded() -> Connection {
        let mut conn = Connection::open_in_memory().unwrap();
        upgrade(&mut conn, nothing_to_keep).unwrap();
        conn
    }

    /// A database of version 1 with a tenant.
    fn first(path: &std::path::Path) -> Connection {
        let mut conn = connection::open(path).unwrap();
        by(&mut conn, &[], nothing_to_keep).unwrap();
        conn.execute_batch("INSERT INTO tenant (name, name_key, created) VALUES ('a', 'a', 0)")
            .unwrap();
        conn
    }

    fn tenants(conn: &Connection) -> i64 {
        conn.query_row("SELECT count(*) FROM tenant", [], |row| row.get(0))
            .unwrap()
    }

    const LATER: &[&str] = &[
        "ALTER TABLE tenant ADD COLUMN motto TEXT",
        "UPDATE tenant SET motto = 'well'",
    ];

    #[test]
    fn a_released_schema_is_copied_before_it_becomes_a_newer_one() {
        let dir = tempfile::tempdir().unwrap();
        let path = connection::create(dir.path()).unwrap();
        let mut conn = first(&path);
        by(&mut conn, LATER, |newest| {
            backup::before_upgrade(&path, newest)
        })
        .unwrap();
        assert_eq!(version_up_to(&conn, 3).unwrap(), Some(3));
        let motto: String = conn
            .query_row("SELECT motto FROM tenant", [], |row| row.get(0))
            .unwrap();
        assert_eq!(motto, "well");
        let kept = dir.path().join("rollcall.db.before-version-3");
        let old = Connection::open(&kept).unwrap();
        assert_eq!(version_up_to(&old, 3).unwrap(), Some(1));
        assert_eq!(tenants(&old), 1);
        assert!(old.prepare("SELECT motto FROM tenant").is_err());
        by(&mut conn, LATER, nothing_to_keep).unwrap();
        // Who goes back to the executable of before restores it.
        let back = tempfile::tempdir().unwrap();
        restore::restore(back.path(), &kept, Timestamp::UNIX_EPOCH).unwrap();
        assert_eq!(
            tenants(&Connection::open(connection::file(back.path())).unwrap()),
            1
        );
    }

    #[test]
    fn an_upgrade_that_fails_or_whose_copy_fails_changes_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let path = connection::create(dir.path()).unwrap();
        let mut conn = first(&path);
        let wrong = &[LATER[0], "UPDATE nobody SET motto = 'ill'"];
        by(&mut conn, wrong, |_| Ok(())).unwrap_err();
        by(&mut conn, LATER, |_| Err("no room").doing("keeping it")).unwrap_err();
        assert_eq!(version_up_to(&conn, 1).unwrap(), Some(1));
        assert!(conn.prepare("SELECT motto FROM tenant").is_err());
        assert_eq!(tenants(&conn), 1);
    }

    #[test]
    fn an_empty_file_gets_the_schema_once() {
        let mut conn = upgraded();
        assert_eq!(version(&conn).unwrap(), Some(VERSION));
        conn.execute_batch("INSERT INTO tenant (name, name_key, created) VALUES ('a', 'a', 0)")
            .unwrap();
        upgrade(&mut conn, nothing_to_keep).unwrap();
        assert_eq!(tenants(&conn), 1);
    }

    #[test]
    fn refuses_the_file_of_a_newer_rollcall() {
        let mut conn = upgraded();
        conn.pragma_update(None, "user_version", VERSION + 1)
            .unwrap();
        let error = upgrade(&mut conn, nothing_to_keep).unwrap_err().to_string();
        assert!(error.contains("newer rollcall"), "{error}");
    }

    #[test]
    fn refuses_the_file_of_another_program() {
        let mut conn = Connection::open_in_memory().unwrap();
        conn.execute_batch("CREATE TABLE bookmark (url TEXT)")
            .unwrap();
        let error = upgrade(&mut conn, nothing_to_keep).unwrap_err().to_string();
        assert!(error.contains("not a rollcall database"), "{error}");
    }

    #[test]
    fn every_foreign_key_has_an_index_that_finds_its_rows() {
        let conn = upgraded();
        let keys: Vec<(String, String)> = conn
            .prepare(
                "SELECT sqlite_schema.name, key.\"from\" FROM sqlite_schema, pragma_foreign_key_list(sqlite_schema.name) AS key",
            )
            .unwrap()
            .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))
            .unwrap()
            .collect::<rusqlite::Result<_>>()
            .unwrap();
        assert!(keys.len() > 30, "{keys:?}");
        // Those of roles in these are few rows, and a tenant is rarely deleted.
        let walked = [
            "tenant.default_role",
            "role_value.role",
            "role_group.role",
            "team_resource.tenant",
        ];
        for (table, column) in keys {
            if walked.contains(&format!("{table}.{column}").as_str()) {
                continue;
            }
            let plan: String = conn
                .query_row(
                    &format!("EXPLAIN QUERY PLAN DELETE FROM {table} WHERE {column} = 1"),
                    [],
                    |row| row.get(3),
                )
                .unwrap();
            assert!(plan.starts_with("SEARCH"), "{table}.{column}: {plan}");
        }
    }
}
