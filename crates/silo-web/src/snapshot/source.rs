//! A subject whatever its value is.

use std::time::Duration;

use super::{Good, Snapshot, SourceError};

/// View of a snapshot for `/metrics` and `/readyz`, independent of the type of its value.
pub trait Source: Send + Sync {
    /// The subject's name.
    fn name(&self) -> &'static str;
    /// The age of the last good value; `None` when there is none.
    fn age(&self) -> Option<Duration>;
    /// Error of the last measurement; `None` when it succeeded or there was none yet.
    fn failure(&self) -> Option<SourceError>;
}

impl<T: Send + Sync> Source for Snapshot<T> {
    fn name(&self) -> &'static str {
        self.name
    }

    fn age(&self) -> Option<Duration> {
        self.state.borrow().good.as_ref().map(Good::age)
    }

    fn failure(&self) -> Option<SourceError> {
        self.state.borrow().failure.clone()
    }
}
