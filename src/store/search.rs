//! Searches: which resources, in which order, which page of them.
//!
//! A search first finds the row numbers of its page and then reads those resources, so that what is skipped costs no
//! document.

use rusqlite::params_from_iter;

use super::filter::{self, Params, Translation};
use super::resources::{self, Page, Query, Stored, by_row};
use super::{Snapshot, TenantId};
use crate::error::{Doing, Result};
use crate::scim::filter::Filter;
use crate::scim::path::AttrPath;
use crate::scim::schema::Kind;

/// See [`resources::search`](super::resources::search).
pub fn run(snapshot: &Snapshot<'_>, tenant: TenantId, query: &Query<'_>) -> Result<Page> {
    let (total, rows) = match query.filter {
        None => {
            let mut total = 0;
            for kind in query.kinds {
                total += resources::count(snapshot, tenant, *kind)?;
            }
            (total, one_page(snapshot, tenant, query)?)
        }
        Some(_) => count_and_page(snapshot, tenant, query)?,
    };
    let resources = rows
        .into_iter()
        .filter_map(|row| by_row(snapshot, tenant, row).transpose())
        .collect::<Result<_>>()?;
    Ok(Page { total, resources })
}

/// See [`resources::walk`](super::resources::walk).
pub fn walk(
    snapshot: &Snapshot<'_>,
    tenant: TenantId,
    kind: Kind,
    filter: Option<&Filter>,
    (after, limit): (i64, u64),
) -> Result<Vec<Stored>> {
    let query = Query {
        kinds: &[kind],
        filter,
        sort_by: None,
        descending: false,
        offset: 0,
        limit,
    };
    let mut statement = Statement::of(Params::of_product(tenant, after), &query);
    statement.readable(&query)?;
    let limit = statement.params.bind(saturated(limit));
    statement.sql += &format!(" LIMIT {limit}");
    let rows = |prepared: &mut rusqlite::CachedStatement<'_>| -> rusqlite::Result<Vec<i64>> {
        prepared
            .query_map(params_from_iter(statement.params.values()), |row| {
                row.get(0)
            })?
            .collect()
    };
    let rows = snapshot
        .conn
        .prepare_cached(&statement.sql)
        .and_then(|mut prepared| rows(&mut prepared))
        .doing("walking resources")?;
    rows.into_iter()
        .filter_map(|row| by_row(snapshot, tenant, row).transpose())
        .collect()
}

/// The row numbers of a page of all resources. Walks past those before it, in an index.
fn one_page(snapshot: &Snapshot<'_>, tenant: TenantId, query: &Query<'_>) -> Result<Vec<i64>> {
    let mut statement = Statement::of(Params::new(tenant), query);
    let (limit, offset) = (saturated(query.limit), saturated(query.offset));
    let (limit, offset) = (statement.params.bind(limit), statement.params.bind(offset));
    statement.sql += &format!(" LIMIT {limit} OFFSET {offset}");
    snapshot
        .conn
        .prepare_cached(&statement.sql)
        .and_then(|mut prepared| {
            prepared
                .query_map(params_from_iter(statement.params.values()), |row| {
                    row.get(0)
                })?
                .collect()
        })
        .doing("listing resources")
}

fn saturated(number: u64) -> i64 {
    number.try_into().unwrap_or(i64::MAX)
}

/// How many fulfil the filter, and the row numbers of a page of them: all are looked at once, for both.
fn count_and_page(
    snapshot: &Snapshot<'_>,
    tenant: TenantId,
    query: &Query<'_>,
) -> Result<(u64, Vec<i64>)> {
    let statement = Statement::of(Params::new(tenant), query);
    statement.readable(query)?;
    let page = query.offset..query.offset.saturating_add(query.limit);
    let search = || -> rusqlite::Result<_> {
        let mut prepared = snapshot.conn.prepare_cached(&statement.sql)?;
        let mut found = prepared.query(params_from_iter(statement.params.values()))?;
        let (mut total, mut rows) = (0, Vec::new());
        while let Some(row) = found.next()? {
            if page.contains(&total) {
                rows.push(row.get(0)?);
            }
            total += 1;
        }
        Ok((total, rows))
    };
    search().doing("searching resources")
}

/// A SELECT of row numbers.
struct Statement {
    sql: String,
    params: Params,
}

