//! Engines that dump the database. Both write an archive through the same pipeline.

pub mod mongodump;
pub mod native;
mod request;

use std::io;

use bytes::Bytes;
use tokio::sync::mpsc;

use crate::archive::encoding::Chunk;
use crate::error::Error;

pub use request::{DumpOutcome, DumpRequest, addresses, identify};

/// Engine that dumps the database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Engine {
    /// Ourselves.
    Native,
    /// The real tool, as a child process.
    Mongodump,
}

impl Engine {
    /// Name in settings and manifests.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Native => "native",
            Self::Mongodump => "mongodump",
        }
    }
}

/// Dumps the database and sends the archive's bytes. Only after `Ok` have all of them been sent.
///
/// # Errors
/// The error that interrupted the dump.
pub async fn run(
    engine: Engine,
    order: &DumpRequest,
    out: mpsc::Sender<Chunk>,
    tee: Option<mpsc::Sender<io::Result<Bytes>>>,
) -> Result<DumpOutcome, Error> {
    match engine {
        Engine::Native => native::run(order, out, tee).await,
        Engine::Mongodump => mongodump::run(order, out, tee).await,
    }
}
