//! Operations that run now, from `$currentOp`. No values of queries or documents are read.

use serde::Serialize;
use silo_mongo::error::DatabaseError;
use silo_mongo::field;
use silo_mongo::mongodb::bson::{Document, doc};
use utoipa::ToSchema;

use super::{Gateway, MAX_TIME_MS};

/// An operation that runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Operation {
    /// Command or operation: `find`, `update`, `createIndexes`...
    pub name: Option<String>,
    /// Database and collection.
    pub namespace: Option<String>,
    /// Running time in seconds.
    pub seconds: u64,
    /// Application name that the client reports.
    pub app_name: Option<String>,
    /// Plan of a query: `COLLSCAN`, `IXSCAN { when: 1 }`.
    pub plan: Option<String>,
    /// `true` while it waits for a lock.
    pub waiting_for_lock: Option<bool>,
    /// Progress of an index build and the like.
    pub progress: Option<String>,
}

impl Gateway {
    /// Lists operations that have run for at least `seconds`, longest first. Without those that wait for news by design: `hello` by all its names, change streams and
    /// other tailing cursors.
    ///
    /// # Errors
    /// The error of the command.
    pub async fn running_operations(&self, seconds: i64) -> Result<Vec<Operation>, DatabaseError> {
        let first_key = doc! { "$let": {
            "vars": { "first": { "$arrayElemAt": [{ "$objectToArray": { "$ifNull": ["$command", {}] } }, 0] } },
            "in": "$$first.k",
        } };
        // A command begins with its name, except those of writes: they show a filter there.
        let writes = ["insert", "update", "remove"];
        let name = doc! { "$cond": [{ "$in": ["$op", &writes[..]] }, "$op", first_key] };
        let pipeline = vec![
            doc! { "$currentOp": { "allUsers": true, "idleConnections": false, "idleSessions": false } },
            doc! { "$match": {
                "active": true,
                "secs_running": { "$gte": seconds },
                "op": { "$ne": "none" },
                "command.hello": { "$exists": false },
                "command.isMaster": { "$exists": false },
                "command.ismaster": { "$exists": false },
                "cursor.awaitData": { "$ne": true },
            } },
            doc! { "$project": {
                "name": name, "ns": 1, "secs_running": 1, "planSummary": 1, "waitingForLock": 1, "msg": 1,
                "appName": 1, "clientMetadata.application": 1,
            } },
            doc! { "$sort": { "secs_running": -1 } },
        ];
        let command =
            doc! { "aggregate": 1, "pipeline": pipeline, "cursor": {}, "maxTimeMS": MAX_TIME_MS };
        let operations = self.all("admin", command).await?;
        Ok(operations.iter().filter_map(read_operation).collect())
    }
}

fn read_operation(operation: &Document) -> Option<Operation> {
    let text = |path: &str| {
        let text = field::text(operation, path).filter(|text| !text.is_empty());
        text.map(str::to_owned)
    };
    Some(Operation {
        name: text("name"),
        namespace: text("ns"),
        seconds: field::count(operation, "secs_running")?,
        app_name: text("appName").or_else(|| text("clientMetadata.application.name")),
        plan: text("planSummary"),
        waiting_for_lock: field::flag(operation, "waitingForLock"),
        progress: text("msg"),
    })
}
