//! Number of this process's answered commands, by name, from the driver's command events.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use mongodb::bson::{Bson, Document};
use mongodb::event::command::CommandEvent;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;

/// Commands that mongod counts as reads in `opLatencies`.
const READS: [&str; 5] = ["find", "getMore", "aggregate", "count", "distinct"];

/// Counts commands; clones share one count.
#[derive(Clone, Debug, Default)]
pub struct Commands {
    counts: Arc<Mutex<BTreeMap<String, u64>>>,
    streams: Arc<Mutex<Streams>>,
    metric: Family<CommandLabel, Counter>,
}

/// Change streams of this process.
#[derive(Debug, Default)]
struct Streams {
    opened: u64,
    /// Ids of requests that open one and have no answer yet.
    opening: BTreeSet<i32>,
}

/// The label of a command in metrics.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct CommandLabel {
    command: String,
}

impl Commands {
    /// Counts what the event is about. A command is counted at its answer, as the server counts, so that one under way is in neither count.
    pub fn note(&self, event: &CommandEvent) {
        match event {
            CommandEvent::Started(started) if opens_change_stream(&started.command) => {
                self.streams().opening.insert(started.request_id);
            }
            CommandEvent::Succeeded(done) => self.note_answer(&done.command_name, done.request_id),
            CommandEvent::Failed(failed) => {
                self.note_answer(&failed.command_name, failed.request_id);
            }
            _ => {}
        }
    }

    /// Number of change streams that this process has opened; `None` while one is being opened: mongod may have counted it already.
    #[must_use]
    pub fn change_streams(&self) -> Option<u64> {
        let streams = self.streams();
        streams.opening.is_empty().then_some(streams.opened)
    }

    fn note_answer(&self, name: &str, request: i32) {
        let mut streams = self.streams();
        if streams.opening.remove(&request) {
            streams.opened += 1;
        }
        drop(streams);
        self.count(name);
    }

    fn streams(&self) -> MutexGuard<'_, Streams> {
        self.streams.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn count(&self, name: &str) {
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

fn opens_change_stream(command: &Document) -> bool {
    let stages = command.get_array("pipeline").into_iter().flatten();
    let mut stages = stages.filter_map(Bson::as_document);
    stages.any(|stage| stage.contains_key("$changeStream"))
}

#[cfg(test)]
mod tests {
    use mongodb::bson::doc;

    use super::*;

    #[test]
    fn change_streams_are_unknown_while_one_is_being_opened() {
        let commands = Commands::default();
        assert_eq!(commands.change_streams(), Some(0));
        commands.streams().opening.insert(7);
        commands.note_answer("aggregate", 6);
        assert_eq!(commands.change_streams(), None);
        commands.note_answer("aggregate", 7);
        assert_eq!((commands.change_streams(), commands.reads()), (Some(1), 2));
    }

    #[test]
    fn a_change_stream_is_known_by_its_stage() {
        let pipeline = |stage: &str| doc! { "aggregate": 1, "pipeline": [{ stage: {} }] };
        assert!(opens_change_stream(&pipeline("$changeStream")));
        assert!(!opens_change_stream(&pipeline("$match")));
        assert!(!opens_change_stream(&doc! { "find": "users" }));
    }
}
