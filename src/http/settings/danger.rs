//! Danger zone: what concerns all of a tenant and is hardly taken back.

use minijinja::context;

use super::Visit;
use crate::error::Result;
use crate::http::html::moment;
use crate::http::request::Response;
use crate::http::visitor::Flash;
use crate::manage;
use crate::scim::ScimError;
use crate::store::{removals, settings, tenants};

const HERE: &str = "/settings/danger";

/// `/settings/danger`
pub(super) fn answer(visit: &Visit<'_>) -> Result<Response> {
    if !visit.is_post() {
        return show(visit);
    }
    let asked = visit.form.get("do");
    if ["purge", "delete"].contains(&asked) && visit.form.get("confirm") != visit.tenant.name {
        let words = "Nothing was done: what you typed is not the organisation’s name. Upper and lower case count.";
        return Ok(visit.go(HERE, Some(Flash::Failed(words.to_owned()))));
    }
    if let Some(ask) = visit.asks()? {
        return Ok(ask);
    }
    match asked {
        "rename" => rename(visit),
        "sessions" => end_sessions(visit),
        "purge" => purge(visit),
        "delete" => delete(visit),
        _ => visit.problem(400, "That is nothing this page can do."),
    }
}

fn show(visit: &Visit<'_>) -> Result<Response> {
    let (tenant, now) = (visit.tenant.id, visit.head.now);
    let (owned, settings, unusual) = visit.look(|snapshot| {
        Ok((
            tenants::owned(snapshot, tenant, now)?,
            settings::read(snapshot, tenant)?,
            removals::unusual_since(snapshot, tenant)?,
        ))
    })?;
    let context = context! {
        archived => owned.archived_people + owned.archived_teams > 0,
        owned => context! {
            people => owned.people,
            teams => owned.teams,
            archived_people => owned.archived_people,
            archived_teams => owned.archived_teams,
            team_resources => owned.team_resources,
            tokens => owned.tokens,
            accounts => owned.accounts,
            // This one is not another one.
            sessions => owned.sessions - 1,
        },
        retention_days => settings.retention_days,
        unusual => unusual.map(moment),
    };
    visit.show("danger.html", "Danger zone", context)
}

fn rename(visit: &Visit<'_>) -> Result<Response> {
    let (tenant, name) = (visit.tenant.clone(), visit.form.get("name").to_owned());
    let renamed = visit.change(move |tx, actor| {
        let name = manage::tenants::name(&name)?;
        if !manage::tenants::rename(tx, actor, &tenant, &name)? {
            let words = format!("Another organisation on this server is called {name} already.");
            return Err(ScimError::uniqueness(words).into());
        }
        Ok(name)
    });
    visit.then(renamed, HERE, |name| {
        format!("The organisation is called {name} now.")
    })
}

fn end_sessions(visit: &Visit<'_>) -> Result<Response> {
    let (tenant, own) = (visit.tenant.id, visit.session.id);
    let ended =
        visit.change(move |tx, actor| manage::sessions::end_everybody(tx, tenant, actor, own));
    visit.then(ended, HERE, |count| match count {
        1 => "1 session is ended.".to_owned(),
        count => format!("{count} sessions are ended."),
    })
}

fn purge(visit: &Visit<'_>) -> Result<Response> {
    let (app, head) = (visit.app, visit.head);
    let purged = manage::archive::purge_all(&app.store, visit.tenant.id, &visit.actor(), head.now);
    visit.then(purged, HERE, |count| {
        format!("The archive is empty. People and teams purged: {count}.")
    })
}

/// Ends at the sign-in page: who asked for it is no longer anybody here. The events went with the tenant, so the server's
/// log alone keeps a line of it.
fn delete(visit: &Visit<'_>) -> Result<Response> {
    let (tenant, name) = (visit.tenant.id, &visit.tenant.name);
    visit.change(move |tx, _| tenants::delete(tx, tenant))?;
    let (request, actor) = (&visit.head.request_id, visit.actor());
    log::warn!(
        "{request}: {actor} deleted tenant {} ({name:?}) with all that it owned",
        tenant.0
    );
    let words = format!("{name} and everything in it are deleted.");
    let response = visit.go("/sign-in", Some(Flash::Done(words)));
    Ok(visit.forget(response))
}
