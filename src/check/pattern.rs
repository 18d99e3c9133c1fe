//! What an answer is held against: JSON in which some texts mean more than themselves.
//!
//! | in a pattern | fits |
//! | --- | --- |
//! | `"a*b"` | a text; `*` is any text in it, `?` any character, `{name}` what was kept as that |
//! | `"*"` | any value that is there |
//! | `"!"`, `[]` | nothing: absent, null and the empty list are the same state (RFC 7643 §2.5) |
//! | `"!true"` | anything but that, also nothing |
//! | `"<integer>"` | a value of this type: also `<string>`, `<boolean>`, `<dateTime>`, `<object>`, `<list>` |
//! | `"{=name}"` | any text, number or boolean, which is kept as `name` |
//! | `{"a": …}` | an object with these, its names in any case (RFC 7643 §2.1); what isn't named doesn't matter |
//! | `[…]` | a list, item by item |
//! | `["~", …]`, `["...", …]` | these in any order; at least these |
//! | `["!", …]`, `["max 2"]` | none of these; at most so many |
//! | `["each", …]` | all items fit this one |

use std::collections::HashMap;
use std::fmt;

use serde_json::{Map, Value};

/// What was kept, by name.
pub type Names = HashMap<String, String>;

/// Where an answer is another than it must be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unlike {
    /// As in `.emails[0].value`; empty for the whole.
    pub place: String,
    /// What would have fitted.
    pub expected: String,
    /// What is there.
    pub found: String,
}

impl fmt::Display for Unlike {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place = match self.place.trim_start_matches('.') {
            "" => "the body",
            place => place,
        };
        write!(
            f,
            "{place}: expected {}, found {}",
            self.expected, self.found
        )
    }
}

/// Holds `found` against `pattern`, and keeps what that says.
///
/// # Errors
///
/// The first place where they differ.
pub fn compare(pattern: &Value, found: Option<&Value>, names: &mut Names) -> Result<(), Unlike> {
    compare_at("", pattern, found, names)
}

fn compare_at(
    place: &str,
    pattern: &Value,
    found: Option<&Value>,
    names: &mut Names,
) -> Result<(), Unlike> {
    let found = found.filter(|found| !is_nothing(found));
    let unlike = |expected: &str| Unlike {
        place: place.to_owned(),
        expected: expected.to_owned(),
        found: found.map_or_else(|| "nothing".to_owned(), shown),
    };
    match (pattern, found) {
        (Value::String(pattern), found) => {
            fits_word(pattern, found, names).map_err(|expected| unlike(&expected))
        }
        (pattern, None) if is_nothing(pattern) => Ok(()),
        (pattern, _) if is_nothing(pattern) => Err(unlike("nothing")),
        (Value::Array(items), None) if matches!(marker(items), Some("!" | "max" | "each")) => {
            Ok(())
        }
        (Value::Object(wanted), Some(Value::Object(found))) => {
            for (key, wanted) in wanted {
                let key = filled(key, names);
                compare_at(&format!("{place}.{key}"), wanted, get(found, &key), names)?;
            }
            Ok(())
        }
        (Value::Array(wanted), Some(Value::Array(found))) => {
            compare_list(place, wanted, found, names)
        }
        (pattern, Some(found)) if pattern == found => Ok(()),
        (pattern, _) => Err(unlike(&shown(&filled_in(pattern, names)))),
    }
}

fn compare_list(
    place: &str,
    pattern: &[Value],
    found: &[Value],
    names: &mut Names,
) -> Result<(), Unlike> {
    let unlike = |expected: String| Unlike {
        place: place.to_owned(),
        expected,
        found: shown(&Value::Array(found.to_vec())),
    };
    let items = |count: usize| format!("{count} items");
    match marker(pattern) {
        Some("max") => {
            let word = pattern[0].as_str().unwrap_or_default();
            let most: usize = word["max ".len()..].parse().unwrap_or_default();
            match found.len() <= most {
                true => Ok(()),
                false => Err(unlike(format!("{} at most", items(most)))),
            }
        }
        Some("!") => {
            for unwanted in &pattern[1..] {
                let is_like =
                    |item| compare_at(place, unwanted, Some(item), &mut names.clone()).is_ok();
                if found.iter().any(is_like) {
                    let unwanted = shown(&filled_in(unwanted, names));
                    return Err(unlike(format!("no item like {unwanted}")));
                }
            }
            Ok(())
        }
        Some("each") => {
            let mut items = found.iter().enumerate();
            items.try_for_each(|(index, item)| {
                let place = format!("{place}[{index}]");
                let mut wanted = pattern[1..].iter();
                wanted.try_for_each(|wanted| compare_at(&place, wanted, Some(item), names))
            })
        }
        Some(marker) => {
            let wanted = &pattern[1..];
            if marker == "~" && wanted.len() != found.len() {
                return Err(unlike(items(wanted.len())));
            }
            let mut left: Vec<&Value> = found.iter().collect();
            for wanted in wanted {
                let is_like = |item: &&Value| compare_at(place, wanted, Some(item), names).is_ok();
                match left.iter().position(is_like) {
                    Some(position) => drop(left.remove(position)),
                    None => {
                        return Err(unlike(format!(
                            "an item like {}",
                            shown(&filled_in(wanted, names))
                        )));
                    }
                }
            }
            Ok(())
        }
        None if pattern.len() != found.len() => Err(unlike(items(pattern.len()))),
        None => {
            let mut pairs = pattern.iter().zip(found).enumerate();
            pairs.try_for_each(|(index, (wanted, item))| {
                compare_at(&format!("{place}[{index}]"), wanted, Some(item), names)
            })
        }
    }
}

