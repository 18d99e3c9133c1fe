//! Every released schema becomes the newest one.
//!
//! `data/schema/vN.sql` is a database with a little in it, as the first release with schema version N makes it. Whoever
//! changes `schema.sql` adds a step to `src/store/upgrade.rs` and makes the file of the new version by
//! `REGENERATE=1 cargo test --test it schema`. As long as no release has a version, that command makes its file anew, and
//! no step is needed. A file whose release is out never changes.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use rusqlite::Connection;
use serde_json::{Value, json};

use crate::browser::Browser;
use crate::support::Server;
use crate::tenant::{ScimClient, Tenant, group, run, text, user};

const ADMIN: &str = "admin@example.org";
const PERSON: &str = "ana@example.org";
const PASSWORD: &str = "Zwetschgen-Roster";

/// All released schemas, from version 1 on, and the one that is on its way.
fn files() -> &'static [PathBuf] {
    static FILES: OnceLock<Vec<PathBuf>> = OnceLock::new();
    FILES.get_or_init(|| {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/schema");
        let server = Server::start();
        let newest = server.number("PRAGMA user_version");
        let all: Vec<_> = (1..=newest)
            .map(|version| folder.join(format!("v{version}.sql")))
            .collect();
        if std::env::var_os("REGENERATE").is_some() {
            write(all.last().unwrap(), newest);
        }
        let expected: BTreeSet<_> = all.iter().cloned().collect();
        let found: BTreeSet<_> = fs::read_dir(&folder)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .collect();
        assert_eq!(
            found, expected,
            "one file for each version: REGENERATE=1 cargo test --test it schema"
        );
        all
    })
}

/// The first line of a file.
fn head(version: i64, release: &str) -> String {
    format!(
        "-- Schema version {version} as rollcall {release} makes it, with a little in it: see tests/it/schema.rs.\n"
    )
}

/// Writes what a server makes that lives a little, unless its release is out.
fn write(file: &Path, version: i64) {
    let changelog = include_str!("../../CHANGELOG.md");
    let is_coming = |release: &str| changelog.contains(&format!("\n## {release} (unreleased)\n"));
    if let Ok(old) = fs::read_to_string(file) {
        let words: Vec<&str> = old.lines().next().unwrap().split(' ').collect();
        assert_eq!(words[..2], ["--", "Schema"], "{}", file.display());
        assert!(
            is_coming(words[6]),
            "version {version} came with {}: add a step to src/store/upgrade.rs",
            words[6]
        );
    }
    let mut server = Server::start();
    live(&server);
    server.terminate();
    assert!(server.wait().success());
    let conn = Connection::open(server.data().join("rollcall.db")).unwrap();
    let words = head(version, env!("CARGO_PKG_VERSION")) + &dump(&conn);
    fs::write(file, words).unwrap();
}

/// A bit of everything that is worth keeping.
fn live(server: &Server) {
    let acme = Tenant::create(server, "acme");
    run(
        server,
        &["tenant", "set", "acme", "--password-sign-in", "on"],
    );
    let file = server.data().join("password");
    fs::write(&file, PASSWORD).unwrap();
    let file = file.to_str().unwrap();
    run(
        server,
        &[
            "account",
            "create",
            ADMIN,
            "--tenant",
            "acme",
            "--password-file",
            file,
        ],
    );
    run(
        server,
        &["role", "--tenant", "acme", "map", "Boss", "Admin"],
    );
    run(
        server,
        &["role", "--tenant", "acme", "map-group", "SRE", "Team lead"],
    );
    run(server, &["token", "create", "--tenant", "acme", "--api"]);
    let mut client = acme.client();
    let ana = json!({"password": PASSWORD, "roleName": "Boss", "externalId": "a",
                     "emails": [{"value": PERSON, "type": "work", "primary": true}]});
    let ana = client.create("/Users", &user(PERSON, ana));
    let bob = client.create("/Users", &user("bob@example.org", json!({"title": "Züge"})));
    let gone = client.create("/Users", &user("gone@example.org", json!({})));
    let sre = json!({"members": [{"value": ana}, {"value": gone}]});
    let sre = client.create("/Groups", &group("SRE", sre));
    client.create(
        "/Groups",
        &group("Everybody", json!({"members": [{"value": sre}]})),
    );
    let moved = json!([{"op": "add", "path": "members", "value": [{"value": bob}]}]);
    client.patch(&format!("/Groups/{sre}"), moved);
    client.expect(204, "DELETE", &format!("/Users/{gone}"), None);
    client.expect(409, "POST", "/Users", Some(&user(PERSON, json!({}))));
    assert_eq!(sign_in(server, ADMIN), 200);
    assert_eq!(sign_in(server, PERSON), 200);
}

