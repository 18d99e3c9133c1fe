//! A request's head: bytes in, a checked head or a refusal out (RFC 9112 §2 to §6). No I/O.
//!
//! Stricter than the RFC wherever two readers of the same bytes could disagree about where a message
//! ends, because that is how requests are smuggled past a proxy. `connection` reads the bytes and
//! adds what the bytes can't tell: who asks, and when.

use std::mem::MaybeUninit;

use super::limits::{HEADERS, Limits};

/// Why the loop answers by itself, without asking the handler for more than the answer's form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The answer's status code.
    pub status: u16,
    /// One sentence for who wrote the client.
    pub detail: String,
}

impl Refusal {
    pub(super) fn new(status: u16, detail: impl Into<String>) -> Refusal {
        Refusal {
            status,
            detail: detail.into(),
        }
    }
}

/// Where a request's body ends (RFC 9112 §6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// Neither `Content-Length` nor `Transfer-Encoding`: no body.
    Empty,
    /// So many bytes. A number beyond 64 bits is `u64::MAX`, which no limit allows.
    Length(u64),
    /// `Transfer-Encoding: chunked`.
    Chunked,
}

/// What a head says, before it is known who sent it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParsedHead {
    /// As sent.
    pub method: String,
    /// Percent-encoded, as sent.
    pub path: String,
    /// What stands behind the question mark; empty where there is none.
    pub query: String,
    /// The authority of an absolute target, else the Host header. Only HTTP/1.0 can do without.
    pub host: Option<String>,
    /// In order, names as sent, values without the white space around them.
    pub headers: Vec<(String, String)>,
    /// Where the body ends.
    pub framing: Framing,
    /// The client waits for `100 Continue` before it sends the body.
    pub expects_continue: bool,
    /// Whether a further request may follow.
    pub keep_alive: bool,
    /// The client is one of HTTP/1.0, which must be told that its connection is kept.
    pub is_http_1_0: bool,
}

/// Reads the head at the start of `bytes`, and says how many bytes it takes. `None` while it is incomplete.
///
/// Header values are taken as UTF-8; bytes that aren't become U+FFFD, because a client's name in
/// Latin-1 is no reason to refuse it. Control characters other than a tab are refused everywhere.
///
/// # Errors
/// 400, 417 or 431, as soon as no further bytes could make it a head that is accepted.
pub fn parse_head(bytes: &[u8], limits: &Limits) -> Result<Option<(ParsedHead, usize)>, Refusal> {
    let mut fields = [MaybeUninit::uninit(); HEADERS];
    let mut request = httparse::Request::new(&mut []);
    // Empty lines before a request are ignored, but count as part of the head (RFC 9112 §2.2).
    let (length, is_complete) = match request.parse_with_uninit_headers(bytes, &mut fields) {
        Ok(httparse::Status::Complete(length)) => (length, true),
        Ok(httparse::Status::Partial) => (bytes.len(), false),
        Err(httparse::Error::TooManyHeaders) => {
            return Err(too_large(format!(
                "the request has more than {HEADERS} header fields"
            )));
        }
        Err(error) => {
            return Err(Refusal::new(
                400,
                format!("the request's head is malformed: {error}"),
            ));
        }
    };
    // One that is incomplete has a byte more at least.
    if length + usize::from(!is_complete) > limits.head_bytes {
        return Err(too_large(format!(
            "the request's head has more than {} bytes",
            limits.head_bytes
        )));
    }
    // httparse takes a bare line feed for the end of a line. A proxy in front may not.
    let bare = |found: bool, pair: &[u8]| found | ((pair[0] != b'\r') & (pair[1] == b'\n'));
    if bytes.starts_with(b"\n") || bytes[..length].windows(2).fold(false, bare) {
        return Err(Refusal::new(
            400,
            "a line of the request's head ends without a carriage return",
        ));
    }
    if !is_complete {
        return Ok(None);
    }
    Ok(Some((check(&request)?, length)))
}

fn too_large(detail: String) -> Refusal {
    Refusal::new(431, detail)
}