impl Statement {
    fn of(mut params: Params, query: &Query<'_>) -> Statement {
        let conditions: Vec<_> = query
            .kinds
            .iter()
            .map(|&kind| {
                let mut translation = Translation {
                    kind,
                    params: &mut params,
                };
                let condition = query
                    .filter
                    .map_or("TRUE".to_owned(), |filter| translation.condition(filter));
                format!("(r.kind = '{}' AND {condition})", kind.as_str())
            })
            .collect();
        let which = format!(
            "r.tenant = ?1 AND r.deleted_at IS NULL{} AND ({})",
            params.seen("r"),
            conditions.join(" OR ")
        );
        let order = order(query, &mut params);
        let sql = match candidates(query, &mut params) {
            // Left to itself, SQLite may think the tenant's resources fewer than the candidates, and walk them.
            Some(candidates) => format!(
                "SELECT r.row FROM resource AS r NOT INDEXED WHERE r.row IN ({candidates}) AND {which} ORDER BY {order}"
            ),
            None => format!("SELECT r.row FROM resource AS r WHERE {which} ORDER BY {order}"),
        };
        Statement { sql, params }
    }

    /// Refuses a filter that `scim_matches` couldn't read: printed, it may be a little longer than what the client
    /// wrote, and a client that comes that close to the limit should hear of it in words.
    fn readable(&self, query: &Query<'_>) -> Result<()> {
        if self.sql.contains("scim_matches") {
            Filter::parse(&query.filter.map(ToString::to_string).unwrap_or_default())?;
        }
        Ok(())
    }
}

/// A SELECT, through indexes, of rows among which are all that the search wants; `None` where indexes can't tell.
fn candidates(query: &Query<'_>, params: &mut Params) -> Option<String> {
    let filter = query.filter?;
    let of_kind = |&kind: &Kind| Some((kind, filter::lookups(filter, kind)?));
    let lookups: Vec<_> = query.kinds.iter().map(of_kind).collect::<Option<_>>()?;
    let mut selects = Vec::new();
    for (kind, lookups) in lookups {
        selects.extend(lookups.iter().map(|lookup| lookup.rows(kind, params)));
    }
    // None at all is an empty list, which SQLite allows.
    Some(selects.join(" UNION ALL "))
}

/// The columns of ORDER BY. Resources without the attribute come last, in descending order first (RFC 7644 §3.4.2.3).
/// Row numbers make the order a stable one.
fn order(query: &Query<'_>, params: &mut Params) -> String {
    let Some(path) = query.sort_by else {
        return String::from(if query.kinds.len() > 1 {
            "r.kind = 'Group', r.row"
        } else {
            "r.row"
        });
    };
    let mut keys = query.kinds.iter().map(|&kind| {
        let by_document = || {
            format!(
                "scim_sort_key({}, r.kind, r.document)",
                params.bind(path.to_string())
            )
        };
        (
            kind,
            sort_column(path, kind).map_or_else(by_document, str::to_owned),
        )
    });
    let key = match (keys.next(), query.kinds.len()) {
        (Some((_, key)), 1) => key,
        (first, _) => {
            let cases = first.into_iter().chain(keys);
            let cases = cases.map(|(kind, key)| format!("WHEN '{}' THEN {key} ", kind.as_str()));
            format!("CASE r.kind {}END", cases.collect::<String>())
        }
    };
    let missing = match key.as_str() {
        // They never are, and without such words SQLite can go by the index.
        "r.name_key" | "r.id" | "r.created" | "r.last_modified" => "",
        _ if query.descending => " NULLS FIRST",
        _ => " NULLS LAST",
    };
    let direction = if query.descending { "DESC" } else { "ASC" };
    format!("{key} {direction}{missing}, r.row {direction}")
}

/// The column that orders resources of `kind` by `path`; `None` where only the document can.
fn sort_column(path: &AttrPath, kind: Kind) -> Option<&'static str> {
    let named = kind.resource_type().resolve(path)?;
    match filter::place(&named)? {
        (name, None) if name == kind.name_attribute() => Some("r.name_key"),
        ("id", None) | ("meta", Some("location")) => Some("r.id"),
        ("externalId", None) => Some("r.external_id"),
        ("meta", Some("created")) => Some("r.created"),
        ("meta", Some("lastModified")) => Some("r.last_modified"),
        ("meta", Some("version")) => Some("r.version"),
        ("meta", Some("resourceType")) => Some("r.kind"),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
