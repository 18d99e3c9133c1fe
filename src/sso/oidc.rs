//! What is sent to a provider: the authorization request (OpenID Connect Core 1.0 §3.1.2.1) with PKCE (RFC 7636).

use std::fmt::Write;

use aws_lc_rs::{digest, rand};

use crate::error::{Doing, Result};

/// The three secrets of one sign-in, 256 random bits each, in hexadecimal digits.
#[derive(Clone, PartialEq, Eq)]
pub struct Attempt {
    /// Comes back with the code: which sign-in it belongs to.
    pub state: String,
    /// Comes back in the ID token: it was issued for this sign-in.
    pub nonce: String,
    /// PKCE's code verifier, which goes to the token endpoint alone.
    pub verifier: String,
}

impl Attempt {
    /// A new one.
    pub fn random() -> Result<Attempt> {
        Ok(Attempt {
            state: random()?,
            nonce: random()?,
            verifier: random()?,
        })
    }
}

/// 256 random bits in hexadecimal digits.
pub(super) fn random() -> Result<String> {
    let mut bytes = [0; 32];
    rand::fill(&mut bytes).doing("drawing random bits")?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// Where the browser goes to sign in. `more` is what only this provider wants, as `hd`.
pub fn authorization_url(
    endpoint: &str,
    client_id: &str,
    redirect_uri: &str,
    attempt: &Attempt,
    more: &[(&str, &str)],
) -> String {
    let challenge = challenge(&attempt.verifier);
    let mut fields = vec![
        ("response_type", "code"),
        ("client_id", client_id),
        ("redirect_uri", redirect_uri),
        ("scope", "openid profile email"),
        ("state", &attempt.state),
        ("nonce", &attempt.nonce),
        ("code_challenge", &challenge),
        ("code_challenge_method", "S256"),
    ];
    fields.extend(more);
    with_query(endpoint, &fields)
}

/// Where the browser goes to sign out at the provider, too (OpenID Connect RP-Initiated Logout 1.0 §2).
pub fn end_session_url(endpoint: &str, client_id: &str, back_to: &str) -> String {
    let fields = [
        ("client_id", client_id),
        ("post_logout_redirect_uri", back_to),
    ];
    with_query(endpoint, &fields)
}

/// An endpoint's own query is kept (RFC 6749 §3.1).
pub(super) fn with_query(endpoint: &str, fields: &[(&str, &str)]) -> String {
    let separator = if endpoint.contains('?') { '&' } else { '?' };
    format!("{endpoint}{separator}{}", form(fields))
}

/// BASE64URL(SHA256(verifier)) (RFC 7636 §4.2).
pub(super) fn challenge(verifier: &str) -> String {
    let digest = digest::digest(&digest::SHA256, verifier.as_bytes());
    base64(digest.as_ref(), true)
}

/// A client's credentials as an `Authorization` header, each part escaped as in a form (RFC 6749 §2.3.1).
pub(super) fn basic(client_id: &str, secret: &str) -> String {
    let [id, secret] = [client_id, secret].map(escaped);
    format!(
        "Basic {}",
        base64(format!("{id}:{secret}").as_bytes(), false)
    )
}

/// Fields as a query or a form's body.
pub(super) fn form(fields: &[(&str, &str)]) -> String {
    let pairs: Vec<String> = fields
        .iter()
        .map(|(name, value)| format!("{}={}", escaped(name), escaped(value)))
        .collect();
    pairs.join("&")
}

/// Everything but unreserved characters escaped (RFC 3986 §2.3).
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            escaped.push(char::from(byte));
        } else {
            let _ = write!(escaped, "%{byte:02X}");
        }
    }
    escaped
}

/// Base64 (RFC 4648): §5 without padding for URLs, else §4 with it.
pub(super) fn base64(bytes: &[u8], for_url: bool) -> String {
    let (last, pad) = if for_url { (b"-_", "") } else { (b"+/", "=") };
    let digit = |value: u32| {
        char::from(match value & 63 {
            value @ 0..26 => b'A' + value as u8,
            value @ 26..52 => b'a' + (value - 26) as u8,
            value @ 52..62 => b'0' + (value - 52) as u8,
            value => last[(value - 62) as usize],
        })
    };
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let byte = |at: usize| u32::from(chunk.get(at).copied().unwrap_or_default());
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        text.extend((0..=chunk.len() as u32).map(|at| digit(bits >> (18 - 6 * at))));
        text.push_str(&pad.repeat(3 - chunk.len()));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_challenge_is_as_in_appendix_b_of_rfc_7636() {
        let verifier = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
        let expected = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";
        assert_eq!(challenge(verifier), expected);
    }

    #[test]
    fn base64_is_as_in_section_10_of_rfc_4648() {
        for (text, expected) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
            ("fooba", "Zm9vYmE="),
            ("foobar", "Zm9vYmFy"),
        ] {
            assert_eq!(base64(text.as_bytes(), false), expected);
        }
        assert_eq!(base64(&[0xfb, 0xff], false), "+/8=");
        assert_eq!(base64(&[0xfb, 0xff], true), "-_8");
    }

    #[test]
    fn a_request_says_all_and_keeps_the_endpoints_own_query() {
        let attempt = Attempt {
            state: "s".to_owned(),
            nonce: "n".to_owned(),
            verifier: "v".to_owned(),
        };
        let (client, uri) = ("a&b", "https://a.example/sso/callback");
        let more = [("hd", "example.org")];
        let url = authorization_url("https://p.example/auth?x=1", client, uri, &attempt, &more);
        assert_eq!(
            url,
            "https://p.example/auth?x=1&response_type=code&client_id=a%26b&redirect_uri=https%3A%2F%2Fa.example%2Fsso\
             %2Fcallback&scope=openid%20profile%20email&state=s&nonce=n\
             &code_challenge=TJQIr8uTgzMJUu1a5_cE3TbLvoPBo5n1z0RwzFlk8yM&code_challenge_method=S256&hd=example.org"
                .replace("TJQIr8uTgzMJUu1a5_cE3TbLvoPBo5n1z0RwzFlk8yM", &challenge("v"))
        );
    }

    #[test]
    fn no_two_attempts_share_a_secret() {
        let (one, other) = (Attempt::random().unwrap(), Attempt::random().unwrap());
        let secrets = [&one.state, &one.nonce, &one.verifier, &other.state];
        for (at, secret) in secrets.iter().enumerate() {
            assert_eq!(secret.len(), 64);
            assert!(!secrets[..at].contains(secret));
        }
    }
}
