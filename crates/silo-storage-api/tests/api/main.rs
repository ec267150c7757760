//! The silo-storage-api binary over HTTP, against real S3 servers and a real silo-db-api. Every test of numbers runs on both servers.

#![expect(
    clippy::unwrap_used,
    reason = "a test ends where something is not as it must be"
)]

mod stage;

mod bad_input;
mod buckets;
mod faults;
mod lists;
mod reachability;
mod rescan;
mod restart;
mod settings;
mod users;
