//! Filters (RFC 7644 §3.4.2.2): the tree, and what it means.
//!
//! [`Filter::parse`] reads one, `Display` prints it, [`Filter::check`] refuses what the schemas don't allow and
//! [`Filter::matches`] decides. The meaning is `matches` and nothing else: the store's SQL is only a faster way to the
//! same answer, and a test holds the two against each other.
//!
//! Where the RFC leaves a choice, this is ours:
//!
//! - A comparison holds if any value of the attribute fulfils it. `ne` is the negation of `eq`, so it holds if no value
//!   equals, also where there is no value at all.
//! - Comparing a complex attribute compares its `value`: `emails co "@"`, `manager eq "…"`, `members eq "…"`.
//! - `attr eq null` means `not (attr pr)`, and `attr ne null` means `attr pr`.
//! - `attr pr` wants something in it: an empty string, an empty list and an object of such things are not present.
//! - `attr[…]` holds if one value fulfils all of what is in the brackets.
//! - Strings compare by Unicode case folding unless the attribute is `caseExact`, and dateTimes as instants.
//! - What a resource type doesn't define has no value there.

mod check;
mod display;
mod eval;
mod parse;

use serde_json::{Map, Value};

use super::ScimError;
use super::path::AttrPath;
use super::schema::{Attribute, Resolved, ResourceType};

pub(super) use parse::{Parser, SyntaxError, is_lone_name};

/// A comparison's operator (compareOp).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CompareOp {
    /// Equal.
    Eq,
    /// Not equal: the negation of `Eq`.
    Ne,
    /// Contains.
    Co,
    /// Starts with.
    Sw,
    /// Ends with.
    Ew,
    /// Greater than.
    Gt,
    /// Greater than or equal to.
    Ge,
    /// Less than.
    Lt,
    /// Less than or equal to.
    Le,
}

impl CompareOp {
    /// All of them, in the RFC's order.
    pub const ALL: [CompareOp; 9] = [
        CompareOp::Eq,
        CompareOp::Ne,
        CompareOp::Co,
        CompareOp::Sw,
        CompareOp::Ew,
        CompareOp::Gt,
        CompareOp::Ge,
        CompareOp::Lt,
        CompareOp::Le,
    ];

    /// The operator as it stands in a filter.
    pub fn as_str(self) -> &'static str {
        match self {
            CompareOp::Eq => "eq",
            CompareOp::Ne => "ne",
            CompareOp::Co => "co",
            CompareOp::Sw => "sw",
            CompareOp::Ew => "ew",
            CompareOp::Gt => "gt",
            CompareOp::Ge => "ge",
            CompareOp::Lt => "lt",
            CompareOp::Le => "le",
        }
    }
}

/// A parsed filter. `and` and `or` lean to the left, as they were read.
#[derive(Clone, Debug, PartialEq)]
pub enum Filter {
    /// Both.
    And(Box<Filter>, Box<Filter>),
    /// Either.
    Or(Box<Filter>, Box<Filter>),
    /// Not.
    Not(Box<Filter>),
    /// `attr pr`.
    Present(AttrPath),
    /// `attr op value`.
    Compare {
        /// What is compared.
        attr: AttrPath,
        /// How.
        op: CompareOp,
        /// With what: a JSON string, number, boolean or null.
        value: Value,
    },
    /// `attr[filter]`: one value of `attr` fulfils all of `filter`.
    ///
    /// `attr[filter].sub op value`, which Entra ID sends, is read as `attr[filter and sub op value]`.
    ValuePath {
        /// A complex attribute.
        attr: AttrPath,
        /// Names in here are sub-attributes of `attr`.
        filter: Box<Filter>,
    },
}

impl Filter {
    /// Reads `text` (RFC 7644 §3.4.2.2, figure 1). Names, operators, `true`, `false` and `null` may be in any case.
    ///
    /// # Errors
    /// 400 `invalidFilter` that says what was expected and at which character, from 1. Also for a filter that is too
    /// long, too deep or has too many conditions.
    pub fn parse(text: &str) -> Result<Filter, ScimError> {
        parse::filter(text).map_err(|error| ScimError::invalid_filter(error.to_string()))
    }

    /// Refuses what can't be decided for resources of `types`: an attribute that none of them defines, an operator or a
    /// value that the attribute's type rules out.
    ///
    /// # Errors
    /// 400 `invalidFilter` that names the attribute.
    pub fn check(&self, types: &[&ResourceType]) -> Result<(), ScimError> {
        let scopes: Vec<_> = types.iter().copied().map(Scope::Resource).collect();
        check::check(self, &scopes)
    }

    /// As [`check`](Filter::check), for a filter that stood in brackets behind `attribute`.
    ///
    /// # Errors
    /// 400 `invalidFilter` that names the sub-attribute.
    pub fn check_values(&self, attribute: &Attribute) -> Result<(), ScimError> {
        check::check(self, &[Scope::Values(attribute)])
    }

    /// The same filter with its names in lower case, so that their spelling makes no difference. Values stay as they are.
    pub fn lower_case_names(&self) -> Filter {
        let inner = |filter: &Filter| Box::new(filter.lower_case_names());
        match self {
            Filter::And(left, right) => Filter::And(inner(left), inner(right)),
            Filter::Or(left, right) => Filter::Or(inner(left), inner(right)),
            Filter::Not(filter) => Filter::Not(inner(filter)),
            Filter::Present(attr) => Filter::Present(attr.lower_case()),
            Filter::Compare { attr, op, value } => Filter::Compare {
                attr: attr.lower_case(),
                op: *op,
                value: value.clone(),
            },
            Filter::ValuePath { attr, filter } => Filter::ValuePath {
                attr: attr.lower_case(),
                filter: inner(filter),
            },
        }
    }

    /// How many conditions are in it, which is what it costs to decide.
    pub fn conditions(&self) -> usize {
        match self {
            Filter::And(left, right) | Filter::Or(left, right) => {
                left.conditions() + right.conditions()
            }
            Filter::Not(inner) | Filter::ValuePath { filter: inner, .. } => inner.conditions(),
            Filter::Present(_) | Filter::Compare { .. } => 1,
        }
    }

    /// Whether `resource` fulfils the filter. It is the resource as a client would see it: with `schemas`, `id`, `meta`,
    /// and `groups` or `members`, all under the schema's spelling of their names.
    pub fn matches(&self, resource: &Map<String, Value>, resource_type: &ResourceType) -> bool {
        eval::matches(self, resource, Scope::Resource(resource_type))
    }

    /// Whether `value`, one value of the complex attribute `attribute`, fulfils the filter, which stood in brackets.
    pub fn matches_value(&self, value: &Map<String, Value>, attribute: &Attribute) -> bool {
        eval::matches(self, value, Scope::Values(attribute))
    }
}

/// Where a filter's names are looked up.
#[derive(Clone, Copy)]
enum Scope<'a> {
    /// In a resource.
    Resource(&'a ResourceType),
    /// In one value of a complex attribute, which is inside brackets.
    Values(&'a Attribute),
}

impl<'a> Scope<'a> {
    fn resolve(self, path: &AttrPath) -> Option<Resolved<'a>> {
        match self {
            Scope::Resource(resource_type) => resource_type.resolve(path),
            Scope::Values(_) if path.urn.is_some() || path.sub_attr.is_some() => None,
            Scope::Values(attribute) => Some(Resolved {
                extension: None,
                attribute: attribute.sub_attribute(&path.name)?,
                sub_attribute: None,
            }),
        }
    }
}
