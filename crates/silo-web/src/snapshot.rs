//! Cached measurement of one subject: a background task refreshes it, requests read it.
//!
//! After a failed measurement the last good value stays and is marked as stale. Without any measurement there is an error with the reason, never a
//! zero.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use serde::Serialize;
use silo_core::boot_time::BootTime;
use silo_core::units::whole_millis;
use tokio::sync::{Notify, watch};

use crate::problem::{Kind, Problem};

mod on_demand;
mod publish;
mod reading;
mod source;

use reading::overdue_error;
pub use reading::{Freshness, Json, Measured, Reading, SourceError};
pub use source::Source;

/// Interval and time limits of the measurements of one subject.
#[derive(Clone, Copy, Debug)]
pub struct RefreshPolicy {
    /// Time from the end of one measurement to the start of the next; clients see it as `ttl`.
    pub interval: Duration,
    /// A measurement that takes longer has failed.
    pub timeout: Duration,
    /// Time that a request waits for the first measurement after start.
    pub initial_wait: Duration,
}

/// After a failure the next measurement comes this soon, or sooner where the policy is quicker.
const RETRY: Duration = Duration::from_secs(4);

/// The last measurement of one subject.
pub struct Snapshot<T> {
    name: &'static str,
    policy: RefreshPolicy,
    state: watch::Sender<Arc<State<T>>>,
    wake: Notify,
    /// Number of changes reported with [`Snapshot::invalidate`].
    changes: AtomicU64,
    /// Number of changes that had been reported when the last measurement began.
    measured: AtomicU64,
    under_way: AtomicBool,
}

#[derive(Debug)]
struct State<T> {
    good: Option<Good<T>>,
    failure: Option<SourceError>,
    attempts: u64,
    /// Failures since the last success.
    failures: u64,
}

#[derive(Debug)]
struct Good<T> {
    value: Arc<T>,
    json: Json,
    as_of: Timestamp,
    measured: BootTime,
    /// Age of a restored value at the time of restoring; zero for measured values.
    older: Duration,
    errors: Vec<SourceError>,
}

impl<T> Good<T> {
    fn age(&self) -> Duration {
        self.measured.elapsed() + self.older
    }
}

impl<T> Clone for Good<T> {
    fn clone(&self) -> Self {
        Self {
            value: Arc::clone(&self.value),
            json: self.json.clone(),
            as_of: self.as_of,
            measured: self.measured,
            older: self.older,
            errors: self.errors.clone(),
        }
    }
}

