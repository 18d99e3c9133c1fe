//! A list of people or teams: the place that an address names in it, and the way to the pages around.

use std::fmt::Write;

use minijinja::context;
use minijinja::value::Value;

use super::Visit;
use crate::http::html::encoded;
use crate::store::directory::{From, Key, Page, State};

/// How many are on a page.
pub(super) const PAGE: usize = 50;

/// From where the address wants the list.
pub(super) fn place(visit: &Visit<'_>) -> From {
    let key = |name: &str| {
        let text = visit.query(name);
        let (row, value) = text.split_once('.')?;
        Some(Key {
            value: value.to_owned(),
            row: row.parse().ok()?,
        })
    };
    if let Some(key) = key("after") {
        From::After(key)
    } else if let Some(key) = key("before") {
        From::Before(key)
    } else {
        From::Start
    }
}

/// Addresses of the pages around this one; `asked` is what they have to ask for again.
pub(super) fn pager(path: &str, asked: &[(&str, &str)], page: &Page) -> Value {
    let to = |name: &str, key: &Key| {
        let mut address = format!("{path}?");
        for (name, value) in asked.iter().filter(|(_, value)| !value.is_empty()) {
            // Writing to a String never fails.
            let _ = write!(address, "{name}={}&", encoded(value));
        }
        format!("{address}{name}={}.{}", key.row, encoded(&key.value))
    };
    context! {
        before => page.before.as_ref().map(|key| to("before", key)),
        after => page.after.as_ref().map(|key| to("after", key)),
        // The search gave up before the page was full.
        is_cut => page.after.is_some() && page.entries.len() < PAGE,
    }
}

/// A state in words, with the class of its tag.
pub(super) fn tag(state: State) -> Value {
    let class = match state {
        State::Active => "good",
        State::Inactive => "warn",
        State::Archived => "bad",
    };
    context! { words => state.as_str(), class => class }
}
