//! The provisioning log: one row for each SCIM request and its answer.

use jiff::Timestamp;
use rusqlite::{Params, Row};

use super::column::{Json, Millis};
use super::tokens::{self, Use};
use super::{Snapshot, TenantId, Tx};
use crate::error::{Doing, Result};
use crate::scim::ScimType;

/// How long a line is kept, in milliseconds: 90 days.
const KEPT_MILLIS: i64 = 90 * 24 * 60 * 60 * 1000;

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
    /// The exchange.
    pub exchange: Exchange,
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
    ];
    types
        .into_iter()
        .map(ScimType::as_str)
        .find(|known| *known == name)
}

/// Writes one in this transaction; also sets the token's last use (at most once a minute). Takes up to two of the
/// tenant's lines away that are older than 90 days, so that the log ends by itself and no one has to wait for that.
pub fn insert(tx: &Tx<'_>, exchange: &Exchange) -> Result<()> {
    tx.conn
        .prepare_cached(
            "INSERT INTO exchange (tenant, token, at, address, request_id, method, target, action, subject, status,
                                   scim_type, detail, duration_us, ignored, request_body, response_body)
             VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        )
        .and_then(|mut statement| {
            statement.execute(rusqlite::params![
                exchange.tenant,
                exchange.token,
                Millis(exchange.at),
                exchange.address,
                exchange.request_id,
                exchange.method,
                exchange.target,
                exchange.action,
                exchange.subject,
                exchange.status,
                exchange.scim_type,
                exchange.detail,
                exchange.duration_us,
                Json(&exchange.ignored),
                exchange.request_body,
                exchange.response_body,
            ])
        })
        .doing("recording an exchange")?;
    let shown = Use {
        id: exchange.token,
        at: exchange.at,
        address: &exchange.address,
        answered: exchange.status < 400,
    };
    tokens::used(tx, exchange.tenant, &shown)?;
    tx.conn
        .prepare_cached(
            "DELETE FROM exchange WHERE at < ?2 AND seq IN
                 (SELECT seq FROM exchange WHERE tenant = ?1 ORDER BY seq LIMIT 2)",
        )
        .and_then(|mut statement| {
            let oldest_kept = exchange.at.as_millisecond() - KEPT_MILLIS;
            statement.execute((exchange.tenant, oldest_kept))
        })
        .doing("removing old exchanges")?;
    Ok(())
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

/// The last `limit` of a tenant's that were refused, at `since` or later; newest first.
pub fn refused(
    snapshot: &Snapshot<'_>,
    tenant: TenantId,
    since: Timestamp,
    limit: usize,
) -> Result<Vec<Recorded>> {
    select(
        snapshot,
        "exchange.tenant = ? AND exchange.status >= 400 AND exchange.at >= ?
         ORDER BY exchange.at DESC, exchange.seq DESC LIMIT ?",
        (tenant, Millis(since), limit as i64),
    )
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
            "SELECT {COLUMNS}, exchange.seq, tenant.name AS tenant_name,
                    coalesce((SELECT label FROM token WHERE token.id = exchange.token), '') AS token_label
             FROM exchange JOIN tenant ON tenant.id = exchange.tenant WHERE {which}"
        ))
        .and_then(|mut statement| {
            let recorded = |row: &Row<'_>| {
                Ok(Recorded {
                    seq: row.get("seq")?,
                    tenant: row.get("tenant_name")?,
                    token: row.get("token_label")?,
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
    fn lines_older_than_90_days_go_two_at_a_time_and_their_tenants_alone() {
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
        let left = fixture
            .store
            .read(|snapshot| last(snapshot, None, 10))
            .unwrap();
        let seqs: Vec<i64> = left.iter().map(|recorded| recorded.seq).collect();
        assert_eq!(seqs, [1, 5, 6, 7]);
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
