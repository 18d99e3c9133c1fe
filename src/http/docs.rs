//! The documents: the Markdown files of `static/docs/` as pages for anybody, with a tenant's own values in the text for
//! who is signed in to its settings.
//!
//! They read as well in the repository, where nothing is filled in. Their order here is the one of the list.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use minijinja::context;
use minijinja::value::Value;

use super::markdown::{self, Document, Heading, Marked, Values};
use super::request::Response;
use super::visitor::Visitor;
use crate::error::Result;
use crate::store::sessions::Session;
use crate::store::{roles, settings, tenants};

/// A line for each document, and one for each picture: `name => file`.
macro_rules! embedded {
    ($($name:literal),* $(,)?) => {
        &[$(($name, include_str!(concat!("../../static/docs/", $name)))),*]
    };
}

/// Name of the file, and what is in it.
const DOCUMENTS: &[(&str, &str)] = embedded![
    "first-ten-minutes.md",
    "running.md",
    "behind-a-proxy.md",
    "entra.md",
    "okta.md",
    "authentik.md",
    "keycloak.md",
    "generic.md",
    "troubleshooting.md",
    "messages.md",
    "deprovisioning.md",
    "backup.md",
    "upgrade.md",
    "security.md",
    "sqlite.md",
    "recipes.md",
    "air-gapped.md",
    "check.md",
    "simulate.md",
];

const PICTURES: &[(&str, &str)] = embedded![
    "authentik-application.svg",
    "authentik-provider.svg",
    "authentik-sign-in.svg",
    "entra-app-role-mapping.svg",
    "entra-app-role.svg",
    "entra-attribute-list.svg",
    "entra-create.svg",
    "entra-credentials.svg",
    "entra-external-id.svg",
    "entra-on-demand.svg",
    "entra-registration.svg",
    "entra-role-mapping.svg",
    "entra-secret.svg",
    "entra-settings.svg",
    "generic-conversation.svg",
    "keycloak-client.svg",
    "okta-connection.svg",
    "okta-role-name.svg",
    "okta-sign-in.svg",
    "okta-to-app.svg",
];

/// The documents that say of each message what to do.
const EXPLAINING: [&str; 2] = ["troubleshooting", "messages"];

/// What a message leaves open, in the document.
const OPEN: char = '…';

/// What is shown to strangers, without the text: name, title and first sentence of each.
static INDEX: LazyLock<Vec<(&'static str, Document)>> = LazyLock::new(|| {
    let read = |&(file, text): &(&'static str, &str)| {
        (
            file.trim_end_matches(".md"),
            markdown::read(text, None, size),
        )
    };
    DOCUMENTS.iter().map(read).collect()
});

/// A picture's text.
pub(super) fn picture(file: &str) -> Option<&'static str> {
    let found = PICTURES.iter().find(|(known, _)| *known == file);
    found.map(|(_, text)| *text)
}

/// Width and height of a picture, as its first line says.
fn size(file: &str) -> Option<(u32, u32)> {
    let number = |name: &str| {
        let (_, rest) = picture(file)?.split_once(&format!(" {name}=\""))?;
        rest.split('"').next()?.parse().ok()
    };
    Some((number("width")?, number("height")?))
}

/// `/docs`
pub(super) fn index(visitor: &Visitor<'_>) -> Result<Response> {
    let about = INDEX.iter().map(|(name, document)| {
        context! { name => *name, title => document.title.as_str(), about => document.about.as_str() }
    });
    let about: Vec<Value> = about.collect();
    show(visitor, "docs.html", "Guides", context! { about => about })
}

/// `/docs/{name}`
pub(super) fn document(visitor: &Visitor<'_>, name: &str) -> Result<Response> {
    let file = format!("{name}.md");
    let Some((_, text)) = DOCUMENTS.iter().find(|(known, _)| *known == file) else {
        return visitor.problem(404, "There is no guide of this name.");
    };
    let values = match administrator(visitor) {
        Some(session) => Some(values(visitor, session)?),
        None => None,
    };
    let read = markdown::read(text, values.as_ref(), size);
    let sections = read.headings.iter().filter(|heading| heading.level == 2);
    let sections: Vec<Value> = sections
        .map(|section| context! { id => section.id.as_str(), text => section.text.as_str() })
        .collect();
    let has_addresses = text.contains(markdown::EXAMPLE);
    let context = context! {
        sections => sections,
        html => Value::from_safe_string(read.html),
        has_addresses => has_addresses,
        by_http => values.is_some_and(|values| values.origin.starts_with("http:")),
        filled => administrator(visitor).is_some(),
    };
    show(visitor, "document.html", &read.title, context)
}

/// Where a message is explained: an address, if one of the guides for that quotes it or names its number. Of several quotes
/// that fit the one that leaves the least open counts.
pub(super) fn help(message: &str) -> Option<String> {
    let number = message.rsplit_once("(AADSTS");
    let number = number.and_then(|(_, rest)| rest.split_once(')'));
    let number = number.map(|(digits, _)| format!("AADSTS{digits}"));
    let fits = |heading: &Heading| {
        let names = |number: &String| heading.text.split(", ").any(|name| name == number);
        if number.as_ref().is_some_and(names) {
            return Some(usize::MAX);
        }
        let quotes = heading.quotes.iter();
        let fitting = quotes.filter(|quote| is_quoted(message, quote));
        fitting.map(String::len).max()
    };
    let explaining = INDEX.iter().filter(|(name, _)| EXPLAINING.contains(name));
    let headings =
        explaining.flat_map(|(name, read)| read.headings.iter().map(move |it| (name, it)));
    let fitting = headings.filter_map(|(name, heading)| Some((fits(heading)?, name, heading)));
    let (_, name, heading) = fitting.max_by_key(|(length, ..)| *length)?;
    Some(format!("/docs/{name}#{}", heading.id))
}

