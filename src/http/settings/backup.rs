//! Backup: a copy of the organisation for everybody, backups of the whole server for who is alone on it.

use std::time::Duration;

use minijinja::context;
use minijinja::value::Value;

use super::{Visit, attachment};
use crate::error::{Doing, Result};
use crate::http::html::moment;
use crate::http::request::{Body, Response};
use crate::manage::backups::{self, Standing};
use crate::manage::tenant_copies::{self, Events};
use crate::store::backup::{self, Listed, Schedule};
use crate::store::tenants;

const HERE: &str = "/settings/backup";

/// Backups that the page lists, the newest ones.
const LISTED: usize = 50;

/// `/settings/backup`
pub(super) fn answer(visit: &Visit<'_>) -> Result<Response> {
    if !visit.is_post() {
        return show(visit);
    }
    if let Some(ask) = visit.asks()? {
        return Ok(ask);
    }
    match (visit.form.get("do"), &visit.app.backups) {
        ("export", _) => export(visit),
        ("make", Some(schedule)) => make(visit, schedule),
        _ => visit.problem(400, "That is nothing this page can do."),
    }
}

/// `/settings/backup/{file}`: sent for a form alone, since a link could neither ask for the password nor be told from one
/// on another site.
pub(super) fn file(visit: &Visit<'_>, name: &str) -> Result<Response> {
    if !visit.is_post() {
        return Ok(visit.go(HERE, None));
    }
    let nothing = || visit.problem(404, "There is no backup of this name that is yours alone.");
    let is_alone = visit.look(|snapshot| tenants::is_alone(snapshot, &visit.tenant))?;
    let Some(schedule) = visit.app.backups.as_ref().filter(|_| is_alone) else {
        return nothing();
    };
    if let Some(ask) = visit.asks()? {
        return Ok(ask);
    }
    let (store, now) = (&visit.app.store, visit.head.now);
    let wanted = (&visit.tenant, name);
    match backups::hand_out(store, schedule, wanted, &visit.actor(), now)? {
        Some(file) => {
            let body = Body::of_file(file).doing("opening a backup")?;
            Ok(attachment("application/vnd.sqlite3", name, body))
        }
        None => nothing(),
    }
}

fn show(visit: &Visit<'_>) -> Result<Response> {
    let is_alone = visit.look(|snapshot| tenants::is_alone(snapshot, &visit.tenant))?;
    let schedule = visit.app.backups.as_ref().filter(|_| is_alone);
    let listed = schedule.and_then(|schedule| backup::list(&schedule.dir).ok());
    let rows: Vec<Value> = listed
        .unwrap_or_default()
        .iter()
        .take(LISTED)
        .map(row)
        .collect();
    let context = context! {
        is_alone => is_alone,
        standing => standing(backups::standing(schedule, visit.head.now)),
        schedule => schedule.map(|schedule| context! {
            dir => schedule.dir.display().to_string(),
            every => often(schedule.every),
            keep => schedule.keep,
        }),
        backups => rows,
    };
    visit.show("backup.html", "Backup", context)
}

fn row(listed: &Listed) -> Value {
    context! { name => listed.name.as_str(), at => moment(listed.at), size => size(listed.bytes) }
}

/// How it stands, as `backup_standing.html` takes it.
pub(super) fn standing(standing: Standing) -> Value {
    let (word, at) = match standing {
        Standing::Off => ("off", None),
        Standing::Unreadable => ("unreadable", None),
        Standing::Missing => ("missing", None),
        Standing::Late(at) => ("late", Some(at)),
        Standing::Good(at) => ("good", Some(at)),
    };
    context! { word => word, at => at.map(moment) }
}

fn export(visit: &Visit<'_>) -> Result<Response> {
    let events = match visit.form.get("events") {
        "along" => Events::Along,
        _ => Events::Behind,
    };
    let (store, now) = (&visit.app.store, visit.head.now);
    let file = tenant_copies::hand_out(store, &visit.tenant, &visit.actor(), events, now)?;
    let day = now.strftime("%Y-%m-%d");
    let name = format!("{}-{day}.jsonl", visit.tenant.name);
    let body = Body::of_file(file).doing("reading the copy")?;
    Ok(attachment("application/jsonl", &name, body))
}

fn make(visit: &Visit<'_>, schedule: &Schedule) -> Result<Response> {
    let (store, now) = (&visit.app.store, visit.head.now);
    let made = backups::make(store, schedule, &visit.tenant, &visit.actor(), now);
    visit.then(made, HERE, |made| {
        let (name, size) = (backups::made_name(&made), size(made.bytes));
        format!("{name} is made and checked: {size}.")
    })
}

/// A number of bytes for people: `1.4 MB`.
fn size(bytes: u64) -> String {
    match bytes {
        0..1_000_000 => format!("{} kB", bytes.div_ceil(1_000)),
        1_000_000..1_000_000_000 => format!("{:.1} MB", bytes as f64 / 1e6),
        _ => format!("{:.1} GB", bytes as f64 / 1e9),
    }
}

/// An interval for people, in the largest unit of which it is a whole number: `24 hours`.
fn often(every: Duration) -> String {
    let seconds = every.as_secs();
    let (length, unit) = [(3_600, "hour"), (60, "minute"), (1, "second")]
        .into_iter()
        .find(|(length, _)| seconds.is_multiple_of(*length))
        .unwrap_or((1, "second"));
    match seconds / length {
        1 => unit.to_owned(),
        count => format!("{count} {unit}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_intervals_are_told_in_words() {
        for (bytes, words) in [
            (1, "1 kB"),
            (999_999, "1000 kB"),
            (1_449_000, "1.4 MB"),
            (2_000_000_000, "2.0 GB"),
        ] {
            assert_eq!(size(bytes), words);
        }
        for (seconds, words) in [
            (86_400, "24 hours"),
            (3_600, "hour"),
            (5_400, "90 minutes"),
            (1, "second"),
            (61, "61 seconds"),
        ] {
            assert_eq!(often(Duration::from_secs(seconds)), words);
        }
    }
}
