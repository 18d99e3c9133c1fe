//! Which role a user has, and why.
//!
//! The order is fixed: `roleName` wins over `roles`, which win over a role given to one of the user's groups, which wins
//! over the tenant's default role. A `roleName` that no row maps gives the default role and nothing else is asked: the
//! provider did say something, and guessing past it would hide the mistake.

use std::collections::HashMap;
use std::fmt;

/// A role's row number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RoleId(pub i64);

/// A role of a tenant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Role {
    /// Its row number.
    pub id: RoleId,
    /// Its name, as people read it.
    pub name: String,
    /// Its place: 1 is the highest.
    pub rank: i64,
    /// Whether who has it may open the settings.
    pub opens_settings: bool,
}

/// The five roles that a new tenant has, highest first, and whether each opens the settings.
pub const DEFAULT_ROLES: [(&str, bool); 5] = [
    ("Admin", true),
    ("Billing admin", false),
    ("Team lead", false),
    ("Responder", false),
    ("Member", false),
];

/// What a tenant decided about roles.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rules {
    /// All roles, highest first.
    pub roles: Vec<Role>,
    /// Role by value of `roleName` or `roles.value`, exact case.
    pub by_value: HashMap<String, RoleId>,
    /// Role by group name, folded.
    pub by_group: HashMap<String, RoleId>,
    /// For who gets none otherwise.
    pub default: RoleId,
}

/// What is known of one user.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// The attribute `roleName`, as sent.
    pub role_name: Option<String>,
    /// The values of `roles`, as sent, each with whether it is the primary one.
    pub roles: Vec<(String, bool)>,
    /// The live groups that the user is in: name, and name folded.
    pub groups: Vec<(String, String)>,
}

/// One step of a decision, in the order in which they were taken; the last one decided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// The provider sent no `roleName`.
    NoRoleName,
    /// `roleName` has this value, mapped to this role: decided.
    RoleName(String, String),
    /// `roleName` has this value, which is not mapped: the default role decides.
    UnmappedRoleName(String),
    /// None of the values of `roles` is mapped; these they are.
    NoRoles(Vec<String>),
    /// The primary value of `roles`, mapped to this role: decided.
    PrimaryRole(String, String),
    /// Of the values of `roles` this one is mapped to the highest role: decided.
    HighestRole(String, String),
    /// None of the user's groups gives a role.
    NoGroup,
    /// This group gives this role, the highest of those that do: decided.
    Group(String, String),
    /// The tenant's default role: decided.
    Default(String),
}

/// A role and the steps that led to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// The role.
    pub role: RoleId,
    /// Why.
    pub steps: Vec<Step>,
}

/// Decides one user's role.
pub fn decide(rules: &Rules, facts: &Facts) -> Decision {
    let mut steps = vec![];
    if let Some(value) = &facts.role_name {
        return match rules.by_value.get(value) {
            Some(&role) => {
                steps.push(Step::RoleName(value.clone(), rules.name(role)));
                Decision { role, steps }
            }
            None => {
                steps.push(Step::UnmappedRoleName(value.clone()));
                by_default(rules, steps)
            }
        };
    }
    steps.push(Step::NoRoleName);
    if let Some((role, step)) = by_roles(rules, facts) {
        steps.push(step);
        return Decision { role, steps };
    }
    steps.push(Step::NoRoles(
        facts.roles.iter().map(|(value, _)| value.clone()).collect(),
    ));
    let given = facts
        .groups
        .iter()
        .filter_map(|(name, folded)| Some((*rules.by_group.get(folded)?, name)));
    if let Some((role, group)) =
        given.min_by_key(|(role, group)| (rules.rank(*role), (*group).clone()))
    {
        steps.push(Step::Group(group.clone(), rules.name(role)));
        return Decision { role, steps };
    }
    steps.push(Step::NoGroup);
    by_default(rules, steps)
}

fn by_default(rules: &Rules, mut steps: Vec<Step>) -> Decision {
    steps.push(Step::Default(rules.name(rules.default)));
    Decision {
        role: rules.default,
        steps,
    }
}

/// The primary value of `roles` if it is mapped, else the value that is mapped to the highest role.
fn by_roles(rules: &Rules, facts: &Facts) -> Option<(RoleId, Step)> {
    let mapped = |(value, primary): &(String, bool)| {
        Some((*rules.by_value.get(value)?, value.clone(), *primary))
    };
    let candidates: Vec<_> = facts.roles.iter().filter_map(mapped).collect();
    if let Some((role, value, _)) = candidates.iter().find(|(_, _, primary)| *primary) {
        return Some((*role, Step::PrimaryRole(value.clone(), rules.name(*role))));
    }
    let (role, value, _) = candidates
        .into_iter()
        .min_by_key(|(role, value, _)| (rules.rank(*role), value.clone()))?;
    let name = rules.name(role);
    Some((role, Step::HighestRole(value, name)))
}

