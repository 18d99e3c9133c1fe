//! Membership: which Users and Groups are in which Groups, as their members. What follows from that, by way of Groups in
//! Groups, is [`nesting`]'s.
//!
//! One row for each. Nothing here costs more for a large team than for a small one, save [`members`], which lists it.

use rusqlite::types::FromSqlError;
use rusqlite::{OptionalExtension, Row};

use super::column::Millis;
use super::nesting::{self, Above};
use super::resources::{self, Stored};
use super::{Snapshot, TenantId, Tx};
use crate::error::{Doing, Result};
use crate::scim::member::{self, Link};
use crate::scim::schema::Kind;

/// What a [`Link`] is read from, and a fourth column, its type.
macro_rules! columns {
    () => {
        "resource.id, resource.kind, resource.display"
    };
}

pub(super) const COLUMNS: &str = columns!();

fn from_row(row: &Row<'_>) -> rusqlite::Result<Link> {
    Ok(Link {
        id: row.get(0)?,
        kind: row.get(1)?,
        display: row.get(2)?,
        r#type: member::link_type(row.get_ref(3)?.as_str()?).ok_or(FromSqlError::InvalidType)?,
    })
}

/// The links that a statement gives for a row number and a tenant.
pub(super) fn links(snapshot: &Snapshot<'_>, sql: &str, of: (i64, TenantId)) -> Result<Vec<Link>> {
    let mut links = vec![];
    each(snapshot, sql, of, |link| links.push(link))?;
    Ok(links)
}

/// The same one after the other.
fn each(
    snapshot: &Snapshot<'_>,
    sql: &str,
    of: (i64, TenantId),
    mut with: impl FnMut(Link),
) -> Result<()> {
    snapshot
        .conn
        .prepare_cached(sql)
        .and_then(|mut statement| {
            let mut rows = statement.query(of)?;
            while let Some(row) = rows.next()? {
                with(from_row(row)?);
            }
            Ok(())
        })
        .doing("reading memberships")
}

/// The live members of a Group, in the order in which they were created.
pub fn members<D>(
    snapshot: &Snapshot<'_>,
    tenant: TenantId,
    group: &Stored<D>,
) -> Result<Vec<Link>> {
    let mut members = vec![];
    each_member(snapshot, tenant, group, |member| members.push(member))?;
    Ok(members)
}

/// The same one after the other, for whoever doesn't need them all at a time: there may be very many.
pub fn each_member<D>(
    snapshot: &Snapshot<'_>,
    tenant: TenantId,
    group: &Stored<D>,
    with: impl FnMut(Link),
) -> Result<()> {
    each(
        snapshot,
        &format!(
            "SELECT {COLUMNS}, resource.kind
             FROM team_member CROSS JOIN resource ON resource.row = team_member.member
             WHERE team_member.team = ? AND resource.tenant = ? AND resource.deleted_at IS NULL
             ORDER BY team_member.member"
        ),
        (group.row, tenant),
        with,
    )
}

/// The live Groups among a Group's members, in the order in which they were created.
pub fn parts(snapshot: &Snapshot<'_>, tenant: TenantId, group: &Stored) -> Result<Vec<Link>> {
    links(
        snapshot,
        &format!(
            "SELECT {COLUMNS}, resource.kind
             FROM team_member INDEXED BY team_member_down CROSS JOIN resource ON resource.row = team_member.member
             WHERE team_member.team = ? AND nested AND resource.tenant = ? AND resource.deleted_at IS NULL
             ORDER BY team_member.member"
        ),
        (group.row, tenant),
    )
}

/// The live Groups that a User or Group is a member of itself, in the order in which they were created.
pub fn groups_of<D>(
    snapshot: &Snapshot<'_>,
    tenant: TenantId,
    member: &Stored<D>,
) -> Result<Vec<Link>> {
    links(
        snapshot,
        concat!(
            "SELECT ",
            columns!(),
            ", 'direct'
             FROM team_member CROSS JOIN resource ON resource.row = team_member.team
             WHERE team_member.member = ? AND resource.tenant = ? AND resource.deleted_at IS NULL
             ORDER BY team_member.team"
        ),
        (member.row, tenant),
    )
}

/// All live Groups that a User is in, each once: those of [`groups_of`], then those by way of others.
pub fn all_groups_of<D>(
    snapshot: &Snapshot<'_>,
    tenant: TenantId,
    user: &Stored<D>,
) -> Result<Vec<Link>> {
    let mut groups = groups_of(snapshot, tenant, user)?;
    if !groups.is_empty() && nesting::inherits(snapshot, user)? {
        groups.extend(nesting::inherited(snapshot, tenant, user)?);
    }
    Ok(groups)
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
    /// No live User or Group has this id.
    Unknown(String),
    /// The Group with this id is the Group itself, or has it among its own members, or among theirs.
    Circle(String),
}

/// Who joined or left: ids, and of what type each is.
pub type Changed = Vec<(String, Kind)>;

