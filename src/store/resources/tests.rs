use proptest::prelude::{
    Just, ProptestConfig, Strategy, prop, prop_assert_eq, prop_oneof, proptest,
};
use serde_json::json;

use super::*;
use crate::scim::declare::Declaration;
use crate::store::archive;
use crate::store::fixture::{Fixture, at, document, fixture, tenant};

#[track_caller]
fn taken_by(
    fixture: &Fixture,
    kind: Kind,
    value: Value,
    before: Option<&Document>,
) -> Option<&'static str> {
    let document = document(value);
    fixture
        .store
        .read(|snapshot| taken(snapshot, fixture.tenant, kind, &document, before))
        .unwrap()
}

#[track_caller]
fn found(fixture: &Fixture, filter: &str) -> Vec<String> {
    let filter = Filter::parse(filter).unwrap();
    let query = Query {
        kinds: &[Kind::User],
        filter: Some(&filter),
        sort_by: None,
        descending: false,
        start: Start::Offset(0),
        limit: 100,
    };
    let page = fixture
        .store
        .read(|snapshot| search::<Document>(snapshot, fixture.tenant, &query))
        .unwrap();
    page.resources.into_iter().map(|stored| stored.id).collect()
}

#[test]
fn a_resource_reads_back_as_it_was_inserted() {
    let fixture = fixture();
    let ada = fixture.insert(
        Kind::User,
        json!({"userName": "Ada", "title": "Countess", "active": false}),
    );
    assert_eq!(
        (ada.version, ada.created, ada.last_modified),
        (1, at(0), at(0))
    );
    assert_eq!(uuid::Uuid::parse_str(&ada.id).unwrap().get_version_num(), 7);
    let read = fixture
        .store
        .read(|snapshot| get(snapshot, fixture.tenant, Kind::User, &ada.id))
        .unwrap();
    assert_eq!(read, Some(ada.clone()));
    let group = fixture
        .store
        .read(|snapshot| get(snapshot, fixture.tenant, Kind::Group, &ada.id))
        .unwrap();
    assert_eq!(group, None);
}

#[test]
fn times_are_those_that_the_row_keeps() {
    let fixture = fixture();
    let tenant = fixture.tenant;
    let now = at(0) + jiff::SignedDuration::from_nanos(1_999_999);
    let user = document(json!({"userName": "ada"}));
    let ada = fixture
        .store
        .write(now, move |tx| insert(tx, tenant, Kind::User, user))
        .unwrap();
    assert_eq!(ada.created, at(0) + jiff::SignedDuration::from_millis(1));
    let read = fixture
        .store
        .read(|snapshot| get(snapshot, tenant, Kind::User, &ada.id))
        .unwrap();
    assert_eq!(read, Some(ada));
}

#[test]
fn an_update_is_found_by_its_new_values_alone() {
    let fixture = fixture();
    let tenant = fixture.tenant;
    let ada = fixture.insert(
        Kind::User,
        json!({"userName": "ada", "emails": [{"value": "Ada@old.example"}]}),
    );
    let changed =
        document(json!({"userName": "lovelace", "emails": [{"value": "ada@new.example"}]}));
    let (before, changed_to) = (ada.clone(), changed.clone());
    let after = fixture
        .store
        .write(at(5), move |tx| update(tx, tenant, &before, changed_to))
        .unwrap();
    let expected = Stored {
        text: serde_json::to_string(&changed).unwrap(),
        document: changed,
        version: 2,
        last_modified: at(5),
        ..ada.clone()
    };
    assert_eq!(after, expected);
    let read = fixture
        .store
        .read(|snapshot| get(snapshot, tenant, Kind::User, &ada.id))
        .unwrap();
    assert_eq!(read, Some(expected));
    for (filter, finds) in [
        ("userName eq \"ada\"", false),
        ("userName eq \"LOVELACE\"", true),
        ("emails eq \"ada@old.example\"", false),
        ("emails.value eq \"ADA@new.example\"", true),
    ] {
        assert_eq!(!found(&fixture, filter).is_empty(), finds, "{filter}");
    }
}

#[test]
fn an_update_of_the_document_alone_counts_as_well() {
    let fixture = fixture();
    let tenant = fixture.tenant;
    let ada = fixture.insert(Kind::User, json!({"userName": "ada"}));
    let titled = document(json!({"userName": "ada", "title": "Countess"}));
    let after = fixture
        .store
        .write(at(5), move |tx| update(tx, tenant, &ada, titled))
        .unwrap();
    assert_eq!((after.version, after.last_modified), (2, at(5)));
    assert_eq!(found(&fixture, "title eq \"countess\""), [after.id]);
}

