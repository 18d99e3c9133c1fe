//! What a server holds beside what it should: users and groups as it shows them, and the mismatches that come of it. Pure.

use std::collections::hash_map::DefaultHasher;
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::hash::{Hash, Hasher};

use serde_json::Value;

use super::life::Phase;
use super::organisation::{Group, Organisation};
use super::person::{Attribute, ENTERPRISE, Person};

/// A sort of mismatch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// A request that had to be done was not.
    Refused,
    /// An answer that isn't what it has to be.
    Answer,
    /// A search that finds others than those who are asked for, or not those.
    Search,
    /// A list whose pages don't fit together.
    Paging,
    /// A user or group that should be there isn't.
    Missing,
    /// One that shouldn't be there is.
    Surplus,
    /// A user's attribute has another value.
    Value(Attribute),
    /// Who may sign in and who not.
    Active,
    /// Another manager, or one in another form.
    Manager,
    /// A group's name or externalId.
    Group,
    /// A member who isn't there.
    MemberMissing,
    /// A member who shouldn't be there.
    MemberSurplus,
}

impl Kind {
    /// What it is, for a heading.
    pub fn title(self) -> String {
        let text = match self {
            Kind::Refused => "requests were refused",
            Kind::Answer => "answers aren't what a provider can read",
            Kind::Search => "a filter found the wrong ones",
            Kind::Paging => "pages of a list don't fit together",
            Kind::Missing => "what was created is not listed",
            Kind::Surplus => "what should be gone or never was is there",
            Kind::Value(attribute) => {
                return format!("{} isn't what was sent", attribute.name());
            }
            Kind::Active => "active isn't what was sent",
            Kind::Manager => "manager isn't what was sent",
            Kind::Group => "a group isn't called what was sent",
            Kind::MemberMissing => "members are missing",
            Kind::MemberSurplus => "members are there who left or never joined",
        };
        text.to_owned()
    }

    /// What comes of it with a real provider.
    pub fn consequence(self) -> &'static str {
        match self {
            Kind::Refused => {
                "The provider tries again for weeks, and pauses provisioning where too much fails."
            }
            Kind::Answer => "The provider gives up on the user or group, or on the whole server.",
            Kind::Search => "The provider creates people twice, or takes one for another.",
            Kind::Paging => "Whoever reads the list misses some, or sees some twice.",
            Kind::Missing | Kind::MemberMissing => {
                "The provider believes them there and doesn't send them again: they lack access until somebody notices."
            }
            Kind::Surplus | Kind::MemberSurplus => {
                "The provider believes them gone: they keep access that was taken from them."
            }
            Kind::Active => "Who was disabled can still sign in, or who was restored can't.",
            Kind::Value(_) | Kind::Manager | Kind::Group => {
                "The provider compares with what it reads: it sends the same again whenever it looks, and never ends."
            }
        }
    }
}

/// A mismatch: what was asked, what should be, what is.
#[derive(Clone, Debug, PartialEq)]
pub struct Finding {
    /// Its sort.
    pub kind: Kind,
    /// When it was noticed.
    pub phase: Phase,
    /// Whom or what it is about.
    pub about: String,
    /// The request that shows it.
    pub request: String,
    /// What should be.
    pub expected: String,
    /// What is.
    pub found: String,
}

/// A difference between what is shown and what should be, before it is known by which request.
pub type Difference = (Kind, String, String);

/// How a user differs from the person it should be.
pub fn user(all: &Organisation, person: &Person, shown: &Value) -> Vec<Difference> {
    let mut differences = Vec::new();
    for (attribute, value) in &person.values {
        let found = attribute.of(shown);
        if found.and_then(Value::as_str) != Some(value) {
            let kind = Kind::Value(*attribute);
            differences.push((kind, quoted(value), told(found)));
        }
    }
    if shown["active"] != Value::Bool(person.active) {
        let found = told(Some(&shown["active"]));
        differences.push((Kind::Active, person.active.to_string(), found));
    }
    let manager = person
        .manager
        .and_then(|number| all.people[number].id.as_deref());
    if let Some(manager) = manager {
        let found = &shown[ENTERPRISE]["manager"];
        if found["value"] != *manager {
            let expected = format!("{{\"value\":{}}}", quoted(manager));
            differences.push((Kind::Manager, expected, told(Some(found))));
        }
    }
    differences
}

