//! `rollcall check`: is a server, anybody's, as RFC 7643, 7644 and 9865 ask, and as Entra ID and Okta need it?
//!
//! A check is a short conversation in a file (`script.rs`); what the server says that it doesn't support isn't asked for
//! (`server.rs`). Knows nothing of rollcall's own `scim`: a rule that is misread there must not be misread here.
//! No finding may be false: MUST and SHALL make a failure, SHOULD a warning, and what a server may do as it likes nothing.

pub mod pattern;
pub mod play;
pub mod script;
pub mod server;

use std::fmt;

use script::Check;

use crate::scim_client::Trouble;

/// The schema of users (RFC 7643 §4.1).
const USER: &str = "urn:ietf:params:scim:schemas:core:2.0:User";

/// The schema of groups (RFC 7643 §4.2).
const GROUP: &str = "urn:ietf:params:scim:schemas:core:2.0:Group";

/// The extension for companies (RFC 7643 §4.3).
const ENTERPRISE: &str = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User";

/// What a server is held against.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Profile {
    /// The text of the RFCs.
    Rfc,
    /// What Microsoft Entra ID sends, and needs back.
    Entra,
    /// What Okta sends, and needs back.
    Okta,
}

impl Profile {
    /// All of them.
    pub const ALL: [Profile; 3] = [Profile::Rfc, Profile::Entra, Profile::Okta];

    /// As in options.
    pub fn as_str(self) -> &'static str {
        match self {
            Profile::Rfc => "rfc",
            Profile::Entra => "entra",
            Profile::Okta => "okta",
        }
    }

    /// Its checks, in order.
    pub fn checks(self) -> Vec<Check> {
        let scripts = self.scripts().iter();
        let checks = scripts
            .flat_map(|script| script::parse(script).expect("a unit test reads every script"));
        checks.collect()
    }

    fn scripts(self) -> &'static [&'static str] {
        match self {
            Profile::Rfc => &[
                include_str!("scripts/rfc/discovery.txt"),
                include_str!("scripts/rfc/access.txt"),
                include_str!("scripts/rfc/create.txt"),
                include_str!("scripts/rfc/replace.txt"),
                include_str!("scripts/rfc/patch.txt"),
                include_str!("scripts/rfc/delete.txt"),
                include_str!("scripts/rfc/groups.txt"),
                include_str!("scripts/rfc/filters.txt"),
                include_str!("scripts/rfc/lists.txt"),
                include_str!("scripts/rfc/versions.txt"),
                include_str!("scripts/rfc/bulk.txt"),
            ],
            Profile::Entra => &[
                include_str!("scripts/entra/users.txt"),
                include_str!("scripts/entra/groups.txt"),
            ],
            Profile::Okta => &[
                include_str!("scripts/okta/users.txt"),
                include_str!("scripts/okta/groups.txt"),
            ],
        }
    }
}

/// How a check went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    /// As it should.
    Ok,
    /// Not made, since the server does without what it needs.
    Skip,
    /// A SHOULD isn't kept.
    Warn,
    /// A MUST isn't kept, or the client of the profile would not come along.
    Fail,
}

impl State {
    /// In a word.
    pub fn as_str(self) -> &'static str {
        match self {
            State::Ok => "ok",
            State::Skip => "skip",
            State::Warn => "warn",
            State::Fail => "fail",
        }
    }
}

/// What came of a check.
#[derive(Clone, Debug)]
pub struct Report {
    /// Whose check it is.
    pub profile: Profile,
    /// As in `create-user`.
    pub name: String,
    /// The paragraph, or whose behaviour it is.
    pub source: String,
    /// What should be true.
    pub title: String,
    /// How it went.
    pub state: State,
    /// What was found and what was expected, or why it was skipped.
    pub notes: Vec<String>,
    /// What was said, without the token.
    pub conversation: Vec<Said>,
}

/// A request and its answer, for people.
#[derive(Clone, Debug)]
pub struct Said {
    /// As in `GET /Users`.
    pub request: String,
    /// The headers that the check names.
    pub sent: Vec<(String, String)>,
    /// What was sent.
    pub body: Option<String>,
    /// The answer's status.
    pub status: u16,
    /// The answer's headers.
    pub headers: Vec<(String, String)>,
    /// The answer's body.
    pub answer: String,
}

/// Why nothing is checked.
#[derive(Clone, Debug)]
pub enum Refused {
    /// Nobody answers.
    Trouble(Trouble),
    /// The token won't do: with this status.
    Token(u16),
    /// There is none, and there should be: with this status.
    NoToken(u16),
    /// It leads to this other address.
    Moved(String),
    /// Something else is there, which answers with this status and content type.
    NotScim(u16, Option<String>),
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refused::Trouble(trouble) => write!(f, "{trouble}"),
            Refused::Token(status) => {
                write!(f, "the server refuses the token: {status} for GET /Users")
            }
            Refused::NoToken(status) => write!(
                f,
                "the server wants a token: {status} for GET /Users; give it as ROLLCALL_CHECK_TOKEN"
            ),
            Refused::Moved(location) => {
                write!(
                    f,
                    "GET /Users leads to {location}, which isn’t followed; check that address"
                )
            }
            Refused::NotScim(status, content_type) => {
                let sort = content_type.as_deref().unwrap_or("no content type");
                write!(
                    f,
                    "that is no SCIM server: GET /Users is answered {status} with {sort}; \
                     is it the base URL, below which /Users is?"
                )
            }
        }
    }
}

