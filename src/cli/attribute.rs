//! `rollcall attribute …`

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand, ValueEnum};
use serde_json::{Value, json};

use super::table::{self, Format};
use super::{Outcome, failure, look};
use crate::manage::OPERATOR;
use crate::manage::attributes::{self, Declared};
use crate::scim::declare::Declaration;
use crate::scim::schema::{Attribute, Kind};

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Whose
    #[arg(long, global = true)]
    tenant: Option<String>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// List the attributes beyond the standard's, and how clients may use them
    List,
    /// Declare an attribute: it is in /Schemas from then on, and is checked, filtered and sorted as declared
    Add(Box<New>),
    /// Take an attribute out of the schemas; stored values stay until their retention ends
    Remove(Named),
    /// Let clients find users or groups by an attribute, by an index
    Match {
        #[command(flatten)]
        attribute: Named,
        /// Or take it out of the index again
        #[arg(long)]
        off: bool,
    },
}

#[derive(Debug, Args)]
struct Named {
    /// Its name; of an extension's the whole path, as in urn:…:2.0:User:badge
    attribute: String,
    /// Of which resource type
    #[arg(long = "for", value_enum, default_value_t)]
    whose: Whose,
}

#[derive(Clone, Copy, Debug, Default, ValueEnum)]
enum Whose {
    #[default]
    User,
    Group,
}

impl From<Whose> for Kind {
    fn from(whose: Whose) -> Kind {
        match whose {
            Whose::User => Kind::User,
            Whose::Group => Kind::Group,
        }
    }
}

#[derive(Debug, Args)]
struct New {
    /// Its name
    #[arg(required_unless_present = "file")]
    name: Option<String>,
    /// Of which resource type
    #[arg(long = "for", value_enum, default_value_t)]
    whose: Whose,
    /// The URN of an extension of your own; without it, the attribute joins the core schema
    #[arg(long, value_name = "URN")]
    schema: Option<String>,
    /// Read the attribute from a file, as JSON of RFC 7643 section 7; the way to declare a complex one
    #[arg(long, conflicts_with_all = ["name", "data_type", "multi_valued", "case_exact", "required", "canonical",
        "mutability", "returned", "uniqueness", "reference_types", "description"])]
    file: Option<PathBuf>,
    /// What its values are
    #[arg(long = "type", default_value = "string",
        value_parser = ["string", "boolean", "decimal", "integer", "dateTime", "reference", "binary"])]
    data_type: String,
    /// It may have several values
    #[arg(long)]
    multi_valued: bool,
    /// Upper and lower case matter where values are compared
    #[arg(long)]
    case_exact: bool,
    /// Clients must give it
    #[arg(long)]
    required: bool,
    /// Suggested values, with commas between
    #[arg(long, value_delimiter = ',', value_name = "VALUES")]
    canonical: Vec<String>,
    /// Who may write it, and when
    #[arg(long, default_value = "readWrite", value_parser = ["readOnly", "readWrite", "immutable", "writeOnly"])]
    mutability: String,
    /// When answers show it
    #[arg(long, default_value = "default", value_parser = ["always", "never", "default", "request"])]
    returned: String,
    /// Whether no two users (or groups) of the tenant may have the same value; server and global are the same here
    #[arg(long, default_value = "none", value_parser = ["none", "server", "global"])]
    uniqueness: String,
    /// What a reference may point at, with commas between: User, Group, external, uri
    #[arg(long, value_delimiter = ',', value_name = "TYPES")]
    reference_types: Vec<String>,
    /// What it is, in words for whoever maps it
    #[arg(long, default_value = "")]
    description: String,
    /// Clients find users or groups by it: it gets an index
    #[arg(long)]
    matching: bool,
}

impl New {
    fn declaration(&self) -> Result<Declaration, super::Failure> {
        let kind = Kind::from(self.whose);
        let attribute = match &self.file {
            Some(file) => {
                let text = std::fs::read_to_string(file)
                    .map_err(|error| failure(format!("reading {}: {error}", file.display())))?;
                serde_json::from_str(&text).map_err(|error| {
                    failure(format!(
                        "{} is no attribute of RFC 7643 section 7: {error}",
                        file.display()
                    ))
                })?
            }
            None => self.attribute(),
        };
        let core = &kind.resource_type().core.id;
        Ok(Declaration {
            resource_type: kind,
            schema: self.schema.clone().unwrap_or_else(|| core.clone()),
            matching: self.matching,
            removed: None,
            attribute,
        })
    }

    fn attribute(&self) -> Attribute {
        let said = json!({
            "name": self.name,
            "type": self.data_type,
            "multiValued": self.multi_valued,
            "description": self.description,
            "required": self.required,
            "canonicalValues": self.canonical,
            "caseExact": self.case_exact,
            "mutability": self.mutability,
            "returned": self.returned,
            "uniqueness": self.uniqueness,
            "referenceTypes": self.reference_types,
        });
        serde_json::from_value(said).expect("clap lets no other words through")
    }
}

pub(super) fn run(data: &Path, format: Format, arguments: Arguments) -> Outcome {
    let Some(tenant) = arguments.tenant else {
        return Err(failure("name the tenant with --tenant"));
    };
    match arguments.command {
        Command::List => list(data, format, &tenant),
        Command::Add(new) => {
            let declaration = new.declaration()?;
            let declared = super::change(data, tenant, move |tx, tenant| {
                attributes::declare(tx, tenant.id, OPERATOR, declaration)
            })?;
            say(&declared);
            Ok(())
        }
        Command::Remove(Named { attribute, whose }) => {
            super::change(data, tenant, move |tx, tenant| {
                attributes::remove(tx, tenant.id, OPERATOR, whose.into(), &attribute).map(drop)
            })
        }
        Command::Match {
            attribute: Named { attribute, whose },
            off,
        } => super::change(data, tenant, move |tx, tenant| {
            let named = (whose.into(), attribute.as_str());
            attributes::set_matching(tx, tenant.id, OPERATOR, named, !off).map(drop)
        }),
    }
}

/// Tells of values that the declaration leaves aside.
fn say(declared: &Declared) {
    if declared.misfits > 0 {
        eprintln!(
            "{} already have a value of {} that is not as declared; it is kept and not shown",
            declared.misfits,
            declared.declaration.path()
        );
    }
}

fn list(data: &Path, format: Format, tenant: &str) -> Outcome {
    let declarations = look(data, tenant, |snapshot, tenant| {
        attributes::list(snapshot, tenant.id)
    })?;
    let rows: Vec<Value> = declarations.iter().map(row).collect();
    let columns = [
        ("FOR", "resourceType"),
        ("ATTRIBUTE", "path"),
        ("TYPE", "type"),
        ("SEVERAL", "multiValued"),
        ("REQUIRED", "required"),
        ("MATCHING", "matching"),
        ("UNIQUE", "unique"),
        ("BUILT IN", "builtIn"),
    ];
    table::print(format, &columns, &rows)
}

fn row(declaration: &Declaration) -> Value {
    let attribute = json!(declaration.attribute);
    json!({
        "resourceType": declaration.resource_type,
        "schema": declaration.schema,
        "path": declaration.path().to_string(),
        "type": attribute["type"],
        "multiValued": attribute["multiValued"],
        "required": attribute["required"],
        "matching": declaration.matching,
        "unique": declaration.is_unique(),
        "builtIn": declaration.is_built_in(),
        "attribute": attribute,
    })
}
