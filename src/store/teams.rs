//! Membership: which Users are in which Groups.
//!
//! One row for each. Nothing here costs more for a large team than for a small one, save [`members`], which lists it.

use rusqlite::{OptionalExtension, Row};

use super::column::Millis;
use super::resources::Stored;
use super::{Snapshot, TenantId, Tx};
use crate::error::{Doing, Result};
use crate::scim::schema::Kind;

/// The other end of a membership: a member of a Group, or a Group of a User.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// Its id.
    pub id: String,
    /// Of which resource type it is.
    pub kind: Kind,
    /// displayName, or userName where there is none.
    pub display: String,
}

const COLUMNS: &str = "resource.id, resource.kind, resource.display";

fn from_row(row: &Row<'_>) -> rusqlite::Result<Link> {
    Ok(Link {
        id: row.get(0)?,
        kind: row.get(1)?,
        display: row.get(2)?,
    })
}

/// The live members of a Group, in the order in which they were created.
pub fn members(snapshot: &Snapshot<'_>, tenant: TenantId, group: &Stored) -> Result<Vec<Link>> {
    snapshot
        .conn
        .prepare_cached(&format!(
            "SELECT {COLUMNS} FROM team_member CROSS JOIN resource ON resource.row = team_member.member
             WHERE team_member.team = ? AND resource.tenant = ? AND resource.deleted_at IS NULL
             ORDER BY team_member.member"
        ))
        .and_then(|mut statement| statement.query_map((group.row, tenant), from_row)?.collect())
        .doing("reading members")
}

/// The live Groups that a resource is a direct member of, in the order in which they were created.
pub fn groups_of(snapshot: &Snapshot<'_>, tenant: TenantId, member: &Stored) -> Result<Vec<Link>> {
    snapshot
        .conn
        .prepare_cached(&format!(
            "SELECT {COLUMNS} FROM team_member CROSS JOIN resource ON resource.row = team_member.team
             WHERE team_member.member = ? AND resource.tenant = ? AND resource.deleted_at IS NULL
             ORDER BY team_member.team"
        ))
        .and_then(|mut statement| statement.query_map((member.row, tenant), from_row)?.collect())
        .doing("reading groups")
}

/// The names of live Groups, the first `limit` in the order of their folded spelling.
pub fn names(snapshot: &Snapshot<'_>, tenant: TenantId, limit: usize) -> Result<Vec<String>> {
    snapshot
        .conn
        .prepare_cached(
            "SELECT document ->> '$.displayName' FROM resource
             WHERE tenant = ? AND kind = 'Group' AND deleted_at IS NULL ORDER BY name_key LIMIT ?",
        )
        .and_then(|mut statement| {
            let limit = i64::try_from(limit).unwrap_or(i64::MAX);
            statement
                .query_map((tenant, limit), |row| row.get(0))?
                .collect()
        })
        .doing("reading names of groups")
}

/// Why members could not be added.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refused {
    /// No live User has this id.
    Unknown(String),
}

/// Adds all or, where one is refused, none; returns the ids of those that were not members before.
///
/// Changes no version: once all changes to a team are made, the caller does that by [`touch`].
pub fn add(
    tx: &Tx<'_>,
    tenant: TenantId,
    group: &Stored,
    ids: &[String],
) -> Result<std::result::Result<Vec<String>, Refused>> {
    let mut rows = Vec::with_capacity(ids.len());
    for id in ids {
        match find(tx, tenant, id)? {
            Some(user) if user.live => rows.push(user.row),
            _ => return Ok(Err(Refused::Unknown(id.clone()))),
        }
    }
    let mut insert = tx
        .conn
        .prepare_cached("INSERT INTO team_member (team, member, joined) VALUES (?, ?, ?) ON CONFLICT DO NOTHING")
        .doing("adding members")?;
    let mut added = Vec::new();
    for (id, row) in ids.iter().zip(rows) {
        if insert
            .execute((group.row, row, Millis(tx.now)))
            .doing("adding a member")?
            == 1
        {
            added.push(id.clone());
        }
    }
    Ok(Ok(added))
}

/// Removes; returns those that were members. Unknown ids and strangers are no error, for clients do repeat removals.
pub fn remove(
    tx: &Tx<'_>,
    tenant: TenantId,
    group: &Stored,
    ids: &[String],
) -> Result<Vec<String>> {
    let mut delete = tx
        .conn
        .prepare_cached("DELETE FROM team_member WHERE team = ? AND member = ?")
        .doing("removing members")?;
    let mut removed = Vec::new();
    for id in ids {
        let Some(user) = find(tx, tenant, id)? else {
            continue;
        };
        // A deleted user's row goes as well, lest a restored user be in the team again; but it wasn't to be seen,
        // so nobody is told.
        if delete
            .execute((group.row, user.row))
            .doing("removing a member")?
            == 1
            && user.live
        {
            removed.push(id.clone());
        }
    }
    Ok(removed)
}

