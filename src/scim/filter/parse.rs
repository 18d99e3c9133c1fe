//! Reads filters and attribute paths by recursive descent (RFC 7644 §3.4.2.2 figure 1, §3.5.2 figure 7).
//!
//! Knows the grammar and no schema: whether an attribute exists is `check`'s question. It forgives more spaces than
//! one, or none beside a bracket, and a string without quotes, because Entra ID's documentation has one:
//! `externalId eq jyoung`.

use std::fmt;

use serde_json::{Number, Value};

use super::{CompareOp, Filter};
use crate::scim::path::AttrPath;

/// Longest filter, in characters. 200 ids joined by `or` fit.
const MAX_LENGTH: usize = 10_000;
/// Most parentheses and brackets within each other, which bounds this parser's stack.
const MAX_DEPTH: usize = 50;
/// Most conditions. A chain of them is as deep as it is long, which bounds the stack of whoever walks the tree, and
/// keeps its SQL well under SQLite's limit of 1,000 levels.
const MAX_TERMS: usize = 500;

/// What stops the parser: one sentence for a [`ScimError`](crate::scim::ScimError) of the caller's kind.
#[derive(Debug)]
pub(in crate::scim) struct SyntaxError(String);

impl fmt::Display for SyntaxError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

type Result<T> = std::result::Result<T, SyntaxError>;

/// Reads the whole of `text` as a filter.
pub(super) fn filter(text: &str) -> Result<Filter> {
    let mut parser = Parser::new(text)?;
    let filter = parser.or()?;
    parser.spaces();
    parser.end("and, or, or the end of the filter")?;
    Ok(filter)
}

/// A place in a text, and how to read on from there. Each method leaves the place behind what it read.
pub(in crate::scim) struct Parser<'a> {
    text: &'a str,
    /// In bytes.
    at: usize,
    depth: usize,
    terms: usize,
    in_brackets: bool,
}

impl<'a> Parser<'a> {
    /// At the beginning of `text`, which must not be too long.
    pub(in crate::scim) fn new(text: &'a str) -> Result<Parser<'a>> {
        let length = text.chars().count();
        if length > MAX_LENGTH {
            return Err(SyntaxError(format!(
                "expected at most {MAX_LENGTH} characters, found {length}"
            )));
        }
        Ok(Parser {
            text,
            at: 0,
            depth: 0,
            terms: 0,
            in_brackets: false,
        })
    }

    /// attrPath: `[urn:]name[.sub]`. The last colon ends the URN, so that the dots in it mean nothing.
    pub(in crate::scim) fn attr_path(&mut self) -> Result<AttrPath> {
        let start = self.at;
        let token = self.token();
        let (urn, names) = match token.rsplit_once(':') {
            Some((urn, names)) => (Some(urn), names),
            None => (None, token),
        };
        if urn == Some("") {
            return Err(self.expected("a schema's URN in front of the colon", start));
        }
        let (name, sub_attr) = match names.split_once('.') {
            Some((name, sub_attr)) => (name, Some(sub_attr)),
            None => (names, None),
        };
        let name_at = self.at - names.len();
        if !is_name(name) {
            let what = if token.is_empty() {
                "an attribute"
            } else {
                "an attribute's name, of letters, digits, - and _"
            };
            return Err(self.expected(what, name_at));
        }
        if sub_attr.is_some_and(|sub_attr| !is_name(sub_attr)) {
            return Err(self.expected(
                format!("one sub-attribute's name after {name}."),
                name_at + name.len() + 1,
            ));
        }
        Ok(AttrPath {
            urn: urn.map(str::to_owned),
            name: name.to_owned(),
            sub_attr: sub_attr.map(str::to_owned),
        })
    }

    /// The filter in brackets behind `attr`, which begins at byte `start`; `None` where no bracket follows.
    pub(in crate::scim) fn brackets(
        &mut self,
        attr: &AttrPath,
        start: usize,
    ) -> Result<Option<Filter>> {
        if !self.rest().starts_with('[') {
            return Ok(None);
        }
        if attr.sub_attr.is_some() {
            return Err(self.expected("an attribute without a sub-attribute in front of [", start));
        }
        if self.in_brackets {
            return Err(self.expected("no brackets within brackets", self.at));
        }
        self.in_brackets = true;
        let filter = self.enclosed(']', format_args!("{attr}["))?;
        self.in_brackets = false;
        Ok(Some(filter))
    }

    /// The sub-attribute after `attr[…]`, with its dot; `None` where no dot follows.
    pub(in crate::scim) fn sub_attr(&mut self, attr: &AttrPath) -> Result<Option<&'a str>> {
        if !self.rest().starts_with('.') {
            return Ok(None);
        }
        self.at += 1;
        let start = self.at;
        let name = self.token();
        // Inside the brackets, where it goes, `not` would be the operator.
        if !is_name(name) || name.eq_ignore_ascii_case("not") {
            return Err(self.expected(format!("a sub-attribute's name after {attr}[…]."), start));
        }
        Ok(Some(name))
    }

