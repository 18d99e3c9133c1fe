//! The tenant's own attributes on the page of provisioning: declare a simple one, make it matching, remove it.

use minijinja::context;
use minijinja::value::Value;
use serde_json::json;

use super::Visit;
use crate::error::Result;
use crate::http::request::Response;
use crate::manage::attributes::{self, Declared};
use crate::scim::ScimError;
use crate::scim::declare::Declaration;
use crate::scim::schema::{Kind, Type};
use crate::store::{Snapshot, TenantId};

const HERE: &str = "/settings/provisioning";

/// The types that the form offers, each with its words; a complex attribute takes a file and the command line.
const TYPES: [(&str, &str); 7] = [
    ("string", "text"),
    ("boolean", "yes or no"),
    ("integer", "whole number"),
    ("decimal", "number"),
    ("dateTime", "date and time"),
    ("reference", "address of something (URI)"),
    ("binary", "binary (base64)"),
];

/// What the page needs: rows of attributes, and the types for the form.
pub(super) fn context(snapshot: &Snapshot<'_>, tenant: TenantId) -> Result<Value> {
    let rows: Vec<Value> = attributes::list(snapshot, tenant)?
        .iter()
        .map(row)
        .collect();
    let types: Vec<Value> = TYPES
        .iter()
        .map(|(name, words)| context! { name => *name, words => *words })
        .collect();
    Ok(context! { rows, types })
}

fn row(declaration: &Declaration) -> Value {
    let attribute = json!(declaration.attribute);
    let data_type = attribute["type"].as_str().unwrap_or_default();
    let words = TYPES
        .iter()
        .find(|(name, _)| *name == data_type)
        .map_or("several parts", |(_, words)| *words);
    context! {
        path => declaration.path().to_string(),
        kind => declaration.resource_type.as_str(),
        whose => whose(declaration.resource_type),
        words,
        several => declaration.attribute.multi_valued,
        required => declaration.attribute.required,
        compared => match (declaration.attribute.data_type, declaration.attribute.case_exact) {
            (Type::String, false) => "whatever the case",
            (Type::String | Type::Reference | Type::Binary, _) => "exactly",
            (Type::Complex, _) => "part by part",
            _ => "by value",
        },
        matching => declaration.matching,
        unique => declaration.is_unique(),
        built_in => declaration.is_built_in(),
    }
}

fn whose(kind: Kind) -> &'static str {
    match kind {
        Kind::User => "users",
        Kind::Group => "groups",
    }
}

/// Declares what the form says.
pub(super) fn declare(visit: &Visit<'_>) -> Result<Response> {
    let tenant = visit.tenant.id;
    let wanted = wanted(visit);
    let declared = wanted.and_then(|wanted| {
        visit.change(move |tx, actor| attributes::declare(tx, tenant, actor, wanted))
    });
    visit.then(declared, HERE, |Declared { declaration, misfits }| {
        let path = declaration.path();
        let mut words = format!("The attribute {path} is declared. Map it in the provider now.");
        if misfits > 0 {
            words.push_str(&format!(
                " {misfits} already have a value that is none of this type: it is kept, and not shown until the provider sends another one."
            ));
        }
        words
    })
}

/// The path as a whole, as the provider writes it: what stands before the last colon is the extension.
fn wanted(visit: &Visit<'_>) -> Result<Declaration> {
    let kind = kind(visit)?;
    let path = visit.form.get("path");
    let core = &kind.resource_type().core.id;
    let (schema, name) = path.rsplit_once(':').unwrap_or((core.as_str(), path));
    let is = |name: &str| visit.form.get(name) == "yes";
    let attribute = json!({
        "name": name,
        "type": visit.form.get("type"),
        "multiValued": is("several"),
        "caseExact": is("exact"),
        "required": is("required"),
        "uniqueness": if is("unique") { "server" } else { "none" },
    });
    Ok(Declaration {
        resource_type: kind,
        schema: schema.to_owned(),
        matching: is("matching"),
        removed: None,
        attribute: serde_json::from_value(attribute)
            .map_err(|_| ScimError::invalid_value("Choose a type from the list."))?,
    })
}

/// Takes an attribute out of the schemas.
pub(super) fn remove(visit: &Visit<'_>) -> Result<Response> {
    let (tenant, path) = (visit.tenant.id, visit.form.get("path").to_owned());
    let removed = kind(visit).and_then(|kind| {
        visit.change(move |tx, actor| attributes::remove(tx, tenant, actor, kind, &path))
    });
    visit.then(removed, HERE, |removed| {
        format!(
            "The attribute {} is removed. Declared again before the retention ends, it has its values back.",
            removed.path()
        )
    })
}

/// Makes an attribute matching, or not any more.
pub(super) fn set_matching(visit: &Visit<'_>, matching: bool) -> Result<Response> {
    let (tenant, path) = (visit.tenant.id, visit.form.get("path").to_owned());
    let changed = kind(visit).and_then(|kind| {
        visit.change(move |tx, actor| {
            attributes::set_matching(tx, tenant, actor, (kind, &path), matching)
        })
    });
    visit.then(changed, HERE, |changed| match matching {
        true => format!("{} is found by an index now.", changed.path()),
        false => format!("{} has no index any more.", changed.path()),
    })
}

fn kind(visit: &Visit<'_>) -> Result<Kind> {
    let named = visit.form.get("for");
    Kind::ALL
        .into_iter()
        .find(|kind| kind.as_str() == named)
        .ok_or_else(|| ScimError::invalid_value("Say whether it is of users or groups.").into())
}