/// A User, for membership's purposes.
struct User {
    row: i64,
    live: bool,
}

fn find(tx: &Tx<'_>, tenant: TenantId, id: &str) -> Result<Option<User>> {
    tx.conn
        .prepare_cached(
            "SELECT row, deleted_at IS NULL FROM resource WHERE tenant = ? AND kind = ? AND id = ?",
        )
        .and_then(|mut statement| {
            statement
                .query_row((tenant, Kind::User, id), |row| {
                    Ok(User {
                        row: row.get(0)?,
                        live: row.get(1)?,
                    })
                })
                .optional()
        })
        .doing("looking a member up")
}

/// After a membership change: version + 1 and `last_modified` for the group, version + 1 for the members named.
/// A User's `groups` is computed, so the representation changes and with it the entity tag, but nobody modified it.
pub fn touch(tx: &Tx<'_>, tenant: TenantId, group: &Stored, members: &[String]) -> Result<Stored> {
    let last_modified = tx.now.max(group.last_modified);
    let version = tx
        .conn
        .prepare_cached(
            "UPDATE resource SET version = version + 1, last_modified = ? WHERE tenant = ? AND row = ? RETURNING version",
        )
        .and_then(|mut statement| statement.query_row((Millis(last_modified), tenant, group.row), |row| row.get(0)))
        .doing("touching a group")?;
    let mut touch = tx
        .conn
        .prepare_cached("UPDATE resource SET version = version + 1 WHERE tenant = ? AND id = ? AND deleted_at IS NULL")
        .doing("touching members")?;
    for id in members {
        touch.execute((tenant, id)).doing("touching a member")?;
    }
    Ok(Stored {
        version,
        last_modified,
        ..group.clone()
    })
}

/// Version + 1 and `last_modified` for the live group with this id, whose members changed otherwise than by [`add`] and
/// [`remove`].
pub fn touch_group(tx: &Tx<'_>, tenant: TenantId, id: &str) -> Result<()> {
    tx.conn
        .prepare_cached(
            "UPDATE resource SET version = version + 1, last_modified = max(last_modified, ?)
             WHERE tenant = ? AND id = ? AND deleted_at IS NULL",
        )
        .and_then(|mut statement| statement.execute((Millis(tx.now), tenant, id)))
        .doing("touching a group")?;
    Ok(())
}

/// Version + 1 for every live member of a group, whose `groups` show it otherwise from now on.
pub fn touch_members(tx: &Tx<'_>, tenant: TenantId, group: &Stored) -> Result<()> {
    tx.conn
        .prepare_cached(
            // By row: left to itself, SQLite walks the tenant's resources and asks of each whether it is a member.
            "UPDATE resource NOT INDEXED SET version = version + 1
             WHERE tenant = ? AND deleted_at IS NULL
               AND row IN (SELECT member FROM team_member WHERE team = ?)",
        )
        .and_then(|mut statement| statement.execute((tenant, group.row)))
        .doing("touching members")?;
    Ok(())
}

