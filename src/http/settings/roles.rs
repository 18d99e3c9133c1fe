//! Roles: what they open, what gives them, whom a change would give another one, and why somebody has theirs.
//!
//! Whatever may give people another role is a form that asks for a preview by GET; the preview alone has the button that
//! saves it.

use minijinja::context;
use minijinja::value::Value;

use super::Visit;
use crate::access::roles::Role;
use crate::error::Result;
use crate::http::request::Response;
use crate::manage;
use crate::manage::role_rules::{self, Change};
use crate::scim::ScimError;
use crate::scim::schema::Kind;
use crate::settings::{Settings, UnmappedRole};
use crate::store::roles::{self, Mapping};
use crate::store::{Snapshot, TenantId, accounts, resources, settings, teams};

const HERE: &str = "/settings/roles";

/// Team names that are offered at most.
const OFFERED: usize = 200;

/// Longest value of `roleName` that can be mapped, and longest group name.
const FROM_MAX_CHARS: usize = 500;

/// `/settings/roles`
pub(super) fn answer(visit: &Visit<'_>) -> Result<Response> {
    if !visit.is_post() {
        return match visit.query("change").as_str() {
            "" => show(visit),
            _ => preview(visit),
        };
    }
    if let Some(ask) = visit.asks()? {
        return Ok(ask);
    }
    match visit.form.get("do") {
        "save" => save(visit),
        "add" => add(visit),
        "rename" => rename(visit),
        "remove" => remove(visit),
        "policy" => set_policy(visit),
        _ => visit.problem(400, "That is nothing this page can do."),
    }
}

fn show(visit: &Visit<'_>) -> Result<Response> {
    let tenant = visit.tenant.id;
    let asked = visit.query("why").trim().to_owned();
    let context = visit.look(|snapshot| {
        let rules = roles::rules(snapshot, tenant)?;
        let (values, groups) = roles::mappings(snapshot, tenant)?;
        let unmapped = roles::unmapped(snapshot, tenant)?;
        let why = manage::roles::why(snapshot, tenant, &asked)?;
        let row = |mapping: &Mapping| {
            context! { from => mapping.from.as_str(), role => mapping.role.as_str() }
        };
        let group = |mapping: &Mapping| {
            let team = resources::by_name(snapshot, tenant, Kind::Group, &mapping.from)?;
            Ok(context! { team => team.map(|team| team.id), ..row(mapping) })
        };
        Ok(context! {
            roles => rows(snapshot, tenant, &rules.roles)?,
            default => rules.default.0,
            values => values.iter().map(row).collect::<Vec<_>>(),
            groups => groups.iter().map(group).collect::<Result<Vec<_>>>()?,
            unmapped => unmapped,
            teams => teams::names(snapshot, tenant, OFFERED)?,
            rejects => settings::read(snapshot, tenant)?.unmapped_role == UnmappedRole::Reject,
            asked => asked,
            why => why.map(|(user, steps)| context! { id => user.id, steps => steps }),
        })
    })?;
    visit.show("roles.html", "Roles", context)
}

/// The rows of the table of roles.
fn rows(snapshot: &Snapshot<'_>, tenant: TenantId, roles: &[Role]) -> Result<Vec<Value>> {
    let row = |role: &Role| {
        let uses = role_rules::uses(snapshot, tenant, role)?;
        Ok(context! {
            id => role.id.0,
            name => role.name.as_str(),
            rank => role.rank,
            opens => role.opens_settings,
            people => uses.people,
            uses => uses.reasons,
        })
    };
    roles.iter().map(row).collect()
}

/// What a change would do, with the form that saves it.
fn preview(visit: &Visit<'_>) -> Result<Response> {
    let tenant = visit.tenant.id;
    let viewer = visit.session.person.as_deref();
    let fields = Fields::of(|name| visit.query(name));
    let foreseen = visit.look(|snapshot| {
        let change = fields.change(snapshot, tenant)?;
        let preview = role_rules::preview(snapshot, tenant, &change, viewer)?;
        Ok((change, preview, accounts::list(snapshot, tenant)?.len()))
    });
    let (change, preview, accounts) = match foreseen {
        Ok(foreseen) => foreseen,
        refused => return visit.then(refused, HERE, |_| String::new()),
    };
    let named = |person: &role_rules::Promoted| {
        context! {
            id => person.id.as_str(), name => person.name.as_str(),
            from => person.from.as_str(), to => person.to.as_str(),
        }
    };
    let context = context! {
        words => words(&change),
        spaced => matches!(&change, Change::Value(value, Some(_)) if value.trim() != value),
        people => preview.people,
        named => preview.named.iter().map(named).collect::<Vec<_>>(),
        openers_before => preview.openers.0,
        openers_after => preview.openers.1,
        locks_out => preview.locks_out,
        accounts => accounts,
        fields => fields.0.to_vec(),
    };
    visit.show("role_change.html", "Save this change?", context)
}

/// A change in words, as the infinitive after "to".
fn words(change: &Change) -> String {
    match change {
        Change::Value(value, Some(role)) => {
            format!(
                "give the role {} to who has the roleName {value:?}",
                role.name
            )
        }
        Change::Value(value, None) => format!("let the roleName {value:?} give no role"),
        Change::Group(name, Some(role)) => {
            format!("give the role {} to members of the group {name}", role.name)
        }
        Change::Group(name, None) => format!("let the group {name} give no role"),
        Change::Default(role) => {
            format!("give the role {} to who gets none otherwise", role.name)
        }
        Change::Rank(role, rank) => format!("put the role {} at rank {rank}", role.name),
        Change::OpensSettings(role, true) => {
            format!("let the role {} open the settings", role.name)
        }
        Change::OpensSettings(role, false) => {
            format!("let the role {} open the settings no longer", role.name)
        }
    }
}

