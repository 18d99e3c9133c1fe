//! Doing a job: the requests of one person or group in their order, and what the answers must be.

use serde_json::Value;

use super::compare::{self, Kind, told};
use super::dialect::{self, Dialect, Member, Request};
use super::life::{Job, Phase};
use super::organisation::{Effect, Organisation};
use super::person::{Attribute, Person};
use super::session::{Session, Trouble, said};
use crate::scim_client::Answer;

impl Session<'_> {
    /// Does a job. A request that is refused is a mismatch and ends it: what the server should hold is as before.
    pub fn act(&mut self, all: &Organisation, job: &Job) -> Result<(), Trouble> {
        match job {
            Job::Create(number) => self.create(all, *number, &all.people[*number]).map(drop),
            Job::Change(number, after) => {
                let before = &all.people[*number];
                match before.id.clone() {
                    Some(id) => self.change(all, *number, &id, before, after),
                    None => Ok(()),
                }
            }
            Job::Restore(number) => self.restore(all, *number),
            Job::Delete(number) => self.delete_person(all, *number),
            Job::Return(number, person, groups) => self.bring_back(all, *number, person, groups),
            Job::CreateGroup(number) => self.create_group(all, *number),
            Job::SetMembers(number) => self.set_members(all, *number),
            Job::Members {
                group,
                joining,
                leaving,
            } => self.change_members(all, *group, joining, leaving),
            Job::RenameGroup(number, name) => self.rename_group(all, *number, name),
            Job::DeleteGroup(number) => self.delete_group(all, *number),
        }
    }

    /// Looks for somebody or something by name. `None` where that is a mismatch.
    fn find(
        &mut self,
        request: &Request,
        attribute: &str,
        name: &str,
    ) -> Result<Option<Vec<Value>>, Trouble> {
        let (answer, _) = self.ask(request)?;
        let Some((found, _)) = self.list(request, answer) else {
            return Ok(None);
        };
        let is_it = |one: &Value| {
            let text = one[attribute].as_str();
            text.is_some_and(|text| text.to_lowercase() == name.to_lowercase())
        };
        let (right, wrong): (Vec<Value>, Vec<Value>) = found.into_iter().partition(is_it);
        if let Some(other) = wrong.first() {
            let expected = format!("nobody but {name}");
            self.finding(Kind::Search, name, request, expected, told(Some(other)));
        }
        Ok(Some(right))
    }

    /// Creates a person whom nobody finds before; answers the id.
    fn create(
        &mut self,
        all: &Organisation,
        number: usize,
        person: &Person,
    ) -> Result<Option<String>, Trouble> {
        let name = person.text(Attribute::UserName);
        let find = self.dialect.find_user(name);
        let found = self.find(&find, "userName", name)?;
        if let Some(one) = found.iter().flatten().next() {
            if self.phase != Phase::Return {
                return Err(Trouble::Taken(name.to_owned()));
            }
            self.finding(
                Kind::Surplus,
                name,
                &find,
                "nobody after DELETE",
                told(Some(one)),
            );
        }
        let request = self.dialect.create_user(person);
        let (answer, again) = self.ask(&request)?;
        let Some((id, shown)) = self.created(&request, &answer, again, &find)? else {
            return Ok(None);
        };
        let mut there = person.clone();
        there.id = Some(id.clone());
        if self.dialect.is_entra() {
            there.values.remove(&Attribute::RoleName);
        }
        there.manager = None;
        self.differences(&id, &request, compare::user(all, &there, &shown));
        self.effects.push(Effect::Person(number, Box::new(there)));
        Ok(Some(id))
    }

    /// The id and the body of what was created. Where a first try has done it unnoticed, it is found by `find`.
    fn created(
        &mut self,
        request: &Request,
        answer: &Answer,
        again: bool,
        find: &Request,
    ) -> Result<Option<(String, Value)>, Trouble> {
        let shown = if again && answer.status == 409 {
            let (found, _) = self.ask(find)?;
            let found = self.list(find, found);
            found.and_then(|(found, _)| found.into_iter().next())
        } else if self.expect(request, answer, &[201]) {
            answer.json.clone()
        } else {
            return Ok(None);
        };
        let id = shown.as_ref().and_then(|shown| shown["id"].as_str());
        match id {
            Some(id) if is_plain(id) => {
                Ok(Some((id.to_owned(), shown.clone().unwrap_or_default())))
            }
            _ => {
                let expected = "the created resource with an id that can stand in a URL";
                self.finding(Kind::Answer, &request.path, request, expected, said(answer));
                Ok(None)
            }
        }
    }

    /// Sends a request that changes a person; whether it was done.
    fn change_one(
        &mut self,
        all: &Organisation,
        id: &str,
        request: &Request,
        after: &Person,
    ) -> Result<bool, Trouble> {
        let (answer, _) = self.ask(request)?;
        if !self.expect(request, &answer, &[200, 204]) {
            return Ok(false);
        }
        if answer.status == 200 {
            match &answer.json {
                Some(shown) => self.differences(id, request, compare::user(all, after, shown)),
                None => self.finding(Kind::Answer, id, request, "the user as JSON", said(&answer)),
            }
        }
        Ok(true)
    }

    /// Reads a person, then sends what has changed, as far as the server does it.
    fn change(
        &mut self,
        all: &Organisation,
        number: usize,
        id: &str,
        before: &Person,
        after: &Person,
    ) -> Result<(), Trouble> {
        let read = dialect::get(&format!("/Users/{id}"));
        let (answer, _) = self.ask(&read)?;
        if !self.expect(&read, &answer, &[200]) {
            return Ok(());
        }
        let current = answer.json.unwrap_or_default();
        let mut now = before.clone();
        if let Some(request) = self.dialect.change_user(id, before, after, &current) {
            let mut then = now.clone();
            then.values.clone_from(&after.values);
            if self.change_one(all, id, &request, &then)? {
                now = then;
            }
        }
        if before.active != after.active {
            let mut then = now.clone();
            then.active = after.active;
            let request = self.dialect.set_active(id, after.active);
            if self.change_one(all, id, &request, &then)? {
                now = then;
            }
        }
        let manager = after.manager.filter(|_| before.manager != after.manager);
        let manager_id = manager.and_then(|manager| all.people[manager].id.as_deref());
        if let Some(manager_id) = manager_id {
            let mut then = now.clone();
            then.manager = manager;
            let request = self.dialect.set_manager(id, manager_id);
            if self.change_one(all, id, &request, &then)? {
                now = then;
            }
        }
        if now != *before {
            self.effects.push(Effect::Person(number, Box::new(now)));
        }
        Ok(())
    }

    fn restore(&mut self, all: &Organisation, number: usize) -> Result<(), Trouble> {
        let person = &all.people[number];
        let Some(id) = person.id.as_deref() else {
            return Ok(());
        };
        let name = person.text(Attribute::UserName);
        let find = self.dialect.find_user(name);
        if let Some(found) = self.find(&find, "userName", name)?
            && (found.len() != 1 || found[0]["id"] != id)
        {
            let ids = told(Some(&found.iter().map(|one| one["id"].clone()).collect()));
            let expected = format!("{id} alone, who is disabled");
            self.finding(Kind::Search, id, &find, expected, ids);
        }
        let mut after = person.clone();
        after.active = true;
        let request = self.dialect.set_active(id, true);
        if self.change_one(all, id, &request, &after)? {
            self.effects.push(Effect::Person(number, Box::new(after)));
        }
        Ok(())
    }

    fn delete_person(&mut self, all: &Organisation, number: usize) -> Result<(), Trouble> {
        let Some(id) = &all.people[number].id else {
            return Ok(());
        };
        if self.delete(&format!("/Users/{id}"))? {
            self.effects.push(Effect::PersonGone(number));
        }
        Ok(())
    }

    /// Deletes, and asks whether it's gone. Whether it was done.
    fn delete(&mut self, path: &str) -> Result<bool, Trouble> {
        let request = dialect::delete(path);
        let (answer, again) = self.ask(&request)?;
        // What was tried again may be gone since the first try.
        let statuses: &[u16] = if again { &[204, 404] } else { &[204] };
        if !self.expect(&request, &answer, statuses) {
            return Ok(false);
        }
        let request = dialect::get(path);
        let (answer, _) = self.ask(&request)?;
        if answer.status != 404 {
            self.finding(
                Kind::Surplus,
                path,
                &request,
                "404 after DELETE",
                said(&answer),
            );
        }
        Ok(true)
    }

    fn bring_back(
        &mut self,
        all: &Organisation,
        number: usize,
        person: &Person,
        groups: &[usize],
    ) -> Result<(), Trouble> {
        let Some(id) = self.create(all, number, person)? else {
            return Ok(());
        };
        let mut before = person.clone();
        before.id = Some(id.clone());
        before.values.remove(&Attribute::RoleName);
        before.manager = None;
        let mut after = person.clone();
        after.id = Some(id.clone());
        if before != after {
            self.change(all, number, &id, &before, &after)?;
        }
        let member = Member {
            id: &id,
            name: person.text(Attribute::DisplayName),
        };
        for number_of_group in groups {
            let group = &all.groups[*number_of_group];
            let Some(group_id) = &group.id else { continue };
            let requests = self
                .dialect
                .change_members(group_id, &group.name, &[member], &[]);
            for request in &requests {
                let (answer, _) = self.ask(request)?;
                if self.expect(request, &answer, &[200, 204]) {
                    self.effects
                        .push(Effect::Joined(*number_of_group, vec![number]));
                }
            }
        }
        Ok(())
    }

    fn create_group(&mut self, all: &Organisation, number: usize) -> Result<(), Trouble> {
        let group = &all.groups[number];
        let find = self.dialect.find_group(&group.name);
        if self
            .find(&find, "displayName", &group.name)?
            .is_some_and(|found| !found.is_empty())
        {
            return Err(Trouble::Taken(group.name.clone()));
        }
        let request = self.dialect.create_group(group);
        let (answer, again) = self.ask(&request)?;
        if let Some((id, shown)) = self.created(&request, &answer, again, &find)? {
            self.differences(&id, &request, compare::group(group, &shown));
            self.effects.push(Effect::GroupMade(number, id));
        }
        Ok(())
    }

    fn set_members(&mut self, all: &Organisation, number: usize) -> Result<(), Trouble> {
        let group = &all.groups[number];
        let Some(id) = &group.id else { return Ok(()) };
        let planned: Vec<usize> = group.planned.iter().copied().collect();
        let (people, members) = named(all, &planned);
        let request = self.dialect.replace_members(id, &members);
        let (answer, _) = self.ask(&request)?;
        if self.expect(&request, &answer, &[200, 204]) {
            self.effects.push(Effect::Joined(number, people));
        }
        Ok(())
    }

    fn change_members(
        &mut self,
        all: &Organisation,
        number: usize,
        joining: &[usize],
        leaving: &[usize],
    ) -> Result<(), Trouble> {
        let group = &all.groups[number];
        let Some(id) = &group.id else { return Ok(()) };
        let ((joined, joining), (left, leaving)) = (named(all, joining), named(all, leaving));
        let requests = self
            .dialect
            .change_members(id, &group.name, &joining, &leaving);
        let mut effects = vec![Effect::Joined(number, joined), Effect::Left(number, left)];
        effects.retain(|effect| {
            let (Effect::Joined(_, people) | Effect::Left(_, people)) = effect else {
                return false;
            };
            !people.is_empty()
        });
        for request in &requests {
            let (answer, _) = self.ask(request)?;
            // Okta's one request is for both.
            let count = if self.dialect == Dialect::Okta {
                effects.len()
            } else {
                1
            };
            let done: Vec<Effect> = effects.drain(..count.min(effects.len())).collect();
            if self.expect(request, &answer, &[200, 204]) {
                self.effects.extend(done);
            }
        }
        Ok(())
    }

    fn rename_group(
        &mut self,
        all: &Organisation,
        number: usize,
        name: &str,
    ) -> Result<(), Trouble> {
        let Some(id) = &all.groups[number].id else {
            return Ok(());
        };
        let request = self.dialect.rename_group(id, name);
        let (answer, _) = self.ask(&request)?;
        if self.expect(&request, &answer, &[200, 204]) {
            self.effects
                .push(Effect::GroupNamed(number, name.to_owned()));
        }
        Ok(())
    }

    fn delete_group(&mut self, all: &Organisation, number: usize) -> Result<(), Trouble> {
        let Some(id) = &all.groups[number].id else {
            return Ok(());
        };
        if self.delete(&format!("/Groups/{id}"))? {
            self.effects.push(Effect::GroupGone(number));
        }
        Ok(())
    }
}

/// Those of `numbers` who are at the server, and how a group knows them.
fn named<'a>(all: &'a Organisation, numbers: &[usize]) -> (Vec<usize>, Vec<Member<'a>>) {
    let there = numbers.iter().filter_map(|number| {
        let person = &all.people[*number];
        let id = person.id.as_deref()?;
        let name = person.text(Attribute::DisplayName);
        Some((*number, Member { id, name }))
    });
    there.unzip()
}

/// Whether an id can stand in a path as it is (RFC 3986 §3.3, without what starts something else).
pub fn is_plain(id: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~:@!$&'()*+,;=".contains(&byte);
    !id.is_empty() && id.len() <= 512 && id.bytes().all(plain) && id != "." && id != ".."
}
