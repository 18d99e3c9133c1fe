//! Guides: what to do in a provider, step by step, with this tenant's own values in the text.
//!
//! The text is in `static/pages/guides/`, a template for each provider, and needs nothing from outside.

use minijinja::context;
use minijinja::value::Value;

use super::Visit;
use crate::error::Result;
use crate::http::request::Response;
use crate::store::{roles, settings};

/// Name in the address, title, template, and what the list says of it.
const GUIDES: &[(&str, &str, &str, &str)] = &[
    (
        "entra-id",
        "Microsoft Entra ID",
        "guides/entra-id.html",
        "Your own application, the two credentials, roleName, who is provisioned and what unassigning does.",
    ),
    (
        "okta",
        "Okta",
        "guides/okta.html",
        "An application with SCIM, what is pushed, groups and roleName.",
    ),
    (
        "authentik",
        "authentik",
        "guides/authentik.html",
        "A SCIM provider behind an application, and roleName by a property mapping.",
    ),
    (
        "generic",
        "Any SCIM 2.0 client",
        "guides/generic.html",
        "Addresses, credentials, what is understood, and a first conversation to try by hand.",
    ),
];

/// `/settings/guides`
pub(super) fn answer(visit: &Visit<'_>) -> Result<Response> {
    let guides: Vec<Value> = GUIDES
        .iter()
        .map(|&(name, title, _, about)| context! { name => name, title => title, about => about })
        .collect();
    visit.show("guides.html", "Guides", context! { guides => guides })
}

/// `/settings/guides/{name}`
pub(super) fn guide(visit: &Visit<'_>, name: &str) -> Result<Response> {
    let Some(&(_, title, template, _)) = GUIDES.iter().find(|(known, ..)| *known == name) else {
        return visit.problem(404, "There is no guide of this name.");
    };
    let tenant = visit.tenant.id;
    let (settings, roles, (values, _), rules) = visit.look(|snapshot| {
        Ok((
            settings::read(snapshot, tenant)?,
            roles::list(snapshot, tenant)?,
            roles::mappings(snapshot, tenant)?,
            roles::rules(snapshot, tenant)?,
        ))
    })?;
    let named = |wanted| roles.iter().find(|role| role.id == wanted);
    let values: Vec<Value> = values
        .iter()
        .map(|row| context! { from => row.from.as_str(), role => row.role.as_str() })
        .collect();
    let context = context! {
        scim_url => format!("{}/scim/v2", visit.app.origin(visit.head)),
        role_values => values,
        default_role => named(rules.default).map(|role| role.name.as_str()),
        retention_days => settings.retention_days,
        removal_count => settings.removals.count,
        removal_percent => settings.removals.percent,
    };
    visit.show(template, title, context)
}
