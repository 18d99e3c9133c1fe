//! The machine lets us down: no room, a limit, a disk that is read-only, a database that is removed or damaged. Writes say so, reads go on, and
//! nothing that was acknowledged is lost.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use crate::browser::Browser;
use crate::forward::Proxy;
use crate::preload::library;
use crate::support::Server;
use crate::tenant::{ScimClient, Tenant, group, run, text, user};

const KIB: usize = 1024;

/// A small disk of its own. `None` where we may not mount one; then the test of limits stands for it.
struct Disk {
    dir: tempfile::TempDir,
}

impl Disk {
    fn of(options: &str) -> Option<Disk> {
        let disk = Disk {
            dir: tempfile::tempdir().unwrap(),
        };
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", options, "tmpfs"])
            .arg(disk.dir.path())
            .output();
        if mounted.is_ok_and(|output| output.status.success()) {
            return Some(disk);
        }
        eprintln!("not shown here: mounting a small disk needs root");
        None
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount")
            .arg("-l")
            .arg(self.dir.path())
            .output();
    }
}

/// A user with some weight, so that few of them fill what there is.
fn heavy(number: usize) -> Value {
    user(
        &format!("u{number}@example.org"),
        json!({ "title": "t".repeat(20 * KIB) }),
    )
}

/// Creates users until one is refused. Returns those that were acknowledged, and the refusal.
#[track_caller]
fn fill(client: &mut ScimClient, from: usize) -> (BTreeSet<String>, Value) {
    let mut made = BTreeSet::new();
    for number in from..from + 3000 {
        let (status, body) = client.call("POST", "/Users", Some(&heavy(number)));
        match status {
            201 => made.insert(body["id"].as_str().unwrap().to_owned()),
            503 => return (made, body),
            other => panic!("{other} {body}"),
        };
    }
    panic!("there was always room");
}

/// Reading goes on, all that was acknowledged is there, and nothing that was refused.
#[track_caller]
fn assert_whole(client: &mut ScimClient, made: &BTreeSet<String>) {
    let mut found = BTreeSet::new();
    loop {
        let path = format!(
            "/Users?attributes=id&count=500&startIndex={}",
            found.len() + 1
        );
        let page = client.expect(200, "GET", &path, None);
        let ids = page["Resources"].as_array().unwrap();
        found.extend(ids.iter().map(|one| one["id"].as_str().unwrap().to_owned()));
        if found.len() as u64 >= page["totalResults"].as_u64().unwrap() {
            break;
        }
    }
    assert_eq!(found, *made);
}

#[track_caller]
fn assert_integrity(server: &Server) {
    let report = run_doctor(server);
    let integrity = report
        .iter()
        .find(|one| one["check"] == "integrity")
        .unwrap();
    assert_eq!(integrity["state"], "ok", "{integrity}");
}

