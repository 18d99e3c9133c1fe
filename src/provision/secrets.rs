//! What the provisioning log must never show, taken out of each exchange in this one place before it is kept.
//!
//! A client that is set up wrongly sends its token or a person's password wherever it likes: in a body, a filter, a path, a
//! name. The log keeps texts of the request and sentences that quote it, so every text passes through here. When in
//! doubt, a text is hidden rather than shown.

use std::borrow::Cow;

use serde_json::Value;

use crate::scim::message;
use crate::store::exchanges::Exchange;

/// What stands in the log for a secret.
const MASK: &str = "***";

/// What our tokens begin with.
const TOKEN_PREFIXES: [&str; 3] = ["rcs_", "rca_", "rcm_"];

/// Longest body that the log keeps, in bytes; of a longer one it keeps the beginning.
const BODY_MAX_BYTES: usize = 64 * 1024;

/// The exchange as the log keeps it: no password, no token, no body of any length.
pub(super) fn masked(exchange: Exchange) -> Exchange {
    Exchange {
        method: sentence(exchange.method),
        target: target(exchange.target),
        action: sentence(exchange.action),
        detail: exchange.detail.map(sentence),
        ignored: exchange.ignored.into_iter().map(sentence).collect(),
        request_body: exchange.request_body.map(|text| cut(body(text))),
        response_body: exchange.response_body.map(|text| cut(body(text))),
        ..exchange
    }
}

/// Why a line as it is kept can't be asked again: what of its request the log doesn't have. `None` where it has all.
pub fn lost(line: &Exchange) -> Option<&'static str> {
    let body = line.request_body.as_deref().unwrap_or_default();
    let needs_body = ["POST", "PUT", "PATCH"].contains(&line.method.as_str());
    match line.status {
        401 => return Some("its token was refused before the request was read"),
        408 | 413 => return Some("its body was never read to the end"),
        412 | 415 => return Some("it was refused for a header, and headers are not kept"),
        _ => {}
    }
    if line.target.contains(MASK) {
        Some("a secret in its address is hidden")
    } else if body.starts_with("(not kept: ") {
        Some("its body may hold a secret and is not kept")
    } else if body.len() > BODY_MAX_BYTES {
        Some("its body is long, and only the beginning is kept")
    } else if needs_body && body.is_empty() {
        Some(
            "its body is not kept: bodies of what succeeds are kept only where the tenant is set to",
        )
    } else {
        None
    }
}

/// Whether `text` has the word in it. JSON that a client wrote may spell it in escapes; what serde_json wrote doesn't.
pub(super) fn speaks_of_password(text: &str) -> bool {
    let word = b"password";
    // Its first letter alone says no to nearly all of them.
    let is_it = |part: &[u8]| part[0] | 0x20 == b'p' && part.eq_ignore_ascii_case(word);
    text.as_bytes().windows(word.len()).any(is_it)
}

/// Words of ours that may quote the client: of those about a password, what is before the first quote.
fn sentence(text: String) -> String {
    if speaks_of_password(&text)
        && let Some(quote) = text.find('"')
    {
        return format!("{}{MASK}", &text[..quote]);
    }
    without_tokens(text)
}

/// Path and query. Escapes could spell the word, or a token.
fn target(text: String) -> String {
    let decoded = decoded(&text);
    if speaks_of_password(&decoded) {
        let path = text.split('?').next().unwrap_or_default();
        return if speaks_of_password(&self::decoded(path)) {
            MASK.to_owned()
        } else {
            format!("{path}?{MASK}")
        };
    }
    let tokens = |text: &str| -> usize {
        TOKEN_PREFIXES
            .iter()
            .map(|prefix| text.matches(prefix).count())
            .sum()
    };
    match decoded {
        Cow::Owned(decoded) if may_have_token(&decoded) && tokens(&decoded) > tokens(&text) => {
            without_tokens(decoded)
        }
        _ => without_tokens(text),
    }
}

/// `text` with its percent-escapes decoded; what isn't UTF-8 then is replaced.
fn decoded(text: &str) -> Cow<'_, str> {
    if !text.contains('%') {
        return Cow::Borrowed(text);
    }
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        let digits = tail.get(..2).filter(|_| *first == b'%');
        let digits = digits.and_then(|digits| std::str::from_utf8(digits).ok());
        match digits.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = &tail[2..];
            }
            None => {
                bytes.push(*first);
                rest = tail;
            }
        }
    }
    Cow::Owned(String::from_utf8_lossy(&bytes).into_owned())
}

fn body(text: String) -> String {
    // `\u` could spell the word in escapes.
    if !speaks_of_password(&text) && !text.contains("\\u") {
        return without_tokens(text);
    }
    match message::parse_json(text.as_bytes()) {
        Ok(mut value) => {
            hide_passwords(&mut value);
            without_tokens(value.to_string())
        }
        Err(_) if speaks_of_password(&text) => {
            "(not kept: it is not JSON and speaks of a password)".to_owned()
        }
        Err(_) => "(not kept: it is not JSON and may speak of a password in escapes)".to_owned(),
    }
}

