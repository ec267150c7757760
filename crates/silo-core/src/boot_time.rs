//! Time since this machine booted, also while it was suspended. `Instant` stands still meanwhile, so that data would look younger than it is after a
//! virtual machine is resumed.

use std::time::Duration;

use rustix::time::{ClockId, Timespec, clock_gettime};

/// A point in time by this clock, which never goes back and is not set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct BootTime(Duration);

impl BootTime {
    /// Now.
    #[must_use]
    pub fn now() -> Self {
        let Timespec { tv_sec, tv_nsec } = clock_gettime(ClockId::Boottime);
        let seconds = u64::try_from(tv_sec).unwrap_or_default();
        let nanoseconds = u32::try_from(tv_nsec).unwrap_or_default();
        Self(Duration::new(seconds, nanoseconds))
    }

    /// Time that has passed since.
    #[must_use]
    pub fn elapsed(self) -> Duration {
        Self::now().0.saturating_sub(self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_passes_and_nothing_is_from_the_future() {
        let before = BootTime::now();
        let later = BootTime(before.0 + Duration::from_secs(3600));
        assert_eq!(later.elapsed(), Duration::ZERO);
        let earlier = BootTime(before.0.saturating_sub(Duration::from_millis(5)));
        assert!(earlier.elapsed() >= Duration::from_millis(5).min(before.0));
        assert!(BootTime::now() >= before);
    }
}
