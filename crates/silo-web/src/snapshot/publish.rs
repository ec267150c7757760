//! Publishing of a measurement or its failure, and the log lines about it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use log::{info, warn};
use serde::Serialize;
use silo_core::units::whole_millis;

use silo_core::boot_time::BootTime;
use silo_core::units::now;

use super::reading::{keep_since, restored_error};
use super::{Good, Json, Measured, Snapshot, SourceError, State};

impl<T: Serialize + Send + Sync + 'static> Snapshot<T> {
    /// Restores a value that an earlier process measured. It is stale until the first measurement.
    pub fn restore(&self, value: T, as_of: Timestamp) {
        if let Ok(good) = serialise(self.name, Measured::from(value), Some(as_of)) {
            self.state.send_replace(Arc::new(State {
                good: Some(good),
                failure: Some(restored_error(self.name)),
                attempts: 1,
                failures: 0,
            }));
        }
    }

    /// Publishes a result, for subjects that do not use [`Snapshot::keep_measuring`].
    pub fn publish(&self, outcome: Result<Measured<T>, SourceError>, elapsed: Duration) {
        self.publish_result(outcome, None, elapsed);
    }

    /// Publishes a value that was measured earlier, or whose oldest part is from `as_of`.
    pub fn publish_as_of(&self, measured: Measured<T>, as_of: Timestamp, elapsed: Duration) {
        self.publish_result(Ok(measured), Some(as_of), elapsed);
    }

    /// Withdraws the last failure, for a subject whose source was away between two measurements and whose value still is the last one.
    pub fn withdraw_failure(&self) {
        self.state.send_modify(|state| {
            *state = Arc::new(State {
                good: state.good.clone(),
                failure: None,
                attempts: state.attempts,
                failures: 0,
            });
        });
    }

    fn publish_result(
        &self,
        outcome: Result<Measured<T>, SourceError>,
        as_of: Option<Timestamp>,
        elapsed: Duration,
    ) {
        let outcome = outcome.and_then(|measured| serialise(self.name, measured, as_of));
        // Two writers may publish at the same time; each builds on what is there.
        self.state.send_modify(|state| {
            let before = Arc::clone(state);
            let attempts = before.attempts + 1;
            *state = Arc::new(match outcome {
                Ok(mut good) => {
                    let known = before.good.as_ref().map_or(&[][..], |good| &good.errors);
                    good.errors = keep_since(&good.errors, known);
                    self.log_success(&before, &good, elapsed);
                    State {
                        good: Some(good),
                        failure: None,
                        attempts,
                        failures: 0,
                    }
                }
                Err(error) => {
                    let known = before.failure.as_slice();
                    let error = keep_since(&[error], known).remove(0);
                    if known.iter().all(|before| before.code != error.code) {
                        warn!(subject = self.name, code = error.code.as_str(), source = error.source.as_str(); "measuring failed: {}", error.detail);
                    }
                    State {
                        good: before.good.clone(),
                        failure: Some(error),
                        attempts,
                        failures: before.failures + 1,
                    }
                }
            });
        });
    }

    fn log_success(&self, before: &State<T>, good: &Good<T>, elapsed: Duration) {
        let elapsed = whole_millis(elapsed);
        if before.failure.is_some() || before.attempts == 0 {
            info!(subject = self.name, duration_ms = elapsed; "{} measured", self.name);
        }
        let known = before.good.as_ref().map_or(&[][..], |good| &good.errors);
        // One log line per reason, however many sources share it.
        let mut reasons = BTreeMap::<_, Vec<_>>::new();
        for error in good.errors.iter().filter(|error| !known.contains(error)) {
            let reason = (error.code.as_str(), error.detail.as_str());
            reasons
                .entry(reason)
                .or_default()
                .push(error.source.as_str());
        }
        for ((code, detail), sources) in reasons {
            warn!(subject = self.name, code, sources = sources.join(", ").as_str(); "measured in part: {detail}");
        }
    }
}

/// `as_of` is when it was measured; `None` for now.
fn serialise<T: Serialize>(
    name: &str,
    measured: Measured<T>,
    as_of: Option<Timestamp>,
) -> Result<Good<T>, SourceError> {
    let json = Json::of(&measured.value).map_err(|error| {
        SourceError::new(
            name,
            "internal",
            format!("the measurement cannot be written as JSON: {error}"),
        )
    })?;
    let as_of = as_of.unwrap_or_else(now);
    // A time in the future comes from a clock that was set back; the age then counts from now.
    let older = Duration::try_from(now().duration_since(as_of)).unwrap_or_default();
    Ok(Good {
        value: Arc::new(measured.value),
        json,
        as_of,
        measured: BootTime::now(),
        older,
        errors: measured.errors,
    })
}
