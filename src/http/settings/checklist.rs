//! The checklist of provisioning: what has happened on the way to a connected provider, and what failed meanwhile.

use jiff::Timestamp;
use minijinja::context;
use minijinja::value::Value;

use crate::error::Result;
use crate::http::html::moment;
use crate::manage::advice;
use crate::scim::schema::Kind;
use crate::store::exchanges::{self, Recorded};
use crate::store::milestones::{self, Milestone};
use crate::store::tokens::Token;
use crate::store::{Snapshot, TenantId};

/// How many failing calls are shown.
const REFUSALS: usize = 3;

/// The steps in their order, each with its time once it is met, and the last calls that failed since the last of those.
/// `tokens` are the SCIM tokens that are not revoked.
///
/// Test Connection asks for a user who isn't there, and other providers list or read: whatever was answered first shows
/// that address and token are right, so that is what meets this step.
pub(super) fn look(snapshot: &Snapshot<'_>, tenant: TenantId, tokens: &[Token]) -> Result<Value> {
    let made = tokens.iter().map(|token| token.created).min();
    let tested = tokens.iter().filter_map(|token| token.first_used).min();
    let user = milestones::created(snapshot, tenant, Kind::User)?;
    let group = milestones::created(snapshot, tenant, Kind::Group)?;
    let role = milestones::role(snapshot, tenant)?;
    let at = |milestone: &Option<Milestone>| milestone.as_ref().map(|met| met.at);
    let times = [made, tested, at(&user), at(&group), at(&role)];
    let since = times.iter().flatten().max().copied();
    let refused = exchanges::refused(
        snapshot,
        tenant,
        since.unwrap_or(Timestamp::UNIX_EPOCH),
        REFUSALS,
    )?;
    let met = times.iter().flatten().count();
    let is_complete = met == times.len();
    let last = refused.first().map_or(0, |refused| refused.seq);
    Ok(context! {
        steps => vec![
            step("token", made, None),
            step("test", tested, None),
            step("user", at(&user), user),
            step("group", at(&group), group),
            step("role", at(&role), role),
        ],
        is_complete => is_complete,
        // Differs when there is something else to see.
        version => if is_complete { String::new() } else { format!("{met}-{last}") },
        refusals => refused.iter().map(refusal).collect::<Vec<_>>(),
    })
}

fn step(name: &str, at: Option<Timestamp>, met: Option<Milestone>) -> Value {
    context! {
        name => name,
        met => at.map(moment),
        id => met.as_ref().map(|met| met.id.as_str()),
        subject => met.as_ref().map(|met| met.name.as_str()),
    }
}

/// A refused call: what it wanted, why it failed, what to do.
pub(super) fn refusal(refused: &Recorded) -> Value {
    let exchange = &refused.exchange;
    context! {
        seq => refused.seq,
        at => moment(exchange.at),
        action => exchange.action.as_str(),
        status => exchange.status,
        reason => exchange.detail.as_deref().unwrap_or_default(),
        remedy => advice::remedy(exchange.status, exchange.scim_type),
    }
}
