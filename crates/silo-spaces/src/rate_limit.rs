//! No more requests a second than allowed, evenly spread.

use std::num::NonZeroU32;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

/// Lets one request through each `gap`.
pub(crate) struct RateLimiter {
    gap: Duration,
    next: Mutex<Option<Instant>>,
}

impl RateLimiter {
    pub(crate) fn new(per_second: NonZeroU32) -> Self {
        Self {
            gap: Duration::from_secs(1) / per_second.get(),
            next: Mutex::new(None),
        }
    }

    /// Waits for this request's turn.
    pub(crate) async fn wait(&self) {
        sleep_until(self.reserve(Instant::now())).await;
    }

    /// Reserves the next free slot from `now` on. Unused slots do not accumulate.
    fn reserve(&self, now: Instant) -> Instant {
        let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
        let turn = next.map_or(now, |next| next.max(now));
        *next = Some(turn + self.gap);
        turn
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_spread_and_idle_time_is_not_saved_up() {
        let gate = RateLimiter::new(NonZeroU32::new(10).unwrap());
        let start = Instant::now();
        let waits = |now: Instant, count: u32| -> Vec<u128> {
            let turns = (0..count).map(|_| gate.reserve(now));
            turns.map(|turn| (turn - now).as_millis()).collect()
        };
        assert_eq!(waits(start, 5), [0, 100, 200, 300, 400]);
        let later = start + Duration::from_secs(5);
        assert_eq!(waits(later, 3), [0, 100, 200]);
    }
}
