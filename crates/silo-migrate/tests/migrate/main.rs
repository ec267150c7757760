//! The built binary with real servers on both sides.

#![expect(
    clippy::unwrap_used,
    reason = "a test ends where something is not as it must be"
)]

mod compare;
mod copy;
mod cutover;
mod import;
mod killed;
mod sqlite;
mod stage;
