//! Removals that should not have been: noticing them, and taking them back.
//!
//! A provider whose scope was mistyped removes everybody within minutes. [`watch`] marks the tenant then, [`plan`] and
//! [`apply`] bring back what was removed, and [`release`] says that it was meant.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};

use jiff::Timestamp;
use serde_json::{Value, json};

use super::archive::{self, by_kind};
use super::roles;
use crate::access::brake;
use crate::error::Result;
use crate::scim::ScimError;
use crate::scim::resource::fold;
use crate::scim::schema::Kind;
use crate::store::archive::Archived;
use crate::store::events::{self, Event};
use crate::store::removals::{self, Gap};
use crate::store::resources::{self, Stored};
use crate::store::{Snapshot, TenantId, Tx, archive as archived, settings, teams};

/// The events that count as removals.
const REMOVALS: [&str; 3] = ["user.deactivated", "user.deleted", "team.deleted"];

/// After a client's change of this kind: marks the tenant if there were unusually many within the last hour, and gives
/// the line for the server's log then, which is the caller's to write: a rehearsal has none.
pub fn watch(
    tx: &Tx<'_>,
    tenant: TenantId,
    actor: &str,
    kind: Kind,
    change: &'static str,
) -> Result<Option<String>> {
    if !REMOVALS.contains(&change) || removals::unusual_since(tx, tenant)?.is_some() {
        return Ok(None);
    }
    let (removed, left) = removals::recent(tx, tenant, kind, brake::WINDOW)?;
    if !brake::is_unusual(removed, left, settings::read(tx, tenant)?.removals) {
        return Ok(None);
    }
    removals::set_unusual(tx, tenant, true)?;
    let what = by_kind(kind, "users", "teams");
    let after = json!({"what": what, "removed": removed, "left": left});
    marked(tx, tenant, actor, "removals.unusual", Some(&after))?;
    Ok(Some(format!(
        "tenant {}: {actor} removed {removed} {what} within an hour, {left} are left: nothing is purged until \
         `rollcall tenant set --removals usual`",
        tenant.0
    )))
}

/// Takes a tenant's mark away, so that purging goes on; false where it had none.
pub fn release(tx: &Tx<'_>, tenant: TenantId, actor: &str) -> Result<bool> {
    if removals::unusual_since(tx, tenant)?.is_none() {
        return Ok(false);
    }
    removals::set_unusual(tx, tenant, false)?;
    marked(tx, tenant, actor, "removals.usual", None)?;
    Ok(true)
}

fn marked(
    tx: &Tx<'_>,
    tenant: TenantId,
    actor: &str,
    kind: &'static str,
    after: Option<&Value>,
) -> Result<()> {
    let event = Event {
        actor,
        kind,
        subject: "removals",
        object: None,
        before: None,
        after,
    };
    events::append(tx, tenant, &event)?;
    Ok(())
}

/// What brings one thing back.
#[derive(Clone, Debug, PartialEq)]
enum Deed {
    Restore(Archived),
    Activate(Stored),
    Join(Gap),
}

/// One thing that was removed and can be brought back.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    deed: Deed,
    /// Why it can't be brought back: something else has its place.
    pub hindrance: Option<String>,
}

impl Step {
    /// In words: `restore team SRE`.
    pub fn words(&self) -> String {
        match &self.deed {
            Deed::Restore(Archived { stored, .. }) => format!(
                "restore {} {}",
                archive::noun(stored.kind),
                archive::name(stored)
            ),
            Deed::Activate(user) => format!("activate user {}", archive::name(user)),
            Deed::Join(gap) => format!(
                "add {} {} to team {}",
                archive::noun(gap.member.kind),
                archive::name(&gap.member),
                archive::name(&gap.team)
            ),
        }
    }

