//! Checkpoint of an unfinished scan on disk.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::scan::Checkpoint;
use crate::scan_results::Bucket;

/// A checkpoint older than this is discarded and the scan restarts.
const MAX_CHECKPOINT_AGE: SignedDuration = SignedDuration::from_hours(6);

/// Checkpoints of unfinished bucket scans.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Checkpoints {
    /// Buckets that are through.
    pub(super) done: Vec<Bucket>,
    /// Buckets that are not: when they were begun, and how they stand.
    pub(super) open: BTreeMap<String, (Timestamp, Checkpoint)>,
}

impl Checkpoints {
    /// Discards checkpoints that are too old, or from a clock that was ahead.
    pub(super) fn forget_old(&mut self, now: Timestamp) {
        let recent = |begun: Timestamp| {
            (SignedDuration::ZERO..=MAX_CHECKPOINT_AGE).contains(&now.duration_since(begun))
        };
        self.open.retain(|_, (begun, _)| recent(*begun));
        self.done.retain(|bucket| {
            bucket.failure.is_none()
                && bucket
                    .found
                    .as_ref()
                    .is_some_and(|found| recent(found.begun))
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scan_of_yesterday_or_of_tomorrow_is_not_gone_on_from() {
        let now: Timestamp = "2026-01-31T12:00:00Z".parse().unwrap();
        let checkpoint = Checkpoint {
            totals: crate::totals::Totals::default(),
            remaining: Vec::new(),
        };
        let mut checkpoints = Checkpoints::default();
        for (name, hours) in [("recent", -1), ("old", -7), ("ahead", 1)] {
            checkpoints.open.insert(
                name.into(),
                (now + SignedDuration::from_hours(hours), checkpoint.clone()),
            );
        }
        checkpoints.forget_old(now);
        assert_eq!(checkpoints.open.keys().collect::<Vec<_>>(), ["recent"]);
    }
}
