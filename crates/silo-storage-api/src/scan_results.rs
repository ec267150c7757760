//! Result of the last scan of each bucket. It is stored on disk, and everything published is computed from it.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use silo_web::snapshot::SourceError;
use utoipa::ToSchema;

use crate::totals::Totals;

/// All buckets, in the order of the settings.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScanResults {
    /// The buckets.
    pub buckets: Vec<Bucket>,
}

/// One bucket.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bucket {
    /// Name of the bucket.
    pub name: String,
    /// Result of the last complete scan; `None` before the first.
    pub found: Option<ScanResult>,
    /// Error of the last scan; `None` if it was complete.
    pub failure: Option<Failure>,
}

/// Result of a scan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScanResult {
    /// Start of the scan: objects written later may be missing.
    pub begun: Timestamp,
    /// When it ended.
    pub ended: Timestamp,
    /// The sums.
    pub totals: Totals,
    /// Unfinished uploads; `None` if the storage cannot list them.
    pub unfinished: Option<UnfinishedUploads>,
    /// Older versions of the objects; `None` if the storage cannot tell.
    #[serde(default)]
    pub older_versions: Option<OlderVersions>,
    /// Parts of the result that are unknown, with the reason.
    pub gaps: Vec<Failure>,
}

/// Older versions of the objects of a bucket. They cost as much as objects do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub enum OlderVersions {
    /// The bucket has never kept any.
    None,
    /// The bucket keeps versions, or once did; they are in none of the sums.
    NotCounted,
}

/// Uploads that were begun and neither completed nor aborted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct UnfinishedUploads {
    /// Number of uploads.
    pub uploads: u64,
    /// `true` if there are more than were counted: at least 10,000.
    #[serde(default)]
    pub more: bool,
    /// The bytes of their parts; `null` when there are too many uploads to ask for each.
    pub bytes: Option<u64>,
    /// When the oldest was begun.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub oldest: Option<Timestamp>,
    /// The oldest uploads, at most 50, oldest first.
    #[serde(default)]
    pub list: Vec<UnfinishedUpload>,
}

/// An upload that was begun and neither completed nor aborted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct UnfinishedUpload {
    /// The key it is for.
    pub key: String,
    /// When it was begun; `null` if the storage does not report it.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub begun: Option<Timestamp>,
    /// The bytes of its parts.
    pub bytes: u64,
}

/// Error and the time since which it persists.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
pub struct Failure {
    /// A stable name, in snake case.
    pub code: String,
    /// One sentence for people.
    pub detail: String,
    /// When it began to be so.
    #[schema(value_type = String, format = DateTime)]
    pub since: Timestamp,
}

impl Failure {
    /// An error; if `before` is the same error, its start time is kept.
    pub fn new(code: impl Into<String>, detail: impl Into<String>, before: Option<&Self>) -> Self {
        let code = code.into();
        let began = before
            .filter(|before| before.code == code)
            .map(|before| before.since);
        Self {
            code,
            detail: detail.into(),
            since: began.unwrap_or_else(Timestamp::now),
        }
    }

    /// The failure as an error in an answer's meta.
    #[must_use]
    pub fn of(&self, source: &str) -> SourceError {
        SourceError {
            source: source.to_owned(),
            code: self.code.clone(),
            detail: self.detail.clone(),
            since: Some(self.since),
        }
    }
}

impl ScanResults {
    /// State of a bucket.
    #[must_use]
    pub fn bucket(&self, name: &str) -> Option<&Bucket> {
        self.buckets.iter().find(|bucket| bucket.name == name)
    }

    /// Number of objects in the buckets scanned so far: a lower bound, used as the expected total of a scan.
    #[must_use]
    pub fn known_objects(&self) -> u64 {
        let found = self
            .buckets
            .iter()
            .filter_map(|bucket| bucket.found.as_ref());
        found.map(|found| found.totals.all.objects).sum()
    }

    /// Start of the oldest of the listings: the age of the whole.
    #[must_use]
    pub fn oldest(&self) -> Option<Timestamp> {
        let found = self
            .buckets
            .iter()
            .filter_map(|bucket| bucket.found.as_ref());
        found.map(|found| found.begun).min()
    }

    /// Errors of all buckets.
    #[must_use]
    pub fn errors(&self) -> Vec<SourceError> {
        let mut errors = Vec::new();
        for bucket in &self.buckets {
            let source = format!("bucket {}", bucket.name);
            let gaps = bucket.found.iter().flat_map(|found| &found.gaps);
            errors.extend(
                bucket
                    .failure
                    .iter()
                    .chain(gaps)
                    .map(|failure| failure.of(&source)),
            );
        }
        errors
    }
}
