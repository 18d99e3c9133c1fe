//! The checks as files: short conversations, a named one for each requirement.
//!
//! ```text
//! # a comment
//! == create-user | RFC 7644 §3.3 | A user is created, and the answer says where it is
//! ? Enterprise, User.title                     needed, otherwise the check is skipped; see `server.rs`
//! + ana User {"title": "Engineer"}             needed too: a resource of this type, its id kept as {ana}
//! > POST /Users                                what is sent: below the base URL, or {location} alone
//! > Content-Type: application/json             optional; `Authorization: none` leaves the token out
//! > {"schemas": ["…"], "userName": "{run}-ana@example.com"}
//! < 201                                        must be; `200|204` one of them, `not 404|501` none of them
//! < as {ana}                                   keeps the answer's id
//! < Location: *                                a header
//! < {"id": "{ana}"}                            the body, as a pattern (`pattern.rs`); not of an answer of 204
//! <~ {"title": "Engineer"}                     should be: no more than a warning
//! <? not 501                                   otherwise the rest is skipped
//! <? filter                                    otherwise the same: 400 invalidFilter says that it can't filter so
//! ```
//!
//! `{run}` is a text that nothing else begins with, another one for each check: all that a check makes is named after it.
//! A list that is sent by PATCH is the operations of a PatchOp. A body line `>| ` is sent as it stands.

use std::fmt;

use serde_json::{Value, json};

/// The schema of a PATCH's body (RFC 7644 §3.5.2).
const PATCH_OP: &str = "urn:ietf:params:scim:api:messages:2.0:PatchOp";

/// One check.
#[derive(Clone, Debug, PartialEq)]
pub struct Check {
    /// As in `create-user`.
    pub name: String,
    /// The paragraph, or whose behaviour it is.
    pub source: String,
    /// What should be true, in a sentence.
    pub title: String,
    /// What the server must have for it.
    pub needs: Vec<String>,
    /// What is done.
    pub steps: Vec<Step>,
}

/// One thing after the other.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// A resource that is there for the rest.
    Given(Given),
    /// A request and what is expected of its answer.
    Exchange(Exchange),
}

/// A resource to make before.
#[derive(Clone, Debug, PartialEq)]
pub struct Given {
    /// What its id is kept as, and it is called after.
    pub name: String,
    /// `User` or `Group`.
    pub resource_type: String,
    /// What it has beside its name.
    pub attributes: Value,
}

/// A request and what is expected of its answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Exchange {
    /// As in `GET`.
    pub method: String,
    /// With `{names}`.
    pub path: String,
    /// With `{names}`.
    pub headers: Vec<(String, String)>,
    /// What is sent.
    pub body: Option<Body>,
    /// What must or should be, in order.
    pub expected: Vec<(Level, Expected)>,
}

/// What is sent.
#[derive(Clone, Debug, PartialEq)]
pub enum Body {
    /// JSON with `{names}`.
    Json(Value),
    /// Whatever it is.
    Raw(String),
}

/// How much it matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// `<`: otherwise the server is at fault.
    Must,
    /// `<~`: otherwise it could be better.
    Should,
    /// `<?`: otherwise the server does without this.
    Offered,
}

/// What is expected of an answer.
#[derive(Clone, Debug, PartialEq)]
pub enum Expected {
    /// One of these, or none of them.
    Status {
        /// Those.
        codes: Vec<u16>,
        /// Whether it is none of them.
        not: bool,
    },
    /// A header by its name, with a pattern.
    Header(String, String),
    /// The body.
    Json(Value),
    /// An id, to be kept under this name.
    Id(String),
    /// No refusal of the filter (RFC 7644 §3.4.2.2).
    Filtered,
}

/// What is wrong with a script.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// From 1.
    pub line: usize,
    /// In words.
    pub what: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.what)
    }
}

impl std::error::Error for Fault {}

/// JSON over several lines, until a line of another sort comes.
struct Pending {
    line: usize,
    /// Of what is expected; none for what is sent.
    level: Option<Level>,
    text: String,
}

