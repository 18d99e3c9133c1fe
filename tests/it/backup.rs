//! Backups: copies that are made while clients write, and what comes back of them.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::{Command, Output};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rusqlite::{Connection, OpenFlags};
use serde_json::{Value, json};

use crate::browser::Browser;
use crate::support::{PATIENCE, Server};
use crate::tenant::{ScimClient, Tenant, run, text, user};

const CLIENTS: usize = 4;

/// Runs a command on a data folder of which nobody has to be a server.
fn rollcall(folder: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rollcall"));
    command.arg("--data").arg(folder).args(arguments);
    command.output().unwrap()
}

/// What a command that must fail says.
#[track_caller]
fn fails(folder: &Path, arguments: &[&str]) -> String {
    let output = rollcall(folder, arguments);
    assert_eq!(output.status.code(), Some(1), "{arguments:?}: {output:?}");
    String::from_utf8(output.stderr).unwrap()
}

/// The ids of users that the server has acknowledged, while clients go on making more.
#[derive(Default)]
struct Load {
    acknowledged: Mutex<BTreeSet<String>>,
    enough: AtomicBool,
}

impl Load {
    /// Runs `during` while clients write, once each of them has begun to.
    fn run<T>(&self, tenant: &Tenant<'_>, during: impl FnOnce() -> T) -> T {
        thread::scope(|scope| {
            for number in 0..CLIENTS {
                let client = tenant.client();
                scope.spawn(move || self.write(client, number));
            }
            while self.acknowledged().len() < 10 * CLIENTS {
                thread::yield_now();
            }
            let result = during();
            self.enough.store(true, Ordering::Relaxed);
            result
        })
    }

    fn write(&self, mut client: ScimClient, number: usize) {
        for count in 0..100_000 {
            if self.enough.load(Ordering::Relaxed) {
                return;
            }
            let name = format!("u{number}-{count}");
            let id = client.create("/Users", &user(&name, json!({"title": "x".repeat(500)})));
            self.acknowledged.lock().unwrap().insert(id);
        }
    }

    fn acknowledged(&self) -> BTreeSet<String> {
        self.acknowledged.lock().unwrap().clone()
    }
}

/// Who was created up to an event, as the feed tells.
fn created_until(server: &Server, event: i64) -> BTreeSet<String> {
    let feed = run(
        server,
        &[
            "events",
            "--tenant",
            "contoso",
            "--kind",
            "user.created",
            "-o",
            "json",
        ],
    );
    feed.lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .filter(|told| told["seq"].as_i64().unwrap() <= event)
        .map(|told| text(&told["subject"]))
        .collect()
}

