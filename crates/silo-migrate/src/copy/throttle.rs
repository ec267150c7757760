//! Limit of requests to the source.

use std::num::NonZeroU32;
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::{Interval, MissedTickBehavior, interval};

/// Lets one request pass per interval. What was not used is not saved up.
pub(super) struct Throttle(Mutex<Interval>);

impl Throttle {
    /// At most so many requests per second.
    pub(super) fn new(rate: NonZeroU32) -> Self {
        let mut interval = interval(Duration::from_secs(1) / rate.get());
        interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self(Mutex::new(interval))
    }

    /// Waits until the next request may be sent.
    pub(super) async fn pass(&self) {
        self.0.lock().await.tick().await;
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::{Instant, sleep};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn no_more_requests_pass_even_after_a_pause() {
        let throttle = Throttle::new(NonZeroU32::new(80).unwrap());
        throttle.pass().await;
        sleep(Duration::from_secs(5)).await;
        let began = Instant::now();
        for _ in 0..81 {
            throttle.pass().await;
        }
        assert_eq!(began.elapsed(), Duration::from_secs(1));
    }
}
