//! The attributes that a tenant adds to the schemas of users and groups.
//!
//! A removed attribute is out of the schemas at once, while documents keep its values for the tenant's retention: who declares
//! it again until then finds them again.

use serde_json::json;

use super::archive::ROLLCALL;
use crate::error::Result;
use crate::scim::ScimError;
use crate::scim::declare::{Declaration, Schemas};
use crate::scim::path::AttrPath;
use crate::scim::resource::Document;
use crate::scim::schema::{Kind, ResourceType};
use crate::store::events::{self, Event};
use crate::store::{Snapshot, TenantId, Tx, attributes, removals, settings};

/// An attribute that was declared, and what that means for who is there already.
#[derive(Clone, Debug)]
pub struct Declared {
    /// As it is kept.
    pub declaration: Declaration,
    /// How many live resources have a value that is none of the declared type: kept, and not shown.
    pub misfits: u64,
}

/// All of a tenant that are in its schemas, those first that every tenant has.
pub fn list(snapshot: &Snapshot<'_>, tenant: TenantId) -> Result<Vec<Declaration>> {
    let schemas = attributes::schemas(snapshot, tenant)?;
    Ok(Schemas::built_in_declarations()
        .iter()
        .chain(schemas.own.iter().filter(|own| own.removed.is_none()))
        .cloned()
        .collect())
}

/// Declares an attribute: from now on it validates, filters, sorts, patches, and is in `/Schemas`.
///
/// What is stored already stays. Where it has values of that name (of an extension that had no schema, or from before the
/// attribute was removed), those that suit the declaration are its values, and the others are withheld.
///
/// Errors: 400 for what can't be declared, 409 where the name is taken.
pub fn declare(
    tx: &Tx<'_>,
    tenant: TenantId,
    actor: &str,
    wanted: Declaration,
) -> Result<Declared> {
    let mut own = attributes::schemas(tx, tenant)?.own.clone();
    // What is declared anew takes the place of what was removed.
    own.retain(|old| old.removed.is_none() || !old.is_same(&wanted));
    let mut declaration = wanted.checked(&own)?;
    declaration.removed = None;
    // An extension is spelled as in its first declaration.
    let extension = own
        .iter()
        .find(|old| old.schema.eq_ignore_ascii_case(&declaration.schema));
    if let Some(old) = extension {
        declaration.schema = old.schema.clone();
    }
    own.push(declaration.clone());
    attributes::write(tx, tenant, &own)?;
    let misfits = attributes::adopt(tx, tenant, &declaration)?;
    noted(
        tx,
        tenant,
        actor,
        "attribute.declared",
        None,
        Some(&declaration),
    )?;
    Ok(Declared {
        declaration,
        misfits,
    })
}

/// Takes an attribute out of the schemas.
///
/// Errors: 404 for what isn't declared, 400 for what every tenant has.
pub fn remove(
    tx: &Tx<'_>,
    tenant: TenantId,
    actor: &str,
    kind: Kind,
    path: &str,
) -> Result<Declaration> {
    let (mut own, at) = find(tx, tenant, kind, path)?;
    let declaration = own[at].clone();
    attributes::leave_index(tx, tenant, &declaration)?;
    own[at].removed = Some(tx.now.as_millisecond());
    attributes::write(tx, tenant, &own)?;
    noted(
        tx,
        tenant,
        actor,
        "attribute.removed",
        Some(&declaration),
        None,
    )?;
    Ok(declaration)
}

/// Says whether clients find resources by an attribute. What is stored already is put into the index, or taken out.
///
/// Errors: 404 for what isn't declared, 400 for what every tenant has, or whose type can't be found by an index.
pub fn set_matching(
    tx: &Tx<'_>,
    tenant: TenantId,
    actor: &str,
    (kind, path): (Kind, &str),
    matching: bool,
) -> Result<Declaration> {
    let (mut own, at) = find(tx, tenant, kind, path)?;
    let before = own.remove(at);
    let after = Declaration {
        matching,
        ..before.clone()
    }
    .checked(&own)?;
    if before == after {
        return Ok(after);
    }
    own.insert(at, after.clone());
    attributes::write(tx, tenant, &own)?;
    attributes::adopt(tx, tenant, &after)?;
    noted(
        tx,
        tenant,
        actor,
        "attribute.changed",
        Some(&before),
        Some(&after),
    )?;
    Ok(after)
}

