//! Workloads on single users, on lists of them, and on the feed.

use std::sync::Mutex;
use std::thread;

use serde::Deserialize;

use crate::Result;
use crate::directory::Directory;
use crate::driver::{Budget, Connection, Sample, Target, drive};
use crate::figure::{Run, over};
use crate::options::{MOST_CONNECTIONS, Options};
use crate::{limits, people, report};

const USERS: &str = "/scim/v2/Users";

/// Resources on a page.
const COUNT: usize = 100;

fn get_somebody(directory: &Directory, connection: &mut Connection<'_>, number: u64) -> Result<()> {
    let id = directory.somebody(number);
    connection.get(&format!("{USERS}/{id}")).map(|_| ())
}

/// Lets every connection's thread and reader be there once.
pub fn warm_up(options: &Options, target: &Target, directory: &Directory) -> Result<()> {
    let budget = Budget::time(options.time() / 4);
    drive(target, MOST_CONNECTIONS, budget, |connection, number| {
        get_somebody(directory, connection, number)
    })?;
    Ok(())
}

/// Reads of one user, by id and by filter, and of pages.
pub fn reads(
    options: &Options,
    target: &Target,
    directory: &Directory,
    run: &mut Run<'_>,
) -> Result<()> {
    let budget = Budget::time(options.time());
    for connections in [1, 8, 64] {
        let of = limits::constant(connections);
        run.rate(&over("get by id", connections), Some(&of), || {
            drive(target, connections, budget, |connection, number| {
                get_somebody(directory, connection, number)
            })
        })?;
    }
    type Value = fn(u64) -> String;
    let filters: [(&str, Value); 3] = [
        ("userName", people::user_name),
        ("externalId", people::external_id),
        ("emails[type eq \"work\"].value", people::user_name),
    ];
    for (attribute, value) in filters {
        let of = limits::constant(8);
        run.rate(
            &over(&format!("filter {attribute} eq"), 8),
            Some(&of),
            || {
                drive(target, 8, budget, |connection, number| {
                    let wanted = value(directory.someone(number));
                    let path = format!("{USERS}{}", people::equals(attribute, &wanted));
                    one_result(connection.get(&path)?)
                })
            },
        )?;
    }
    let pages = [
        ("list: first page of 100", 1, None),
        (
            "list: last page of 100",
            directory.ids.len().saturating_sub(COUNT) + 1,
            Some(over("list: first page of 100", 8)),
        ),
    ];
    for (what, start, of) in pages {
        run.rate(&over(what, 8), of.as_deref(), || {
            drive(target, 8, budget, |connection, _| {
                let path = format!("{USERS}?startIndex={start}&count={COUNT}");
                connection.get(&path).map(|_| ())
            })
        })?;
    }
    Ok(())
}

/// Pages by cursor (RFC 9865): the first one, and the last full one, to which a whole walk leads.
pub fn cursors(
    options: &Options,
    target: &Target,
    directory: &Directory,
    run: &mut Run<'_>,
) -> Result<()> {
    let last = directory.ids.len().div_ceil(COUNT).saturating_sub(1).max(1);
    let first = "list by cursor: page 1 of 100".to_owned();
    let deep = format!(
        "list by cursor: page {} of 100",
        report::grouped(last as f64)
    );
    if !run.wants(&first) && !run.wants(&deep) {
        return Ok(());
    }
    let deep_cursor = match directory.cursor.get() {
        Some(cursor) => cursor.clone(),
        None => {
            let (mut cursor, mut connection) = (String::new(), Connection::open(target)?);
            for _ in 1..last {
                let path = format!("{USERS}?cursor={cursor}&count={COUNT}");
                cursor = next_cursor(connection.get(&path)?)?;
            }
            directory.cursor.get_or_init(|| cursor).clone()
        }
    };
    for (name, cursor, of) in [
        (&first, String::new(), None),
        (&deep, deep_cursor, Some(over(&first, 8))),
    ] {
        let path = format!("{USERS}?cursor={cursor}&count={COUNT}");
        run.rate(&over(name, 8), of.as_deref(), || {
            drive(target, 8, Budget::time(options.time()), |connection, _| {
                connection.get(&path).map(|_| ())
            })
        })?;
    }
    Ok(())
}

fn next_cursor(list: &[u8]) -> Result<String> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct List {
        next_cursor: String,
    }
    Ok(serde_json::from_slice::<List>(list)?.next_cursor)
}

