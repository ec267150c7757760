//! Shared by the command lines of silo-backup and silo-migrate: results on standard output, progress and messages on standard error, and exit codes.

pub mod exit;
pub mod print;
pub mod progress;
pub mod secret_file;
