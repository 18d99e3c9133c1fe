//! Undo: what was removed since a time, listed first and then brought back; and the mark of unusual removals.

use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};
use minijinja::context;

use super::Visit;
use crate::error::Result;
use crate::http::html::{encoded, moment};
use crate::http::request::Response;
use crate::manage::undo::{self, Step};
use crate::scim::ScimError;
use crate::store::events::{self, Selection};
use crate::store::{removals, settings};

const HERE: &str = "/settings/undo";

/// Steps that are listed at most; all of them are counted.
const LISTED: usize = 200;

/// Since when removals can be looked at: the name in forms, hours, words.
const CHOICES: [(&str, i64, &str); 4] = [
    ("1h", 1, "the last hour"),
    ("3h", 3, "the last 3 hours"),
    ("24h", 24, "the last 24 hours"),
    ("7d", 7 * 24, "the last 7 days"),
];

/// `/settings/undo`
pub(super) fn answer(visit: &Visit<'_>) -> Result<Response> {
    if !visit.is_post() {
        return show(visit);
    }
    if let Some(ask) = visit.asks()? {
        return Ok(ask);
    }
    match visit.form.get("do") {
        "undo" => bring_back(visit),
        "usual" => release(visit),
        _ => visit.problem(400, "That is nothing this page can do."),
    }
}

fn show(visit: &Visit<'_>) -> Result<Response> {
    let tenant = visit.tenant.id;
    let (chosen, at) = (visit.query("since"), visit.query("at"));
    let since = match chosen.as_str() {
        "" => None,
        _ => match since(visit.head.now, &chosen, &at) {
            Ok(since) => Some(since),
            refused => return visit.then(refused.map_err(Into::into), HERE, |_| String::new()),
        },
    };
    let context = visit.look(|snapshot| {
        let unusual = Selection {
            kind: Some("removals.unusual"),
            about: None,
        };
        let told = events::before(snapshot, tenant, unusual, None, 1)?
            .events
            .pop();
        let told = told.and_then(|event| event.after).unwrap_or_default();
        let mark = removals::unusual_since(snapshot, tenant)?.map(|since| {
            context! {
                since => moment(since),
                removed => told["removed"].as_u64(),
                what => told["what"].as_str(),
                left => told["left"].as_u64(),
            }
        });
        let list = since.map(|since| undo::plan(snapshot, tenant, since));
        let list = list.transpose()?.map(|steps| listed(&steps));
        Ok(context! {
            mark => mark,
            retention => settings::read(snapshot, tenant)?.retention_days,
            list => list,
            since => since.map(moment),
            exact => since.map(|since| since.to_string()),
            choices => CHOICES.map(|(name, _, words)| vec![name, words]).to_vec(),
            chosen => chosen,
            at => at.trim_end_matches('Z'),
        })
    })?;
    visit.show("undo.html", "Undo", context)
}

/// The dry run's list, its beginning in full and all of it in numbers.
fn listed(steps: &[Step]) -> minijinja::value::Value {
    let rows: Vec<_> = steps
        .iter()
        .take(LISTED)
        .map(|step| context! { words => step.words(), hindrance => step.hindrance.as_deref() })
        .collect();
    context! {
        steps => rows,
        total => steps.len(),
        hindered => steps.iter().filter(|step| step.hindrance.is_some()).count(),
        counted => undo::counted(steps),
        fingerprint => undo::fingerprint(steps),
    }
}

fn bring_back(visit: &Visit<'_>) -> Result<Response> {
    let tenant = visit.tenant.id;
    let at = visit.form.get("at").to_owned();
    let since = match since(visit.head.now, "at", &at) {
        Ok(since) => since,
        refused => return visit.then(refused.map_err(Into::into), HERE, |_| String::new()),
    };
    let shown = visit.form.get("shown").to_owned();
    let done = visit.change(move |tx, actor| undo::apply_shown(tx, tenant, actor, since, &shown));
    let again = format!("{HERE}?since=at&at={}", encoded(&at));
    let to = if done.is_ok() { HERE } else { &again };
    visit.then(done, to, |steps| {
        let hindered = steps.iter().filter(|step| step.hindrance.is_some()).count();
        let rest = match hindered {
            0 => String::new(),
            _ => format!(" {hindered} could not come back; a dry run says why."),
        };
        format!("Brought back: {}.{rest}", undo::counted(&steps))
    })
}

fn release(visit: &Visit<'_>) -> Result<Response> {
    let tenant = visit.tenant.id;
    let released = visit.change(move |tx, actor| undo::release(tx, tenant, actor));
    visit.then(released, HERE, |_| {
        "Noted: the removals are as they should be. What was removed is purged when its time has come.".to_owned()
    })
}

/// Since when, of a form's fields: one of [`CHOICES`], or `at`, which is in UTC.
fn since(now: Timestamp, chosen: &str, at: &str) -> std::result::Result<Timestamp, ScimError> {
    let ago = CHOICES.iter().find(|(name, ..)| *name == chosen);
    let found = match ago {
        Some((_, hours, _)) => now.checked_sub(hours.hours()).ok(),
        // As a field of the kind datetime-local sends it, or as we wrote it.
        None => at.parse().ok().or_else(|| {
            let local: DateTime = at.parse().ok()?;
            TimeZone::UTC.to_timestamp(local).ok()
        }),
    };
    // In whole milliseconds, as events have them and as browsers take them in a field.
    let found = found.and_then(|at| Timestamp::from_millisecond(at.as_millisecond()).ok());
    found.ok_or_else(|| {
        ScimError::invalid_value(
            "Choose since when, or write a date and time in UTC such as 2026-05-03T09:00.",
        )
    })
}
