//! A whole tenant as JSON Lines, out and in again: to another rollcall, or to read.
//!
//! The first line says what it is, the last one how many lines there are, so that half a copy is known for one. Between
//! them is a line for each row (`store/tenant_copies.rs`), always in the same order: two copies of the same state are
//! the same bytes, and so is the copy of an imported copy. A copy has the hashes of tokens and passwords, and all that the
//! tenant's people are known by: keep it as you keep the database.
//!
//! An import writes no events. It is not something that happened to the tenant, which is as it was, elsewhere.

use std::fs::File;
use std::io::{BufRead, BufWriter, Seek, Write};

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::error::{Doing, Error, Result};
use crate::scim::ScimError;
use crate::scim::schema::Kind;
use crate::scim::stored::withhold;
use crate::scim::validate::validate;
use crate::store::backup;
use crate::store::events::{self, Event};
use crate::store::tenant_copies::{self, EVENT, Resource};
use crate::store::tenants::Tenant;
use crate::store::{Snapshot, Store, TenantId, Tx, attributes, nesting};

/// What the first line says it is. Another layout gets another number.
const FORMAT: &str = "rollcall tenant 1";

/// What the events do in a copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Events {
    /// They come along: the feed and the history stay.
    Along,
    /// They stay behind. Who reads the feed of the imported tenant misses nothing that happens to it from then on.
    Behind,
}

/// Writes a tenant to `out`; tells how many rows that were.
pub fn export(
    snapshot: &Snapshot<'_>,
    tenant: &Tenant,
    events: Events,
    out: &mut dyn Write,
) -> Result<u64> {
    let mut count = 0;
    let last_event = tenant_copies::last_event(snapshot, tenant.id)?;
    let first = json!({ "format": FORMAT, "last_event": last_event });
    writeln!(out, "{first}").doing("writing the copy")?;
    for table in tenant_copies::tables() {
        if table == EVENT && events == Events::Behind {
            continue;
        }
        tenant_copies::rows(snapshot, tenant.id, table, |row| {
            count += 1;
            writeln!(out, "{{\"{table}\":{row}}}").doing("writing the copy")
        })?;
    }
    writeln!(out, "{}", json!({ "rows": count })).doing("writing the copy")?;
    out.flush().doing("writing the copy")?;
    Ok(count)
}

/// A tenant's copy for who asked for it, told in its events: a file without a name, from its beginning.
pub fn hand_out(
    store: &Store,
    tenant: &Tenant,
    actor: &str,
    events: Events,
    now: Timestamp,
) -> Result<File> {
    let (mut file, rows) = store.read(|snapshot| {
        let file = backup::nameless(snapshot)?;
        let rows = export(snapshot, tenant, events, &mut BufWriter::new(&file))?;
        Ok((file, rows))
    })?;
    file.rewind().doing("reading the copy")?;
    let (id, name, actor) = (tenant.id, tenant.name.clone(), actor.to_owned());
    store.write(now, move |tx| {
        let event = Event {
            actor: &actor,
            kind: "tenant.exported",
            subject: &name,
            object: None,
            before: None,
            after: Some(&json!({ "rows": rows, "events": events == Events::Along })),
        };
        self::events::append(tx, id, &event)
    })?;
    Ok(file)
}

/// What an import made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Imported {
    /// The tenant's name.
    pub name: String,
    /// How many rows came.
    pub rows: u64,
}

#[derive(Deserialize)]
struct First {
    format: String,
    last_event: i64,
}

#[derive(Deserialize)]
struct Last {
    rows: u64,
}

/// Makes a tenant of a copy, with the same ids. Tokens and events have numbers, which another tenant may have here:
/// a token then gets another one, while an event is refused.
///
/// Errors: 400 for what is no whole copy, 409 where a tenant has its name, or anything here one of its ids.
pub fn import(tx: &Tx<'_>, copy: &mut dyn BufRead) -> Result<Imported> {
    let mut lines = Lines { copy, number: 0 };
    let first: First = lines.next()?.read()?;
    if first.format != FORMAT {
        return Err(ScimError::invalid_value(format!(
            "this is no copy of a tenant: its format is {:?}, not {FORMAT:?}",
            first.format
        ))
        .into());
    }
    let head = lines.next()?;
    let (table, row) = head.row()?;
    if table != "tenant" {
        return Err(head.refused("is not the tenant").into());
    }
    head.check_free(tx, "tenant")?;
    let mut import = Import {
        tenant: tenant_copies::begin(tx, &head.text).map_err(|error| head.at(error))?,
        renumbered: false,
    };
    let mut rows = 1;
    loop {
        let line = lines.next()?;
        if let Ok(last) = line.read::<Last>() {
            if last.rows != rows {
                return Err(line
                    .refused(format!("says {} rows, but {rows} are there", last.rows))
                    .into());
            }
            break;
        }
        import.take(tx, &line).map_err(|error| line.at(error))?;
        rows += 1;
    }
    if nesting::has_circle(tx, import.tenant)? {
        return Err(ScimError::invalid_value(
            "in this copy a team is in itself, as its own member or by way of other teams, which can't be",
        )
        .into());
    }
    if tenant_copies::finish(tx, import.tenant, &head.text, first.last_event)
        .map_err(|error| head.at(error))?
    {
        let name = row["name"].as_str().unwrap_or_default().to_owned();
        return Ok(Imported { name, rows });
    }
    Err(head.refused(POINTS_NOWHERE).into())
}

