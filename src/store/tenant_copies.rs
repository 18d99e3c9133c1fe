//! A tenant's rows as JSON, out and in again.
//!
//! A line of a copy is `{"TABLE": {"COLUMN": …}}`, so `schema.sql` explains it. Row numbers, which have a meaning only
//! inside one file, are told as the id or the name of what they point at. What other columns repeat is left out and
//! made again. SQLite writes and reads the JSON, so that documents keep every letter.

use super::column::Millis;
use super::resources::{self, New, Stored};
use super::sequence::{self, Sequence};
use super::{Snapshot, TenantId, Tx, roles};
use crate::error::{Doing, Result};
use crate::scim::resource::Document;
use crate::scim::schema::Kind;

/// How the rows of a table go out and in. `?1` is the tenant, `?2` the line.
struct Table {
    name: &'static str,
    /// Each as a JSON object, always in the same order.
    rows: &'static str,
    /// Inserts one, or none where it points at something that isn't there.
    insert: &'static str,
    /// Finds a row of any tenant that is in the way of `?1`, the line. Empty: none can be.
    taken: &'static str,
}

/// The events.
pub const EVENT: &str = "event";

/// In an order in which whatever is pointed at comes first.
const TABLES: &[Table] = &[
    Table {
        name: "tenant",
        rows: "SELECT json_object('name', name, 'created', created, 'paused', paused,
                   'default_role', (SELECT role.name FROM role WHERE role.id = tenant.default_role),
                   'unmapped_role', unmapped_role, 'returning_team', returning_team, 'retention_days', retention_days,
                   'removal_count', removal_count, 'removal_percent', removal_percent, 'unusual_since', unusual_since,
                   'log_days', log_days, 'keep_bodies', keep_bodies, 'password_sign_in', password_sign_in,
                   'attributes', json(attributes))
               FROM tenant WHERE id = ?1",
        // Once its roles are there, see `finish`.
        insert: "UPDATE tenant SET
                     created = ?2 ->> '$.tenant.created', paused = ?2 ->> '$.tenant.paused',
                     unmapped_role = ?2 ->> '$.tenant.unmapped_role', returning_team = ?2 ->> '$.tenant.returning_team',
                     retention_days = ?2 ->> '$.tenant.retention_days', removal_count = ?2 ->> '$.tenant.removal_count',
                     removal_percent = ?2 ->> '$.tenant.removal_percent', unusual_since = ?2 ->> '$.tenant.unusual_since',
                     log_days = ?2 ->> '$.tenant.log_days', keep_bodies = ?2 ->> '$.tenant.keep_bodies',
                     password_sign_in = coalesce(?2 ->> '$.tenant.password_sign_in', 0),
                     default_role = (SELECT role.id FROM role
                                     WHERE role.tenant = ?1 AND role.name = ?2 ->> '$.tenant.default_role')
                 WHERE id = ?1",
        taken: "SELECT 1 FROM tenant WHERE name_key = scim_fold(?1 ->> '$.tenant.name')",
    },
    Table {
        name: "role",
        rows: "SELECT json_object('name', name, 'rank', rank, 'opens_settings', opens_settings)
               FROM role WHERE tenant = ?1 ORDER BY rank, id",
        insert: "INSERT INTO role (tenant, name, rank, opens_settings)
                 SELECT ?1, ?2 ->> '$.role.name', ?2 ->> '$.role.rank', ?2 ->> '$.role.opens_settings'",
        taken: "",
    },
    Table {
        name: "role_value",
        rows: "SELECT json_object('value', value, 'role', role.name)
               FROM role_value JOIN role ON role.id = role_value.role WHERE role_value.tenant = ?1 ORDER BY value",
        insert: "INSERT INTO role_value (tenant, value, role)
                 SELECT ?1, ?2 ->> '$.role_value.value', role.id
                 FROM role WHERE role.tenant = ?1 AND role.name = ?2 ->> '$.role_value.role'",
        taken: "",
    },
    Table {
        name: "role_group",
        rows: "SELECT json_object('name', role_group.name, 'role', role.name)
               FROM role_group JOIN role ON role.id = role_group.role WHERE role_group.tenant = ?1 ORDER BY name_key",
        insert: "INSERT INTO role_group (tenant, name_key, name, role)
                 SELECT ?1, scim_fold(?2 ->> '$.role_group.name'), ?2 ->> '$.role_group.name', role.id
                 FROM role WHERE role.tenant = ?1 AND role.name = ?2 ->> '$.role_group.role'",
        taken: "",
    },
    Table {
        name: "resource",
        // In the order of the rows, which is that of lists. By an index they would have to be sorted, documents and all.
        rows: "SELECT json_object('kind', kind, 'id', id,
                   'role', (SELECT role.name FROM role WHERE role.id = resource.role),
                   'created', created, 'last_modified', last_modified, 'version', version, 'deleted_at', deleted_at,
                   'document', json(document))
               FROM resource NOT INDEXED WHERE tenant = ?1 ORDER BY row",
        // Most columns are made of the document: `insert_resource` does it.
        insert: "",
        taken: "SELECT 1 FROM resource WHERE id = ?1 ->> '$.resource.id'",
    },
    Table {
        name: "password",
        rows: "SELECT json_object('person', person.id, 'hash', hash, 'changed', changed)
               FROM password JOIN resource AS person ON person.row = password.person
               WHERE password.tenant = ?1 ORDER BY password.person",
        insert: "INSERT INTO password (person, tenant, hash, changed)
                 SELECT person.row, ?1, ?2 ->> '$.password.hash', ?2 ->> '$.password.changed'
                 FROM resource AS person
                 WHERE person.tenant = ?1 AND person.kind = 'User' AND person.id = ?2 ->> '$.password.person'",
        taken: "",
    },
    Table {
        name: "team_member",
        rows: "SELECT json_object('team', team.id, 'member', member.id, 'joined', joined)
               FROM team_member CROSS JOIN resource AS team ON team.row = team_member.team
                   CROSS JOIN resource AS member ON member.row = team_member.member
               WHERE team.tenant = ?1 ORDER BY team_member.team, team_member.member",
        insert: "INSERT INTO team_member (team, member, nested, joined)
                 SELECT team.row, member.row, member.kind = 'Group', ?2 ->> '$.team_member.joined'
                 FROM resource AS team, resource AS member
                 WHERE team.tenant = ?1 AND team.kind = 'Group' AND team.id = ?2 ->> '$.team_member.team'
                   AND member.tenant = ?1 AND member.id = ?2 ->> '$.team_member.member'",
        taken: "",
    },
    Table {
        name: "team_resource",
        rows: "SELECT json_object('id', own.id, 'team', team.id, 'kind', own.kind, 'name', own.name, 'url', own.url,
                   'created', own.created, 'last_modified', own.last_modified, 'version', own.version,
                   'data', json(own.data))
               FROM team_resource AS own JOIN resource AS team ON team.row = own.team
               WHERE own.tenant = ?1 ORDER BY own.id",
        insert: "INSERT INTO team_resource (id, tenant, team, kind, name, url, created, last_modified, version, data)
                 SELECT ?2 ->> '$.team_resource.id', ?1, team.row, ?2 ->> '$.team_resource.kind',
                     ?2 ->> '$.team_resource.name', ?2 ->> '$.team_resource.url', ?2 ->> '$.team_resource.created',
                     ?2 ->> '$.team_resource.last_modified', ?2 ->> '$.team_resource.version',
                     ?2 -> '$.team_resource.data'
                 FROM resource AS team
                 WHERE team.tenant = ?1 AND team.kind = 'Group' AND team.id = ?2 ->> '$.team_resource.team'",
        taken: "SELECT 1 FROM team_resource WHERE id = ?1 ->> '$.team_resource.id'",
    },
    Table {
        name: "account",
        rows: "SELECT json_object('email', email, 'password', password, 'break_glass', break_glass,
                   'created', created, 'last_sign_in', last_sign_in)
               FROM account WHERE tenant = ?1 ORDER BY email_key",
        insert: "INSERT INTO account (tenant, email, email_key, password, break_glass, created, last_sign_in)
                 SELECT ?1, ?2 ->> '$.account.email', scim_fold(?2 ->> '$.account.email'),
                     ?2 ->> '$.account.password', coalesce(?2 ->> '$.account.break_glass', 0),
                     ?2 ->> '$.account.created', ?2 ->> '$.account.last_sign_in'",
        taken: "SELECT 1 FROM account WHERE email_key = scim_fold(?1 ->> '$.account.email')",
    },
    Table {
        name: "token",
        rows: "SELECT json_object('id', id, 'kind', kind, 'label', label, 'prefix', prefix, 'hash', lower(hex(hash)),
                   'created', created, 'expires', expires, 'revoked', revoked, 'scopes', scopes,
                   'person', (SELECT resource.id FROM resource WHERE resource.row = token.person),
                   'first_used', first_used, 'last_used', last_used, 'last_address', last_address)
               FROM token WHERE tenant = ?1 ORDER BY id",
        // Under its number where that is free. A person's own token must stay theirs: it is revoked with them.
        insert: "INSERT INTO token (id, tenant, kind, label, prefix, hash, created, expires, revoked, scopes, person,
                                    first_used, last_used, last_address)
                 SELECT iif(EXISTS (SELECT 1 FROM token WHERE id = ?2 ->> '$.token.id'), NULL, ?2 ->> '$.token.id'),
                     ?1, ?2 ->> '$.token.kind', ?2 ->> '$.token.label', ?2 ->> '$.token.prefix',
                     unhex(?2 ->> '$.token.hash'), ?2 ->> '$.token.created', ?2 ->> '$.token.expires',
                     ?2 ->> '$.token.revoked', ?2 ->> '$.token.scopes', person.row,
                     ?2 ->> '$.token.first_used', ?2 ->> '$.token.last_used', ?2 ->> '$.token.last_address'
                 FROM (SELECT 1) LEFT JOIN resource AS person
                     ON person.tenant = ?1 AND person.kind = 'User' AND person.id = ?2 ->> '$.token.person'
                 WHERE person.row IS NOT NULL OR ?2 ->> '$.token.person' IS NULL",
        taken: "SELECT 1 FROM token WHERE hash = unhex(?1 ->> '$.token.hash')",
    },
    Table {
        name: EVENT,
        rows: "SELECT json_object('seq', seq, 'at', at, 'actor', actor, 'kind', kind, 'subject', subject,
                   'object', object, 'before', json(before), 'after', json(after))
               FROM event WHERE tenant = ?1 ORDER BY seq",
        insert: "INSERT INTO event (seq, tenant, at, actor, kind, subject, object, before, after)
                 SELECT ?2 ->> '$.event.seq', ?1, ?2 ->> '$.event.at', ?2 ->> '$.event.actor', ?2 ->> '$.event.kind',
                     ?2 ->> '$.event.subject', ?2 ->> '$.event.object', nullif(?2 -> '$.event.before', 'null'),
                     nullif(?2 -> '$.event.after', 'null')",
        taken: "SELECT 1 FROM event WHERE seq = ?1 ->> '$.event.seq'",
    },
];

