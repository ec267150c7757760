//! Collections that a restore has created, and its inserts, to undo them after an error.

use futures_util::{StreamExt, TryStreamExt, stream};
use silo_mongo::collections::{Collection, Kind};
use silo_mongo::error::DatabaseError;
use silo_mongo::mongodb::Database;
use silo_mongo::mongodb::bson::{Bson, Document, doc};
use tokio::task::JoinSet;

use super::insert::{Batch, insert};
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
            let mut command = doc! { "create": &collection.name };
            command.extend(options);
            creations.push(create_one(database, collection, command));
        }
        stream::iter(creations)
            .buffer_unordered(CONCURRENT_CREATIONS)
            .try_collect()
            .await
    }
    /// Sets the expiry of collections. Returns the failed steps.
    pub(super) async fn set_expiry(&self, database: &Database) -> Vec<(String, DatabaseError)> {
        let mut failed = Vec::new();
        for (name, expiry) in &self.expiry {
            let command = doc! { "collMod": name, EXPIRY: expiry.clone() };
            if let Err(error) = database.run_command(command).await {
                failed.push((format!("setting the expiry of {name}"), (&error).into()));
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

async fn create_one(
    database: &Database,
    collection: &Collection,
    command: Document,
) -> Result<(), Error> {
    let created = database.run_command(command).await;
    created.map_err(|error| Error::database(format!("creating {}", collection.name))(&error))?;
    if collection.kind == Kind::TimeSeries {
        drop_own_indexes(database, collection).await?;
    }
    Ok(())
}

/// Since 6.3 a server creates an index on the meta and time fields of a time series. A collection of an older server had none.
async fn drop_own_indexes(database: &Database, collection: &Collection) -> Result<(), Error> {
    let action = || Error::database(format!("reading the indexes of {}", collection.name));
    let existing = silo_mongo::collections::indexes(database, &collection.name)
        .await
        .map_err(action())?;
    for index in existing {
        let name = index.get_str("name").unwrap_or_default();
        let wanted = collection
            .indexes
            .iter()
            .any(|wanted| wanted.get_str("name").ok() == Some(name));
        if !wanted {
            database
                .run_command(doc! { "dropIndexes": &collection.name, "index": name })
                .await
                .map_err(|error| action()(DatabaseError::from(&error)))?;
        }
    }
    Ok(())
}

/// Concurrent inserts, each in a task of its own, so that they continue while the next batch is read.
#[derive(Default)]
pub(super) struct Inserts(JoinSet<Result<u64, Error>>);

impl Inserts {
    /// Starts an insert.
    pub(super) fn begin(&mut self, database: &Database, collection: &Collection, batch: Batch) {
        let (database, name) = (database.clone(), collection.data_name());
        // Documents may be older than the validator.
        let bypass = collection.options.contains_key("validator");
        self.0.spawn(async move {
            let count = batch.count();
            insert(&database, &name, batch, bypass)
                .await
                .map(|()| count)
                .map_err(Error::database(format!("inserting into {name}")))
        });
    }

    /// Waits until at most `most` inserts are running. Returns the number of documents inserted meanwhile.
    pub(super) async fn wait_until_at_most(&mut self, most: usize) -> Result<u64, Error> {
        let mut documents = 0;
        while self.0.len() > most
            && let Some(inserted) = self.0.join_next().await
        {
            documents +=
                inserted.map_err(|_panic| Error::Engine("inserting was interrupted".into()))??;
        }
        Ok(documents)
    }

    /// Waits for all inserts, and ignores their results.
    async fn finish(&mut self) {
        while self.0.join_next().await.is_some() {}
    }
}
