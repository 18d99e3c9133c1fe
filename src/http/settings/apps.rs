//! Tokens for apps: what reads the API, and registers team resources there.

use minijinja::context;

use super::{Visit, tokens as shown};
use crate::error::Result;
use crate::http::request::Response;
use crate::manage;
use crate::scim::schema::Kind;
use crate::scim::{ScimError, resource};
use crate::store::people;
use crate::store::tokens::{self, New, Scope, Secret, Token, TokenKind};

const HERE: &str = "/settings/apps";

/// Tokens on one page.
const PAGE: usize = 50;

/// `/settings/apps`
pub(super) fn answer(visit: &Visit<'_>) -> Result<Response> {
    if !visit.is_post() {
        return show(visit, None);
    }
    // A token outlives the session that it was made in, so making one asks as well.
    if let Some(ask) = visit.asks()? {
        return Ok(ask);
    }
    let tenant = visit.tenant.id;
    match visit.form.get("do") {
        "create" => match create(visit) {
            Ok(made) => show(visit, Some(made)),
            refused => visit.then(refused, HERE, |_| String::new()),
        },
        "revoke" => {
            let id: i64 = visit.form.get("id").parse().unwrap_or_default();
            let revoked = visit.change(move |tx, actor| {
                let token = shown::named(tx, tenant, TokenKind::Api, id)?;
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
        _ => visit.problem(400, "That is nothing this page can do."),
    }
}

fn create(visit: &Visit<'_>) -> Result<(Token, Secret)> {
    let tenant = visit.tenant.id;
    let scopes: Vec<Scope> = visit
        .form
        .fields()
        .filter(|(name, _)| *name == "scope")
        .filter_map(|(_, value)| Scope::named(value))
        .collect();
    if scopes.is_empty() {
        return Err(ScimError::invalid_value(
            "Choose what the app may do: read, resources, or both.",
        )
        .into());
    }
    let new = New {
        kind: TokenKind::Api,
        label: manage::tokens::label(visit.form.get("label"))?,
        expires: shown::chosen_expiry(visit)?,
        scopes,
        person: None,
    };
    let secret = Secret::generate(TokenKind::Api)?;
    visit.change(move |tx, actor| {
        let token = manage::tokens::create(tx, tenant, actor, &secret, &new)?;
        Ok((token, secret))
    })
}

/// The page; `made` is a token that was just made.
fn show(visit: &Visit<'_>, made: Option<(Token, Secret)>) -> Result<Response> {
    let (tenant, now) = (visit.tenant.id, visit.head.now);
    let before = visit.query("before").parse().ok();
    let (rows, next) = visit.look(|snapshot| {
        let mut found = tokens::standing(snapshot, tenant, TokenKind::Api, before, PAGE + 1)?;
        let is_more = found.len() > PAGE;
        found.truncate(PAGE);
        let mut rows = vec![];
        for token in &found {
            let person = match token.person {
                Some(row) => people::by_row(snapshot, tenant, row)?,
                None => None,
            };
            let person = person.map(|person| {
                let name =
                    resource::name_of(&person.document, Kind::User.resource_type()).to_string();
                context! { id => person.id, name => name }
            });
            rows.push(context! { person => person, ..shown::row(token, now) });
        }
        let next = found.last().filter(|_| is_more).map(|token| token.id);
        Ok((rows, next))
    })?;
    let made = made.as_ref().map(|(token, secret)| {
        let reads = token.scopes.contains(&Scope::Read);
        context! { label => token.label.as_str(), secret => secret.reveal(), reads => reads }
    });
    let context = context! {
        tokens => rows,
        next => next,
        is_first => before.is_none(),
        made => made,
        origin => visit.app.origin(visit.head),
    };
    visit.show("apps.html", "Tokens for apps", context)
}