/// The tables of a copy, in their order.
pub fn tables() -> impl Iterator<Item = &'static str> {
    TABLES.iter().map(|table| table.name)
}

fn table(name: &str) -> Result<&'static Table> {
    TABLES
        .iter()
        .find(|table| table.name == name)
        .ok_or("no such table")
        .doing("looking a table up")
}

/// Calls `line` with each row of a table of [`tables`], as a JSON object.
pub fn rows(
    snapshot: &Snapshot<'_>,
    tenant: TenantId,
    name: &str,
    mut line: impl FnMut(&str) -> Result<()>,
) -> Result<()> {
    let mut statement = snapshot
        .conn
        .prepare(table(name)?.rows)
        .doing("reading a tenant")?;
    let mut rows = statement.query([tenant]).doing("reading a tenant")?;
    while let Some(row) = rows.next().doing("reading a tenant")? {
        let value = row.get_ref(0).doing("reading a tenant")?;
        line(value.as_str().doing("reading a tenant")?)?;
    }
    Ok(())
}

/// The number up to which readers of the tenant's feed may have read.
pub fn last_event(snapshot: &Snapshot<'_>, tenant: TenantId) -> Result<i64> {
    let newest: Option<i64> = snapshot
        .conn
        .query_row(
            "SELECT max(seq) FROM event WHERE tenant = ?",
            [tenant],
            |row| row.get(0),
        )
        .doing("reading the newest event")?;
    newest.map_or_else(|| sequence::last(snapshot, Sequence::Event), Ok)
}

