//! `kill -9` amid eight writing clients: whatever was acknowledged is there afterwards.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Barrier};
use std::time::{Duration, Instant};

use rusqlite::{Connection, OpenFlags};
use serde_json::{Value, json};

use crate::bulk::{bulk_request, post};
use crate::support::{PATIENCE, Server};
use crate::tenant::{ScimClient, Tenant, group, json_of, patch_op, text, user};

/// So many directories, and so many crashes of each: 300. A directory that grew on and on would make looking through it
/// the most of the work.
const DIRECTORIES: u64 = 15;
const ROUNDS: u64 = 20;
const CLIENTS: usize = 8;

/// What the server has acknowledged so far.
#[derive(Default)]
struct Acknowledged {
    /// Each user's title. It may have been followed by one more change whose answer never came.
    titles: BTreeMap<String, usize>,
    /// Who was put into the group and stayed.
    joined: BTreeSet<String>,
    /// Who was put into the group and taken out.
    left: BTreeSet<String>,
}

#[test]
fn what_was_acknowledged_survives_kill_9() {
    (0..DIRECTORIES).for_each(crash_again_and_again);
}

fn crash_again_and_again(directory: u64) {
    let folder = tempfile::tempdir().unwrap();
    let mut server = Server::start_in(folder.path());
    let tenant = Tenant::create(&server, "survivor");
    let (token, team) = (
        tenant.token.clone(),
        tenant.client().create("/Groups", &group("SRE", json!({}))),
    );
    let mut all = Acknowledged::default();
    for round in 0..ROUNDS {
        let clients: Vec<ScimClient> = (0..CLIENTS).map(|_| connected(&server, &token)).collect();
        let start = Barrier::new(CLIENTS + 1);
        let (start, path) = (&start, &format!("/Groups/{team}"));
        let answers = &AtomicU64::new(0);
        std::thread::scope(|scope| {
            let writers: Vec<_> = clients
                .into_iter()
                .enumerate()
                .map(|(number, client)| {
                    scope.spawn(move || {
                        start.wait();
                        write_until_the_end(client, path, &format!("{round}-{number}"), answers)
                    })
                })
                .collect();
            start.wait();
            // The moment of the crash, another one in each round.
            let moment = 1 + (round * 37 + directory * 11) % 101;
            let end = Instant::now() + PATIENCE;
            while answers.load(Ordering::Relaxed) < moment && Instant::now() < end {
                std::thread::yield_now();
            }
            server.kill();
            for writer in writers {
                all.extend(writer.join().unwrap());
            }
        });
        server = Server::start_in(folder.path());
        all.assert_kept(&mut ScimClient::new(&server, &token), path, round);
        assert_sound(folder.path());
    }
    assert!(
        !all.titles.is_empty(),
        "nothing was written: {}",
        all.titles.len()
    );
}

/// A bulk request is one commit: all of it is there, or none.
#[test]
fn a_bulk_request_is_there_whole_or_not_at_all() {
    const SIZE: usize = 100;
    let folder = tempfile::tempdir().unwrap();
    let mut server = Server::start_in(folder.path());
    let token = Tenant::create(&server, "survivor").token;
    let mut acknowledged = 0;
    for round in 0..6 {
        let mut client = connected(&server, &token);
        let answers = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&answers);
        let writer = std::thread::spawn(move || {
            (0..)
                .take_while(|request| {
                    let operations: Vec<Value> = (0..SIZE)
                        .map(|n| {
                            let name = format!("{round}-{request}-{n}");
                            post("/Users", &n.to_string(), user(&name, json!({})))
                        })
                        .collect();
                    send(&mut client, "POST", "/Bulk", &bulk_request(&operations)).is_some()
                })
                .inspect(|_| {
                    counted.fetch_add(1, Ordering::Relaxed);
                })
                .count()
        });
        let end = Instant::now() + PATIENCE;
        while answers.load(Ordering::Relaxed) == 0 && Instant::now() < end {
            std::thread::yield_now();
        }
        // Not a wait for something to happen: this is the moment of the crash, another one in each round.
        std::thread::sleep(Duration::from_millis(round * 31));
        server.kill();
        acknowledged += writer.join().unwrap();
        server = Server::start_in(folder.path());
        let list = ScimClient::new(&server, &token).get("/Users?count=0");
        let found = list["totalResults"].as_u64().unwrap() as usize;
        assert_eq!(found % SIZE, 0, "round {round}: part of a bulk request");
        assert!(
            found / SIZE >= acknowledged,
            "round {round}: of {acknowledged} requests {} are there",
            found / SIZE
        );
    }
    assert!(acknowledged > 0, "nothing was written");
    assert_sound(folder.path());
}

