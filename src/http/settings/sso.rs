//! Single Sign-On Settings: a card for each provider, and the form of the one that is chosen.

use minijinja::context;
use minijinja::value::Value;

use super::Visit;
use crate::error::{Error, Result};
use crate::http::html::{encoded, moment};
use crate::http::request::Response;
use crate::http::visitor::Flash;
use crate::manage;
use crate::manage::sso::{Admission, Mistake};
use crate::store::sso::{self, Connection, Provider};

const HERE: &str = "/settings/sso";

/// What the form of a provider asks for beside the secret: field, label, hint.
fn fields(provider: Provider) -> &'static [(&'static str, &'static str, &'static str)] {
    match provider {
        Provider::Entra => &[
            (
                "directory",
                "Directory (tenant) ID",
                "On the application’s Overview, as 1f6b2a34-5c7d-4e8f-9a0b-1c2d3e4f5a6b.",
            ),
            ("client_id", "Application (client) ID", "Beside it."),
        ],
        Provider::Okta => &[
            (
                "issuer",
                "Okta domain",
                "As acme.okta.com, or the issuer of an authorization server of yours.",
            ),
            ("client_id", "Client ID", ""),
        ],
        Provider::Google => &[
            (
                "client_id",
                "Client ID",
                "It ends in .apps.googleusercontent.com.",
            ),
            (
                "directory",
                "Domain",
                "Only accounts of this domain get in, as example.org.",
            ),
        ],
        Provider::Oidc => &[
            (
                "name",
                "Name",
                "As people shall read it where they sign in.",
            ),
            (
                "issuer",
                "Issuer URL",
                "Exactly as the provider writes it: issuer in its openid-configuration.",
            ),
            ("client_id", "Client ID", ""),
        ],
    }
}

/// Title, and what the card says.
fn about(provider: Provider) -> (&'static str, &'static str) {
    match provider {
        Provider::Entra => (
            "Microsoft Azure",
            "Microsoft Entra ID, which was Azure Active Directory.",
        ),
        Provider::Okta => ("Okta", "Okta, by an OpenID Connect application."),
        Provider::Google => ("Google Workspace", "Google accounts of your domain."),
        Provider::Oidc => (
            "OpenID Connect",
            "authentik, Keycloak, or any other provider that speaks OpenID Connect.",
        ),
    }
}

/// `/settings/sso`
pub(super) fn answer(visit: &Visit<'_>) -> Result<Response> {
    let chosen = match visit.is_post() {
        true => visit.form.get("provider").to_owned(),
        false => visit.query("provider"),
    };
    let chosen = Provider::named(&chosen);
    if !visit.is_post() {
        return show(visit, chosen, &[]);
    }
    if let Some(ask) = visit.asks()? {
        return Ok(ask);
    }
    match (visit.form.get("do"), chosen) {
        ("save", Some(provider)) => save(visit, provider),
        ("remove", _) => {
            let tenant = visit.tenant.id;
            let removed = visit.change(move |tx, actor| manage::sso::remove(tx, tenant, actor));
            visit.then(removed, HERE, |_| {
                "The connection and its secret are removed.".to_owned()
            })
        }
        ("admit", _) => admit(visit),
        (deed @ ("disable" | "enable"), _) => {
            let (tenant, disabled) = (visit.tenant.id, deed == "disable");
            let done = visit
                .change(move |tx, actor| manage::sso::set_disabled(tx, tenant, actor, disabled));
            visit.then(done, HERE, |_| {
                match disabled {
                    true => "Nobody signs in through it until you enable it again. Sessions go on.",
                    false => "People sign in through it again.",
                }
                .to_owned()
            })
        }
        _ => visit.problem(400, "That is nothing this page can do."),
    }
}

