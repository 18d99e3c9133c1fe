//! A client's PatchOp (RFC 7644 §3.5.2), brought into strict operations.

use serde_json::{Map, Value};

use super::names::{Place, expand, is_foreign_role, locate};
use super::values::{check_names, is_unassigned, read, read_one, spelled_boolean};
use super::{check_schemas, each_once};
use crate::scim::ScimError;
use crate::scim::filter::Filter;
use crate::scim::member::MEMBERS;
use crate::scim::patch::{Op, Operation};
use crate::scim::path::{AttrPath, PatchPath};
use crate::scim::resource::ROLE_NAME;
use crate::scim::schema::{Attribute, Kind, Mutability, Resolved, ResourceType, Type};
use crate::scim::validate::{excerpt, missing, short_name, wrong_type};

/// Most operations in one PATCH. Entra ID's newer dialect removes each member with its own.
const MAX_OPERATIONS: usize = 10_000;

/// Reads a PatchOp body into strict operations: one for each attribute, each with a path, in order.
///
/// `id` is the target's id: the same `id` inside a pathless value is ignored (Okta), another is 400 `mutability`.
/// The second half names what was ignored (unknown keys in pathless values).
///
/// # Errors
/// 400 `invalidSyntax` for a body that is no PatchOp; `invalidPath`, `noTarget`, `mutability` or `invalidValue` for an
/// operation, with its ordinal.
pub fn read_patch(
    body: Value,
    resource_type: &ResourceType,
    id: &str,
) -> Result<(Vec<Operation>, Vec<String>), ScimError> {
    let Value::Object(body) = body else {
        return Err(ScimError::invalid_syntax(
            "the body is not an object where a PatchOp was expected",
        ));
    };
    check_names(&body)?;
    // Some clients have another namespace in front of it (entra.md §7.2, 70).
    let is_patch_op = |urn: &str| urn.to_ascii_lowercase().ends_with(":patchop");
    check_schemas(
        &body,
        is_patch_op,
        "urn:ietf:params:scim:api:messages:2.0:PatchOp",
    )?;
    let list = match body
        .into_iter()
        .find(|(key, _)| key.eq_ignore_ascii_case("Operations"))
    {
        Some((_, Value::Array(list))) if !list.is_empty() => list,
        Some((_, Value::Array(_))) => return Err(ScimError::invalid_syntax("Operations is empty")),
        Some(_) => return Err(ScimError::invalid_syntax("Operations is not a list")),
        None => return Err(ScimError::invalid_syntax("Operations is missing")),
    };
    if list.len() > MAX_OPERATIONS {
        let found = list.len();
        return Err(ScimError::invalid_value(format!(
            "Operations has {found} elements where at most {MAX_OPERATIONS} are allowed"
        )));
    }
    let mut reader = Reader {
        resource_type,
        id,
        ordinal: 0,
        operations: Vec::new(),
        ignored: Vec::new(),
    };
    for operation in list {
        reader.ordinal += 1;
        let at = format!("operation {}", reader.ordinal);
        reader.operation(operation).map_err(|error| error.at(at))?;
    }
    Ok((reader.operations, each_once(reader.ignored)))
}

struct Reader<'a> {
    resource_type: &'a ResourceType,
    id: &'a str,
    ordinal: usize,
    operations: Vec<Operation>,
    ignored: Vec<String>,
}

