//! What is expected of an answer, and what is kept of it.

use std::collections::HashMap;

use serde_json::Value;

/// What has been captured so far, by name.
pub type Names = HashMap<String, String>;

/// Holds `found` against what is expected at `place`.
pub fn compare(
    expected: &Value,
    found: Option<&Value>,
    place: &str,
    names: &mut Names,
) -> Result<(), String> {
    match (expected, found) {
        (Value::String(pattern), _) if pattern == "!" => match found {
            None => Ok(()),
            Some(found) => Err(format!("{place} should be absent, found {found}")),
        },
        (_, None) => Err(format!("{place} is missing, expected {expected}")),
        (Value::String(pattern), Some(_)) if pattern == "*" => Ok(()),
        (Value::String(pattern), Some(Value::String(found))) => {
            compare_text(pattern, Some(found), names)
                .map_err(|wanted| format!("{place}: expected {wanted:?}, found {found:?}"))
        }
        (Value::Object(expected), Some(found @ Value::Object(_))) => {
            expected.iter().try_for_each(|(key, expected)| {
                compare(
                    expected,
                    found.get(filled(key, names)?.as_str()),
                    &format!("{place}.{key}"),
                    names,
                )
            })
        }
        (Value::Array(expected), Some(Value::Array(found))) => {
            compare_list(expected, found, place, names)
        }
        (expected, Some(found)) if expected == found => Ok(()),
        (expected, Some(found)) => Err(format!("{place}: expected {expected}, found {found}")),
    }
}

fn compare_list(
    expected: &[Value],
    found: &[Value],
    place: &str,
    names: &mut Names,
) -> Result<(), String> {
    let marker = expected.first().and_then(Value::as_str);
    let any_order = matches!(marker, Some("~" | "..."));
    let wanted = if any_order { &expected[1..] } else { expected };
    if marker != Some("...") && wanted.len() != found.len() {
        return Err(format!(
            "{place}: expected {} items, found {}",
            wanted.len(),
            found.len()
        ));
    }
    if !any_order {
        return wanted
            .iter()
            .zip(found)
            .enumerate()
            .try_for_each(|(index, (wanted, found))| {
                compare(wanted, Some(found), &format!("{place}[{index}]"), names)
            });
    }
    let mut left: Vec<&Value> = found.iter().collect();
    for wanted in wanted {
        let position = left
            .iter()
            .position(|found| compare(wanted, Some(found), place, names).is_ok());
        left.remove(position.ok_or_else(|| format!("{place}: no item is {wanted}"))?);
    }
    Ok(())
}

/// Holds a text against a pattern; the error is the pattern with its names filled in.
pub fn compare_text(pattern: &str, found: Option<&str>, names: &mut Names) -> Result<(), String> {
    if let (Some(name), Some(found)) = (
        pattern
            .strip_prefix("{=")
            .and_then(|rest| rest.strip_suffix('}')),
        found,
    ) {
        names.insert(name.to_owned(), found.to_owned());
        return Ok(());
    }
    let wanted = filled(pattern, names)?;
    let fits = match (wanted.as_str(), found) {
        ("!", found) => found.is_none(),
        (wanted, Some(found)) => matches_pattern(wanted, found),
        (_, None) => false,
    };
    if fits { Ok(()) } else { Err(wanted) }
}

/// Whether `text` fits a pattern in which `*` is any text and `?` any character.
fn matches_pattern(pattern: &str, text: &str) -> bool {
    let (mut wanted, mut found) = (pattern.chars(), text.chars());
    match wanted.next() {
        None => text.is_empty(),
        Some('*') => {
            let mut ends = text.char_indices().map(|(at, _)| at).chain([text.len()]);
            ends.any(|at| matches_pattern(wanted.as_str(), &text[at..]))
        }
        Some(one) => {
            found.next().is_some_and(|it| one == '?' || one == it)
                && matches_pattern(wanted.as_str(), found.as_str())
        }
    }
}

/// `text` with each `{name}` replaced. JSON's braces are never followed by a bare word, so they don't clash.
pub fn filled(text: &str, names: &Names) -> Result<String, String> {
    let mut filled = String::new();
    let mut rest = text;
    while let Some(at) = rest.find('{') {
        let (before, from) = rest.split_at(at);
        filled.push_str(before);
        let name = from[1..].split('}').next().unwrap_or_default();
        let is_name = !name.is_empty()
            && name
                .bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
        if is_name && from.len() > name.len() + 1 {
            filled.push_str(
                names
                    .get(name)
                    .ok_or_else(|| format!("nothing was kept as {{{name}}}"))?,
            );
            rest = &from[name.len() + 2..];
        } else {
            filled.push('{');
            rest = &from[1..];
        }
    }
    Ok(filled + rest)
}

#[test]
fn an_expectation_can_fail() {
    let unlike = [
        (r#"{"a": 1}"#, r#"{"a": 2}"#),
        (r#"{"a": "*"}"#, "{}"),
        (r#"{"a": "!"}"#, r#"{"a": null}"#),
        (r#"["x"]"#, r#"["x", "y"]"#),
        (r#"["x", "y"]"#, r#"["y", "x"]"#),
        (r#"["~", "x"]"#, r#"["x", "y"]"#),
        (r#"["...", "x"]"#, r#"["y"]"#),
        (r#""*ana*""#, r#""bob""#),
        (r#""?*""#, r#""""#),
        (r#""{v}""#, r#""other""#),
    ];
    let mut names = Names::from([("v".to_owned(), "kept".to_owned())]);
    for (expected, found) in unlike {
        let [expected, found]: [Value; 2] =
            [expected, found].map(|text| serde_json::from_str(text).unwrap());
        assert!(
            compare(&expected, Some(&found), "", &mut names).is_err(),
            "{expected} was found in {found}"
        );
    }
}

#[test]
fn an_expectation_can_hold() {
    let alike = [
        (r#"{"a": "*", "b": "!"}"#, r#"{"a": [1], "c": 3}"#),
        (r#"["~", "x", "y"]"#, r#"["y", "x"]"#),
        (r#"["...", {"x": 1}]"#, r#"[{"y": 2}, {"x": 1, "y": 2}]"#),
        (r#""*ana*z""#, r#""bananaz""#),
        (r#""b?b*""#, r#""bob""#),
        (
            r#"["{=w}", "{w}", "a {v}"]"#,
            r#"["W/\"1\"", "W/\"1\"", "a kept"]"#,
        ),
    ];
    let mut names = Names::from([("v".to_owned(), "kept".to_owned())]);
    for (expected, found) in alike {
        let [expected, found]: [Value; 2] =
            [expected, found].map(|text| serde_json::from_str(text).unwrap());
        assert_eq!(compare(&expected, Some(&found), "", &mut names), Ok(()));
    }
}
