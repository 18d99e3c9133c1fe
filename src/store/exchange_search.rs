//! Looking through the provisioning log, from the newest line back or from a line on.
//!
//! Each search takes the index that leaves the fewest lines and decides the rest line by line. Who was read has no
//! index, for that would cost each read a page of the WAL, nor has what was created or changed: those lines are found
//! along all of them, merged with others where an index has some. A request's id has none either, for it tells when the
//! request came.
//! How many lines may be looked at has a bound, so that a page over a million opens as fast as one over ten: a search that
//! finds too little within the bound says from where to look further.

use std::ops::Range;

use jiff::Timestamp;
use rusqlite::types::Value as Column;
use rusqlite::{OptionalExtension, Row, Rows};

use super::column::Millis;
use super::exchanges::{self, Deed, Recorded};
use super::{Snapshot, TenantId};
use crate::error::{Doing, Result};
use crate::id;

/// Lines that one search looks at.
const MOST_LINES: usize = 20_000;

/// How many times as many a search along all lines passes: their index has all that it decides by.
const PASSED_FOR_ONE: usize = 5;

/// Lines before and after its time among which a request's are looked for first.
const MOST_LINES_NEARBY: i64 = 50_000;

/// How far apart the lines of one request are: a bulk request has one for each operation, written together.
const MOST_OF_ONE: i64 = 2_000;

/// Lines whose text one search for words looks at: all of each has to be read.
const MOST_LINES_OF_TEXT: usize = 8_000;

/// Bytes of text that one search for words looks at.
const MOST_TEXT: usize = 1024 * 1024;

/// Lines stand in the order in which requests were done with, and carry the time at which they came: for so long, in
/// milliseconds, a request may take, and still be found by its time.
const SLACK_MILLIS: i64 = 2 * 60 * 1000;

/// Which lines are wanted: those that fulfil all of it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Filter {
    /// `Some(true)`: refused; `Some(false)`: done.
    pub refused: Option<bool>,
    /// What was asked for.
    pub deed: Option<Deed>,
    /// The id of the user or team that it was done to.
    pub subject: Option<String>,
    /// The request's id.
    pub request_id: Option<String>,
    /// Words in what was done, in the reason of a refusal or in the request's body, in any case.
    pub words: Option<String>,
    /// Came at this time or later.
    pub from: Option<Timestamp>,
    /// Came at this time or earlier.
    pub to: Option<Timestamp>,
}

/// Where to look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// At those before a place, the newest first; before none: from the end on.
    Older(Option<i64>),
    /// At those after a place, the oldest first.
    Newer(i64),
}

/// Why a search ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// There are no further lines.
    Last,
    /// As many were found as wanted; there are more beyond this place.
    Full(i64),
    /// As many were looked at as one search may; there may be more beyond this place.
    Bound(i64),
}

/// The places of up to `limit` lines that fulfil `filter`, in the order of looking, and why these are all.
pub fn search(
    snapshot: &Snapshot<'_>,
    tenant: TenantId,
    filter: &Filter,
    direction: Direction,
    limit: usize,
) -> Result<(Vec<i64>, End)> {
    let most = match filter.words {
        Some(_) => MOST_LINES_OF_TEXT,
        None => MOST_LINES,
    };
    within(most, snapshot, tenant, filter, direction, limit)
}

/// The last `limit` lines that were refused, at `since` or later; newest first.
pub fn refused(
    snapshot: &Snapshot<'_>,
    tenant: TenantId,
    since: Timestamp,
    limit: usize,
) -> Result<Vec<Recorded>> {
    let filter = Filter {
        refused: Some(true),
        from: Some(since),
        ..Filter::default()
    };
    let (places, _) = search(snapshot, tenant, &filter, Direction::Older(None), limit)?;
    read(snapshot, tenant, &places)
}

/// The lines at these places; those that are gone are left out.
pub fn read(snapshot: &Snapshot<'_>, tenant: TenantId, places: &[i64]) -> Result<Vec<Recorded>> {
    let mut lines = Vec::with_capacity(places.len());
    for place in places {
        lines.extend(exchanges::get(snapshot, tenant, *place)?);
    }
    Ok(lines)
}

