//! Where a page of a search begins.

use std::cmp::Ordering;

use rusqlite::Row;
use rusqlite::types::Value as Sql;
use serde_json::{Value, json};

/// A place in the order of a search: what a resource there is sorted by, and its row number, by which those that are
/// sorted by the same follow each other. It stays the same place whatever comes and goes, the resource too.
#[derive(Clone, Debug, PartialEq)]
pub struct Place {
    pub(super) key: Sql,
    pub(super) row: i64,
}

/// Where a page begins, or ends.
#[derive(Clone, Debug, PartialEq)]
pub enum Start {
    /// It begins behind so many results.
    Offset(u64),
    /// It begins right behind this place; `None`: with the first result.
    After(Option<Place>),
    /// It ends right before this place.
    Before(Place),
}

impl Place {
    /// From a row number and a key, in the first two columns.
    pub(super) fn from_row(row: &Row<'_>) -> rusqlite::Result<Place> {
        Ok(Place {
            row: row.get(0)?,
            key: row.get(1)?,
        })
    }

    /// In ascending order, in which those without a key come last (RFC 7644 §3.4.2.3): as SQLite orders the two.
    pub(super) fn compare(&self, other: &Place) -> Ordering {
        compare_keys(&self.key, &other.key).then(self.row.cmp(&other.row))
    }

    /// For keeping it elsewhere. A decimal is told by its bits: its digits might be read as its neighbour.
    pub fn to_json(&self) -> Value {
        let key = match &self.key {
            Sql::Integer(number) => json!(number),
            Sql::Real(number) => json!([number.to_bits()]),
            Sql::Text(text) => json!(text),
            Sql::Null | Sql::Blob(_) => Value::Null,
        };
        json!([key, self.row])
    }

    /// What [`Place::to_json`] gave; `None` for anything else.
    pub fn from_json(value: &Value) -> Option<Place> {
        let [key, row] = value.as_array()?.as_slice() else {
            return None;
        };
        let key = match key {
            Value::Null => Sql::Null,
            Value::String(text) => Sql::Text(text.clone()),
            Value::Array(bits) => Sql::Real(f64::from_bits(bits.first()?.as_u64()?)),
            number => Sql::Integer(number.as_i64()?),
        };
        Some(Place {
            key,
            row: row.as_i64()?,
        })
    }
}

fn compare_keys(left: &Sql, right: &Sql) -> Ordering {
    match (left, right) {
        (Sql::Integer(left), Sql::Integer(right)) => left.cmp(right),
        (Sql::Real(left), Sql::Real(right)) => left.total_cmp(right),
        (Sql::Integer(left), Sql::Real(right)) => (*left as f64).total_cmp(right),
        (Sql::Real(left), Sql::Integer(right)) => left.total_cmp(&(*right as f64)),
        (Sql::Text(left), Sql::Text(right)) => left.cmp(right),
        (left, right) => class(left).cmp(&class(right)),
    }
}

/// The order of kinds of values.
fn class(key: &Sql) -> u8 {
    match key {
        Sql::Integer(_) | Sql::Real(_) => 0,
        Sql::Text(_) => 1,
        Sql::Blob(_) => 2,
        Sql::Null => 3,
    }
}

impl Start {
    /// Whether the page is the last one before a place, and not the first one behind.
    pub(super) fn is_backward(&self) -> bool {
        matches!(self, Start::Before(_))
    }

    /// The place that bounds the page.
    pub(super) fn place(&self) -> Option<&Place> {
        match self {
            Start::After(Some(place)) | Start::Before(place) => Some(place),
            Start::Offset(_) | Start::After(None) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_the_same_when_it_comes_back() {
        for key in [
            Sql::Null,
            Sql::Integer(i64::MIN),
            Sql::Real(0.1 + 0.2),
            Sql::Real(-0.0),
            Sql::Text("gehëim ✓".to_owned()),
        ] {
            let place = Place { key, row: i64::MAX };
            let text = place.to_json().to_string();
            let read = Place::from_json(&serde_json::from_str(&text).unwrap());
            assert_eq!(read, Some(place), "{text}");
        }
        for other in [json!(null), json!([1]), json!([{}, 1]), json!([1, "1"])] {
            assert_eq!(Place::from_json(&other), None, "{other}");
        }
    }

    #[test]
    fn places_are_ordered_as_sqlite_orders_them() {
        let key = [
            Sql::Integer(-1),
            Sql::Real(0.5),
            Sql::Integer(1),
            Sql::Text("A".to_owned()),
            Sql::Text("a".to_owned()),
            Sql::Text("é".to_owned()),
            Sql::Null,
        ];
        let places: Vec<Place> = key
            .iter()
            .flat_map(|key| {
                [1, 2].map(|row| Place {
                    key: key.clone(),
                    row,
                })
            })
            .collect();
        for pair in places.windows(2) {
            assert!(pair[0].compare(&pair[1]).is_lt(), "{pair:?}");
        }
        let conn = rusqlite::Connection::open_in_memory().unwrap();
        conn.execute_batch("CREATE TABLE place (row, key)").unwrap();
        for place in places.iter().rev() {
            conn.execute("INSERT INTO place VALUES (?, ?)", (place.row, &place.key))
                .unwrap();
        }
        let mut statement = conn
            .prepare("SELECT row, key FROM place ORDER BY key NULLS LAST, row")
            .unwrap();
        let sorted = statement.query_map([], Place::from_row).unwrap();
        assert_eq!(sorted.map(Result::unwrap).collect::<Vec<_>>(), places);
    }
}
