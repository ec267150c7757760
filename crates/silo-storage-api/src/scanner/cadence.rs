//! Schedule of scans: all buckets at the regular interval, and in between those whose error may be temporary, with increasing delays. A bucket that
//! does not exist, or that the key may not list, waits for the regular scan.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

/// The pause before the first retry; each further one is twice as long.
const FIRST_RETRY: Duration = Duration::from_secs(60);

/// The buckets that a scan lists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Due {
    /// All buckets.
    All,
    /// Buckets whose last listing failed with an error that may be temporary.
    Only(BTreeSet<String>),
}

impl Due {
    /// `true` if the selection includes the bucket.
    pub(super) fn includes(&self, bucket: &str) -> bool {
        match self {
            Self::All => true,
            Self::Only(buckets) => buckets.contains(bucket),
        }
    }
}

/// The times of scans.
pub(super) struct Cadence {
    /// From the end of one regular scan to the start of the next.
    every: Duration,
    /// The next regular scan.
    regular: Option<Instant>,
    /// Number of retries since the last regular scan.
    retries: u32,
}

impl Cadence {
    pub(super) fn new(every: Duration) -> Self {
        Self {
            every,
            regular: None,
            retries: 0,
        }
    }

    /// Pause after a scan that ended at `now`, and the buckets to list then. `retry` are those whose error may be temporary.
    pub(super) fn after(
        &mut self,
        ended: &Due,
        retry: BTreeSet<String>,
        now: Instant,
    ) -> (Duration, Due) {
        let regular = match (ended, self.regular) {
            (Due::Only(_), Some(regular)) => regular,
            _ => {
                self.retries = 0;
                now + self.every
            }
        };
        self.regular = Some(regular);
        let to_regular = regular.saturating_duration_since(now);
        if retry.is_empty() {
            return (to_regular, Due::All);
        }
        let pause = FIRST_RETRY.saturating_mul(2_u32.saturating_pow(self.retries));
        self.retries += 1;
        if pause < to_regular {
            (pause, Due::Only(retry))
        } else {
            (to_regular, Due::All)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn temporary_errors_are_retried_with_backoff_and_the_regular_scan_keeps_its_time() {
        let every = Duration::from_secs(3600);
        let start = Instant::now();
        let failed = || BTreeSet::from(["art".to_owned()]);
        let mut cadence = Cadence::new(every);
        let (mut pause, mut due) = cadence.after(&Due::All, failed(), start);
        let (mut now, mut pauses) = (start, Vec::new());
        while due != Due::All {
            assert_eq!(due, Due::Only(failed()));
            pauses.push(pause.as_secs());
            now += pause;
            (pause, due) = cadence.after(&due, failed(), now);
        }
        assert_eq!(pauses, [60, 120, 240, 480, 960]);
        assert_eq!(now + pause, start + every);
        // The regular scan resets the delay.
        let (pause, _) = cadence.after(&Due::All, failed(), now + pause);
        assert_eq!(pause.as_secs(), 60);
    }

    #[test]
    fn without_temporary_errors_the_next_scan_is_the_regular_one() {
        let every = Duration::from_secs(3600);
        let now = Instant::now();
        let mut cadence = Cadence::new(every);
        let after = cadence.after(&Due::All, BTreeSet::new(), now);
        assert_eq!(after, (every, Due::All));
        // A retry that went well leaves the regular scan where it was.
        let failed = BTreeSet::from(["art".to_owned()]);
        let (pause, due) = cadence.after(&Due::All, failed, now);
        let (rest, next) = cadence.after(&due, BTreeSet::new(), now + pause);
        assert_eq!((pause + rest, next), (every, Due::All));
    }

    #[test]
    fn a_pace_quicker_than_the_first_retry_is_kept() {
        let every = Duration::from_secs(30);
        let failed = BTreeSet::from(["art".to_owned()]);
        let after = Cadence::new(every).after(&Due::All, failed, Instant::now());
        assert_eq!(after, (every, Due::All));
    }
}
