//! The provisioning log: one row for each SCIM request and its answer.

use std::sync::LazyLock;

use jiff::Timestamp;
use rusqlite::{Params, Row, Statement, params};
use serde_json::{Value, json};

use super::column::{Json, Millis};
use super::sequence::{Sequence, numbered};
use super::tokens::{self, Use};
use super::{Snapshot, TenantId, Tx};
use crate::error::{Doing, Result};
use crate::scim::ScimType;

/// Milliseconds of a day.
const DAY_MILLIS: i64 = 24 * 60 * 60 * 1000;

/// What a request asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deed {
    /// A new user or team.
    Create,
    /// Another version of one, or many operations at once.
    Change,
    /// One to be gone.
    Delete,
    /// To see one, or which there are.
    Read,
}

impl Deed {
    /// Every one.
    pub const ALL: [Deed; 4] = [Deed::Create, Deed::Change, Deed::Delete, Deed::Read];

    /// What `method` asks for at `target`, a path with or without a query.
    pub fn of(method: &str, target: &str) -> Deed {
        let path = target.split('?').next().unwrap_or_default();
        // As addresses are understood: slashes at the end say nothing.
        let path = path.trim_end_matches('/');
        match method {
            "POST" if path.ends_with("/.search") => Deed::Read,
            "POST" if path.ends_with("/Bulk") => Deed::Change,
            "POST" => Deed::Create,
            "PUT" | "PATCH" => Deed::Change,
            "DELETE" => Deed::Delete,
            _ => Deed::Read,
        }
    }

    /// As the file has it.
    pub fn as_str(self) -> &'static str {
        match self {
            Deed::Create => "create",
            Deed::Change => "change",
            Deed::Delete => "delete",
            Deed::Read => "read",
        }
    }
}

/// One exchange. Carries no token and no password, ever.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exchange {
    /// Whose.
    pub tenant: TenantId,
    /// The token that was shown, by its number.
    pub token: i64,
    /// When the request came.
    pub at: Timestamp,
    /// The client's address.
    pub address: String,
    /// As in the answer's header.
    pub request_id: String,
    /// The HTTP method.
    pub method: String,
    /// Path and query.
    pub target: String,
    /// In words: `deactivated user ana@…`.
    pub action: String,
    /// Resource id, where there is one.
    pub subject: Option<String>,
    /// The answer's.
    pub status: u16,
    /// The refusal's, where it has one.
    pub scim_type: Option<&'static str>,
    /// The refusal's detail.
    pub detail: Option<String>,
    /// Microseconds from the request's head to the answer.
    pub duration_us: i64,
    /// What of the request was ignored.
    pub ignored: Vec<String>,
    /// The request's body, where there was one.
    pub request_body: Option<String>,
    /// The answer's body, where there was one.
    pub response_body: Option<String>,
}

/// An exchange read back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recorded {
    /// Its place in the log.
    pub seq: i64,
    /// The tenant's name.
    pub tenant: String,
    /// The token's label.
    pub token: String,
    /// Places in the feed of its first and last event, where it changed something; those between are its own, too.
    pub events: Option<(i64, i64)>,
    /// The exchange.
    pub exchange: Exchange,
}

impl Recorded {
    /// The line as downloads and the command line show it.
    pub fn to_json(&self) -> Value {
        let exchange = &self.exchange;
        json!({
            "seq": self.seq,
            "at": exchange.at.to_string(),
            "tenant": self.tenant,
            "token": self.token,
            "address": exchange.address,
            "requestId": exchange.request_id,
            "method": exchange.method,
            "target": exchange.target,
            "action": exchange.action,
            "subject": exchange.subject,
            "status": exchange.status,
            "scimType": exchange.scim_type,
            "detail": exchange.detail,
            "durationMs": exchange.duration_us as f64 / 1000.0,
            "ignored": exchange.ignored,
            "requestBody": exchange.request_body,
            "responseBody": exchange.response_body,
        })
    }
}

const COLUMNS: &str = "exchange.tenant, exchange.token, exchange.at, exchange.address, exchange.request_id, \
     exchange.method, exchange.target, exchange.action, exchange.subject, exchange.status, exchange.scim_type, \
     exchange.detail, exchange.duration_us, exchange.ignored, exchange.request_body, exchange.response_body";

