//! MongoDB client: the only crate that creates one.
//!
//! [`connect`] opens the client with all limits set, [`error`] maps the driver's errors, [`field`] reads values from BSON without casting,
//! [`catalogue`] describes AC's collections, [`privileges`] reads those of the account, and [`versions`] lists known faults of mongod. For copies of
//! a database, [`collections`] reads collections and indexes, [`snapshot`] is a consistent view, [`mod@write`] writes them unchanged,
//! and [`fingerprint`] compares two copies.

pub mod catalogue;
pub mod collections;
pub mod commands;
pub mod compare;
pub mod connect;
pub mod error;
pub mod field;
pub mod fingerprint;
pub mod privileges;
pub mod snapshot;
pub mod structure;
pub mod versions;
pub mod write;

pub use mongodb;
