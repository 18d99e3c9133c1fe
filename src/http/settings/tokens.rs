//! Tokens as the settings pages show them and ask for them.

use jiff::Timestamp;
use minijinja::context;
use minijinja::value::Value;

use super::Visit;
use crate::error::Result;
use crate::http::html::moment;
use crate::manage;
use crate::scim::ScimError;
use crate::store::tokens::{self, State, Token, TokenKind};
use crate::store::{TenantId, Tx};

/// Days after which a token may be made to expire, beside never.
const LIFETIMES: [u32; 3] = [90, 180, 365];

/// From when on an expiry is told of, in days before it.
const WARNED_DAYS: i64 = 30;

/// A token's row in a list.
pub(super) fn row(token: &Token, now: Timestamp) -> Value {
    let state = token.state(now);
    let soon =
        state == State::Valid && days_left(token, now).is_some_and(|left| left < WARNED_DAYS);
    let scopes: Vec<_> = token.scopes.iter().map(|scope| scope.as_str()).collect();
    context! {
        id => token.id,
        label => token.label.as_str(),
        prefix => token.prefix.as_str(),
        scopes => scopes.join(", "),
        state => if soon { "expires soon" } else { state.as_str() },
        class => match state {
            State::Valid if soon => "warn",
            State::Valid => "good",
            State::Expired => "bad",
            State::Revoked => "",
        },
        created => moment(token.created),
        expires => token.expires.map(moment),
        revoked => token.revoked.map(moment),
        first_used => token.first_used.map(moment),
        last_used => token.last_used.map(moment),
        last_address => token.last_address.as_deref().unwrap_or_default(),
    }
}

/// What there is to warn of: a token that has expired, or will within 30 days. More urgent a week before, and on the
/// last day. One that a newer token of the same label replaces by then needs no words.
pub(super) fn warning(token: &Token, others: &[Token], now: Timestamp) -> Option<Value> {
    let left = days_left(token, now)?;
    let is_replaced = others.iter().any(|other| {
        other.id > token.id
            && other.label == token.label
            && other.first_used.is_some()
            && other.state(now) == State::Valid
    });
    if left >= WARNED_DAYS || is_replaced {
        return None;
    }
    let class = match left {
        7.. => "",
        1..7 => "warn",
        _ => "bad",
    };
    Some(context! {
        class => class,
        label => token.label.as_str(),
        prefix => token.prefix.as_str(),
        expires => token.expires.map(moment),
        is_over => token.state(now) == State::Expired,
    })
}

/// Whole days until a token expires, below 0 afterwards; `None` where it never does or is revoked.
fn days_left(token: &Token, now: Timestamp) -> Option<i64> {
    let expires = token.expires.filter(|_| token.revoked.is_none())?;
    let millis = expires.as_millisecond() - now.as_millisecond();
    Some(millis.div_euclid(24 * 60 * 60 * 1000))
}

/// The expiry that a form chose.
pub(super) fn chosen_expiry(visit: &Visit<'_>) -> Result<Option<Timestamp>> {
    let chosen = visit.form.get("expires");
    if chosen == "never" {
        return Ok(None);
    }
    let days = chosen.parse().ok().filter(|days| LIFETIMES.contains(days));
    let days = days.ok_or_else(|| {
        ScimError::invalid_value(
            "Choose when the token expires: never, or after 90, 180 or 365 days.",
        )
    })?;
    Ok(Some(manage::tokens::after_days(visit.head.now, days)))
}

/// The token of a kind that a form names, if it is there and not revoked.
pub(super) fn named(tx: &Tx<'_>, tenant: TenantId, kind: TokenKind, id: i64) -> Result<Token> {
    tokens::get(tx, tenant, id)?
        .filter(|token| token.kind == kind && token.revoked.is_none())
        .ok_or_else(|| {
            ScimError::not_found("This token is revoked already, or was never here.").into()
        })
}

#[cfg(test)]
mod tests {
    use jiff::ToSpan;

    use super::*;

    fn token(id: i64, expires: Option<Timestamp>) -> Token {
        Token {
            id,
            tenant: TenantId(1),
            kind: TokenKind::Scim,
            label: "entra".to_owned(),
            scopes: vec![],
            person: None,
            prefix: "rcs_123456".to_owned(),
            created: Timestamp::UNIX_EPOCH,
            expires,
            revoked: None,
            first_used: None,
            last_used: None,
            last_address: None,
        }
    }

    #[test]
    fn an_expiry_is_told_of_30_days_before_and_more_urgently_7_days_and_1_day_before() {
        let now = Timestamp::from_second(1_700_000_000).unwrap();
        for (hours, class) in [
            (31 * 24, None),
            (30 * 24 - 1, Some("")),
            (8 * 24, Some("")),
            (7 * 24 - 1, Some("warn")),
            (25, Some("warn")),
            (23, Some("bad")),
            (-1, Some("bad")),
        ] {
            let token = token(1, Some(now + hours.hours()));
            let warned = warning(&token, &[], now);
            let found = warned.map(|warned| warned.get_attr("class").unwrap().to_string());
            assert_eq!(found.as_deref(), class, "{hours} hours before");
        }
        assert!(warning(&token(1, None), &[], now).is_none());
    }

    #[test]
    fn what_a_newer_token_in_use_replaces_is_not_warned_of() {
        let now = Timestamp::from_second(1_700_000_000).unwrap();
        let old = token(1, Some(now + 1.hours()));
        let mut new = token(2, None);
        assert!(warning(&old, &[new.clone()], now).is_some());
        new.first_used = Some(now);
        assert!(warning(&old, &[new], now).is_none());
    }
}
