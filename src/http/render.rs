//! An answer's bytes: the status line, the header fields and a body that isn't long in one piece, for one write.

use std::fs::File;
use std::time::Instant;

use jiff::Timestamp;
use jiff::fmt::rfc2822;
use tiny_http::StatusCode;
use uuid::Uuid;

use super::request::{Body, Response};
use crate::id;

/// When a request began, and its name in the log and in X-Request-Id.
pub(super) struct Stamp {
    /// A UUID v7, so that the ids are in the order of time.
    pub(super) request_id: String,
    pub(super) started: Instant,
    pub(super) now: Timestamp,
}

impl Stamp {
    /// Reads the clock, the only time in a request.
    #[allow(
        clippy::disallowed_methods,
        reason = "this is where a request's now comes from"
    )]
    pub(super) fn now() -> Stamp {
        let now = Timestamp::now();
        Stamp {
            // Where there are no random bits, little else works, and a request is still answered.
            request_id: id::fresh(now).unwrap_or_else(|_| Uuid::nil().to_string()),
            started: Instant::now(),
            now,
        }
    }
}

/// What an answer's head depends on beside the answer.
#[derive(Clone, Copy)]
pub(super) struct Form {
    /// The answer to a HEAD: all but the body.
    pub(super) without_body: bool,
    /// What the Connection header says, where it says anything.
    pub(super) connection: Option<&'static str>,
}

/// The longest body, in bytes, that is sent in one piece with its head: two writes are slower, and a copy costs memory.
const COPIED_BODY_BYTES: u64 = 64 * 1024;

/// Room for the head of most answers, so that it's made where it stays.
const USUAL_HEAD_BYTES: usize = 512;

/// The bytes of an answer; of one whose body is [long](long_body_of) or a [file](file_of), those before it.
pub(super) fn render(response: &Response, stamp: &Stamp, form: Form) -> Vec<u8> {
    let has_body = has_body(response.status);
    let body = match &response.body {
        Body::Bytes(pieces)
            if has_body && !form.without_body && response.body.length() <= COPIED_BODY_BYTES =>
        {
            pieces.as_slice()
        }
        _ => &[],
    };
    let length: usize = body.iter().map(Vec::len).sum();
    // tiny_http writes responses, too, but would name itself as the Server, give a 204 a
    // Content-Length against RFC 9110 §8.6, and can't be told to send `Connection: close`.
    let mut head = String::with_capacity(USUAL_HEAD_BYTES + length);
    let mut write = |pieces: [&str; 4]| pieces.iter().for_each(|piece| head.push_str(piece));
    let status = StatusCode(response.status);
    write([
        "HTTP/1.1 ",
        &response.status.to_string(),
        " ",
        status.default_reason_phrase(),
    ]);
    let mut field = |name: &str, value: &str| write(["\r\n", name, ": ", value]);
    if let Ok(date) = rfc2822::DateTimePrinter::new().timestamp_to_rfc9110_string(&stamp.now) {
        field("Date", &date);
    }
    for (name, value) in &response.headers {
        if value.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
            field(name, value);
        } else {
            field(name, &value.replace(char::is_control, ""));
        }
    }
    field("X-Request-Id", &stamp.request_id);
    if has_body {
        field("Content-Length", &response.body.length().to_string());
    }
    if let Some(option) = form.connection {
        field("Connection", option);
    }
    head.push_str("\r\n\r\n");
    let mut bytes = head.into_bytes();
    body.iter().for_each(|piece| bytes.extend_from_slice(piece));
    bytes
}

/// The pieces of the body that follow the rendered bytes; none where nothing in memory does.
pub(super) fn long_body_of(response: &Response, form: Form) -> &[Vec<u8>] {
    match &response.body {
        Body::Bytes(pieces)
            if has_body(response.status)
                && !form.without_body
                && response.body.length() > COPIED_BODY_BYTES =>
        {
            pieces
        }
        _ => &[],
    }
}

/// The file that follows the rendered bytes, and its length; `None` where nothing follows.
pub(super) fn file_of(response: &Response, form: Form) -> Option<(&File, u64)> {
    match &response.body {
        Body::File(file, length) if has_body(response.status) && !form.without_body => {
            Some((file, *length))
        }
        _ => None,
    }
}

fn has_body(status: u16) -> bool {
    !matches!(status, 100..=199 | 204 | 304)
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::{Form, Response, Stamp, render};

    /// The answer as text, with a fixed date and id.
    fn text(status: u16, headers: Vec<(&'static str, String)>, form: Form) -> String {
        let stamp = Stamp {
            request_id: "id".into(),
            started: Instant::now(),
            now: jiff::Timestamp::UNIX_EPOCH,
        };
        let response = Response {
            status,
            headers,
            body: b"hello".to_vec().into(),
        };
        String::from_utf8(render(&response, &stamp, form)).expect("text")
    }

    const KEPT: Form = Form {
        without_body: false,
        connection: None,
    };

    #[test]
    fn an_answer_is_a_head_and_a_body() {
        let expected = "HTTP/1.1 200 OK\r\nDate: Thu, 01 Jan 1970 00:00:00 GMT\r\nETag: W/\"1\"\r\n\
                        X-Request-Id: id\r\nContent-Length: 5\r\n\r\nhello";
        assert_eq!(text(200, vec![("ETag", "W/\"1\"".into())], KEPT), expected);
    }

    #[test]
    fn the_answer_to_a_head_request_has_the_length_but_not_the_body() {
        let answer = text(
            200,
            vec![],
            Form {
                without_body: true,
                connection: Some("close"),
            },
        );
        assert!(
            answer.ends_with("Content-Length: 5\r\nConnection: close\r\n\r\n"),
            "{answer}"
        );
    }

    #[test]
    fn a_status_without_body_has_no_length_either() {
        for status in [204, 304] {
            let answer = text(status, vec![], KEPT);
            assert!(answer.ends_with("X-Request-Id: id\r\n\r\n"), "{answer}");
        }
    }

    #[test]
    fn a_header_value_can_not_begin_another_header() {
        let answer = text(302, vec![("Location", "/a\r\nSet-Cookie: b".into())], KEPT);
        assert!(
            answer.contains("\r\nLocation: /aSet-Cookie: b\r\n"),
            "{answer}"
        );
    }
}
