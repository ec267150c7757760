//! Use of the database since mongod started: the seed report's access patterns, live.

mod observed;

use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use silo_core::units::{double, round, share};
use silo_mongo::error::DatabaseError;
use silo_web::snapshot::{Measured, Snapshot, SourceError};
use utoipa::ToSchema;

use crate::collections::Collections;
use crate::gateway::{CollectionTime, CommandCount, Counters, Gateway, source_error};

pub use observed::Observed;
use observed::Observer;

/// Entries of each list.
const MAX_ENTRIES: usize = 20;
/// An index is called unused after this time without a use: its counter starts when mongod starts, and when the index is built or changed.
const MIN_WATCHED: SignedDuration = SignedDuration::from_hours(7 * 24);

/// Looks at the counters of one refresh, until this process reads nothing meanwhile: at its start it reads for seconds.
const MAX_LOOKS: usize = 20;
/// Pause between two of them.
const PAUSE: Duration = Duration::from_millis(250);

/// The report. Everything counts since `since`, except `observed`.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Access {
    /// When the server started, which is when its counters did.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub since: Option<Timestamp>,
    /// Read operations: find, getMore, aggregate, count, distinct. Silo's own are among them.
    pub reads: Option<u64>,
    /// Write operations: insert, update, delete, findAndModify.
    pub writes: Option<u64>,
    /// Reads as a share of both, 0 to 1.
    pub share_of_reads: Option<f64>,
    /// Reads and writes since this service first looked at this run of mongod, with Silo's own apart; `null` when the server does not report them, or
    /// Silo was reading at every look.
    pub observed: Option<Observed>,
    /// Commands by kind, most frequent first; `null` when the server does not report them.
    pub commands: Option<Vec<Command>>,
    /// Collections by time spent, most first; `null` when the server does not report it.
    pub collections: Option<Vec<CollectionUse>>,
    /// Indexes that nothing has used on this node for 7 days and that enforce nothing; reads of other members of a replica set are not seen. `null`
    /// until the server has been running for 7 days, and when the indexes of a collection are unknown.
    pub unused_indexes: Option<Vec<UnusedIndex>>,
    /// Use of transactions.
    pub transactions: Feature,
    /// Change streams that others than this service have opened; `null` when some were opened before it first looked and none since: they may have been its
    /// own.
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

/// An index that nothing has used on this node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct UnusedIndex {
    /// The collection.
    pub collection: String,
    /// The index.
    pub index: String,
    /// Size on disk in bytes.
    pub bytes: Option<u64>,
    /// Since when its uses are counted.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub since: Option<Timestamp>,
}

/// Watcher of the counters.
#[derive(Clone)]
pub struct Watcher {
    gateway: Gateway,
    collections: Arc<Snapshot<Collections>>,
    observer: Observer,
}

impl Watcher {
    /// A watcher that has not looked yet.
    #[must_use]
    pub fn new(gateway: Gateway, collections: Arc<Snapshot<Collections>>) -> Self {
        Self {
            gateway,
            collections,
            observer: Observer::default(),
        }
    }

    /// Looks once.
    pub async fn measure(self) -> Result<Measured<Access>, SourceError> {
        let (counters, own) = self
            .look()
            .await
            .map_err(|error| source_error("mongod", error))?;
        let change_streams = own
            .change_streams
            .and_then(|own| self.observer.change_streams(&counters, own));
        let observed = own
            .reads
            .and_then(|own| self.observer.observe(&counters, own, Timestamp::now()));
        let mut measured = measure(&self.gateway, counters, &self.collections).await;
        if own.reads.is_none() {
            let detail = "Silo was reading at every look; the next refresh looks again";
            let error = SourceError::new("reads of others", "not_measured", detail);
            measured.errors.push(error);
        }
        measured.value.observed = observed;
        measured.value.change_streams = feature(change_streams);
        Ok(measured)
    }

