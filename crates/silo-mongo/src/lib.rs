//! The only crate that makes a MongoDB client.
//!
//! [`connect`] opens the client with every limit set, [`fault`] turns the driver's errors into ours, [`field`] reads values out of
//! BSON without casting, and [`catalogue`] is what Silo knows about AC's collections. For whoever copies a database, [`structure`] is
//! how it is built, [`snapshot`] one moment of it, and [`fingerprint`] what tells two copies apart. [`versions`] has the known faults of mongod.

pub mod catalogue;
pub mod commands;
pub mod connect;
pub mod fault;
pub mod field;
pub mod fingerprint;
pub mod rights;
pub mod snapshot;
pub mod structure;
pub mod versions;

pub use mongodb;
