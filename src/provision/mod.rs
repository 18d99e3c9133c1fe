//! What a SCIM request does to a tenant: the only place where `scim` and `store` meet.
//!
//! Each function here is one request. What can be done without the database (parsing, validation, the client's
//! dialect) is done first, on the caller's thread (but for the operations of a bulk request, which wait for their turn as
//! text); what depends on stored state is one closure in the writer, so
//! that a PATCH is never read-modify-write across two transactions. A change, its events and its line in the
//! provisioning log are committed together; a refusal is rolled back and then logged alone.

mod body;
mod bulk;
mod change;
mod cursor;
mod exchange;
mod me;
mod membership;
mod password;
mod secrets;
mod words;

use std::sync::Arc;

use crate::error::{Error, Result};
use crate::scim::message::{self, ListResponse, Projection, SearchRequest};
use crate::scim::path::AttrPath;
use crate::scim::resource::{self, FromText};
use crate::scim::schema::Kind;
use crate::scim::{ScimError, discovery};
use crate::store::place::Start;
use crate::store::resources::{self, Page, Query, Stored};
use crate::store::{Reading, Snapshot, Store, TenantId};

pub use body::Body;
use body::{Reader, Shown};
pub use bulk::bulk;
use change::Change;
use cursor::Cursors;
pub use exchange::{Call, record_refusal};
use exchange::{Outcome, refusing};
pub use me::Me;
pub use secrets::lost;

/// What a request is answered with; `http` turns it into bytes.
#[derive(Clone, Debug, Default)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// The body, where there is one.
    pub body: Option<Body>,
    /// The resource's entity tag (RFC 7644 §3.14).
    pub etag: Option<String>,
    /// The resource's URL, for `Location` and `Content-Location`.
    pub location: Option<String>,
}

/// Which resource a request is about.
#[derive(Clone, Debug)]
pub struct Target {
    /// Its type.
    pub kind: Kind,
    /// Its id, as the client wrote it.
    pub id: String,
}

impl Target {
    /// The one with this id.
    pub fn of(kind: Kind, id: &str) -> Target {
        let id = id.to_owned();
        Target { kind, id }
    }
}

/// Creates a resource (RFC 7644 §3.3) from the request's body.
///
/// One that was deleted comes back where the new one has its `externalId` or name: the id is the same, and so are the
/// memberships. A client that takes somebody out of scope and back again thus undoes what it did. A returning group
/// keeps its members, too, unless the body names others.
///
/// Errors: 400 for a body that is no valid resource, 409 `uniqueness` for a name or `externalId` that is taken.
pub fn create(
    store: &Store,
    call: Arc<Call>,
    kind: Kind,
    projection: Projection,
) -> Result<Answer> {
    let read = move |call: &Call| Change::create(call, kind, message::parse_json(&call.body)?);
    change(store, call, read, projection, None)
}

/// Reads one resource (RFC 7644 §3.4.1); 304 where `if_none_match` names its version.
pub fn get(
    store: &Store,
    reading: Reading<'_>,
    call: &Call,
    target: Target,
    projection: Projection,
    if_none_match: Option<&str>,
) -> Result<Answer> {
    refusing(store, call, || {
        let outcome = reading.read(|snapshot| {
            let stored: Stored<String> = find(snapshot, call.tenant, &target)?;
            let stored = stored.outline()?;
            let action = format!("read {}", words::subject(&stored));
            let subject = Some(stored.id.clone());
            let mut answer = Answer {
                status: 304,
                body: None,
                etag: Some(resource::etag(stored.version)),
                location: Some(location(call, &stored)),
            };
            if !if_none_match.is_some_and(|tags| names_version(tags, stored.version)) {
                let reader = Reader::new(snapshot, call, &projection);
                answer.status = 200;
                answer.body = Some(reader.body(&reader.shown(stored)?)?);
            }
            Ok(Outcome {
                answer,
                action,
                subject,
                ignored: vec![],
            })
        })?;
        drop(reading);
        Ok(outcome.noted(store, call))
    })
}

