//! Second reading of a file: its documents are inserted into a collection that has another name until it is complete.

use sha2::{Digest, Sha256};
use silo_cli::progress::Reporter;
use silo_mongo::catalogue::IMPORTING;
use silo_mongo::collections::{Collection, Kind};
use silo_mongo::error::{ActionError, DatabaseError};
use silo_mongo::mongodb::Database;
use silo_mongo::mongodb::bson::{Document, doc};
use silo_mongo::structure::{self, Structure};
use silo_mongo::write::{self, Batch, CONCURRENT_INSERTS, Inserts};
use silo_mongo::{collections, field};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::check::{self, FileReport};
use super::manifest::Entry;
use super::state::{Phase, State};
use crate::error::Error;
use crate::json::convert::Converter;
use crate::json::types::FieldTypes;

/// The server's error code for a collection that exists.
const NAMESPACE_EXISTS: i32 = 48;

/// Most bytes of the name of a database, a dot and the name of a collection (<https://www.mongodb.com/docs/manual/reference/limits/>).
const LONGEST_NAME: usize = 255;

/// `true` if the collection can have its name of the time until it is complete.
pub(super) fn fits(database: &Database, name: &str) -> bool {
    database.name().len() + 1 + staging_name(name).len() <= LONGEST_NAME
}

/// Name of a collection until it is complete.
#[must_use]
pub fn staging_name(name: &str) -> String {
    format!("{name}{IMPORTING}")
}

/// A collection to import.
pub(super) struct Load<'a> {
    pub(super) database: &'a Database,
    pub(super) entry: &'a Entry,
    pub(super) report: &'a FileReport,
    pub(super) types: &'a FieldTypes,
    pub(super) progress: &'a Reporter,
    pub(super) stop: &'a CancellationToken,
}