fn from_row(row: &Row<'_>) -> rusqlite::Result<Exchange> {
    Ok(Exchange {
        tenant: row.get(0)?,
        token: row.get(1)?,
        at: row.get::<_, Millis>(2)?.0,
        address: row.get(3)?,
        request_id: row.get(4)?,
        method: row.get(5)?,
        target: row.get(6)?,
        action: row.get(7)?,
        subject: row.get(8)?,
        status: row.get(9)?,
        scim_type: row
            .get::<_, Option<String>>(10)?
            .as_deref()
            .and_then(scim_type),
        detail: row.get(11)?,
        duration_us: row.get(12)?,
        ignored: row.get::<_, Json<_>>(13)?.0,
        request_body: row.get(14)?,
        response_body: row.get(15)?,
    })
}

fn scim_type(name: &str) -> Option<&'static str> {
    let types = [
        ScimType::InvalidFilter,
        ScimType::TooMany,
        ScimType::Uniqueness,
        ScimType::Mutability,
        ScimType::InvalidSyntax,
        ScimType::InvalidPath,
        ScimType::NoTarget,
        ScimType::InvalidValue,
        ScimType::InvalidVers,
        ScimType::Sensitive,
        ScimType::InvalidCursor,
        ScimType::ExpiredCursor,
        ScimType::InvalidCount,
    ];
    types
        .into_iter()
        .map(ScimType::as_str)
        .find(|known| *known == name)
}

/// How many lines [`insert_many`] writes: by one statement, which costs less than one for each.
pub(super) const AT_ONCE: usize = 16;

/// Writes one in this transaction, with the events that this transaction wrote since its last line; also sets the
/// token's last use (at most once a minute).
pub fn insert(tx: &Tx<'_>, exchange: &Exchange) -> Result<()> {
    write(tx, std::slice::from_ref(exchange), tx.events.take())
}

/// Writes lines that have no events: all, or none of them where one can't be.
pub(super) fn insert_many(tx: &Tx<'_>, exchanges: &[Exchange; AT_ONCE]) -> Result<()> {
    write(tx, exchanges, None)
}

/// By one statement, of which there are two: for one line, and for as many as are written at once.
fn write(tx: &Tx<'_>, exchanges: &[Exchange], events: Option<(i64, i64)>) -> Result<()> {
    static ONE: LazyLock<String> = LazyLock::new(|| insertion(1));
    static MANY: LazyLock<String> = LazyLock::new(|| insertion(AT_ONCE));
    let sql = if exchanges.len() == 1 { &*ONE } else { &*MANY };
    for exchange in exchanges {
        let shown = Use {
            id: exchange.token,
            at: exchange.at,
            address: &exchange.address,
            answered: exchange.status < 400,
        };
        tokens::used(tx, exchange.tenant, &shown)?;
    }
    numbered(tx, Sequence::Exchange, exchanges.len(), |first| {
        tx.conn
            .prepare_cached(sql)
            .and_then(|mut statement| {
                for (line, exchange) in exchanges.iter().enumerate() {
                    bind(&mut statement, line, first + line as i64, exchange, events)?;
                }
                statement.raw_execute()
            })
            .doing("recording an exchange")
    })
    .map(drop)
}

const INSERTED: &str = "seq, tenant, token, at, address, request_id, method, target, deed, action, subject, status, \
     first_event, last_event, scim_type, detail, duration_us, ignored, request_body, response_body";

fn insertion(lines: usize) -> String {
    let values = INSERTED
        .split(',')
        .map(|_| "?")
        .collect::<Vec<_>>()
        .join(", ");
    let rows = vec![format!("({values})"); lines].join(", ");
    format!("INSERT INTO exchange ({INSERTED}) VALUES {rows}")
}

