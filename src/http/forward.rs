//! Forward auth: the proxy in front of an app asks here, for each request, who somebody is (nginx `auth_request`, Caddy
//! `forward_auth`, Traefik ForwardAuth).
//!
//! An app's host is another one than ours, and our cookie never goes there. So the proxy hands `/.rollcall/` of the app's
//! host over to us, too: `begin` gives the browser a cookie of that host and sends it to our own, where somebody signs in;
//! from there it comes back with a ticket that works once, for that cookie alone, and gets another one. What a cookie
//! opens is read anew at each request, so deactivation shuts the door at the next one.

use super::App;
use super::html::encoded;
use super::pages::plain;
use super::request::{Head, Request, Response};
use super::sign_in;
use super::visitor::{self, Visitor};
use crate::error::Result;
use crate::manage;
use crate::store::app_hosts::{self, AppHost};
use crate::store::people::{self, Person};
use crate::store::sessions::{self, Holder};
use crate::store::tokens::{Secret, TokenHash};
use crate::store::{Snapshot, TenantId};

const CLOSED: &str = "Nobody is let in to this host: it is not one of the apps in the settings.\n";

/// `/auth/forward`: 200 with who it is, 401 where nobody is signed in (a redirect for browsers, unless the query says
/// `redirect=no`), 403 where they may not.
pub(super) fn forward(app: &App, head: &Head) -> Response {
    let answer = app.store.read(|snapshot| {
        let Some(host) = app_hosts::find(snapshot, host(&head.origin))? else {
            return Ok(plain(403, CLOSED));
        };
        match who(snapshot, head, &host)? {
            Some((_, _, person)) if !may(snapshot, &host, &person)? => Ok(plain(
                403,
                "Your role or your teams do not open this app.\n",
            )),
            Some((_, _, person)) => Ok(told(&person)),
            None => Ok(asked(head)),
        }
    });
    let answer = answer.and_then(|answer| note(app, head).map(|()| answer));
    super::pages::or_log(answer, head)
}

/// Notes once a minute that the session is used.
fn note(app: &App, head: &Head) -> Result<()> {
    let used = app.store.read(|snapshot| {
        let cookie = visitor::app_cookie(head).map(TokenHash::of);
        match cookie {
            Some(cookie) => app_hosts::session(snapshot, host(&head.origin), &cookie, head.now),
            None => Ok(None),
        }
    })?;
    if let Some(session) = used.filter(|session| visitor::is_to_be_noted(session, head.now)) {
        app.note(head, move |tx| {
            sessions::seen(tx, session.tenant, session.id)
        });
    }
    Ok(())
}

/// The person whose cookie came to this host.
fn who(
    snapshot: &Snapshot<'_>,
    head: &Head,
    host: &AppHost,
) -> Result<Option<(TenantId, i64, Person)>> {
    let Some(cookie) = visitor::app_cookie(head) else {
        return Ok(None);
    };
    let cookie = TokenHash::of(cookie);
    let Some(session) = app_hosts::session(snapshot, &host.host, &cookie, head.now)? else {
        return Ok(None);
    };
    let Holder::Person(row) = session.holder else {
        return Ok(None);
    };
    let person = people::by_row(snapshot, session.tenant, row)?;
    Ok(person
        .filter(|_| session.tenant == host.tenant)
        .map(|person| (session.tenant, session.id, person)))
}

fn may(snapshot: &Snapshot<'_>, host: &AppHost, person: &Person) -> Result<bool> {
    manage::app_hosts::may_open(snapshot, host.tenant, host, person)
}

