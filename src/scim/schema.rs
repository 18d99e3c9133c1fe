//! Schemas, attributes and resource types (RFC 7643 §2, §6, §7).
//!
//! The documents under `schemas/` are served as they are and enforced as they are: what a client reads at
//! `/Schemas` is what [`validate`](super::validate), [`filter`](super::filter) and [`patch`](super::patch) go by.

use serde::{Deserialize, Serialize};

use super::declare::{Declaration, Schemas};
use super::path::AttrPath;
use super::resource::{ROLE_NAME, is_extension_of, is_urn};

/// The core User schema's URN (RFC 7643 §4.1).
pub const USER_URN: &str = "urn:ietf:params:scim:schemas:core:2.0:User";
/// The core Group schema's URN (RFC 7643 §4.2).
pub const GROUP_URN: &str = "urn:ietf:params:scim:schemas:core:2.0:Group";
/// The enterprise User extension's URN (RFC 7643 §4.3).
pub const ENTERPRISE_URN: &str = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User";

/// Which of the two resource types a resource is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Kind {
    /// A User (RFC 7643 §4.1).
    User,
    /// A Group (RFC 7643 §4.2), a team in the product.
    Group,
}

impl Kind {
    /// Both, in the order in which a search over all types lists them.
    pub const ALL: [Kind; 2] = [Kind::User, Kind::Group];

    /// The name as in `meta.resourceType`.
    pub fn as_str(self) -> &'static str {
        match self {
            Kind::User => "User",
            Kind::Group => "Group",
        }
    }

    /// The endpoint without its slash: `Users` or `Groups`.
    pub fn endpoint(self) -> &'static str {
        match self {
            Kind::User => "Users",
            Kind::Group => "Groups",
        }
    }

    /// The attribute that names a resource of this type and is unique: `userName` or `displayName`.
    pub fn name_attribute(self) -> &'static str {
        match self {
            Kind::User => "userName",
            Kind::Group => "displayName",
        }
    }

    /// The attribute that is computed from membership rows: `groups` or `members`.
    pub fn membership_attribute(self) -> &'static str {
        match self {
            Kind::User => "groups",
            Kind::Group => "members",
        }
    }

    /// The resource type with the schemas that every tenant has; those of one tenant are in its [`Schemas`].
    pub fn resource_type(self) -> &'static ResourceType {
        Schemas::built_in().of(self)
    }
}

/// An attribute's data type (RFC 7643 §2.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[allow(missing_docs)]
pub enum Type {
    String,
    Boolean,
    Decimal,
    Integer,
    DateTime,
    Binary,
    Reference,
    Complex,
}

/// Who may write an attribute, and when (RFC 7643 §7).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[allow(missing_docs)]
pub enum Mutability {
    ReadOnly,
    #[default]
    ReadWrite,
    Immutable,
    WriteOnly,
}

/// When an attribute is returned (RFC 7643 §7).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[allow(missing_docs)]
pub enum Returned {
    Always,
    Never,
    #[default]
    Default,
    Request,
}

/// Within what a value is unique (RFC 7643 §7).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[allow(missing_docs)]
pub enum Uniqueness {
    #[default]
    None,
    Server,
    Global,
}

/// One attribute's definition (RFC 7643 §7).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[allow(missing_docs)]
pub struct Attribute {
    pub name: String,
    #[serde(rename = "type")]
    pub data_type: Type,
    #[serde(default)]
    pub multi_valued: bool,
    #[serde(default)]
    pub description: String,
    #[serde(default)]
    pub required: bool,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub canonical_values: Vec<String>,
    #[serde(default)]
    pub case_exact: bool,
    #[serde(default)]
    pub mutability: Mutability,
    #[serde(default)]
    pub returned: Returned,
    #[serde(default)]
    pub uniqueness: Uniqueness,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reference_types: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sub_attributes: Vec<Attribute>,
}

impl Attribute {
    /// The sub-attribute called `name`, in any case (RFC 7643 §2.1).
    pub fn sub_attribute(&self, name: &str) -> Option<&Attribute> {
        find(&self.sub_attributes, name)
    }

