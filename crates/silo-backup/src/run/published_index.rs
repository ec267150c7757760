//! Index of published backups in the database itself, so that a backup that vanishes from the bucket, or appears there, is noticed.

use futures_util::TryStreamExt;
use jiff::Timestamp;
use silo_mongo::field;
use silo_mongo::mongodb::bson::{DateTime, Document, doc};
use silo_mongo::mongodb::{Client, Collection};

use crate::error::Error;
use crate::repository::RepositoryContents;
use crate::repository::manifest::{Manifest, State};
use crate::run::lease::SILO;

/// Collection of the index, in the database `silo`.
const COLLECTION: &str = "backups";

/// Index of one destination.
pub struct PublishedIndex {
    backups: Collection<Document>,
    repository: String,
}

/// A backup that the database knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublishedBackup {
    /// Id of the backup.
    pub id: String,
    /// SHA-256 of its manifest's file.
    pub sha256: String,
    /// SHA-256 of its archive.
    pub archive_sha256: String,
    /// Time of its data.
    pub as_of: Option<Timestamp>,
    /// `true` once its manifest was written; `false` while it is about to be.
    pub is_published: bool,
    /// `true` if it met the expectations.
    pub good: bool,
    /// `true` if an operator has acknowledged that it is damaged or missing.
    pub acknowledged: bool,
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

    /// All entries, by id.
    ///
    /// # Errors
    /// The error of the command.
    pub async fn entries(&self) -> Result<Vec<PublishedBackup>, Error> {
        let filter = doc! { "repository": &self.repository };
        let mut found = read(&self.backups, filter).await?;
        found.sort_by(|one, other| one.id.cmp(&other.id));
        Ok(found)
    }

    /// Records that a manifest is about to be written, or that it is written.
    ///
    /// # Errors
    /// The error of the command.
    pub async fn remember(
        &self,
        manifest: &Manifest,
        sha256: &str,
        published: bool,
    ) -> Result<(), Error> {
        let name = format!("{}/{}", self.repository, manifest.id);
        let state = if published { "published" } else { "publishing" };
        let entry = doc! {
            "repository": &self.repository, "id": &manifest.id, "sha256": sha256, "state": state,
            "archive_sha256": &manifest.archive.sha256, "as_of": field::date(manifest.as_of),
            "good": manifest.state == State::Verified,
            "lease": i64::try_from(manifest.lease).unwrap_or(i64::MAX), "at": DateTime::now(),
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

    /// Marks a damaged or missing backup as acknowledged by an operator.
    ///
    /// # Errors
    /// The error of the command.
    pub async fn acknowledge(&self, id: &str, reason: &str) -> Result<(), Error> {
        let name = doc! { "_id": format!("{}/{id}", self.repository) };
        let mark = doc! {
            "$set": { "acknowledged": { "at": DateTime::now(), "reason": reason } },
            // A backup that only another manifest names.
            "$setOnInsert": { "repository": &self.repository, "id": id, "sha256": "", "state": "published" },
        };
        let marked = self.backups.update_one(name, mark).upsert(true).await;
        marked
            .map(drop)
            .map_err(|error| Error::database("acknowledging a problem")(&error))
    }

    /// Reconciles entries of runs that were interrupted between the two records: a backup is published if its manifest exists, and else was never
    /// published.
    ///
    /// # Errors
    /// The error of the command.
    pub async fn reconcile(&self, contents: &RepositoryContents) -> Result<(), Error> {
        let action = "reconciling the index of published backups";
        for entry in self.entries().await? {
            if entry.is_published {
                continue;
            }
            let id = &entry.id;
            let name = doc! { "_id": format!("{}/{id}", self.repository) };
            let existing = contents
                .entries
                .iter()
                .find(|known| known.manifest.id == *id);
            let reconciled = match existing {
                Some(existing) => self
                    .backups
                    .update_one(
                        name,
                        doc! { "$set": { "state": "published", "sha256": &existing.sha256 } },
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

/// Newest good backup of any repository that this database remembers, for when storage does not answer.
///
/// # Errors
/// The error of the command.
pub async fn newest_good(client: &Client) -> Result<Option<Timestamp>, Error> {
    let backups = client.database(SILO).collection::<Document>(COLLECTION);
    let found = read(&backups, doc! { "state": "published", "good": true }).await?;
    let counted = found.into_iter().filter(|entry| !entry.acknowledged);
    Ok(counted.filter_map(|entry| entry.as_of).max())
}

async fn read(
    backups: &Collection<Document>,
    filter: Document,
) -> Result<Vec<PublishedBackup>, Error> {
    let action = "reading the index of published backups";
    let mut found = backups
        .find(filter)
        .await
        .map_err(|error| Error::database(action)(&error))?;
    let mut published = Vec::new();
    while let Some(entry) = found
        .try_next()
        .await
        .map_err(|error| Error::database(action)(&error))?
    {
        let text = |name| field::text(&entry, name).unwrap_or_default().to_owned();
        published.push(PublishedBackup {
            id: text("id"),
            sha256: text("sha256"),
            archive_sha256: text("archive_sha256"),
            as_of: field::time(&entry, "as_of"),
            is_published: text("state") == "published",
            good: field::flag(&entry, "good") == Some(true),
            acknowledged: entry.contains_key("acknowledged"),
        });
    }
    Ok(published)
}
