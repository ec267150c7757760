//! silo-storage-api
pub mod owners;
pub mod progress;
pub mod ranges;
pub mod scan;
pub mod totals;
