//! Accounts: local ways in, and the sessions of whoever is signed in by them.

use minijinja::context;

use super::Visit;
use crate::error::Result;
use crate::http::html::moment;
use crate::http::request::Response;
use crate::manage;
use crate::scim::ScimError;
use crate::store::accounts::{self, Account};
use crate::store::sessions::{self, Holder};
use crate::store::tokens::{Secret, TokenHash};
use crate::store::{TenantId, Tx, settings, sso};

const HERE: &str = "/settings/accounts";

/// `/settings/accounts`
pub(super) fn answer(visit: &Visit<'_>) -> Result<Response> {
    if !visit.is_post() {
        return show(visit, None);
    }
    if let Some(ask) = visit.asks()? {
        return Ok(ask);
    }
    let tenant = visit.tenant.id;
    let id = visit.form.get("id").parse().unwrap_or_default();
    match visit.form.get("do") {
        "create" => create(visit),
        "link" => link(visit, id),
        "people" => people(visit),
        "end" => {
            let ended = visit.change(move |tx, _| {
                let account = found(tx, tenant, id)?;
                let holder = Holder::Account(account.id);
                sessions::end_all(tx, tenant, &holder, None)?;
                Ok(account.email)
            });
            visit.then(ended, HERE, |email| {
                format!("All sessions of {email} are ended.")
            })
        }
        deed @ ("exempt" | "unexempt") => {
            let exempt = deed == "exempt";
            let changed = visit.change(move |tx, actor| {
                let account = found(tx, tenant, id)?;
                manage::accounts::set_break_glass(tx, actor, &account, exempt)?;
                Ok(account.email)
            });
            visit.then(changed, HERE, |email| match exempt {
                true => {
                    format!("The password of {email} works also where single sign-on is enforced.")
                }
                false => format!(
                    "The password of {email} works only where single sign-on is not enforced."
                ),
            })
        }
        "remove" => {
            let own = visit.session.holder == Holder::Account(id);
            let removed = visit.change(move |tx, actor| {
                if own {
                    return Err(ScimError::invalid_value(
                        "This is the account you are signed in with; another one has to remove it.",
                    )
                    .into());
                }
                let account = found(tx, tenant, id)?;
                manage::accounts::remove(tx, actor, &account)?;
                Ok(account.email)
            });
            visit.then(removed, HERE, |email| {
                format!("The account {email} is removed.")
            })
        }
        _ => visit.problem(400, "That is nothing this page can do."),
    }
}

/// The page; `link` is one that was just made, with whose it is.
fn show(visit: &Visit<'_>, link: Option<(String, String)>) -> Result<Response> {
    let now = visit.head.now;
    let tenant = visit.tenant.id;
    let (rows, settings, enforced) = visit.look(|snapshot| {
        let mut rows = vec![];
        for account in accounts::list(snapshot, tenant)? {
            let holder = Holder::Account(account.id);
            let sessions = sessions::of(snapshot, tenant, &holder, now)?;
            rows.push(context! {
                id => account.id,
                email => account.email,
                has_password => account.password.is_some(),
                created => moment(account.created),
                last_sign_in => account.last_sign_in.map(moment),
                sessions => sessions.len(),
                break_glass => account.break_glass,
                own => visit.session.holder == holder,
            });
        }
        let connection = sso::read(snapshot, tenant)?;
        let enforced = connection.is_some_and(|it| it.is_enforced());
        Ok((rows, settings::read(snapshot, tenant)?, enforced))
    })?;
    let (link, link_for) = link.unzip();
    let context = context! {
        accounts => rows,
        link => link,
        link_for => link_for,
        password_sign_in => settings.password_sign_in,
        enforced => enforced,
    };
    visit.show("accounts.html", "Accounts", context)
}

/// Whether people may sign in by a password.
fn people(visit: &Visit<'_>) -> Result<Response> {
    let tenant = visit.tenant.id;
    let wanted = visit.form.get("password_sign_in") == "on";
    let saved = visit.change(move |tx, actor| {
        let mut all = settings::read(tx, tenant)?;
        all.password_sign_in = wanted;
        manage::settings::set(tx, tenant, actor, &all)
    });
    visit.then(saved, HERE, |()| match wanted {
        true => {
            "People may sign in by userName and the password that their provider pushed.".to_owned()
        }
        false => "People sign in through the provider alone.".to_owned(),
    })
}

fn create(visit: &Visit<'_>) -> Result<Response> {
    let tenant = visit.tenant.id;
    let email = visit.form.get("email").to_owned();
    let made = visit.change(move |tx, actor| {
        let email = manage::accounts::email(&email)?;
        manage::accounts::create(tx, tenant, actor, &email, None)
    });
    match made {
        Ok(account) => link(visit, account.id),
        refused => visit.then(refused, HERE, |account| account.email),
    }
}

/// Makes a link that signs in once, and shows it on the page, this once.
fn link(visit: &Visit<'_>, id: i64) -> Result<Response> {
    let tenant = visit.tenant.id;
    let secret = Secret::random()?;
    let made = visit.change(move |tx, actor| {
        let account = found(tx, tenant, id)?;
        manage::accounts::make_link(tx, actor, &account, &TokenHash::of(secret.reveal()))?;
        Ok((secret, account.email))
    });
    match made {
        Ok((secret, email)) => {
            let origin = visit.app.origin(visit.head);
            let url = format!("{origin}/sign-in/link/{}", secret.reveal());
            show(visit, Some((url, email)))
        }
        refused => visit.then(refused, HERE, |_| String::new()),
    }
}

fn found(tx: &Tx<'_>, tenant: TenantId, id: i64) -> Result<Account> {
    accounts::get(tx, tenant, id)?
        .ok_or_else(|| ScimError::not_found("This account is gone already.").into())
}
