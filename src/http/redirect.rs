//! The plain listener beside HTTPS: sends everybody on, and serves nothing.

use super::pages::plain;
use super::request::{Handler, Head, Request, Response};

/// The handler.
#[derive(Clone, Debug)]
pub struct Redirect {
    to: Option<String>,
    port: Option<u16>,
}

impl Redirect {
    /// Sends on to `public_url` if that one is HTTPS, else to the host that each request names, at `port`.
    pub fn new(public_url: Option<String>, port: Option<u16>) -> Redirect {
        Redirect {
            to: public_url.filter(|url| url.starts_with("https://")),
            port,
        }
    }

    fn location(&self, head: &Head) -> String {
        let path = if head.path.starts_with('/') {
            &head.path
        } else {
            "/"
        };
        let query = match head.query.as_str() {
            "" => String::new(),
            query => format!("?{query}"),
        };
        let origin = self.to.clone().unwrap_or_else(|| {
            let host = without_port(head.origin.trim_start_matches("http://"));
            match self.port {
                Some(443) | None => format!("https://{host}"),
                Some(port) => format!("https://{host}:{port}"),
            }
        });
        format!("{origin}{path}{query}")
    }
}

/// A host that was checked as an authority, without its port. Colons within brackets belong to the host.
fn without_port(authority: &str) -> &str {
    match authority.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => host,
        _ => authority,
    }
}

impl Handler for Redirect {
    fn body_limit(&self, _: &Head) -> u64 {
        // Bodies are for where it sends them.
        0
    }

    fn answer(&self, request: Request) -> Response {
        let mut response = plain(308, "This is served by HTTPS only.\n");
        let location = self.location(&request.head);
        response.headers.push(("Location", location));
        response
    }

    fn refusal(&self, head: Option<&Head>, status: u16, detail: &str) -> Response {
        match head {
            // It has a body, which is of no interest.
            Some(head) if status == 413 => {
                let mut response = plain(308, "This is served by HTTPS only.\n");
                response.headers.push(("Location", self.location(head)));
                response
            }
            _ => plain(status, &format!("{detail}\n")),
        }
    }
}
