//! Collections that a restore has created, and its inserts, to undo them after an error.

use bson::RawDocumentBuf;
use silo_mongo::collections::Collection;
use silo_mongo::mongodb::Database;
use silo_mongo::mongodb::bson::doc;
use tokio::task::JoinSet;

use crate::error::Error;

/// Collections and inserts of a restore.
#[derive(Default)]
pub(super) struct CreatedCollections {
    /// Names, in order of creation.
    pub(super) names: Vec<String>,
    /// Running inserts.
    pub(super) inserts: Inserts,
}

impl CreatedCollections {
    /// Creates a collection or view with its options.
    pub(super) async fn create(
        &mut self,
        database: &Database,
        collection: &Collection,
    ) -> Result<(), Error> {
        self.names.push(collection.name.clone());
        let mut command = doc! { "create": &collection.name };
        command.extend(collection.options.clone());
        let created = database.run_command(command).await;
        created
            .map(drop)
            .map_err(|error| Error::database(format!("creating {}", collection.name))(&error))
    }
}

/// Concurrent inserts, each in a task of its own, so that they continue while the next batch is read.
#[derive(Default)]
pub(super) struct Inserts(JoinSet<Result<u64, Error>>);

impl Inserts {
    /// Starts an insert.
    pub(super) fn begin(
        &mut self,
        database: &Database,
        collection: &Collection,
        documents: Vec<RawDocumentBuf>,
    ) {
        let name = collection.data_name();
        let into = database.collection::<RawDocumentBuf>(&name);
        // Documents may be older than the validator.
        let ruled = collection.options.contains_key("validator");
        self.0.spawn(async move {
            let count = u64::try_from(documents.len()).unwrap_or_default();
            let inserted = into
                .insert_many(documents)
                .ordered(true)
                .bypass_document_validation(ruled)
                .await;
            inserted
                .map(|_| count)
                .map_err(|error| Error::database(format!("inserting into {name}"))(&error))
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
    pub(super) async fn finish(&mut self) {
        while self.0.join_next().await.is_some() {}
    }
}
