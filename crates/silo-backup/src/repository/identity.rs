//! Identity of a repository and its owners, in `silo-repo.json`.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::Repository;
use super::manifest::new_id;
use crate::error::Error;

/// File with the identity.
const FILE: &str = "silo-repo.json";

/// Identity of a repository.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Identity {
    /// Random id of the repository.
    pub id: String,
    /// When it was created.
    pub created_at: Timestamp,
    /// Databases whose backups it has, the current owner last. All have the same name; the others are earlier servers.
    pub owners: Vec<Owner>,
}

/// Database that backups come from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Owner {
    /// Name of the database.
    pub database: String,
    /// Random id of the server's data, in its database `silo`.
    pub source: String,
    /// When it became the owner.
    pub since: Timestamp,
}

impl Identity {
    /// A new identity.
    #[must_use]
    pub fn new(owner: Owner) -> Self {
        Self {
            id: new_id(owner.since),
            created_at: owner.since,
            owners: vec![owner],
        }
    }

    /// Current owner.
    #[must_use]
    pub fn owner(&self) -> Option<&Owner> {
        self.owners.last()
    }
}

impl Repository {
    /// Reads the identity; `None` if the repository was never initialised, or its identity is missing.
    ///
    /// # Errors
    /// The error of the storage.
    pub async fn identity(&self) -> Result<Option<Identity>, Error> {
        self.read(FILE).await
    }

    /// Writes the identity.
    ///
    /// # Errors
    /// The error of the storage.
    pub async fn write_identity(&self, identity: &Identity) -> Result<(), Error> {
        self.write_json(FILE, identity).await
    }
}
