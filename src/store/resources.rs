//! Users and Groups: rows of `resource` and their indexed values.
//!
//! A document is taken as valid: `scim` has seen to that before. Of a Group's members nothing is known here, they are
//! rows in [`teams`](super::teams).

use std::collections::BTreeSet;

use jiff::Timestamp;
use rusqlite::types::FromSqlError;
use rusqlite::{OptionalExtension, Row, ffi, params};
use serde_json::Value;

use super::column::{Millis, json_text};
use super::place::Start;
use super::{Snapshot, TenantId, Tx, attributes, faults, known, search, tally};
use crate::access::roles::RoleId;
use crate::error::{Doing, Error, Result};
use crate::id;
use crate::scim::filter::Filter;
use crate::scim::path::AttrPath;
use crate::scim::resource::{Document, FromText, Outline, fold};
use crate::scim::schema::{Kind, ResourceType};

/// A live resource as stored.
#[derive(Clone, Debug, PartialEq)]
pub struct Stored<D = Document> {
    /// Row number, for joins.
    pub row: i64,
    /// Of which resource type.
    pub kind: Kind,
    /// The SCIM id.
    pub id: String,
    /// What the client said of it.
    pub document: D,
    /// meta.created.
    pub created: Timestamp,
    /// meta.lastModified.
    pub last_modified: Timestamp,
    /// 1 at first, one more with each change.
    pub version: i64,
    /// The document's JSON, as it lies in the file; of one that is text itself, nothing.
    pub(super) text: String,
}

impl Stored<String> {
    /// The same with an outline of its document, for who shows it.
    pub fn outline(&self) -> Result<Stored<Outline<'_>>> {
        let document = serde_json::from_str(&self.document).doing("reading a document")?;
        Ok(Stored {
            row: self.row,
            kind: self.kind,
            id: self.id.clone(),
            document,
            created: self.created,
            last_modified: self.last_modified,
            version: self.version,
            text: String::new(),
        })
    }
}

/// A document that is to be inserted.
#[derive(Debug)]
pub struct New {
    /// It.
    pub document: Document,
    /// Its JSON, which is made before the transaction where it can be.
    pub text: String,
}

impl New {
    /// This one, with its text.
    pub fn of(document: Document) -> Result<New> {
        let text = json_text(&document)?;
        Ok(New { document, text })
    }
}

/// What to look for.
#[derive(Clone, Debug)]
pub struct Query<'a> {
    /// One, or both for a search at the root.
    pub kinds: &'a [Kind],
    /// It has been checked.
    pub filter: Option<&'a Filter>,
    /// Resources without it come last, in descending order first.
    pub sort_by: Option<&'a AttrPath>,
    /// Of sorted resources only.
    pub descending: bool,
    /// Where the page begins.
    pub start: Start,
    /// How many to give at most.
    pub limit: u64,
}

/// One page of a search.
#[derive(Clone, Debug)]
pub struct Page<D = Document> {
    /// How many there are on all pages.
    pub total: u64,
    /// Those on this page.
    pub resources: Vec<Stored<D>>,
    /// Where the next page begins, if there is one.
    pub next: Option<Start>,
    /// Where the page before ends, if there is one; only where this one begins or ends at a place.
    pub previous: Option<Start>,
}

impl Query<'_> {
    /// The same search for another page.
    pub(super) fn at(&self, start: &Start, limit: u64) -> Self {
        Query {
            start: start.clone(),
            limit,
            ..self.clone()
        }
    }
}

/// The columns as a literal, for the words of a statement that are not to be put together each time.
macro_rules! columns {
    () => {
        "row, kind, id, document, created, last_modified, version"
    };
}

pub(super) const COLUMNS: &str = columns!();