impl Rules {
    /// The role of this number.
    pub fn find(&self, id: RoleId) -> Option<&Role> {
        self.roles.iter().find(|role| role.id == id)
    }

    fn rank(&self, id: RoleId) -> i64 {
        self.find(id).map_or(i64::MAX, |role| role.rank)
    }

    fn name(&self, id: RoleId) -> String {
        self.find(id)
            .map_or_else(String::new, |role| role.name.clone())
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Step::NoRoleName => write!(f, "the provider sent no roleName"),
            Step::RoleName(value, role) => {
                write!(f, "roleName is {value:?}, which is mapped to {role}")
            }
            Step::UnmappedRoleName(value) => {
                write!(f, "roleName is {value:?}, which no row maps to a role")
            }
            Step::NoRoles(values) if values.is_empty() => write!(f, "the provider sent no roles"),
            Step::NoRoles(values) => write!(
                f,
                "no row maps any of the roles sent ({}) to a role",
                values.join(", ")
            ),
            Step::PrimaryRole(value, role) => write!(
                f,
                "the primary of the roles is {value:?}, which is mapped to {role}"
            ),
            Step::HighestRole(value, role) => {
                write!(
                    f,
                    "of the roles, {value:?} is mapped to the highest, {role}"
                )
            }
            Step::NoGroup => write!(f, "no group of theirs gives a role"),
            Step::Group(group, role) => write!(f, "the group {group} gives {role}"),
            Step::Default(role) => write!(f, "the default role is {role}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules() -> Rules {
        let role = |(at, (name, opens)): (usize, &(&str, bool))| Role {
            id: RoleId(at as i64 + 1),
            name: (*name).to_owned(),
            rank: at as i64 + 1,
            opens_settings: *opens,
        };
        let roles: Vec<Role> = DEFAULT_ROLES.iter().enumerate().map(role).collect();
        let by_value = roles
            .iter()
            .map(|role| (role.name.clone(), role.id))
            .collect();
        let by_group =
            HashMap::from([("sre".to_owned(), RoleId(3)), ("ops".to_owned(), RoleId(4))]);
        Rules {
            roles,
            by_value,
            by_group,
            default: RoleId(5),
        }
    }

    fn facts(role_name: Option<&str>, roles: &[(&str, bool)], groups: &[&str]) -> Facts {
        Facts {
            role_name: role_name.map(str::to_owned),
            roles: roles
                .iter()
                .map(|(value, primary)| ((*value).to_owned(), *primary))
                .collect(),
            groups: groups
                .iter()
                .map(|name| ((*name).to_owned(), name.to_lowercase()))
                .collect(),
        }
    }

    #[test]
    fn takes_the_first_source_that_says_something() {
        let all = &[("Responder", false), ("Team lead", true)][..];
        for (role_name, roles, groups, role, last) in [
            (
                Some("Admin"),
                all,
                &["SRE"][..],
                1,
                "roleName is \"Admin\", which is mapped to Admin",
            ),
            (
                Some("admin"),
                all,
                &["SRE"],
                5,
                "the default role is Member",
            ),
            (
                None,
                all,
                &["SRE"],
                3,
                "the primary of the roles is \"Team lead\", which is mapped to Team lead",
            ),
            (
                None,
                &[("Responder", false), ("Billing admin", false)],
                &[],
                2,
                "of the roles, \"Billing admin\" is mapped to the highest, Billing admin",
            ),
            (
                None,
                &[("Member", false), ("other", true)],
                &["SRE"],
                5,
                "of the roles, \"Member\" is mapped to the highest, Member",
            ),
            (
                None,
                &[("other", true)],
                &["Ops", "SRE"],
                3,
                "the group SRE gives Team lead",
            ),
            (None, &[], &["Nobody"], 5, "the default role is Member"),
        ] {
            let decision = decide(&rules(), &facts(role_name, roles, groups));
            assert_eq!(
                decision.role,
                RoleId(role),
                "{role_name:?} {roles:?} {groups:?}"
            );
            assert_eq!(decision.steps.last().unwrap().to_string(), last);
        }
    }

    #[test]
    fn explains_each_source_that_said_nothing() {
        let decision = decide(&rules(), &facts(None, &[("x", false)], &[]));
        let said: Vec<String> = decision.steps.iter().map(Step::to_string).collect();
        assert_eq!(
            said,
            [
                "the provider sent no roleName",
                "no row maps any of the roles sent (x) to a role",
                "no group of theirs gives a role",
                "the default role is Member"
            ]
        );
    }
}
