//! One person: what the provider says, what follows from it, and what can be done.

use minijinja::context;
use minijinja::value::Value;

use super::archived::{self, finish};
use super::{Visit, attributes, history, listing, tokens as shown};
use crate::error::Result;
use crate::http::html::moment;
use crate::http::request::Response;
use crate::manage;
use crate::scim::ScimError;
use crate::scim::member::Link;
use crate::scim::resource::name_of;
use crate::scim::schema::Kind;
use crate::store::attributes::schemas;
use crate::store::directory::{self, Entry, State};
use crate::store::sessions::{self, Holder};
use crate::store::teams;
use crate::store::tokens::{self, Scope, Secret, Token, TokenKind};
use crate::store::{Snapshot, events, people};

/// How many teams are named.
const TEAMS: usize = 200;

/// `/settings/people/{id}`
pub(super) fn answer(visit: &Visit<'_>, id: &str) -> Result<Response> {
    let tenant = visit.tenant.id;
    let Some(entry) = visit.look(|snapshot| directory::get(snapshot, tenant, Kind::User, id))?
    else {
        return visit.problem(404, "There is no such person. They may have been purged.");
    };
    if !visit.is_post() {
        return show(visit, &entry, None);
    }
    let here = format!("/settings/people/{}", entry.stored.id);
    let holder = Holder::Person(entry.stored.row);
    match visit.form.get("do") {
        "restore" => archived::restore(visit, Kind::User, id),
        "purge" => archived::purge(visit, Kind::User, id),
        "end" => {
            let session = visit.form.get("session").parse().unwrap_or_default();
            let ended = visit.change(move |tx, _| {
                if sessions::end(tx, tenant, &holder, session)? {
                    return Ok(());
                }
                Err(ScimError::not_found("This session has ended already.").into())
            });
            finish(visit, ended, &here, |()| "The session is ended.".to_owned())
        }
        "end-all" => {
            let own = (visit.session.holder == holder).then_some(visit.session.id);
            let ended = visit.change(move |tx, _| sessions::end_all(tx, tenant, &holder, own));
            visit.then(ended, &here, |ended| match ended {
                1 => "One session is ended.".to_owned(),
                count => format!("{count} sessions are ended."),
            })
        }
        "revoke" => {
            let (token, person) = (
                visit.form.get("token").parse().unwrap_or_default(),
                entry.stored.row,
            );
            let revoked = visit.change(move |tx, actor| {
                let own = tokens::of_person(tx, tenant, person)?;
                if own.iter().any(|own| own.id == token) {
                    manage::tokens::revoke(tx, tenant, actor, token)?;
                    return Ok(());
                }
                Err(ScimError::not_found("This token is revoked already.").into())
            });
            finish(visit, revoked, &here, |()| {
                "The token is revoked.".to_owned()
            })
        }
        "token" => {
            // A token outlives the session that it was made in, so making one asks as well.
            if let Some(ask) = visit.asks()? {
                return Ok(ask);
            }
            match make_token(visit, &entry) {
                Ok(made) => show(visit, &entry, Some(made)),
                refused => finish(visit, refused, &here, |_| String::new()),
            }
        }
        _ => visit.problem(400, "That is nothing this page can do."),
    }
}

/// Makes a token with which this person, or an app of theirs, reads and changes their own user at `/scim/v2/Me`.
fn make_token(visit: &Visit<'_>, entry: &Entry) -> Result<(Token, Secret)> {
    let (tenant, row) = (visit.tenant.id, entry.stored.row);
    let whole = visit.form.get("whole") == "on";
    let new = tokens::New {
        kind: TokenKind::Me,
        label: manage::tokens::label(visit.form.get("label"))?,
        expires: shown::chosen_expiry(visit)?,
        scopes: whole.then_some(Scope::Whole).into_iter().collect(),
        person: Some(row),
    };
    let secret = Secret::generate(TokenKind::Me)?;
    visit.change(move |tx, actor| {
        if people::by_row(tx, tenant, row)?.is_none() {
            return Err(ScimError::invalid_value(
                "Only who is active can have a token: it would end with them.",
            )
            .into());
        }
        let token = manage::tokens::create(tx, tenant, actor, &secret, &new)?;
        Ok((token, secret))
    })
}

