//! The connection for signing in through a provider: what was typed is checked, its secret sealed, the rest saved.

use serde_json::{Value, json};

use super::archive::ROLLCALL;
use crate::error::Result;
use crate::scim::ScimError;
use crate::seal::KeyFile;
use crate::sso::claims::Claims;
use crate::sso::entra;
use crate::sso::fetch::is_loopback;
use crate::store::events::{self, Event};
use crate::store::sso::{self, Connection, Provider};
use crate::store::{TenantId, Tx};

/// Longest of anything typed, in characters.
const MAX_CHARS: usize = 500;

/// A connection as it is wanted, checked.
#[derive(Clone, PartialEq, Eq)]
pub struct Wanted {
    provider: Provider,
    name: String,
    issuer: String,
    client_id: String,
    directory: Option<String>,
    /// `None`: the one that is stored.
    secret: Option<String>,
}

/// A field, and what is wrong in it.
pub type Mistake = (&'static str, String);

/// Checks what was typed; `field` gives it by the field's name.
///
/// Where `loopback` is allowed, the issuer may be plain HTTP on this machine.
///
/// The fields are `client_id` and `client_secret`, and `directory` (Entra ID, Google), `issuer` (Okta, any other) and
/// `name` (any other). An empty secret means the stored one.
pub fn checked<'a>(
    provider: Provider,
    loopback: bool,
    field: impl Fn(&str) -> &'a str,
) -> std::result::Result<Wanted, Vec<Mistake>> {
    let mut mistakes = vec![];
    let mut take = |name: &'static str, read: std::result::Result<String, String>| {
        read.unwrap_or_else(|words| {
            mistakes.push((name, words));
            String::new()
        })
    };
    let (name, issuer, directory) = match provider {
        Provider::Entra => {
            let directory = take(
                "directory",
                uuid(field("directory"), "Directory (tenant) ID"),
            );
            let issuer = entra::issuer(&directory);
            ("Microsoft Azure".to_owned(), issuer, Some(directory))
        }
        Provider::Okta => {
            let issuer = take("issuer", okta_issuer(field("issuer")));
            ("Okta".to_owned(), issuer, None)
        }
        Provider::Google => {
            let domain = take("directory", domain(field("directory")));
            let issuer = "https://accounts.google.com".to_owned();
            (
                "Google Workspace".to_owned(),
                issuer,
                Some(domain).filter(|domain| !domain.is_empty()),
            )
        }
        Provider::Oidc => {
            let name = take(
                "name",
                line(
                    field("name"),
                    "a name, as people shall read it where they sign in",
                ),
            );
            let issuer = match field("issuer") {
                near if loopback && is_loopback(near) => Ok(near.to_owned()),
                other => issuer(other),
            };
            (name, take("issuer", issuer), None)
        }
    };
    let client_id = match provider {
        Provider::Entra => uuid(field("client_id"), "Application (client) ID"),
        _ => word(field("client_id"), "the client ID that the provider shows"),
    };
    let client_id = take("client_id", client_id);
    let secret = take("client_secret", secret(provider, field("client_secret")));
    if !mistakes.is_empty() {
        return Err(mistakes);
    }
    Ok(Wanted {
        provider,
        name,
        issuer,
        client_id,
        directory,
        secret: Some(secret).filter(|secret| !secret.is_empty()),
    })
}

/// Saves it in the place of the one that there was, with the event of it.
///
/// Another issuer or client has to be connected anew. Another secret for the one that is connected is tried from the next
/// sign-in on, and the old one goes on to work until then.
///
/// Errors: 400 where the secret is missing: there is none yet, or it was given for another issuer or client. Who may
/// change the settings, but does not know the secret, could else have it sent to an issuer of their own.
pub fn save(
    tx: &Tx<'_>,
    tenant: TenantId,
    actor: &str,
    wanted: &Wanted,
    key_file: &KeyFile,
) -> Result<()> {
    let before = sso::read(tx, tenant)?;
    let kept = before.as_ref().filter(|before| {
        let same = (&before.issuer, &before.client_id) == (&wanted.issuer, &wanted.client_id);
        same && !before.is_operators()
    });
    let sealed = match &wanted.secret {
        Some(secret) => {
            let whose = whose(tenant, &wanted.issuer, &wanted.client_id);
            Some(key_file.read_or_make()?.seal(secret, &whose)?)
        }
        None => None,
    };
    let after = match (kept, sealed) {
        (Some(kept), sealed) if kept.connected.is_some() => Connection {
            next_secret: sealed.or(kept.next_secret.clone()),
            ..kept.clone()
        },
        (Some(kept), sealed) => Connection {
            secret: sealed.or(kept.secret.clone()),
            ..kept.clone()
        },
        (None, Some(secret)) => unconnected(tx, wanted, secret),
        (None, None) => {
            return Err(ScimError::invalid_value(
                "Enter the client secret: none is stored for this issuer and client.",
            )
            .into());
        }
    };
    let after = Connection {
        provider: wanted.provider,
        name: wanted.name.clone(),
        directory: wanted.directory.clone(),
        created: before.as_ref().map_or(tx.now, |before| before.created),
        changed: tx.now,
        ..after
    };
    sso::write(tx, tenant, &after)?;
    let mut told = shown(&after);
    told["secret_replaced"] = json!(wanted.secret.is_some());
    let before = before.as_ref().map(shown);
    tell(tx, tenant, actor, "connection.saved", (before, Some(told)))
}

