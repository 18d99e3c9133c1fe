//! Everything that is served, on one screen.

use std::borrow::Cow;

use super::request::Head;
use crate::scim::schema::Kind;

/// What an address names.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Route {
    /// `/`
    Home,
    /// Everything under `/settings`
    Settings(Settings),
    /// `/sign-in`
    SignIn,
    /// `/sign-in/link/{secret}`
    SignInLink(String),
    /// `/sso/start/{tenant}`
    SsoStart(String),
    /// `/sso/logout/{tenant}`
    SsoLogout(String),
    /// `/sso/callback`
    SsoCallback,
    /// `/auth/forward`
    Forward,
    /// `/auth/enter`
    Enter,
    /// `/.rollcall/begin`, of an app's host
    AppBegin,
    /// `/.rollcall/enter`, of an app's host
    AppEnter,
    /// `/setup/{secret}`
    SetUp(String),
    /// `/sign-out`
    SignOut,
    /// `/me`
    Me,
    /// `/docs`
    Docs,
    /// `/docs/{name}`
    Document(String),
    /// `/static/…`, and the pictures of `/docs`
    Asset(Asset),
    /// `/healthz`
    Health,
    /// `/readyz`
    Ready,
    /// Everything under `/scim/v2`
    Scim(Scim),
    /// Everything under `/api/v1`
    Api(Api),
    /// Nothing.
    Nothing,
}

/// A settings page.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Settings {
    /// `/settings`
    Overview,
    /// `/settings/sso`
    Sso,
    /// `/settings/sso/connect`
    SsoConnect,
    /// `/settings/sso/consent`
    SsoConsent,
    /// `/settings/provisioning`
    Provisioning,
    /// `/settings/roles`
    Roles,
    /// `/settings/teams`
    Teams,
    /// `/settings/teams/{id}`
    Team(String),
    /// `/settings/teams/{id}/download`
    TeamDownload(String),
    /// `/settings/people`
    People,
    /// `/settings/people/{id}`
    Person(String),
    /// `/settings/log`
    Log,
    /// `/settings/log/download`
    LogDownload,
    /// `/settings/log/{seq}`
    Exchange(String),
    /// `/settings/undo`
    Undo,
    /// `/settings/events`
    Events,
    /// `/settings/apps`
    Apps,
    /// `/settings/hosts`
    Hosts,
    /// `/settings/accounts`
    Accounts,
    /// `/settings/backup`
    Backup,
    /// `/settings/backup/{file}`
    BackupFile(String),
    /// `/settings/danger`
    Danger,
    /// Nothing.
    Nothing,
}

/// A file of `static/`.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Asset {
    /// `style.css`
    Style,
    /// `rollcall.js`
    Script,
    /// `icon.svg`
    Icon,
    /// `docs/{name}.svg`
    Picture(String),
}

/// What an address under `/scim/v2` names (RFC 7644 §3.2, table 2).
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Scim {
    /// `/`: a search over all types.
    Root,
    /// `/Users`, `/Groups`
    Collection(Kind),
    /// `/Users/{id}`, `/Groups/{id}`
    Resource(Kind, String),
    /// `/.search`, `/Users/.search`, `/Groups/.search`
    Search(Option<Kind>),
    /// `/ServiceProviderConfig`
    ServiceProviderConfig,
    /// `/ResourceTypes`, `/ResourceTypes/{id}`
    ResourceTypes(Option<String>),
    /// `/Schemas`, `/Schemas/{urn}`
    Schemas(Option<String>),
    /// `/Bulk`
    Bulk,
    /// Of another version of the protocol.
    UnknownVersion(String),
    /// `/Me`: the user whose token it is.
    Me,
    /// Nothing.
    Nothing,
}

/// What an address under `/api/v1` names.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Api {
    /// `/openapi.json`
    Document,
    /// `/users`
    Users,
    /// `/users/{id}`
    User(String),
    /// `/users/{id}/teams`
    UserTeams(String),
    /// `/whois`
    Whois,
    /// `/teams`
    Teams,
    /// `/teams/{id}`
    Team(String),
    /// `/teams/{id}/people`
    TeamPeople(String),
    /// `/teams/{id}/resources`
    TeamResources(String),
    /// `/resources/{id}`
    Resource(String),
    /// `/events`
    Events,
    /// Nothing.
    Nothing,
}

/// What a request's path names. Doubled and trailing slashes are overlooked: providers join Tenant URLs carelessly.
pub(super) fn route(head: &Head) -> Route {
    let Some(segments) = head.segments() else {
        // No id and no name of ours has broken escapes, but a SCIM client still gets SCIM's kind of refusal.
        return if head.path.starts_with("/scim/") {
            Route::Scim(Scim::Nothing)
        } else if head.path.starts_with("/api/v1/") {
            Route::Api(Api::Nothing)
        } else {
            Route::Nothing
        };
    };
    let segments: Vec<&str> = segments.iter().map(Cow::as_ref).collect();
    match segments[..] {
        [] => Route::Home,
        ["settings", ref rest @ ..] => Route::Settings(settings(rest)),
        ["sign-in"] => Route::SignIn,
        ["sign-in", "link", secret] => Route::SignInLink(secret.to_owned()),
        ["sso", "start", tenant] => Route::SsoStart(tenant.to_owned()),
        ["sso", "logout", tenant] => Route::SsoLogout(tenant.to_owned()),
        ["sso", "callback"] => Route::SsoCallback,
        ["auth", "forward"] => Route::Forward,
        ["auth", "enter"] => Route::Enter,
        [".rollcall", "begin"] => Route::AppBegin,
        [".rollcall", "enter"] => Route::AppEnter,
        ["setup", secret] => Route::SetUp(secret.to_owned()),
        ["sign-out"] => Route::SignOut,
        ["me"] => Route::Me,
        ["static", "rollcall.js"] => Route::Asset(Asset::Script),
        ["static", "icon.svg"] => Route::Asset(Asset::Icon),
        ["static", "style.css"] => Route::Asset(Asset::Style),
        ["docs"] => Route::Docs,
        ["docs", name] if name.ends_with(".svg") => Route::Asset(Asset::Picture(name.to_owned())),
        ["docs", name] => Route::Document(name.to_owned()),
        ["healthz"] => Route::Health,
        ["readyz"] => Route::Ready,
        ["scim", "v2", ref rest @ ..] => Route::Scim(scim(rest)),
        ["scim", version, ..] if is_version(version) => {
            Route::Scim(Scim::UnknownVersion(version.to_owned()))
        }
        // RFC 7644 §3.13: without a version, the newest.
        ["scim", ref rest @ ..] => Route::Scim(scim(rest)),
        ["api", "v1", ref rest @ ..] => Route::Api(api(rest)),
        _ => Route::Nothing,
    }
}

