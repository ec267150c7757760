//! S3 storage for tests and the local stack.
//!
//! Tests use Ceph RGW, the software that DigitalOcean Spaces runs on: one cluster for all of them, and an account per test, so that bucket names do
//! not collide. The local stack uses SeaweedFS, which needs no root and is one program.

mod account;
mod error;
mod rgw;
mod seaweed;

use std::net::SocketAddr;

use crate::wire::Wire;

pub use account::Account;
pub use error::S3Error;
pub use rgw::{CLUSTER_VARIABLE, Rgw};
pub use seaweed::SeaweedFs;

/// Storage of one test: an account of the shared RGW.
pub struct Storage {
    /// Access key and secret.
    pub account: Account,
    rgw: SocketAddr,
    switch: Option<Wire>,
}

impl Storage {
    /// An account on the shared RGW, which is started if this is the first.
    ///
    /// # Errors
    /// When Ceph is not installed or does not start.
    pub async fn new() -> Result<Self, S3Error> {
        let rgw = rgw::shared().await?;
        let account = Account::create(rgw).await?;
        Ok(Self {
            account,
            rgw,
            switch: None,
        })
    }

    /// The same, reached through a wire that [`Self::switch_off`] cuts.
    ///
    /// # Errors
    /// When Ceph is not installed or does not start.
    pub async fn with_switch() -> Result<Self, S3Error> {
        let mut storage = Self::new().await?;
        storage.switch = Some(Wire::start(storage.rgw).await?);
        Ok(storage)
    }

    /// The endpoint, `http://127.0.0.1:PORT`.
    #[must_use]
    pub fn url(&self) -> String {
        let address = self.switch.as_ref().map_or(self.rgw, Wire::address);
        format!("http://{address}")
    }

    /// Makes the endpoint refuse connections and cuts those that are open, as if storage had gone away. Needs [`Self::with_switch`].
    pub fn switch_off(&self) {
        if let Some(wire) = &self.switch {
            wire.close();
        }
    }

    /// Makes the endpoint available again.
    ///
    /// # Errors
    /// When another process has taken its port.
    pub async fn switch_on(&self) -> std::io::Result<()> {
        match &self.switch {
            Some(wire) => wire.open().await,
            None => Ok(()),
        }
    }
}