fn unconnected(tx: &Tx<'_>, wanted: &Wanted, secret: Vec<u8>) -> Connection {
    let (name, issuer, client_id) = (&wanted.name, &wanted.issuer, &wanted.client_id);
    Connection {
        directory: wanted.directory.clone(),
        ..Connection::new(
            wanted.provider,
            name,
            issuer,
            client_id,
            Some(secret),
            tx.now,
        )
    }
}

/// Notes that somebody of the directory came back from the provider, or that it is ours (`None`); false where it was
/// connected before.
pub fn connect(
    tx: &Tx<'_>,
    tenant: TenantId,
    actor: &str,
    connection: &Connection,
    claims: Option<&Claims>,
) -> Result<bool> {
    if connection.connected.is_some() {
        return Ok(false);
    }
    let after = Connection {
        connected: Some(tx.now),
        ..connection.clone()
    };
    sso::write(tx, tenant, &after)?;
    let mut told = shown(&after);
    if let Some(claims) = claims {
        told["by"] = json!({ "subject": claims.subject, "user_name": claims.user_name });
    }
    tell(
        tx,
        tenant,
        actor,
        "connection.connected",
        (None, Some(told)),
    )?;
    Ok(true)
}

/// Puts the newer secret, which the provider has accepted, in the place of the old one.
pub fn rotate(tx: &Tx<'_>, tenant: TenantId, connection: Connection) -> Result<Connection> {
    let Some(secret) = connection.next_secret.clone() else {
        return Ok(connection);
    };
    let after = Connection {
        secret: Some(secret),
        next_secret: None,
        ..connection
    };
    sso::write(tx, tenant, &after)?;
    let told = Some(shown(&after));
    tell(tx, tenant, ROLLCALL, "connection.rotated", (None, told))?;
    Ok(after)
}

/// Lets nobody sign in through it, or lets them again; false where there is none.
pub fn set_disabled(tx: &Tx<'_>, tenant: TenantId, actor: &str, disabled: bool) -> Result<bool> {
    let Some(before) = sso::read(tx, tenant)? else {
        return Ok(false);
    };
    let kind = match disabled {
        true => "connection.disabled",
        false => "connection.enabled",
    };
    let after = Connection {
        disabled: disabled.then_some(tx.now),
        ..before
    };
    sso::write(tx, tenant, &after)?;
    tell(tx, tenant, actor, kind, (None, Some(shown(&after))))?;
    Ok(true)
}

/// Who may sign in beside those who are linked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Admission {
    /// E-mail domains, with spaces between; empty: any.
    pub domains: String,
    /// Whether who isn't provisioned is created.
    pub creates_people: bool,
    /// Whether a user of the same userName is taken.
    pub matches_user_name: bool,
    /// Whether passwords of local accounts work no more, but for break-glass ones.
    pub enforced: bool,
}

/// Checks domains, separated by commas or white space.
pub fn domains(text: &str) -> std::result::Result<String, String> {
    let parts = text.split([',', ' ', '\t', '\n', '\r', ';']);
    let domains: Vec<String> = parts
        .filter(|part| !part.is_empty())
        .map(domain)
        .collect::<std::result::Result<_, _>>()?;
    match domains.len() {
        0..=100 => Ok(domains.join(" ")),
        _ => Err("At most 100 domains.".to_owned()),
    }
}

/// Saves who may sign in; false where there is no connection.
pub fn admit(tx: &Tx<'_>, tenant: TenantId, actor: &str, admission: &Admission) -> Result<bool> {
    let Some(before) = sso::read(tx, tenant)? else {
        return Ok(false);
    };
    let after = Connection {
        domains: admission.domains.clone(),
        creates_people: admission.creates_people,
        matches_user_name: admission.matches_user_name,
        enforced: admission.enforced,
        ..before.clone()
    };
    sso::write(tx, tenant, &after)?;
    let sides = (Some(shown(&before)), Some(shown(&after)));
    tell(tx, tenant, actor, "connection.changed", sides)?;
    Ok(true)
}

