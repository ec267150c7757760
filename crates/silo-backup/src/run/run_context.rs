//! Data that all steps of a run share.

use jiff::Timestamp;

use crate::context::Context;
use crate::error::Error;
use crate::repository::manifest::SourceIdentity;
use crate::repository::{Repository, RepositoryContents};
use crate::run::lease::Lease;
use crate::run::outcome::DestinationOutcome;
use crate::run::published_index::PublishedBackup;
use silo_cli::progress::Reporter;

/// A run in progress.
pub(super) struct RunContext<'a> {
    /// Settings, database and destinations.
    pub(super) context: &'a Context,
    /// The lease that the run holds.
    pub(super) lease: &'a Lease,
    /// Receiver of progress.
    pub(super) report: &'a Reporter,
    /// Id of the backup.
    pub(super) id: String,
    /// Start of the run.
    pub(super) started: Timestamp,
    /// Server and database of origin.
    pub(super) source: SourceIdentity,
}

/// A destination that could be read at the start of the run.
pub(super) struct OpenDestination {
    /// The repository.
    pub(super) repository: Repository,
    /// Id of the repository.
    pub(super) id: String,
    /// Contents at the start of the run.
    pub(super) contents: RepositoryContents,
    /// Backups that the database knows, at the start of the run.
    pub(super) published: Vec<PublishedBackup>,
}

impl RunContext<'_> {
    /// Key of the archive.
    pub(super) fn archive_key(&self) -> String {
        let encoding = &self.context.settings.encoding;
        let encrypted = if encoding.recipient.is_some() {
            ".age"
        } else {
            ""
        };
        let extension = encoding.compression.extension();
        format!("data/{}.archive.{extension}{encrypted}", self.id)
    }

    /// Folder for ids of documents, to find those read twice. Only a replica set is read in a snapshot, in which no document occurs twice.
    pub(super) fn ids_folder(&self) -> Option<&std::path::Path> {
        let standalone = self.source.server.replica_set.is_none();
        standalone.then_some(self.context.settings.folder.as_path())
    }

    /// Result for a failed destination.
    pub(super) fn failed(&self, name: &'static str, error: &Error) -> DestinationOutcome {
        log::error!(destination = name, code = error.code(); "a destination failed: {error}");
        DestinationOutcome {
            name,
            error: Some(error.to_string()),
        }
    }
}