    /// For programs: what is done, to what (`id`), and for a membership to which `team`.
    pub fn to_json(&self) -> Value {
        let (what, subject, team) = match &self.deed {
            Deed::Restore(Archived { stored, .. }) => {
                let what = by_kind(stored.kind, "restore user", "restore team");
                (what, stored, None)
            }
            Deed::Activate(user) => ("activate user", user, None),
            Deed::Join(gap) => ("add member", &gap.member, Some(&gap.team)),
        };
        json!({
            "do": what,
            "id": subject.id,
            "name": archive::name(subject),
            "team": team.map(|team| &team.id),
            "teamName": team.map(archive::name),
            "hindrance": self.hindrance,
        })
    }
}

/// Whatever was removed or deactivated at `since` or later, by anybody, and still is: users and teams that were deleted,
/// users that were deactivated, members that were removed. In the order in which [`apply`] brings it back.
pub fn plan(snapshot: &Snapshot<'_>, tenant: TenantId, since: Timestamp) -> Result<Vec<Step>> {
    let mut steps = Vec::new();
    let mut hindered: HashMap<i64, String> = HashMap::new();
    let mut claimed = HashSet::new();
    for kind in Kind::ALL {
        let deleted = archived::list(snapshot, tenant, kind)?;
        for deleted in deleted.into_iter().filter(|deleted| deleted.since >= since) {
            let row = deleted.stored.row;
            let hindrance = match archive::hindrance(snapshot, tenant, &deleted.stored)? {
                None if !claim(&mut claimed, &deleted.stored) => Some(format!(
                    "another {} with its name or externalId was deleted later and comes back instead",
                    archive::noun(kind)
                )),
                hindrance => hindrance,
            };
            if let Some(reason) = &hindrance {
                hindered.insert(row, reason.clone());
            }
            steps.push(Step {
                deed: Deed::Restore(deleted),
                hindrance,
            });
        }
    }
    for user in removals::deactivated(snapshot, tenant, since)? {
        let hindrance = hindered.get(&user.row).cloned();
        steps.push(Step {
            deed: Deed::Activate(user),
            hindrance,
        });
    }
    for gap in removals::gaps(snapshot, tenant, since)? {
        let hindrance = hindered
            .get(&gap.team.row)
            .or(hindered.get(&gap.member.row));
        let hindrance = match hindrance {
            None if removals::would_circle(snapshot, &gap)? => Some(IN_ITSELF.to_owned()),
            hindrance => hindrance.cloned(),
        };
        steps.push(Step {
            deed: Deed::Join(gap),
            hindrance,
        });
    }
    Ok(steps)
}

/// Why a team can't be a member of another again.
const IN_ITSELF: &str =
    "the other team is in this one by now, and a team can't be in itself: take that one out first";

