//! Metrics of the database, for `/metrics`.

use std::fmt::{Debug, Error, Formatter};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, MetricEncoder};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use silo_web::snapshot::Source;

use crate::collections::Collection;
use crate::gateway::Opcounters;
use crate::state::State;

/// Collector that reads the last measurements on every scrape. A value that is unknown is left out.
pub struct DatabaseMetrics(pub State);

impl Debug for DatabaseMetrics {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DatabaseMetrics").finish_non_exhaustive()
    }
}

/// Name, help, and how it is read from a collection.
type OfCollection = (&'static str, &'static str, fn(&Collection) -> Option<u64>);

const OF_COLLECTIONS: [OfCollection; 4] = [
    ("collection_documents", "documents of a collection", |it| {
        it.documents
    }),
    (
        "collection_data_bytes",
        "bytes of the documents of a collection, uncompressed",
        |it| it.data_bytes,
    ),
    (
        "collection_storage_bytes",
        "bytes of a collection on disk, without indexes",
        |it| it.storage_bytes,
    ),
    (
        "collection_index_bytes",
        "bytes of the indexes of a collection",
        |it| it.index_bytes,
    ),
];

/// Name of a kind of operation, and how it is read.
type Kind = (&'static str, fn(&Opcounters) -> u64);

const KINDS: [Kind; 6] = [
    ("insert", |it| it.insert),
    ("query", |it| it.query),
    ("update", |it| it.update),
    ("delete", |it| it.delete),
    ("getmore", |it| it.getmore),
    ("command", |it| it.command),
];

impl Collector for DatabaseMetrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), Error> {
        self.server(&mut encoder)?;
        self.collections(&mut encoder)?;
        if let Ok(users) = self.0.users.current() {
            let count = Some(users.value.users);
            gauge(
                &mut encoder,
                "users",
                "users, without the guest account",
                count,
            )?;
        }
        if let Ok(disk) = self.0.disk.current() {
            let (total, used) = (disk.value.total_bytes, disk.value.used_bytes);
            let help = "size of the file system that holds mongod's data";
            gauge(&mut encoder, "disk_total_bytes", help, Some(total))?;
            let help = "used size of the file system that holds mongod's data";
            gauge(&mut encoder, "disk_used_bytes", help, Some(used))?;
        }
        Ok(())
    }
}

impl DatabaseMetrics {
    fn server(&self, encoder: &mut DescriptorEncoder<'_>) -> Result<(), Error> {
        let Ok(reading) = self.0.server.current() else {
            // Before the first look, nothing is known; after a failed one, it is down.
            return match self.0.server.failure() {
                Some(_) => gauge(encoder, "mongod_up", UP, Some(0)),
                None => Ok(()),
            };
        };
        let up = self.0.server.failure().is_none();
        gauge(encoder, "mongod_up", UP, Some(u64::from(up)))?;
        if !up {
            return Ok(());
        }
        let server = &reading.value;
        for (name, help, value) in [
            (
                "mongod_uptime_seconds",
                "time since mongod started",
                server.uptime_seconds,
            ),
            (
                "mongod_connections",
                "open connections",
                server.connections.current,
            ),
            (
                "mongod_connections_available",
                "connections that could still be opened",
                server.connections.available,
            ),
            (
                "mongod_resident_bytes",
                "memory of mongod",
                server.resident_bytes,
            ),
            (
                "mongod_cache_used_bytes",
                "used size of the cache",
                server.cache.used_bytes,
            ),
            (
                "mongod_cache_dirty_bytes",
                "modified pages in the cache",
                server.cache.dirty_bytes,
            ),
            (
                "mongod_cache_max_bytes",
                "size of the cache",
                server.cache.max_bytes,
            ),
            (
                "mongod_oplog_window_seconds",
                "time between the oldest and the newest operation in the oplog",
                server.oplog_window_seconds,
            ),
        ] {
            gauge(encoder, name, help, value)?;
        }
        let Some(opcounters) = &server.opcounters else {
            return Ok(());
        };
        let help = "operations since mongod started, by kind";
        let counter = ConstCounter::new(0_u64);
        let mut family =
            encoder.encode_descriptor("mongod_operations", help, None, counter.metric_type())?;
        for (kind, read) in KINDS {
            let counter = ConstCounter::new(read(opcounters));
            counter.encode(family.encode_family(&[("kind", kind)])?)?;
        }
        Ok(())
    }

    fn collections(&self, encoder: &mut DescriptorEncoder<'_>) -> Result<(), Error> {
        let Ok(reading) = self.0.collections.current() else {
            return Ok(());
        };
        for (name, help, read) in OF_COLLECTIONS {
            let kind = ConstGauge::new(0_i64);
            let mut family = encoder.encode_descriptor(name, help, None, kind.metric_type())?;
            for collection in &reading.value.collections {
                let Some(value) = read(collection) else {
                    continue;
                };
                let labels = [
                    ("collection", collection.name.as_str()),
                    ("category", collection.category.name()),
                ];
                encode_gauge(family.encode_family(&labels)?, value)?;
            }
        }
        Ok(())
    }
}

/// Help of `mongod_up`.
const UP: &str = "1 when the last look at mongod succeeded";

fn gauge(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    value: Option<u64>,
) -> Result<(), Error> {
    let Some(value) = value else { return Ok(()) };
    let kind = ConstGauge::new(0_i64);
    encode_gauge(
        encoder.encode_descriptor(name, help, None, kind.metric_type())?,
        value,
    )
}

fn encode_gauge(encoder: MetricEncoder<'_>, value: u64) -> Result<(), Error> {
    ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX)).encode(encoder)
}
