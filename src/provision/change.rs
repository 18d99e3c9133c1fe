//! One change of a resource: read on the caller's thread, made inside a transaction.
//!
//! What can be said of a body by itself is said when it is read. Whatever depends on stored state (uniqueness, If-Match,
//! PATCH, membership) is decided by [`Change::perform`], so that a PATCH is never read-modify-write across two
//! transactions, and a bulk request makes many changes in one.

use serde_json::Value;

use super::body::Shown;
use super::exchange::Outcome;
use super::membership::{self, Delta};
use super::{Answer, Call, Target, find, me, names_version, password, shown, with_resource, words};
use crate::error::Result;
use crate::id;
use crate::manage::{archive, attributes, linking, roles, sessions, undo};
use crate::scim::dialect::{self, Incoming};
use crate::scim::member::{self, MemberChange};
use crate::scim::message::Projection;
use crate::scim::password::NewPassword;
use crate::scim::patch::{self, Operation};
use crate::scim::resource::{self, Document};
use crate::scim::schema::Kind;
use crate::scim::stored::{check_immutable, give_back, keep_immutable, parted, requested};
use crate::scim::{self, ScimError};
use crate::settings::ReturningTeam;
use crate::store::archive::Archived;
use crate::store::events::{self, Event};
use crate::store::resources::{self, New, Stored};
use crate::store::{self, Tx, removals, settings};

/// A change whose body is valid in itself.
#[derive(Debug)]
pub(super) enum Change {
    /// POST.
    Create(Creation),
    /// PUT.
    Replace { target: Target, incoming: Incoming },
    /// PATCH.
    Patch {
        target: Target,
        operations: Vec<Operation>,
        members: Vec<MemberChange>,
        password: Option<NewPassword>,
        ignored: Vec<String>,
    },
    /// DELETE.
    Delete { target: Target },
}

/// What a POST creates.
#[derive(Debug)]
pub(super) struct Creation {
    kind: Kind,
    new: New,
    /// What of it nobody else may have.
    names: Document,
    members: Option<Vec<String>>,
    password: Option<NewPassword>,
    ignored: Vec<String>,
    /// The id that [`Change::future_id`] has told; none: a fresh one.
    pub(super) id: Option<String>,
}

impl Change {
    /// Reads the body of a POST.
    pub(super) fn create(call: &Call, kind: Kind, body: Value) -> Result<Change> {
        let mut incoming = dialect::read_resource(body, call.schemas.of(kind))?;
        if kind == Kind::User {
            // Said or not, a new user is active: clients that filter by it or read it back should see so.
            let active = incoming.document.entry("active");
            active.or_insert(Value::Bool(true));
        }
        Ok(Change::Create(Creation {
            kind,
            names: names(&incoming.document, kind),
            new: New::of(incoming.document)?,
            members: incoming.members,
            password: incoming.password,
            ignored: incoming.ignored,
            id: None,
        }))
    }

    /// Reads the body of a PUT.
    pub(super) fn replace(call: &Call, target: Target, body: Value) -> Result<Change> {
        let incoming = dialect::read_resource(body, call.schemas.of(target.kind))?;
        Ok(Change::Replace { target, incoming })
    }

    /// Reads the body of a PATCH.
    pub(super) fn patch(call: &Call, target: Target, body: Value) -> Result<Change> {
        let resource_type = call.schemas.of(target.kind);
        let (operations, ignored) = dialect::read_patch(body, resource_type, &target.id)?;
        let (operations, members, password) = match target.kind {
            Kind::Group => {
                let (operations, members) = member::split(operations)?;
                (operations, members, None)
            }
            Kind::User => {
                let (operations, password) = scim::password::split(operations);
                (operations, vec![], password)
            }
        };
        Ok(Change::Patch {
            target,
            operations,
            members,
            password,
            ignored,
        })
    }

