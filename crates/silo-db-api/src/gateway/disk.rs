//! The file system that holds mongod's data, from `dbStats`.

use silo_mongo::error::DatabaseError;
use silo_mongo::field;
use silo_mongo::mongodb::bson::doc;

use super::Gateway;

/// Size and use of a file system, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileSystem {
    /// Used size.
    pub used: u64,
    /// Size.
    pub total: u64,
}

impl Gateway {
    /// Reads the size of the file system. Asks the database `admin`, which is small: the figures are the same for each.
    ///
    /// # Errors
    /// The error of the command; [`DatabaseError::NotSupported`] if the storage engine does not report the file system.
    pub async fn file_system(&self) -> Result<FileSystem, DatabaseError> {
        let stats = self.admin(doc! { "dbStats": 1 }).await?;
        let count = |name: &str| field::count(&stats, name);
        count("fsUsedSize")
            .zip(count("fsTotalSize"))
            .filter(|(_, total)| *total > 0)
            .map(|(used, total)| FileSystem { used, total })
            .ok_or(DatabaseError::NotSupported)
    }
}
