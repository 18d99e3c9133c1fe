//! What can be done with a removed person or team, from its own page and from lists.

use minijinja::context;
use minijinja::value::Value;

use super::Visit;
use crate::error::{Error, Result};
use crate::http::html::moment;
use crate::http::request::Response;
use crate::manage;
use crate::scim::ScimError;
use crate::scim::resource::name_of;
use crate::scim::schema::Kind;
use crate::store::directory::Entry;
use crate::store::{Snapshot, archive, removals, settings};

/// Since when it is archived and for how long yet; `None` where it isn't.
pub(super) fn shown(
    visit: &Visit<'_>,
    snapshot: &Snapshot<'_>,
    entry: &Entry,
) -> Result<Option<Value>> {
    let Some(since) = entry.archived else {
        return Ok(None);
    };
    let tenant = visit.tenant.id;
    let held = removals::unusual_since(snapshot, tenant)?.is_some();
    let days = settings::read(snapshot, tenant)?.retention_days;
    Ok(Some(context! {
        since => moment(since),
        held => held,
        days_left => manage::archive::days_left(since, days, visit.head.now),
    }))
}

/// Brings it back, and goes on to its page.
pub(super) fn restore(visit: &Visit<'_>, kind: Kind, id: &str) -> Result<Response> {
    let (tenant, wanted) = (visit.tenant.id, id.to_owned());
    let restored =
        visit.change(move |tx, actor| manage::archive::restore(tx, tenant, actor, kind, &wanted));
    finish(visit, restored, &page_of(kind, id), |stored| {
        let name = name_of(&stored.document, kind.resource_type());
        format!("{name} is back, as before.")
    })
}

/// Removes it for good, if its name was typed and whoever asks was asked who they are.
pub(super) fn purge(visit: &Visit<'_>, kind: Kind, id: &str) -> Result<Response> {
    if let Some(ask) = visit.asks()? {
        return Ok(ask);
    }
    let (tenant, wanted) = (visit.tenant.id, id.to_owned());
    let typed = visit.form.get("name").to_owned();
    let found = visit.look(|snapshot| archive::get(snapshot, tenant, kind, id))?;
    let Some(found) = found else {
        return visit.problem(
            404,
            "The archive does not have it: it is back already, or was purged.",
        );
    };
    let name = name_of(&found.stored.document, kind.resource_type()).to_owned();
    let list = list_of(kind);
    let purged = visit.change(move |tx, actor| {
        // Compared again inside, for it may have come back under another name meanwhile and gone once more.
        let found = archive::get(tx, tenant, kind, &wanted)?;
        let name = found.as_ref().map_or("", |found| {
            name_of(&found.stored.document, kind.resource_type())
        });
        if typed != name.trim() {
            let words = format!("Nothing was purged: what you typed is not the name {name:?}.");
            return Err(ScimError::invalid_value(words).into());
        }
        manage::archive::purge(tx, tenant, actor, kind, &wanted)
    });
    let to = if purged.is_ok() {
        list.to_owned()
    } else {
        page_of(kind, id)
    };
    finish(visit, purged, &to, |()| format!("{name} is gone for good."))
}

/// As [`Visit::then`], but what isn't there is a page of its own: somebody who sends ids of others learns nothing more.
pub(super) fn finish<T>(
    visit: &Visit<'_>,
    outcome: Result<T>,
    to: &str,
    words: impl FnOnce(T) -> String,
) -> Result<Response> {
    match outcome {
        Err(Error::Scim(refusal)) if refusal.status() == 404 => {
            visit.problem(404, refusal.detail())
        }
        outcome => visit.then(outcome, to, words),
    }
}

fn list_of(kind: Kind) -> &'static str {
    match kind {
        Kind::User => "/settings/people?state=archived",
        Kind::Group => "/settings/teams?show=archived",
    }
}

/// The page of a person or team. The id came with a form: it is one segment of the address, whatever it holds.
fn page_of(kind: Kind, id: &str) -> String {
    let list = match kind {
        Kind::User => "/settings/people",
        Kind::Group => "/settings/teams",
    };
    format!("{list}/{}", crate::http::html::encoded(id))
}
