//! Who looks at a page: cookies, sessions, the token of forms, words that survive one redirect.

use aws_lc_rs::{constant_time, digest};
use jiff::Timestamp;
use minijinja::context;
use minijinja::value::Value;

use super::form::Form;
use super::html::{self, encoded, moment};
use super::request::{self, Head, Request, Response};
use super::{App, pages};
use crate::error::{Error, Result};
use crate::store::sessions::{self, LIFETIME, Session};
use crate::store::tokens::{Secret, TokenHash};

/// How often a session's use is noted, in milliseconds.
const NOTED_EVERY: i64 = 60_000;

/// Longest text that a flash carries: a cookie has 4 KiB.
const FLASH_MAX_CHARS: usize = 400;

/// Words for the next page.
#[derive(Clone, Debug)]
pub(super) enum Flash {
    /// It worked.
    Done(String),
    /// It didn't, and why.
    Failed(String),
}

/// A browser that asks for a page.
pub(super) struct Visitor<'a> {
    pub(super) app: &'a App,
    pub(super) head: &'a Head,
    /// What it posted.
    pub(super) form: Form,
    /// Who is signed in.
    pub(super) session: Option<Session>,
    /// The random value that its cookie holds, or will.
    secret: String,
    /// Whether the browser has to be told of it.
    is_new: bool,
    flash: Option<Flash>,
}

