//! Minutes since 1970, the unit of the history.

use jiff::Timestamp;

/// Seconds per minute.
pub(super) const SECONDS: i64 = 60;
/// Minutes per hour.
pub(super) const PER_HOUR: u32 = 60;

/// Minute of a time.
pub(crate) fn minute_of(at: Timestamp) -> u32 {
    u32::try_from(at.as_second() / SECONDS).unwrap_or(0)
}