/// `/settings/sso/connect`: to the provider, and back with the connection proven. By a link and not by a form: browsers
/// let a form lead nowhere else (the policy of our pages), and nothing is changed before the provider answers.
pub(super) fn connect(visit: &Visit<'_>) -> Result<Response> {
    let tenant = visit.tenant.id;
    let elsewhere = visit.head.header("sec-fetch-site") == Some("cross-site");
    match visit.look(|snapshot| sso::read(snapshot, tenant))? {
        Some(connection) if !elsewhere && !visit.is_post() => {
            crate::http::sso::leave(visit, tenant, &connection, Some(visit.session.id), None)
        }
        _ => Ok(visit.go(HERE, None)),
    }
}

/// `/settings/sso/consent`: to Microsoft, where an administrator agrees to the operator's application. By a link for the
/// same reason; who it is is asked before, because it may replace the connection.
pub(super) fn consent(visit: &Visit<'_>) -> Result<Response> {
    let elsewhere = visit.head.header("sec-fetch-site") == Some("cross-site");
    if elsewhere {
        return Ok(visit.go(HERE, None));
    }
    if let Some(ask) = visit.asks()? {
        return Ok(ask);
    }
    if visit.is_post() {
        let words = "Thank you. Now connect Microsoft Azure.".to_owned();
        return Ok(visit.go(HERE, Some(Flash::Done(words))));
    }
    let begun = crate::http::consent::begin(visit, visit.tenant.id, visit.session.id)?;
    Ok(begun.unwrap_or_else(|| visit.go(HERE, None)))
}

/// Who may sign in beside those who are linked.
fn admit(visit: &Visit<'_>) -> Result<Response> {
    let said = |name: &str| !visit.form.get(name).is_empty();
    let domains = match manage::sso::domains(visit.form.get("domains")) {
        Ok(domains) => domains,
        Err(words) => return Ok(visit.go(HERE, Some(Flash::Failed(words)))),
    };
    let admission = Admission {
        domains,
        creates_people: said("creates_people"),
        matches_user_name: said("matches_user_name"),
        enforced: said("enforced"),
    };
    let tenant = visit.tenant.id;
    let saved = visit.change(move |tx, actor| manage::sso::admit(tx, tenant, actor, &admission));
    visit.then(saved, HERE, |_| "Saved: who may sign in.".to_owned())
}

fn save(visit: &Visit<'_>, provider: Provider) -> Result<Response> {
    let wanted =
        match manage::sso::checked(provider, visit.app.providers.allow_loopback(), |name| {
            visit.form.get(name)
        }) {
            Ok(wanted) => wanted,
            Err(mistakes) => return again(visit, provider, &mistakes),
        };
    if visit.form.get("client_secret").is_empty()
        && !visit.form.get("client_secret_left_out").is_empty()
    {
        let words =
            "Enter the client secret once more: it is not kept while you confirm who you are.";
        return again(visit, provider, &[("client_secret", words.to_owned())]);
    }
    let tenant = visit.tenant.id;
    let key_file = visit.app.key_file.clone();
    let saved =
        visit.change(move |tx, actor| manage::sso::save(tx, tenant, actor, &wanted, &key_file));
    match saved {
        Err(Error::Scim(refusal)) => again(
            visit,
            provider,
            &[("client_secret", refusal.detail().to_owned())],
        ),
        saved => visit.then(saved, HERE, |()| {
            "Saved. Now connect it, or test it if it is connected: sign in there once.".to_owned()
        }),
    }
}

/// The form as it was sent, but for the secret, with what is wrong in it.
fn again(visit: &Visit<'_>, provider: Provider, mistakes: &[Mistake]) -> Result<Response> {
    let mut response = show(visit, Some(provider), mistakes)?;
    response.status = 400;
    Ok(response)
}