/// Bulk requests that create users: how many requests a second.
pub fn bulks(
    options: &Options,
    target: &Target,
    directory: &Directory,
    run: &mut Run<'_>,
) -> Result<()> {
    for operations in [100, 1000] {
        let name = format!("bulk of {} creates", report::grouped(f64::from(operations)));
        run.rate(&over(&name, 1), None, || {
            drive(target, 1, Budget::time(options.time()), |connection, _| {
                let users = (0..operations).map(|_| people::user(directory.newcomer()));
                let answer = connection.send("POST", "/scim/v2/Bulk", &people::bulk(users))?;
                match String::from_utf8_lossy(answer)
                    .matches("\"status\":\"201\"")
                    .count()
                {
                    created if created == operations as usize => Ok(()),
                    created => Err(format!("{created} of {operations} were created").into()),
                }
            })
        })?;
    }
    Ok(())
}

/// A fast answer to another question would be worth nothing.
fn one_result(list: &[u8]) -> Result<()> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct List {
        total_results: u64,
    }
    match serde_json::from_slice::<List>(list)?.total_results {
        1 => Ok(()),
        other => Err(format!("a filter found {other} users").into()),
    }
}

/// The event feed from its beginning: how many pages of 1,000 events a second.
pub fn feed(options: &Options, target: &Target, run: &mut Run<'_>) -> Result<()> {
    #[derive(Deserialize)]
    struct Page {
        last: u64,
        events: Vec<serde::de::IgnoredAny>,
    }
    run.rate("event feed: pages of 1,000", None, || {
        // Where the feed ends, reading begins anew.
        let after = Mutex::new(0);
        drive(target, 1, Budget::time(options.time()), |connection, _| {
            let mut after = after.lock().map_err(|_| "a reader panicked")?;
            let path = format!("/api/v1/events?after={after}&limit=1000");
            let page: Page = serde_json::from_slice(connection.get(&path)?)?;
            *after = if page.events.len() == 1000 {
                page.last
            } else {
                0
            };
            Ok(())
        })
    })
}

/// Another title for somebody.
pub fn patches(
    options: &Options,
    target: &Target,
    directory: &Directory,
    run: &mut Run<'_>,
) -> Result<()> {
    for connections in [1, 8, 64] {
        let of = limits::rows(connections);
        run.rate(&over("PATCH user", connections), Some(&of), || {
            let budget = Budget::time(options.time());
            drive(target, connections, budget, |connection, number| {
                retitle(directory, connection, number)
            })
        })?;
    }
    Ok(())
}

fn retitle(directory: &Directory, connection: &mut Connection<'_>, number: u64) -> Result<()> {
    let path = format!("{USERS}/{}", directory.somebody(number));
    let body = people::retitle(directory.newcomer());
    connection.send("PATCH", &path, &body).map(|_| ())
}

/// What readers get while others write as fast as they can.
pub fn reads_while_writing(
    options: &Options,
    target: &Target,
    directory: &Directory,
    run: &mut Run<'_>,
) -> Result<()> {
    let (alone, beside, writing) = (
        "get by id, 8 connections",
        "get by id, 8 connections, beside 8 that PATCH",
        "PATCH user, 8 connections, beside 8 that read",
    );
    if !run.wants(beside) && !run.wants(writing) {
        return Ok(());
    }
    let budget = Budget::time(options.time());
    let both = thread::scope(|scope| -> Result<(Sample, Sample)> {
        let writers = scope.spawn(|| {
            drive(target, 8, budget, |connection, number| {
                retitle(directory, connection, number)
            })
        });
        let read = drive(target, 8, budget, |connection, number| {
            get_somebody(directory, connection, number)
        })?;
        let written = writers.join().map_err(|_| "the writers panicked")??;
        Ok((read, written))
    });
    let (read, written) = both?;
    run.sampled(beside, Some(alone), &read);
    run.sampled(writing, Some("PATCH user, 8 connections"), &written);
    Ok(())
}

/// New users, each acknowledged once it is on disk.
pub fn creates(
    options: &Options,
    target: &Target,
    directory: &Directory,
    run: &mut Run<'_>,
) -> Result<()> {
    for connections in [1, 8, 64] {
        let of = limits::rows(connections);
        run.rate(&over("create users", connections), Some(&of), || {
            let budget = Budget::time(options.time());
            drive(target, connections, budget, |connection, _| {
                let body = people::user(directory.newcomer());
                connection.send("POST", USERS, &body).map(|_| ())
            })
        })?;
    }
    Ok(())
}