/// Binds what is on that line of the statement, in the order of [`INSERTED`].
fn bind(
    statement: &mut Statement<'_>,
    line: usize,
    seq: i64,
    exchange: &Exchange,
    events: Option<(i64, i64)>,
) -> rusqlite::Result<()> {
    let (first_event, last_event) = events.unzip();
    let deed = Deed::of(&exchange.method, &exchange.target).as_str();
    let values = params![
        seq,
        exchange.tenant,
        exchange.token,
        Millis(exchange.at),
        exchange.address,
        exchange.request_id,
        exchange.method,
        exchange.target,
        deed,
        exchange.action,
        exchange.subject,
        exchange.status,
        first_event,
        last_event,
        exchange.scim_type,
        exchange.detail,
        exchange.duration_us,
        Json(&exchange.ignored),
        exchange.request_body,
        exchange.response_body,
    ];
    for (column, value) in values.iter().enumerate() {
        statement.raw_bind_parameter(line * values.len() + column + 1, value)?;
    }
    Ok(())
}

/// Removes up to `limit` of a tenant's lines that are older than its `log_days`, the oldest first; answers how many.
pub fn forget(tx: &Tx<'_>, tenant: TenantId, limit: usize) -> Result<usize> {
    tx.conn
        .prepare_cached(
            "DELETE FROM exchange WHERE seq IN (SELECT seq FROM exchange WHERE tenant = ?1 ORDER BY seq LIMIT ?3)
                 AND at < ?2 - (SELECT log_days FROM tenant WHERE id = ?1) * ?4",
        )
        .and_then(|mut statement| {
            statement.execute((tenant, Millis(tx.now), limit as i64, DAY_MILLIS))
        })
        .doing("removing old lines of the provisioning log")
}

/// One by its place.
pub fn get(snapshot: &Snapshot<'_>, tenant: TenantId, seq: i64) -> Result<Option<Recorded>> {
    let which = "exchange.tenant = ? AND exchange.seq = ?";
    Ok(select(snapshot, which, (tenant, seq))?.pop())
}

/// Up to `limit` of those after `after`, oldest first; all tenants where `tenant` is None.
pub fn after(
    snapshot: &Snapshot<'_>,
    tenant: Option<TenantId>,
    after: i64,
    limit: usize,
) -> Result<Vec<Recorded>> {
    match tenant {
        None => select(
            snapshot,
            "exchange.seq > ? ORDER BY exchange.seq LIMIT ?",
            (after, limit as i64),
        ),
        Some(tenant) => select(
            snapshot,
            "exchange.tenant = ? AND exchange.seq > ? ORDER BY exchange.seq LIMIT ?",
            (tenant, after, limit as i64),
        ),
    }
}

/// The last `limit`, oldest first; of all tenants where `tenant` is None.
pub fn last(
    snapshot: &Snapshot<'_>,
    tenant: Option<TenantId>,
    limit: usize,
) -> Result<Vec<Recorded>> {
    let mut recorded = match tenant {
        None => select(
            snapshot,
            "true ORDER BY exchange.seq DESC LIMIT ?",
            [limit as i64],
        ),
        Some(tenant) => select(
            snapshot,
            "exchange.tenant = ? ORDER BY exchange.seq DESC LIMIT ?",
            (tenant, limit as i64),
        ),
    }?;
    recorded.reverse();
    Ok(recorded)
}

