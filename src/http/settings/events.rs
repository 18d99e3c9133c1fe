//! Events: the feed that apps read, told for people, newest first.

use minijinja::context;
use minijinja::value::Value;

use super::Visit;
use super::log::cut;
use crate::error::Result;
use crate::http::html::{encoded, moment};
use crate::http::request::Response;
use crate::manage::event_words::{self, Piece};
use crate::manage::log;
use crate::scim::schema::Kind;
use crate::store::events::{self, KINDS, Recorded, Selection};
use crate::store::{Snapshot, TenantId};

/// Events on a page.
const ON_A_PAGE: usize = 50;

/// Most characters of a value that are shown; the feed has all of it.
const SHOWN_MAX_CHARS: usize = 1000;

/// `/settings/events`
pub(super) fn answer(visit: &Visit<'_>) -> Result<Response> {
    if visit.is_post() {
        return visit.problem(400, "That is nothing this page can do.");
    }
    let tenant = visit.tenant.id;
    let (kind, about) = (visit.query("kind"), visit.query("about").trim().to_owned());
    let before = visit.query("before").parse().ok();
    let context = visit.look(|snapshot| {
        let subject = subject(snapshot, tenant, &about)?;
        let selection = Selection {
            kind: Some(kind.as_str()).filter(|kind| !kind.is_empty()),
            about: Some(subject.as_str()).filter(|subject| !subject.is_empty()),
        };
        let page = events::before(snapshot, tenant, selection, before, ON_A_PAGE)?;
        let rows = page.events.iter().map(|event| row(snapshot, tenant, event));
        Ok(context! {
            events => rows.collect::<Result<Vec<_>>>()?,
            older => page.older.map(|place| address(&kind, &about, Some(place))),
            newest => before.map(|_| address(&kind, &about, None)),
            nouns => nouns(),
            kinds => KINDS.to_vec(),
            kind => kind,
            about => about,
            origin => visit.app.origin(visit.head),
        })
    })?;
    visit.show("events.html", "Events", context)
}

/// An event as the template shows it.
pub(super) fn row(snapshot: &Snapshot<'_>, tenant: TenantId, event: &Recorded) -> Result<Value> {
    let piece = |piece: &Piece| match piece {
        Piece::Words(words) => context! { words => words.as_str(), page => "" },
        Piece::Named(kind, name, id) => context! {
            words => name.as_str(),
            page => match kind { Kind::User => "people", Kind::Group => "teams" },
            id => id.as_str(),
        },
    };
    let sentence = event_words::sentence(snapshot, tenant, event)?;
    let cut = |text: String| cut(&text, SHOWN_MAX_CHARS);
    let difference = |one: event_words::Difference| {
        context! {
            attribute => one.attribute,
            before => one.before.map(cut),
            after => one.after.map(cut),
        }
    };
    let differences = event_words::differences(event).into_iter();
    Ok(context! {
        seq => event.seq,
        at => moment(event.at),
        kind => event.kind.as_str(),
        pieces => sentence.iter().map(piece).collect::<Vec<_>>(),
        differences => differences.map(difference).collect::<Vec<_>>(),
    })
}

/// What `about` means as an event's subject: the id of the user or team of this name, live or archived, else as it stands
/// (an id, the name of a role or setting).
fn subject(snapshot: &Snapshot<'_>, tenant: TenantId, about: &str) -> Result<String> {
    if about.is_empty() {
        return Ok(String::new());
    }
    if let Some(subject) = log::subject(snapshot, tenant, about)? {
        return Ok(subject.stored.id);
    }
    Ok(about.to_owned())
}

/// What is before the dot in [`KINDS`], each once.
fn nouns() -> Vec<&'static str> {
    let mut nouns: Vec<&str> = KINDS
        .iter()
        .filter_map(|kind| kind.split('.').next())
        .collect();
    nouns.dedup();
    nouns
}

/// This page with its filters, beginning before a place in the feed.
fn address(kind: &str, about: &str, before: Option<i64>) -> String {
    let before = before.map_or_else(String::new, |seq| format!("&before={seq}"));
    format!("?kind={}&about={}{before}", encoded(kind), encoded(about))
}
