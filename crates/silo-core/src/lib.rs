//! What every part of Silo knows without serving anything.
//!
//! Settings come first: every service reads them before it does anything else. Nothing in this crate knows HTTP,
//! MongoDB or S3.

pub mod build;
pub mod logging;
pub mod process;
pub mod secret;
pub mod settings;
pub mod units;
pub mod variables;
