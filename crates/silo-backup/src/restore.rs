//! Restore of a backup into an empty database, and the comparison with the backup.
//!
//! Everything is verified before the first write. Documents come first and are compared while indexes are built; what lets documents expire comes last,
//! so that none is gone before it was compared; then views. Once all documents are inserted, nothing is dropped any more: differences are listed.

mod compare;
mod created;
pub mod erasure;
mod load;
pub mod moment;
pub mod preflight;
mod selection;
pub mod swap;
mod working_folder;

use std::io;
use std::path::Path;

use bytes::Bytes;
use serde::Serialize;
use silo_core::secret::Secret;
use silo_mongo::collections::{Collection, Kind};
use silo_mongo::error::{ActionError, DatabaseError};
use silo_mongo::mongodb::bson::doc;
use silo_mongo::mongodb::{Client, Database};
use silo_mongo::write;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

pub use compare::{Comparison, compare_all};
use compare::{compare, differences};
use created::CreatedCollections;
use load::load;
pub use selection::Selection;
pub use working_folder::{WorkingFolder, keep_free};

use crate::error::Error;
use crate::repository::Repository;
use crate::repository::manifest::{ArchiveFacts, CollectionFacts, Manifest};
use crate::verification::file_chunks;
use silo_cli::progress::Reporter;

/// Where the archive of a manifest is.
#[derive(Clone, Copy)]
pub enum Source<'a> {
    /// In a destination.
    Stored(&'a Repository),
    /// In a file of this machine.
    File(&'a Path),
}

impl Source<'_> {
    /// The archive's stored bytes.
    fn chunks(&self, archive: &ArchiveFacts) -> mpsc::Receiver<io::Result<Bytes>> {
        match self {
            Self::Stored(repository) => repository.download(&archive.key, archive.bytes),
            Self::File(file) => file_chunks(file),
        }
    }
}

/// A server that is written to.
#[derive(Clone)]
pub struct Target {
    /// Client of the server.
    pub client: Client,
    /// Database.
    pub database: Database,
}

/// Result of a restore whose documents were all inserted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RestoreOutcome {
    /// Differences from the backup: documents, options, indexes.
    pub differences: Vec<String>,
    /// Steps that failed on this server, so that something is missing: an index that could not be built, a comparison that was interrupted.
    pub incomplete: Vec<String>,
}

impl RestoreOutcome {
    /// `true` if the restored database is identical to the backup.
    #[must_use]
    pub fn is_identical(&self) -> bool {
        self.differences.is_empty() && self.incomplete.is_empty()
    }

    /// Adds a failed step. Two documents with the same key in a unique index are a fault of the backup, everything else one of the server.
    fn failed(&mut self, step: &ActionError) {
        if step.error == DatabaseError::DuplicateKey {
            self.differences.push(step.to_string());
        } else {
            self.incomplete.push(step.to_string());
        }
    }
}

/// Restores a verified archive into an empty database. If documents cannot be inserted, or it is stopped before all are, everything it created is
/// dropped; after that, nothing is.
///
/// # Errors
/// The error that prevented the insertion of documents.
pub async fn restore(
    source: Source<'_>,
    manifest: &Manifest,
    selection: &Selection,
    target: &Target,
    identity: Option<&Secret>,
    report: &Reporter,
    stop: &CancellationToken,
) -> Result<RestoreOutcome, Error> {
    let wanted = selection.of(manifest)?;
    let mut created = CreatedCollections::default();
    let database = &target.database;
    let loading = load(
        source,
        manifest,
        selection,
        database,
        identity,
        report,
        &mut created,
    );
    let loaded = tokio::select! {
        biased;
        () = stop.cancelled() => Err(Error::Interrupted),
        loaded = loading => loaded,
    };
    let collections = match loaded {
        Ok(collections) => collections,
        Err(error) => {
            report.begin("cleaning", None, "documents");
            created.drop_all(database).await;
            return Err(error);
        }
    };
    let mut outcome = RestoreOutcome::default();
    let finishing = finish(
        &wanted,
        &collections,
        database,
        report,
        &mut created,
        &mut outcome,
    );
    let stopped = tokio::select! {
        biased;
        () = stop.cancelled() => true,
        () = finishing => false,
    };
    if stopped {
        outcome.incomplete.push(
            "stopped after all documents were inserted: indexes and views may be missing".into(),
        );
    }
    Ok(outcome)
}

/// Compares documents, builds indexes, creates views, and compares options and indexes.
async fn finish(
    wanted: &[CollectionFacts],
    collections: &[Collection],
    database: &Database,
    report: &Reporter,
    created: &mut CreatedCollections,
    outcome: &mut RestoreOutcome,
) {
    // The comparison keeps this process busy, the index builds the server.
    let (compared, built) = tokio::join!(
        compare(wanted, database, report),
        write::build_indexes(database, collections, false)
    );
    let mut incomplete = Vec::new();
    match compared {
        Ok(Comparison { differences, .. }) => outcome.differences.extend(differences),
        Err(error) => incomplete.push(format!("documents were not compared completely: {error}")),
    }
    report.begin("indexing", None, "documents");
    let expiring = write::build_indexes(database, collections, true).await;
    let restored = created.set_expiry(database).await;
    for failed in built.into_iter().chain(expiring).chain(restored) {
        outcome.failed(&failed);
    }
    for view in collections
        .iter()
        .filter(|collection| collection.kind == Kind::View)
    {
        if let Err(error) = created.create(database, [view]).await {
            incomplete.push(error.to_string());
        }
    }
    match differences(wanted, database).await {
        Ok(differences) => outcome.differences.extend(differences),
        Err(error) => incomplete.push(format!("options and indexes were not compared: {error}")),
    }
    outcome.incomplete.extend(incomplete);
}
