//! A made-up organisation: the same people and groups for the same seed, with what makes servers stumble in some of
//! their names (capitals, accents, apostrophes), and addresses that nobody can have (RFC 2606).

use std::collections::{BTreeMap, BTreeSet};

use super::dialect::Dialect;
use super::person::{Attribute, Person};

const GIVEN: [&str; 24] = [
    "Ada", "Bruno", "Chen", "Dalia", "Emeka", "Farah", "Göran", "Hana", "Inês", "Jonas", "Keiko",
    "Łucja", "Maren", "Nadia", "Omar", "Pilar", "Quinn", "Rosa", "Søren", "Tomás", "Uma", "Vera",
    "Wanda", "Zoë",
];
const FAMILY: [&str; 24] = [
    "Abara", "Berg", "Costa", "Dvořák", "Eriksen", "Fischer", "Gupta", "Haddad", "Ito", "Jansen",
    "Kowalski", "López", "Moreau", "Nguyen", "O'Brien", "Okafor", "Petrov", "Quist", "Ruiz",
    "Schäfer", "Tanaka", "Umar", "Vega", "Yılmaz",
];
const TITLES: [&str; 8] = [
    "Engineer", "Analyst", "Designer", "Editor", "Nurse", "Planner", "Buyer", "Teacher",
];
const DEPARTMENTS: [&str; 6] = ["Operations", "Sales", "Care", "Legal", "R&D", "Finance"];
const GROUPS: [&str; 8] = [
    "On-call", "Payroll", "Editors", "Ward", "Fleet", "Board", "Support", "Lab",
];

/// Values of roleName: two that rollcall knows, none that gives access to settings.
pub const ROLES: [&str; 2] = ["Responder", "Team lead"];

/// Most members of the group of everybody: an answer with all of them has to be read.
const EVERYBODY_MAX: usize = 20_000;

/// Numbers by chance, the same for the same seed (splitmix64).
#[derive(Clone, Debug)]
pub struct Dice(u64);

impl Dice {
    /// Begins with a seed.
    pub fn new(seed: u64) -> Dice {
        Dice(seed)
    }

    fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// A number below `end`, which is above 0.
    pub fn below(&mut self, end: usize) -> usize {
        // Smaller than `end`.
        (self.roll() % end as u64) as usize
    }

    /// One of some.
    pub fn one<'a>(&mut self, of: &[&'a str]) -> &'a str {
        of[self.below(of.len())]
    }

    /// So many of `from`, or all.
    pub fn some<T: Copy>(&mut self, count: usize, from: impl IntoIterator<Item = T>) -> Vec<T> {
        let mut left: Vec<T> = from.into_iter().collect();
        let count = count.min(left.len());
        for place in 0..count {
            let other = place + self.below(left.len() - place);
            left.swap(place, other);
        }
        left.truncate(count);
        left
    }
}

/// A group in the provider's directory.
#[derive(Clone, Debug, PartialEq)]
pub struct Group {
    /// `displayName`
    pub name: String,
    /// `externalId`, where the provider sends one.
    pub external_id: String,
    /// Who joins it in the initial cycle, by their numbers.
    pub planned: BTreeSet<usize>,
    /// Who should be in it at the server.
    pub members: BTreeSet<usize>,
    /// Who was in it when they were deleted.
    pub former: BTreeSet<usize>,
    /// What the server calls it, while it is there.
    pub id: Option<String>,
}

/// All that the provider knows, and what the server should know while each has an id.
#[derive(Clone, Debug)]
pub struct Organisation {
    /// How the names of all that is made begin, so that it is told from what else is there.
    pub prefix: String,
    /// People, by number.
    pub people: Vec<Person>,
    /// Groups, by number. The first one is everybody.
    pub groups: Vec<Group>,
}

/// What the server has done, by its answer.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// A person is there, like this.
    Person(usize, Box<Person>),
    /// A person is no longer there.
    PersonGone(usize),
    /// A group is there, under this id.
    GroupMade(usize, String),
    /// A group has this name.
    GroupNamed(usize, String),
    /// A group is no longer there.
    GroupGone(usize),
    /// These are in a group.
    Joined(usize, Vec<usize>),
    /// These are no longer in a group.
    Left(usize, Vec<usize>),
}

impl Organisation {
    /// The organisation of a seed, of which the server knows nothing yet.
    pub fn new(dialect: Dialect, seed: u64, users: usize, groups: usize) -> Organisation {
        let mut dice = Dice::new(seed);
        let prefix = prefix(seed);
        let people = (0..users).map(|number| person(&mut dice, dialect, &prefix, number));
        let people = people.collect();
        let groups = (0..groups).map(|number| {
            let size = match number {
                0 => users.min(EVERYBODY_MAX),
                _ => 1 + dice.below((2 * users / groups).max(2)),
            };
            let external_id = match dialect.is_entra() {
                true => guid(&mut dice),
                false => String::new(),
            };
            Group {
                name: format!("{prefix} {} {number}", dice.one(&GROUPS)),
                external_id,
                planned: dice.some(size, 0..users).into_iter().collect(),
                members: BTreeSet::new(),
                former: BTreeSet::new(),
                id: None,
            }
        });
        Organisation {
            groups: groups.collect(),
            people,
            prefix,
        }
    }

    /// How many should be at the server.
    pub fn people_there(&self) -> usize {
        self.people
            .iter()
            .filter(|person| person.id.is_some())
            .count()
    }