fn run_doctor(server: &Server) -> Vec<Value> {
    let output = server.rollcall(&["doctor", "-o", "json"]);
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn a_full_disk_refuses_writes_and_everything_goes_on_once_there_is_room() {
    let Some(disk) = Disk::of("size=12m") else {
        return;
    };
    let server = Server::start_in(&disk.dir.path().join("data"));
    let acme = Tenant::create(&server, "acme");
    let mut client = acme.client();
    let filler = disk.dir.path().join("filler");
    fs::write(&filler, vec![1; 6 * KIB * KIB]).unwrap();
    let (mut made, refusal) = fill(&mut client, 0);
    let detail = refusal["detail"].as_str().unwrap();
    assert!(
        detail.contains("disk") && detail.contains("nothing was changed"),
        "{detail}"
    );
    let answer = client.bytes("POST", "/Users", Some(heavy(9000).to_string().as_bytes()));
    assert_eq!(
        (answer.status, answer.header("retry-after")),
        (503, Some("60"))
    );
    assert_whole(&mut client, &made);
    // Others notice nothing either, and pages say it in words.
    assert_eq!(server.anyone().get("/healthz").status, 200);
    assert_eq!(server.anyone().get("/readyz").status, 200);
    assert!(
        run_doctor(&server)
            .iter()
            .any(|one| one["check"] == "disk" && one["state"] == "fail")
    );
    fs::remove_file(&filler).unwrap();
    for number in 5000..5010 {
        made.insert(client.create("/Users", &heavy(number)));
    }
    assert_whole(&mut client, &made);
    assert_integrity(&server);
}

#[test]
fn a_limit_for_files_is_survived_like_a_full_disk() {
    let server = Server::start();
    let acme = Tenant::create(&server, "acme");
    let mut client = acme.client();
    let mut made: BTreeSet<String> = (0..3)
        .map(|n| client.create("/Users", &heavy(10_000 + n)))
        .collect();
    let wal = fs::metadata(server.data().join("rollcall.db-wal"))
        .unwrap()
        .len();
    limit(&server, &(wal + 400 * KIB as u64).to_string());
    let (more, refusal) = fill(&mut client, 0);
    made.extend(more);
    assert!(
        refusal["detail"].as_str().unwrap().contains("disk"),
        "{refusal}"
    );
    assert_whole(&mut client, &made);
    limit(&server, "unlimited");
    for number in 5000..5010 {
        made.insert(client.create("/Users", &heavy(number)));
    }
    assert_whole(&mut client, &made);
    assert_integrity(&server);
}

/// Sets how large its files may get, in bytes.
#[track_caller]
fn limit(server: &Server, bytes: &str) {
    let set = Command::new("prlimit")
        .args([
            "--pid",
            &server.process().to_string(),
            &format!("--fsize={bytes}:"),
        ])
        .output()
        .unwrap();
    assert!(
        set.status.success(),
        "{}",
        String::from_utf8_lossy(&set.stderr)
    );
}

#[test]
fn a_database_that_was_removed_or_replaced_is_noticed_and_not_written_to() {
    let server = Server::start();
    let acme = Tenant::create(&server, "acme");
    let mut client = acme.client();
    let kept = client.create("/Users", &user("a@example.org", json!({})));
    let path = server.data().join("rollcall.db");
    let aside = server.data().join("aside.db");
    fs::rename(&path, &aside).unwrap();
    assert_refused(&server, &mut client, "b@example.org");
    client.expect(200, "GET", &format!("/Users/{kept}"), None);
    fs::copy(&aside, &path).unwrap();
    assert_refused(&server, &mut client, "c@example.org");
    fs::rename(&aside, &path).unwrap();
    client.create("/Users", &user("b@example.org", json!({})));
    assert_eq!(server.anyone().get("/readyz").status, 200);
    let found = client.expect(200, "GET", "/Users?attributes=userName", None);
    assert_eq!(found["totalResults"], 2);
    assert_integrity(&server);
}

#[track_caller]
fn assert_refused(server: &Server, client: &mut ScimClient, name: &str) {
    let refusal = client.expect(503, "POST", "/Users", Some(&user(name, json!({}))));
    let detail = refusal["detail"].as_str().unwrap();
    assert!(detail.contains("removed or replaced"), "{detail}");
    assert_eq!(server.anyone().get("/readyz").status, 503);
    assert_eq!(server.anyone().get("/healthz").status, 200);
}

#[test]
fn a_damaged_page_is_reported_and_not_repaired() {
    let folder = tempfile::tempdir().unwrap();
    let mut server = Server::start_in(folder.path());
    let token = Tenant::create(&server, "acme").token;
    let mut client = ScimClient::new(&server, &token);
    for number in 0..200 {
        client.create(
            "/Users",
            &user(
                &format!("u{number}@example.org"),
                json!({ "title": "t".repeat(2000) }),
            ),
        );
    }
    server.terminate();
    server.wait();
    let path = folder.path().join("rollcall.db");
    damage(&path, "resource");
    let damaged = fs::read(&path).unwrap();
    let server = Server::start_in(folder.path());
    let mut client = ScimClient::new(&server, &token);
    let answer = client.bytes("GET", "/Users?count=200", None);
    assert_eq!(answer.status, 503, "{answer:?}");
    assert!(answer.text().contains("rollcall doctor"), "{answer:?}");
    assert!(server.stderr().contains("malformed"), "{}", server.stderr());
    assert_eq!(
        fs::read(&path).unwrap(),
        damaged,
        "nothing mends it silently"
    );
    assert_eq!(server.anyone().get("/healthz").status, 200);
    let report = run_doctor(&server);
    let integrity = |one: &&Value| one["check"] == "integrity" || one["check"] == "database";
    let fault = report.iter().find(integrity).unwrap();
    assert!(
        fault["fix"].as_str().unwrap().contains("rollcall restore"),
        "{fault}"
    );
}

/// Overwrites the pages of a table but its first.
fn damage(path: &Path, table: &str) {
    let conn = rusqlite::Connection::open(path).unwrap();
    let root: u32 = conn
        .query_row(
            "SELECT rootpage FROM sqlite_schema WHERE name = ?",
            [table],
            |row| row.get(0),
        )
        .unwrap();
    drop(conn);
    let file = fs::OpenOptions::new()
        .read(true)
        .write(true)
        .open(path)
        .unwrap();
    let mut page = [0; 4096];
    file.read_exact_at(&mut page, (u64::from(root) - 1) * 4096)
        .unwrap();
    assert_eq!(page[0], 5, "an interior page of a table");
    let cells = u16::from_be_bytes([page[3], page[4]]) as usize;
    for cell in 0..cells {
        let at = u16::from_be_bytes([page[12 + 2 * cell], page[13 + 2 * cell]]) as usize;
        let child = u32::from_be_bytes(page[at..at + 4].try_into().unwrap());
        file.write_all_at(&[0xaa; 512], (u64::from(child) - 1) * 4096)
            .unwrap();
    }
}

/// Members are written as they are read: where one of them can't be, the answer is no half of a list.
#[test]
fn a_member_that_cannot_be_read_fails_the_whole_answer() {
    let server = Server::start();
    let mut client = Tenant::create(&server, "contoso").client();
    let people = ["ada", "ben"].map(|name| client.create("/Users", &user(name, json!({}))));
    let members = people.each_ref().map(|id| json!({"value": id}));
    let id = client.create("/Groups", &group("SRE", json!({"members": members})));
    let conn = rusqlite::Connection::open(server.data().join("rollcall.db")).unwrap();
    let no_text = "UPDATE resource SET display = CAST(x'ff' AS TEXT) WHERE id = ?";
    conn.execute(no_text, [&people[1]]).unwrap();
    for path in [format!("/Groups/{id}"), "/Groups".to_owned()] {
        let refusal = client.expect(500, "GET", &path, None);
        assert!(text(&refusal["detail"]).contains("request id"), "{refusal}");
    }
    let without = client.get(&format!("/Groups/{id}?excludedAttributes=members"));
    assert_eq!(without["displayName"], "SRE");
}

#[test]
fn a_read_only_disk_is_named_at_the_start() {
    let Some(disk) = Disk::of("size=12m") else {
        return;
    };
    let data: PathBuf = disk.dir.path().join("data");
    let mut server = Server::start_in(&data);
    run(&server, &["tenant", "create", "acme"]);
    server.terminate();
    server.wait();
    let remounted = Command::new("mount")
        .args(["-o", "remount,ro"])
        .arg(disk.dir.path())
        .output()
        .unwrap();
    assert!(remounted.status.success());
    assert_not_started(
        Command::new(env!("CARGO_BIN_EXE_rollcall")),
        &data,
        "Read-only file system",
    );
    let report = run_doctor(&server);
    let found = report
        .iter()
        .find(|one| one["check"] == "database")
        .unwrap();
    let words = found["found"].as_str().unwrap();
    assert!(words.contains("Read-only file system"), "{found}");
}

/// A server that can't start says why, names what it is about and ends.
#[track_caller]
fn assert_not_started(mut command: Command, data: &Path, reason: &str) {
    let output = command
        .args(["serve", "--listen", "127.0.0.1:0", "--data"])
        .arg(data)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(
        said.contains(reason)
            && said.contains(data.to_str().unwrap())
            && said.contains("have to be writable"),
        "{said}"
    );
}

/// The program, for which permissions count: who is root has to give up what passes over them.
fn bound_by_permissions() -> Command {
    if fs::metadata("/proc/self").unwrap().uid() != 0 {
        return Command::new(env!("CARGO_BIN_EXE_rollcall"));
    }
    let mut command = Command::new("setpriv");
    command
        .arg("--bounding-set=-dac_override,-dac_read_search")
        .arg(env!("CARGO_BIN_EXE_rollcall"));
    command
}

#[test]
fn what_may_not_be_written_is_named_at_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let mut server = Server::start_in(&data);
    server.terminate();
    server.wait();
    let set = |path: &Path, mode| {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    };
    for (path, mode, usual) in [
        (data.join("rollcall.db"), 0o400, 0o600),
        (data.join("store.lock"), 0o400, 0o600),
        (data.clone(), 0o500, 0o700),
    ] {
        set(&path, mode);
        let reason = if path == data {
            "readonly database"
        } else {
            "Permission denied"
        };
        assert_not_started(bound_by_permissions(), &data, reason);
        set(&path, usual);
    }
    set(folder.path(), 0o500);
    assert_not_started(
        bound_by_permissions(),
        &folder.path().join("new"),
        "Permission denied",
    );
    set(folder.path(), 0o700);
    let server = Server::start_in(&data);
    assert_eq!(server.anyone().get("/readyz").status, 200);
}