#[test]
fn a_name_is_taken_whatever_its_case_and_by_others_only() {
    let fixture = fixture();
    let ada = fixture.insert(
        Kind::User,
        json!({"userName": "Ad\u{e9}", "externalId": "X1"}),
    );
    let bob = fixture.insert(Kind::User, json!({"userName": "bobby", "externalId": "X2"}));
    let taken = |value, before| taken_by(&fixture, Kind::User, value, before);
    assert_eq!(
        taken(json!({"userName": "AD\u{c9}"}), None),
        Some("userName")
    );
    assert_eq!(
        taken(json!({"userName": "ade\u{301}"}), None),
        Some("userName")
    );
    assert_eq!(taken(json!({"userName": "ade"}), None), None);
    assert_eq!(
        taken(json!({"userName": "bob", "externalId": "X1"}), None),
        Some("externalId")
    );
    assert_eq!(
        taken(json!({"userName": "bob", "externalId": "x1"}), None),
        None
    );
    assert_eq!(
        taken(
            json!({"userName": "Ad\u{e9}", "externalId": "X1"}),
            Some(&ada.document)
        ),
        None
    );
    for (value, attribute) in [
        (
            json!({"userName": "ad\u{e9}", "externalId": "X2"}),
            "userName",
        ),
        (
            json!({"userName": "Bobby", "externalId": "X1"}),
            "externalId",
        ),
    ] {
        assert_eq!(taken(value, Some(&bob.document)), Some(attribute));
    }
    assert_eq!(
        taken_by(
            &fixture,
            Kind::Group,
            json!({"displayName": "Ad\u{e9}", "externalId": "X1"}),
            None
        ),
        None
    );
}

#[test]
fn an_empty_external_id_is_nobodys() {
    let fixture = fixture();
    fixture.insert(Kind::User, json!({"userName": "ada", "externalId": ""}));
    fixture.insert(Kind::User, json!({"userName": "bob", "externalId": ""}));
    assert_eq!(
        taken_by(
            &fixture,
            Kind::User,
            json!({"userName": "eve", "externalId": ""}),
            None
        ),
        None
    );
}

#[test]
fn the_index_refuses_a_second_one_of_a_name_whoever_forgot_to_ask() {
    let fixture = fixture();
    let tenant = fixture.tenant;
    fixture.insert(Kind::User, json!({"userName": "ada"}));
    let twin = document(json!({"userName": "ADA"}));
    fixture
        .store
        .write(at(0), move |tx| insert(tx, tenant, Kind::User, twin))
        .unwrap_err();
}

#[test]
fn a_deleted_resource_is_gone_and_its_names_are_free() {
    let fixture = fixture();
    let tenant = fixture.tenant;
    let value = json!({"userName": "ada", "externalId": "X1", "emails": [{"value": "a@b"}]});
    let ada = fixture.insert(Kind::User, value.clone());
    let gone = ada.clone();
    fixture
        .store
        .write(at(1), move |tx| delete(tx, tenant, &gone))
        .unwrap();
    assert_eq!(
        fixture
            .store
            .read(|snapshot| get(snapshot, tenant, Kind::User, &ada.id))
            .unwrap(),
        None
    );
    for filter in [
        "userName eq \"ada\"",
        "externalId eq \"X1\"",
        "emails eq \"a@b\"",
        "userName pr",
    ] {
        assert!(found(&fixture, filter).is_empty(), "{filter}");
    }
    let again = fixture.insert(Kind::User, value);
    assert_ne!(again.id, ada.id);
    // What was read before it was deleted can't be written.
    let late = ada.document.clone();
    fixture
        .store
        .write(at(2), move |tx| update(tx, tenant, &ada, late))
        .unwrap_err();
}

#[test]
fn another_tenant_sees_nothing_and_changes_nothing() {
    let fixture = fixture();
    let stranger = tenant(&fixture.store, "other");
    let ada = fixture.insert(Kind::User, json!({"userName": "ada", "externalId": "X1"}));
    let theirs = Fixture {
        tenant: stranger,
        ..fixture
    };
    assert_eq!(
        theirs
            .store
            .read(|snapshot| get(snapshot, stranger, Kind::User, &ada.id))
            .unwrap(),
        None
    );
    assert_eq!(
        taken_by(
            &theirs,
            Kind::User,
            json!({"userName": "ada", "externalId": "X1"}),
            None
        ),
        None
    );
    assert!(found(&theirs, "userName eq \"ada\"").is_empty());
    assert!(found(&theirs, "not (title pr)").is_empty());
    let stolen = ada.clone();
    theirs
        .store
        .write(at(1), move |tx| delete(tx, stranger, &stolen))
        .unwrap();
    let (stolen, document) = (ada.clone(), ada.document.clone());
    theirs
        .store
        .write(at(1), move |tx| update(tx, stranger, &stolen, document))
        .unwrap_err();
    theirs.insert(Kind::User, json!({"userName": "ada", "externalId": "X1"}));
}

#[test]
fn what_a_tenant_calls_a_groups_emails_is_in_no_index_of_ours() {
    let group =
        document(json!({ "displayName": "ops", "emails": [{ "value": "ops@example.com" }] }));
    assert_eq!(values(Kind::Group.resource_type(), &group), BTreeSet::new());
}

