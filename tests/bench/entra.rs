//! Cycles as Entra ID runs them: what a customer waits for.

use std::sync::OnceLock;

use crate::Result;
use crate::driver::{Budget, Connection, Sample, Target, drive};
use crate::figure::Run;
use crate::histogram::Histogram;
use crate::options::Options;
use crate::people;

const CONNECTIONS: usize = 8;

/// The figures' names.
pub const INITIAL: &str = "Entra initial cycle";
pub const INCREMENTAL: &str = "Entra incremental cycle";

/// What is provisioned.
#[derive(Clone, Copy, Debug)]
struct Scope {
    users: usize,
    groups: usize,
    /// In each group.
    members: usize,
}

impl Scope {
    fn of(options: &Options) -> Scope {
        match options.quick {
            true => Scope {
                users: 40,
                groups: 4,
                members: 5,
            },
            false => Scope {
                users: 10_000,
                groups: 200,
                members: 50,
            },
        }
    }
}

/// The first user's number: far from all others'.
const FIRST: u64 = 1 << 40;

/// The initial and an incremental cycle, whatever else is there already. `who` ends the figures' names.
pub fn cycles(options: &Options, who: &str, target: &Target, run: &mut Run<'_>) -> Result<()> {
    let (first, later) = (format!("{INITIAL}{who}"), format!("{INCREMENTAL}{who}"));
    let scope = Scope::of(options);
    let mut users = Vec::new();
    run.rate(&first, None, || {
        let (sample, ids) = initial(target, scope)?;
        users = ids;
        Ok(sample)
    })?;
    if users.is_empty() && run.wants(&later) {
        users = initial(target, scope)?.1;
    }
    run.rate(&later, None, || incremental(target, &users))
}

/// Everything for the first time: find each user, create it; find each group, create it, add its members. Also the
/// ids of the users.
fn initial(target: &Target, scope: Scope) -> Result<(Sample, Vec<String>)> {
    let found: Vec<OnceLock<String>> = (0..scope.users).map(|_| OnceLock::new()).collect();
    let users = drive(
        target,
        CONNECTIONS,
        Budget::steps(scope.users),
        |connection, number| {
            let name = people::user_name(FIRST + number);
            connection.get(&format!("/Users{}", people::equals("userName", &name)))?;
            let user = people::user(FIRST + number);
            let id = people::id_of(connection.send("POST", "/Users", &user)?)?;
            // Each number is given out once.
            let _ = found[number as usize].set(id);
            Ok(())
        },
    )?;
    let ids: Vec<String> = found
        .into_iter()
        .map(|id| id.into_inner().ok_or("a user was not created"))
        .collect::<std::result::Result<_, _>>()?;
    let groups = drive(
        target,
        CONNECTIONS,
        Budget::steps(scope.groups),
        |connection, number| {
            let first = number as usize * scope.members;
            let members = ids.iter().cycle().skip(first).take(scope.members);
            one_group(connection, number, members.map(String::as_str))
        },
    )?;
    Ok((joined([users, groups]), ids))
}

fn one_group<'a>(
    connection: &mut Connection<'_>,
    number: u64,
    members: impl Iterator<Item = &'a str>,
) -> Result<()> {
    let name = format!("Entra group {number}");
    connection.get(&format!("/Groups{}", people::equals("displayName", &name)))?;
    let group = people::id_of(connection.send("POST", "/Groups", &people::group(&name))?)?;
    let patch = people::add_members(members);
    connection
        .send("PATCH", &format!("/Groups/{group}"), &patch)
        .map(|_| ())
}

/// A tenth of the users has changed: read each, patch it.
fn incremental(target: &Target, users: &[String]) -> Result<Sample> {
    drive(
        target,
        CONNECTIONS,
        Budget::steps(users.len().div_ceil(10)),
        |connection, number| {
            let path = format!("/Users/{}", users[number as usize * 10]);
            connection.get(&path)?;
            connection
                .send("PATCH", &path, &people::retitle(number))
                .map(|_| ())
        },
    )
}

/// Samples that were taken one after the other, as one.
fn joined(samples: [Sample; 2]) -> Sample {
    let mut all = Sample {
        elapsed: Default::default(),
        latencies: Histogram::default(),
    };
    for sample in &samples {
        all.elapsed += sample.elapsed;
        all.latencies.merge(&sample.latencies);
    }
    all
}
