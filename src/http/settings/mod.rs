//! The settings pages: forms in, HTML out. One file for each page; what they change is done by `manage`.
//!
//! A page is for who is signed in and may open the settings, and shows and changes that one's own tenant alone: the
//! tenant comes from the session and from nowhere else.

mod accounts;
mod apps;
mod archived;
mod attributes;
mod backup;
mod checklist;
mod danger;
mod declared;
mod events;
mod exchange;
mod history;
mod hosts;
mod listing;
mod log;
mod overview;
mod people;
mod person;
mod provisioning;
mod roles;
mod sso;
mod team;
mod teams;
mod tokens;
mod undo;

use std::ops::Deref;

use minijinja::context;
use minijinja::value::Value;

use super::App;
use super::html::encoded;
use super::request::{Body, Request, Response};
use super::route::Settings;
use super::sign_in;
use super::visitor::{Flash, Visitor};
use crate::error::{Error, Result};
use crate::manage::passwords;
use crate::store::sessions::{self, Holder, Session};
use crate::store::tenants::{self, Tenant};
use crate::store::{Snapshot, Tx, accounts as stored_accounts};

/// For how long after it was said who it is dangerous actions need not ask again, in milliseconds.
const CONFIRMED_FOR: i64 = 10 * 60 * 1000;

/// Somebody who may open the settings, at one of their pages.
struct Visit<'a> {
    visitor: Visitor<'a>,
    session: Session,
    tenant: Tenant,
}

impl<'a> Deref for Visit<'a> {
    type Target = Visitor<'a>;

    fn deref(&self) -> &Visitor<'a> {
        &self.visitor
    }
}

/// Answers a request for a settings page.
pub(super) fn answer(app: &App, request: &Request, page: &Settings) -> Response {
    let visitor = match Visitor::of(app, request) {
        Ok(visitor) => visitor,
        Err(response) => return super::pages::or_log(response, &request.head),
    };
    let Some(session) = visitor.session.clone() else {
        return sign_in::ask(&visitor);
    };
    if !session.opens_settings {
        let words = "Your role does not open the settings. Whoever manages roles can change that, or give you another one.";
        return super::pages::or_log(visitor.problem(403, words), &request.head);
    }
    let tenant = app
        .store
        .read(|snapshot| tenants::by_id(snapshot, session.tenant));
    let tenant = match tenant {
        Ok(Some(tenant)) => tenant,
        Ok(None) => return sign_in::ask(&visitor),
        Err(error) => return visitor.failure(error),
    };
    let visit = Visit {
        visitor,
        session,
        tenant,
    };
    serve(&visit, page).unwrap_or_else(|error| visit.failure(error))
}

fn serve(visit: &Visit<'_>, page: &Settings) -> Result<Response> {
    match page {
        Settings::Overview => overview::answer(visit),
        Settings::Sso => sso::answer(visit),
        Settings::SsoConnect => sso::connect(visit),
        Settings::SsoConsent => sso::consent(visit),
        Settings::Provisioning => provisioning::answer(visit),
        Settings::Roles => roles::answer(visit),
        Settings::Teams => teams::answer(visit),
        Settings::Team(id) => team::answer(visit, id),
        Settings::TeamDownload(id) => team::download(visit, id),
        Settings::People => people::answer(visit),
        Settings::Person(id) => person::answer(visit, id),
        Settings::Log => log::answer(visit),
        Settings::LogDownload => log::download(visit),
        Settings::Exchange(seq) => exchange::answer(visit, seq),
        Settings::Undo => undo::answer(visit),
        Settings::Events => events::answer(visit),
        Settings::Apps => apps::answer(visit),
        Settings::Hosts => hosts::answer(visit),
        Settings::Accounts => accounts::answer(visit),
        Settings::Backup => backup::answer(visit),
        Settings::BackupFile(name) => backup::file(visit, name),
        Settings::Danger => danger::answer(visit),
        _ => visit.problem(404, "There is no page at this address."),
    }
}