pub(super) fn from_row<D: FromText>(row: &Row<'_>) -> rusqlite::Result<Stored<D>> {
    let text = row.get_ref(3)?.as_str()?;
    Ok(Stored {
        row: row.get(0)?,
        kind: row.get(1)?,
        id: row.get(2)?,
        document: D::from_text(text).map_err(|error| FromSqlError::Other(error.into()))?,
        created: row.get::<_, Millis>(4)?.0,
        last_modified: row.get::<_, Millis>(5)?.0,
        version: row.get(6)?,
        text: D::beside(text),
    })
}

/// The columns that repeat what a document says.
#[derive(PartialEq)]
struct Columns<'a> {
    name_key: String,
    display: &'a str,
    external_id: Option<&'a str>,
    active: Option<bool>,
    role_name: Option<&'a str>,
}

impl<'a> Columns<'a> {
    fn of(kind: Kind, document: &'a Document) -> Result<Columns<'a>> {
        let text = |name| document.get(name).and_then(Value::as_str);
        let name = text(kind.name_attribute())
            .ok_or("the document has no name")
            .doing("storing a resource")?;
        Ok(Columns {
            name_key: fold(name),
            display: text("displayName")
                .filter(|text| !text.is_empty())
                .unwrap_or(name),
            external_id: external_id(document),
            active: document.get("active").and_then(Value::as_bool),
            role_name: text("roleName"),
        })
    }
}

/// Some clients send an empty externalId where they have none, which mustn't be unique.
pub fn external_id(document: &Document) -> Option<&str> {
    document
        .get("externalId")
        .and_then(Value::as_str)
        .filter(|id| !id.is_empty())
}

/// Inserts, version 1, `created` = `last_modified` = `tx.now`, under a fresh id and without a role.
pub fn insert(tx: &Tx<'_>, tenant: TenantId, kind: Kind, document: Document) -> Result<Stored> {
    insert_as(
        tx,
        tenant,
        kind,
        id::fresh(tx.now)?,
        None,
        New::of(document)?,
    )
}

/// As [`insert`], under an id that nothing else has, in whatever tenant, and with a User's role.
pub fn insert_as(
    tx: &Tx<'_>,
    tenant: TenantId,
    kind: Kind,
    id: String,
    role: Option<RoleId>,
    new: New,
) -> Result<Stored> {
    let stored = Stored {
        row: 0,
        kind,
        id,
        document: new.document,
        created: tx.now,
        last_modified: tx.now,
        version: 1,
        text: new.text,
    };
    insert_stored(tx, tenant, stored, role, None)
}

/// Inserts one as it is, live or archived, whose row number isn't known yet.
pub(super) fn insert_stored(
    tx: &Tx<'_>,
    tenant: TenantId,
    stored: Stored,
    role: Option<RoleId>,
    deleted_at: Option<Millis>,
) -> Result<Stored> {
    let columns = Columns::of(stored.kind, &stored.document)?;
    let row = tx
        .conn
        .prepare_cached(
            "INSERT INTO resource (tenant, kind, id, name_key, display, external_id, active, role_name, role,
                                   created, last_modified, version, deleted_at, document)
             VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        )
        .and_then(|mut statement| {
            statement.insert(params![
                tenant,
                stored.kind,
                stored.id,
                columns.name_key,
                columns.display,
                columns.external_id,
                columns.active,
                columns.role_name,
                role,
                Millis(stored.created),
                Millis(stored.last_modified),
                stored.version,
                deleted_at,
                stored.text,
            ])
        })
        .doing("inserting a resource")?;
    if deleted_at.is_some() {
        known::clear(&tx.known.archives);
    } else {
        tally::came(tx, tenant, stored.kind, row)?;
    }
    let schemas = attributes::schemas(tx, tenant)?;
    let values = values(schemas.of(stored.kind), &stored.document);
    insert_values(tx, tenant, row, values.iter())?;
    Ok(Stored { row, ..stored })
}

/// A live one by id.
pub fn get(
    snapshot: &Snapshot<'_>,
    tenant: TenantId,
    kind: Kind,
    id: &str,
) -> Result<Option<Stored>> {
    by_id(snapshot, tenant, kind, id)
}