/// Adds all or, where one is refused, none; returns those that were not members before.
///
/// Changes no version: once all changes to a team are made, the caller does that by [`touch`].
pub fn add(
    tx: &Tx<'_>,
    tenant: TenantId,
    group: &Stored,
    ids: &[String],
) -> Result<std::result::Result<Changed, Refused>> {
    let mut found = Vec::with_capacity(ids.len());
    let mut above = None;
    for id in ids {
        let Some(member) = find(tx, tenant, id)?.filter(|member| member.live) else {
            return Ok(Err(Refused::Unknown(id.clone())));
        };
        if member.kind == Kind::Group {
            let above = match &above {
                Some(above) => above,
                None => above.insert(Above::of(tx, group.row)?),
            };
            if !above.give_way(tx, member.row)? {
                return Ok(Err(Refused::Circle(id.clone())));
            }
        }
        found.push(member);
    }
    let mut added = Vec::new();
    for (id, member) in ids.iter().zip(found) {
        if insert(tx, group.row, member.row, member.kind)? {
            added.push((id.clone(), member.kind));
        }
    }
    Ok(Ok(added))
}

/// The row of a membership, which the caller has found to be in order. False where it was there.
pub(super) fn insert(tx: &Tx<'_>, team: i64, member: i64, kind: Kind) -> Result<bool> {
    tx.conn
        .prepare_cached(
            "INSERT INTO team_member (team, member, nested, joined) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING",
        )
        .and_then(|mut insert| insert.execute((team, member, kind == Kind::Group, Millis(tx.now))))
        .map(|inserted| inserted == 1)
        .doing("adding a member")
}

/// Removes; returns those that were members. Unknown ids and strangers are no error, for clients do repeat removals.
pub fn remove(tx: &Tx<'_>, tenant: TenantId, group: &Stored, ids: &[String]) -> Result<Changed> {
    let mut delete = tx
        .conn
        .prepare_cached("DELETE FROM team_member WHERE team = ? AND member = ?")
        .doing("removing members")?;
    let mut removed = Vec::new();
    for id in ids {
        let Some(member) = find(tx, tenant, id)? else {
            continue;
        };
        // A deleted member's row goes as well, lest a restored one be in the team again; but it wasn't to be seen,
        // so nobody is told.
        if delete
            .execute((group.row, member.row))
            .doing("removing a member")?
            == 1
            && member.live
        {
            removed.push((id.clone(), member.kind));
        }
    }
    Ok(removed)
}

/// A User or Group, for membership's purposes.
struct Member {
    row: i64,
    kind: Kind,
    live: bool,
}

fn find(tx: &Tx<'_>, tenant: TenantId, id: &str) -> Result<Option<Member>> {
    tx.conn
        .prepare_cached(
            "SELECT row, kind, deleted_at IS NULL FROM resource WHERE tenant = ? AND id = ?",
        )
        .and_then(|mut statement| {
            statement
                .query_row((tenant, id), |row| {
                    Ok(Member {
                        row: row.get(0)?,
                        kind: row.get(1)?,
                        live: row.get(2)?,
                    })
                })
                .optional()
        })
        .doing("looking a member up")
}

/// After a membership change: version + 1 and `last_modified` for the group, version + 1 for the Users named and for
/// those in the Groups named. A User's `groups` is computed, so the representation changes and with it the entity tag,
/// but nobody modified it.
pub fn touch<'a>(
    tx: &Tx<'_>,
    tenant: TenantId,
    group: &Stored,
    members: impl IntoIterator<Item = (&'a String, &'a Kind)>,
) -> Result<Stored> {
    let last_modified = tx.now.max(group.last_modified);
    let touched = tx
        .conn
        .prepare_cached(
            "UPDATE resource SET version = version + 1, last_modified = ? WHERE tenant = ? AND row = ?",
        )
        .and_then(|mut statement| statement.execute((Millis(last_modified), tenant, group.row)))
        .doing("touching a group")?;
    if touched != 1 {
        return Err("it is not there").doing("touching a group");
    }
    let mut touch = tx
        .conn
        .prepare_cached("UPDATE resource SET version = version + 1 WHERE tenant = ? AND id = ? AND deleted_at IS NULL")
        .doing("touching members")?;
    for (id, kind) in members {
        match kind {
            Kind::User => {
                touch.execute((tenant, id)).doing("touching a member")?;
            }
            Kind::Group => {
                if let Some(part) = resources::get(tx, tenant, Kind::Group, id)? {
                    nesting::touch_people_below(tx, tenant, &part)?;
                }
            }
        }
    }
    Ok(Stored {
        version: resources::version(tx, tenant, group.row)?,
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
        fn add(&self, group: &Stored, ids: &[&str]) -> std::result::Result<Changed, Refused> {
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
        let user = |stored: &Stored| (stored.id.clone(), Kind::User);
        assert_eq!(fixture.add(&group, &[&bob.id]), Ok(vec![user(&bob)]));
        assert_eq!(
            fixture.add(&group, &[&ada.id, &bob.id, &ada.id]),
            Ok(vec![user(&ada)])
        );
        assert_eq!(fixture.members(&group), ["ada", "bob"]);
    }

    #[test]
    fn nobody_is_added_where_one_is_nothing_live_of_the_tenant() {
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
        for id in [&gone.id, &stranger.id, "nonsense"] {
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
        assert_eq!(removed, [(ada.id, Kind::User)]);
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
                display: "team".to_owned(),
                r#type: "direct",
            }]
        );
    }

    #[test]
    fn a_touch_changes_the_versions_of_both_sides_and_the_time_of_the_group() {
        let fixture = fixture();
        let tenant = fixture.tenant;
        let group = fixture.insert(Kind::Group, json!({"displayName": "team"}));
        let ada = fixture.user("ada");
        let (of, ids) = (group.clone(), [(ada.id.clone(), Kind::User)]);
        let touched = fixture
            .store
            .write(at(3), move |tx| {
                touch(tx, tenant, &of, ids.iter().map(|(id, kind)| (id, kind)))
            })
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
