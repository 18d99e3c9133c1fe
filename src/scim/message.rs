//! Messages around resources (RFC 7644 §3.4.2, §3.4.3, RFC 9865): reading JSON, queries and lists.

use std::fmt;

use serde::Serialize;
use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::Value;
use serde_json::map::{Entry, Map};

use super::ScimError;
use super::filter::Filter;
use super::path::AttrPath;
use super::validate::{excerpt, wrong_type};

const LIST_RESPONSE_URN: &str = "urn:ietf:params:scim:api:messages:2.0:ListResponse";
const SEARCH_REQUEST_URN: &str = "urn:ietf:params:scim:api:messages:2.0:SearchRequest";

/// The parameters of a search that have one value.
const ONE_VALUE: [&str; 6] = [
    "filter",
    "sortBy",
    "sortOrder",
    "startIndex",
    "count",
    "cursor",
];
/// Those that are lists.
const LISTS: [&str; 2] = ["attributes", "excludedAttributes"];

/// Deepest nesting of a body that is read. A SCIM resource needs five levels.
const MAX_DEPTH: usize = 64;

/// Reads a request body: UTF-8, at most 64 levels deep, no key twice in an object, no NUL in a string.
///
/// A key that is there twice would mean one thing to us and another to a proxy or a log that reads the other one. NUL
/// ends a string in SQLite's functions, so no name may hold it.
///
/// # Errors
/// 400 `invalidSyntax` with the line and column.
pub fn parse_json(body: &[u8]) -> Result<Value, ScimError> {
    parse(body, None)
}

/// The same without the elements of a list, which are handed to `with` one after the other: that at `key`, in any case, of
/// the outermost object. What is large is then never whole in memory as values, which take ten times what its text does.
///
/// # Errors
/// As those of [`parse_json`]; some elements may have been handed over by then.
pub(super) fn parse_json_but(
    body: &[u8],
    key: &str,
    with: &dyn Fn(Value),
) -> Result<Value, ScimError> {
    parse(body, Some(&(key, with)))
}

fn parse(body: &[u8], apart: Option<&Apart<'_>>) -> Result<Value, ScimError> {
    let mut deserializer = serde_json::Deserializer::from_slice(body);
    let value = Strict { depth: 0, apart }.deserialize(&mut deserializer);
    value
        .and_then(|value| deserializer.end().map(|()| value))
        .map_err(|error| {
            ScimError::invalid_syntax(format!("the body can't be read as JSON: {error}"))
        })
}

/// The key of a list, and to whom its elements are handed.
type Apart<'a> = (&'a str, &'a dyn Fn(Value));

/// Reads a JSON value at this depth.
#[derive(Clone, Copy)]
struct Strict<'a> {
    depth: usize,
    /// Of the outermost value, and of the list at that key.
    apart: Option<&'a Apart<'a>>,
}

impl<'a> Strict<'a> {
    fn deeper<E: serde::de::Error>(self) -> Result<Strict<'a>, E> {
        if self.depth == MAX_DEPTH {
            return Err(E::custom(format!("more than {MAX_DEPTH} levels")));
        }
        Ok(Strict {
            depth: self.depth + 1,
            apart: None,
        })
    }
}

impl<'de> DeserializeSeed<'de> for Strict<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Value, E> {
        self.visit_string(text.to_owned())
    }

    fn visit_string<E: serde::de::Error>(self, text: String) -> Result<Value, E> {
        if text.contains('\0') {
            return Err(E::custom("a string contains the character U+0000"));
        }
        Ok(text.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Value, A::Error> {
        let inner = self.deeper()?;
        let mut values = Vec::new();
        while let Some(value) = list.next_element_seed(inner)? {
            match self.apart {
                Some((_, with)) if self.depth > 0 => with(value),
                _ => values.push(value),
            }
        }
        Ok(values.into())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<Value, A::Error> {
        let inner = self.deeper()?;
        let mut members = Map::new();
        while let Some(key) = object.next_key::<String>()? {
            if key.contains('\0') {
                return Err(A::Error::custom("a key contains the character U+0000"));
            }
            let apart = (self.apart)
                .filter(|(wanted, _)| self.depth == 0 && key.eq_ignore_ascii_case(wanted));
            match members.entry(key) {
                Entry::Vacant(free) => {
                    free.insert(object.next_value_seed(Strict { apart, ..inner })?);
                }
                Entry::Occupied(present) => {
                    return Err(A::Error::custom(format!(
                        "the key \"{}\" is there twice",
                        excerpt(present.key())
                    )));
                }
            }
        }
        Ok(members.into())
    }
}

/// `attributes` / `excludedAttributes` (RFC 7644 §3.9). Both given: `attributes` wins.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Projection {
    /// Only these, and what is returned always.
    pub attributes: Vec<AttrPath>,
    /// All but these.
    pub excluded_attributes: Vec<AttrPath>,
    /// What the request has written of that which is returned on request: without a selection, the answer shows it too.
    pub written: Vec<AttrPath>,
}

/// A query, by URL or by SearchRequest (RFC 7644 §3.4.2, §3.4.3).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SearchRequest {
    /// Which attributes the answer shows.
    pub projection: Projection,
    /// Parsed, but not checked against a schema.
    pub filter: Option<Filter>,
    /// The attribute to sort by.
    pub sort_by: Option<AttrPath>,
    /// `sortOrder` is `descending`.
    pub descending: bool,
    /// 1-based; below 1 is read as 1. Never there together with a cursor.
    pub start_index: Option<u64>,
    /// As it came; empty for the first page of those that go on by cursors (RFC 9865 §2).
    pub cursor: Option<String>,
    /// None: the default page size; negative is read as 0. The caller caps it.
    pub count: Option<u64>,
}

