//! An answer's body, and how it becomes text.
//!
//! What a change shows is read inside the transaction and becomes text after that, on the thread of who asked: the writer has
//! better to do. What is only read becomes text as it is read, so that a Group's members, however many there are, are in memory
//! once.

use std::cell::Cell;
use std::sync::Arc;

use serde::{Serialize, Serializer};
use serde_json::Value;

use super::Call;
use crate::error::{Error, Result};
use crate::scim::declare::Schemas;
use crate::scim::member::Link;
use crate::scim::message::Projection;
use crate::scim::project;
use crate::scim::representation::{Links, Representation, Text};
use crate::scim::resource::{Content, Document, Meta, Outline};
use crate::scim::schema::Kind;
use crate::store::resources::Stored;
use crate::store::{Snapshot, teams};

/// What an answer says.
#[derive(Clone, Debug)]
pub enum Body {
    /// Any JSON.
    Json(Value),
    /// One resource.
    Resource(Box<Shown>),
    /// What is text already.
    Text(Text),
}

impl Body {
    /// The JSON text.
    pub fn text(self) -> Text {
        match self {
            Body::Json(value) => Text::of(&value),
            Body::Resource(shown) => Text::of(&shown),
            Body::Text(text) => text,
        }
    }
}

/// A resource with all that its representation is made of.
#[derive(Clone, Debug)]
pub struct Shown<D = Document> {
    stored: Stored<D>,
    /// The membership attribute, where it is shown and has a value.
    links: Option<Vec<Link>>,
    projection: Projection,
    schemas: Arc<Schemas>,
    base: String,
}

impl<D: Content> Shown<D> {
    /// Reads what `projection` shows of a resource beside what is stored of it.
    pub(super) fn read(
        snapshot: &Snapshot<'_>,
        call: &Call,
        stored: Stored<D>,
        projection: &Projection,
    ) -> Result<Shown<D>> {
        let links = match stored.kind {
            kind if !shows_links(call, kind, projection) => None,
            Kind::Group => Some(teams::members(snapshot, call.tenant, &stored)?),
            // Without a value it is left out, as `scim::resource::assemble` has it.
            Kind::User => Some(teams::all_groups_of(snapshot, call.tenant, &stored)?)
                .filter(|groups| !groups.is_empty()),
        };
        Ok(Shown::with(call, stored, projection, links))
    }

    /// What `projection` shows of a new resource, which is in no group yet and has no members.
    pub(super) fn new(call: &Call, stored: Stored<D>, projection: &Projection) -> Shown<D> {
        Shown::with(call, stored, projection, None)
    }

    /// What is stored of it.
    pub(super) fn stored(&self) -> &Stored<D> {
        &self.stored
    }

    fn with(
        call: &Call,
        stored: Stored<D>,
        projection: &Projection,
        links: Option<Vec<Link>>,
    ) -> Shown<D> {
        Shown {
            stored,
            links,
            projection: projection.clone(),
            schemas: call.schemas.clone(),
            base: call.base.clone(),
        }
    }

    fn write<S: Serializer>(
        &self,
        links: Option<Links<'_>>,
        serializer: S,
    ) -> std::result::Result<S::Ok, S::Error> {
        let stored = &self.stored;
        let meta = Meta {
            kind: stored.kind,
            id: &stored.id,
            created: stored.created,
            last_modified: stored.last_modified,
            version: stored.version,
            base: &self.base,
        };
        let representation = Representation {
            document: &stored.document,
            meta: &meta,
            links,
            projection: &self.projection,
            resource_type: self.schemas.of(stored.kind),
        };
        representation.serialize(serializer)
    }
}

impl<D: Content> Serialize for Shown<D> {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        match &self.links {
            Some(links) => self.write(Some(&|with| links.iter().for_each(with)), serializer),
            None => self.write(None, serializer),
        }
    }
}

fn shows_links(call: &Call, kind: Kind, projection: &Projection) -> bool {
    let name = kind.membership_attribute();
    project::shows(projection, name, call.schemas.of(kind))
}

/// Reads resources for an answer that is written meanwhile.
pub(super) struct Reader<'a> {
    snapshot: &'a Snapshot<'a>,
    call: &'a Call,
    projection: &'a Projection,
    /// Why something could not be read.
    failure: Cell<Option<Error>>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(
        snapshot: &'a Snapshot<'a>,
        call: &'a Call,
        projection: &'a Projection,
    ) -> Reader<'a> {
        Reader {
            snapshot,
            call,
            projection,
            failure: Cell::new(None),
        }
    }

    /// A resource as it is to be written.
    pub(super) fn shown(&'a self, stored: Stored<Outline<'a>>) -> Result<Read<'a>> {
        let (call, projection) = (self.call, self.projection);
        if stored.kind == Kind::Group && shows_links(call, stored.kind, projection) {
            return Ok(Read {
                shown: Shown::with(call, stored, projection, None),
                members: Some(self),
            });
        }
        Ok(Read {
            shown: Shown::read(self.snapshot, call, stored, projection)?,
            members: None,
        })
    }

    /// Writes what shows such resources.
    pub(super) fn body(&self, value: &impl Serialize) -> Result<Body> {
        let text = Text::of(value);
        match self.failure.take() {
            Some(failure) => Err(failure),
            None => Ok(Body::Text(text)),
        }
    }

    fn members(&self, group: &Stored<Outline<'_>>, with: &mut dyn FnMut(&Link)) {
        let (snapshot, tenant) = (self.snapshot, self.call.tenant);
        if let Err(failure) = teams::each_member(snapshot, tenant, group, |link| with(&link)) {
            self.failure.set(Some(failure));
        }
    }
}

/// A resource whose members are read when it is written.
pub(super) struct Read<'a> {
    shown: Shown<Outline<'a>>,
    /// Reads them, where they are shown.
    members: Option<&'a Reader<'a>>,
}

impl Serialize for Read<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        let shown = &self.shown;
        match self.members {
            Some(reader) => {
                let members: Links<'_> = &|with| reader.members(&shown.stored, with);
                shown.write(Some(members), serializer)
            }
            None => shown.serialize(serializer),
        }
    }
}
