//! Apps behind a proxy: which hosts ask here who somebody is, and who may open them.

use minijinja::context;
use minijinja::value::Value;

use super::Visit;
use crate::error::Result;
use crate::http::request::Response;
use crate::manage;
use crate::scim::resource;
use crate::scim::schema::Kind;
use crate::store::app_hosts::{self, AppHost};
use crate::store::{Snapshot, resources, roles};

const HERE: &str = "/settings/hosts";

/// `/settings/hosts`
pub(super) fn answer(visit: &Visit<'_>) -> Result<Response> {
    if !visit.is_post() {
        return show(visit);
    }
    // It says who is let in to an app.
    if let Some(ask) = visit.asks()? {
        return Ok(ask);
    }
    let tenant = visit.tenant.id;
    let host = visit.form.get("host").to_owned();
    match visit.form.get("do") {
        "save" => {
            let [role, teams] = ["role", "teams"].map(|name| visit.form.get(name).to_owned());
            let saved = visit.change(move |tx, actor| {
                manage::app_hosts::save(tx, tenant, actor, (&host, &role, &teams))
            });
            visit.then(saved, HERE, |()| "Saved: who may open it.".to_owned())
        }
        "remove" => {
            let removed =
                visit.change(move |tx, actor| manage::app_hosts::remove(tx, tenant, actor, &host));
            visit.then(removed, HERE, |_| {
                "The host is removed. Nobody is let in there any more.".to_owned()
            })
        }
        _ => visit.problem(400, "That is nothing this page can do."),
    }
}

fn show(visit: &Visit<'_>) -> Result<Response> {
    let tenant = visit.tenant.id;
    let context = visit.look(|snapshot| {
        let roles = roles::list(snapshot, tenant)?;
        let hosts = app_hosts::list(snapshot, tenant)?;
        let hosts: Vec<Value> = hosts
            .iter()
            .map(|host| {
                let role = roles.iter().find(|role| Some(role.id) == host.role);
                Ok(context! {
                    host => host.host.as_str(),
                    role => role.map(|role| role.name.as_str()),
                    teams => teams(visit, snapshot, host)?,
                })
            })
            .collect::<Result<_>>()?;
        Ok(context! {
            hosts => hosts,
            roles => roles.iter().map(|role| role.name.clone()).collect::<Vec<_>>(),
        })
    })?;
    let more = context! { origin => visit.app.origin(visit.head), knows_itself => visit.app.public_url.is_some() };
    visit.show(
        "hosts.html",
        "Apps behind a proxy",
        context! { ..context, ..more },
    )
}

/// The names of a host's teams; those that are gone by their id.
fn teams(visit: &Visit<'_>, snapshot: &Snapshot<'_>, host: &AppHost) -> Result<String> {
    let names: Vec<String> = host
        .teams
        .iter()
        .map(|id| {
            let team = resources::get(snapshot, visit.tenant.id, Kind::Group, id)?;
            let name = team.map(|team| {
                resource::name_of(&team.document, Kind::Group.resource_type()).to_owned()
            });
            Ok(name.unwrap_or_else(|| format!("{id} (gone)")))
        })
        .collect::<Result<_>>()?;
    Ok(names.join(", "))
}
