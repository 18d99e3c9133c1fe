//! Each user's role, kept true.
//!
//! It is stored beside the user, so that lists and counts need not decide it anew. Whoever changes what decides it (an
//! attribute, a membership, a group's name; a row, a rank, the default: `role_rules`) settles those concerned in the same
//! transaction.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::access::roles::{RoleId, Rules, decide};
use crate::error::Result;
use crate::scim::ScimError;
use crate::scim::resource::{self, Document, fold};
use crate::scim::schema::Kind;
use crate::settings::UnmappedRole;
use crate::store::events::{self, Event};
use crate::store::resources::{self, New, Stored};
use crate::store::roles::Scope;
use crate::store::{Snapshot, TenantId, Tx, nesting, roles, settings};

/// Users that one step of [`walk`] holds in memory.
const BATCH: usize = 500;

/// Decides a user's role anew and stores it if it is another.
pub fn settle(tx: &Tx<'_>, tenant: TenantId, actor: &str, user: &Stored) -> Result<()> {
    settle_by(tx, tenant, actor, &*roles::rules(tx, tenant)?, user)?;
    Ok(())
}

/// Stores a new user, who is in no team yet, with the role that they have, and tells of both.
pub fn insert_user(
    tx: &Tx<'_>,
    tenant: TenantId,
    actor: &str,
    id: String,
    new: New,
) -> Result<Stored> {
    let rules = roles::rules(tx, tenant)?;
    let role = decide(&rules, &roles::said(&new.document, vec![])).role;
    let user = resources::insert_as(tx, tenant, Kind::User, id, Some(role), new)?;
    let event = Event {
        actor,
        kind: "user.created",
        subject: &user.id,
        object: None,
        before: None,
        after: Some(&user),
    };
    events::append_document(tx, tenant, &event)?;
    assigned(tx, tenant, actor, &rules, &user, (None, role))?;
    Ok(user)
}

/// The same for every live user within `scope`. Returns how many got another role.
pub(super) fn settle_all(
    tx: &Tx<'_>,
    tenant: TenantId,
    actor: &str,
    scope: &Scope<'_>,
) -> Result<u64> {
    let rules = roles::rules(tx, tenant)?;
    let mut settled = 0;
    walk(tx, tenant, scope, |user| {
        settled += u64::from(settle_by(tx, tenant, actor, &rules, user)?);
        Ok(())
    })?;
    Ok(settled)
}

/// Shows every live user within `scope`, oldest first.
pub(super) fn walk(
    snapshot: &Snapshot<'_>,
    tenant: TenantId,
    scope: &Scope<'_>,
    mut look: impl FnMut(&Stored) -> Result<()>,
) -> Result<()> {
    let mut after = 0;
    loop {
        let users = roles::users_after(snapshot, tenant, scope, after, BATCH)?;
        users.iter().try_for_each(&mut look)?;
        match users.last() {
            Some(last) => after = last.row,
            None => return Ok(()),
        }
    }
}

/// The same for who joined or left `team`, as its member or with a team that did, if it or a team that it is in gives a
/// role at all.
pub fn settle_members<'a>(
    tx: &Tx<'_>,
    tenant: TenantId,
    actor: &str,
    team: &Stored,
    members: impl IntoIterator<Item = (&'a String, &'a Kind)>,
) -> Result<()> {
    let Some(rules) = rules_by(tx, tenant, team, None)? else {
        return Ok(());
    };
    for (id, kind) in members {
        match kind {
            Kind::User => settle_each(tx, tenant, actor, &rules, std::slice::from_ref(id))?,
            Kind::Group => {
                if let Some(part) = resources::get(tx, tenant, Kind::Group, id)? {
                    let people = nesting::people_below(tx, tenant, &part)?;
                    settle_each(tx, tenant, actor, &rules, &people)?;
                }
            }
        }
    }
    Ok(())
}

/// The same for all who are in a team, which came, went or was called `before`.
pub fn settle_team(
    tx: &Tx<'_>,
    tenant: TenantId,
    actor: &str,
    team: &Stored,
    before: Option<&str>,
) -> Result<()> {
    let Some(rules) = rules_by(tx, tenant, team, before)? else {
        return Ok(());
    };
    let people = nesting::people_below(tx, tenant, team)?;
    settle_each(tx, tenant, actor, &rules, &people)
}