/// What the first text of a list says of the others.
fn marker(items: &[Value]) -> Option<&str> {
    match items.first()?.as_str()? {
        word @ ("~" | "..." | "!" | "each") => Some(word),
        word if word
            .strip_prefix("max ")
            .is_some_and(|most| most.parse::<usize>().is_ok()) =>
        {
            Some("max")
        }
        _ => None,
    }
}

/// Holds a value against a text of a pattern; the error is what would have fitted.
fn fits_word(pattern: &str, found: Option<&Value>, names: &mut Names) -> Result<(), String> {
    let kept = pattern
        .strip_prefix("{=")
        .and_then(|rest| rest.strip_suffix('}'));
    let fits = match (pattern, found) {
        ("!", found) => {
            return found
                .is_none()
                .then_some(())
                .ok_or_else(|| "nothing".to_owned());
        }
        ("*", found) => return found.map(drop).ok_or_else(|| "any value".to_owned()),
        (_, found) if pattern.len() > 1 && pattern.starts_with('!') => {
            let unwanted = filled(&pattern[1..], names);
            let value: Option<Value> = serde_json::from_str(&unwanted).ok();
            let fits = found.is_none_or(|found| Some(found) != value.as_ref());
            return fits
                .then_some(())
                .ok_or_else(|| format!("anything but {unwanted}"));
        }
        (_, None) => false,
        ("<integer>", Some(found)) => found.is_i64() || found.is_u64(),
        ("<string>", Some(found)) => found.is_string(),
        ("<boolean>", Some(found)) => found.is_boolean(),
        ("<object>", Some(found)) => found.is_object(),
        ("<list>", Some(found)) => found.is_array(),
        ("<dateTime>", Some(found)) => found.as_str().is_some_and(is_date_time),
        (_, Some(found)) if kept.is_some() => match found {
            Value::Object(_) | Value::Array(_) | Value::Null => false,
            found => {
                let text = found
                    .as_str()
                    .map_or_else(|| found.to_string(), str::to_owned);
                names.extend(kept.map(|name| (name.to_owned(), text)));
                true
            }
        },
        (pattern, Some(found)) => {
            let text = found.as_str().map(str::to_owned);
            // A number that was kept is compared as such.
            let text = text.or_else(|| {
                (found.is_number() && pattern.starts_with('{')).then(|| found.to_string())
            });
            text.is_some_and(|text| fits_text(&filled(pattern, names), &text))
        }
    };
    let is_type = pattern.starts_with('<') && pattern.ends_with('>');
    match (fits, kept) {
        (true, _) => Ok(()),
        (false, Some(_)) => Err("a simple value".to_owned()),
        (false, None) if is_type => Err(format!(
            "a value of the type {}",
            &pattern[1..pattern.len() - 1]
        )),
        (false, None) => Err(format!("{:?}", filled(pattern, names))),
    }
}

/// Holds a header against a pattern; the error is the pattern with its names filled in.
///
/// # Errors
///
/// As above.
pub fn compare_header(pattern: &str, found: Option<&str>, names: &mut Names) -> Result<(), String> {
    let found = found.map(|found| Value::String(found.to_owned()));
    fits_word(pattern, found.as_ref(), names)
}

