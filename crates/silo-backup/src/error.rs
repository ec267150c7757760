//! Errors of silo-backup and their exit codes.

use std::io;

use silo_core::settings::EXIT_CONFIG;

pub use silo_cli::exit::{
    EXIT_BUSY, EXIT_CORRUPT, EXIT_DIFFERENT, EXIT_FAILED, EXIT_HELD, EXIT_INCONCLUSIVE,
    EXIT_REFUSED, EXIT_USAGE,
};

/// Error of silo-backup. The texts contain no secrets and no documents.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    /// 503: the database did not do its part.
    #[error("{action}: {error}", error = error.detail())]
    Database {
        /// Attempted action.
        action: String,
        /// Error of the database.
        error: silo_mongo::error::DatabaseError,
    },
    /// 503: the storage did not do its part.
    #[error("{action}: {error}")]
    Storage {
        /// Attempted action.
        action: String,
        /// Error of the storage.
        error: silo_spaces::error::StorageError,
    },
    /// 500: a failure of this machine: a disk, a child process, the archive's writer.
    #[error("{0}")]
    Engine(String),
    /// 500: the stored data differs from what was written.
    #[error("{0}")]
    Corrupt(String),
    /// 503: no verdict is possible.
    #[error("{0}")]
    Inconclusive(String),
    /// 409: another run has the lease.
    #[error("{0}")]
    Busy(String),
    /// 409: it could harm what must not be harmed.
    #[error("{0}")]
    Refused(String),
    /// 409: the repository in the bucket is not the one of this database.
    #[error("{0}")]
    Repository(String),
    /// 503: a drill could not run; nothing is known about the backup.
    #[error("{0}")]
    NotDrilled(String),
    /// 404: there is no such backup.
    #[error("{0}")]
    NotFound(String),
    /// 503: the process was asked to stop.
    #[error("interrupted")]
    Interrupted,
}

impl Error {
    /// A stable name, in snake case.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Database { error, .. } => error.code(),
            Self::Storage { error, .. } => error.kind.code(),
            Self::Engine(_) => "engine_failed",
            Self::Corrupt(_) => "corrupt",
            Self::Inconclusive(_) => "inconclusive",
            Self::Busy(_) => "already_running",
            Self::Refused(_) => "refused",
            Self::Repository(_) => "repository_changed",
            Self::NotDrilled(_) => "not_drilled",
            Self::NotFound(_) => "no_such_backup",
            Self::Interrupted => "interrupted",
        }
    }

    /// The exit code.
    #[must_use]
    pub fn exit(&self) -> u8 {
        match self {
            Self::Corrupt(_) => EXIT_CORRUPT,
            Self::Inconclusive(_) | Self::NotDrilled(_) => EXIT_INCONCLUSIVE,
            Self::Busy(_) => EXIT_BUSY,
            Self::Refused(_) | Self::Repository(_) => EXIT_REFUSED,
            Self::NotFound(_) => EXIT_USAGE,
            _ => EXIT_FAILED,
        }
    }

    /// For `map_err`: a database error with the action that failed, such as "reading users".
    pub fn database<F: Into<silo_mongo::error::DatabaseError>>(
        action: impl Into<String>,
    ) -> impl FnOnce(F) -> Self {
        let action = action.into();
        move |error| Self::Database {
            action,
            error: error.into(),
        }
    }

    /// For `map_err`: a storage error with the action that failed.
    pub fn storage(
        action: impl Into<String>,
    ) -> impl FnOnce(silo_spaces::error::StorageError) -> Self {
        let action = action.into();
        move |error| Self::Storage { action, error }
    }
}

impl From<silo_mongo::error::DatabaseError> for Error {
    fn from(error: silo_mongo::error::DatabaseError) -> Self {
        Self::Database {
            action: "asking the database".into(),
            error,
        }
    }
}

impl From<silo_mongo::error::ActionError> for Error {
    fn from(failed: silo_mongo::error::ActionError) -> Self {
        Self::Database {
            action: failed.action,
            error: failed.error,
        }
    }
}

impl From<io::Error> for Error {
    fn from(error: io::Error) -> Self {
        Self::Engine(error.to_string())
    }
}

/// Text about exit codes for `--help`.
#[must_use]
pub fn exit_codes() -> String {
    format!(
        "Exit codes: 0 good, {EXIT_FAILED} failed (also a good backup or status with problems), {EXIT_CORRUPT} corrupt (also slices, a drilled moment, or a proof), {EXIT_INCONCLUSIVE} inconclusive (storage errors prevented a verdict, or a drill could not run), \
         {EXIT_HELD} held (stored, but not as expected: accept it or investigate), {EXIT_BUSY} another run has the lease, {EXIT_REFUSED} refused for safety, \
         {EXIT_DIFFERENT} restored, but not identical to the backup, \
         {EXIT_USAGE} the command line is wrong, no backup matches, or there is nothing to prove, {EXIT_CONFIG} the settings are wrong"
    )
}
