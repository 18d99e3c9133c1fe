//! Provisioning log: its lines, newest first, looked through by a form; how long they are kept; all of it to download.

use std::collections::BTreeMap;

use jiff::civil::{Date, DateTime};
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};
use minijinja::context;
use minijinja::value::Value;

use super::{Visit, attachment};
use crate::error::Result;
use crate::http::html::{encoded, moment};
use crate::http::request::Response;
use crate::manage;
use crate::scim::ScimError;
use crate::settings::RETENTION_MAX_DAYS;
use crate::store::exchange_search::{self, Direction, End, Filter};
use crate::store::exchanges::{Deed, Recorded};
use crate::store::{Snapshot, TenantId, settings};

const HERE: &str = "/settings/log";

/// Lines on a page.
const PAGE: usize = 50;

/// Longest text in a row of the list; the line's own page has all of it.
const CELL_MAX_CHARS: usize = 240;

/// Most lines of a download.
const DOWNLOAD_MAX_LINES: usize = 100_000;

/// From how many bytes on a download ends: it is made in memory.
const DOWNLOAD_MAX_BYTES: usize = 64 * 1024 * 1024;

/// Lines that a download reads in one snapshot.
const BATCH: usize = 500;

/// The fields of the form, as they stand in a URL.
const FIELDS: [&str; 7] = [
    "outcome", "deed", "subject", "words", "request", "from", "to",
];

/// `/settings/log`
pub(super) fn answer(visit: &Visit<'_>) -> Result<Response> {
    if visit.is_post() {
        return keep(visit);
    }
    let asked = Asked::of(visit);
    let number = |name: &str| visit.query(name).parse::<i64>().ok();
    let direction = match number("after") {
        Some(after) => Direction::Newer(after),
        None => Direction::Older(number("before")),
    };
    let tenant = visit.tenant.id;
    let (page, settings) = visit.look(|snapshot| {
        let page = match asked.filter(snapshot, tenant)? {
            Ok((filter, about)) => Page::read(snapshot, tenant, &filter, direction, about)?,
            Err(trouble) => Page {
                trouble,
                ..Page::default()
            },
        };
        Ok((page, settings::read(snapshot, tenant)?))
    })?;
    let fields: BTreeMap<&'static str, String> = asked.0.iter().cloned().collect();
    let query = asked.query();
    let context = context! {
        asked => Value::from(fields),
        is_filtered => !query.is_empty(),
        query => query,
        trouble => page.trouble,
        about => page.about,
        lines => page.lines.iter().map(row).collect::<Vec<_>>(),
        older => page.older,
        newer => page.newer,
        further => page.further,
        log_days => settings.log_days,
        max_days => RETENTION_MAX_DAYS,
        keep_bodies => settings.keep_bodies,
        keeps_all => visit.app.keep_bodies,
    };
    visit.show("log.html", "Provisioning log", context)
}

/// `/settings/log/download`: the lines that the form asks for as JSON, one in a row, the newest first.
pub(super) fn download(visit: &Visit<'_>) -> Result<Response> {
    let tenant = visit.tenant.id;
    let asked = Asked::of(visit);
    let filter = match visit.look(|snapshot| asked.filter(snapshot, tenant))? {
        Ok((filter, _)) => filter,
        Err(trouble) => return visit.problem(400, &trouble),
    };
    let mut body = Vec::new();
    let (mut count, mut before) = (0, None);
    loop {
        let (lines, end) = visit.look(|snapshot| {
            let place = Direction::Older(before);
            let (places, end) = exchange_search::search(snapshot, tenant, &filter, place, BATCH)?;
            Ok((exchange_search::read(snapshot, tenant, &places)?, end))
        })?;
        for line in &lines {
            body.extend(line.to_json().to_string().into_bytes());
            body.push(b'\n');
        }
        count += lines.len();
        let (End::Full(next) | End::Bound(next)) = end else {
            break;
        };
        if count >= DOWNLOAD_MAX_LINES || body.len() >= DOWNLOAD_MAX_BYTES {
            let rest = serde_json::json!({
                "incomplete": format!("A download has at most {DOWNLOAD_MAX_LINES} lines and about {DOWNLOAD_MAX_BYTES} \
                                       bytes. Older lines are there: narrow the filters, as by the time, and download \
                                       the rest."),
                "before": next,
            });
            body.extend(format!("{rest}\n").into_bytes());
            break;
        }
        before = Some(next);
    }
    let name = "provisioning-log.ndjson";
    Ok(attachment("application/x-ndjson", name, body.into()))
}

