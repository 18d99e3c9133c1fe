//! A head has one meaning: whatever follows it, however it arrives, and to a reader that knows next to nothing
//! (RFC 9112 §2 to §6).

use rollcall::http::head::{Framing, ParsedHead, parse_head};
use rollcall::http::limits::{HEADERS, Limits};

pub fn run(data: &[u8]) {
    let limits = Limits::default();
    let Ok(Some((head, used))) = parse_head(data, &limits) else {
        return;
    };
    assert!(used <= limits.head_bytes && head.headers.len() <= HEADERS);
    let bytes = &data[..used];
    assert_eq!(
        parse_head(bytes, &limits),
        Ok(Some((head.clone(), used))),
        "what follows has no part in it"
    );
    let line_ends = (1..used).filter(|end| bytes[end - 1] == b'\n');
    for end in line_ends.chain([used - 1]) {
        assert_eq!(parse_head(&bytes[..end], &limits), Ok(None), "{end}");
    }
    assert_eq!(head.headers, fields(bytes));
    let texts = [&head.method, &head.path, &head.query].into_iter();
    for text in texts.chain(head.headers.iter().map(|(_, value)| value)) {
        let is_harmless = |c: char| c == '\t' || !c.is_ascii_control();
        assert!(text.chars().all(is_harmless), "{text:?}");
    }
    let count = |wanted: &str| {
        let mut names = head.headers.iter().map(|(name, _)| name);
        let is_wanted = |name: &&String| name.eq_ignore_ascii_case(wanted);
        (names.by_ref().filter(is_wanted)).count()
    };
    let framing = match head.framing {
        Framing::Empty => (0, 0),
        Framing::Length(_) => (1, 0),
        Framing::Chunked => (0, 1),
    };
    let found = (count("content-length"), count("transfer-encoding"));
    assert_eq!(found, framing);
    assert!(head.is_http_1_0 || (count("host") == 1 && head.host.is_some()));
    let again = written(&head);
    // A byte that isn't UTF-8 has become three.
    if again.len() <= limits.head_bytes {
        let read = parse_head(again.as_bytes(), &limits);
        assert_eq!(read, Ok(Some((head, again.len()))), "{again:?}");
    }
}

/// The fields, as somebody reads them who only knows where lines end. White space is SP and HTAB (RFC 9110 §5.6.3).
fn fields(bytes: &[u8]) -> Vec<(String, String)> {
    let text = String::from_utf8_lossy(bytes);
    let lines = text.trim_start_matches("\r\n").trim_end_matches("\r\n");
    let fields = lines.split("\r\n").skip(1);
    fields
        .map(|line| {
            let (name, value) = line.split_once(':').unwrap();
            (name.to_owned(), value.trim_matches([' ', '\t']).to_owned())
        })
        .collect()
}

fn written(head: &ParsedHead) -> String {
    let query = match head.query.as_str() {
        "" => String::new(),
        query => format!("?{query}"),
    };
    let target = match &head.host {
        Some(host) if head.path != "*" => format!("http://{host}{}{query}", head.path),
        _ => format!("{}{query}", head.path),
    };
    let version = if head.is_http_1_0 { "1.0" } else { "1.1" };
    let mut text = format!("{} {target} HTTP/{version}\r\n", head.method);
    for (name, value) in &head.headers {
        text += &format!("{name}: {value}\r\n");
    }
    text + "\r\n"
}