/// The same with its document as it is wanted: to be shown, an [outline](Stored::outline) of its text will do.
pub fn by_id<D: FromText>(
    snapshot: &Snapshot<'_>,
    tenant: TenantId,
    kind: Kind,
    id: &str,
) -> Result<Option<Stored<D>>> {
    snapshot
        .conn
        .prepare_cached(concat!(
            "SELECT ",
            columns!(),
            " FROM resource WHERE tenant = ? AND kind = ? AND id = ? AND deleted_at IS NULL"
        ))
        .and_then(|mut statement| statement.query_row((tenant, kind, id), from_row).optional())
        .doing("reading a resource")
}

/// A live one by userName or displayName, compared folded.
pub fn by_name(
    snapshot: &Snapshot<'_>,
    tenant: TenantId,
    kind: Kind,
    name: &str,
) -> Result<Option<Stored>> {
    snapshot
        .conn
        .prepare_cached(&format!(
            "SELECT {COLUMNS} FROM resource WHERE tenant = ? AND kind = ? AND name_key = ? AND deleted_at IS NULL"
        ))
        .and_then(|mut statement| statement.query_row((tenant, kind, fold(name)), from_row).optional())
        .doing("reading a resource by name")
}

/// A live one by `externalId`, compared exactly.
pub fn by_external_id(
    snapshot: &Snapshot<'_>,
    tenant: TenantId,
    kind: Kind,
    external_id: &str,
) -> Result<Option<Stored>> {
    snapshot
        .conn
        .prepare_cached(&format!(
            "SELECT {COLUMNS} FROM resource WHERE tenant = ? AND kind = ? AND external_id = ? AND deleted_at IS NULL"
        ))
        .and_then(|mut statement| statement.query_row((tenant, kind, external_id), from_row).optional())
        .doing("reading a resource by its externalId")
}

/// A live one by row number.
pub fn by_row(snapshot: &Snapshot<'_>, tenant: TenantId, row: i64) -> Result<Option<Stored>> {
    at_row(snapshot, tenant, row)
}

pub(super) fn at_row<D: FromText>(
    snapshot: &Snapshot<'_>,
    tenant: TenantId,
    row: i64,
) -> Result<Option<Stored<D>>> {
    snapshot
        .conn
        .prepare_cached(&format!(
            "SELECT {COLUMNS} FROM resource WHERE tenant = ? AND row = ? AND deleted_at IS NULL"
        ))
        .and_then(|mut statement| statement.query_row((tenant, row), from_row).optional())
        .doing("reading a resource by its row")
}

/// Writes `document`, version + 1, `last_modified` = `tx.now`, or as it was where the clock has jumped back meanwhile.
pub fn update(
    tx: &Tx<'_>,
    tenant: TenantId,
    stored: &Stored,
    document: Document,
) -> Result<Stored> {
    rewrite(tx, tenant, stored, document, "deleted_at IS NULL")
}