/// The tenant's declarations, and the place of one among them.
fn find(
    tx: &Tx<'_>,
    tenant: TenantId,
    kind: Kind,
    path: &str,
) -> Result<(Vec<Declaration>, usize)> {
    let own = attributes::schemas(tx, tenant)?.own.clone();
    let names = |declaration: &Declaration| {
        let AttrPath { urn, name, .. } = declaration.path();
        let urn = urn.unwrap_or_else(|| declaration.schema.clone());
        declaration.resource_type == kind
            && (path.eq_ignore_ascii_case(&format!("{urn}:{name}"))
                || path.eq_ignore_ascii_case(&declaration.path().to_string()))
    };
    if let Some(at) = own.iter().position(|it| it.removed.is_none() && names(it)) {
        return Ok((own, at));
    }
    if Schemas::built_in_declarations().iter().any(names) {
        return Err(ScimError::invalid_value(format!(
            "{path} is built in: roles are decided by it, so it stays as it is"
        ))
        .into());
    }
    Err(ScimError::not_found(format!(
        "a {} has no attribute {path:?} of the tenant's own; `rollcall attribute list` shows them",
        kind.as_str()
    ))
    .into())
}

/// Refuses a value of a unique attribute that another live resource of the type has. What `before`, the row and document as
/// they are stored, has too stays: it may be older than the declaration.
///
/// Errors: 409 `uniqueness` that names the attribute.
pub fn refuse_taken(
    snapshot: &Snapshot<'_>,
    tenant: TenantId,
    document: &Document,
    before: Option<(i64, &Document)>,
    resource_type: &ResourceType,
) -> Result<()> {
    match attributes::taken(snapshot, tenant, document, before, resource_type)? {
        None => Ok(()),
        Some((attribute, value)) => Err(ScimError::uniqueness(format!(
            "{attribute} {value:?} belongs to another {} already",
            resource_type.kind.as_str()
        ))
        .into()),
    }
}

/// Removes for good the values of attributes that were removed for the tenant's retention, of up to `limit` resources; tells
/// of how many. An attribute of which no value is left is forgotten. None while removals are unusual.
pub fn purge_due(tx: &Tx<'_>, tenant: TenantId, limit: usize) -> Result<usize> {
    let own = attributes::schemas(tx, tenant)?.own.clone();
    if own.iter().all(|it| it.removed.is_none()) || removals::unusual_since(tx, tenant)?.is_some() {
        return Ok(0);
    }
    let days = i64::from(settings::read(tx, tenant)?.retention_days);
    let latest = tx.now.as_millisecond() - days * 24 * 60 * 60 * 1000;
    let is_due = |it: &&Declaration| it.removed.is_some_and(|at| at <= latest);
    let Some(due) = own.iter().find(is_due) else {
        return Ok(0);
    };
    let purged = attributes::forget(tx, tenant, due, limit)?;
    if purged < limit {
        let left: Vec<Declaration> = own.iter().filter(|it| *it != due).cloned().collect();
        attributes::write(tx, tenant, &left)?;
        noted(tx, tenant, ROLLCALL, "attribute.purged", Some(due), None)?;
        // There may be more that are due.
        return Ok(limit);
    }
    Ok(purged)
}

fn noted(
    tx: &Tx<'_>,
    tenant: TenantId,
    actor: &str,
    kind: &'static str,
    before: Option<&Declaration>,
    after: Option<&Declaration>,
) -> Result<()> {
    let subject = before.or(after).map(|it| it.path().to_string());
    let [before, after] = [before, after].map(|side| side.map(|side| json!(side)));
    let event = Event {
        actor,
        kind,
        subject: &subject.unwrap_or_default(),
        object: None,
        before: before.as_ref(),
        after: after.as_ref(),
    };
    events::append(tx, tenant, &event)?;
    Ok(())
}