    /// Whether answers show it where nobody asks for it (RFC 7643 §7).
    pub(super) fn is_by_default(&self) -> bool {
        matches!(self.returned, Returned::Default | Returned::Always)
    }

    /// Whether there is a part of it, all of it included, that isn't shown by default.
    pub(super) fn hides(&self) -> bool {
        !self.is_by_default() || self.sub_attributes.iter().any(Attribute::hides)
    }
}

/// A schema (RFC 7643 §7), as served.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[allow(missing_docs)]
pub struct Schema {
    pub id: String,
    pub name: String,
    pub description: String,
    pub attributes: Vec<Attribute>,
}

impl Schema {
    /// The attribute called `name`, in any case (RFC 7643 §2.1).
    pub fn attribute(&self, name: &str) -> Option<&Attribute> {
        find(&self.attributes, name)
    }
}

/// A resource type (RFC 7643 §6) with everything needed to read its resources.
#[derive(Clone, Debug, PartialEq)]
pub struct ResourceType {
    /// Which one.
    pub kind: Kind,
    /// One sentence, as served.
    pub description: &'static str,
    /// The core schema.
    pub core: Schema,
    /// Known extensions.
    pub extensions: Vec<Schema>,
    /// `schemas`, `id`, `externalId` and `meta` (RFC 7643 §3.1), which belong to no schema.
    pub common: Vec<Attribute>,
    /// What was added to the schemas of the RFC: `roleName`, and the tenant's own attributes, removed ones too.
    pub declared: Vec<Declaration>,
    /// The names of the attributes and extensions that [hide](ResourceType::may_hide) something: few, and asked for often.
    pub(super) hiding: Vec<String>,
}

/// What an attribute path names.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Resolved<'a> {
    /// The extension whose object holds the attribute; `None` for core and common attributes.
    pub extension: Option<&'a Schema>,
    /// The attribute.
    pub attribute: &'a Attribute,
    /// The sub-attribute, where the path names one.
    pub sub_attribute: Option<&'a Attribute>,
}

impl<'a> Resolved<'a> {
    /// The definition of the innermost attribute that was named.
    pub fn leaf(&self) -> &'a Attribute {
        self.sub_attribute.unwrap_or(self.attribute)
    }

    /// Whether no answer ever shows it, so that no answer may tell of it by what is found or how it is sorted.
    pub fn is_never_returned(&self) -> bool {
        let of = |attribute: Option<&Attribute>| {
            attribute.is_some_and(|it| it.returned == Returned::Never)
        };
        of(Some(self.attribute)) || of(self.sub_attribute) || of(self.compared())
    }

    /// The attribute whose values a comparison or a sort looks at: a complex one stands for its `value`.
    /// `None` where it has no `value` (`name`, `addresses`, `meta`).
    pub fn compared(&self) -> Option<&'a Attribute> {
        super::stored::compared(self.leaf())
    }
}

impl ResourceType {
    /// The same with what follows from its schemas.
    pub(super) fn finished(self) -> ResourceType {
        let attributes = (self.core.attributes.iter().chain(&self.common))
            .filter(|attribute| attribute.hides())
            .map(|attribute| attribute.name.clone());
        let extensions = (self.extensions.iter())
            .filter(|schema| schema.attributes.iter().any(Attribute::hides))
            .map(|schema| schema.id.clone());
        let hiding = attributes.chain(extensions).collect();
        ResourceType { hiding, ..self }
    }

    /// Whether `key`, an attribute or an extension, may hold something that isn't shown by default.
    pub(super) fn may_hide(&self, key: &str) -> bool {
        (self.hiding.iter()).any(|name| name.eq_ignore_ascii_case(key))
    }

    /// The attribute called `name` in the core schema or among the common ones, in any case.
    pub fn attribute(&self, name: &str) -> Option<&Attribute> {
        self.core
            .attribute(name)
            .or_else(|| find(&self.common, name))
    }