/// The same search, looking at up to `most` lines.
fn within(
    most: usize,
    snapshot: &Snapshot<'_>,
    tenant: TenantId,
    filter: &Filter,
    direction: Direction,
    limit: usize,
) -> Result<(Vec<i64>, End)> {
    let (sources, value) = narrowest(filter);
    let (mut low, mut high) = (i64::MIN, i64::MAX);
    if let Some(from) = filter.from {
        low = place(snapshot, tenant, from.as_millisecond() - SLACK_MILLIS)?;
    }
    if let Some(to) = filter.to {
        high = place(snapshot, tenant, to.as_millisecond() + SLACK_MILLIS)?;
    }
    if let Some(id) = &filter.request_id {
        let Some(came) = id::millis(id) else {
            return Ok((vec![], End::Last));
        };
        let (first, end) = match of_request(snapshot, tenant, id, came)? {
            Some(seq) => (seq - MOST_OF_ONE, seq + MOST_OF_ONE),
            // The search goes on like any other.
            None => (
                place(snapshot, tenant, came - SLACK_MILLIS)?,
                place(snapshot, tenant, came + SLACK_MILLIS)?,
            ),
        };
        (low, high) = (low.max(first), high.min(end));
    }
    match direction {
        Direction::Older(before) => high = high.min(before.unwrap_or(i64::MAX)),
        Direction::Newer(after) => low = low.max(after.saturating_add(1)),
    }
    let mut edge = None;
    if sources.contains(&READS_OF_ONE) || sources.contains(&OF_A_DEED) {
        edge = beyond(snapshot, tenant, low..high, direction, most)?;
        match (edge, direction) {
            (Some(edge), Direction::Older(_)) => low = edge,
            (Some(edge), Direction::Newer(_)) => high = edge + 1,
            (None, _) => {}
        }
    }
    let mut statement = snapshot
        .conn
        .prepare_cached(&question(sources, direction))
        .doing("looking through the provisioning log")?;
    let (found, end) = statement
        .query((
            tenant,
            value,
            low,
            high,
            filter.subject.is_some(),
            filter.words.is_some(),
            most as i64,
            filter.request_id.is_some(),
        ))
        .and_then(|rows| walk(rows, filter, limit, most))
        .doing("looking through the provisioning log")?;
    match (end, edge) {
        (End::Last, Some(edge)) => Ok((found, End::Bound(edge))),
        (end, _) => Ok((found, end)),
    }
}

/// An index and its condition, in which `?2` is the value that is looked for.
type Source = (&'static str, &'static str);

const CHANGES_OF_ONE: Source = ("exchange_subject", "subject = ?2 AND deed <> 'read'");
const READS_OF_ONE: Source = ("exchange_tenant", "subject = ?2 AND deed = 'read'");
const OF_A_DEED: Source = ("exchange_tenant", "deed = ?2");

/// The statement that walks along these, merged in their order. `?1`: the tenant, `?3` and `?4`: from which place to before
/// which, `?5`, `?6` and `?8`: whether the subject, the text and the request's id are wanted, `?7`: how many lines.
fn question(sources: &[Source], direction: Direction) -> String {
    // SQLite looks a line up only for what its index hasn't got: for these, only where they are asked for.
    let select = |(index, which): &Source| {
        format!(
            "SELECT seq, at, status, deed, iif(?5, subject, NULL),
                    iif(?8, request_id, NULL),
                    iif(?6, action || char(10) || coalesce(detail, '') || char(10) || coalesce(request_body, ''), '')
             FROM exchange INDEXED BY {index} WHERE tenant = ?1 AND {which} AND seq >= ?3 AND seq < ?4"
        )
    };
    let selects: Vec<String> = sources.iter().map(select).collect();
    format!(
        "{} ORDER BY seq {} LIMIT ?7",
        selects.join(" UNION ALL "),
        order(direction)
    )
}

fn order(direction: Direction) -> &'static str {
    match direction {
        Direction::Older(_) => "DESC",
        Direction::Newer(_) => "ASC",
    }
}

/// The last place that a search which passes lines along their places comes to; `None` where it comes to the end.
fn beyond(
    snapshot: &Snapshot<'_>,
    tenant: TenantId,
    places: Range<i64>,
    direction: Direction,
    most: usize,
) -> Result<Option<i64>> {
    let passed = most.saturating_mul(PASSED_FOR_ONE) as i64;
    snapshot
        .conn
        .prepare_cached(&format!(
            "SELECT seq FROM exchange INDEXED BY exchange_tenant WHERE tenant = ? AND seq >= ? AND seq < ?
             ORDER BY seq {} LIMIT 1 OFFSET ?",
            order(direction)
        ))
        .and_then(|mut statement| {
            statement
                .query_row((tenant, places.start, places.end, passed), |row| row.get(0))
                .optional()
        })
        .doing("looking through the provisioning log")
}

