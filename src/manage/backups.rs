//! Backups of the whole server in the hands of a tenant's administrators, as long as nobody else's data is in them.

use std::fs::File;

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::error::Result;
use crate::scim::ScimError;
use crate::store::Store;
use crate::store::backup::{self, Made, Schedule};
use crate::store::events::{self, Event};
use crate::store::tenants::{self, Tenant};

/// How it stands with the backups that a server makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// No folder is named for them, so there are none.
    Off,
    /// The folder can't be read.
    Unreadable,
    /// There is none yet.
    Missing,
    /// The newest is older than it may be: from then.
    Late(Timestamp),
    /// The newest is as it should be: from then.
    Good(Timestamp),
}

/// Looks at what is in the folder. Whatever is wrong with it is an answer, not a failure.
pub fn standing(schedule: Option<&Schedule>, now: Timestamp) -> Standing {
    let Some(Schedule { dir, every, .. }) = schedule else {
        return Standing::Off;
    };
    match backup::newest(dir, now) {
        Err(error) => {
            log::warn!("{error}");
            Standing::Unreadable
        }
        Ok(None) => Standing::Missing,
        // One may take long, or be tried again after a failure.
        Ok(Some(newest)) if now.duration_since(newest.at).unsigned_abs() > *every * 2 => {
            Standing::Late(newest.at)
        }
        Ok(Some(newest)) => Standing::Good(newest.at),
    }
}

/// Makes a backup beside those that the server makes by itself.
///
/// Errors: 403 where somebody else has, or had, data on this server; 409 where another one was begun in the same second.
pub fn make(
    store: &Store,
    schedule: &Schedule,
    tenant: &Tenant,
    actor: &str,
    now: Timestamp,
) -> Result<Made> {
    if !store.read(|snapshot| tenants::is_alone(snapshot, tenant))? {
        return Err(ScimError::forbidden(
            "This server has, or had, other organisations, and a backup holds their data too: whoever runs the server \
             makes it.",
        )
        .into());
    }
    backup::create_folder(&schedule.dir)?;
    let made = backup::make_in(store, &schedule.dir, now).map_err(|error| {
        if backup::is_there(&schedule.dir, now) {
            return ScimError::conflict("Another backup was begun in the same second; use that.")
                .into();
        }
        error
    })?;
    let after = json!({ "bytes": made.bytes });
    told(
        store,
        tenant,
        actor,
        "backup.made",
        (&made_name(&made), after),
        now,
    )?;
    Ok(made)
}

/// A backup of the list to be sent; `None` where none has this name, or it has more than this tenant's data.
pub fn hand_out(
    store: &Store,
    schedule: &Schedule,
    (tenant, name): (&Tenant, &str),
    actor: &str,
    now: Timestamp,
) -> Result<Option<File>> {
    let file = backup::open_own(&schedule.dir, name, tenant)?;
    if file.is_some() {
        told(
            store,
            tenant,
            actor,
            "backup.downloaded",
            (name, Value::Null),
            now,
        )?;
    }
    Ok(file)
}

/// The file name of a backup that was made.
pub fn made_name(made: &Made) -> String {
    let name = made.file.file_name().unwrap_or_default();
    name.to_string_lossy().into_owned()
}

fn told(
    store: &Store,
    tenant: &Tenant,
    actor: &str,
    kind: &'static str,
    (subject, after): (&str, Value),
    now: Timestamp,
) -> Result<()> {
    let (id, actor, subject) = (tenant.id, actor.to_owned(), subject.to_owned());
    store.write(now, move |tx| {
        let event = Event {
            actor: &actor,
            kind,
            subject: &subject,
            object: None,
            before: None,
            after: (!after.is_null()).then_some(&after),
        };
        events::append(tx, id, &event)
    })?;
    Ok(())
}