    /// What has become of somebody or something at the server.
    pub fn apply(&mut self, effect: Effect) {
        match effect {
            Effect::Person(number, person) => self.people[number] = *person,
            Effect::PersonGone(number) => {
                self.people[number].id = None;
                for group in &mut self.groups {
                    if group.members.remove(&number) {
                        group.former.insert(number);
                    }
                }
            }
            Effect::GroupMade(number, id) => self.groups[number].id = Some(id),
            Effect::GroupNamed(number, name) => self.groups[number].name = name,
            Effect::GroupGone(number) => self.groups[number].id = None,
            Effect::Joined(number, people) => self.groups[number].members.extend(people),
            Effect::Left(number, people) => {
                for person in people {
                    self.groups[number].members.remove(&person);
                }
            }
        }
    }

    /// Gives people roles from the beginning, as where the provider sends them with the user.
    pub fn with_roles(mut self) -> Organisation {
        for (number, person) in self.people.iter_mut().enumerate() {
            if number % 4 == 1 {
                let role = ROLES[number / 4 % ROLES.len()].to_owned();
                person.values.insert(Attribute::RoleName, role);
            }
        }
        self
    }

    /// The people who have subordinates: the first tenth.
    pub fn managers(&self) -> usize {
        self.people.len().div_ceil(10)
    }
}

/// The prefix of a seed.
pub fn prefix(seed: u64) -> String {
    format!("sim-{seed:x}")
}

fn person(dice: &mut Dice, dialect: Dialect, prefix: &str, number: usize) -> Person {
    use Attribute::*;
    let (given, family) = (dice.one(&GIVEN), dice.one(&FAMILY));
    let name = format!("{given} {family}");
    let mut local = format!("{}.{}", plain(given), plain(family));
    // Most directories are of small letters, and in each there are some that are not.
    if number % 7 != 3 {
        local = local.to_lowercase();
    }
    let user_name = format!("{prefix}-{local}.{number}@simulated.example");
    let external_id = match dialect.is_entra() {
        true => guid(dice),
        false => format!("00u{:016x}{:x}", dice.roll(), number % 16),
    };
    let mut values = BTreeMap::from([
        (Email, user_name.clone()),
        (UserName, user_name),
        (ExternalId, external_id),
        (DisplayName, name.clone()),
        (GivenName, given.to_owned()),
        (FamilyName, family.to_owned()),
        (Title, dice.one(&TITLES).to_owned()),
        (Phone, phone(dice)),
        (Department, dice.one(&DEPARTMENTS).to_owned()),
        (EmployeeNumber, (100_000 + number).to_string()),
    ]);
    if dialect.is_entra() {
        values.insert(Formatted, name);
    }
    Person {
        values,
        active: true,
        manager: None,
        id: None,
    }
}

/// One of the numbers that are kept free for stories.
pub fn phone(dice: &mut Dice) -> String {
    format!("+1 (555) 01{:02} x{}", dice.below(100), dice.below(1000))
}

/// Letters as they stand in addresses: directories spell them out.
fn plain(name: &str) -> String {
    name.chars()
        .map(|letter| match letter {
            'ö' | 'ó' | 'ø' => 'o',
            'ê' | 'ë' => 'e',
            'Ł' => 'L',
            'á' | 'ä' => 'a',
            'ř' => 'r',
            'ı' => 'i',
            other => other,
        })
        .collect()
}

/// As Entra ID's objectId.
pub fn guid(dice: &mut Dice) -> String {
    let (high, low) = (dice.roll(), dice.roll());
    format!(
        "{:08x}-{:04x}-4{:03x}-{:04x}-{:012x}",
        high >> 32,
        high >> 16 & 0xffff,
        high & 0xfff,
        0x8000 | (low >> 48 & 0x3fff),
        low & 0xffff_ffff_ffff
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_is_an_organisation() {
        let one = Organisation::new(Dialect::Entra, 7, 300, 12);
        let same = Organisation::new(Dialect::Entra, 7, 300, 12);
        let other = Organisation::new(Dialect::Entra, 8, 300, 12);
        assert_eq!((&one.people, &one.groups), (&same.people, &same.groups));
        assert_ne!(one.people[0], other.people[0]);
        assert_eq!(one.groups[0].planned.len(), 300);
        assert!(
            one.groups
                .iter()
                .all(|group| group.planned.iter().all(|m| *m < 300))
        );
    }

    #[test]
    fn nobody_shares_a_name() {
        for dialect in [Dialect::Entra, Dialect::Okta] {
            let all = Organisation::new(dialect, 1, 2000, 30);
            for attribute in [Attribute::UserName, Attribute::ExternalId] {
                let texts = all.people.iter().map(|person| person.text(attribute));
                let texts: BTreeSet<String> = texts.map(str::to_lowercase).collect();
                assert_eq!(texts.len(), 2000, "{attribute:?}");
                assert!(texts.iter().all(|text| text.is_ascii()));
            }
            let names: BTreeSet<&String> = all.groups.iter().map(|group| &group.name).collect();
            assert_eq!(names.len(), 30);
        }
    }

    #[test]
    fn some_are_some_of_them_once() {
        let mut dice = Dice::new(3);
        let some: BTreeSet<usize> = dice.some(40, 0..50).into_iter().collect();
        assert!(some.len() == 40 && some.iter().all(|one| *one < 50));
        assert_eq!(dice.some(9, 0..2).len(), 2);
    }
}
