//! Progress of long-running work.

use serde::Serialize;
use tokio::sync::watch;
use utoipa::ToSchema;

/// Progress of a job.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Progress {
    /// Phase: `waiting`, `reading`, `verifying`, `copying`, `inserting`, `comparing`, `indexing`, `cleaning`.
    pub phase: &'static str,
    /// The collection that it is at.
    pub collection: Option<String>,
    /// Documents or bytes completed in this phase.
    pub done: u64,
    /// Total of this phase; `null` if unknown.
    pub total: Option<u64>,
    /// `documents` or `bytes`.
    pub unit: &'static str,
}

/// Reporter of progress; clones report to the same receivers.
#[derive(Clone, Debug)]
pub struct Reporter(watch::Sender<Progress>);

impl Default for Reporter {
    fn default() -> Self {
        Self(watch::Sender::new(Progress {
            phase: "waiting",
            unit: "documents",
            ..Progress::default()
        }))
    }
}

impl Reporter {
    /// A phase begins.
    pub fn begin(&self, phase: &'static str, total: Option<u64>, unit: &'static str) {
        self.0.send_replace(Progress {
            phase,
            collection: None,
            done: 0,
            total,
            unit,
        });
    }

    /// Sets the current collection.
    pub fn at(&self, collection: &str) {
        self.0
            .send_modify(|progress| progress.collection = Some(collection.to_owned()));
    }

    /// So much more is done.
    pub fn add(&self, more: u64) {
        self.0.send_modify(|progress| progress.done += more);
    }

    /// Current progress.
    #[must_use]
    pub fn now(&self) -> Progress {
        self.0.borrow().clone()
    }

    /// Hears of every change.
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<Progress> {
        self.0.subscribe()
    }
}
