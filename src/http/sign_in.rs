//! Getting in and out: setting up, signing in by password or link, signing out, a person's own page.

use minijinja::context;

use super::html::{encoded, moment};
use super::password::{self, Known};
use super::request::Response;
use super::throttle::Key;
use super::visitor::{Flash, Visitor};
use crate::error::{Doing, Result};
use crate::manage::sessions::SignIn;
use crate::manage::{self, passwords};
use crate::scim::resource::fold;
use crate::store::accounts::Account;
use crate::store::sessions::{self, Holder, Link, Session};
use crate::store::tokens::{Secret, TokenHash};
use crate::store::{Snapshot, TenantId, passwords as passwords_of_people, people, sso, tenants};

/// Said alike of unknown accounts and people, wrong passwords, and who has none or may not sign in.
pub(super) const WRONG: &str = "There is no account with this name and password. If the password of a local account is \
                                forgotten, whoever runs the server makes a link: rollcall account sign-in-link EMAIL. \
                                Any other password comes from your organisation: ask your administrator.";

/// Said of a right password that is of no use.
const ENFORCED: &str = "Your organisation signs in through its provider alone: this account is no break-glass account. If the \
                        provider does not work, whoever runs the server makes a link: rollcall account sign-in-link EMAIL";

/// Said of a link that is used, late or mistyped.
const DEAD_LINK: &str = "This link does not work: it was used already, is older than 30 minutes, or is incomplete. \
                         Make a new one: rollcall account sign-in-link EMAIL, or restart the server for a set-up link.";

/// `/sign-in`
pub(super) fn sign_in(visitor: &Visitor<'_>) -> Result<Response> {
    let next = match visitor.is_post() {
        true => visitor.form.get("next").to_owned(),
        false => query(visitor, "next"),
    };
    let next = local(&next);
    if !visitor.is_post() {
        if let Some(session) = &visitor.session {
            return Ok(visitor.go(next.unwrap_or(home(session.opens_settings)), None));
        }
        return form(visitor, 200, next, "");
    }
    let (email, password) = (visitor.form.get("email"), visitor.form.raw("password"));
    if visitor.form.get("do") == "provider" {
        return to_provider(visitor, email, next);
    }
    if let Err(words) = slowed(visitor, email) {
        return form(visitor, 429, next, &words);
    }
    match password::known(visitor, email, password)? {
        None => {
            log::warn!(
                "{}: refused a sign-in from {}",
                visitor.head.request_id,
                visitor.head.address
            );
            form(visitor, 403, next, WRONG)
        }
        Some(Known::Account(account)) => enter(visitor, &account, next),
        Some(Known::Person(person)) => match password::enter(visitor, email, person, next)? {
            Ok(response) => Ok(response),
            Err(words) => form(visitor, 403, next, words),
        },
    }
}

/// Signs a local account in, whose password was right.
fn enter(visitor: &Visitor<'_>, account: &Account, next: Option<&str>) -> Result<Response> {
    trusted(visitor, &account.email);
    let enforced =
        (visitor.app.store).read(|snapshot| password::is_enforced(snapshot, account.tenant))?;
    if enforced && !account.break_glass {
        return form(visitor, 403, next, ENFORCED);
    }
    let past = enforced.then(|| {
        log::warn!(
            "{}: local account {} signs in past single sign-on",
            visitor.head.request_id,
            account.id
        );
        Flash::Failed("You signed in past single sign-on, which is enforced here. The log and the events say so.".to_owned())
    });
    let method = if enforced {
        "break-glass password"
    } else {
        "password"
    };
    let who = as_account(visitor, account.tenant, account.id, method);
    let response = visitor.go(next.unwrap_or("/settings"), past);
    begin(visitor, who, None, response)
}

/// The page with the form; `trouble` says why it is shown again.
fn form(visitor: &Visitor<'_>, status: u16, next: Option<&str>, trouble: &str) -> Result<Response> {
    let offers = visitor.app.store.read(|snapshot| {
        let some = sso::some_tenants(snapshot)?;
        // Where there are several organisations, who they are is nobody's business.
        let alone = match (some.as_slice(), tenants::list(snapshot)?.len()) {
            (&[tenant], 1) => Some(tenant),
            _ => None,
        };
        let alone = alone
            .map(|tenant| way(snapshot, tenant, next))
            .transpose()?;
        let people = passwords_of_people::any(snapshot)?;
        Ok(context! { way => alone.flatten(), by_email => !some.is_empty(), people => people })
    })?;
    let email = visitor.form.get("email");
    let context = context! { title => "Sign in", next => next, email => email, trouble => trouble };
    visitor.page(status, "sign_in.html", context! { ..context, ..offers })
}

