//! SQL functions written in Rust, for what no column says.
//!
//! - `scim_matches(filter, attributes, kind, id, created, last_modified, version, document, links)`: whether the resource fulfils
//!   the filter, by [`Filter::matches`]. `links` is the JSON array of its members or groups, NULL where the filter
//!   doesn't look at them.
//! - `scim_sort_key(path, attributes, kind, document)`: what a resource is sorted by (RFC 7644 §3.4.2.3), NULL where it has none.
//! - `scim_fold(text)`: the text as names are compared.
//!
//! `attributes` are the tenant's declarations. These and the first arguments of the first two are bound parameters, which SQLite knows to be constant, so each is parsed once for a
//! statement and not for each row.

use std::sync::Arc;

use rusqlite::Connection;
use rusqlite::functions::{Context, FunctionFlags};
use rusqlite::types::Value as Sql;
use serde_json::Value;

use super::attributes;
use super::column::{Json, Millis};
use crate::scim::ScimError;
use crate::scim::date_time;
use crate::scim::declare::Schemas;
use crate::scim::filter::Filter;
use crate::scim::path::AttrPath;
use crate::scim::resource::{Document, Meta, assemble, fold};
use crate::scim::schema::{Attribute, Kind, ResourceType, Type};
use crate::scim::stored::withhold;

/// As many characters of a text decide its place in an order; who have the same ones follow each other by age.
const SORTED_CHARS: usize = 1000;

/// Gives `conn` the functions.
pub fn register(conn: &Connection) -> rusqlite::Result<()> {
    // DIRECTONLY: only statements of ours call them, never a schema's trigger or view.
    let flags = FunctionFlags::SQLITE_UTF8
        | FunctionFlags::SQLITE_DETERMINISTIC
        | FunctionFlags::SQLITE_DIRECTONLY;
    conn.create_scalar_function("scim_matches", 9, flags, |context| matches(context))?;
    conn.create_scalar_function("scim_sort_key", 4, flags, |context| sort_key(context))?;
    conn.create_scalar_function("scim_fold", 1, flags, |context| {
        Ok(fold(context.get_raw(0).as_str()?))
    })
}

fn matches(context: &Context<'_>) -> rusqlite::Result<bool> {
    let filter = context.get_or_create_aux(0, |text| -> Result<Filter, Error> {
        Ok(Filter::parse(text.as_str()?)?)
    })?;
    let schemas = schemas(context)?;
    let kind: Kind = context.get(2)?;
    let id: String = context.get(3)?;
    let meta = Meta {
        kind,
        id: &id,
        created: context.get::<Millis>(4)?.0,
        last_modified: context.get::<Millis>(5)?.0,
        version: context.get(6)?,
        // Where the server can be reached isn't known here: meta.location and $ref have only their ends.
        base: "",
    };
    let document: Json<Document> = context.get(7)?;
    let links: Option<Json<Vec<Value>>> = context.get(8)?;
    let resource_type = schemas.of(kind);
    let links = links.map(|links| links.0);
    let resource = assemble(document.0, &meta, links, resource_type);
    Ok(filter.matches(&resource, resource_type))
}

/// The tenant's schemas, made of its declarations.
fn schemas(context: &Context<'_>) -> rusqlite::Result<Arc<Schemas>> {
    let kept = context.get_or_create_aux(1, |source| -> Result<Arc<Schemas>, Error> {
        Ok(attributes::made_of(source.as_str()?)?)
    })?;
    Ok(Arc::clone(&kept))
}

/// What parsing an argument may come to.
type Error = Box<dyn std::error::Error + Send + Sync>;

fn sort_key(context: &Context<'_>) -> rusqlite::Result<Sql> {
    let path = context.get_or_create_aux(0, |text| {
        AttrPath::parse(text.as_str().unwrap_or_default()).map_err(boxed)
    })?;
    let schemas = schemas(context)?;
    let resource_type = schemas.of(context.get(2)?);
    let mut document = context.get::<Json<Document>>(3)?.0;
    withhold(&mut document, resource_type);
    Ok(sorted_by(&path, resource_type, &document))
}

fn boxed(error: ScimError) -> Error {
    error.into()
}

/// Of a multi-valued attribute the primary value counts, else the first; of a complex one its `value`.
fn sorted_by(path: &AttrPath, resource_type: &ResourceType, document: &Document) -> Sql {
    let found = || {
        let named = resource_type.resolve(path)?;
        let holder = match named.extension {
            None => document,
            Some(schema) => document.get(&schema.id)?.as_object()?,
        };
        let mut value = holder.get(&named.attribute.name)?;
        if let Value::Array(values) = value {
            let primary = values
                .iter()
                .find(|value| value.get("primary") == Some(&Value::Bool(true)));
            value = primary.or(values.first())?;
        }
        let compared = named.compared()?;
        Some(key(
            compared,
            if value.is_object() {
                value.get(&compared.name)?
            } else {
                value
            },
        ))
    };
    found().unwrap_or(Sql::Null)
}

/// What of a text orders it: a cursor holds this, and has to fit into a URL.
fn beginning(text: &str) -> String {
    text.chars().take(SORTED_CHARS).collect()
}

fn key(attribute: &Attribute, value: &Value) -> Sql {
    match (attribute.data_type, value) {
        (Type::DateTime, Value::String(text)) => {
            date_time::instant(text).map_or(Sql::Null, |at| Sql::Integer(at.as_microsecond()))
        }
        (_, Value::String(text)) if attribute.case_exact => Sql::Text(beginning(text)),
        (_, Value::String(text)) => Sql::Text(beginning(&fold(text))),
        (_, Value::Bool(value)) => Sql::Integer((*value).into()),
        (data_type, Value::Number(number)) => match (number.as_i64(), number.as_f64()) {
            // Decimals of both kinds would be compared exactly by SQLite and as doubles by a place.
            (Some(integer), _) if data_type != Type::Decimal => Sql::Integer(integer),
            (_, Some(real)) => Sql::Real(real),
            (_, None) => Sql::Null,
        },
        _ => Sql::Null,
    }
}
