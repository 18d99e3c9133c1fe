//! From a filter to SQL.
//!
//! A filter has one meaning, [`Filter::matches`]. A [`Translation`] says in SQL what columns and indexes can decide just
//! as `matches` would, and hands the rest to `matches` itself, row by row, through `scim_matches`. So the two can't
//! disagree, and a property test in [`search`](super::search) holds them against each other.
//!
//! Two questions are asked of a filter. [`Translation::condition`] is the filter, whole, as a condition on the row `r` of
//! `resource`. [`lookups`] is where to find, by an index, all rows that it can select and perhaps others: without
//! any, a search walks the tenant's resources.
//!
//! A condition is never NULL, for `not` would keep it NULL.

use std::sync::Arc;

use rusqlite::types::Value as Sql;
use serde_json::{Value, json};

use super::nesting;
use super::resources::EMAILS_VALUE;
use crate::scim::date_time;
use crate::scim::declare::{Declaration, Schemas};
use crate::scim::filter::{CompareOp, Filter};
use crate::scim::path::AttrPath;
use crate::scim::resource::{Document, fold};
use crate::scim::schema::{Kind, Resolved, ResourceType};
use crate::scim::stored::index_key;

/// The parameters of a statement. They are numbered, so that one may stand in several places.
#[derive(Debug)]
pub(super) struct Params {
    values: Vec<Sql>,
    /// The tenant's.
    pub schemas: Arc<Schemas>,
    /// Only what the product shows, after the row number that is `?2`.
    of_product: bool,
}

impl Params {
    /// `tenant` is `?1`.
    pub fn new(tenant: super::TenantId, schemas: Arc<Schemas>) -> Params {
        Params {
            schemas,
            values: vec![Sql::Integer(tenant.0)],
            of_product: false,
        }
    }

    /// The same for a statement that sees only what the product shows, of what was created later than `after`,
    /// a row number.
    pub fn of_product(self, after: i64) -> Params {
        Params {
            values: [self.values, vec![Sql::Integer(after)]].concat(),
            of_product: true,
            ..self
        }
    }

    /// What restricts the listed rows, those of `resource` under the name `r`.
    pub fn seen(&self, r: &str) -> String {
        if self.of_product {
            format!(" AND {r}.active IS NOT 0 AND {r}.row > ?2")
        } else {
            String::new()
        }
    }

    /// What restricts the other end of a membership: who is inactive is in no team of the product's.
    fn linked(&self) -> &'static str {
        if self.of_product {
            " AND other.active IS NOT 0"
        } else {
            ""
        }
    }

    /// Adds one and returns what stands for it.
    pub fn bind(&mut self, value: impl Into<Sql>) -> String {
        self.values.push(value.into());
        format!("?{}", self.values.len())
    }

    /// In the order of their numbers.
    pub fn values(&self) -> &[Sql] {
        &self.values
    }
}

/// What an index finds resources by. The first finds the fewest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Index {
    Id,
    Name,
    ExternalId,
    /// `resource_value`: e-mail addresses, and the tenant's own attributes.
    Value,
    /// A Group by a member's id, or a User by a Group's.
    Link,
}

/// One look-up in an index: for the resources where it has `key`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Lookup {
    index: Index,
    /// `resource_value.attribute`, where that is the index.
    attribute: String,
    key: String,
}

impl Lookup {
    /// `named eq value`, where there is an index for it.
    fn of(named: &Resolved<'_>, resource_type: &ResourceType, value: &Value) -> Option<Lookup> {
        if let Some(declaration) = indexed(named, resource_type) {
            return Some(Lookup {
                index: Index::Value,
                attribute: declaration.path().to_string(),
                key: index_key(named.compared()?, value)?,
            });
        }
        let kind = resource_type.kind;
        let value = value.as_str()?;
        let (name, sub_attr) = place(named)?;
        let (index, key) = match sub_attr {
            None if name == "id" => (Index::Id, value.to_owned()),
            None if name == kind.name_attribute() => (Index::Name, fold(value)),
            // An empty one isn't in the index.
            None if name == "externalId" && !value.is_empty() => {
                (Index::ExternalId, value.to_owned())
            }
            None | Some("value") if name == "emails" && kind == Kind::User => {
                (Index::Value, fold(value))
            }
            None | Some("value") if name == kind.membership_attribute() => {
                (Index::Link, value.to_owned())
            }
            _ => return None,
        };
        let attribute = EMAILS_VALUE.to_owned();
        Some(Lookup {
            index,
            attribute,
            key,
        })
    }