/// Why a line can't be taken that names another row.
const POINTS_NOWHERE: &str = "names a role, user or team that is not on a line before it";

struct Import {
    tenant: TenantId,
    /// Whether a token got another number, by which events would not know it any more.
    renumbered: bool,
}

impl Import {
    fn take(&mut self, tx: &Tx<'_>, line: &Line) -> Result<()> {
        let (table, row) = line.row()?;
        let Some(table) = tenant_copies::tables().find(|known| *known == table) else {
            return Err(line.refused("is of no table that a copy has").into());
        };
        line.check_free(tx, table)?;
        let number = row["id"].as_i64();
        let id = row["id"].as_str();
        if id.is_some_and(|id| {
            uuid::Uuid::parse_str(id)
                .map(|uuid| uuid.to_string())
                .as_deref()
                != Ok(id)
        }) {
            return Err(line
                .refused("has an id that is no UUID in lower case")
                .into());
        }
        let done = match table {
            "tenant" => return Err(line.refused("is a second tenant").into()),
            "resource" => self.take_resource(tx, line, row)?,
            EVENT if self.renumbered => return Err(line.refused(NUMBERS_TAKEN).into()),
            _ => tenant_copies::insert(tx, self.tenant, table, &line.text)?,
        };
        if !done {
            return Err(line.refused(POINTS_NOWHERE).into());
        }
        if table == "token" && number != Some(tenant_copies::inserted_token(tx)) {
            self.renumbered = true;
        }
        Ok(())
    }

    fn take_resource(&self, tx: &Tx<'_>, line: &Line, row: Value) -> Result<bool> {
        let resource: Resource = serde_json::from_value(row)
            .map_err(|error| line.refused(format!("is no user or team: {error}")))?;
        let kind = Kind::ALL
            .into_iter()
            .find(|kind| kind.as_str() == resource.kind)
            .ok_or_else(|| line.refused("is no user or team"))?;
        let schemas = attributes::schemas(tx, self.tenant)?;
        let mut document = resource.document.clone();
        withhold(&mut document, schemas.of(kind));
        // Attributes that were declared as required later may be missing; the name may not.
        let before = Map::from_iter([(kind.name_attribute().to_owned(), json!("-"))]);
        validate(&document, Some(&before), schemas.of(kind))
            .map_err(|refusal| refusal.at(format!("line {}", line.number)))?;
        tenant_copies::insert_resource(tx, self.tenant, kind, resource)
    }
}

/// Why events can't come along.
const NUMBERS_TAKEN: &str =
    "is an event, and its number or that of a token is taken here: import a copy without events";

struct Lines<'a> {
    copy: &'a mut dyn BufRead,
    number: u64,
}

impl Lines<'_> {
    /// The next one, which there must be.
    fn next(&mut self) -> Result<Line> {
        let mut text = String::new();
        self.copy.read_line(&mut text).doing("reading the copy")?;
        self.number += 1;
        let number = self.number;
        match text.strip_suffix('\n') {
            Some(whole) => Ok(Line {
                text: whole.to_owned(),
                number,
            }),
            None => Err(ScimError::invalid_value(format!(
                "this is no whole copy of a tenant: it ends in line {number}"
            ))
            .into()),
        }
    }
}

struct Line {
    text: String,
    number: u64,
}

impl Line {
    fn read<T: serde::de::DeserializeOwned>(&self) -> Result<T> {
        serde_json::from_str(&self.text).map_err(|error| {
            self.refused(format!("is not what a copy of a tenant has there: {error}"))
                .into()
        })
    }

    /// The table and the row.
    fn row(&self) -> Result<(String, Value)> {
        let map: Map<String, Value> = self.read()?;
        let mut entries = map.into_iter();
        match (entries.next(), entries.next()) {
            (Some(entry), None) => Ok(entry),
            _ => Err(self.refused("is not one row").into()),
        }
    }

    fn check_free(&self, tx: &Tx<'_>, table: &str) -> Result<()> {
        if !tenant_copies::is_taken(tx, table, &self.text)? {
            return Ok(());
        }
        let reason = match table {
            "tenant" => "is a tenant whose name another one has: rename that one first",
            EVENT => NUMBERS_TAKEN,
            "account" => "is an account whose email has one here already",
            _ => "is here already",
        };
        Err(ScimError::uniqueness(format!("line {} {reason}", self.number)).into())
    }

    fn refused(&self, reason: impl std::fmt::Display) -> ScimError {
        ScimError::invalid_value(format!("line {} {reason}", self.number))
    }

    /// Says of a failure at which line it was. A refusal says it already.
    fn at(&self, error: Error) -> Error {
        match error {
            Error::Internal { doing, source } => Error::Internal {
                doing,
                source: format!("line {}: {source}", self.number).into(),
            },
            refusal => refusal,
        }
    }
}
