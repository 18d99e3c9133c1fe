//! What a SCIM request does to a tenant: the only place where `scim` and `store` meet.
//!
//! Each function is one request. What can be done without the database (parsing, validation, the client's
//! dialect) is done first, on the caller's thread; what depends on stored state is one closure in the writer, so
//! that a PATCH is never read-modify-write across two transactions. A change, its events and its line in the
//! provisioning log are committed together; a refusal is rolled back and then logged alone.

mod exchange;
mod membership;
mod secrets;
mod words;

use std::sync::Arc;

use serde_json::Value;

use crate::error::{Error, Result};
use crate::manage::{archive, roles, sessions, undo};
use crate::scim::dialect::{self, Incoming};
use crate::scim::message::{self, Projection, SearchRequest};
use crate::scim::resource::{self, Document, Meta};
use crate::scim::schema::Kind;
use crate::scim::{ScimError, discovery, member, patch, project};
use crate::settings::ReturningTeam;
use crate::store::archive::Archived;
use crate::store::events::{self, Event};
use crate::store::resources::{self, Query, Stored};
use crate::store::{self, Snapshot, Store, TenantId, Tx, settings};

pub use exchange::{Call, record_refusal};
use exchange::{Outcome, refusing};
use membership::Delta;

/// What a request is answered with; `http` turns it into bytes.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// The body, where there is one.
    pub body: Option<Value>,
    /// The resource's entity tag (RFC 7644 §3.14).
    pub etag: Option<String>,
    /// The resource's URL, for `Location` (201) or `Content-Location`.
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
    refusing(store, &call.clone(), || {
        let Incoming {
            mut document,
            members,
            ignored,
            ..
        } = dialect::read_resource(message::parse_json(&call.body)?, kind.resource_type())?;
        if kind == Kind::User {
            // Said or not, a new user is active: clients that filter by it or read it back should see so.
            document.entry("active").or_insert(Value::Bool(true));
        }
        store.write(call.now, move |tx| {
            unique(tx, call.tenant, kind, &document, None)?;
            roles::check_role_name(tx, call.tenant, None, &document)?;
            let (stored, verb) = match returning(tx, &call, kind, &document)? {
                Some(archived) => {
                    let actor = call.actor();
                    let stored = archive::revive(tx, call.tenant, &actor, &archived, document)?;
                    (stored, "brought back")
                }
                None => (insert(tx, &call, kind, document)?, "created"),
            };
            // An empty list is what Entra and Okta send with every new group, before they add the members.
            let (stored, delta) = match members {
                Some(ids) if !ids.is_empty() => membership::replace(tx, &call, stored, &ids)?,
                _ => (stored, Delta::default()),
            };
            let answer = shown(tx, &call, 201, &stored, &projection)?;
            let action = words::creation(verb, &stored, &delta);
            Outcome {
                answer,
                action,
                subject: Some(stored.id),
                ignored,
            }
            .recorded(tx, &call)
        })
    })
}