/// Who it is, as headers that the proxy hands on to the app.
fn told(person: &Person) -> Response {
    let text = |name: &str| {
        let text = person.document.get(name).and_then(|value| value.as_str());
        text.unwrap_or_default().to_owned()
    };
    // A comma separates teams, so none may have one in its name.
    let teams = person
        .teams
        .iter()
        .map(|team| team.display.replace(',', " "));
    let mut response = plain(200, "");
    response.headers.extend([
        ("Cache-Control", "no-store".to_owned()),
        ("Remote-User", text("userName")),
        ("Remote-Name", text("displayName")),
        (
            "Remote-Email",
            person.email().unwrap_or_default().to_owned(),
        ),
        ("Remote-Groups", teams.collect::<Vec<_>>().join(",")),
        ("Remote-Role", person.role.clone().unwrap_or_default()),
    ]);
    response
}

/// Nobody is signed in: on to where that begins, for who can go there.
fn asked(head: &Head) -> Response {
    let path = head.header("x-forwarded-uri").unwrap_or("/");
    let begin = format!("/.rollcall/begin?to={}", encoded(path));
    let shows_pages = head
        .header("accept")
        .is_some_and(|accept| accept.contains("text/html"));
    let redirects = shows_pages && !head.query.contains("redirect=no");
    let mut response = plain(if redirects { 302 } else { 401 }, "Nobody is signed in.\n");
    response.headers.extend([
        ("Location", format!("{}{begin}", head.origin)),
        ("Cache-Control", "no-store".to_owned()),
    ]);
    response
}

/// `/.rollcall/begin` of an app's host: to our own, where people sign in.
pub(super) fn begin(app: &App, head: &Head) -> Response {
    let Some(own) = &app.public_url else {
        return plain(
            500,
            "rollcall does not know its own address: start it with --public-url.\n",
        );
    };
    // nginx can't escape the address that was asked for: then all that follows is that.
    let bare = head
        .query
        .strip_prefix("to=")
        .filter(|to| to.starts_with('/'));
    let to = bare.map_or_else(|| to(head), local);
    let Ok(secret) = Secret::random() else {
        return plain(500, "No random bits could be drawn.\n");
    };
    let browser = hex(&TokenHash::of(secret.reveal()));
    let to = encoded(&format!("{}{to}", head.origin));
    let mut response = sent(&format!("{own}/auth/enter?browser={browser}&to={to}"));
    response
        .headers
        .push(visitor::keep_app(head, secret.reveal()));
    response
}

/// `/auth/enter` of our own host: with a ticket back to the app, for who is signed in and may open it.
pub(super) fn enter(visitor: &Visitor<'_>) -> Result<Response> {
    let to = sign_in::query(visitor, "to");
    let Some(origin) = origin(&to) else {
        return visitor.problem(400, "This link is incomplete. Open the app again.");
    };
    let Some(browser) = unhex(&sign_in::query(visitor, "browser")) else {
        return visitor.problem(400, "This link is incomplete. Open the app again.");
    };
    let name = host(origin).to_owned();
    let Some(session) = visitor.session.clone() else {
        return Ok(sign_in::ask(visitor));
    };
    let allowed = visitor.app.store.read(|snapshot| {
        let Some(host) = app_hosts::find(snapshot, &name)? else {
            return Ok(false);
        };
        let Holder::Person(row) = session.holder else {
            return Ok(false);
        };
        match people::by_row(snapshot, session.tenant, row)? {
            Some(person) => manage::app_hosts::may_open(snapshot, session.tenant, &host, &person),
            None => Ok(false),
        }
    })?;
    if !allowed {
        let words = "This app is not open to you: your organisation has not named it, or your role or your teams do not \
                     open it. Local accounts open the settings alone. Ask an administrator.";
        return visitor.problem(403, words);
    }
    let ticket = Secret::random()?;
    let hash = TokenHash::of(ticket.reveal());
    let whose = (session.tenant, session.id);
    visitor.app.store.write(visitor.head.now, move |tx| {
        app_hosts::create_ticket(tx, whose, &name, &hash, &browser)
    })?;
    let path = encoded(&to[origin.len()..]);
    Ok(sent(&format!(
        "{origin}/.rollcall/enter?ticket={}&to={path}",
        ticket.reveal()
    )))
}

