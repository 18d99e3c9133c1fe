//! A Group's members, which are rows in the store and never part of its document.

use std::collections::HashSet;

use serde_json::{Value, json};

use super::ScimError;
use super::filter::{CompareOp, Filter};
use super::patch::{Op, Operation};
use super::path::PatchPath;
use super::schema::Kind;
use super::validate::wrong_type;

/// The attribute whose operations [`split`] takes.
pub(super) const MEMBERS: &str = "members";

/// Most conditions, in all, by which a PATCH removes members otherwise than by their ids: each is asked of every member.
const MAX_CONDITIONS: usize = 10;

/// The other end of a membership: a member of a Group, or a Group of a User.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// Its id.
    pub id: String,
    /// Of which resource type it is.
    pub kind: Kind,
    /// displayName, or userName where there is none.
    pub display: String,
    /// What SCIM calls `type`: of a member its resource type, of a User's Group `direct` or `indirect`.
    pub r#type: &'static str,
}

impl Link {
    /// Whether it is no Group that a User is in by way of another alone.
    pub fn is_direct(&self) -> bool {
        self.r#type != INDIRECT
    }

    /// The URL of what it leads to; `base` is that of the SCIM root.
    pub fn location(&self, base: &str) -> String {
        format!("{base}/{}/{}", self.kind.endpoint(), self.id)
    }

    /// The value of `members` or `groups` (RFC 7643 §4.1.2, §4.2).
    pub fn to_json(&self, base: &str) -> Value {
        json!({
            "value": self.id,
            "$ref": self.location(base),
            "display": self.display,
            "type": self.r#type,
        })
    }
}

/// The `type` of a Group that a User is in by way of another alone.
const INDIRECT: &str = "indirect";

/// The value of `type` that is written so; `None`: no such one.
pub fn link_type(text: &str) -> Option<&'static str> {
    let [user, group] = Kind::ALL.map(Kind::as_str);
    [user, group, "direct", INDIRECT]
        .into_iter()
        .find(|known| *known == text)
}

/// One change of a Group's membership. Values are resource ids.
#[derive(Clone, Debug, PartialEq)]
pub enum MemberChange {
    /// Add these; those that are in already stay.
    Add(Vec<String>),
    /// Remove these; unknown and absent ones are no error.
    Remove(Vec<String>),
    /// Remove the members (`{value, type, display, $ref}`) that fulfil the filter (as inside `members[…]`).
    RemoveMatching(Filter),
    /// Exactly these from now on; an empty list removes all.
    Replace(Vec<String>),
}

/// Takes the operations on `members` out of `operations`, as changes in their order.
///
/// # Errors
/// 400 `invalidPath` for a path inside `members` that can't be changed and for too many conditions, 400 `invalidValue` for a value that names no
/// member; each with the operation's ordinal.
pub fn split(operations: Vec<Operation>) -> Result<(Vec<Operation>, Vec<MemberChange>), ScimError> {
    let mut rest = Vec::new();
    let mut changes = Vec::new();
    let mut conditions = 0;
    for operation in operations {
        match operation.path {
            PatchPath::Attribute {
                ref attr,
                ref filter,
            } if attr.urn.is_none() && attr.name == MEMBERS => {
                let change = match (&attr.sub_attr, filter) {
                    (Some(_), _) => Err(ScimError::invalid_path(
                        "a part of a member can't be changed; add or remove the member",
                    )),
                    (None, filter) => {
                        change(operation.op, filter.as_ref(), operation.value.as_ref())
                    }
                };
                let change = change.map_err(|error| operation.refused(error))?;
                if let MemberChange::RemoveMatching(filter) = &change {
                    conditions += filter.conditions();
                }
                if conditions > MAX_CONDITIONS {
                    return Err(operation.refused(ScimError::invalid_path(format!(
                        "more than {MAX_CONDITIONS} conditions select members; remove them by value"
                    ))));
                }
                changes.push(change);
            }
            _ => rest.push(operation),
        }
    }
    Ok((rest, changes))
}

