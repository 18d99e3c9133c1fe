//! A filter prints as itself, and deciding it never fails (RFC 7644 §3.4.2.2).

use std::sync::LazyLock;

use rollcall::scim::filter::Filter;
use rollcall::scim::resource::Document;
use serde_json::{Map, Value, json};

use super::resource_types;

/// Longest filter that is read, in characters.
const LONGEST: usize = 10_000;

/// Those of the table of filters, one with a value of each declared attribute, a group, and nobody.
static RESOURCES: LazyLock<Vec<Document>> = LazyLock::new(|| {
    let people: Map<String, Value> =
        serde_json::from_str(include_str!("../../data/people.json")).unwrap();
    let more = [
        json!({}),
        json!({"displayName": "SRE", "members": [{"value": "7", "type": "User", "$ref": "x"}]}),
        json!({
            "userName": "ß", "code": "a", "flag": true, "ratio": 0.5, "count": -1, "since": "2026-01-31T08:00:00+01:00",
            "badgePhoto": "TQ==", "tags": ["a", "É"], "pagers": [{"value": "1", "type": "work", "primary": true}],
            "place": {"building": "B", "floor": 9_007_199_254_740_993_i64},
            "urn:ietf:params:scim:schemas:extension:acme:2.0:User": {"badge": 7},
        }),
    ];
    let all = people.into_iter().map(|(_, person)| person).chain(more);
    all.map(|resource| serde_json::from_value(resource).unwrap())
        .collect()
});

pub fn run(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else {
        return;
    };
    let Ok(filter) = Filter::parse(text) else {
        return;
    };
    let printed = filter.to_string();
    match Filter::parse(&printed) {
        Ok(read) => assert_eq!(read, filter, "{printed}"),
        // Quotes, for example, may be left out by who writes a filter, and not by who prints it.
        Err(error) => assert!(printed.chars().count() > LONGEST, "{printed}: {error}"),
    }
    let lower = filter.lower_case_names();
    assert_eq!(lower.conditions(), filter.conditions());
    for resource_type in resource_types() {
        let checked = filter.check(&[resource_type]);
        assert_eq!(
            lower.check(&[resource_type]).is_ok(),
            checked.is_ok(),
            "{text}"
        );
        // Whoever decides a filter has had it checked.
        if checked.is_err() {
            continue;
        }
        let not = Filter::Not(Box::new(filter.clone()));
        for resource in RESOURCES.iter() {
            let found = filter.matches(resource, resource_type);
            assert_eq!(found, lower.matches(resource, resource_type), "{text}");
            assert_ne!(found, not.matches(resource, resource_type), "{text}");
        }
    }
}
