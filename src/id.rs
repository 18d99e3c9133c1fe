//! Ids of what is new: UUIDs of version 7 (RFC 9562 §5.7).

use std::cell::RefCell;

use aws_lc_rs::rand;
use jiff::Timestamp;
use uuid::Uuid;

use crate::error::{Doing, Result};

thread_local! {
    /// Random bits that were drawn at once, for drawing takes as long for many as for few, and how many of them are used up.
    static DRAWN: RefCell<([[u8; 8]; 32], usize)> = const { RefCell::new(([[0; 8]; 32], 32)) };
}

/// A new id, lower case. Ordered by `now`, to a quarter of a microsecond where it is that fine, so that new rows lie together
/// in an index; with 62 random bits, enough to be no one else's.
///
/// # Errors
///
/// Internal where the system gives no random bits.
pub fn fresh(now: Timestamp) -> Result<String> {
    let mut bits = [0; 10];
    bits[2..].copy_from_slice(&random_bits()?);
    // What is finer than a millisecond takes the place of the first random bits (§6.2, method 3).
    let nanos = u64::from(now.subsec_nanosecond().unsigned_abs()) % 1_000_000;
    bits[..2].copy_from_slice(&((nanos * 4096 / 1_000_000) as u16).to_be_bytes());
    // None is negative: a clock that stands before 1970 is wrong, and no reason to answer nobody.
    let millis = now.as_millisecond().try_into().unwrap_or_default();
    Ok(uuid::Builder::from_unix_timestamp_millis(millis, &bits)
        .into_uuid()
        .to_string())
}

/// The millisecond since 1970 at which [`fresh`] made this id; `None` where it has made none like it.
pub fn millis(id: &str) -> Option<i64> {
    let id = Uuid::try_parse(id).ok().filter(|_| id.len() == 36)?;
    // The first 48 bits (§5.7).
    (id.get_version_num() == 7).then(|| (id.as_u128() >> 80) as i64)
}

/// Bits that were never used. A machine that is copied while it runs may have them twice, but hardly for an id of the same
/// time.
fn random_bits() -> Result<[u8; 8]> {
    DRAWN.with_borrow_mut(|(drawn, used)| {
        if *used == drawn.len() {
            rand::fill(drawn.as_flattened_mut()).doing("drawing random bits")?;
            *used = 0;
        }
        *used += 1;
        Ok(drawn[*used - 1])
    })
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn ids_of_one_moment_are_no_one_elses_either() {
        let many = || (0..100).map(|_| fresh(Timestamp::UNIX_EPOCH).unwrap());
        let others = std::thread::spawn(move || many().collect::<Vec<_>>());
        let mut ids: HashSet<String> = many().collect();
        ids.extend(others.join().unwrap());
        assert_eq!(ids.len(), 200);
    }

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
        assert_eq!(millis(&fresh(at(4)).unwrap()), Some(4000));
        let others = [
            "",
            "r7",
            "f47ac10b-58cc-4372-a567-0e02b2c3d479",
            "{0190163d-8694-739b-aea5-966c26f8ad91}",
        ];
        assert_eq!(others.map(millis), [None; 4]);
    }
}
