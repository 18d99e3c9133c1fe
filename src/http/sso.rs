//! Signing in through a tenant's provider: there, and back.
//!
//! What comes back is worth nothing by itself. It counts only from the browser that was sent there (its cookie), once,
//! within ten minutes, and with an ID token that passes every check of [`claims`](crate::sso::claims).

use std::net::IpAddr;

use super::form::Form;
use super::rate::Rate;
use super::register::subscriber;
use super::request::{Request, Response};
use super::sign_in;
use super::visitor::{Flash, Visitor};
use super::{App, consent, pages};
use crate::error::Result;
use crate::manage;
use crate::manage::linking::{self, Denied};
use crate::manage::operator_app::{self, Bound};
use crate::manage::sessions::SignIn;
use crate::sso::claims::{Claims, Directory, Expected, Logout};
use crate::sso::fetch::{Redemption, Trouble};
use crate::sso::{oidc, words};
use crate::store::attempts::{self, Attempt};
use crate::store::sessions::{self, Holder, Session};
use crate::store::sso::{self, Connection, Provider};
use crate::store::tenants;
use crate::store::tokens::{Secret, TokenHash};
use crate::store::{TenantId, Tx};

/// Said of what no browser of ours begun, or not this one, or not lately.
const NOT_BEGUN: &str = "This sign-in was begun in another browser, was used already, or is older than ten minutes. Nothing \
                         happened; sign in again. Cookies have to be allowed.";

/// Said where the connection was changed while somebody was away.
pub(super) const CHANGED: &str =
    "The connection to the provider was changed meanwhile. Sign in again.";

/// Where somebody is sent and comes back to.
const CALLBACK: &str = "/sso/callback";

/// How often an address may set out for a provider. Each time leaves a row behind for ten minutes, and asks a provider
/// that doesn't answer; but a whole office comes from one address in the morning.
pub fn departures() -> Rate<IpAddr> {
    Rate::new(5, 300)
}

/// `/sso/start/…`: to the provider of a tenant.
pub(super) fn start(visitor: &Visitor<'_>, tenant: &str) -> Result<Response> {
    let head = visitor.head;
    let address = subscriber(head.address);
    if let Err(refused) = visitor.app.departures.take(address, head.started) {
        if refused.is_worth_a_line {
            log::warn!("{}: {address} begins too many sign-ins", head.request_id);
        }
        let words = "Too many sign-ins are begun from your network just now. Wait a few seconds and try again.";
        let mut response = visitor.problem(429, words)?;
        response.headers.push(("Retry-After", "1".to_owned()));
        return Ok(response);
    }
    let found = visitor.app.store.read(|snapshot| {
        let Some(tenant) = tenants::by_name(snapshot, tenant)? else {
            return Ok(None);
        };
        let connection = sso::read(snapshot, tenant.id)?;
        Ok(connection.map(|connection| (tenant.id, connection)))
    })?;
    match found {
        Some((tenant, connection)) if connection.signs_in() => {
            let next = sign_in::query(visitor, "next");
            let next = sign_in::local(&next).map(str::to_owned);
            leave(visitor, tenant, &connection, None, next)
        }
        _ => visitor.problem(
            404,
            "No organisation of this name signs in through a provider. Check the address, or sign in with a local account.",
        ),
    }
}

/// Sends the browser to the provider. With `session` it is to prove the connection and not to sign in.
pub(super) fn leave(
    visitor: &Visitor<'_>,
    tenant: TenantId,
    connection: &Connection,
    session: Option<i64>,
    next: Option<String>,
) -> Result<Response> {
    let (app, head) = (visitor.app, visitor.head);
    let expected = expected(connection, "");
    let metadata = match app.providers.metadata(&expected, head.now) {
        Ok(metadata) => metadata,
        Err(trouble) => return troubled(visitor, connection, session, &trouble),
    };
    let made = oidc::Attempt::random()?;
    let attempt = Attempt {
        tenant,
        issuer: connection.issuer.clone(),
        client_id: connection.client_id.clone(),
        nonce: made.nonce.clone(),
        verifier: made.verifier.clone(),
        session,
        next,
    };
    let (state, browser) = (TokenHash::of(&made.state), visitor.browser());
    app.store.write(head.now, move |tx| {
        attempts::keep(tx, &state, &browser, &attempt)
    })?;
    let domain = connection.directory.as_deref().unwrap_or_default();
    let more: &[(&str, &str)] = match connection.provider {
        Provider::Google if !domain.is_empty() => &[("hd", domain)],
        _ => &[],
    };
    let url = oidc::authorization_url(
        &metadata.authorization_endpoint,
        &connection.client_id,
        &redirect_uri(visitor),
        &made,
        more,
    );
    Ok(visitor.keep_own(visitor.go(&url, None)))
}

