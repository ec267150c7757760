//! Errors of the test storage.

use crate::process::ProcessError;

/// Errors of starting and using storage.
#[derive(Debug, thiserror::Error)]
pub enum S3Error {
    /// A program is not installed, or a folder cannot be made.
    #[error(transparent)]
    Io(#[from] std::io::Error),
    /// A server did not start.
    #[error(transparent)]
    Process(#[from] ProcessError),
    /// A command of Ceph failed.
    #[error("{command} failed: {output}")]
    Command {
        /// The program and its first arguments.
        command: String,
        /// Both of its streams.
        output: String,
    },
    /// RGW refused to create an account.
    #[error("RGW did not create an account: {0}")]
    Account(String),
}
