//! Operations that have been running for seconds.

use serde::Serialize;
use silo_core::units::count_from_usize;
use silo_web::snapshot::{Measured, SourceError};
use utoipa::ToSchema;

use crate::gateway::{Gateway, Operation, source_error};

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

/// Lists them once.
pub async fn measure(gateway: Gateway) -> Result<Measured<Operations>, SourceError> {
    let running = gateway.running_operations(MIN_SECONDS).await;
    let mut operations = running.map_err(|error| source_error("mongod", error))?;
    let total = count_from_usize(operations.len());
    operations.truncate(MAX_ENTRIES);
    Ok(Operations { total, operations }.into())
}
