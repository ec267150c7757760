//! The oplog: mongod's record of all changes, in the order of their positions. Applied to a backup it gives the database of any later moment.
//!
//! An `entry` is one document of `local.oplog.rs`; `diff` applies an update's difference; `roll` applies entries to an archive and writes another one;
//! `catalogue` is the state of the collections meanwhile, `documents` holds their changes on disk. `server` reads entries of a running server, and
//! `history` lists what they change. `deletions` notices mass deletions. `continuity` says which backups a server's oplog continues.

mod catalogue;
pub mod continuity;
pub mod deletions;
pub mod diff;
mod documents;
pub mod entry;
pub mod history;
pub mod roll;
pub mod server;

pub use crate::repository::manifest::ClusterTime as Position;

/// Error of applying entries. The texts have names of collections, and no values.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// An entry cannot be read.
    #[error("an entry of the oplog cannot be read: {0}")]
    Malformed(&'static str),
    /// An entry that this version of Silo does not know how to apply, or may not.
    #[error("the oplog has, at {at}, {what}, over which a backup cannot be rolled forward")]
    Unsupported {
        /// Position of the entry.
        at: Position,
        /// The change.
        what: String,
    },
    /// The entry does not fit what it was applied to: something is missing before it, or was applied twice.
    #[error("an entry of the oplog at {at} does not fit {collection}: {what}")]
    Misfit {
        /// Position of the entry.
        at: Position,
        /// Name of the collection.
        collection: String,
        /// The difference.
        what: String,
    },
    /// The backup may not have all documents of a collection.
    #[error(
        "{0} was dropped or renamed while the backup was made, so the backup may not have all of its documents; choose a moment after that"
    )]
    Incomplete(String),
    /// The archive cannot be read.
    #[error(transparent)]
    Archive(#[from] crate::archive::reader::Error),
    /// A temporary file cannot be written or read.
    #[error("a temporary file: {0}")]
    Temporary(#[from] rusqlite::Error),
    /// A file cannot be written or read.
    #[error(transparent)]
    Io(#[from] std::io::Error),
}
