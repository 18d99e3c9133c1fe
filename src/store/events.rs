//! Events: one row for each change, in the transaction that makes it.

use std::borrow::Cow;
use std::cmp::Reverse;

use jiff::Timestamp;
use rusqlite::{OptionalExtension, Params, Row};
use serde_json::{Value, json};

use super::column::{Json, Millis, json_text};
use super::resources::Stored;
use super::sequence::{Sequence, numbered};
use super::{Snapshot, TenantId, Tx, attributes};
use crate::error::{Doing, Result};
use crate::scim::declare::Schemas;
use crate::scim::project::told;

/// What can happen: a noun, a dot, what happened to it.
pub const KINDS: &[&str] = &[
    "account.created",
    "account.exempted",
    "account.link_made",
    "account.password_changed",
    "account.removed",
    "account.signed_in",
    "account.unexempted",
    "attribute.changed",
    "attribute.declared",
    "attribute.purged",
    "attribute.removed",
    "backup.downloaded",
    "backup.made",
    "connection.changed",
    "connection.connected",
    "connection.disabled",
    "connection.enabled",
    "connection.removed",
    "connection.rotated",
    "connection.saved",
    "host.removed",
    "host.saved",
    "identity.linked",
    "identity.unlinked",
    "member.added",
    "member.removed",
    "removals.unusual",
    "removals.usual",
    "resource.changed",
    "resource.created",
    "resource.deleted",
    "resource.moved",
    "role.assigned",
    "role.changed",
    "role.created",
    "role.mapped",
    "role.removed",
    "role.unmapped",
    "sessions.ended",
    "setting.changed",
    "sign_in.refused",
    "subteam.added",
    "subteam.removed",
    "team.changed",
    "team.created",
    "team.deleted",
    "team.purged",
    "team.restored",
    "tenant.created",
    "tenant.exported",
    "tenant.paused",
    "tenant.renamed",
    "tenant.resumed",
    "token.created",
    "token.revoked",
    "user.activated",
    "user.changed",
    "user.created",
    "user.deactivated",
    "user.deleted",
    "user.password_changed",
    "user.purged",
    "user.restored",
    "user.signed_in",
    "user.signed_out",
];

/// Those that most events are of: these are not in the index of kinds.
const FREQUENT: [&str; 4] = [
    "user.created",
    "user.changed",
    "role.assigned",
    "member.added",
];

/// Reading by any other kind, this lets SQLite know that it is in that index.
pub(super) const BY_KIND: &str = "event.kind <> 'user.created' AND event.kind <> 'user.changed' \
     AND event.kind <> 'role.assigned' AND event.kind <> 'member.added'";

/// One change; `T` is what there was and is now: a value, or a user or team.
#[derive(Clone, Debug)]
pub struct Event<'a, T = Value> {
    /// Who made it: `token:3`, `operator`.
    pub actor: &'a str,
    /// One of [`KINDS`].
    pub kind: &'static str,
    /// What it happened to: a resource's id, a role's or setting's name.
    pub subject: &'a str,
    /// The other party: the member's id, a team resource's team.
    pub object: Option<&'a str>,
    /// What there was.
    pub before: Option<&'a T>,
    /// What there is now.
    pub after: Option<&'a T>,
}

/// An event read back.
#[derive(Clone, Debug, PartialEq)]
pub struct Recorded {
    /// Its place in the feed.
    pub seq: i64,
    /// When it happened.
    pub at: Timestamp,
    /// Who made it.
    pub actor: String,
    /// What happened.
    pub kind: String,
    /// What it happened to.
    pub subject: String,
    /// The other party.
    pub object: Option<String>,
    /// What there was.
    pub before: Option<Value>,
    /// What there is now.
    pub after: Option<Value>,
}

impl Recorded {
    /// The event as the API and the command line show it.
    pub fn to_json(&self) -> Value {
        json!({
            "seq": self.seq,
            "at": self.at.to_string(),
            "actor": self.actor,
            "kind": self.kind,
            "subject": self.subject,
            "object": self.object,
            "before": self.before,
            "after": self.after,
        })
    }
}

const COLUMNS: &str = "seq, at, actor, kind, subject, object, before, after";

fn from_row(row: &Row<'_>) -> rusqlite::Result<Recorded> {
    Ok(Recorded {
        seq: row.get(0)?,
        at: row.get::<_, Millis>(1)?.0,
        actor: row.get(2)?,
        kind: row.get(3)?,
        subject: row.get(4)?,
        object: row.get(5)?,
        before: row.get::<_, Option<Json<Value>>>(6)?.map(|json| json.0),
        after: row.get::<_, Option<Json<Value>>>(7)?.map(|json| json.0),
    })
}

