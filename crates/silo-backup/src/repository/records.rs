//! Small files about a backup, written after its manifest: drills, verifications, acceptances, pins, tombstones.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// A restore into a scratch database.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Drill {
    /// When it ended.
    pub at: Timestamp,
    /// `true` if everything was restored identically.
    pub good: bool,
    /// Duration in milliseconds.
    pub duration_ms: u64,
    /// Number of restored documents.
    pub documents: u64,
    /// Differences, and parts that were not compared.
    pub notes: Vec<String>,
}

/// Verification after publication.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Check {
    /// When it ended.
    pub at: Timestamp,
    /// `true` if the archive is the one that was written.
    pub good: bool,
    /// Difference, if it is not.
    pub problem: Option<String>,
}

/// Pin: an operator's order never to prune a backup.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Pin {
    /// When.
    pub at: Timestamp,
    /// Reason that the operator gave.
    pub reason: String,
}

/// Mark of an archive without a manifest, which is deleted seven days later.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Orphan {
    /// When it was found.
    pub at: Timestamp,
    /// Key of the archive, below the prefix.
    pub key: String,
}

/// Acceptance of a held backup by an operator.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Acceptance {
    /// When.
    pub at: Timestamp,
    /// Reason that the operator gave.
    pub reason: String,
}

/// Tombstone of a deleted backup.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Tombstone {
    /// When.
    pub at: Timestamp,
    /// By which rule.
    pub reason: String,
    /// The SHA-256 of its manifest's file.
    pub sha256: String,
    /// The key of its archive, below the prefix.
    pub key: String,
    /// File of the manifest, until the archive is deleted.
    pub file: Option<String>,
}