/// An answer that a browser keeps as a file of this name.
fn attachment(content_type: &str, name: &str, body: Body) -> Response {
    // Both forms are made of letters, digits and a few signs alone (RFC 6266 §5): a name can't end the header.
    let plain: String = name
        .chars()
        .map(|c| match c {
            '.' | '_' => c,
            c if c.is_ascii_alphanumeric() => c,
            _ => '-',
        })
        .collect();
    let full = encoded(name);
    let disposition = format!("attachment; filename=\"{plain}\"; filename*=UTF-8''{full}");
    let headers = [
        ("Content-Type", content_type),
        ("Content-Disposition", &disposition),
        ("X-Content-Type-Options", "nosniff"),
        ("Cache-Control", "no-store"),
    ];
    Response {
        status: 200,
        headers: headers
            .map(|(name, value)| (name, value.to_owned()))
            .to_vec(),
        body,
    }
}

impl Visit<'_> {
    /// As events name who did it.
    fn actor(&self) -> String {
        self.session.actor()
    }

    /// A settings page: `context`, and what every one of them has.
    fn show(&self, template: &str, title: &str, context: Value) -> Result<Response> {
        let common = context! { title => title, tenant => self.tenant.name.as_str() };
        self.page(200, template, context! { ..context, ..common })
    }

    /// One snapshot of the store.
    fn look<T>(&self, look: impl FnOnce(&Snapshot<'_>) -> Result<T>) -> Result<T> {
        self.app.store.read(look)
    }

    /// One change of the store. The closure is given the actor.
    fn change<T: Send + 'static>(
        &self,
        change: impl FnOnce(&Tx<'_>, &str) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let actor = self.actor();
        self.app
            .store
            .write(self.head.now, move |tx| change(tx, &actor))
    }

    /// On to `to`, saying `words` if it worked, else the refusal's own words.
    fn then<T>(
        &self,
        outcome: Result<T>,
        to: &str,
        words: impl FnOnce(T) -> String,
    ) -> Result<Response> {
        let flash = match outcome {
            Ok(done) => Flash::Done(words(done)),
            Err(Error::Scim(refusal)) => Flash::Failed(refusal.detail().to_owned()),
            Err(error) => return Err(error),
        };
        Ok(self.go(to, Some(flash)))
    }

    /// A parameter of the query, empty where there is none.
    fn query(&self, name: &str) -> String {
        let pairs = self.head.query_pairs().unwrap_or_default();
        let found = pairs.into_iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value).unwrap_or_default()
    }

    /// `None` where a dangerous action may go on: it was said within 10 minutes who it is, or the password came with the
    /// form. Else the page that asks for it and then sends the same form again.
    fn asks(&self) -> Result<Option<Response>> {
        let age = self.head.now.as_millisecond() - self.session.authenticated.as_millisecond();
        if age < CONFIRMED_FOR {
            return Ok(None);
        }
        let Holder::Account(id) = self.session.holder else {
            let words =
                "You signed in more than 10 minutes ago. Sign out, sign in again, and repeat this.";
            return Ok(Some(self.problem(403, words)?));
        };
        let account = self.look(|snapshot| stored_accounts::get(snapshot, self.tenant.id, id))?;
        let password = self.form.raw("confirm_password");
        let mut trouble = String::new();
        if account
            .as_ref()
            .is_some_and(|account| account.password.is_none())
        {
            "You have no password yet. Sign in by a new link (rollcall account sign-in-link EMAIL), set one on the page \
             /me, then repeat this."
                .clone_into(&mut trouble);
        } else if !password.is_empty() {
            let email = account
                .as_ref()
                .map_or("", |account| account.email.as_str());
            let stored = account
                .as_ref()
                .and_then(|account| account.password.as_deref());
            match sign_in::slowed(self, email) {
                Err(words) => trouble = words,
                Ok(()) if passwords::verify(password, stored)? => {
                    sign_in::trusted(self, email);
                    let (tenant, id) = (self.tenant.id, self.session.id);
                    self.change(move |tx, _| sessions::authenticated(tx, tenant, id))?;
                    return Ok(None);
                }
                Ok(()) => "The password is wrong; try again.".clone_into(&mut trouble),
            }
        }
        let again: Vec<_> = self
            .form
            .fields()
            .filter(|(name, _)| !["csrf", "confirm_password"].contains(name))
            .map(|(name, value)| match name {
                // No page shows a secret; the one that gets this form asks for it once more.
                "client_secret" if !value.is_empty() => ("client_secret_left_out", "yes"),
                _ => (name, value),
            })
            .map(|(name, value)| Value::from(vec![name.to_owned(), value.to_owned()]))
            .collect();
        let context = context! { again => again, trouble => trouble };
        self.show("confirm.html", "Confirm that it is you", context)
            .map(Some)
    }
}