/// Reads all checks of a script.
///
/// # Errors
///
/// The first fault, with its line.
pub fn parse(text: &str) -> Result<Vec<Check>, Fault> {
    let mut checks: Vec<Check> = Vec::new();
    let mut pending: Option<Pending> = None;
    for (index, line) in text.lines().enumerate() {
        let number = index + 1;
        let fail = |what: &str| Fault {
            line: number,
            what: what.to_owned(),
        };
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        let goes_on = pending.as_mut().filter(|pending| {
            pending.level == level(word)
                && (word == ">" || pending.level.is_some())
                && rest.starts_with([' ', '}', ']'])
        });
        if let Some(pending) = goes_on {
            pending.text.push_str(rest);
            continue;
        }
        take(&mut checks, pending.take())?;
        if word.is_empty() || word.starts_with('#') {
            continue;
        }
        if word == "==" {
            checks
                .push(headline(rest).ok_or_else(|| fail("expected == name | source | sentence"))?);
            continue;
        }
        let check = checks
            .last_mut()
            .ok_or_else(|| fail("before the first =="))?;
        let begins_json = rest.starts_with(['{', '[']);
        match (word, level(word)) {
            ("?", _) => check
                .needs
                .extend(rest.split(',').map(|need| need.trim().to_owned())),
            ("+", _) => check
                .steps
                .push(Step::Given(given(rest).map_err(|what| fail(&what))?)),
            (">", _) if request_line(rest).is_some() => {
                let request = request_line(rest).map(|(method, path)| Exchange {
                    method: method.to_owned(),
                    path: path.to_owned(),
                    headers: Vec::new(),
                    body: None,
                    expected: Vec::new(),
                });
                check.steps.extend(request.map(Step::Exchange));
            }
            (">", _) if begins_json => {
                pending = Some(Pending {
                    line: number,
                    level: None,
                    text: rest.to_owned(),
                });
            }
            (">" | ">|", _) => {
                let exchange = last(check).ok_or_else(|| fail("no request yet"))?;
                match (word, header(rest)) {
                    (">", Some(pair)) => exchange.headers.push(pair),
                    (">|", _) => exchange.body = Some(Body::Raw(rest.to_owned())),
                    _ => return Err(fail("neither a header nor JSON")),
                }
            }
            (_, Some(level)) if begins_json => {
                pending = Some(Pending {
                    line: number,
                    level: Some(level),
                    text: rest.to_owned(),
                });
            }
            (_, Some(level)) => {
                let expected = expected(rest)
                    .ok_or_else(|| fail("neither a status, a header, JSON nor `as {name}`"))?;
                let exchange = last(check).ok_or_else(|| fail("no request yet"))?;
                exchange.expected.push((level, expected));
            }
            _ => return Err(fail("expected ==, ?, +, >, >|, <, <~, <? or #")),
        }
    }
    take(&mut checks, pending)?;
    Ok(checks)
}

fn headline(text: &str) -> Option<Check> {
    let mut parts = text.split(" | ").map(str::trim);
    let (name, source, title) = (parts.next()?, parts.next()?, parts.next()?);
    let is_name = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    let is_whole = parts.next().is_none() && !source.is_empty() && !title.is_empty();
    (is_whole && !name.is_empty() && name.bytes().all(is_name)).then(|| Check {
        name: name.to_owned(),
        source: source.to_owned(),
        title: title.to_owned(),
        needs: Vec::new(),
        steps: Vec::new(),
    })
}

/// `ana User {…}`
fn given(text: &str) -> Result<Given, String> {
    let mut parts = text.splitn(3, ' ');
    let (name, resource_type) = (
        parts.next().unwrap_or_default(),
        parts.next().unwrap_or_default(),
    );
    if !["User", "Group"].contains(&resource_type) {
        return Err("expected + name User, or + name Group".to_owned());
    }
    let attributes: Value =
        serde_json::from_str(parts.next().unwrap_or("{}")).map_err(|error| error.to_string())?;
    if !attributes.is_object() {
        return Err("expected an object".to_owned());
    }
    Ok(Given {
        name: name.to_owned(),
        resource_type: resource_type.to_owned(),
        attributes,
    })
}

/// `METHOD /path`, or `METHOD {reference}`.
fn request_line(line: &str) -> Option<(&str, &str)> {
    let (method, path) = line.split_once(' ')?;
    let is_method = !method.is_empty() && method.bytes().all(|byte| byte.is_ascii_uppercase());
    (is_method && path.starts_with(['/', '{'])).then_some((method, path))
}

fn header(line: &str) -> Option<(String, String)> {
    let (name, value) = line.split_once(':')?;
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    (!name.is_empty() && name.bytes().all(is_name))
        .then(|| (name.to_owned(), value.trim().to_owned()))
}

fn level(word: &str) -> Option<Level> {
    match word {
        "<" => Some(Level::Must),
        "<~" => Some(Level::Should),
        "<?" => Some(Level::Offered),
        _ => None,
    }
}

/// A status, a header or a name for the id.
fn expected(text: &str) -> Option<Expected> {
    if text == "filter" {
        return Some(Expected::Filtered);
    }
    let (not, codes) = match text.strip_prefix("not ") {
        Some(codes) => (true, codes),
        None => (false, text),
    };
    let codes: Result<Vec<u16>, _> = codes.split('|').map(str::parse).collect();
    if let Ok(codes) = codes {
        return Some(Expected::Status { codes, not });
    }
    let name = text
        .strip_prefix("as {")
        .and_then(|rest| rest.strip_suffix('}'));
    match name {
        Some(name) => Some(Expected::Id(name.to_owned())),
        None => header(text).map(|(name, pattern)| Expected::Header(name, pattern)),
    }
}