/// Where the fewest lines have to be looked at, and the value that is looked for there.
fn narrowest(filter: &Filter) -> (&'static [Source], Column) {
    let text = |text: &str| Column::Text(text.to_owned());
    if let Some(id) = &filter.subject {
        let sources: &[Source] = match filter.deed {
            None => &[CHANGES_OF_ONE, READS_OF_ONE],
            Some(Deed::Read) => &[READS_OF_ONE],
            Some(_) => &[CHANGES_OF_ONE],
        };
        (sources, text(id))
    } else if filter.refused == Some(true) {
        (
            &[("exchange_refused", "status >= 400 AND ?2 IS NULL")],
            Column::Null,
        )
    } else if filter.deed == Some(Deed::Delete) {
        (
            &[("exchange_deleting", "deed = 'delete' AND ?2 IS NULL")],
            Column::Null,
        )
    } else if let Some(deed) = filter.deed.filter(|deed| *deed != Deed::Read) {
        (&[OF_A_DEED], text(deed.as_str()))
    } else {
        (&[("exchange_tenant", "?2 IS NULL")], Column::Null)
    }
}

fn walk(
    mut rows: Rows<'_>,
    filter: &Filter,
    limit: usize,
    most: usize,
) -> rusqlite::Result<(Vec<i64>, End)> {
    let words = filter.words.as_ref().map(|words| words.to_lowercase());
    let mut found = Vec::new();
    let (mut lines, mut bytes) = (0, 0);
    while let Some(row) = rows.next()? {
        let seq = row.get(0)?;
        lines += 1;
        if is_wanted(row, filter)? && mentions(row, words.as_deref(), &mut bytes)? {
            if found.len() == limit {
                let end = found.last().map_or(End::Last, |last| End::Full(*last));
                return Ok((found, end));
            }
            found.push(seq);
        }
        if lines == most || bytes > MOST_TEXT {
            return Ok((found, End::Bound(seq)));
        }
    }
    Ok((found, End::Last))
}

/// Whether a line fulfils what of the filter no index has decided; its words are another question.
fn is_wanted(row: &Row<'_>, filter: &Filter) -> rusqlite::Result<bool> {
    let at = row.get::<_, Millis>(1)?.0;
    let refused = row.get::<_, u16>(2)? >= 400;
    let deed = row.get_ref(3)?.as_str()?;
    let subject = row.get_ref(4)?.as_str_or_null()?;
    let request_id = row.get_ref(5)?.as_str_or_null()?;
    Ok(filter.refused.is_none_or(|wanted| wanted == refused)
        && filter.deed.is_none_or(|wanted| wanted.as_str() == deed)
        && filter
            .subject
            .as_deref()
            .is_none_or(|wanted| subject == Some(wanted))
        && filter
            .request_id
            .as_deref()
            .is_none_or(|wanted| request_id == Some(wanted))
        && filter.from.is_none_or(|from| from <= at)
        && filter.to.is_none_or(|to| at <= to))
}

/// Whether a line has the words, which are in lower case; adds to `bytes` what was read for it.
fn mentions(row: &Row<'_>, words: Option<&str>, bytes: &mut usize) -> rusqlite::Result<bool> {
    let Some(words) = words else { return Ok(true) };
    let text = row.get_ref(6)?.as_str()?;
    *bytes += text.len();
    Ok(text.to_lowercase().contains(words))
}

/// The place of a line of the request that `came` at this millisecond, if it is near that time. A line lies where its request
/// was done with, so those of whatever was done with sooner are before it.
fn of_request(
    snapshot: &Snapshot<'_>,
    tenant: TenantId,
    id: &str,
    came: i64,
) -> Result<Option<i64>> {
    let middle = place(snapshot, tenant, came)?;
    let find = |nearby: &str| {
        snapshot
            .conn
            .prepare_cached(&format!(
                "SELECT seq FROM (SELECT seq, at, request_id FROM exchange INDEXED BY exchange_tenant
                                  WHERE tenant = ?1 AND {nearby} LIMIT ?5)
                 WHERE at = ?3 AND request_id = ?4 LIMIT 1"
            ))
            .and_then(|mut statement| {
                let values = (tenant, middle, came, id, MOST_LINES_NEARBY);
                statement.query_row(values, |row| row.get(0)).optional()
            })
            .doing("finding a request in the provisioning log")
    };
    match find("seq >= ?2 ORDER BY seq")? {
        Some(seq) => Ok(Some(seq)),
        None => find("seq < ?2 ORDER BY seq DESC"),
    }
}

