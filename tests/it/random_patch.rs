//! Random sequences of PATCHes: each leaves a valid resource, and what a second, naive implementation makes of it.

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::{Just, ProptestConfig, Strategy, any, prop_oneof, proptest};
use proptest::sample::{select, subsequence};
use rollcall::scim::dialect::read_patch;
use rollcall::scim::patch::apply;
use rollcall::scim::schema::{ENTERPRISE_URN, Kind};
use rollcall::scim::validate::validate;
use rollcall::scim::{ScimError, ScimType};
use serde_json::{Map, Value, json};

use crate::naive_patch::{Condition, Operation, Target, patch};

/// The lists, each with two of its parts that are texts.
const LISTS: [(&str, [&str; 2]); 3] = [
    ("emails", ["value", "display"]),
    ("phoneNumbers", ["value", "type"]),
    ("addresses", ["locality", "region"]),
];
/// Few, so that much is the same.
const TEXTS: [&str; 4] = ["work", "Work", "a", "ab"];

fn text() -> impl Strategy<Value = &'static str> {
    select(&TEXTS[..])
}

/// One value of a list, never without a text.
fn element(parts: [&'static str; 2]) -> impl Strategy<Value = Value> {
    let texts = (
        subsequence(parts.to_vec(), 1..=2),
        vec(text(), 2),
        option::of(text()),
        option::weighted(0.7, any::<bool>()),
    );
    texts.prop_map(|(parts, texts, kind, primary)| {
        let mut element = Map::new();
        if let Some(kind) = kind {
            element.insert("type".to_owned(), kind.into());
        }
        for (part, text) in parts.into_iter().zip(texts) {
            element.insert(part.to_owned(), text.into());
        }
        if let Some(primary) = primary {
            element.insert("primary".to_owned(), primary.into());
        }
        element.into()
    })
}

fn condition(parts: [&'static str; 2]) -> impl Strategy<Value = Condition> {
    let names = [parts[0], parts[1], "type"];
    let operators = ["eq", "eq", "eq", "ne", "co", "sw", "ew", "pr"];
    let leaf = prop_oneof![
        6 => (select(names.to_vec()), select(operators.to_vec()), text())
            .prop_map(|(part, op, text)| Condition::Text(part, op, text)),
        1 => any::<bool>().prop_map(Condition::Primary),
    ];
    leaf.prop_recursive(2, 4, 2, |inner| {
        let two = (inner.clone(), inner.clone());
        let two = two.prop_map(|(one, other)| (Box::new(one), Box::new(other)));
        prop_oneof![
            3 => two.clone().prop_map(|(one, other)| Condition::Both(one, other)),
            1 => two.prop_map(|(one, other)| Condition::Either(one, other)),
            1 => inner.prop_map(|inner| Condition::Not(Box::new(inner))),
        ]
    })
}

fn on_list() -> impl Strategy<Value = Operation> {
    select(&LISTS[..]).prop_flat_map(|(name, parts)| {
        let part = option::weighted(0.5, select(vec![parts[0], parts[1], "type", "primary"]));
        let whole = vec(element(parts), 1..4);
        let op = select(&["add", "replace", "remove"][..]);
        let condition = option::weighted(0.7, condition(parts));
        (op, condition, part, whole, any::<bool>(), text()).prop_map(
            move |(op, condition, part, whole, primary, text)| {
                let value = match (&condition, part) {
                    _ if op == "remove" => Value::Null,
                    (_, Some("primary")) => primary.into(),
                    (_, Some(_)) => text.into(),
                    (Some(_), None) => whole[0].clone(),
                    (None, None) => whole.into(),
                };
                let target = Target::List(name, condition, part);
                Operation { op, target, value }
            },
        )
    })
}

fn on_the_rest() -> impl Strategy<Value = Operation> {
    let texts = prop_oneof![
        Just(vec!["userName"]),
        Just(vec!["title"]),
        Just(vec!["name", "givenName"]),
        Just(vec!["name", "familyName"]),
        Just(vec![ENTERPRISE_URN, "department"]),
        Just(vec![ENTERPRISE_URN, "manager", "value"]),
    ];
    let texts = (texts, text()).prop_map(|(keys, text)| (Target::Simple(keys), text.into()));
    let active = any::<bool>().prop_map(|it| (Target::Simple(vec!["active"]), it.into()));
    let parts = |names: [&'static str; 2]| {
        (subsequence(names.to_vec(), 1..=2), vec(text(), 2)).prop_map(|(names, texts)| {
            let pairs = names.into_iter().zip(texts);
            Value::from_iter(pairs.map(|(name, text)| (name, json!(text))))
        })
    };
    let name =
        parts(["givenName", "familyName"]).prop_map(|it| (Target::Complex(vec!["name"]), it));
    let manager = text().prop_map(|id| {
        let manager = Target::Complex(vec![ENTERPRISE_URN, "manager"]);
        (manager, json!({ "value": id }))
    });
    let extension =
        parts(["department", "division"]).prop_map(|it| (Target::Extension(ENTERPRISE_URN), it));
    let target = prop_oneof![4 => texts, 1 => active, 2 => name, 1 => manager, 1 => extension];
    (select(&["add", "replace", "remove"][..]), target).prop_map(|(op, (target, value))| {
        let value = if op == "remove" { Value::Null } else { value };
        Operation { op, target, value }
    })
}

fn printed(condition: &Condition) -> String {
    match condition {
        Condition::Text(part, "pr", _) => format!("{part} pr"),
        Condition::Text(part, op, text) => format!("{part} {op} \"{text}\""),
        Condition::Primary(primary) => format!("primary eq {primary}"),
        Condition::Both(one, other) => format!("({}) and ({})", printed(one), printed(other)),
        Condition::Either(one, other) => format!("({}) or ({})", printed(one), printed(other)),
        Condition::Not(inner) => format!("not ({})", printed(inner)),
    }
}

/// The operation as a client sends it; without a path where `pathless` and the target allows that.
fn sent(operation: &Operation, pathless: bool) -> Value {
    let Operation { op, target, value } = operation;
    let pathless = pathless && *op != "remove";
    let path = match target {
        Target::Simple(keys) | Target::Complex(keys) => {
            let separator = if keys[0] == ENTERPRISE_URN { ":" } else { "." };
            let inner = keys[1..].join(".");
            match inner.as_str() {
                "" => keys[0].to_owned(),
                inner => format!("{}{separator}{inner}", keys[0]),
            }
        }
        Target::List(name, condition, part) => {
            let filter = condition.as_ref().map(|it| format!("[{}]", printed(it)));
            let part = part.map(|part| format!(".{part}"));
            format!(
                "{name}{}{}",
                filter.unwrap_or_default(),
                part.unwrap_or_default()
            )
        }
        Target::Extension(urn) => (*urn).to_owned(),
    };
    let is_plain = match target {
        Target::List(_, condition, part) => condition.is_none() && part.is_none(),
        // Without a path, what isn't named in an extension stays.
        Target::Extension(_) => *op == "add",
        Target::Simple(_) | Target::Complex(_) => true,
    };
    match (pathless && is_plain, value) {
        (true, value) => json!({ "op": op, "value": { path: value } }),
        (false, Value::Null) => json!({ "op": op, "path": path }),
        (false, value) => json!({ "op": op, "path": path, "value": value }),
    }
}

fn ours(before: &Value, operations: Vec<Value>) -> Result<Value, ScimError> {
    let user = Kind::User.resource_type();
    let body = json!({"schemas": ["urn:ietf:params:scim:api:messages:2.0:PatchOp"], "Operations": operations});
    let (operations, ignored) = read_patch(body, user, "target")?;
    assert_eq!(ignored, Vec::<String>::new());
    let after = apply(before.as_object().unwrap(), &operations, user)?;
    validate(&after, None, user).unwrap();
    Ok(after.into())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    #[test]
    fn patches_do_what_the_naive_implementation_does(
        there in vec(element(LISTS[0].1), 1..5),
        patches in vec(vec((prop_oneof![4 => on_list(), 1 => on_the_rest()], any::<bool>()), 1..4), 1..8),
    ) {
        let first = Operation { op: "add", target: Target::List("emails", None, None), value: there.into() };
        let mut resource = patch(&json!({"userName": "ada"}), &[first]).unwrap();
        for patched in patches {
            let operations: Vec<Operation> = patched.iter().map(|(it, _)| it.clone()).collect();
            let sent: Vec<Value> = patched.iter().map(|(it, pathless)| sent(it, *pathless)).collect();
            let expected = patch(&resource, &operations);
            let found = ours(&resource, sent.clone())
                .map_err(|error| error.scim_type().map_or("none", ScimType::as_str));
            assert_eq!(found, expected, "{resource:#} {sent:#?}");
            resource = found.unwrap_or(resource);
        }
    }
}