fn select(
    snapshot: &Snapshot<'_>,
    which: &'static str,
    params: impl Params,
) -> Result<Vec<Recorded>> {
    // A subquery and not a join for the label: an exchange stays even should its token be gone.
    snapshot
        .conn
        .prepare_cached(&format!(
            "SELECT {COLUMNS}, exchange.seq, exchange.first_event, exchange.last_event, tenant.name AS tenant_name,
                    coalesce((SELECT label FROM token WHERE token.id = exchange.token), '') AS token_label
             FROM exchange JOIN tenant ON tenant.id = exchange.tenant WHERE {which}"
        ))
        .and_then(|mut statement| {
            let recorded = |row: &Row<'_>| {
                Ok(Recorded {
                    seq: row.get("seq")?,
                    tenant: row.get("tenant_name")?,
                    token: row.get("token_label")?,
                    events: row.get::<_, Option<i64>>("first_event")?.zip(row.get("last_event")?),
                    exchange: from_row(row)?,
                })
            };
            statement.query_map(params, recorded)?.collect()
        })
        .doing("reading the provisioning log")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::fixture::{at, exchange, fixture, tenant};
    use crate::store::tokens;

    #[test]
    fn an_exchange_reads_back_as_it_was() {
        let fixture = fixture();
        let written = Exchange {
            subject: Some("42".to_owned()),
            status: 409,
            scim_type: Some("uniqueness"),
            detail: Some("userName is taken".to_owned()),
            ignored: vec!["nickname".to_owned(), "\"quoted\"".to_owned()],
            request_body: Some("{}".to_owned()),
            response_body: Some("{}".to_owned()),
            ..exchange(fixture.tenant, fixture.token().id)
        };
        let exchange = written.clone();
        fixture
            .store
            .write(at(0), move |tx| insert(tx, &exchange))
            .unwrap();
        let recorded = fixture
            .store
            .read(|snapshot| last(snapshot, Some(fixture.tenant), 5))
            .unwrap();
        let expected = Recorded {
            seq: 1,
            tenant: "acme".to_owned(),
            token: "entra".to_owned(),
            events: None,
            exchange: written,
        };
        assert_eq!(recorded, [expected]);
    }

    #[test]
    fn the_log_is_read_forwards_and_from_its_end_for_one_tenant_or_all() {
        let fixture = fixture();
        let (ours, theirs) = (fixture.tenant, tenant(&fixture.store, "other"));
        for tenant in [ours, theirs, ours, ours] {
            fixture
                .store
                .write(at(0), move |tx| insert(tx, &exchange(tenant, 0)))
                .unwrap();
        }
        let seqs = |recorded: Result<Vec<Recorded>>| -> Vec<i64> {
            recorded.unwrap().iter().map(|r| r.seq).collect()
        };
        let store = &fixture.store;
        assert_eq!(
            seqs(store.read(|snapshot| after(snapshot, Some(ours), 1, 10))),
            [3, 4]
        );
        assert_eq!(
            seqs(store.read(|snapshot| after(snapshot, None, 0, 2))),
            [1, 2]
        );
        assert_eq!(
            seqs(store.read(|snapshot| last(snapshot, Some(ours), 2))),
            [3, 4]
        );
        assert_eq!(
            seqs(store.read(|snapshot| last(snapshot, None, 3))),
            [2, 3, 4]
        );
    }

    #[test]
    fn lines_older_than_the_log_is_kept_go_and_their_tenants_alone() {
        let fixture = fixture();
        let (ours, theirs) = (fixture.tenant, tenant(&fixture.store, "other"));
        let days = |days: i64| at(days * 24 * 60 * 60);
        for (tenant, day) in [
            (theirs, 0),
            (ours, 0),
            (ours, 0),
            (ours, 0),
            (ours, 90),
            (ours, 91),
            (ours, 91),
        ] {
            let exchange = Exchange {
                at: days(day),
                ..exchange(tenant, 0)
            };
            fixture
                .store
                .write(at(0), move |tx| insert(tx, &exchange))
                .unwrap();
        }
        let mut removed = vec![];
        for day in [90, 91, 91] {
            let forget = move |tx: &Tx<'_>| forget(tx, ours, 2);
            removed.push(fixture.store.write(days(day), forget).unwrap());
        }
        let left = fixture
            .store
            .read(|snapshot| last(snapshot, None, 10))
            .unwrap();
        let seqs: Vec<i64> = left.iter().map(|recorded| recorded.seq).collect();
        assert_eq!((removed, seqs), (vec![0, 2, 1], vec![1, 5, 6, 7]));
    }

    #[test]
    fn a_tokens_last_use_is_noted_once_a_minute() {
        let fixture = fixture();
        let (store, tenant) = (&fixture.store, fixture.tenant);
        let token = fixture.token().id;
        let last_used = || {
            store
                .read(|snapshot| tokens::list(snapshot, tenant))
                .unwrap()[0]
                .last_used
        };
        for (seconds, noted) in [(10, 10), (69, 10), (70, 70), (60, 70)] {
            let exchange = Exchange {
                at: at(seconds),
                ..exchange(tenant, token)
            };
            store
                .write(at(seconds), move |tx| insert(tx, &exchange))
                .unwrap();
            assert_eq!(last_used(), Some(at(noted)));
        }
    }
}