impl<T: Serialize + Send + Sync + 'static> Snapshot<T> {
    /// A subject without any measurement.
    #[must_use]
    pub fn new(name: &'static str, policy: RefreshPolicy) -> Self {
        let empty = State {
            good: None,
            failure: None,
            attempts: 0,
            failures: 0,
        };
        Self {
            name,
            policy,
            state: watch::Sender::new(Arc::new(empty)),
            wake: Notify::new(),
            changes: AtomicU64::new(0),
            measured: AtomicU64::new(0),
            under_way: AtomicBool::new(false),
        }
    }

    /// Name of the subject, in logs and metrics.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Interval between measurements.
    #[must_use]
    pub fn ttl(&self) -> Duration {
        self.policy.interval
    }

    /// Measures for ever, one measurement at a time. Run once per snapshot, as a task of its own.
    pub async fn keep_measuring<F, Fut>(&self, measure: F)
    where
        F: Fn() -> Fut,
        Fut: Future<Output = Result<Measured<T>, SourceError>>,
    {
        loop {
            let requested = self.changes.load(Ordering::Acquire);
            let (outcome, elapsed) = self.measure_once(measure()).await;
            self.measured.store(requested, Ordering::Release);
            let pause = if outcome.is_ok() {
                self.policy.interval
            } else {
                self.policy.interval.min(RETRY)
            };
            self.publish(outcome, elapsed);
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = self.wake.notified() => {}
            }
        }
    }

    /// Starts the next measurement now, because the subject has changed. Readers wait for it within their patience: a client that learned of the
    /// change reads at once.
    pub fn invalidate(&self) {
        self.changes.fetch_add(1, Ordering::AcqRel);
        self.wake.notify_one();
    }

    /// Starts the next measurement now, without letting readers wait for it.
    pub fn measure_now(&self) {
        self.wake.notify_one();
    }

    /// Reads the value. Waits for the first measurement within a request's patience.
    ///
    /// # Errors
    /// 503 when there is no value: nothing was measured in time, or every measurement failed.
    pub async fn read(&self) -> Result<Reading<T>, Problem> {
        if !self.wait_for_attempt().await {
            let detail = format!(
                "{} is being measured for the first time; ask again in a moment",
                self.name
            );
            return Err(Problem::with_code(
                Kind::Unavailable,
                "not_measured_yet",
                detail,
            ));
        }
        self.current().map_err(|error| {
            let detail = format!(
                "{} has not been measured since this service started: {}",
                self.name, error.detail
            );
            Problem::with_code(Kind::Unavailable, "source_unavailable", detail)
        })
    }

    /// Like [`Snapshot::read`], for another measurement that builds on this one.
    ///
    /// # Errors
    /// The error of the last measurement, when there is no value.
    pub async fn wait_for_first(&self) -> Result<Reading<T>, SourceError> {
        // After a timeout, `current` returns the current value.
        self.wait_for_attempt().await;
        self.current()
    }

    /// Waits for the first measurement, and for one that began after the last reported change, within a reader's patience. Returns whether there was
    /// any measurement.
    async fn wait_for_attempt(&self) -> bool {
        let requested = self.changes.load(Ordering::Acquire);
        let mut states = self.state.subscribe();
        let wait_for_first = states.wait_for(|state| {
            state.attempts > 0 && self.measured.load(Ordering::Acquire) >= requested
        });
        let in_time = tokio::time::timeout(self.policy.initial_wait, wait_for_first).await;
        in_time.is_ok() || self.attempts() > 0
    }

    /// Returns the current value without waiting.
    ///
    /// # Errors
    /// The error of the last measurement, when there is no value.
    pub fn current(&self) -> Result<Reading<T>, SourceError> {
        let state = Arc::clone(&self.state.borrow());
        let Some(good) = &state.good else {
            return Err(state.failure.clone().unwrap_or_else(|| {
                SourceError::new(
                    self.name,
                    "not_measured_yet",
                    "nothing has been measured yet",
                )
            }));
        };
        let age = good.age();
        let mut errors = good.errors.clone();
        let overdue = age > 2 * self.policy.interval + self.policy.timeout;
        let trust = match &state.failure {
            Some(failure) => {
                errors.insert(0, failure.clone());
                Freshness::Stale
            }
            None if overdue => {
                errors.insert(0, overdue_error(self.name));
                Freshness::Stale
            }
            None if errors.is_empty() => Freshness::Fresh,
            None => Freshness::Partial,
        };
        Ok(Reading {
            value: Arc::clone(&good.value),
            json: good.json.clone(),
            as_of: good.as_of,
            age,
            ttl: self.policy.interval,
            state: trust,
            errors,
        })
    }

    /// Number of measurements so far, failures included.
    #[must_use]
    pub fn attempts(&self) -> u64 {
        self.state.borrow().attempts
    }

    /// Number of measurements that failed since the last one that succeeded.
    #[must_use]
    pub fn failures(&self) -> u64 {
        self.state.borrow().failures
    }

    /// One measurement within its deadline, and how long it took.
    fn measure_once<Fut>(
        &self,
        measuring: Fut,
    ) -> impl Future<Output = (Result<Measured<T>, SourceError>, Duration)> + use<T, Fut>
    where
        Fut: Future<Output = Result<Measured<T>, SourceError>>,
    {
        let (name, deadline) = (self.name, self.policy.timeout);
        async move {
            let started = Instant::now();
            let outcome = tokio::time::timeout(deadline, measuring)
                .await
                .unwrap_or_else(|_| {
                    let limit = whole_millis(deadline);
                    let detail = format!("measuring took longer than {limit} ms");
                    Err(SourceError::new(name, "timed_out", detail))
                });
            (outcome, started.elapsed())
        }
    }
}

#[cfg(test)]
mod tests;
