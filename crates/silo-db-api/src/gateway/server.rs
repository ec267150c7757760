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

/// Operations by latency class, since the server started. Unlike `opcounters`, every version counts them the same way.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct OperationCounts {
    /// find, getMore, aggregate, count, distinct. Those of Silo are among them; `/api/db/access` has their share.
    pub reads: u64,
    /// insert, update, delete, findAndModify.
    pub writes: u64,
    /// All other commands.
    pub commands: u64,
}

/// The storage engine's cache.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Cache {
    /// Used size in bytes. Above 80 % of the maximum, WiredTiger evicts pages in the background; above 95 %, operations must help.
    pub used_bytes: Option<u64>,
    /// Size of modified pages in bytes. Above 5 % of the maximum, WiredTiger writes them in the background; above 20 %, operations must help.
    pub dirty_bytes: Option<u64>,
    /// Bytes it may hold.
    pub max_bytes: Option<u64>,
    /// Pages requested from the cache since the server started.
    pub pages_requested: Option<u64>,
    /// Pages read into the cache since the server started.
    pub pages_read: Option<u64>,
    /// Pages that operations had to evict themselves since the server started: each made its client wait.
    pub pages_evicted_by_operations: Option<u64>,
}

/// Work of the background job that deletes expired documents (TTL indexes), since the server started.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Expiry {
    /// Times that it ran; normally once a minute.
    pub passes: Option<u64>,
    /// Documents that it deleted.
    pub deleted_documents: Option<u64>,
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
    /// Operations since it started, by kind.
    pub opcounters: Option<Opcounters>,
    /// Operations since it started, by latency class.
    pub operations: Option<OperationCounts>,
    /// Memory that the process uses, in bytes.
    pub resident_bytes: Option<u64>,
    /// The storage engine's cache.
    pub cache: Cache,
    /// Deletion of expired documents.
    pub expiry: Expiry,
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
        let command = doc! { "serverStatus": 1, "repl": 0, "oplog": 1, "locks": 0, "tcmalloc": 0, "logicalSessionRecordCache": 0 };
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
    let operations = || {
        Some(OperationCounts {
            reads: count("opLatencies.reads.ops")?,
            writes: count("opLatencies.writes.ops")?,
            commands: count("opLatencies.commands.ops")?,
        })
    };
    Status {
        version: field::text(status, "version").map(str::to_owned),
        uptime_ms: count("uptimeMillis"),
        connections: Connections {
            current: count("connections.current"),
            available: available(status),
            total_created: count("connections.totalCreated"),
        },
        opcounters: opcounters(),
        operations: operations(),
        resident_bytes: count("mem.resident").map(|megabytes| megabytes * 1024 * 1024),
        cache: cache(status),
        expiry: Expiry {
            passes: count("metrics.ttl.passes"),
            deleted_documents: count("metrics.ttl.deletedDocuments"),
        },
        oplog_window_seconds: window(status),
    }
}

fn cache(status: &Document) -> Cache {
    let count = |name: &str| {
        field::document(status, "wiredTiger.cache")
            .and_then(|cache| field::count_of(cache.get(name)?))
    };
    // 8.0.16 replaced the first by its parts.
    let evicted = count("pages evicted by application threads").or_else(|| {
        count("page evict attempts by application threads")?
            .checked_sub(count("page evict failures by application threads")?)
    });
    Cache {
        used_bytes: count("bytes currently in the cache"),
        dirty_bytes: count("tracked dirty bytes in the cache"),
        max_bytes: count("maximum bytes configured"),
        pages_requested: count("pages requested from the cache"),
        pages_read: count("pages read into cache"),
        pages_evicted_by_operations: evicted,
    }
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

/// Connections that are still possible. A server that is full counts those that it is about to refuse, too, and reports a negative number.
fn available(status: &Document) -> Option<u64> {
    let available = field::number(status, "connections.available")?;
    if available < 0.0 {
        return Some(0);
    }
    field::count(status, "connections.available")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_that_is_full_has_no_connections_left() {
        for (reported, wanted) in [(-1, 0), (0, 0), (7, 7)] {
            let status = doc! { "connections": { "available": reported } };
            assert_eq!(available(&status), Some(wanted), "{reported}");
        }
        assert_eq!(available(&doc! {}), None);
    }

    #[test]
    fn evictions_by_operations_are_read_from_both_shapes() {
        let evicted = |cache: Document| {
            let status = doc! { "wiredTiger": { "cache": cache } };
            from_status(&status).cache.pages_evicted_by_operations
        };
        let before = doc! { "pages evicted by application threads": 7_i64 };
        let since_8_0_16 = doc! {
            "page evict attempts by application threads": 9_i64,
            "page evict failures by application threads": 2_i64,
        };
        assert_eq!(evicted(before), Some(7));
        assert_eq!(evicted(since_8_0_16), Some(7));
        assert_eq!(evicted(doc! {}), None);
    }
}
