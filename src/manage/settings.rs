//! Changes of a tenant's settings.

use serde_json::{Value, json};

use crate::error::Result;
use crate::scim::ScimError;
use crate::settings::{ReturningTeam, Settings, UnmappedRole};
use crate::store::events::{self, Event};
use crate::store::{TenantId, Tx, settings};

/// Writes them, with an event for each that is another now. Errors: 400 that says what is wrong with them.
pub fn set(tx: &Tx<'_>, tenant: TenantId, actor: &str, wanted: &Settings) -> Result<()> {
    if let Some(objection) = wanted.objection() {
        return Err(ScimError::invalid_value(objection).into());
    }
    let before = named(&settings::read(tx, tenant)?);
    settings::write(tx, tenant, wanted)?;
    for ((name, before), (_, after)) in before.iter().zip(&named(wanted)) {
        if before != after {
            let event = Event {
                actor,
                kind: "setting.changed",
                subject: name,
                object: None,
                before: Some(before),
                after: Some(after),
            };
            events::append(tx, tenant, &event)?;
        }
    }
    Ok(())
}

/// Each setting by its name, as people and events write it.
pub fn named(settings: &Settings) -> [(&'static str, Value); 8] {
    let returning_team = match settings.returning_team {
        ReturningTeam::Revive => "revive",
        ReturningTeam::Fresh => "fresh",
    };
    let unmapped_role = match settings.unmapped_role {
        UnmappedRole::Accept => "accept",
        UnmappedRole::Reject => "reject",
    };
    [
        ("retention_days", json!(settings.retention_days)),
        ("returning_team", json!(returning_team)),
        ("unmapped_role", json!(unmapped_role)),
        ("removal_count", json!(settings.removals.count)),
        ("removal_percent", json!(settings.removals.percent)),
        ("log_days", json!(settings.log_days)),
        ("keep_bodies", json!(settings.keep_bodies)),
        ("password_sign_in", json!(settings.password_sign_in)),
    ]
}
