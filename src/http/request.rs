//! Our plain Request and Response, which tests can build, and the one thing the connection loop calls.
//!
//! Also what a head means beyond its bytes: who asks when a proxy stands in between, and the decoded
//! pieces of its target.

use std::borrow::Cow;
use std::fs::File;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Instant;

use ipnet::IpNet;
use jiff::Timestamp;

use super::head::{ParsedHead, is_authority};

/// A request's head, parsed and checked.
#[derive(Clone, Debug)]
pub struct Head {
    /// `GET`, `POST`, … as sent. A HEAD is handed over as `GET`: the loop leaves out the answer's body.
    pub method: String,
    /// Percent-encoded path, as sent, without the query.
    pub path: String,
    /// Percent-encoded query, without the question mark; empty where there is none.
    pub query: String,
    /// In order, names as sent, values without the white space around them.
    pub headers: Vec<(String, String)>,
    /// Who asks: the peer, or what a trusted proxy says.
    pub address: IpAddr,
    /// `http://HOST` or `https://HOST` as the client sees it (Host header, or what a trusted proxy says).
    pub origin: String,
    /// For logs and the `X-Request-Id` header (UUID v7).
    pub request_id: String,
    /// When its first byte was read.
    pub started: Instant,
    /// The clock at that moment: `now` of the whole request.
    pub now: Timestamp,
}

impl Head {
    /// The first header of this name, in any case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(n, _)| n.eq_ignore_ascii_case(name))
            .map(|(_, v)| v.as_str())
    }

    /// The query's parameters, decoded as a form: `+` is a space, a name without `=` has an empty value.
    ///
    /// `None` where a %-escape is malformed or doesn't decode to UTF-8.
    pub fn query_pairs(&self) -> Option<Vec<(String, String)>> {
        pairs(&self.query)
    }

    /// The path's segments, decoded; empty segments (`//`, a trailing slash) are dropped.
    ///
    /// `None` where a %-escape is malformed or doesn't decode to UTF-8.
    pub fn segments(&self) -> Option<Vec<Cow<'_, str>>> {
        self.path
            .split('/')
            .filter(|segment| !segment.is_empty())
            .map(decode)
            .collect()
    }
}

/// The names and values of a query or of a form's body.
pub(super) fn pairs(text: &str) -> Option<Vec<(String, String)>> {
    text.split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            Some((
                decode(&name.replace('+', " "))?.into_owned(),
                decode(&value.replace('+', " "))?.into_owned(),
            ))
        })
        .collect()
}

/// Decodes %-escapes (RFC 3986 §2.1).
pub(super) fn decode(text: &str) -> Option<Cow<'_, str>> {
    if !text.contains('%') {
        return Some(text.into());
    }
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        let (byte, tail) = match (first, tail) {
            (b'%', [high, low, tail @ ..]) => {
                let digit = |byte: &u8| (*byte as char).to_digit(16);
                (u8::try_from(digit(high)? * 16 + digit(low)?).ok()?, tail)
            }
            (b'%', _) => return None,
            _ => (*first, tail),
        };
        bytes.push(byte);
        rest = tail;
    }
    String::from_utf8(bytes).ok().map(Cow::Owned)
}

/// A whole request.
#[derive(Clone, Debug)]
pub struct Request {
    /// What it asks, and who. The loop has it, too, for its own answer where the handler panics.
    pub head: Arc<Head>,
    /// Its body, unframed: at most as many bytes as [`Handler::body_limit`] allowed.
    pub body: Vec<u8>,
}

/// An answer.
///
/// The loop adds Content-Length, Date, X-Request-Id and Connection. Control characters in a header's
/// value are dropped, so no value can begin another header.
#[derive(Debug)]
pub struct Response {
    /// The status code.
    pub status: u16,
    /// Header fields, in order.
    pub headers: Vec<(&'static str, String)>,
    /// Ignored where the status has no body (204, 304).
    pub body: Body,
}

/// An answer's body.
#[derive(Debug)]
pub enum Body {
    /// In memory, in one piece or in several.
    Bytes(Vec<Vec<u8>>),
    /// So many bytes of a file from where it stands, sent piece by piece. Where it turns out to be shorter, the
    /// connection is closed.
    File(File, u64),
}

impl Body {
    /// All of a file that was just opened.
    pub fn of_file(file: File) -> io::Result<Body> {
        let length = file.metadata()?.len();
        Ok(Body::File(file, length))
    }

