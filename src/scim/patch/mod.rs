//! Applies PATCH operations to a document (RFC 7644 §3.5.2).
//!
//! Works on JSON alone: it neither knows who asks nor stores anything, so a failed operation leaves the caller with the
//! document as it was, and "all or nothing" costs no code here. Whether the result is a valid resource is
//! [`validate`]'s question, asked once, after the last operation. What clients write differently has been put right by
//! [`dialect`](crate::scim::dialect): every operation has a path, names are the schema's, values have the attribute's form.

mod list;

use serde_json::{Map, Value};

use crate::scim::ScimError;
use crate::scim::filter::Filter;
use crate::scim::path::{AttrPath, PatchPath};
use crate::scim::resource::{Document, ROLE_NAME, is_extension_of, settle_role_name, spelled_in};
use crate::scim::schema::{Attribute, Kind, Mutability, Resolved, ResourceType, Type};
use crate::scim::stored::check_immutable;
use crate::scim::validate::{MAX_DOCUMENT_BYTES, json_bytes, validate, wrong_type};
pub(in crate::scim) use list::append;
use list::{described, is_listed, list_of, settle};

/// Most changes of one document in one PATCH. Members aren't in the document and don't count.
const MAX_CHANGES: usize = 1000;

/// Most values that the operations of one PATCH may look at, each counted as often as it is looked at and as there are
/// conditions in the filter. The store has one writer, and nobody may keep it busy for long.
const MAX_EFFORT: usize = 100_000;

/// `op` (RFC 7644 §3.5.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {
    /// Sets, or adds to a multi-valued attribute.
    Add,
    /// Makes unassigned.
    Remove,
    /// Sets.
    Replace,
}

/// One strict operation: always with a path.
#[derive(Clone, Debug, PartialEq)]
pub struct Operation {
    /// Its place in the client's list, from 1; several may stem from one pathless operation.
    pub ordinal: usize,
    /// What to do.
    pub op: Op,
    /// To what.
    pub path: PatchPath,
    /// With what. `Remove` has None, or the values to remove (Entra).
    pub value: Option<Value>,
}

impl Operation {
    /// `error` with this operation's ordinal in front.
    pub(in crate::scim) fn refused(&self, error: ScimError) -> ScimError {
        error.at(format!("operation {}", self.ordinal))
    }
}

/// The document after all of `operations`, validated once after the last. An operation without effect is a success, and
/// an equal document tells the caller that nothing changed.
///
/// Operations on a Group's `members` must have been taken out by [`split`](crate::scim::member::split).
///
/// # Errors
/// 400 `noTarget`, `mutability`, `invalidPath` or `invalidValue`. Those of a single operation name its ordinal.
pub fn apply(
    document: &Document,
    operations: &[Operation],
    resource_type: &ResourceType,
) -> Result<Document, ScimError> {
    if operations.len() > MAX_CHANGES {
        let found = operations.len();
        return Err(ScimError::invalid_value(format!(
            "the operations change {found} attributes where at most {MAX_CHANGES} are allowed"
        )));
    }
    // The result is measured at the end, which is late for a list that grows with each operation.
    let given: usize = operations
        .iter()
        .filter_map(|operation| operation.value.as_ref())
        .map(json_bytes)
        .sum();
    if given > MAX_DOCUMENT_BYTES {
        return Err(ScimError::invalid_value(format!(
            "the operations have values of {given} bytes where at most {MAX_DOCUMENT_BYTES} are kept"
        )));
    }
    let mut changed = document.clone();
    let mut effort = Effort(0);
    for operation in operations {
        step(&mut changed, operation, resource_type, &mut effort)
            .map_err(|error| operation.refused(error))?;
    }
    settle_role_name(&mut changed, resource_type.kind);
    validate(&changed, Some(document), resource_type)?;
    check_immutable(document, &changed, resource_type)?;
    Ok(changed)
}

/// How many values have been looked at.
struct Effort(usize);

impl Effort {
    fn spend(&mut self, values: usize) -> Result<(), ScimError> {
        self.0 = self.0.saturating_add(values);
        if self.0 > MAX_EFFORT {
            return Err(ScimError::invalid_value(format!(
                "the operations so far look at more than {MAX_EFFORT} values: send fewer in one request"
            )));
        }
        Ok(())
    }
}

