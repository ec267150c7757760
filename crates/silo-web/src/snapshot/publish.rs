//! Publishing of a measurement or its failure, and the log lines about it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use log::{info, warn};
use serde::Serialize;
use silo_core::units::whole_millis;

use silo_core::units::now;

use super::reading::{keep_since, restored_error};
use super::{Good, Measured, Snapshot, SourceError, State};

impl<T: Serialize + Send + Sync + 'static> Snapshot<T> {
    /// Restores a value that an earlier process measured. It is stale until the first measurement.
    pub fn restore(&self, value: T, as_of: Timestamp) {
        let known = serialise(self.name, Measured::from(value));
        let age = Timestamp::now().duration_since(as_of);
        // A time in the future comes from a clock that was set back; the age then counts from now.
        let older = Duration::try_from(age).unwrap_or_default();
        if let Ok(good) = known {
            self.state.send_replace(Arc::new(State {
                good: Some(Good {
                    as_of,
                    older,
                    ..good
                }),
                failure: Some(restored_error(self.name)),
                attempts: 1,
            }));
        }
    }

    /// Publishes a result, for subjects that do not use [`Snapshot::keep_measuring`].
    pub fn publish(&self, outcome: Result<Measured<T>, SourceError>, elapsed: Duration) {
        let before = Arc::clone(&self.state.borrow());
        let attempts = before.attempts + 1;
        let next = match outcome.and_then(|measured| serialise(self.name, measured)) {
            Ok(mut good) => {
                good.errors = keep_since(
                    &good.errors,
                    before.good.as_ref().map_or(&[], |good| &good.errors),
                );
                self.log_success(&before, &good, elapsed);
                State {
                    good: Some(good),
                    failure: None,
                    attempts,
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
                }
            }
        };
        self.state.send_replace(Arc::new(next));
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

fn serialise<T: Serialize>(name: &str, measured: Measured<T>) -> Result<Good<T>, SourceError> {
    let json = serde_json::to_vec(&measured.value).map_err(|error| {
        SourceError::new(
            name,
            "internal",
            format!("the measurement cannot be written as JSON: {error}"),
        )
    })?;
    Ok(Good {
        value: Arc::new(measured.value),
        json: json.into(),
        as_of: now(),
        measured: Instant::now(),
        older: Duration::ZERO,
        errors: measured.errors,
    })
}
