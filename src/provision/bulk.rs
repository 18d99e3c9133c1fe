//! Bulk requests (RFC 7644 §3.7): many changes in one transaction, each of which may be refused alone.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;

use super::change::Change;
use super::exchange::{Outcome, record_refused_part, refusing};
use super::{Answer, Body, Call, Target, password, refusal, secrets, words};
use crate::error::{Error, Result};
use crate::scim::ScimError;
use crate::scim::bulk::{self, Action, BulkRequest, BulkResponse, Step};
use crate::scim::message::Projection;
use crate::scim::password::NewPassword;
use crate::scim::representation::Text;
use crate::scim::schema::Kind;
use crate::store::{Store, Tx};

/// Does what a bulk request asks for, all of it in one commit.
///
/// Each operation is refused alone and then leaves nothing behind; those that create resources which refer to each other
/// in a circle are done or refused together. Each has its own line in the log, and the request has one after them.
///
/// Errors: 400 for what is no bulk request, 413 for too many operations.
pub fn bulk(store: &Store, call: Arc<Call>) -> Result<Answer> {
    refusing(store, &call.clone(), || {
        let request = BulkRequest::read(&call.body)?;
        let steps = request.steps();
        let mut bulk = Bulk::new(request, call.clone());
        bulk.hash_passwords(store);
        call.clone().write(store, move |tx| {
            bulk.run(tx, &steps)?;
            bulk.outcome().recorded(tx, &call)
        })
    })
}

/// A bulk request on its way. The vectors have an element for each operation.
///
/// An operation is text until it is its turn: a thousand of them, read, would take ten megabytes.
struct Bulk {
    request: BulkRequest,
    call: Arc<Call>,
    /// The hashes of passwords, or why one is refused.
    passwords: Vec<Result<Option<NewPassword>>>,
    /// None for what was not tried.
    results: Vec<Option<Done>>,
}

/// What an operation came to.
enum Done {
    Made(Made),
    Refused(ScimError),
}

/// What the answer says of an operation that was done. It shows none of the resources.
#[derive(Clone)]
struct Made {
    id: String,
    status: u16,
    etag: Option<String>,
}

/// The ids that operations of a circle will have given when all of them are done.
type Promised = BTreeMap<usize, String>;

impl Bulk {
    fn new(request: BulkRequest, call: Arc<Call>) -> Bulk {
        let operations = request.operations.iter();
        Bulk {
            passwords: operations.clone().map(|_| Ok(None)).collect(),
            results: operations.map(|_| None).collect(),
            request,
            call,
        }
    }

    /// Hashes all passwords, for inside the transaction it would take too long. One that isn't good enough refuses its operation.
    fn hash_passwords(&mut self, store: &Store) {
        let (mut indexes, mut changes) = (vec![], vec![]);
        for (index, operation) in self.request.operations.iter().enumerate() {
            // Its text was written here, so no escapes spell the word. Why something can't be read is told when it is its turn.
            if secrets::speaks_of_password(&operation.data)
                && let Ok(action) = operation.action.clone()
                && action.kind() == Kind::User
                && let Ok(mut change) = read(&self.call, action, operation.body())
                && (change.password()).is_some_and(|(password, ..)| password.is_some())
            {
                indexes.push(index);
                changes.push(change);
            }
        }
        let hashed = password::hash_all(store, &self.call, changes.iter_mut().collect());
        for ((index, mut change), hashed) in indexes.into_iter().zip(changes).zip(hashed) {
            let password = change.password().and_then(|(password, ..)| password.take());
            self.passwords[index] = hashed.map(|()| password);
        }
    }

