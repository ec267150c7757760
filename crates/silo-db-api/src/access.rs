//! Use of the database since mongod started: the seed report's access patterns, live.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use silo_core::units::{double, round, share};
use silo_web::snapshot::{Measured, Snapshot, SourceError};
use utoipa::ToSchema;

use crate::collections::Collections;
use crate::gateway::{CollectionTime, Counters, Gateway, source_error};

/// Entries of each list.
const MAX_ENTRIES: usize = 20;
/// Before this much uptime no index is called unused: its counter starts with the server.
const MIN_UPTIME: SignedDuration = SignedDuration::from_hours(7 * 24);

/// The report. Everything counts since `since`.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Access {
    /// When the server started, which is when its counters did.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub since: Option<Timestamp>,
    /// Queries and fetches of more results.
    pub reads: Option<u64>,
    /// Inserts, updates and deletes.
    pub writes: Option<u64>,
    /// Reads as a share of both, 0 to 1.
    pub share_of_reads: Option<f64>,
    /// Commands by kind, most frequent first.
    pub commands: Vec<Command>,
    /// Collections by time spent, most first.
    pub collections: Vec<CollectionUse>,
    /// Indexes that nothing has used; `null` until the server has been running for 7 days.
    pub unused_indexes: Option<Vec<UnusedIndex>>,
    /// Use of transactions.
    pub transactions: Feature,
    /// Use of change streams.
    pub change_streams: Feature,
    /// Use of `GridFS` collections.
    pub grid_fs: Feature,
}

/// Use of a feature of MongoDB.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Feature {
    /// `true` if the feature is in use; `null` when the server does not report it.
    pub in_use: Option<bool>,
    /// Number of uses.
    pub count: Option<u64>,
}

/// Number of runs of a command.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Command {
    /// The command.
    pub name: String,
    /// Number of runs.
    pub total: u64,
    /// Number of failures.
    pub failed: Option<u64>,
}

/// Time spent on one collection.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct CollectionUse {
    /// The collection.
    pub name: String,
    /// Time spent in it, in milliseconds.
    pub total_ms: f64,
    /// Of that, reading.
    pub read_ms: Option<f64>,
    /// Of that, writing.
    pub write_ms: Option<f64>,
    /// Operations.
    pub operations: Option<u64>,
}

/// An index that only costs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct UnusedIndex {
    /// The collection.
    pub collection: String,
    /// The index.
    pub index: String,
    /// Size on disk in bytes.
    pub bytes: Option<u64>,
}

/// Reads the counters and times.
pub async fn measure(
    gateway: Gateway,
    collections: Arc<Snapshot<Collections>>,
) -> Result<Measured<Access>, SourceError> {
    let counters = gateway
        .counters()
        .await
        .map_err(|error| source_error("mongod", error))?;
    let mut errors = Vec::new();
    let times = gateway
        .time_by_collection()
        .await
        .map_err(|error| errors.push(source_error("top", error)))
        .unwrap_or_default();
    let known = collections
        .wait_for_first()
        .await
        .map_err(|error| {
            errors.push(SourceError {
                source: "collections".into(),
                ..error
            })
        })
        .ok();
    let missing = |what: Option<u64>, name: &str| {
        what.is_none()
            .then(|| SourceError::new(name, "not_measured", "this server does not count it"))
    };
    errors.extend(missing(counters.transactions, "transactions"));
    errors.extend(missing(counters.change_streams, "change streams"));
    let value = report(
        counters,
        times,
        known.as_ref().map(|reading| reading.value.as_ref()),
        Timestamp::now(),
    );
    Ok(Measured { value, errors })
}

