//! Searches: which resources, in which order, which page of them.
//!
//! A search first finds the row numbers of its page and then reads those resources, so that what is skipped costs no
//! document. A list of everything begins at its page, if SQLite can go there: by row ([`list`]), or by a column that all
//! resources have. Every other search looks at all that it finds, and counts it on the way.

mod list;
mod order;

use rusqlite::params_from_iter;

use self::order::Order;
use super::attributes::schemas;
use super::filter::{self, Lookup, Params, Translation};
use super::place::{Place, Start};
use super::resources::{Page, Query, Stored, at_row, by_row};
use super::{Snapshot, TenantId, tally};
use crate::error::{Doing, Result};
use crate::scim::declare::Schemas;
use crate::scim::filter::Filter;
use crate::scim::resource::FromText;
use crate::scim::schema::Kind;

/// See [`resources::search`](super::resources::search).
pub fn run<D: FromText>(
    snapshot: &Snapshot<'_>,
    tenant: TenantId,
    query: &Query<'_>,
) -> Result<Page<D>> {
    let total = || {
        let count = |kind: &Kind| tally::count(snapshot, tenant, *kind);
        query.kinds.iter().map(count).sum::<Result<u64>>()
    };
    let seekable = query.filter.is_none()
        && Order::of(query, &mut Params::new(tenant, schemas(snapshot, tenant)?)).is_seekable();
    let (total, found) = match query {
        Query {
            filter: None,
            sort_by: None,
            ..
        } => {
            let page =
                |start: &Start, limit| list::page(snapshot, tenant, query.kinds, start, limit);
            (total()?, Found::straight(query, page)?)
        }
        Query { filter: None, .. } if seekable => {
            let total = total()?;
            let page =
                |start: &Start, limit| sorted(snapshot, tenant, total, &query.at(start, limit));
            (total, Found::straight(query, page)?)
        }
        _ => pass(snapshot, tenant, query)?,
    };
    found.page(snapshot, tenant, query, total)
}

/// What was found for a page, in the direction in which it was looked for.
#[derive(Default)]
struct Found {
    places: Vec<Place>,
    /// Whether there is more in that direction.
    more: bool,
    /// Whether there is something on the other side.
    behind: bool,
}

impl Found {
    /// By going straight to the page: `page` gives so many places, or fewer, of one that begins somewhere.
    fn straight(
        query: &Query<'_>,
        page: impl Fn(&Start, u64) -> Result<Vec<Place>>,
    ) -> Result<Found> {
        let mut places = page(&query.start, query.limit.saturating_add(1))?;
        let more = places.len() as u64 > query.limit;
        places.truncate(query.limit.try_into().unwrap_or(usize::MAX));
        let behind = match (&query.start, places.first()) {
            (Start::Before(_), Some(place)) => page(&Start::After(Some(place.clone())), 1)?,
            (Start::After(Some(_)), Some(place)) => page(&Start::Before(place.clone()), 1)?,
            _ => vec![],
        };
        Ok(Found {
            places,
            more,
            behind: !behind.is_empty(),
        })
    }

    fn page<D: FromText>(
        mut self,
        snapshot: &Snapshot<'_>,
        tenant: TenantId,
        query: &Query<'_>,
        total: u64,
    ) -> Result<Page<D>> {
        if query.start.is_backward() {
            self.places.reverse();
            std::mem::swap(&mut self.more, &mut self.behind);
        }
        let read = |place: &Place| at_row(snapshot, tenant, place.row).transpose();
        let resources = self.places.iter().filter_map(read).collect::<Result<_>>()?;
        let last = self.places.last().filter(|_| self.more).cloned();
        let first = self.places.first().filter(|_| self.behind).cloned();
        Ok(Page {
            total,
            resources,
            next: last.map(|place| Start::After(Some(place))),
            previous: first.map(Start::Before),
        })
    }
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
        start: Start::Offset(0),
        limit,
    };
    let statement = Statement::of(
        Params::new(tenant, schemas(snapshot, tenant)?).of_product(after),
        &query,
    );
    statement.readable(&query)?;
    statement
        .page(snapshot, 0, limit)?
        .into_iter()
        .filter_map(|place| by_row(snapshot, tenant, place.row).transpose())
        .collect()
}

/// A page of everything, `total` in number, in the order of a column that all of it has.
fn sorted(
    snapshot: &Snapshot<'_>,
    tenant: TenantId,
    total: u64,
    query: &Query<'_>,
) -> Result<Vec<Place>> {
    let mut offset = match query.start {
        Start::Offset(offset) => offset.min(total),
        _ => 0,
    };
    let limit = query.limit.min(total - offset);
    if offset > total / 2 {
        // It is nearer from the other end.
        offset = total - offset - limit;
        let query = Query {
            descending: !query.descending,
            ..query.clone()
        };
        let mut places = Statement::of(Params::new(tenant, schemas(snapshot, tenant)?), &query)
            .page(snapshot, offset, limit)?;
        places.reverse();
        return Ok(places);
    }
    let mut statement = Statement::of(Params::new(tenant, schemas(snapshot, tenant)?), query);
    if let Some(place) = query.start.place() {
        let behind = statement.order.behind(place, &mut statement.params);
        statement.found += &format!(" AND {behind}");
    }
    statement.page(snapshot, offset, limit)
}

