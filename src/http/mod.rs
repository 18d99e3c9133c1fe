//! The door to the network: the only place that knows sockets, headers and status lines.
//!
//! [`listen`] and [`connection`] accept, read and write, and know nothing of what is served; they call the one
//! handler, [`App`]. It routes ([`route`]), finds out who asks ([`auth`]) and answers, by [`scim`] or [`pages`].

mod api;
mod auth;
pub mod bind;
pub mod certificate;
mod chunked;
mod connection;
mod consent;
mod docs;
mod form;
mod forward;
pub mod head;
mod html;
pub mod limits;
pub mod listen;
mod markdown;
pub mod metrics;
mod pages;
mod password;
pub mod pretend;
pub mod probe;
pub mod rate;
pub mod redirect;
mod register;
mod render;
pub mod request;
mod route;
mod scim;
mod settings;
mod sign_in;
pub mod sso;
pub mod throttle;
pub mod tls;
mod visitor;
mod wire;

use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::error::Result;
use crate::seal::KeyFile;
use crate::sso::entra;
use crate::sso::fetch::Providers;
use crate::store::backup::Schedule;
use crate::store::{Store, Tx};
use metrics::Metrics;
use rate::Rate;
use request::{Handler, Head, Request, Response};
use route::Route;
use throttle::Throttle;

/// Most bytes in the body of a request that shows no valid token.
const STRANGER_BODY_MAX_BYTES: u64 = 64 * 1024;

/// Default for [`App::body_max_bytes`]: a PUT of a group with 50,000 members fits.
pub const BODY_MAX_BYTES: u64 = 8 * 1024 * 1024;

/// The program as the network sees it.
#[derive(Debug)]
pub struct App {
    /// The database.
    pub store: Store,
    /// `https://HOST` as clients reach it, without a slash at its end; `None`: as each request says.
    pub public_url: Option<String>,
    /// Most bytes in the body of a request with a valid token.
    pub body_max_bytes: u64,
    /// Whether the log keeps the bodies of what succeeded too (`serve --dev`).
    pub keep_bodies: bool,
    /// How backups are made while serving; `None`: they aren't.
    pub backups: Option<Schedule>,
    /// What seals secrets of providers.
    pub key_file: KeyFile,
    /// The providers that sign people in, and the way to them.
    pub providers: Providers,
    /// The operator's application at Entra ID, if there is one.
    pub entra: Option<entra::Application>,
    /// The tries of passwords and tokens of late.
    pub throttle: Throttle,
    /// What was done so far, in numbers.
    pub metrics: Metrics,
    /// How often each SCIM token may ask.
    pub rate: Rate<i64>,
    /// How often an address may set out for a provider.
    pub departures: Rate<IpAddr>,
    /// Whether the server is being stopped, so that nobody waits for events any more.
    pub stopping: AtomicBool,
}

/// `text` as [`App::public_url`]. `None` unless it is http or https and a host as a Host header may name it, alone.
pub fn public_url(text: &str) -> Option<String> {
    let url = text.trim_end_matches('/');
    let host = url
        .strip_prefix("https://")
        .or_else(|| url.strip_prefix("http://"))?;
    head::is_authority(host).then(|| url.to_owned())
}

impl App {
    /// Scheme and host of our URLs in an answer to this request.
    fn origin<'a>(&'a self, head: &'a Head) -> &'a str {
        self.public_url.as_deref().unwrap_or(&head.origin)
    }

    /// Notes that a request was made. Who asks is answered all the same where that can't be written, as on a full disk.
    fn note(&self, head: &Head, use_of: impl FnOnce(&Tx<'_>) -> Result<()> + Send + 'static) {
        if let Err(error) = self.store.write(head.now, use_of) {
            log::warn!("{}: its use is not noted: {error}", head.request_id);
        }
    }
}

impl Handler for App {
    fn body_limit(&self, head: &Head) -> u64 {
        // Most bodies are small enough for anybody, and then nobody is looked up.
        let anybodys = STRANGER_BODY_MAX_BYTES.min(self.body_max_bytes);
        let length = head.header("content-length").map(str::parse::<u64>);
        if matches!(length, Some(Ok(length)) if length <= anybodys) {
            return anybodys;
        }
        let known = match route::route(head) {
            Route::Api(_) => auth::is_known(self, head, &auth::APP),
            Route::Scim(_) => auth::is_known(self, head, &auth::CLIENT),
            Route::Settings(_) => visitor::is_signed_in(self, head),
            _ => false,
        };
        if known {
            self.body_max_bytes
        } else {
            STRANGER_BODY_MAX_BYTES
        }
    }