/// Removes it, with the event of it; false where there is none.
pub fn remove(tx: &Tx<'_>, tenant: TenantId, actor: &str) -> Result<bool> {
    let Some(before) = sso::read(tx, tenant)? else {
        return Ok(false);
    };
    sso::remove(tx, tenant)?;
    tell(
        tx,
        tenant,
        actor,
        "connection.removed",
        (Some(shown(&before)), None),
    )?;
    Ok(true)
}

/// The client secrets, a newer one first; none where the key file is gone or another one, or the row was tampered with, or
/// where the operator's application, `own`, is gone or another one.
pub fn secrets_of(
    tenant: TenantId,
    connection: &Connection,
    key_file: &KeyFile,
    own: Option<&entra::Application>,
) -> Result<Vec<String>> {
    if connection.is_operators() {
        let own = own.filter(|own| own.client_id == connection.client_id);
        return Ok(own.map(|own| own.secret.clone()).into_iter().collect());
    }
    let whose = whose(tenant, &connection.issuer, &connection.client_id);
    let Some(key) = key_file.read()? else {
        return Ok(vec![]);
    };
    let sealed = connection.next_secret.iter().chain(&connection.secret);
    Ok(sealed
        .filter_map(|sealed| key.open(sealed, &whose))
        .collect())
}

/// What a secret is sealed for. None of the parts has a line break in it.
fn whose(tenant: TenantId, issuer: &str, client_id: &str) -> String {
    format!("connection\n{}\n{issuer}\n{client_id}", tenant.0)
}

/// As events tell it.
pub(super) fn shown(connection: &Connection) -> Value {
    json!({
        "provider": connection.provider.as_str(),
        "name": connection.name,
        "issuer": connection.issuer,
        "client_id": connection.client_id,
        "directory": connection.directory,
        "through_the_operators_application": connection.is_operators(),
        "domains": connection.domains,
        "creates_people": connection.creates_people,
        "matches_user_name": connection.matches_user_name,
        "enforced": connection.enforced,
    })
}

pub(super) fn tell(
    tx: &Tx<'_>,
    tenant: TenantId,
    actor: &str,
    kind: &'static str,
    (before, after): (Option<Value>, Option<Value>),
) -> Result<()> {
    let about = after.as_ref().or(before.as_ref());
    let subject = about.and_then(|about| about["provider"].as_str());
    let event = Event {
        actor,
        kind,
        subject: subject.unwrap_or_default(),
        object: None,
        before: before.as_ref(),
        after: after.as_ref(),
    };
    events::append(tx, tenant, &event)?;
    Ok(())
}

fn line(text: &str, what: &str) -> std::result::Result<String, String> {
    if text.is_empty() {
        return Err(format!("Enter {what}."));
    }
    if text.chars().count() > MAX_CHARS || text.chars().any(char::is_control) {
        return Err(format!(
            "Enter {what}: one line of at most {MAX_CHARS} characters."
        ));
    }
    Ok(text.to_owned())
}

fn word(text: &str, what: &str) -> std::result::Result<String, String> {
    match line(text, what)? {
        spaced if spaced.contains(char::is_whitespace) => {
            Err(format!("Enter {what}: there is a space in it."))
        }
        word => Ok(word),
    }
}

/// In lower case.
fn uuid(text: &str, what: &str) -> std::result::Result<String, String> {
    if entra::is_id(text) {
        Ok(text.to_lowercase())
    } else {
        Err(format!(
            "The {what} looks like 1f6b2a34-5c7d-4e8f-9a0b-1c2d3e4f5a6b: copy it from the application’s Overview."
        ))
    }
}

fn secret(provider: Provider, text: &str) -> std::result::Result<String, String> {
    if text.is_empty() {
        return Ok(String::new());
    }
    if provider == Provider::Entra && entra::is_id(text) {
        return Err("This is the Secret ID. Copy the Value beside it; Entra ID shows that only right after it was made.".to_owned());
    }
    word(text, "the client secret as the provider shows it")
}

/// An issuer (OpenID Connect Discovery 1.0 §3): compared exactly, so nothing of it is changed.
fn issuer(text: &str) -> std::result::Result<String, String> {
    let text = word(text, "the issuer, as in https://login.example.org")?;
    let Some(rest) = text.strip_prefix("https://") else {
        return Err("An issuer begins with https://".to_owned());
    };
    if text.contains(['?', '#']) {
        return Err("An issuer has no ? and no # in it.".to_owned());
    }
    if text.contains("/.well-known/") {
        return Err(
            "Leave /.well-known/openid-configuration out: the issuer is what stands before it."
                .to_owned(),
        );
    }
    let host = rest.split('/').next().unwrap_or_default();
    let plain = |c: char| c.is_ascii_alphanumeric() || "-.:[]".contains(c);
    if host.is_empty() || !host.chars().all(plain) {
        return Err("After https:// comes a host, as in https://login.example.org".to_owned());
    }
    Ok(text)
}

