//! Users and groups as an administrator looks for them: by the beginning of a name or address, in whatever state, the
//! archived ones too, a page at a time.
//!
//! A search walks one or a few indexes in order, from a key on, and asks of each candidate whether it is wanted. So a
//! page costs what is on it, and not what is behind it. Where hardly any candidate is wanted the walk stops after
//! [`MOST_LOOKED_AT`] and says where to go on.

use jiff::Timestamp;
use rusqlite::types::Value as Sql;
use rusqlite::{OptionalExtension, Row, params_from_iter};

use super::column::Millis;
use super::resources::{self, COLUMNS, DISPLAY_NAME, EMAILS_VALUE, Stored};
use super::{Snapshot, TenantId, nesting};
use crate::access::roles::RoleId;
use crate::error::{Doing, Result};
use crate::scim::resource::fold;
use crate::scim::schema::Kind;

/// How many candidates one search looks at.
pub const MOST_LOOKED_AT: usize = 5_000;

/// How far members and resources are counted: a page need not know more than "more than a thousand".
pub const COUNTED_TO: u64 = 1_000;

/// In which state a user or group is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// There, and a user is not deactivated.
    Active,
    /// A deactivated user.
    Inactive,
    /// Deleted, not purged yet.
    Archived,
}

impl State {
    /// As addresses and pages write it.
    pub fn as_str(self) -> &'static str {
        match self {
            State::Active => "active",
            State::Inactive => "inactive",
            State::Archived => "archived",
        }
    }

    /// The one that is called so.
    pub fn named(name: &str) -> Option<State> {
        [State::Active, State::Inactive, State::Archived]
            .into_iter()
            .find(|state| state.as_str() == name)
    }
}

/// What to look for.
#[derive(Clone, Debug)]
pub struct Wanted<'a> {
    /// Users or groups.
    pub kind: Kind,
    /// What userName, displayName or an e-mail address begins with, in any case. Empty: anything.
    pub prefix: &'a str,
    /// In this state alone.
    pub state: Option<State>,
    /// Of this role alone.
    pub role: Option<RoleId>,
    /// Of the group of this row number alone, which is the tenant's.
    pub team: Option<i64>,
}

/// A place in a search.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key {
    /// What was found by: a folded name or address; empty where a search goes by age.
    pub value: String,
    /// The row number, among equals.
    pub row: i64,
}

/// From where to walk, and which way. Neither shows what is at the key itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum From {
    /// The first page.
    Start,
    /// What comes after a key.
    After(Key),
    /// What comes before it, the nearest.
    Before(Key),
}

/// A user or group that was found.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// It.
    pub stored: Stored,
    /// Its state.
    pub state: State,
    /// Since when it is archived.
    pub archived: Option<Timestamp>,
    /// A user's role.
    pub role: Option<String>,
}

/// One page, always in ascending order.
#[derive(Clone, Debug, PartialEq)]
pub struct Page {
    /// What is on it.
    pub entries: Vec<Entry>,
    /// Where the page before it ends, if there may be one.
    pub before: Option<Key>,
    /// Where the page after it begins, if there may be one.
    pub after: Option<Key>,
}

fn from_row(row: &Row<'_>) -> rusqlite::Result<Entry> {
    let stored = resources::from_row(row)?;
    let archived: Option<Millis> = row.get("deleted_at")?;
    let active: Option<bool> = row.get("active")?;
    let state = match (&archived, active) {
        (Some(_), _) => State::Archived,
        (None, Some(false)) => State::Inactive,
        (None, _) => State::Active,
    };
    Ok(Entry {
        stored,
        state,
        archived: archived.map(|at| at.0),
        role: row.get("role_name")?,
    })
}

/// What [`from_row`] reads; the role's name instead of the attribute `roleName`.
fn columns() -> String {
    format!(
        "{COLUMNS}, deleted_at, active, (SELECT name FROM role WHERE role.id = resource.role) AS role_name"
    )
}

/// A user or group by id, in whatever state.
pub fn get(
    snapshot: &Snapshot<'_>,
    tenant: TenantId,
    kind: Kind,
    id: &str,
) -> Result<Option<Entry>> {
    snapshot
        .conn
        .prepare_cached(&format!(
            "SELECT {} FROM resource WHERE tenant = ? AND kind = ? AND id = ?",
            columns()
        ))
        .and_then(|mut statement| statement.query_row((tenant, kind, id), from_row).optional())
        .doing("reading a user or group")
}

/// What people call the user or group with this id, in whatever state, and which of both it is.
pub fn display(
    snapshot: &Snapshot<'_>,
    tenant: TenantId,
    id: &str,
) -> Result<Option<(Kind, String)>> {
    snapshot
        .conn
        .prepare_cached("SELECT kind, display FROM resource WHERE tenant = ? AND id = ?")
        .and_then(|mut statement| {
            statement
                .query_row((tenant, id), |row| Ok((row.get(0)?, row.get(1)?)))
                .optional()
        })
        .doing("reading a name")
}

