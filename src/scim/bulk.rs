//! Bulk requests (RFC 7644 §3.7): many operations in one request, which may refer to what others of them create.
//!
//! Reading them, their order and their references are functions of the request alone. What is wrong with one operation
//! is kept with it, for the others go on (§3.7.3). Doing them is left to `provision`.

mod references;

use std::cell::RefCell;
use std::collections::{BTreeSet, HashMap};

use serde::Serialize;
use serde_json::{Map, Value};

use super::ScimError;
use super::dialect::{check_names, check_schemas};
use super::member::MEMBERS;
use super::message::parse_json_but;
use super::schema::Kind;
use super::validate::{excerpt, wrong_type};
use references::{REFERENCE, collect};

pub use references::resolve;

/// Most operations of one request (RFC 7644 §3.7.4).
pub const MAX_OPERATIONS: usize = 1000;

const BULK_REQUEST_URN: &str = "urn:ietf:params:scim:api:messages:2.0:BulkRequest";
const BULK_RESPONSE_URN: &str = "urn:ietf:params:scim:api:messages:2.0:BulkResponse";

/// A bulk request, read.
#[derive(Clone, Debug)]
pub struct BulkRequest {
    /// In the client's order.
    pub operations: Vec<Operation>,
    /// After how many refusals the rest is left undone; None: never.
    pub fail_on_errors: Option<u64>,
    /// Which operation creates what a bulkId stands for; None: several claim to.
    creators: HashMap<String, Option<usize>>,
}

/// One operation. Of what it says, all that could be read is here, for the answer repeats it.
#[derive(Clone, Debug)]
pub struct Operation {
    /// The HTTP method.
    pub method: Option<String>,
    /// Relative to the SCIM root.
    pub path: Option<String>,
    /// The client's name for what a POST creates.
    pub bulk_id: Option<String>,
    /// The entity tag that the resource must have, as in `If-Match`.
    pub version: Option<String>,
    /// The body as of a single request, as JSON text, which is a tenth of what its values would take; empty where there is
    /// none.
    pub data: String,
    /// What it asks for, or why that can't be done.
    pub action: Result<Action, ScimError>,
    /// The bulkIds that it refers to.
    pub references: BTreeSet<String>,
    /// Those of them among the members of the group that it creates.
    members: BTreeSet<String>,
}

/// What an operation asks for. An id may still be a reference.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// POST.
    Create(Kind),
    /// PUT.
    Replace(Kind, String),
    /// PATCH.
    Patch(Kind, String),
    /// DELETE.
    Delete(Kind, String),
}

/// Operations that are done together, by their places in the request.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// Nearly always one. Several create resources that refer to each other; users come first, since groups need them,
    /// and a group after those that are its members.
    pub operations: Vec<usize>,
    /// Whether an operation refers, by itself or by others, to what it creates.
    pub circular: bool,
    /// Whether a group would be in itself, as its own member or by way of others: a circle that can't be.
    pub nests_itself: bool,
}

impl BulkRequest {
    /// Reads a BulkRequest body.
    ///
    /// # Errors
    /// 400 for what is no BulkRequest, 413 for more than [`MAX_OPERATIONS`] operations.
    pub fn read(body: &[u8]) -> Result<BulkRequest, ScimError> {
        let operations = RefCell::new((0, vec![]));
        let body = parse_json_but(body, "Operations", &|operation| {
            let (found, operations) = &mut *operations.borrow_mut();
            *found += 1;
            if *found <= MAX_OPERATIONS {
                operations.push(Operation::read(operation));
            }
        })?;
        let (found, operations) = operations.into_inner();
        let Value::Object(mut body) = body else {
            return Err(ScimError::invalid_syntax(
                "the body is not an object where a BulkRequest was expected",
            ));
        };
        check_names(&body)?;
        let is_bulk_request = |urn: &str| urn.eq_ignore_ascii_case(BULK_REQUEST_URN);
        check_schemas(&body, is_bulk_request, BULK_REQUEST_URN)?;
        let fail_on_errors = match member(&mut body, "failOnErrors") {
            Value::Null => None,
            value => Some(
                value
                    .as_u64()
                    .filter(|errors| *errors > 0)
                    .ok_or_else(|| wrong_type("failOnErrors", &value, "a whole number above 0"))?,
            ),
        };
        match member(&mut body, "Operations") {
            Value::Array(_) if found > 0 => {}
            Value::Array(_) => return Err(ScimError::invalid_syntax("Operations is empty")),
            Value::Null => return Err(ScimError::invalid_syntax("Operations is missing")),
            _ => return Err(ScimError::invalid_syntax("Operations is not a list")),
        }
        if found > MAX_OPERATIONS {
            return Err(ScimError::payload_too_large(format!(
                "the bulk request has {found} operations, which exceeds maxOperations ({MAX_OPERATIONS})"
            )));
        }
        let mut request = BulkRequest {
            operations,
            fail_on_errors,
            creators: HashMap::new(),
        };
        request.find_creators();
        Ok(request)
    }