/// Turns what httparse took apart into a head, or says what is wrong with it.
fn check(request: &httparse::Request) -> Result<ParsedHead, Refusal> {
    let is_http_1_0 = request.version == Some(0);
    let headers: Vec<(String, String)> = request
        .headers
        .iter()
        .map(|field| {
            (
                field.name.to_owned(),
                // Without spaces and tabs around it, but with a no-break space, which is none to a proxy: `\u{a0}chunked` is
                // no coding.
                match str::from_utf8(field.value) {
                    Ok(value) => value.to_owned(),
                    Err(_) => String::from_utf8_lossy(field.value).into_owned(),
                },
            )
        })
        .collect();
    let method = request.method.unwrap_or_default();
    let (authority, path, query) = split_target(method, request.path.unwrap_or_default())?;
    let host = host(&headers, is_http_1_0)?;
    let connection = all(&headers, "connection");
    let says = |option: &str| {
        connection.iter().any(|value| {
            value
                .split(',')
                .any(|o| o.trim().eq_ignore_ascii_case(option))
        })
    };
    Ok(ParsedHead {
        method: method.to_owned(),
        path,
        query,
        host: authority.or(host),
        framing: framing(&headers, is_http_1_0)?,
        expects_continue: expects_continue(&headers, is_http_1_0)?,
        keep_alive: !says("close") && (!is_http_1_0 || says("keep-alive")),
        is_http_1_0,
        headers,
    })
}

/// Authority, path and query of a request target in origin, absolute or asterisk form (RFC 9112 §3.2).
fn split_target(method: &str, target: &str) -> Result<(Option<String>, String, String), Refusal> {
    if target.chars().any(|c| c.is_control() || c == '#') {
        return Err(Refusal::new(
            400,
            "the request's target has a control character or a fragment",
        ));
    }
    if target == "*" && method == "OPTIONS" {
        return Ok((None, target.to_owned(), String::new()));
    }
    let (authority, local) = if target.starts_with('/') {
        (None, target)
    } else if let Some((scheme, rest)) = target.split_once("://")
        && ["http", "https"]
            .iter()
            .any(|known| scheme.eq_ignore_ascii_case(known))
    {
        let (authority, local) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        if !is_authority(authority) {
            return Err(Refusal::new(
                400,
                "the request's target names no valid host",
            ));
        }
        (Some(authority.to_owned()), local)
    } else {
        return Err(Refusal::new(
            400,
            "the request's target is neither a path nor an http URL",
        ));
    };
    let (path, query) = local.split_once('?').unwrap_or((local, ""));
    let path = if path.is_empty() { "/" } else { path };
    Ok((authority, path.to_owned(), query.to_owned()))
}

/// The Host header: exactly one, which HTTP/1.0 may leave out (RFC 9112 §3.2).
fn host(headers: &[(String, String)], is_http_1_0: bool) -> Result<Option<String>, Refusal> {
    match all(headers, "host").as_slice() {
        [] if is_http_1_0 => Ok(None),
        [host] if is_authority(host) => Ok(Some((*host).to_owned())),
        [_] => Err(Refusal::new(
            400,
            "the Host header is not a host name or address",
        )),
        [] => Err(Refusal::new(400, "the request has no Host header")),
        _ => Err(Refusal::new(
            400,
            "the request has more than one Host header",
        )),
    }
}

/// Whether this is a host with an optional port. It becomes part of URLs, so nothing else passes.
pub(super) fn is_authority(text: &str) -> bool {
    let is_name = |name: &str| {
        !name.is_empty()
            && name
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"-._~".contains(&b))
    };
    let (host, port) = match text.rfind([':', ']']) {
        Some(colon) if text.as_bytes()[colon] == b':' => (&text[..colon], &text[colon + 1..]),
        _ => (text, ""),
    };
    let is_ipv6 = || {
        host.strip_prefix('[')
            .and_then(|h| h.strip_suffix(']'))
            .is_some_and(|h| h.parse::<std::net::Ipv6Addr>().is_ok())
    };
    // Digits alone first: `parse` takes a sign, too.
    let is_port = port.bytes().all(|b| b.is_ascii_digit())
        && (port.is_empty() || port.parse::<u16>().is_ok());
    is_port && (is_name(host) || is_ipv6())
}