    /// Whether it finds each row once.
    pub fn is_distinct(&self) -> bool {
        self.index != Index::Link
    }

    /// A SELECT of the row numbers that it finds, perhaps of deleted resources too.
    pub fn rows(&self, kind: Kind, params: &mut Params) -> String {
        let key = params.bind(self.key.clone());
        let by_column = |column| {
            format!(
                "SELECT row FROM resource
                 WHERE tenant = ?1 AND kind = '{}' AND {column} = {key} AND deleted_at IS NULL",
                kind.as_str()
            )
        };
        match self.index {
            Index::Id => by_column("id"),
            Index::Name => by_column("name_key"),
            Index::ExternalId => by_column("external_id"),
            Index::Value => format!(
                "SELECT resource AS row FROM resource_value
                 WHERE tenant = ?1 AND attribute = {} AND value = {key}",
                params.bind(self.attribute.clone())
            ),
            Index::Link => linked_rows(kind, &key, params),
        }
    }

    /// Whether it would find the row `r`.
    fn condition(&self, kind: Kind, params: &mut Params) -> String {
        let key = params.bind(self.key.clone());
        match self.index {
            Index::Id => format!("r.id = {key}"),
            Index::Name => format!("r.name_key = {key}"),
            Index::ExternalId => format!("r.external_id IS {key}"),
            Index::Value => format!(
                "EXISTS (SELECT 1 FROM resource_value
                         WHERE tenant = ?1 AND attribute = {} AND value = {key} AND resource = r.row)",
                params.bind(self.attribute.clone())
            ),
            Index::Link if kind == Kind::User => format!(
                "EXISTS (SELECT 1 FROM team_member AS own
                         WHERE own.member = r.row AND own.team IN ({}))",
                group_and_below(&key)
            ),
            Index::Link if params.of_product => {
                format!("r.row IN ({})", linked_rows(kind, &key, params))
            }
            Index::Link => format!(
                "EXISTS (SELECT 1 FROM resource AS other CROSS JOIN team_member AS link ON link.member = other.row
                         WHERE other.id = {key} AND other.tenant = ?1 AND other.deleted_at IS NULL
                               AND link.team = r.row)"
            ),
        }
    }
}

/// A SELECT of the Users in the Group of an id, which has those of the Groups in it; or of the Groups that have a member of
/// an id. To a client these are the ones that show the member; to the product, which asks who is in a team, those too
/// that it is in by way of others.
fn linked_rows(kind: Kind, key: &str, params: &Params) -> String {
    if kind == Kind::User {
        return format!(
            "SELECT own.member FROM ({}) AS below
                 CROSS JOIN team_member AS own ON own.team = below.team AND NOT own.nested",
            group_and_below(key)
        );
    }
    let direct = format!(
        "SELECT link.team AS part FROM resource AS other CROSS JOIN team_member AS link ON link.member = other.row
             CROSS JOIN resource AS own ON own.row = link.team AND own.deleted_at IS NULL
         WHERE other.id = {key} AND other.tenant = ?1 AND other.deleted_at IS NULL{}",
        params.linked()
    );
    if !params.of_product {
        return direct;
    }
    let above = nesting::above(&direct);
    format!("{direct} UNION ALL SELECT team FROM (WITH RECURSIVE {above} SELECT team FROM above)")
}

/// A SELECT of the live Group of an id and of those in it.
fn group_and_below(key: &str) -> String {
    let below = nesting::below(&format!(
        "SELECT row FROM resource WHERE id = {key} AND tenant = ?1 AND kind = 'Group' AND deleted_at IS NULL"
    ));
    format!("WITH RECURSIVE {below} SELECT team FROM below")
}

/// The columns of `team_member` that hold a resource of `kind`, and what it is linked to.
pub(super) fn ends(kind: Kind) -> (&'static str, &'static str) {
    match kind {
        Kind::User => ("member", "team"),
        Kind::Group => ("team", "member"),
    }
}

