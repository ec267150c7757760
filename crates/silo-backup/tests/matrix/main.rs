//! Many concurrent runs, each with another fault. A program of its own, because it uses all of the machine.

#![expect(
    clippy::unwrap_used,
    reason = "a test ends where something is not as it must be"
)]
#![expect(dead_code, reason = "the stage has more than these two need")]

mod faults;
mod killed;
#[path = "../backup/stage.rs"]
mod stage;

/// Concurrent runs, one matrix after the other. They mostly wait: for the lease of a killed run to expire, and between attempts at a request.
const AT_ONCE: usize = 16;
static ONE_AFTER_THE_OTHER: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());
