//! Certificates as bytes (DER, RFC 5280): what one says of itself, and one that signs itself.
//!
//! Just enough of the encoding for these two questions. Whether a certificate is to be trusted is for clients to decide.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair};
use base64ct::{Base64, Encoding};
use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::error::{Doing, Result};

const INTEGER: u8 = 0x02;
const BIT_STRING: u8 = 0x03;
const OCTET_STRING: u8 = 0x04;
const OBJECT_ID: u8 = 0x06;
const UTF8_STRING: u8 = 0x0c;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
/// The tag of a field that has a number instead of a name, and holds others.
const NUMBERED: u8 = 0xa0;

const COMMON_NAME: &[u8] = &[0x55, 0x04, 0x03];
const SUBJECT_ALT_NAME: &[u8] = &[0x55, 0x1d, 0x11];
const EC_PUBLIC_KEY: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01];
const P256: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];
const ECDSA_WITH_SHA256: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02];

/// How many days a certificate of ours is valid: browsers take no longer ones.
const VALID_DAYS: i64 = 397;

/// What a certificate says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Facts<'a> {
    /// From when on it is valid.
    pub from: Timestamp,
    /// Until when.
    pub until: Timestamp,
    /// The name of who signed it, as bytes to compare.
    pub issuer: &'a [u8],
    /// Whose it is, likewise.
    pub subject: &'a [u8],
}

/// Reads a certificate. `None` where it is none.
pub fn facts(certificate: &[u8]) -> Option<Facts<'_>> {
    let (_, certificate, _) = field(certificate)?;
    let (_, mut rest, _) = field(certificate)?;
    // The version is left out of certificates of version 1.
    if rest.first() == Some(&NUMBERED) {
        rest = field(rest)?.2;
    }
    let (_, _serial, rest) = field(rest)?;
    let (_, _algorithm, rest) = field(rest)?;
    let (_, issuer, rest) = field(rest)?;
    let (_, validity, rest) = field(rest)?;
    let (_, subject, _) = field(rest)?;
    let (from_tag, from, rest) = field(validity)?;
    let (until_tag, until, _) = field(rest)?;
    Some(Facts {
        from: time(from_tag, from)?,
        until: time(until_tag, until)?,
        issuer,
        subject,
    })
}

/// The first field of `bytes`: its tag, what is in it, and what follows.
fn field(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&tag, bytes) = bytes.split_first()?;
    let (&first, bytes) = bytes.split_first()?;
    let (length, bytes) = match first {
        0..=0x7f => (usize::from(first), bytes),
        0x81..=0x83 => {
            let (digits, rest) = bytes.split_at_checked(usize::from(first - 0x80))?;
            let length = digits.iter().fold(0, |sum, b| sum << 8 | usize::from(*b));
            (length, rest)
        }
        _ => return None,
    };
    let (content, rest) = bytes.split_at_checked(length)?;
    Some((tag, content, rest))
}

/// `YYMMDDhhmmssZ` or `YYYYMMDDhhmmssZ` (RFC 5280 §4.1.2.5).
fn time(tag: u8, text: &[u8]) -> Option<Timestamp> {
    let text = std::str::from_utf8(text).ok()?.strip_suffix('Z')?;
    let whole = match tag {
        UTC_TIME => {
            let year: u8 = text.get(..2)?.parse().ok()?;
            format!("{}{text}", if year < 50 { 20 } else { 19 })
        }
        GENERALIZED_TIME => text.to_owned(),
        _ => return None,
    };
    let time = jiff::civil::DateTime::strptime("%Y%m%d%H%M%S", whole).ok()?;
    TimeZone::UTC.to_timestamp(time).ok()
}

