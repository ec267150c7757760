//! State of a copy, in the database `silo` of the target.

use silo_mongo::collections;
use silo_mongo::error::ActionError;
use silo_mongo::mongodb::Database;
use silo_mongo::mongodb::bson::{Bson, Document, Timestamp, doc};

use super::of_silo;
use crate::error::Error;

/// Collection of the states.
const COLLECTION: &str = "copies";

/// State of the whole copy.
pub(super) struct CopyState {
    /// Replica set and database of the source.
    pub(super) source: String,
    /// Collections that are copied, as text.
    pub(super) selection: String,
    /// Cluster time of the source before anything was copied.
    pub(super) started: Timestamp,
    /// Where the change stream goes on; `None` before the first change was applied.
    pub(super) resume: Option<Bson>,
    /// `true` if it was begun before an export whose import it follows: collections that an import has completed are of this copy.
    pub(super) for_import: bool,
}

impl CopyState {
    /// Reads the state; `None` if there was no copy.
    pub(super) async fn read(target: &Database) -> Result<Option<Self>, Error> {
        let found = find(target, target.name().to_owned()).await?;
        Ok(found.and_then(|state| {
            Some(Self {
                source: state.get_str("source").ok()?.to_owned(),
                selection: state.get_str("selection").ok()?.to_owned(),
                started: state.get_timestamp("started").ok()?,
                resume: state
                    .get("resume")
                    .filter(|resume| **resume != Bson::Null)
                    .cloned(),
                for_import: state.get_bool("forImport").unwrap_or(false),
            })
        }))
    }

    /// Checks that this is the copy of the same source and the same collections.
    ///
    /// # Errors
    /// The difference.
    pub(super) fn check(&self, source: &str, selection: &str) -> Result<(), Error> {
        let differs = |what: &str, before: &str, now: &str| {
            Err(Error::Refused(format!(
                "the target has a copy of another {what} ({before}, and now {now}); nothing was changed"
            )))
        };
        if self.source != source {
            return differs("source", &self.source, source);
        }
        if self.selection != selection {
            return differs("selection of collections", &self.selection, selection);
        }
        Ok(())
    }

    /// Records the begin of a copy.
    pub(super) async fn begin(&self, target: &Database) -> Result<(), Error> {
        let set = doc! { "source": &self.source, "selection": &self.selection, "started": self.started, "resume": null, "forImport": self.for_import };
        update(target, target.name().to_owned(), set).await
    }

    /// Records where the change stream goes on.
    pub(super) async fn resume_at(target: &Database, token: Bson) -> Result<(), Error> {
        update(target, target.name().to_owned(), doc! { "resume": token }).await
    }
}

/// Phase of a collection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Phase {
    /// Documents are being copied.
    #[default]
    Copying,
    /// All documents and indexes are there.
    Complete,
}

/// State of a collection.
#[derive(Clone, Debug, Default)]
pub(super) struct CollectionState {
    pub(super) phase: Phase,
    /// The last `_id` up to which all documents are there.
    pub(super) last: Option<Bson>,
    /// UUID of the collection that was created in the target; `None` of a view, and before it was created.
    pub(super) uuid: Option<String>,
}

impl CollectionState {
    /// A collection that is complete, with the UUID of that of the target.
    pub(super) fn complete(uuid: Option<String>) -> Self {
        Self {
            phase: Phase::Complete,
            last: None,
            uuid,
        }
    }

    /// Reads the state; `None` if the collection is not of this copy, or is not there any more.
    pub(super) async fn read(target: &Database, name: &str) -> Result<Option<Self>, Error> {
        let Some(state) = find(target, id(target, name)).await? else {
            return Ok(None);
        };
        let state = Self {
            phase: match state.get_str("phase") {
                Ok("complete") => Phase::Complete,
                _ => Phase::Copying,
            },
            // `null` may be an `_id`.
            last: state
                .get("last")
                .filter(|_| state.get_bool("hasLast").unwrap_or(false))
                .cloned(),
            uuid: state.get_str("uuid").ok().map(str::to_owned),
        };
        let state = match created_as(target, name).await? {
            Some(uuid) if uuid == state.uuid => Some(state),
            // Stopped between creating the collection and recording its UUID: an empty one is the one that was created.
            Some(uuid) if state.uuid.is_none() && is_empty(target, name).await? => {
                Some(Self { uuid, ..state })
            }
            // Another collection than the one that this copy has created, or none.
            _ => None,
        };
        Ok(state)
    }

    /// Records the state.
    pub(super) async fn write(&self, target: &Database, name: &str) -> Result<(), Error> {
        let phase = match self.phase {
            Phase::Copying => "copying",
            Phase::Complete => "complete",
        };
        let set = doc! { "phase": phase, "last": self.last.clone(), "hasLast": self.last.is_some(), "uuid": self.uuid.clone() };
        update(target, id(target, name), set).await
    }
}

/// UUID of a collection of the target, which a view has not; `None` if there is none of this name.
pub(super) async fn created_as(
    target: &Database,
    name: &str,
) -> Result<Option<Option<String>>, Error> {
    let there = collections::find(target, name).await;
    let there = there.map_err(ActionError::of("listing the target"))?;
    Ok(there.map(|collection| collection.uuid))
}

async fn is_empty(target: &Database, name: &str) -> Result<bool, Error> {
    let first = target.collection::<Document>(name).find_one(doc! {}).await;
    Ok(first
        .map_err(ActionError::of(format!("reading {name} of the target")))?
        .is_none())
}

fn id(target: &Database, name: &str) -> String {
    format!("{}.{name}", target.name())
}

async fn find(target: &Database, id: String) -> Result<Option<Document>, Error> {
    let found = of_silo(target, COLLECTION)
        .find_one(doc! { "_id": id })
        .await;
    Ok(found.map_err(ActionError::of("reading the state of the copy"))?)
}

async fn update(target: &Database, id: String, set: Document) -> Result<(), Error> {
    let update = doc! { "$set": set, "$currentDate": { "at": true } };
    let written = of_silo(target, COLLECTION)
        .update_one(doc! { "_id": id }, update)
        .upsert(true)
        .await;
    written.map_err(ActionError::of("recording the state of the copy"))?;
    Ok(())
}
