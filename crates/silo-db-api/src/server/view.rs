//! State of mongod, as the API returns it.

use serde::Serialize;
use utoipa::ToSchema;

use crate::gateway::{Cache, Connections, Expiry, Opcounters, OperationCounts, ReplicaSet};

/// Status of mongod.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum ServerStatus {
    /// The server answers and nothing is wrong.
    Up,
    /// The server answers; `notes` lists the problems.
    Degraded,
    /// The server does not answer.
    Down,
}

/// State of the server. `null` is a value that the server does not report.
#[derive(Clone, Debug, Default, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Server {
    /// Problems while the server answers, one sentence each.
    pub notes: Vec<String>,
    /// Version of mongod.
    pub version: Option<String>,
    /// Known faults of this version, and the release to upgrade to; empty when there are none. They do not make it degraded.
    pub version_warnings: Vec<String>,
    /// Uptime in seconds.
    pub uptime_seconds: Option<u64>,
    /// Connections.
    pub connections: Connections,
    /// Operations since it started, by kind.
    pub opcounters: Option<Opcounters>,
    /// Operations since it started, by latency class.
    pub operations: Option<OperationCounts>,
    /// Operations a second since the look before.
    pub per_second: Option<Rates>,
    /// All operations a second, oldest first, one for each look; `null` where a look failed or has no rate.
    pub recent_operations_per_second: Vec<Option<f64>>,
    /// Milliseconds between two looks.
    pub sample_ms: u64,
    /// Reads for each write since it started, of `operations`; `null` before the first write.
    pub read_write_ratio: Option<f64>,
    /// Memory that the process uses.
    pub resident_bytes: Option<u64>,
    /// The storage engine's cache.
    pub cache: Cache,
    /// Use of the cache during the last minutes.
    pub cache_pressure: Option<CachePressure>,
    /// Deletion of expired documents (TTL indexes).
    pub expiry: Expiry,
    /// The replica set; `null` for a standalone server.
    pub replica_set: Option<ReplicaSet>,
    /// From the oldest to the newest operation in the oplog.
    pub oplog_window_seconds: Option<u64>,
    /// Privileges of the account that Silo uses: `readOnly`, `canWrite` or `unauthenticated`.
    pub account: Option<&'static str>,
}

/// Operations a second by kind.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct Rates {
    /// Inserts.
    pub insert: f64,
    /// Queries.
    pub query: f64,
    /// Updates.
    pub update: f64,
    /// Deletes.
    pub delete: f64,
    /// Fetches of more results.
    pub getmore: f64,
    /// Commands.
    pub command: f64,
}

/// Use of the cache during the last minutes.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct CachePressure {
    /// Length of the time that is described.
    pub seconds: u64,
    /// Used share of the cache now, 0 to 1.
    pub used_share: Option<f64>,
    /// Share of the cache with modified pages now, 0 to 1.
    pub dirty_share: Option<f64>,
    /// Of the pages requested from the cache, the share that was in it, 0 to 1.
    pub hit_ratio: Option<f64>,
    /// Pages a second that operations had to evict themselves: each made its client wait. 0 when the cache is large enough.
    pub evictions_per_second: Option<f64>,
}