    /// Looks at the server's counters, and again while this process reads: a read that is answered meanwhile may be in the server's count or not.
    async fn look(&self) -> Result<(Counters, Own), DatabaseError> {
        let mut looks = 0;
        loop {
            let before = self.own();
            let counters = self.gateway.counters().await?;
            let own = before.unchanged(self.own());
            looks += 1;
            if own.reads.is_some() || looks == MAX_LOOKS {
                return Ok((counters, own));
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    fn own(&self) -> Own {
        Own {
            reads: Some(self.gateway.own_reads()),
            change_streams: self.gateway.own_change_streams(),
        }
    }
}

/// What this process has done at the server; `None` if the server may have counted it otherwise.
#[derive(Clone, Copy)]
struct Own {
    reads: Option<u64>,
    change_streams: Option<u64>,
}

impl Own {
    fn unchanged(self, later: Self) -> Self {
        let same = |before: Option<u64>, later| before.filter(|_| before == later);
        Self {
            reads: same(self.reads, later.reads),
            change_streams: same(self.change_streams, later.change_streams),
        }
    }
}

async fn measure(
    gateway: &Gateway,
    counters: Counters,
    collections: &Snapshot<Collections>,
) -> Measured<Access> {
    let mut errors = Vec::new();
    let times = gateway
        .time_by_collection()
        .await
        .map_err(|error| errors.push(source_error("top", error)))
        .ok();
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
    errors.extend(missing(counters.reads, "opLatencies"));
    let value = report(
        counters,
        times,
        known.as_ref().map(|reading| reading.value.as_ref()),
        Timestamp::now(),
    );
    Measured { value, errors }
}

fn report(
    counters: Counters,
    times: Option<Vec<CollectionTime>>,
    known: Option<&Collections>,
    now: Timestamp,
) -> Access {
    let uptime = counters
        .uptime_ms
        .and_then(|ms| i64::try_from(ms).ok())
        .map(SignedDuration::from_millis);
    let long_enough = uptime.is_some_and(|uptime| uptime >= MIN_WATCHED);
    let both = counters.reads.zip(counters.writes);
    Access {
        since: uptime.and_then(|uptime| now.checked_sub(uptime).ok()),
        reads: counters.reads,
        writes: counters.writes,
        share_of_reads: both.and_then(|(reads, writes)| share(reads, reads.saturating_add(writes))),
        observed: None,
        commands: counters.commands.map(most_frequent),
        collections: times.map(busiest),
        unused_indexes: known
            .filter(|_| long_enough)
            .and_then(|known| unused_indexes(known, now)),
        transactions: feature(counters.transactions),
        change_streams: feature(counters.change_streams),
        grid_fs: feature(known.map(grid_fs_buckets)),
    }
}

fn most_frequent(commands: Vec<CommandCount>) -> Vec<Command> {
    let commands = commands.into_iter().map(|count| Command {
        name: count.name,
        total: count.total,
        failed: count.failed,
    });
    let mut commands: Vec<_> = commands.collect();
    commands.sort_by(|a, b| b.total.cmp(&a.total).then_with(|| a.name.cmp(&b.name)));
    commands.truncate(MAX_ENTRIES);
    commands
}

fn busiest(mut times: Vec<CollectionTime>) -> Vec<CollectionUse> {
    times.retain(|time| time.total_micros > 0);
    times.sort_by(|a, b| {
        b.total_micros
            .cmp(&a.total_micros)
            .then_with(|| a.name.cmp(&b.name))
    });
    times.truncate(MAX_ENTRIES);
    times.into_iter().map(collection_use).collect()
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

fn unused_indexes(known: &Collections, now: Timestamp) -> Option<Vec<UnusedIndex>> {
    let mut unused = Vec::new();
    for collection in &known.collections {
        for index in collection.indexes.as_ref()? {
            let watched = index.since.map(|since| now.duration_since(since));
            let long_enough = watched.is_some_and(|watched| watched >= MIN_WATCHED);
            if index.ops == Some(0) && !index.enforces && long_enough {
                unused.push(UnusedIndex {
                    collection: collection.name.clone(),
                    index: index.name.clone(),
                    bytes: index.bytes,
                    since: index.since,
                });
            }
        }
    }
    Some(unused)
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
    use crate::collections::Collection;
    use crate::gateway::Index;

    #[test]
    fn values_that_the_server_does_not_count_are_unknown() {
        let access = report(Counters::default(), None, None, Timestamp::now());
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
        let access = report(
            counters,
            Some(vec![]),
            None,
            Timestamp::from_second(10).unwrap(),
        );
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

    #[test]
    fn an_index_is_unused_only_if_it_enforces_nothing_and_was_watched_for_a_week() {
        let now = Timestamp::now();
        let days = |days: i64| now - SignedDuration::from_hours(24 * days);
        let index = |name: &str, since, ops, enforces| Index {
            name: name.into(),
            keys: vec![],
            unique: None,
            sparse: None,
            partial: None,
            ttl_seconds: None,
            bytes: Some(9),
            ops: Some(ops),
            since,
            enforces,
            sorts: true,
        };
        let indexes = vec![
            index("unused", Some(days(8)), 0, false),
            index("built yesterday", Some(days(1)), 0, false),
            index("never counted", None, 0, false),
            index("unique", Some(days(8)), 0, true),
            index("used", Some(days(8)), 1, false),
        ];
        let collection = Collection {
            name: "moods".into(),
            indexes: Some(indexes),
            ..Collection::default()
        };
        let of = |uptime_days: u64, collections| {
            let known = Collections {
                collections,
                ..Collections::default()
            };
            let counters = Counters {
                uptime_ms: Some(uptime_days * 24 * 3_600_000),
                ..Counters::default()
            };
            let unused = report(counters, None, Some(&known), now).unused_indexes;
            unused.map(|unused| unused.into_iter().map(|it| it.index).collect::<Vec<_>>())
        };
        assert_eq!(
            of(10, vec![collection.clone()]),
            Some(vec!["unused".into()])
        );
        assert_eq!(of(6, vec![collection.clone()]), None);
        let unknown = Collection {
            indexes: None,
            ..Collection::default()
        };
        assert_eq!(of(10, vec![collection, unknown]), None);
    }
}