#[test]
fn a_disk_that_becomes_read_only_refuses_writes_until_it_no_longer_is() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().canonicalize().unwrap();
    let (data, switch) = (root.join("data"), root.join("read-only"));
    let library = library("read_only", folder.path());
    let environment = [
        ("LD_PRELOAD", library.as_path()),
        ("READ_ONLY", &switch),
        ("READ_ONLY_FOLDER", &data),
        ("ROLLCALL_PUBLIC_URL", Path::new("http://login.example")),
        ("ROLLCALL_TRUSTED_PROXY", Path::new("127.0.0.1")),
    ];
    let server = Server::start_in_with_environment(&data, &environment);
    let acme = Tenant::create(&server, "acme");
    let mut client = acme.client();
    let mut made: BTreeSet<String> = (0..3).map(|n| client.create("/Users", &heavy(n))).collect();
    let app = run(
        &server,
        &[
            "token", "create", "--tenant", "acme", "--api", "--scope", "read",
        ],
    );
    let mut app = server.anyone().with_token(&app);
    let mut admin = Browser::sign_in(&server, "acme");
    let mut proxy = Proxy::let_in(&server, "acme", "u0@example.org");
    for round in 1..=2 {
        // A minute passes, so that each use is to be noted again.
        server.sql(
            "UPDATE session SET last_seen = last_seen - 120000; UPDATE token SET last_used = last_used - 120000",
        );
        fs::write(&switch, "").unwrap();
        let kept = made.first().unwrap().clone();
        for (method, path, body) in [
            ("POST", "/Users".to_owned(), heavy(100)),
            ("PUT", format!("/Users/{kept}"), heavy(0)),
            ("DELETE", format!("/Users/{kept}"), Value::Null),
        ] {
            let answer = client.bytes(method, &path, Some(body.to_string().as_bytes()));
            let detail = text(&answer.json()["detail"]);
            assert_eq!(
                (answer.status, answer.header("retry-after")),
                (503, Some("60")),
                "{answer:?}"
            );
            assert!(
                detail.contains("nothing was changed") && detail.contains("its log has the reason"),
                "{detail}"
            );
        }
        // The log has it in the system's words, with the file.
        let log = server.stderr();
        assert!(
            log.contains("rollcall.db-wal: Read-only file system"),
            "{log}"
        );
        // Reading goes on, also by connections that are opened only now.
        std::thread::scope(|scope| {
            for _ in 0..8 {
                let (mut client, made) = (acme.client(), &made);
                scope.spawn(move || assert_whole(&mut client, made));
            }
        });
        assert_eq!(server.anyone().get("/readyz").status, 200);
        assert_eq!(server.anyone().get("/sign-in").status, 200);
        // So do apps, those behind a proxy too, and the settings.
        assert_eq!(app.get("/api/v1/users").status, 200);
        assert_eq!(proxy.asks(), 200);
        assert_eq!(admin.get("/settings/people").status, 200);
        let log = server.stderr();
        let unnoted = log.matches("its use is not noted").count();
        assert!(unnoted >= 3 * round, "{unnoted} uses: {log}");
        fs::remove_file(&switch).unwrap();
        made.insert(client.create("/Users", &heavy(round * 1000)));
        assert_whole(&mut client, &made);
    }
    assert_integrity(&server);
}