impl Projection {
    /// From a URL's query, decoded. Unknown parameters are ignored.
    ///
    /// # Errors
    /// 400 `invalidValue` for what isn't a list of attribute names; unknown names are no error.
    pub fn from_query(query: &[(String, String)]) -> Result<Projection, ScimError> {
        let mut projection = Projection::default();
        for (name, value) in query {
            projection.read(name, value)?;
        }
        Ok(projection)
    }

    /// Takes a parameter if it is one of the two. Their names compare in any case.
    fn read(&mut self, name: &str, value: &str) -> Result<(), ScimError> {
        let (list, name) = if name.eq_ignore_ascii_case("attributes") {
            (&mut self.attributes, "attributes")
        } else if name.eq_ignore_ascii_case("excludedAttributes") {
            (&mut self.excluded_attributes, "excludedAttributes")
        } else {
            return Ok(());
        };
        for attribute in value
            .split(',')
            .map(str::trim)
            .filter(|attribute| !attribute.is_empty())
        {
            list.push(attribute_path(name, attribute)?);
        }
        Ok(())
    }
}

impl SearchRequest {
    /// From a URL's query, decoded. Unknown parameters (Entra's `aadOptscim062020`) are ignored, and so is an empty
    /// value of a known one but `cursor`.
    ///
    /// # Errors
    /// 400 `invalidFilter` for the filter's syntax, 400 `invalidCount`, 400 `invalidValue` for another parameter's.
    pub fn from_query(query: &[(String, String)]) -> Result<SearchRequest, ScimError> {
        let mut request = SearchRequest::default();
        for (name, value) in query {
            request.read(name, value)?;
        }
        request.by_one_method()
    }

    /// From a SearchRequest body; `schemas` must name its URN.
    ///
    /// # Errors
    /// As [`SearchRequest::from_query`], and 400 `invalidSyntax` for what isn't a SearchRequest.
    pub fn from_json(body: &Value) -> Result<SearchRequest, ScimError> {
        let Value::Object(body) = body else {
            return Err(ScimError::invalid_syntax(
                "the body is not an object where a SearchRequest was expected",
            ));
        };
        let named = body.iter().any(|(key, value)| {
            key.eq_ignore_ascii_case("schemas") && names_urn(value, SEARCH_REQUEST_URN)
        });
        if !named {
            return Err(ScimError::invalid_syntax(format!(
                "schemas does not contain {SEARCH_REQUEST_URN}"
            )));
        }
        let mut request = SearchRequest::default();
        for (key, value) in body {
            match value {
                Value::Null => {}
                Value::String(text) => request.read(key, text)?,
                Value::Number(_) => request.read(key, &value.to_string())?,
                Value::Array(names)
                    if names.iter().all(Value::is_string) && !is(key, &ONE_VALUE) =>
                {
                    for name in names.iter().filter_map(Value::as_str) {
                        request.projection.read(key, name)?;
                    }
                }
                // A filter that isn't understood must not find everybody.
                _ if is(key, &ONE_VALUE) => {
                    return Err(wrong_type(key, value, "a string or a number"));
                }
                _ if is(key, &LISTS) => {
                    return Err(wrong_type(key, value, "a list of strings"));
                }
                _ => {}
            }
        }
        request.by_one_method()
    }