/// Up to `limit` of what is wanted, from a place on: by the matching name or address, or by age where only a role, a
/// group or a state is asked for. Each is found once, however many of its names match.
pub fn search(
    snapshot: &Snapshot<'_>,
    tenant: TenantId,
    wanted: &Wanted<'_>,
    from: &From,
    limit: usize,
) -> Result<Page> {
    let prefix = fold(wanted.prefix);
    let walk = Walk::of(tenant, wanted, &prefix, from);
    let mut last: Option<Key> = None;
    let (mut found, mut more) = (Vec::new(), false);
    let mut statement = snapshot
        .conn
        .prepare_cached(&walk.sql)
        .doing("searching the directory")?;
    let mut candidates = statement
        .query(params_from_iter(&walk.values))
        .doing("searching the directory")?;
    let mut fitting = snapshot
        .conn
        .prepare_cached(&fitting(wanted.state))
        .doing("searching the directory")?;
    let mut looked_at = 0;
    while let Some(row) = candidates.next().doing("searching the directory")? {
        let key = Key {
            value: row.get(0).doing("reading a key")?,
            row: row.get(1).doing("reading a key")?,
        };
        // A userName is often an e-mail address as well: the same key, from two indexes.
        if last.as_ref() == Some(&key) {
            continue;
        }
        if looked_at == MOST_LOOKED_AT {
            more = true;
            break;
        }
        looked_at += 1;
        let values = (tenant, wanted.kind, key.row, wanted.role, wanted.team);
        let entry = fitting.query_row(values, from_row).optional();
        let entry = entry.doing("reading what a search found")?;
        // Who was found by several names is shown where the first of them stands.
        let first = |entry: &Entry| {
            prefix.is_empty()
                || resources::first_name(&entry.stored, &prefix).as_ref() == Some(&key.value)
        };
        if let Some(entry) = entry.filter(first) {
            if found.len() == limit {
                more = true;
                break;
            }
            found.push((key.clone(), entry));
        }
        last = Some(key);
    }
    Ok(page(found, from, last.filter(|_| more)))
}

/// `end` is the last key that was looked at, where there are more behind it.
fn page(mut found: Vec<(Key, Entry)>, from: &From, end: Option<Key>) -> Page {
    let backwards = matches!(from, From::Before(_));
    if backwards {
        found.reverse();
    }
    let first = found.first().map(|(key, _)| key.clone());
    let last = found.last().map(|(key, _)| key.clone());
    let (before, after) = match from {
        From::Start => (None, end),
        From::After(key) => (first.or_else(|| Some(key.clone())), end),
        From::Before(key) => (end, last.or_else(|| Some(key.clone()))),
    };
    Page {
        entries: found.into_iter().map(|(_, entry)| entry).collect(),
        before,
        after,
    }
}

/// The statement that gives the keys of candidates in order, some of them twice.
struct Walk {
    sql: String,
    values: Vec<Sql>,
}

impl Walk {
    /// Everywhere `?1` is the tenant, `?2` the kind, `?3` and `?4` the key from which to walk. `?5` is the other end of
    /// the names that begin with the prefix, or the one that candidates belong to.
    fn of(tenant: TenantId, wanted: &Wanted<'_>, prefix: &str, from: &From) -> Walk {
        let backwards = matches!(from, From::Before(_));
        let by_name = !prefix.is_empty()
            || (wanted.team.is_none()
                && wanted.role.is_none()
                && wanted.state != Some(State::Inactive));
        let key = match from {
            From::After(key) | From::Before(key) => key.clone(),
            From::Start => Key {
                value: prefix.to_owned(),
                row: i64::MIN,
            },
        };
        let mut values = vec![
            Sql::Integer(tenant.0),
            Sql::Text(wanted.kind.as_str().to_owned()),
            Sql::Text(key.value),
            Sql::Integer(key.row),
        ];
        let (sources, order) = if by_name {
            values.push(Sql::Text(if backwards {
                prefix.to_owned()
            } else {
                beyond(prefix)
            }));
            (by_names(wanted, prefix, backwards), "1 ASC, 2 ASC")
        } else {
            let than = if backwards { "<" } else { ">" };
            if let Some(owner) = wanted.team.or(wanted.role.map(|role| role.0)) {
                values.push(Sql::Integer(owner));
            }
            // Without the first column, which is always the same: SQLite would sort by it.
            (by_age(wanted, than), "2 ASC")
        };
        let order = if backwards {
            order.replace("ASC", "DESC")
        } else {
            order.to_owned()
        };
        Walk {
            sql: format!("{} ORDER BY {order}", sources.join(" UNION ALL ")),
            values,
        }
    }
}

