//! The tenant's own attributes on the page of provisioning: declare one, make it matching, remove it.

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

/// The type of an attribute of several parts.
const COMPLEX: &str = "complex";

/// The types that the form offers, each with its words. Whatever else can be said of a part takes a file and the command
/// line.
const TYPES: [(&str, &str); 8] = [
    ("string", "text"),
    ("boolean", "yes or no"),
    ("integer", "whole number"),
    ("decimal", "number"),
    ("dateTime", "date and time"),
    ("reference", "address of something (URI)"),
    ("binary", "binary (base64)"),
    (COMPLEX, "several parts, like an address"),
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
        .map_or(data_type, |(_, words)| *words);
    let parts = declaration.attribute.sub_attributes.iter();
    context! {
        parts => parts.map(|part| part.name.clone()).collect::<Vec<_>>(),
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
        "subAttributes": parts(visit)?,
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

/// The parts of an attribute, one a line: its name and, unless it is a text, its type.
fn parts(visit: &Visit<'_>) -> Result<Vec<serde_json::Value>> {
    let lines = visit.form.get("parts").lines().map(str::trim);
    let lines: Vec<&str> = lines.filter(|line| !line.is_empty()).collect();
    let problem = match (visit.form.get("type") == COMPLEX, lines.is_empty()) {
        (true, true) => "Write the attribute's parts, one a line, as: street",
        (false, false) => {
            "Only an attribute of several parts has parts. Choose that under Values, or leave the parts empty."
        }
        _ => "",
    };
    if !problem.is_empty() {
        return Err(ScimError::invalid_value(problem).into());
    }
    let part = |line: &str| {
        let mut words = line.split_whitespace();
        let (name, data_type) = (words.next(), words.next().unwrap_or("string"));
        let simple = TYPES
            .iter()
            .any(|(known, _)| *known == data_type && data_type != COMPLEX);
        if words.next().is_some() || !simple {
            let known: Vec<&str> = TYPES
                .iter()
                .map(|(known, _)| *known)
                .filter(|known| *known != COMPLEX)
                .collect();
            return Err(ScimError::invalid_value(format!(
                "The part {line:?} can't be read. Write its name and, if it is no text, its type: one of {}.",
                known.join(", ")
            ))
            .into());
        }
        Ok(json!({ "name": name, "type": data_type }))
    };
    lines.into_iter().map(part).collect()
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
