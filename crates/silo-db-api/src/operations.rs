//! Operations that have been running for seconds.

use serde::Serialize;
use silo_core::units::count_from_usize;
use silo_web::snapshot::{Measured, SourceError};
use utoipa::ToSchema;

use crate::gateway::{Gateway, RunningOperation, source_error};

/// Running time from which an operation is listed, in seconds.
const MIN_SECONDS: i64 = 1;
/// Most operations in the list.
const MAX_ENTRIES: usize = 50;

/// Operations that run for a second or longer. Never a value of a query or a document.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Operations {
    /// Number of such operations.
    pub total: u64,
    /// The longest, at most 50, longest first.
    pub operations: Vec<Operation>,
}

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

/// Lists them once.
pub async fn measure(gateway: Gateway) -> Result<Measured<Operations>, SourceError> {
    let running = gateway.running_operations(MIN_SECONDS).await;
    let running = running.map_err(|error| source_error("mongod", error))?;
    let total = count_from_usize(running.len());
    let operations = running.into_iter().take(MAX_ENTRIES).map(Operation::from);
    let operations = operations.collect();
    Ok(Operations { total, operations }.into())
}

impl From<RunningOperation> for Operation {
    fn from(running: RunningOperation) -> Self {
        Self {
            name: running.name,
            namespace: running.namespace,
            seconds: running.seconds,
            app_name: running.app_name,
            plan: running.plan,
            waiting_for_lock: running.waiting_for_lock,
            progress: running.progress,
        }
    }
}
