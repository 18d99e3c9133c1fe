//! Changes of a group's members: deltas on rows, inside the transaction of the request.

use std::collections::{BTreeMap, HashSet};

use serde_json::json;

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
use crate::store::teams::{self, Changed, Refused};
use crate::store::{Tx, nesting};

/// Who joined and who left, by id, and of what type they are.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Delta {
    pub added: BTreeMap<String, Kind>,
    pub removed: BTreeMap<String, Kind>,
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
    for group in teams::groups_of(tx, call.tenant, stored)? {
        event(tx, call, Moved::Out, &group.id, (&stored.id, stored.kind))?;
        teams::touch_group(tx, call.tenant, &group.id)?;
    }
    if stored.kind == Kind::Group {
        for member in teams::members(tx, call.tenant, stored)? {
            event(tx, call, Moved::Out, &stored.id, (&member.id, member.kind))?;
        }
        nesting::touch_people_below(tx, call.tenant, stored)?;
    }
    Ok(())
}

/// A group's new name shows in the `groups` of who is in it: they are another version too, and may have another role.
pub(super) fn renamed(tx: &Tx<'_>, call: &Call, before: &Stored, after: &Stored) -> Result<()> {
    if name(before) == name(after) {
        return Ok(());
    }
    nesting::touch_people_below(tx, call.tenant, after)?;
    let actor = call.actor();
    roles::settle_team(tx, call.tenant, &actor, after, Some(name(before)))
}

fn name(group: &Stored) -> &str {
    resource::name_of(&group.document, Kind::Group.resource_type())
}

fn add(tx: &Tx<'_>, call: &Call, group: &Stored, ids: &[String]) -> Result<Changed> {
    teams::add(tx, call.tenant, group, ids)?.map_err(|refused| {
        let why = match refused {
            Refused::Unknown(id) => format!("there is no User or Group with id {id:?}"),
            Refused::Circle(id) if id == group.id => {
                format!("the Group {id:?} can't be a member of itself")
            }
            Refused::Circle(id) => format!(
                "the Group {id:?} can't be a member here, because this Group is in that one already, as its member or by \
                 way of others: a Group can't be in itself"
            ),
        };
        ScimError::invalid_value(format!("members: {why}")).into()
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
                Document::from_iter([("members".to_owned(), json!([link.to_json(&call.base)]))]);
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
    for (id, kind) in &delta.removed {
        event(tx, call, Moved::Out, &group.id, (id, *kind))?;
    }
    for (id, kind) in &delta.added {
        event(tx, call, Moved::In, &group.id, (id, *kind))?;
    }
    let concerned = || delta.added.iter().chain(&delta.removed);
    let group = teams::touch(tx, call.tenant, &group, concerned())?;
    roles::settle_members(tx, call.tenant, &call.actor(), &group, concerned())?;
    Ok((group, delta))
}

/// Which way a member went.
#[derive(Clone, Copy)]
enum Moved {
    In,
    Out,
}

fn event(
    tx: &Tx<'_>,
    call: &Call,
    moved: Moved,
    group: &str,
    (member, kind): (&str, Kind),
) -> Result<()> {
    let event = Event {
        actor: &call.actor(),
        kind: match (kind, moved) {
            (Kind::User, Moved::In) => "member.added",
            (Kind::User, Moved::Out) => "member.removed",
            (Kind::Group, Moved::In) => "subteam.added",
            (Kind::Group, Moved::Out) => "subteam.removed",
        },
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
    fn join(&mut self, members: Changed) {
        let news = members.into_iter();
        self.added
            .extend(news.filter(|(id, _)| self.removed.remove(id).is_none()));
    }

    fn leave(&mut self, members: Changed) {
        let news = members.into_iter();
        self.removed
            .extend(news.filter(|(id, _)| self.added.remove(id).is_none()));
    }
}
