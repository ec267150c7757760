//! Copy of one collection: creation, documents, indexes.

use silo_cli::progress::Reporter;
use silo_mongo::collections::{Collection, Kind};
use silo_mongo::error::ActionError;
use silo_mongo::field;
use silo_mongo::mongodb::Database;
use silo_mongo::mongodb::bson::doc;
use silo_mongo::write;
use tokio_util::sync::CancellationToken;

use super::documents::Documents;
use super::state::{CollectionState, CopyState, Phase, created_as};
use super::throttle::Throttle;
use super::{Copied, Request};
use crate::error::Error;
use crate::import;

/// Option that lets documents expire: of clustered and time-series collections. It is set when everything was copied.
const EXPIRY: &str = "expireAfterSeconds";

/// Databases of a copy, and its progress.
pub(super) struct Copier<'a> {
    pub(super) source: &'a Database,
    pub(super) target: &'a Database,
    pub(super) request: &'a Request,
    pub(super) throttle: Throttle,
    pub(super) progress: &'a Reporter,
    pub(super) stop: &'a CancellationToken,
}

impl Copier<'_> {
    /// Copies a collection or a view.
    pub(super) async fn copy(&self, collection: &Collection) -> Result<Copied, Error> {
        let name = &collection.name;
        let state = known(self.target, name).await?;
        let before = state
            .as_ref()
            .is_some_and(|state| state.phase == Phase::Complete);
        let documents = match (before, collection.kind) {
            (true, Kind::View) => 0,
            (true, _) => {
                if !self.request.follow {
                    // Unique indexes that a copy with `follow` has left for later.
                    finish(self.target, collection, false).await?;
                }
                0
            }
            (false, _) => self.copy_from(collection, state).await?,
        };
        Ok(Copied {
            name: name.clone(),
            documents,
            before,
        })
    }

    /// Copies what is missing, and records that it is complete. Returns the number of documents.
    async fn copy_from(
        &self,
        collection: &Collection,
        state: Option<CollectionState>,
    ) -> Result<u64, Error> {
        let (target, name) = (self.target, &collection.name);
        // The order of a capped collection is that of its inserts, and a time series is read as measurements: both are copied at once or again.
        let resumable = collection.kind != Kind::TimeSeries && !collection.is_capped();
        let again = state.is_some() && resumable;
        if state.is_some() && !resumable {
            let dropped = target.run_command(doc! { "drop": name }).await;
            dropped.map_err(ActionError::of(format!(
                "dropping {name}, which was not copied completely"
            )))?;
        }
        let started = match state.filter(|_| resumable) {
            Some(state) => state,
            None => created(target, collection).await?,
        };
        let uuid = started.uuid.clone();
        let mut documents = 0;
        if collection.kind != Kind::View {
            let all = Documents {
                copier: self,
                collection,
            };
            documents = all.copy(started, resumable, again).await?;
            finish(target, collection, self.request.follow).await?;
        }
        CollectionState::complete(uuid).write(target, name).await?;
        Ok(documents)
    }
}

/// State of a collection; `None` if it is not of this copy. A collection that was imported after the copy was begun for an import is complete.
pub(super) async fn known(target: &Database, name: &str) -> Result<Option<CollectionState>, Error> {
    if let Some(state) = CollectionState::read(target, name).await? {
        return Ok(Some(state));
    }
    let for_import = CopyState::read(target)
        .await?
        .is_some_and(|state| state.for_import);
    if !for_import || !import::is_complete(target, name).await? {
        return Ok(None);
    }
    let Some(uuid) = created_as(target, name).await? else {
        return Ok(None);
    };
    let state = CollectionState::complete(uuid);
    state.write(target, name).await?;
    Ok(Some(state))
}

/// Creates a collection without its expiry, and records that it is of this copy.
pub(super) async fn created(
    target: &Database,
    collection: &Collection,
) -> Result<CollectionState, Error> {
    let name = &collection.name;
    refuse_existing(target, name).await?;
    let mut options = collection.options.clone();
    options.remove(EXPIRY);
    // Recorded before and after, so that a copy that is stopped in between knows its collection.
    CollectionState::default().write(target, name).await?;
    write::create(target, collection, options).await?;
    let state = CollectionState {
        uuid: created_as(target, name).await?.flatten(),
        ..CollectionState::default()
    };
    state.write(target, name).await?;
    Ok(state)
}

/// Builds the indexes, and sets what lets documents expire. With `follow`, unique indexes are built when all changes are applied: documents that were
/// read at different times may have the same key.
pub(super) async fn finish(
    target: &Database,
    collection: &Collection,
    follow: bool,
) -> Result<(), Error> {
    let mut now = collection.clone();
    if follow {
        now.indexes
            .retain(|index| field::flag(index, "unique") != Some(true));
    }
    let all = std::slice::from_ref(&now);
    for expiring in [false, true] {
        let failed = write::build_indexes(target, all, expiring).await;
        if let Some(failed) = failed.into_iter().next() {
            return Err(failed.into());
        }
    }
    if let Some(expiry) = collection.options.get(EXPIRY) {
        let set = target
            .run_command(doc! { "collMod": &collection.name, EXPIRY: expiry })
            .await;
        set.map_err(ActionError::of(format!(
            "setting the expiry of {}",
            collection.name
        )))?;
    }
    Ok(())
}

/// Refuses a collection that is not of this copy.
pub(super) async fn refuse_existing(target: &Database, name: &str) -> Result<(), Error> {
    if created_as(target, name).await?.is_some() {
        return Err(Error::Refused(format!(
            "{name} exists in {} of the target and is not of this copy; nothing was changed in it",
            target.name()
        )));
    }
    Ok(())
}