/// How a group's names differ.
pub fn group(group: &Group, shown: &Value) -> Vec<Difference> {
    let texts = [
        ("displayName", &group.name),
        ("externalId", &group.external_id),
    ];
    texts
        .into_iter()
        .filter(|(name, text)| !text.is_empty() && shown[*name] != ***text)
        .map(|(name, text)| {
            let found = told(Some(&shown[name]));
            (Kind::Group, format!("{name} {}", quoted(text)), found)
        })
        .collect()
}

/// How a group's members differ, one by one.
pub fn members(all: &Organisation, group: &Group, shown: &Value) -> Vec<Difference> {
    let list = shown["members"].as_array().map_or(&[][..], Vec::as_slice);
    let found: BTreeSet<&str> = list
        .iter()
        .filter_map(|member| member["value"].as_str())
        .collect();
    let mut expected = BTreeSet::new();
    let mut differences = Vec::new();
    for person in group.members.iter().map(|number| &all.people[*number]) {
        let Some(id) = person.id.as_deref() else {
            continue;
        };
        expected.insert(id);
        if !found.contains(id) {
            let who = format!("{id} ({})", person.text(Attribute::UserName));
            differences.push((Kind::MemberMissing, who, "nobody of this id".to_owned()));
        }
    }
    for id in found.difference(&expected) {
        differences.push((
            Kind::MemberSurplus,
            "nobody of this id".to_owned(),
            (*id).to_owned(),
        ));
    }
    if found.len() < list.len() {
        let counts = format!("{} entries for {} people", list.len(), found.len());
        differences.push((Kind::MemberSurplus, "each member once".to_owned(), counts));
    }
    differences
}

/// A JSON value in a finding: not more of it than fits a line.
pub fn told(value: Option<&Value>) -> String {
    match value {
        None | Some(Value::Null) => "nothing".to_owned(),
        Some(value) => short(&value.to_string()),
    }
}

fn quoted(text: &str) -> String {
    Value::from(text).to_string()
}

/// The beginning of a text.
pub fn short(text: &str) -> String {
    const MOST: usize = 300;
    let mut short: String = text.chars().take(MOST).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    short
}

/// All mismatches, counted, and the first ones of each sort in full.
#[derive(Debug, Default)]
pub struct Ledger {
    sorts: BTreeMap<Kind, Sort>,
    by_phase: BTreeMap<Phase, u64>,
    seen: HashSet<u64>,
}

/// Mismatches of one sort.
#[derive(Debug, Default)]
pub struct Sort {
    /// How many there are.
    pub count: u64,
    /// The first of each phase and reason.
    pub examples: Vec<Finding>,
}

/// How many of a sort are kept in full.
const EXAMPLES: usize = 5;

/// How many are remembered, so that what stays wrong is counted once. Beyond, it's as bad either way.
const REMEMBERED: usize = 1_000_000;

impl Ledger {
    /// Counts a mismatch, unless it was there before: what is wrong stays wrong, and is read after each phase.
    pub fn add(&mut self, finding: Finding) {
        let mut hasher = DefaultHasher::new();
        let Finding {
            kind,
            about,
            expected,
            found,
            ..
        } = &finding;
        (kind, about, expected, found).hash(&mut hasher);
        if self.seen.len() < REMEMBERED && !self.seen.insert(hasher.finish()) {
            return;
        }
        *self.by_phase.entry(finding.phase).or_default() += 1;
        let sort = self.sorts.entry(finding.kind).or_default();
        sort.count += 1;
        // Of a hundred requests that are refused for one reason, one tells it.
        let is_new = |one: &Finding| (one.phase, &one.found) != (finding.phase, &finding.found);
        if sort.examples.len() < EXAMPLES && sort.examples.iter().all(is_new) {
            sort.examples.push(finding);
        }
    }