fn sign_in(server: &Server, name: &str) -> u16 {
    let mut browser = Browser::new(server);
    browser.get("/sign-in");
    let fields = [("email", name), ("password", PASSWORD)];
    browser.post("/sign-in", &fields).status
}

/// The database as SQL. Triggers come last: what they would do is among the rows.
fn dump(conn: &Connection) -> String {
    let mut sql = String::from("PRAGMA foreign_keys = OFF;\nBEGIN;\n");
    let own = "FROM sqlite_schema WHERE sql IS NOT NULL AND name NOT LIKE 'sqlite_%'";
    let tables = format!("SELECT name, sql {own} AND type = 'table' ORDER BY rowid");
    let tables = rows(conn, &tables);
    for table in &tables {
        sql += &format!("{};\n", table[1]);
    }
    let sequence = vec!["sqlite_sequence".to_owned()];
    for table in tables.iter().chain([&sequence]) {
        let name = &table[0];
        let columns = format!("SELECT name FROM pragma_table_xinfo('{name}') WHERE hidden = 0");
        let quoted: Vec<_> = rows(conn, &columns)
            .concat()
            .iter()
            .map(|column| format!("quote(\"{column}\")"))
            .collect();
        for row in rows(conn, &format!("SELECT {} FROM {name}", quoted.join(", "))) {
            sql += &format!("INSERT INTO {name} VALUES ({});\n", row.join(", "));
        }
    }
    for other in rows(
        conn,
        &format!("SELECT sql {own} AND type <> 'table' ORDER BY rowid"),
    ) {
        sql += &format!("{};\n", other[0]);
    }
    for pragma in ["application_id", "user_version"] {
        let value = &rows(conn, &format!("SELECT {pragma} FROM pragma_{pragma}"))[0][0];
        sql += &format!("PRAGMA {pragma} = {value};\n");
    }
    sql + "COMMIT;\n"
}

/// What a query answers, all as text.
#[track_caller]
fn rows(conn: &Connection, query: &str) -> Vec<Vec<String>> {
    let mut statement = conn
        .prepare(query)
        .unwrap_or_else(|error| panic!("{query}: {error}"));
    let count = statement.column_count();
    let row = |row: &rusqlite::Row<'_>| {
        (0..count)
            .map(|column| {
                Ok(match row.get(column)? {
                    rusqlite::types::Value::Null => String::new(),
                    rusqlite::types::Value::Integer(number) => number.to_string(),
                    rusqlite::types::Value::Text(text) => text,
                    other => panic!("{query}: {other:?}"),
                })
            })
            .collect::<rusqlite::Result<Vec<_>>>()
    };
    let found = statement.query_map([], row).unwrap();
    found.map(Result::unwrap).collect()
}

/// What the statements say that made it, without comments and white space.
fn statements(conn: &Connection, kinds: &str) -> BTreeSet<String> {
    let query = format!("SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL AND {kinds}");
    let bare = |line: &str| line.split("--").next().unwrap_or_default().to_owned() + " ";
    rows(conn, &query)
        .concat()
        .iter()
        .map(|sql| sql.lines().map(bare).collect::<String>())
        .map(|sql| sql.split_whitespace().collect::<Vec<_>>().join(" "))
        .collect()
}

