//! What tenants declare beyond the schemas of the RFC, and the index of their values.
//!
//! A tenant's declarations are one JSON text in its row. Each connection reads it again once somebody has committed, which
//! must cost no parsing: the schemas made of a text are kept under that very text, so that they are never stale.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use rusqlite::{OptionalExtension, params};

use super::column::Json;
use super::{Snapshot, TenantId, Tx, known};
use crate::error::{Doing, Result};
use crate::scim::declare::{Declaration, NOTHING, Schemas};
use crate::scim::resource::Document;
use crate::scim::schema::ResourceType;
use crate::scim::stored::{indexed, value_of, withhold};

/// Most schemas that are kept made. More tenants with declarations than this make them anew from time to time.
const MAX_KNOWN: usize = 500;

static KNOWN: LazyLock<Mutex<HashMap<String, Arc<Schemas>>>> = LazyLock::new(Mutex::default);

/// The schemas of a tenant.
pub fn schemas(snapshot: &Snapshot<'_>, tenant: TenantId) -> Result<Arc<Schemas>> {
    known::of(&snapshot.known.schemas, tenant, || read(snapshot, tenant))
}

fn read(snapshot: &Snapshot<'_>, tenant: TenantId) -> Result<Arc<Schemas>> {
    let made = snapshot
        .conn
        .prepare_cached("SELECT attributes FROM tenant WHERE id = ?")
        .and_then(|mut statement| {
            statement
                .query_row([tenant], |row| Ok(made_of(row.get_ref(0)?.as_str()?)))
                .optional()
        })
        .doing("reading a tenant's attributes")?;
    made.unwrap_or_else(|| Ok(Schemas::built_in().clone()))
        .doing("reading a tenant's attributes")
}

/// The schemas with the declarations in `source`.
pub(super) fn made_of(source: &str) -> serde_json::Result<Arc<Schemas>> {
    if source == NOTHING {
        return Ok(Schemas::built_in().clone());
    }
    let known = || KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(schemas) = known().get(source) {
        return Ok(schemas.clone());
    }
    let schemas = Arc::new(Schemas::parse(source)?);
    let mut known = known();
    if known.len() >= MAX_KNOWN {
        known.clear();
    }
    known.insert(source.to_owned(), schemas.clone());
    Ok(schemas)
}

/// Writes a tenant's declarations, all of them.
pub fn write(tx: &Tx<'_>, tenant: TenantId, declarations: &[Declaration]) -> Result<()> {
    tx.known.forget();
    tx.conn
        .prepare_cached("UPDATE tenant SET attributes = ? WHERE id = ?")
        .and_then(|mut statement| statement.execute((Json(declarations), tenant)))
        .doing("writing a tenant's attributes")?;
    Ok(())
}

/// What the index has of `document`'s values of the tenant's own attributes: the attribute's path and the value.
pub(super) fn values<'a>(
    document: &'a Document,
    resource_type: &'a ResourceType,
) -> impl Iterator<Item = (String, String)> + 'a {
    resource_type
        .declared
        .iter()
        .filter(|declaration| declaration.is_indexed())
        .flat_map(|declaration| {
            let path = declaration.path().to_string();
            indexed(document, declaration)
                .into_iter()
                .map(move |value| (path.clone(), value))
        })
}

/// The path of a unique attribute of which another live resource has the value that `document` has. Values that
/// `before`, what is stored now, has too aren't looked at.
pub fn taken(
    snapshot: &Snapshot<'_>,
    tenant: TenantId,
    document: &Document,
    before: Option<(i64, &Document)>,
    resource_type: &ResourceType,
) -> Result<Option<(String, String)>> {
    let except = before.map(|(row, _)| row);
    for declaration in resource_type.declared.iter().filter(|it| it.is_unique()) {
        let path = declaration.path().to_string();
        let had = before.map_or(vec![], |(_, before)| indexed(before, declaration));
        for value in indexed(document, declaration) {
            let other_has = || {
                snapshot
                    .conn
                    .prepare_cached(
                        "SELECT 1 FROM resource_value AS own JOIN resource ON resource.row = own.resource
                         WHERE own.tenant = ? AND own.attribute = ? AND own.value = ? AND resource.kind = ?
                               AND resource.deleted_at IS NULL AND resource.row IS NOT ?",
                    )
                    .and_then(|mut statement| {
                        statement.exists(params![tenant, path, value, resource_type.kind, except])
                    })
                    .doing("looking for a value")
            };
            if !had.contains(&value) && other_has()? {
                return Ok(Some((path, value)));
            }
        }
    }
    Ok(None)
}

/// Makes what is stored already follow a declaration that is new or changed: the extension and the attribute are spelled
/// as it says, and what it wants in the index is there and nothing else. Walks the documents that may have the attribute;
/// tells how many live resources have a value that is withheld, for it is none of the declared type.
pub fn adopt(tx: &Tx<'_>, tenant: TenantId, declaration: &Declaration) -> Result<u64> {
    leave_index(tx, tenant, declaration)?;
    let schemas = schemas(tx, tenant)?;
    let resource_type = schemas.of(declaration.resource_type);
    let (mut last, mut misfits) = (0, 0);
    loop {
        let batch = candidates(tx, tenant, declaration, last)?;
        let Some((row, ..)) = batch.last() else {
            return Ok(misfits);
        };
        last = *row;
        for (row, is_live, mut document) in batch {
            if respell(&mut document, declaration) {
                tx.conn
                    .prepare_cached("UPDATE resource SET document = ? WHERE tenant = ? AND row = ?")
                    .and_then(|mut statement| statement.execute((Json(&document), tenant, row)))
                    .doing("spelling an attribute")?;
            }
            if declaration.is_indexed() {
                enter_index(tx, tenant, row, &document, declaration)?;
            }
            if is_live && value_of(&withhold(&mut document, resource_type), declaration).is_some() {
                misfits += 1;
            }
        }
    }
}

