//! What mongod says of itself, in one `serverStatus`.

use jiff::Timestamp;
use silo_mongo::fault::Fault;
use silo_mongo::field;
use silo_mongo::mongodb::bson::{Bson, Document, doc};

use super::Gateway;
use crate::server::{Cache, Connections, Opcounters, ReplicaSet};

/// One look at the server. `None` is what it does not say.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Status {
    /// The server's version.
    pub version: Option<String>,
    /// How long it has been running, in milliseconds.
    pub uptime_ms: Option<u64>,
    /// Connections.
    pub connections: Connections,
    /// Operations since it started.
    pub opcounters: Option<Opcounters>,
    /// Memory that the process uses, in bytes.
    pub resident_bytes: Option<u64>,
    /// The storage engine's cache.
    pub cache: Cache,
    /// The replica set it belongs to.
    pub replica_set: Option<ReplicaSet>,
    /// From the oldest to the newest operation in the oplog, in seconds.
    pub oplog_window_seconds: Option<u64>,
}

impl Gateway {
    /// Asks the server how it is.
    ///
    /// # Errors
    /// Why it did not answer.
    pub async fn server_status(&self) -> Result<Status, Fault> {
        let command = doc! { "serverStatus": 1, "repl": 1, "oplog": 1, "metrics": 0, "locks": 0, "tcmalloc": 0, "logicalSessionRecordCache": 0 };
        let status = self.admin(command).await?;
        let replica_set = match replica_set(&status, "repl.") {
            Some(set) => Some(set),
            None => replica_set(&self.admin(doc! { "hello": 1 }).await?, ""),
        };
        let oplog_window_seconds = match window(&status) {
            Some(window) => Some(window),
            None => self.oplog_window().await,
        };
        Ok(Status {
            replica_set,
            oplog_window_seconds,
            ..from_status(&status)
        })
    }

    /// That somebody answers, when the account may not ask more.
    ///
    /// # Errors
    /// Why nobody did.
    pub async fn ping(&self) -> Result<(), Fault> {
        self.admin(doc! { "ping": 1 }).await.map(drop)
    }

    /// From the oldest operation in the oplog to now; for servers whose status does not tell it and accounts that may read it.
    async fn oplog_window(&self) -> Option<u64> {
        let find = doc! { "find": "oplog.rs", "sort": { "$natural": 1 }, "limit": 1, "projection": { "ts": 1 }, "maxTimeMS": super::MAX_TIME_MS };
        let answer = self.client.database("local").run_command(find).await.ok()?;
        let first = field::at(&answer, "cursor.firstBatch")?
            .as_array()?
            .first()?
            .as_document()?;
        let oldest = first.get_timestamp("ts").ok()?.time;
        u64::try_from(Timestamp::now().as_second() - i64::from(oldest)).ok()
    }
}

fn from_status(status: &Document) -> Status {
    let count = |path: &str| field::count(status, path);
    let opcounters = || {
        Some(Opcounters {
            insert: count("opcounters.insert")?,
            query: count("opcounters.query")?,
            update: count("opcounters.update")?,
            delete: count("opcounters.delete")?,
            getmore: count("opcounters.getmore")?,
            command: count("opcounters.command")?,
        })
    };
    Status {
        version: field::text(status, "version").map(str::to_owned),
        uptime_ms: count("uptimeMillis"),
        connections: Connections {
            current: count("connections.current"),
            // A server with none left would refuse us too, so 0 means that it does not tell.
            available: count("connections.available").filter(|available| *available > 0),
            total_created: count("connections.totalCreated"),
        },
        opcounters: opcounters(),
        resident_bytes: count("mem.resident").map(|megabytes| megabytes * 1024 * 1024),
        cache: cache(status),
        ..Status::default()
    }
}

fn cache(status: &Document) -> Cache {
    let count = |name: &str| {
        field::document(status, "wiredTiger.cache")
            .and_then(|cache| field::count_of(cache.get(name)?))
    };
    Cache {
        used_bytes: count("bytes currently in the cache"),
        max_bytes: count("maximum bytes configured"),
        pages_requested: count("pages requested from the cache"),
        pages_read: count("pages read into cache"),
    }
}

fn replica_set(status: &Document, prefix: &str) -> Option<ReplicaSet> {
    let flag = |name: &str| field::flag(status, &format!("{prefix}{name}"));
    let name = field::text(status, &format!("{prefix}setName"))?.to_owned();
    let state = match (
        flag("isWritablePrimary").or_else(|| flag("ismaster")),
        flag("secondary"),
    ) {
        (Some(true), _) => "primary",
        (_, Some(true)) => "secondary",
        (Some(false), _) | (_, Some(false)) => "neither",
        (None, None) => return None,
    };
    let members = field::at(status, &format!("{prefix}hosts"))
        .and_then(Bson::as_array)
        .map(|hosts| silo_core::units::count_from_usize(hosts.len()));
    Some(ReplicaSet {
        name,
        state,
        members,
    })
}

fn window(status: &Document) -> Option<u64> {
    let second = |path: &str| match field::at(status, path)? {
        Bson::Timestamp(time) => Some(time.time),
        Bson::Document(optime) => optime.get_timestamp("ts").ok().map(|time| time.time),
        _ => None,
    };
    second("oplog.latestOptime")?
        .checked_sub(second("oplog.earliestOptime")?)
        .map(u64::from)
}
