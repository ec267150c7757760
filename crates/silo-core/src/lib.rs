//! Settings, logging, secrets and units, shared by all of Silo.
//!
//! Every service reads its settings before it does anything else. This crate does not depend on HTTP, MongoDB or S3.

pub mod boot_time;
pub mod build;
pub mod logging;
pub mod process;
pub mod secret;
pub mod settings;
pub mod units;
pub mod variables;