/// Later than everything that begins with `prefix`.
fn beyond(prefix: &str) -> String {
    format!("{prefix}{}", char::MAX)
}

/// Names and addresses; SQLite merges these, each in the order of its index.
fn by_names(wanted: &Wanted<'_>, prefix: &str, backwards: bool) -> Vec<String> {
    let within = |value: &str, row: &str| {
        if backwards {
            format!("({value}, {row}) < (?3, ?4) AND {value} >= ?5")
        } else {
            format!("({value}, {row}) > (?3, ?4) AND {value} < ?5")
        }
    };
    let names = |which: &str| {
        format!(
            "SELECT name_key, row FROM resource WHERE tenant = ?1 AND kind = ?2 AND deleted_at IS {which} AND {}",
            within("name_key", "row")
        )
    };
    let values = |attribute: &str| {
        format!(
            "SELECT value, resource FROM resource_value WHERE tenant = ?1 AND attribute = '{attribute}' AND {}",
            within("value", "resource")
        )
    };
    let mut sources = Vec::new();
    if wanted.state != Some(State::Archived) {
        sources.push(names("NULL"));
    }
    if matches!(wanted.state, None | Some(State::Archived)) {
        sources.push(names("NOT NULL"));
    }
    if wanted.kind == Kind::User && !prefix.is_empty() {
        sources.extend([DISPLAY_NAME, EMAILS_VALUE].map(values));
    }
    sources
}

/// Whoever is in a group, has a role, or is inactive.
fn by_age(wanted: &Wanted<'_>, than: &str) -> Vec<String> {
    let all = "SELECT '', row FROM resource WHERE tenant = ?1 AND kind = ?2";
    if wanted.team.is_some() {
        return vec![format!(
            "SELECT '', member FROM team_member WHERE team = ?5 AND member {than} ?4"
        )];
    }
    if wanted.role.is_some() {
        return ["NULL", "NOT NULL"]
            .map(|which| format!("{all} AND role = ?5 AND deleted_at IS {which} AND row {than} ?4"))
            .to_vec();
    }
    vec![format!(
        "{all} AND deleted_at IS NULL AND active IS 0 AND row {than} ?4"
    )]
}

/// The statement that gives the candidate of a key, if it is wanted.
fn fitting(state: Option<State>) -> String {
    let state = match state {
        None => "TRUE",
        Some(State::Active) => "deleted_at IS NULL AND active IS NOT 0",
        Some(State::Inactive) => "deleted_at IS NULL AND active IS 0",
        Some(State::Archived) => "deleted_at IS NOT NULL",
    };
    format!(
        "SELECT {} FROM resource
         WHERE tenant = ?1 AND kind = ?2 AND row = ?3 AND {state}
           AND (?4 IS NULL OR role = ?4)
           AND (?5 IS NULL OR EXISTS (SELECT 1 FROM team_member WHERE team = ?5 AND member = resource.row))",
        columns()
    )
}

/// How many active people are in a group or in one below it, and how many resources it has, both counted up to one more
/// than [`COUNTED_TO`].
pub fn counts(snapshot: &Snapshot<'_>, tenant: TenantId, team: &Stored) -> Result<(u64, u64)> {
    let people = nesting::count_people(snapshot, tenant, team, COUNTED_TO + 1)?;
    let resources: i64 = snapshot
        .conn
        .prepare_cached(
            "SELECT count(*) FROM (SELECT 1 FROM team_resource WHERE team = ? AND tenant = ? LIMIT ?)",
        )
        .and_then(|mut statement| {
            let values = (team.row, tenant, COUNTED_TO as i64 + 1);
            statement.query_row(values, |row| row.get(0))
        })
        .doing("counting what a team has")?;
    Ok((people, resources.unsigned_abs()))
}

/// Up to `limit` live groups that a user is a member of itself, oldest first.
pub fn teams_of(
    snapshot: &Snapshot<'_>,
    tenant: TenantId,
    user: &Stored,
    limit: usize,
) -> Result<Vec<(String, String)>> {
    snapshot
        .conn
        .prepare_cached(
            "SELECT id, display FROM team_member CROSS JOIN resource ON resource.row = team_member.team
             WHERE member = ? AND tenant = ? AND deleted_at IS NULL ORDER BY team_member.team LIMIT ?",
        )
        .and_then(|mut statement| {
            statement
                .query_map((user.row, tenant, limit as i64), |row| {
                    Ok((row.get(0)?, row.get(1)?))
                })?
                .collect()
        })
        .doing("listing somebody's teams")
}
