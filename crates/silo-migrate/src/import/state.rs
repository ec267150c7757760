//! State of the import of each collection, in the database `silo` of the target, so that an import that was stopped goes on.

use silo_mongo::error::ActionError;
use silo_mongo::field;
use silo_mongo::mongodb::bson::{Document, doc};
use silo_mongo::mongodb::{Collection, Database};

use crate::error::Error;

/// Database of Silo's own data.
const SILO: &str = "silo";
/// Collection of the states.
const COLLECTION: &str = "imports";

/// Phase of an import.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// Documents are being inserted.
    Loading,
    /// All documents and indexes are there.
    Complete,
}

/// State of the import of a collection.
pub(super) struct State {
    /// SHA-256 of the file and of everything else that the result depends on.
    pub(super) sha256: String,
    pub(super) phase: Phase,
}

impl State {
    /// Reads the state; `None` if there was no import of this collection.
    pub(super) async fn read(database: &Database, name: &str) -> Result<Option<Self>, Error> {
        let found = states(database)
            .find_one(doc! { "_id": id(database, name) })
            .await;
        let found = found.map_err(ActionError::of("reading the state of the import"))?;
        Ok(found.and_then(|state| {
            Some(Self {
                sha256: field::text(&state, "sha256")?.to_owned(),
                phase: match field::text(&state, "phase")? {
                    "complete" => Phase::Complete,
                    _ => Phase::Loading,
                },
            })
        }))
    }

    /// Records the state.
    pub(super) async fn write(
        database: &Database,
        name: &str,
        sha256: &str,
        phase: Phase,
    ) -> Result<(), Error> {
        let phase = match phase {
            Phase::Loading => "loading",
            Phase::Complete => "complete",
        };
        let written = states(database)
            .update_one(
                doc! { "_id": id(database, name) },
                doc! { "$set": { "sha256": sha256, "phase": phase }, "$currentDate": { "at": true } },
            )
            .upsert(true)
            .await;
        written
            .map(drop)
            .map_err(|error| ActionError::of("recording the state of the import")(error).into())
    }
}

/// `true` if an import has completed the collection.
pub(crate) async fn is_complete(database: &Database, name: &str) -> Result<bool, Error> {
    let state = State::read(database, name).await?;
    Ok(state.is_some_and(|state| state.phase == Phase::Complete))
}

fn states(database: &Database) -> Collection<Document> {
    database.client().database(SILO).collection(COLLECTION)
}

fn id(database: &Database, name: &str) -> String {
    format!("{}.{name}", database.name())
}