    /// `schemas` of a resource with these keys: the core one, and each extension that it has an object of, known or not.
    pub fn schemas_of<'a>(&'a self, keys: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
        let extensions = keys.filter(|key| is_urn(key));
        (std::iter::once(self.core.id.as_str()))
            .chain(extensions)
            .collect()
    }

    /// The known extension with this URN, in any case (RFC 8141 §3: the scheme and namespace are; clients vary the rest).
    pub fn extension(&self, urn: &str) -> Option<&Schema> {
        self.extensions
            .iter()
            .find(|schema| schema.id.eq_ignore_ascii_case(urn))
    }

    /// Whether `path` names something in an extension of which no schema says anything: kept as it comes. What is not
    /// declared in a tenant's own extension is that too, as it was before anything was declared there. An attribute that
    /// was removed isn't.
    pub fn is_foreign(&self, path: &AttrPath) -> bool {
        let Some(urn) = &path.urn else { return false };
        let is_ours = match self.extension(urn) {
            None => urn.eq_ignore_ascii_case(&self.core.id),
            Some(schema) => schema.id == ENTERPRISE_URN || schema.attribute(&path.name).is_some(),
        };
        !is_ours && self.declaration(Some(urn), &path.name).is_none()
    }

    /// The declaration of the attribute `name`, in any case, in the extension `urn` or the core schema.
    pub fn declaration(&self, urn: Option<&str>, name: &str) -> Option<&Declaration> {
        let urn = urn.unwrap_or(&self.core.id);
        self.declared.iter().find(|declaration| {
            declaration.schema.eq_ignore_ascii_case(urn)
                && declaration.attribute.name.eq_ignore_ascii_case(name)
        })
    }

    /// What `path` names in this resource type, or `None` where it names nothing known.
    ///
    /// An extension's attribute may also be named without its URN where the core schema has none of that name,
    /// because Entra ID asks for `manager eq "…"` and patches `manager`. And a user's `roleName` is the same behind the
    /// URN of any extension that follows Microsoft's pattern; see [`settle_role_name`](super::resource::settle_role_name).
    pub fn resolve(&self, path: &AttrPath) -> Option<Resolved<'_>> {
        let named = |schema: &Schema| {
            path.urn
                .as_deref()
                .is_none_or(|urn| urn.eq_ignore_ascii_case(&schema.id))
        };
        let is_role = self.kind == Kind::User
            && path.name.eq_ignore_ascii_case(ROLE_NAME)
            && (path.urn.as_deref()).is_some_and(|urn| is_extension_of(urn, Kind::User));
        let core = if named(&self.core) || is_role {
            self.attribute(&path.name)
        } else {
            None
        };
        let (extension, attribute) = match core {
            Some(attribute) => (None, attribute),
            None => {
                let mut named = self.extensions.iter().filter(|schema| named(schema));
                named.find_map(|schema| Some((Some(schema), schema.attribute(&path.name)?)))?
            }
        };
        let sub_attribute = match &path.sub_attr {
            None => None,
            Some(name) => Some(attribute.sub_attribute(name)?),
        };
        Some(Resolved {
            extension,
            attribute,
            sub_attribute,
        })
    }
}

/// Attribute names compare without ASCII case (RFC 7643 §2.1). The only comparison of names in the crate.
fn find<'a>(attributes: &'a [Attribute], name: &str) -> Option<&'a Attribute> {
    attributes
        .iter()
        .find(|attribute| attribute.name.eq_ignore_ascii_case(name))
}

#[cfg(test)]
mod tests {
    use super::{Attribute, ENTERPRISE_URN, GROUP_URN, Kind, Type, USER_URN, Uniqueness};
    use crate::scim::path::AttrPath;

    fn resolve(kind: Kind, path: &str) -> Option<String> {
        let path = AttrPath::parse(path).expect(path);
        let resource_type = kind.resource_type();
        resource_type.resolve(&path).map(|named| {
            let place = named
                .extension
                .map_or("core", |schema| schema.name.as_str());
            let sub_attribute = named
                .sub_attribute
                .map_or(String::new(), |it| format!(".{}", it.name));
            format!("{place} {}{sub_attribute}", named.attribute.name)
        })
    }

