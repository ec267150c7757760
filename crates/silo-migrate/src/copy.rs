//! Copy of a database over the network, at a limited rate, which goes on where it was stopped; and after it the changes of the source.
//!
//! Written collections are recorded in the database `silo` of the target. A collection that is not of this copy is never written to or dropped.

mod changes;
mod documents;
mod follow;
mod state;
mod throttle;

use std::collections::BTreeSet;
use std::num::NonZeroU32;

use serde::Serialize;
use silo_cli::progress::Reporter;
use silo_mongo::collections::{self, Collection, Kind};
use silo_mongo::error::ActionError;
use silo_mongo::field;
use silo_mongo::mongodb::Database;
use silo_mongo::mongodb::bson::{Document, Timestamp, doc};
use silo_mongo::write;
use tokio_util::sync::CancellationToken;

use crate::error::Error;

pub use follow::{Followed, follow, written_since};
use state::{CollectionState, CopyState, Phase, created_as};
use throttle::Throttle;

/// Option that lets documents expire: of clustered and time-series collections. It is set when everything was copied.
const EXPIRY: &str = "expireAfterSeconds";

/// Request for a copy.
#[derive(Clone, Debug)]
pub struct Request {
    /// Collections; empty for all.
    pub only: Vec<String>,
    /// Collections that are left out.
    pub skip: Vec<String>,
    /// Most requests per second to the source.
    pub rate: NonZeroU32,
    /// `true` if the changes are followed afterwards.
    pub follow: bool,
}

impl Request {
    /// The selection as text.
    fn describe(&self) -> String {
        format!("only {:?}, without {:?}", self.only, self.skip)
    }

    /// `true` if the collection is copied.
    #[must_use]
    pub fn includes(&self, name: &str) -> bool {
        let named = |names: &[String]| names.iter().any(|other| other == name);
        (self.only.is_empty() || named(&self.only)) && !named(&self.skip)
    }
}

/// A collection of a copy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Copied {
    /// Name.
    pub name: String,
    /// Number of documents copied now; of a collection that an earlier copy has completed, 0.
    pub documents: u64,
    /// `true` if an earlier copy has completed it.
    pub before: bool,
}

/// Copies all collections, with options, indexes and views.
///
/// # Errors
/// The first error. Repeated, the copy goes on where it was.
pub async fn copy(
    source: &Database,
    target: &Database,
    request: &Request,
    progress: &Reporter,
    stop: &CancellationToken,
) -> Result<Vec<Copied>, Error> {
    begin(source, target, request).await?;
    let collections = wanted(source, request).await?;
    progress.begin("copying", total(source, &collections).await, "documents");
    let throttle = Throttle::new(request.rate);
    let mut copied = Vec::new();
    for collection in collections.iter().filter(|it| it.kind != Kind::View) {
        progress.at(&collection.name);
        copied.push(
            one(
                source, target, collection, request, &throttle, progress, stop,
            )
            .await?,
        );
    }
    for view in collections.iter().filter(|it| it.kind == Kind::View) {
        copied.push(copy_view(target, view).await?);
    }
    Ok(copied)
}

/// Records the source, the selection and the cluster time from which changes are followed, so that none is lost that happens during the copy.
async fn begin(source: &Database, target: &Database, request: &Request) -> Result<(), Error> {
    let (name, started) = identity(source).await?;
    let selection = request.describe();
    match CopyState::read(target).await? {
        Some(state) if any_left(target).await? => state.check(&name, &selection),
        _ => {
            let state = CopyState {
                source: name,
                selection,
                started,
                resume: None,
            };
            state.begin(target).await
        }
    }
}