/// Whether something here, of whatever tenant, is in the way of this line: it has its id, name or hash.
pub fn is_taken(snapshot: &Snapshot<'_>, name: &str, line: &str) -> Result<bool> {
    let sql = table(name)?.taken;
    if sql.is_empty() {
        return Ok(false);
    }
    snapshot
        .conn
        .prepare_cached(sql)
        .and_then(|mut statement| statement.exists([line]))
        .doing("looking for what is there already")
}

/// Makes a tenant that is only a name and its attributes. [`finish`] makes it what its line says.
pub fn begin(tx: &Tx<'_>, line: &str) -> Result<TenantId> {
    tx.conn
        .query_row(
            "INSERT INTO tenant (name, name_key, created, attributes)
             SELECT ?1 ->> '$.tenant.name', scim_fold(?1 ->> '$.tenant.name'), 0,
                 coalesce(?1 -> '$.tenant.attributes', '[]') RETURNING id",
            [line],
            |row| row.get(0),
        )
        .doing("importing a tenant")
}

/// Inserts a line of a table with columns that say all. False, and nothing done, where it points at what isn't there.
pub fn insert(tx: &Tx<'_>, tenant: TenantId, name: &str, line: &str) -> Result<bool> {
    tx.known.forget();
    tx.conn
        .prepare_cached(table(name)?.insert)
        .and_then(|mut statement| statement.execute((tenant, line)))
        .map(|inserted| inserted == 1)
        .doing("importing a row")
}

