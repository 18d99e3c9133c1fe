//! One SCIM request on its way into the provisioning log.

use std::sync::{Arc, OnceLock};
use std::time::Instant;

use jiff::Timestamp;

use super::{Answer, Body, Me, secrets, words};
use crate::error::{Error, Result};
use crate::scim::ScimError;
use crate::scim::declare::Schemas;
use crate::scim::representation::Text;
use crate::store::exchanges::{self, Exchange};
use crate::store::{Store, TenantId, Tx};

/// Who asks, in what words, and how it is to be recorded.
#[derive(Clone, Debug)]
pub struct Call {
    /// The tenant that the token opens.
    pub tenant: TenantId,
    /// The tenant's schemas when the request came.
    pub schemas: Arc<Schemas>,
    /// Whether the tenant is paused, so that every request is refused with 503.
    pub paused: bool,
    /// The token's row number.
    pub token: i64,
    /// Whose own token it is; none: a provider's.
    pub me: Option<Me>,
    /// The request's time, the only clock reading that it gets.
    pub now: Timestamp,
    /// When it began, for its duration.
    pub started: Instant,
    /// The client's address.
    pub address: String,
    /// The request's id, as in `X-Request-Id`.
    pub request_id: String,
    /// The HTTP method.
    pub method: String,
    /// Path and query as sent.
    pub target: String,
    /// URL of the SCIM root without a slash at its end, as in `https://HOST/scim/v2`.
    pub base: String,
    /// The request's body as sent, empty where there is none.
    pub body: Vec<u8>,
    /// Whether bodies of what succeeds are kept too (`serve --dev`, or the tenant's setting).
    pub keep_bodies: bool,
    /// Set for a rehearsal: nothing that it changes lasts, and its line goes in here and not into the log.
    pub rehearsal: Option<Arc<OnceLock<Exchange>>>,
}

impl Call {
    /// Who an event names as its cause.
    pub(super) fn actor(&self) -> String {
        match &self.me {
            Some(me) => format!("person:{}", me.id),
            None => format!("token:{}", self.token),
        }
    }

