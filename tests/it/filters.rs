//! The table of filters over the people in `data/people.json`, run twice: by `scim`, which says what a filter means, and
//! by `store`, which finds the same people with SQL.

use std::collections::BTreeMap;

use jiff::Timestamp;
use rollcall::scim::ScimError;
use rollcall::scim::filter::Filter;
use rollcall::scim::resource::Document;
use rollcall::scim::schema::Kind;
use rollcall::store::place::Start;
use rollcall::store::resources::{self, Query};
use rollcall::store::{Store, TenantId, tenants};

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

pub fn people() -> BTreeMap<String, Document> {
    serde_json::from_str(include_str!("../data/people.json")).expect("data/people.json is JSON")
}

/// The filter, if it can be asked for Users.
fn checked(text: &str) -> Result<Filter, ScimError> {
    let filter = Filter::parse(text)?;
    filter.check(&[Kind::User.resource_type()])?;
    Ok(filter)
}

/// Holds what `find` answers for each filter of the table against the table.
#[track_caller]
fn hold(find: impl Fn(&Filter) -> Vec<String>) {
    let mut wrong = vec![];
    for Row {
        line,
        filter,
        expected,
    } in table()
    {
        let found = checked(&filter)
            .map(|filter| find(&filter))
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
fn filters_mean_what_the_table_says() {
    let people = people();
    hold(|filter| {
        let fulfils = |person: &Document| filter.matches(person, Kind::User.resource_type());
        let found = people.iter().filter(|(_, person)| fulfils(person));
        found.map(|(name, _)| name.clone()).collect()
    });
}

/// A file with the people in it, ids and times as in the data, and their tenant.
pub fn stored_people() -> (tempfile::TempDir, Store, TenantId) {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).unwrap();
    let tenant = store
        .write(Timestamp::UNIX_EPOCH, |tx| {
            let tenant = tenants::create(tx, "contoso")?.unwrap().id;
            for mut person in people().into_values() {
                for computed in ["schemas", "id", "meta", "groups"] {
                    person.remove(computed);
                }
                resources::insert(tx, tenant, Kind::User, person)?;
            }
            Ok(tenant)
        })
        .unwrap();
    let file = rusqlite::Connection::open(folder.path().join("rollcall.db")).unwrap();
    for person in people().into_values() {
        let meta = &person["meta"];
        let millis = |name: &str| {
            let at: Timestamp = meta[name].as_str().unwrap().parse().unwrap();
            at.as_millisecond()
        };
        let version = meta["version"].as_str().unwrap();
        let version: i64 = version.trim_matches(['W', '/', '"']).parse().unwrap();
        let changed = file
            .execute(
                "UPDATE resource SET id = ?, created = ?, last_modified = ?, version = ?
                 WHERE document ->> 'userName' = ?",
                (
                    person["id"].as_str(),
                    millis("created"),
                    millis("lastModified"),
                    version,
                    person["userName"].as_str(),
                ),
            )
            .unwrap();
        assert_eq!(changed, 1);
    }
    (folder, store, tenant)
}

#[test]
fn sql_finds_whom_the_table_says() {
    let (_folder, store, tenant) = stored_people();
    let people = people();
    hold(|filter| {
        let query = Query {
            kinds: &[Kind::User],
            filter: Some(filter),
            sort_by: None,
            descending: false,
            start: Start::Offset(0),
            limit: 100,
        };
        let page = store
            .read(|snapshot| resources::search::<Document>(snapshot, tenant, &query))
            .unwrap();
        assert_eq!(page.total, page.resources.len() as u64);
        let is_found = |person: &Document| {
            let mut found = page.resources.iter();
            found.any(|stored| person["id"] == stored.id.as_str())
        };
        let found = people.iter().filter(|(_, person)| is_found(person));
        found.map(|(name, _)| name.clone()).collect()
    });
}

#[test]
fn every_filter_of_the_table_prints_as_the_same_filter() {
    for Row { filter: text, .. } in table() {
        if let Ok(filter) = Filter::parse(&text) {
            assert_eq!(Filter::parse(&filter.to_string()), Ok(filter), "{text}");
        }
    }
}
