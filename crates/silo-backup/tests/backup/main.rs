//! silo-backup as it is built, against a real database and real storage.

#![expect(
    clippy::unwrap_used,
    reason = "a test ends where something is not as it must be"
)]

mod alarms;
mod alone;
mod continuous;
mod copies;
mod large;
mod moment;
mod moments;
mod ownership;
mod pruned;
mod restores;
mod round_trip;
mod secrets;
mod server_faults;
mod service;
mod stage;
mod tampered;
mod types;
mod unusual_data;
