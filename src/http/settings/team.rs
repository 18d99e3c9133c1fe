//! One team, live or archived: who is in it, what it owns, what happened, what can be done.

use minijinja::context;
use minijinja::value::Value;

use super::archived::{self, finish};
use super::listing::{self, PAGE};
use super::person::linked;
use super::teams::counted;
use super::{Visit, attachment, attributes, history, people};
use crate::error::{Error, Result};
use crate::http::html::moment;
use crate::http::request::Response;
use crate::manage;
use crate::scim::ScimError;
use crate::scim::resource::{fold, name_of};
use crate::scim::schema::Kind;
use crate::store::attributes::schemas;
use crate::store::directory::{self, Entry, Wanted};
use crate::store::resources::Stored;
use crate::store::{Snapshot, TenantId, nesting, resources, roles, team_copies, teams};

/// Longest part of a team's name in the name of a file.
const FILE_NAME_MAX_CHARS: usize = 60;

/// `/settings/teams/{id}`
pub(super) fn answer(visit: &Visit<'_>, id: &str) -> Result<Response> {
    let tenant = visit.tenant.id;
    let Some(entry) = visit.look(|snapshot| directory::get(snapshot, tenant, Kind::Group, id))?
    else {
        return visit.problem(404, "There is no such team. It may have been purged.");
    };
    if !visit.is_post() {
        return show(visit, &entry);
    }
    match visit.form.get("do") {
        "restore" => archived::restore(visit, Kind::Group, id),
        "purge" => archived::purge(visit, Kind::Group, id),
        "transfer" => transfer(visit, &entry),
        _ => visit.problem(400, "That is nothing this page can do."),
    }
}

fn show(visit: &Visit<'_>, entry: &Entry) -> Result<Response> {
    let (tenant, team) = (visit.tenant.id, &entry.stored);
    let here = format!("/settings/teams/{}", team.id);
    let name = name_of(&team.document, Kind::Group.resource_type());
    let context = visit.look(|snapshot| {
        let wanted = Wanted {
            kind: Kind::User,
            prefix: "",
            state: None,
            role: None,
            team: Some(team.row),
        };
        let members = directory::search(snapshot, tenant, &wanted, &listing::place(visit), PAGE)?;
        let (people, resources) = directory::counts(snapshot, tenant, team)?;
        let (_, groups) = roles::mappings(snapshot, tenant)?;
        let gives: Vec<String> = groups
            .into_iter()
            .filter(|row| fold(&row.from) == fold(name))
            .map(|row| row.role)
            .collect();
        Ok(context! {
            id => team.id.as_str(),
            name => name,
            created => moment(team.created),
            last_modified => moment(team.last_modified),
            archived => archived::shown(visit, snapshot, entry)?,
            sections => attributes::sections(schemas(snapshot, tenant)?.of(Kind::Group), &team.document),
            gives => gives,
            people => counted(people),
            resource_count => counted(resources),
            members => people::rows(visit, snapshot, &members.entries)?,
            pager => listing::pager(&here, &[], &members),
            parts => teams::parts(snapshot, tenant, team)?.iter().map(linked).collect::<Vec<_>>(),
            wholes => wholes(snapshot, tenant, team)?,
            resources => owned(visit, snapshot, entry)?,
            history => history::page(visit, snapshot, &team.id)?,
        })
    })?;
    visit.show("team.html", name, context)
}

/// The teams that it is in, first those whose member it is itself.
fn wholes(snapshot: &Snapshot<'_>, tenant: TenantId, team: &Stored) -> Result<Vec<Value>> {
    let mut wholes = teams::groups_of(snapshot, tenant, team)?;
    let own: Vec<String> = wholes.iter().map(|whole| whole.id.clone()).collect();
    let above = nesting::teams_above(snapshot, tenant, team)?.into_iter();
    wholes.extend(above.filter(|whole| !own.contains(&whole.id)));
    Ok(wholes.iter().map(linked).collect())
}

/// What it owns, from `?resources=ID` on.
fn owned(visit: &Visit<'_>, snapshot: &Snapshot<'_>, entry: &Entry) -> Result<Value> {
    let after = visit.query("resources");
    let mut found =
        team_copies::belongings(snapshot, visit.tenant.id, &entry.stored, (&after, PAGE + 1))?;
    let more = found.len() > PAGE;
    found.truncate(PAGE);
    let rows: Vec<Value> = found
        .iter()
        .map(|(_, draft)| context! { kind => draft.kind.as_str(), name => draft.name.as_str(), url => draft.url.as_deref() })
        .collect();
    Ok(context! {
        rows => rows,
        is_first => after.is_empty(),
        next => found.last().filter(|_| more).map(|(id, _)| id.as_str()),
    })
}

/// Gives what it owns to another team, which is named by its name.
fn transfer(visit: &Visit<'_>, entry: &Entry) -> Result<Response> {
    let (tenant, from) = (visit.tenant.id, entry.stored.id.clone());
    let to = visit.form.get("to").to_owned();
    let here = format!("/settings/teams/{}", entry.stored.id);
    let wanted = to.clone();
    let moved = visit.change(move |tx, actor| {
        let Some(target) = resources::by_name(tx, tenant, Kind::Group, &wanted)? else {
            let words = format!("There is no live team called {wanted:?}. Nothing was moved; write its name as the list of teams shows it.");
            return Err(Error::from(ScimError::invalid_value(words)));
        };
        manage::team_copies::transfer(tx, tenant, actor, &from, &target.id)
    });
    finish(visit, moved, &here, |count| match count {
        1 => format!("One resource moved to {to}."),
        count => format!("{count} resources moved to {to}."),
    })
}

/// `/settings/teams/{id}/download`: the team with all that belongs to it, as a file.
pub(super) fn download(visit: &Visit<'_>, id: &str) -> Result<Response> {
    let tenant = visit.tenant.id;
    let copy = visit.look(|snapshot| manage::team_copies::download(snapshot, tenant, id))?;
    let name = copy["attributes"]["displayName"]
        .as_str()
        .unwrap_or_default();
    let name: String = name.chars().take(FILE_NAME_MAX_CHARS).collect();
    let mut body = format!("{copy:#}").into_bytes();
    body.push(b'\n');
    let name = format!("team-{name}.json");
    Ok(attachment("application/json", &name, body.into()))
}
