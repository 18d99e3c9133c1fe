//! Power cuts: what was acknowledged is there, whatever of the rest reached the disk.
//!
//! A kill leaves what the system has in memory; a power cut doesn't. So the program runs with a library before libc
//! (`preload/journal.c`) that tells what reached its files, and when it was synced. Then the power goes at some hundred
//! moments of that journal: `power_loss/disk.rs` builds the folder as a disk would have it, on which what wasn't synced
//! is lost, kept, or torn sector by sector, and the store is opened and looked through.

mod disk;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use rollcall::store::Store;
use serde_json::{Value, json};

use self::disk::{Disk, Entry, Unsynced, read_journal};
use crate::bulk::{bulk_request, post};
use crate::crash::{assert_sound, send};
use crate::preload;
use crate::support::Server;
use crate::tenant::{ScimClient, patch_op, text, user};

const CUTS: usize = 300;
/// The server is started anew so often: each end writes the WAL into the database.
const LIVES: usize = 5;
const CLIENTS: usize = 4;
const BULK_SIZE: usize = 20;

/// A user who was acknowledged, with the last acknowledged title, and how long the journal was by then.
struct Promise {
    user_name: String,
    title: usize,
    at: u64,
}

/// What a server did, and what it has promised meanwhile.
struct Recording {
    _scratch: tempfile::TempDir,
    folder: PathBuf,
    journal: Vec<u8>,
    promises: Vec<Promise>,
}

#[test]
fn what_was_acknowledged_survives_a_power_cut() {
    let recording = record();
    let entries = read_journal(&recording.journal);
    assert!(
        recording.promises.len() > 500,
        "{}",
        recording.promises.len()
    );
    let lost = lost_in(&recording, &entries, false);
    assert!(lost.is_empty(), "{lost:#?}");

    // That the above can fail: on a disk that ignores syncs, promises are broken.
    assert!(!lost_in(&recording, &entries, true).is_empty());
}

/// The power goes at some hundred moments; answers what is wrong afterwards.
fn lost_in(recording: &Recording, entries: &[Entry], ignores_syncs: bool) -> Vec<String> {
    let mut disk = Disk::new(ignores_syncs);
    let cuts = moments(entries, if ignores_syncs { 10 } else { CUTS });
    let mut wrong = Vec::new();
    for (number, entry) in entries.iter().enumerate() {
        disk.apply(entry);
        if cuts.binary_search(&number).is_err() {
            continue;
        }
        let unsynced = match number % 4 {
            0 => Unsynced::Lost,
            1 => Unsynced::Kept,
            _ => Unsynced::Torn(number as u64),
        };
        let after = tempfile::tempdir().unwrap();
        disk.cut(unsynced, &recording.folder, after.path());
        let promises = recording
            .promises
            .iter()
            .filter(|promise| promise.at <= entry.end);
        if let Err(what) = look_through(after.path(), promises) {
            wrong.push(format!(
                "cut after entry {number} of {}, {unsynced:?}: {what}",
                entries.len()
            ));
        }
    }
    wrong
}

/// Numbers of entries to cut after, in order: a third within checkpoints, the others spread evenly.
fn moments(entries: &[Entry], most: usize) -> Vec<usize> {
    let checkpoints: Vec<usize> = (0..entries.len())
        .filter(|number| entries[*number].is_checkpoint())
        .collect();
    assert!(
        checkpoints.len() > most / 3 && entries.len() > 4 * most,
        "{} entries",
        entries.len()
    );
    let (within, others) = (most / 3, most - most / 3);
    let mut chosen: Vec<usize> = (0..within)
        .map(|n| checkpoints[n * checkpoints.len() / within])
        .chain((0..others).map(|n| n * entries.len() / others))
        .collect();
    chosen.sort_unstable();
    chosen
}