    /// How many there are.
    pub fn count(&self) -> u64 {
        self.by_phase.values().sum()
    }

    /// How many were noticed in a phase.
    pub fn count_in(&self, phase: Phase) -> u64 {
        self.by_phase.get(&phase).copied().unwrap_or_default()
    }

    /// Each sort, the worst for all first.
    pub fn sorts(&self) -> impl Iterator<Item = (Kind, &Sort)> {
        self.sorts.iter().map(|(kind, sort)| (*kind, sort))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::dialect::Dialect;
    use super::*;

    fn all() -> Organisation {
        let mut all = Organisation::new(Dialect::Entra, 1, 20, 1);
        for (number, person) in all.people.iter_mut().enumerate() {
            person.id = Some(format!("U{number}"));
        }
        all.groups[0].members = [1, 2].into();
        all
    }

    /// What a right server shows.
    fn shown(person: &Person) -> Value {
        let request = Dialect::Entra.create_user(person);
        request.body.unwrap()
    }

    #[test]
    fn what_was_sent_is_no_mismatch() {
        let all = all();
        for person in &all.people {
            assert_eq!(user(&all, person, &shown(person)), []);
        }
        let members_shown = json!({"members": [{"value": "U2"}, {"value": "U1"}]});
        assert_eq!(members(&all, &all.groups[0], &members_shown), []);
        let named =
            json!({"displayName": all.groups[0].name, "externalId": all.groups[0].external_id});
        assert_eq!(group(&all.groups[0], &named), []);
    }

    #[test]
    fn each_difference_is_named() {
        let mut all = all();
        all.people[5].manager = Some(0);
        all.people[5].active = false;
        let mut user_shown = shown(&all.people[5]);
        user_shown["userName"] = json!("OTHER");
        user_shown["active"] = json!("False");
        user_shown[ENTERPRISE]["manager"] = json!("U0");
        let differences = user(&all, &all.people[5], &user_shown);
        let kinds: Vec<Kind> = differences.iter().map(|(kind, ..)| *kind).collect();
        let expected = [
            Kind::Value(Attribute::UserName),
            Kind::Active,
            Kind::Manager,
        ];
        assert_eq!(kinds, expected);
        assert_eq!(differences[1].1, "false");
        assert_eq!(differences[1].2, "\"False\"");
        assert_eq!(differences[2].1, "{\"value\":\"U0\"}");
    }

    #[test]
    fn members_are_compared_one_by_one() {
        let all = all();
        let shown = json!({"members": [{"value": "U2"}, {"value": "U2"}, {"value": "U9"}]});
        let differences = members(&all, &all.groups[0], &shown);
        let kinds: Vec<Kind> = differences.iter().map(|(kind, ..)| *kind).collect();
        let expected = [
            Kind::MemberMissing,
            Kind::MemberSurplus,
            Kind::MemberSurplus,
        ];
        assert_eq!(kinds, expected);
        assert!(differences[0].1.starts_with("U1 ("));
    }

    #[test]
    fn what_stays_wrong_counts_once() {
        let mut ledger = Ledger::default();
        let finding = |phase, found: usize| Finding {
            kind: Kind::Active,
            phase,
            about: "U1".to_owned(),
            request: "GET /Users/U1".to_owned(),
            expected: "true".to_owned(),
            found: found.to_string(),
        };
        for phase in [Phase::Churn, Phase::Rename] {
            for found in 0..10 {
                ledger.add(finding(phase, found));
            }
        }
        assert_eq!((ledger.count(), ledger.count_in(Phase::Rename)), (10, 0));
        let sorts: Vec<_> = ledger.sorts().collect();
        assert_eq!(sorts.len(), 1);
        assert_eq!(sorts[0].1.examples.len(), EXAMPLES);
    }
}