/// Reads one resource (RFC 7644 §3.4.1); 304 where `if_none_match` names its version.
pub fn get(
    store: &Store,
    call: Arc<Call>,
    target: Target,
    projection: Projection,
    if_none_match: Option<&str>,
) -> Result<Answer> {
    refusing(store, &call, || {
        let outcome = store.read(|snapshot| {
            let stored = find(snapshot, call.tenant, &target)?;
            let action = format!("read {}", words::subject(&stored));
            let answer = if if_none_match.is_some_and(|tags| names_version(tags, stored.version)) {
                Answer {
                    status: 304,
                    etag: Some(resource::etag(stored.version)),
                    ..Answer::default()
                }
            } else {
                shown(snapshot, &call, 200, &stored, &projection)?
            };
            Ok(Outcome {
                answer,
                action,
                subject: Some(stored.id),
                ignored: vec![],
            })
        })?;
        Ok(outcome.noted(store, &call))
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
    refusing(store, &call.clone(), || {
        let Incoming {
            mut document,
            members,
            extension_role,
            ignored,
        } = dialect::read_resource(
            message::parse_json(&call.body)?,
            target.kind.resource_type(),
        )?;
        store.write(call.now, move |tx| {
            let before = find(tx, call.tenant, &target)?;
            matching(if_match.as_deref(), &before)?;
            keep_active(&mut document, &before);
            resource::take_extension_role(&mut document, &before.document, extension_role);
            let stored = store_changes(tx, &call, &before, document)?;
            let (stored, delta) = match members {
                Some(ids) => membership::replace(tx, &call, stored, &ids)?,
                None => (stored, Delta::default()),
            };
            let answer = shown(tx, &call, 200, &stored, &projection)?;
            let action = words::change(&before, &stored, &delta);
            Outcome {
                answer,
                action,
                subject: Some(stored.id),
                ignored,
            }
            .recorded(tx, &call)
        })
    })
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
    refusing(store, &call.clone(), || {
        let resource_type = target.kind.resource_type();
        let (operations, ignored) =
            dialect::read_patch(message::parse_json(&call.body)?, resource_type, &target.id)?;
        let (operations, members) = match target.kind {
            Kind::Group => member::split(operations)?,
            Kind::User => (operations, vec![]),
        };
        store.write(call.now, move |tx| {
            let before = find(tx, call.tenant, &target)?;
            matching(if_match.as_deref(), &before)?;
            let document = patch::apply(&before.document, &operations, resource_type)?;
            let stored = store_changes(tx, &call, &before, document)?;
            let (stored, delta) = membership::apply(tx, &call, stored, members)?;
            let answer = match target.kind {
                Kind::Group if projection == Projection::default() => Answer {
                    status: 204,
                    etag: Some(resource::etag(stored.version)),
                    ..Answer::default()
                },
                _ => shown(tx, &call, 200, &stored, &projection)?,
            };
            let action = words::change(&before, &stored, &delta);
            Outcome {
                answer,
                action,
                subject: Some(stored.id),
                ignored,
            }
            .recorded(tx, &call)
        })
    })
}

/// Deletes a resource (RFC 7644 §3.6): 404 from now on, its name free, out of every group. The archive keeps it for the
/// tenant's retention.
pub fn delete(
    store: &Store,
    call: Arc<Call>,
    target: Target,
    if_match: Option<String>,
) -> Result<Answer> {
    refusing(store, &call.clone(), || {
        store.write(call.now, move |tx| {
            let stored = find(tx, call.tenant, &target)?;
            matching(if_match.as_deref(), &stored)?;
            membership::leave(tx, &call, &stored)?;
            resources::delete(tx, call.tenant, &stored)?;
            if stored.kind == Kind::Group {
                let name = resource::name_of(&stored.document, Kind::Group.resource_type());
                roles::settle_team(tx, call.tenant, &call.actor(), &[name], &stored)?;
            }
            changed(
                tx,
                &call,
                words::deleted(stored.kind),
                &stored,
                Some(&stored.document),
                None,
            )?;
            archive::keep_or_purge(tx, call.tenant, &call.actor(), &stored)?;
            let answer = Answer {
                status: 204,
                ..Answer::default()
            };
            let action = format!("deleted {}", words::subject(&stored));
            Outcome {
                answer,
                action,
                subject: Some(stored.id),
                ignored: vec![],
            }
            .recorded(tx, &call)
        })
    })
}

/// Lists and filters (RFC 7644 §3.4.2, §3.4.3): `kinds` is one type, or both for a search at the root.
pub fn search(
    store: &Store,
    call: Arc<Call>,
    kinds: &[Kind],
    request: &SearchRequest,
) -> Result<Answer> {
    refusing(store, &call, || {
        let types: Vec<_> = kinds.iter().map(|kind| kind.resource_type()).collect();
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
        let query = Query {
            kinds,
            filter: request.filter.as_ref(),
            sort_by: request.sort_by.as_ref(),
            descending: request.descending,
            offset: request.start_index - 1,
            limit: request
                .count
                .unwrap_or(discovery::DEFAULT_COUNT)
                .min(discovery::MAX_RESULTS),
        };
        let outcome = store.read(|snapshot| {
            let page = resources::search(snapshot, call.tenant, &query)?;
            let list = page
                .resources
                .iter()
                .map(|stored| {
                    visible(snapshot, &call, stored, &request.projection).map(Value::Object)
                })
                .collect::<Result<Vec<_>>>()?;
            let action = words::search(kinds, request, page.total);
            let body = message::list_response(page.total, request.start_index, list);
            let answer = Answer {
                status: 200,
                body: Some(body),
                ..Answer::default()
            };
            Ok(Outcome {
                answer,
                action,
                subject: None,
                ignored: vec![],
            })
        })?;
        Ok(outcome.noted(store, &call))
    })
}

/// What a new resource brings back from the archive.
fn returning(
    tx: &Tx<'_>,
    call: &Call,
    kind: Kind,
    document: &Document,
) -> Result<Option<Archived>> {
    if kind == Kind::Group
        && settings::read(tx, call.tenant)?.returning_team == ReturningTeam::Fresh
    {
        return Ok(None);
    }
    store::archive::returning(tx, call.tenant, kind, document)
}

fn insert(tx: &Tx<'_>, call: &Call, kind: Kind, document: Document) -> Result<Stored> {
    let stored = resources::insert(tx, call.tenant, kind, document)?;
    changed(
        tx,
        call,
        words::created(kind),
        &stored,
        None,
        Some(&stored.document),
    )?;
    if kind == Kind::User {
        roles::settle(tx, call.tenant, &call.actor(), &stored)?;
    }
    Ok(stored)
}

fn find(snapshot: &Snapshot<'_>, tenant: TenantId, target: &Target) -> Result<Stored> {
    resources::get(snapshot, tenant, target.kind, &target.id)?.ok_or_else(|| {
        ScimError::not_found(format!(
            "there is no {} with id {:?}",
            target.kind.as_str(),
            target.id
        ))
        .into()
    })
}

/// A user's `active` stays as it is where a PUT doesn't say: clients that read, modify and write back may drop it.
fn keep_active(document: &mut Document, before: &Stored) {
    if let (Kind::User, None, Some(active)) = (
        before.kind,
        document.get("active"),
        before.document.get("active"),
    ) {
        document.insert("active".into(), active.clone());
    }
}

/// Refuses a name or `externalId` that another live resource of the type has.
fn unique(
    tx: &Tx<'_>,
    tenant: TenantId,
    kind: Kind,
    document: &Document,
    except: Option<i64>,
) -> Result<()> {
    match resources::taken(tx, tenant, kind, document, except)? {
        None => Ok(()),
        Some(attribute) => {
            let value = document
                .get(attribute)
                .and_then(Value::as_str)
                .unwrap_or_default();
            Err(ScimError::uniqueness(format!(
                "{attribute} {value:?} belongs to another {} already",
                kind.as_str()
            ))
            .into())
        }
    }
}

/// Refuses (412) where the client's `If-Match` names another version than the stored one (RFC 7644 §3.14).
fn matching(if_match: Option<&str>, stored: &Stored) -> Result<()> {
    match if_match {
        Some(tags) if !names_version(tags, stored.version) => Err(ScimError::precondition_failed(format!(
            "If-Match names {tags}, but the resource is at version {}: read it again before changing it",
            resource::etag(stored.version)
        ))
        .into()),
        _ => Ok(()),
    }
}

/// Whether a list of entity tags has `*` or the version's; weak comparison (RFC 9110 §8.8.3.2).
fn names_version(tags: &str, version: i64) -> bool {
    let opaque = |tag: &str| tag.trim().trim_start_matches("W/").to_owned();
    let wanted = opaque(&resource::etag(version));
    tags.split(',')
        .any(|tag| tag.trim() == "*" || opaque(tag) == wanted)
}

/// Writes `document` if it differs from what is stored, with its event.
fn store_changes(tx: &Tx<'_>, call: &Call, before: &Stored, document: Document) -> Result<Stored> {
    if document == before.document {
        return Ok(before.clone());
    }
    unique(tx, call.tenant, before.kind, &document, Some(before.row))?;
    roles::check_role_name(tx, call.tenant, Some(&before.document), &document)?;
    let after = resources::update(tx, call.tenant, before, document)?;
    let kind = words::changed(before, &after);
    changed(
        tx,
        call,
        kind,
        &after,
        Some(&before.document),
        Some(&after.document),
    )?;
    match after.kind {
        Kind::User => roles::settle(tx, call.tenant, &call.actor(), &after)?,
        Kind::Group => membership::renamed(tx, call, before, &after)?,
    }
    Ok(after)
}

/// Appends the event of one changed resource, and watches for unusually many removals.
fn changed(
    tx: &Tx<'_>,
    call: &Call,
    kind: &'static str,
    stored: &Stored,
    before: Option<&Document>,
    after: Option<&Document>,
) -> Result<()> {
    let (before, after) = (
        before.cloned().map(Value::Object),
        after.cloned().map(Value::Object),
    );
    let event = Event {
        actor: &call.actor(),
        kind,
        subject: &stored.id,
        object: None,
        before: before.as_ref(),
        after: after.as_ref(),
    };
    events::append(tx, call.tenant, &event)?;
    if ["user.deactivated", "user.deleted"].contains(&kind) {
        sessions::end_with(tx, call.tenant, &call.actor(), stored)?;
    }
    undo::watch(tx, call.tenant, &call.actor(), stored.kind, kind)
}

/// The answer that shows one resource.
fn shown(
    snapshot: &Snapshot<'_>,
    call: &Call,
    status: u16,
    stored: &Stored,
    projection: &Projection,
) -> Result<Answer> {
    Ok(Answer {
        status,
        body: Some(Value::Object(visible(snapshot, call, stored, projection)?)),
        etag: Some(resource::etag(stored.version)),
        location: Some(format!(
            "{}/{}/{}",
            call.base,
            stored.kind.endpoint(),
            stored.id
        )),
    })
}

/// A resource as a client sees it under `projection`.
fn visible(
    snapshot: &Snapshot<'_>,
    call: &Call,
    stored: &Stored,
    projection: &Projection,
) -> Result<Document> {
    let resource_type = stored.kind.resource_type();
    let membership = if project::shows(
        projection,
        stored.kind.membership_attribute(),
        resource_type,
    ) {
        Some(membership::values(snapshot, call, stored)?)
    } else {
        None
    };
    let meta = Meta {
        kind: stored.kind,
        id: &stored.id,
        created: stored.created,
        last_modified: stored.last_modified,
        version: stored.version,
        base: &call.base,
    };
    let resource = resource::assemble(stored.document.clone(), &meta, membership);
    Ok(project::project(resource, projection, resource_type))
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
