//! Small files about a backup, written after its manifest: drills, verifications, acceptances, pins, tombstones.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

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
    /// Drill of a moment after a backup, with continuous backup.
    #[serde(default)]
    pub moment: Option<MomentDrill>,
}

/// A moment, restored into a scratch database from a backup and the slices in storage.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct MomentDrill {
    /// The moment: all changes before this second.
    #[schema(value_type = String, format = DateTime)]
    pub moment: Timestamp,
    /// Id of the backup that was rolled forward.
    pub backup: String,
    /// Id of the chain.
    pub chain: String,
    /// `true` if everything was restored as it was rolled.
    pub good: bool,
    /// Duration in milliseconds.
    pub duration_ms: u64,
    /// Number of restored documents.
    pub documents: u64,
    /// Differences, or why the backup could not be rolled forward.
    pub notes: Vec<String>,
}

impl MomentDrill {
    /// What is wrong; `None` if it was restored.
    #[must_use]
    pub fn problem(&self) -> Option<String> {
        let what = || {
            let (moment, backup) = (self.moment, &self.backup);
            let why = self.notes.join("; ");
            format!(
                "the moment {moment} is not restored from {backup} and the slices after it: {why}"
            )
        };
        (!self.good).then(what)
    }
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

/// Result of a proof.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ProofResult {
    /// The backup before it and the changes in storage give this backup.
    Equal,
    /// The proof could not be made.
    NotMade,
    /// The backup before it and the changes in storage give another one.
    Different,
}

/// Proof of continuous backup between the backup before and this one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Proof {
    /// When it ended.
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
    /// Id of the backup before.
    pub base: String,
    /// Id of the chain between both.
    pub chain: String,
    /// The result.
    pub result: ProofResult,
    /// Number of operations between both; `null` if not all could be applied.
    pub operations: Option<u64>,
    /// Duration in milliseconds, with the time until the last slice was stored.
    pub duration_ms: u64,
    /// Differences, or why it was not made.
    pub notes: Vec<String>,
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
