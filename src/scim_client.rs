//! A client of any SCIM server: one request, one answer, and no opinion about either.
//!
//! The token goes to the server that it was given for, and nowhere else: no redirect is followed, and an address of another
//! server is refused. It is in no error and in no `Debug`.

use std::fmt;
use std::time::Duration;

use serde_json::Value;
use ureq::http::{self, Response};
use ureq::{Agent, Body};

use crate::outgoing;

/// For one request and its answer.
const TIMEOUT: Duration = Duration::from_secs(30);

/// Most bytes of an answer.
const ANSWER_MAX_BYTES: u64 = 16 * 1024 * 1024;

/// What every SCIM body is (RFC 7644 §8.1).
pub const SCIM_JSON: &str = "application/scim+json";

/// A SCIM server, and the token for it.
pub struct Client {
    /// For GET, which is sent again where its connection was just closed.
    reader: Agent,
    /// For all that changes something, which must not be sent twice.
    writer: Agent,
    /// Scheme and host, as in `https://scim.example.org`.
    origin: String,
    /// The path of the base URL, without a slash at its end.
    base: String,
    /// What stood behind `?` in the base URL. Entra ID's feature flags are there, and go with every request.
    query: Option<String>,
    authorization: Option<String>,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Client({}{})", self.origin, self.base)
    }
}

/// What is asked.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// As in `GET`.
    pub method: &'a str,
    /// Below the base URL, with its query, as in `/Users?filter=userName eq "ana"`: spaces, quotes and the like are
    /// percent-encoded, escapes stay. Or a whole URL of the same server.
    pub path: &'a str,
    /// Besides those that always go along. An `Authorization` or `Content-Type` of here takes the place of the usual one.
    pub headers: &'a [(&'a str, &'a str)],
    /// Whether the token stays at home.
    pub anonymous: bool,
    /// What is sent, as `application/scim+json` unless a header says something else.
    pub body: Option<&'a [u8]>,
}

/// What came back.
#[derive(Clone, Debug, Default)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// All headers that are text.
    pub headers: Vec<(String, String)>,
    /// The body as it came.
    pub body: Vec<u8>,
    /// The body, if it is JSON, whatever its content type says.
    pub json: Option<Value>,
}

impl Answer {
    /// The first header of this name, in any case.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut headers = self.headers.iter();
        let found = headers.find(|(known, _)| known.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }
}

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// The base URL is none; what is wrong with it.
    BadUrl(&'static str),
    /// The token or a header can't be sent: it has a line break, say.
    Unsendable,
    /// A path that is the address of another server.
    Elsewhere,
    /// No answer; why, in words.
    Unreachable(String),
    /// None in time.
    TooLate,
    /// More than a client would read.
    TooLong,
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Trouble::BadUrl(what) => write!(f, "the base URL {what}"),
            Trouble::Unsendable => {
                f.write_str("the token or a header has characters that can’t be sent")
            }
            Trouble::Elsewhere => {
                f.write_str("the address is at another server, which the token is not for")
            }
            Trouble::Unreachable(why) => write!(f, "no answer: {why}"),
            Trouble::TooLate => write!(f, "no answer within {} s", TIMEOUT.as_secs()),
            Trouble::TooLong => f.write_str("the answer is too long"),
        }
    }
}

impl std::error::Error for Trouble {}

impl Client {
    /// A client of the server whose resource types are below `base_url`, as in `https://scim.example.org/scim/v2`.
    ///
    /// # Errors
    ///
    /// `BadUrl`, and `Unsendable` for a token that is no header.
    pub fn new(base_url: &str, token: Option<&str>) -> Result<Client, Trouble> {
        let bad = |what| Err(Trouble::BadUrl(what));
        let lower = base_url.get(..8).unwrap_or(base_url).to_ascii_lowercase();
        if !lower.starts_with("http://") && !lower.starts_with("https://") {
            return bad("begins with neither https:// nor http://");
        }
        if !base_url.bytes().all(|byte| byte.is_ascii_graphic()) || base_url.contains('#') {
            return bad("has characters that don’t belong there");
        }
        let (url, query) = match base_url.split_once('?') {
            Some((url, query)) => (url, Some(query.to_owned())),
            None => (base_url, None),
        };
        let (origin, base) = split(url);
        if origin.contains('@') {
            return bad("names a user; give the token by itself");
        }
        if origin.ends_with("://") {
            return bad("names no host");
        }
        let authorization = token.map(|token| format!("Bearer {token}"));
        let is_header = |text: &String| http::HeaderValue::from_str(text).is_ok();
        if !authorization.iter().all(is_header) {
            return Err(Trouble::Unsendable);
        }
        Ok(Client {
            reader: outgoing::agent(TIMEOUT, true),
            writer: outgoing::agent_that_keeps_no_connection(TIMEOUT, true),
            origin: origin.to_owned(),
            base: base.trim_end_matches('/').to_owned(),
            query: query.filter(|query| !query.is_empty()),
            authorization,
        })
    }

    /// Scheme and host of the server.
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// Sends a JSON body, or none.
    ///
    /// # Errors
    ///
    /// As [`Client::request`].
    pub fn send(&self, method: &str, path: &str, body: Option<&Value>) -> Result<Answer, Trouble> {
        let body = body.map(|body| body.to_string().into_bytes());
        self.request(&Request {
            method,
            path,
            headers: &[],
            anonymous: false,
            body: body.as_deref(),
        })
    }

    /// Sends what is asked and reads what comes. Every status is an answer, also a redirect.
    ///
    /// # Errors
    ///
    /// No answer, one that is too long, or nothing that could be sent.
    pub fn request(&self, request: &Request<'_>) -> Result<Answer, Trouble> {
        if request.method != "GET" {
            return self.ask(&self.writer, request);
        }
        match self.ask(&self.reader, request) {
            Err(Trouble::Unreachable(_)) => self.ask(&self.writer, request),
            answer => answer,
        }
    }

