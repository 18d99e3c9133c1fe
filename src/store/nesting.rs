//! Teams in teams: what is above a team, what is below it, and that no way leads from a team back to itself.
//!
//! Whoever is in a team is in all that it is in, at whatever depth. No row says so: ways are walked along the rows of teams
//! in teams, which have indexes of their own, so that they pass no people, and where no team is in another there is
//! nothing to walk. A deleted team ends every way through it. Teams form no circle, not even by way of deleted ones, so
//! what comes back from the archive closes none.

use std::collections::{HashMap, HashSet};

use super::resources::Stored;
use super::teams;
use super::{Snapshot, TenantId, Tx};
use crate::error::{Doing, Result};
use crate::scim::member::Link;

/// The table `below (team)` for a WITH RECURSIVE: the rows of the teams that `start`, a SELECT, gives, and of all live
/// teams in them.
pub(super) fn below(start: &str) -> String {
    format!(
        "below (team) AS (
             {start}
             UNION
             SELECT link.member FROM below
                 CROSS JOIN team_member AS link INDEXED BY team_member_down ON link.team = below.team AND link.nested
                 CROSS JOIN resource AS part ON part.row = link.member AND part.deleted_at IS NULL)"
    )
}

/// The table `above (team)` for a WITH RECURSIVE: the rows of the live teams that a team of `start` is in. `start`
/// gives the rows of teams as `part`.
pub(super) fn above(start: &str) -> String {
    format!(
        "above (team) AS (
             SELECT link.team FROM ({start})
                 CROSS JOIN team_member AS link INDEXED BY team_member_up ON link.member = part AND link.nested
                 CROSS JOIN resource AS whole ON whole.row = link.team AND whole.deleted_at IS NULL
             UNION
             SELECT link.team FROM above
                 CROSS JOIN team_member AS link INDEXED BY team_member_up ON link.member = above.team AND link.nested
                 CROSS JOIN resource AS whole ON whole.row = link.team AND whole.deleted_at IS NULL)"
    )
}

/// The live teams that a team is in, at whatever depth, oldest first. Whether it is live itself doesn't matter.
pub fn teams_above(snapshot: &Snapshot<'_>, tenant: TenantId, team: &Stored) -> Result<Vec<Link>> {
    let above = above("SELECT ?1 AS part");
    teams::links(
        snapshot,
        &format!(
            "WITH RECURSIVE {above}
             SELECT {}, 'indirect' FROM above CROSS JOIN resource ON resource.row = above.team
             WHERE resource.tenant = ?2 ORDER BY above.team",
            teams::COLUMNS
        ),
        (team.row, tenant),
    )
}

/// Whether any team that a user is in is in another. Where none is, as nearly always, there is no way to walk, and SQLite
/// needs no table for one.
pub fn inherits<D>(snapshot: &Snapshot<'_>, user: &Stored<D>) -> Result<bool> {
    snapshot
        .conn
        .prepare_cached(
            "SELECT 1 FROM team_member AS own
                 CROSS JOIN team_member AS link INDEXED BY team_member_up ON link.member = own.team AND link.nested
             WHERE own.member = ?",
        )
        .and_then(|mut statement| statement.exists([user.row]))
        .doing("reading whether teams are in teams")
}

/// The live teams that a user is in by way of others alone, oldest first.
pub fn inherited<D>(
    snapshot: &Snapshot<'_>,
    tenant: TenantId,
    user: &Stored<D>,
) -> Result<Vec<Link>> {
    let above = above(
        "SELECT own.team AS part FROM team_member AS own CROSS JOIN resource AS direct ON direct.row = own.team
         WHERE own.member = ?1 AND direct.deleted_at IS NULL",
    );
    teams::links(
        snapshot,
        &format!(
            "WITH RECURSIVE {above}
             SELECT {}, 'indirect' FROM above CROSS JOIN resource ON resource.row = above.team
             WHERE resource.tenant = ?2
               AND NOT EXISTS (SELECT 1 FROM team_member AS own WHERE own.team = above.team AND own.member = ?1)
             ORDER BY above.team",
            teams::COLUMNS
        ),
        (user.row, tenant),
    )
}

/// Ids of the live users who are in a team or in one below it, each once.
pub fn people_below(
    snapshot: &Snapshot<'_>,
    tenant: TenantId,
    team: &Stored,
) -> Result<Vec<String>> {
    let below = below("VALUES (?1)");
    snapshot
        .conn
        .prepare_cached(&format!(
            "WITH RECURSIVE {below}
             SELECT DISTINCT person.id FROM below
                 CROSS JOIN team_member AS link ON link.team = below.team AND NOT link.nested
                 CROSS JOIN resource AS person ON person.row = link.member
             WHERE person.tenant = ?2 AND person.deleted_at IS NULL"
        ))
        .and_then(|mut statement| {
            statement
                .query_map((team.row, tenant), |row| row.get(0))?
                .collect()
        })
        .doing("reading who is in a team")
}

/// How many active people are in a team or in one below it, counted up to `most`.
pub fn count_people(
    snapshot: &Snapshot<'_>,
    tenant: TenantId,
    team: &Stored,
    most: u64,
) -> Result<u64> {
    let below = below("VALUES (?1)");
    // Its own members first, who need not be told apart; then those of the others who aren't among them.
    snapshot
        .conn
        .prepare_cached(&format!(
            "WITH RECURSIVE {below}
             SELECT count(*) FROM (
                 SELECT 1 FROM team_member AS link CROSS JOIN resource AS person ON person.row = link.member
                 WHERE link.team = ?1 AND NOT link.nested
                   AND person.tenant = ?2 AND person.deleted_at IS NULL AND person.active IS NOT 0
                 UNION ALL
                 SELECT * FROM (
                     SELECT DISTINCT link.member FROM below
                         CROSS JOIN team_member AS link ON link.team = below.team AND NOT link.nested
                         CROSS JOIN resource AS person ON person.row = link.member
                     WHERE below.team <> ?1
                       AND person.tenant = ?2 AND person.deleted_at IS NULL AND person.active IS NOT 0
                       AND NOT EXISTS (SELECT 1 FROM team_member AS own WHERE own.team = ?1 AND own.member = link.member))
                 LIMIT ?3)"
        ))
        .and_then(|mut statement| {
            let most = i64::try_from(most).unwrap_or(i64::MAX);
            statement.query_row((team.row, tenant, most), |row| row.get::<_, i64>(0))
        })
        .map(i64::unsigned_abs)
        .doing("counting who is in a team")
}

