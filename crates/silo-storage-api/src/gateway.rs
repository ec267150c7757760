//! The ways out: to storage, and to silo-db-api for whose things are.

pub mod buckets;
pub mod users;
