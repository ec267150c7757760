//! Entries of a real server's oplog, applied to a backup, give the next backup.

#![expect(
    clippy::unwrap_used,
    reason = "a test ends where something is not as it must be"
)]

mod commands;
mod exact;
mod grouped;
mod index_builds;
mod random;
mod refused;
mod server;
mod tampered;
mod transactions;