    /// How many bytes it has.
    pub fn length(&self) -> u64 {
        match self {
            Body::Bytes(pieces) => pieces.iter().map(|piece| piece.len() as u64).sum(),
            Body::File(_, length) => *length,
        }
    }
}

impl From<Vec<u8>> for Body {
    fn from(bytes: Vec<u8>) -> Body {
        Body::Bytes(vec![bytes])
    }
}

/// What the connection loop calls. It knows nothing of SCIM or pages.
///
/// All three run on the connection's own thread and may block. A panic in one of them is an answer of
/// 500 to that request and nothing else.
pub trait Handler: Send + Sync + 'static {
    /// The most bytes of body that this request may send. Asked only of requests that have one.
    fn body_limit(&self, head: &Head) -> u64;
    /// The answer.
    fn answer(&self, request: Request) -> Response;
    /// Told once when the server is to end: who waits for something should answer now.
    fn stop(&self) {}
    /// The answer where the loop refuses by itself: 400, 408, 413, 417, 431, 500 or 503.
    ///
    /// `head` is `None` where it could not be read. `detail` is one sentence that the client may see.
    fn refusal(&self, head: Option<&Head>, status: u16, detail: &str) -> Response;
}

/// The connection that a request came by.
#[derive(Clone, Debug)]
pub(super) struct Ends {
    /// Who sent it.
    pub(super) peer: IpAddr,
    /// Our end's address, as a client would write it.
    pub(super) local: String,
    /// Whether it came by TLS.
    pub(super) is_secure: bool,
}

/// Completes what the bytes say with who sent them.
pub(super) fn attribute(
    parsed: ParsedHead,
    ends: &Ends,
    trusted: &[IpNet],
    request_id: &str,
    (started, now): (Instant, Timestamp),
) -> Head {
    let is_trusted = |address: IpAddr| trusted.iter().any(|net| net.contains(&address));
    let peer = ends.peer;
    let by_proxy = is_trusted(peer);
    let scheme = match last(&parsed.headers, "x-forwarded-proto").filter(|_| by_proxy) {
        Some(scheme) if scheme.eq_ignore_ascii_case("https") => "https",
        None if ends.is_secure => "https",
        _ => "http",
    };
    let forwarded =
        last(&parsed.headers, "x-forwarded-host").filter(|host| by_proxy && is_authority(host));
    // Only HTTP/1.0 can leave out its host: then we are where it reached us.
    let host = forwarded
        .map(str::to_owned)
        .or(parsed.host)
        .unwrap_or_else(|| ends.local.clone());
    Head {
        method: if parsed.method == "HEAD" {
            "GET".to_owned()
        } else {
            parsed.method
        },
        path: parsed.path,
        query: parsed.query,
        address: if by_proxy {
            client(&parsed.headers, peer, is_trusted)
        } else {
            peer
        },
        headers: parsed.headers,
        origin: format!("{scheme}://{host}"),
        request_id: request_id.to_owned(),
        started,
        now,
    }
}

/// The rightmost address of X-Forwarded-For that isn't a trusted proxy: each proxy appends who asked it,
/// so whatever stands left of that one is only a claim.
fn client(
    headers: &[(String, String)],
    peer: IpAddr,
    is_trusted: impl Fn(IpAddr) -> bool,
) -> IpAddr {
    let lines = headers
        .iter()
        .rev()
        .filter(|(name, _)| name.eq_ignore_ascii_case("x-forwarded-for"));
    let hops = lines
        .flat_map(|(_, value)| value.rsplit(','))
        .map(str::trim);
    let mut address = peer;
    for hop in hops {
        let bare = hop
            .strip_prefix('[')
            .and_then(|h| h.strip_suffix(']'))
            .unwrap_or(hop);
        let parsed = bare
            .parse::<IpAddr>()
            .ok()
            .or_else(|| hop.parse::<SocketAddr>().ok().map(|a| a.ip()));
        match parsed {
            Some(hop) => address = hop.to_canonical(),
            None => break,
        }
        if !is_trusted(address) {
            break;
        }
    }
    address
}