/// Changes what is kept, and for how long.
fn keep(visit: &Visit<'_>) -> Result<Response> {
    let tenant = visit.tenant.id;
    let days = visit.form.get("log_days").to_owned();
    let keep_bodies = visit.form.get("keep_bodies") == "on";
    let before = visit
        .look(|snapshot| settings::read(snapshot, tenant))?
        .log_days;
    // Older lines go within minutes, and with them what somebody may have wanted to hide.
    if days.parse().is_ok_and(|days| (1..before).contains(&days))
        && let Some(ask) = visit.asks()?
    {
        return Ok(ask);
    }
    let kept = visit.change(move |tx, actor| {
        let days = days.parse().ok();
        let Some(log_days) = days.filter(|days| (1..=RETENTION_MAX_DAYS).contains(days)) else {
            return Err(ScimError::invalid_value(format!(
                "Write a number of days from 1 to {RETENTION_MAX_DAYS}."
            ))
            .into());
        };
        let mut wanted = settings::read(tx, tenant)?;
        wanted.log_days = log_days;
        wanted.keep_bodies = keep_bodies;
        manage::settings::set(tx, tenant, actor, &wanted)?;
        Ok(log_days)
    });
    visit.then(kept, HERE, |days| {
        format!("Saved. Lines are kept for {days} days; older ones go within minutes.")
    })
}