    /// A bulkId is the first operation's that has it. Whoever repeats it is refused, and so is who refers to it: linking
    /// the wrong person would be worse.
    fn find_creators(&mut self) {
        for (index, operation) in self.operations.iter_mut().enumerate() {
            let Some(bulk_id) = operation.creates() else {
                continue;
            };
            match self.creators.get_mut(bulk_id) {
                None => drop(self.creators.insert(bulk_id.to_owned(), Some(index))),
                Some(creator) => {
                    let bulk_id = excerpt(bulk_id);
                    *creator = None;
                    operation.action = operation.action.clone().and_then(|_| {
                        Err(ScimError::invalid_value(format!(
                            "another operation of this request has the bulkId {bulk_id:?} already"
                        )))
                    });
                }
            }
        }
    }

    /// The operation that creates what a bulkId stands for.
    ///
    /// # Errors
    /// 400 `invalidValue` where there is none, or more than one.
    pub fn creator(&self, bulk_id: &str) -> Result<usize, ScimError> {
        let why = match self.creators.get(bulk_id) {
            Some(Some(index)) => return Ok(*index),
            Some(None) => "more than one operation of this request has this bulkId",
            None => "no operation of this request with the method POST has this bulkId",
        };
        let bulk_id = excerpt(bulk_id);
        Err(ScimError::invalid_value(format!(
            "{REFERENCE}{bulk_id} can't be resolved: {why}"
        )))
    }

    /// All operations in the order in which they are to be done: the client's, but for those which others before them
    /// refer to, and which are therefore done earlier (§3.7: "the client's intent is preserved").
    pub fn steps(&self) -> Vec<Step> {
        let needs = self
            .operations
            .iter()
            .map(|operation| &operation.references);
        let mut steps = Order::of(needs.map(|ids| self.creators_of(ids)).collect());
        if steps.iter().all(|step| !step.circular) {
            return steps;
        }
        // Within a circle, the members alone say what comes before what.
        let members = self.operations.iter().map(|operation| &operation.members);
        let nested = Order::of(members.map(|ids| self.creators_of(ids)).collect());
        let mut places = vec![(0, false); self.operations.len()];
        for (place, step) in nested.iter().enumerate() {
            for index in &step.operations {
                places[*index] = (place, step.circular);
            }
        }
        for step in steps.iter_mut().filter(|step| step.circular) {
            let is_group =
                |index: usize| self.operations[index].action == Ok(Action::Create(Kind::Group));
            step.operations.sort_by_key(|index| match is_group(*index) {
                true => (1, places[*index].0, *index),
                false => (0, 0, *index),
            });
            step.nests_itself = step.operations.iter().any(|index| places[*index].1);
        }
        steps
    }

    /// The operations that create what these bulkIds stand for, as far as there are any.
    fn creators_of(&self, bulk_ids: &BTreeSet<String>) -> BTreeSet<usize> {
        let known = bulk_ids
            .iter()
            .filter_map(|id| self.creators.get(id).copied().flatten());
        known.collect()
    }
}

impl Operation {
    fn read(value: Value) -> Operation {
        let mut operation = Operation {
            method: None,
            path: None,
            bulk_id: None,
            version: None,
            data: String::new(),
            action: Err(ScimError::invalid_syntax("the operation is not an object")),
            references: BTreeSet::new(),
            members: BTreeSet::new(),
        };
        if let Value::Object(mut members) = value {
            let names = check_names(&members);
            let data = member(&mut members, "data");
            if !data.is_null() {
                operation.data = data.to_string();
            }
            operation.action = names
                .and(operation.take(members))
                .and_then(|()| operation.asked());
            operation.find_references(&data);
        }
        operation
    }

