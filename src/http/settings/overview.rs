//! Overview: what is connected, what happened last, and what wants attention.

use jiff::Timestamp;
use minijinja::context;
use minijinja::value::Value;

use super::{Visit, backup, checklist, tokens as shown};
use crate::error::Result;
use crate::http::html::moment;
use crate::http::request::Response;
use crate::manage::{self, backups};
use crate::scim::schema::Kind;
use crate::store::events::{self, Recorded};
use crate::store::tokens::{self, State, TokenKind};
use crate::store::{
    Snapshot, exchange_search, exchanges, people, removals, roles, sso, tally, tenants,
};

const HERE: &str = "/settings";

/// Tokens of each kind, newest first, that are looked at for warnings.
const TOKENS: usize = 200;

/// Values of `roleName` that are named; the others are counted.
const UNMAPPED: usize = 5;

/// `/settings`
pub(super) fn answer(visit: &Visit<'_>) -> Result<Response> {
    if !visit.is_post() {
        return show(visit);
    }
    if visit.form.get("do") != "usual" {
        return visit.problem(400, "That is nothing this page can do.");
    }
    // Purging goes on after this, so it can't be taken back.
    if let Some(ask) = visit.asks()? {
        return Ok(ask);
    }
    let tenant = visit.tenant.id;
    let released = visit.change(move |tx, actor| manage::undo::release(tx, tenant, actor));
    visit.then(released, HERE, |_| {
        "Removals are as they should be: what is in the archive is purged when its time is over.".to_owned()
    })
}

fn show(visit: &Visit<'_>) -> Result<Response> {
    let tenant = visit.tenant.id;
    let context = visit.look(|snapshot| {
        let scim = tokens::standing(snapshot, tenant, TokenKind::Scim, None, TOKENS)?;
        let valid = scim
            .iter()
            .filter(|token| token.state(visit.head.now) == State::Valid)
            .count();
        let request = exchanges::last(snapshot, Some(tenant), 1)?.pop();
        let refused = exchange_search::refused(snapshot, tenant, Timestamp::UNIX_EPOCH, 1)?;
        Ok(context! {
            provisioning => if scim.is_empty() {
                "off"
            } else if visit.tenant.paused.is_some() {
                "paused"
            } else if valid == 0 {
                "expired"
            } else {
                "on"
            },
            tokens => valid,
            sign_on => sso::read(snapshot, tenant)?.map(|connection| context! {
                name => connection.name.as_str(),
                connected => connection.connected.is_some(),
                disabled => connection.disabled.is_some(),
            }),
            people => people::count(snapshot, tenant)?,
            teams => tally::count(snapshot, tenant, Kind::Group)?,
            request => request.map(|request| context! {
                seq => request.seq,
                at => moment(request.exchange.at),
                action => request.exchange.action,
            }),
            change => events::last(snapshot, tenant)?.as_ref().map(change),
            refusal => refused.first().map(checklist::refusal),
            ..warnings(visit, snapshot)?
        })
    })?;
    visit.show("overview.html", "Overview", context)
}

/// What wants attention.
fn warnings(visit: &Visit<'_>, snapshot: &Snapshot<'_>) -> Result<Value> {
    let tenant = visit.tenant.id;
    let mut expiring = vec![];
    for (kind, page) in [
        (TokenKind::Scim, "/settings/provisioning"),
        (TokenKind::Api, "/settings/apps"),
    ] {
        let standing = tokens::standing(snapshot, tenant, kind, None, TOKENS)?;
        // A person's own token is that person's to care for.
        let ours = standing.iter().filter(|token| token.person.is_none());
        let warned = ours.filter_map(|token| shown::warning(token, &standing, visit.head.now));
        expiring.extend(warned.map(|warning| context! { page => page, ..warning }));
    }
    let unmapped = roles::unmapped(snapshot, tenant)?;
    let values: Vec<Value> = unmapped
        .iter()
        .take(UNMAPPED)
        .map(|(value, people)| context! { value => value, people => people })
        .collect();
    let alone = tenants::is_alone(snapshot, &visit.tenant)?
        .then(|| backups::standing(visit.app.backups.as_ref(), visit.head.now));
    let is_plain = visit.app.origin(visit.head).starts_with("http://");
    Ok(context! {
        paused => visit.tenant.paused.map(moment),
        unusual => removals::unusual_since(snapshot, tenant)?.map(moment),
        expiring => expiring,
        unmapped => values,
        unmapped_more => unmapped.len().saturating_sub(UNMAPPED),
        backup_standing => alone.map(backup::standing),
        is_exposed => is_plain && !visit.head.address.is_loopback(),
    })
}

/// An event in a few words: `user created: ana@contoso.example`.
fn change(event: &Recorded) -> Value {
    let values = [&event.after, &event.before];
    let named = values
        .iter()
        .filter_map(|value| value.as_ref())
        .find_map(|value| {
            ["userName", "displayName", "name", "role"]
                .iter()
                .find_map(|key| value.get(key)?.as_str())
        });
    context! {
        at => moment(event.at),
        what => event.kind.replace('.', " "),
        name => named,
    }
}
