//! Number of checks by result.

use crate::status::Status;

/// Number of checks by result.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Checks with a good answer.
    pub up: u16,
    /// Checks with an answer and warnings.
    pub degraded: u16,
    /// First failures in a row.
    pub failed: u16,
    /// Further failures in a row.
    pub down: u16,
    /// The milliseconds of all that were answered.
    pub answered_ms: u32,
}

impl Tally {
    pub(super) fn add(&mut self, other: Self) {
        self.up = self.up.saturating_add(other.up);
        self.degraded = self.degraded.saturating_add(other.degraded);
        self.failed = self.failed.saturating_add(other.failed);
        self.down = self.down.saturating_add(other.down);
        self.answered_ms = self.answered_ms.saturating_add(other.answered_ms);
    }

    pub(super) fn answered(self) -> u32 {
        u32::from(self.up) + u32::from(self.degraded)
    }

    pub(super) fn failures(self) -> u32 {
        u32::from(self.failed) + u32::from(self.down)
    }

    pub(super) fn checks(self) -> u32 {
        self.answered() + self.failures()
    }

    /// The worst that it was; unknown when there was no check.
    pub(super) fn status(self) -> Status {
        match self {
            Self { down: 1.., .. } => Status::Down,
            Self { failed: 1.., .. } | Self { degraded: 1.., .. } => Status::Degraded,
            Self { up: 1.., .. } => Status::Up,
            _ => Status::Unknown,
        }
    }
}
