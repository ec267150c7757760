//! Manifest of a backup. It is written last: a backup without a manifest does not exist.

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};
use silo_mongo::collections::{Collection, Kind};
use silo_mongo::fingerprint::Sums;
use silo_mongo::mongodb::bson::{self, Bson};

use crate::archive::encoding::Compression;
use crate::archive::metadata;

pub use super::ids::{is_id, new_id, time_of_id};

/// Version of the manifest's format.
pub const FORMAT: u32 = 2;

/// One backup.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Manifest {
    /// The version of this description.
    pub format: u32,
    /// Id of the backup: the time it began, in UTC, and six random letters.
    pub id: String,
    /// Id of the repository that the backup belongs to.
    pub repository: String,
    /// When the run began.
    pub started_at: Timestamp,
    /// When reading the database began; with `consistency: snapshot` the moment that everything is of.
    pub as_of: Timestamp,
    /// When it had been verified.
    pub verified_at: Timestamp,
    /// `verified` or `held`.
    pub state: State,
    /// Reasons for holding the backup; empty if it is not held.
    pub held: Vec<String>,
    /// Server and database of origin.
    pub source: SourceIdentity,
    /// Consistency of the documents.
    pub consistency: Consistency,
    /// Cluster time of the snapshot, from which a continuous backup could start; `None` without a snapshot.
    pub cluster_time: Option<ClusterTime>,
    /// Collections that are not in the snapshot: capped ones, which a server cannot read in a snapshot.
    pub not_in_snapshot: Vec<String>,
    /// Collections that were created, dropped or renamed during the dump.
    pub changed_during_read: ChangedDuringRead,
    /// Parts of the server that the backup does not contain.
    pub not_included: Vec<String>,
    /// The archive.
    pub archive: ArchiveFacts,
    /// The collections, by name.
    pub collections: Vec<CollectionFacts>,
    /// Result of the verification.
    pub verification: Verification,
    /// Program that wrote the backup.
    pub tool: Tool,
    /// The number of the lease under which it was written; a later run has a larger one.
    pub lease: u64,
    /// Previous manifest.
    pub previous: Option<Previous>,
}

/// Verification state of a backup.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Read back completely, and as expected.
    Verified,
    /// Read back completely, but not as expected.
    Held,
}

/// Consistency of the documents.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Consistency {
    /// All documents are of one moment, proven by a canary.
    Snapshot,
    /// Documents were read one after the other while others may have written.
    Fuzzy,
}

/// Server and database of origin.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SourceIdentity {
    /// Name of the database.
    pub database: String,
    /// Random id of the server's data, in the database `silo`. A server that was set up anew has another.
    pub id: String,
    /// Server.
    pub server: Server,
}

/// Version and replica set of a server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Server {
    /// Version, such as `8.0.29`.
    pub version: String,
    /// Feature compatibility version, such as `8.0`; `None` if it could not be read.
    pub feature_compatibility_version: Option<String>,
    /// Name of the replica set.
    pub replica_set: Option<String>,
    /// Id of the replica set, in hexadecimal; a set that was made anew has another. `None` if it could not be read.
    pub replica_set_id: Option<String>,
    /// Term of the replica set's primary: a number that each election increases.
    pub term: Option<i64>,
}

/// Cluster time: a position in the oplog.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ClusterTime {
    /// Seconds since 1970.
    pub seconds: u32,
    /// Number of the operation within the second.
    pub increment: u32,
}

impl From<bson::Timestamp> for ClusterTime {
    fn from(time: bson::Timestamp) -> Self {
        Self {
            seconds: time.time,
            increment: time.increment,
        }
    }
}

impl From<ClusterTime> for Bson {
    fn from(time: ClusterTime) -> Self {
        Self::Timestamp(bson::Timestamp {
            time: time.seconds,
            increment: time.increment,
        })
    }
}