    /// Where the password is that it sets; of whom, if they are there already; and the document that comes with it.
    pub(super) fn password(
        &mut self,
    ) -> Option<(&mut Option<NewPassword>, Option<&Target>, Option<&Document>)> {
        match self {
            Change::Create(creation) => {
                Some((&mut creation.password, None, Some(&creation.new.document)))
            }
            Change::Replace { target, incoming } => Some((
                &mut incoming.password,
                Some(target),
                Some(&incoming.document),
            )),
            Change::Patch {
                target, password, ..
            } => Some((password, Some(target), None)),
            Change::Delete { .. } => None,
        }
    }

    /// The same change with this password in the place of the one that it sets.
    pub(super) fn with_password(mut self, hashed: Option<NewPassword>) -> Change {
        if let Some((password, ..)) = self.password() {
            *password = hashed;
        }
        self
    }

    /// Makes the change, with its events; the outcome is still to be recorded.
    pub(super) fn perform(
        self,
        tx: &Tx<'_>,
        call: &Call,
        projection: &Projection,
        if_match: Option<&str>,
    ) -> Result<Outcome> {
        let marked = removals::unusual_since(tx, call.tenant)?;
        let mut outcome = match self {
            // Which is no removal.
            Change::Create(creation) => return create(tx, call, creation, projection),
            Change::Replace { target, incoming } => {
                let before = find(tx, call.tenant, &target)?;
                matching(if_match, &before)?;
                replace(tx, call, &before, incoming, projection)
            }
            Change::Patch {
                target,
                operations,
                members,
                password,
                ignored,
            } => {
                let before = find(tx, call.tenant, &target)?;
                matching(if_match, &before)?;
                let resource_type = call.schemas.of(target.kind);
                let (known, withheld) = parted(&before.document, resource_type);
                let mut document = patch::apply(&known, &operations, resource_type)?;
                let kind = target.kind;
                let written = with_written(projection, call, kind, &document, Some(&operations));
                give_back(&mut document, withheld);
                let projections = (projection, &written);
                let changes = (document, members, password);
                let outcome = modify(tx, call, &before, changes, projections)?;
                Ok(Outcome { ignored, ..outcome })
            }
            Change::Delete { target } => {
                let stored = find(tx, call.tenant, &target)?;
                matching(if_match, &stored)?;
                me::check_deletion(call, &stored)?;
                delete(tx, call, stored)
            }
        }?;
        if removals::unusual_since(tx, call.tenant)? != marked {
            outcome
                .action
                .push_str("; removals are unusual by now, nothing is purged");
        }
        Ok(outcome)
    }

    /// The id that a POST's resource will have: an archived one's that it brings back, but none of `promised`, which
    /// others will bring back before it.
    pub(super) fn future_id<'p>(
        &self,
        tx: &Tx<'_>,
        call: &Call,
        mut promised: impl Iterator<Item = &'p String>,
    ) -> Result<String> {
        if let Change::Create(creation) = self
            && let Some(archived) = returning(tx, call, creation.kind, &creation.new.document)?
            && promised.all(|id| *id != archived.stored.id)
        {
            return Ok(archived.stored.id);
        }
        id::fresh(tx.now)
    }
}