/// Whether `text` fits a pattern in which `*` is any text and `?` any character.
///
/// Both may come from a stranger's server, so it takes neither the stack nor more than a step for each pair of characters.
pub fn fits_text(pattern: &str, text: &str) -> bool {
    let (pattern, text): (Vec<char>, Vec<char>) =
        (pattern.chars().collect(), text.chars().collect());
    let (mut wanted, mut found) = (0, 0);
    // Behind the last star, and how much of the text it takes.
    let mut star: Option<(usize, usize)> = None;
    while found < text.len() {
        match pattern.get(wanted) {
            Some('*') => {
                wanted += 1;
                star = Some((wanted, found));
            }
            Some(one) if *one == '?' || *one == text[found] => {
                wanted += 1;
                found += 1;
            }
            _ => match &mut star {
                Some((behind, taken)) => {
                    *taken += 1;
                    (wanted, found) = (*behind, *taken);
                }
                None => return false,
            },
        }
    }
    pattern[wanted..].iter().all(|rest| *rest == '*')
}

/// `text` with each `{name}` replaced. The braces of JSON are never around a bare word, so they don't clash.
pub fn filled(text: &str, names: &Names) -> String {
    fill(text, names, str::to_owned)
}

/// The same for a path, in which a value is one segment or part of a filter.
pub fn filled_path(text: &str, names: &Names) -> String {
    fill(text, names, |value| {
        let escaped = value.bytes().map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                (byte as char).to_string()
            }
            byte => format!("%{byte:02X}"),
        });
        escaped.collect()
    })
}

fn fill(text: &str, names: &Names, write: impl Fn(&str) -> String) -> String {
    let mut filled = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('{') {
        filled.push_str(&rest[..at]);
        rest = &rest[at..];
        let end = rest.find('}').unwrap_or(0);
        match rest.get(1..end).and_then(|name| names.get(name)) {
            Some(value) => {
                filled.push_str(&write(value));
                rest = &rest[end + 1..];
            }
            None => {
                filled.push('{');
                rest = &rest[1..];
            }
        }
    }
    filled + rest
}

/// The same for all texts of a JSON value.
pub fn filled_in(value: &Value, names: &Names) -> Value {
    match value {
        Value::String(text) => Value::String(filled(text, names)),
        Value::Array(items) => items.iter().map(|item| filled_in(item, names)).collect(),
        Value::Object(map) => {
            let pairs = map.iter();
            let pairs = pairs.map(|(key, value)| (filled(key, names), filled_in(value, names)));
            Value::Object(pairs.collect())
        }
        other => other.clone(),
    }
}

/// A value of an object, whose names are without case.
pub fn get<'a>(object: &'a Map<String, Value>, key: &str) -> Option<&'a Value> {
    object.get(key).or_else(|| {
        let mut pairs = object.iter();
        let found = pairs.find(|(known, _)| known.eq_ignore_ascii_case(key));
        found.map(|(_, value)| value)
    })
}

fn is_nothing(value: &Value) -> bool {
    value.is_null() || value.as_array().is_some_and(Vec::is_empty)
}

/// XML Schema's dateTime, by its form (RFC 7643 §2.3.5).
fn is_date_time(text: &str) -> bool {
    let form = "0000-00-00T00:00:00";
    let Some((start, rest)) = text.split_at_checked(form.len()) else {
        return false;
    };
    let fits = |text: &str, form: &str| {
        text.len() == form.len()
            && text
                .bytes()
                .zip(form.bytes())
                .all(|(byte, form)| match form {
                    b'0' => byte.is_ascii_digit(),
                    form => byte == form,
                })
    };
    let zone = match rest.strip_prefix('.') {
        Some(fraction) => fraction.trim_start_matches(|c: char| c.is_ascii_digit()),
        None => rest,
    };
    let is_zone = zone.is_empty() || zone == "Z" || fits(zone, "+00:00") || fits(zone, "-00:00");
    fits(start, form) && is_zone && !rest.starts_with(".Z") && rest != "."
}

