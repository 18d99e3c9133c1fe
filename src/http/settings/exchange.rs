//! One line of the provisioning log: what it did, why it was refused and what to do, and what it would come to now.

use minijinja::context;
use minijinja::value::Value;
use serde_json::Value as Json;

use super::Visit;
use super::events::row;
use super::log::cut;
use crate::error::Result;
use crate::http::html::{encoded, moment};
use crate::http::request::Response;
use crate::http::scim;
use crate::manage::{advice, log};
use crate::provision;
use crate::scim::message;
use crate::scim::resource::{self, Document};
use crate::scim::schema::Kind;
use crate::store::events;
use crate::store::exchanges::{self, Exchange, Recorded};
use crate::store::{Snapshot, TenantId};

/// Changes of one request that are shown.
const MOST_EVENTS: usize = 100;

/// Longest value of an attribute that is shown.
const VALUE_MAX_CHARS: usize = 400;

/// `/settings/log/{seq}`
pub(super) fn answer(visit: &Visit<'_>, seq: &str) -> Result<Response> {
    let tenant = visit.tenant.id;
    let seq = seq.parse().unwrap_or_default();
    let found = visit.look(|snapshot| {
        let Some(line) = exchanges::get(snapshot, tenant, seq)? else {
            return Ok(None);
        };
        let changes = changes(snapshot, tenant, &line)?;
        let subject = match &line.exchange.subject {
            Some(id) => subject(snapshot, tenant, id)?,
            None => Value::from(()),
        };
        Ok(Some((line, changes, subject)))
    })?;
    let Some((line, (changes, more_changes), subject)) = found else {
        let words =
            "The log has no such line: it is older than the log is kept, or the address is wrong.";
        return visit.problem(404, words);
    };
    let exchange = &line.exchange;
    let lost = provision::lost(exchange);
    let rehearsal = match (visit.is_post(), lost) {
        (true, None) => scim::rehearse(visit.app, visit.head, &visit.tenant, exchange)
            .map(|now| compared(exchange, &now)),
        _ => None,
    };
    let refused = exchange.status >= 400;
    let curl = match lost {
        None => curl(visit.app.origin(visit.head), exchange),
        Some(_) => None,
    };
    let context = context! {
        seq => line.seq,
        token => line.token.as_str(),
        action => exchange.action.as_str(),
        at => moment(exchange.at),
        utc => exchange.at.to_string(),
        method => exchange.method.as_str(),
        target => exchange.target.as_str(),
        status => exchange.status,
        refused => refused,
        scim_type => exchange.scim_type,
        detail => exchange.detail.as_deref(),
        remedy => refused.then(|| advice::remedy(exchange.status, exchange.scim_type)),
        duration => format!("{:.1}", exchange.duration_us as f64 / 1000.0),
        address => exchange.address.as_str(),
        request => exchange.request_id.as_str(),
        ignored => exchange.ignored.clone(),
        subject => subject,
        changes => changes,
        more_changes => more_changes,
        request_body => exchange.request_body.as_deref().map(pretty),
        response_body => exchange.response_body.as_deref().map(pretty),
        curl => curl,
        lost => lost,
        rehearsal => rehearsal,
    };
    visit.show("exchange.html", &format!("Line {}", line.seq), context)
}

/// Whom the line is about, where to see them, and where to see the other lines about them.
fn subject(snapshot: &Snapshot<'_>, tenant: TenantId, id: &str) -> Result<Value> {
    let found = log::subject(snapshot, tenant, id)?;
    let page = found.as_ref().map(|subject| match subject.stored.kind {
        Kind::User => format!("/settings/people/{}", encoded(id)),
        Kind::Group => format!("/settings/teams/{}", encoded(id)),
    });
    Ok(context! {
        words => found.map_or_else(|| format!("{id}, who is gone for good"), |subject| subject.words()),
        page => page,
        lines => format!("/settings/log?subject={}", encoded(id)),
    })
}

