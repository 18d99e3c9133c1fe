//! Changes of a group's members: deltas on rows, inside the transaction of the request.

use std::collections::{BTreeSet, HashSet};

use serde_json::{Value, json};

use super::Call;
use crate::error::Result;
use crate::manage::roles;
use crate::scim::ScimError;
use crate::scim::filter::Filter;
use crate::scim::member::MemberChange;
use crate::scim::path::AttrPath;
use crate::scim::resource::{self, Document};
use crate::scim::schema::Kind;
use crate::store::events::{self, Event};
use crate::store::resources::Stored;
use crate::store::teams::{self, Link, Refused};
use crate::store::{Snapshot, Tx};

/// Who joined and who left, by id.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Delta {
    pub added: BTreeSet<String>,
    pub removed: BTreeSet<String>,
}

/// The values of the membership attribute: a Group's `members` or a User's `groups` (RFC 7643 §4.1.2, §4.2).
pub(super) fn values(snapshot: &Snapshot<'_>, call: &Call, stored: &Stored) -> Result<Vec<Value>> {
    let links = match stored.kind {
        Kind::Group => teams::members(snapshot, call.tenant, stored)?,
        Kind::User => teams::groups_of(snapshot, call.tenant, stored)?,
    };
    Ok(links.iter().map(|link| value(link, &call.base)).collect())
}

fn value(link: &Link, base: &str) -> Value {
    let kind = match link.kind {
        Kind::User => "User",
        Kind::Group => "direct",
    };
    json!({
        "value": link.id,
        "$ref": format!("{base}/{}/{}", link.kind.endpoint(), link.id),
        "display": link.display,
        "type": kind,
    })
}

/// Applies a PATCH's changes in their order; the group comes back at its new version.
pub(super) fn apply(
    tx: &Tx<'_>,
    call: &Call,
    group: Stored,
    changes: Vec<MemberChange>,
) -> Result<(Stored, Delta)> {
    let mut delta = Delta::default();
    for change in changes {
        match change {
            MemberChange::Add(ids) => delta.join(add(tx, call, &group, &ids)?),
            MemberChange::Remove(ids) => delta.leave(teams::remove(tx, call.tenant, &group, &ids)?),
            MemberChange::RemoveMatching(filter) => {
                let ids = fulfilling(tx, call, &group, filter)?;
                delta.leave(teams::remove(tx, call.tenant, &group, &ids)?);
            }
            MemberChange::Replace(ids) => exactly(tx, call, &group, &ids, &mut delta)?,
        }
    }
    settle(tx, call, group, delta)
}

/// Makes `ids` the group's members, no more and no fewer.
pub(super) fn replace(
    tx: &Tx<'_>,
    call: &Call,
    group: Stored,
    ids: &[String],
) -> Result<(Stored, Delta)> {
    if group.kind == Kind::User {
        return Ok((group, Delta::default()));
    }
    let mut delta = Delta::default();
    exactly(tx, call, &group, ids, &mut delta)?;
    settle(tx, call, group, delta)
}

/// A resource is about to be deleted: what showed it as a member or as a group is another version from now on.
/// The rows stay, so that a restored resource finds its memberships again.
pub(super) fn leave(tx: &Tx<'_>, call: &Call, stored: &Stored) -> Result<()> {
    match stored.kind {
        Kind::User => {
            for group in teams::groups_of(tx, call.tenant, stored)? {
                event(tx, call, "member.removed", &group.id, &stored.id)?;
                teams::touch_group(tx, call.tenant, &group.id)?;
            }
        }
        Kind::Group => {
            for member in teams::members(tx, call.tenant, stored)? {
                event(tx, call, "member.removed", &stored.id, &member.id)?;
            }
            teams::touch_members(tx, call.tenant, stored)?;
        }
    }
    Ok(())
}

/// A group's new name shows in its members' `groups`: they are another version too, and may have another role.
pub(super) fn renamed(tx: &Tx<'_>, call: &Call, before: &Stored, after: &Stored) -> Result<()> {
    let names = [name(before), name(after)];
    if names[0] == names[1] {
        return Ok(());
    }
    teams::touch_members(tx, call.tenant, after)?;
    roles::settle_team(tx, call.tenant, &call.actor(), &names, after)
}

fn name(group: &Stored) -> &str {
    resource::name_of(&group.document, Kind::Group.resource_type())
}

fn add(tx: &Tx<'_>, call: &Call, group: &Stored, ids: &[String]) -> Result<Vec<String>> {
    teams::add(tx, call.tenant, group, ids)?.map_err(|Refused::Unknown(id)| {
        ScimError::invalid_value(format!("members: there is no User with id {id:?}")).into()
    })
}

fn exactly(
    tx: &Tx<'_>,
    call: &Call,
    group: &Stored,
    ids: &[String],
    delta: &mut Delta,
) -> Result<()> {
    let wanted: HashSet<&String> = ids.iter().collect();
    let superfluous: Vec<String> = teams::members(tx, call.tenant, group)?
        .into_iter()
        .map(|link| link.id)
        .filter(|id| !wanted.contains(id))
        .collect();
    delta.leave(teams::remove(tx, call.tenant, group, &superfluous)?);
    delta.join(add(tx, call, group, ids)?);
    Ok(())
}

/// The members that fulfil a filter as it stands inside `members[…]`.
fn fulfilling(tx: &Tx<'_>, call: &Call, group: &Stored, filter: Filter) -> Result<Vec<String>> {
    let members = AttrPath {
        urn: None,
        name: "members".into(),
        sub_attr: None,
    };
    let filter = Filter::ValuePath {
        attr: members,
        filter: Box::new(filter),
    };
    let resource_type = Kind::Group.resource_type();
    filter.check(&[resource_type])?;
    let links = teams::members(tx, call.tenant, group)?;
    Ok(links
        .into_iter()
        .filter(|link| {
            let alone =
                Document::from_iter([("members".to_owned(), json!([value(link, &call.base)]))]);
            filter.matches(&alone, resource_type)
        })
        .map(|link| link.id)
        .collect())
}

/// Writes the events of a finished change and moves the versions of everybody concerned.
fn settle(tx: &Tx<'_>, call: &Call, group: Stored, delta: Delta) -> Result<(Stored, Delta)> {
    if delta == Delta::default() {
        return Ok((group, delta));
    }
    for id in &delta.removed {
        event(tx, call, "member.removed", &group.id, id)?;
    }
    for id in &delta.added {
        event(tx, call, "member.added", &group.id, id)?;
    }
    let concerned: Vec<String> = delta.added.iter().chain(&delta.removed).cloned().collect();
    let group = teams::touch(tx, call.tenant, &group, &concerned)?;
    roles::settle_members(tx, call.tenant, &call.actor(), &[name(&group)], &concerned)?;
    Ok((group, delta))
}

fn event(tx: &Tx<'_>, call: &Call, kind: &'static str, group: &str, member: &str) -> Result<()> {
    let event = Event {
        actor: &call.actor(),
        kind,
        subject: group,
        object: Some(member),
        before: None,
        after: None,
    };
    events::append(tx, call.tenant, &event)?;
    Ok(())
}

/// Who joins and leaves again within one request did neither.
impl Delta {
    fn join(&mut self, ids: Vec<String>) {
        self.added
            .extend(ids.into_iter().filter(|id| !self.removed.remove(id)));
    }

    fn leave(&mut self, ids: Vec<String>) {
        self.removed
            .extend(ids.into_iter().filter(|id| !self.added.remove(id)));
    }
}