impl Reader<'_> {
    fn operation(&mut self, operation: Value) -> Result<(), ScimError> {
        let Value::Object(operation) = operation else {
            return Err(ScimError::invalid_syntax("it is not an object"));
        };
        check_names(&operation)?;
        let (mut op, mut path, mut value) = (None, None, None);
        for (key, member) in operation {
            match key.to_ascii_lowercase().as_str() {
                "op" => op = Some(read_op(&member)?),
                "path" => path = read_path(member)?,
                "value" => value = Some(member),
                _ => {}
            }
        }
        let Some(op) = op else {
            return Err(ScimError::invalid_syntax("op is missing"));
        };
        match path {
            // The core schema's URN as a path means the resource, as no path does.
            Some(path) if !path.eq_ignore_ascii_case(&self.resource_type.core.id) => {
                self.with_path(op, &path, value)
            }
            _ => self.pathless(op, value),
        }
    }

    fn with_path(&mut self, op: Op, text: &str, value: Option<Value>) -> Result<(), ScimError> {
        if text.eq_ignore_ascii_case("schemas") {
            // It follows from what the resource holds, whatever a client adds to it.
            return Ok(());
        }
        if value.is_none() && op != Op::Remove {
            return Err(ScimError::invalid_value(format!(
                "{} of {} has no value",
                name_of(op),
                short_name(text)
            )));
        }
        let value = value.unwrap_or_default();
        match PatchPath::parse(text, self.resource_type)? {
            PatchPath::Extension(urn) => self.extension(op, urn, value),
            PatchPath::Attribute { attr, filter } => {
                let place = locate(&attr, self.resource_type).ok_or_else(|| {
                    let kind = self.resource_type.kind.as_str();
                    ScimError::invalid_path(format!(
                        "the path {} is no attribute of a {kind}",
                        short_name(text)
                    ))
                })?;
                if is_foreign_role(&place, self.resource_type) {
                    self.plain_role(op, value.clone())?;
                }
                self.place(op, place, filter, value)
            }
        }
    }

    fn pathless(&mut self, op: Op, value: Option<Value>) -> Result<(), ScimError> {
        if op == Op::Remove {
            return Err(ScimError::no_target("remove needs a path"));
        }
        let members = match value {
            Some(Value::Object(members)) => members,
            value => {
                return Err(wrong_type(
                    "the value of an operation without a path",
                    &value.unwrap_or_default(),
                    "an object",
                ));
            }
        };
        // "emails[type eq \"work\"].value" as a key is a path of its own.
        let (paths, attributes): (Map<_, _>, Map<_, _>) =
            members.into_iter().partition(|(key, _)| key.contains('['));
        let found = expand(attributes, self.resource_type, &mut self.ignored)?;
        let has_role = found
            .iter()
            .any(|(place, _)| matches!(place, Place::Known(path, _) if path.name == ROLE_NAME));
        for (place, value) in found {
            match &place {
                // Okta sends the group's id beside its new name.
                Place::Known(path, _)
                    if path.urn.is_none() && path.name == "id" && value == self.id =>
                {
                    continue;
                }
                place if is_foreign_role(place, self.resource_type) && !has_role => {
                    self.plain_role(op, value.clone())?
                }
                _ => {}
            }
            self.place(op, place, None, value)?;
        }
        for (path, value) in paths {
            self.with_path(op, &path, Some(value))?;
        }
        Ok(())
    }

    /// The user's role, sent as an extension's: the plain attribute changes with it.
    fn plain_role(&mut self, op: Op, value: Value) -> Result<(), ScimError> {
        let plain = AttrPath {
            urn: None,
            name: ROLE_NAME.to_owned(),
            sub_attr: None,
        };
        match locate(&plain, self.resource_type) {
            Some(place) => self.place(op, place, None, value),
            None => Ok(()),
        }
    }

    fn extension(&mut self, op: Op, urn: String, value: Value) -> Result<(), ScimError> {
        if op == Op::Remove || is_unassigned(&value) {
            self.push(Op::Remove, PatchPath::Extension(urn), None);
            return Ok(());
        }
        let Value::Object(members) = value else {
            return Err(wrong_type(short_name(&urn), &value, "an object"));
        };
        if op == Op::Replace {
            self.push(Op::Remove, PatchPath::Extension(urn.clone()), None);
        }
        self.pathless(
            Op::Add,
            Some(Value::Object(Map::from_iter([(
                urn,
                Value::Object(members),
            )]))),
        )
    }

    fn place(
        &mut self,
        op: Op,
        place: Place<'_>,
        filter: Option<Filter>,
        value: Value,
    ) -> Result<(), ScimError> {
        match place {
            Place::Known(attr, resolved) => self.known(op, attr, &resolved, filter, value),
            Place::Foreign { .. } if filter.is_some() => Err(ScimError::invalid_path(
                "a filter can't select from an attribute of an unknown schema",
            )),
            Place::Foreign { urn, name } => {
                let path = PatchPath::Attribute {
                    attr: AttrPath {
                        urn: Some(urn),
                        name,
                        sub_attr: None,
                    },
                    filter: None,
                };
                match (op, is_unassigned(&value)) {
                    (_, true) => self.push(Op::Remove, path, None),
                    (op, false) => self.push(op, path, Some(value)),
                }
                Ok(())
            }
            Place::Extension(urn) => self.extension(op, urn, value),
        }
    }

    fn known(
        &mut self,
        op: Op,
        attr: AttrPath,
        resolved: &Resolved<'_>,
        filter: Option<Filter>,
        value: Value,
    ) -> Result<(), ScimError> {
        let attribute = resolved.attribute;
        if attribute.mutability == Mutability::ReadOnly
            || resolved.leaf().mutability == Mutability::ReadOnly
        {
            return Err(ScimError::mutability(format!("{attr} is readOnly")));
        }
        let filter = filter.map(|filter| with_types(filter, attribute));
        if let Some(filter) = &filter {
            if !attribute.multi_valued || attribute.data_type != Type::Complex {
                return Err(ScimError::invalid_path(format!(
                    "{} has one value, so a filter can't select from it",
                    attribute.name
                )));
            }
            filter.check_values(attribute)?;
        }
        let whole_list =
            attribute.multi_valued && resolved.sub_attribute.is_none() && filter.is_none();
        let place = attr.to_string();
        let is_members = self.resource_type.kind == Kind::Group && attr.name == MEMBERS;
        let path = PatchPath::Attribute { attr, filter };
        if is_unassigned(&value) {
            return self.unassigned(op, path, resolved, whole_list, &value);
        }
        let value = match &path {
            // A group's members may be many; `member::split` reads them.
            _ if is_members => Some(value),
            PatchPath::Attribute {
                filter: Some(_), ..
            } if resolved.sub_attribute.is_none() => {
                read_one(attribute, lone(value), &place, &mut self.ignored)?
            }
            _ => read(resolved.leaf(), value, &place, &mut self.ignored)?,
        };
        match value {
            None => self.unassigned(op, path, resolved, whole_list, &Value::Null),
            value => {
                self.push(op, path, value);
                Ok(())
            }
        }
    }

    /// An operation whose value is nothing. Entra ID's null update: `add` and `replace` with null or "" unassign. But to add
    /// nothing to a list adds nothing, and to remove an empty list of values removes none.
    fn unassigned(
        &mut self,
        op: Op,
        path: PatchPath,
        resolved: &Resolved<'_>,
        whole_list: bool,
        value: &Value,
    ) -> Result<(), ScimError> {
        let nothing = || Some(Value::Array(Vec::new()));
        match op {
            Op::Remove if value.is_null() => self.push(Op::Remove, path, None),
            Op::Remove if whole_list => self.push(Op::Remove, path, nothing()),
            Op::Remove => self.push(Op::Remove, path, None),
            Op::Add if whole_list => self.push(Op::Add, path, nothing()),
            Op::Add | Op::Replace if resolved.leaf().required => {
                return Err(missing(&resolved.leaf().name));
            }
            // Nobody is enabled by an empty value: that takes true, or the word remove.
            Op::Add | Op::Replace if resolved.attribute.name == "active" => {}
            Op::Add | Op::Replace => self.push(Op::Remove, path, None),
        }
        Ok(())
    }

    fn push(&mut self, op: Op, path: PatchPath, value: Option<Value>) {
        self.operations.push(Operation {
            ordinal: self.ordinal,
            op,
            path,
            value,
        });
    }
}

