//! When removals are unusual.
//!
//! A provider whose scope was mistyped removes everybody within minutes. All of it is accepted and archived, but from the
//! point on where this module says so the tenant is marked, and nothing of it is purged until somebody has looked.

use std::time::Duration;

/// Removals within this time are counted together.
pub const WINDOW: Duration = Duration::from_secs(60 * 60);

/// From how many removals within [`WINDOW`] on they are unusual.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// More than so many.
    pub count: u64,
    /// More than so many percent of what there was.
    pub percent: u64,
}

/// Twenty, or a quarter.
pub const DEFAULT_LIMITS: Limits = Limits {
    count: 20,
    percent: 25,
};

/// Fewer removals than this are never a large share: in a tenant of three teams, one more or less means nothing.
const FEWEST_FOR_SHARE: u64 = 5;

/// Whether `removed` removals are unusual where `left` are still there.
pub fn is_unusual(removed: u64, left: u64, limits: Limits) -> bool {
    let is_large_share = removed * 100 > (removed + left) * limits.percent;
    removed > limits.count || (removed >= FEWEST_FOR_SHARE && is_large_share)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_and_shares_are_limits_that_may_be_reached_but_not_passed() {
        for (removed, left, unusual) in [
            (20, 1000, false),
            (21, 1000, true),
            (5, 15, false),
            (6, 14, true),
            (1, 3, false),
            (4, 0, false),
            (5, 0, true),
            (0, 0, false),
        ] {
            assert_eq!(
                is_unusual(removed, left, DEFAULT_LIMITS),
                unusual,
                "{removed} of {}",
                removed + left
            );
        }
    }
}