/// As `1764126000:7`: what stock tools accept as `--oplogLimit`.
impl fmt::Display for ClusterTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.seconds, self.increment)
    }
}

/// Collections that were created, dropped or renamed during the dump.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ChangedDuringRead {
    /// Created after the snapshot: not in the backup.
    pub created: Vec<String>,
    /// Dropped after the snapshot: in the backup as far as the server could still read them.
    pub dropped: Vec<String>,
    /// Renamed after the snapshot, as `old to new`.
    pub renamed: Vec<String>,
    /// In the backup without documents, because the server could not read them any more.
    pub not_read: Vec<String>,
}

/// The archive as it is stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ArchiveFacts {
    /// Key in the bucket, below the prefix.
    pub key: String,
    /// Stored size in bytes.
    pub bytes: u64,
    /// SHA-256 over them, in hexadecimal.
    pub sha256: String,
    /// Size in bytes before compression.
    pub archive_bytes: u64,
    /// Compression.
    pub compression: Compression,
    /// Public key that the archive is encrypted for with age.
    pub recipient: Option<String>,
}

/// One collection in a backup.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CollectionFacts {
    /// Name of the collection.
    pub name: String,
    /// `collection`, `view` or `timeseries`.
    pub kind: String,
    /// UUID in hexadecimal, by which the oplog names the collection; `None` for a view.
    pub uuid: Option<String>,
    /// Counts and digests of the documents.
    #[serde(flatten)]
    pub sums: Sums,
    /// Options of the collection, as canonical Extended JSON.
    pub options: Value,
    /// Indexes of the collection, as canonical Extended JSON.
    pub indexes: Vec<Value>,
}

impl CollectionFacts {
    /// Facts of a collection whose documents have these sums.
    #[must_use]
    pub fn new(collection: &Collection, sums: Sums) -> Self {
        Self {
            name: collection.name.clone(),
            kind: collection.kind.word().into(),
            uuid: collection.uuid.clone(),
            sums,
            options: metadata::extended(&collection.options),
            indexes: collection.indexes.iter().map(metadata::extended).collect(),
        }
    }

    /// The collection itself; `None` if its options or indexes are no Extended JSON.
    #[must_use]
    pub fn collection(&self) -> Option<Collection> {
        Some(Collection {
            name: self.name.clone(),
            kind: Kind::of_word(&self.kind),
            options: metadata::document(&self.options)?,
            uuid: self.uuid.clone(),
            indexes: self
                .indexes
                .iter()
                .map(metadata::document)
                .collect::<Option<_>>()?,
        })
    }

    /// `true` if documents expire: in a capped collection, one with an expiry, or one with a TTL index.
    #[must_use]
    pub fn expires_documents(&self) -> bool {
        const EXPIRY: &str = "expireAfterSeconds";
        let index = self.indexes.iter().any(|index| index.get(EXPIRY).is_some());
        let capped = self.options.get("capped");
        index || self.options.get(EXPIRY).is_some() || capped.is_some_and(|capped| capped == true)
    }
}

/// Verification of a backup before it was published.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Verification {
    /// `decoded`: read back and read as a restore would. `bytes`: read back byte for byte, and read as a restore would while it was
    /// written, because the private key is not here.
    pub how: String,
    /// Number of strings that are not valid UTF-8. They are stored unchanged; some tools cannot read them.
    pub invalid_strings: u64,
}

/// Program that wrote the backup.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Tool {
    /// The version of silo.
    pub version: String,
    /// The git commit.
    pub sha: Option<String>,
    /// `true` if the commit had uncommitted changes.
    pub dirty: Option<bool>,
}

impl Tool {
    /// The running program.
    #[must_use]
    pub fn of(build: &silo_core::build::Build) -> Self {
        Self {
            version: build.version.into(),
            sha: build.sha.clone(),
            dirty: build.dirty,
        }
    }
}

/// The manifest before one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Previous {
    /// Id of the backup.
    pub id: String,
    /// The SHA-256 of its file, in hexadecimal.
    pub sha256: String,
}