/// The first place whose line came at `at` or later, all lines taken to be in the order of their times; one beyond the
/// last where none did.
fn place(snapshot: &Snapshot<'_>, tenant: TenantId, at: i64) -> Result<i64> {
    let mut first = snapshot
        .conn
        .prepare_cached(
            "SELECT seq, at FROM exchange INDEXED BY exchange_tenant WHERE tenant = ? AND seq >= ? ORDER BY seq LIMIT 1",
        )
        .doing("finding a time in the provisioning log")?;
    let (mut low, mut high): (i64, i64) = snapshot
        .conn
        .prepare_cached(
            // Two questions, each one look at an end of the index; both in one would read all of it.
            "SELECT coalesce((SELECT min(seq) FROM exchange WHERE tenant = ?1), 0),
                    coalesce((SELECT max(seq) FROM exchange WHERE tenant = ?1), 0) + 1",
        )
        .and_then(|mut ends| ends.query_row([tenant], |row| Ok((row.get(0)?, row.get(1)?))))
        .doing("finding the ends of the provisioning log")?;
    // Between the two is the answer; other tenants' lines make gaps.
    while low < high {
        let middle = low + (high - low) / 2;
        let found: Option<(i64, i64)> = first
            .query_row((tenant, middle), |row| Ok((row.get(0)?, row.get(1)?)))
            .optional()
            .doing("finding a time in the provisioning log")?;
        match found {
            Some((seq, then)) if then < at => low = seq + 1,
            _ => high = middle,
        }
    }
    Ok(low)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::exchanges::Exchange;
    use crate::store::fixture::{Fixture, at, exchange, fixture, tenant};

    /// Lines stand a little out of the order of their times.
    fn came(n: i64) -> Timestamp {
        at(30 * (n - n % 3 * 2))
    }

    fn request(n: i64) -> String {
        let mut id = id::fresh(came(n)).unwrap();
        id.replace_range(24.., &format!("{n:012}"));
        id
    }

    /// A bulk request's lines have one id and one time: 20 to 23 are such.
    fn one_of(n: i64) -> i64 {
        if (20..24).contains(&n) { 21 } else { n }
    }

    /// 60 lines of ours, every fifth of them behind one of another tenant, half a minute apart.
    fn log() -> (Fixture, Vec<Exchange>) {
        let fixture = fixture();
        let (ours, theirs) = (fixture.tenant, tenant(&fixture.store, "other"));
        let mut lines = vec![];
        for n in 0..60_i64 {
            let (method, target) = [
                ("GET", "/scim/v2/Users?x"),
                ("POST", "/scim/v2/Users"),
                ("PATCH", "/scim/v2/Users/1"),
                ("DELETE", "/scim/v2/Users/1"),
                ("POST", "/scim/v2/.search"),
            ][n as usize % 5];
            let line = Exchange {
                at: came(one_of(n)),
                method: method.to_owned(),
                target: target.to_owned(),
                status: if n % 7 == 0 { 409 } else { 200 },
                subject: (n % 3 == 0).then(|| format!("id-{}", n % 6)),
                request_id: request(one_of(n)),
                action: format!("did {n}"),
                detail: (n % 7 == 0).then(|| "Taken by ANA".to_owned()),
                request_body: (n % 11 == 0).then(|| "{\"userName\":\"ana\"}".to_owned()),
                ..exchange(ours, 0)
            };
            let other = (n % 5 == 0).then(|| exchange(theirs, 0));
            let mine = line.clone();
            let write = move |tx: &crate::store::Tx<'_>| {
                other.map(|line| exchanges::insert(tx, &line)).transpose()?;
                exchanges::insert(tx, &mine)
            };
            fixture.store.write(at(0), write).unwrap();
            lines.push(line);
        }
        (fixture, lines)
    }

    /// What a filter means, in one expression.
    fn is_meant(filter: &Filter, line: &Exchange) -> bool {
        let deed = Deed::of(&line.method, &line.target);
        let texts = [&line.detail, &line.request_body, &Some(line.action.clone())];
        filter
            .refused
            .is_none_or(|refused| refused == (line.status >= 400))
            && filter.deed.is_none_or(|wanted| wanted == deed)
            && (filter.subject.is_none() || filter.subject == line.subject)
            && filter
                .request_id
                .as_ref()
                .is_none_or(|id| *id == line.request_id)
            && filter.from.is_none_or(|from| from <= line.at)
            && filter.to.is_none_or(|to| to >= line.at)
            && filter.words.as_ref().is_none_or(|words| {
                let has = |text: &&String| text.to_lowercase().contains(words);
                texts
                    .iter()
                    .filter_map(|text| text.as_ref())
                    .any(|text| has(&text))
            })
    }

    /// Every combination of these.
    fn filters() -> Vec<Filter> {
        let mut filters = vec![Filter::default()];
        let mut vary = |change: &dyn Fn(&mut Filter)| {
            let others: Vec<Filter> = filters
                .iter()
                .map(|filter| {
                    let mut other = filter.clone();
                    change(&mut other);
                    other
                })
                .collect();
            filters.extend(others);
        };
        vary(&|filter| filter.refused = Some(true));
        vary(&|filter| filter.refused = filter.refused.map(|_| false));
        vary(&|filter| filter.deed = Some(Deed::Read));
        vary(&|filter| filter.deed = filter.deed.map(|_| Deed::Create));
        vary(&|filter| filter.deed = filter.deed.map(|_| Deed::Delete));
        vary(&|filter| filter.subject = Some("id-3".to_owned()));
        vary(&|filter| filter.request_id = Some(request(21)));
        vary(&|filter| filter.words = Some("ana".to_owned()));
        vary(&|filter| filter.from = Some(at(300)));
        vary(&|filter| filter.to = Some(at(1200)));
        filters
    }

    #[test]
    fn every_combination_of_filters_finds_what_it_means_in_both_directions() {
        let (fixture, lines) = log();
        let mut sizes = std::collections::BTreeSet::new();
        for filter in filters() {
            let wanted: Vec<&str> = lines
                .iter()
                .filter(|line| is_meant(&filter, line))
                .map(|line| line.request_id.as_str())
                .collect();
            for direction in [Direction::Newer(0), Direction::Older(None)] {
                let mut found = vec![];
                let mut place = direction;
                // Few at once, and few looked at: all of it is found piece by piece.
                for _ in 0..200 {
                    let (places, end) = fixture
                        .store
                        .read(|snapshot| within(3, snapshot, fixture.tenant, &filter, place, 3))
                        .unwrap();
                    for seq in places {
                        let line = fixture
                            .store
                            .read(|snapshot| exchanges::get(snapshot, fixture.tenant, seq));
                        found.push(line.unwrap().unwrap().exchange.request_id);
                    }
                    place = match (end, place) {
                        (End::Last, _) => break,
                        (End::Full(seq) | End::Bound(seq), Direction::Older(_)) => {
                            Direction::Older(Some(seq))
                        }
                        (End::Full(seq) | End::Bound(seq), _) => Direction::Newer(seq),
                    };
                }
                if direction == Direction::Older(None) {
                    found.reverse();
                }
                assert_eq!(found, wanted, "{filter:?}");
            }
            sizes.insert(wanted.len());
        }
        assert!(sizes.len() > 10 && sizes.contains(&0), "{sizes:?}");
    }

    #[test]
    fn each_search_is_one_walk_along_an_index_and_sorts_nothing() {
        let (fixture, _) = log();
        for filter in filters() {
            let (sources, _) = narrowest(&filter);
            for direction in [Direction::Newer(0), Direction::Older(None)] {
                let sql = format!("EXPLAIN QUERY PLAN {}", question(sources, direction));
                let plan: Vec<String> = fixture
                    .store
                    .read(|snapshot| {
                        let mut statement = snapshot.conn.prepare(&sql).unwrap();
                        let rows = statement
                            .query_map((1, "", 1, 1, 0, 0, 1, 0), |row| row.get(3))
                            .unwrap();
                        Ok(rows.map(|row| row.unwrap()).collect())
                    })
                    .unwrap();
                let walks = plan
                    .iter()
                    .filter(|step| step.contains("seq>? AND seq<?"))
                    .count();
                assert_eq!(walks, sources.len(), "{plan:?}");
                let merged = |step: &&String| {
                    ["MERGE", "LEFT", "RIGHT"]
                        .iter()
                        .any(|word| step.starts_with(word))
                };
                let merging = plan.iter().filter(merged).count();
                assert_eq!(plan.len(), walks + merging, "{plan:?}");
            }
        }
    }
}
