//! Request for a dump of the database, its result, and the identity of the database.

use std::time::Duration;

use jiff::Timestamp;
use silo_mongo::field;
use silo_mongo::mongodb::Client;
use silo_mongo::mongodb::bson::{Bson, doc};

use crate::archive::encoding::{ArchiveEncoding, Stored};
use crate::clock::Clock;
use crate::error::Error;
use crate::repository::manifest::{
    ChangedDuringRead, ClusterTime, CollectionFacts, Consistency, Server,
};
use silo_cli::progress::Reporter;

/// Server parameter: how long a snapshot is kept, in seconds.
const WINDOW: &str = "minSnapshotHistoryWindowInSeconds";

/// Request to dump the database.
#[derive(Clone)]
pub struct DumpRequest {
    /// Client of the server.
    pub client: Client,
    /// Name of the database.
    pub database: String,
    /// Compression and encryption of the archive.
    pub encoding: ArchiveEncoding,
    /// Tool version for the archive's header.
    pub version: String,
    /// Receiver of progress.
    pub report: Reporter,
    /// Clock.
    pub clock: Clock,
}

/// Result of a dump.
#[derive(Clone, Debug)]
pub struct DumpOutcome {
    /// Time of the snapshot by this machine's clock; without a snapshot, when reading began.
    pub as_of: Timestamp,
    /// Consistency of the documents.
    pub consistency: Consistency,
    /// Cluster time of the snapshot.
    pub cluster_time: Option<ClusterTime>,
    /// Collections that are not in the snapshot: capped ones.
    pub not_in_snapshot: Vec<String>,
    /// Collections that were created, dropped or renamed during the dump.
    pub changed: ChangedDuringRead,
    /// Advice when reading took more than half of the time for which the server keeps a snapshot.
    pub slow: Option<String>,
    /// Size and checksum of the stored bytes.
    pub stored: Stored,
    /// Collections of the archive, with counts and digests computed while writing it.
    pub written: Vec<CollectionFacts>,
}

/// Advice when reading took more than half of the time for which the server keeps a snapshot: a little more data, and no backup can be made. Needs the
/// privilege `getParameter`; without it, there is no advice.
pub(super) async fn slow_read(client: &Client, reading: Duration) -> Option<String> {
    let admin = client.database("admin");
    let parameter = doc! { "getParameter": 1, WINDOW: 1 };
    let parameter = admin.run_command(parameter).await.ok()?;
    let window = Duration::from_secs(field::count(&parameter, WINDOW)?);
    (reading > window / 2).then(|| {
        format!(
            "reading took {} of the {} s for which the server keeps a snapshot; raise {WINDOW}, or find out what is slow",
            reading.as_secs(),
            window.as_secs()
        )
    })
}

/// Version, replica set and term of the server, without host names.
///
/// # Errors
/// The error of the command.
pub async fn identify(client: &Client) -> Result<Server, Error> {
    let admin = client.database("admin");
    let hello = admin.run_command(doc! { "hello": 1 }).await;
    let hello = hello.map_err(|error| Error::database("reaching the database")(&error))?;
    let info = admin.run_command(doc! { "buildInfo": 1 }).await;
    let info = info.map_err(|error| Error::database("reading the server's version")(&error))?;
    // Requires the privilege getParameter; without it, the version is unknown.
    let parameter = doc! { "getParameter": 1, "featureCompatibilityVersion": 1 };
    let parameter = admin.run_command(parameter).await.ok();
    let compatibility = parameter.as_ref().and_then(|parameter| {
        field::text(parameter, "featureCompatibilityVersion.version").map(str::to_owned)
    });
    let replica_set = hello.get_str("setName").ok().map(str::to_owned);
    // Requires the privilege replSetGetConfig; without it, the id is unknown.
    let config = match &replica_set {
        Some(_) => admin.run_command(doc! { "replSetGetConfig": 1 }).await.ok(),
        None => None,
    };
    let replica_set_id = match config
        .as_ref()
        .and_then(|config| field::at(config, "config.settings.replicaSetId"))
    {
        Some(Bson::ObjectId(id)) => Some(id.to_hex()),
        _ => None,
    };
    Ok(Server {
        version: info.get_str("version").unwrap_or("0.0.0").to_owned(),
        feature_compatibility_version: compatibility,
        replica_set,
        replica_set_id,
        term: match field::at(&hello, "lastWrite.opTime.t") {
            Some(Bson::Int64(term)) => Some(*term),
            _ => None,
        },
    })
}
