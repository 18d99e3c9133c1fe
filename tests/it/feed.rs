//! The event feed: a consumer that stores its place misses nothing and can rebuild what the API shows.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::api::{App, World, world};
use crate::support::Server;
use crate::tenant::{ScimClient, Tenant, group, run, text, user};

#[test]
fn a_waiting_consumer_hears_at_once_and_does_not_hold_up_the_end() {
    let World {
        mut server,
        mut scim,
        mut app,
    } = world();
    let last = app.get("/events")["last"].as_i64().unwrap();
    assert_eq!(
        app.get(&format!("/events?after={last}"))["events"],
        json!([])
    );
    app.expect(
        400,
        "GET",
        &format!("/events?after={}", last + 1),
        &Value::Null,
    );
    let started = Instant::now();
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| app.get(&format!("/events?after={last}&kind=user&wait=30")));
        scim.create("/Users", &user("ana", json!({})));
        let heard = waiting.join().unwrap();
        assert_eq!(heard["events"][0]["kind"], "user.created");
        // What came with it and is of another kind needs no second look.
        assert!(heard["last"].as_i64() > heard["events"][0]["seq"].as_i64());
    });
    assert!(started.elapsed() < Duration::from_secs(10));
    let last = app.get("/events")["last"].as_i64().unwrap();
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| app.get(&format!("/events?after={last}&wait=30")));
        // The request has to be running, which nothing tells.
        std::thread::sleep(Duration::from_millis(200));
        server.terminate();
        assert_eq!(waiting.join().unwrap()["events"], json!([]));
    });
    assert!(server.wait().success());
    assert!(started.elapsed() < Duration::from_secs(10));
}

/// What a consumer of the feed knows: users, teams, and who is in which.
#[derive(Default, Debug, PartialEq)]
struct Replica {
    users: BTreeMap<String, String>,
    teams: BTreeMap<String, String>,
    members: BTreeSet<(String, String)>,
}

impl Replica {
    fn replay(events: &[Value]) -> Replica {
        let (mut all, mut inactive) = (Replica::default(), BTreeSet::new());
        for event in events {
            let (kind, subject) = (text(&event["kind"]), text(&event["subject"]));
            let after = &event["after"];
            match kind.as_str() {
                "user.deleted" => drop(all.users.remove(&subject)),
                "team.deleted" => drop(all.teams.remove(&subject)),
                "member.added" => drop(all.members.insert((subject, text(&event["object"])))),
                "member.removed" => drop(all.members.remove(&(subject, text(&event["object"])))),
                kind if kind.starts_with("user.") => {
                    match after["active"] == json!(false) {
                        true => inactive.insert(subject.clone()),
                        false => inactive.remove(&subject),
                    };
                    all.users.insert(subject, text(&after["userName"]));
                }
                kind if kind.starts_with("team.") => {
                    all.teams.insert(subject, text(&after["displayName"]));
                }
                _ => {}
            }
        }
        all.users.retain(|id, _| !inactive.contains(id));
        all.members.retain(|(_, user)| !inactive.contains(user));
        all
    }

    fn read(app: &mut App) -> Replica {
        let pairs = |app: &mut App, path: &str, name: &str| {
            let (ids, names) = (app.walk(path, 7, "id"), app.walk(path, 1000, name));
            ids.into_iter().zip(names).collect::<BTreeMap<_, _>>()
        };
        let (users, teams) = (
            pairs(app, "/users", "userName"),
            pairs(app, "/teams", "name"),
        );
        let mut members = BTreeSet::new();
        for team in teams.keys() {
            let people = app.walk(&format!("/teams/{team}/people"), 7, "id");
            members.extend(people.into_iter().map(|person| (team.clone(), person)));
        }
        Replica {
            users,
            teams,
            members,
        }
    }
}

/// All events after `last`, which moves on.
fn drain(app: &mut App, last: &mut i64, limit: usize) -> Vec<Value> {
    let mut all = Vec::new();
    loop {
        let page = app.get(&format!("/events?after={last}&limit={limit}"));
        let events = page["events"].as_array().unwrap();
        *last = page["last"].as_i64().unwrap();
        if events.is_empty() {
            return all;
        }
        all.extend(events.iter().cloned());
    }
}