    fn read(&mut self, name: &str, value: &str) -> Result<(), ScimError> {
        match name.to_ascii_lowercase().as_str() {
            "cursor" if self.cursor.is_some() => {
                return Err(ScimError::invalid_cursor("cursor is there twice"));
            }
            "cursor" => self.cursor = Some(value.trim().to_owned()),
            _ if value.trim().is_empty() => {}
            "filter" if self.filter.is_some() => {
                return Err(ScimError::invalid_filter("filter is there twice"));
            }
            "filter" => self.filter = Some(Filter::parse(value)?),
            "sortby" => self.sort_by = Some(attribute_path("sortBy", value.trim())?),
            "sortorder" => self.descending = descending(value.trim())?,
            "startindex" => {
                let number = whole_number("startIndex", value.trim());
                self.start_index = Some(number.map_err(ScimError::invalid_value)?.max(1));
            }
            "count" => {
                let number = whole_number("count", value.trim());
                self.count = Some(number.map_err(ScimError::invalid_count)?);
            }
            _ => self.projection.read(name, value)?,
        }
        Ok(())
    }

    /// Refuses to guess which method of paging is meant (RFC 9865 §2.4: one parameter or the other).
    fn by_one_method(self) -> Result<SearchRequest, ScimError> {
        if self.cursor.is_some() && self.start_index.is_some() {
            return Err(ScimError::invalid_value(
                "cursor and startIndex are both there: pages are asked for by one of them",
            ));
        }
        Ok(self)
    }
}

/// Whether `key` is one of `names`, in any case.
fn is(key: &str, names: &[&str]) -> bool {
    names.iter().any(|name| name.eq_ignore_ascii_case(key))
}

fn names_urn(schemas: &Value, urn: &str) -> bool {
    let is = |value: &Value| {
        value
            .as_str()
            .is_some_and(|text| text.eq_ignore_ascii_case(urn))
    };
    schemas
        .as_array()
        .is_some_and(|schemas| schemas.iter().any(is))
}

fn attribute_path(parameter: &str, text: &str) -> Result<AttrPath, ScimError> {
    AttrPath::parse(text)
        .map_err(|error| ScimError::invalid_value(format!("{parameter}: {}", error.detail())))
}

fn descending(text: &str) -> Result<bool, ScimError> {
    if text.eq_ignore_ascii_case("descending") {
        return Ok(true);
    }
    if text.eq_ignore_ascii_case("ascending") {
        return Ok(false);
    }
    Err(ScimError::invalid_value(format!(
        "sortOrder is \"{}\" where ascending or descending was expected",
        excerpt(text)
    )))
}

/// A whole number; a negative one counts as 0 (RFC 7644 §3.4.2.4). The error is what is wrong, in words.
fn whole_number(parameter: &str, text: &str) -> Result<u64, String> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text),
    };
    // i64's range is SQLite's, and what most clients can read back.
    match digits.parse::<i64>() {
        Ok(number) if digits.bytes().all(|byte| byte.is_ascii_digit()) => {
            Ok(if negative { 0 } else { number.unsigned_abs() })
        }
        _ => Err(format!(
            "{parameter} is \"{}\" where a whole number was expected",
            excerpt(text)
        )),
    }
}

/// A ListResponse (RFC 7644 §3.4.2): one page of resources. By index it has `startIndex`, which is 1-based; by cursor
/// (RFC 9865 §2) a cursor for each of the pages beside it that there is.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ListResponse<T> {
    schemas: [&'static str; 1],
    /// On all pages.
    total_results: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    start_index: Option<u64>,
    items_per_page: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_cursor: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    previous_cursor: Option<String>,
    #[serde(rename = "Resources")]
    resources: Vec<T>,
}

impl<T> ListResponse<T> {
    /// A page that begins at an index.
    pub fn at(start_index: u64, total_results: u64, resources: Vec<T>) -> ListResponse<T> {
        ListResponse {
            start_index: Some(start_index),
            ..ListResponse::between((None, None), total_results, resources)
        }
    }

    /// A page between cursors, to the next and to the previous one.
    pub fn between(
        (next_cursor, previous_cursor): (Option<String>, Option<String>),
        total_results: u64,
        resources: Vec<T>,
    ) -> ListResponse<T> {
        ListResponse {
            schemas: [LIST_RESPONSE_URN],
            total_results,
            start_index: None,
            items_per_page: resources.len(),
            next_cursor,
            previous_cursor,
            resources,
        }
    }
}

#[cfg(test)]
mod tests;
