//! Errors of silo-migrate and their exit codes.

use std::io;
use std::path::Path;

use silo_cli::exit::{EXIT_CORRUPT, EXIT_DIFFERENT, EXIT_FAILED, EXIT_REFUSED, EXIT_USAGE};
use silo_mongo::error::ActionError;

/// Error of silo-migrate. The texts contain no secrets and no values of documents.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    /// A database did not do its part.
    #[error(transparent)]
    Database(#[from] ActionError),
    /// A file could not be read or written.
    #[error("{0}")]
    File(String),
    /// A file cannot be read as what it is: with file, line and column.
    #[error("{0}")]
    Input(String),
    /// Refused: harmful, or a decision is needed first.
    #[error("{0}")]
    Refused(String),
    /// The written data is not as it should be.
    #[error("{0}")]
    Different(String),
    /// The arguments make no sense together.
    #[error("{0}")]
    Usage(String),
    /// The process was asked to stop.
    #[error("interrupted")]
    Interrupted,
}

impl Error {
    /// A stable name, in snake case.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Database(failed) => failed.error.code(),
            Self::File(_) => "file_failed",
            Self::Input(_) => "input_invalid",
            Self::Refused(_) => "refused",
            Self::Different(_) => "different",
            Self::Usage(_) => "usage",
            Self::Interrupted => "interrupted",
        }
    }

    /// The exit code.
    #[must_use]
    pub fn exit(&self) -> u8 {
        match self {
            Self::Input(_) => EXIT_CORRUPT,
            Self::Refused(_) => EXIT_REFUSED,
            Self::Different(_) => EXIT_DIFFERENT,
            Self::Usage(_) => EXIT_USAGE,
            Self::Database(_) | Self::File(_) | Self::Interrupted => EXIT_FAILED,
        }
    }

    /// For `map_err`: an error of a file.
    pub fn file(file: &Path) -> impl FnOnce(io::Error) -> Self {
        move |error| Self::File(format!("{}: {error}", file.display()))
    }
}

/// Text about exit codes for `--help`.
#[must_use]
pub fn exit_codes() -> String {
    format!(
        "Exit codes: 0 done or equal, {EXIT_FAILED} failed, {EXIT_CORRUPT} a file cannot be read as what it is, {EXIT_REFUSED} refused for safety or until a decision, \
         {EXIT_DIFFERENT} different or not complete, {EXIT_USAGE} the command line is wrong"
    )
}