    /// Nothing may follow; `what` says what could have.
    pub(in crate::scim) fn end(&self, what: &str) -> Result<()> {
        if self.rest().is_empty() {
            Ok(())
        } else {
            Err(self.expected(what, self.at))
        }
    }

    fn or(&mut self) -> Result<Filter> {
        let mut filter = self.and()?;
        while self.keyword("or") {
            filter = Filter::Or(Box::new(filter), Box::new(self.and()?));
        }
        Ok(filter)
    }

    fn and(&mut self) -> Result<Filter> {
        let mut filter = self.term()?;
        while self.keyword("and") {
            filter = Filter::And(Box::new(filter), Box::new(self.term()?));
        }
        Ok(filter)
    }

    /// What `and` and `or` connect: a condition, or a filter in parentheses, perhaps negated.
    fn term(&mut self) -> Result<Filter> {
        if self.keyword("not") {
            self.spaces();
            if !self.rest().starts_with('(') {
                return Err(self.expected("( after not", self.at));
            }
            return Ok(Filter::Not(Box::new(self.enclosed(')', "not (")?)));
        }
        self.spaces();
        if self.rest().starts_with('(') {
            return self.enclosed(')', "(");
        }
        self.terms += 1;
        if self.terms > MAX_TERMS {
            return Err(self.expected(format!("at most {MAX_TERMS} conditions"), self.at));
        }
        let start = self.at;
        let attr = self.attr_path()?;
        let Some(filter) = self.brackets(&attr, start)? else {
            return self.condition(attr);
        };
        // Entra ID: emails[type eq "work"].value eq "ada@example.com"
        let filter = match self.sub_attr(&attr)? {
            None => filter,
            Some(name) => {
                let sub_attr = AttrPath {
                    urn: None,
                    name: name.to_owned(),
                    sub_attr: None,
                };
                Filter::And(Box::new(filter), Box::new(self.condition(sub_attr)?))
            }
        };
        Ok(Filter::ValuePath {
            attr,
            filter: Box::new(filter),
        })
    }

    /// A filter between a bracket, at which the parser stands, and the one that closes it.
    fn enclosed(&mut self, close: char, opened: impl fmt::Display) -> Result<Filter> {
        if self.depth == MAX_DEPTH {
            return Err(self.expected(
                format!("at most {MAX_DEPTH} brackets within each other"),
                self.at,
            ));
        }
        self.depth += 1;
        self.at += 1;
        let filter = self.or()?;
        self.spaces();
        if !self.rest().starts_with(close) {
            return Err(self.expected(format!("{close} to close {opened}"), self.at));
        }
        self.at += 1;
        self.depth -= 1;
        Ok(filter)
    }