#[test]
fn a_backup_under_load_brings_back_exactly_its_moment() {
    let (folder, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let file = elsewhere.path().join("copy.db");
    let name = file.to_str().unwrap();
    let mut server = Server::start_in(folder.path());
    let tenant = Tenant::create(&server, "contoso");
    let token = tenant.token.clone();
    let load = Load::default();
    let (before, made) = load.run(&tenant, || {
        let before = load.acknowledged();
        let made = run(&server, &["backup", name, "-o", "json"]);
        assert!(fails(folder.path(), &["backup", name]).contains("there already"));
        let made: Value = serde_json::from_str(&made).unwrap();
        (before, made)
    });
    let event = made["event"].as_i64().unwrap();
    let expected = created_until(&server, event);
    assert!(
        expected.is_superset(&before),
        "something acknowledged is lost"
    );
    assert_eq!(made["users"], expected.len());
    assert_eq!(made["bytes"], fs::metadata(&file).unwrap().len());
    let after = load.acknowledged();
    assert!(
        after.len() > expected.len(),
        "nobody wrote during the backup"
    );

    server.kill();
    for entry in fs::read_dir(folder.path()).unwrap() {
        fs::write(entry.unwrap().path(), "destroyed").unwrap();
    }
    let restored = rollcall(folder.path(), &["restore", name]);
    assert!(restored.status.success(), "{restored:?}");
    let server = Server::start_in(folder.path());
    let found = ScimClient::new(&server, &token).all("/Users");
    assert_eq!(found.into_keys().collect::<BTreeSet<_>>(), expected);
    assert_eq!(created_until(&server, i64::MAX), expected);
}

/// Somebody who tries a password.
fn sign_in(server: &Server, name: &str, password: &str) -> (u16, Browser) {
    let mut browser = Browser::new(server);
    browser.get("/sign-in");
    let answer = browser.post("/sign-in", &[("email", name), ("password", password)]);
    (answer.status, browser)
}

#[test]
fn after_a_restore_people_sign_in_as_at_the_backup_s_moment() {
    const OLD: &str = "Zwetschgen-Roster";
    const NEW: &str = "Kobalt und Flieder";
    let (folder, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let path = |name: &str| elsewhere.path().join(name).to_str().unwrap().to_owned();
    let mut server = Server::start_in(folder.path());
    let tenant = Tenant::create(&server, "contoso");
    let token = tenant.token.clone();
    run(
        &server,
        &["tenant", "set", "contoso", "--password-sign-in", "on"],
    );
    fs::write(path("old"), OLD).unwrap();
    fs::write(path("new"), NEW).unwrap();
    let account = [
        "account",
        "create",
        "boss@contoso.example",
        "--tenant",
        "contoso",
    ];
    run(
        &server,
        &[&account[..], &["--password-file", &path("old")]].concat(),
    );
    let mut client = tenant.client();
    let mut push = |name: &str| client.create("/Users", &user(name, json!({"password": OLD})));
    let (ana, bob) = (push("ana"), push("bob"));
    let everybody = ["boss@contoso.example", "ana", "bob"];
    let [mut boss, _, _] = everybody.map(|name| {
        let (status, browser) = sign_in(&server, name, OLD);
        assert_eq!(status, 200, "{name}");
        browser
    });

    let state = |server: &Server, name: &str| {
        run(
            server,
            &["export", "--tenant", "contoso", "--events", &path(name)],
        );
        (
            fs::read(path(name)).unwrap(),
            run(server, &["log", "--tenant", "contoso", "-o", "json"]),
        )
    };
    let before = state(&server, "before");
    run(&server, &["backup", &path("copy.db")]);

    let password = json!([{"op": "replace", "path": "password", "value": NEW}]);
    client.patch(&format!("/Users/{ana}"), password);
    client.expect(204, "DELETE", &format!("/Users/{bob}"), None);
    client.create("/Users", &user("late", json!({"password": OLD})));
    run(
        &server,
        &[
            "account",
            "reset",
            "boss@contoso.example",
            "--password-file",
            &path("new"),
        ],
    );
    let (status, mut late) = sign_in(&server, "late", OLD);
    assert_eq!(status, 200);
    assert_ne!(state(&server, "after"), before);

    server.kill();
    for entry in fs::read_dir(folder.path()).unwrap() {
        fs::write(entry.unwrap().path(), "destroyed").unwrap();
    }
    let restored = rollcall(folder.path(), &["restore", &path("copy.db")]);
    assert!(restored.status.success(), "{restored:?}");
    let server = Server::start_in(folder.path());
    assert!(
        state(&server, "restored") == before,
        "another state than at the backup's moment"
    );
    // Sessions, too: those of then, and no later one.
    assert_eq!(boss.move_to(&server).get("/settings").status, 200);
    late.move_to(&server).get("/me");
    assert!(late.path.starts_with("/sign-in"), "{}", late.path);
    for name in everybody {
        assert_eq!(sign_in(&server, name, OLD).0, 200, "{name}");
    }
    for (name, password) in [("boss@contoso.example", NEW), ("ana", NEW), ("late", OLD)] {
        assert_eq!(sign_in(&server, name, password).0, 403, "{name}");
    }
    // And the provider goes on.
    let mut client = ScimClient::new(&server, &token);
    client.create("/Users", &user("next", json!({"password": OLD})));
    assert_eq!(sign_in(&server, "next", OLD).0, 200);
}

#[test]
fn nothing_is_restored_under_a_server_nor_from_half_a_file() {
    let (folder, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let file = elsewhere.path().join("copy.db");
    let name = file.to_str().unwrap();
    let mut server = Server::start_in(folder.path());
    let tenant = Tenant::create(&server, "contoso");
    run(&server, &["backup", name]);
    let id = tenant.client().create("/Users", &user("later", json!({})));

    let refused = fails(folder.path(), &["restore", name]);
    assert!(refused.contains("stop that one first"), "{refused}");
    let second = fails(folder.path(), &["serve", "--listen", "127.0.0.1:0"]);
    assert!(second.contains("stop that one first"), "{second}");
    tenant.client().get(&format!("/Users/{id}"));
    let token = tenant.token.clone();
    server.terminate();
    assert!(server.wait().success());

    let whole = fs::read(&file).unwrap();
    fs::write(&file, &whole[..whole.len() / 2]).unwrap();
    fails(folder.path(), &["restore", name]);
    fails(folder.path(), &["restore", &format!("{name}.missing")]);
    let server = Server::start_in(folder.path());
    ScimClient::new(&server, &token).get(&format!("/Users/{id}"));
}

/// What a program that ships the WAL elsewhere does: it keeps a read open, so that the WAL isn't begun anew, and copies
/// the database and then the WAL, whatever is written meanwhile.
#[test]
fn the_database_and_its_wal_open_clean_as_they_are_at_any_moment() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start_in(folder.path());
    let tenant = Tenant::create(&server, "contoso");
    let load = Load::default();
    let rounds = load.run(&tenant, || {
        let database = folder.path().join("rollcall.db");
        let reader =
            Connection::open_with_flags(&database, OpenFlags::SQLITE_OPEN_READ_WRITE).unwrap();
        (0..10)
            .map(|round| {
                let copy = tempfile::tempdir().unwrap();
                let before = load.acknowledged();
                reader.execute_batch("BEGIN; SELECT 1 FROM tenant").unwrap();
                fs::copy(&database, copy.path().join("rollcall.db")).unwrap();
                if round % 2 == 0 {
                    // Pages wander into the database, but those that are read stay where they are.
                    let checkpoint = Connection::open(&database).unwrap();
                    checkpoint.busy_timeout(PATIENCE).unwrap();
                    checkpoint
                        .query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(()))
                        .unwrap();
                }
                let wal = folder.path().join("rollcall.db-wal");
                fs::copy(wal, copy.path().join("rollcall.db-wal")).unwrap();
                reader.execute_batch("COMMIT").unwrap();
                (before, copy)
            })
            .collect::<Vec<_>>()
    });
    for (round, (before, copy)) in rounds.iter().enumerate() {
        let output = rollcall(
            copy.path(),
            &["user", "list", "--tenant", "contoso", "-o", "json"],
        );
        assert!(output.status.success(), "round {round}: {output:?}");
        let rows: Vec<Value> = serde_json::from_slice(&output.stdout).unwrap();
        let ids: BTreeSet<String> = rows.iter().map(|row| text(&row["id"])).collect();
        assert!(ids.is_superset(before), "round {round}: something is lost");
        let conn = Connection::open(copy.path().join("rollcall.db")).unwrap();
        let found: String = conn
            .query_row("PRAGMA integrity_check", [], |row| row.get(0))
            .unwrap();
        assert_eq!(found, "ok", "round {round}");
    }
}

/// Waits until the server's log says this.
#[track_caller]
fn wait_for(server: &Server, words: &str) {
    let deadline = Instant::now() + PATIENCE;
    while !server.stderr().contains(words) {
        assert!(Instant::now() < deadline, "{}", server.stderr());
        thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_server_makes_backups_by_itself_and_keeps_the_newest() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("backups");
    let options = [
        "--backup-dir",
        dir.to_str().unwrap(),
        "--backup-every",
        "1s",
    ];
    let mut server = Server::start_with(&[&options[..], &["--backup-keep", "1"]].concat());
    wait_for(&server, "backed up to");
    let aside = folder.path().join("aside");
    fs::rename(&dir, &aside).unwrap();
    fs::write(&dir, "no folder").unwrap();
    wait_for(&server, "no backup was made, trying again");
    fs::remove_file(&dir).unwrap();
    fs::rename(&aside, &dir).unwrap();
    wait_for(&server, "removed 1 older backups");
    server.terminate();
    assert!(server.wait().success());
    let mut backups = fs::read_dir(&dir).unwrap();
    let backup = backups.next().unwrap().unwrap().path();
    assert!(backups.next().is_none(), "more than one is kept");
    let restored = rollcall(&server.data(), &["restore", backup.to_str().unwrap()]);
    assert!(restored.status.success(), "{restored:?}");
}

#[test]
fn a_folder_for_backups_that_cannot_be_made_is_an_error_at_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let missing = folder.path().join("disk").join("backups");
    let dir = missing.to_str().unwrap();
    let options = ["serve", "--listen", "127.0.0.1:0", "--backup-dir", dir];
    let said = fails(folder.path(), &options);
    assert!(said.contains("making the folder for backups"), "{said}");
}
