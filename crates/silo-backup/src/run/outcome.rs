//! Results and errors of runs, as the API, the command line and the last run show them.

use serde::Serialize;
use utoipa::ToSchema;

use crate::error::Error;

/// Result of a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct RunOutcome {
    /// The backup's id.
    pub id: String,
    /// `true` if the backup counts as good; `false` if it is held.
    pub good: bool,
    /// Reasons for holding the backup.
    pub held: Vec<String>,
    /// `snapshot` or `fuzzy`.
    pub consistency: &'static str,
    /// Number of documents.
    pub documents: u64,
    /// Their bytes.
    pub bytes: u64,
    /// The bytes of the archive as stored.
    pub stored_bytes: u64,
    /// Duration in milliseconds.
    pub duration_ms: u64,
    /// Result for each destination.
    pub destinations: Vec<DestinationOutcome>,
    /// Backups that have vanished, are damaged or were changed, and repositories that are not ours.
    pub problems: Vec<String>,
    /// Collections that changed during the dump, strings that are not UTF-8, and housekeeping that failed.
    pub notes: Vec<String>,
}

/// Result for one destination.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct DestinationOutcome {
    /// `primary` or `copy`.
    pub name: &'static str,
    /// Error, if the backup is not stored there; `null` if it is.
    pub error: Option<String>,
}

/// Error of a job or run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Failure {
    /// A stable name, in snake case.
    pub code: String,
    /// One sentence for people.
    pub detail: String,
}

impl From<&Error> for Failure {
    fn from(error: &Error) -> Self {
        Self {
            code: error.code().into(),
            detail: error.to_string(),
        }
    }
}
