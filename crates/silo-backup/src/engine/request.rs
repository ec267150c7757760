//! Request for a dump of the database, its result, and the identity of the database.

use std::path::PathBuf;

use jiff::Timestamp;
use silo_core::secret::Secret;
use silo_mongo::mongodb::{Client, bson::doc};

use crate::archive::encoding::{ArchiveEncoding, Stored};
use crate::archive::summary::ArchiveSummary;
use crate::error::Error;
use crate::progress::Reporter;
use crate::repository::manifest::{Consistency, SourceIdentity, sha256};

/// Request for an engine to dump the database.
#[derive(Clone)]
pub struct DumpRequest {
    /// The server.
    pub client: Client,
    /// Connection string, for a child process.
    pub uri: Secret,
    /// The database.
    pub database: String,
    /// Folder of MongoDB's own tools.
    pub tools: Option<PathBuf>,
    /// Compression and encryption of the archive.
    pub encoding: ArchiveEncoding,
    /// On disk, for what does not fit into memory.
    pub folder: PathBuf,
    /// Tool version for the archive's header.
    pub version: String,
    /// Receiver of progress.
    pub report: Reporter,
}

/// Result of a dump.
#[derive(Clone, Debug)]
pub struct DumpOutcome {
    /// The moment that reading began.
    pub as_of: Timestamp,
    /// Consistency of the documents.
    pub consistency: Consistency,
    /// Collections that are not of that moment even so: capped ones.
    pub not_in_snapshot: Vec<String>,
    /// Size and checksum of the stored bytes.
    pub stored: Stored,
    /// Summary of the archive, computed while writing it.
    pub written: ArchiveSummary,
}

/// Identifies the server and database, without naming hosts.
///
/// # Errors
/// The error of the command.
pub async fn identify(order: &DumpRequest) -> Result<SourceIdentity, Error> {
    let hello = order
        .client
        .database("admin")
        .run_command(doc! { "hello": 1 })
        .await;
    let hello = hello.map_err(|error| Error::database("reaching the database")(&error))?;
    let info = order
        .client
        .database("admin")
        .run_command(doc! { "buildInfo": 1 })
        .await;
    let info = info.map_err(|error| Error::database("asking for the server's version")(&error))?;
    Ok(SourceIdentity {
        database: order.database.clone(),
        server_version: info.get_str("version").unwrap_or("0.0.0").to_owned(),
        replica_set: hello.get_str("setName").ok().map(str::to_owned),
        addresses: sha256(addresses(&order.uri).await?.join(",").as_bytes()),
    })
}

/// The addresses in a connection string, sorted, in lower case, with `localhost` as its number.
///
/// # Errors
/// When it is none.
pub async fn addresses(uri: &Secret) -> Result<Vec<String>, Error> {
    let options = silo_mongo::mongodb::options::ClientOptions::parse(uri.expose()).await;
    let options = options
        .map_err(|_unprintable| Error::Refused("the connection string cannot be used".into()))?;
    let mut addresses: Vec<String> = options
        .hosts
        .iter()
        .map(|host| {
            host.to_string()
                .to_lowercase()
                .replace("localhost:", "127.0.0.1:")
                .replace("[::1]:", "127.0.0.1:")
        })
        .collect();
    addresses.sort();
    Ok(addresses)
}