/// The name of a tenant's provider, and the link that goes there.
fn way(
    snapshot: &Snapshot<'_>,
    tenant: TenantId,
    next: Option<&str>,
) -> Result<Option<minijinja::Value>> {
    let (Some(tenant), Some(connection)) = (
        tenants::by_id(snapshot, tenant)?,
        sso::read(snapshot, tenant)?,
    ) else {
        return Ok(None);
    };
    let mut link = format!("/sso/start/{}", encoded(&tenant.name));
    if let Some(next) = next {
        link += &format!("?next={}", encoded(next));
    }
    Ok(Some(context! { name => connection.name, link => link }))
}

/// On to the provider that knows an address's domain.
fn to_provider(visitor: &Visitor<'_>, email: &str, next: Option<&str>) -> Result<Response> {
    let domain = email
        .rsplit_once('@')
        .map(|(_, domain)| domain.to_lowercase());
    let found = visitor.app.store.read(|snapshot| {
        let tenants = match &domain {
            Some(domain) => sso::tenants_of_domain(snapshot, domain)?,
            None => vec![],
        };
        match tenants[..] {
            [tenant] => way(snapshot, tenant, next),
            _ => Ok(None),
        }
    })?;
    let Some(way) = found else {
        let words = "No provider is known for this address. Ask your administrator for your organisation’s sign-in link, \
                     or sign in with a local account.";
        return form(visitor, 404, next, words);
    };
    let link = way.get_attr("link").doing("reading a link")?;
    let mut response = visitor.page(
        200,
        "sign_in_way.html",
        context! { title => "Sign in", way => way },
    )?;
    // Not a redirect: browsers let a form lead nowhere else, by our pages' own policy, not even by way of us.
    response.headers.push(("Refresh", format!("0; url={link}")));
    Ok(response)
}

/// Counts a try for an account from an address; says how long to wait where there were too many.
pub(super) fn slowed(visitor: &Visitor<'_>, email: &str) -> std::result::Result<(), String> {
    let keys = [
        Key::Account(fold(email)),
        Key::address(visitor.head.address),
    ];
    visitor
        .app
        .throttle
        .attempt(&keys, visitor.head.now)
        .map_err(|wait| {
            format!(
                "There were too many tries. Wait {} seconds and try again.",
                wait.as_secs().max(1)
            )
        })
}

/// Forgets the tries for an account, and takes back what its address was counted for: this one was right.
pub(super) fn trusted(visitor: &Visitor<'_>, email: &str) {
    visitor.app.throttle.succeeded(
        &Key::Account(fold(email)),
        &Key::address(visitor.head.address),
    );
}

/// `/sign-in/link/…`: shown first, so that whatever looks at links in mails does not use it up.
pub(super) fn link(visitor: &Visitor<'_>, secret: &str) -> Result<Response> {
    let hash = TokenHash::of(secret);
    let now = visitor.head.now;
    let found = visitor.app.store.read(|snapshot| {
        let Some(Link::SignIn(tenant, holder)) = sessions::link(snapshot, &hash, now)? else {
            return Ok(None);
        };
        let name = tenants::by_id(snapshot, tenant)?.map(|tenant| tenant.name);
        Ok(name.map(|name| (tenant, holder, name)))
    })?;
    let Some((tenant, holder, name)) = found else {
        return visitor.problem(410, DEAD_LINK);
    };
    if !visitor.is_post() {
        let context = context! { title => "Sign in", tenant => name };
        return visitor.page(200, "link.html", context);
    }
    let who = match holder {
        Holder::Account(id) => as_account(visitor, tenant, id, "link"),
        Holder::Person(row) => {
            let person = visitor
                .app
                .store
                .read(|snapshot| people::by_row(snapshot, tenant, row))?;
            let Some(person) = person else {
                return visitor.problem(410, DEAD_LINK);
            };
            SignIn {
                actor: format!("person:{}", person.id),
                holder: Holder::Person(row),
                ..as_account(visitor, tenant, 0, "link")
            }
        }
    };
    begin(visitor, who, Some(hash), visitor.go("/settings", None))
}