/// A thousand documents behind the row `after` that may have the attribute, whatever their spelling of its name.
fn candidates(
    tx: &Tx<'_>,
    tenant: TenantId,
    declaration: &Declaration,
    after: i64,
) -> Result<Vec<(i64, bool, Document)>> {
    // No name and no URN has a !.
    let literal = |text: &str| format!("%\"{}\"%", text.replace('_', "!_"));
    let urn = declaration.extension().map_or("%".to_owned(), literal);
    tx.conn
        // LIKE knows no case, as names don't.
        .prepare_cached(
            "SELECT row, deleted_at IS NULL, document FROM resource NOT INDEXED
             WHERE tenant = ?1 AND kind = ?2 AND row > ?3
                   AND document LIKE ?4 ESCAPE '!' AND document LIKE ?5 ESCAPE '!'
             ORDER BY row LIMIT 1000",
        )
        .and_then(|mut statement| {
            let name = literal(&declaration.attribute.name);
            statement
                .query_map(
                    params![tenant, declaration.resource_type, after, urn, name],
                    |row| Ok((row.get(0)?, row.get(1)?, row.get::<_, Json<_>>(2)?.0)),
                )?
                .collect()
        })
        .doing("reading documents")
}

fn enter_index(
    tx: &Tx<'_>,
    tenant: TenantId,
    row: i64,
    document: &Document,
    declaration: &Declaration,
) -> Result<()> {
    let path = declaration.path().to_string();
    for value in indexed(document, declaration) {
        tx.conn
            .prepare_cached(
                "INSERT OR IGNORE INTO resource_value (tenant, attribute, value, resource) VALUES (?, ?, ?, ?)",
            )
            .and_then(|mut statement| statement.execute(params![tenant, path, value, row]))
            .doing("indexing an attribute")?;
    }
    Ok(())
}

/// Gives the extension and the attribute the declaration's spelling; false where they have it.
fn respell(document: &mut Document, declaration: &Declaration) -> bool {
    let inner = match declaration.extension() {
        None => return rename(document, &declaration.attribute.name),
        Some(urn) => urn,
    };
    let renamed = rename(document, inner);
    match document.get_mut(inner) {
        Some(serde_json::Value::Object(object)) => {
            rename(object, &declaration.attribute.name) || renamed
        }
        _ => renamed,
    }
}

fn rename(object: &mut Document, name: &str) -> bool {
    if object.contains_key(name) {
        return false;
    }
    let other = object
        .keys()
        .find(|key| key.eq_ignore_ascii_case(name))
        .cloned();
    match other.and_then(|other| object.remove(&other)) {
        Some(value) => {
            object.insert(name.to_owned(), value);
            true
        }
        None => false,
    }
}

/// Takes an attribute's values out of the index. They are one range of it.
pub fn leave_index(tx: &Tx<'_>, tenant: TenantId, declaration: &Declaration) -> Result<()> {
    tx.conn
        .prepare_cached(
            "DELETE FROM resource_value WHERE tenant = ? AND attribute = ?
             AND (SELECT kind FROM resource WHERE resource.row = resource_value.resource) = ?",
        )
        .and_then(|mut statement| {
            statement.execute(params![
                tenant,
                declaration.path().to_string(),
                declaration.resource_type
            ])
        })
        .doing("taking an attribute out of the index")?;
    Ok(())
}

/// Removes the values of an attribute that isn't declared any more, of up to `limit` resources; tells of how many.
pub fn forget(
    tx: &Tx<'_>,
    tenant: TenantId,
    declaration: &Declaration,
    limit: usize,
) -> Result<usize> {
    // Names and URNs have neither quotes nor backslashes, see `Declaration::checked`.
    let name = format!("\"{}\"", declaration.attribute.name);
    let path = match declaration.extension() {
        None => format!("$.{name}"),
        Some(urn) => format!("$.\"{urn}\".{name}"),
    };
    let forgotten = tx
        .conn
        .prepare_cached(
            "UPDATE resource SET document = json_remove(document, ?1)
             WHERE row IN (SELECT row FROM resource WHERE tenant = ?2 AND kind = ?3
                           AND json_type(document, ?1) IS NOT NULL LIMIT ?4)",
        )
        .and_then(|mut statement| {
            statement.execute(params![
                path,
                tenant,
                declaration.resource_type,
                limit as i64
            ])
        })
        .doing("removing an attribute's values")?;
    if let Some(urn) = declaration.extension() {
        // An extension without attributes isn't there.
        tx.conn
            .prepare_cached(
                "UPDATE resource SET document = json_remove(document, ?1)
                 WHERE tenant = ?2 AND kind = ?3 AND document -> ?1 = '{}'",
            )
            .and_then(|mut statement| {
                statement.execute(params![
                    format!("$.\"{urn}\""),
                    tenant,
                    declaration.resource_type
                ])
            })
            .doing("removing an empty extension")?;
    }
    Ok(forgotten)
}