/// Whether `quote` is this message, with whatever it leaves open.
fn is_quoted(message: &str, quote: &str) -> bool {
    let mut parts = quote.split(OPEN);
    let Some(mut rest) = parts.next().and_then(|part| message.strip_prefix(part)) else {
        return false;
    };
    let parts: Vec<&str> = parts.collect();
    let Some((last, between)) = parts.split_last() else {
        return rest.is_empty();
    };
    for part in between {
        match rest.split_once(part) {
            Some((_, after)) => rest = after,
            None => return false,
        }
    }
    rest.ends_with(last)
}

/// Who may see the tenant's own values.
fn administrator<'v>(visitor: &'v Visitor<'_>) -> Option<&'v Session> {
    let session = visitor.session.as_ref();
    session.filter(|session| session.opens_settings)
}

/// What a tenant has in the place of the examples.
fn values(visitor: &Visitor<'_>, session: &Session) -> Result<Values> {
    let tenant = session.tenant;
    let (name, settings, roles, (mapped, _), rules) = visitor.app.store.read(|snapshot| {
        Ok((
            tenants::by_id(snapshot, tenant)?,
            settings::read(snapshot, tenant)?,
            roles::list(snapshot, tenant)?,
            roles::mappings(snapshot, tenant)?,
            roles::rules(snapshot, tenant)?,
        ))
    })?;
    let default = roles.iter().find(|role| role.id == rules.default);
    let default = default.map_or("none", |role| role.name.as_str());
    let rows: Vec<_> = mapped.into_iter().map(|row| (row.from, row.role)).collect();
    let rows = match rows.is_empty() {
        true => Marked::Words("No value gives a role yet: add one on Roles.".to_owned()),
        false => Marked::Rows(["roleName", "Role"], rows),
    };
    let retention = match settings.retention_days {
        0 => "0 days (so that is for good)".to_owned(),
        days => format!("{days} days"),
    };
    let words = |words: String| Marked::Words(words);
    Ok(Values {
        origin: visitor.app.origin(visitor.head).to_owned(),
        tenant: name.map(|tenant| tenant.name).unwrap_or_default(),
        marked: BTreeMap::from([
            ("roles", rows),
            ("default-role", words(default.to_owned())),
            ("retention", words(retention)),
            ("removals", words(settings.removals.count.to_string())),
            ("share", words(format!("{} %", settings.removals.percent))),
        ]),
    })
}

/// In the frame of the settings for who may open them, else in one with the list of documents.
fn show(visitor: &Visitor<'_>, template: &str, title: &str, context: Value) -> Result<Response> {
    let tenant = match administrator(visitor) {
        Some(session) => {
            let id = session.tenant;
            let found = visitor
                .app
                .store
                .read(|snapshot| tenants::by_id(snapshot, id))?;
            found.map(|tenant| tenant.name)
        }
        None => None,
    };
    let list = INDEX
        .iter()
        .map(|(name, document)| (*name, document.title.as_str()));
    let list: Vec<Value> = list
        .map(|(name, title)| context! { name => name, title => title })
        .collect();
    let common = context! {
        title => title,
        layout => if tenant.is_some() { "shell.html" } else { "open.html" },
        tenant => tenant,
        documents => list,
    };
    visitor.page(200, template, context! { ..context, ..common })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manage::linking::Denied;
    use crate::sso::words;

    #[test]
    fn a_message_is_explained_where_it_is_quoted() {
        let unknown = words::meaning("access_denied", "AADSTS50126: x");
        for (message, anchor) in [
            (Denied::NotProvisioned.words(), "not-provisioned"),
            (Denied::NameOfMight.words(), "the-name-is-anothers"),
            (
                "You are not signed in: its ID token has no oid.",
                "the-id-token-is-refused",
            ),
            (
                "You are not signed in: the provider can’t be reached: no route.",
                "the-provider-does-not-answer",
            ),
            (
                "Not connected. The client secret is wrong. An administrator has to enter its Value, which is not the Secret ID. (AADSTS7000215)",
                "aadsts7000215",
            ),
            (
                &words::meaning("", "AADSTS90094: x"),
                "aadsts65001-aadsts90094",
            ),
            (&words::meaning("", "AADSTS53999: x"), "aadsts53003"),
            (&unknown, "aadsts50126-aadsts50053-aadsts50055"),
            (
                "There were too many tries. Wait 7 seconds and try again.",
                "too-many-sign-ins",
            ),
        ] {
            let expected = format!("/docs/troubleshooting#{anchor}");
            assert_eq!(help(message), Some(expected), "{message}");
        }
        assert_eq!(help("Saved."), None);
        assert_eq!(help(""), None);
    }

    #[test]
    fn quotes_leave_open_what_differs() {
        for (quote, message, fits) in [
            ("a b", "a b", true),
            ("a b", "a b c", false),
            ("a … c", "a b c", true),
            ("a … c", "a b d", false),
            ("…b…", "a b c", true),
            ("…x…", "a b c", false),
            ("… b …", "a b c", true),
            ("a … b … c", "a 1 b 2 c", true),
            ("a … b", "a b", false),
        ] {
            assert_eq!(is_quoted(message, quote), fits, "{quote} {message}");
        }
    }
}