/// Opens the store as the server does, and says what of the promises isn't there, or what is half done.
fn look_through<'a>(
    folder: &Path,
    promises: impl Iterator<Item = &'a Promise>,
) -> Result<(), String> {
    let opened = Store::open(folder).map_err(|error| format!("it does not open: {error}"))?;
    drop(opened);
    assert_sound(folder);
    let conn = rusqlite::Connection::open(folder.join("rollcall.db")).unwrap();
    let mut statement = conn
        .prepare(
            "SELECT name_key, document FROM resource WHERE kind = 'User' AND deleted_at IS NULL",
        )
        .unwrap();
    let rows = statement
        .query_map([], |row| Ok((row.get(0)?, row.get::<_, String>(1)?)))
        .unwrap();
    let users: BTreeMap<String, Value> = rows
        .map(|row| {
            row.map(|(name, document)| (name, serde_json::from_str(&document).unwrap()))
                .unwrap()
        })
        .collect();
    for (name, document) in &users {
        if document["title"] != document["nickName"] {
            return Err(format!("a PATCH of {name} is half there: {document}"));
        }
    }
    let of_bulk = users
        .keys()
        .filter(|name| name.starts_with("bulk-"))
        .count();
    if of_bulk % BULK_SIZE != 0 {
        return Err(format!("{of_bulk} users of requests of {BULK_SIZE}"));
    }
    for promise in promises {
        let Some(user) = users.get(&promise.user_name) else {
            return Err(format!("{} is lost", promise.user_name));
        };
        let title: usize = text(&user["title"]).parse().unwrap();
        if title < promise.title {
            return Err(format!(
                "title {} of {} is {title}",
                promise.title, promise.user_name
            ));
        }
    }
    Ok(())
}

/// Lets a server live, be written to and end, several times.
fn record() -> Recording {
    let scratch = tempfile::tempdir().unwrap();
    let library = preload::library("journal", scratch.path());
    let journal = scratch.path().join("journal");
    let folder = scratch.path().canonicalize().unwrap().join("data");
    let environment = [
        ("LD_PRELOAD", library.as_path()),
        ("JOURNAL", &journal),
        ("JOURNAL_FOLDER", &folder),
    ];

    // By the same way: what another process writes would be missing in the journal.
    let command = |arguments: &[&str]| {
        let mut program = Command::new(env!("CARGO_BIN_EXE_rollcall"));
        let done = program
            .envs(environment)
            .arg("--data")
            .arg(&folder)
            .args(arguments)
            .output()
            .unwrap();
        assert!(done.status.success(), "{done:?}");
        String::from_utf8(done.stdout).unwrap().trim().to_owned()
    };
    command(&["tenant", "create", "survivor"]);
    let token = command(&["token", "create", "--tenant", "survivor"]);

    let mut promises = Vec::new();
    for life in 0..LIVES {
        let mut server = Server::start_in_with_environment(&folder, &environment);
        std::thread::scope(|scope| {
            let writers: Vec<_> = (0..CLIENTS)
                .map(|number| {
                    let client = ScimClient::new(&server, &token);
                    let journal = &journal;
                    scope.spawn(move || write(client, &format!("{life}-{number}"), journal))
                })
                .collect();
            for writer in writers {
                promises.extend(writer.join().unwrap());
            }
        });
        server.terminate();
        assert!(server.wait().success());
    }
    let journal = fs::read(journal).unwrap();
    Recording {
        _scratch: scratch,
        folder,
        journal,
        promises,
    }
}

/// Writes for a moment; answers what was promised.
fn write(mut client: ScimClient, prefix: &str, journal: &Path) -> Vec<Promise> {
    let mut promises = Vec::new();
    // What is acknowledged now was in the journal before.
    let mut promised = |user_name: String, title: usize| {
        promises.push(Promise {
            user_name,
            title,
            at: fs::metadata(journal).unwrap().len(),
        });
    };
    let end = Instant::now() + Duration::from_millis(400);
    let titled = |title: usize| json!({"title": title.to_string(), "nickName": title.to_string()});
    for number in 0.. {
        if Instant::now() > end && number > 2 {
            break;
        }
        let name = format!("{prefix}-{number}");
        let created = send(&mut client, "POST", "/Users", &user(&name, titled(0))).unwrap();
        promised(name.clone(), 0);
        let path = format!("/Users/{}", text(&created["id"]));
        for title in 1..4 {
            let patch = patch_op(json!([{"op": "Replace", "value": titled(title)}]));
            send(&mut client, "PATCH", &path, &patch).unwrap();
            promised(name.clone(), title);
        }
        if number % 4 == 0 {
            let names: Vec<String> = (0..BULK_SIZE)
                .map(|n| format!("bulk-{prefix}-{number}-{n}"))
                .collect();
            let operations: Vec<Value> = names
                .iter()
                .map(|name| post("/Users", name, user(name, titled(0))))
                .collect();
            send(&mut client, "POST", "/Bulk", &bulk_request(&operations)).unwrap();
            names.into_iter().for_each(|name| promised(name, 0));
        }
    }
    promises
}