/// Version + 1 for every live user who is in a team or in one below it: their `groups` are others from now on.
pub fn touch_people_below(tx: &Tx<'_>, tenant: TenantId, team: &Stored) -> Result<()> {
    let below = below("VALUES (?2)");
    tx.conn
        .prepare_cached(&format!(
            // By row: left to itself, SQLite walks the tenant's resources and asks of each whether it is a member.
            "UPDATE resource NOT INDEXED SET version = version + 1
             WHERE tenant = ?1 AND deleted_at IS NULL
               AND row IN (WITH RECURSIVE {below}
                           SELECT link.member FROM below
                               CROSS JOIN team_member AS link ON link.team = below.team AND NOT link.nested)"
        ))
        .and_then(|mut statement| statement.execute((tenant, team.row)))
        .doing("touching the people of a team")?;
    Ok(())
}

/// The teams that a team is or is in, deleted ones too: what may not become its member, lest it be in itself.
pub(super) struct Above {
    team: i64,
    /// By way of live ones.
    live: HashSet<i64>,
    /// By whatever way.
    all: HashSet<i64>,
}

impl Above {
    pub fn of(snapshot: &Snapshot<'_>, team: i64) -> Result<Above> {
        let rows = |sql: &str| -> Result<HashSet<i64>> {
            snapshot
                .conn
                .prepare_cached(sql)
                .and_then(|mut statement| statement.query_map([team], |row| row.get(0))?.collect())
                .doing("reading what a team is in")
        };
        let live = above("SELECT ?1 AS part");
        Ok(Above {
            team,
            live: rows(&format!(
                "WITH RECURSIVE {live} SELECT team FROM above UNION VALUES (?1)"
            ))?,
            all: rows(
                "WITH RECURSIVE above (team) AS (
                     VALUES (?1)
                     UNION
                     SELECT link.team FROM above
                         CROSS JOIN team_member AS link INDEXED BY team_member_up
                             ON link.member = above.team AND link.nested)
                 SELECT team FROM above",
            )?,
        })
    }

    /// Whether the team would be in itself with this member, live and deleted teams taken alike.
    pub fn has(&self, member: i64) -> bool {
        self.all.contains(&member)
    }

    /// Makes room for a live member: where only deleted teams are between it and the team, those give way and will come
    /// back without the memberships that led through them. False where live teams are.
    pub fn give_way(&self, tx: &Tx<'_>, member: i64) -> Result<bool> {
        if self.live.contains(&member) {
            return Ok(false);
        }
        if self.all.contains(&member) {
            tx.conn
                .prepare_cached(
                    "WITH RECURSIVE
                         above (team) AS (
                             VALUES (?1) UNION
                             SELECT link.team FROM above CROSS JOIN team_member AS link INDEXED BY team_member_up
                                 ON link.member = above.team AND link.nested),
                         below (team) AS (
                             VALUES (?2) UNION
                             SELECT link.member FROM below CROSS JOIN team_member AS link INDEXED BY team_member_down
                                 ON link.team = below.team AND link.nested)
                     DELETE FROM team_member
                     WHERE nested AND team IN (SELECT team FROM below) AND member IN (SELECT team FROM above)
                       AND EXISTS (SELECT 1 FROM resource
                                   WHERE row IN (team_member.team, team_member.member) AND deleted_at IS NOT NULL)",
                )
                .and_then(|mut statement| statement.execute((self.team, member)))
                .doing("letting deleted teams give way")?;
        }
        Ok(true)
    }
}

/// Whether a team of the tenant's is in itself, by whatever way: what no copy of a tenant may bring.
pub fn has_circle(tx: &Tx<'_>, tenant: TenantId) -> Result<bool> {
    let nested: Vec<(i64, i64)> = tx
        .conn
        .prepare_cached(
            "SELECT team, member FROM team_member CROSS JOIN resource ON resource.row = team_member.team
             WHERE nested AND tenant = ?",
        )
        .and_then(|mut statement| {
            statement
                .query_map([tenant], |row| Ok((row.get(0)?, row.get(1)?)))?
                .collect()
        })
        .doing("reading teams in teams")?;
    // A team that is in none is in no circle, and without it another may be in none.
    let mut parts: HashMap<i64, Vec<i64>> = HashMap::new();
    let mut wholes: HashMap<i64, usize> = HashMap::new();
    for (team, member) in nested {
        parts.entry(team).or_default().push(member);
        wholes.entry(team).or_default();
        *wholes.entry(member).or_default() += 1;
    }
    let in_none = wholes.iter().filter(|(_, count)| **count == 0);
    let mut free: Vec<i64> = in_none.map(|(team, _)| *team).collect();
    let mut freed = 0;
    while let Some(team) = free.pop() {
        freed += 1;
        for part in parts.get(&team).into_iter().flatten() {
            let count = wholes.entry(*part).or_default();
            *count -= 1;
            if *count == 0 {
                free.push(*part);
            }
        }
    }
    Ok(freed < wholes.len())
}

#[cfg(test)]
mod tests;