    fn take(&mut self, members: Map<String, Value>) -> Result<(), ScimError> {
        let mut fault = Ok(());
        for (key, value) in members {
            let text = match key.to_ascii_lowercase().as_str() {
                "method" => &mut self.method,
                "path" => &mut self.path,
                "bulkid" => &mut self.bulk_id,
                "version" => &mut self.version,
                _ => continue,
            };
            match value {
                Value::Null => {}
                Value::String(value) => *text = Some(value),
                other => fault = fault.and(Err(wrong_type(&key, &other, "a string"))),
            }
        }
        fault
    }

    fn asked(&self) -> Result<Action, ScimError> {
        let missing = |what: &str| ScimError::invalid_syntax(format!("{what} is missing"));
        let method = self.method.as_deref().ok_or_else(|| missing("method"))?;
        let path = self.path.as_deref().ok_or_else(|| missing("path"))?;
        if !["POST", "PUT", "PATCH", "DELETE"].contains(&method) {
            return Err(ScimError::invalid_value(format!(
                "method is {:?} where POST, PUT, PATCH or DELETE was expected",
                excerpt(method)
            )));
        }
        let (endpoint, id) = match path.trim_matches('/').split_once('/') {
            Some((endpoint, id)) => (endpoint, Some(id.to_owned())),
            None => (path.trim_matches('/'), None),
        };
        let place = excerpt(path);
        let kind = Kind::ALL
            .into_iter()
            .find(|kind| kind.endpoint() == endpoint)
            .ok_or_else(|| {
                ScimError::not_found(format!(
                    "there is nothing at {place:?}: resources are at /Users and /Groups"
                ))
            })?;
        if method == "POST" && self.bulk_id.as_deref().is_none_or(str::is_empty) {
            return Err(missing("bulkId, which a POST needs,"));
        }
        if method != "DELETE" && self.data.is_empty() {
            return Err(missing("data"));
        }
        match (method, id) {
            ("POST", None) => Ok(Action::Create(kind)),
            ("PUT", Some(id)) => Ok(Action::Replace(kind, id)),
            ("PATCH", Some(id)) => Ok(Action::Patch(kind, id)),
            ("DELETE", Some(id)) => Ok(Action::Delete(kind, id)),
            ("POST", Some(_)) => Err(ScimError::method_not_allowed(format!(
                "POST is not allowed at {place:?}, but at /{endpoint}"
            ))),
            _ => Err(ScimError::method_not_allowed(format!(
                "{method} is not allowed at {place:?}, but at /{endpoint}/ and an id"
            ))),
        }
    }

    /// The bulkId of what it creates, or would if nothing else were wrong with it.
    fn creates(&self) -> Option<&str> {
        let creates = self.method.as_deref() == Some("POST");
        self.bulk_id.as_deref().filter(|_| creates)
    }

    fn find_references(&mut self, data: &Value) {
        if let Ok(Action::Replace(_, id) | Action::Patch(_, id) | Action::Delete(_, id)) =
            &self.action
        {
            let id = id.strip_prefix(REFERENCE).map(str::to_owned);
            self.references.extend(id);
        }
        if !matches!(self.action, Ok(Action::Delete(..))) {
            collect(data, &mut self.references);
        }
        if self.action == Ok(Action::Create(Kind::Group))
            && let Value::Object(data) = data
        {
            let members = data
                .iter()
                .filter(|(key, _)| key.eq_ignore_ascii_case(MEMBERS));
            for (_, value) in members {
                collect(value, &mut self.members);
            }
        }
    }

    /// Its body.
    pub fn body(&self) -> Value {
        // Empty, or what was written here.
        serde_json::from_str(&self.data).unwrap_or_default()
    }

    /// What it came to. A refusal is its `response` (§3.7.3).
    pub fn answer<'a>(
        &'a self,
        status: u16,
        location: Option<String>,
        version: Option<&'a str>,
        refusal: Option<&ScimError>,
    ) -> Answer<'a> {
        Answer {
            bulk_id: self.bulk_id.as_deref(),
            location,
            method: self.method.as_deref(),
            response: refusal.map(ScimError::to_json),
            status: status.to_string(),
            version,
        }
    }
}