/// `true` if a collection of an earlier copy is there.
async fn any_left(target: &Database) -> Result<bool, Error> {
    let names = target.list_collection_names().await;
    for name in names.map_err(ActionError::of("listing the target"))? {
        if CollectionState::read(target, &name).await?.is_some() {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Plan of a copy, for a dry run.
///
/// # Errors
/// When the source cannot be listed, or the target has a collection that is not of this copy.
pub async fn plan(
    source: &Database,
    target: &Database,
    request: &Request,
) -> Result<Vec<Copied>, Error> {
    let mut planned = Vec::new();
    for collection in wanted(source, request).await? {
        let state = CollectionState::read(target, &collection.name).await?;
        if state.is_none() {
            refuse_existing(target, &collection.name).await?;
        }
        let size = collections::size(source, &collection.data_name(), 1).await;
        planned.push(Copied {
            name: collection.name,
            documents: size.map_or(0, |(documents, _)| documents),
            before: state.is_some_and(|state| state.phase == Phase::Complete),
        });
    }
    Ok(planned)
}

async fn wanted(source: &Database, request: &Request) -> Result<Vec<Collection>, Error> {
    let all = collections::list(source).await;
    let mut all = all.map_err(ActionError::of(format!("listing {}", source.name())))?;
    all.retain(|collection| request.includes(&collection.name));
    Ok(all)
}

async fn total(source: &Database, collections: &[Collection]) -> Option<u64> {
    let mut total = 0;
    for collection in collections.iter().filter(|it| it.kind != Kind::View) {
        total += collections::size(source, &collection.data_name(), 1)
            .await
            .ok()?
            .0;
    }
    Some(total)
}

/// Replica set and database of the source, and its cluster time.
async fn identity(source: &Database) -> Result<(String, Timestamp), Error> {
    let hello = source
        .client()
        .database("admin")
        .run_command(doc! { "hello": 1 })
        .await;
    let hello = hello.map_err(ActionError::of("reading the cluster time of the source"))?;
    let time = field::at(&hello, "operationTime").and_then(|time| time.as_timestamp());
    let set = field::text(&hello, "setName");
    let (Some(time), Some(set)) = (time, set) else {
        return Err(Error::Refused(
            "the source is not a replica set, so that its changes cannot be followed".into(),
        ));
    };
    // The set's hosts tell sets of the same name apart.
    let hosts = hello
        .get_array("hosts")
        .into_iter()
        .flatten()
        .filter_map(|host| host.as_str());
    let hosts: BTreeSet<&str> = hosts.collect();
    Ok((format!("{set} {hosts:?} {}", source.name()), time))
}

/// Copies a collection.
async fn one(
    source: &Database,
    target: &Database,
    collection: &Collection,
    request: &Request,
    throttle: &Throttle,
    progress: &Reporter,
    stop: &CancellationToken,
) -> Result<Copied, Error> {
    let name = &collection.name;
    let state = CollectionState::read(target, name).await?;
    if state
        .as_ref()
        .is_some_and(|state| state.phase == Phase::Complete)
    {
        if !request.follow {
            // Unique indexes that a copy with `follow` has left for later.
            finish(target, collection, false).await?;
        }
        return Ok(Copied {
            name: name.clone(),
            documents: 0,
            before: true,
        });
    }
    // The order of a capped collection is that of its inserts, and a time series is read as measurements: both are copied at once or again.
    let resumable = collection.kind == Kind::Collection && !collection.is_capped();
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
    let documents = documents::Documents {
        source,
        target,
        collection,
        throttle,
        progress,
        stop,
    };
    let documents = documents.copy(started, resumable, again).await?;
    finish(target, collection, request.follow).await?;
    CollectionState {
        phase: Phase::Complete,
        last: None,
        uuid,
    }
    .write(target, name)
    .await?;
    Ok(Copied {
        name: name.clone(),
        documents,
        before: false,
    })
}

/// Creates a collection without its expiry, and records that it is of this copy.
async fn created(target: &Database, collection: &Collection) -> Result<CollectionState, Error> {
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
async fn finish(target: &Database, collection: &Collection, follow: bool) -> Result<(), Error> {
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

async fn copy_view(target: &Database, view: &Collection) -> Result<Copied, Error> {
    let state = CollectionState::read(target, &view.name).await?;
    let before = state
        .as_ref()
        .is_some_and(|state| state.phase == Phase::Complete);
    if !before {
        if state.is_none() {
            created(target, view).await?;
        }
        CollectionState {
            phase: Phase::Complete,
            ..CollectionState::default()
        }
        .write(target, &view.name)
        .await?;
    }
    Ok(Copied {
        name: view.name.clone(),
        documents: 0,
        before,
    })
}

async fn refuse_existing(target: &Database, name: &str) -> Result<(), Error> {
    if created_as(target, name).await?.is_some() {
        return Err(Error::Refused(format!(
            "{name} exists in {} of the target and is not of this copy; nothing was changed in it",
            target.name()
        )));
    }
    Ok(())
}

/// Collection of the target's database `silo`.
fn of_silo(target: &Database, name: &str) -> silo_mongo::mongodb::Collection<Document> {
    target.client().database("silo").collection(name)
}
