//! A tenant's own attributes: declared by the command line, used over SCIM, on the settings page.

use jiff::Timestamp;
use rollcall::manage::{archive, attributes};
use rollcall::scim::declare::Declaration;
use rollcall::scim::schema::Kind;
use rollcall::store::{Store, resources, tenants};
use serde_json::{Value, json};

use crate::browser::Browser;
use crate::support::Server;
use crate::tenant::{ScimClient, Tenant, run};

const USER: &str = "urn:ietf:params:scim:schemas:core:2.0:User";
const ACME: &str = "urn:ietf:params:scim:schemas:extension:acme:2.0:User";

/// `rollcall attribute …` of a tenant, which must succeed; its standard output.
#[track_caller]
fn attribute(server: &Server, tenant: &str, arguments: &[&str]) -> String {
    let mut all = vec!["attribute", "--tenant", tenant];
    all.extend(arguments);
    run(server, &all)
}

/// The same, which must be refused with these words.
#[track_caller]
fn refused(server: &Server, arguments: &[&str], words: &str) {
    let mut all = vec!["attribute", "--tenant", "acme"];
    all.extend(arguments);
    let output = server.rollcall(&all);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && said.contains(words), "{said}");
}

fn user(name: &str, more: Value) -> Value {
    let mut body = json!({ "schemas": [USER], "userName": name });
    body.as_object_mut()
        .unwrap()
        .extend(more.as_object().unwrap().clone());
    body
}

#[track_caller]
fn names(client: &mut ScimClient, query: &str) -> Vec<String> {
    let list = client.get(&format!("/Users?{query}"));
    let resources = list["Resources"].as_array().cloned().unwrap_or_default();
    resources
        .iter()
        .map(|it| it["userName"].as_str().unwrap().to_owned())
        .collect()
}

/// The names of the attributes in a schema; none where there is no such schema.
fn schema(client: &mut ScimClient, urn: &str) -> Vec<String> {
    let (_, schema) = client.call("GET", &format!("/Schemas/{urn}"), None);
    let attributes = schema["attributes"].as_array().cloned().unwrap_or_default();
    attributes
        .iter()
        .map(|it| it["name"].as_str().unwrap().to_owned())
        .collect()
}