fn last(check: &mut Check) -> Option<&mut Exchange> {
    match check.steps.last_mut() {
        Some(Step::Exchange(exchange)) => Some(exchange),
        _ => None,
    }
}

/// Gives JSON that was collected to the exchange that it belongs to.
fn take(checks: &mut [Check], pending: Option<Pending>) -> Result<(), Fault> {
    let Some(Pending { line, level, text }) = pending else {
        return Ok(());
    };
    let fail = |what: String| Fault { line, what };
    let json: Value = serde_json::from_str(&text).map_err(|error| fail(error.to_string()))?;
    let exchange = checks.last_mut().and_then(last);
    let exchange = exchange.ok_or_else(|| fail("no request yet".to_owned()))?;
    match level {
        None if exchange.method == "PATCH" && json.is_array() => {
            exchange.body = Some(Body::Json(
                json!({ "schemas": [PATCH_OP], "Operations": json }),
            ));
        }
        None => exchange.body = Some(Body::Json(json)),
        Some(level) => exchange.expected.push((level, Expected::Json(json))),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const SCRIPT: &str = r#"# a comment

== one-check | RFC 7644 §3.3 | Something is so
? filter, User.title
+ ana User {"title": "x"}
> PUT /Users/{ana}
> If-Match: {v}
> {"schemas": ["a"],
>  "userName": "b"}
< 200|204
<~ ETag: *
< {"a": 1,
<  "b": 2}
<? {"c": 3}
== another | Okta | Something else
> POST /Users
>| nonsense {
<? not 404|501
<? filter
< as {ben}
"#;

    #[test]
    fn a_script_is_read() {
        let checks = parse(SCRIPT).unwrap();
        assert_eq!(checks.len(), 2);
        assert_eq!(checks[0].name, "one-check");
        assert_eq!(checks[0].source, "RFC 7644 §3.3");
        assert_eq!(checks[0].title, "Something is so");
        assert_eq!(checks[0].needs, ["filter", "User.title"]);
        let Step::Given(ana) = &checks[0].steps[0] else {
            panic!("{checks:?}");
        };
        assert_eq!(
            (ana.name.as_str(), &ana.attributes),
            ("ana", &json!({ "title": "x" }))
        );
        let Step::Exchange(put) = &checks[0].steps[1] else {
            panic!("{checks:?}");
        };
        assert_eq!(
            (put.method.as_str(), put.path.as_str()),
            ("PUT", "/Users/{ana}")
        );
        assert_eq!(put.headers, [("If-Match".to_owned(), "{v}".to_owned())]);
        assert_eq!(
            put.body,
            Some(Body::Json(json!({ "schemas": ["a"], "userName": "b" })))
        );
        let status = |codes: &[u16], not| Expected::Status {
            codes: codes.to_vec(),
            not,
        };
        assert_eq!(
            put.expected,
            [
                (Level::Must, status(&[200, 204], false)),
                (
                    Level::Should,
                    Expected::Header("ETag".to_owned(), "*".to_owned())
                ),
                (Level::Must, Expected::Json(json!({ "a": 1, "b": 2 }))),
                (Level::Offered, Expected::Json(json!({ "c": 3 }))),
            ]
        );
        let Step::Exchange(post) = &checks[1].steps[0] else {
            panic!("{checks:?}");
        };
        assert_eq!(post.body, Some(Body::Raw("nonsense {".to_owned())));
        assert_eq!(
            post.expected,
            [
                (Level::Offered, status(&[404, 501], true)),
                (Level::Offered, Expected::Filtered),
                (Level::Must, Expected::Id("ben".to_owned())),
            ]
        );
    }

    #[test]
    fn a_fault_has_its_line() {
        for (script, line) in [
            ("> GET /Users", 1),
            ("== Name | a | b", 1),
            ("== name | a", 1),
            ("== name | a | b\n< 200", 2),
            ("== name | a | b\n> GET /Users\n< perhaps", 3),
            ("== name | a | b\n\n> GET /Users\n> {\"a\":\n> }\n< 200", 4),
            ("== name | a | b\n> GET /Users\n< {\"a\"}\n< 200", 3),
            ("== name | a | b\n+ ana Robot", 2),
            ("== name | a | b\n+ ana User [1]", 2),
            ("== name | a | b\n> GET /Users\nhello", 3),
        ] {
            assert_eq!(parse(script).unwrap_err().line, line, "{script}");
        }
    }
}
