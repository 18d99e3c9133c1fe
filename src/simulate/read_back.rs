//! Reading everything back: pages of users and groups, and each group's members, held against what they should be.

use std::collections::{HashMap, HashSet};

use serde_json::Value;

use super::act::is_plain;
use super::compare::{self, Kind, told};
use super::dialect::{self, PAGE, Request};
use super::organisation::Organisation;
use super::person::Attribute;
use super::session::{Session, Trouble};

/// Most pages that are read of a list.
const PAGES_MAX: usize = 100_000;

impl Session<'_> {
    /// Reads and compares all that is of this run. Whatever else the server holds is skipped.
    pub fn read_back(&mut self, all: &Organisation) -> Result<(), Trouble> {
        self.read_users(all)?;
        self.read_groups(all)
    }

    fn read_users(&mut self, all: &Organisation) -> Result<(), Trouble> {
        let people = all.people.iter().enumerate();
        let numbers: HashMap<&str, usize> = people
            .filter_map(|(number, person)| Some((person.id.as_deref()?, number)))
            .collect();
        let mut seen = HashSet::new();
        self.walk("/Users", |session, request, shown| {
            let id = shown["id"].as_str().unwrap_or_default();
            let name = shown["userName"].as_str().unwrap_or_default();
            match numbers.get(id) {
                Some(number) => {
                    if !seen.insert(*number) {
                        session.finding(
                            Kind::Paging,
                            id,
                            request,
                            "each user once",
                            format!("{id} again"),
                        );
                    }
                    let differences = compare::user(all, &all.people[*number], shown);
                    session.differences(id, request, differences);
                }
                None if is_ours(&all.prefix, name) => {
                    session.finding(
                        Kind::Surplus,
                        id,
                        request,
                        "no such user",
                        told(Some(shown)),
                    );
                }
                None => {}
            }
        })?;
        for (id, number) in numbers.iter().filter(|(_, number)| !seen.contains(*number)) {
            let name = all.people[*number].text(Attribute::UserName);
            let request = dialect::page("/Users", 1);
            let expected = format!("{id} ({name}) on one of the pages");
            self.finding(Kind::Missing, id, &request, expected, "on none");
        }
        Ok(())
    }

    fn read_groups(&mut self, all: &Organisation) -> Result<(), Trouble> {
        let groups = all.groups.iter();
        let known: HashMap<&str, _> = groups
            .filter_map(|group| Some((group.id.as_deref()?, group)))
            .collect();
        let mut seen = HashSet::new();
        self.walk("/Groups", |session, request, shown| {
            let id = shown["id"].as_str().unwrap_or_default();
            let name = shown["displayName"].as_str().unwrap_or_default();
            match known.get_key_value(id) {
                Some((id, group)) => {
                    if !seen.insert(*id) {
                        session.finding(
                            Kind::Paging,
                            id,
                            request,
                            "each group once",
                            format!("{id} again"),
                        );
                    }
                    session.differences(id, request, compare::group(group, shown));
                }
                None if is_ours(&all.prefix, name) => {
                    session.finding(
                        Kind::Surplus,
                        id,
                        request,
                        "no such group",
                        told(Some(shown)),
                    );
                }
                None => {}
            }
        })?;
        for (id, group) in known {
            if !seen.contains(id) {
                let request = dialect::page("/Groups", 1);
                let expected = format!("{id} ({}) on one of the pages", group.name);
                self.finding(Kind::Missing, id, &request, expected, "on none");
            }
            let request = dialect::get(&format!("/Groups/{id}"));
            let (answer, _) = self.ask(&request)?;
            if self.expect(&request, &answer, &[200]) {
                let shown = answer.json.unwrap_or_default();
                self.differences(id, &request, compare::members(all, group, &shown));
            }
        }
        Ok(())
    }

    /// The ids of all that bears the prefix, at either endpoint, as paths.
    pub fn ours(&mut self, prefix: &str) -> Result<HashSet<String>, Trouble> {
        let mut paths = HashSet::new();
        for (endpoint, attribute) in [("/Groups", "displayName"), ("/Users", "userName")] {
            self.walk(endpoint, |_, _, shown| {
                let name = shown[attribute].as_str().unwrap_or_default();
                if let Some(id) = shown["id"].as_str().filter(|id| is_plain(id))
                    && is_ours(prefix, name)
                {
                    paths.insert(format!("{endpoint}/{id}"));
                }
            })?;
        }
        Ok(paths)
    }

    /// Every resource of a list, page by page (RFC 7644 §3.4.2.4).
    fn walk(
        &mut self,
        endpoint: &str,
        mut each: impl FnMut(&mut Session<'_>, &Request, &Value),
    ) -> Result<(), Trouble> {
        let mut start = 1;
        for _ in 0..PAGES_MAX {
            let request = dialect::page(endpoint, start);
            let (answer, _) = self.ask(&request)?;
            let told_start = answer.json.as_ref().map(|list| list["startIndex"].clone());
            let Some((resources, total)) = self.list(&request, answer) else {
                return Ok(());
            };
            if let Some(index) = told_start.filter(|index| !index.is_null() && *index != start) {
                let expected = format!("startIndex {start}");
                self.finding(
                    Kind::Paging,
                    endpoint,
                    &request,
                    expected,
                    index.to_string(),
                );
            }
            if resources.len() > PAGE {
                let found = format!("{} resources", resources.len());
                let expected = format!("{PAGE} resources at most");
                self.finding(Kind::Paging, endpoint, &request, expected, found);
            }
            for resource in &resources {
                each(self, &request, resource);
            }
            start += resources.len();
            if start as u64 > total {
                return Ok(());
            }
            if resources.is_empty() {
                let expected = format!("the rest of {total} resources");
                self.finding(Kind::Paging, endpoint, &request, expected, "none");
                return Ok(());
            }
        }
        Ok(())
    }
}

/// Whether a name begins with the prefix, in whatever case, and goes on with something else than its digits.
fn is_ours(prefix: &str, name: &str) -> bool {
    let beginning = name.get(..prefix.len());
    beginning.is_some_and(|beginning| beginning.eq_ignore_ascii_case(prefix))
        && name[prefix.len()..].starts_with(['-', ' '])
}

#[cfg(test)]
mod tests {
    use super::is_ours;

    #[test]
    fn only_this_run_is_ours() {
        for ours in ["sim-1f-ana", "SIM-1F-ana", "sim-1f Ward 3"] {
            assert!(is_ours("sim-1f", ours), "{ours}");
        }
        for other in [
            "sim-1",
            "sim-1fa-ana",
            "sim-1f",
            "ana",
            "xsim-1f-ana",
            "söm-1f",
        ] {
            assert!(!is_ours("sim-1f", other), "{other}");
        }
    }
}
