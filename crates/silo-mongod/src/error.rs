//! Errors, with messages that say what to do.

use silo_mongo::error::DatabaseError;

/// Error of an action.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// mongod returned an error.
    #[error("{doing}: {}", .error.detail())]
    Database {
        /// Attempted action.
        doing: String,
        /// Error of the command.
        error: DatabaseError,
    },
    /// The action is not allowed.
    #[error("{0}")]
    Refused(String),
    /// A file or a connection.
    #[error("{doing}: {error}")]
    Io {
        /// Attempted action.
        doing: String,
        /// Error of the operating system.
        error: std::io::Error,
    },
    /// A certificate or key is invalid.
    #[error("{doing}: {error}")]
    Tls {
        /// Attempted action.
        doing: String,
        /// Error of OpenSSL.
        error: openssl::error::ErrorStack,
    },
}

impl Error {
    /// A command that mongod did not do.
    pub fn database(
        doing: impl Into<String>,
    ) -> impl FnOnce(silo_mongo::mongodb::error::Error) -> Self {
        let doing = doing.into();
        move |error| Self::Database {
            doing,
            error: DatabaseError::from(&error),
        }
    }

    /// A file that could not be read or written.
    pub fn io(doing: impl Into<String>) -> impl FnOnce(std::io::Error) -> Self {
        let doing = doing.into();
        move |error| Self::Io { doing, error }
    }

    /// Error of OpenSSL.
    pub fn tls(doing: impl Into<String>) -> impl FnOnce(openssl::error::ErrorStack) -> Self {
        let doing = doing.into();
        move |error| Self::Tls { doing, error }
    }
}