/// Replaces a resource (RFC 7644 §3.5.1).
///
/// What the body leaves out is cleared, with two exceptions that the RFC leaves to us ("not asserted by the
/// client"): a user's `active`, since clients that read, modify and write back drop it, and a group's `members`,
/// since authentik replaces a group's name without them.
pub fn replace(
    store: &Store,
    call: Arc<Call>,
    target: Target,
    projection: Projection,
    if_match: Option<String>,
) -> Result<Answer> {
    let read =
        move |call: &Call| Change::replace(call, target.clone(), message::parse_json(&call.body)?);
    change(store, call, read, projection, if_match)
}

/// Modifies a resource (RFC 7644 §3.5.2), all operations or none.
///
/// Answers 200 with a User; 204 with nothing for a Group, whose members may be many, unless `projection` asks for
/// attributes.
pub fn patch(
    store: &Store,
    call: Arc<Call>,
    target: Target,
    projection: Projection,
    if_match: Option<String>,
) -> Result<Answer> {
    let read =
        move |call: &Call| Change::patch(call, target.clone(), message::parse_json(&call.body)?);
    change(store, call, read, projection, if_match)
}

/// Deletes a resource (RFC 7644 §3.6): 404 from now on, its name free, out of every group. The archive keeps it for the
/// tenant's retention.
pub fn delete(
    store: &Store,
    call: Arc<Call>,
    target: Target,
    if_match: Option<String>,
) -> Result<Answer> {
    let read = move |_: &Call| {
        let target = target.clone();
        Ok(Change::Delete { target })
    };
    change(store, call, read, Projection::default(), if_match)
}

/// One change as a transaction of its own.
fn change(
    store: &Store,
    call: Arc<Call>,
    read: impl Fn(&Call) -> Result<Change> + Send + 'static,
    projection: Projection,
    if_match: Option<String>,
) -> Result<Answer> {
    refusing(store, &call.clone(), || {
        let mut change = read(&call)?;
        password::hash(store, &call, &mut change)?;
        let hashed = change
            .password()
            .and_then(|(password, ..)| password.clone());
        let mut first = Some(change);
        call.clone().write_again(store, move |tx| {
            // Where it is made again it is read again: that is rare, and to keep a copy of each for it would not be.
            let change = match first.take() {
                Some(change) => change,
                None => read(&call)?.with_password(hashed.clone()),
            };
            change
                .perform(tx, &call, &projection, if_match.as_deref())?
                .recorded(tx, &call)
        })
    })
}

/// Lists and filters (RFC 7644 §3.4.2, §3.4.3), page by page, by index or by cursor (RFC 9865): `kinds` is one type, or
/// both for a search at the root.
pub fn search(
    store: &Store,
    reading: Reading<'_>,
    call: &Call,
    kinds: &[Kind],
    request: &SearchRequest,
) -> Result<Answer> {
    refusing(store, call, || {
        check(call, kinds, request)?;
        let outcome = reading.read(|snapshot| {
            let cursors = Cursors::of(snapshot, call, kinds, request)?;
            let query = Query {
                kinds,
                filter: request.filter.as_ref(),
                sort_by: request.sort_by.as_ref(),
                descending: request.descending,
                start: match &cursors {
                    Some(cursors) => cursors.start()?,
                    None => Start::Offset(request.start_index.unwrap_or(1) - 1),
                },
                limit: page_size(request),
            };
            let page = resources::search(snapshot, call.tenant, &query)?;
            let action = words::search(kinds, request, page.total);
            let body = listed(snapshot, call, request, page, cursors)?;
            Ok(Outcome {
                answer: Answer {
                    status: 200,
                    body: Some(body),
                    ..Answer::default()
                },
                action,
                subject: None,
                ignored: vec![],
            })
        })?;
        drop(reading);
        Ok(outcome.noted(store, call))
    })
}

