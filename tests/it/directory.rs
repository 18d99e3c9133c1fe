//! What a client believes the server to hold: a model made of std collections, held against the server's lists.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::tenant::{ScimClient, text};

/// A user as the client knows it.
#[derive(Clone, Debug, PartialEq)]
pub struct Person {
    pub user_name: String,
    pub external_id: String,
    pub display_name: String,
    pub department: String,
    pub active: bool,
}

/// A group as the client knows it.
#[derive(Clone, Debug, PartialEq)]
pub struct Team {
    pub display_name: String,
    pub members: BTreeSet<String>,
}

/// All users and groups of a tenant, by the server's ids.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Directory {
    pub people: BTreeMap<String, Person>,
    pub teams: BTreeMap<String, Team>,
}

pub const ENTERPRISE: &str = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User";

impl Directory {
    /// Reads everything back, page by page, and fails where the server knows it otherwise: `phase` says after what.
    #[track_caller]
    pub fn assert_same(&self, client: &mut ScimClient, phase: &str) {
        let users = client.all("/Users");
        let found: BTreeMap<String, Person> = users
            .iter()
            .map(|(id, user)| (id.clone(), person(user)))
            .collect();
        assert_alike(&self.people, &found, &format!("users after {phase}"));

        let groups = client.all("/Groups");
        let found: BTreeMap<String, Team> = groups
            .iter()
            .map(|(id, group)| (id.clone(), team(group)))
            .collect();
        assert_alike(&self.teams, &found, &format!("groups after {phase}"));

        // A user's `groups` tells the same as the groups' `members`.
        let expected: BTreeMap<String, BTreeSet<String>> = self
            .people
            .keys()
            .map(|id| (id.clone(), self.teams_of(id)))
            .collect();
        let found = users
            .iter()
            .map(|(id, user)| (id.clone(), values(&user["groups"])))
            .collect();
        assert_alike(&expected, &found, &format!("memberships after {phase}"));
    }

    /// A deleted user leaves all groups.
    pub fn delete_person(&mut self, id: &str) {
        self.people.remove(id);
        for team in self.teams.values_mut() {
            team.members.remove(id);
        }
    }

    fn teams_of(&self, person: &str) -> BTreeSet<String> {
        let teams = self
            .teams
            .iter()
            .filter(|(_, team)| team.members.contains(person));
        teams.map(|(id, _)| id.clone()).collect()
    }
}

/// Compares entry by entry, so that a failure names one entry rather than printing a thousand.
#[track_caller]
fn assert_alike<V: PartialEq + std::fmt::Debug>(
    expected: &BTreeMap<String, V>,
    found: &BTreeMap<String, V>,
    what: &str,
) {
    for (id, expected) in expected {
        assert_eq!(
            found.get(id),
            Some(expected),
            "{what}: {id} (left: found, right: expected)"
        );
    }
    let extra: Vec<_> = found
        .iter()
        .filter(|(id, _)| !expected.contains_key(*id))
        .collect();
    assert!(
        extra.is_empty(),
        "{what}: {} that should not be there: {:?}",
        extra.len(),
        extra.first()
    );
}

fn person(user: &Value) -> Person {
    let string = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    Person {
        user_name: text(&user["userName"]),
        external_id: string(&user["externalId"]),
        display_name: string(&user["displayName"]),
        department: string(&user[ENTERPRISE]["department"]),
        active: user["active"] != Value::Bool(false),
    }
}

fn team(group: &Value) -> Team {
    Team {
        display_name: text(&group["displayName"]),
        members: values(&group["members"]),
    }
}

/// The `value`s of a multi-valued attribute.
fn values(list: &Value) -> BTreeSet<String> {
    list.as_array()
        .into_iter()
        .flatten()
        .map(|item| text(&item["value"]))
        .collect()
}
