//! The order of a search (RFC 7644 §3.4.2.3), and what lies behind a place in it.

use std::cmp::Ordering;

use crate::scim::path::AttrPath;
use crate::scim::schema::Kind;
use crate::store::filter::{self, Params, ends};
use crate::store::place::Place;
use crate::store::resources::Query;

/// What a search is ordered by: a key, where there is one, and then the row number, so that the order is total.
#[derive(Debug)]
pub(super) struct Order {
    key: Option<Key>,
    descending: bool,
    /// From the last one to the first.
    backward: bool,
}

/// What a resource is sorted by, in SQL.
#[derive(Debug)]
struct Key {
    sql: String,
    /// Whether it may be NULL: such resources come last, in descending order first.
    may_be_missing: bool,
}

impl Key {
    fn of_all(sql: &str) -> Key {
        Key {
            sql: sql.to_owned(),
            may_be_missing: false,
        }
    }

    fn of_some(sql: String) -> Key {
        Key {
            sql,
            may_be_missing: true,
        }
    }
}

impl Order {
    pub fn of(query: &Query<'_>, params: &mut Params) -> Order {
        let key = match (query.sort_by, query.kinds) {
            (None, [_]) => None,
            (None, _) => Some(Key::of_all("r.kind = 'Group'")),
            (Some(path), [kind]) => Some(key(path, *kind, params)),
            (Some(path), kinds) => {
                let case = |&kind: &Kind| {
                    format!(
                        "WHEN '{}' THEN {} ",
                        kind.as_str(),
                        key(path, kind, params).sql
                    )
                };
                let cases: String = kinds.iter().map(case).collect();
                Some(Key::of_some(format!("CASE r.kind {cases}END")))
            }
        };
        Order {
            key,
            descending: query.descending && query.sort_by.is_some(),
            backward: query.start.is_backward(),
        }
    }

    /// The key as a column.
    pub fn key(&self) -> &str {
        self.key.as_ref().map_or("NULL", |key| &key.sql)
    }

    /// Whether SQLite can go straight to a place: every resource has the key.
    pub fn is_seekable(&self) -> bool {
        self.key.as_ref().is_none_or(|key| !key.may_be_missing)
    }

    /// Whether what is greater comes first.
    fn falls(&self) -> bool {
        self.descending != self.backward
    }

    /// The terms of ORDER BY.
    pub fn terms(&self) -> String {
        let (direction, missing) = if self.falls() {
            ("DESC", " NULLS FIRST")
        } else {
            ("ASC", " NULLS LAST")
        };
        match &self.key {
            None => format!("r.row {direction}"),
            // Without the words about NULL, where there is none, SQLite can go by an index.
            Some(Key {
                sql,
                may_be_missing,
            }) => format!(
                "{sql} {direction}{}, r.row {direction}",
                if *may_be_missing { missing } else { "" }
            ),
        }
    }

    /// The condition for what lies behind `place`, of an order that [is seekable](Order::is_seekable).
    pub fn behind(&self, place: &Place, params: &mut Params) -> String {
        let operator = if self.falls() { "<" } else { ">" };
        let row = params.bind(place.row);
        match &self.key {
            None => format!("r.row {operator} {row}"),
            Some(key) => {
                let value = params.bind(place.key.clone());
                format!("({}, r.row) {operator} ({value}, {row})", key.sql)
            }
        }
    }

    /// Where `one` comes in relation to `other`.
    pub fn compare(&self, one: &Place, other: &Place) -> Ordering {
        if self.falls() {
            other.compare(one)
        } else {
            one.compare(other)
        }
    }
}

/// What orders resources of `kind` by `path`: a column, what the rows of memberships say, else what the document does.
fn key(path: &AttrPath, kind: Kind, params: &mut Params) -> Key {
    let schemas = params.schemas.clone();
    let named = schemas.of(kind).resolve(path);
    let key = match named.as_ref().and_then(filter::place) {
        Some((name, None)) if name == kind.name_attribute() => Some(Key::of_all("r.name_key")),
        Some(("id", None)) => Some(Key::of_all("r.id")),
        Some(("externalId", None)) => Some(Key::of_some("r.external_id".to_owned())),
        // The first of them is the core schema's, which ends in the type's name.
        Some(("schemas", None) | ("meta", Some("resourceType"))) => Some(Key::of_all("r.kind")),
        Some(("meta", Some("created"))) => Some(Key::of_all("r.created")),
        Some(("meta", Some("lastModified"))) => Some(Key::of_all("r.last_modified")),
        Some(("meta", Some("location"))) => Some(Key::of_all("r.kind || r.id")),
        // A string, for which W/"10" comes before W/"2".
        Some(("meta", Some("version"))) => Some(Key::of_all("CAST(r.version AS TEXT)")),
        Some((name, part)) if name == kind.membership_attribute() => first_link(kind, part),
        _ => None,
    };
    key.unwrap_or_else(|| {
        let path = params.bind(path.to_string());
        let source = params.bind(schemas.source.clone());
        Key::of_some(format!(
            "scim_sort_key({path}, {source}, r.kind, r.document)"
        ))
    })
}

/// By the first member of a Group or the first group of a User.
fn first_link(kind: Kind, part: Option<&str>) -> Option<Key> {
    let value = match part {
        None | Some("value" | "$ref") => "other.id",
        Some("display") => "scim_fold(other.display)",
        Some("type") => "other.kind",
        Some(_) => return None,
    };
    let (near, far) = ends(kind);
    Some(Key::of_some(format!(
        "(SELECT {value} FROM team_member AS link CROSS JOIN resource AS other ON other.row = link.{far}
          WHERE link.{near} = r.row AND other.tenant = ?1 AND other.deleted_at IS NULL
          ORDER BY link.{far} LIMIT 1)"
    )))
}
