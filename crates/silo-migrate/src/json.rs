//! Reading JSON as backups have it: Extended JSON of both versions, and plain JSON as `JSON.stringify` writes documents of the Node driver.
//!
//! A file is split into its documents ([`documents`]), each of which is converted into BSON ([`convert`]) by the rules of its dialect ([`dialect`]) and the
//! types of its fields ([`types`]).

pub mod convert;
pub mod date;
pub mod dialect;
pub mod documents;
pub mod fields;
pub mod types;
mod wrappers;

/// Error of a JSON file, with its place.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}, column {column}: {problem}")]
pub struct JsonError {
    /// Line, from 1.
    pub line: u64,
    /// Byte in the line, from 1.
    pub column: u64,
    /// Problem, without values of fields.
    pub problem: String,
}
