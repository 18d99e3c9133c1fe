//! An answer's body before it is text.
//!
//! What it shows is read inside the transaction. It becomes text after that, on the thread of who asked: the writer has
//! better to do, and a snapshot that ends early holds no WAL back.

use std::sync::Arc;

use serde::{Serialize, Serializer};
use serde_json::Value;

use super::Call;
use crate::error::Result;
use crate::scim::declare::Schemas;
use crate::scim::member::Link;
use crate::scim::message::{ListResponse, Projection};
use crate::scim::project;
use crate::scim::representation::{Representation, text};
use crate::scim::resource::Meta;
use crate::scim::schema::Kind;
use crate::store::resources::Stored;
use crate::store::{Snapshot, teams};

/// What an answer says.
#[derive(Clone, Debug)]
pub enum Body {
    /// Neither of the others.
    Json(Value),
    /// One resource.
    Resource(Box<Shown>),
    /// A page of a search.
    Page(Box<ListResponse<Shown>>),
}

impl Body {
    /// The JSON text.
    pub fn text(&self) -> String {
        match self {
            Body::Json(value) => value.to_string(),
            Body::Resource(shown) => text(shown),
            Body::Page(page) => text(page),
        }
    }
}

/// A resource with all that its representation is made of.
#[derive(Clone, Debug)]
pub struct Shown {
    stored: Stored,
    links: Option<Vec<Link>>,
    projection: Projection,
    schemas: Arc<Schemas>,
    base: String,
}

impl Shown {
    /// Reads what `projection` shows of a resource beside what is stored of it.
    pub(super) fn read(
        snapshot: &Snapshot<'_>,
        call: &Call,
        stored: Stored,
        projection: &Projection,
    ) -> Result<Shown> {
        let name = stored.kind.membership_attribute();
        let links = if project::shows(projection, name, call.schemas.of(stored.kind)) {
            Some(match stored.kind {
                Kind::Group => teams::members(snapshot, call.tenant, &stored)?,
                Kind::User => teams::all_groups_of(snapshot, call.tenant, &stored)?,
            })
        } else {
            None
        };
        Ok(Shown {
            stored,
            links,
            projection: projection.clone(),
            schemas: call.schemas.clone(),
            base: call.base.clone(),
        })
    }
}

impl Serialize for Shown {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
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
            links: self.links.as_deref(),
            projection: &self.projection,
            resource_type: self.schemas.of(stored.kind),
        };
        representation.serialize(serializer)
    }
}
