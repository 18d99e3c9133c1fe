//! Pages as HTML: the templates of `static/pages/`, embedded, and the headers that every page carries.
//!
//! Whatever a template shows is escaped; what isn't defined is an error, so that a test finds a mistyped name.

use std::fmt::Write;
use std::sync::LazyLock;

use jiff::Timestamp;
use minijinja::value::Value;
use minijinja::{AutoEscape, Environment, State, UndefinedBehavior};

use super::docs;
use super::request::Response;
use crate::error::{Doing, Result};

/// What a page may load and do: our own files, nothing else, in no frame.
const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; \
     connect-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'";

/// Name and text of each template.
const TEMPLATES: &[(&str, &str)] = &[
    (
        "accounts.html",
        include_str!("../../static/pages/accounts.html"),
    ),
    ("apps.html", include_str!("../../static/pages/apps.html")),
    (
        "archived.html",
        include_str!("../../static/pages/archived.html"),
    ),
    (
        "attributes.html",
        include_str!("../../static/pages/attributes.html"),
    ),
    (
        "backup.html",
        include_str!("../../static/pages/backup.html"),
    ),
    (
        "backup_standing.html",
        include_str!("../../static/pages/backup_standing.html"),
    ),
    ("base.html", include_str!("../../static/pages/base.html")),
    (
        "checklist.html",
        include_str!("../../static/pages/checklist.html"),
    ),
    (
        "confirm.html",
        include_str!("../../static/pages/confirm.html"),
    ),
    (
        "danger.html",
        include_str!("../../static/pages/danger.html"),
    ),
    ("docs.html", include_str!("../../static/pages/docs.html")),
    (
        "document.html",
        include_str!("../../static/pages/document.html"),
    ),
    (
        "events.html",
        include_str!("../../static/pages/events.html"),
    ),
    (
        "expiry.html",
        include_str!("../../static/pages/expiry.html"),
    ),
    (
        "history.html",
        include_str!("../../static/pages/history.html"),
    ),
    ("hosts.html", include_str!("../../static/pages/hosts.html")),
    ("link.html", include_str!("../../static/pages/link.html")),
    ("log.html", include_str!("../../static/pages/log.html")),
    ("me.html", include_str!("../../static/pages/me.html")),
    (
        "narrow.html",
        include_str!("../../static/pages/narrow.html"),
    ),
    ("open.html", include_str!("../../static/pages/open.html")),
    (
        "overview.html",
        include_str!("../../static/pages/overview.html"),
    ),
    (
        "exchange.html",
        include_str!("../../static/pages/exchange.html"),
    ),
    ("pager.html", include_str!("../../static/pages/pager.html")),
    ("parts.html", include_str!("../../static/pages/parts.html")),
    (
        "people.html",
        include_str!("../../static/pages/people.html"),
    ),
    (
        "people_table.html",
        include_str!("../../static/pages/people_table.html"),
    ),
    (
        "person.html",
        include_str!("../../static/pages/person.html"),
    ),
    (
        "person_attributes.html",
        include_str!("../../static/pages/person_attributes.html"),
    ),
    (
        "pretend.html",
        include_str!("../../static/pages/pretend.html"),
    ),
    (
        "problem.html",
        include_str!("../../static/pages/problem.html"),
    ),
    (
        "provisioning.html",
        include_str!("../../static/pages/provisioning.html"),
    ),
    ("purge.html", include_str!("../../static/pages/purge.html")),
    (
        "refusal.html",
        include_str!("../../static/pages/refusal.html"),
    ),
    (
        "role_change.html",
        include_str!("../../static/pages/role_change.html"),
    ),
    ("roles.html", include_str!("../../static/pages/roles.html")),
    ("setup.html", include_str!("../../static/pages/setup.html")),
    ("shell.html", include_str!("../../static/pages/shell.html")),
    (
        "sign_in.html",
        include_str!("../../static/pages/sign_in.html"),
    ),
    (
        "sign_in_way.html",
        include_str!("../../static/pages/sign_in_way.html"),
    ),
    (
        "signed_out.html",
        include_str!("../../static/pages/signed_out.html"),
    ),
    ("sso.html", include_str!("../../static/pages/sso.html")),
    ("team.html", include_str!("../../static/pages/team.html")),
    ("teams.html", include_str!("../../static/pages/teams.html")),
    ("undo.html", include_str!("../../static/pages/undo.html")),
];

static PAGES: LazyLock<Environment<'static>> = LazyLock::new(|| {
    let mut pages = Environment::new();
    pages.set_undefined_behavior(UndefinedBehavior::Strict);
    pages.set_auto_escape_callback(|_| AutoEscape::Html);
    pages.add_filter("time", time);
    pages.add_filter("number", number);
    pages.add_filter("help", |text: String| docs::help(&text));
    pages.add_filter("segment", |text: String| encoded(&text));
    for (name, text) in TEMPLATES {
        pages
            .add_template(name, text)
            .expect("a test parses every template");
    }
    pages
});