#[test]
fn a_declared_attribute_lives_like_any_other_for_its_tenant_alone() {
    let server = Server::start();
    let (acme, other) = (
        Tenant::create(&server, "acme"),
        Tenant::create(&server, "other"),
    );
    let (mut acme, mut other) = (acme.client(), other.client());
    // Before there is a declaration, what stands under an extension is kept as it comes.
    let ada = acme.create(
        "/Users",
        &user("ada", json!({ (ACME): { "badge": "7", "seat": "x" } })),
    );
    attribute(
        &server,
        "acme",
        &[
            "add",
            "payGrade",
            "--canonical",
            "R1,R2",
            "--uniqueness",
            "none",
        ],
    );
    attribute(
        &server,
        "acme",
        &[
            "add",
            "badge",
            "--schema",
            ACME,
            "--type",
            "integer",
            "--uniqueness",
            "server",
        ],
    );
    attribute(&server, "acme", &["add", "hired", "--type", "dateTime"]);
    attribute(
        &server,
        "acme",
        &["add", "contract", "--mutability", "immutable"],
    );
    attribute(
        &server,
        "acme",
        &["add", "pin", "--mutability", "writeOnly"],
    );
    attribute(
        &server,
        "acme",
        &["add", "notes", "--returned", "request", "--multi-valued"],
    );

    assert_eq!(schema(&mut acme, ACME), ["badge"]);
    assert!(schema(&mut acme, USER).contains(&"payGrade".to_owned()));
    let types = acme.get("/ResourceTypes/User");
    let extension = json!({ "schema": ACME, "required": false });
    assert!(
        types["schemaExtensions"]
            .as_array()
            .unwrap()
            .contains(&extension)
    );
    assert_eq!(schema(&mut other, ACME), Vec::<String>::new());
    assert!(!schema(&mut other, USER).contains(&"payGrade".to_owned()));

    // "7" is no integer: kept, and not there until the client sends one. What isn't declared stays as it was.
    assert_eq!(
        acme.get(&format!("/Users/{ada}"))[ACME],
        json!({ "seat": "x" })
    );
    acme.patch(
        &format!("/Users/{ada}"),
        json!([{ "op": "replace", "path": "displayName", "value": "Ada" }]),
    );
    let set = json!([{ "op": "add", "path": format!("{ACME}:badge"), "value": 7 }]);
    assert_eq!(
        acme.patch(&format!("/Users/{ada}"), set)[ACME],
        json!({ "badge": 7, "seat": "x" })
    );

    let bob = json!({ "payGrade": "R2", (ACME): { "badge": 8 }, "hired": "2020-01-01T00:00:00+01:00",
        "contract": "c1", "pin": "1234", "notes": ["n"] });
    let (status, made) = acme.call("POST", "/Users", Some(&user("bob", bob)));
    assert_eq!(status, 201, "{made}");
    assert!(made.get("pin").is_none());
    assert_eq!(
        made["notes"],
        json!(["n"]),
        "what a client writes on request, its answer shows"
    );
    assert_eq!(made["schemas"], json!([USER, ACME]));
    let bob = format!("/Users/{}", made["id"].as_str().unwrap());
    assert!(acme.get(&bob).get("notes").is_none());
    assert_eq!(
        acme.get(&format!("{bob}?attributes=notes"))["notes"],
        json!(["n"])
    );
    acme.create(
        "/Users",
        &user(
            "cleo",
            json!({ "payGrade": "r1", "hired": "2019-12-31T23:30:00Z" }),
        ),
    );

    for (filter, found) in [
        ("payGrade eq \"r2\"", vec!["bob"]),
        ("payGrade pr", vec!["bob", "cleo"]),
        (&format!("{ACME}:badge eq 8"), vec!["bob"]),
        ("badge lt 8", vec!["ada"]),
        ("hired gt \"2019-12-31T23:15:00Z\"", vec!["cleo"]),
        ("notes eq \"n\"", vec!["bob"]),
    ] {
        assert_eq!(
            names(&mut acme, &format!("filter={filter}")),
            found,
            "{filter}"
        );
    }
    assert_eq!(names(&mut acme, "sortBy=payGrade"), ["cleo", "bob", "ada"]);
    assert_eq!(
        names(&mut acme, "sortBy=badge&sortOrder=descending"),
        ["cleo", "bob", "ada"]
    );
    acme.expect(400, "GET", "/Users?filter=pin pr", None);
    acme.expect(400, "GET", "/Users?sortBy=pin", None);
    other.expect(400, "GET", "/Users?filter=payGrade pr", None);

    // Uniqueness, within the tenant.
    let taken = user("dan", json!({ (ACME): { "badge": 8 } }));
    let refusal = acme.expect(409, "POST", "/Users", Some(&taken));
    assert_eq!(refusal["scimType"], "uniqueness");
    assert!(
        refusal["detail"].as_str().unwrap().contains("badge"),
        "{refusal}"
    );
    other.create("/Users", &taken);

    // Set once.
    let change = json!({ "schemas": ["urn:ietf:params:scim:api:messages:2.0:PatchOp"],
        "Operations": [{ "op": "replace", "path": "contract", "value": "c2" }] });
    assert_eq!(
        acme.expect(400, "PATCH", &bob, Some(&change))["scimType"],
        "mutability"
    );
    let put = acme.expect(200, "PUT", &bob, Some(&user("bob", json!({}))));
    assert_eq!(
        (&put["contract"], put.get("payGrade")),
        (&json!("c1"), None)
    );
    let put = user("bob", json!({ "contract": "c2" }));
    assert_eq!(
        acme.expect(400, "PUT", &bob, Some(&put))["scimType"],
        "mutability"
    );

    // Values of the wrong type name the attribute.
    let refusal = acme.expect(
        400,
        "POST",
        "/Users",
        Some(&user("eve", json!({ "hired": "today" }))),
    );
    assert!(
        refusal["detail"].as_str().unwrap().starts_with("hired is"),
        "{refusal}"
    );
}

#[test]
fn a_removed_attribute_is_gone_and_comes_back_with_its_values() {
    let server = Server::start();
    let mut client = Tenant::create(&server, "acme").client();
    attribute(&server, "acme", &["add", "desk"]);
    let ada = format!(
        "/Users/{}",
        client.create("/Users", &user("ada", json!({ "desk": "4.2" })))
    );
    attribute(&server, "acme", &["match", "desk"]);
    assert_eq!(names(&mut client, "filter=desk eq \"4.2\""), ["ada"]);
    attribute(&server, "acme", &["remove", "desk"]);
    assert!(client.get(&ada).get("desk").is_none());
    client.expect(400, "GET", "/Users?filter=desk pr", None);
    client.patch(
        &ada,
        json!([{ "op": "add", "path": "title", "value": "Countess" }]),
    );
    client.expect(
        200,
        "PUT",
        &ada,
        Some(&user("ada", json!({ "title": "Lady" }))),
    );
    attribute(&server, "acme", &["add", "desk", "--matching"]);
    assert_eq!(client.get(&ada)["desk"], "4.2");
    assert_eq!(names(&mut client, "filter=desk eq \"4.2\""), ["ada"]);

    // Without retention, nothing is left of what is purged.
    attribute(&server, "acme", &["remove", "desk"]);
    let listed = attribute(&server, "acme", &["list", "-o", "json"]);
    let listed: Value = serde_json::from_str(&listed).unwrap();
    assert_eq!(
        listed.as_array().unwrap().len(),
        1,
        "roleName alone: {listed}"
    );
    assert_eq!(
        (&listed[0]["path"], &listed[0]["builtIn"]),
        (&json!("roleName"), &json!(true))
    );
    refused(&server, &["remove", "desk"], "no attribute");
    refused(&server, &["remove", "roleName"], "built in");
    refused(&server, &["add", "userName"], "already");
}