/// How the body is framed. Whatever two readers could read in two ways is refused (RFC 9112 §6.3).
fn framing(headers: &[(String, String)], is_http_1_0: bool) -> Result<Framing, Refusal> {
    match (
        all(headers, "transfer-encoding").as_slice(),
        all(headers, "content-length").as_slice(),
    ) {
        ([], []) => Ok(Framing::Empty),
        ([], [length]) if !length.is_empty() && length.bytes().all(|b| b.is_ascii_digit()) => {
            Ok(Framing::Length(length.parse().unwrap_or(u64::MAX)))
        }
        ([], [_]) => Err(Refusal::new(
            400,
            "the Content-Length header is not a number",
        )),
        ([], _) => Err(Refusal::new(
            400,
            "the request has more than one Content-Length header",
        )),
        ([coding], []) if coding.eq_ignore_ascii_case("chunked") && !is_http_1_0 => {
            Ok(Framing::Chunked)
        }
        (_, []) => Err(Refusal::new(
            400,
            "the only Transfer-Encoding accepted is chunked, once, with HTTP/1.1",
        )),
        _ => Err(Refusal::new(
            400,
            "the request has both Transfer-Encoding and Content-Length",
        )),
    }
}

/// Whether the client waits for `100 Continue`, which HTTP/1.0 does not know (RFC 9110 §10.1.1).
fn expects_continue(headers: &[(String, String)], is_http_1_0: bool) -> Result<bool, Refusal> {
    match all(headers, "expect").as_slice() {
        [] => Ok(false),
        _ if is_http_1_0 => Ok(false),
        [one] if one.eq_ignore_ascii_case("100-continue") => Ok(true),
        _ => Err(Refusal::new(
            417,
            "the only expectation that can be met is 100-continue",
        )),
    }
}

