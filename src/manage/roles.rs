//! Each user's role, kept true.
//!
//! It is stored beside the user, so that lists and counts need not decide it anew. Whoever changes what decides it (an
//! attribute, a membership, a group's name; a row, a rank, the default: `role_rules`) settles those concerned in the same
//! transaction.

use serde_json::{Value, json};

use crate::access::roles::{RoleId, Rules, decide};
use crate::error::Result;
use crate::scim::ScimError;
use crate::scim::resource::{Document, fold};
use crate::scim::schema::Kind;
use crate::settings::UnmappedRole;
use crate::store::events::{self, Event};
use crate::store::resources::{self, Stored};
use crate::store::roles::Scope;
use crate::store::{Snapshot, TenantId, Tx, roles, settings, teams};

/// Users that one step of [`walk`] holds in memory.
const BATCH: usize = 500;

/// Decides a user's role anew and stores it if it is another.
pub fn settle(tx: &Tx<'_>, tenant: TenantId, actor: &str, user: &Stored) -> Result<()> {
    settle_by(tx, tenant, actor, &roles::rules(tx, tenant)?, user)?;
    Ok(())
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

/// The same for users, by id, who joined or left a group, if groups called `names` give roles at all.
pub fn settle_members<'a>(
    tx: &Tx<'_>,
    tenant: TenantId,
    actor: &str,
    names: &[&str],
    users: impl IntoIterator<Item = &'a String>,
) -> Result<()> {
    let rules = roles::rules(tx, tenant)?;
    if names
        .iter()
        .any(|name| rules.by_group.contains_key(&fold(name)))
    {
        for id in users {
            if let Some(user) = resources::get(tx, tenant, Kind::User, id)? {
                settle_by(tx, tenant, actor, &rules, &user)?;
            }
        }
    }
    Ok(())
}

/// The same for all members of a group, which came, went or changed its name.
pub fn settle_team(
    tx: &Tx<'_>,
    tenant: TenantId,
    actor: &str,
    names: &[&str],
    team: &Stored,
) -> Result<()> {
    let members: Vec<String> = teams::members(tx, tenant, team)?
        .into_iter()
        .map(|member| member.id)
        .collect();
    settle_members(tx, tenant, actor, names, &members)
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
    let shown = |role: RoleId| json!({ "role": rules.find(role).map(|role| &role.name) });
    let (before, after) = (before.map(shown), shown(decided));
    let event = Event {
        actor,
        kind: "role.assigned",
        subject: &user.id,
        object: None,
        before: before.as_ref(),
        after: Some(&after),
    };
    events::append(tx, tenant, &event)?;
    Ok(true)
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