/// How many live members a group has.
pub fn member_count(snapshot: &Snapshot<'_>, tenant: TenantId, group: &Stored) -> Result<u64> {
    snapshot
        .conn
        .prepare_cached(
            "SELECT count(*) FROM team_member CROSS JOIN resource ON resource.row = team_member.member
             WHERE team_member.team = ? AND resource.tenant = ? AND resource.deleted_at IS NULL",
        )
        .and_then(|mut statement| statement.query_row((group.row, tenant), |row| row.get::<_, i64>(0)))
        .map(i64::unsigned_abs)
        .doing("counting members")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::store::fixture::{Fixture, at, fixture, tenant};
    use crate::store::resources;

    impl Fixture {
        #[track_caller]
        fn user(&self, name: &str) -> Stored {
            self.insert(Kind::User, json!({"userName": name}))
        }

        #[track_caller]
        fn add(&self, group: &Stored, ids: &[&str]) -> std::result::Result<Vec<String>, Refused> {
            let (tenant, group) = (self.tenant, group.clone());
            let ids: Vec<_> = ids.iter().map(|id| (*id).to_owned()).collect();
            self.store
                .write(at(1), move |tx| add(tx, tenant, &group, &ids))
                .unwrap()
        }

        #[track_caller]
        fn members(&self, group: &Stored) -> Vec<String> {
            let links = self
                .store
                .read(|snapshot| members(snapshot, self.tenant, group))
                .unwrap();
            links.into_iter().map(|link| link.display).collect()
        }
    }

    #[test]
    fn adding_tells_who_is_new() {
        let fixture = fixture();
        let group = fixture.insert(Kind::Group, json!({"displayName": "team"}));
        let (ada, bob) = (fixture.user("ada"), fixture.user("bob"));
        assert_eq!(fixture.add(&group, &[&bob.id]), Ok(vec![bob.id.clone()]));
        assert_eq!(
            fixture.add(&group, &[&ada.id, &bob.id, &ada.id]),
            Ok(vec![ada.id.clone()])
        );
        assert_eq!(fixture.members(&group), ["ada", "bob"]);
    }

    #[test]
    fn nobody_is_added_where_one_is_no_live_user_of_the_tenant() {
        let fixture = fixture();
        let tenant_id = fixture.tenant;
        let group = fixture.insert(Kind::Group, json!({"displayName": "team"}));
        let (ada, gone) = (fixture.user("ada"), fixture.user("gone"));
        let deleted = gone.clone();
        fixture
            .store
            .write(at(1), move |tx| resources::delete(tx, tenant_id, &deleted))
            .unwrap();
        let other = tenant(&fixture.store, "other");
        let fixture = Fixture {
            tenant: other,
            ..fixture
        };
        let stranger = fixture.user("stranger");
        let fixture = Fixture {
            tenant: tenant_id,
            ..fixture
        };
        for id in [&gone.id, &group.id, &stranger.id, "nonsense"] {
            assert_eq!(
                fixture.add(&group, &[&ada.id, id]),
                Err(Refused::Unknown(id.to_owned()))
            );
        }
        assert!(fixture.members(&group).is_empty());
    }

    #[test]
    fn removing_tells_who_was_a_member() {
        let fixture = fixture();
        let tenant = fixture.tenant;
        let group = fixture.insert(Kind::Group, json!({"displayName": "team"}));
        let (ada, bob) = (fixture.user("ada"), fixture.user("bob"));
        fixture.add(&group, &[&ada.id]).unwrap();
        let ids = [
            ada.id.clone(),
            bob.id,
            "nonsense".to_owned(),
            ada.id.clone(),
        ];
        let of = group.clone();
        let removed = fixture
            .store
            .write(at(2), move |tx| remove(tx, tenant, &of, &ids))
            .unwrap();
        assert_eq!(removed, [ada.id]);
        assert!(fixture.members(&group).is_empty());
    }

    #[test]
    fn deleted_users_and_groups_are_not_to_be_seen() {
        let fixture = fixture();
        let tenant = fixture.tenant;
        let group = fixture.insert(Kind::Group, json!({"displayName": "team"}));
        let other = fixture.insert(Kind::Group, json!({"displayName": "other"}));
        let (ada, bob) = (fixture.user("ada"), fixture.user("bob"));
        for group in [&group, &other] {
            fixture.add(group, &[&ada.id, &bob.id]).unwrap();
        }
        let (gone_user, gone_group) = (bob, other);
        fixture
            .store
            .write(at(2), move |tx| {
                resources::delete(tx, tenant, &gone_user)?;
                resources::delete(tx, tenant, &gone_group)
            })
            .unwrap();
        assert_eq!(fixture.members(&group), ["ada"]);
        let groups = fixture
            .store
            .read(|snapshot| groups_of(snapshot, tenant, &ada))
            .unwrap();
        assert_eq!(
            groups,
            [Link {
                id: group.id,
                kind: Kind::Group,
                display: "team".to_owned()
            }]
        );
    }

    #[test]
    fn a_touch_changes_the_versions_of_both_sides_and_the_time_of_the_group() {
        let fixture = fixture();
        let tenant = fixture.tenant;
        let group = fixture.insert(Kind::Group, json!({"displayName": "team"}));
        let ada = fixture.user("ada");
        let (of, ids) = (group.clone(), [ada.id.clone()]);
        let touched = fixture
            .store
            .write(at(3), move |tx| touch(tx, tenant, &of, &ids))
            .unwrap();
        let read = |kind, id: &str| {
            fixture
                .store
                .read(|snapshot| resources::get(snapshot, tenant, kind, id))
                .unwrap()
                .unwrap()
        };
        assert_eq!((touched.version, touched.last_modified), (2, at(3)));
        assert_eq!(read(Kind::Group, &group.id), touched);
        assert_eq!(read(Kind::User, &ada.id), Stored { version: 2, ..ada });
    }
}
