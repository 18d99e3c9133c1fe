//! The page of backups: what is made and downloaded there is whole, and nobody gets what is another tenant's.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::thread;
use std::time::{Duration, Instant};

use jiff::{Timestamp, ToSpan};
use serde_json::{Value, json};

use crate::browser::Browser;
use crate::support::{Answer, PATIENCE, Server};
use crate::tenant::{Tenant, group, run, user};

const PAGE: &str = "/settings/backup";
const PASSWORD: &str = "four unrelated words";

/// A server that makes backups in `dir`, where the one of its start was made so long ago.
#[track_caller]
fn start(dir: &Path, hours: i64) -> Server {
    let server = Server::start_with(&["--backup-dir", dir.to_str().unwrap()]);
    let started = Instant::now();
    while listed(dir).is_empty() {
        assert!(started.elapsed() < PATIENCE, "{}", server.stderr());
        thread::sleep(Duration::from_millis(10));
    }
    fs::rename(dir.join(&listed(dir)[0]), dir.join(name_of(hours))).unwrap();
    server
}

/// What a backup of so many hours ago is called.
#[expect(
    clippy::disallowed_methods,
    reason = "the server beside it has the real clock, too"
)]
fn name_of(hours: i64) -> String {
    let at = Timestamp::now() - hours.hours();
    at.strftime("rollcall-%Y%m%dT%H%M%SZ.db").to_string()
}

/// The backups in a folder, oldest first.
fn listed(dir: &Path) -> Vec<String> {
    let names = fs::read_dir(dir)
        .into_iter()
        .flatten()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = names.filter(|name| name.ends_with("Z.db")).collect();
    names.sort();
    names
}

/// Runs a command on a data folder without a server.
#[track_caller]
fn rollcall(folder: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rollcall"));
    let output = command.arg("--data").arg(folder).args(arguments).output();
    let output = output.unwrap();
    assert!(output.status.success(), "{arguments:?}: {output:?}");
    output
}

/// Who is in a tenant of a data folder without a server.
#[track_caller]
fn people(folder: &Path, tenant: &str) -> Vec<String> {
    let words = ["-o", "json", "user", "list", "--tenant", tenant];
    let list: Value = serde_json::from_slice(&rollcall(folder, &words).stdout).unwrap();
    let names = list.as_array().unwrap().iter();
    names.map(|user| user["userName"].to_string()).collect()
}

#[track_caller]
fn does(browser: &mut Browser, action: &str) -> Answer {
    browser.get(PAGE);
    browser.post(PAGE, &[("do", action)])
}

#[track_caller]
fn downloads(browser: &mut Browser, file: &str) -> Answer {
    browser.get(PAGE);
    browser.post(&format!("{PAGE}/{file}"), &[])
}

/// An answer that a browser keeps as a file, kept in `dir`.
#[track_caller]
fn keep(answer: &Answer, dir: &Path) -> PathBuf {
    assert_eq!(answer.status, 200, "{answer:?}");
    let disposition = answer.header("content-disposition").expect("a file");
    assert!(disposition.starts_with("attachment; filename=\""));
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    let path = dir.join(disposition.split('"').nth(1).unwrap());
    fs::write(&path, &answer.body).unwrap();
    path
}

/// How often each of these happened to a tenant, and that its administrator did it.
#[track_caller]
fn happened(server: &Server, tenant: &str, kinds: [&str; 3]) -> [usize; 3] {
    let events = run(server, &["-o", "json", "events", "--tenant", tenant]);
    let events: Vec<Value> = events
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    kinds.map(|kind| {
        let found = events.iter().filter(|event| event["kind"] == kind);
        found
            .inspect(|event| assert_eq!(event["actor"], "account:1", "{event}"))
            .count()
    })
}

const KINDS: [&str; 3] = ["backup.made", "backup.downloaded", "tenant.exported"];