/// Our address at the provider's.
pub(super) fn redirect_uri(visitor: &Visitor<'_>) -> String {
    format!("{}{CALLBACK}", visitor.app.origin(visitor.head))
}

/// `/sso/callback`: back from the provider (OpenID Connect Core 1.0 §3.1.2.5 and §3.1.2.6).
pub(super) fn callback(visitor: &Visitor<'_>) -> Result<Response> {
    let state = TokenHash::of(&sign_in::query(visitor, "state"));
    let browser = visitor.browser();
    let taken = visitor.app.store.write(visitor.head.now, move |tx| {
        let Some(attempt) = attempts::take(tx, &state, &browser)? else {
            return Ok(None);
        };
        let connection = sso::read(tx, attempt.tenant)?;
        Ok(Some((attempt, connection)))
    })?;
    let Some((attempt, connection)) = taken else {
        log::warn!(
            "{}: refused a sign-in that was not begun, from {}",
            visitor.head.request_id,
            visitor.head.address
        );
        return visitor.problem(400, NOT_BEGUN);
    };
    if consent::is_of(&attempt) {
        return consent::agreed(visitor, &attempt);
    }
    let connection = connection.filter(|connection| is_for(&attempt, connection));
    let Some(connection) = connection.or_else(|| consent::wanted(visitor, &attempt)) else {
        return refuse(visitor, &attempt, "the connection was changed", CHANGED);
    };
    if let Some(why) = mixed_up(visitor, &connection) {
        return refuse(
            visitor,
            &attempt,
            why,
            "The answer is from another provider. Sign in again.",
        );
    }
    let error = sign_in::query(visitor, "error");
    if !error.is_empty() {
        let told = words::meaning(&error, &sign_in::query(visitor, "error_description"));
        return refuse(
            visitor,
            &attempt,
            &format!("the provider said: {told}"),
            &told,
        );
    }
    match redeemed(visitor, &attempt, &connection)? {
        Ok((claims, by_next)) => finish(visitor, attempt, claims, by_next),
        Err(told) => refuse(
            visitor,
            &attempt,
            &told,
            &format!("You are not signed in: {told}."),
        ),
    }
}

/// Whether the connection is still the one that somebody was sent away with.
fn is_for(attempt: &Attempt, connection: &Connection) -> bool {
    let same = (&attempt.issuer, &attempt.client_id) == (&connection.issuer, &connection.client_id);
    same && (attempt.session.is_some() || connection.signs_in())
}

