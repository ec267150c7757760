//! State of mongod, as the API returns it.

use std::collections::VecDeque;

use serde::Serialize;
use utoipa::ToSchema;

use crate::gateway::{Cache, Connections, Opcounters, ReplicaSet};

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
    /// Operations since it started.
    pub opcounters: Option<Opcounters>,
    /// Operations a second since the look before.
    pub per_second: Option<Rates>,
    /// All operations a second, oldest first, one for each look; `null` where a look has no rate.
    #[schema(value_type = Vec<Option<f64>>)]
    pub recent_operations_per_second: VecDeque<Option<f64>>,
    /// Milliseconds between two looks.
    pub sample_ms: u64,
    /// Reads for each write since it started; `null` before the first write.
    pub read_write_ratio: Option<f64>,
    /// Memory that the process uses.
    pub resident_bytes: Option<u64>,
    /// The storage engine's cache.
    pub cache: Cache,
    /// Of the pages asked of the cache, the share it had, 0 to 1.
    pub cache_hit_ratio: Option<f64>,
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