/// The names of an attribute that is in the core schema or common, and of the sub-attribute.
pub(super) fn place<'a>(named: &Resolved<'a>) -> Option<(&'a str, Option<&'a str>)> {
    let sub_attr = named
        .sub_attribute
        .map(|sub_attribute| sub_attribute.name.as_str());
    named
        .extension
        .is_none()
        .then_some((named.attribute.name.as_str(), sub_attr))
}

/// The declaration of an attribute whose values are in the index, where a comparison with `named` is one with those.
fn indexed<'a>(named: &Resolved<'_>, resource_type: &'a ResourceType) -> Option<&'a Declaration> {
    let urn = named.extension.map(|schema| schema.id.as_str());
    let declaration = resource_type.declaration(urn, &named.attribute.name)?;
    let is_value = named.sub_attribute.is_none_or(|sub| sub.name == "value");
    (declaration.is_indexed() && is_value).then_some(declaration)
}

/// Look-ups that together find every resource of `kind` that `filter` selects; the fewer resources, the better.
/// `None` where no index helps; an empty list where `filter` can't select any.
pub(super) fn lookups(filter: &Filter, resource_type: &ResourceType) -> Option<Vec<Lookup>> {
    lookups_in(filter, resource_type, None)
}

/// As [`lookups`], of a filter that stands in the brackets behind `attribute`, if any.
fn lookups_in(
    filter: &Filter,
    resource_type: &ResourceType,
    attribute: Option<&AttrPath>,
) -> Option<Vec<Lookup>> {
    let worst = |lookups: &Vec<Lookup>| lookups.iter().map(|lookup| lookup.index).max();
    match filter {
        Filter::And(left, right) => {
            let both = [
                lookups_in(left, resource_type, attribute),
                lookups_in(right, resource_type, attribute),
            ];
            both.into_iter().flatten().min_by_key(worst)
        }
        Filter::Or(left, right) => {
            let mut lookups = lookups_in(left, resource_type, attribute)?;
            lookups.extend(lookups_in(right, resource_type, attribute)?);
            Some(lookups)
        }
        Filter::Compare {
            attr,
            op: CompareOp::Eq,
            value,
        } => {
            let path = attribute.map_or_else(|| attr.clone(), |attribute| inside(attribute, attr));
            let named = resource_type.resolve(&path);
            match named {
                _ if attribute.is_none() && is_constant(named.as_ref()) => {
                    never(filter, resource_type).then(Vec::new)
                }
                Some(named) => Lookup::of(&named, resource_type, value).map(|lookup| vec![lookup]),
                None => None,
            }
        }
        Filter::ValuePath {
            attr,
            filter: values,
        } => match resource_type.resolve(attr) {
            Some(_) => lookups_in(values, resource_type, Some(attr)),
            None => Some(Vec::new()),
        },
        Filter::Not(_) | Filter::Present(_) | Filter::Compare { .. } => None,
    }
}

/// The path of `attr`, which stands in the brackets behind `attribute`.
fn inside(attribute: &AttrPath, attr: &AttrPath) -> AttrPath {
    AttrPath {
        sub_attr: Some(attr.name.clone()),
        ..attribute.clone()
    }
}

/// Whether an attribute is the same for all resources of a kind: `None` is one that they don't have.
fn is_constant(named: Option<&Resolved<'_>>) -> bool {
    named.is_none_or(|named| place(named) == Some(("meta", Some("resourceType"))))
}

/// Whether `filter`, whose attribute [is constant](is_constant), holds for no resource of the type.
fn never(filter: &Filter, resource_type: &ResourceType) -> bool {
    let meta = json!({"resourceType": resource_type.kind.as_str()});
    let resource = Document::from_iter([("meta".to_owned(), meta)]);
    !filter.matches(&resource, resource_type)
}

/// Makes conditions on the row `r`, a resource of one kind.
pub(super) struct Translation<'a> {
    pub schemas: &'a Schemas,
    pub kind: Kind,
    pub params: &'a mut Params,
}