    /// What follows an attribute: `pr`, or an operator and a value.
    fn condition(&mut self, attr: AttrPath) -> Result<Filter> {
        self.spaces();
        let start = self.at;
        let word = self.token();
        if word.eq_ignore_ascii_case("pr") {
            return Ok(Filter::Present(attr));
        }
        let Some(op) = CompareOp::ALL
            .into_iter()
            .find(|op| word.eq_ignore_ascii_case(op.as_str()))
        else {
            let what =
                format!("an operator (eq, ne, co, sw, ew, gt, ge, lt, le or pr) after {attr}");
            return Err(self.expected(what, start));
        };
        self.spaces();
        let value = self.value(op)?;
        Ok(Filter::Compare { attr, op, value })
    }

    /// compValue: JSON's string, number, true, false or null, and also a bare word as a string.
    fn value(&mut self, op: CompareOp) -> Result<Value> {
        let start = self.at;
        if self.rest().starts_with('"') {
            return Ok(Value::String(self.string()?));
        }
        if let Some(text) = self.single_quoted() {
            if text.contains(char::is_control) {
                return Err(self.expected("a string without control characters", start));
            }
            return Ok(Value::String(text.to_owned()));
        }
        let token = self.token();
        match token.to_ascii_lowercase().as_str() {
            // A connective is no bare word: the value is missing.
            "" | "and" | "or" => Err(self.expected(format!("a value after {op}"), start)),
            "true" => Ok(Value::Bool(true)),
            "false" => Ok(Value::Bool(false)),
            "null" => Ok(Value::Null),
            // As in quotes, where a control character stands as an escape, if at all.
            word if word.contains(['{', '}', '\\']) || word.contains(char::is_control) => {
                Err(self.expected("a string in quotes, a number, true, false or null", start))
            }
            // Where it would print otherwise, as 007 or 12.50, it is what the client wrote that counts.
            _ => Ok(serde_json::from_str::<Number>(token)
                .ok()
                .filter(|number| number.to_string() == token)
                .map_or_else(|| token.into(), Value::Number)),
        }
    }

    /// `'Group'`, as a figure of RFC 7644 §3.7.1 has it beside the RFC's own grammar.
    fn single_quoted(&mut self) -> Option<&'a str> {
        let inside = self.rest().strip_prefix('\'')?;
        let closing = inside.match_indices('\'').map(|(at, _)| at);
        let ends = |at: &usize| inside[at + 1..].chars().next().is_none_or(ends_token);
        let end = closing.into_iter().find(ends)?;
        self.at += end + 2;
        Some(&inside[..end])
    }

    fn string(&mut self) -> Result<String> {
        let start = self.at;
        let mut escaped = false;
        let closing = self.text[start + 1..].find(|c| {
            let closes = c == '"' && !escaped;
            escaped = c == '\\' && !escaped;
            closes
        });
        let Some(length) = closing else {
            let what = format!(
                "a \" to close the string that begins at character {}",
                self.character(start)
            );
            return Err(self.expected(what, self.text.len()));
        };
        self.at = start + length + 2;
        match serde_json::from_str::<String>(&self.text[start..self.at]) {
            // No document holds a NUL, and SQLite would end the text there.
            Ok(text) if !text.contains('\0') => Ok(text),
            _ => Err(self.expected(
                "a JSON string, with valid escapes and without control characters",
                start,
            )),
        }
    }

    /// Reads `word`, in any case, if it is what comes next.
    fn keyword(&mut self, word: &str) -> bool {
        let start = self.at;
        self.spaces();
        let found = self.token().eq_ignore_ascii_case(word);
        if !found {
            self.at = start;
        }
        found
    }

    /// Everything up to a space, a bracket or a quote.
    fn token(&mut self) -> &'a str {
        let rest = self.rest();
        let token = &rest[..rest.find(ends_token).unwrap_or(rest.len())];
        self.at += token.len();
        token
    }

    fn spaces(&mut self) {
        self.at = self.text.len() - self.rest().trim_start().len();
    }

    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    /// The character that begins at byte `at`, counted from 1.
    fn character(&self, at: usize) -> usize {
        self.text[..at].chars().count() + 1
    }

    /// The error that at byte `at` stands something else than `what`.
    fn expected(&self, what: impl fmt::Display, at: usize) -> SyntaxError {
        let rest = &self.text[at..];
        let first = rest.chars().next().map_or(0, char::len_utf8);
        let length = rest.find(ends_token).unwrap_or(rest.len()).max(first);
        let found: String = rest[..length].chars().take(40).collect();
        let character = self.character(at);
        SyntaxError(match found.as_str() {
            "" => format!("expected {what} at character {character}"),
            _ => format!(
                "expected {what}, found {} at character {character}",
                Value::from(found)
            ),
        })
    }
}