/// What the request changed, as its events tell it, and whether there is more than is shown.
fn changes(
    snapshot: &Snapshot<'_>,
    tenant: TenantId,
    line: &Recorded,
) -> Result<(Vec<Value>, bool)> {
    let Some(places) = line.events else {
        return Ok((vec![], false));
    };
    let found = events::between(snapshot, tenant, places, MOST_EVENTS + 1)?;
    let shown = found.iter().take(MOST_EVENTS);
    let rows: Result<Vec<Value>> = shown.map(|event| row(snapshot, tenant, event)).collect();
    Ok((rows?, found.len() > MOST_EVENTS))
}

/// A value of an attribute as one text.
fn shown(value: &Json) -> String {
    let text = match value {
        Json::String(text) => text.clone(),
        other => other.to_string(),
    };
    cut(&text, VALUE_MAX_CHARS)
}

/// A body, set out where it is JSON.
fn pretty(body: &str) -> String {
    message::parse_json(body.as_bytes())
        .ok()
        .and_then(|value| serde_json::to_string_pretty(&value).ok())
        .unwrap_or_else(|| body.to_owned())
}

/// What a rehearsal came to, beside what the request came to then.
fn compared(then: &Exchange, now: &Exchange) -> Value {
    let answer = |exchange: &Exchange| -> Document {
        let body = exchange.response_body.as_deref().unwrap_or_default();
        serde_json::from_str(body).unwrap_or_default()
    };
    let (before, after) = (answer(then), answer(now));
    let is_kept = then.response_body.is_some() || then.status == 204;
    let names = if is_kept {
        resource::differences(&before, &after)
    } else {
        vec![]
    };
    let differences: Vec<Value> = names
        .iter()
        .map(|name| {
            context! { name => *name, then => before.get(*name).map(shown), now => after.get(*name).map(shown) }
        })
        .collect();
    context! {
        status => now.status,
        refused => now.status >= 400,
        action => now.action.as_str(),
        detail => now.detail.as_deref(),
        ignored => now.ignored.clone(),
        remedy => (now.status >= 400).then(|| advice::remedy(now.status, now.scim_type)),
        same_status => now.status == then.status,
        is_kept => is_kept,
        differences => differences,
        body => now.response_body.as_deref().map(pretty),
    }
}

/// A command for a POSIX shell that sends the same request, with the token from the variable `TOKEN`.
///
/// `None` where its body has control characters that aren't part of any JSON: pasted into a terminal, these would be
/// keys pressed there.
fn curl(origin: &str, exchange: &Exchange) -> Option<String> {
    let url = quoted(&format!("{origin}{}", exchange.target));
    let mut command = String::from("curl --globoff --include");
    if exchange.method != "GET" {
        command.push_str(&format!(" --request {}", quoted(&exchange.method)));
    }
    command.push_str(&format!(
        " {url} \\\n  --header \"Authorization: Bearer $TOKEN\""
    ));
    if let Some(body) = &exchange.request_body {
        let text = message::parse_json(body.as_bytes())
            .map_or_else(|_| body.clone(), |value| without_controls(&value));
        if text.contains(|c: char| c.is_control() && c != '\n') {
            return None;
        }
        // --data-raw, since --data would take a body that begins with @ for the name of a file to send.
        command.push_str(&format!(
            " \\\n  --header 'Content-Type: application/scim+json' \\\n  --data-raw {}",
            quoted(&text)
        ));
    }
    Some(command)
}

/// JSON without a control character: all of them are in strings, where JSON can escape them.
fn without_controls(value: &Json) -> String {
    let mut text = String::new();
    for c in value.to_string().chars() {
        if c.is_control() {
            text.push_str(&format!("\\u{:04x}", u32::from(c)));
        } else {
            text.push(c);
        }
    }
    text
}

/// `text` as one word for a POSIX shell: nothing but a single quote means anything between single quotes.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}