/// A value in a sentence: all of it, unless it is long.
fn shown(value: &Value) -> String {
    const LONGEST: usize = 160;
    let text = value.to_string();
    match text.char_indices().nth(LONGEST) {
        None => text,
        Some((end, _)) => format!("{}…", &text[..end]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn held(pattern: &str, found: &str) -> Result<(), Unlike> {
        let [pattern, found]: [Value; 2] =
            [pattern, found].map(|text| serde_json::from_str(text).unwrap());
        let mut names = Names::from([("v".to_owned(), "kept".to_owned())]);
        compare(&pattern, Some(&found), &mut names)
    }

    #[test]
    fn a_pattern_can_fit() {
        for (pattern, found) in [
            (
                r#"{"a": "*", "b": "!", "c": []}"#,
                r#"{"A": [1], "c": null, "d": 3}"#,
            ),
            (r#"{"a": "!"}"#, r#"{"a": []}"#),
            (r#"{"a": "!true", "b": "!true"}"#, r#"{"b": false}"#),
            (r#"["~", "x", "y"]"#, r#"["y", "x"]"#),
            (r#"["...", {"x": 1}]"#, r#"[{"y": 2}, {"x": 1, "y": 2}]"#),
            (
                r#"{"a": ["!", {"x": 1}], "b": ["!", 1]}"#,
                r#"{"a": [{"x": 2}]}"#,
            ),
            (r#"["each", {"a": "*"}]"#, r#"[{"a": 1}, {"a": 2}]"#),
            (r#"["{=n}", "{n}", "!\"{v}\""]"#, r#"[7, 7, "v"]"#),
            (r#"{"a": ["max 2"], "b": ["max 0"]}"#, r#"{"a": [1, 2]}"#),
            (r#""*ana*z""#, r#""bananaz""#),
            (r#""b?b*""#, r#""bob""#),
            (
                r#"["{=w}", "{w}", "a {v}", "{=n}", "{v}"]"#,
                r#"["W/\"1\"", "W/\"1\"", "a kept", 7, "kept"]"#,
            ),
            (
                r#"["<integer>", "<boolean>", "<string>"]"#,
                r#"[1, false, ""]"#,
            ),
            (
                r#"["<dateTime>", "<dateTime>"]"#,
                r#"["2026-01-02T03:04:05Z", "2026-01-02T03:04:05.678+02:00"]"#,
            ),
        ] {
            assert_eq!(held(pattern, found), Ok(()), "{pattern}");
        }
    }

    #[test]
    fn a_pattern_can_fail() {
        for (pattern, found) in [
            (r#"{"a": 1}"#, r#"{"a": 2}"#),
            (r#"{"a": "*"}"#, r#"{"a": null}"#),
            (r#"{"a": "*"}"#, r#"{"a": []}"#),
            (r#"{"a": "!"}"#, r#"{"a": ""}"#),
            (r#"{"a": []}"#, r#"{"a": [1]}"#),
            (r#"{"a": {}}"#, r#"{"a": []}"#),
            (r#"{"a": "!true"}"#, r#"{"a": true}"#),
            (r#"["x"]"#, r#"["x", "y"]"#),
            (r#"["x", "y"]"#, r#"["y", "x"]"#),
            (r#"["~", "x"]"#, r#"["x", "y"]"#),
            (r#"["...", "x"]"#, r#"["y"]"#),
            (r#"["...", "x"]"#, r#"[]"#),
            (r#"["!", "x"]"#, r#"["x"]"#),
            (r#"["max 1"]"#, r#"["x", "y"]"#),
            (r#"["each", {"a": "*"}]"#, r#"[{"a": 1}, {"b": 2}]"#),
            (r#"["{=n}", "{n}"]"#, "[7, 8]"),
            (r#""!\"{v}\"""#, r#""kept""#),
            (r#""*ana*""#, r#""bob""#),
            (r#""?*""#, r#""""#),
            (r#""{v}""#, r#""other""#),
            (r#""200""#, "200"),
            (r#""<integer>""#, "1.5"),
            (r#""<integer>""#, r#""1""#),
            (r#""<boolean>""#, r#""true""#),
            (r#""<dateTime>""#, r#""2026-01-02""#),
            (r#""<dateTime>""#, r#""2026-01-02T03:04:05 Z""#),
            (r#""{=w}""#, r#"{"a": 1}"#),
        ] {
            assert!(held(pattern, found).is_err(), "{pattern} fits {found}");
        }
    }

    #[test]
    fn a_long_text_is_no_trouble() {
        let long = "a".repeat(100_000);
        assert!(fits_text(&long, &long));
        assert!(!fits_text(&format!("{long}b"), &long));
        assert!(fits_text("*a*a*a*a*a*a*", &long));
        assert!(!fits_text("*a*a*a*a*a*b", &long));
        for (pattern, text, fits) in [
            ("", "", true),
            ("*", "", true),
            ("**", "ab", true),
            ("?", "", false),
            ("a*", "ba", false),
            ("*ab", "aab", true),
            ("a*b?c", "axbbyc", true),
            ("é?", "éü", true),
        ] {
            assert_eq!(fits_text(pattern, text), fits, "{pattern} {text}");
        }
    }

    #[test]
    fn it_says_where() {
        let unlike = held(r#"{"a": [{"b": "{v}"}]}"#, r#"{"a": [{"b": 1}]}"#).unwrap_err();
        assert_eq!(unlike.to_string(), r#"a[0].b: expected "kept", found 1"#);
    }

    #[test]
    fn values_in_a_path_are_escaped() {
        let names = Names::from([("id".to_owned(), "a/b \"c\"".to_owned())]);
        assert_eq!(
            filled_path("/Users/{id}?filter=a eq {other}", &names),
            "/Users/a%2Fb%20%22c%22?filter=a eq {other}"
        );
    }
}