fn create(
    tx: &Tx<'_>,
    call: &Call,
    creation: Creation,
    projection: &Projection,
) -> Result<Outcome> {
    let Creation {
        kind,
        new,
        names,
        members,
        mut password,
        ignored,
        id,
    } = creation;
    let document = &new.document;
    let projection = &with_written(projection, call, kind, document, None);
    // That a name is taken is said first. Who isn't refused costs no look-up for it: the index refuses what is taken.
    let told = |error| (unique(tx, call, kind, &names, None).err()).unwrap_or(error);
    roles::check_role_name(tx, call.tenant, None, document).map_err(told)?;
    let (stored, is_new) = match returning(tx, call, kind, document)? {
        Some(archived) => {
            unique(tx, call, kind, document, None)?;
            let actor = call.actor();
            let mut document = new.document;
            let (_, withheld) = parted(&archived.stored.document, call.schemas.of(kind));
            give_back(&mut document, withheld);
            let stored = archive::revive(tx, call.tenant, &actor, &archived, document)?;
            if kind == Kind::User {
                // The password that comes with them, and not the old one.
                password.get_or_insert(NewPassword::None);
            }
            (stored, false)
        }
        None => {
            let resource_type = call.schemas.of(kind);
            attributes::refuse_taken(tx, call.tenant, document, None, resource_type)
                .map_err(told)?;
            let inserted = insert(tx, call, kind, id, new).map_err(|error| {
                if resources::is_taken(&error) {
                    told(error)
                } else {
                    error
                }
            })?;
            (inserted, true)
        }
    };
    if let Some(password) = password {
        password::write(tx, call, &stored, &password)?;
    }
    // An empty list is what Entra and Okta send with every new group, before they add the members.
    let (stored, delta) = match members {
        Some(ids) if !ids.is_empty() => membership::replace(tx, call, stored, &ids)?,
        _ => (stored, Delta::default()),
    };
    let verb = if is_new { "created" } else { "brought back" };
    Ok(Outcome {
        action: words::creation(verb, &stored, &delta),
        subject: Some(stored.id.clone()),
        ignored,
        answer: if is_new && kind == Kind::User {
            with_resource(call, 201, Shown::new(call, stored, projection))
        } else {
            shown(tx, call, 201, stored, projection)?
        },
    })
}

fn replace(
    tx: &Tx<'_>,
    call: &Call,
    before: &Stored,
    incoming: Incoming,
    projection: &Projection,
) -> Result<Outcome> {
    let mut document = incoming.document;
    keep_active(&mut document, before);
    me::keep(call, &mut document, &before.document);
    let resource_type = call.schemas.of(before.kind);
    let (known, withheld) = parted(&before.document, resource_type);
    keep_immutable(&mut document, &known, resource_type);
    check_immutable(&known, &document, resource_type)?;
    give_back(&mut document, withheld);
    resource::take_extension_role(&mut document, &before.document, incoming.extension_role);
    let projection = &with_written(projection, call, before.kind, &document, None);
    let password = password::new(tx, call, before, incoming.password)?;
    let stored = store_changes(tx, call, before, document, password.as_ref())?;
    let (stored, delta) = match incoming.members {
        Some(ids) => membership::replace(tx, call, stored, &ids)?,
        None => (stored, Delta::default()),
    };
    Ok(Outcome {
        action: words::change(before, &stored, &delta, password.is_some()),
        subject: Some(stored.id.clone()),
        ignored: incoming.ignored,
        answer: shown(tx, call, 200, stored, projection)?,
    })
}

fn modify(
    tx: &Tx<'_>,
    call: &Call,
    before: &Stored,
    (document, members, password): (Document, Vec<MemberChange>, Option<NewPassword>),
    (projection, written): (&Projection, &Projection),
) -> Result<Outcome> {
    let password = password::new(tx, call, before, password)?;
    let stored = store_changes(tx, call, before, document, password.as_ref())?;
    let (stored, delta) = membership::apply(tx, call, stored, members)?;
    let action = words::change(before, &stored, &delta, password.is_some());
    let subject = Some(stored.id.clone());
    let answer = match stored.kind {
        Kind::Group if *projection == Projection::default() => Answer {
            status: 204,
            body: None,
            etag: Some(resource::etag(stored.version)),
            location: Some(super::location(call, &stored)),
        },
        _ => shown(tx, call, 200, stored, written)?,
    };
    Ok(Outcome {
        answer,
        action,
        subject,
        ignored: vec![],
    })
}

