//! Attribute paths and PATCH paths (RFC 7644 §3.5.2, figure 7; §3.10).
//!
//! Only their form: what a path names is [`ResourceType::resolve`]'s question.

use std::fmt;

use super::ScimError;
use super::filter::{Filter, Parser, SyntaxError, is_lone_name};
use super::resource::is_extension_of;
use super::schema::{Kind, ResourceType};

/// `[urn:]name[.sub]` (attrPath).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct AttrPath {
    /// The schema's URN, spelled as it came, without the colon behind it.
    pub urn: Option<String>,
    /// The attribute's name, spelled as it came.
    pub name: String,
    /// The sub-attribute's name, spelled as it came.
    pub sub_attr: Option<String>,
}

impl AttrPath {
    /// Reads `text` as an attrPath. URNs are opaque: the last colon ends them, whatever dots they contain.
    ///
    /// # Errors
    /// 400 `invalidPath` that says what was expected and at which character, from 1.
    pub fn parse(text: &str) -> Result<AttrPath, ScimError> {
        // Nearly all are a name and no more, which takes no parser.
        if is_lone_name(text) {
            return Ok(AttrPath {
                urn: None,
                name: text.to_owned(),
                sub_attr: None,
            });
        }
        let read = || {
            let mut parser = Parser::new(text)?;
            let path = parser.attr_path()?;
            parser.end("the end of the attribute's name")?;
            Ok(path)
        };
        read().map_err(invalid_path)
    }

    /// The same path in lower case, in which all its spellings are equal (RFC 7644 §3.10).
    pub fn lower_case(&self) -> AttrPath {
        AttrPath {
            urn: self.urn.as_deref().map(str::to_ascii_lowercase),
            name: self.name.to_ascii_lowercase(),
            sub_attr: self.sub_attr.as_deref().map(str::to_ascii_lowercase),
        }
    }
}

impl fmt::Display for AttrPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(urn) = &self.urn {
            write!(f, "{urn}:")?;
        }
        f.write_str(&self.name)?;
        if let Some(sub_attr) = &self.sub_attr {
            write!(f, ".{sub_attr}")?;
        }
        Ok(())
    }
}

/// What a PATCH operation points at (RFC 7644 §3.5.2, figure 7).
#[derive(Clone, Debug, PartialEq)]
pub enum PatchPath {
    /// A whole extension object, by its URN: a known extension's as its schema spells it, or any other of the pattern that
    /// Entra ID prescribes for custom attributes.
    Extension(String),
    /// `attrPath`, or `valuePath [.subAttr]`: with a filter, `attr.sub_attr` is the one behind the brackets.
    Attribute {
        /// The attribute and, perhaps, sub-attribute.
        attr: AttrPath,
        /// The value filter in brackets.
        filter: Option<Filter>,
    },
}

impl PatchPath {
    /// Reads `text`; `resource_type` tells an extension's URN from a URN-qualified name.
    ///
    /// # Errors
    /// 400 `invalidPath` that says what was expected and at which character, from 1.
    pub fn parse(text: &str, resource_type: &ResourceType) -> Result<PatchPath, ScimError> {
        if let Some(schema) = resource_type.extension(text) {
            return Ok(PatchPath::Extension(schema.id.clone()));
        }
        let read = || {
            let mut parser = Parser::new(text)?;
            let mut attr = parser.attr_path()?;
            let filter = parser.brackets(&attr, 0)?;
            if filter.is_some() {
                attr.sub_attr = parser.sub_attr(&attr)?.map(str::to_owned);
            }
            parser.end("the end of the path")?;
            Ok((attr, filter))
        };
        let (attr, filter) = read().map_err(invalid_path)?;
        if Kind::ALL.iter().any(|kind| is_extension_of(text, *kind)) {
            return Ok(PatchPath::Extension(text.to_owned()));
        }
        Ok(PatchPath::Attribute { attr, filter })
    }
}

impl fmt::Display for PatchPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PatchPath::Extension(urn) => f.write_str(urn),
            PatchPath::Attribute { attr, filter: None } => attr.fmt(f),
            PatchPath::Attribute {
                attr,
                filter: Some(filter),
            } => {
                let attribute = AttrPath {
                    sub_attr: None,
                    ..attr.clone()
                };
                write!(f, "{attribute}[{filter}]")?;
                match &attr.sub_attr {
                    Some(sub_attr) => write!(f, ".{sub_attr}"),
                    None => Ok(()),
                }
            }
        }
    }
}