    fn ask(&self, agent: &Agent, request: &Request<'_>) -> Result<Answer, Trouble> {
        let mut asked = http::Request::builder()
            .method(request.method)
            .uri(self.url(request.path)?);
        let sets = |name: &str| {
            let mut headers = request.headers.iter();
            headers.any(|(known, _)| known.eq_ignore_ascii_case(name))
        };
        if !sets("Accept") {
            asked = asked.header("Accept", "application/scim+json, application/json;q=0.9");
        }
        if request.body.is_some() && !sets("Content-Type") {
            asked = asked.header("Content-Type", SCIM_JSON);
        }
        match &self.authorization {
            Some(authorization) if !request.anonymous && !sets("Authorization") => {
                asked = asked.header("Authorization", authorization);
            }
            _ => {}
        }
        for (name, value) in request.headers {
            asked = asked.header(*name, *value);
        }
        let unsendable = |_| Trouble::Unsendable;
        let answer = match request.body {
            Some(body) => agent.run(asked.body(body).map_err(unsendable)?),
            None => agent.run(asked.body(()).map_err(unsendable)?),
        };
        read(answer.map_err(trouble)?)
    }

    fn url(&self, path: &str) -> Result<String, Trouble> {
        let mut url = if path.starts_with('/') || path.is_empty() {
            format!("{}{}{}", self.origin, self.base, encode(path))
        } else {
            let (origin, rest) = split(path);
            if !origin.eq_ignore_ascii_case(&self.origin) {
                return Err(Trouble::Elsewhere);
            }
            format!("{}{}", self.origin, encode(rest))
        };
        if let Some(query) = &self.query {
            url.push(if url.contains('?') { '&' } else { '?' });
            url.push_str(query);
        }
        Ok(url)
    }
}

/// Scheme and host of a URL, and the rest.
fn split(url: &str) -> (&str, &str) {
    let host = url.find("://").map_or(0, |at| at + 3);
    let end = url[host..].find(['/', '?', '#']);
    url.split_at(end.map_or(url.len(), |end| host + end))
}

/// Percent-encodes what may not stand in a request line and leaves the rest, also existing escapes.
fn encode(url: &str) -> String {
    let mut encoded = String::with_capacity(url.len());
    for byte in url.bytes() {
        match byte.is_ascii_graphic() && !b"\"<>\\^`{|}[]#".contains(&byte) {
            true => encoded.push(byte as char),
            false => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    encoded
}

fn read(mut answer: Response<Body>) -> Result<Answer, Trouble> {
    let headers = answer.headers().iter().filter_map(|(name, value)| {
        let value = value.to_str().ok()?;
        Some((name.as_str().to_owned(), value.to_owned()))
    });
    let headers = headers.collect();
    let status = answer.status().as_u16();
    let body = answer.body_mut().with_config().limit(ANSWER_MAX_BYTES);
    let body = body.read_to_vec().map_err(trouble)?;
    Ok(Answer {
        status,
        headers,
        json: serde_json::from_slice(&body).ok(),
        body,
    })
}

fn trouble(error: ureq::Error) -> Trouble {
    match error {
        ureq::Error::BodyExceedsLimit(_) => Trouble::TooLong,
        ureq::Error::Timeout(_) => Trouble::TooLate,
        error => Trouble::Unreachable(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::{Client, Trouble};

    #[test]
    fn a_path_is_below_the_base() {
        for (base, path, url) in [
            (
                "https://a.example/scim/v2",
                "/Users",
                "https://a.example/scim/v2/Users",
            ),
            (
                "https://a.example/scim/v2/",
                "/Users",
                "https://a.example/scim/v2/Users",
            ),
            ("https://a.example", "", "https://a.example"),
            (
                "http://[::1]:8/v2",
                "/Users?filter=name[a eq \"é\"]&b=%22",
                "http://[::1]:8/v2/Users?filter=name%5Ba%20eq%20%22%C3%A9%22%5D&b=%22",
            ),
            (
                "https://a.example/v2/?flag",
                "/Users",
                "https://a.example/v2/Users?flag",
            ),
            (
                "https://a.example/v2?flag",
                "/Users?a=b",
                "https://a.example/v2/Users?a=b&flag",
            ),
            (
                "https://a.example/v2",
                "https://A.example/other",
                "https://a.example/other",
            ),
        ] {
            let client = Client::new(base, Some("token")).unwrap();
            assert_eq!(client.url(path).unwrap(), url);
        }
    }

    #[test]
    fn another_server_gets_no_token() {
        let client = Client::new("https://a.example/v2", Some("token")).unwrap();
        for path in [
            "https://b.example/v2/Users",
            "http://a.example/v2/Users",
            "https://a.example:8/v2/Users",
            "https://a.example@b.example/",
            "Users",
        ] {
            assert_eq!(client.url(path), Err(Trouble::Elsewhere), "{path}");
        }
    }

    #[test]
    fn what_is_no_base_url_is_refused() {
        for base in [
            "",
            "a.example/scim",
            "ftp://a.example",
            "https://",
            "https:///scim",
            "https://ana:secret@a.example",
            "https://a.example/a b",
            "https://a.example/#a",
        ] {
            let refused = Client::new(base, None);
            assert!(matches!(refused, Err(Trouble::BadUrl(_))), "{base}");
        }
        let refused = Client::new("https://a.example", Some("a\nb"));
        assert!(matches!(refused, Err(Trouble::Unsendable)));
    }
}