fn delete(tx: &Tx<'_>, call: &Call, stored: Stored) -> Result<Outcome> {
    membership::leave(tx, call, &stored)?;
    resources::delete(tx, call.tenant, &stored)?;
    if stored.kind == Kind::Group {
        roles::settle_team(tx, call.tenant, &call.actor(), &stored, None)?;
    }
    changed(
        tx,
        call,
        words::deleted(stored.kind),
        &stored,
        Some(&stored),
        None,
    )?;
    archive::keep_or_purge(tx, call.tenant, &call.actor(), &stored)?;
    Ok(Outcome {
        answer: Answer {
            status: 204,
            ..Answer::default()
        },
        action: format!("deleted {}", words::subject(&stored)),
        subject: Some(stored.id),
        ignored: vec![],
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

fn insert(tx: &Tx<'_>, call: &Call, kind: Kind, id: Option<String>, new: New) -> Result<Stored> {
    let id = id.map_or_else(|| id::fresh(tx.now), Ok)?;
    if kind == Kind::User {
        return roles::insert_user(tx, call.tenant, &call.actor(), id, new);
    }
    let stored = resources::insert_as(tx, call.tenant, kind, id, None, new)?;
    changed(tx, call, "team.created", &stored, None, Some(&stored))?;
    Ok(stored)
}

/// `projection`, under which an answer also shows what the request has written of that which is returned on request.
fn with_written(
    projection: &Projection,
    call: &Call,
    kind: Kind,
    document: &Document,
    operations: Option<&[Operation]>,
) -> Projection {
    Projection {
        written: requested(document, operations, call.schemas.of(kind)),
        ..projection.clone()
    }
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

/// What of `document` nobody else may have.
fn names(document: &Document, kind: Kind) -> Document {
    [kind.name_attribute(), "externalId"]
        .into_iter()
        .filter_map(|name| Some((name.to_owned(), document.get(name)?.clone())))
        .collect()
}

/// Refuses a name, an `externalId` or a value of a unique attribute that another live resource of the type has.
fn unique(
    tx: &Tx<'_>,
    call: &Call,
    kind: Kind,
    document: &Document,
    before: Option<&Stored>,
) -> Result<()> {
    let had = before.map(|stored| &stored.document);
    match resources::taken(tx, call.tenant, kind, document, had)? {
        None => {
            let before = before.map(|stored| (stored.row, &stored.document));
            let resource_type = call.schemas.of(kind);
            attributes::refuse_taken(tx, call.tenant, document, before, resource_type)
        }
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

/// Writes `document` if it differs from what is stored, and `password`, which does; each with its event.
fn store_changes(
    tx: &Tx<'_>,
    call: &Call,
    before: &Stored,
    document: Document,
    password: Option<&NewPassword>,
) -> Result<Stored> {
    me::check(call, &before.document, &document)?;
    if let Some(password) = password {
        password::write(tx, call, before, password)?;
    }
    if document == before.document {
        return match password {
            // The resource is another version without a word of it in the document.
            Some(_) => resources::update(tx, call.tenant, before, document),
            None => Ok(before.clone()),
        };
    }
    unique(tx, call, before.kind, &document, Some(before))?;
    roles::check_role_name(tx, call.tenant, Some(&before.document), &document)?;
    let after = resources::update(tx, call.tenant, before, document)?;
    let kind = words::changed(before, &after);
    changed(tx, call, kind, &after, Some(before), Some(&after))?;
    match after.kind {
        Kind::User => {
            let said = |side: &Stored| store::roles::said(&side.document, vec![]);
            if said(before) != said(&after) {
                roles::settle(tx, call.tenant, &call.actor(), &after)?;
            }
            let [now, then] = [&after, before].map(|side| resources::external_id(&side.document));
            if now != then {
                linking::moved(tx, call.tenant, &after)?;
            }
        }
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
    before: Option<&Stored>,
    after: Option<&Stored>,
) -> Result<()> {
    let event = Event {
        actor: &call.actor(),
        kind,
        subject: &stored.id,
        object: None,
        before,
        after,
    };
    events::append_document(tx, call.tenant, &event)?;
    if ["user.deactivated", "user.deleted"].contains(&kind) {
        sessions::end_with(tx, call.tenant, &call.actor(), stored)?;
    }
    let unusual = undo::watch(tx, call.tenant, &call.actor(), stored.kind, kind)?;
    if let Some(words) = unusual.filter(|_| call.rehearsal.is_none()) {
        log::warn!("{words}");
    }
    Ok(())
}