/// `/setup/…`: makes the first tenant and the first account.
pub(super) fn set_up(visitor: &Visitor<'_>, secret: &str) -> Result<Response> {
    let hash = TokenHash::of(secret);
    let now = visitor.head.now;
    let found = visitor
        .app
        .store
        .read(|snapshot| sessions::link(snapshot, &hash, now))?;
    if found != Some(Link::SetUp) {
        return visitor.problem(410, DEAD_LINK);
    }
    let again = |trouble: &str| {
        let context = context! {
            title => "Set up rollcall",
            tenant => visitor.form.get("tenant"),
            email => visitor.form.get("email"),
            min_chars => passwords::MIN_CHARS,
            trouble => trouble,
        };
        let status = if trouble.is_empty() { 200 } else { 400 };
        visitor.page(status, "setup.html", context)
    };
    if !visitor.is_post() {
        return again("");
    }
    let wanted = manage::tenants::name(visitor.form.get("tenant"))
        .map_err(crate::error::Error::from)
        .and_then(|tenant| {
            let email = manage::accounts::email(visitor.form.get("email"))?;
            let password = manage::accounts::hashed(visitor.form.raw("password"), &email)?;
            Ok((tenant, email, password))
        });
    let (tenant, email, password) = match wanted {
        Err(crate::error::Error::Scim(refusal)) => return again(refusal.detail()),
        wanted => wanted?,
    };
    let secret = Secret::random()?;
    let visit = as_account(visitor, TenantId(0), 0, "setup");
    let made = visitor.app.store.write(now, move |tx| {
        // Used up only with what it makes, and in the same transaction.
        if !sessions::use_link(tx, &hash)? || !tenants::list(tx)?.is_empty() {
            return Ok(None);
        }
        let Some(tenant) = manage::tenants::create(tx, "setup", &tenant)? else {
            return Ok(None);
        };
        let account = manage::accounts::create(tx, tenant.id, "setup", &email, Some(&password))?;
        let who = SignIn {
            tenant: tenant.id,
            holder: Holder::Account(account.id),
            actor: format!("account:{}", account.id),
            ..visit
        };
        manage::sessions::sign_in(tx, &who, &secret)?;
        Ok(Some(secret))
    })?;
    match made {
        None => visitor.problem(410, DEAD_LINK),
        Some(secret) => {
            let words = "rollcall is set up. Next: enable provisioning.".to_owned();
            let response = visitor.go("/settings", Some(Flash::Done(words)));
            Ok(visitor.keep_secret(response, &secret))
        }
    }
}

/// `/sign-out`
pub(super) fn sign_out(visitor: &Visitor<'_>) -> Result<Response> {
    if let Some(session) = visitor.session.clone() {
        visitor.app.store.write(visitor.head.now, move |tx| {
            sessions::end(tx, session.tenant, &session.holder, session.id)
        })?;
    }
    let by_provider = visitor.session.as_ref();
    let by_provider = by_provider.filter(|session| session.method == "sso");
    let way_out = by_provider.map(|session| super::sso::way_out(visitor, session.tenant));
    if let Some((name, link)) = way_out.transpose()?.flatten() {
        let context = context! { title => "You are signed out", name => name, link => link };
        return Ok(visitor.forget(visitor.page(200, "signed_out.html", context)?));
    }
    let flash = Flash::Done("You are signed out.".to_owned());
    Ok(visitor.forget(visitor.go("/sign-in", Some(flash))))
}

/// `/me`: who is signed in, where, and their password.
pub(super) fn me(visitor: &Visitor<'_>) -> Result<Response> {
    let Some(session) = visitor.session.clone() else {
        return Ok(visitor.go("/sign-in?next=/me", None));
    };
    if visitor.is_post() {
        return change_own(visitor, session);
    }
    let now = visitor.head.now;
    visitor.app.store.read(|snapshot| {
        let person = match &session.person {
            Some(id) => people::person(snapshot, session.tenant, id)?,
            None => None,
        };
        let teams = person.as_ref().map_or(&[][..], |person| &person.teams);
        let sessions = sessions::of(snapshot, session.tenant, &session.holder, now)?;
        let sessions: Vec<_> = sessions.iter().map(|one| shown(one, session.id)).collect();
        let context = context! {
            title => "You",
            tenant => tenants::by_id(snapshot, session.tenant)?.map(|tenant| tenant.name),
            is_account => session.person.is_none(),
            has_password => password::is_own(snapshot, &session)?,
            role => person.as_ref().and_then(|person| person.role.as_deref()),
            teams => teams.iter().map(|team| team.display.clone()).collect::<Vec<_>>(),
            sessions => sessions,
            min_chars => passwords::MIN_CHARS,
        };
        visitor.page(200, "me.html", context)
    })
}

