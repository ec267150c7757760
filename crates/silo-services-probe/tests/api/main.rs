//! The silo-services-probe binary over HTTP, against stand-ins for what it probes and the real services of Silo beside it.

#![expect(
    clippy::unwrap_used,
    reason = "a test ends where something is not as it must be"
)]

mod stage;

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