fn report(
    counters: Counters,
    mut times: Vec<CollectionTime>,
    known: Option<&Collections>,
    now: Timestamp,
) -> Access {
    let uptime = counters
        .uptime_ms
        .and_then(|ms| i64::try_from(ms).ok())
        .map(SignedDuration::from_millis);
    let long_enough = uptime.is_some_and(|uptime| uptime >= MIN_UPTIME);
    let mut commands: Vec<_> = counters
        .commands
        .into_iter()
        .map(|count| Command {
            name: count.name,
            total: count.total,
            failed: count.failed,
        })
        .collect();
    commands.sort_by(|a, b| b.total.cmp(&a.total).then_with(|| a.name.cmp(&b.name)));
    commands.truncate(MAX_ENTRIES);
    times.retain(|time| time.total_micros > 0);
    times.sort_by(|a, b| {
        b.total_micros
            .cmp(&a.total_micros)
            .then_with(|| a.name.cmp(&b.name))
    });
    times.truncate(MAX_ENTRIES);
    let both = counters.reads.zip(counters.writes);
    Access {
        since: uptime.and_then(|uptime| now.checked_sub(uptime).ok()),
        reads: counters.reads,
        writes: counters.writes,
        share_of_reads: both.and_then(|(reads, writes)| share(reads, reads.saturating_add(writes))),
        commands,
        collections: times.into_iter().map(collection_use).collect(),
        unused_indexes: known.filter(|_| long_enough).map(unused_indexes),
        transactions: feature(counters.transactions),
        change_streams: feature(counters.change_streams),
        grid_fs: feature(known.map(grid_fs_buckets)),
    }
}

fn collection_use(time: CollectionTime) -> CollectionUse {
    let milliseconds = |micros: u64| round(double(micros) / 1000.0, 3);
    CollectionUse {
        name: time.name,
        total_ms: milliseconds(time.total_micros),
        read_ms: time.read_micros.map(milliseconds),
        write_ms: time.write_micros.map(milliseconds),
        operations: time.operations,
    }
}

fn feature(count: Option<u64>) -> Feature {
    Feature {
        in_use: count.map(|count| count > 0),
        count,
    }
}

fn unused_indexes(known: &Collections) -> Vec<UnusedIndex> {
    let indexes = known.collections.iter().flat_map(|collection| {
        collection
            .indexes
            .iter()
            .flatten()
            .map(move |index| (collection, index))
    });
    let unused = indexes.filter(|(_, index)| {
        index.ops == Some(0) && index.name != "_id_" && index.ttl_seconds.is_none()
    });
    unused
        .map(|(collection, index)| UnusedIndex {
            collection: collection.name.clone(),
            index: index.name.clone(),
            bytes: index.bytes,
        })
        .collect()
}

/// A `GridFS` bucket is a pair of collections, `<name>.files` and `<name>.chunks`.
fn grid_fs_buckets(known: &Collections) -> u64 {
    let buckets = known
        .collections
        .iter()
        .filter_map(|collection| collection.name.strip_suffix(".files"));
    silo_core::units::count_from_usize(
        buckets
            .filter(|bucket| known.get(&format!("{bucket}.chunks")).is_some())
            .count(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_that_the_server_does_not_count_are_unknown() {
        let access = report(Counters::default(), vec![], None, Timestamp::now());
        assert_eq!(
            (access.since, access.share_of_reads, access.unused_indexes),
            (None, None, None)
        );
        assert_eq!(
            access.transactions,
            Feature {
                in_use: None,
                count: None
            }
        );
    }

    #[test]
    fn reads_are_a_share_of_reads_and_writes() {
        let counters = Counters {
            reads: Some(85),
            writes: Some(15),
            uptime_ms: Some(1000),
            change_streams: Some(2),
            ..Counters::default()
        };
        let access = report(counters, vec![], None, Timestamp::from_second(10).unwrap());
        assert_eq!(access.share_of_reads, Some(0.85));
        assert_eq!(access.since, Timestamp::from_second(9).ok());
        assert_eq!(
            access.change_streams,
            Feature {
                in_use: Some(true),
                count: Some(2)
            }
        );
    }
}