/// With a clock, in this process.
#[test]
fn values_of_a_removed_attribute_are_purged_when_its_retention_ends() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).unwrap();
    let at = |days: i64| Timestamp::from_second(1_700_000_000 + days * 86_400).unwrap();
    let declaration = |name: &str| -> Declaration {
        let attribute = json!({ "name": name, "type": "string", "uniqueness": "server" });
        let whole = json!({ "resourceType": "User", "schema": ACME, "attribute": attribute });
        serde_json::from_value(whole).unwrap()
    };
    let wanted = ["gone", "kept"].map(declaration);
    let (tenant, rows) = store
        .write(at(0), move |tx| {
            let tenant = tenants::create(tx, "acme")?.unwrap().id;
            for declaration in wanted {
                attributes::declare(tx, tenant, "operator", declaration)?;
            }
            let mut rows = vec![];
            // More than are purged in one transaction.
            for i in 0..250 {
                let mut values = json!({ "gone": format!("g{i}") });
                if i % 2 == 0 {
                    values["kept"] = json!(format!("k{i}"));
                }
                let user = json!({ "userName": format!("u{i}"), (ACME): values });
                let user = user.as_object().unwrap().clone();
                rows.push(resources::insert(tx, tenant, Kind::User, user)?.id);
            }
            attributes::remove(tx, tenant, "operator", Kind::User, &format!("{ACME}:gone"))?;
            Ok((tenant, rows))
        })
        .unwrap();
    let documents = |name: &str| -> usize {
        let read = |snapshot: &rollcall::store::Snapshot<'_>| {
            rows.iter()
                .map(|id| resources::get(snapshot, tenant, Kind::User, id))
                .collect()
        };
        let all: Vec<_> = store.read(read).unwrap();
        let has = |stored: &Option<resources::Stored>| {
            stored
                .as_ref()
                .unwrap()
                .document
                .get(ACME)
                .is_some_and(|it| it.get(name).is_some())
        };
        all.iter().filter(|stored| has(stored)).count()
    };
    archive::purge_everywhere(&store, at(29)).unwrap();
    assert_eq!((documents("gone"), documents("kept")), (250, 125));
    archive::purge_everywhere(&store, at(31)).unwrap();
    assert_eq!((documents("gone"), documents("kept")), (0, 125));
    let own = store
        .read(|snapshot| rollcall::store::attributes::schemas(snapshot, tenant))
        .unwrap();
    let names: Vec<&str> = own
        .own
        .iter()
        .map(|it| it.attribute.name.as_str())
        .collect();
    assert_eq!(names, ["kept"]);
}

#[test]
fn a_complex_attribute_comes_from_a_file() {
    let server = Server::start();
    let mut client = Tenant::create(&server, "acme").client();
    let file = server.data().join("pagers.json");
    let pagers = json!({ "name": "pagers", "type": "complex", "multiValued": true, "subAttributes": [
        { "name": "value", "type": "string", "required": true }, { "name": "type", "type": "string" },
        { "name": "primary", "type": "boolean" }] });
    std::fs::write(&file, pagers.to_string()).unwrap();
    attribute(
        &server,
        "acme",
        &["add", "--file", file.to_str().unwrap(), "--matching"],
    );
    let ada = json!({ "pagers": [{ "value": "P1", "type": "work", "primary": true }] });
    let ada = format!("/Users/{}", client.create("/Users", &user("ada", ada)));
    for filter in [
        "pagers eq \"p1\"",
        "pagers[type eq \"work\" and value eq \"P1\"]",
        "pagers.value eq \"P1\"",
    ] {
        assert_eq!(
            names(&mut client, &format!("filter={filter}")),
            ["ada"],
            "{filter}"
        );
    }
    let home = json!([{ "op": "add", "path": "pagers[type eq \"home\"].value", "value": "P2" }]);
    let answer = client.patch(&ada, home);
    assert_eq!(
        answer["pagers"][1],
        json!({ "type": "home", "value": "P2" })
    );
    std::fs::write(&file, "{}").unwrap();
    refused(
        &server,
        &["add", "--file", file.to_str().unwrap()],
        "no attribute of RFC 7643",
    );
}

