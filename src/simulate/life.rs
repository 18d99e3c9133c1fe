//! A directory's life in phases, and what the provider does in each. Pure: jobs are made here and done elsewhere.
//!
//! Jobs of one phase have nothing to do with each other, so that they are done by several connections at once, in any order.

use super::dialect::{Dialect, PAGE};
use super::organisation::{Dice, Organisation, ROLES, guid, phone};
use super::person::{Attribute, Person};

/// Most members in a PATCH of the initial cycle of Entra ID.
const BATCH: usize = 20;

/// A part of a provider's life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// *Test Connection*.
    Connect,
    /// Each user is looked for and created.
    Users,
    /// Each group likewise.
    Groups,
    /// Who is in which group.
    Members,
    /// Managers and roles, which Entra ID sends once users are there.
    References,
    /// Titles, roles and memberships change, several of one group at once.
    Churn,
    /// Other names for users and groups.
    Rename,
    /// Users are disabled.
    Disable,
    /// Half of them are found again, and enabled.
    Restore,
    /// Others and some groups are deleted.
    Delete,
    /// Some of the deleted come back: another user with the same name, in the same groups.
    Return,
    /// All that was made is deleted.
    CleanUp,
}

impl Phase {
    /// All but the first and the last one, in order, as `dialect` lives them.
    pub fn life(dialect: Dialect) -> Vec<Phase> {
        use Phase::*;
        let all = [
            Users, Groups, Members, References, Churn, Rename, Disable, Restore, Delete, Return,
        ];
        let all = all.into_iter();
        // Okta sends neither managers nor roles by themselves, and never deletes a user.
        all.filter(|phase| dialect.is_entra() || !matches!(phase, References | Return))
            .collect()
    }

    /// How reports call it.
    pub fn name(self) -> &'static str {
        match self {
            Phase::Connect => "test connection",
            Phase::Users => "create users",
            Phase::Groups => "create groups",
            Phase::Members => "add members",
            Phase::References => "managers and roles",
            Phase::Churn => "churn",
            Phase::Rename => "rename",
            Phase::Disable => "disable",
            Phase::Restore => "restore",
            Phase::Delete => "delete",
            Phase::Return => "return",
            Phase::CleanUp => "clean up",
        }
    }
}

/// What is done about one person or group.
#[derive(Clone, Debug, PartialEq)]
pub enum Job {
    /// Looks for a person by name, and creates them.
    Create(usize),
    /// Reads a person, and makes what has changed of them so.
    Change(usize, Box<Person>),
    /// Looks for a person by name, and enables them.
    Restore(usize),
    /// Deletes a person.
    Delete(usize),
    /// Creates somebody anew, who gets into these groups.
    Return(usize, Box<Person>, Vec<usize>),
    /// Looks for a group by name, and creates it.
    CreateGroup(usize),
    /// Okta's push of all members of a group.
    SetMembers(usize),
    /// Who joins a group and who leaves it.
    Members {
        /// The group.
        group: usize,
        /// Who isn't in it yet.
        joining: Vec<usize>,
        /// Who is in it.
        leaving: Vec<usize>,
    },
    /// Gives a group another name.
    RenameGroup(usize, String),
    /// Deletes a group.
    DeleteGroup(usize),
}