fn saturated(number: u64) -> i64 {
    number.try_into().unwrap_or(i64::MAX)
}

/// How much is found, and the places of a page of it: all is looked at once, for both.
fn pass(snapshot: &Snapshot<'_>, tenant: TenantId, query: &Query<'_>) -> Result<(u64, Found)> {
    let statement = Statement::of(Params::new(tenant, schemas(snapshot, tenant)?), query);
    statement.readable(query)?;
    let search = || -> rusqlite::Result<_> {
        let mut prepared = snapshot.conn.prepare_cached(&statement.sql())?;
        let mut rows = prepared.query(params_from_iter(statement.params.values()))?;
        let (mut total, mut found) = (0, Found::default());
        while let Some(row) = rows.next()? {
            total += 1;
            let is_behind = match (&query.start, query.start.place()) {
                (Start::Offset(offset), _) => total > *offset,
                (_, Some(place)) => statement
                    .order
                    .compare(&Place::from_row(row)?, place)
                    .is_gt(),
                (_, None) => true,
            };
            if !is_behind {
                found.behind = true;
            } else if (found.places.len() as u64) < query.limit {
                found.places.push(Place::from_row(row)?);
            } else {
                found.more = true;
            }
        }
        Ok((total, found))
    };
    search().doing("searching resources")
}

/// A SELECT of places.
struct Statement {
    /// All of it but its order.
    found: String,
    order: Order,
    params: Params,
}

impl Statement {
    fn of(mut params: Params, query: &Query<'_>) -> Statement {
        let schemas = params.schemas.clone();
        let conditions: Vec<_> = query
            .kinds
            .iter()
            .map(|&kind| {
                let mut translation = Translation {
                    schemas: &schemas,
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
        let order = Order::of(query, &mut params);
        let key = order.key();
        let from = candidates(&schemas, query, &mut params)
            .unwrap_or_else(|| "resource AS r WHERE TRUE".to_owned());
        let found = format!("SELECT r.row, {key} FROM {from} AND {which}");
        Statement {
            found,
            order,
            params,
        }
    }

    fn sql(&self) -> String {
        format!("{} ORDER BY {}", self.found, self.order.terms())
    }

    fn page(mut self, snapshot: &Snapshot<'_>, offset: u64, limit: u64) -> Result<Vec<Place>> {
        let [limit, offset] = [limit, offset].map(|number| self.params.bind(saturated(number)));
        let sql = format!("{} LIMIT {limit} OFFSET {offset}", self.sql());
        snapshot
            .conn
            .prepare_cached(&sql)
            .and_then(|mut prepared| {
                prepared
                    .query_map(params_from_iter(self.params.values()), Place::from_row)?
                    .collect()
            })
            .doing("listing resources")
    }

    /// Refuses a filter that `scim_matches` couldn't read: printed, it may be a little longer than what the client
    /// wrote, and a client that comes that close to the limit should hear of it in words.
    fn readable(&self, query: &Query<'_>) -> Result<()> {
        if self.found.contains("scim_matches") {
            Filter::parse(&query.filter.map(ToString::to_string).unwrap_or_default())?;
        }
        Ok(())
    }
}

/// The tables of a SELECT and a first condition, through indexes, for rows among which are all that the search wants; `None`
/// where indexes can't tell. Left to itself, SQLite may think the tenant's resources fewer than these, and walk them.
fn candidates(schemas: &Schemas, query: &Query<'_>, params: &mut Params) -> Option<String> {
    let filter = query.filter?;
    let of_kind = |&kind: &Kind| Some((kind, filter::lookups(filter, schemas.of(kind))?));
    let lookups: Vec<_> = query.kinds.iter().map(of_kind).collect::<Option<_>>()?;
    let mut selects = Vec::new();
    let mut distinct = true;
    for (kind, lookups) in lookups {
        selects.extend(lookups.iter().map(|lookup| lookup.rows(kind, params)));
        distinct &= lookups.iter().all(Lookup::is_distinct);
    }
    Some(match selects.as_slice() {
        // Most searches: without a list, which SQLite would keep in a table made for it.
        [select] if distinct => format!(
            "({select}) AS found CROSS JOIN resource AS r NOT INDEXED WHERE r.row = found.row"
        ),
        // None at all is an empty list, which SQLite allows.
        _ => format!(
            "resource AS r NOT INDEXED WHERE r.row IN ({})",
            selects.join(" UNION ALL ")
        ),
    })
}

#[cfg(test)]
mod tests;
