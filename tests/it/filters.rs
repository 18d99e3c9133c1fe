//! The table of filters over the people in `data/people.json`.

use std::collections::BTreeMap;

use rollcall::scim::ScimError;
use rollcall::scim::filter::Filter;
use rollcall::scim::resource::Document;
use rollcall::scim::schema::Kind;

/// One line of the table.
struct Row {
    line: usize,
    filter: String,
    /// Short names in order, or the refusal.
    expected: Result<Vec<String>, String>,
}

fn table() -> Vec<Row> {
    let lines = include_str!("../data/filters.txt").lines().enumerate();
    lines
        .filter(|(_, line)| !line.starts_with('#') && !line.is_empty())
        .map(|(index, line)| {
            let (filter, expected) = line.rsplit_once(" | ").expect("two columns");
            let expected = expected.split(" # ").next().unwrap_or_default().trim();
            let expected = match expected.strip_prefix("! ") {
                Some(refusal) => Err(refusal.to_owned()),
                None if expected == "nobody" => Ok(vec![]),
                None => Ok(expected.split(", ").map(str::to_owned).collect()),
            };
            Row {
                line: index + 1,
                filter: filter.trim_end().to_owned(),
                expected,
            }
        })
        .collect()
}

fn people() -> BTreeMap<String, Document> {
    serde_json::from_str(include_str!("../data/people.json")).expect("data/people.json is JSON")
}

/// The filter, if it can be asked for Users.
fn checked(text: &str) -> Result<Filter, ScimError> {
    let filter = Filter::parse(text)?;
    filter.check(&[Kind::User.resource_type()])?;
    Ok(filter)
}

#[test]
fn filters_mean_what_the_table_says() {
    let people = people();
    let mut wrong = vec![];
    for Row {
        line,
        filter,
        expected,
    } in table()
    {
        let found = checked(&filter)
            .map(|filter| {
                let fulfils =
                    |person: &Document| filter.matches(person, Kind::User.resource_type());
                people
                    .iter()
                    .filter(|(_, person)| fulfils(person))
                    .map(|(name, _)| name.clone())
                    .collect()
            })
            .map_err(|error| {
                error
                    .scim_type()
                    .map_or("none", |scim_type| scim_type.as_str())
                    .to_owned()
            });
        if found != expected {
            wrong.push(format!(
                "line {line}: {filter}\n  expected {expected:?}\n  found    {found:?}"
            ));
        }
    }
    assert!(
        wrong.is_empty(),
        "tests/data/filters.txt:\n{}",
        wrong.join("\n")
    );
}

#[test]
fn every_filter_of_the_table_prints_as_the_same_filter() {
    for Row { filter: text, .. } in table() {
        if let Ok(filter) = Filter::parse(&text) {
            assert_eq!(Filter::parse(&filter.to_string()), Ok(filter), "{text}");
        }
    }
}
