//! Attributes that a tenant adds to the schemas, and the schemas with them (RFC 7643 §2, §7).
//!
//! `schemas/declared.json` has those that every tenant starts with, in the same form: `roleName`.

use std::sync::{Arc, LazyLock};

use serde::{Deserialize, Serialize};

use super::ScimError;
use super::path::AttrPath;
use super::schema::{
    Attribute, ENTERPRISE_URN, GROUP_URN, Kind, Mutability, ResourceType, Returned, Schema, Type,
    USER_URN, Uniqueness,
};
use super::stored::compared;
use super::validate::{json_bytes, short_name};

/// Most attributes that a tenant declares, removed ones too. All of them are read with each request.
pub const MAX_DECLARATIONS: usize = 200;
/// Longest declaration as JSON, in bytes.
pub const MAX_BYTES: usize = 16 * 1024;
const MAX_NAME_BYTES: usize = 100;
const MAX_URN_BYTES: usize = 250;

/// An attribute that was added to a schema.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Declaration {
    /// Whose.
    pub resource_type: Kind,
    /// The URN of the core schema or of an extension.
    pub schema: String,
    /// Whether clients find resources by it, so that it has an index.
    #[serde(default)]
    pub matching: bool,
    /// Since when it is removed, in unix milliseconds: it isn't in the schemas then, while documents keep its values.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub removed: Option<i64>,
    /// What it is.
    pub attribute: Attribute,
}

impl Declaration {
    /// The path by which it is named: with the URN of its extension, bare in the core schema.
    pub fn path(&self) -> AttrPath {
        AttrPath {
            urn: self.extension().map(str::to_owned),
            name: self.attribute.name.clone(),
            sub_attr: None,
        }
    }

    /// The URN of its extension; none in the core schema.
    pub fn extension(&self) -> Option<&str> {
        let core = &self.resource_type.resource_type().core.id;
        (self.schema != *core).then_some(self.schema.as_str())
    }

    /// Whether its values are in the index: to be found by, or because no two resources may have the same.
    pub fn is_indexed(&self) -> bool {
        self.removed.is_none() && (self.matching || self.is_unique())
    }

    /// Whether no two resources of the tenant may have the same value. `server` and `global` are the same here: a tenant
    /// knows nothing of the others.
    pub fn is_unique(&self) -> bool {
        self.removed.is_none() && self.attribute.uniqueness != Uniqueness::None
    }

    /// Whether every tenant has it.
    pub fn is_built_in(&self) -> bool {
        BUILT_IN_DECLARATIONS.contains(self)
    }

    /// Whether it is the attribute `other`: names and URNs compare without case.
    pub fn is_same(&self, other: &Declaration) -> bool {
        self.resource_type == other.resource_type
            && self.schema.eq_ignore_ascii_case(&other.schema)
            && (self.attribute.name).eq_ignore_ascii_case(&other.attribute.name)
    }

    /// The declaration as it is kept, beside `others`: what follows from the rest is filled in.
    ///
    /// # Errors
    /// 400 `invalidValue` that says what can't be declared, 409 `uniqueness` for a name that is taken.
    pub fn checked(mut self, others: &[Declaration]) -> Result<Declaration, ScimError> {
        let resource_type = self.resource_type.resource_type();
        if self.schema.eq_ignore_ascii_case(&resource_type.core.id) {
            self.schema = resource_type.core.id.clone();
        }
        check_schema(&self, others)?;
        complete(&mut self.attribute);
        check_attribute(&self.attribute, &self.attribute.name)?;
        for sub in &self.attribute.sub_attributes {
            check_sub_attribute(&self.attribute, sub)?;
        }
        self.check_index()?;
        self.check_free(others)?;
        let length = json_bytes(&serde_json::json!(self));
        if length > MAX_BYTES {
            return Err(refused(format!(
                "the declaration has {length} bytes where at most {MAX_BYTES} are kept"
            )));
        }
        if others.len() >= MAX_DECLARATIONS {
            return Err(refused(format!(
                "{MAX_DECLARATIONS} attributes are declared already, and more can't be"
            )));
        }
        Ok(self)
    }