/// Hides what a key or a PATCH path calls a password, and every text that speaks of one and may quote it.
fn hide_passwords(value: &mut Value) {
    match value {
        Value::Object(object) => {
            let is_path = |key: &str| key.trim().eq_ignore_ascii_case("path");
            let is_op = |key: &str| key.trim().eq_ignore_ascii_case("op");
            let names_password = object
                .iter()
                .any(|(key, value)| is_path(key) && value.as_str().is_some_and(speaks_of_password));
            for (key, value) in object.iter_mut() {
                let hidden =
                    speaks_of_password(key) || (names_password && !is_path(key) && !is_op(key));
                if hidden {
                    *value = MASK.into();
                } else {
                    hide_passwords(value);
                }
            }
        }
        Value::Array(values) => values.iter_mut().for_each(hide_passwords),
        Value::String(text) => {
            // `urn:…:User:password` is a name; anything with more in it may hold the secret itself.
            let is_name = text
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || ":.-_".contains(c));
            if speaks_of_password(text) && !is_name {
                *text = sentence(std::mem::take(text));
                if !text.ends_with(MASK) {
                    *text = MASK.to_owned();
                }
            }
        }
        _ => {}
    }
}

/// Nearly all texts have nothing to hide, and this look costs less than a search for each prefix.
fn may_have_token(text: &str) -> bool {
    let may_begin = |part: &[u8]| part[0] == b'r' && part[1] == b'c' && part[3] == b'_';
    text.as_bytes().windows(4).any(may_begin)
}

/// `text` with what follows each token prefix hidden.
fn without_tokens(text: String) -> String {
    if !may_have_token(&text) {
        return text;
    }
    let mut masked = String::with_capacity(text.len());
    let mut rest = text.as_str();
    while let Some(at) = TOKEN_PREFIXES
        .iter()
        .filter_map(|prefix| rest.find(prefix))
        .min()
    {
        let (before, token) = rest.split_at(at);
        let end = token
            .find(|c: char| !c.is_ascii_alphanumeric() && c != '_' && c != '-')
            .unwrap_or(token.len());
        masked.push_str(before);
        masked.push_str(&token[..4]);
        masked.push_str(MASK);
        rest = &token[end..];
    }
    masked.push_str(rest);
    masked
}

/// `text`, cut at a character boundary where it is too long.
fn cut(text: String) -> String {
    if text.len() <= BODY_MAX_BYTES {
        return text;
    }
    let end = (0..=BODY_MAX_BYTES)
        .rev()
        .find(|&at| text.is_char_boundary(at))
        .unwrap_or(0);
    format!("{}… ({} bytes in all)", &text[..end], text.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shows_bodies_without_passwords() {
        for (text, shown) in [
            (
                r#"{"userName":"a","password":"t0p"}"#,
                r#"{"password":"***","userName":"a"}"#,
            ),
            (r#"{"pass\u0077ord":"t0p"}"#, r#"{"password":"***"}"#),
            (r#"{"userName":"a"}"#, r#"{"userName":"a"}"#),
            (
                r#"{"schemas":["urn:x:User:password"]}"#,
                r#"{"schemas":["urn:x:User:password"]}"#,
            ),
        ] {
            assert_eq!(body(text.to_owned()), shown);
        }
    }

    #[test]
    fn hides_the_secret_wherever_a_client_puts_it() {
        for text in [
            r#"{"op":"replace","path":"password","value":"t0p"}"#,
            r#"{"op":"replace","Path":"password","Value":"t0p"}"#,
            r#"{"op":"replace","path":" password","value":{"x":["t0p"]}}"#,
            r#"{"op":"replace","path":"password[value eq \"t0p\"]","value":1}"#,
            r#"{"op":"replace","path":"emails[password eq \"t0p\"].value","value":"x"}"#,
            r#"{"op":"replace","path":"password.value","value":"t0p"}"#,
            r#"{"op":"replace","value":{"PassWord":"t0p","urn:x:y":{"password":"t0p"}}}"#,
            r#"{"roles":[{"value":"{\"password\":\"t0p\"}"}]}"#,
            r#"{"filter":"password eq \"t0p\""}"#,
            r#"{"filter":"password eq t0p"}"#,
            r#"{"password":"t0p","#,
            r#"{"pass\u0077ord":"t0p","#,
        ] {
            let shown = body(text.to_owned());
            assert!(!shown.contains("t0p"), "{text} gives {shown}");
        }
        for text in [
            "/scim/v2/Users?filter=password+eq+%22t0p%22",
            "/scim/v2/Users?filter=p%61ssword+eq+%22t0p%22",
            "/scim/v2/Users/password=t0p",
        ] {
            assert!(!target(text.to_owned()).contains("t0p"), "{text}");
        }
        let refused = r#"User has no attribute password, in password eq "t0p""#;
        assert_eq!(
            sentence(refused.to_owned()),
            "User has no attribute password, in password eq ***"
        );
    }

    #[test]
    fn hides_tokens_in_every_text() {
        let shown = target("/scim/v2/Users?t=rcs_AbC-1_2&x=1".to_owned());
        assert_eq!(shown, "/scim/v2/Users?t=rcs_***&x=1");
        let escaped = target("/scim/v2/Users/rcs%5Fabc?x".to_owned());
        assert_eq!(escaped, "/scim/v2/Users/rcs_***?x");
        let plain = "/scim/v2/Users?filter=userName+eq+%22a%22";
        assert_eq!(target(plain.to_owned()), plain);
        assert_eq!(
            sentence("there is no User with id \"rca_1\"".to_owned()),
            "there is no User with id \"rca_***\""
        );
    }
}