    fn run(&mut self, tx: &Tx<'_>, steps: &[Step]) -> Result<()> {
        let limit = self.request.fail_on_errors.unwrap_or(u64::MAX);
        let mut refused = 0;
        for step in steps {
            let made = tx.part(|tx| self.make(tx, step))?;
            let made = made.map_err(|error| refusal(error, &self.call.request_id));
            for (nth, &index) in step.operations.iter().enumerate() {
                self.results[index] = Some(match &made {
                    Ok(made) => Done::Made(made[nth].clone()),
                    Err(refusal) => {
                        refused += 1;
                        record_refused_part(tx, &self.call_of(index), refusal)?;
                        Done::Refused(refusal.clone())
                    }
                });
            }
            if refused >= limit {
                break;
            }
        }
        Ok(())
    }

    /// Does the operations of a step; what they came to is in their order.
    fn make(&mut self, tx: &Tx<'_>, step: &Step) -> Result<Vec<Made>> {
        if step.nests_itself {
            return Err(ScimError::conflict(format!(
                "a circle of references can't be resolved: the groups of {} would be in each other as members, and a \
                 group can't be in itself",
                self.named(step)
            ))
            .into());
        }
        let mut promised = Promised::new();
        if step.circular {
            for &index in &step.operations {
                let id = self.future_id(tx, index, &promised);
                promised.insert(
                    index,
                    id.map_err(|error| self.explained(error, index, step, &promised))?,
                );
            }
        }
        let mut made = vec![];
        for &index in &step.operations {
            let one = self.make_one(tx, index, &promised);
            made.push(one.map_err(|error| self.explained(error, index, step, &promised))?);
        }
        Ok(made)
    }

    fn make_one(&mut self, tx: &Tx<'_>, index: usize, promised: &Promised) -> Result<Made> {
        let call = self.call_of(index);
        let change = self.change(index, promised)?;
        let if_match = self.request.operations[index].version.as_deref();
        let outcome = change.perform(tx, &call, &Projection::default(), if_match)?;
        let id = outcome.subject.clone().unwrap_or_default();
        if promised.get(&index).is_some_and(|promised| *promised != id) {
            return Err(ScimError::conflict("an archived resource came back in its place").into());
        }
        let Answer { status, etag, .. } = outcome.recorded(tx, &call)?;
        Ok(Made { id, status, etag })
    }

    /// What an operation asks for, with ids in the place of references.
    fn change(&mut self, index: usize, promised: &Promised) -> Result<Change> {
        let password = std::mem::replace(&mut self.passwords[index], Ok(None))?;
        let operation = &self.request.operations[index];
        let id_of = |bulk_id: &str| self.id_of(bulk_id, promised);
        let (mut action, mut data) = (operation.action.clone()?, operation.body());
        if !operation.references.is_empty() {
            action = action.resolved(id_of)?;
            bulk::resolve(&mut data, &id_of)?;
        }
        let mut change = read(&self.call, action, data)?;
        if let Change::Create(creation) = &mut change {
            creation.id = promised.get(&index).cloned();
        }
        if let Some((place, ..)) = change.password() {
            *place = password;
        }
        Ok(change)
    }

    /// The operations of a step, as the client calls them.
    fn named(&self, step: &Step) -> String {
        let ids = step
            .operations
            .iter()
            .filter_map(|index| self.request.operations[*index].bulk_id.as_deref());
        ids.map(bulk::reference).collect::<Vec<_>>().join(", ")
    }

    fn future_id(&self, tx: &Tx<'_>, index: usize, promised: &Promised) -> Result<String> {
        let operation = &self.request.operations[index];
        // Its own references don't matter for that: what it brings back is found by name or externalId.
        let change = read(&self.call, operation.action.clone()?, operation.body())?;
        change.future_id(tx, &self.call, promised.values())
    }

    /// The id that a bulkId stands for.
    ///
    /// Errors: 400 where nothing or too much can be meant, 409 where what is meant was refused.
    fn id_of(&self, bulk_id: &str, promised: &Promised) -> std::result::Result<String, ScimError> {
        let creator = self.request.creator(bulk_id)?;
        if let Some(id) = promised.get(&creator) {
            return Ok(id.clone());
        }
        match &self.results[creator] {
            Some(Done::Made(made)) => Ok(made.id.clone()),
            _ => Err(ScimError::conflict(format!(
                "{} can't be resolved: operation {}, which was to create it, was refused",
                bulk::reference(bulk_id),
                creator + 1
            ))),
        }
    }