    fn check_index(&self) -> Result<(), ScimError> {
        let name = &self.attribute.name;
        if self.is_unique() && self.attribute.data_type == Type::Complex {
            return Err(refused(format!(
                "{name} is complex and can't be unique: declare a simple attribute"
            )));
        }
        let fits = compared(&self.attribute).is_some_and(|it| {
            matches!(it.data_type, Type::String | Type::Reference | Type::Integer)
        });
        if self.is_indexed() && !fits {
            return Err(refused(format!(
                "{name} can't be unique or matching: that takes a string, a reference or an integer, or a complex attribute \
                 whose value is one"
            )));
        }
        if self.matching && self.attribute.returned == Returned::Never {
            return Err(refused(format!(
                "{name} is never returned, so nothing can be found by it and it can't be matching"
            )));
        }
        Ok(())
    }

    fn check_free(&self, others: &[Declaration]) -> Result<(), ScimError> {
        let name = &self.attribute.name;
        let resource_type = self.resource_type.resource_type();
        let known = match self.extension() {
            // What an extension of the RFC has is also named without its URN, as Entra ID does.
            None => {
                (resource_type.extensions.iter())
                    .chain([&resource_type.core])
                    .any(|schema| schema.attribute(name).is_some())
                    || resource_type.attribute(name).is_some()
            }
            Some(_) => name.eq_ignore_ascii_case(super::resource::ROLE_NAME),
        };
        let kind = self.resource_type.as_str();
        if known {
            return Err(ScimError::uniqueness(format!(
                "a {kind} has the attribute {name} already"
            )));
        }
        if others.iter().any(|other| self.is_same(other)) {
            return Err(ScimError::uniqueness(format!(
                "{} is declared for a {kind} already: remove it first",
                self.path()
            )));
        }
        Ok(())
    }
}

fn refused(detail: String) -> ScimError {
    ScimError::invalid_value(detail)
}

/// The URN must be the core schema's, or one that no other schema or message has.
fn check_schema(declaration: &Declaration, others: &[Declaration]) -> Result<(), ScimError> {
    let urn = &declaration.schema;
    let Some(extension) = declaration.extension() else {
        return Ok(());
    };
    let known = |c: char| c.is_ascii_alphanumeric() || ":.-_~".contains(c);
    let parts: Vec<&str> = urn.split(':').collect();
    if parts.len() < 3
        || !parts[0].eq_ignore_ascii_case("urn")
        || parts.iter().any(|part| part.is_empty())
        || !urn.chars().all(known)
        || urn.len() > MAX_URN_BYTES
        || !super::path::AttrPath::parse(urn).is_ok_and(|path| path.sub_attr.is_none())
    {
        return Err(refused(format!(
            "{} is no URN for an extension: write one like urn:ietf:params:scim:schemas:extension:acme:2.0:{}",
            short_name(urn),
            declaration.resource_type.as_str()
        )));
    }
    let lower = extension.to_ascii_lowercase();
    let reserved = [ENTERPRISE_URN, USER_URN, GROUP_URN]
        .iter()
        .any(|known| known.eq_ignore_ascii_case(urn))
        || lower.starts_with("urn:ietf:params:scim:api:")
        || lower.starts_with("urn:ietf:params:scim:schemas:core:");
    if reserved {
        return Err(refused(format!(
            "{urn} is a schema of the standard and can't be extended: take the core schema of the type, or a URN of your own"
        )));
    }
    let is_other_types = |other: &&Declaration| {
        other.schema.eq_ignore_ascii_case(urn) && other.resource_type != declaration.resource_type
    };
    match others.iter().find(is_other_types) {
        Some(other) => Err(refused(format!(
            "{urn} is an extension of a {} already: take another URN",
            other.resource_type.as_str()
        ))),
        None => Ok(()),
    }
}

