//! Teams: live and archived, what governs the archive, and the way back in for a downloaded one.

use minijinja::context;
use minijinja::value::Value;

use super::Visit;
use super::archived;
use super::listing::{self, PAGE};
use crate::error::{Error, Result};
use crate::http::html::{encoded, moment};
use crate::http::request::Response;
use crate::manage;
use crate::scim::ScimError;
use crate::scim::resource::name_of;
use crate::scim::schema::Kind;
use crate::settings::{RETENTION_MAX_DAYS, ReturningTeam};
use crate::store::directory::{self, COUNTED_TO, Entry, State, Wanted};
use crate::store::{Snapshot, removals, settings};

const HERE: &str = "/settings/teams";

/// `/settings/teams`: `q` is what a name begins with, `show=archived` shows what was removed.
pub(super) fn answer(visit: &Visit<'_>) -> Result<Response> {
    if !visit.is_post() {
        return show(visit);
    }
    match visit.form.get("do") {
        "restore" => archived::restore(visit, Kind::Group, visit.form.get("id")),
        "import" => import(visit),
        "settings" => save(visit),
        _ => visit.problem(400, "That is nothing this page can do."),
    }
}

fn show(visit: &Visit<'_>) -> Result<Response> {
    let tenant = visit.tenant.id;
    let q = visit.query("q").trim().to_owned();
    let is_archive = visit.query("show") == "archived";
    let context = visit.look(|snapshot| {
        let wanted = Wanted {
            kind: Kind::Group,
            prefix: &q,
            state: Some(if is_archive {
                State::Archived
            } else {
                State::Active
            }),
            role: None,
            team: None,
        };
        let page = directory::search(snapshot, tenant, &wanted, &listing::place(visit), PAGE)?;
        let mut rows = Vec::new();
        for entry in &page.entries {
            rows.push(row(visit, snapshot, entry)?);
        }
        let asked = [
            ("show", if is_archive { "archived" } else { "" }),
            ("q", &*q),
        ];
        let settings = settings::read(snapshot, tenant)?;
        Ok(context! {
            q => q.as_str(),
            is_archive => is_archive,
            teams => rows,
            pager => listing::pager(HERE, &asked, &page),
            retention_days => settings.retention_days,
            is_fresh => settings.returning_team == ReturningTeam::Fresh,
            removal_count => settings.removals.count,
            removal_percent => settings.removals.percent,
            unusual_since => removals::unusual_since(snapshot, tenant)?.map(moment),
            retention_max => RETENTION_MAX_DAYS,
        })
    })?;
    visit.show("teams.html", "Teams", context)
}

fn row(visit: &Visit<'_>, snapshot: &Snapshot<'_>, entry: &Entry) -> Result<Value> {
    let (people, resources) = directory::counts(snapshot, visit.tenant.id, &entry.stored)?;
    Ok(context! {
        id => entry.stored.id.as_str(),
        name => name_of(&entry.stored.document, Kind::Group.resource_type()),
        people => counted(people),
        resources => counted(resources),
        created => moment(entry.stored.created),
        archived => archived::shown(visit, snapshot, entry)?,
    })
}

/// A count as [`directory::counts`] makes it, in words.
pub(super) fn counted(count: u64) -> String {
    if count > COUNTED_TO {
        format!("more than {COUNTED_TO}")
    } else {
        count.to_string()
    }
}

/// Makes a downloaded team again.
fn import(visit: &Visit<'_>) -> Result<Response> {
    let tenant = visit.tenant.id;
    let text = visit.form.get("copy");
    let imported = match serde_json::from_str::<serde_json::Value>(text) {
        Ok(copy) => visit.change(move |tx, actor| manage::team_copies::import(tx, tenant, actor, &copy)),
        Err(error) => Err(ScimError::invalid_value(format!(
            "This is no downloaded team but something that is not JSON ({error}). Paste the whole file, from its first brace to its last."
        ))
        .into()),
    };
    let to = match &imported {
        Ok(imported) => format!("{HERE}/{}", encoded(&imported.team.id)),
        Err(_) => HERE.to_owned(),
    };
    visit.then(imported, &to, |imported| {
        let name = name_of(&imported.team.document, Kind::Group.resource_type()).to_owned();
        match imported.missing.len() {
            0 => format!("The team {name} is here again."),
            _ => format!(
                "The team {name} is here again, without those who are no users any more: {}",
                imported.missing.join(", ")
            ),
        }
    })
}

/// Saves what governs the archive.
fn save(visit: &Visit<'_>) -> Result<Response> {
    let tenant = visit.tenant.id;
    let number = |name: &str, what: &str| -> Result<u32> {
        visit.form.get(name).parse().map_err(|_| {
            Error::from(ScimError::invalid_value(format!(
                "{what} is a whole number, 0 or more. Nothing was saved."
            )))
        })
    };
    let wanted = (|| {
        let before = visit.look(|snapshot| settings::read(snapshot, tenant))?;
        let mut wanted = before;
        wanted.retention_days = number("retention_days", "The time that what was removed is kept")?;
        wanted.removals.count = number("removal_count", "The number of removals")?.into();
        wanted.removals.percent = number("removal_percent", "The share of removals")?.into();
        wanted.returning_team = match visit.form.get("returning_team") {
            "fresh" => ReturningTeam::Fresh,
            _ => ReturningTeam::Revive,
        };
        Ok((wanted, before))
    })();
    let (wanted, before) = match wanted {
        Ok(wanted) => wanted,
        Err(refused) => return visit.then(Err(refused), HERE, |()| String::new()),
    };
    // The next purge takes what is older than the new time, and a weaker brake lets it: not easily taken back.
    let is_weaker = wanted.retention_days < before.retention_days
        || wanted.removals.count > before.removals.count
        || wanted.removals.percent > before.removals.percent;
    if is_weaker && let Some(ask) = visit.asks()? {
        return Ok(ask);
    }
    let saved = visit.change(move |tx, actor| {
        let mut all = settings::read(tx, tenant)?;
        all.retention_days = wanted.retention_days;
        all.removals = wanted.removals;
        all.returning_team = wanted.returning_team;
        manage::settings::set(tx, tenant, actor, &all)
    });
    visit.then(saved, HERE, |()| "Saved.".to_owned())
}
