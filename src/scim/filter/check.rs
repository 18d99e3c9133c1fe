//! Whether a filter makes sense for the schemas (RFC 7644 §3.4.2.2, RFC 7643 §2.3).

use serde_json::Value;

use super::{CompareOp, Filter, Scope};
use crate::scim::ScimError;
use crate::scim::date_time::instant;
use crate::scim::path::AttrPath;
use crate::scim::schema::{Attribute, Resolved, Type};

/// Every attribute must be defined in at least one of `scopes`, and what is asked of it must suit its definition in all
/// that define it.
pub(super) fn check(filter: &Filter, scopes: &[Scope<'_>]) -> Result<(), ScimError> {
    match filter {
        Filter::And(left, right) | Filter::Or(left, right) => {
            check(left, scopes)?;
            check(right, scopes)
        }
        Filter::Not(inner) => check(inner, scopes),
        Filter::Present(attr) => resolve(attr, scopes).map(|_| ()),
        Filter::Compare { attr, op, value } => resolve(attr, scopes)?
            .iter()
            .try_for_each(|named| comparison(attr, named, *op, value)),
        Filter::ValuePath { attr, filter } => {
            let named = resolve(attr, scopes)?;
            if let Some(named) = named
                .iter()
                .find(|named| named.leaf().data_type != Type::Complex)
            {
                let name = &named.leaf().name;
                return Err(ScimError::invalid_filter(format!(
                    "{attr}[…] needs a complex attribute, and {name} is a simple one"
                )));
            }
            let inside: Vec<_> = named
                .iter()
                .map(|named| Scope::Values(named.leaf()))
                .collect();
            check(filter, &inside)
        }
    }
}

/// The definitions of `attr`, at least one.
fn resolve<'a>(attr: &AttrPath, scopes: &[Scope<'a>]) -> Result<Vec<Resolved<'a>>, ScimError> {
    let named: Vec<_> = scopes
        .iter()
        .filter_map(|scope| scope.resolve(attr))
        .collect();
    if named.is_empty() {
        let places: Vec<_> = scopes.iter().map(Scope::to_string).collect();
        return Err(ScimError::invalid_filter(format!(
            "{attr} is no attribute of {}",
            places.join(" or ")
        )));
    }
    if named.iter().any(Resolved::is_never_returned) {
        return Err(ScimError::invalid_filter(format!(
            "{attr} is never returned, so nothing can be found by it"
        )));
    }
    Ok(named)
}

fn comparison(
    attr: &AttrPath,
    named: &Resolved<'_>,
    op: CompareOp,
    value: &Value,
) -> Result<(), ScimError> {
    if value.is_null() {
        // Absence can be asked of any attribute, as with `pr`.
        return match op {
            CompareOp::Eq | CompareOp::Ne => Ok(()),
            _ => Err(ScimError::invalid_filter(format!(
                "{op} can't compare {attr} with null; eq and ne can"
            ))),
        };
    }
    let Some(attribute) = named.compared() else {
        let names: Vec<_> = named
            .leaf()
            .sub_attributes
            .iter()
            .map(|it| format!("{attr}.{}", it.name))
            .collect();
        let names = names.join(", ");
        return Err(ScimError::invalid_filter(format!(
            "{attr} has no value of its own to compare; it has {names}"
        )));
    };
    if !operators(attribute.data_type).contains(&op) {
        let kind = kind(attribute.data_type);
        return Err(ScimError::invalid_filter(format!(
            "{op} can't compare {attr}, which is {kind}"
        )));
    }
    if !suits(attribute, value) {
        let kind = kind(attribute.data_type);
        return Err(ScimError::invalid_filter(format!(
            "{attr} is {kind} and can't be compared with {value}"
        )));
    }
    Ok(())
}

/// The operators that mean something for a type.
fn operators(data_type: Type) -> &'static [CompareOp] {
    use CompareOp::{Eq, Ge, Gt, Le, Lt, Ne};
    match data_type {
        Type::String | Type::Reference => &CompareOp::ALL,
        Type::DateTime | Type::Integer | Type::Decimal => &[Eq, Ne, Gt, Ge, Lt, Le],
        Type::Boolean | Type::Binary => &[Eq, Ne],
        Type::Complex => &[],
    }
}

fn suits(attribute: &Attribute, value: &Value) -> bool {
    match (attribute.data_type, value) {
        (Type::String | Type::Reference | Type::Binary, _) => super::eval::text(value).is_some(),
        (Type::Boolean, Value::Bool(_)) => true,
        // Entra ID: roles[primary eq "True"]
        (Type::Boolean, Value::String(text)) => super::eval::boolean(text).is_some(),
        (Type::DateTime, Value::String(text)) => instant(text).is_some(),
        (Type::Integer | Type::Decimal, Value::Number(_)) => true,
        _ => false,
    }
}

fn kind(data_type: Type) -> &'static str {
    match data_type {
        Type::String => "a string",
        Type::Boolean => "a boolean (true or false)",
        Type::Decimal => "a decimal",
        Type::Integer => "an integer",
        Type::DateTime => "a dateTime (\"2026-01-31T08:00:00Z\")",
        Type::Binary => "binary",
        Type::Reference => "a reference",
        Type::Complex => "complex",
    }
}

impl std::fmt::Display for Scope<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Scope::Resource(resource_type) => f.write_str(resource_type.kind.as_str()),
            Scope::Values(attribute) => f.write_str(&attribute.name),
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::scim::filter::Filter;
    use crate::scim::schema::Kind;

    #[test]
    fn a_refusal_names_the_attribute_and_the_reason() {
        let types = Kind::ALL.map(Kind::resource_type);
        for (text, detail) in [
            ("foo pr", "foo is no attribute of User or Group"),
            (r#"emails[foo eq "x"]"#, "foo is no attribute of emails"),
            (
                r#"userName[value eq "x"]"#,
                "userName[…] needs a complex attribute, and userName is a simple one",
            ),
            (
                "active gt true",
                "gt can't compare active, which is a boolean (true or false)",
            ),
            (
                r#"active eq "yes""#,
                "active is a boolean (true or false) and can't be compared with \"yes\"",
            ),
            (
                "title eq true",
                "title is a string and can't be compared with true",
            ),
            (
                "title co null",
                "co can't compare title with null; eq and ne can",
            ),
            (
                r#"manager.$ref eq true"#,
                "manager.$ref is a reference and can't be compared with true",
            ),
            (
                r#"meta.created lt "today""#,
                "meta.created is a dateTime (\"2026-01-31T08:00:00Z\") and can't be compared with \"today\"",
            ),
            (
                r#"meta eq "x""#,
                "meta has no value of its own to compare; \
                 it has meta.resourceType, meta.created, meta.lastModified, meta.location, meta.version",
            ),
        ] {
            let error = Filter::parse(text)
                .expect(text)
                .check(&types)
                .expect_err(text);
            assert_eq!(error.to_string(), format!("400 invalidFilter: {detail}"));
        }
    }

    #[test]
    fn what_is_never_returned_cannot_be_filtered() {
        let mut user = Kind::User.resource_type().clone();
        let title = user
            .core
            .attributes
            .iter_mut()
            .find(|it| it.name == "title")
            .expect("title");
        title.returned = crate::scim::schema::Returned::Never;
        for text in ["title pr", r#"title sw "a""#, "title eq null"] {
            let error = Filter::parse(text)
                .expect(text)
                .check(&[&user])
                .expect_err(text);
            assert_eq!(
                error.detail(),
                "title is never returned, so nothing can be found by it"
            );
        }
    }
}