#[test]
fn a_backup_is_made_listed_and_downloaded_and_comes_back_whole() {
    let dir = tempfile::tempdir().unwrap();
    let backups = dir.path().join("backups");
    let server = start(&backups, 1);
    let acme = Tenant::create(&server, "acme");
    for name in ["ana@example.org", "bob@example.org"] {
        acme.client().create("/Users", &user(name, json!({})));
    }
    let mut browser = Browser::sign_in(&server, "acme");
    browser.get("/settings");
    assert!(!browser.shows("backup was made"), "{}", browser.page);
    does(&mut browser, "make");
    browser.must_show("is made and checked: ");
    let [old, made] = &listed(&backups)[..] else {
        panic!("{:?}", listed(&backups));
    };
    browser.must_show(&format!("Download {old}\""));
    browser.must_show(&format!("Download {made}\""));
    let answer = downloads(&mut browser, made);
    let file = keep(&answer, dir.path());
    assert_eq!(
        fs::read(&file).unwrap(),
        fs::read(backups.join(made)).unwrap()
    );
    let elsewhere = dir.path().join("elsewhere");
    rollcall(&elsewhere, &["restore", file.to_str().unwrap()]);
    assert_eq!(people(&elsewhere, "acme").len(), 2);
    // By its address alone it is not sent.
    let answer = browser.get(&format!("{PAGE}/{made}"));
    assert_eq!((answer.status, browser.path.as_str()), (200, PAGE));
    assert_eq!(happened(&server, "acme", KINDS), [1, 1, 0]);
    browser.get("/settings/events");
    browser.must_show(&format!("made the backup {made} of the whole server"));
}

#[test]
fn names_that_are_not_in_the_list_lead_nowhere() {
    let dir = tempfile::tempdir().unwrap();
    let backups = dir.path().join("backups");
    let server = start(&backups, 1);
    Tenant::create(&server, "acme");
    let mut browser = Browser::sign_in(&server, "acme");
    fs::write(dir.path().join("secret"), "secret").unwrap();
    fs::write(backups.join("notes.txt"), "secret").unwrap();
    let link = name_of(2);
    std::os::unix::fs::symlink(dir.path().join("secret"), backups.join(&link)).unwrap();
    let absolute = crate::tenant::encode(dir.path().join("secret").to_str().unwrap());
    for name in [
        "..%2Fsecret",
        "%2E%2E%2Fsecret",
        "../secret",
        "..",
        ".",
        "%00",
        "notes.txt",
        "rollcall-20000101T000000Z.db",
        &link,
        &absolute.replace('/', "%2F"),
    ] {
        let answer = downloads(&mut browser, name);
        assert_eq!(answer.status, 404, "{name}");
        assert!(!browser.shows("secret"), "{name}");
    }
    assert_eq!(happened(&server, "acme", KINDS), [0, 0, 0]);
}

