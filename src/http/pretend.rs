//! The pretend provider of `serve --dev` on a listener of its own: its addresses, and the page to pick a person from.
//!
//! The page lists the tenant's users in whatever state, and people whom provisioning doesn't know, so that what is
//! refused is seen, too. Its choices are links: browsers let a form lead nowhere else, by our pages' own policy.

use std::sync::Arc;

use minijinja::context;
use minijinja::value::Value;

use super::form::Form;
use super::html::{self, encoded};
use super::pages::{self, plain};
use super::request::{Handler, Head, Request, Response};
use super::route::{self, Route};
use super::visitor::cookie;
use super::{App, STRANGER_BODY_MAX_BYTES};
use crate::error::Result;
use crate::scim::schema::Kind;
use crate::sso::pretend::{Asked, Person, Provider};
use crate::store::directory::{self, From, State, Wanted};
use crate::store::resources::{self, Stored};
use crate::store::{Snapshot, TenantId, people};

/// Holds who is signed in here. Cookies don't know ports, so it is named otherwise than rollcall's own.
const COOKIE: &str = "rollcall-pretend";

/// Most users on the page; the others are found by name.
const SHOWN: usize = 100;

/// Who is provisioned nowhere: name in links and `sub`, userName, name, what is said of them.
const NEWCOMER: (&str, &str, &str, &str) = (
    "pretend-newcomer",
    "newcomer@pretend.example",
    "Nina Newcomer",
    "Known to the provider, and not assigned to provisioning.",
);

/// Who writes the first user's sign-in name and address into their own account.
const IMPOSTOR: (&str, &str, &str, &str) = (
    "pretend-impostor",
    "impostor@pretend.example",
    "Igor Impostor",
    "Has the sign-in name and the e-mail address of the first user, and another subject.",
);

/// What answers at the provider's listener.
pub struct Pretend {
    /// Whose directory the people are of.
    pub app: Arc<App>,
    /// Which tenant's.
    pub tenant: TenantId,
    /// What they sign in by.
    pub provider: Provider,
}

impl Handler for Pretend {
    fn body_limit(&self, _: &Head) -> u64 {
        STRANGER_BODY_MAX_BYTES
    }

    fn answer(&self, request: Request) -> Response {
        let head = &request.head;
        // Under another name, a page from elsewhere could read what is here (DNS rebinding).
        if head.origin != self.provider.issuer() {
            return plain(403, &format!("This is {} alone.\n", self.provider.issuer()));
        }
        let segments = head.segments().unwrap_or_default();
        let segments: Vec<&str> = segments.iter().map(AsRef::as_ref).collect();
        match (head.method.as_str(), &segments[..]) {
            ("GET", [".well-known", "openid-configuration"]) => {
                json(200, &self.provider.metadata())
            }
            ("GET", ["keys"]) => json(200, &self.provider.keys()),
            ("GET", ["authorize"]) => pages::or_log(self.authorize(head), head),
            ("POST", ["token"]) => pages::or_log(self.token(&request), head),
            ("GET", ["sign-out"]) => self.sign_out(head),
            _ => match route::route(head) {
                Route::Asset(asset) => pages::asset(head, &asset),
                _ => plain(404, "The pretend provider has nothing at this address.\n"),
            },
        }
    }

    fn refusal(&self, _: Option<&Head>, status: u16, detail: &str) -> Response {
        plain(status, &format!("{detail}\n"))
    }
}

impl Pretend {
    /// `/authorize`: the page to pick from. With `person` in the query it is done, and an empty one is nobody.
    fn authorize(&self, head: &Head) -> Result<Response> {
        let fields = head.query_pairs().unwrap_or_default();
        let field = |name: &str| {
            let found = fields.iter().find(|(known, _)| known == name);
            found.map(|(_, value)| value.as_str())
        };
        let asked = match self.provider.asked(field) {
            Ok(asked) => asked,
            Err(fault) => {
                return Ok(plain(
                    400,
                    &format!("Not an authorization request: {fault}\n"),
                ));
            }
        };
        match field("person") {
            None => self.page(head, &fields),
            Some("") => Ok(sent(self.provider.refuse(&asked))),
            Some(picked) => self.sign_in(head, asked, picked),
        }
    }

    fn page(&self, head: &Head, fields: &[(String, String)]) -> Result<Response> {
        let is_find = |(name, _): &&(String, String)| name == "find";
        let found = fields
            .iter()
            .find(is_find)
            .map_or("", |(_, value)| value.trim());
        let asked: Vec<_> = fields
            .iter()
            .filter(|field| !is_find(field))
            .cloned()
            .collect();
        let pairs: Vec<String> = asked
            .iter()
            .map(|(name, value)| format!("{}={}", encoded(name), encoded(value)))
            .collect();
        let users = self
            .app
            .store
            .read(|snapshot| self.users(snapshot, found))?;
        let made_up = [NEWCOMER, IMPOSTOR].map(|(key, user_name, name, words)| {
            context! { key => key, name => name, user_name => user_name, words => words }
        });
        let sid = cookie(head, COOKIE).unwrap_or_default();
        let context = context! {
            title => "Pretend provider",
            users => users,
            made_up => made_up.to_vec(),
            shown => SHOWN,
            find => found,
            asked => asked,
            link => format!("/authorize?{}&person=", pairs.join("&")),
            signed_in => self.provider.signed_in(sid).map(|person| person.user_name),
        };
        html::page(200, "pretend.html", context)
    }