/// A client whose connection is there, so that a server that vanishes is only that.
fn connected(server: &Server, token: &str) -> ScimClient {
    let mut client = ScimClient::new(server, token);
    client.get("/Users?count=0");
    client
}

/// Creates users, puts them into the group, takes every third out again and counts in their titles, until the server
/// is gone.
fn write_until_the_end(
    mut client: ScimClient,
    team: &str,
    prefix: &str,
    answers: &AtomicU64,
) -> Acknowledged {
    let mut done = Acknowledged::default();
    let send = |client: &mut ScimClient, method: &str, path: &str, body: &Value| {
        let answer = send(client, method, path, body);
        answers.fetch_add(answer.is_some().into(), Ordering::Relaxed);
        answer
    };
    for number in 0.. {
        let body = user(
            &format!("{prefix}-{number}"),
            json!({"title": "0", "nickName": "0"}),
        );
        let Some(created) = send(&mut client, "POST", "/Users", &body) else {
            break;
        };
        let id = text(&created["id"]);
        done.titles.insert(id.clone(), 0);
        let member = json!([{"value": id}]);
        let add = patch_op(json!([{"op": "Add", "path": "members", "value": member}]));
        if send(&mut client, "PATCH", team, &add).is_none() {
            break;
        }
        if number % 3 == 0 {
            let remove = patch_op(json!([{"op": "Remove", "path": "members", "value": member}]));
            if send(&mut client, "PATCH", team, &remove).is_none() {
                break;
            }
            done.left.insert(id.clone());
        } else {
            done.joined.insert(id.clone());
        }
        for title in 1..3 {
            let both = json!({"title": title.to_string(), "nickName": title.to_string()});
            let set = patch_op(json!([{"op": "Replace", "value": both}]));
            if send(&mut client, "PATCH", &format!("/Users/{id}"), &set).is_none() {
                return done;
            }
            done.titles.insert(id.clone(), title);
        }
    }
    done
}

/// The answer's JSON, or `None` where the connection broke. A refusal is a failure of the test.
pub fn send(client: &mut ScimClient, method: &str, path: &str, body: &Value) -> Option<Value> {
    let answer = client
        .try_bytes(method, path, Some(body.to_string().as_bytes()))
        .ok()?;
    assert!(
        answer.status < 300,
        "{method} {path}: {} {}",
        answer.status,
        String::from_utf8_lossy(&answer.body)
    );
    Some(json_of(&answer))
}

impl Acknowledged {
    fn extend(&mut self, other: Acknowledged) {
        self.titles.extend(other.titles);
        self.joined.extend(other.joined);
        self.left.extend(other.left);
    }

    #[track_caller]
    fn assert_kept(&self, client: &mut ScimClient, team: &str, round: u64) {
        let users = client.all("/Users");
        for (id, title) in &self.titles {
            let user = users
                .get(id)
                .unwrap_or_else(|| panic!("round {round}: user {id} is lost"));
            assert_eq!(
                user["title"], user["nickName"],
                "round {round}: half a PATCH"
            );
            let found: usize = text(&user["title"]).parse().unwrap();
            assert!(
                (*title..=title + 1).contains(&found),
                "round {round}: title {title} of {id} became {found}"
            );
        }
        let unanswered = users.len() - self.titles.len();
        assert!(
            unanswered <= CLIENTS * (round as usize + 1),
            "round {round}: {unanswered} users nobody asked for"
        );

        let group = client.get(team);
        let members: BTreeSet<String> = group["members"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|member| text(&member["value"]))
            .collect();
        let lost: Vec<_> = self.joined.difference(&members).collect();
        assert!(
            lost.is_empty(),
            "round {round}: memberships are lost: {lost:?}"
        );
        let back: Vec<_> = self.left.intersection(&members).collect();
        assert!(
            back.is_empty(),
            "round {round}: removed members are back: {back:?}"
        );
    }
}

/// Asks SQLite itself, beside the running server.
#[track_caller]
pub fn assert_sound(folder: &std::path::Path) {
    let file =
        Connection::open_with_flags(folder.join("rollcall.db"), OpenFlags::SQLITE_OPEN_READ_ONLY)
            .unwrap();
    let answer = |pragma: &str| -> Vec<String> {
        let mut statement = file.prepare(pragma).unwrap();
        let rows = statement
            .query_map([], |row| row.get::<_, String>(0))
            .unwrap();
        rows.collect::<Result<_, _>>().unwrap()
    };
    assert_eq!(answer("PRAGMA integrity_check"), ["ok"]);
    assert_eq!(answer("PRAGMA foreign_key_check"), Vec::<String>::new());
}
