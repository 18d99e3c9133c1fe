//! An event as a sentence for people: who did what to whom, by their names.

use serde_json::{Map, Value};

use crate::error::Result;
use crate::scim::schema::Kind;
use crate::store::events::Recorded;
use crate::store::{Snapshot, TenantId, accounts, directory, tokens};

/// A part of a sentence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// Words.
    Words(String),
    /// A user or team: what it is called now, and its id.
    Named(Kind, String, String),
}

/// What differs between before and after: the attribute, empty where the whole value is meant, and the two as JSON.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// Its name.
    pub attribute: String,
    /// What it was.
    pub before: Option<String>,
    /// What it is.
    pub after: Option<String>,
}

/// The event as one sentence. Whoever was purged is named as the event knew them, else by id.
pub fn sentence(snapshot: &Snapshot<'_>, tenant: TenantId, event: &Recorded) -> Result<Vec<Piece>> {
    let telling = Telling {
        snapshot,
        tenant,
        event,
    };
    let mut pieces = vec![telling.actor()?];
    pieces.extend(telling.deed()?);
    Ok(pieces)
}

/// What an event changed, attribute by attribute.
pub fn differences(event: &Recorded) -> Vec<Difference> {
    let nothing = Map::new();
    let (before, after) = (event.before.as_ref(), event.after.as_ref());
    let object = |side: Option<&'_ Value>| side.is_none_or(Value::is_object);
    if !object(before) || !object(after) {
        return vec![Difference {
            attribute: String::new(),
            before: before.map(Value::to_string),
            after: after.map(Value::to_string),
        }];
    }
    let [before, after] =
        [before, after].map(|side| side.and_then(Value::as_object).unwrap_or(&nothing));
    crate::scim::resource::differences(before, after)
        .into_iter()
        .map(|name| Difference {
            attribute: name.to_owned(),
            before: before.get(name).map(Value::to_string),
            after: after.get(name).map(Value::to_string),
        })
        .collect()
}

/// An event that is being told.
struct Telling<'a> {
    snapshot: &'a Snapshot<'a>,
    tenant: TenantId,
    event: &'a Recorded,
}

