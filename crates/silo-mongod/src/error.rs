//! What can go wrong, in words that say what to do.

use silo_mongo::fault::Fault;

/// Why something was not done.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// mongod did not do it.
    #[error("{doing}: {}", .fault.detail())]
    Database {
        /// What was to be done.
        doing: String,
        /// Why it was not.
        fault: Fault,
    },
    /// It must not be done.
    #[error("{0}")]
    Refused(String),
    /// A file or a connection.
    #[error("{doing}: {error}")]
    Io {
        /// What was to be done.
        doing: String,
        /// Why it was not.
        error: std::io::Error,
    },
    /// A certificate or key that is none.
    #[error("{doing}: {error}")]
    Tls {
        /// What was to be done.
        doing: String,
        /// What OpenSSL says.
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
            fault: Fault::from(&error),
        }
    }

    /// A file that could not be read or written.
    pub fn io(doing: impl Into<String>) -> impl FnOnce(std::io::Error) -> Self {
        let doing = doing.into();
        move |error| Self::Io { doing, error }
    }

    /// Something that OpenSSL did not take.
    pub fn tls(doing: impl Into<String>) -> impl FnOnce(openssl::error::ErrorStack) -> Self {
        let doing = doing.into();
        move |error| Self::Tls { doing, error }
    }
}
