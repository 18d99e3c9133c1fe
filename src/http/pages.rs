//! Pages and operational answers: everything that is not SCIM.

use super::App;
use super::request::{Head, Response};
use super::route::Asset;
use crate::store::tenants;

/// What a page may load and do: our own style sheet, nothing else, in no frame.
const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; style-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'self'";

/// `/healthz`: the process lives and its connection loop answers.
pub(super) fn health(head: &Head) -> Response {
    read_only(head, || plain(200, "ok\n"))
}

/// `/readyz`: the database answers too.
pub(super) fn ready(app: &App, head: &Head) -> Response {
    read_only(head, || match app.store.read(tenants::list) {
        Ok(_) => plain(200, "ready\n"),
        Err(error) => {
            log::error!("{}: {error}", head.request_id);
            plain(
                503,
                "The database does not answer; the log has the reason.\n",
            )
        }
    })
}

/// `/settings`, which says where settings are made.
pub(super) fn settings(head: &Head) -> Response {
    read_only(head, || {
        page(include_str!("../../static/pages/settings.html"))
    })
}

/// A file of `static/`, embedded at build time.
pub(super) fn asset(head: &Head, asset: Asset) -> Response {
    read_only(head, || match asset {
        Asset::Style => {
            let style = include_str!("../../static/style.css");
            let mut response = typed(200, "text/css; charset=utf-8", style);
            let headers = &mut response.headers;
            headers.push(("Cache-Control", "max-age=3600".to_owned()));
            response
        }
    })
}

/// `/`: on to the settings.
pub(super) fn home(head: &Head) -> Response {
    read_only(head, || Response {
        status: 303,
        headers: vec![("Location", "/settings".to_owned())],
        body: vec![],
    })
}

/// A line of text.
pub(super) fn plain(status: u16, text: &str) -> Response {
    typed(status, "text/plain; charset=utf-8", text)
}

fn page(html: &str) -> Response {
    let mut response = typed(200, "text/html; charset=utf-8", html);
    response.headers.extend([
        (
            "Content-Security-Policy",
            CONTENT_SECURITY_POLICY.to_owned(),
        ),
        ("Referrer-Policy", "no-referrer".to_owned()),
    ]);
    response
}

/// A body that browsers take for what it says it is, and for nothing else.
fn typed(status: u16, content_type: &str, body: &str) -> Response {
    Response {
        status,
        headers: vec![
            ("Content-Type", content_type.to_owned()),
            ("X-Content-Type-Options", "nosniff".to_owned()),
        ],
        body: body.as_bytes().to_vec(),
    }
}

fn read_only(head: &Head, answer: impl FnOnce() -> Response) -> Response {
    if matches!(head.method.as_str(), "GET") {
        return answer();
    }
    let mut response = plain(405, "This address can only be read.\n");
    response.headers.push(("Allow", "GET, HEAD".to_owned()));
    response
}