fn step(
    document: &mut Document,
    operation: &Operation,
    resource_type: &ResourceType,
    effort: &mut Effort,
) -> Result<(), ScimError> {
    let (attr, filter) = match &operation.path {
        PatchPath::Extension(urn) => return extension(document, urn, operation),
        PatchPath::Attribute { attr, filter } => (attr, filter.as_ref()),
    };
    if let Some(urn) = &attr.urn
        && resource_type.is_foreign(attr)
        && filter.is_none()
    {
        let key = spelled_in(document, urn);
        return within(document, &key, |object| {
            unknown(object, &attr.name, operation, effort)
        });
    }
    let Some(resolved) = resource_type.resolve(attr) else {
        let kind = resource_type.kind.as_str();
        return Err(ScimError::invalid_path(format!(
            "{attr} is no attribute of a {kind}"
        )));
    };
    let target = Target {
        attr,
        resolved,
        filter,
    };
    match resolved.extension {
        None => target.change(document, operation, effort),
        Some(schema) => within(document, &schema.id, |object| {
            target.change(object, operation, effort)
        }),
    }
}

/// A whole extension object: `add` merges into it, `replace` sets it, `remove` drops it.
fn extension(document: &mut Document, urn: &str, operation: &Operation) -> Result<(), ScimError> {
    let key = spelled_in(document, urn);
    let had_role = document.get(&key).is_some_and(has_role_name);
    match (operation.op, &operation.value) {
        (Op::Remove, None) => drop(document.remove(&key)),
        (Op::Remove, Some(value)) if document.get(&key) == Some(value) => {
            drop(document.remove(&key))
        }
        (Op::Remove, Some(_)) => {}
        (Op::Replace, Some(Value::Object(object))) => {
            drop(document.insert(key.clone(), object.clone().into()))
        }
        (Op::Add, Some(Value::Object(object))) => within(document, &key, |inner| {
            merge(inner, object);
            Ok(())
        })?,
        (_, value) => {
            return Err(wrong_type(
                urn,
                value.as_ref().unwrap_or(&Value::Null),
                "an object",
            ));
        }
    }
    // The plain roleName came from here, so it goes with it; see `settle_role_name`.
    if had_role
        && is_extension_of(&key, Kind::User)
        && !document.get(&key).is_some_and(has_role_name)
    {
        document.remove(ROLE_NAME);
    }
    Ok(())
}

fn has_role_name(extension: &Value) -> bool {
    extension
        .as_object()
        .is_some_and(|object| object.keys().any(|key| key.eq_ignore_ascii_case(ROLE_NAME)))
}

/// An attribute of an extension without a known schema: JSON is set as it comes, and `add` appends a list to a list.
fn unknown(
    object: &mut Map<String, Value>,
    name: &str,
    operation: &Operation,
    effort: &mut Effort,
) -> Result<(), ScimError> {
    let key = spelled_in(object, name);
    match (operation.op, &operation.value, object.get_mut(&key)) {
        (Op::Add, Some(Value::Array(new)), Some(Value::Array(values))) => {
            effort.spend(values.len() + new.len())?;
            append(values, new.clone())
        }
        (Op::Add | Op::Replace, Some(value), _) => drop(object.insert(key, value.clone())),
        (Op::Remove, Some(value), Some(present)) if value != present => {}
        (Op::Remove, ..) => drop(object.remove(&key)),
        (Op::Add | Op::Replace, None, _) => {
            return Err(ScimError::invalid_value(format!("{name} has no value")));
        }
    }
    Ok(())
}

/// Runs `change` on the object under `key`, an empty one if there is none, and keeps it only if something is in it:
/// without its last sub-attribute, an attribute is unassigned.
fn within(
    object: &mut Map<String, Value>,
    key: &str,
    change: impl FnOnce(&mut Map<String, Value>) -> Result<(), ScimError>,
) -> Result<(), ScimError> {
    let mut inner = match object.remove(key) {
        Some(Value::Object(inner)) => inner,
        _ => Map::new(),
    };
    change(&mut inner)?;
    if !inner.is_empty() {
        object.insert(key.to_owned(), inner.into());
    }
    Ok(())
}

/// What an operation on a known attribute points at.
struct Target<'a> {
    attr: &'a AttrPath,
    resolved: Resolved<'a>,
    filter: Option<&'a Filter>,
}

