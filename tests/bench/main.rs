//! How fast rollcall is, beside what the machine can do: `cargo bench`.
//!
//! Each figure is taken from the built program over loopback, and its limit (SQLite alone, the socket alone) in the
//! same run, since only their ratio means the same on another machine. Nothing but the report is left behind.
//! tests/README.md says how to run it and what each figure means.

mod directory; // a filled data folder, of which each run gets a copy
mod driver; // connections that send as fast as they are answered
mod entra; // whole cycles as a provider runs them
mod figure; // what is measured, and which of it is wanted
mod groups; // members, big groups, a team that goes and comes back
mod histogram; // latencies
mod limits; // what SQLite and the socket do alone
mod options; // what to measure
mod pages; // settings pages
mod peers; // the same cycle against servers of others
mod people; // the n-th user
mod report; // medians, ratios, text and JSON
mod server; // the program under test
mod users; // workloads on users and the feed

use std::io::Write;
use std::process::ExitCode;

use clap::Parser;

use directory::Directory;
use driver::Target;
use figure::Run;
use options::Options;
use report::{Report, Size};

/// What anything here fails with: in the end it is printed.
type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

fn main() -> ExitCode {
    match measure(&Options::parse().settled()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("the benchmark failed: {error}");
            ExitCode::FAILURE
        }
    }
}

fn measure(options: &Options) -> Result<()> {
    let mut report = Report::new(options)?;
    for &users in &options.users {
        let filled = Directory::fill(users)?;
        let mut size = Size::new(format!("{} users", report::grouped(users as f64)), users);
        for number in 1..=options.runs {
            let mut run = Run::new(options, format!("{}, run {number}", size.title));
            one_run(options, &filled, &mut run)?;
            size.runs.push(run.figures);
        }
        report.sizes.push(size);
    }
    if options.peers {
        report.sizes.push(peers::compare(options)?);
    }
    let text = if options.json {
        format!("{:#}\n", report.to_json())
    } else {
        report.to_string()
    };
    Ok(std::io::stdout().write_all(text.as_bytes())?)
}

/// Everything once, on a copy of the filled folder of its own, so that no run sees what another one wrote.
fn one_run(options: &Options, filled: &Directory, run: &mut Run<'_>) -> Result<()> {
    let copy = filled.copied()?;
    // Each limit right before what it limits, since a machine's speed changes within minutes.
    limits::look_ups(options, &copy, run)?;
    limits::socket(options, &copy, run)?;
    let (server, start) = copy.serve()?;
    run.watch(&server);
    run.quantity("start", "ms", start.as_secs_f64() * 1e3);
    run.quantity("resident memory, started", "MiB", server.resident()?);
    let target = Target::new(server.address, &copy.token);
    // The first requests meet cold caches and a server that starts its threads, which is what `start` is about.
    users::warm_up(options, &target, &copy)?;
    groups::memory(&server, &target, &copy, run)?;
    users::reads(options, &target, &copy, run)?;
    users::cursors(options, &target, &copy, run)?;
    users::feed(options, &Target::new(server.address, &copy.api_token), run)?;
    pages::settings(options, &server, run)?;
    pages::sign_ins(options, &server, run)?;
    groups::members(options, &target, &copy, run)?;
    groups::whole(options, &target, &copy, run)?;
    groups::lifecycle(&server, &target, &copy, run)?;
    limits::inserts(options, run)?;
    users::patches(options, &target, &copy, run)?;
    users::reads_while_writing(options, &target, &copy, run)?;
    entra::cycles(options, "", &target.clone().with_prefix("/scim/v2"), run)?;
    users::creates(options, &target, &copy, run)?;
    users::bulks(options, &target, &copy, run)?;
    run.quantity("resident memory, at the end", "MiB", server.resident()?);
    run.quantity("resident memory, at most", "MiB", server.most_resident()?);
    server.stop()?;
    run.quantity("database, at the end", "MiB", copy.database_mib()?);
    Ok(())
}