fn ends_token(c: char) -> bool {
    c.is_whitespace() || matches!(c, '(' | ')' | '[' | ']' | '"')
}

/// Whether all of `text` is an attribute's name.
pub(in crate::scim) fn is_lone_name(text: &str) -> bool {
    text.len() <= MAX_LENGTH && is_name(text)
}

/// ATTRNAME (RFC 7643 §2.1), and `$ref`, which the RFC uses beside its own grammar.
fn is_name(text: &str) -> bool {
    let text = text.strip_prefix('$').unwrap_or(text);
    text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{MAX_DEPTH, MAX_TERMS};
    use crate::scim::filter::{CompareOp, Filter};
    use crate::scim::path::AttrPath;
    use crate::scim::schema::Kind;

    /// The filter printed with parentheses around everything, which shows the tree.
    fn tree(filter: &Filter) -> String {
        match filter {
            Filter::And(left, right) => format!("({} & {})", tree(left), tree(right)),
            Filter::Or(left, right) => format!("({} | {})", tree(left), tree(right)),
            Filter::Not(inner) => format!("!{}", tree(inner)),
            Filter::Present(attr) => attr.to_string(),
            Filter::Compare { attr, op, value } => format!("{attr} {op} {value}"),
            Filter::ValuePath { attr, filter } => format!("{attr}[{}]", tree(filter)),
        }
    }

    #[test]
    fn not_binds_tighter_than_and_than_or() {
        for (text, shape) in [
            ("a pr or b pr and c pr", "(a | (b & c))"),
            ("a pr and b pr or c pr", "((a & b) | c)"),
            ("(a pr or b pr) and c pr", "((a | b) & c)"),
            ("not (a pr) and b pr", "(!a & b)"),
            ("not (a pr and b pr) or c pr", "(!(a & b) | c)"),
            ("a pr and b pr and c pr", "((a & b) & c)"),
            ("a pr or (b pr or c pr)", "(a | (b | c))"),
            ("e[a pr or b pr].c eq 1", "e[((a | b) & c eq 1)]"),
            ("NOT(a PR)AND(b Pr)", "(!a & b)"),
        ] {
            assert_eq!(tree(&Filter::parse(text).expect(text)), shape, "{text}");
        }
    }

    #[test]
    fn values_are_json_or_bare_words() {
        for (text, value) in [
            (r#""""#, json!("")),
            (r#""a\"b\\""#, json!("a\"b\\")),
            (r#""\u00dc\ud83d\ude00\/\n""#, json!("Ü😀/\n")),
            ("TRUE", json!(true)),
            ("False", json!(false)),
            ("Null", json!(null)),
            ("-12", json!(-12)),
            ("18446744073709551615", json!(u64::MAX)),
            ("1.5e3", json!("1.5e3")),
            ("12.50", json!("12.50")),
            ("007", json!("007")),
            ("1e999", json!("1e999")),
            ("jyoung", json!("jyoung")),
            ("ada+x@example.com", json!("ada+x@example.com")),
            ("2026-01-31T08:00:00Z", json!("2026-01-31T08:00:00Z")),
        ] {
            let filter = Filter::parse(&format!("a eq {text}")).expect(text);
            let attr = AttrPath::parse("a").expect("a path");
            assert_eq!(
                filter,
                Filter::Compare {
                    attr,
                    op: CompareOp::Eq,
                    value
                },
                "{text}"
            );
        }
    }

    #[test]
    fn a_wrong_filter_is_refused_with_its_place() {
        for (text, detail) in [
            ("", "expected an attribute at character 1"),
            (
                "userName",
                "expected an operator (eq, ne, co, sw, ew, gt, ge, lt, le or pr) after userName at character 9",
            ),
            (
                r#"userName equals "x""#,
                r#"expected an operator (eq, ne, co, sw, ew, gt, ge, lt, le or pr) after userName, found "equals" at character 10"#,
            ),
            ("userName eq", "expected a value after eq at character 12"),
            (
                "userName eq and title pr",
                r#"expected a value after eq, found "and" at character 13"#,
            ),
            (
                r#"emails[type eq "work""#,
                "expected ] to close emails[ at character 22",
            ),
            (
                r#"emails[type eq "ü" foo]"#,
                r#"expected ] to close emails[, found "foo" at character 20"#,
            ),
            ("(title pr", "expected ) to close ( at character 10"),
            ("not (title pr", "expected ) to close not ( at character 14"),
            (
                "not title pr",
                r#"expected ( after not, found "title" at character 5"#,
            ),
            ("title pr and", "expected an attribute at character 13"),
            (
                "title pr title pr",
                r#"expected and, or, or the end of the filter, found "title" at character 10"#,
            ),
            (
                "title pr)",
                r#"expected and, or, or the end of the filter, found ")" at character 9"#,
            ),
            (
                r#"title eq "x"#,
                r#"expected a " to close the string that begins at character 10 at character 12"#,
            ),
            (
                r#"title eq "\x""#,
                r#"expected a JSON string, with valid escapes and without control characters, found "\"" at character 10"#,
            ),
            (
                "title eq a\0b",
                r#"expected a string in quotes, a number, true, false or null, found "a\u0000b" at character 10"#,
            ),
            (
                "title eq 'a\0b'",
                r#"expected a string without control characters, found "'a\u0000b'" at character 10"#,
            ),
            (
                "emails[type pr].not eq 1",
                r#"expected a sub-attribute's name after emails[…]., found "not" at character 17"#,
            ),
            (
                "emails[a[b pr]]",
                r#"expected no brackets within brackets, found "[" at character 9"#,
            ),
        ] {
            let error = Filter::parse(text).expect_err(text);
            assert_eq!(error.to_string(), format!("400 invalidFilter: {detail}"));
        }
    }

    #[test]
    fn limits_hold_and_nothing_overflows_below_them() {
        let chain = |terms: usize| vec!["title pr"; terms].join(" and ");
        let nested =
            |depth: usize| format!("{}title pr{}", "not (".repeat(depth), ")".repeat(depth));
        for text in [chain(MAX_TERMS), nested(MAX_DEPTH)] {
            let filter = Filter::parse(&text).expect("within the limits");
            assert_eq!(filter.to_string(), text);
            let resource_type = Kind::User.resource_type();
            filter.check(&[resource_type]).expect("title is defined");
            assert!(
                !filter.matches(&serde_json::Map::new(), resource_type),
                "even numbers of not cancel out"
            );
        }
        for (text, detail) in [
            (chain(MAX_TERMS + 1), "at most 500 conditions"),
            (
                nested(MAX_DEPTH + 1),
                "at most 50 brackets within each other",
            ),
            ("(".repeat(9_000), "at most 50 brackets within each other"),
            (
                format!("title eq \"{}\"", "ü".repeat(10_000)),
                "at most 10000 characters, found 10011",
            ),
        ] {
            let error = Filter::parse(&text).expect_err(detail);
            assert!(error.detail().contains(detail), "{}", error.detail());
        }
    }
}