/// Whether the answer names another issuer, or should name one and doesn't (RFC 9207 §2.4).
fn mixed_up(visitor: &Visitor<'_>, connection: &Connection) -> Option<&'static str> {
    let told = sign_in::query(visitor, "iss");
    let now = visitor.head.now;
    let metadata = visitor
        .app
        .providers
        .metadata(&expected(connection, ""), now);
    let names = metadata.is_ok_and(|known| known.authorization_response_iss_parameter_supported);
    match told.is_empty() {
        true => names.then_some("the answer names no issuer"),
        false => (told != connection.issuer).then_some("the answer names another issuer"),
    }
}

/// Who the code is for, and whether a newer client secret got it; else why not, in words.
fn redeemed(
    visitor: &Visitor<'_>,
    attempt: &Attempt,
    connection: &Connection,
) -> Result<std::result::Result<(Claims, bool), String>> {
    let (app, now) = (visitor.app, visitor.head.now);
    let expected = expected(connection, &attempt.nonce);
    let code = sign_in::query(visitor, "code");
    let redirect_uri = redirect_uri(visitor);
    let redemption = Redemption {
        client_id: &connection.client_id,
        code: &code,
        verifier: &attempt.verifier,
        redirect_uri: &redirect_uri,
    };
    let secrets = manage::sso::secrets_of(
        attempt.tenant,
        connection,
        &app.key_file,
        app.entra.as_ref(),
    )?;
    let metadata = match app.providers.metadata(&expected, now) {
        Ok(metadata) => metadata,
        Err(trouble) => return Ok(Err(trouble.to_string())),
    };
    let mut answer = None;
    let mut by_next = false;
    for (at, secret) in secrets.iter().enumerate() {
        by_next = at == 0 && secrets.len() > 1;
        answer = Some(app.providers.redeem(&metadata, &redemption, secret));
        // A newer secret may not be known there yet, and the code is not used up by a wrong one.
        if !matches!(&answer, Some(Err(Trouble::Refused(code, _))) if code == "invalid_client") {
            break;
        }
    }
    let token = match answer {
        Some(Ok(token)) => token,
        Some(Err(Trouble::Refused(code, description))) => {
            return Ok(Err(words::meaning(&code, &description)));
        }
        Some(Err(trouble)) => return Ok(Err(trouble.to_string())),
        None if connection.is_operators() => {
            return Ok(Err(
                "the application of this server is not set up any more".to_owned()
            ));
        }
        None => return Ok(Err("the stored client secret can’t be read".to_owned())),
    };
    Ok(match app.providers.check(&token, &expected, now) {
        Ok(Ok(claims)) => Ok((claims, by_next)),
        Ok(Err(refusal)) => Err(refusal.words()),
        Err(trouble) => Err(trouble.to_string()),
    })
}

/// What came of a validated sign-in.
enum Came {
    /// The connection is proven, now or again; what to say.
    Connected(String),
    /// Somebody is signed in; whether they may open the settings.
    SignedIn(bool),
    Denied(Denied),
    /// The connection can't be this one: why, in a few words and in sentences.
    Unfit(&'static str, &'static str),
    /// The connection, or the administrator's session, is not what it was.
    Changed,
}

/// Signs in, or proves the connection. What it depends on is read in the same transaction.
fn finish(
    visitor: &Visitor<'_>,
    attempt: Attempt,
    claims: Claims,
    by_next: bool,
) -> Result<Response> {
    let secret = Secret::random()?;
    let who = SignIn {
        tenant: attempt.tenant,
        holder: Holder::Person(0),
        actor: String::new(),
        method: "sso",
        address: visitor.head.address.to_string(),
        agent: visitor.agent().to_owned(),
    };
    let own = visitor.session.clone();
    let wanted = consent::wanted(visitor, &attempt);
    let begun = attempt.clone();
    let (came, secret) = visitor.app.store.write(visitor.head.now, move |tx| {
        let stored = sso::read(tx, begun.tenant)?;
        let came = match stored
            .filter(|connection| is_for(&begun, connection))
            .or(wanted)
        {
            Some(connection) => settle(
                tx,
                (&begun, connection),
                who,
                own,
                (&claims, by_next),
                &secret,
            )?,
            None => Came::Changed,
        };
        Ok((came, secret))
    })?;
    Ok(match came {
        Came::SignedIn(opens_settings) => {
            let next = attempt.next.as_deref();
            let next = next.unwrap_or(sign_in::home(opens_settings));
            visitor.keep_secret(visitor.go(next, None), &secret)
        }
        Came::Connected(words) => visitor.go("/settings/sso", Some(Flash::Done(words))),
        Came::Denied(denied) => {
            let id = &visitor.head.request_id;
            log::warn!("{id}: refused a sign-in: {}", denied.reason());
            return visitor.problem(403, denied.words());
        }
        Came::Unfit(why, words) => return refuse(visitor, &attempt, why, words),
        Came::Changed => return visitor.problem(403, CHANGED),
    })
}

/// What comes of a validated sign-in, by what is true now. `own` is the session of the browser that came back.
fn settle(
    tx: &Tx<'_>,
    (attempt, connection): (&Attempt, Connection),
    who: SignIn,
    own: Option<Session>,
    (claims, by_next): (&Claims, bool),
    secret: &Secret,
) -> Result<Came> {
    let connection = match by_next {
        true => manage::sso::rotate(tx, attempt.tenant, connection)?,
        false => connection,
    };
    match (attempt.session, own) {
        (None, own) => {
            let came = enter(tx, who, &connection, claims, secret)?;
            if let (Came::SignedIn(_), Some(own)) = (&came, own) {
                sessions::end(tx, own.tenant, &own.holder, own.id)?;
            }
            Ok(came)
        }
        (Some(session), Some(own)) if own.id == session && own.opens_settings => {
            prove(tx, attempt.tenant, &own.actor(), &connection, claims)
        }
        _ => Ok(Came::Changed),
    }
}

/// The connection is proven, by somebody of its directory.
fn prove(
    tx: &Tx<'_>,
    tenant: TenantId,
    actor: &str,
    connection: &Connection,
    claims: &Claims,
) -> Result<Came> {
    let bound = if connection.is_operators() {
        operator_app::bind(tx, tenant, actor, connection, claims)?
    } else if manage::sso::connect(tx, tenant, actor, connection, Some(claims))? {
        Bound::First
    } else {
        Bound::Again
    };
    let name = flash_name(connection);
    let who = claims.user_name.as_ref().unwrap_or(&claims.subject);
    Ok(match bound {
        Bound::First => {
            Came::Connected(format!("{name} Single Sign-On was successfully connected."))
        }
        Bound::Again => Came::Connected(format!("Signing in works: you came back as {who}.")),
        Bound::Taken => Came::Unfit(
            "the directory is connected to another organisation",
            "This directory is connected to another organisation on this server already. Set up an application of your \
             own instead, or ask whoever runs the server.",
        ),
        Bound::Guest => Came::Unfit(
            "a guest of the directory",
            "You are a guest of this directory. Sign in with an account of its own.",
        ),
    })
}

/// A session for the person, if there is one for these claims.
fn enter(
    tx: &Tx<'_>,
    who: SignIn,
    connection: &Connection,
    claims: &Claims,
    secret: &Secret,
) -> Result<Came> {
    let person = match linking::person(tx, who.tenant, connection, claims)? {
        Ok(person) => person,
        Err(denied) => return Ok(Came::Denied(denied)),
    };
    let who = SignIn {
        holder: Holder::Person(person.row),
        actor: format!("person:{}", person.id),
        ..who
    };
    manage::sessions::sign_in(tx, &who, secret)?;
    let hash = TokenHash::of(secret.reveal());
    let session = sessions::by_hash(tx, &hash, tx.now)?;
    if let (Some(session), Some(sid)) = (&session, &claims.sid) {
        sessions::came_from(tx, session.tenant, session.id, sid)?;
    }
    Ok(Came::SignedIn(
        session.is_some_and(|session| session.opens_settings),
    ))
}

/// `/sso/logout/…`: the provider signs somebody out here, too, by a token from its server (OpenID Connect Back-Channel
/// Logout 1.0 §2.5) or by a frame in the browser that names its session (Front-Channel Logout 1.0 §3).
pub(super) fn logout(app: &App, request: &Request, tenant: &str) -> Response {
    let ended = signed_out(app, request, tenant);
    let ended = ended.map(|ended| match ended {
        Some(()) => pages::plain(200, ""),
        None => pages::plain(400, "This signs nobody out.\n"),
    });
    let mut response = pages::or_log(ended, &request.head);
    response
        .headers
        .push(("Cache-Control", "no-store".to_owned()));
    response
}

fn signed_out(app: &App, request: &Request, tenant: &str) -> Result<Option<()>> {
    let head = &request.head;
    let found = app.store.read(|snapshot| {
        let Some(tenant) = tenants::by_name(snapshot, tenant)? else {
            return Ok(None);
        };
        let connection = sso::read(snapshot, tenant.id)?;
        Ok(connection.map(|connection| (tenant.id, connection)))
    })?;
    let Some((tenant, connection)) = found else {
        return Ok(None);
    };
    let logout = if head.method == "POST" {
        let form = Form::of(request).unwrap_or_default();
        let token = form.get("logout_token");
        let expected = expected(&connection, "");
        match app.providers.check_logout(token, &expected, head.now) {
            Ok(Ok(logout)) => logout,
            Ok(Err(refusal)) => {
                log::warn!("{}: refused a sign-out: {refusal:?}", head.request_id);
                return Ok(None);
            }
            Err(trouble) => {
                log::warn!("{}: refused a sign-out: {trouble}", head.request_id);
                return Ok(None);
            }
        }
    } else {
        let pairs = head.query_pairs().unwrap_or_default();
        let told = |name: &str| pairs.iter().find(|(known, _)| known == name);
        let sid = told("sid").map(|(_, sid)| sid.clone());
        let ours = told("iss").is_none_or(|(_, issuer)| *issuer == connection.issuer);
        match sid.filter(|sid| ours && !sid.is_empty()) {
            Some(sid) => Logout {
                subject: None,
                sid: Some(sid),
            },
            None => return Ok(None),
        }
    };
    app.store.write(head.now, move |tx| {
        linking::sign_out(tx, tenant, &connection.issuer, &logout)
    })?;
    Ok(Some(()))
}

/// The name of a tenant's provider, and where somebody signs out there, too, if it says so.
pub(super) fn way_out(visitor: &Visitor<'_>, tenant: TenantId) -> Result<Option<(String, String)>> {
    let app = visitor.app;
    let connection = app.store.read(|snapshot| sso::read(snapshot, tenant))?;
    let Some(connection) = connection else {
        return Ok(None);
    };
    let metadata = app
        .providers
        .metadata(&expected(&connection, ""), visitor.head.now);
    let endpoint = metadata
        .ok()
        .and_then(|known| known.end_session_endpoint.clone());
    let back = format!("{}/sign-in", app.origin(visitor.head));
    let url = endpoint.map(|url| oidc::end_session_url(&url, &connection.client_id, &back));
    Ok(url.map(|url| (connection.name, url)))
}

/// Entra ID goes by the name that its administrators look for.
fn flash_name(connection: &Connection) -> &str {
    match connection.provider {
        Provider::Entra => "Azure",
        _ => &connection.name,
    }
}

/// What a token of this connection has to say.
fn expected<'a>(connection: &'a Connection, nonce: &'a str) -> Expected<'a> {
    let directory = match (connection.provider, connection.directory.as_deref()) {
        (Provider::Entra, directory) => Directory::Entra(directory.unwrap_or_default()),
        (Provider::Google, Some(domain)) => Directory::Google(domain),
        _ => Directory::Any,
    };
    Expected {
        issuer: &connection.issuer,
        client_id: &connection.client_id,
        nonce,
        directory,
    }
}

/// A page that says why, with the event of it.
pub(super) fn refuse(
    visitor: &Visitor<'_>,
    attempt: &Attempt,
    why: &str,
    words: &str,
) -> Result<Response> {
    let (tenant, id) = (attempt.tenant, &visitor.head.request_id);
    log::warn!("{id}: refused a sign-in: {why}");
    let why = why.to_owned();
    visitor.app.store.write(visitor.head.now, move |tx| {
        linking::refused(tx, tenant, &why, None)
    })?;
    if attempt.session.is_some() {
        let words = Flash::Failed(format!("Not connected. {words}"));
        return Ok(visitor.go("/settings/sso", Some(words)));
    }
    visitor.problem(403, words)
}

/// The provider is not there: said to an administrator with what is wrong, to others without.
fn troubled(
    visitor: &Visitor<'_>,
    connection: &Connection,
    session: Option<i64>,
    trouble: &Trouble,
) -> Result<Response> {
    let id = &visitor.head.request_id;
    log::warn!("{id}: {}: {trouble}", connection.issuer);
    if session.is_some() {
        let words = Flash::Failed(format!("Not connected: {trouble}."));
        return Ok(visitor.go("/settings/sso", Some(words)));
    }
    let words = "The provider does not answer as it should. Try again in a minute; if that stays so, an administrator \
                 finds the reason in the server’s log under the request id below.";
    visitor.problem(502, words)
}