/// As [`update`], of a resource that fulfils `condition`: an archived one gets the document with which it comes back.
pub(super) fn rewrite(
    tx: &Tx<'_>,
    tenant: TenantId,
    stored: &Stored,
    document: Document,
    condition: &'static str,
) -> Result<Stored> {
    let text = json_text(&document)?;
    let columns = Columns::of(stored.kind, &document)?;
    let last_modified = tx.now.max(stored.last_modified);
    let updated = if columns == Columns::of(stored.kind, &stored.document)? {
        // SQLite would write each index anew of which a column is set, even to what it was.
        tx.conn
            .prepare_cached(&format!(
                "UPDATE resource SET last_modified = ?, version = version + 1, document = ?
                 WHERE tenant = ? AND row = ? AND {condition}"
            ))
            .and_then(|mut statement| {
                statement.execute((Millis(last_modified), &text, tenant, stored.row))
            })
    } else {
        tx.conn
            .prepare_cached(&format!(
                "UPDATE resource SET last_modified = ?, version = version + 1, document = ?,
                                     name_key = ?, display = ?, external_id = ?, active = ?, role_name = ?
                 WHERE tenant = ? AND row = ? AND {condition}"
            ))
            .and_then(|mut statement| {
                let values = params![
                    Millis(last_modified),
                    text,
                    columns.name_key,
                    columns.display,
                    columns.external_id,
                    columns.active,
                    columns.role_name,
                    tenant,
                    stored.row,
                ];
                statement.execute(values)
            })
    }
    .doing("updating a resource")?;
    if updated != 1 {
        return Err("it is not there").doing("updating a resource");
    }
    let version = version(tx, tenant, stored.row)?;
    let schemas = attributes::schemas(tx, tenant)?;
    let resource_type = schemas.of(stored.kind);
    let had = values(resource_type, &stored.document);
    let has = values(resource_type, &document);
    remove_values(tx, tenant, stored.row, had.difference(&has))?;
    insert_values(tx, tenant, stored.row, has.difference(&had))?;
    Ok(Stored {
        document,
        text,
        version,
        last_modified,
        id: stored.id.clone(),
        ..*stored
    })
}

/// The version that an update has made: not by its RETURNING, for which SQLite makes a table each time.
pub(super) fn version(tx: &Tx<'_>, tenant: TenantId, row: i64) -> Result<i64> {
    tx.conn
        .prepare_cached("SELECT version FROM resource WHERE tenant = ? AND row = ?")
        .and_then(|mut statement| statement.query_row((tenant, row), |row| row.get(0)))
        .doing("reading a resource's version")
}

/// Marks as deleted: gone from every other function here, its names free.
pub fn delete(tx: &Tx<'_>, tenant: TenantId, stored: &Stored) -> Result<()> {
    known::clear(&tx.known.archives);
    tx.conn
        .prepare_cached("UPDATE resource SET deleted_at = ? WHERE tenant = ? AND row = ? AND deleted_at IS NULL")
        .and_then(|mut statement| statement.execute((Millis(tx.now), tenant, stored.row)))
        .doing("deleting a resource")?;
    Ok(())
}

/// Whether an insertion was refused by a unique index, so that nothing is written of it.
pub fn is_taken(error: &Error) -> bool {
    faults::of_sqlite(error)
        .and_then(rusqlite::Error::sqlite_error)
        .is_some_and(|error| error.extended_code == ffi::SQLITE_CONSTRAINT_UNIQUE)
}

/// The attribute (`userName`, `displayName` or `externalId`) of `document` whose value another live resource of the
/// kind has. What `before`, a live one, has already nobody else has.
pub fn taken(
    snapshot: &Snapshot<'_>,
    tenant: TenantId,
    kind: Kind,
    document: &Document,
    before: Option<&Document>,
) -> Result<Option<&'static str>> {
    let other_has = |column: &str, value: &str| {
        snapshot
            .conn
            .prepare_cached(&format!(
                "SELECT 1 FROM resource
                 WHERE tenant = ? AND kind = ? AND {column} = ? AND deleted_at IS NULL"
            ))
            .and_then(|mut statement| statement.exists((tenant, kind, value)))
            .doing("looking for a name")
    };
    let name = Columns::of(kind, document)?.name_key;
    let had = before.map(|it| Columns::of(kind, it)).transpose()?;
    if had.is_none_or(|had| had.name_key != name) && other_has("name_key", &name)? {
        return Ok(Some(kind.name_attribute()));
    }
    match external_id(document).filter(|id| before.and_then(external_id) != Some(id)) {
        Some(external_id) if other_has("external_id", external_id)? => Ok(Some("externalId")),
        _ => Ok(None),
    }
}

/// `resource_value.attribute` of e-mail addresses.
pub(super) const EMAILS_VALUE: &str = "emails.value";

/// `resource_value.attribute` of a User's displayName, which people search by.
pub(super) const DISPLAY_NAME: &str = "displayName";

