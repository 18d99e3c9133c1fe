//! dateTime values (RFC 7643 §2.3.5): XML Schema's `xsd:dateTime`, with any fraction of a second and any offset.

use jiff::civil::{Date, Time};
use jiff::tz::Offset;
use jiff::{Timestamp, ToSpan};

/// Digits of a second's fraction that count; what stands behind them is cut off.
const PRECISION: usize = 9;

/// The instant that `text` stands for; without an offset it's taken for UTC. `None` if it is no `xsd:dateTime` of the years
/// 1 to 9999.
pub fn instant(text: &str) -> Option<Timestamp> {
    let (date, rest) = text.split_once('T')?;
    let (time, zone) = rest.split_at(rest.find(['Z', '+', '-']).unwrap_or(rest.len()));
    let (time, fraction) = time.split_once('.').unwrap_or((time, "0"));
    let is_fraction = !fraction.is_empty() && fraction.bytes().all(|it| it.is_ascii_digit());
    if !has_form(date, "0000-00-00") || !has_form(time, "00:00:00") || !is_fraction {
        return None;
    }
    // Midnight may be the end of a day, too; jiff would take a second 60 for 59.
    let (time, days) = match time {
        "24:00:00" if fraction.bytes().all(|it| it == b'0') => ("00:00:00", 1),
        time if time.ends_with("60") => return None,
        time => (time, 0),
    };
    let nanoseconds: i32 = format!("{fraction:0<PRECISION$}")[..PRECISION]
        .parse()
        .ok()?;
    let time: Time = time.parse().ok()?;
    let time = time.with().subsec_nanosecond(nanoseconds).build().ok()?;
    let date: Date = date.parse().ok().filter(|date: &Date| date.year() > 0)?;
    let date = date.checked_add(days.days()).ok()?;
    offset(zone)?.to_timestamp(date.to_datetime(time)).ok()
}

/// `Z`, nothing, or up to 14 hours as `+01:00`.
fn offset(zone: &str) -> Option<Offset> {
    if matches!(zone, "" | "Z") {
        return Some(Offset::UTC);
    }
    let (sign, clock) = zone.split_at(1);
    if !has_form(clock, "00:00") {
        return None;
    }
    let (hours, minutes): (i32, i32) = (clock[..2].parse().ok()?, clock[3..].parse().ok()?);
    let seconds = (hours * 60 + minutes) * 60;
    let allowed = minutes < 60 && seconds <= 14 * 3600;
    let seconds = if sign == "-" { -seconds } else { seconds };
    Offset::from_seconds(seconds).ok().filter(|_| allowed)
}

/// Whether `text` has a digit wherever `form` has one, and otherwise the same characters.
fn has_form(text: &str, form: &str) -> bool {
    text.len() == form.len()
        && text
            .bytes()
            .zip(form.bytes())
            .all(|(it, wanted)| it == wanted || (wanted == b'0' && it.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::instant;

    #[test]
    fn what_xml_schema_allows_is_an_instant() {
        for (text, utc) in [
            ("2008-01-23T04:56:22Z", "2008-01-23T04:56:22Z"),
            ("2008-01-23T04:56:22", "2008-01-23T04:56:22Z"),
            ("2008-01-23T04:56:22+14:00", "2008-01-22T14:56:22Z"),
            ("2008-01-23T04:56:22-05:30", "2008-01-23T10:26:22Z"),
            ("2008-01-23T04:56:22.5Z", "2008-01-23T04:56:22.5Z"),
            (
                "2008-01-23T04:56:22.1234567891234Z",
                "2008-01-23T04:56:22.123456789Z",
            ),
            ("2008-02-29T24:00:00.000Z", "2008-03-01T00:00:00Z"),
            ("0001-01-01T00:00:00Z", "0001-01-01T00:00:00Z"),
        ] {
            assert_eq!(
                instant(text),
                Some(utc.parse().expect("an instant")),
                "{text}"
            );
        }
    }

    #[test]
    fn other_texts_are_none() {
        for text in [
            "",
            "T",
            "2008-01-23",
            "04:56:22Z",
            "2008-01-23T04:56Z",
            "2008-01-23 04:56:22Z",
            "2008-01-23t04:56:22Z",
            "2008-01-23T04:56:22z",
            "2008-02-30T04:56:22Z",
            "2008-01-23T24:00:01Z",
            "2008-01-23T24:00:00.1Z",
            "2008-01-23T04:56:60Z",
            "2008-01-23T04:60:22Z",
            "2008-01-23T04:56:22.Z",
            "2008-01-23T04:56:22.5é",
            "2008-01-23T04:56:22+1:00",
            "2008-01-23T04:56:22+14:01",
            "2008-01-23T04:56:22+01:60",
            "2008-01-23T04:56:22ZZ",
            "0000-01-23T04:56:22Z",
            "-0044-03-15T00:00:00Z",
            "12008-01-23T04:56:22Z",
        ] {
            assert_eq!(instant(text), None, "{text}");
        }
    }
}