/// The page that a template makes of `context`.
pub(super) fn page(status: u16, template: &str, context: Value) -> Result<Response> {
    let html = PAGES
        .get_template(template)
        .and_then(|template| template.render(context))
        .doing("making a page")?;
    Ok(Response {
        status,
        headers: [
            ("Content-Type", "text/html; charset=utf-8"),
            ("Content-Security-Policy", CONTENT_SECURITY_POLICY),
            ("X-Content-Type-Options", "nosniff"),
            ("Referrer-Policy", "no-referrer"),
            ("Cross-Origin-Opener-Policy", "same-origin"),
            ("Cache-Control", "no-store"),
        ]
        .map(|(name, value)| (name, value.to_owned()))
        .to_vec(),
        body: html.into_bytes().into(),
    })
}

/// A time as a template's filter `time` takes it.
pub(super) fn moment(at: Timestamp) -> i64 {
    at.as_millisecond()
}

/// How long ago or how soon a [`moment`] is, with the absolute time behind it. Needs `now` in the context; not inside
/// macros, which don't see the context.
fn time(state: &State<'_, '_>, at: Option<i64>) -> std::result::Result<Value, minijinja::Error> {
    let now = state.lookup("now").and_then(|now| now.as_i64());
    let (Some(at), Some(now)) = (at, now) else {
        return Ok(Value::from("never"));
    };
    let Ok(absolute) = Timestamp::from_millisecond(at) else {
        return Ok(Value::from("never"));
    };
    let utc = absolute.strftime("%Y-%m-%d %H:%M:%S UTC");
    let words = relative(now - at);
    Ok(Value::from_safe_string(format!(
        "<time datetime=\"{absolute}\" title=\"{utc}\">{words}</time>"
    )))
}

/// `millis` ago in words: `just now`, `5 minutes ago`, `in 3 days`.
fn relative(millis: i64) -> String {
    let seconds = millis.unsigned_abs() / 1000;
    let (count, unit) = match seconds {
        0..45 => {
            return if millis >= 0 {
                "just now"
            } else {
                "in a moment"
            }
            .to_owned();
        }
        45..5_400 => ((seconds + 30) / 60, "minute"),
        5_400..129_600 => ((seconds + 1_800) / 3_600, "hour"),
        _ => ((seconds + 43_200) / 86_400, "day"),
    };
    let plural = if count == 1 { "" } else { "s" };
    match millis {
        0.. => format!("{count} {unit}{plural} ago"),
        _ => format!("in {count} {unit}{plural}"),
    }
}

/// A number with thin groups: `12,345`.
fn number(value: i64) -> String {
    let digits = value.unsigned_abs().to_string();
    let mut text = String::from(if value < 0 { "-" } else { "" });
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `text` as one segment of a path or a value of a query (RFC 3986 §2.3).
pub(super) fn encoded(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                out.push(byte as char);
            }
            _ => {
                // Writing to a String never fails.
                let _ = write!(out, "%{byte:02X}");
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_template_parses_and_every_form_that_posts_has_the_token() {
        assert_eq!(PAGES.templates().count(), TEMPLATES.len());
        for (name, text) in TEMPLATES {
            let forms = text.matches("method=\"post\"").count();
            let tokens = text.matches("{{ csrf_field }}").count();
            assert_eq!(forms, tokens, "{name}");
            for word in ["<script>", "style=\"", "onclick", "|safe", "http-equiv"] {
                assert!(!text.contains(word), "{name} has {word}");
            }
        }
    }

    #[test]
    fn what_is_shown_is_escaped() {
        let shown = PAGES
            .render_named_str("x.html", "{{ x }}", minijinja::context! { x => "<b>\"'&" })
            .unwrap();
        assert_eq!(shown, "&lt;b&gt;&quot;&#x27;&amp;");
    }

    #[test]
    fn times_are_told_in_words() {
        for (seconds, words) in [
            (0, "just now"),
            (-10, "in a moment"),
            (60, "1 minute ago"),
            (3_599, "60 minutes ago"),
            (7_200, "2 hours ago"),
            (-86_400 * 3, "in 3 days"),
            (86_400 * 40, "40 days ago"),
        ] {
            assert_eq!(relative(seconds * 1000), words);
        }
        assert_eq!(number(1_234_567), "1,234,567");
        assert_eq!(number(-100), "-100");
        assert_eq!(encoded("a b/ä?"), "a%20b%2F%C3%A4%3F");
    }
}