/// What the form asks for, as typed.
struct Asked(Vec<(&'static str, String)>);

impl Asked {
    fn of(visit: &Visit<'_>) -> Asked {
        let field = |name| (name, visit.query(name).trim().to_owned());
        Asked(FIELDS.map(field).to_vec())
    }

    fn fields(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (*name, value.as_str()))
    }

    fn get(&self, name: &str) -> Option<&str> {
        self.fields()
            .find(|(known, value)| *known == name && !value.is_empty())
            .map(|(_, value)| value)
    }

    /// The same as a query, without a question mark.
    fn query(&self) -> String {
        let given = self.fields().filter(|(_, value)| !value.is_empty());
        let pairs: Vec<String> = given
            .map(|(name, value)| format!("{name}={}", encoded(value)))
            .collect();
        pairs.join("&")
    }

    /// The same as a filter, and words about whom it finds; else what is wrong with it.
    fn filter(
        &self,
        snapshot: &Snapshot<'_>,
        tenant: TenantId,
    ) -> Result<std::result::Result<(Filter, Option<String>), String>> {
        let (from, to) = match (self.time("from", false), self.time("to", true)) {
            (Ok(from), Ok(to)) => (from, to),
            (Err(trouble), _) | (_, Err(trouble)) => return Ok(Err(trouble)),
        };
        let mut filter = Filter {
            refused: match self.get("outcome") {
                Some("refused") => Some(true),
                Some("done") => Some(false),
                _ => None,
            },
            deed: Deed::ALL
                .into_iter()
                .find(|deed| Some(deed.as_str()) == self.get("deed")),
            subject: None,
            request_id: self.get("request").map(str::to_ascii_lowercase),
            words: self.get("words").map(str::to_owned),
            from,
            to,
        };
        let Some(wanted) = self.get("subject") else {
            return Ok(Ok((filter, None)));
        };
        let about = match manage::log::subject(snapshot, tenant, wanted)? {
            Some(subject) => {
                let words = format!("Lines about {}.", subject.words());
                filter.subject = Some(subject.stored.id);
                words
            }
            None if is_id(wanted) => {
                filter.subject = Some(wanted.to_ascii_lowercase());
                "Nobody and no team has this id now; these are the lines about who had it."
                    .to_owned()
            }
            None => {
                return Ok(Err(format!(
                    "Nobody and no team is called “{wanted}”, nor was anybody who is in the archive. Who was never let in \
                     has no line under a name: look for the same as words."
                )));
            }
        };
        Ok(Ok((filter, Some(about))))
    }

    /// A time as typed, in UTC: a day, a minute or more exactly. `ends`: the last moment of it, not the first.
    fn time(&self, name: &str, ends: bool) -> std::result::Result<Option<Timestamp>, String> {
        let Some(text) = self.get(name) else {
            return Ok(None);
        };
        let utc = |time: DateTime| TimeZone::UTC.to_timestamp(time).ok();
        let found = if let Ok(at) = text.parse::<Timestamp>() {
            Some(at)
        } else if let (10, Ok(day)) = (text.len(), text.parse::<Date>()) {
            let length = if ends { 24.hours() } else { 0.hours() };
            utc(day.at(0, 0, 0, 0)).map(|at| at + length - i32::from(ends).milliseconds())
        } else if let Ok(time) = text.parse::<DateTime>() {
            let length = if ends { 1.minutes() } else { 0.minutes() };
            utc(time).map(|at| at + length - i32::from(ends).milliseconds())
        } else {
            None
        };
        found.map(Some).ok_or_else(|| {
            format!("“{text}” is no time: write 2026-05-03 or 2026-05-03T08:00, in UTC.")
        })
    }
}

/// What a page shows.
#[derive(Default)]
struct Page {
    lines: Vec<Recorded>,
    /// Places to go on from, back and forth.
    older: Option<i64>,
    newer: Option<i64>,
    /// Whether there may be older ones that this page had no time to look for.
    further: bool,
    about: Option<String>,
    trouble: String,
}

impl Page {
    fn read(
        snapshot: &Snapshot<'_>,
        tenant: TenantId,
        filter: &Filter,
        direction: Direction,
        about: Option<String>,
    ) -> Result<Page> {
        let (mut places, end) = exchange_search::search(snapshot, tenant, filter, direction, PAGE)?;
        let beyond = match end {
            End::Last => None,
            End::Full(place) | End::Bound(place) => Some(place),
        };
        let (older, newer) = match direction {
            // Whoever came from a newer page finds back there, whatever is there.
            Direction::Older(before) => (beyond, before.map(|before| before - 1)),
            Direction::Newer(after) => {
                places.reverse();
                (Some(after + 1), beyond)
            }
        };
        Ok(Page {
            lines: exchange_search::read(snapshot, tenant, &places)?,
            older,
            newer,
            further: matches!((direction, end), (Direction::Older(_), End::Bound(_))),
            about,
            trouble: String::new(),
        })
    }
}

/// A line as the list shows it.
fn row(line: &Recorded) -> Value {
    let exchange = &line.exchange;
    context! {
        seq => line.seq,
        at => moment(exchange.at),
        action => cut(&exchange.action, CELL_MAX_CHARS),
        status => exchange.status,
        refused => exchange.status >= 400,
        token => line.token.as_str(),
        reason => exchange.detail.as_deref().map(|detail| cut(detail, CELL_MAX_CHARS)),
        ignored => exchange.ignored.len(),
    }
}

/// `text`, cut where it has more than so many characters.
pub(super) fn cut(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// Whether a text looks like one of our ids.
fn is_id(text: &str) -> bool {
    text.len() == 36
        && text
            .bytes()
            .all(|byte| byte == b'-' || byte.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_a_day_a_minute_or_more_exact_and_includes_its_end() {
        let time = |text: &str, ends| {
            let asked = Asked(vec![("from", text.to_owned())]);
            asked
                .time("from", ends)
                .map(|at| at.map(|at| at.to_string()))
        };
        for (text, first, last) in [
            (
                "2026-05-03",
                "2026-05-03T00:00:00Z",
                "2026-05-03T23:59:59.999Z",
            ),
            (
                "2026-05-03T08:01",
                "2026-05-03T08:01:00Z",
                "2026-05-03T08:01:59.999Z",
            ),
            (
                "2026-05-03T10:00:00+02:00",
                "2026-05-03T08:00:00Z",
                "2026-05-03T08:00:00Z",
            ),
        ] {
            assert_eq!(time(text, false), Ok(Some(first.to_owned())));
            assert_eq!(time(text, true), Ok(Some(last.to_owned())));
        }
        assert_eq!(time("", false), Ok(None));
        assert!(time("yesterday", false).is_err() && time("2026-13-01", true).is_err());
    }

    #[test]
    fn long_texts_are_cut_between_characters() {
        assert_eq!(
            (cut("äöü", 2), cut("äöü", 3)),
            ("äö…".to_owned(), "äöü".to_owned())
        );
    }
}