/// What happens to one of a few users, by its number.
#[derive(Clone, Debug)]
enum Deed {
    /// Inserted, changed or brought back, whichever it can be, with this as name, address and badge.
    Write(usize, u8),
    Delete(usize),
    Purge(usize),
    /// The badge is declared, to be found by or not.
    Declare(bool),
    /// The declaration is taken back.
    Withdraw,
}

fn deed() -> impl Strategy<Value = Deed> {
    prop_oneof![
        6 => (0..3_usize, 0..4_u8).prop_map(|(user, value)| Deed::Write(user, value)),
        2 => (0..3_usize).prop_map(Deed::Delete),
        2 => (0..3_usize).prop_map(Deed::Purge),
        2 => (0..2_u8).prop_map(|matching| Deed::Declare(matching == 1)),
        1 => Just(Deed::Withdraw),
    ]
}

fn happens(tx: &Tx<'_>, tenant: TenantId, ids: &mut [String], deed: &Deed) -> Result<()> {
    let schema = "urn:ietf:params:scim:schemas:extension:acme:2.0:User";
    let badge = |matching: bool| -> Declaration {
        serde_json::from_value(json!({
            "resourceType": "User", "schema": schema, "matching": matching,
            "attribute": { "name": "badge", "type": "string" },
        }))
        .unwrap()
    };
    let (live, archived) = match deed {
        Deed::Write(user, _) | Deed::Delete(user) | Deed::Purge(user) => (
            get(tx, tenant, Kind::User, &ids[*user])?,
            archive::get(tx, tenant, Kind::User, &ids[*user])?,
        ),
        _ => (None, None),
    };
    match deed {
        Deed::Write(user, value) => {
            let document = document(json!({
                "userName": format!("u{user}"),
                "displayName": (["", "Ada", "Bob", "ADA"][usize::from(*value)]),
                "emails": (vec![json!({ "value": format!("A{value}@example.com") }); usize::from(*value)]),
                (schema): { "badge": format!("B-{value}") },
            }));
            ids[*user] = match (live, archived) {
                (Some(stored), _) => update(tx, tenant, &stored, document)?.id,
                (_, Some(archived)) => archive::undelete(tx, tenant, &archived, document)?.id,
                _ => insert(tx, tenant, Kind::User, document)?.id,
            };
        }
        Deed::Delete(_) => live.map_or(Ok(()), |stored| delete(tx, tenant, &stored))?,
        Deed::Purge(_) => {
            archived.map_or(Ok(()), |archived| archive::purge(tx, tenant, &archived))?
        }
        Deed::Declare(matching) => {
            attributes::write(tx, tenant, &[badge(*matching)])?;
            attributes::adopt(tx, tenant, &badge(*matching))?;
        }
        Deed::Withdraw => {
            attributes::write(tx, tenant, &[])?;
            attributes::leave_index(tx, tenant, &badge(true))?;
        }
    }
    Ok(())
}

/// Rows of `resource_value`, in their order.
type Rows = BTreeSet<(String, String, i64)>;

/// Those that there are, and those that the documents ask for.
fn index(tx: &Tx<'_>, tenant: TenantId) -> Result<(Rows, Rows)> {
    let schemas = attributes::schemas(tx, tenant)?;
    let rows = (tx.conn)
        .prepare("SELECT attribute, value, resource FROM resource_value")
        .and_then(|mut statement| {
            let row = |row: &Row<'_>| Ok((row.get(0)?, row.get(1)?, row.get(2)?));
            statement.query_map([], row)?.collect()
        })
        .doing("reading the index")?;
    let stored: Vec<Stored> = (tx.conn)
        .prepare(&format!("SELECT {COLUMNS} FROM resource"))
        .and_then(|mut statement| statement.query_map([], from_row)?.collect())
        .doing("reading all resources")?;
    let mut wanted = Rows::new();
    for one in &stored {
        let values = values(schemas.of(one.kind), &one.document);
        wanted.extend(
            values
                .into_iter()
                .map(|(attribute, value)| (attribute, value, one.row)),
        );
    }
    Ok((rows, wanted))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// No key leads from a row of the index to its resource: whoever forgets one leaves it to the next user of that number.
    #[test]
    fn the_index_of_values_says_what_the_documents_say(deeds in prop::collection::vec(deed(), 1..40)) {
        let fixture = fixture();
        let tenant = fixture.tenant;
        let told = fixture.store.write(at(0), move |tx| {
            let mut ids = vec![String::new(); 3];
            for deed in &deeds {
                happens(tx, tenant, &mut ids, deed)?;
                let (rows, wanted) = index(tx, tenant)?;
                if rows != wanted {
                    return Ok(Some(format!("after {deed:?}: {rows:?} and not {wanted:?}")));
                }
            }
            Ok(None)
        });
        prop_assert_eq!(told.unwrap(), None);
    }
}