#[test]
fn who_is_or_was_not_alone_gets_a_copy_of_their_own_only() {
    let dir = tempfile::tempdir().unwrap();
    let backups = dir.path().join("backups");
    let server = start(&backups, 100);
    let acme = Tenant::create(&server, "Contoso é");
    acme.client().create("/Users", &user("ana", json!({})));
    acme.client().create("/Groups", &group("SRE", json!({})));
    let mut browser = Browser::sign_in(&server, "Contoso é");
    browser.get("/settings");
    browser.must_show("the next one is overdue");
    let other = Tenant::create(&server, "other");
    other.client().create("/Users", &user("secret", json!({})));
    for is_there in [true, false] {
        if !is_there {
            // Its data is still in free pages of the file.
            run(&server, &["tenant", "delete", "other", "--yes"]);
        }
        browser.get("/settings");
        assert!(!browser.shows("overdue"));
        browser.get(PAGE);
        browser.must_show("This server has, or had, other organisations");
        assert!(!browser.shows("Make a backup now") && !browser.shows("rollcall-"));
        assert_eq!(downloads(&mut browser, &listed(&backups)[0]).status, 404);
        does(&mut browser, "make");
        browser.must_show("whoever runs the server makes it");
        assert_eq!(listed(&backups).len(), 1);
    }
    let answer = does(&mut browser, "export");
    assert!(!answer.text().contains("secret"));
    let file = keep(&answer, dir.path());
    let elsewhere = dir.path().join("elsewhere");
    rollcall(&elsewhere, &["import", file.to_str().unwrap()]);
    assert_eq!(people(&elsewhere, "Contoso é"), ["\"ana\""]);
    assert_eq!(happened(&server, "Contoso é", KINDS), [0, 0, 1]);
    let left: Vec<_> = fs::read_dir(server.data())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.contains("partial"))
        .collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn a_file_in_the_folder_that_holds_others_is_not_handed_out() {
    let dir = tempfile::tempdir().unwrap();
    let backups = dir.path().join("backups");
    let server = start(&backups, 1);
    Tenant::create(&server, "acme");
    let mut browser = Browser::sign_in(&server, "acme");
    let elsewhere = dir.path().join("elsewhere");
    let as_backup = |hours| {
        let name = name_of(hours);
        let file = backups.join(&name);
        rollcall(&elsewhere, &["backup", file.to_str().unwrap()]);
        name
    };
    rollcall(&elsewhere, &["tenant", "create", "acme"]);
    let foreign = as_backup(3);
    rollcall(&elsewhere, &["tenant", "create", "other"]);
    let shared = as_backup(2);
    for name in [&foreign, &shared] {
        browser.get(PAGE);
        browser.must_show(name);
        assert_eq!(downloads(&mut browser, name).status, 404, "{name}");
    }
    // It was made at the start, before anybody was there.
    let first = listed(&backups).pop().unwrap();
    assert_eq!(downloads(&mut browser, &first).status, 200);
    does(&mut browser, "make");
    let made = listed(&backups).pop().unwrap();
    assert_eq!(downloads(&mut browser, &made).status, 200);
}

#[test]
fn without_a_folder_the_page_and_the_overview_say_how_to_get_backups() {
    let server = Server::start();
    Tenant::create(&server, "acme");
    let mut browser = Browser::sign_in(&server, "acme");
    for page in ["/settings", PAGE] {
        browser.get(page);
        browser.must_show("rollcall serve --backup-dir DIR");
    }
    assert!(!browser.shows("Make a backup now"));
    assert_eq!(does(&mut browser, "make").status, 400);
    assert_eq!(does(&mut browser, "export").status, 200);
}

#[test]
fn a_folder_that_is_gone_is_told_and_breaks_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let backups = dir.path().join("backups");
    let server = start(&backups, 1);
    Tenant::create(&server, "acme");
    let mut browser = Browser::sign_in(&server, "acme");
    fs::rename(&backups, dir.path().join("elsewhere")).unwrap();
    for page in ["/settings", PAGE] {
        assert_eq!(browser.get(page).status, 200);
        browser.must_show("The folder for backups can’t be read");
    }
    fs::create_dir(&backups).unwrap();
    browser.get("/settings");
    browser.must_show("There is no backup yet");
}

#[test]
fn who_signed_in_long_ago_is_asked_for_the_password_first() {
    let dir = tempfile::tempdir().unwrap();
    let backups = dir.path().join("backups");
    let server = start(&backups, 1);
    Tenant::create(&server, "acme");
    let mut browser = Browser::sign_in(&server, "acme");
    browser.get("/me");
    browser.post("/me", &[("do", "password"), ("new", PASSWORD)]);
    does(&mut browser, "make");
    let made = listed(&backups).pop().unwrap();
    let file = format!("{PAGE}/{made}");
    for (path, action) in [(PAGE, "make"), (PAGE, "export"), (&file, "")] {
        server.sql("UPDATE session SET authenticated = authenticated - 700000");
        let before = happened(&server, "acme", KINDS);
        browser.get(PAGE);
        browser.post(path, &[("do", action)]);
        browser.must_show("Confirm that it is you");
        let wrong = [("do", action), ("confirm_password", "wrong")];
        browser.post(path, &wrong);
        browser.must_show("The password is wrong");
        assert_eq!(happened(&server, "acme", KINDS), before);
        if action != "make" {
            let right = [("do", action), ("confirm_password", PASSWORD)];
            keep(&browser.post(path, &right), dir.path());
        }
    }
    assert_eq!(happened(&server, "acme", KINDS), [1, 1, 1]);
}
