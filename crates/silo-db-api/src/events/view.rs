//! Events and their number over time, as the API returns them.

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use utoipa::ToSchema;

use super::DatabaseEvent;

/// Minutes in a day.
const DAY: i64 = 24 * 60;
/// Number of minutes whose events are counted on disk.
pub(super) const MINUTES_KEPT: i64 = 2 * DAY;
/// Minutes in a quarter of an hour.
const QUARTER: i64 = 15;

/// Changes of the database in the last day.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Activity {
    /// Time from which on all events are kept; `null` before the change stream was first open. Counts may go further back.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub since: Option<Timestamp>,
    /// Events of the last day, newest first.
    pub events: Vec<DatabaseEvent>,
    /// Number of changes in each of the last 60 minutes, the newest last; `null` where it is not known. The last minute is not over.
    pub minutes: Vec<Option<u64>>,
    /// Start of the first of `quarters`.
    #[schema(value_type = String, format = DateTime)]
    pub from: Timestamp,
    /// Number of changes in each quarter of an hour of the last day, the newest last; `null` where it is not known. The last one is not over.
    pub quarters: Vec<Option<u64>>,
}

/// Minute since 1970.
pub(super) fn minute_of(at: Timestamp) -> i64 {
    at.as_second().div_euclid(60)
}

/// A day before a time.
pub(super) fn day_before(now: Timestamp) -> Timestamp {
    now - SignedDuration::from_hours(24)
}

/// The first minute of the counts.
pub(super) fn first_minute(now: Timestamp) -> i64 {
    first_quarter(now) * QUARTER
}

/// The first of the last 96 quarters of an hour since 1970.
fn first_quarter(now: Timestamp) -> i64 {
    minute_of(now).div_euclid(QUARTER) - DAY / QUARTER + 1
}

/// The view. `counts` are by minute, from [`first_minute`] on.
pub(super) fn activity(
    since: Option<Timestamp>,
    events: Vec<DatabaseEvent>,
    counts: &[(i64, u64)],
    now: Timestamp,
) -> Activity {
    let first_quarter = first_quarter(now);
    let from = Timestamp::from_second(first_quarter * QUARTER * 60).unwrap_or_default();
    Activity {
        since,
        events,
        minutes: sums(counts, minute_of(now) - 59, 60, 1),
        from,
        quarters: sums(counts, first_quarter, DAY / QUARTER, QUARTER),
    }
}

/// Sums of the counts in `number` steps of `length` minutes, the first of which is step `first` since 1970; `None` where nothing was counted.
fn sums(counts: &[(i64, u64)], first: i64, number: i64, length: i64) -> Vec<Option<u64>> {
    let mut sums = vec![None; usize::try_from(number).unwrap_or_default()];
    for (minute, count) in counts {
        let step = usize::try_from(minute.div_euclid(length) - first);
        if let Some(sum) = step.ok().and_then(|step| sums.get_mut(step)) {
            *sum = Some(sum.unwrap_or(0_u64).saturating_add(*count));
        }
    }
    sums
}