/// `/.rollcall/enter` of an app's host: a cookie for the ticket.
pub(super) fn back(app: &App, head: &Head) -> Response {
    let pairs = head.query_pairs().unwrap_or_default();
    let ticket = pairs.iter().find(|(name, _)| name == "ticket");
    let ticket = TokenHash::of(ticket.map_or("", |(_, ticket)| ticket.as_str()));
    let browser = TokenHash::of(visitor::app_cookie(head).unwrap_or_default());
    let name = host(&head.origin).to_owned();
    let used = Secret::random().and_then(|secret| {
        let cookie = TokenHash::of(secret.reveal());
        let used = app.store.write(head.now, move |tx| {
            app_hosts::use_ticket(tx, &name, (&ticket, &browser), &cookie)
        })?;
        Ok(used.then_some(secret))
    });
    let answer = used.map(|used| match used {
        Some(secret) => {
            let mut response = sent(&to(head));
            response.headers.push(visitor::keep_app(head, secret.reveal()));
            response
        }
        None => plain(
            400,
            "This link was used already, is older than a minute, or is another browser's. Open the app again.\n",
        ),
    });
    super::pages::or_log(answer, head)
}

/// The path that the query names, of this host alone.
fn to(head: &Head) -> String {
    let pairs = head.query_pairs().unwrap_or_default();
    let path = pairs.into_iter().find(|(name, _)| name == "to");
    local(&path.map(|(_, path)| path).unwrap_or_default())
}

/// The path, if browsers take it for one of the same host; else `/`.
fn local(path: &str) -> String {
    let plain = path
        .bytes()
        .all(|byte| byte.is_ascii_graphic() && byte != b'\\');
    let local = path.starts_with('/') && !path.starts_with("//");
    let path = if plain && local { path } else { "/" };
    path.to_owned()
}

/// Scheme and host of an address whose host can be nothing else.
fn origin(to: &str) -> Option<&str> {
    let scheme = ["https://", "http://"]
        .into_iter()
        .find(|scheme| to.starts_with(scheme))?;
    let rest = &to[scheme.len()..];
    let end = rest.find('/')?;
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._:[]".contains(&byte);
    let graphic = to.bytes().all(|byte| byte.is_ascii_graphic());
    (end > 0 && rest[..end].bytes().all(plain) && graphic).then(|| &to[..scheme.len() + end])
}

/// The host of an origin.
fn host(origin: &str) -> &str {
    origin.split_once("://").map_or(origin, |(_, host)| host)
}

fn sent(to: &str) -> Response {
    Response {
        status: 303,
        headers: vec![
            ("Location", to.to_owned()),
            ("Cache-Control", "no-store".to_owned()),
        ],
        body: vec![].into(),
    }
}

fn hex(hash: &TokenHash) -> String {
    hash.0.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Option<TokenHash> {
    let digits = text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let mut bytes = [0; 32];
    for (at, byte) in bytes.iter_mut().enumerate() {
        let pair = text.get(2 * at..2 * at + 2).filter(|_| digits)?;
        *byte = u8::from_str_radix(pair, 16).ok()?;
    }
    Some(TokenHash(bytes))
}

/// Answers GET alone.
pub(super) fn get(request: &Request, answer: impl FnOnce(&Head) -> Response) -> Response {
    match request.head.method.as_str() {
        "GET" => answer(&request.head),
        _ => plain(405, "This address can only be read.\n"),
    }
}

#[cfg(test)]
mod tests {
    use super::origin;

    #[test]
    fn an_origin_is_a_host_and_nothing_else() {
        assert_eq!(origin("https://a.example/b?c"), Some("https://a.example"));
        assert_eq!(origin("http://127.0.0.1:1/"), Some("http://127.0.0.1:1"));
        for bad in [
            "",
            "https://a.example",
            "https:///b",
            "https://a@b/",
            "https://a\\b/",
            "//a/",
            "javascript://a/",
            "https://a.example/ b",
            "https://a%2eb/",
        ] {
            assert_eq!(origin(bad), None, "{bad}");
        }
    }
}
