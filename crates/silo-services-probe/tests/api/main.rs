//! The silo-services-probe binary over HTTP, with simulators of AC's services and real Silo services.

#![expect(
    clippy::unwrap_used,
    reason = "a test ends where something is not as it must be"
)]

mod stage;

mod alarms;
mod bad_input;
mod changes;
mod facts;
mod history;
mod lists;
mod matrix;
mod offline;
mod overview;
mod redirects;
mod settings;