#[test]
fn the_page_declares_matches_and_removes() {
    const PAGE: &str = "/settings/provisioning";
    let server = Server::start();
    let mut client = Tenant::create(&server, "acme").client();
    run(&server, &["tenant", "create", "other"]);
    let ada = client.create("/Users", &user("ada", json!({ (ACME): { "badge": 7 } })));
    let mut browser = Browser::sign_in(&server, "acme");
    browser.get(PAGE);
    browser.must_show("roleName");
    let path = format!("{ACME}:badge");
    let badge = [
        ("do", "declare"),
        ("path", path.as_str()),
        ("for", "User"),
        ("type", "string"),
    ];
    browser.post(PAGE, &badge);
    browser.must_show("is declared");
    browser.must_show("1 already have a value that is none of this type");
    assert!(client.get(&format!("/Users/{ada}")).get(ACME).is_none());
    browser.post(PAGE, &badge);
    browser.must_show("is declared for a User already");
    let named = |what| [("do", what), ("path", path.as_str()), ("for", "User")];
    browser.post(PAGE, &named("match"));
    browser.must_show("is found by an index now");
    browser.must_show("yes, by an index");
    browser.post(PAGE, &named("unmatch"));
    browser.must_show("has no index any more");
    browser.post(PAGE, &named("undeclare"));
    browser.must_show("is removed");
    browser.post(
        PAGE,
        &[
            ("do", "declare"),
            ("path", "pay grade"),
            ("for", "Group"),
            ("type", "string"),
        ],
    );
    browser.must_show("is no name for an attribute");
    browser.post(
        PAGE,
        &[
            ("do", "declare"),
            ("path", "grade"),
            ("for", "Group"),
            ("type", "complex!"),
        ],
    );
    browser.must_show("Choose a type from the list");
    browser.post(
        PAGE,
        &[
            ("do", "declare"),
            ("path", "grade"),
            ("for", "Group"),
            ("type", "integer"),
            ("unique", "yes"),
        ],
    );
    browser.must_show("whole number, unique");

    let mut other = Browser::sign_in(&server, "other");
    other.get(PAGE);
    other.post(
        PAGE,
        &[("do", "undeclare"), ("path", "grade"), ("for", "Group")],
    );
    other.must_show("no attribute");
    assert_eq!(
        schema(&mut client, "urn:ietf:params:scim:schemas:core:2.0:Group")
            .last()
            .unwrap(),
        "grade"
    );
}

#[test]
fn an_attribute_of_several_parts_is_declared_on_the_page() {
    let server = Server::start();
    let tenant = Tenant::create(&server, "acme");
    let mut client = tenant.client();
    let mut browser = Browser::sign_in(&server, "acme");
    browser.get("/settings/provisioning");
    let path = "urn:ietf:params:scim:schemas:extension:acme:2.0:User:desk";
    let mut declare = |data_type: &str, parts: &str| {
        let form = [
            ("do", "declare"),
            ("path", path),
            ("for", "User"),
            ("type", data_type),
            ("parts", parts),
            ("several", "yes"),
        ];
        browser.post("/settings/provisioning", &form);
        browser.page.clone()
    };
    assert!(declare("complex", "").contains("Write the attribute&#x27;s parts, one a line"));
    assert!(declare("string", "street").contains("Only an attribute of several parts has parts"));
    assert!(declare("complex", "street texts").contains("can&#x27;t be read"));
    let page = declare("complex", "street\r\nfloor integer\r\n\r\n");
    assert!(page.contains("<code>street, floor</code>"), "{page}");
    let urn = path.rsplit_once(':').unwrap().0;
    let desk = |floor: Value| {
        user(
            "ada",
            json!({ (urn): { "desk": [{ "street": "Main", "floor": floor }] } }),
        )
    };
    let refused = client.expect(400, "POST", "/Users", Some(&desk(json!("third"))));
    assert_eq!(refused["scimType"], "invalidValue");
    client.create("/Users", &desk(json!(3)));
    assert_eq!(
        client.find("/Users", &format!("{path}[floor gt 2]")).len(),
        1
    );
}
