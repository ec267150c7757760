//! Counters of requests to an endpoint, and the difference between the clocks.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

/// Counters of requests and errors.
#[derive(Debug)]
pub struct Traffic {
    /// Requests sent, repeated ones included.
    pub requests: AtomicU64,
    /// Number of "slow down" answers.
    pub throttles: AtomicU64,
    /// Requests that failed in another way and could be repeated.
    pub failures: AtomicU64,
    /// Seconds by which this machine's clock was ahead of the storage's in the last answer; [`UNKNOWN_CLOCK`] before the first.
    pub(crate) clock_ahead: AtomicI64,
}

/// Clock difference before the first answer.
pub(crate) const UNKNOWN_CLOCK: i64 = i64::MIN;

impl Default for Traffic {
    fn default() -> Self {
        Self {
            requests: AtomicU64::new(0),
            throttles: AtomicU64::new(0),
            failures: AtomicU64::new(0),
            clock_ahead: AtomicI64::new(UNKNOWN_CLOCK),
        }
    }
}

impl Traffic {
    /// Seconds by which this machine's clock is ahead of the storage's, from its last answer; negative if it is behind.
    #[must_use]
    pub fn clock_ahead(&self) -> Option<i64> {
        let ahead = self.clock_ahead.load(Ordering::Relaxed);
        (ahead != UNKNOWN_CLOCK).then_some(ahead)
    }
}