fn settings(segments: &[&str]) -> Settings {
    match *segments {
        [] => Settings::Overview,
        ["sso"] => Settings::Sso,
        ["sso", "connect"] => Settings::SsoConnect,
        ["sso", "consent"] => Settings::SsoConsent,
        ["provisioning"] => Settings::Provisioning,
        ["roles"] => Settings::Roles,
        ["teams"] => Settings::Teams,
        ["teams", id] => Settings::Team(id.to_owned()),
        ["teams", id, "download"] => Settings::TeamDownload(id.to_owned()),
        ["people"] => Settings::People,
        ["people", id] => Settings::Person(id.to_owned()),
        ["log"] => Settings::Log,
        ["log", "download"] => Settings::LogDownload,
        ["log", seq] => Settings::Exchange(seq.to_owned()),
        ["undo"] => Settings::Undo,
        ["events"] => Settings::Events,
        ["apps"] => Settings::Apps,
        ["hosts"] => Settings::Hosts,
        ["accounts"] => Settings::Accounts,
        ["backup"] => Settings::Backup,
        ["backup", file] => Settings::BackupFile(file.to_owned()),
        ["danger"] => Settings::Danger,
        _ => Settings::Nothing,
    }
}

fn scim(segments: &[&str]) -> Scim {
    match *segments {
        [] => Scim::Root,
        [".search"] => Scim::Search(None),
        ["Users"] => Scim::Collection(Kind::User),
        ["Users", ".search"] => Scim::Search(Some(Kind::User)),
        ["Users", id] => Scim::Resource(Kind::User, resource_id(id)),
        ["Groups"] => Scim::Collection(Kind::Group),
        ["Groups", ".search"] => Scim::Search(Some(Kind::Group)),
        ["Groups", id] => Scim::Resource(Kind::Group, resource_id(id)),
        ["ServiceProviderConfig"] => Scim::ServiceProviderConfig,
        ["ResourceTypes"] => Scim::ResourceTypes(None),
        ["ResourceTypes", id] => Scim::ResourceTypes(Some(id.to_owned())),
        ["Schemas"] => Scim::Schemas(None),
        ["Schemas", urn] => Scim::Schemas(Some(urn.to_owned())),
        ["Bulk"] => Scim::Bulk,
        ["Me"] => Scim::Me,
        _ => Scim::Nothing,
    }
}

/// An id, perhaps with the suffix that asks for SCIM's format (RFC 7644 §3.8), which is the only one that there is.
fn resource_id(segment: &str) -> String {
    segment.strip_suffix(".scim").unwrap_or(segment).to_owned()
}

/// `v` and a number.
fn is_version(segment: &str) -> bool {
    segment.strip_prefix('v').is_some_and(|number| {
        !number.is_empty() && number.bytes().all(|it| it.is_ascii_digit() || it == b'.')
    })
}

fn api(segments: &[&str]) -> Api {
    match *segments {
        ["openapi.json"] => Api::Document,
        ["users"] => Api::Users,
        ["users", id] => Api::User(id.to_owned()),
        ["users", id, "teams"] => Api::UserTeams(id.to_owned()),
        ["whois"] => Api::Whois,
        ["teams"] => Api::Teams,
        ["teams", id] => Api::Team(id.to_owned()),
        ["teams", id, "people"] => Api::TeamPeople(id.to_owned()),
        ["teams", id, "resources"] => Api::TeamResources(id.to_owned()),
        ["resources", id] => Api::Resource(id.to_owned()),
        ["events"] => Api::Events,
        _ => Api::Nothing,
    }
}

impl Api {
    /// The methods that an address answers, for `Allow`.
    pub(super) fn methods(&self) -> &'static str {
        match self {
            Api::TeamResources(_) => "GET, HEAD, POST",
            Api::Resource(_) => "GET, HEAD, PUT, DELETE",
            _ => "GET, HEAD",
        }
    }
}

impl Scim {
    /// The methods that an address answers, for `Allow` (RFC 9110 §10.2.1).
    pub(super) fn methods(&self) -> &'static str {
        match self {
            Scim::Collection(_) => "GET, HEAD, POST",
            Scim::Resource(..) | Scim::Me => "GET, HEAD, PUT, PATCH, DELETE",
            Scim::Search(_) | Scim::Bulk => "POST",
            _ => "GET, HEAD",
        }
    }
}