    /// Runs a change of this request as one transaction; of a rehearsal it is rolled back.
    pub(super) fn write(
        &self,
        store: &Store,
        change: impl FnOnce(&Tx<'_>) -> Result<Answer> + Send + 'static,
    ) -> Result<Answer> {
        if self.rehearsal.is_some() {
            store.rehearse(self.now, change)
        } else {
            store.write(self.now, change)
        }
    }

    /// The same of one that may be run several times, as [`Store::write_again`] does.
    pub(super) fn write_again(
        &self,
        store: &Store,
        change: impl FnMut(&Tx<'_>) -> Result<Answer> + Send + 'static,
    ) -> Result<Answer> {
        if self.rehearsal.is_some() {
            store.rehearse(self.now, change)
        } else {
            store.write_again(self.now, change)
        }
    }

    /// The line for the log; none of a rehearsal, which keeps it for who asked.
    fn unless_rehearsed(&self, line: Exchange) -> Option<Exchange> {
        let Some(place) = &self.rehearsal else {
            return Some(line);
        };
        // Empty until now: each call has one line.
        let _ = place.set(line);
        None
    }

    /// The same client's call of one operation within a bulk request. It begins now.
    pub(super) fn within(&self, method: &str, target: String, body: Vec<u8>) -> Call {
        Call {
            tenant: self.tenant,
            schemas: self.schemas.clone(),
            paused: self.paused,
            token: self.token,
            me: self.me.clone(),
            now: self.now,
            started: self.started + self.started.elapsed(),
            address: self.address.clone(),
            request_id: self.request_id.clone(),
            method: method.to_owned(),
            target,
            base: self.base.clone(),
            body,
            keep_bodies: self.keep_bodies,
            // The line of the whole is the one that a rehearsal is asked for.
            rehearsal: self.rehearsal.as_ref().map(|_| Arc::default()),
        }
    }

    fn exchange(&self, status: u16, action: String) -> Exchange {
        Exchange {
            tenant: self.tenant,
            token: self.token,
            at: self.now,
            address: self.address.clone(),
            request_id: self.request_id.clone(),
            method: self.method.clone(),
            target: self.target.clone(),
            action,
            subject: None,
            status,
            scim_type: None,
            detail: None,
            duration_us: i64::try_from(self.started.elapsed().as_micros()).unwrap_or(i64::MAX),
            ignored: vec![],
            request_body: None,
            response_body: None,
        }
    }

    fn request_body(&self) -> Option<String> {
        (!self.body.is_empty()).then(|| String::from_utf8_lossy(&self.body).into_owned())
    }
}

/// What a request came to: its answer, and what the log says about it.
#[derive(Debug)]
pub(super) struct Outcome {
    /// What the client gets.
    pub answer: Answer,
    /// What was done, in words.
    pub action: String,
    /// The id of the resource that it was done to.
    pub subject: Option<String>,
    /// What of the request was ignored.
    pub ignored: Vec<String>,
}

impl Outcome {
    fn exchange(&mut self, call: &Call) -> Exchange {
        let mut exchange = call.exchange(self.answer.status, self.action.clone());
        exchange.subject = self.subject.clone();
        exchange.ignored = self.ignored.clone();
        if call.keep_bodies {
            exchange.request_body = call.request_body();
            let text = self.answer.body.take().map(Body::text);
            exchange.response_body = text.as_ref().map(Text::to_string);
            self.answer.body = text.map(Body::Text);
        }
        exchange
    }

    /// Writes the log line in the transaction of the change itself.
    pub(super) fn recorded(mut self, tx: &Tx<'_>, call: &Call) -> Result<Answer> {
        if let Some(line) = call.unless_rehearsed(secrets::masked(self.exchange(call))) {
            exchanges::insert(tx, &line)?;
        }
        Ok(self.answer)
    }

    /// Hands the log line of a read to the writer's queue.
    pub(super) fn noted(mut self, store: &Store, call: &Call) -> Answer {
        if let Some(line) = call.unless_rehearsed(secrets::masked(self.exchange(call))) {
            store.record(line);
        }
        self.answer
    }
}

/// Runs `serve`; what it refuses has been rolled back by then, and is logged here, alone.
pub(super) fn refusing(
    store: &Store,
    call: &Call,
    serve: impl FnOnce() -> Result<Answer>,
) -> Result<Answer> {
    serve().inspect_err(|error| match error {
        Error::Scim(refusal) => record_refusal(store, call, refusal),
        Error::Internal { .. } => {
            let hidden = ScimError::internal(format!("request id {}", call.request_id));
            record_refusal(store, call, &hidden);
        }
    })
}

/// Logs a request that was refused, with its body: an administrator reads this to learn what to mend. At once, since some
/// are refused while they read.
pub fn record_refusal(store: &Store, call: &Call, refusal: &ScimError) {
    if let Some(line) = call.unless_rehearsed(refused(call, refusal)) {
        store.record_at_once(line);
    }
}

/// The same for a part of a request, in the transaction of the rest.
pub(super) fn record_refused_part(tx: &Tx<'_>, call: &Call, refusal: &ScimError) -> Result<()> {
    match call.unless_rehearsed(refused(call, refusal)) {
        Some(line) => exchanges::insert(tx, &line),
        None => Ok(()),
    }
}

fn refused(call: &Call, refusal: &ScimError) -> Exchange {
    let mut exchange = call.exchange(refusal.status(), words::refused(&call.method, &call.target));
    exchange.scim_type = refusal.scim_type().map(|scim_type| scim_type.as_str());
    exchange.detail = Some(refusal.detail().to_owned());
    exchange.request_body = call.request_body();
    exchange.response_body = Some(refusal.to_json().to_string());
    secrets::masked(exchange)
}