impl Action {
    /// The resource type that it is about.
    pub fn kind(&self) -> Kind {
        match self {
            Action::Create(kind)
            | Action::Replace(kind, _)
            | Action::Patch(kind, _)
            | Action::Delete(kind, _) => *kind,
        }
    }

    /// The id that it is about; None for a POST.
    pub fn id(&self) -> Option<&str> {
        match self {
            Action::Create(_) => None,
            Action::Replace(_, id) | Action::Patch(_, id) | Action::Delete(_, id) => Some(id),
        }
    }

    /// The same with an id in the place of a reference.
    ///
    /// # Errors
    /// Those of `id_of`.
    pub fn resolved<E>(self, id_of: impl Fn(&str) -> Result<String, E>) -> Result<Action, E> {
        let id = |id: String| match id.strip_prefix(REFERENCE) {
            Some(bulk_id) => id_of(bulk_id),
            None => Ok(id),
        };
        Ok(match self {
            Action::Create(kind) => Action::Create(kind),
            Action::Replace(kind, text) => Action::Replace(kind, id(text)?),
            Action::Patch(kind, text) => Action::Patch(kind, id(text)?),
            Action::Delete(kind, text) => Action::Delete(kind, id(text)?),
        })
    }
}

/// `bulk_id` as it stands in the place of an id.
pub fn reference(bulk_id: &str) -> String {
    format!("{REFERENCE}{bulk_id}")
}

/// A BulkResponse.
#[derive(Debug, Serialize)]
pub struct BulkResponse<'a> {
    schemas: [&'static str; 1],
    #[serde(rename = "Operations")]
    operations: Vec<Answer<'a>>,
}

impl<'a> BulkResponse<'a> {
    /// One that says this.
    pub fn of(operations: Vec<Answer<'a>>) -> BulkResponse<'a> {
        BulkResponse {
            schemas: [BULK_RESPONSE_URN],
            operations,
        }
    }
}

/// What an operation came to, as an element of a BulkResponse's `Operations`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Answer<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    bulk_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    location: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    method: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    response: Option<Value>,
    status: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<&'a str>,
}

fn member(object: &mut Map<String, Value>, name: &str) -> Value {
    let key = object.keys().find(|key| key.eq_ignore_ascii_case(name));
    match key.cloned() {
        Some(key) => object.remove(&key).unwrap_or_default(),
        None => Value::Null,
    }
}

/// Tarjan's strongly connected components: each is complete only after all that it needs, which is the order that is
/// wanted, and a component of several is a circle. Recursion goes as deep as references do, [`MAX_OPERATIONS`] at most.
struct Order {
    /// What each operation refers to.
    needs: Vec<BTreeSet<usize>>,
    /// The order of the visits.
    numbers: Vec<Option<usize>>,
    /// The first visited operation of those still open that each leads to.
    lowest: Vec<usize>,
    /// Visited, but in no step yet.
    open: Vec<usize>,
    visited: usize,
    steps: Vec<Step>,
}

impl Order {
    /// The steps of operations that need each other like this.
    fn of(needs: Vec<BTreeSet<usize>>) -> Vec<Step> {
        let count = needs.len();
        let mut order = Order {
            needs,
            numbers: vec![None; count],
            lowest: vec![0; count],
            open: Vec::new(),
            visited: 0,
            steps: Vec::new(),
        };
        for index in 0..count {
            if order.numbers[index].is_none() {
                order.visit(index);
            }
        }
        order.steps
    }

    fn visit(&mut self, index: usize) {
        let number = self.visited;
        self.visited += 1;
        self.numbers[index] = Some(number);
        self.lowest[index] = number;
        self.open.push(index);
        for needed in self.needs[index].clone() {
            match self.numbers[needed] {
                None => {
                    self.visit(needed);
                    self.lowest[index] = self.lowest[index].min(self.lowest[needed]);
                }
                Some(number) if self.open.contains(&needed) => {
                    self.lowest[index] = self.lowest[index].min(number);
                }
                Some(_) => {}
            }
        }
        if self.lowest[index] == number {
            let start = self.open.iter().rposition(|open| *open == index);
            let operations = self.open.split_off(start.unwrap_or_default());
            self.steps.push(Step {
                circular: operations.len() > 1 || self.needs[index].contains(&index),
                nests_itself: false,
                operations,
            });
        }
    }
}

#[cfg(test)]
mod tests;
