//! Prints a filter so that parsing it again gives the same tree.

use std::fmt;

use super::{CompareOp, Filter};

impl fmt::Display for CompareOp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Filter::Or(left, right) => {
                write!(f, "{left} or ")?;
                operand(right, matches!(**right, Filter::Or(..)), f)
            }
            Filter::And(left, right) => {
                operand(left, matches!(**left, Filter::Or(..)), f)?;
                f.write_str(" and ")?;
                operand(
                    right,
                    matches!(**right, Filter::Or(..) | Filter::And(..)),
                    f,
                )
            }
            Filter::Not(inner) => write!(f, "not ({inner})"),
            Filter::Present(attr) => write!(f, "{attr} pr"),
            // A `Value` prints as JSON, so strings come out quoted and escaped.
            Filter::Compare { attr, op, value } => write!(f, "{attr} {op} {value}"),
            Filter::ValuePath { attr, filter } => write!(f, "{attr}[{filter}]"),
        }
    }
}

/// Parentheses go where `and` would otherwise bind tighter, or the chain would lean to the left.
fn operand(filter: &Filter, in_parentheses: bool, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    if in_parentheses {
        write!(f, "({filter})")
    } else {
        write!(f, "{filter}")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{Just, Strategy, any, prop, prop_assert_eq, prop_oneof, proptest};
    use serde_json::{Number, Value};

    use crate::scim::filter::{CompareOp, Filter};
    use crate::scim::path::AttrPath;

    fn name() -> impl Strategy<Value = String> {
        "[a-zA-Z][a-zA-Z0-9_-]{0,8}|\\$ref"
            .prop_filter("not is reserved", |name| !name.eq_ignore_ascii_case("not"))
    }

    fn condition(
        attr: impl Strategy<Value = AttrPath> + Clone + 'static,
    ) -> impl Strategy<Value = Filter> {
        let value = prop_oneof![
            any::<String>().prop_map(|text| Value::from(text.replace('\0', ""))),
            any::<i64>().prop_map(Value::from),
            prop::num::f64::NORMAL
                .prop_map(|it| Number::from_f64(it).map_or(Value::Null, Value::Number)),
            any::<bool>().prop_map(Value::from),
            Just(Value::Null),
        ];
        let op = prop::sample::select(&CompareOp::ALL[..]);
        prop_oneof![
            attr.clone().prop_map(Filter::Present),
            (attr, op, value).prop_map(|(attr, op, value)| Filter::Compare { attr, op, value }),
        ]
    }

    fn connected(leaf: impl Strategy<Value = Filter> + 'static) -> impl Strategy<Value = Filter> {
        leaf.prop_recursive(6, 24, 2, |inner| {
            let pair = (inner.clone(), inner.clone());
            prop_oneof![
                pair.clone()
                    .prop_map(|(left, right)| Filter::And(Box::new(left), Box::new(right))),
                pair.prop_map(|(left, right)| Filter::Or(Box::new(left), Box::new(right))),
                inner.prop_map(|filter| Filter::Not(Box::new(filter))),
            ]
        })
    }

    fn any_filter() -> impl Strategy<Value = Filter> {
        let urn = prop::option::of("urn:[a-z]{1,5}:[a-z:.0-9]{1,9}");
        let attr = (urn, name(), prop::option::of(name()))
            .prop_map(|(urn, name, sub_attr)| AttrPath {
                urn,
                name,
                sub_attr,
            })
            .boxed();
        let plain = name()
            .prop_map(|name| AttrPath {
                urn: None,
                name,
                sub_attr: None,
            })
            .boxed();
        let value_path = (attr.clone(), connected(condition(plain))).prop_map(|(attr, filter)| {
            Filter::ValuePath {
                attr: AttrPath {
                    sub_attr: None,
                    ..attr
                },
                filter: Box::new(filter),
            }
        });
        connected(prop_oneof![3 => condition(attr), 1 => value_path])
    }

    proptest! {
        #[test]
        fn what_is_printed_parses_to_the_same_tree(filter in any_filter()) {
            prop_assert_eq!(Filter::parse(&filter.to_string()).map_err(|error| error.to_string()), Ok(filter));
        }

        #[test]
        fn any_text_parses_or_is_refused(text in r#"([a-z]{1,3}|[ ()\[\]".:$]|and|or|not|eq|pr|\PC){0,30}"#) {
            let _ = Filter::parse(&text);
        }
    }
}