/// Why no further check is made.
#[derive(Clone, Debug)]
pub enum Halt {
    /// Somebody wants it to end.
    Interrupted,
    /// The server doesn't answer any more.
    Gone(Trouble),
}

impl fmt::Display for Halt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Halt::Interrupted => f.write_str("interrupted"),
            Halt::Gone(trouble) => write!(f, "the server is gone, {trouble}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeSet, HashSet};

    use super::script::{Body, Expected, Step};
    use super::*;

    /// All texts of a check in which `{names}` may be, step by step, with the names that a step makes.
    fn texts(step: &Step) -> (Vec<String>, Vec<String>) {
        let exchange = match step {
            Step::Given(given) => {
                return (vec![given.attributes.to_string()], vec![given.name.clone()]);
            }
            Step::Exchange(exchange) => exchange,
        };
        let mut used = vec![exchange.path.clone()];
        used.extend(exchange.headers.iter().map(|(_, value)| value.clone()));
        used.extend(exchange.body.iter().map(|body| match body {
            Body::Json(json) => json.to_string(),
            Body::Raw(text) => text.clone(),
        }));
        let mut made = Vec::new();
        for (_, expected) in &exchange.expected {
            let text = match expected {
                Expected::Id(name) => {
                    made.push(name.clone());
                    continue;
                }
                Expected::Header(_, pattern) => pattern.clone(),
                Expected::Json(json) => json.to_string(),
                Expected::Status { .. } | Expected::Filtered => continue,
            };
            let kept = text
                .split("{=")
                .skip(1)
                .filter_map(|rest| rest.split('}').next());
            made.extend(kept.map(str::to_owned));
            used.push(text);
        }
        (used, made)
    }

    fn names_in(text: &str) -> impl Iterator<Item = &str> {
        let inner = text
            .split('{')
            .skip(1)
            .filter_map(|rest| rest.split_once('}'));
        inner
            .map(|(name, _)| name)
            .filter(|name| !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_lowercase()))
    }

    #[test]
    fn every_script_is_read_and_makes_sense() {
        let mut names = HashSet::new();
        for profile in Profile::ALL {
            for script in profile.scripts() {
                let checks =
                    script::parse(script).unwrap_or_else(|fault| panic!("{fault} in {script}"));
                assert!(!checks.is_empty(), "no check in {script}");
            }
            let prefix = if profile == Profile::Rfc {
                ""
            } else {
                profile.as_str()
            };
            for check in profile.checks() {
                let name = &check.name;
                assert!(
                    name.starts_with(prefix),
                    "{name} should begin with {prefix}"
                );
                assert!(names.insert(name.clone()), "{name} is there twice");
                let source = if profile == Profile::Rfc {
                    "rfc "
                } else {
                    profile.as_str()
                };
                assert!(
                    check.source.to_lowercase().starts_with(source),
                    "{name}: {}",
                    check.source
                );
                let has_must = |step: &Step| match step {
                    Step::Given(_) => false,
                    Step::Exchange(exchange) => exchange
                        .expected
                        .iter()
                        .any(|(level, _)| *level != script::Level::Offered),
                };
                assert!(check.steps.iter().any(has_must), "{name} expects nothing");
                let mut known = BTreeSet::from(["run".to_owned()]);
                for step in &check.steps {
                    let (used, made) = texts(step);
                    let made_here = |name: &str| made.iter().any(|made| made == name);
                    for used in used.iter().flat_map(|text| names_in(text)) {
                        assert!(
                            known.contains(used) || made_here(used),
                            "{name}: nothing is kept as {used}"
                        );
                    }
                    known.extend(made);
                }
            }
        }
    }

    #[test]
    fn what_is_made_is_named_after_the_run() {
        for check in Profile::ALL.into_iter().flat_map(Profile::checks) {
            for step in &check.steps {
                let Step::Exchange(exchange) = step else {
                    continue;
                };
                let Some(Body::Json(json)) = &exchange.body else {
                    continue;
                };
                let name = json.get("userName").or_else(|| {
                    json.get("displayName")
                        .filter(|_| exchange.path.starts_with("/Groups"))
                });
                if let Some(name) = name {
                    assert!(
                        name.as_str().is_some_and(|name| name.starts_with("{run}")),
                        "{}: {name}",
                        check.name
                    );
                }
            }
        }
    }
}
