//! The table of orders over the people in `data/people.json`: ascending, descending, and page by page.

use std::time::Instant;

use jiff::Timestamp;
use rollcall::error::Error;
use rollcall::provision::{self, Call};
use rollcall::scim::message::SearchRequest;
use rollcall::scim::schema::Kind;
use rollcall::store::{Store, TenantId};
use serde_json::Value;

use crate::filters::{people, stored_people};
use crate::support::body_of;
use crate::tenant::text;

/// One page of a search for users with this query, in this process; the refusal's `scimType` if there is one.
pub fn page(
    store: &Store,
    tenant: TenantId,
    now: Timestamp,
    query: &[(&str, &str)],
) -> Result<Value, String> {
    let call = Call {
        tenant,
        schemas: rollcall::scim::declare::Schemas::built_in().clone(),
        paused: false,
        me: None,
        token: 1,
        now,
        started: Instant::now(),
        address: "192.0.2.1".to_owned(),
        request_id: "r".to_owned(),
        method: "GET".to_owned(),
        target: "/scim/v2/Users".to_owned(),
        base: "https://scim.example/scim/v2".to_owned(),
        body: vec![],
        keep_bodies: false,
        rehearsal: None,
    };
    let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    let query: Vec<_> = query.iter().map(owned).collect();
    let request = SearchRequest::from_query(&query).map_err(|error| error.to_string())?;
    let reading = store.reading().unwrap();
    match provision::search(store, reading, &call, &[Kind::User], &request) {
        Ok(answer) => Ok(body_of(&answer)),
        Err(Error::Scim(refusal)) => Err(text(&refusal.to_json()["scimType"])),
        Err(error) => panic!("{error}"),
    }
}

/// The short names of who is on a page.
fn names(page: &Value) -> Vec<String> {
    let people = people();
    let name = |resource: &Value| {
        let person = people.iter().find(|(_, it)| it["id"] == resource["id"]);
        person.unwrap().0.clone()
    };
    page["Resources"]
        .as_array()
        .unwrap()
        .iter()
        .map(name)
        .collect()
}

#[test]
fn people_come_in_the_order_that_the_table_says() {
    let (_folder, store, tenant) = stored_people();
    let page = |query: &[(&str, &str)]| page(&store, tenant, Timestamp::UNIX_EPOCH, query);
    let ordered = |sort_by: &str, sort_order: &str| {
        let query = [("sortBy", sort_by), ("sortOrder", sort_order)];
        page(&query).map(|page| names(&page))
    };
    let walked = |sort_by: &str, sort_order: &str| {
        let (mut walked, mut cursor) = (vec![], String::new());
        // Eight people, three to a page.
        for _ in 0..3 {
            let query = [
                ("sortBy", sort_by),
                ("sortOrder", sort_order),
                ("count", "3"),
                ("cursor", &cursor),
            ];
            let page = page(&query)?;
            walked.extend(names(&page));
            cursor = page["nextCursor"].as_str().unwrap_or_default().to_owned();
        }
        Ok(walked)
    };
    let (mut wrong, mut count) = (vec![], 0);
    for (index, line) in include_str!("../data/sorts.txt").lines().enumerate() {
        let Some((sort_by, expected)) = line.split_once(" | ") else {
            assert!(line.is_empty() || line.starts_with('#'), "{line}");
            continue;
        };
        count += 1;
        let expected = expected.split(" # ").next().unwrap_or_default().trim();
        let ascending = match expected.strip_prefix("! ") {
            Some(refusal) => Err(refusal.to_owned()),
            None => Ok(expected.split(", ").map(str::to_owned).collect::<Vec<_>>()),
        };
        let turned = |mut names: Vec<String>| {
            names.reverse();
            names
        };
        let descending = ascending.clone().map(turned);
        for (sort_order, expected) in [("ascending", ascending), ("descending", descending)] {
            for found in [ordered(sort_by, sort_order), walked(sort_by, sort_order)] {
                if found != expected {
                    wrong.push(format!(
                        "line {}: {sort_by} {sort_order}\n  expected {expected:?}\n  found    {found:?}",
                        index + 1
                    ));
                }
            }
        }
    }
    assert!(count > 30);
    assert!(
        wrong.is_empty(),
        "tests/data/sorts.txt:\n{}",
        wrong.join("\n")
    );
}
