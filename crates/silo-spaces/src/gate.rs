//! No more requests a second than allowed, evenly spread.

use std::num::NonZeroU32;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

/// Lets one request through each `gap`.
pub(crate) struct Gate {
    gap: Duration,
    next: Mutex<Option<Instant>>,
}

impl Gate {
    pub(crate) fn new(per_second: NonZeroU32) -> Self {
        Self {
            gap: Duration::from_secs(1) / per_second.get(),
            next: Mutex::new(None),
        }
    }

    /// Waits for this request's turn.
    pub(crate) async fn pass(&self) {
        sleep_until(self.take()).await;
    }

    /// Takes the next free moment. Time that nobody used is not saved up.
    fn take(&self) -> Instant {
        let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let turn = next.map_or(now, |next| next.max(now));
        *next = Some(turn + self.gap);
        turn
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn requests_are_spread_and_idle_time_is_not_saved_up() {
        let gate = Gate::new(NonZeroU32::new(10).unwrap());
        let start = Instant::now();
        for _ in 0..5 {
            gate.pass().await;
        }
        assert_eq!(start.elapsed().as_millis() / 100, 4);
        tokio::time::advance(Duration::from_secs(5)).await;
        let later = Instant::now();
        for _ in 0..3 {
            gate.pass().await;
        }
        assert_eq!(later.elapsed().as_millis() / 100, 2);
    }
}
