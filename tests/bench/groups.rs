//! Workloads on groups: one member more or less, the whole of a big one, and a team that goes and comes back.

use std::time::Instant;

use crate::Result;
use crate::directory::{Directory, TENANT};
use crate::driver::{Budget, Connection, Target, drive};
use crate::figure::Run;
use crate::options::Options;
use crate::server::Server;
use crate::{people, report};

const GROUPS: &str = "/scim/v2/Groups";

/// One member more, and the same one less, again and again: the group stays as large as it is.
pub fn members(
    options: &Options,
    target: &Target,
    directory: &Directory,
    run: &mut Run<'_>,
) -> Result<()> {
    let name = |size: usize| {
        let size = report::grouped(size as f64);
        format!("add or remove one member, group of {size}")
    };
    let smallest = name(directory.groups.first().map_or(0, |(size, _)| *size));
    for (size, group) in &directory.groups {
        let of = (name(*size) != smallest).then_some(smallest.as_str());
        run.rate(&name(*size), of, || {
            let spare = people::user(directory.newcomer());
            let posted = Connection::open(target)?
                .send("POST", "/scim/v2/Users", &spare)
                .map(people::id_of)??;
            let patches = [
                people::add_members([posted.as_str()]),
                people::remove_member(&posted),
            ];
            let path = format!("{GROUPS}/{group}");
            drive(
                target,
                1,
                Budget::time(options.time()),
                |connection, number| {
                    let patch = &patches[number as usize % 2];
                    connection.send("PATCH", &path, patch).map(|_| ())
                },
            )
        })?;
    }
    Ok(())
}

/// A group as a whole, with its members and without.
pub fn whole(
    options: &Options,
    target: &Target,
    directory: &Directory,
    run: &mut Run<'_>,
) -> Result<()> {
    for (size, group) in &directory.groups {
        let size = report::grouped(*size as f64);
        for (what, query) in [
            ("", ""),
            (" without members", "?excludedAttributes=members"),
        ] {
            let path = format!("{GROUPS}/{group}{query}");
            run.rate(&format!("GET group of {size}{what}"), None, || {
                drive(target, 1, Budget::time(options.time()), |connection, _| {
                    connection.get(&path).map(|_| ())
                })
            })?;
        }
    }
    Ok(())
}

/// By how much the server grows while it shows its largest group, in bodies.
pub fn memory(
    server: &Server,
    target: &Target,
    directory: &Directory,
    run: &mut Run<'_>,
) -> Result<()> {
    let Some((size, group)) = directory.groups.last() else {
        return Ok(());
    };
    let name = format!(
        "GET group of {}: memory more at most",
        report::grouped(*size as f64)
    );
    if !run.wants(&name) {
        return Ok(());
    }
    server.forget_most_resident()?;
    let before = server.resident()?;
    let path = format!("{GROUPS}/{group}");
    let body = Connection::open(target)?.get(&path)?.len() as f64 / 1024.0 / 1024.0;
    let grown = server.most_resident()? - before;
    run.quantity(&name, "bodies", grown / body);
    Ok(())
}

/// A team of 10,000 (or of all users, if they are fewer) is deprovisioned, restored, and deprovisioned again, which is
/// then undone. The first is a request; the others are commands of an operator, with the start of their process.
pub fn lifecycle(
    server: &Server,
    target: &Target,
    directory: &Directory,
    run: &mut Run<'_>,
) -> Result<()> {
    let Some((size, group)) = directory.groups.get(1).or(directory.groups.first()) else {
        return Ok(());
    };
    let name = |what: &str| format!("team of {}: {what}", report::grouped(*size as f64));
    if !["deprovision", "restore", "undo"]
        .iter()
        .any(|what| run.wants(&name(what)))
    {
        return Ok(());
    }
    let mut connection = Connection::open(target)?;
    let mut deprovision = || -> Result<f64> {
        let started = Instant::now();
        connection.send("DELETE", &format!("{GROUPS}/{group}"), "")?;
        Ok(started.elapsed().as_secs_f64() * 1e3)
    };
    let milliseconds =
        |arguments: &[&str]| -> Result<f64> { Ok(server.command(arguments)?.as_secs_f64() * 1e3) };
    run.quantity(&name("deprovision"), "ms", deprovision()?);
    let restored = milliseconds(&["team", "restore", "--tenant", TENANT, group])?;
    run.quantity(&name("restore"), "ms", restored);
    deprovision()?;
    // Nothing else was removed by then but the few that came and went.
    let undone = milliseconds(&["undo", "--tenant", TENANT, "--since", "1m"])?;
    run.quantity(&name("undo"), "ms", undone);
    // Fails where it didn't come back.
    connection
        .get(&format!("{GROUPS}/{group}?excludedAttributes=members"))
        .map(|_| ())
}
