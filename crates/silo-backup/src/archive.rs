//! mongodump's archive format, version 0.1, which `mongorestore --archive` reads.
//!
//! A magic number; a header; one document per namespace with its options and indexes as canonical Extended JSON; a terminator. Then blocks: a header
//! that names the namespace, documents, a terminator. A namespace ends with a block whose header says so and carries the CRC-64/XZ of its documents.
//! Source: `common/archive/spec.md` of mongodb/mongo-tools, and its reader and writer.

pub mod decoding;
pub mod encoding;
pub mod metadata;
pub mod reader;
pub mod structure;
pub mod summary;
pub mod writer;

use silo_mongo::collections::Kind;

/// The first four bytes.
pub const MAGIC: [u8; 4] = [0x6d, 0xe2, 0x99, 0x81];
/// Terminator of a block; no document has this length.
pub const TERMINATOR: [u8; 4] = [0xff; 4];
/// The version of the format.
pub const VERSION: &str = "0.1";
/// Size limit of a document in bytes: a server stores 16 MiB, and adds up to 16 KiB to internal documents.
pub const LARGEST: usize = 16 * 1024 * 1024 + 16 * 1024;

/// Header of an archive, before its documents.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prelude {
    /// The version of the server that was read.
    pub server_version: String,
    /// Version of the tool that wrote the archive.
    pub tool_version: String,
    /// The namespaces, in the order in which they are announced.
    pub namespaces: Vec<Namespace>,
}

/// One namespace, as it is announced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Namespace {
    /// The database.
    pub database: String,
    /// The collection.
    pub collection: String,
    /// Kind of the collection.
    pub kind: Kind,
    /// Options and indexes, as canonical Extended JSON.
    pub metadata: String,
}

impl Namespace {
    /// The name that blocks use: where the documents lie.
    #[must_use]
    pub fn data_name(&self) -> String {
        match self.kind {
            Kind::TimeSeries => format!("system.buckets.{}", self.collection),
            _ => self.collection.clone(),
        }
    }
}