/// Appends, and returns the event's place in the feed.
pub fn append(tx: &Tx<'_>, tenant: TenantId, event: &Event<'_>) -> Result<i64> {
    let [before, after] =
        [event.before, event.after].map(|side| side.map(|value| json_text(value).map(Cow::Owned)));
    insert(tx, tenant, event, (before.transpose()?, after.transpose()?))
}

/// Appends what happened to a user or team. What of it is never returned is not told.
pub fn append_document(tx: &Tx<'_>, tenant: TenantId, event: &Event<'_, Stored>) -> Result<i64> {
    let schemas = attributes::schemas(tx, tenant)?;
    let [before, after] =
        [event.before, event.after].map(|side| side.map(|stored| text_of(stored, &schemas)));
    insert(tx, tenant, event, (before.transpose()?, after.transpose()?))
}

fn text_of<'a>(stored: &'a Stored, schemas: &Schemas) -> Result<Cow<'a, str>> {
    match told(&stored.document, schemas.of(stored.kind)) {
        // Nearly always: its text is there already.
        Cow::Borrowed(document) => {
            debug_assert_eq!(json_text(document)?, stored.text, "another document's text");
            Ok(Cow::Borrowed(&stored.text))
        }
        Cow::Owned(told) => json_text(&told).map(Cow::Owned),
    }
}

fn insert<T>(
    tx: &Tx<'_>,
    tenant: TenantId,
    event: &Event<'_, T>,
    (before, after): (Option<Cow<'_, str>>, Option<Cow<'_, str>>),
) -> Result<i64> {
    let seq = numbered(tx, Sequence::Event, 1, |seq| {
        tx.conn
            .prepare_cached(
                "INSERT INTO event (seq, tenant, at, actor, kind, subject, object, before, after)
                 VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            )
            .and_then(|mut statement| {
                statement.execute(rusqlite::params![
                    seq,
                    tenant,
                    Millis(tx.now),
                    event.actor,
                    event.kind,
                    event.subject,
                    event.object,
                    before,
                    after,
                ])
            })
            .doing("recording an event")
    })?;
    let first = tx.events.get().map_or(seq, |(first, _)| first);
    tx.events.set(Some((first, seq)));
    Ok(seq)
}

/// A tenant's newest event's place in the feed; 0 where there is none.
pub fn newest(snapshot: &Snapshot<'_>, tenant: TenantId) -> Result<i64> {
    snapshot
        .conn
        .prepare_cached("SELECT coalesce(max(seq), 0) FROM event WHERE tenant = ?")
        .and_then(|mut statement| statement.query_row([tenant], |row| row.get(0)))
        .doing("reading the newest event")
}

/// Up to `limit` of those from the first to the last place, both included, oldest first.
pub fn between(
    snapshot: &Snapshot<'_>,
    tenant: TenantId,
    (first, last): (i64, i64),
    limit: usize,
) -> Result<Vec<Recorded>> {
    let mut found = after(snapshot, tenant, first - 1, None, limit)?;
    found.retain(|event| event.seq <= last);
    Ok(found)
}

/// A tenant's last one.
pub fn last(snapshot: &Snapshot<'_>, tenant: TenantId) -> Result<Option<Recorded>> {
    let before = newest(snapshot, tenant)?.saturating_sub(1);
    Ok(after(snapshot, tenant, before, None, 1)?.pop())
}

/// Up to `limit` after `after`, oldest first. `kind` is one kind (`user.created`), or all of a noun (`user`).
pub fn after(
    snapshot: &Snapshot<'_>,
    tenant: TenantId,
    after: i64,
    kind: Option<&str>,
    limit: usize,
) -> Result<Vec<Recorded>> {
    snapshot
        .conn
        .prepare_cached(&format!(
            "SELECT {COLUMNS} FROM event
             WHERE tenant = ?1 AND seq > ?2
               AND (?3 IS NULL OR kind = ?3 OR (kind > ?3 || '.' AND kind < ?3 || '/'))
             ORDER BY seq LIMIT ?4"
        ))
        .and_then(|mut statement| {
            statement
                .query_map((tenant, after, kind, limit as i64), from_row)?
                .collect()
        })
        .doing("reading events")
}

/// Up to `limit` before `before` that happened to this subject or with it as the other party, newest first.
pub fn about(
    snapshot: &Snapshot<'_>,
    tenant: TenantId,
    id: &str,
    kind: Option<&str>,
    before: i64,
    limit: usize,
) -> Result<Vec<Recorded>> {
    let of_kind = "(?3 IS NULL OR kind = ?3 OR (kind > ?3 || '.' AND kind < ?3 || '/'))";
    rows(
        snapshot,
        &format!(
            "SELECT {COLUMNS} FROM event WHERE tenant = ?1 AND subject = ?2 AND {of_kind} AND seq < ?4
             UNION ALL
             SELECT {COLUMNS} FROM event WHERE tenant = ?1 AND object = ?2 AND {of_kind} AND seq < ?4
             ORDER BY seq DESC LIMIT ?5"
        ),
        (tenant, id, kind, before, limit as i64),
    )
}

