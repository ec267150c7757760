//! Collections that a restore has created, and its inserts, to undo them after an error.

use futures_util::{StreamExt, TryStreamExt, stream};
use silo_mongo::collections::Collection;
use silo_mongo::error::{ActionError, DatabaseError};
use silo_mongo::mongodb::Database;
use silo_mongo::mongodb::bson::{Bson, doc};
use silo_mongo::write::{self, Inserts};

use crate::error::Error;

/// Option that lets documents expire: of clustered and time-series collections.
const EXPIRY: &str = "expireAfterSeconds";

/// Collections that are created at once.
const CONCURRENT_CREATIONS: usize = 4;

/// Collections and inserts of a restore.
#[derive(Default)]
pub(super) struct CreatedCollections {
    /// Names, in order of creation.
    names: Vec<String>,
    /// Expiry of collections, which is set after their documents were compared.
    expiry: Vec<(String, Bson)>,
    /// Running inserts.
    pub(super) inserts: Inserts,
}

impl CreatedCollections {
    /// Creates collections, or a view, with their options and without their expiry.
    pub(super) async fn create<'a>(
        &mut self,
        database: &Database,
        collections: impl IntoIterator<Item = &'a Collection>,
    ) -> Result<(), Error> {
        let mut creations = Vec::new();
        for collection in collections {
            self.names.push(collection.name.clone());
            let mut options = collection.options.clone();
            if let Some(expiry) = options.remove(EXPIRY) {
                self.expiry.push((collection.name.clone(), expiry));
            }
            creations.push(write::create(database, collection, options));
        }
        stream::iter(creations)
            .buffer_unordered(CONCURRENT_CREATIONS)
            .try_collect()
            .await
            .map_err(Error::from)
    }

    /// Sets the expiry of collections. Returns the failed steps.
    pub(super) async fn set_expiry(&self, database: &Database) -> Vec<ActionError> {
        let mut failed = Vec::new();
        for (name, expiry) in &self.expiry {
            let command = doc! { "collMod": name, EXPIRY: expiry.clone() };
            if let Err(error) = database.run_command(command).await {
                failed.push(ActionError::of(format!("setting the expiry of {name}"))(
                    error,
                ));
            }
        }
        failed
    }

    /// Drops everything that this restore created, after its inserts have ended.
    pub(super) async fn drop_all(&mut self, database: &Database) {
        // An insert that arrives after its collection was dropped would recreate it.
        self.inserts.finish().await;
        for name in self.names.iter().rev() {
            let dropped = database.run_command(doc! { "drop": name }).await;
            let error = dropped.err().map(DatabaseError::from);
            // One that was not created yet.
            if let Some(error) = error.filter(|error| *error != DatabaseError::NotThere) {
                log::warn!(collection = name.as_str(), code = error.code(); "a partly restored collection could not be dropped");
            }
        }
    }
}