/// The last element of a header that is a list: the one that the nearest proxy wrote.
fn last<'a>(headers: &'a [(String, String)], name: &str) -> Option<&'a str> {
    let line = headers.iter().rfind(|(n, _)| n.eq_ignore_ascii_case(name));
    line.and_then(|(_, value)| value.rsplit(',').next())
        .map(str::trim)
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::{Cow, Ends, Head, attribute};
    use crate::http::head::parse_head;
    use crate::http::limits::Limits;

    /// The head of a request for `target` with these header lines, from `peer`, behind proxies in 10.0.0.0/8.
    fn head(target: &str, lines: &str, peer: &str) -> Head {
        let text = format!("HEAD {target} HTTP/1.0\r\n{lines}\r\n");
        let (parsed, _) = parse_head(text.as_bytes(), &Limits::default())
            .expect("accepted")
            .expect("complete");
        let ends = Ends {
            peer: peer.parse().expect("an address"),
            local: "192.0.2.1:80".to_owned(),
            is_secure: false,
        };
        let trusted = ["10.0.0.0/8".parse().expect("a network")];
        attribute(
            parsed,
            &ends,
            &trusted,
            "id",
            (Instant::now(), jiff::Timestamp::UNIX_EPOCH),
        )
    }

    #[test]
    fn queries_are_decoded_as_forms() {
        for (query, pairs) in [
            ("", Some(vec![])),
            ("a=1&b=2", Some(vec![("a", "1"), ("b", "2")])),
            (
                "filter=a+eq+%22%C3%A9%2B%22&&c",
                Some(vec![("filter", "a eq \"é+\""), ("c", "")]),
            ),
            ("a=b=c&=d", Some(vec![("a", "b=c"), ("", "d")])),
            ("a=%", None),
            ("a=%2", None),
            ("a=%g0", None),
            ("a=%+1", None),
            ("a=%ff", None),
        ] {
            let got = head(&format!("/?{query}"), "", "192.0.2.9").query_pairs();
            let owned = pairs.map(|list| {
                list.into_iter()
                    .map(|(n, v)| (n.to_owned(), v.to_owned()))
                    .collect()
            });
            assert_eq!(got, owned, "{query}");
        }
    }

    #[test]
    fn paths_are_split_before_they_are_decoded() {
        for (path, segments) in [
            ("/", Some(vec![])),
            (
                "/scim/v2/Users/a%2Fb",
                Some(vec!["scim", "v2", "Users", "a/b"]),
            ),
            ("//a//b+c/", Some(vec!["a", "b+c"])),
            ("/%zz", None),
        ] {
            let owned = segments.map(|list| list.into_iter().map(Cow::from).collect());
            assert_eq!(head(path, "", "192.0.2.9").segments(), owned, "{path}");
        }
    }

    #[test]
    fn only_trusted_proxies_say_who_asks() {
        for (lines, peer, address) in [
            ("", "10.0.0.1", "10.0.0.1"),
            ("X-Forwarded-For: 1.1.1.1\r\n", "192.0.2.9", "192.0.2.9"),
            ("X-Forwarded-For: 1.1.1.1\r\n", "10.0.0.1", "1.1.1.1"),
            (
                "X-Forwarded-For: 6.6.6.6, 1.1.1.1, 10.0.0.2\r\n",
                "10.0.0.1",
                "1.1.1.1",
            ),
            (
                "X-Forwarded-For: 6.6.6.6\r\nx-forwarded-for: 1.1.1.1:99\r\n",
                "10.0.0.1",
                "1.1.1.1",
            ),
            (
                "X-Forwarded-For: 1.1.1.1, unknown, 10.0.0.2\r\n",
                "10.0.0.1",
                "10.0.0.2",
            ),
            (
                "X-Forwarded-For: 10.0.0.3, 10.0.0.2\r\n",
                "10.0.0.1",
                "10.0.0.3",
            ),
            (
                "X-Forwarded-For: [2001:db8::1]:443\r\n",
                "10.0.0.1",
                "2001:db8::1",
            ),
            ("X-Forwarded-For: ::ffff:1.1.1.1\r\n", "10.0.0.1", "1.1.1.1"),
        ] {
            assert_eq!(
                head("/", lines, peer).address.to_string(),
                address,
                "{lines} from {peer}"
            );
        }
    }

    #[test]
    fn only_trusted_proxies_say_where_the_client_is() {
        let forwarded =
            "Host: a\r\nX-Forwarded-Proto: HTTPS\r\nX-Forwarded-Host: evil, id.example\r\n";
        for (lines, peer, origin) in [
            ("Host: a:1\r\n", "192.0.2.9", "http://a:1"),
            ("", "192.0.2.9", "http://192.0.2.1:80"),
            (forwarded, "192.0.2.9", "http://a"),
            (forwarded, "10.0.0.1", "https://id.example"),
            (
                "Host: a\r\nX-Forwarded-Proto: gopher\r\nX-Forwarded-Host: a/b\r\n",
                "10.0.0.1",
                "http://a",
            ),
        ] {
            assert_eq!(head("/", lines, peer).origin, origin, "{lines} from {peer}");
        }
    }

    #[test]
    fn a_head_request_is_handed_over_as_get() {
        assert_eq!(head("/", "", "192.0.2.9").method, "GET");
    }
}