/// A session as pages show it.
pub(super) fn shown(session: &Session, current: i64) -> minijinja::Value {
    context! {
        id => session.id,
        address => session.address.as_str(),
        agent => session.agent.as_str(),
        created => moment(session.created),
        last_seen => moment(session.last_seen),
        current => session.id == current,
    }
}

fn change_own(visitor: &Visitor<'_>, session: Session) -> Result<Response> {
    let (app, now) = (visitor.app, visitor.head.now);
    let done = match visitor.form.get("do") {
        "end-others" => {
            app.store.write(now, move |tx| {
                sessions::end_all(tx, session.tenant, &session.holder, Some(session.id))
            })?;
            Flash::Done("All other sessions are signed out.".to_owned())
        }
        "password" => match password::change(visitor, session) {
            Ok(()) => Flash::Done("The password is changed.".to_owned()),
            Err(crate::error::Error::Scim(refusal)) => Flash::Failed(refusal.detail().to_owned()),
            Err(error) => return Err(error),
        },
        _ => Flash::Failed("That is nothing this page can do.".to_owned()),
    };
    Ok(visitor.go("/me", Some(done)))
}

/// Signs in with a new secret, and uses a link up in the same transaction.
fn begin(
    visitor: &Visitor<'_>,
    who: SignIn,
    link: Option<TokenHash>,
    response: Response,
) -> Result<Response> {
    let secret = Secret::random()?;
    let before = visitor.session.clone();
    let secret = visitor.app.store.write(visitor.head.now, move |tx| {
        if let Some(hash) = link
            && !sessions::use_link(tx, &hash)?
        {
            return Ok(None);
        }
        if let Some(before) = before {
            sessions::end(tx, before.tenant, &before.holder, before.id)?;
        }
        manage::sessions::sign_in(tx, &who, &secret)?;
        Ok(Some(secret))
    })?;
    match secret {
        Some(secret) => Ok(visitor.keep_secret(response, &secret)),
        None => visitor.problem(410, DEAD_LINK),
    }
}

pub(super) fn as_account(
    visitor: &Visitor<'_>,
    tenant: TenantId,
    id: i64,
    method: &'static str,
) -> SignIn {
    SignIn {
        tenant,
        holder: Holder::Account(id),
        actor: format!("account:{id}"),
        method,
        address: visitor.head.address.to_string(),
        agent: visitor.agent().to_owned(),
    }
}

/// Where somebody goes who is signed in.
pub(super) fn home(opens_settings: bool) -> &'static str {
    if opens_settings { "/settings" } else { "/me" }
}

/// `next`, if it is a page of ours that a sign-in leads to; anything else could lead elsewhere.
pub(super) fn local(next: &str) -> Option<&str> {
    let plain = next
        .bytes()
        .all(|byte| byte.is_ascii_graphic() && !b"\\\"<>".contains(&byte));
    let ours = ["/settings", "/me", "/auth/enter"].iter().any(|page| {
        next.strip_prefix(page)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with(['/', '?']))
    });
    (plain && ours).then_some(next)
}

/// The sign-in page that leads back to where the visitor is.
pub(super) fn ask(visitor: &Visitor<'_>) -> Response {
    let mut here = visitor.head.path.clone();
    if !visitor.head.query.is_empty() {
        here = format!("{here}?{}", visitor.head.query);
    }
    visitor.go(&format!("/sign-in?next={}", encoded(&here)), None)
}

/// A parameter of the query, empty where there is none.
pub(super) fn query(visitor: &Visitor<'_>, name: &str) -> String {
    let pairs = visitor.head.query_pairs().unwrap_or_default();
    let found = pairs.into_iter().find(|(known, _)| known == name);
    found.map(|(_, value)| value).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::local;

    #[test]
    fn a_sign_in_leads_to_our_own_pages_alone() {
        for good in ["/settings", "/settings/people?q=a%20b", "/me"] {
            assert_eq!(local(good), Some(good));
        }
        for bad in [
            "",
            "/",
            "//evil.example",
            "/\\evil.example",
            "https://evil.example",
            "/settings\\..\\evil",
            "/settingsevil",
            "/settings\r\nX: y",
            "/me@evil.example",
            "/sign-out",
            "javascript:alert(1)",
        ] {
            assert_eq!(local(bad), None, "{bad:?}");
        }
    }
}