    /// Why a circle can't be resolved (§3.7.1): the refusal of the one operation becomes a 409 of all. Ids that nobody was
    /// told are named as the client knows them.
    fn explained(&self, error: Error, index: usize, step: &Step, promised: &Promised) -> Error {
        let Error::Scim(refusal) = error else {
            return error;
        };
        if step.operations.len() == 1 {
            return refusal.into();
        }
        let mut why = refusal.detail().to_owned();
        for (index, id) in promised {
            if let Some(bulk_id) = &self.request.operations[*index].bulk_id {
                why = why.replace(id, &bulk::reference(bulk_id));
            }
        }
        ScimError::conflict(format!(
            "a circle of references can't be resolved, because operation {} is refused: {why}",
            index + 1
        ))
        .into()
    }

    /// An operation as the log is to tell of it.
    fn call_of(&self, index: usize) -> Call {
        let operation = &self.request.operations[index];
        let root = self.call.target.split("/Bulk").next().unwrap_or_default();
        let path = operation.path.as_deref().unwrap_or_default();
        self.call.within(
            operation.method.as_deref().unwrap_or("-"),
            format!("{root}/{}", path.trim_start_matches('/')),
            operation.data.clone().into_bytes(),
        )
    }

    /// Where an operation's resource is, or should be; None for a POST that was refused.
    fn location(&self, index: usize) -> Option<String> {
        let operation = &self.request.operations[index];
        let base = &self.call.base;
        let url = |action: &Action, id: &str| format!("{base}/{}/{id}", action.kind().endpoint());
        if let (Some(Done::Made(made)), Ok(action)) = (&self.results[index], &operation.action) {
            return Some(url(action, &made.id));
        }
        if operation.method.as_deref() == Some("POST") {
            return None;
        }
        let action = operation.action.clone().ok().and_then(|action| {
            let id_of = |bulk_id: &str| self.id_of(bulk_id, &Promised::new());
            action.resolved(id_of).ok()
        });
        match action
            .as_ref()
            .and_then(|action| Some((action, action.id()?)))
        {
            Some((action, id)) => Some(url(action, id)),
            None => {
                let path = operation.path.as_deref()?;
                Some(format!("{base}/{}", path.trim_start_matches('/')))
            }
        }
    }

    fn outcome(&self) -> Outcome {
        let mut refused = 0;
        let mut operations = vec![];
        for (index, result) in self.results.iter().enumerate() {
            let operation = &self.request.operations[index];
            let location = self.location(index);
            operations.extend(result.as_ref().map(|done| match done {
                Done::Made(made) => {
                    operation.answer(made.status, location, made.etag.as_deref(), None)
                }
                Done::Refused(refusal) => {
                    refused += 1;
                    operation.answer(refusal.status(), location, None, Some(refusal))
                }
            }));
        }
        let (all, tried) = (self.results.len(), operations.len());
        Outcome {
            answer: Answer {
                status: 200,
                body: Some(Body::Text(Text::of(&BulkResponse::of(operations)))),
                ..Answer::default()
            },
            action: words::bulk(tried - refused, refused, all - tried),
            subject: None,
            ignored: vec![],
        }
    }
}

/// Reads what an operation asks for.
fn read(call: &Call, action: Action, data: Value) -> Result<Change> {
    let target = |kind, id| Target { kind, id };
    match action {
        Action::Create(kind) => Change::create(call, kind, data),
        Action::Replace(kind, id) => Change::replace(call, target(kind, id), data),
        Action::Patch(kind, id) => Change::patch(call, target(kind, id), data),
        Action::Delete(kind, id) => Ok(Change::Delete {
            target: target(kind, id),
        }),
    }
}
