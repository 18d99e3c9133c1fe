//! People: who there is, was, or is switched off.

use minijinja::context;
use minijinja::value::Value;

use super::listing::{self, PAGE};
use super::{Visit, archived};
use crate::error::Result;
use crate::http::request::Response;
use crate::scim::resource::name_of;
use crate::scim::schema::Kind;
use crate::store::directory::{self, Entry, State, Wanted};
use crate::store::{Snapshot, resources, roles};

/// How many teams of somebody a list names.
const TEAMS: usize = 3;

/// `/settings/people`: `q`, `state`, `role` (its name) and `team` (its name) say who.
pub(super) fn answer(visit: &Visit<'_>) -> Result<Response> {
    if visit.is_post() {
        return visit.problem(400, "That is nothing this page can do.");
    }
    let tenant = visit.tenant.id;
    let [q, state, role, team] =
        ["q", "state", "role", "team"].map(|name| visit.query(name).trim().to_owned());
    let context = visit.look(|snapshot| {
        let of_role = roles::by_name(snapshot, tenant, &role)?;
        let of_team = resources::by_name(snapshot, tenant, Kind::Group, &team)?;
        let unknown =
            (!role.is_empty() && of_role.is_none()) || (!team.is_empty() && of_team.is_none());
        let wanted = Wanted {
            kind: Kind::User,
            prefix: &q,
            state: State::named(&state),
            role: of_role.map(|role| role.id),
            team: of_team.as_ref().map(|team| team.row),
        };
        let place = listing::place(visit);
        let page = if unknown {
            directory::Page {
                entries: vec![],
                before: None,
                after: None,
            }
        } else {
            directory::search(snapshot, tenant, &wanted, &place, PAGE)?
        };
        let asked = [
            ("q", &*q),
            ("state", &*state),
            ("role", &*role),
            ("team", &*team),
        ];
        let all: Vec<String> = roles::list(snapshot, tenant)?
            .into_iter()
            .map(|role| role.name)
            .collect();
        Ok(context! {
            q => q.as_str(), state => state.as_str(), role => role.as_str(), team => team.as_str(),
            is_asking => asked.iter().any(|(_, value)| !value.is_empty()),
            no_team => !team.is_empty() && of_team.is_none(),
            roles => all,
            pager => listing::pager("/settings/people", &asked, &page),
            people => rows(visit, snapshot, &page.entries)?,
        })
    })?;
    visit.show("people.html", "People", context)
}

/// People as lists show them.
pub(super) fn rows(
    visit: &Visit<'_>,
    snapshot: &Snapshot<'_>,
    entries: &[Entry],
) -> Result<Vec<Value>> {
    let mut rows = Vec::new();
    for entry in entries {
        let document = &entry.stored.document;
        let teams = directory::teams_of(snapshot, visit.tenant.id, &entry.stored, TEAMS + 1)?;
        let names: Vec<&str> = teams
            .iter()
            .take(TEAMS)
            .map(|(_, name)| name.as_str())
            .collect();
        rows.push(context! {
            id => entry.stored.id.as_str(),
            user_name => name_of(document, Kind::User.resource_type()),
            name => document.get("displayName").and_then(|name| name.as_str()).unwrap_or_default(),
            role => entry.role.as_deref(),
            teams => names.join(", "),
            has_more_teams => teams.len() > TEAMS,
            state => listing::tag(entry.state),
            archived => archived::shown(visit, snapshot, entry)?,
        });
    }
    Ok(rows)
}
