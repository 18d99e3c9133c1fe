//! The event feed, with long poll.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{App, Query, reply};
use crate::error::Result;
use crate::http::request::Response;
use crate::scim::ScimError;
use crate::store::TenantId;
use crate::store::events::{self, Recorded};

/// Longest wait for an event, in seconds.
const MAX_WAIT_SECS: u64 = 30;

/// How often a waiting request looks anyway: another process may have written, and the server may have been stopped.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// What happened after `after`, oldest first; waits for it where nothing has yet and `wait` says how long.
pub(super) fn answer(app: &App, tenant: TenantId, query: &Query) -> Result<Response> {
    let after = query.number("after", 0, 0..=i64::MAX as u64)? as i64;
    let limit = query.limit()? as usize;
    let kind = query.text("kind");
    let wait = Duration::from_secs(query.number("wait", 0, 0..=MAX_WAIT_SECS)?);
    let deadline = Instant::now() + wait;
    loop {
        // Counted before looking, so that a commit between the two ends the wait at once.
        let seen = app.store.commits();
        let (found, newest) = app.store.read(|snapshot| {
            let found = events::after(snapshot, tenant, after, kind, limit)?;
            Ok((found, events::newest(snapshot, tenant)?))
        })?;
        if after > newest {
            return Err(ScimError::invalid_value(format!(
                "after is {after}, but the newest event is {newest}: the database was restored from an older backup; \
                 read again from 0"
            ))
            .into());
        }
        let left = deadline.saturating_duration_since(Instant::now());
        if !found.is_empty() || left.is_zero() || app.stopping.load(Ordering::Relaxed) {
            // Of a full page, the last one; else everything there is has been looked at.
            let last = found
                .last()
                .filter(|_| found.len() == limit)
                .map_or(newest, |event| event.seq);
            let found: Vec<Value> = found.iter().map(Recorded::to_json).collect();
            return Ok(reply(200, &json!({ "events": found, "last": last })));
        }
        app.store.wait_for_commit(seen, left.min(LOOK_EVERY));
    }
}
