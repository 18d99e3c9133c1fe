//! Ids of what is new: UUIDs of version 7 (RFC 9562 §5.7).

use aws_lc_rs::rand;
use jiff::Timestamp;

use crate::error::{Doing, Result};

/// A new id, lower case. Ordered by time, to a quarter of a microsecond, so that new rows lie together in an index; with 62
/// random bits, enough to be no one else's.
///
/// # Errors
///
/// Internal where the system gives no random bits.
pub fn fresh(now: Timestamp) -> Result<String> {
    let mut bits = [0; 10];
    rand::fill(&mut bits).doing("drawing random bits")?;
    // What is finer than a millisecond takes the place of the first random bits (§6.2, method 3).
    let nanos = u64::from(now.subsec_nanosecond().unsigned_abs()) % 1_000_000;
    bits[..2].copy_from_slice(&((nanos * 4096 / 1_000_000) as u16).to_be_bytes());
    // None is negative: a clock that stands before 1970 is wrong, and no reason to answer nobody.
    let millis = now.as_millisecond().try_into().unwrap_or_default();
    Ok(uuid::Builder::from_unix_timestamp_millis(millis, &bits)
        .into_uuid()
        .to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_in_the_order_of_time_and_no_one_elses() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let ids = [1, 1, 2].map(|second| fresh(at(second)).unwrap());
        assert_ne!(ids[0], ids[1]);
        assert!(ids[0] < ids[2] && ids[1] < ids[2], "{ids:?}");
        assert_eq!(&ids[0][14..15], "7");
        let within = |micros| fresh(Timestamp::from_microsecond(micros).unwrap()).unwrap();
        let ids: Vec<String> = (5_000..7_000).map(within).collect();
        assert!(ids.is_sorted());
        assert_eq!(&fresh(at(-1)).unwrap()[..13], "00000000-0000");
    }
}