fn change(
    op: Op,
    filter: Option<&Filter>,
    value: Option<&Value>,
) -> Result<MemberChange, ScimError> {
    match (op, filter, value) {
        (Op::Remove, None, None) => Ok(MemberChange::Replace(Vec::new())),
        // Entra ID without the flag aadOptscim062020: only these, against the letter of RFC 7644 §3.5.2.2.
        (Op::Remove, None, Some(value)) => Ok(MemberChange::Remove(ids(value)?)),
        (Op::Remove, Some(filter), _) => Ok(match named(filter) {
            Some(ids) => MemberChange::Remove(ids),
            None => MemberChange::RemoveMatching(filter.clone()),
        }),
        (Op::Add | Op::Replace, Some(_), _) => Err(ScimError::invalid_path(
            "members[…] can only be removed; use the path members with a value to add or replace",
        )),
        (Op::Add, None, value) => Ok(MemberChange::Add(ids(value.unwrap_or(&Value::Null))?)),
        (Op::Replace, None, value) => {
            Ok(MemberChange::Replace(ids(value.unwrap_or(&Value::Null))?))
        }
    }
}

/// The ids that `value` names, each once: a list or a single one of `{"value": id}` or of bare strings. Null is no one.
pub(super) fn ids(value: &Value) -> Result<Vec<String>, ScimError> {
    let mut seen = HashSet::new();
    let mut ids = Vec::new();
    let values = match value {
        Value::Null => &[],
        Value::Array(values) => values.as_slice(),
        value => std::slice::from_ref(value),
    };
    for value in values {
        let id = match value {
            Value::String(id) => Some(id),
            Value::Object(member) => match member
                .iter()
                .find(|(key, _)| key.eq_ignore_ascii_case("value"))
            {
                Some((_, Value::String(id))) => Some(id),
                _ => None,
            },
            _ => None,
        };
        let Some(id) = id else {
            return Err(wrong_type(
                MEMBERS,
                value,
                "an object with the member's id as its value",
            ));
        };
        if seen.insert(id) {
            ids.push(id.clone());
        }
    }
    Ok(ids)
}