impl<'a> Translation<'a> {
    fn resource_type(&self) -> &'a ResourceType {
        self.schemas.of(self.kind)
    }

    /// The whole of `filter`.
    pub fn condition(&mut self, filter: &Filter) -> String {
        self.columns(filter)
            .unwrap_or_else(|| self.delegated(filter))
    }

    /// `filter` by columns, as far as they go. `None` where they decide nothing: then one call decides all of it,
    /// and the document is parsed once. Binds nothing then.
    fn columns(&mut self, filter: &Filter) -> Option<String> {
        match filter {
            Filter::And(left, right) => self.chain(left, "AND", right),
            Filter::Or(left, right) => self.chain(left, "OR", right),
            Filter::Not(inner) => self.columns(inner).map(|inner| format!("NOT {inner}")),
            Filter::Present(attr) => self.constant(attr, filter),
            Filter::Compare { attr, op, value } => match self.resource_type().resolve(attr) {
                Some(named) if !is_constant(Some(&named)) => self.compare(&named, *op, value),
                _ => self.constant(attr, filter),
            },
            Filter::ValuePath {
                attr,
                filter: values,
            } => match (self.constant(attr, filter), &**values) {
                (
                    None,
                    Filter::Compare {
                        attr: name,
                        op: CompareOp::Eq,
                        value,
                    },
                ) => {
                    let path = inside(attr, name);
                    let named = self.resource_type().resolve(&path)?;
                    Lookup::of(&named, self.resource_type(), value)
                        .map(|lookup| lookup.condition(self.kind, self.params))
                }
                (constant, _) => constant,
            },
        }
    }

    /// What the function decides goes last, to be asked last.
    fn chain(&mut self, left: &Filter, operator: &str, right: &Filter) -> Option<String> {
        let (first, last) = match (self.columns(left), self.columns(right)) {
            (Some(left), Some(right)) => (left, right),
            (Some(left), None) => (left, self.delegated(right)),
            (None, Some(right)) => (right, self.delegated(left)),
            (None, None) => return None,
        };
        Some(format!("({first} {operator} {last})"))
    }

    /// A constant where `attr`, which is all that `filter` looks at, [is one](is_constant) for the kind.
    fn constant(&self, attr: &AttrPath, filter: &Filter) -> Option<String> {
        let named = self.resource_type().resolve(attr);
        is_constant(named.as_ref()).then(|| {
            String::from(if never(filter, self.resource_type()) {
                "FALSE"
            } else {
                "TRUE"
            })
        })
    }

    fn compare(&mut self, named: &Resolved<'_>, op: CompareOp, value: &Value) -> Option<String> {
        let lookup = Lookup::of(named, self.resource_type(), value);
        match (op, lookup) {
            (CompareOp::Eq, Some(lookup)) => return Some(lookup.condition(self.kind, self.params)),
            (CompareOp::Ne, Some(lookup)) => {
                return Some(format!("NOT {}", lookup.condition(self.kind, self.params)));
            }
            _ => {}
        }
        match (place(named)?, op, value) {
            (("active", None), CompareOp::Eq, Value::Bool(active)) => {
                // Not bound: by the very words SQLite knows its index of the inactive.
                Some(format!("r.active IS {}", u8::from(*active)))
            }
            ((name, None), CompareOp::Sw, Value::String(start))
                if name == self.kind.name_attribute() =>
            {
                Some(self.starts_with(&fold(start)))
            }
            (("meta", Some("created")), ..) => self.compare_time("r.created", op, value),
            (("meta", Some("lastModified")), ..) => self.compare_time("r.last_modified", op, value),
            _ => None,
        }
    }

    fn starts_with(&mut self, start: &str) -> String {
        // SQLite compares text by its UTF-8, whose order is that of the code points: what starts with `start` is from
        // there up to, and without, the next text of its length.
        let from = self.params.bind(start.to_owned());
        match successor(start) {
            Some(end) => format!(
                "(r.name_key >= {from} AND r.name_key < {})",
                self.params.bind(end)
            ),
            None => format!("r.name_key >= {from}"),
        }
    }

    fn compare_time(&mut self, column: &str, op: CompareOp, value: &Value) -> Option<String> {
        let at = date_time::instant(value.as_str()?)?;
        // Columns have whole milliseconds, so a time between two of them equals none.
        let floor = at.as_nanosecond().div_euclid(1_000_000) as i64;
        let between = at.as_nanosecond().rem_euclid(1_000_000) != 0;
        let operator = match op {
            CompareOp::Eq if between => return Some("FALSE".to_owned()),
            CompareOp::Ne if between => return Some("TRUE".to_owned()),
            CompareOp::Eq => "=",
            CompareOp::Ne => "<>",
            CompareOp::Gt => ">",
            CompareOp::Ge => {
                if between {
                    ">"
                } else {
                    ">="
                }
            }
            CompareOp::Lt => {
                if between {
                    "<="
                } else {
                    "<"
                }
            }
            CompareOp::Le => "<=",
            CompareOp::Co | CompareOp::Sw | CompareOp::Ew => return None,
        };
        Some(format!("{column} {operator} {}", self.params.bind(floor)))
    }

    /// By `Filter::matches`.
    fn delegated(&mut self, filter: &Filter) -> String {
        let links = if mentions_links(filter, self.resource_type()) {
            links(self.kind, self.params)
        } else {
            "NULL".to_owned()
        };
        format!(
            "scim_matches({}, {}, r.kind, r.id, r.created, r.last_modified, r.version, r.document, {links})",
            self.params.bind(filter.to_string()),
            self.params.bind(self.schemas.source.clone())
        )
    }
}

