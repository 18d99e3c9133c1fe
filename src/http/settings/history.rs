//! What happened to a user or team, in words: a page of events, newest first.

use minijinja::context;
use minijinja::value::Value;
use serde_json::Value as Json;

use super::Visit;
use crate::error::Result;
use crate::http::html::moment;
use crate::scim::resource::differences;
use crate::store::events::{self, Recorded};
use crate::store::{Snapshot, TenantId, accounts, directory, tokens};

/// How many are shown at once.
const PAGE: usize = 20;

/// The page of history that the address wants (`?history=SEQ`: what happened before that event), for a template.
pub(super) fn page(visit: &Visit<'_>, snapshot: &Snapshot<'_>, id: &str) -> Result<Value> {
    let asked = visit.query("history").parse().ok();
    let before = asked.unwrap_or(i64::MAX);
    let mut events = events::about(snapshot, visit.tenant.id, id, None, before, PAGE + 1)?;
    let more = events.len() > PAGE;
    events.truncate(PAGE);
    let mut rows = Vec::new();
    for event in &events {
        rows.push(context! {
            at => moment(event.at),
            words => words(snapshot, visit.tenant.id, id, event)?,
            by => actor(snapshot, visit.tenant.id, &event.actor)?,
        });
    }
    Ok(context! {
        rows => rows,
        older => events.last().filter(|_| more).map(|event| event.seq),
        is_newest => asked.is_none(),
    })
}

/// What happened, as seen from the user or team with this id.
fn words(snapshot: &Snapshot<'_>, tenant: TenantId, id: &str, event: &Recorded) -> Result<String> {
    let name = |id: &str| -> Result<String> {
        let found = directory::display(snapshot, tenant, id)?;
        Ok(found.map_or_else(|| format!("{id} (purged)"), |(_, name)| name))
    };
    let text = |value: &Option<Json>, key: &str| {
        let value = value.as_ref().and_then(|value| value[key].as_str());
        value.unwrap_or("none").to_owned()
    };
    let other = if event.subject == id {
        event.object.as_deref().unwrap_or_default()
    } else {
        event.subject.as_str()
    };
    let of_team = event.subject == id;
    Ok(match event.kind.as_str() {
        "user.created" | "team.created" => "Created".to_owned(),
        "user.changed" | "team.changed" => changed(event),
        "user.deactivated" => "Deactivated".to_owned(),
        "user.activated" => "Activated again".to_owned(),
        "user.deleted" | "team.deleted" => "Removed, into the archive".to_owned(),
        "user.restored" | "team.restored" => "Restored from the archive".to_owned(),
        "user.purged" | "team.purged" => "Purged".to_owned(),
        "user.signed_in" => format!("Signed in by {}", text(&event.after, "by")),
        "role.assigned" => format!(
            "Role changed from {} to {}",
            text(&event.before, "role"),
            text(&event.after, "role")
        ),
        "member.added" if of_team => format!("{} joined", name(other)?),
        "member.removed" if of_team => format!("{} left", name(other)?),
        "subteam.added" if of_team => format!("Team {} joined", name(other)?),
        "subteam.removed" if of_team => format!("Team {} left", name(other)?),
        "member.added" | "subteam.added" => format!("Joined {}", name(other)?),
        "member.removed" | "subteam.removed" => format!("Left {}", name(other)?),
        "resource.created" => format!("Resource {:?} registered", text(&event.after, "name")),
        "resource.changed" => format!("Resource {:?} changed", text(&event.after, "name")),
        "resource.deleted" => format!("Resource {:?} removed", text(&event.before, "name")),
        "resource.moved" => {
            let from = text(&event.before, "team");
            format!("A resource came from {}", name(&from)?)
        }
        other => other.to_owned(),
    })
}

fn changed(event: &Recorded) -> String {
    let documents = event.before.as_ref().zip(event.after.as_ref());
    let documents = documents.and_then(|(before, after)| before.as_object().zip(after.as_object()));
    match documents {
        Some((before, after)) => format!("Changed: {}", differences(before, after).join(", ")),
        None => "Changed".to_owned(),
    }
}

/// Who did something, in words.
fn actor(snapshot: &Snapshot<'_>, tenant: TenantId, actor: &str) -> Result<String> {
    let (sort, id) = actor.split_once(':').unwrap_or((actor, ""));
    let number = id.parse().unwrap_or_default();
    let named = match sort {
        "token" => tokens::label(snapshot, tenant, number)?.map(|label| format!("token {label}")),
        "app" => tokens::label(snapshot, tenant, number)?.map(|label| format!("app {label}")),
        "account" => accounts::get(snapshot, tenant, number)?.map(|account| account.email),
        "person" => directory::display(snapshot, tenant, id)?.map(|(_, name)| name),
        "operator" => Some("the command line".to_owned()),
        _ => None,
    };
    Ok(named.unwrap_or_else(|| actor.to_owned()))
}