fn save(visit: &Visit<'_>) -> Result<Response> {
    let tenant = visit.tenant.id;
    // As they are: values of roleName compare exactly, white space and all.
    let fields = Fields::of(|name| visit.form.raw(name).to_owned());
    let saved = visit.change(move |tx, actor| {
        let change = fields.change(tx, tenant)?;
        role_rules::make(tx, tenant, actor, &change)
    });
    visit.then(saved, HERE, |people| match people {
        0 => "Saved. Everybody has the role they had.".to_owned(),
        1 => "Saved. 1 person has another role now.".to_owned(),
        _ => format!("Saved. {people} people have another role now."),
    })
}

fn add(visit: &Visit<'_>) -> Result<Response> {
    let tenant = visit.tenant.id;
    let name = visit.form.get("name").to_owned();
    let opens = visit.form.get("opens") == "yes";
    let added = visit.change(move |tx, actor| {
        let name = role_rules::name(&name)?;
        role_rules::add(tx, tenant, actor, &name, opens)
    });
    visit.then(added, HERE, |role| {
        format!(
            "The role {} is added. Nothing gives it yet: map a value or a group to it.",
            role.name
        )
    })
}

fn rename(visit: &Visit<'_>) -> Result<Response> {
    let tenant = visit.tenant.id;
    let (id, name) = (
        visit.form.get("role").to_owned(),
        visit.form.get("name").to_owned(),
    );
    let renamed = visit.change(move |tx, actor| {
        let role = named(&roles::list(tx, tenant)?, &id)?;
        let name = role_rules::name(&name)?;
        role_rules::rename(tx, tenant, actor, &role, &name)?;
        Ok((role.name, name))
    });
    visit.then(renamed, HERE, |(was, is)| {
        format!("The role {was} is called {is} now.")
    })
}

fn remove(visit: &Visit<'_>) -> Result<Response> {
    let tenant = visit.tenant.id;
    let id = visit.form.get("role").to_owned();
    let removed = visit.change(move |tx, actor| {
        let role = named(&roles::list(tx, tenant)?, &id)?;
        role_rules::remove(tx, tenant, actor, &role)?;
        Ok(role.name)
    });
    visit.then(removed, HERE, |name| format!("The role {name} is removed."))
}

fn set_policy(visit: &Visit<'_>) -> Result<Response> {
    let tenant = visit.tenant.id;
    let unmapped_role = match visit.form.get("policy") {
        "reject" => UnmappedRole::Reject,
        _ => UnmappedRole::Accept,
    };
    let set = visit.change(move |tx, actor| {
        let wanted = Settings {
            unmapped_role,
            ..settings::read(tx, tenant)?
        };
        manage::settings::set(tx, tenant, actor, &wanted)
    });
    visit.then(set, HERE, |()| match unmapped_role {
        UnmappedRole::Accept => "Saved. A roleName that gives no role is accepted.".to_owned(),
        UnmappedRole::Reject => "Saved. A roleName that gives no role is refused.".to_owned(),
    })
}

/// A change as forms carry it: the same fields ask for its preview and save it.
struct Fields([(&'static str, String); 4]);

impl Fields {
    fn of(get: impl Fn(&str) -> String) -> Fields {
        Fields(["change", "from", "role", "to"].map(|name| (name, get(name))))
    }

    /// The change that they mean, with the roles of this tenant alone.
    fn change(&self, snapshot: &Snapshot<'_>, tenant: TenantId) -> Result<Change> {
        let [change, from, role, to] = self.0.each_ref().map(|(_, value)| value.as_str());
        let roles = roles::list(snapshot, tenant)?;
        let role = || named(&roles, role);
        let given = || match to {
            "none" => Ok(None),
            _ => role().map(Some),
        };
        Ok(match change {
            "value" => Change::Value(source(from)?, given()?),
            "group" => Change::Group(source(from.trim())?, given()?),
            "default" => Change::Default(role()?),
            "rank" => Change::Rank(role()?, to.parse().unwrap_or(1)),
            "opens" => Change::OpensSettings(role()?, to == "yes"),
            _ => return Err(ScimError::invalid_value("That is no change of roles.").into()),
        })
    }
}

/// What a role is given by, if it can be written down.
fn source(text: &str) -> std::result::Result<String, ScimError> {
    if text.is_empty() || text.chars().count() > FROM_MAX_CHARS || text.contains(char::is_control) {
        return Err(ScimError::invalid_value(format!(
            "Write the value or the group’s name: 1 to {FROM_MAX_CHARS} characters."
        )));
    }
    Ok(text.to_owned())
}

/// The one of `roles` that a form names by its number.
fn named(roles: &[Role], id: &str) -> std::result::Result<Role, ScimError> {
    let found = roles.iter().find(|role| role.id.0.to_string() == id);
    found.cloned().ok_or_else(|| {
        ScimError::not_found("Choose a role; the one that was sent is not there, or not any more.")
    })
}
