//! The checklist of provisioning: what has happened on the way to a connected provider, what failed meanwhile, and
//! tokens that are being changed.

use jiff::Timestamp;
use minijinja::context;
use minijinja::value::Value;

use super::tokens as shown;
use crate::error::Result;
use crate::http::html::moment;
use crate::manage::advice;
use crate::scim::schema::Kind;
use crate::store::exchange_search;
use crate::store::exchanges::Recorded;
use crate::store::milestones::{self, Milestone};
use crate::store::tokens::{State, Token};
use crate::store::{Snapshot, TenantId};

/// How many failing calls are shown.
const REFUSALS: usize = 3;

/// The steps in their order, each with its time once it is met, and the last calls that failed since the last of those.
/// `tokens` are the SCIM tokens that are not revoked, newest
/// first.
///
/// Test Connection asks for a user who isn't there, and other providers list or read: whatever was answered first shows
/// that address and token are right, so that is what meets this step.
pub(super) fn look(
    snapshot: &Snapshot<'_>,
    tenant: TenantId,
    tokens: &[Token],
    now: Timestamp,
) -> Result<Value> {
    let made = tokens.iter().map(|token| token.created).min();
    let tested = tokens.iter().filter_map(|token| token.first_used).min();
    let user = milestones::created(snapshot, tenant, Kind::User)?;
    let group = milestones::created(snapshot, tenant, Kind::Group)?;
    let role = milestones::role(snapshot, tenant)?;
    let at = |milestone: &Option<Milestone>| milestone.as_ref().map(|met| met.at);
    let times = [made, tested, at(&user), at(&group), at(&role)];
    let since = times.iter().flatten().max().copied();
    let refused = exchange_search::refused(
        snapshot,
        tenant,
        since.unwrap_or(Timestamp::UNIX_EPOCH),
        REFUSALS,
    )?;
    let met = times.iter().flatten().count();
    let is_complete = met == times.len();
    let (rotations, is_waiting) = rotations(tokens, now);
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
        // Another one when there is something else to see, and none when nothing is waited for.
        rotations => rotations,
        version => if is_complete && !is_waiting {
            String::new()
        } else {
            format!("{met}-{last}{}", if is_waiting { "-rotating" } else { "" })
        },
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

/// The labels that more than one valid token has: the newest is to replace the others, which are valid until somebody
/// revokes them; and whether one of the newest waits for its first use. `standing` is newest first.
fn rotations(standing: &[Token], now: Timestamp) -> (Vec<Value>, bool) {
    let valid: Vec<&Token> = standing
        .iter()
        .filter(|token| token.state(now) == State::Valid)
        .collect();
    let (mut found, mut is_waiting) = (vec![], false);
    for (at, new) in valid.iter().enumerate() {
        let is_newest = !valid[..at].iter().any(|newer| newer.label == new.label);
        let old: Vec<Value> = valid[at + 1..]
            .iter()
            .filter(|older| older.label == new.label)
            .map(|older| shown::row(older, now))
            .collect();
        if is_newest && !old.is_empty() {
            is_waiting |= new.first_used.is_none();
            found.push(context! { new => shown::row(new, now), old => old });
        }
    }
    (found, is_waiting)
}