/// The jobs of a phase, for what the server knows by now. `roles`: whether `roleName` is sent at all.
pub fn jobs(
    phase: Phase,
    dialect: Dialect,
    all: &Organisation,
    dice: &mut Dice,
    roles: bool,
) -> Vec<Job> {
    let people = || there(all);
    let groups = || (0..all.groups.len()).filter(|number| all.groups[*number].id.is_some());
    match phase {
        Phase::Connect | Phase::CleanUp => Vec::new(),
        Phase::Users => (0..all.people.len()).map(Job::Create).collect(),
        Phase::Groups => (0..all.groups.len()).map(Job::CreateGroup).collect(),
        Phase::Members if dialect == Dialect::Okta => groups().map(Job::SetMembers).collect(),
        Phase::Members => groups().flat_map(|number| batches(all, number)).collect(),
        Phase::References => references(all, dice, roles),
        Phase::Churn => churn(all, dice, roles),
        Phase::Rename => {
            let some = dice.some(all.people_there().div_ceil(20), people());
            let mut jobs: Vec<Job> = some
                .into_iter()
                .map(|number| renamed(all, number, dice))
                .collect();
            let some = dice.some(all.groups.len().div_ceil(5), groups());
            jobs.extend(some.into_iter().map(|number| {
                Job::RenameGroup(number, format!("{} (EU)", all.groups[number].name))
            }));
            jobs
        }
        Phase::Disable => {
            // Managers stay, so that it's certain what a reference to one means.
            let others = people().filter(|number| *number >= all.managers());
            let some = dice.some(all.people_there().div_ceil(10), others);
            some.into_iter()
                .map(|number| {
                    let mut after = all.people[number].clone();
                    after.active = false;
                    Job::Change(number, Box::new(after))
                })
                .collect()
        }
        Phase::Restore => {
            let disabled: Vec<usize> = disabled(all).collect();
            let some = dice.some(disabled.len().div_ceil(2), disabled);
            some.into_iter().map(Job::Restore).collect()
        }
        Phase::Delete => {
            let disabled: Vec<usize> = disabled(all).collect();
            let purged = match dialect.is_entra() {
                true => dice.some(disabled.len().div_ceil(2), disabled),
                false => Vec::new(),
            };
            let mut jobs: Vec<Job> = purged.into_iter().map(Job::Delete).collect();
            let some = dice.some(all.groups.len() / 9, groups());
            jobs.extend(some.into_iter().map(Job::DeleteGroup));
            jobs
        }
        Phase::Return => returns(all, dice),
    }
}

fn there(all: &Organisation) -> impl Iterator<Item = usize> {
    (0..all.people.len()).filter(|number| all.people[*number].id.is_some())
}

fn disabled(all: &Organisation) -> impl Iterator<Item = usize> {
    there(all).filter(|number| !all.people[*number].active)
}

/// The members of a group in batches, as they join it.
fn batches(all: &Organisation, group: usize) -> Vec<Job> {
    let members = all.groups[group].planned.iter().copied();
    let members: Vec<usize> = members
        .filter(|number| all.people[*number].id.is_some())
        .collect();
    members
        .chunks(BATCH)
        .map(|batch| Job::Members {
            group,
            joining: batch.to_vec(),
            leaving: Vec::new(),
        })
        .collect()
}

fn references(all: &Organisation, dice: &mut Dice, roles: bool) -> Vec<Job> {
    let mut jobs = Vec::new();
    for number in there(all) {
        let mut after = all.people[number].clone();
        let manager = number / 10;
        if manager != number && all.people[manager].id.is_some() {
            after.manager = Some(manager);
        }
        if roles && number % 4 == 1 {
            after = after.with(Attribute::RoleName, dice.one(&ROLES));
        }
        if after != all.people[number] {
            jobs.push(Job::Change(number, Box::new(after)));
        }
    }
    jobs
}

fn churn(all: &Organisation, dice: &mut Dice, roles: bool) -> Vec<Job> {
    use Attribute::*;
    let mut jobs = Vec::new();
    for number in dice.some(all.people_there().div_ceil(10), there(all)) {
        let person = &all.people[number];
        let mut after = person.with(
            Title,
            format!("Senior {}", person.text(Title).to_lowercase()),
        );
        if number % 2 == 0 {
            after = after
                .with(Phone, phone(dice))
                .with(Department, "Operations");
        }
        if roles && number % 3 == 0 {
            after = after.with(RoleName, dice.one(&ROLES));
        }
        jobs.push(Job::Change(number, Box::new(after)));
    }
    for (number, group) in all.groups.iter().enumerate() {
        if group.id.is_none() {
            continue;
        }
        let size = group.members.len().div_ceil(10).min(PAGE);
        let leaving = dice.some(size, group.members.iter().copied());
        let outside = there(all).filter(|person| !group.members.contains(person));
        let joining = dice.some(size, outside);
        // Several jobs for one group, at once.
        let count = leaving.len().max(joining.len()).div_ceil(5);
        for part in 0..count {
            let of = |all: &[usize]| all.iter().skip(part).step_by(count).copied().collect();
            jobs.push(Job::Members {
                group: number,
                joining: of(&joining),
                leaving: of(&leaving),
            });
        }
    }
    // As changes come in a company: not by kind.
    dice.some(jobs.len(), 0..jobs.len())
        .into_iter()
        .map(|number| jobs[number].clone())
        .collect()
}