/// The least text that is greater than all that start with `text`, in the order of code points.
fn successor(text: &str) -> Option<String> {
    let mut chars: Vec<char> = text.chars().collect();
    while let Some(last) = chars.pop() {
        // A range steps over the surrogates.
        if let Some(next) = (last..=char::MAX).nth(1) {
            chars.push(next);
            return Some(chars.into_iter().collect());
        }
    }
    None
}

/// Whether `filter` looks at members of a Group or groups of a User.
fn mentions_links(filter: &Filter, resource_type: &ResourceType) -> bool {
    match filter {
        Filter::And(left, right) | Filter::Or(left, right) => {
            mentions_links(left, resource_type) || mentions_links(right, resource_type)
        }
        Filter::Not(inner) => mentions_links(inner, resource_type),
        Filter::Present(attr) | Filter::Compare { attr, .. } | Filter::ValuePath { attr, .. } => {
            let named = resource_type.resolve(attr);
            named.is_some_and(|named| {
                named.attribute.name == resource_type.kind.membership_attribute()
            })
        }
    }
}

/// A subquery for the values of the membership attribute of `r`, as JSON: a User's direct and indirect groups, a Group's
/// members, and in the product's view whoever is in the team.
fn links(kind: Kind, params: &Params) -> String {
    let (with, link) = if kind == Kind::User {
        let above = nesting::above(
            "SELECT own.team AS part FROM team_member AS own CROSS JOIN resource AS direct ON direct.row = own.team
             WHERE own.member = r.row AND direct.deleted_at IS NULL",
        );
        let link = "SELECT team AS row, 'direct' AS type FROM team_member WHERE member = r.row
                    UNION ALL
                    SELECT team, 'indirect' FROM above
                    WHERE NOT EXISTS (SELECT 1 FROM team_member AS own
                                      WHERE own.team = above.team AND own.member = r.row)";
        (format!("WITH RECURSIVE {above} "), link)
    } else if params.of_product {
        let below = nesting::below("VALUES (r.row)");
        let link = "SELECT DISTINCT own.member AS row, iif(own.nested, 'Group', 'User') AS type
                    FROM below CROSS JOIN team_member AS own ON own.team = below.team";
        (format!("WITH RECURSIVE {below} "), link)
    } else {
        let link = "SELECT member AS row, iif(nested, 'Group', 'User') AS type FROM team_member WHERE team = r.row";
        (String::new(), link)
    };
    format!(
        "({with}SELECT json_group_array(json_object('value', other.id, 'display', other.display, 'type', link.type))
          FROM ({link}) AS link CROSS JOIN resource AS other ON other.row = link.row
          WHERE other.tenant = ?1 AND other.deleted_at IS NULL{})",
        params.linked()
    )
}