impl<'a> Visitor<'a> {
    /// Reads cookies and form; notes that the session is used.
    ///
    /// # Errors
    ///
    /// `Err(Ok(response))` refuses a form that can't be read, or that comes from elsewhere: its token is missing or wrong.
    pub(super) fn of(
        app: &'a App,
        request: &'a Request,
    ) -> std::result::Result<Visitor<'a>, Result<Response>> {
        let head = &request.head;
        let https = is_https(app, head);
        let cookie = cookie(head, session_cookie(https));
        let (secret, is_new) = match cookie.filter(|cookie| is_secret(cookie)) {
            Some(cookie) => (cookie.to_owned(), false),
            None => (Secret::random().map_err(Err)?.reveal().to_owned(), true),
        };
        let session = if is_new {
            None
        } else {
            current(app, head, &secret).map_err(Err)?
        };
        let flash = cookie_flash(head, https);
        let mut visitor = Visitor {
            app,
            head,
            form: Form::default(),
            session,
            secret,
            is_new,
            flash,
        };
        if !["GET", "POST"].contains(&head.method.as_str()) {
            let refused = visitor.problem(
                405,
                "Pages can be read, and forms be sent to them; nothing else.",
            );
            return Err(refused.map(|mut response| {
                response
                    .headers
                    .push(("Allow", "GET, HEAD, POST".to_owned()));
                response
            }));
        }
        if visitor.is_post() {
            let Some(form) = Form::of(request) else {
                let words = "What was sent is no form. Go back, reload the page and try again.";
                return Err(visitor.problem(400, words));
            };
            visitor.form = form;
            if !visitor.is_genuine() {
                let words = "This form is too old, or another site sent it. Nothing was changed. Go back, reload the \
                             page and try again; cookies have to be allowed.";
                return Err(visitor.problem(403, words));
            }
        }
        Ok(visitor)
    }

    pub(super) fn is_post(&self) -> bool {
        self.head.method == "POST"
    }

    /// The token that each form carries: only who can read the cookie can make it.
    fn csrf(&self) -> String {
        hex(digest::digest(&digest::SHA256, format!("form:{}", self.secret).as_bytes()).as_ref())
    }

    fn is_genuine(&self) -> bool {
        let elsewhere = self.head.header("sec-fetch-site") == Some("cross-site");
        let shown = self.form.get("csrf").as_bytes();
        let right = constant_time::verify_slices_are_equal(shown, self.csrf().as_bytes()).is_ok();
        right && !elsewhere
    }

    /// A page of `template`, with `context` and what every page has.
    pub(super) fn page(&self, status: u16, template: &str, context: Value) -> Result<Response> {
        let (kind, words) = match &self.flash {
            Some(Flash::Done(words)) => ("done", words.as_str()),
            Some(Flash::Failed(words)) => ("failed", words.as_str()),
            None => ("", ""),
        };
        let csrf = format!(
            "<input type=\"hidden\" name=\"csrf\" value=\"{}\">",
            self.csrf()
        );
        let common = context! {
            csrf_field => Value::from_safe_string(csrf),
            now => moment(self.head.now),
            request_id => self.head.request_id.as_str(),
            path => self.head.path.as_str(),
            flash_kind => kind,
            flash => words,
            who => self.session.as_ref().map(|session| session.name.as_str()),
            opens_settings => self.session.as_ref().is_some_and(|session| session.opens_settings),
        };
        let mut response = html::page(status, template, context! { ..context, ..common })?;
        let https = is_https(self.app, self.head);
        if https {
            response
                .headers
                .push(("Strict-Transport-Security", "max-age=31536000".to_owned()));
        }
        if self.is_new {
            response.headers.push(keep(https, &self.secret));
        }
        if self.flash.is_some() {
            response
                .headers
                .push(set_cookie(https, flash_cookie(https), "", 0));
        }
        Ok(response)
    }

    /// A page that says in words what is wrong and what to do.
    pub(super) fn problem(&self, status: u16, words: &str) -> Result<Response> {
        let title = match status {
            404 | 410 => "Not here",
            403 => "Not allowed",
            500.. => "That went wrong",
            _ => "That did not work",
        };
        let context = context! { title => title, words => words };
        self.page(status, "problem.html", context)
    }

    /// What became of an error: a refusal in its own words, a fault of ours with the request's id.
    pub(super) fn failure(&self, error: Error) -> Response {
        let page = match error {
            Error::Scim(refusal) => self.problem(refusal.status(), refusal.detail()),
            error @ Error::Internal { .. } => {
                log::error!("{}: {error}", self.head.request_id);
                let words = "Something went wrong on our side, and nothing was changed. The server’s log has the reason \
                             under the request id below.";
                self.problem(500, words)
            }
        };
        pages::or_log(page, self.head)
    }

    /// On to another page of ours, which shows the words.
    pub(super) fn go(&self, to: &str, flash: Option<Flash>) -> Response {
        let mut headers = vec![
            ("Location", to.to_owned()),
            ("Cache-Control", "no-store".to_owned()),
        ];
        let https = is_https(self.app, self.head);
        if let Some(flash) = flash {
            let (kind, words) = match flash {
                Flash::Done(words) => ('d', words),
                Flash::Failed(words) => ('f', words),
            };
            let words: String = words.chars().take(FLASH_MAX_CHARS).collect();
            let value = format!("{kind}{}", encoded(&words));
            headers.push(set_cookie(https, flash_cookie(https), &value, 60));
        }
        Response {
            status: 303,
            headers,
            body: vec![].into(),
        }
    }

    /// What only this browser can show again, without telling its secret.
    pub(super) fn browser(&self) -> TokenHash {
        TokenHash::of(&format!("browser:{}", self.secret))
    }

    /// Lets a browser that has no secret yet keep the one that it was given.
    pub(super) fn keep_own(&self, mut response: Response) -> Response {
        if self.is_new {
            let https = is_https(self.app, self.head);
            response.headers.push(keep(https, &self.secret));
        }
        response
    }

    /// Lets the browser keep another secret from now on: at sign-in, so that nobody else knows it.
    pub(super) fn keep_secret(&self, mut response: Response, secret: &Secret) -> Response {
        let https = is_https(self.app, self.head);
        response.headers.push(keep(https, secret.reveal()));
        response
    }

    /// Lets the browser forget its secret: at sign-out.
    pub(super) fn forget(&self, mut response: Response) -> Response {
        let https = is_https(self.app, self.head);
        let forget = set_cookie(https, session_cookie(https), "", 0);
        response.headers.push(forget);
        response
    }

    /// Its User-Agent.
    pub(super) fn agent(&self) -> &str {
        self.head.header("user-agent").unwrap_or_default()
    }
}