impl Target<'_> {
    fn change(
        &self,
        object: &mut Map<String, Value>,
        operation: &Operation,
        effort: &mut Effort,
    ) -> Result<(), ScimError> {
        let Resolved {
            attribute,
            sub_attribute,
            ..
        } = self.resolved;
        if attribute.mutability == Mutability::ReadOnly
            || self.resolved.leaf().mutability == Mutability::ReadOnly
        {
            return Err(ScimError::mutability(format!("{} is readOnly", self.attr)));
        }
        if operation.op == Op::Remove && self.resolved.leaf().required {
            return Err(ScimError::mutability(format!(
                "{} is required and can't be removed",
                self.attr
            )));
        }
        let value = operation.value.as_ref();
        if attribute.multi_valued {
            let mut values = match object.remove(&attribute.name) {
                Some(Value::Array(values)) => values,
                _ => Vec::new(),
            };
            let conditions = self.filter.map_or(1, Filter::conditions);
            effort.spend(values.len() * conditions)?;
            self.change_list(&mut values, operation.op, value)?;
            if !values.is_empty() {
                object.insert(attribute.name.clone(), values.into());
            }
            return Ok(());
        }
        if self.filter.is_some() {
            return Err(ScimError::invalid_path(format!(
                "{} has one value, so a filter can't select from it",
                self.attr
            )));
        }
        match sub_attribute {
            None => assign(object, attribute, operation.op, value),
            Some(sub) => within(object, &attribute.name, |inner| {
                assign(inner, sub, operation.op, value)
            }),
        }
    }

    fn change_list(
        &self,
        values: &mut Vec<Value>,
        op: Op,
        value: Option<&Value>,
    ) -> Result<(), ScimError> {
        match (op, self.filter, self.resolved.sub_attribute) {
            (Op::Remove, None, None) => match value {
                None => values.clear(),
                Some(_) => values.retain(|present| !is_listed(present, value)),
            },
            (Op::Remove, ..) => self.remove_selected(values, value),
            (Op::Add, None, None) => append(values, list_of(self.given(value)?)),
            (Op::Replace, None, None) => {
                values.clear();
                append(values, list_of(self.given(value)?));
            }
            (Op::Add, None, Some(sub)) if sub.name == "value" => {
                append(values, vec![single(sub, self.given(value)?).into()]);
            }
            (Op::Add | Op::Replace, ..) => self.set_selected(values, op, self.given(value)?)?,
        }
        Ok(())
    }

    /// `remove` behind a filter or of a sub-attribute. With `value`, only where it is what is there.
    fn remove_selected(&self, values: &mut Vec<Value>, value: Option<&Value>) {
        let selected = self.selected(values);
        let mut at = 0;
        values.retain_mut(|present| {
            at += 1;
            if selected.binary_search(&(at - 1)).is_err() {
                return true;
            }
            match (self.resolved.sub_attribute, present) {
                (Some(sub), Value::Object(object)) => {
                    if value.is_none_or(|value| object.get(&sub.name) == Some(value)) {
                        object.remove(&sub.name);
                    }
                    // A label without anything labelled says nothing.
                    object.keys().any(|key| key != "type" && key != "primary")
                }
                (_, present) => value.is_some() && !is_listed(present, value),
            }
        });
        // Without the part that told them apart, two values may be one.
        settle(values, &[]);
    }

    fn set_selected(
        &self,
        values: &mut Vec<Value>,
        op: Op,
        value: &Value,
    ) -> Result<(), ScimError> {
        let given = match (self.resolved.sub_attribute, value) {
            (Some(sub), value) => single(sub, value),
            (None, Value::Object(given)) => given.clone(),
            (None, value) => return Err(wrong_type(self.attr, value, "an object")),
        };
        let mut selected = self.selected(values);
        if selected.is_empty() {
            selected.push(values.len());
            values.push(self.created(&given)?.into());
        } else {
            let whole = op == Op::Replace && self.resolved.sub_attribute.is_none();
            for &at in &selected {
                let Value::Object(object) = &mut values[at] else {
                    continue;
                };
                if whole {
                    *object = self.described().unwrap_or_default();
                }
                merge(object, &given);
            }
        }
        settle(values, &selected);
        Ok(())
    }

    /// The element that `add` and `replace` make where none matches: what the filter says about it, and what is given,
    /// unless these contradict each other.
    ///
    /// RFC 7644 §3.5.2.3 wants `noTarget` for `replace`, but Entra ID and Microsoft's validator rely on
    /// `emails[type eq "work"].value` to work for a user without a work email.
    fn created(&self, given: &Map<String, Value>) -> Result<Map<String, Value>, ScimError> {
        let Resolved { attribute, .. } = self.resolved;
        let Some(filter) = self.filter else {
            return Err(ScimError::no_target(format!(
                "{} has no value",
                attribute.name
            )));
        };
        let mut element = self.described().unwrap_or_default();
        merge(&mut element, given);
        if self.described().is_none() || !filter.matches_value(&element, attribute) {
            let name = &attribute.name;
            return Err(ScimError::no_target(format!(
                "no value of {name} matches {filter}"
            )));
        }
        Ok(element)
    }

    /// What the filter says about the values that it selects, if it is of a form that says it.
    fn described(&self) -> Option<Map<String, Value>> {
        self.filter
            .and_then(|filter| described(filter, self.resolved.attribute))
    }

    /// The values that the filter selects, as positions in ascending order; all of them where there is no filter.
    fn selected(&self, values: &[Value]) -> Vec<usize> {
        let Some(filter) = self.filter else {
            return (0..values.len()).collect();
        };
        let attribute = self.resolved.attribute;
        let matches = |value: &Value| {
            value
                .as_object()
                .is_some_and(|value| filter.matches_value(value, attribute))
        };
        values
            .iter()
            .enumerate()
            .filter(|(_, value)| matches(value))
            .map(|(at, _)| at)
            .collect()
    }

    fn given<'v>(&self, value: Option<&'v Value>) -> Result<&'v Value, ScimError> {
        value.ok_or_else(|| ScimError::invalid_value(format!("{} has no value", self.attr)))
    }
}