/// What follows from what is said.
fn complete(attribute: &mut Attribute) {
    if attribute.description.trim().is_empty() {
        attribute.description =
            format!("{}, an attribute of the organisation's own", attribute.name);
    }
    // RFC 7643 §2.3.6 and §2.3.7.
    if matches!(attribute.data_type, Type::Reference | Type::Binary) {
        attribute.case_exact = true;
    }
    if attribute.data_type == Type::Reference && attribute.reference_types.is_empty() {
        attribute.reference_types = vec!["external".to_owned()];
    }
    // §7: writeOnly "usually" is never returned; a value that nobody may read is never shown here.
    if attribute.mutability == Mutability::WriteOnly {
        attribute.returned = Returned::Never;
    }
    attribute.sub_attributes.iter_mut().for_each(complete);
}

fn check_attribute(attribute: &Attribute, place: &str) -> Result<(), ScimError> {
    let name = &attribute.name;
    let is_name = AttrPath::parse(name).is_ok_and(|path| path.name == *name);
    if !is_name || (name.starts_with('$') && name != "$ref") || name.len() > MAX_NAME_BYTES {
        return Err(refused(format!(
            "{} is no name for an attribute: a letter first, then letters, digits, - and _",
            short_name(place)
        )));
    }
    let says = [
        (
            attribute.data_type == Type::Complex && attribute.sub_attributes.is_empty(),
            "is complex and needs subAttributes",
        ),
        (
            attribute.data_type != Type::Complex && !attribute.sub_attributes.is_empty(),
            "has subAttributes, so its type must be complex",
        ),
        (
            attribute.data_type != Type::String && !attribute.canonical_values.is_empty(),
            "has canonicalValues, so its type must be string",
        ),
        (
            attribute.data_type != Type::Reference && !attribute.reference_types.is_empty(),
            "has referenceTypes, so its type must be reference",
        ),
        (
            attribute.required && attribute.mutability == Mutability::ReadOnly,
            "is readOnly, so no client could give what is required",
        ),
    ];
    match says.iter().find(|(wrong, _)| *wrong) {
        Some((_, what)) => Err(refused(format!("{place} {what}"))),
        None => Ok(()),
    }
}

fn check_sub_attribute(attribute: &Attribute, sub: &Attribute) -> Result<(), ScimError> {
    let place = format!("{}.{}", attribute.name, sub.name);
    let same = (attribute.sub_attributes.iter())
        .filter(|other| other.name.eq_ignore_ascii_case(&sub.name))
        .count();
    let says = [
        (
            sub.data_type == Type::Complex,
            "is complex: complex attributes don't nest",
        ),
        (same > 1, "is there twice"),
        (
            sub.uniqueness != Uniqueness::None,
            "can't be unique: only a whole attribute can",
        ),
        (
            sub.name == "primary" && sub.data_type != Type::Boolean,
            "must be a boolean (RFC 7643 §2.4)",
        ),
    ];
    match says.iter().find(|(wrong, _)| *wrong) {
        Some((_, what)) => Err(refused(format!("{place} {what}"))),
        None => check_attribute(sub, &place),
    }
}

/// Both resource types, as one tenant has them.
#[derive(Debug, PartialEq)]
pub struct Schemas {
    /// The tenant's declarations as JSON, of which they are made.
    pub source: String,
    /// The tenant's declarations, removed ones too, without those that every tenant has.
    pub own: Vec<Declaration>,
    user: ResourceType,
    group: ResourceType,
}

/// No declarations as JSON.
pub const NOTHING: &str = "[]";

static BUILT_IN_DECLARATIONS: LazyLock<Vec<Declaration>> =
    LazyLock::new(|| built_in(include_str!("schemas/declared.json")));

