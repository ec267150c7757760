//! Subjects that are measured on demand.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use serde::Serialize;

use super::Snapshot;
use super::reading::{Measured, Reading, SourceError};
use crate::problem::Problem;

impl<T: Serialize + Send + Sync + 'static> Snapshot<T> {
    /// Reads a subject that is measured on demand: when the value is older than its interval, measures it first, once for all waiting readers, who
    /// wait within their patience.
    ///
    /// # Errors
    /// 503 when there is no value.
    pub async fn read_on_demand<Fut>(
        self: &Arc<Self>,
        measure: impl FnOnce() -> Fut,
    ) -> Result<Reading<T>, Problem>
    where
        Fut: Future<Output = Result<Measured<T>, SourceError>> + Send + 'static,
    {
        let due = self
            .current()
            .map_or(true, |reading| reading.age >= self.policy.interval);
        if !due {
            return self.read().await;
        }
        let attempts = self.attempts();
        let mut changes = self.state.subscribe();
        if !self.under_way.swap(true, Ordering::AcqRel) {
            let measuring = self.measure_once(measure());
            let snapshot = Arc::clone(self);
            tokio::spawn(async move {
                let (outcome, elapsed) = measuring.await;
                snapshot.publish(outcome, elapsed);
                snapshot.under_way.store(false, Ordering::Release);
            });
        }
        // After a timeout, `read` returns the current value.
        let news = changes.wait_for(|state| state.attempts > attempts);
        let _in_time = tokio::time::timeout(self.policy.initial_wait, news)
            .await
            .is_ok();
        self.read().await
    }
}