/// The values of every header of this name, which is in lower case, in their order.
fn all<'a>(headers: &'a [(String, String)], name: &str) -> Vec<&'a str> {
    headers
        .iter()
        .filter(|(n, _)| n.eq_ignore_ascii_case(name))
        .map(|(_, value)| value.as_str())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::{Framing, ParsedHead, Refusal, is_authority, parse_head};
    use crate::http::limits::Limits;

    /// The head of a GET with these further header lines.
    fn with(lines: &str) -> String {
        format!("GET / HTTP/1.1\r\nHost: a\r\n{lines}\r\n")
    }

    #[track_caller]
    fn good(text: &str) -> ParsedHead {
        let (head, used) = parse_head(text.as_bytes(), &Limits::default())
            .expect("accepted")
            .expect("complete");
        assert_eq!(used, text.len());
        head
    }

    #[track_caller]
    fn refused(text: impl AsRef<[u8]>) -> Refusal {
        match parse_head(text.as_ref(), &Limits::default()) {
            Err(refusal) => refusal,
            Ok(read) => panic!(
                "{:?} was read as {read:?}",
                String::from_utf8_lossy(text.as_ref())
            ),
        }
    }

    #[test]
    fn a_plain_head_is_taken_apart() {
        let head = good(
            "GET /scim/v2/Users?filter=a%20b&count=1 HTTP/1.1\r\nHost: id.example:8080\r\nX-Empty:\r\nAccept: \t*/* \r\n\r\n",
        );
        assert_eq!(
            (head.method.as_str(), head.path.as_str()),
            ("GET", "/scim/v2/Users")
        );
        assert_eq!(
            (head.query.as_str(), head.host.as_deref()),
            ("filter=a%20b&count=1", Some("id.example:8080"))
        );
        assert_eq!(
            head.headers[1..],
            [
                ("X-Empty".into(), "".into()),
                ("Accept".into(), "*/*".into())
            ]
        );
        assert_eq!(
            (head.framing, head.keep_alive, head.expects_continue),
            (Framing::Empty, true, false)
        );
    }

    #[test]
    fn every_prefix_of_a_head_is_incomplete_and_the_next_request_is_left_alone() {
        let text = with("Content-Length: 5\r\n");
        for end in 0..text.len() {
            assert_eq!(
                parse_head(&text.as_bytes()[..end], &Limits::default()),
                Ok(None),
                "{end} bytes"
            );
        }
        let (_, used) = parse_head(format!("{text}helloGET").as_bytes(), &Limits::default())
            .expect("accepted")
            .expect("complete");
        assert_eq!(used, text.len());
    }

    #[test]
    fn bodies_are_framed_in_exactly_one_way() {
        for (lines, framing) in [
            ("Content-Length: 0\r\n", Framing::Length(0)),
            ("content-length:  17 \r\n", Framing::Length(17)),
            ("Content-Length: 0017\r\n", Framing::Length(17)),
            (
                "Content-Length: 100000000000\r\n",
                Framing::Length(100_000_000_000),
            ),
            (
                "Content-Length: 99999999999999999999999999\r\n",
                Framing::Length(u64::MAX),
            ),
            ("Transfer-Encoding: Chunked\r\n", Framing::Chunked),
        ] {
            assert_eq!(good(&with(lines)).framing, framing, "{lines}");
        }
    }

    #[test]
    fn smuggling_shapes_are_refused() {
        for lines in [
            "Content-Length: abc\r\n",
            "Content-Length:\r\n",
            "Content-Length: +5\r\n",
            "Content-Length: -5\r\n",
            "Content-Length: 0x5\r\n",
            "Content-Length: 5 5\r\n",
            "Content-Length: 5, 5\r\n",
            "Content-Length: 5\r\nContent-Length: 5\r\n",
            "Content-Length: 5\r\nContent-Length: 6\r\n",
            "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
            "Transfer-Encoding: gzip, chunked\r\n",
            "Transfer-Encoding: chunked, identity\r\n",
            "Transfer-Encoding: xchunked\r\n",
            "Transfer-Encoding:\r\n",
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
            "Transfer-Encoding : chunked\r\n",
            "Content-Length : 5\r\n",
            "Transfer-Encoding:\x0bchunked\r\n",
            "X: a\r\n folded: b\r\n",
            "X: a\r\n\tContent-Length: 5\r\n",
            "X: a\nContent-Length: 5\r\n",
            "X: a\rContent-Length: 5\r\n",
            "X: a\0b\r\n",
            "X: a\x7fb\r\n",
            ": nameless\r\n",
            "no colon\r\n",
            "Spaced Name: a\r\n",
            "Host: b\r\n",
        ] {
            assert_eq!(refused(with(lines)).status, 400, "{lines:?}");
        }
    }

    #[test]
    fn malformed_request_lines_and_hosts_are_refused() {
        for text in [
            "GET / HTTP/1.1\r\n\r\n",
            "GET / HTTP/1.1\r\nHost:\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a/b\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a, b\r\n\r\n",
            "GET / HTTP/2.0\r\nHost: a\r\n\r\n",
            "GET / HTTP/1.2\r\nHost: a\r\n\r\n",
            "GET /\r\nHost: a\r\n\r\n",
            "GET  / HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET / HTTP/1.1 \r\nHost: a\r\n\r\n",
            "GET /a b HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET /a\x01 HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET /a\u{85} HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET /a#b HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET * HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET a HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET ftp://a/ HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET http://u@a/ HTTP/1.1\r\nHost: a\r\n\r\n",
            "CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n",
            "GET / HTTP/1.1\nHost: a\n\n",
            "GET / HTTP/1.1\r\n Host: a\r\n\r\n",
            "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n",
        ] {
            assert_eq!(refused(text).status, 400, "{text:?}");
        }
    }

    #[test]
    fn nonsense_is_refused_before_the_head_is_complete() {
        for bytes in [
            &b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"[..],
            b"GET / HTTP/1.1\n",
            b"GET / HTTP/1.1\r\nHost : a",
        ] {
            assert_eq!(refused(bytes).status, 400, "{bytes:?}");
        }
    }

    #[test]
    fn too_long_heads_are_refused_whether_complete_or_not() {
        let line = format!("X: {}\r\n", "a".repeat(33 * 1024));
        assert_eq!(refused(with(&line)).status, 431);
        assert_eq!(refused(&with(&line)[..32 * 1024]).status, 431);
        assert_eq!(refused(with(&"X: a\r\n".repeat(64))).status, 431);
        assert_eq!(refused(&with(&"X: a\r\n".repeat(70))[..440]).status, 431);
        assert_eq!(refused("\r\n".repeat(16 * 1024)).status, 431);
        assert_eq!(good(&with(&"X: a\r\n".repeat(63))).headers.len(), 64);
    }

    #[test]
    fn targets_may_be_absolute_or_an_asterisk() {
        for (line, host, path, query) in [
            ("GET http://B:1/c?d HTTP/1.1", "B:1", "/c", "d"),
            ("GET HTTPS://b?d HTTP/1.1", "b", "/", "d"),
            ("GET http://[::1]:80 HTTP/1.1", "[::1]:80", "/", ""),
            ("GET /c?http://x/ HTTP/1.1", "a", "/c", "http://x/"),
            ("GET //c?d?e HTTP/1.1", "a", "//c", "d?e"),
            ("GET /é HTTP/1.1", "a", "/é", ""),
            ("OPTIONS * HTTP/1.1", "a", "*", ""),
        ] {
            let head = good(&format!("{line}\r\nHost: a\r\n\r\n"));
            assert_eq!(
                (
                    head.host.as_deref(),
                    head.path.as_str(),
                    head.query.as_str()
                ),
                (Some(host), path, query),
                "{line}"
            );
        }
    }

    #[test]
    fn connections_are_kept_as_the_version_and_the_client_say() {
        for (text, keep_alive) in [
            ("GET / HTTP/1.1\r\nHost: a\r\n\r\n", true),
            (
                "GET / HTTP/1.1\r\nHost: a\r\nConnection: TE, Close\r\n\r\n",
                false,
            ),
            ("GET / HTTP/1.0\r\n\r\n", false),
            ("GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n", true),
            ("\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", true),
        ] {
            assert_eq!(good(text).keep_alive, keep_alive, "{text:?}");
        }
    }

    #[test]
    fn only_100_continue_can_be_expected() {
        assert!(good(&with("Expect: 100-Continue\r\n")).expects_continue);
        assert!(!good("GET / HTTP/1.0\r\nExpect: 100-continue\r\n\r\n").expects_continue);
        assert_eq!(refused(with("Expect: a-pony\r\n")).status, 417);
    }

    #[test]
    fn header_values_that_are_not_utf_8_stay_readable() {
        let (head, _) = parse_head(
            b"GET / HTTP/1.1\r\nHost: a\r\nUser-Agent: caf\xe9/1\r\n\r\n",
            &Limits::default(),
        )
        .expect("accepted")
        .expect("complete");
        assert_eq!(head.headers[1].1, "caf\u{fffd}/1");
    }

    #[test]
    fn nothing_but_spaces_and_tabs_is_white_space() {
        for line in [
            "Transfer-Encoding: \u{a0}chunked\r\n",
            "Content-Length: 7\u{2003}\r\n",
            "Content-Length: \u{85}7\r\n",
        ] {
            assert_eq!(refused(with(line)).status, 400, "{line:?}");
        }
        let head = good(&with("X: \t\u{a0}a \r\n"));
        assert_eq!(head.headers[1].1, "\u{a0}a");
    }

    #[test]
    fn authorities_are_hosts_with_an_optional_port() {
        for good in [
            "a",
            "a.example",
            "a:80",
            "a:065535",
            "127.0.0.1:8080",
            "[::1]",
            "[fe80::1]:443",
            "a_b-c~d",
        ] {
            assert!(is_authority(good), "{good}");
        }
        for bad in [
            "", ":80", "a:b", "a:65536", "a:+1", "[::1", "::1", "[x]", "a b", "a/b", "a@b", "a\"b",
            "é",
        ] {
            assert!(!is_authority(bad), "{bad}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_make_the_parser_fail(pieces in proptest::collection::vec(0..15_usize, 0..12), junk: Vec<u8>) {
            let words = [
                "GET ", "/", "?a=%", " HTTP/1.1", "\r\n", "\n", "Host: a", "Content-Length: ", "7", "Transfer-Encoding: ",
                "chunked", ":", " ", "http://[", "]",
            ];
            let mut bytes = pieces.iter().flat_map(|piece| words[*piece].bytes()).collect::<Vec<u8>>();
            bytes.extend(junk);
            bytes.extend(b"\r\n\r\n");
            if let Ok(Some((_, used))) = parse_head(&bytes, &Limits::default()) {
                let head = String::from_utf8_lossy(&bytes[..used]);
                let lines = head.trim_start_matches("\r\n");
                proptest::prop_assert_eq!(lines.find("\r\n\r\n"), Some(lines.len() - 4), "{}", head);
            }
        }
    }
}