static BUILT_IN: LazyLock<Arc<Schemas>> = LazyLock::new(|| {
    let common: Vec<Attribute> = built_in(include_str!("schemas/common.json"));
    let mut schemas = Schemas {
        source: NOTHING.to_owned(),
        own: vec![],
        user: ResourceType {
            kind: Kind::User,
            description: "User Account",
            core: built_in(include_str!("schemas/user.json")),
            extensions: vec![built_in(include_str!("schemas/enterprise-user.json"))],
            common: common.clone(),
            declared: vec![],
            hiding: vec![],
        },
        group: ResourceType {
            kind: Kind::Group,
            description: "Group, a team in the product",
            core: built_in(include_str!("schemas/group.json")),
            extensions: vec![],
            common,
            declared: vec![],
            hiding: vec![],
        },
    };
    // The constant's resource types aren't there yet, so `extension()` can't be asked: these are in core schemas.
    for declaration in BUILT_IN_DECLARATIONS.iter() {
        schemas.add(declaration, None);
    }
    Arc::new(schemas.finished())
});

fn built_in<T: serde::de::DeserializeOwned>(text: &str) -> T {
    serde_json::from_str(text).expect("schemas/*.json are checked by a test")
}

impl Schemas {
    /// Those of a tenant that has declared nothing.
    pub fn built_in() -> &'static Arc<Schemas> {
        &BUILT_IN
    }

    /// The attributes that every tenant has beyond the RFC's.
    pub fn built_in_declarations() -> &'static [Declaration] {
        &BUILT_IN_DECLARATIONS
    }

    /// Those of a tenant with the declarations in `source`, a JSON array of them.
    ///
    /// # Errors
    /// Where it is none.
    pub fn parse(source: &str) -> Result<Schemas, serde_json::Error> {
        let own: Vec<Declaration> = serde_json::from_str(source)?;
        let mut schemas = Schemas {
            source: source.to_owned(),
            own: own.clone(),
            user: BUILT_IN.user.clone(),
            group: BUILT_IN.group.clone(),
        };
        for declaration in &own {
            schemas.add(declaration, declaration.extension());
        }
        Ok(schemas.finished())
    }

    /// The resource type.
    pub fn of(&self, kind: Kind) -> &ResourceType {
        match kind {
            Kind::User => &self.user,
            Kind::Group => &self.group,
        }
    }

    fn finished(self) -> Schemas {
        Schemas {
            user: self.user.finished(),
            group: self.group.finished(),
            ..self
        }
    }

    fn add(&mut self, declaration: &Declaration, extension: Option<&str>) {
        let resource_type = match declaration.resource_type {
            Kind::User => &mut self.user,
            Kind::Group => &mut self.group,
        };
        resource_type.declared.push(declaration.clone());
        if declaration.removed.is_some() {
            return;
        }
        let schema = match extension {
            None => &mut resource_type.core,
            Some(urn) => {
                let extensions = &mut resource_type.extensions;
                let at = extensions
                    .iter()
                    .position(|schema| schema.id.eq_ignore_ascii_case(urn))
                    .unwrap_or_else(|| {
                        extensions.push(extension_schema(urn));
                        extensions.len() - 1
                    });
                &mut extensions[at]
            }
        };
        schema.attributes.push(declaration.attribute.clone());
    }
}

/// An extension without attributes yet. Of `urn:…:extension:acme:2.0:User` the name is `acme`.
fn extension_schema(urn: &str) -> Schema {
    let parts: Vec<&str> = urn.split(':').collect();
    let name = match parts.as_slice() {
        [.., name, "2.0", _] => name,
        [.., name] => name,
        [] => urn,
    };
    Schema {
        id: urn.to_owned(),
        name: name.to_owned(),
        description: "Attributes of the organisation's own".to_owned(),
        attributes: vec![],
    }
}

#[cfg(test)]
mod tests;