/// From the domain alone, or from an issuer of Okta's as it is.
fn okta_issuer(text: &str) -> std::result::Result<String, String> {
    let text = text.trim_end_matches('/');
    if text.is_empty() {
        return Err("Enter your Okta domain, as in acme.okta.com.".to_owned());
    }
    let whole = match text.contains("://") {
        true => text.to_owned(),
        false => format!("https://{text}"),
    };
    let issuer = issuer(&whole)?;
    if issuer.contains("-admin.okta") {
        return Err("This is the address of the admin console: leave -admin out.".to_owned());
    }
    Ok(issuer)
}

/// A domain in lower case, or nothing.
fn domain(text: &str) -> std::result::Result<String, String> {
    let domain = text.trim_start_matches('@').to_lowercase();
    let plain = |c: char| c.is_alphanumeric() || "-.".contains(c);
    let good = domain.contains('.') && domain.len() <= 253 && domain.chars().all(plain);
    if good || domain.is_empty() {
        Ok(domain)
    } else {
        Err("A domain looks like example.org; leave the field empty for none.".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(
        provider: Provider,
        fields: &[(&str, &'static str)],
    ) -> std::result::Result<Wanted, Vec<Mistake>> {
        checked(provider, false, |name| {
            fields
                .iter()
                .find(|(known, _)| *known == name)
                .map_or("", |(_, value)| value)
        })
    }

    #[test]
    fn an_issuer_is_https_and_a_host_and_nothing_that_does_not_belong_to_it() {
        for good in [
            "https://login.example.org",
            "https://login.example.org/",
            "https://auth.example.org:8443/application/o/rollcall/",
            "https://[2001:db8::1]/realms/a",
        ] {
            assert_eq!(issuer(good).as_deref(), Ok(good));
        }
        for bad in [
            "",
            "login.example.org",
            "http://login.example.org",
            "https://",
            "https:///a",
            "https://a?b=c",
            "https://a#b",
            "https://a b",
            "https://a\n",
            "https://u:p@a",
            "https://a/.well-known/openid-configuration",
            "javascript:alert(1)",
        ] {
            assert!(issuer(bad).is_err(), "{bad:?}");
        }
        assert_eq!(
            okta_issuer("acme.okta.com").as_deref(),
            Ok("https://acme.okta.com")
        );
        assert_eq!(
            okta_issuer("https://acme.okta.com/oauth2/default/").as_deref(),
            Ok("https://acme.okta.com/oauth2/default")
        );
        assert!(okta_issuer("acme-admin.okta.com").is_err());
        assert!(okta_issuer("http://acme.okta.com").is_err());
    }

    #[test]
    fn each_mistake_is_told_at_its_field() {
        let id = "1F6B2A34-5c7d-4e8f-9a0b-1c2d3e4f5a6b";
        let wanted = check(
            Provider::Entra,
            &[
                ("directory", id),
                ("client_id", id),
                ("client_secret", "a~b"),
            ],
        );
        let wanted = wanted.unwrap_or_else(|mistakes| panic!("{mistakes:?}"));
        assert_eq!(
            wanted.issuer,
            "https://login.microsoftonline.com/1f6b2a34-5c7d-4e8f-9a0b-1c2d3e4f5a6b/v2.0"
        );
        for (provider, fields, faults) in [
            (Provider::Entra, vec![], vec!["directory", "client_id"]),
            (
                Provider::Entra,
                vec![
                    ("directory", "contoso.example"),
                    ("client_id", id),
                    ("client_secret", id),
                ],
                vec!["directory", "client_secret"],
            ),
            (
                Provider::Okta,
                vec![("client_id", "a b")],
                vec!["issuer", "client_id"],
            ),
            (
                Provider::Google,
                vec![("directory", "nodot"), ("client_id", "x")],
                vec!["directory"],
            ),
            (Provider::Google, vec![("client_id", "x")], vec![]),
            (
                Provider::Oidc,
                vec![("client_id", "x")],
                vec!["name", "issuer"],
            ),
        ] {
            let found = check(provider, &fields).err().unwrap_or_default();
            let found: Vec<&str> = found.iter().map(|(field, _)| *field).collect();
            assert_eq!(found, faults, "{provider:?}");
        }
    }
}