    #[test]
    fn the_schemas_have_their_urns() {
        let (user, group) = (Kind::User.resource_type(), Kind::Group.resource_type());
        assert_eq!(
            (user.core.id.as_str(), group.core.id.as_str()),
            (USER_URN, GROUP_URN)
        );
        assert_eq!(
            user.extensions
                .iter()
                .map(|schema| &schema.id)
                .collect::<Vec<_>>(),
            [ENTERPRISE_URN]
        );
    }

    /// RFC 7643 §2.1, §2.3 and §7 as far as they bind attributes with each other.
    #[test]
    fn every_attribute_is_well_defined() {
        for kind in Kind::ALL {
            let resource_type = kind.resource_type();
            let schemas = std::iter::once(&resource_type.core).chain(&resource_type.extensions);
            for attributes in schemas
                .map(|schema| &schema.attributes)
                .chain([&resource_type.common])
            {
                well_defined(attributes);
            }
        }
    }

    fn well_defined(attributes: &[Attribute]) {
        for attribute in attributes {
            let name = &attribute.name;
            assert!(
                AttrPath::parse(name).is_ok_and(|path| path.name == *name),
                "{name} is a name"
            );
            let same = attributes
                .iter()
                .filter(|other| other.name.eq_ignore_ascii_case(name))
                .count();
            assert_eq!(same, 1, "{name} is defined once");
            assert!(!attribute.description.is_empty(), "{name} is described");
            let data_type = attribute.data_type;
            assert_eq!(
                data_type == Type::Reference,
                !attribute.reference_types.is_empty(),
                "{name}: referenceTypes"
            );
            assert_eq!(
                data_type == Type::Complex,
                !attribute.sub_attributes.is_empty(),
                "{name}: subAttributes"
            );
            assert!(
                data_type == Type::String || attribute.canonical_values.is_empty(),
                "{name}: canonicalValues"
            );
            assert!(
                data_type == Type::String || attribute.uniqueness == Uniqueness::None,
                "{name}: uniqueness"
            );
            if matches!(data_type, Type::Reference | Type::Binary) {
                assert!(
                    attribute.case_exact,
                    "{name}: references and binaries are case exact"
                );
            }
            for sub_attribute in &attribute.sub_attributes {
                assert_ne!(
                    sub_attribute.data_type,
                    Type::Complex,
                    "{name}: complex attributes don't nest"
                );
            }
            well_defined(&attribute.sub_attributes);
        }
    }

    #[test]
    fn names_resolve_in_any_case_with_and_without_their_urn() {
        for (path, named) in [
            ("username", "core userName"),
            ("NAME.FAMILYNAME", "core name.familyName"),
            (
                "urn:ietf:params:scim:schemas:core:2.0:User:roleName",
                "core roleName",
            ),
            (
                "URN:IETF:PARAMS:SCIM:SCHEMAS:CORE:2.0:USER:emails.value",
                "core emails.value",
            ),
            ("meta.lastModified", "core meta.lastModified"),
            (
                "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:manager.$ref",
                "EnterpriseUser manager.$ref",
            ),
        ] {
            assert_eq!(resolve(Kind::User, path).as_deref(), Some(named), "{path}");
        }
    }

    #[test]
    fn an_extension_is_searched_for_a_bare_name() {
        assert_eq!(
            resolve(Kind::User, "manager").as_deref(),
            Some("EnterpriseUser manager")
        );
        assert_eq!(resolve(Kind::Group, "manager"), None);
    }

    #[test]
    fn unknown_names_name_nothing() {
        for path in [
            "password.value",
            "userName.value",
            "name.nickName",
            "urn:ietf:params:scim:schemas:core:2.0:User:department",
            "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:userName",
            "urn:ietf:params:scim:schemas:core:2.0:Group:displayName",
            "urn:example:userName",
        ] {
            assert_eq!(resolve(Kind::User, path), None, "{path}");
        }
    }
}