/// The rules, if by them a role is given by `team`, which may have been called `before`, or by one that it is in.
fn rules_by(
    tx: &Tx<'_>,
    tenant: TenantId,
    team: &Stored,
    before: Option<&str>,
) -> Result<Option<Arc<Rules>>> {
    let rules = roles::rules(tx, tenant)?;
    if rules.by_group.is_empty() {
        return Ok(None);
    }
    let gives = |name: &str| rules.by_group.contains_key(&fold(name));
    let own = resource::name_of(&team.document, Kind::Group.resource_type());
    let concerned = gives(own)
        || before.is_some_and(gives)
        || nesting::teams_above(tx, tenant, team)?
            .iter()
            .any(|above| gives(&above.display));
    Ok(concerned.then_some(rules))
}

fn settle_each(
    tx: &Tx<'_>,
    tenant: TenantId,
    actor: &str,
    rules: &Rules,
    users: &[String],
) -> Result<()> {
    for id in users {
        if let Some(user) = resources::get(tx, tenant, Kind::User, id)? {
            settle_by(tx, tenant, actor, rules, &user)?;
        }
    }
    Ok(())
}

/// Tells whether the role is another now.
fn settle_by(
    tx: &Tx<'_>,
    tenant: TenantId,
    actor: &str,
    rules: &Rules,
    user: &Stored,
) -> Result<bool> {
    let Some((before, decided)) = difference(tx, tenant, rules, user)? else {
        return Ok(false);
    };
    roles::give(tx, tenant, user, decided)?;
    assigned(tx, tenant, actor, rules, user, (before, decided))?;
    Ok(true)
}

/// The event of another role.
fn assigned(
    tx: &Tx<'_>,
    tenant: TenantId,
    actor: &str,
    rules: &Rules,
    user: &Stored,
    (before, after): (Option<RoleId>, RoleId),
) -> Result<()> {
    let shown = |role: RoleId| json!({ "role": rules.find(role).map(|role| &role.name) });
    let (before, after) = (before.map(shown), shown(after));
    let event = Event {
        actor,
        kind: "role.assigned",
        subject: &user.id,
        object: None,
        before: before.as_ref(),
        after: Some(&after),
    };
    events::append(tx, tenant, &event)?;
    Ok(())
}

/// The role that a user has and the one that `rules` give, where the two are not the same.
pub(super) fn difference(
    snapshot: &Snapshot<'_>,
    tenant: TenantId,
    rules: &Rules,
    user: &Stored,
) -> Result<Option<(Option<RoleId>, RoleId)>> {
    let decided = decide(rules, &roles::facts(snapshot, tenant, user)?).role;
    let before = roles::role_of(snapshot, tenant, user)?;
    Ok((before != Some(decided)).then_some((before, decided)))
}

/// Why a user has the role that they have, a sentence for each step. `user` is an id or a userName; `None` where there is
/// none.
pub fn why(
    snapshot: &Snapshot<'_>,
    tenant: TenantId,
    user: &str,
) -> Result<Option<(Stored, Vec<String>)>> {
    let found = match resources::get(snapshot, tenant, Kind::User, user)? {
        Some(found) => Some(found),
        None => resources::by_name(snapshot, tenant, Kind::User, user)?,
    };
    let Some(user) = found else {
        return Ok(None);
    };
    let rules = roles::rules(snapshot, tenant)?;
    let decision = decide(&rules, &roles::facts(snapshot, tenant, &user)?);
    let said = decision.steps.iter().map(ToString::to_string).collect();
    Ok(Some((user, said)))
}

/// Refuses a new `roleName` that no row maps, where the tenant wants that: 400 `invalidValue` naming the accepted ones.
pub fn check_role_name(
    tx: &Tx<'_>,
    tenant: TenantId,
    before: Option<&Document>,
    after: &Document,
) -> Result<()> {
    let Some(value) = after.get("roleName").and_then(Value::as_str) else {
        return Ok(());
    };
    let unchanged = before
        .and_then(|before| before.get("roleName"))
        .and_then(Value::as_str)
        == Some(value);
    if unchanged || settings::read(tx, tenant)?.unmapped_role == UnmappedRole::Accept {
        return Ok(());
    }
    let (mapped, _) = roles::mappings(tx, tenant)?;
    if mapped.iter().any(|row| row.from == value) {
        return Ok(());
    }
    let accepted: Vec<String> = mapped.iter().map(|row| format!("{:?}", row.from)).collect();
    Err(ScimError::invalid_value(format!(
        "roleName {value:?} is not accepted here; accepted are {} (upper and lower case matter)",
        accepted.join(", ")
    ))
    .into())
}
