//! Manifest of a backup. It is written last: a backup without a manifest does not exist.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};
use silo_mongo::fingerprint::Sums;

use crate::archive::encoding::Compression;

/// Version of the manifest's format.
pub const FORMAT: u32 = 1;

/// One backup.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Manifest {
    /// The version of this description.
    pub format: u32,
    /// Id of the backup: the time it began, in UTC, and six random letters.
    pub id: String,
    /// The id of the repository it belongs to.
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
    /// `native` or `mongodump`.
    pub engine: String,
    /// Consistency of the documents.
    pub consistency: Consistency,
    /// Collections that are not of that moment even so: capped ones, which a server reads in no snapshot.
    pub not_in_snapshot: Vec<String>,
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
    /// The database.
    pub database: String,
    /// The server's version.
    pub server_version: String,
    /// The replica set's name.
    pub replica_set: Option<String>,
    /// A digest of the servers' addresses, to recognise them without naming them.
    pub addresses: String,
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
    /// Counts and digests of the documents.
    #[serde(flatten)]
    pub sums: Sums,
    /// Options of the collection, as canonical Extended JSON.
    pub options: Value,
    /// Indexes of the collection, as canonical Extended JSON.
    pub indexes: Vec<Value>,
}

/// Verification of a backup before it was published.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Verification {
    /// `decoded`: read back and read as a restore would. `bytes`: read back byte for byte, and read as a restore would while it was
    /// written, because the private key is not here.
    pub how: String,
    /// Number of unique indexes checked.
    pub unique_indexes: u64,
    /// Unique indexes that only a server can check, with the reason.
    pub not_checked: Vec<String>,
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

/// The manifest before one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Previous {
    /// Id of the backup.
    pub id: String,
    /// The SHA-256 of its file, in hexadecimal.
    pub sha256: String,
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

/// A new backup's id. Ids sort by time.
#[must_use]
pub fn new_id(now: Timestamp) -> String {
    let letters: String = (0..6)
        .map(|_| char::from(b'a' + rand::random_range(0..26_u8)))
        .collect();
    format!("{}-{letters}", now.strftime("%Y%m%dT%H%M%SZ"))
}

/// `true` if a text has the form of a backup's id. Only such texts become part of a key.
#[must_use]
pub fn is_id(text: &str) -> bool {
    let (time, letters) = text.split_once('-').unwrap_or_default();
    time.len() == 16
        && letters.len() == 6
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}