fn invalid_path(error: SyntaxError) -> ScimError {
    ScimError::invalid_path(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::{AttrPath, PatchPath};
    use crate::scim::schema::{ENTERPRISE_URN, Kind};

    fn attr(urn: Option<&str>, name: &str, sub_attr: Option<&str>) -> AttrPath {
        AttrPath {
            urn: urn.map(str::to_owned),
            name: name.to_owned(),
            sub_attr: sub_attr.map(str::to_owned),
        }
    }

    fn parse(text: &str) -> PatchPath {
        PatchPath::parse(text, Kind::User.resource_type()).expect(text)
    }

    #[test]
    fn an_attribute_path_has_a_urn_a_name_and_a_sub_attribute() {
        let core = "urn:ietf:params:scim:schemas:core:2.0:User";
        for (text, path) in [
            ("userName", attr(None, "userName", None)),
            ("name.familyName", attr(None, "name", Some("familyName"))),
            ("members.$ref", attr(None, "members", Some("$ref"))),
            ("$ref", attr(None, "$ref", None)),
            (
                "urn:ietf:params:scim:schemas:core:2.0:User:userName",
                attr(Some(core), "userName", None),
            ),
            (
                "urn:ietf:params:scim:schemas:core:2.0:User:name.givenName",
                attr(Some(core), "name", Some("givenName")),
            ),
            (
                "urn:example:x-1.5:a_b-C.d",
                attr(Some("urn:example:x-1.5"), "a_b-C", Some("d")),
            ),
        ] {
            assert_eq!(AttrPath::parse(text).expect(text), path);
            assert_eq!(path.to_string(), text);
        }
    }

    #[test]
    fn a_wrong_attribute_path_is_refused_with_its_place() {
        for (text, detail) in [
            ("", "expected an attribute at character 1"),
            (
                "1st",
                r#"expected an attribute's name, of letters, digits, - and _, found "1st" at character 1"#,
            ),
            (
                "user name",
                r#"expected the end of the attribute's name, found " " at character 5"#,
            ),
            (
                "name.a.b",
                r#"expected one sub-attribute's name after name., found "a.b" at character 6"#,
            ),
            (
                "name.",
                "expected one sub-attribute's name after name. at character 6",
            ),
            (
                ":userName",
                r#"expected a schema's URN in front of the colon, found ":userName" at character 1"#,
            ),
            (
                "urn:example:",
                "expected an attribute's name, of letters, digits, - and _ at character 13",
            ),
            (
                "urn:x:2.0",
                r#"expected an attribute's name, of letters, digits, - and _, found "2.0" at character 7"#,
            ),
            (
                "größe",
                r#"expected an attribute's name, of letters, digits, - and _, found "größe" at character 1"#,
            ),
        ] {
            let error = AttrPath::parse(text).expect_err(text);
            assert_eq!(error.to_string(), format!("400 invalidPath: {detail}"));
        }
    }

    #[test]
    fn a_patch_path_prints_as_it_was_read() {
        for text in [
            "displayName",
            "name.familyName",
            r#"emails[type eq "work"]"#,
            r#"emails[type eq "work"].value"#,
            r#"roles[primary eq "True"].value"#,
            r#"members[value eq "019a" or value eq "]"]"#,
            "urn:ietf:params:scim:schemas:core:2.0:User:roleName",
            r#"urn:ietf:params:scim:schemas:core:2.0:User:emails[type eq "work"].value"#,
            "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:manager.value",
            ENTERPRISE_URN,
            "urn:ietf:params:scim:schemas:extension:rollcall:2.0:User",
        ] {
            assert_eq!(parse(text).to_string(), text);
        }
    }

    #[test]
    fn the_sub_attribute_behind_brackets_belongs_to_the_path() {
        let PatchPath::Attribute {
            attr: path,
            filter: Some(filter),
        } = parse(r#"emails[type eq "work"].value"#)
        else {
            panic!("no value path");
        };
        assert_eq!(path, attr(None, "emails", Some("value")));
        assert_eq!(filter.to_string(), r#"type eq "work""#);
    }

    #[test]
    fn extensions_are_told_from_their_attributes() {
        for (text, urn) in [
            (ENTERPRISE_URN, ENTERPRISE_URN),
            (
                "URN:ietf:params:scim:schemas:extension:Enterprise:2.0:user",
                ENTERPRISE_URN,
            ),
            (
                "urn:ietf:params:scim:schemas:extension:Contoso:2.0:Group",
                "urn:ietf:params:scim:schemas:extension:Contoso:2.0:Group",
            ),
        ] {
            assert_eq!(parse(text), PatchPath::Extension(urn.to_owned()), "{text}");
        }
        let contoso = "urn:ietf:params:scim:schemas:extension:Contoso:2.0:User";
        let path = PatchPath::Attribute {
            attr: attr(Some(contoso), "badge", None),
            filter: None,
        };
        assert_eq!(parse(&format!("{contoso}:badge")), path);
    }

    #[test]
    fn a_wrong_patch_path_is_refused_with_its_place() {
        for (text, detail) in [
            ("", "expected an attribute at character 1"),
            (
                "emails[]",
                r#"expected an attribute, found "]" at character 8"#,
            ),
            (
                r#"emails[type eq "work""#,
                "expected ] to close emails[ at character 22",
            ),
            (
                r#"emails[type eq "work"].1"#,
                r#"expected a sub-attribute's name after emails[…]., found "1" at character 24"#,
            ),
            (
                r#"emails[type eq "work"]value"#,
                r#"expected the end of the path, found "value" at character 23"#,
            ),
            (
                r#"emails.value[type eq "work"]"#,
                r#"expected an attribute without a sub-attribute in front of [, found "emails.value" at character 1"#,
            ),
            (
                "userName eq",
                r#"expected the end of the path, found " " at character 9"#,
            ),
        ] {
            let error = PatchPath::parse(text, Kind::User.resource_type()).expect_err(text);
            assert_eq!(error.to_string(), format!("400 invalidPath: {detail}"));
        }
    }
}
