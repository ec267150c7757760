//! S3-compatible storage: listing, reading and writing, with strict checks.
//!
//! The only crate that uses rusoto. rusoto is archived, and its XML reader loops forever on a truncated or invalid document; so every request goes
//! through `transport`, which addresses, signs, rate-limits, sends, checks and retries it, and passes only well-formed answers of the expected kind
//! to rusoto. Listings do not use rusoto's reader at all.

pub mod endpoint;
pub mod error;
mod listing;
pub mod objects;
pub mod page;
mod rate_limit;
mod traffic;
mod transport;
pub mod unfinished;
pub mod upload;

mod request;
mod xml;

use std::sync::Arc;

use rusoto_core::Client;
use rusoto_s3::S3Client;

use crate::endpoint::{Endpoint, Limits};
use crate::error::StorageError;
pub use crate::traffic::Traffic;
use crate::transport::Transport;

/// One S3-compatible endpoint with one pair of keys. Cloning shares connections and limits.
#[derive(Clone)]
pub struct Spaces {
    transport: Transport,
    s3: S3Client,
}

impl Spaces {
    /// A client; nothing is sent yet.
    ///
    /// # Errors
    /// When TLS cannot be set up on this machine.
    pub fn new(endpoint: &Endpoint, limits: Limits) -> Result<Self, StorageError> {
        let transport = Transport::new(endpoint, limits)?;
        // The transport signs, so that a repeated request carries a fresh date.
        let client = Client::new_not_signing(transport.clone());
        let s3 = S3Client::new_with_client(client, transport.region());
        Ok(Self { transport, s3 })
    }

    /// Counters of requests and errors.
    #[must_use]
    pub fn traffic(&self) -> Arc<Traffic> {
        self.transport.traffic()
    }
}
