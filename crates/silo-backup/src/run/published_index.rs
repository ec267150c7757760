//! Index of published backups in the database itself, so that one that vanishes from the bucket is noticed.

use futures_util::TryStreamExt;
use silo_mongo::mongodb::bson::{DateTime, Document, doc};
use silo_mongo::mongodb::{Client, Collection};

use crate::error::Error;
use crate::repository::RepositoryContents;
use crate::run::lease::SILO;

/// Collection of the index, in the database `silo`.
const COLLECTION: &str = "backups";

/// Index of one destination.
pub struct PublishedIndex {
    backups: Collection<Document>,
    repository: String,
}

impl PublishedIndex {
    /// Index of the repository with this id.
    #[must_use]
    pub fn new(client: &Client, repository: &str) -> Self {
        Self {
            backups: client.database(SILO).collection(COLLECTION),
            repository: repository.to_owned(),
        }
    }

    /// Ids and manifest checksums of published backups.
    ///
    /// # Errors
    /// The error of the command.
    pub async fn published(&self) -> Result<Vec<(String, String)>, Error> {
        let action = "reading the index of published backups";
        let filter = doc! { "repository": &self.repository, "state": "published" };
        let mut found = self
            .backups
            .find(filter)
            .await
            .map_err(|error| Error::database(action)(&error))?;
        let mut published = Vec::new();
        while let Some(entry) = found
            .try_next()
            .await
            .map_err(|error| Error::database(action)(&error))?
        {
            let text = |name| {
                silo_mongo::field::text(&entry, name)
                    .unwrap_or_default()
                    .to_owned()
            };
            published.push((text("id"), text("sha256")));
        }
        published.sort();
        Ok(published)
    }

    /// Records that a manifest is about to be written, or that it is written.
    ///
    /// # Errors
    /// The error of the command.
    pub async fn remember(
        &self,
        id: &str,
        sha256: &str,
        lease: u64,
        published: bool,
    ) -> Result<(), Error> {
        let name = format!("{}/{id}", self.repository);
        let state = if published { "published" } else { "publishing" };
        let entry = doc! {
            "repository": &self.repository, "id": id, "sha256": sha256, "state": state,
            "lease": i64::try_from(lease).unwrap_or(i64::MAX), "at": DateTime::now(),
        };
        let written = self
            .backups
            .replace_one(doc! { "_id": name }, entry)
            .upsert(true)
            .await;
        written
            .map(drop)
            .map_err(|error| Error::database("remembering a backup")(&error))
    }

    /// Reconciles entries of runs that were interrupted between the two records: a backup is published if its manifest exists, and else was never
    /// published.
    ///
    /// # Errors
    /// The error of the command.
    pub async fn reconcile(&self, contents: &RepositoryContents) -> Result<(), Error> {
        let action = "reconciling the index of published backups";
        let open = doc! { "repository": &self.repository, "state": "publishing" };
        let mut found = self
            .backups
            .find(open)
            .await
            .map_err(|error| Error::database(action)(&error))?;
        while let Some(entry) = found
            .try_next()
            .await
            .map_err(|error| Error::database(action)(&error))?
        {
            let id = silo_mongo::field::text(&entry, "id").unwrap_or_default();
            let name = doc! { "_id": format!("{}/{id}", self.repository) };
            let there = contents
                .entries
                .iter()
                .find(|known| known.manifest.id == id);
            let reconciled = match there {
                Some(there) => self
                    .backups
                    .update_one(
                        name,
                        doc! { "$set": { "state": "published", "sha256": &there.sha256 } },
                    )
                    .await
                    .map(drop),
                None => self.backups.delete_one(name).await.map(drop),
            };
            reconciled.map_err(|error| Error::database(action)(&error))?;
        }
        Ok(())
    }
}