impl Telling<'_> {
    /// Who did it, at the beginning of a sentence.
    fn actor(&self) -> Result<Piece> {
        let (what, id) = self
            .event
            .actor
            .split_once(':')
            .unwrap_or((&self.event.actor, ""));
        let number = || id.parse().unwrap_or_default();
        let label = || tokens::label(self.snapshot, self.tenant, number());
        Ok(words(match what {
            "token" => format!("The client “{}”", label()?.unwrap_or_default()),
            "app" => format!("The app “{}”", label()?.unwrap_or_default()),
            "account" => match accounts::get(self.snapshot, self.tenant, number())? {
                Some(account) => format!("The local account {}", account.email),
                None => "A local account that is removed by now".to_owned(),
            },
            "person" => return self.party(Kind::User, id),
            "operator" => "The operator".to_owned(),
            other => other.to_owned(),
        }))
    }

    /// What was done, after who did it.
    fn deed(&self) -> Result<Vec<Piece>> {
        let Recorded { subject, .. } = self.event;
        let object = self.event.object.as_deref().unwrap_or_default();
        let (noun, verb) = self.event.kind.split_once('.').unwrap_or_default();
        Ok(match (noun, verb) {
            ("user", "signed_in") => vec![words(format!(" signed in by {}", self.after("by")))],
            ("user", "signed_out") => vec![
                words(" signed out "),
                self.party(Kind::User, subject)?,
                words(", because the provider did"),
            ],
            ("user", "password_changed") => vec![
                words(match self.after("password").as_str() {
                    "none" => " removed the password of ",
                    _ => " set the password of ",
                }),
                self.party(Kind::User, subject)?,
            ],
            ("user" | "team", _) => self.resource(noun, verb)?,
            ("member", "added") => vec![
                words(" added "),
                self.party(Kind::User, object)?,
                words(" to team "),
                self.party(Kind::Group, subject)?,
            ],
            ("member", "removed") => vec![
                words(" removed "),
                self.party(Kind::User, object)?,
                words(" from team "),
                self.party(Kind::Group, subject)?,
            ],
            ("subteam", "added") => vec![
                words(" added team "),
                self.party(Kind::Group, object)?,
                words(" to team "),
                self.party(Kind::Group, subject)?,
            ],
            ("subteam", "removed") => vec![
                words(" removed team "),
                self.party(Kind::Group, object)?,
                words(" from team "),
                self.party(Kind::Group, subject)?,
            ],
            ("role", "assigned") => vec![
                words(" gave "),
                self.party(Kind::User, subject)?,
                words(match self.before("role").as_str() {
                    "" => format!(" the role {}", self.after("role")),
                    before => format!(" the role {} instead of {before}", self.after("role")),
                }),
            ],
            ("role", _) => vec![words(self.role(verb))],
            ("identity", "linked") => vec![
                words(" linked the sign-in of "),
                self.party(Kind::User, subject)?,
                words(format!(", by {}", self.after("by"))),
            ],
            ("identity", _) => vec![
                words(" unlinked the sign-in of "),
                self.party(Kind::User, subject)?,
            ],
            ("resource", "moved") => vec![
                words(" moved a resource to team "),
                self.party(Kind::Group, object)?,
            ],
            ("resource", _) => {
                let verb = match verb {
                    "created" => "registered",
                    "deleted" => "removed",
                    other => other,
                };
                let name = self.either("name");
                vec![
                    words(format!(" {verb} the resource {name} of team ")),
                    self.party(Kind::Group, object)?,
                ]
            }
            _ => vec![words(self.thing(noun, verb)?)],
        })
    }

    fn resource(&self, noun: &str, verb: &str) -> Result<Vec<Piece>> {
        let kind = match noun {
            "user" => Kind::User,
            _ => Kind::Group,
        };
        let party = self.party(kind, &self.event.subject)?;
        let changed: Vec<String> = differences(self.event)
            .into_iter()
            .map(|difference| difference.attribute)
            .collect();
        Ok(match verb {
            "changed" if !changed.is_empty() => {
                vec![
                    words(format!(" changed {} of {noun} ", changed.join(", "))),
                    party,
                ]
            }
            "restored" => vec![words(format!(" brought back {noun} ")), party],
            "purged" => vec![
                words(format!(" removed {noun} ")),
                party,
                words(" for good"),
            ],
            _ => vec![words(format!(" {verb} {noun} ")), party],
        })
    }

    /// What was done to a role or to what gives it.
    fn role(&self, verb: &str) -> String {
        let subject = &self.event.subject;
        let giver = match self.either("by").as_str() {
            "group" => format!("the group {subject}"),
            _ => format!("the roleName {subject:?}"),
        };
        match verb {
            "created" => format!(" added the role {subject}"),
            "removed" => format!(" removed the role {subject}"),
            "mapped" if self.after("by") == "default" => {
                format!(" made {} the default role", self.after("role"))
            }
            "mapped" => format!(" let {giver} give the role {}", self.after("role")),
            "unmapped" => format!(" let {giver} give no role"),
            _ if self.after("name") != self.before("name") => {
                format!(" renamed the role {subject} to {}", self.after("name"))
            }
            _ => format!(" changed the role {subject}"),
        }
    }

    /// What was done to a setting, token, account or tenant.
    fn thing(&self, noun: &str, verb: &str) -> Result<String> {
        let subject = &self.event.subject;
        let email = || self.either("email");
        Ok(match (noun, verb) {
            ("attribute", "declared") => format!(" declared the attribute {subject}"),
            ("attribute", "changed") => match self.after("matching").as_str() {
                "true" => format!(" made {subject} a matching attribute"),
                _ => format!(" made {subject} no matching attribute any more"),
            },
            ("attribute", "purged") => {
                format!(" removed what was left of the attribute {subject} for good")
            }
            ("attribute", _) => format!(" removed the attribute {subject}"),
            ("setting", _) => format!(" changed the setting {subject}"),
            ("token", "created") => format!(" made the token “{}”", self.after("name")),
            ("token", _) => {
                let id = subject.parse().unwrap_or_default();
                let label = tokens::label(self.snapshot, self.tenant, id)?;
                format!(" {verb} the token “{}”", label.unwrap_or_default())
            }
            ("account", "created") => format!(" made the local account {}", email()),
            ("account", "link_made") => format!(" made a sign-in link for {}", email()),
            ("account", "password_changed") => format!(" changed the password of {}", email()),
            ("account", "exempted") => format!(" made {} a break-glass account", email()),
            ("account", "unexempted") => {
                format!(" made {} no break-glass account any more", email())
            }
            ("account", "removed") => format!(" removed the local account {}", email()),
            ("account", "signed_in") => format!(" signed in by {}", self.after("by")),
            ("tenant", "created") => format!(" made the organisation {subject}"),
            ("tenant", "renamed") => format!(" renamed the organisation to {subject}"),
            ("tenant", "exported") => " downloaded a copy of the organisation".to_owned(),
            ("tenant", _) => format!(" {verb} provisioning"),
            ("backup", _) => format!(" {verb} the backup {subject} of the whole server"),
            ("connection", "saved" | "changed") => {
                " changed the connection for single sign-on".to_owned()
            }
            ("connection", "rotated") => " replaced the client secret by its newer one".to_owned(),
            ("connection", verb) => format!(" {verb} single sign-on"),
            ("host", "saved") => format!(" said who may open {subject}"),
            ("host", _) => format!(" closed {subject} again"),
            ("sign_in", _) => match self.after("user_name").as_str() {
                "" => format!(" refused a sign-in: {}", self.after("why")),
                name => format!(" refused the sign-in of {name}: {}", self.after("why")),
            },
            ("sessions", _) => " ended everybody's sessions".to_owned(),
            ("removals", "unusual") => format!(
                " removed unusually many: {} {} within an hour, {} are left",
                self.after("removed"),
                self.after("what"),
                self.after("left")
            ),
            ("removals", "usual") => " said that the removals are as they should be".to_owned(),
            _ => format!(": {} {subject}", self.event.kind),
        })
    }

    /// A user or team by its name now, else by what the event says of it, else by its id.
    fn party(&self, kind: Kind, id: &str) -> Result<Piece> {
        if let Some((kind, name)) = directory::display(self.snapshot, self.tenant, id)? {
            return Ok(Piece::Named(kind, name, id.to_owned()));
        }
        let attribute = kind.name_attribute();
        let name = match id == self.event.subject {
            true => self.either(attribute),
            false => String::new(),
        };
        Ok(words(match name.is_empty() {
            true => format!("{id} (purged by now)"),
            false => format!("{name} (purged by now)"),
        }))
    }

    /// What the event says of it at last.
    fn either(&self, name: &str) -> String {
        match self.after(name) {
            after if after.is_empty() => self.before(name),
            after => after,
        }
    }

    fn after(&self, name: &str) -> String {
        text(self.event.after.as_ref(), name)
    }

    fn before(&self, name: &str) -> String {
        text(self.event.before.as_ref(), name)
    }
}

fn words(text: impl Into<String>) -> Piece {
    Piece::Words(text.into())
}

fn text(side: Option<&Value>, name: &str) -> String {
    match side.and_then(|side| side.get(name)) {
        Some(Value::String(text)) => text.clone(),
        None | Some(Value::Null) => String::new(),
        Some(other) => other.to_string(),
    }
}