/// What is found through `resource_value`: attribute and value.
fn values(resource_type: &ResourceType, document: &Document) -> BTreeSet<(String, String)> {
    // Only a tenant's own declaration gives a Group any, and that can be withdrawn.
    let emails = emails(document)
        .filter(|_| resource_type.kind == Kind::User)
        .map(|value| (EMAILS_VALUE.to_owned(), fold(value)));
    // A Group's displayName is its name, and in a column.
    let display = document
        .get("displayName")
        .and_then(Value::as_str)
        .filter(|name| resource_type.kind == Kind::User && !name.is_empty())
        .map(|name| (DISPLAY_NAME.to_owned(), fold(name)));
    let own = attributes::values(document, resource_type);
    emails.chain(display).chain(own).collect()
}

fn emails(document: &Document) -> impl Iterator<Item = &str> {
    let emails = document.get("emails").and_then(Value::as_array);
    emails
        .into_iter()
        .flatten()
        .filter_map(|email| email.get("value")?.as_str())
}

/// Of the names and addresses that people search by, folded, the first in order that begins with `prefix`.
pub(super) fn first_name(stored: &Stored, prefix: &str) -> Option<String> {
    let text = |name| stored.document.get(name).and_then(Value::as_str);
    let others = match stored.kind {
        Kind::Group => None,
        Kind::User => Some(
            text("displayName")
                .into_iter()
                .chain(emails(&stored.document)),
        ),
    };
    text(stored.kind.name_attribute())
        .into_iter()
        .chain(others.into_iter().flatten())
        .map(fold)
        .filter(|name| name.starts_with(prefix))
        .min()
}

fn insert_values<'a>(
    tx: &Tx<'_>,
    tenant: TenantId,
    row: i64,
    values: impl Iterator<Item = &'a (String, String)>,
) -> Result<()> {
    for (attribute, value) in values {
        tx.conn
            .prepare_cached(
                "INSERT INTO resource_value (tenant, attribute, value, resource) VALUES (?, ?, ?, ?)",
            )
            .and_then(|mut statement| statement.execute((tenant, attribute, value, row)))
            .doing("inserting a resource's value")?;
    }
    Ok(())
}

fn remove_values<'a>(
    tx: &Tx<'_>,
    tenant: TenantId,
    row: i64,
    values: impl Iterator<Item = &'a (String, String)>,
) -> Result<()> {
    for (attribute, value) in values {
        let removed = tx
            .conn
            .prepare_cached(
                "DELETE FROM resource_value
                 WHERE tenant = ? AND attribute = ? AND value = ? AND resource = ?",
            )
            .and_then(|mut statement| statement.execute((tenant, attribute, value, row)))
            .doing("removing a resource's value")?;
        // By what it says now: whoever changes how values are told has to make the table anew.
        debug_assert_eq!(removed, 1, "{attribute} {value:?}");
    }
    Ok(())
}

/// Takes one that is to be purged out of the index of values.
pub(super) fn leave_index(tx: &Tx<'_>, tenant: TenantId, stored: &Stored) -> Result<()> {
    let schemas = attributes::schemas(tx, tenant)?;
    let values = values(schemas.of(stored.kind), &stored.document);
    remove_values(tx, tenant, stored.row, values.iter())
}

/// One page, in a stable order: by age, or by `sort_by` and then by age.
pub fn search<D: FromText>(
    snapshot: &Snapshot<'_>,
    tenant: TenantId,
    query: &Query<'_>,
) -> Result<Page<D>> {
    search::run(snapshot, tenant, query)
}

/// Up to `limit` resources of a kind as the product sees them, by row number from `after` on: who is inactive isn't
/// there, nor a member of anything that `filter` asks for.
pub fn walk(
    snapshot: &Snapshot<'_>,
    tenant: TenantId,
    kind: Kind,
    filter: Option<&Filter>,
    (after, limit): (i64, u64),
) -> Result<Vec<Stored>> {
    search::walk(snapshot, tenant, kind, filter, (after, limit))
}

#[cfg(test)]
mod tests;