/// What a database is made of, however it came to be: ALTER TABLE leaves other statements behind than `schema.sql`, and
/// puts a column at the end.
fn structure(conn: &Connection) -> BTreeSet<String> {
    let tables = "pragma_table_list AS t JOIN";
    let mut found: BTreeSet<String> = [
        "SELECT name, type, wr, strict FROM pragma_table_list".to_owned(),
        format!("SELECT t.name, c.name, c.type, c.\"notnull\", dflt_value, pk, hidden FROM {tables} pragma_table_xinfo(t.name) AS c"),
        format!("SELECT t.name, i.name, \"unique\", origin, partial, seqno, c.name, \"desc\", coll, key
                 FROM {tables} pragma_index_list(t.name) AS i JOIN pragma_index_xinfo(i.name) AS c"),
        format!("SELECT t.name, \"from\", \"table\", \"to\", on_update, on_delete FROM {tables} pragma_foreign_key_list(t.name)"),
    ]
    .iter()
    .flat_map(|query| rows(conn, query))
    .map(|row| row.join(" "))
    .collect();
    found.extend(statements(conn, "type <> 'table'"));
    found
}

#[track_caller]
fn assert_same(found: &BTreeSet<String>, expected: &BTreeSet<String>, words: &str) {
    let (more, less): (Vec<_>, Vec<_>) = (
        found.difference(expected).collect(),
        expected.difference(found).collect(),
    );
    assert!(
        more.is_empty() && less.is_empty(),
        "{words}\nit has {more:#?}\nand lacks {less:#?}"
    );
}

/// Makes the database of a file in a data folder.
fn load(file: &Path, data: &Path) -> Connection {
    fs::create_dir(data).unwrap();
    let conn = Connection::open(data.join("rollcall.db")).unwrap();
    conn.execute_batch(&fs::read_to_string(file).unwrap())
        .unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    conn
}

fn open(data: &Path) -> Connection {
    Connection::open(data.join("rollcall.db")).unwrap()
}

#[test]
fn a_changed_schema_has_a_version_of_its_own() {
    let (fresh, folder) = (Server::start(), tempfile::tempdir().unwrap());
    let newest = load(files().last().unwrap(), &folder.path().join("data"));
    assert_same(
        &statements(&newest, "true"),
        &statements(&open(&fresh.data()), "true"),
        "schema.sql has changed. Where its version is released, add a step to src/store/upgrade.rs. Then run \
         REGENERATE=1 cargo test --test it schema",
    );
}

#[test]
fn every_released_schema_becomes_the_newest_one_with_all_that_was_in_it() {
    let fresh = Server::start();
    let newest = files().len();
    for (version, file) in (1..).zip(files()) {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("data");
        let old = load(file, &data);
        let names = "SELECT document ->> '$.userName' FROM resource WHERE kind = 'User' AND deleted_at IS NULL";
        let expected: BTreeSet<_> = rows(&old, names).concat().into_iter().collect();
        assert!(expected.contains(PERSON), "{expected:?}");
        let counts = "SELECT (SELECT count(*) FROM event), (SELECT count(*) FROM exchange)";
        let counted = rows(&old, counts);
        drop(old);
        let server = Server::start_in(&data);
        let upgraded = open(&data);
        assert_same(
            &structure(&upgraded),
            &structure(&open(&fresh.data())),
            &file.display().to_string(),
        );
        assert_eq!(rows(&upgraded, "PRAGMA integrity_check"), [["ok"]]);
        assert!(rows(&upgraded, "PRAGMA foreign_key_check").is_empty());
        assert_eq!(rows(&upgraded, counts), counted);
        let token = run(&server, &["token", "create", "--tenant", "acme"]);
        let users = ScimClient::new(&server, &token).all("/Users");
        let found: BTreeSet<_> = users
            .values()
            .map(|user: &Value| text(&user["userName"]))
            .collect();
        assert_eq!(found, expected);
        assert_eq!(sign_in(&server, ADMIN), 200);
        assert_eq!(sign_in(&server, PERSON), 200);
        // As it was, it stays beside the new one.
        let kept = data.join(format!("rollcall.db.before-version-{newest}"));
        assert_eq!(kept.exists(), version < newest, "{}", kept.display());
    }
}

#[test]
fn a_newer_schema_is_refused_and_left_as_it_is() {
    let mut server = Server::start();
    server.terminate();
    server.wait();
    let path = server.data().join("rollcall.db");
    open(&server.data())
        .pragma_update(None, "user_version", 1 + files().len() as i64)
        .unwrap();
    let before = fs::read(&path).unwrap();
    for arguments in [
        &["serve", "--listen", "127.0.0.1:0"][..],
        &["tenant", "list"],
    ] {
        let output = server.rollcall(arguments);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains("used by a newer rollcall"), "{said}");
    }
    assert!(fs::read(&path).unwrap() == before);
}