/// The ids in `value eq "A" or value eq "B" …`, or None if the filter is of another form.
fn named(filter: &Filter) -> Option<Vec<String>> {
    match filter {
        Filter::Or(left, right) => {
            let mut ids = named(left)?;
            ids.extend(named(right)?);
            Some(ids)
        }
        Filter::Compare {
            attr,
            op: CompareOp::Eq,
            value: Value::String(id),
        } if attr.urn.is_none()
            && attr.sub_attr.is_none()
            && attr.name.eq_ignore_ascii_case("value") =>
        {
            Some(vec![id.clone()])
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::scim::dialect::read_patch;
    use crate::scim::schema::Kind;

    fn changes(operations: Value) -> Result<Vec<MemberChange>, String> {
        let body = json!({"schemas": ["urn:ietf:params:scim:api:messages:2.0:PatchOp"], "Operations": operations});
        let (operations, _) = read_patch(body, Kind::Group.resource_type(), "g")
            .map_err(|error| error.to_string())?;
        let (rest, changes) = split(operations).map_err(|error| error.to_string())?;
        assert_eq!(rest, []);
        Ok(changes)
    }

    fn these(ids: &[&str]) -> Vec<String> {
        ids.iter().map(|id| (*id).to_owned()).collect()
    }

    #[track_caller]
    fn gives(operation: Value, change: MemberChange) {
        assert_eq!(changes(json!([operation])), Ok(vec![change]));
    }

    #[test]
    fn reads_members_in_every_form() {
        let entra =
            json!([{"$ref": null, "value": "U1"}, {"$ref": null, "value": "U2"}, {"value": "U1"}]);
        gives(
            json!({"op": "Add", "path": "members", "value": entra}),
            MemberChange::Add(these(&["U1", "U2"])),
        );
        gives(
            json!({"op": "add", "path": "members", "value": "U1"}),
            MemberChange::Add(these(&["U1"])),
        );
        gives(
            json!({"op": "add", "path": "members", "value": {"value": "U1"}}),
            MemberChange::Add(these(&["U1"])),
        );
        gives(
            json!({"op": "add", "value": {"members": ["U1"]}}),
            MemberChange::Add(these(&["U1"])),
        );
        gives(
            json!({"op": "replace", "path": "Members", "value": []}),
            MemberChange::Replace(vec![]),
        );
        gives(
            json!({"op": "replace", "path": "members", "value": null}),
            MemberChange::Replace(vec![]),
        );
    }

    #[test]
    fn an_empty_list_never_removes_more_than_it_says() {
        gives(
            json!({"op": "add", "path": "members", "value": []}),
            MemberChange::Add(vec![]),
        );
        gives(
            json!({"op": "remove", "path": "members", "value": []}),
            MemberChange::Remove(vec![]),
        );
        gives(
            json!({"op": "remove", "path": "members", "value": ""}),
            MemberChange::Remove(vec![]),
        );
        gives(
            json!({"op": "remove", "path": "members"}),
            MemberChange::Replace(vec![]),
        );
    }

    #[test]
    fn removes_by_list_and_by_filter() {
        let list = json!([{"$ref": null, "value": "U1"}]);
        gives(
            json!({"op": "Remove", "path": "members", "value": list}),
            MemberChange::Remove(these(&["U1"])),
        );
        gives(
            json!({"op": "remove", "path": "members[value eq \"U1\"]"}),
            MemberChange::Remove(these(&["U1"])),
        );
        gives(
            json!({"op": "remove", "path": "members[value eq \"U1\" or value eq \"U2\"]"}),
            MemberChange::Remove(these(&["U1", "U2"])),
        );
        let filter = Filter::parse("type eq \"Group\"").unwrap();
        gives(
            json!({"op": "remove", "path": "members[type eq \"Group\"]"}),
            MemberChange::RemoveMatching(filter),
        );
    }

    #[test]
    fn keeps_the_order_of_changes() {
        let both = changes(json!([
            {"op": "remove", "path": "members[value eq \"U1\"]"},
            {"op": "add", "path": "members", "value": [{"value": "U1"}]},
        ]));
        assert_eq!(
            both,
            Ok(vec![
                MemberChange::Remove(these(&["U1"])),
                MemberChange::Add(these(&["U1"]))
            ])
        );
    }

    #[track_caller]
    fn refuses(operation: Value, expected: &str) {
        let error = changes(json!([operation])).unwrap_err();
        assert!(error.starts_with(expected), "{error}");
    }

    #[test]
    fn few_conditions_are_asked_of_every_member() {
        let by_display = |count: usize| {
            let operation = json!({"op": "remove", "path": "members[display eq \"x\"]"});
            changes(vec![operation; count].into()).map(|changes| changes.len())
        };
        assert_eq!(by_display(10), Ok(10));
        assert!(by_display(11).is_err_and(|error| error.contains("operation 11")));
        let by_id = json!({"op": "remove", "path": "members[value eq \"x\"]"});
        assert_eq!(
            changes(vec![by_id; 1000].into()).map(|it| it.len()),
            Ok(1000)
        );
    }

    #[test]
    fn refuses_what_would_change_a_member_in_place() {
        refuses(
            json!({"op": "add", "path": "members[value eq \"U1\"]", "value": {"value": "U1"}}),
            "400 invalidPath: operation 1",
        );
        refuses(
            json!({"op": "replace", "path": "members[value eq \"U1\"].type", "value": "User"}),
            "400 invalidPath: operation 1",
        );
        refuses(
            json!({"op": "remove", "path": "members.value"}),
            "400 invalidPath: operation 1",
        );
        refuses(
            json!({"op": "add", "path": "members", "value": [{"display": "x"}]}),
            "400 invalidValue: operation 1",
        );
        refuses(
            json!({"op": "add", "path": "members", "value": 7}),
            "400 invalidValue: operation 1",
        );
    }
}
