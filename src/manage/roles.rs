//! Roles: defining them, what gives them, and keeping each user's true.
//!
//! A user's role is stored beside the user, so that lists and counts need not decide it anew. Whoever changes what
//! decides it (an attribute, a membership, a group's name, a row, a rank, the default) settles those concerned in the
//! same transaction.

use serde_json::{Value, json};

use crate::access::roles::{Decision, Role, RoleId, Rules, decide};
use crate::error::Result;
use crate::scim::ScimError;
use crate::scim::resource::{Document, fold};
use crate::scim::schema::Kind;
use crate::settings::UnmappedRole;
use crate::store::events::{self, Event};
use crate::store::resources::{self, Stored};
use crate::store::{Snapshot, TenantId, Tx, roles, settings, teams};

/// Users that one step of [`settle_all`] holds in memory.
const BATCH: usize = 500;

/// Decides a user's role anew and stores it if it is another.
pub fn settle(tx: &Tx<'_>, tenant: TenantId, actor: &str, user: &Stored) -> Result<()> {
    settle_by(tx, tenant, actor, &roles::rules(tx, tenant)?, user)
}

/// The same for every live user of a tenant. Returns how many got another role.
pub fn settle_all(tx: &Tx<'_>, tenant: TenantId, actor: &str) -> Result<()> {
    let rules = roles::rules(tx, tenant)?;
    let mut after = 0;
    loop {
        let users = roles::users_after(tx, tenant, after, BATCH)?;
        let Some(last) = users.last() else {
            return Ok(());
        };
        after = last.row;
        for user in &users {
            settle_by(tx, tenant, actor, &rules, user)?;
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

fn settle_by(
    tx: &Tx<'_>,
    tenant: TenantId,
    actor: &str,
    rules: &Rules,
    user: &Stored,
) -> Result<()> {
    let decided = decide(rules, &roles::facts(tx, tenant, user)?).role;
    let before = roles::role_of(tx, tenant, user)?;
    if before == Some(decided) {
        return Ok(());
    }
    roles::give(tx, tenant, user, decided)?;
    let shown = |role: RoleId| {
        let name = rules
            .roles
            .iter()
            .find(|known| known.id == role)
            .map(|role| role.name.clone());
        json!({ "role": name })
    };
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
    Ok(())
}

/// Why a user has the role that they have, step by step.
pub fn explain(snapshot: &Snapshot<'_>, tenant: TenantId, user: &Stored) -> Result<Decision> {
    Ok(decide(
        &roles::rules(snapshot, tenant)?,
        &roles::facts(snapshot, tenant, user)?,
    ))
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

/// What gives a role.
#[derive(Clone, Copy, Debug)]
pub enum Giver<'a> {
    /// A value of `roleName` or `roles`.
    Value(&'a str),
    /// Membership in the group of this name.
    Group(&'a str),
    /// Nothing else giving one.
    Default,
}

/// Lets something give `role` from now on, and settles everybody.
pub fn map(
    tx: &Tx<'_>,
    tenant: TenantId,
    actor: &str,
    giver: Giver<'_>,
    role: &Role,
) -> Result<()> {
    match giver {
        Giver::Value(value) => roles::map_value(tx, tenant, value, role.id)?,
        Giver::Group(name) => roles::map_group(tx, tenant, name, role.id)?,
        Giver::Default => roles::set_default(tx, tenant, role.id)?,
    }
    let (subject, after) = (
        giver.name(),
        json!({ "by": giver.kind(), "role": role.name }),
    );
    defined(
        tx,
        tenant,
        actor,
        "role.mapped",
        subject,
        None,
        Some(&after),
    )?;
    settle_all(tx, tenant, actor)
}

/// Lets a value or group give no role any more, and settles everybody.
pub fn unmap(tx: &Tx<'_>, tenant: TenantId, actor: &str, giver: Giver<'_>) -> Result<()> {
    match giver {
        Giver::Value(value) => roles::unmap_value(tx, tenant, value)?,
        Giver::Group(name) => roles::unmap_group(tx, tenant, name)?,
        Giver::Default => return Ok(()),
    }
    let before = json!({ "by": giver.kind() });
    defined(
        tx,
        tenant,
        actor,
        "role.unmapped",
        giver.name(),
        Some(&before),
        None,
    )?;
    settle_all(tx, tenant, actor)
}

impl<'a> Giver<'a> {
    fn kind(self) -> &'static str {
        match self {
            Giver::Value(_) => "value",
            Giver::Group(_) => "group",
            Giver::Default => "default",
        }
    }

    fn name(self) -> &'a str {
        match self {
            Giver::Value(name) | Giver::Group(name) => name,
            Giver::Default => "default",
        }
    }
}

/// Adds a role below all others; `None` where the name is taken.
pub fn add(
    tx: &Tx<'_>,
    tenant: TenantId,
    actor: &str,
    name: &str,
    opens_settings: bool,
) -> Result<Option<Role>> {
    if roles::by_name(tx, tenant, name)?.is_some() {
        return Ok(None);
    }
    let role = roles::add(tx, tenant, name, opens_settings)?;
    defined(
        tx,
        tenant,
        actor,
        "role.created",
        name,
        None,
        Some(&shown(&role)),
    )?;
    Ok(Some(role))
}

/// Gives a role another name; false where that is taken. What is mapped to it stays so.
pub fn rename(tx: &Tx<'_>, tenant: TenantId, actor: &str, role: &Role, name: &str) -> Result<bool> {
    if roles::by_name(tx, tenant, name)?.is_some_and(|other| other.id != role.id) {
        return Ok(false);
    }
    roles::rename(tx, tenant, role.id, name)?;
    let after = Role {
        name: name.to_owned(),
        ..role.clone()
    };
    redefined(tx, tenant, actor, role, &after)?;
    Ok(true)
}

/// Says whether who has a role may open the settings.
pub fn set_opens_settings(
    tx: &Tx<'_>,
    tenant: TenantId,
    actor: &str,
    role: &Role,
    opens: bool,
) -> Result<()> {
    roles::set_opens_settings(tx, tenant, role.id, opens)?;
    let after = Role {
        opens_settings: opens,
        ..role.clone()
    };
    redefined(tx, tenant, actor, role, &after)
}

/// Puts a role at a rank, 1 being the highest, and settles everybody.
pub fn reorder(tx: &Tx<'_>, tenant: TenantId, actor: &str, role: &Role, rank: usize) -> Result<()> {
    let mut order: Vec<RoleId> = roles::list(tx, tenant)?
        .into_iter()
        .map(|role| role.id)
        .collect();
    order.retain(|id| *id != role.id);
    let at = rank.saturating_sub(1).min(order.len());
    order.insert(at, role.id);
    roles::reorder(tx, tenant, &order)?;
    let rank = i64::try_from(at + 1).unwrap_or(i64::MAX);
    let after = Role {
        rank,
        ..role.clone()
    };
    redefined(tx, tenant, actor, role, &after)?;
    settle_all(tx, tenant, actor)
}

/// Removes a role; false where somebody has it or a row gives it.
pub fn remove(tx: &Tx<'_>, tenant: TenantId, actor: &str, role: &Role) -> Result<bool> {
    if !roles::remove(tx, tenant, role.id)? {
        return Ok(false);
    }
    defined(
        tx,
        tenant,
        actor,
        "role.removed",
        &role.name,
        Some(&shown(role)),
        None,
    )?;
    Ok(true)
}

fn redefined(
    tx: &Tx<'_>,
    tenant: TenantId,
    actor: &str,
    before: &Role,
    after: &Role,
) -> Result<()> {
    let (was, is) = (shown(before), shown(after));
    let kind = "role.changed";
    defined(tx, tenant, actor, kind, &before.name, Some(&was), Some(&is))
}

fn shown(role: &Role) -> Value {
    json!({ "name": role.name, "rank": role.rank, "opensSettings": role.opens_settings })
}

fn defined(
    tx: &Tx<'_>,
    tenant: TenantId,
    actor: &str,
    kind: &'static str,
    subject: &str,
    before: Option<&Value>,
    after: Option<&Value>,
) -> Result<()> {
    events::append(
        tx,
        tenant,
        &Event {
            actor,
            kind,
            subject,
            object: None,
            before,
            after,
        },
    )?;
    Ok(())
}