/// Somebody after a wedding: another name, and so another userName and address.
fn renamed(all: &Organisation, number: usize, dice: &mut Dice) -> Job {
    use Attribute::*;
    let person = &all.people[number];
    let family = format!("{}-Ruiz", person.text(FamilyName));
    let display = format!("{} {family}", person.text(GivenName));
    let address = format!(
        "{}-ruiz.{number}.{}@simulated.example",
        all.prefix,
        dice.below(10)
    );
    let mut after = person
        .with(FamilyName, family)
        .with(DisplayName, display.clone())
        .with(Email, address.clone())
        .with(UserName, address);
    if person.values.contains_key(&Formatted) {
        after = after.with(Formatted, display);
    }
    Job::Change(number, Box::new(after))
}

fn returns(all: &Organisation, dice: &mut Dice) -> Vec<Job> {
    let gone: Vec<usize> = (0..all.people.len())
        .filter(|number| all.people[*number].id.is_none() && !all.people[*number].active)
        .collect();
    let some = dice.some(gone.len().div_ceil(2), gone);
    some.into_iter()
        .map(|number| {
            let groups = all.groups.iter().enumerate();
            let groups = groups
                .filter(|(_, group)| group.id.is_some() && group.former.contains(&number))
                .map(|(group, _)| group);
            let mut person = all.people[number].with(Attribute::ExternalId, guid(dice));
            person.active = true;
            Job::Return(number, Box::new(person), groups.collect())
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// An organisation that is at the server as a whole.
    fn known(users: usize, groups: usize) -> Organisation {
        let mut all = Organisation::new(Dialect::Entra, 5, users, groups);
        for (number, person) in all.people.iter_mut().enumerate() {
            person.id = Some(format!("U{number}"));
        }
        for (number, group) in all.groups.iter_mut().enumerate() {
            group.id = Some(format!("G{number}"));
            group.members = group.planned.clone();
        }
        all
    }

    #[test]
    fn jobs_of_a_phase_have_nothing_to_do_with_each_other() {
        let all = known(400, 20);
        for phase in Phase::life(Dialect::Entra) {
            let mut dice = Dice::new(1);
            let mut touched = BTreeSet::new();
            for job in jobs(phase, Dialect::Entra, &all, &mut dice, true) {
                let marks: Vec<(usize, Option<usize>, bool)> = match &job {
                    Job::Create(number)
                    | Job::Change(number, _)
                    | Job::Restore(number)
                    | Job::Delete(number)
                    | Job::Return(number, ..) => vec![(*number, None, false)],
                    Job::CreateGroup(group)
                    | Job::RenameGroup(group, _)
                    | Job::DeleteGroup(group)
                    | Job::SetMembers(group) => vec![(*group, None, true)],
                    Job::Members {
                        group,
                        joining,
                        leaving,
                    } => {
                        let both = joining.iter().chain(leaving);
                        both.map(|person| (*group, Some(*person), true)).collect()
                    }
                };
                for mark in marks {
                    assert!(touched.insert(mark), "{phase:?}: {job:?}");
                }
            }
        }
    }

    #[test]
    fn a_life_has_something_in_every_phase() {
        let mut all = known(200, 10);
        let life = Phase::life(Dialect::Entra);
        for phase in [
            Phase::References,
            Phase::Churn,
            Phase::Rename,
            Phase::Disable,
        ] {
            assert!(life.contains(&phase));
            let jobs = jobs(phase, Dialect::Entra, &all, &mut Dice::new(2), true);
            assert!(!jobs.is_empty(), "{phase:?}");
            for job in jobs {
                if let Job::Change(number, after) = job {
                    assert_ne!(all.people[number], *after);
                    all.people[number] = *after;
                }
            }
        }
        for phase in [Phase::Restore, Phase::Delete] {
            let jobs = jobs(phase, Dialect::Entra, &all, &mut Dice::new(2), true);
            assert!(!jobs.is_empty(), "{phase:?}");
        }
        assert!(!Phase::life(Dialect::Okta).contains(&Phase::Return));
    }

    #[test]
    fn without_roles_none_is_sent() {
        let all = known(200, 4);
        for phase in [Phase::References, Phase::Churn] {
            for job in jobs(phase, Dialect::Entra, &all, &mut Dice::new(2), false) {
                if let Job::Change(_, after) = job {
                    assert!(!after.values.contains_key(&Attribute::RoleName));
                }
            }
        }
    }
}