    fn users(&self, snapshot: &Snapshot<'_>, prefix: &str) -> Result<Vec<Value>> {
        let found = self.search(snapshot, prefix, SHOWN)?;
        Ok(found
            .iter()
            .map(|(user, state)| {
                let person = person(user);
                context! {
                    key => user.id.as_str(),
                    name => person.name.unwrap_or_else(|| person.user_name.clone()),
                    user_name => person.user_name,
                    state => state.as_str(),
                    has_external_id => resources::external_id(&user.document).is_some(),
                }
            })
            .collect())
    }

    fn search(
        &self,
        snapshot: &Snapshot<'_>,
        prefix: &str,
        limit: usize,
    ) -> Result<Vec<(Stored, State)>> {
        let wanted = Wanted {
            kind: Kind::User,
            prefix,
            state: None,
            role: None,
            team: None,
        };
        let page = directory::search(snapshot, self.tenant, &wanted, &From::Start, limit)?;
        let entries = page.entries.into_iter();
        Ok(entries.map(|entry| (entry.stored, entry.state)).collect())
    }

    /// Back to the relying party as the person of this name in links.
    fn sign_in(&self, head: &Head, asked: Asked, picked: &str) -> Result<Response> {
        let person = self
            .app
            .store
            .read(|snapshot| self.picked(snapshot, picked))?;
        let Some(person) = person else {
            return Ok(plain(
                404,
                "There is no such person any more. Go back and reload the page.\n",
            ));
        };
        let (back, sid) = self.provider.sign_in(asked, person, head.now)?;
        let mut response = sent(back);
        response.headers.push(keep(&sid, ""));
        Ok(response)
    }

    fn picked(&self, snapshot: &Snapshot<'_>, picked: &str) -> Result<Option<Person>> {
        let made_up = [NEWCOMER, IMPOSTOR]
            .into_iter()
            .find(|(key, ..)| *key == picked);
        let Some((subject, user_name, name, _)) = made_up else {
            let found = directory::get(snapshot, self.tenant, Kind::User, picked)?;
            return Ok(found.map(|entry| person(&entry.stored)));
        };
        let made_up = Person {
            subject: subject.to_owned(),
            user_name: user_name.to_owned(),
            name: Some(name.to_owned()),
            email: Some(user_name.to_owned()),
        };
        let victim = self
            .search(snapshot, "", 1)?
            .pop()
            .map(|(user, _)| person(&user));
        Ok(Some(match victim.filter(|_| subject == IMPOSTOR.0) {
            Some(victim) => Person {
                user_name: victim.user_name,
                email: victim.email.or(made_up.email),
                ..made_up
            },
            None => made_up,
        }))
    }

    /// `/token`
    fn token(&self, request: &Request) -> Result<Response> {
        let head = &request.head;
        let form = Form::of(request).unwrap_or_default();
        let authorization = head.header("authorization").unwrap_or_default();
        let answer = self
            .provider
            .redeem(authorization, |name| form.get(name), head.now)?;
        let mut response = match answer {
            Ok(answer) => json(200, &answer),
            Err("invalid_client") => json(401, &serde_json::json!({ "error": "invalid_client" })),
            Err(code) => json(400, &serde_json::json!({ "error": code })),
        };
        response
            .headers
            .push(("Cache-Control", "no-store".to_owned()));
        Ok(response)
    }

    /// `/sign-out`: here, and back to where the relying party asked for.
    fn sign_out(&self, head: &Head) -> Response {
        let fields = head.query_pairs().unwrap_or_default();
        let back = fields
            .iter()
            .find(|(name, _)| name == "post_logout_redirect_uri");
        let back = back.map_or("", |(_, back)| back.as_str());
        let sid = cookie(head, COOKIE).unwrap_or_default();
        let mut response = match self.provider.sign_out(sid, back) {
            Some(back) => sent(back),
            None => plain(200, "You are signed out of the pretend provider.\n"),
        };
        response.headers.push(keep("", "; Max-Age=0"));
        response
    }
}

/// A user as the provider that pushed it knows it: by its externalId, else by nothing that links.
fn person(user: &Stored) -> Person {
    let text = |name: &str| {
        let text = user.document.get(name).and_then(|value| value.as_str());
        text.map(str::to_owned)
    };
    Person {
        subject: resources::external_id(&user.document)
            .unwrap_or(&user.id)
            .to_owned(),
        user_name: text("userName").unwrap_or_default(),
        name: text("displayName"),
        email: people::email(&user.document).map(str::to_owned),
    }
}

fn json(status: u16, document: &serde_json::Value) -> Response {
    Response {
        status,
        headers: vec![("Content-Type", "application/json".to_owned())],
        body: document.to_string().into_bytes().into(),
    }
}

fn sent(to: String) -> Response {
    Response {
        status: 303,
        headers: vec![("Location", to), ("Cache-Control", "no-store".to_owned())],
        body: vec![].into(),
    }
}

fn keep(sid: &str, more: &str) -> (&'static str, String) {
    let cookie = format!("{COOKIE}={sid}; Path=/; HttpOnly; SameSite=Lax{more}");
    ("Set-Cookie", cookie)
}
