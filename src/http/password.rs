//! Names and passwords: whose they are, signing people in by them, changing one's own.
//!
//! People are those of the directory whom a client has given a password, where their tenant lets them sign in by it and
//! single sign-on isn't enforced. Local accounts are tried first.

use super::request::Response;
use super::sign_in::{self, WRONG, slowed, trusted};
use super::visitor::Visitor;
use crate::error::Result;
use crate::manage::sessions::SignIn;
use crate::manage::{self, passwords};
use crate::scim::ScimError;
use crate::scim::resource;
use crate::scim::schema::Kind;
use crate::store::accounts::{self, Account};
use crate::store::passwords::{self as stored, Candidate};
use crate::store::sessions::{self, Holder, Session};
use crate::store::tokens::{Secret, TokenHash};
use crate::store::{Snapshot, TenantId, resources, settings, sso};

/// Said of a person's right password that is of no use.
const ENFORCED: &str = "Your organisation signs in through its provider alone. Continue with the provider, or ask your \
                        administrator for your organisation’s sign-in link.";

/// Whose name and password they are.
pub(super) enum Known {
    Account(Account),
    Person(Candidate),
}

/// Whose they are; `None`: nobody's. It takes as long to say so where nobody has the name.
pub(super) fn known(visitor: &Visitor<'_>, name: &str, password: &str) -> Result<Option<Known>> {
    let (account, people) = visitor.app.store.read(|snapshot| {
        Ok((
            accounts::by_email(snapshot, name)?,
            stored::candidates(snapshot, name)?,
        ))
    })?;
    let hash = account.as_ref().and_then(|it| it.password.as_deref());
    if (hash.is_some() || people.is_empty()) && passwords::verify(password, hash)? {
        return Ok(account.map(Known::Account));
    }
    for person in people {
        if passwords::verify(password, Some(&person.hash))? {
            return Ok(Some(Known::Person(person)));
        }
    }
    Ok(None)
}

/// Whether a tenant's people sign in through its provider alone.
pub(super) fn is_enforced(snapshot: &Snapshot<'_>, tenant: TenantId) -> Result<bool> {
    Ok(sso::read(snapshot, tenant)?.is_some_and(|connection| connection.is_enforced()))
}

/// Signs a person in, whose password was right; `Err` has the words for why not.
pub(super) fn enter(
    visitor: &Visitor<'_>,
    name: &str,
    person: Candidate,
    next: Option<&str>,
) -> Result<std::result::Result<Response, &'static str>> {
    trusted(visitor, name);
    let who = SignIn {
        tenant: person.tenant,
        holder: Holder::Person(person.row),
        actor: format!("person:{}", person.id),
        ..sign_in::as_account(visitor, person.tenant, 0, "password")
    };
    let secret = Secret::random()?;
    let before = visitor.session.clone();
    let name = name.to_owned();
    let now = visitor.head.now;
    let entered = visitor.app.store.write(now, move |tx| {
        if is_enforced(tx, person.tenant)? {
            return Ok(Err(ENFORCED));
        }
        // It may not be theirs any more since it was compared.
        if !stored::candidates(tx, &name)?.contains(&person) {
            return Ok(Err(WRONG));
        }
        if let Some(before) = before {
            sessions::end(tx, before.tenant, &before.holder, before.id)?;
        }
        manage::sessions::sign_in(tx, &who, &secret)?;
        let session = sessions::by_hash(tx, &TokenHash::of(secret.reveal()), now)?;
        Ok(Ok((secret, session.is_some_and(|it| it.opens_settings))))
    })?;
    Ok(entered.map(|(secret, opens_settings)| {
        let to = next.unwrap_or(sign_in::home(opens_settings));
        visitor.keep_secret(visitor.go(to, None), &secret)
    }))
}

/// Whether a password is who is signed in's own to change: a local account's, or a person's who may sign in by it.
pub(super) fn is_own(snapshot: &Snapshot<'_>, session: &Session) -> Result<bool> {
    let Holder::Person(row) = session.holder else {
        return Ok(true);
    };
    Ok(settings::read(snapshot, session.tenant)?.password_sign_in
        && !is_enforced(snapshot, session.tenant)?
        && stored::get(snapshot, session.tenant, row)?.is_some())
}

/// Changes the password of who is signed in, by the form on `/me`.
///
/// Errors: 400 that says what is wrong with it.
pub(super) fn change(visitor: &Visitor<'_>, session: Session) -> Result<()> {
    match session.holder {
        Holder::Account(id) => change_of_account(visitor, &session, id),
        Holder::Person(row) => change_of_person(visitor, &session, row),
    }
}

fn change_of_person(visitor: &Visitor<'_>, session: &Session, row: i64) -> Result<()> {
    let (app, now, tenant, own) = (visitor.app, visitor.head.now, session.tenant, session.id);
    let found = app.store.read(|snapshot| {
        if !is_own(snapshot, session)? {
            return Ok(None);
        }
        let person = resources::by_row(snapshot, tenant, row)?;
        Ok(person.zip(stored::get(snapshot, tenant, row)?))
    })?;
    let Some((person, hash)) = found else {
        return Err(ScimError::invalid_value("Your password is your provider’s.").into());
    };
    let name = resource::name_of(&person.document, Kind::User.resource_type());
    show_old(visitor, name, &hash)?;
    let new = manage::accounts::hashed(visitor.form.raw("new"), name)?;
    let actor = session.actor();
    app.store.write(now, move |tx| {
        let is_as_it_was = stored::get(tx, tenant, row)?.as_ref() == Some(&hash);
        let Some(person) = resources::by_row(tx, tenant, row)?.filter(|_| is_as_it_was) else {
            let words = "The password was changed elsewhere meanwhile; try again.";
            return Err(ScimError::conflict(words).into());
        };
        passwords::set(tx, tenant, &actor, &person, Some(&new), Some(own))?;
        resources::update(tx, tenant, &person, person.document.clone())?;
        Ok(())
    })
}

/// Refuses who doesn't know the old password.
fn show_old(visitor: &Visitor<'_>, name: &str, hash: &str) -> Result<()> {
    slowed(visitor, name).map_err(ScimError::invalid_value)?;
    if !passwords::verify(visitor.form.raw("old"), Some(hash))? {
        return Err(ScimError::invalid_value("The old password is wrong; try again.").into());
    }
    trusted(visitor, name);
    Ok(())
}

fn change_of_account(visitor: &Visitor<'_>, session: &Session, id: i64) -> Result<()> {
    let (app, now, own) = (visitor.app, visitor.head.now, session.id);
    let account = app
        .store
        .read(|snapshot| accounts::get(snapshot, session.tenant, id))?
        .ok_or_else(|| ScimError::not_found("This account is gone."))?;
    // Who came by a link has shown enough, and may have forgotten the old one.
    let age = now.duration_since(session.created);
    let is_recent = age < jiff::SignedDuration::from_mins(10);
    let by_link = session.method == "link" && is_recent;
    match &account.password {
        None if !is_recent => {
            return Err(ScimError::invalid_value(
                "You signed in more than 10 minutes ago, and there is no old password to show that it is you. Sign in by a \
                 new link, then set the password: rollcall account sign-in-link EMAIL",
            )
            .into());
        }
        Some(hash) if !by_link => show_old(visitor, &account.email, hash)?,
        _ => {}
    }
    let password = manage::accounts::hashed(visitor.form.raw("new"), &account.email)?;
    app.store.write(now, move |tx| {
        let actor = format!("account:{id}");
        manage::accounts::set_password(tx, &actor, &account, Some(&password), Some(own))
    })
}