/// Whether browsers reach us by HTTPS.
fn is_https(app: &App, head: &Head) -> bool {
    app.origin(head).starts_with("https://")
}

/// A cookie of this name belongs to this host alone, and can't be set by another one (RFC 6265bis §4.1.3.2). Plain HTTP,
/// as on loopback, can't have it.
fn session_cookie(https: bool) -> &'static str {
    if https { "__Host-rollcall" } else { "rollcall" }
}

fn flash_cookie(https: bool) -> &'static str {
    if https {
        "__Host-rollcall-flash"
    } else {
        "rollcall-flash"
    }
}

fn keep(https: bool, secret: &str) -> (&'static str, String) {
    set_cookie(https, session_cookie(https), secret, LIFETIME.as_secs())
}

/// What the cookie of an app's host holds, which is another one than ours.
pub(super) fn app_cookie(head: &Head) -> Option<&str> {
    let https = head.origin.starts_with("https://");
    cookie(head, app_cookie_name(https)).filter(|cookie| is_secret(cookie))
}

fn app_cookie_name(https: bool) -> &'static str {
    if https {
        "__Host-rollcall-app"
    } else {
        "rollcall-app"
    }
}

/// Lets the browser keep a cookie of the app's host.
pub(super) fn keep_app(head: &Head, secret: &str) -> (&'static str, String) {
    let https = head.origin.starts_with("https://");
    set_cookie(https, app_cookie_name(https), secret, LIFETIME.as_secs())
}

/// Whether a session's use has to be noted.
pub(super) fn is_to_be_noted(session: &Session, now: Timestamp) -> bool {
    now.as_millisecond() - session.last_seen.as_millisecond() >= NOTED_EVERY
}

fn set_cookie(https: bool, name: &str, value: &str, max_age_secs: u64) -> (&'static str, String) {
    let secure = if https { "; Secure" } else { "" };
    let cookie =
        format!("{name}={value}; Path=/; HttpOnly; SameSite=Lax; Max-Age={max_age_secs}{secure}");
    ("Set-Cookie", cookie)
}

/// A cookie that the browser sent.
pub(super) fn cookie<'a>(head: &'a Head, name: &str) -> Option<&'a str> {
    head.headers
        .iter()
        .filter(|(header, _)| header.eq_ignore_ascii_case("cookie"))
        .flat_map(|(_, value)| value.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .find(|(known, _)| *known == name)
        .map(|(_, value)| value)
}

fn cookie_flash(head: &Head, https: bool) -> Option<Flash> {
    let value = cookie(head, flash_cookie(https))?;
    let kind = value.chars().next()?;
    let words = request::decode(&value[kind.len_utf8()..])?.into_owned();
    match kind {
        'd' => Some(Flash::Done(words)),
        'f' => Some(Flash::Failed(words)),
        _ => None,
    }
}

fn is_secret(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The session of a cookie's secret; its use is noted once a minute.
fn current(app: &App, head: &Head, secret: &str) -> Result<Option<Session>> {
    let hash = TokenHash::of(secret);
    let session = app
        .store
        .read(|snapshot| sessions::by_hash(snapshot, &hash, head.now))?;
    if let Some(session) = &session
        && is_to_be_noted(session, head.now)
    {
        let (tenant, id) = (session.tenant, session.id);
        app.note(head, move |tx| sessions::seen(tx, tenant, id));
    }
    Ok(session)
}

/// Whether a request comes from somebody who is signed in, and may send a long form.
pub(super) fn is_signed_in(app: &App, head: &Head) -> bool {
    cookie(head, session_cookie(is_https(app, head)))
        .filter(|secret| is_secret(secret))
        .is_some_and(|secret| matches!(current(app, head, secret), Ok(Some(_))))
}
