//! State of a copy, in the database `silo` of the target.

use silo_mongo::error::ActionError;
use silo_mongo::mongodb::Database;
use silo_mongo::mongodb::bson::{Bson, Document, Timestamp, doc};

use super::of_silo;
use crate::error::Error;

/// Collection of the states.
const COLLECTION: &str = "copies";

/// State of the whole copy.
pub(super) struct CopyState {
    /// Cluster time of the source before anything was copied.
    pub(super) started: Timestamp,
    /// Place at which the change stream goes on; `None` before the first change was applied.
    pub(super) resume: Option<Bson>,
}

impl CopyState {
    /// Reads the state; `None` if there was no copy.
    pub(super) async fn read(target: &Database) -> Result<Option<Self>, Error> {
        let found = find(target, target.name().to_owned()).await?;
        Ok(found.and_then(|state| {
            Some(Self {
                started: state.get_timestamp("started").ok()?,
                resume: state.get("resume").cloned(),
            })
        }))
    }

    /// Records the begin of a copy.
    pub(super) async fn begin(target: &Database, started: Timestamp) -> Result<(), Error> {
        update(
            target,
            target.name().to_owned(),
            doc! { "started": started },
        )
        .await
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
}

impl CollectionState {
    /// Reads the state; `None` if the collection is not of this copy.
    pub(super) async fn read(target: &Database, name: &str) -> Result<Option<Self>, Error> {
        let found = find(target, id(target, name)).await?;
        Ok(found.map(|state| Self {
            phase: match state.get_str("phase") {
                Ok("complete") => Phase::Complete,
                _ => Phase::Copying,
            },
            last: state.get("last").cloned(),
        }))
    }

    /// Records the state.
    pub(super) async fn write(&self, target: &Database, name: &str) -> Result<(), Error> {
        let phase = match self.phase {
            Phase::Copying => "copying",
            Phase::Complete => "complete",
        };
        let mut set = doc! { "phase": phase };
        if let Some(last) = &self.last {
            set.insert("last", last.clone());
        }
        update(target, id(target, name), set).await
    }
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