/// When something of this kind last happened to a resource.
pub fn last_of(
    snapshot: &Snapshot<'_>,
    tenant: TenantId,
    subject: &str,
    kind: &str,
) -> Result<Option<Timestamp>> {
    snapshot
        .conn
        .prepare_cached(
            "SELECT at FROM event WHERE tenant = ? AND subject = ? AND kind = ? ORDER BY seq DESC LIMIT 1",
        )
        .and_then(|mut statement| {
            statement
                .query_row((tenant, subject, kind), |row| row.get::<_, Millis>(0))
                .optional()
        })
        .map(|found| found.map(|at| at.0))
        .doing("reading when something happened")
}

/// Which events to show.
#[derive(Clone, Copy, Debug, Default)]
pub struct Selection<'a> {
    /// One kind (`user.created`), or all of a noun (`user`).
    pub kind: Option<&'a str>,
    /// Only those with this subject or object.
    pub about: Option<&'a str>,
}

/// Events, newest first.
#[derive(Debug)]
pub struct Page {
    /// As many as were asked for at most.
    pub events: Vec<Recorded>,
    /// The place before which there may be older ones.
    pub older: Option<i64>,
}

/// How many events one search for a frequent kind looks at.
pub const MOST_LOOKED_AT: usize = 200_000;

/// Up to `limit` before the place `before`; `None` begins with the newest of all.
///
/// Read in the order of an index, so that a page costs the same however many there are; only a kind of the events about
/// one subject is sought among all of that subject's. The kinds that most events are of are sought among all events, up to
/// [`MOST_LOOKED_AT`] of them. What is selected by another kind comes in the order of time; two events of one moment are told
/// apart by their place.
pub fn before(
    snapshot: &Snapshot<'_>,
    tenant: TenantId,
    selection: Selection<'_>,
    before: Option<i64>,
    limit: usize,
) -> Result<Page> {
    let place = before.unwrap_or(i64::MAX);
    let is_wanted = |kind: &str| {
        let is = |rest: &str| rest.is_empty() || rest.starts_with('.');
        (selection.kind).is_none_or(|wanted| kind.strip_prefix(wanted).is_some_and(is))
    };
    // One more than is shown tells whether there are older ones.
    let most = limit as i64 + 1;
    let mut events = match selection {
        Selection {
            about: Some(id),
            kind,
        } => about(snapshot, tenant, id, kind, place, limit + 1)?,
        Selection { kind: None, .. } => {
            let sql = format!(
                "SELECT {COLUMNS} FROM event WHERE tenant = ? AND seq < ? ORDER BY seq DESC LIMIT ?"
            );
            rows(snapshot, &sql, (tenant, place, most))?
        }
        _ if FREQUENT.into_iter().any(is_wanted) => {
            return among_all(MOST_LOOKED_AT, snapshot, tenant, is_wanted, place, limit);
        }
        _ => {
            // The index has a kind's events by time, and place alone would not bound the search in it.
            let sql = format!(
                "SELECT {COLUMNS} FROM event INDEXED BY event_kind
                 WHERE tenant = ?1 AND kind = ?2 AND {BY_KIND}
                   AND (at, seq) < (coalesce((SELECT at FROM event WHERE tenant = ?1 AND seq = ?3), ?3), ?3)
                 ORDER BY at DESC, seq DESC LIMIT ?4"
            );
            let mut found = Vec::new();
            for kind in KINDS.iter().filter(|kind| is_wanted(kind)) {
                found.extend(rows(snapshot, &sql, (tenant, kind, place, most))?);
            }
            found.sort_unstable_by_key(|event| Reverse((event.at, event.seq)));
            found
        }
    };
    let more = events.len() > limit;
    events.truncate(limit);
    let older = events.last().filter(|_| more).map(|last| last.seq);
    Ok(Page { events, older })
}

/// Up to `limit` of a wanted kind among the `most` events before a place.
fn among_all(
    most: usize,
    snapshot: &Snapshot<'_>,
    tenant: TenantId,
    is_wanted: impl Fn(&str) -> bool,
    place: i64,
    limit: usize,
) -> Result<Page> {
    let walk = || -> rusqlite::Result<(Vec<i64>, Option<i64>)> {
        let mut statement = snapshot.conn.prepare_cached(
            "SELECT seq, kind FROM event INDEXED BY event_tenant WHERE tenant = ? AND seq < ? ORDER BY seq DESC",
        )?;
        let mut rows = statement.query((tenant, place))?;
        let (mut places, mut last, mut looked_at) = (vec![], None, 0);
        while let Some(row) = rows.next()? {
            // There is more, whatever it is.
            if looked_at == most || places.len() == limit {
                return Ok((places, last));
            }
            looked_at += 1;
            last = Some(row.get(0)?);
            if is_wanted(row.get_ref(1)?.as_str()?) {
                places.extend(last);
            }
        }
        Ok((places, None))
    };
    let (places, older) = walk().doing("looking for events")?;
    let sql = format!("SELECT {COLUMNS} FROM event WHERE tenant = ? AND seq = ?");
    let mut events = Vec::with_capacity(places.len());
    for place in places {
        events.extend(rows(snapshot, &sql, (tenant, place))?);
    }
    Ok(Page { events, older })
}

