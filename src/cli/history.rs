//! `… show --at` and `rollcall diff`: how things were.

use std::path::Path;

use clap::Args;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::table::{self, Format};
use super::{Outcome, failure, look};
use crate::scim::resource;
use crate::scim::schema::Kind;
use crate::store::history::{self, Past};
use crate::store::{Snapshot, TenantId};

/// `rollcall diff`
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Whose
    #[arg(long)]
    tenant: String,
    /// As it was then: 2026-05-03 or 2026-05-03T08:00:00Z
    #[arg(long, value_name = "TIME", value_parser = time)]
    from: Timestamp,
    /// … and as it was then; now, where it isn't given
    #[arg(long, value_name = "TIME", value_parser = time)]
    to: Option<Timestamp>,
}

/// A time on the command line: RFC 3339, or a date, which means its first moment in UTC.
pub(super) fn time(text: &str) -> Result<Timestamp, String> {
    text.parse()
        .or_else(|_| format!("{text}T00:00:00Z").parse())
        .map_err(|_| "write 2026-05-03 or 2026-05-03T08:00:00Z".to_owned())
}

/// What was different in a tenant's users and teams between two times.
pub(super) fn diff(data: &Path, format: Format, arguments: Arguments) -> Outcome {
    let (from, to) = (arguments.from, arguments.to.unwrap_or_else(super::now));
    if to < from {
        return Err(failure("--to is before --from"));
    }
    let rows = look(data, &arguments.tenant, |snapshot, tenant| {
        let tenant = tenant.id;
        let mut rows = Vec::new();
        for id in history::touched(snapshot, tenant, from, to)? {
            let before = history::at(snapshot, tenant, &id, from)?;
            let after = history::at(snapshot, tenant, &id, to)?;
            rows.extend(difference(before, after));
        }
        Ok(rows)
    })?;
    let columns = [
        ("WHAT", "what"),
        ("NAME", "name"),
        ("CHANGE", "change"),
        ("ID", "id"),
    ];
    table::print(format, &columns, &rows)
}

/// One row for a user or team that isn't as it was.
fn difference(before: Option<Past>, after: Option<Past>) -> Option<Value> {
    let known = after.as_ref().or(before.as_ref())?;
    let row = |change: &str| {
        Some(json!({
            "what": noun(known.kind),
            "name": name(known),
            "id": known.id,
            "change": change,
            "before": before.as_ref().map(shown),
            "after": after.as_ref().map(shown),
        }))
    };
    match (&before, &after) {
        (None, Some(_)) => row("came"),
        (Some(_), None) => row("went"),
        (Some(before), Some(after)) => {
            let mut parts: Vec<String> = resource::differences(&before.document, &after.document)
                .into_iter()
                .map(str::to_owned)
                .collect();
            if before.role != after.role {
                parts.push("role".to_owned());
            }
            let joined = after
                .links
                .iter()
                .filter(|id| !before.links.contains(id))
                .count();
            let left = before
                .links
                .iter()
                .filter(|id| !after.links.contains(id))
                .count();
            if joined + left > 0 {
                let what = match known.kind {
                    Kind::User => "teams",
                    Kind::Group => "members",
                };
                parts.push(format!("{what} +{joined} −{left}"));
            }
            if parts.is_empty() {
                None
            } else {
                row(&parts.join(", "))
            }
        }
        (None, None) => None,
    }
}

/// Prints a user or team as it was at a time, as `show` prints it as it is.
pub(super) fn show(
    snapshot: &Snapshot<'_>,
    tenant: TenantId,
    kind: Kind,
    id: &str,
    at: Timestamp,
) -> crate::error::Result<Option<Value>> {
    let Some(past) = history::at(snapshot, tenant, id, at)?.filter(|past| past.kind == kind) else {
        return Ok(None);
    };
    let mut value = shown(&past);
    let mut links = Vec::new();
    for id in &past.links {
        let display = history::at(snapshot, tenant, id, at)?.map(|past| name(&past));
        links.push(json!({ "value": id, "display": display }));
    }
    value[past.kind.membership_attribute()] = links.into();
    Ok(Some(value))
}

fn shown(past: &Past) -> Value {
    let mut value = Value::Object(past.document.clone());
    value["id"] = json!(past.id);
    value[past.kind.membership_attribute()] = json!(past.links);
    if past.kind == Kind::User {
        value["role"] = json!(past.role);
    }
    value
}

fn name(past: &Past) -> String {
    resource::name_of(&past.document, past.kind.resource_type()).to_owned()
}

fn noun(kind: Kind) -> &'static str {
    match kind {
        Kind::User => "user",
        Kind::Group => "team",
    }
}