/// Refuses what can't be searched for or sorted by, and a size of pages that there isn't.
fn check(call: &Call, kinds: &[Kind], request: &SearchRequest) -> Result<()> {
    let types: Vec<_> = kinds.iter().map(|kind| call.schemas.of(*kind)).collect();
    if let Some(filter) = &request.filter {
        filter.check(&types)?;
    }
    if let Some(path) = &request.sort_by
        && types.iter().all(|resource_type| {
            resource_type
                .resolve(path)
                .and_then(|it| it.compared())
                .is_none()
        })
    {
        return Err(ScimError::invalid_path(format!(
            "sortBy: {path} is no attribute that has a value to sort by"
        ))
        .into());
    }
    let is_secret = |path: &AttrPath| {
        (types.iter().filter_map(|it| it.resolve(path))).any(|it| it.is_never_returned())
    };
    if let Some(path) = request.sort_by.as_ref().filter(|path| is_secret(path)) {
        // The order would tell of it.
        return Err(ScimError::invalid_path(format!(
            "sortBy: {path} is never returned, so nothing can be sorted by it"
        ))
        .into());
    }
    // RFC 9865 §2.1, table 3. By index, a page is just smaller than what was asked for (RFC 7644 §3.4.2.4).
    if request.cursor.is_some()
        && let Some(count) = request.count
        && count > discovery::MAX_RESULTS
    {
        return Err(ScimError::invalid_count(format!(
            "count is {count}, and a page has at most {}",
            discovery::MAX_RESULTS
        ))
        .into());
    }
    Ok(())
}

/// Most resources on a page of this search.
fn page_size(request: &SearchRequest) -> u64 {
    request
        .count
        .unwrap_or(discovery::DEFAULT_COUNT)
        .min(discovery::MAX_RESULTS)
}

/// The ListResponse of a page.
fn listed(
    snapshot: &Snapshot<'_>,
    call: &Call,
    request: &SearchRequest,
    page: Page<String>,
    cursors: Option<Cursors>,
) -> Result<Body> {
    let reader = Reader::new(snapshot, call, &request.projection);
    let outlines = page.resources.iter().map(Stored::outline);
    let shown = |stored: Result<_>| reader.shown(stored?);
    let resources = outlines.map(shown).collect::<Result<Vec<_>>>()?;
    let Some(cursors) = cursors else {
        let start_index = request.start_index.unwrap_or(1);
        return reader.body(&ListResponse::at(start_index, page.total, resources));
    };
    let cursor = |start: &Option<Start>| start.as_ref().map(|it| cursors.cursor(it)).transpose();
    let beside = (cursor(&page.next)?, cursor(&page.previous)?);
    reader.body(&ListResponse::between(beside, page.total, resources))
}

fn find<D: FromText>(
    snapshot: &Snapshot<'_>,
    tenant: TenantId,
    target: &Target,
) -> Result<Stored<D>> {
    resources::by_id(snapshot, tenant, target.kind, &target.id)?.ok_or_else(|| {
        ScimError::not_found(format!(
            "there is no {} with id {:?}",
            target.kind.as_str(),
            target.id
        ))
        .into()
    })
}

/// Whether a list of entity tags has `*` or the version's; weak comparison (RFC 9110 §8.8.3.2).
fn names_version(tags: &str, version: i64) -> bool {
    let opaque = |tag: &str| tag.trim().trim_start_matches("W/").to_owned();
    let wanted = opaque(&resource::etag(version));
    tags.split(',')
        .any(|tag| tag.trim() == "*" || opaque(tag) == wanted)
}

/// The answer that shows one resource.
fn shown(
    snapshot: &Snapshot<'_>,
    call: &Call,
    status: u16,
    stored: Stored,
    projection: &Projection,
) -> Result<Answer> {
    let shown = Shown::read(snapshot, call, stored, projection)?;
    Ok(with_resource(call, status, shown))
}

fn with_resource(call: &Call, status: u16, shown: Shown) -> Answer {
    Answer {
        status,
        etag: Some(resource::etag(shown.stored().version)),
        location: Some(location(call, shown.stored())),
        body: Some(Body::Resource(Box::new(shown))),
    }
}

/// A resource's URL.
fn location<D>(call: &Call, stored: &Stored<D>) -> String {
    format!("{}/{}/{}", call.base, stored.kind.endpoint(), stored.id)
}

/// The refusal that an error is shown as; what was our fault is logged in full and named by its request id only.
pub fn refusal(error: Error, request_id: &str) -> ScimError {
    match error {
        Error::Scim(refusal) => refusal,
        Error::Internal { doing, source } => {
            log::error!("{request_id}: {doing}: {source}");
            ScimError::internal(format!(
                "rollcall failed to answer; its own log has the reason under request id {request_id}"
            ))
        }
    }
}