/// A certificate for this machine by its names on itself, and its key, as PEM. Valid from a day before `now`.
///
/// # Errors
///
/// The system has no random bytes.
pub fn self_signed(now: Timestamp) -> Result<(String, String)> {
    let doing = "making a certificate";
    let key = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).doing(doing)?;
    let pkcs8 = key.to_pkcs8v1().doing(doing)?;
    let mut serial = [0; 16];
    aws_lc_rs::rand::fill(&mut serial).doing(doing)?;
    // Positive, and without a leading zero.
    serial[0] = serial[0] & 0x7f | 0x40;
    let algorithm = sequence(&[&tagged(OBJECT_ID, ECDSA_WITH_SHA256)]);
    let common_name = sequence(&[
        &tagged(OBJECT_ID, COMMON_NAME),
        &tagged(UTF8_STRING, b"rollcall --dev"),
    ]);
    let name = sequence(&[&tagged(SET, &common_name)]);
    let day = jiff::SignedDuration::from_hours(24);
    let validity = sequence(&[
        &generalized_time(now - day),
        &generalized_time(now + day * (VALID_DAYS as i32 - 1)),
    ]);
    let public_key = [&[0], key.public_key().as_ref()].concat();
    let public_key = sequence(&[
        &sequence(&[&tagged(OBJECT_ID, EC_PUBLIC_KEY), &tagged(OBJECT_ID, P256)]),
        &tagged(BIT_STRING, &public_key),
    ]);
    // dNSName has the number 2 and iPAddress 7 (RFC 5280 §4.2.1.6).
    let names = sequence(&[
        &tagged(0x82, b"localhost"),
        &tagged(0x87, &[127, 0, 0, 1]),
        &tagged(0x87, &std::net::Ipv6Addr::LOCALHOST.octets()),
    ]);
    let extensions = sequence(&[&sequence(&[
        &tagged(OBJECT_ID, SUBJECT_ALT_NAME),
        &tagged(OCTET_STRING, &names),
    ])]);
    let body = sequence(&[
        &tagged(NUMBERED, &tagged(INTEGER, &[2])),
        &tagged(INTEGER, &serial),
        &algorithm,
        &name,
        &validity,
        &name,
        &public_key,
        &tagged(NUMBERED + 3, &extensions),
    ]);
    let signature = key.sign(&SystemRandom::new(), &body).doing(doing)?;
    let signature = tagged(BIT_STRING, &[&[0], signature.as_ref()].concat());
    let certificate = sequence(&[&body, &algorithm, &signature]);
    Ok((
        pem("CERTIFICATE", &certificate),
        pem("PRIVATE KEY", pkcs8.as_ref()),
    ))
}

fn tagged(tag: u8, content: &[u8]) -> Vec<u8> {
    let mut bytes = vec![tag];
    match content.len() {
        // A byte for lengths below 128, else how many bytes the length has and then those.
        length @ 0..=0x7f => bytes.push(length as u8),
        length => {
            bytes.push(0x82);
            bytes.extend((length as u16).to_be_bytes());
            if length < 0x100 {
                // The shortest form is the only one.
                bytes.splice(1..3, [0x81]);
            }
        }
    }
    bytes.extend_from_slice(content);
    bytes
}

fn sequence(fields: &[&[u8]]) -> Vec<u8> {
    tagged(SEQUENCE, &fields.concat())
}

fn generalized_time(at: Timestamp) -> Vec<u8> {
    tagged(
        GENERALIZED_TIME,
        at.strftime("%Y%m%d%H%M%SZ").to_string().as_bytes(),
    )
}

fn pem(label: &str, der: &[u8]) -> String {
    let mut text = format!("-----BEGIN {label}-----\n");
    for line in der.chunks(48) {
        text += &Base64::encode_string(line);
        text.push('\n');
    }
    text + &format!("-----END {label}-----\n")
}

#[cfg(test)]
mod tests {
    use rustls::pki_types::CertificateDer;
    use rustls::pki_types::pem::PemObject;

    use super::*;

    #[test]
    fn what_it_makes_can_be_read_again() {
        let now = Timestamp::from_second(1_800_000_000).unwrap();
        let (certificate, _) = self_signed(now).unwrap();
        let der = CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap();
        let Facts {
            from,
            until,
            issuer,
            subject,
        } = facts(&der).unwrap();
        assert_eq!(issuer, subject);
        let day = 24 * 60 * 60;
        assert_eq!(now.as_second() - from.as_second(), day);
        assert_eq!(until.as_second() - from.as_second(), VALID_DAYS * day);
    }

    #[test]
    fn times_have_two_forms() {
        let at = |tag, text: &str| time(tag, text.as_bytes()).map(|at| at.to_string());
        let (new, old) = ("2049-12-31T23:59:59Z", "1950-01-01T00:00:00Z");
        assert_eq!(at(UTC_TIME, "491231235959Z").as_deref(), Some(new));
        assert_eq!(at(UTC_TIME, "500101000000Z").as_deref(), Some(old));
        assert_eq!(
            at(GENERALIZED_TIME, "20491231235959Z").as_deref(),
            Some(new)
        );
        for bad in ["491331235959Z", "491231235959", "é91231235959Z", ""] {
            assert_eq!(at(UTC_TIME, bad), None, "{bad}");
        }
    }

    #[test]
    fn what_is_cut_off_is_no_certificate() {
        let (certificate, _) = self_signed(Timestamp::UNIX_EPOCH).unwrap();
        let der = CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap();
        for length in 0..der.len() {
            assert_eq!(facts(&der[..length]), None);
        }
    }
}
