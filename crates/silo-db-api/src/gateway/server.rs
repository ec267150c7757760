//! State of mongod from one `serverStatus`.

use serde::Serialize;
use silo_mongo::error::DatabaseError;
use silo_mongo::field;
use silo_mongo::mongodb::bson::{Bson, Document, doc};
use utoipa::ToSchema;

use super::Gateway;

/// Connections of the server.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Connections {
    /// Open now.
    pub current: Option<u64>,
    /// Connections that could still be opened.
    pub available: Option<u64>,
    /// Ever opened.
    pub total_created: Option<u64>,
}

/// Operations by kind.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct Opcounters {
    /// Inserts.
    pub insert: u64,
    /// Queries.
    pub query: u64,
    /// Updates.
    pub update: u64,
    /// Deletes.
    pub delete: u64,
    /// Fetches of more results.
    pub getmore: u64,
    /// Commands.
    pub command: u64,
}

/// The storage engine's cache.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Cache {
    /// Used size in bytes.
    pub used_bytes: Option<u64>,
    /// Bytes it may hold.
    pub max_bytes: Option<u64>,
    /// Pages requested from the cache.
    pub pages_requested: Option<u64>,
    /// Pages read into the cache.
    pub pages_read: Option<u64>,
}

/// The replica set a server belongs to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct ReplicaSet {
    /// Name of the replica set.
    pub name: String,
    /// Role of this server: `primary`, `secondary` or `neither`.
    pub state: &'static str,
    /// Number of members.
    pub members: Option<u64>,
}

/// State of the server. `None` is a value that the server does not report.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Status {
    /// The server's version.
    pub version: Option<String>,
    /// Uptime in milliseconds.
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
    /// Runs `serverStatus`.
    ///
    /// # Errors
    /// The error of the command.
    pub async fn server_status(&self) -> Result<Status, DatabaseError> {
        // Excluding `metrics` would exclude `mem` too.
        let command = doc! { "serverStatus": 1, "repl": 1, "oplog": 1, "locks": 0, "tcmalloc": 0, "logicalSessionRecordCache": 0 };
        Ok(from_status(&self.admin(command).await?))
    }

    /// Runs `ping`, which needs no privileges.
    ///
    /// # Errors
    /// The error of the command.
    pub async fn ping(&self) -> Result<(), DatabaseError> {
        self.admin(doc! { "ping": 1 }).await.map(drop)
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
            available: count("connections.available"),
            total_created: count("connections.totalCreated"),
        },
        opcounters: opcounters(),
        resident_bytes: count("mem.resident").map(|megabytes| megabytes * 1024 * 1024),
        cache: cache(status),
        replica_set: replica_set(status),
        oplog_window_seconds: window(status),
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

fn replica_set(status: &Document) -> Option<ReplicaSet> {
    let flag = |path: &str| field::flag(status, path);
    let name = field::text(status, "repl.setName")?.to_owned();
    let state = match (flag("repl.isWritablePrimary"), flag("repl.secondary")) {
        (Some(true), _) => "primary",
        (_, Some(true)) => "secondary",
        (Some(false), _) | (_, Some(false)) => "neither",
        (None, None) => return None,
    };
    let members = field::at(status, "repl.hosts")
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
        _ => None,
    };
    second("oplog.latestOptime")?
        .checked_sub(second("oplog.earliestOptime")?)
        .map(u64::from)
}
