//! Writing collections as they were elsewhere: documents unchanged, indexes with all their options.

mod create;
mod indexes;
mod insert;

pub use create::create;
pub use indexes::build as build_indexes;
pub use insert::{Batch, Inserts};

/// Concurrent inserts: each waits until the server has written its batch to the journal.
pub const CONCURRENT_INSERTS: usize = 4;