/// Takes name and `externalId`; false where another one that comes back has taken one of them.
fn claim(claimed: &mut HashSet<(Kind, &'static str, String)>, stored: &Stored) -> bool {
    let mut claims = vec![(stored.kind, "name", fold(archive::name(stored)))];
    if let Some(id) = stored.document.get("externalId").and_then(Value::as_str)
        && !id.is_empty()
    {
        claims.push((stored.kind, "externalId", id.to_owned()));
    }
    if claims.iter().any(|claim| claimed.contains(claim)) {
        return false;
    }
    claimed.extend(claims);
    true
}

/// Brings back what [`plan`] lists, all of it in the caller's transaction, and gives the list; what is hindered stays
/// where it is.
pub fn apply(tx: &Tx<'_>, tenant: TenantId, actor: &str, since: Timestamp) -> Result<Vec<Step>> {
    let mut steps = plan(tx, tenant, since)?;
    bring_back(tx, tenant, actor, &mut steps)?;
    Ok(steps)
}

/// The same, if the list is still the one that somebody looked at: `shown` is its [`fingerprint`]. Errors: 409 where it is
/// another by now.
pub fn apply_shown(
    tx: &Tx<'_>,
    tenant: TenantId,
    actor: &str,
    since: Timestamp,
    shown: &str,
) -> Result<Vec<Step>> {
    let mut steps = plan(tx, tenant, since)?;
    if fingerprint(&steps) != shown {
        return Err(ScimError::uniqueness(
            "Nothing was brought back: more was removed or came back meanwhile. Here is the list as it is now.",
        )
        .into());
    }
    bring_back(tx, tenant, actor, &mut steps)?;
    Ok(steps)
}

/// Tells lists of steps apart. It stands in a form, and need not stay the same from one rollcall to the next.
pub fn fingerprint(steps: &[Step]) -> String {
    let mut hasher = DefaultHasher::new();
    for step in steps {
        step.to_json().to_string().hash(&mut hasher);
    }
    format!("{:016x}", hasher.finish())
}

/// How much of `steps` can be brought back, in words: `180 users, 1 team and 12 memberships`.
pub fn counted<'a>(steps: impl IntoIterator<Item = &'a Step>) -> String {
    let mut counts = [
        (0, "user", "users"),
        (0, "team", "teams"),
        (0, "membership", "memberships"),
    ];
    for step in steps.into_iter().filter(|step| step.hindrance.is_none()) {
        let at = match &step.deed {
            Deed::Restore(deleted) => by_kind(deleted.stored.kind, 0, 1),
            Deed::Activate(_) => 0,
            Deed::Join(_) => 2,
        };
        counts[at].0 += 1;
    }
    let said = counts.iter().filter(|(count, ..)| *count > 0);
    let said: Vec<String> = said
        .map(|(count, one, many)| format!("{count} {}", if *count == 1 { one } else { many }))
        .collect();
    match said.split_last() {
        None => "nothing".to_owned(),
        Some((last, [])) => last.clone(),
        Some((last, rest)) => format!("{} and {last}", rest.join(", ")),
    }
}

/// Does what is not hindered. A step that what is brought back before it hinders says so from then on.
fn bring_back(tx: &Tx<'_>, tenant: TenantId, actor: &str, steps: &mut [Step]) -> Result<()> {
    let mut joined: Vec<&Gap> = Vec::new();
    for step in steps.iter_mut().filter(|step| step.hindrance.is_none()) {
        match &step.deed {
            Deed::Restore(deleted) => {
                let document = deleted.stored.document.clone();
                archive::revive(tx, tenant, actor, deleted, document)?;
            }
            Deed::Activate(user) => activate(tx, tenant, actor, user)?,
            Deed::Join(gap) if removals::close(tx, gap)? => joined.push(gap),
            Deed::Join(_) => step.hindrance = Some(IN_ITSELF.to_owned()),
        }
    }
    for of_team in joined.chunk_by(|one, next| one.team.row == next.team.row) {
        rejoined(tx, tenant, actor, of_team)?;
    }
    Ok(())
}

fn activate(tx: &Tx<'_>, tenant: TenantId, actor: &str, user: &Stored) -> Result<()> {
    let Some(user) = resources::get(tx, tenant, Kind::User, &user.id)? else {
        return Ok(());
    };
    let mut document = user.document.clone();
    document.insert("active".to_owned(), true.into());
    let active = resources::update(tx, tenant, &user, document)?;
    archive::changed(tx, tenant, actor, "user.activated", &active, Some(&user))
}

/// The events and versions of a team whose former members are back; nobody sees those of who is archived.
fn rejoined(tx: &Tx<'_>, tenant: TenantId, actor: &str, gaps: &[&Gap]) -> Result<()> {
    let Some(team) = resources::get(tx, tenant, Kind::Group, &gaps[0].team.id)? else {
        return Ok(());
    };
    let mut members = BTreeMap::new();
    for Gap { member, .. } in gaps {
        if resources::get(tx, tenant, member.kind, &member.id)?.is_some() {
            archive::joined(tx, tenant, actor, &team.id, (&member.id, member.kind))?;
            members.insert(member.id.clone(), member.kind);
        }
    }
    teams::touch(tx, tenant, &team, &members)?;
    roles::settle_members(tx, tenant, actor, &team, &members)
}
