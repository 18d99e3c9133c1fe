//! What the machine can do without rollcall's work: SQLite alone, and the connection loop alone.

use std::sync::Arc;
use std::thread;
use std::time::Instant;

use rollcall::http::bind::{Given, Listener, Place};
use rollcall::http::limits::Limits;
use rollcall::http::listen::{Stop, Terms, serve};
use rollcall::http::request::{Handler, Head, Request, Response};
use rusqlite::{Connection, OpenFlags};

use crate::Result;
use crate::directory::{Directory, scratch};
use crate::driver::{Budget, Sample, Target, drive};
use crate::figure::{Run, over};
use crate::histogram::Histogram;
use crate::options::Options;
use crate::people;

/// Documents that rows are made of, over and over.
const DOCUMENTS: u64 = 4096;

/// The name of the figure for rows in batches.
pub fn rows(batch: usize) -> String {
    format!("SQLite: rows, {batch} a commit")
}

/// The name of the figure for constant answers.
pub fn constant(connections: usize) -> String {
    over("socket: constant answer", connections)
}

/// Rows as long as a user's document into a table without an index, each batch on disk before the next.
pub fn inserts(options: &Options, run: &mut Run<'_>) -> Result<()> {
    [1, 8, 64]
        .into_iter()
        .try_for_each(|batch| run.limit(&rows(batch), || insert(options, batch as u64)))
}

/// Documents of the directory by id: one prepared statement in one thread.
pub fn look_ups(options: &Options, directory: &Directory, run: &mut Run<'_>) -> Result<()> {
    run.limit("SQLite: look-ups by id", || look_up(options, directory))
}

fn insert(options: &Options, batch: u64) -> Result<Sample> {
    let folder = scratch()?;
    let mut conn = Connection::open(folder.path().join("raw.db"))?;
    // As rollcall has it, src/store/connection.rs.
    conn.pragma_update(None, "journal_mode", "WAL")?;
    conn.pragma_update(None, "synchronous", "FULL")?;
    conn.pragma_update(None, "wal_autocheckpoint", 16_000)?;
    conn.execute_batch(
        "CREATE TABLE raw (row INTEGER PRIMARY KEY, document TEXT NOT NULL) STRICT",
    )?;
    // Made before the clock starts, since making them is no work of SQLite's.
    let documents: Vec<String> = (0..DOCUMENTS).map(people::user).collect();
    sampled(options, |number, latencies| {
        let first = number * batch % DOCUMENTS;
        let started = Instant::now();
        let transaction = conn.transaction()?;
        {
            let mut insert = transaction.prepare_cached("INSERT INTO raw (document) VALUES (?)")?;
            for document in documents
                .iter()
                .cycle()
                .skip(first as usize)
                .take(batch as usize)
            {
                insert.execute([document])?;
            }
        }
        transaction.commit()?;
        // Each row of a batch is there when all of them are.
        (0..batch).for_each(|_| latencies.add(started.elapsed()));
        Ok(())
    })
}

fn look_up(options: &Options, directory: &Directory) -> Result<Sample> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let conn = Connection::open_with_flags(directory.database(), flags)?;
    let mut by_id = conn.prepare("SELECT document FROM resource WHERE id = ?")?;
    sampled(options, |number, latencies| {
        let started = Instant::now();
        let found: String =
            by_id.query_row([directory.somebody(number)], |row| row.get("document"))?;
        latencies.add(started.elapsed());
        if found.is_empty() {
            return Err("an empty document".into());
        }
        Ok(())
    })
}

/// Does it again and again in this thread, with 0, 1, 2, … until the time is up.
fn sampled(
    options: &Options,
    mut work: impl FnMut(u64, &mut Histogram) -> Result<()>,
) -> Result<Sample> {
    let (started, mut latencies, mut number) = (Instant::now(), Histogram::default(), 0);
    while started.elapsed() < options.time() {
        work(number, &mut latencies)?;
        number += 1;
    }
    Ok(Sample {
        elapsed: started.elapsed(),
        latencies,
    })
}

/// Answers everything with the same bytes.
struct Constant(Vec<u8>);

impl Handler for Constant {
    fn body_limit(&self, _: &Head) -> u64 {
        0
    }

    fn answer(&self, _: Request) -> Response {
        Response {
            status: 200,
            headers: vec![("Content-Type", "application/scim+json".to_owned())],
            body: self.0.clone().into(),
        }
    }

    fn refusal(&self, _: Option<&Head>, status: u16, detail: &str) -> Response {
        Response {
            status,
            headers: Vec::new(),
            body: detail.as_bytes().to_vec().into(),
        }
    }
}

/// Our connection loop in this process with an answer as long as a user's, under the same load as the workloads.
pub fn socket(options: &Options, directory: &Directory, run: &mut Run<'_>) -> Result<()> {
    let listener = Listener::open(
        &Place::Tcp(([127, 0, 0, 1], 0).into()),
        &mut Given::nothing(),
    )?;
    let address = listener.address().ok_or("no address")?;
    let stop = Stop::new([&listener])?;
    let handler = Arc::new(Constant(vec![b'a'; directory.answer_bytes]));
    let its_stop = stop.clone();
    let terms = Terms::of(Limits::default());
    let thread = thread::spawn(move || serve(listener, handler, terms, its_stop));
    let target = Target::new(address, &directory.token);
    let measured = [1, 8, 64].into_iter().try_for_each(|connections| {
        run.limit(&constant(connections), || {
            drive(
                &target,
                connections,
                Budget::time(options.time()),
                |connection, number| {
                    let id = directory.somebody(number);
                    connection.get(&format!("/scim/v2/Users/{id}")).map(|_| ())
                },
            )
        })
    });
    stop.ask();
    thread
        .join()
        .map_err(|_| "the loop with the constant panicked")?;
    measured
}