impl ChangedDuringRead {
    /// Collections of which the backup may not have all documents, by their names in it.
    #[must_use]
    pub fn incomplete(&self) -> Vec<String> {
        let renamed = self.renamed.iter();
        let renamed = renamed.filter_map(|renamed| renamed.split_once(" to "));
        let names = renamed.flat_map(|(old, new)| [old.to_owned(), new.to_owned()]);
        let dropped = self.dropped.iter().chain(&self.not_read).cloned();
        dropped.chain(names).collect()
    }

    /// Reasons to hold a backup: a renamed collection may be stored under neither name. Temporary collections of the server do not count.
    #[must_use]
    pub fn reasons_to_hold(&self) -> Vec<String> {
        let renamed = self.renamed.iter().filter(|name| !name.starts_with("tmp"));
        renamed
            .map(|name| format!("{name}: renamed during the dump, so it may be incomplete"))
            .collect()
    }
}

impl Manifest {
    /// Number of documents.
    #[must_use]
    pub fn documents(&self) -> u64 {
        self.collections
            .iter()
            .map(|collection| collection.sums.documents)
            .sum()
    }

    /// Size of all documents in bytes.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.collections
            .iter()
            .map(|collection| collection.sums.bytes)
            .sum()
    }

    /// Facts that an operator should know: collections that changed during the dump, and strings that are not UTF-8.
    #[must_use]
    pub fn notes(&self) -> Vec<String> {
        let changed = &self.changed_during_read;
        let mut notes = Vec::new();
        for (names, what) in [
            (
                &changed.created,
                "created during the dump, not in the backup",
            ),
            (&changed.dropped, "dropped during the dump"),
            (&changed.renamed, "renamed during the dump"),
            (
                &changed.not_read,
                "dropped before it was read, stored without documents",
            ),
        ] {
            notes.extend(names.iter().map(|name| format!("{name}: {what}")));
        }
        let invalid = self.verification.invalid_strings;
        if invalid > 0 {
            notes.push(format!(
                "{invalid} strings are not valid UTF-8; they are stored unchanged"
            ));
        }
        notes
    }

    /// Serialises the manifest with its SHA-256, by which a changed byte is detected.
    ///
    /// # Errors
    /// When it cannot be serialised.
    pub fn to_file(&self) -> serde_json::Result<Vec<u8>> {
        let manifest = serde_json::value::to_raw_value(self)?;
        let sha256 = sha256(manifest.get().as_bytes());
        serde_json::to_vec(&File { sha256, manifest })
    }

    /// Parses a manifest.
    ///
    /// # Errors
    /// The reason why the file is not a valid manifest.
    pub fn from_file(bytes: &[u8]) -> Result<Self, String> {
        let file: File = serde_json::from_slice(bytes)
            .map_err(|_text| "the file is not a manifest".to_owned())?;
        if sha256(file.manifest.get().as_bytes()) != file.sha256 {
            return Err("the checksum does not match".into());
        }
        let manifest: Self = serde_json::from_str(file.manifest.get())
            .map_err(|_text| "the manifest has unknown or missing fields".to_owned())?;
        if manifest.format != FORMAT {
            return Err(format!(
                "its format is {}, but only {FORMAT} is supported",
                manifest.format
            ));
        }
        Ok(manifest)
    }
}

#[derive(Serialize, Deserialize)]
struct File {
    sha256: String,
    manifest: Box<RawValue>,
}

/// SHA-256 in hexadecimal.
#[must_use]
pub fn sha256(bytes: &[u8]) -> String {
    format!("{:x}", Sha256::digest(bytes))
}

/// Parts of a server that no backup of Silo contains.
#[must_use]
pub fn not_included() -> Vec<String> {
    [
        "users and roles",
        "other databases of the server",
        "search indexes of Atlas",
        "the oplog",
    ]
    .map(str::to_owned)
    .to_vec()
}
