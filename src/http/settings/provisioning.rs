//! Provisioning: connecting the identity provider, and seeing that it works.

use minijinja::context;
use minijinja::value::Value;

use super::{Visit, checklist, declared, tokens as shown};
use crate::error::Result;
use crate::http::html::moment;
use crate::http::request::Response;
use crate::manage;
use crate::scim::ScimError;
use crate::store::tokens::{self, New, Secret, Token, TokenKind};
use crate::store::{removals, roles};

const HERE: &str = "/settings/provisioning";

/// What the first token is called.
const FIRST_LABEL: &str = "Identity provider";

/// Tokens that are shown, of those that stand and of those that are revoked.
const STANDING: usize = 200;
const REVOKED: usize = 20;

/// `/settings/provisioning`
pub(super) fn answer(visit: &Visit<'_>) -> Result<Response> {
    if !visit.is_post() {
        return show(visit, None);
    }
    let asked = visit.form.get("do");
    // A token outlives the session that it was made in, so making one asks as well. A pause is taken back at once.
    if !["pause", "resume"].contains(&asked)
        && let Some(ask) = visit.asks()?
    {
        return Ok(ask);
    }
    let tenant = visit.tenant.id;
    let id: i64 = visit.form.get("id").parse().unwrap_or_default();
    match asked {
        "enable" | "create" => make(visit),
        "rotate" => {
            let secret = Secret::generate(TokenKind::Scim)?;
            let made = visit.change(move |tx, actor| {
                let old = shown::named(tx, tenant, TokenKind::Scim, id)?;
                let token = manage::tokens::replace(tx, tenant, actor, old, &secret)?;
                Ok((token, secret))
            });
            shown_once(visit, made)
        }
        "revoke" => {
            let revoked = visit.change(move |tx, actor| {
                let token = shown::named(tx, tenant, TokenKind::Scim, id)?;
                manage::tokens::revoke(tx, tenant, actor, token.id)?;
                Ok(token)
            });
            visit.then(revoked, HERE, |token| {
                format!(
                    "The token {} ({}…) is revoked: it opens nothing any more.",
                    token.label, token.prefix
                )
            })
        }
        "disable" => {
            let disabled = visit.change(move |tx, actor| {
                manage::tokens::revoke_all(tx, tenant, actor, TokenKind::Scim)
            });
            visit.then(disabled, HERE, |_| {
                "Provisioning is disabled: the provider is refused from now on.".to_owned()
            })
        }
        "declare" => declared::declare(visit),
        "undeclare" => declared::remove(visit),
        "match" => declared::set_matching(visit, true),
        "unmatch" => declared::set_matching(visit, false),
        "pause" => pause(visit, true),
        "resume" => pause(visit, false),
        _ => visit.problem(400, "That is nothing this page can do."),
    }
}

/// Makes the first token, or a further one.
fn make(visit: &Visit<'_>) -> Result<Response> {
    let tenant = visit.tenant.id;
    let is_first = visit.form.get("do") == "enable";
    let label = if is_first {
        Ok(FIRST_LABEL.to_owned())
    } else {
        manage::tokens::label(visit.form.get("label"))
    };
    let secret = Secret::generate(TokenKind::Scim)?;
    let wanted = label.map_err(Into::into).and_then(|label| {
        Ok(New {
            kind: TokenKind::Scim,
            label,
            expires: shown::chosen_expiry(visit)?,
            scopes: vec![],
            person: None,
        })
    });
    let made = wanted.and_then(|new| {
        visit.change(move |tx, actor| {
            if is_first && !tokens::standing(tx, tenant, TokenKind::Scim, None, 1)?.is_empty() {
                return Err(ScimError::invalid_value(
                    "Provisioning is enabled already. If you have no Secret Token, rotate the one below.",
                )
                .into());
            }
            let token = manage::tokens::create(tx, tenant, actor, &secret, &new)?;
            Ok((token, secret))
        })
    });
    shown_once(visit, made)
}

/// The page with a new secret on it, this once.
fn shown_once(visit: &Visit<'_>, made: Result<(Token, Secret)>) -> Result<Response> {
    match made {
        Ok(made) => show(visit, Some(made)),
        refused => visit.then(refused, HERE, |_| String::new()),
    }
}

fn pause(visit: &Visit<'_>, paused: bool) -> Result<Response> {
    let tenant = visit.tenant.clone();
    let done =
        visit.change(move |tx, actor| manage::tenants::set_paused(tx, actor, &tenant, paused));
    visit.then(done, HERE, |()| {
        match paused {
            true => "Provisioning is paused: the provider is asked to come back later.",
            false => "Provisioning goes on: the provider is served again.",
        }
        .to_owned()
    })
}

/// The page; `made` is a token that was just made.
fn show(visit: &Visit<'_>, made: Option<(Token, Secret)>) -> Result<Response> {
    let (tenant, now) = (visit.tenant.id, visit.head.now);
    let origin = visit.app.origin(visit.head);
    let context = visit.look(|snapshot| {
        let standing = tokens::standing(snapshot, tenant, TokenKind::Scim, None, STANDING)?;
        let revoked = tokens::revoked(snapshot, tenant, TokenKind::Scim, REVOKED)?;
        let rules = roles::rules(snapshot, tenant)?;
        let rows = |tokens: &[Token]| -> Vec<Value> {
            tokens.iter().map(|token| shown::row(token, now)).collect()
        };
        let warnings: Vec<Value> = standing
            .iter()
            .filter_map(|token| shown::warning(token, &standing, now))
            .collect();
        Ok(context! {
            is_enabled => !standing.is_empty(),
            tenant_url => format!("{origin}/scim/v2"),
            is_plain => origin.starts_with("http://"),
            paused => visit.tenant.paused.map(moment),
            unusual => removals::unusual_since(snapshot, tenant)?.map(moment),
            checklist => checklist::look(snapshot, tenant, &standing, now)?,
            attributes => declared::context(snapshot, tenant)?,
            tokens => rows(&standing),
            revoked => rows(&revoked),
            warnings => warnings,
            default_role => rules.roles.iter().find(|role| role.id == rules.default).map(|role| role.name.as_str()),
        })
    })?;
    let made = made.as_ref().map(|(token, secret)| {
        context! { label => token.label.as_str(), secret => secret.reveal() }
    });
    visit.show(
        "provisioning.html",
        "Provisioning",
        context! { made => made, ..context },
    )
}
