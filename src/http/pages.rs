//! Pages and operational answers: everything that is not SCIM.

use super::request::{Head, Request, Response};
use super::route::Asset;
use super::visitor::Visitor;
use super::{App, docs};
use crate::error::Result;
use crate::store::tenants;

/// `/healthz`: the process lives and its connection loop answers.
pub(super) fn health(head: &Head) -> Response {
    read_only(head, || plain(200, "ok\n"))
}

/// `/readyz`: the database answers too.
pub(super) fn ready(app: &App, head: &Head) -> Response {
    let stands = || {
        app.store
            .in_place()
            .and_then(|()| app.store.read(tenants::list))
    };
    read_only(head, || match stands() {
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

/// A file of `static/`, embedded at build time.
pub(super) fn asset(head: &Head, asset: &Asset) -> Response {
    let (content_type, text) = match asset {
        Asset::Style => (
            "text/css; charset=utf-8",
            include_str!("../../static/style.css"),
        ),
        Asset::Icon => ("image/svg+xml", include_str!("../../static/icon.svg")),
        Asset::Script => {
            let text = include_str!("../../static/rollcall.js");
            ("text/javascript; charset=utf-8", text)
        }
        Asset::Picture(name) => match docs::picture(name) {
            Some(text) => ("image/svg+xml", text),
            None => return plain(404, "There is no picture at this address.\n"),
        },
    };
    read_only(head, || {
        let mut response = typed(200, content_type, text);
        // Not longer, so that a new version's pages don't wear the old one's clothes for a day.
        let headers = &mut response.headers;
        headers.push(("Cache-Control", "max-age=300".to_owned()));
        response
    })
}

/// `/`: on to the settings.
pub(super) fn home(head: &Head) -> Response {
    read_only(head, || Response {
        status: 303,
        headers: vec![("Location", "/settings".to_owned())],
        body: vec![].into(),
    })
}

/// A line of text.
pub(super) fn plain(status: u16, text: &str) -> Response {
    typed(status, "text/plain; charset=utf-8", text)
}

/// A page for anybody: `answer` is given the visitor.
pub(super) fn visited(
    app: &App,
    request: &Request,
    answer: impl FnOnce(&Visitor<'_>) -> Result<Response>,
) -> Response {
    match Visitor::of(app, request) {
        Ok(visitor) => answer(&visitor).unwrap_or_else(|error| visitor.failure(error)),
        Err(refused) => or_log(refused, &request.head),
    }
}

/// A page, or where that can't be made a line of text.
pub(super) fn or_log(page: Result<Response>, head: &Head) -> Response {
    page.unwrap_or_else(|error| {
        log::error!("{}: {error}", head.request_id);
        plain(
            500,
            "Something went wrong; the server's log has the reason.\n",
        )
    })
}

/// A body that browsers take for what it says it is, and for nothing else.
fn typed(status: u16, content_type: &str, body: &str) -> Response {
    Response {
        status,
        headers: vec![
            ("Content-Type", content_type.to_owned()),
            ("X-Content-Type-Options", "nosniff".to_owned()),
        ],
        body: body.as_bytes().to_vec().into(),
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