/// Sets or removes a single-valued attribute. Of a complex one, `add` and `replace` change only the sub-attributes given.
fn assign(
    object: &mut Map<String, Value>,
    attribute: &Attribute,
    op: Op,
    value: Option<&Value>,
) -> Result<(), ScimError> {
    let name = &attribute.name;
    match (op, value, object.get_mut(name)) {
        // Of a complex attribute that stands for no single value, only the parts that are listed.
        (Op::Remove, Some(Value::Object(listed)), Some(Value::Object(present)))
            if !listed.contains_key("value") =>
        {
            present.retain(|part, value| listed.get(part) != Some(value));
            if present.is_empty() {
                object.remove(name);
            }
        }
        (Op::Remove, Some(value), Some(present)) if !is_listed(present, Some(value)) => {}
        (Op::Remove, ..) => drop(object.remove(name)),
        (_, None, _) => return Err(ScimError::invalid_value(format!("{name} has no value"))),
        (_, Some(Value::Object(new)), Some(Value::Object(present))) => merge(present, new),
        (_, Some(value), _) if attribute.data_type == Type::Complex && !value.is_object() => {
            return Err(wrong_type(name, value, "an object"));
        }
        (_, Some(value), _) => merge(object, &single(attribute, value)),
    }
    Ok(())
}

/// Sets the members of `new` in `object`. A `$ref` is the address of the `value` beside it and goes with the old one.
fn merge(object: &mut Map<String, Value>, new: &Map<String, Value>) {
    if new
        .get("value")
        .is_some_and(|value| object.get("value") != Some(value))
    {
        object.remove("$ref");
    }
    object.extend(new.clone());
}

/// An object with one attribute.
fn single(attribute: &Attribute, value: &Value) -> Map<String, Value> {
    Map::from_iter([(attribute.name.clone(), value.clone())])
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::scim::dialect::read_patch;

    /// What a client with a valid token could otherwise keep the writer busy with for minutes.
    #[test]
    fn refuses_operations_that_look_at_too_many_values() {
        let user = Kind::User.resource_type();
        let emails: Vec<_> = (0..1000)
            .map(|i| json!({"value": format!("{i}@x"), "type": i.to_string()}))
            .collect();
        let badges: Vec<_> = (0..4000).collect();
        let urn = "urn:ietf:params:scim:schemas:extension:acme:2.0:User";
        let before = json!({"userName": "ada", "emails": emails, urn: {"badges": [1]}});
        let patch = |operation: Value, count: usize| {
            let operations = vec![operation; count];
            let body = json!({"schemas": ["x:PatchOp"], "Operations": operations});
            let (operations, _) = read_patch(body, user, "1").unwrap();
            apply(before.as_object().unwrap(), &operations, user).map(drop)
        };
        let by_type = json!({"op": "remove", "path": "emails[type eq \"x\" or type eq \"y\"]"});
        assert_eq!(patch(by_type.clone(), 50), Ok(()));
        let refusal = patch(by_type, 51).unwrap_err();
        assert!(
            refusal
                .detail()
                .starts_with("operation 51: the operations so far look at more than"),
            "{refusal}"
        );
        let unknown = json!({"op": "add", "path": format!("{urn}:badges"), "value": badges});
        assert_eq!(patch(unknown.clone(), 2), Ok(()));
        assert!(patch(unknown, 30).is_err());
        let long =
            json!({"op": "replace", "path": format!("{urn}:photo"), "value": "x".repeat(60_000)});
        assert!(patch(long, 18).is_err_and(|error| error.detail().contains("1080036 bytes")));
    }
}
