//! Data that all steps of a run share.

use jiff::Timestamp;

use crate::context::Context;
use crate::error::Error;
use crate::progress::Reporter;
use crate::repository::{Repository, RepositoryContents};
use crate::run::lease::Lease;
use crate::run::outcome::DestinationOutcome;

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
}

/// A destination that could be read at the start of the run.
pub(super) struct OpenDestination {
    /// The repository.
    pub(super) repository: Repository,
    /// Id of the repository.
    pub(super) id: String,
    /// Contents at the start of the run.
    pub(super) contents: RepositoryContents,
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

    /// Result for a failed destination. If it is the only one, the run fails.
    pub(super) fn failed(
        &self,
        repository: &Repository,
        error: &Error,
    ) -> Result<DestinationOutcome, Error> {
        log::error!(destination = repository.name, code = error.code(); "a destination failed: {error}");
        match &self.context.copy {
            None => Err(error.clone()),
            Some(_) => Ok(DestinationOutcome {
                name: repository.name,
                error: Some(error.to_string()),
            }),
        }
    }
}