    fn answer(&self, request: Request) -> Response {
        let route = route::route(&request.head);
        let counted = metrics::place(Some(&route));
        let started = request.head.started;
        let response = self.serve(request, route);
        self.metrics
            .count(counted, response.status, started.elapsed());
        response
    }

    fn stop(&self) {
        self.stopping.store(true, Ordering::Relaxed);
    }

    fn refusal(&self, head: Option<&Head>, status: u16, detail: &str) -> Response {
        let route = head.map(route::route);
        let took = head.map(|head| head.started.elapsed()).unwrap_or_default();
        self.metrics
            .count(metrics::place(route.as_ref()), status, took);
        match (head, route) {
            (Some(head), Some(Route::Scim(resource))) => {
                scim::loop_refusal(self, head, &resource, status, detail)
            }
            (Some(head), Some(Route::Api(_))) => api::refused(head, status, detail),
            _ => pages::plain(status, &format!("{detail}\n")),
        }
    }
}

impl App {
    fn serve(&self, request: Request, route: Route) -> Response {
        match route {
            Route::Scim(resource) => scim::answer(self, request, resource),
            Route::Api(address) => api::answer(self, &request, &address),
            Route::Health => pages::health(&request.head),
            Route::Ready => pages::ready(self, &request.head),
            Route::Home => pages::home(&request.head),
            Route::Settings(page) => settings::answer(self, &request, &page),
            Route::SignIn => pages::visited(self, &request, sign_in::sign_in),
            Route::SignInLink(secret) => {
                pages::visited(self, &request, |visitor| sign_in::link(visitor, &secret))
            }
            Route::SetUp(secret) => {
                pages::visited(self, &request, |visitor| sign_in::set_up(visitor, &secret))
            }
            Route::SsoStart(tenant) => {
                pages::visited(self, &request, |visitor| sso::start(visitor, &tenant))
            }
            Route::SsoLogout(tenant) => sso::logout(self, &request, &tenant),
            Route::SsoCallback => pages::visited(self, &request, sso::callback),
            Route::Forward => forward::get(&request, |head| forward::forward(self, head)),
            Route::AppBegin => forward::get(&request, |head| forward::begin(self, head)),
            Route::AppEnter => forward::get(&request, |head| forward::back(self, head)),
            Route::Enter => pages::visited(self, &request, forward::enter),
            Route::SignOut => pages::visited(self, &request, sign_in::sign_out),
            Route::Me => pages::visited(self, &request, sign_in::me),
            Route::Docs => pages::visited(self, &request, docs::index),
            Route::Document(name) => {
                pages::visited(self, &request, |visitor| docs::document(visitor, &name))
            }
            Route::Asset(asset) => pages::asset(&request.head, &asset),
            Route::Nothing => pages::plain(404, "There is no page at this address.\n"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::public_url;

    #[test]
    fn public_urls_are_a_scheme_and_a_host() {
        for good in [
            "https://a.example",
            "http://127.0.0.1:8080",
            "https://[::1]:8443",
        ] {
            assert_eq!(public_url(good).as_deref(), Some(good));
            assert_eq!(public_url(&format!("{good}/")).as_deref(), Some(good));
        }
        for bad in [
            "",
            "a.example",
            "ftp://a",
            "https://",
            "https:///",
            "https://a/b",
            "https://a?b",
            "https://u@a",
            "https://a b",
            "https://a\tb",
            "https://a<b",
            "https://a:b",
            "https://a:99999",
            "https://é",
        ] {
            assert_eq!(public_url(bad), None, "{bad:?}");
        }
    }
}