fn read_op(op: &Value) -> Result<Op, ScimError> {
    // Entra ID writes Add, Remove and Replace.
    match op.as_str().map(str::to_ascii_lowercase).as_deref() {
        Some("add") => Ok(Op::Add),
        Some("remove") => Ok(Op::Remove),
        Some("replace") => Ok(Op::Replace),
        Some(other) => Err(ScimError::invalid_syntax(format!(
            "op is \"{}\" where add, remove or replace was expected",
            excerpt(other)
        ))),
        None => Err(ScimError::invalid_syntax("op is not a string")),
    }
}

/// An absent, null or empty path is none.
fn read_path(path: Value) -> Result<Option<String>, ScimError> {
    match path {
        Value::Null => Ok(None),
        Value::String(path) if path.trim().is_empty() => Ok(None),
        Value::String(path) => Ok(Some(path.trim().to_owned())),
        _ => Err(ScimError::invalid_path("path is not a string")),
    }
}

fn name_of(op: Op) -> &'static str {
    match op {
        Op::Add => "add",
        Op::Remove => "remove",
        Op::Replace => "replace",
    }
}

/// The one value of a list of one: what a filter selects is an element.
fn lone(value: Value) -> Value {
    match value {
        Value::Array(mut values) if values.len() == 1 => values.remove(0),
        value => value,
    }
}

/// Entra ID compares booleans with strings: `roles[primary eq "True"].value`. A number without quotes is a text like any
/// other: no list has numbers in it.
fn with_types(filter: Filter, attribute: &Attribute) -> Filter {
    let inside = |filter: Box<Filter>| Box::new(with_types(*filter, attribute));
    match filter {
        Filter::And(left, right) => Filter::And(inside(left), inside(right)),
        Filter::Or(left, right) => Filter::Or(inside(left), inside(right)),
        Filter::Not(filter) => Filter::Not(inside(filter)),
        Filter::Compare { attr, op, value } => {
            let is_boolean = attribute
                .sub_attribute(&attr.name)
                .is_some_and(|sub| sub.data_type == Type::Boolean);
            let value = match value {
                Value::Number(number) => number.to_string().into(),
                Value::String(text) if is_boolean => {
                    spelled_boolean(&text).map_or(text.into(), Value::Bool)
                }
                value => value,
            };
            Filter::Compare { attr, op, value }
        }
        filter @ (Filter::Present(_) | Filter::ValuePath { .. }) => filter,
    }
}
