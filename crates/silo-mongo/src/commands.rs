//! Number of this process's answered commands, by name, from the driver's command events.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use mongodb::bson::{Bson, Document};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;

/// Commands that mongod counts as reads in `opLatencies`.
const READS: [&str; 5] = ["find", "getMore", "aggregate", "count", "distinct"];

/// Counts commands; clones share one count.
#[derive(Clone, Debug, Default)]
pub struct Commands {
    counts: Arc<Mutex<BTreeMap<String, u64>>>,
    change_streams: Arc<AtomicU64>,
    metric: Family<CommandLabel, Counter>,
}

/// The label of a command in metrics.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct CommandLabel {
    command: String,
}

impl Commands {
    /// Counts a change stream, if the command opens one: mongod counts it when it begins.
    pub fn note_start(&self, command: &Document) {
        let stages = command.get_array("pipeline").into_iter().flatten();
        let mut stages = stages.filter_map(Bson::as_document);
        if stages.any(|stage| stage.contains_key("$changeStream")) {
            self.change_streams.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Number of change streams that this process has opened.
    #[must_use]
    pub fn change_streams(&self) -> u64 {
        self.change_streams.load(Ordering::Relaxed)
    }

    /// Counts one command.
    pub fn note(&self, name: &str) {
        *self
            .counts
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .entry(name.to_owned())
            .or_default() += 1;
        self.metric
            .get_or_create(&CommandLabel {
                command: name.to_owned(),
            })
            .inc();
    }

    /// The counts so far.
    #[must_use]
    pub fn counts(&self) -> BTreeMap<String, u64> {
        self.counts
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Number of commands so far that mongod counts as reads.
    #[must_use]
    pub fn reads(&self) -> u64 {
        let counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        READS.iter().filter_map(|name| counts.get(*name)).sum()
    }

    /// The same counts as a Prometheus counter.
    #[must_use]
    pub fn metric(&self) -> Family<CommandLabel, Counter> {
        self.metric.clone()
    }
}