impl Load<'_> {
    /// Imports the collection. Returns `false` if an earlier import has completed it.
    pub(super) async fn run(&self) -> Result<bool, Error> {
        let (name, staging) = (&self.entry.name, self.collection());
        self.progress.at(name);
        let identity = self.identity();
        let state = State::read(self.database, name).await?;
        let same = state.as_ref().is_some_and(|state| state.sha256 == identity);
        let complete = same
            && state
                .as_ref()
                .is_some_and(|state| state.phase == Phase::Complete);
        match (self.exists(name).await?, self.exists(&staging.name).await?) {
            (true, false) if complete => return Ok(false),
            (true, _) => {
                return Err(Error::Refused(format!(
                    "{name} exists in {} and is not of an import of this file; nothing was changed in it",
                    self.database.name()
                )));
            }
            // Stopped between the last check and the new name.
            (false, true) if complete => return self.publish(&staging).await.map(|()| true),
            (false, true) if state.is_some() => {
                self.drop_staging(&staging.name).await?;
            }
            (false, true) => {
                return Err(Error::Refused(format!(
                    "{} exists in {} and is not of an import; rename or drop it",
                    staging.name,
                    self.database.name()
                )));
            }
            (false, false) => {}
        }
        State::write(self.database, name, &identity, Phase::Loading).await?;
        self.create_staging(&staging, state.is_some()).await?;
        self.insert(&staging).await?;
        self.check(&staging).await?;
        State::write(self.database, name, &identity, Phase::Complete).await?;
        self.publish(&staging).await?;
        Ok(true)
    }

    /// SHA-256 of everything that the result depends on: the file, its dialect, the types of its fields, indexes and options.
    fn identity(&self) -> String {
        let Entry {
            indexes, options, ..
        } = self.entry;
        let all = format!(
            "{} {:?} {} {indexes:?} {options:?}",
            self.report.sha256,
            self.report.dialect,
            self.types.describe()
        );
        format!("{:x}", Sha256::digest(all))
    }

    /// The collection as it is until it is complete.
    fn collection(&self) -> Collection {
        Collection {
            name: staging_name(&self.entry.name),
            kind: Kind::Collection,
            options: self.entry.options.clone(),
            uuid: None,
            indexes: self.entry.indexes.clone().unwrap_or_default(),
        }
    }

    async fn exists(&self, name: &str) -> Result<bool, Error> {
        let found = collections::find(self.database, name).await;
        let found = found.map_err(ActionError::of("listing the collections"))?;
        Ok(found.is_some())
    }

    /// Creates the collection. The server may still have completed the creation of an import that was killed, after it was looked for.
    async fn create_staging(&self, staging: &Collection, is_again: bool) -> Result<(), Error> {
        let create = || write::create(self.database, staging, staging.options.clone());
        match create().await {
            Err(ActionError {
                error: DatabaseError::Refused(NAMESPACE_EXISTS),
                ..
            }) if is_again => {
                self.drop_staging(&staging.name).await?;
                Ok(create().await?)
            }
            created => Ok(created?),
        }
    }

    async fn drop_staging(&self, name: &str) -> Result<(), Error> {
        let dropped = self.database.run_command(doc! { "drop": name }).await;
        dropped.map_err(ActionError::of(format!("dropping {name}")))?;
        Ok(())
    }

    async fn insert(&self, staging: &Collection) -> Result<(), Error> {
        let (out, mut batches) = mpsc::channel(1);
        let (file, types, stop) = (
            self.entry.file.clone(),
            self.types.clone(),
            self.stop.clone(),
        );
        let dialect = self.report.dialect;
        let reading = tokio::task::spawn_blocking(move || {
            let mut converter = Converter::new(Some(dialect), &types);
            let mut batch = Batch::default();
            let gone = || std::io::Error::other("inserting has stopped");
            let sha256 = check::read(&file, &stop, |text, _| {
                let document = converter.convert(text)?;
                if !batch.fits(&document) {
                    out.blocking_send(std::mem::take(&mut batch))
                        .map_err(|_gone| gone())?;
                }
                batch.add(&document);
                if batch.is_full() {
                    out.blocking_send(std::mem::take(&mut batch))
                        .map_err(|_gone| gone())?;
                }
                Ok(())
            })?;
            if batch.count() > 0 {
                // The receiver's own error is reported.
                drop(out.blocking_send(batch));
            }
            Ok::<_, Error>(sha256)
        });
        // The collection's new name is written last.
        let mut inserts = Inserts::before_a_write_that_waits();
        while let Some(batch) = batches.recv().await {
            let others = if batch.is_large() {
                0
            } else {
                CONCURRENT_INSERTS - 1
            };
            self.progress.add(inserts.wait_until_at_most(others).await?);
            let large = batch.is_large();
            inserts.begin(self.database, staging, batch);
            if large {
                self.progress.add(inserts.wait_until_at_most(0).await?);
            }
        }
        self.progress.add(inserts.wait_until_at_most(0).await?);
        let sha256 = reading
            .await
            .map_err(|_panic| Error::File("reading the file was interrupted".into()))??;
        if sha256 != self.report.sha256 {
            return Err(Error::Input(format!(
                "{} was changed while it was imported",
                self.entry.file.display()
            )));
        }
        Ok(())
    }

    /// Counts the documents, and builds and compares the indexes; those that let documents expire come last.
    async fn check(&self, staging: &Collection) -> Result<(), Error> {
        let name = &self.entry.name;
        let pipeline = [doc! { "$count": "count" }];
        let counted = self
            .database
            .collection::<Document>(&staging.name)
            .aggregate(pipeline)
            .await;
        let action = || ActionError::of(format!("counting {name}"));
        let mut counted = counted.map_err(action())?;
        let has = counted.advance().await.map_err(action())?;
        let count = if has {
            let document = counted.deserialize_current().map_err(action())?;
            field::count(&document, "count").unwrap_or_default()
        } else {
            0
        };
        if count != self.report.documents {
            return Err(Error::Different(format!(
                "{name} has {count} documents after the import, and the file has {}",
                self.report.documents
            )));
        }
        let all = std::slice::from_ref(staging);
        let mut failed = write::build_indexes(self.database, all, false).await;
        failed.extend(write::build_indexes(self.database, all, true).await);
        if let Some(failed) = failed.into_iter().next() {
            return Err(failed.into());
        }
        let indexes = collections::indexes(self.database, &staging.name).await;
        let indexes = indexes.map_err(ActionError::of(format!("reading the indexes of {name}")))?;
        let of_id = |index: &Document| index.get_str("name").ok() == Some("_id_");
        let have = Collection {
            indexes: indexes.into_iter().filter(|index| !of_id(index)).collect(),
            ..staging.clone()
        };
        let differences =
            structure::differences(name, &Structure::from(staging), &Structure::from(&have));
        match differences.as_slice() {
            [] => Ok(()),
            some => Err(Error::Different(some.join("; "))),
        }
    }

    /// Gives the collection its name.
    async fn publish(&self, staging: &Collection) -> Result<(), Error> {
        let namespace = |name: &str| format!("{}.{name}", self.database.name());
        let rename = doc! { "renameCollection": namespace(&staging.name), "to": namespace(&self.entry.name), "dropTarget": false };
        let renamed = self
            .database
            .client()
            .database("admin")
            .run_command(rename)
            .await;
        renamed
            .map(drop)
            .map_err(|error: silo_mongo::mongodb::error::Error| {
                ActionError {
                    action: format!("renaming {} to {}", staging.name, self.entry.name),
                    error: DatabaseError::from(&error),
                }
                .into()
            })
    }
}
