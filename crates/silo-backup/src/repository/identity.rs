//! Identity of a repository, in `silo-repo.json`.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::Repository;
use super::manifest::new_id;
use crate::error::Error;

/// File with the identity.
const FILE: &str = "silo-repo.json";

#[derive(Serialize, Deserialize)]
struct Identity {
    id: String,
    created_at: Timestamp,
}

impl Repository {
    /// Id of the repository, created on first use.
    ///
    /// # Errors
    /// The error of the storage.
    pub async fn identity(&self) -> Result<String, Error> {
        if let Some(identity) = self.read::<Identity>(FILE).await? {
            return Ok(identity.id);
        }
        let now = Timestamp::now();
        let identity = Identity {
            id: new_id(now),
            created_at: now,
        };
        self.write_json(FILE, &identity).await?;
        Ok(identity.id)
    }
}