fn rows(snapshot: &Snapshot<'_>, sql: &str, parameters: impl Params) -> Result<Vec<Recorded>> {
    snapshot
        .conn
        .prepare_cached(sql)
        .and_then(|mut statement| statement.query_map(parameters, from_row)?.collect())
        .doing("reading events")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::fixture::{at, fixture, tenant};

    #[test]
    fn a_reader_goes_on_where_it_stopped_and_sees_its_tenant_alone() {
        let fixture = fixture();
        let (ours, theirs) = (fixture.tenant, tenant(&fixture.store, "other"));
        for tenant in [ours, theirs, ours] {
            let write = move |tx: &Tx<'_>| {
                let after = json!({"active": true});
                let event = Event {
                    actor: "token:1",
                    kind: "user.created",
                    subject: "42",
                    object: Some("43"),
                    before: None,
                    after: Some(&after),
                };
                append(tx, tenant, &event)
            };
            fixture.store.write(at(7), write).unwrap();
        }
        let read = |from, limit| {
            fixture
                .store
                .read(|snapshot| after(snapshot, ours, from, None, limit))
                .unwrap()
        };
        let first = read(0, 1).remove(0);
        let expected = Recorded {
            seq: 1,
            at: at(7),
            actor: "token:1".to_owned(),
            kind: "user.created".to_owned(),
            subject: "42".to_owned(),
            object: Some("43".to_owned()),
            before: None,
            after: Some(json!({"active": true})),
        };
        assert_eq!(first, expected);
        assert_eq!(
            read(1, 10)
                .iter()
                .map(|event| event.seq)
                .collect::<Vec<_>>(),
            [3]
        );
        assert!(read(3, 10).is_empty());
    }

    #[test]
    fn the_kinds_without_an_index_are_those_that_the_schema_leaves_out() {
        let left_out = FREQUENT
            .map(|kind| format!("kind <> '{kind}'"))
            .join(" AND ");
        assert_eq!(BY_KIND.replace("event.", ""), left_out);
        assert!(include_str!("../../schema.sql").contains(&left_out));
    }

    #[test]
    fn each_selection_shows_its_own_the_newest_first_page_by_page() {
        let fixture = fixture();
        let tenant = fixture.tenant;
        const SOME: [&str; 6] = [
            "user.created",
            "team.created",
            "user.deleted",
            "user.changed",
            "role.assigned",
            "role.created",
        ];
        for (second, kind) in SOME.iter().cycle().take(30).enumerate() {
            let write = move |tx: &Tx<'_>| {
                let event = Event {
                    actor: "operator",
                    kind,
                    subject: "x",
                    object: None,
                    before: None,
                    after: None,
                };
                append(tx, tenant, &event)
            };
            fixture.store.write(at(second as i64), write).unwrap();
        }
        for wanted in [
            "user",
            "user.created",
            "user.deleted",
            "team",
            "role",
            "role.created",
            "token",
        ] {
            let is_wanted = |kind: &str| kind == wanted || kind.split('.').next() == Some(wanted);
            let selection = Selection {
                kind: Some(wanted),
                about: None,
            };
            // At once and piece by piece, and looking at few.
            type Look<'a> = &'a dyn Fn(&Snapshot<'_>, Option<i64>) -> Result<Page>;
            let looks: [Look<'_>; 2] = [
                &|snapshot, place| before(snapshot, tenant, selection, place, 3),
                &|snapshot, place| {
                    among_all(2, snapshot, tenant, is_wanted, place.unwrap_or(i64::MAX), 3)
                },
            ];
            let expected: Vec<i64> = (1..=30)
                .rev()
                .filter(|seq| is_wanted(SOME[(*seq as usize - 1) % SOME.len()]))
                .collect();
            for look in looks {
                let (mut found, mut place) = (vec![], None);
                loop {
                    let page = fixture
                        .store
                        .read(|snapshot| look(snapshot, place))
                        .unwrap();
                    found.extend(page.events.into_iter().map(|event| event.seq));
                    place = page.older;
                    if place.is_none() {
                        break;
                    }
                }
                assert_eq!(found, expected, "{wanted}");
            }
        }
    }
}