/// The page; `made` is a token that was just made.
fn show(visit: &Visit<'_>, entry: &Entry, made: Option<(Token, Secret)>) -> Result<Response> {
    let (tenant, stored) = (visit.tenant.id, &entry.stored);
    let context = visit.look(|snapshot| {
        let mut teams = teams::all_groups_of(snapshot, tenant, stored)?;
        let has_more_teams = teams.len() > TEAMS;
        teams.truncate(TEAMS);
        let why: Vec<String> = match entry.state {
            State::Archived => vec![],
            _ => {
                manage::roles::why(snapshot, tenant, &stored.id)?.map_or(vec![], |(_, steps)| steps)
            }
        };
        let inactive_since = match entry.state {
            State::Inactive => events::last_of(snapshot, tenant, &stored.id, "user.deactivated")?
                .or(Some(stored.created)),
            _ => None,
        };
        let tokens = tokens::of_person(snapshot, tenant, stored.row)?;
        Ok(context! {
            id => stored.id.as_str(),
            user_name => name_of(&stored.document, Kind::User.resource_type()),
            created => moment(stored.created),
            last_modified => moment(stored.last_modified),
            state => listing::tag(entry.state),
            inactive_since => inactive_since.map(moment),
            archived => archived::shown(visit, snapshot, entry)?,
            sections => attributes::sections(schemas(snapshot, tenant)?.of(Kind::User), &stored.document),
            role => entry.role.as_deref(),
            why => why,
            teams => teams.iter().map(linked).collect::<Vec<_>>(),
            has_more_teams => has_more_teams,
            sessions => signed_in(visit, snapshot, entry)?,
            tokens => tokens.iter().map(token).collect::<Vec<_>>(),
            history => history::page(visit, snapshot, &stored.id)?,
            is_active => entry.state == State::Active,
            me => format!("{}/scim/v2/Me", visit.app.origin(visit.head)),
            made => made.as_ref().map(|(token, secret)| {
                context! { label => token.label.as_str(), secret => secret.reveal() }
            }),
        })
    })?;
    let name = stored
        .document
        .get("displayName")
        .and_then(|name| name.as_str());
    let title = name
        .filter(|name| !name.trim().is_empty())
        .unwrap_or_else(|| name_of(&stored.document, Kind::User.resource_type()));
    visit.show("person.html", title, context)
}

/// A team that something is in, as pages name it.
pub(super) fn linked(link: &Link) -> Value {
    context! { id => link.id.as_str(), name => link.display.as_str(), direct => link.is_direct() }
}

fn signed_in(visit: &Visit<'_>, snapshot: &Snapshot<'_>, entry: &Entry) -> Result<Vec<Value>> {
    let holder = Holder::Person(entry.stored.row);
    let sessions = sessions::of(snapshot, visit.tenant.id, &holder, visit.head.now)?;
    Ok(sessions
        .iter()
        .map(|session| {
            context! {
                id => session.id,
                address => session.address.as_str(),
                agent => session.agent.as_str(),
                method => session.method.as_str(),
                created => moment(session.created),
                last_seen => moment(session.last_seen),
                own => session.id == visit.session.id,
            }
        })
        .collect())
}

fn token(token: &Token) -> Value {
    let scopes: Vec<&str> = token.scopes.iter().map(|scope| scope.as_str()).collect();
    let scopes = match token.kind {
        TokenKind::Me if scopes.is_empty() => vec!["read, change what is harmless, at /Me"],
        TokenKind::Me => vec!["read, change and delete all of it, at /Me"],
        _ => scopes,
    };
    context! {
        id => token.id,
        label => token.label.as_str(),
        prefix => token.prefix.as_str(),
        scopes => scopes.join(", "),
        created => moment(token.created),
        expires => token.expires.map(moment),
        last_used => token.last_used.map(moment),
    }
}