fn show(visit: &Visit<'_>, chosen: Option<Provider>, mistakes: &[Mistake]) -> Result<Response> {
    let tenant = visit.tenant.id;
    let stored = visit.look(|snapshot| sso::read(snapshot, tenant))?;
    let opens = match &stored {
        Some(stored) => {
            let stored = manage::sso::secrets_of(
                tenant,
                stored,
                &visit.app.key_file,
                visit.app.entra.as_ref(),
            )?;
            !stored.is_empty()
        }
        None => false,
    };
    let is_stored = |provider| {
        stored
            .as_ref()
            .is_some_and(|stored| stored.provider == provider)
    };
    let cards: Vec<Value> = Provider::ALL
        .into_iter()
        .map(|provider| {
            let (title, about) = about(provider);
            let stored = stored.as_ref().filter(|_| is_stored(provider));
            context! {
                key => provider.as_str(),
                title => title,
                about => about,
                chosen => chosen == Some(provider),
                stored => stored.is_some(),
                name => stored.map(|stored| stored.name.as_str()),
                issuer => stored.map(|stored| stored.issuer.as_str()),
                changed => stored.map(|stored| moment(stored.changed)),
                connected => stored.and_then(|stored| stored.connected).map(moment),
                disabled => stored.and_then(|stored| stored.disabled).map(moment),
                is_operators => stored.is_some_and(Connection::is_operators),
                by_consent => provider == Provider::Entra && visit.app.entra.is_some(),
                rotates => stored.is_some_and(|stored| stored.next_secret.is_some()),
            }
        })
        .collect();
    let form = chosen.map(|provider| {
        let own = stored.as_ref().filter(|_| is_stored(provider));
        form(visit, provider, own, mistakes)
    });
    let context = context! {
        cards => cards,
        form => form,
        secret_opens => opens,
        has_one => stored.is_some(),
        replaces => stored
            .as_ref()
            .filter(|stored| chosen.is_some_and(|chosen| chosen != stored.provider))
            .map(|stored| about(stored.provider).0),
        redirect_uri => format!("{}/sso/callback", visit.app.origin(visit.head)),
        admission => stored.as_ref().map(|stored| context! {
            domains => stored.domains.replace(' ', ", "),
            creates_people => stored.creates_people,
            matches_user_name => stored.matches_user_name,
            enforced => stored.enforced,
        }),
        logout => format!(
            "{}/sso/logout/{}",
            visit.app.origin(visit.head),
            encoded(&visit.tenant.name)
        ),
        start => format!(
            "{}/sso/start/{}",
            visit.app.origin(visit.head),
            encoded(&visit.tenant.name)
        ),
        key_file => visit.app.key_file.path().file_name().map(|name| name.to_string_lossy()),
    };
    visit.show("sso.html", "Single Sign-On Settings", context)
}

/// The form of one provider: what was just typed, else what is stored.
fn form(
    visit: &Visit<'_>,
    provider: Provider,
    stored: Option<&Connection>,
    mistakes: &[Mistake],
) -> Value {
    let fault = |name: &str| {
        let found = mistakes.iter().find(|(field, _)| *field == name);
        found.map(|(_, words)| words.as_str()).unwrap_or_default()
    };
    let value = |name: &str| match (visit.is_post(), stored) {
        (true, _) => visit.form.get(name).to_owned(),
        (false, None) => String::new(),
        (false, Some(stored)) => match name {
            "name" => stored.name.clone(),
            "issuer" => stored.issuer.clone(),
            // Not the operator's, whose secret nobody here has.
            "client_id" if stored.is_operators() => String::new(),
            "client_id" => stored.client_id.clone(),
            _ => stored.directory.clone().unwrap_or_default(),
        },
    };
    let optional = |name: &str| provider == Provider::Google && name == "directory";
    let fields: Vec<Value> = fields(provider)
        .iter()
        .map(|&(name, label, hint)| {
            context! {
                name => name,
                label => label,
                hint => hint,
                value => value(name),
                fault => fault(name),
                optional => optional(name),
            }
        })
        .collect();
    context! {
        key => provider.as_str(),
        title => about(provider).0,
        fields => fields,
        stored => stored.is_some(),
        secret_stored => stored.is_some_and(|stored| !stored.is_operators()),
        secret_fault => fault("client_secret"),
    }
}