#[test]
fn replaying_the_feed_rebuilds_what_the_api_shows() {
    let World {
        server: _server,
        mut scim,
        mut app,
    } = world();
    // A fixed sequence of pseudo-random numbers: a failure comes back.
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut random = move |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state % below as u64) as usize
    };
    let (mut users, mut teams) = (Vec::new(), Vec::new());
    for step in 0..300 {
        let member = |ids: &Vec<String>, at: usize| json!([{"value": ids[at]}]);
        match random(10) {
            0 | 1 => users.push(scim.create(
                "/Users",
                &user(&format!("u{step}"), json!({"active": step % 5 != 0})),
            )),
            2 => teams.push(scim.create("/Groups", &group(&format!("t{step}"), json!({})))),
            _ if users.is_empty() || teams.is_empty() => {}
            3 => {
                let path = format!("/Users/{}", users[random(users.len())]);
                scim.patch(
                    &path,
                    json!([{"op": "replace", "path": "active", "value": step % 2 == 0}]),
                );
            }
            4 => {
                let path = format!("/Users/{}", users[random(users.len())]);
                scim.patch(
                    &path,
                    json!([{"op": "replace", "path": "userName", "value": format!("r{step}")}]),
                );
            }
            5 if step % 3 == 0 => {
                let id = users.swap_remove(random(users.len()));
                scim.expect(204, "DELETE", &format!("/Users/{id}"), None);
            }
            6 if step % 3 == 0 => {
                let id = teams.swap_remove(random(teams.len()));
                scim.expect(204, "DELETE", &format!("/Groups/{id}"), None);
            }
            7 => {
                let value = member(&users, random(users.len()));
                let path = format!("/Groups/{}", teams[random(teams.len())]);
                scim.patch(
                    &path,
                    json!([{"op": "remove", "path": "members", "value": value}]),
                );
            }
            _ => {
                let value = member(&users, random(users.len()));
                let path = format!("/Groups/{}", teams[random(teams.len())]);
                scim.patch(
                    &path,
                    json!([{"op": "add", "path": "members", "value": value}]),
                );
            }
        }
    }
    let events = drain(&mut app, &mut 0, 50);
    let shown = Replica::read(&mut app);
    assert!(
        shown.members.len() > 5,
        "hardly anything to compare: {shown:?}"
    );
    assert_eq!(Replica::replay(&events), shown);
}

#[test]
fn a_consumer_misses_nothing_and_sees_nothing_twice_through_kill_9() {
    let folder = tempfile::tempdir().unwrap();
    let mut server = Server::start_in(folder.path());
    let token = Tenant::create(&server, "acme").token;
    let key = App::of(&server, "acme", "read").token;
    let (mut seen, mut last, mut acknowledged) = (Vec::new(), 0, BTreeSet::new());
    // A minute in CI, two seconds for who waits for it.
    let (rounds, longer) = match std::env::var_os("CI") {
        Some(_) => (20, 10),
        None => (5, 1),
    };
    for round in 0..rounds {
        let clients: Vec<_> = (0..2).map(|_| ScimClient::new(&server, &token)).collect();
        let mut app = server.anyone().with_token(&key);
        std::thread::scope(|scope| {
            let writers: Vec<_> = clients
                .into_iter()
                .enumerate()
                .map(|(number, mut client)| {
                    scope.spawn(move || {
                        let mut made = Vec::new();
                        for n in 0.. {
                            let body =
                                user(&format!("{round}-{number}-{n}"), json!({})).to_string();
                            match client.try_bytes("POST", "/Users", Some(body.as_bytes())) {
                                Ok(answer) if answer.status == 201 => {
                                    made.push(text(&answer.json()["id"]))
                                }
                                _ => return made,
                            }
                        }
                        made
                    })
                })
                .collect();
            let (seen, last) = (&mut seen, &mut last);
            let reader = scope.spawn(move || {
                loop {
                    let path = format!("/api/v1/events?after={last}&limit=10&wait=5");
                    let Ok(answer) = app.try_request("GET", &path, &[], b"") else {
                        return;
                    };
                    let page = answer.json();
                    seen.extend(page["events"].as_array().unwrap().iter().cloned());
                    *last = page["last"].as_i64().unwrap();
                }
            });
            // Not a wait for something to happen: the moment of the crash.
            std::thread::sleep(Duration::from_millis(longer * (150 + 70 * (round % 5))));
            server.kill();
            reader.join().unwrap();
            for writer in writers {
                acknowledged.extend(writer.join().unwrap());
            }
        });
        server = Server::start_in(folder.path());
    }
    let mut app = App {
        connection: server.anyone().with_token(&key),
        token: key,
    };
    seen.extend(drain(&mut app, &mut last, 100));
    let places: Vec<i64> = seen
        .iter()
        .filter_map(|event| event["seq"].as_i64())
        .collect();
    assert!(
        places.windows(2).all(|pair| pair[0] < pair[1]),
        "out of order, or twice"
    );
    assert_eq!(
        seen,
        drain(&mut app, &mut 0, 1000),
        "what it saw is not the feed"
    );
    let created: BTreeSet<String> = seen
        .iter()
        .filter(|event| event["kind"] == "user.created")
        .map(|event| text(&event["subject"]))
        .collect();
    assert!(!acknowledged.is_empty() && acknowledged.is_subset(&created));
    assert_eq!(
        created,
        app.walk("/users", 1000, "id").into_iter().collect()
    );
}

#[test]
fn the_command_line_prints_the_same_feed() {
    let World {
        server,
        mut scim,
        mut app,
    } = world();
    scim.create("/Users", &user("ana", json!({})));
    run(&server, &["tenant", "pause", "acme"]);
    run(&server, &["tenant", "resume", "acme"]);
    run(&server, &["tenant", "rename", "acme", "Acme Inc"]);
    let printed = run(
        &server,
        &[
            "-o", "json", "events", "--tenant", "Acme Inc", "--after", "1",
        ],
    );
    let lines: Vec<Value> = printed
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(lines, drain(&mut app, &mut 1, 100));
    let operators = lines.iter().filter(|event| event["actor"] == "operator");
    let kinds: Vec<&str> = operators
        .filter_map(|event| event["kind"].as_str())
        .collect();
    assert_eq!(
        kinds,
        [
            "token.created",
            "token.created",
            "tenant.paused",
            "tenant.resumed",
            "tenant.renamed"
        ]
    );
}