/// The number of the token that was just inserted.
pub fn inserted_token(tx: &Tx<'_>) -> i64 {
    tx.conn.last_insert_rowid()
}

/// A user or team as a line has it, beside the JSON of its document.
#[derive(Debug, serde::Deserialize)]
pub struct Resource {
    /// Of which resource type.
    pub kind: String,
    /// The SCIM id.
    pub id: String,
    /// The name of a user's role.
    pub role: Option<String>,
    created: i64,
    last_modified: i64,
    version: i64,
    deleted_at: Option<i64>,
    /// What the client said of it.
    pub document: Document,
}

/// Inserts a user or team. False, and nothing of use done, where its role isn't there.
pub fn insert_resource(
    tx: &Tx<'_>,
    tenant: TenantId,
    kind: Kind,
    resource: Resource,
) -> Result<bool> {
    let time = |millis| jiff::Timestamp::from_millisecond(millis).doing("reading a time");
    let new = New::of(resource.document)?;
    let stored = Stored {
        row: 0,
        kind,
        id: resource.id,
        document: new.document,
        created: time(resource.created)?,
        last_modified: time(resource.last_modified)?,
        version: resource.version,
        text: new.text,
    };
    let deleted_at = resource.deleted_at.map(time).transpose()?;
    let mut role = None;
    if let Some(name) = &resource.role {
        let Some(found) = roles::by_name(tx, tenant, name)? else {
            return Ok(false);
        };
        role = Some(found.id);
    }
    resources::insert_stored(tx, tenant, stored, role, deleted_at.map(Millis))?;
    Ok(true)
}

/// Makes the tenant what its line says, and lets the next event have a number after `last_event`, so that who has read
/// the feed up to there misses nothing. False where its default role isn't there.
pub fn finish(tx: &Tx<'_>, tenant: TenantId, line: &str, last_event: i64) -> Result<bool> {
    insert(tx, tenant, "tenant", line)?;
    sequence::skip_events(tx, last_event)?;
    tx.conn
        .query_row(
            "SELECT default_role IS NOT NULL FROM tenant WHERE id = ?",
            [tenant],
            |row| row.get(0),
        )
        .doing("reading the default role")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::store::fixture::fixture;

    /// Tables that no copy has, each for a reason.
    const LEFT_OUT: &[&str] = &[
        "connection", // its secret is sealed for this tenant under this server's key, and opens nowhere else
        "identity",   // goes with the connection: found again by externalId at the next sign-in
        "sso_attempt", // who is on the way to sign in here
        "app_host",   // hosts are this server's, and each belongs to one tenant of it
        "app_session", // who is signed in at them
        "exchange", // the provisioning log: its days of bodies, of no use to the tenant's life elsewhere
        "epoch",    // of this file alone
        "resource_value", // made of the documents
        "tally",    // made of the rows
        "cursor_key", // of the file, not of a tenant
        "session",  // who is signed in here
        "link",     // whom a link signs in here
    ];

    /// Columns that a copy has not, for they are row numbers or made of others.
    const MADE_AGAIN: &[&str] = &[
        "name_key",
        "email_key",
        "row",
        "display",
        "external_id",
        "active",
        "role_name",
        "nested",
    ];

    #[test]
    fn every_column_of_a_tenant_is_in_its_copy_or_left_out_on_purpose() {
        let fixture = fixture();
        let columns = fixture.store.read(|snapshot| {
            let mut statement = snapshot
                .conn
                .prepare(
                    "SELECT list.name, info.name FROM pragma_table_list AS list, pragma_table_xinfo(list.name) AS info
                     WHERE list.schema = 'main' AND list.type = 'table' AND list.name NOT LIKE 'sqlite_%'",
                )
                .unwrap();
            let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)));
            let rows: Vec<(String, String)> = rows.unwrap().map(|row| row.unwrap()).collect();
            Ok(rows)
        });
        let columns = columns.unwrap();
        let missing: BTreeSet<_> = columns
            .iter()
            .filter(|(table, _)| !LEFT_OUT.contains(&table.as_str()))
            .filter(|(table, column)| {
                let copied = TABLES
                    .iter()
                    .find(|known| known.name == table)
                    .is_some_and(|known| known.rows.contains(&format!("'{column}', ")));
                let elsewhere = column == "tenant" || MADE_AGAIN.contains(&column.as_str());
                // Numbers of one file, told by what they number.
                let number =
                    column == "id" && ["tenant", "role", "account"].contains(&table.as_str());
                !copied && !elsewhere && !number
            })
            .collect();
        assert!(columns.len() > 50);
        assert!(missing.is_empty(), "no copy has {missing:?}");
    }
}
