//! Conversions between the numbers of other systems and ours, each by name.
//!
//! Counts and bytes are `u64`. A number that cannot be one (negative, fractional, too large) becomes `None`, which is shown as
//! unknown, never as 0.

use jiff::Timestamp;

/// A count from a signed integer; `None` when negative.
#[must_use]
pub fn count_from_i64(value: i64) -> Option<u64> {
    u64::try_from(value).ok()
}

/// A count from a double, as servers that answer in doubles send it; `None` when negative, fractional, not finite or above 2^53,
/// where a double stops being exact.
#[must_use]
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "range and fraction are checked in the line above"
)]
pub fn count_from_f64(value: f64) -> Option<u64> {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    (value.is_finite() && (0.0..=EXACT).contains(&value) && value.fract() == 0.0)
        .then_some(value as u64)
}

/// A count from a length in memory.
#[must_use]
pub fn count_from_usize(value: usize) -> u64 {
    u64::try_from(value).unwrap_or(u64::MAX)
}

/// The double nearest to a count, for ratios and rates; exact up to 2^53.
#[must_use]
#[expect(
    clippy::cast_precision_loss,
    reason = "a ratio needs no more than 53 bits"
)]
pub fn double(value: u64) -> f64 {
    value as f64
}

/// `part` of `whole` between 0 and 1, rounded to four places; `None` when the whole is 0.
#[must_use]
pub fn share(part: u64, whole: u64) -> Option<f64> {
    (whole > 0).then(|| round(double(part) / double(whole), 4))
}

/// `value` rounded half away from zero to `places` decimal places.
#[must_use]
pub fn round(value: f64, places: i32) -> f64 {
    let scale = 10f64.powi(places);
    (value * scale).round() / scale
}

/// Current time in whole milliseconds, because some programs cannot parse more digits.
#[must_use]
pub fn now() -> Timestamp {
    let now = Timestamp::now();
    Timestamp::from_millisecond(now.as_millisecond()).unwrap_or(now)
}

/// Whole milliseconds of a duration, saturating.
#[must_use]
pub fn whole_millis(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_that_is_no_count_is_unknown() {
        assert_eq!(count_from_i64(-1), None);
        assert_eq!(count_from_f64(-1.0), None);
        assert_eq!(count_from_f64(0.5), None);
        assert_eq!(count_from_f64(f64::NAN), None);
        assert_eq!(count_from_f64(1e300), None);
        assert_eq!(count_from_f64(128_000.0), Some(128_000));
    }

    #[test]
    fn a_share_of_nothing_is_unknown() {
        assert_eq!(share(0, 0), None);
        assert_eq!(share(1, 3), Some(0.3333));
        assert_eq!(share(3, 3), Some(1.0));
    }
}
