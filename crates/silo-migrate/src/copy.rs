//! Copy of a database over the network, at a limited rate, which goes on where it was stopped; and after it the changes of the source.
//!
//! Written collections are recorded in the database `silo` of the target. A collection that is not of this copy is never written to or dropped.

mod apply;
mod changes;
mod collection;
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
use tokio_util::sync::CancellationToken;

use crate::error::Error;
use crate::selection::Selection;

use collection::{Copier, known, refuse_existing};
pub use follow::{Followed, follow, written_since};
use state::{CollectionState, CopyState, Phase};
use throttle::Throttle;

/// Request for a copy.
#[derive(Clone, Debug)]
pub struct Request {
    /// Collections to copy.
    pub selection: Selection,
    /// Most requests per second to the source.
    pub rate: NonZeroU32,
    /// `true` if the changes are followed afterwards.
    pub follow: bool,
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
    begin(source, target, &request.selection, false).await?;
    let collections = wanted(source, request).await?;
    progress.begin("copying", total(source, &collections).await, "documents");
    let copier = Copier {
        source,
        target,
        request,
        throttle: Throttle::new(request.rate),
        progress,
        stop,
    };
    let is_view = |collection: &&Collection| collection.kind == Kind::View;
    let views = collections.iter().filter(is_view);
    let others = collections.iter().filter(|it| !is_view(it));
    let mut copied = Vec::new();
    for collection in others.chain(views) {
        progress.at(&collection.name);
        copied.push(copier.copy(collection).await?);
    }
    Ok(copied)
}

/// Begin of a copy that follows an import.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Begun {
    /// Replica set and database of the source.
    pub source: String,
    /// Cluster time from which changes are followed.
    pub since: jiff::Timestamp,
}

/// Records the cluster time of the source before it is exported as JSON, so that a later copy takes over the imported collections and applies what has
/// changed since.
///
/// # Errors
/// When the target has a copy already.
pub async fn begin_for_import(
    source: &Database,
    target: &Database,
    selection: &Selection,
) -> Result<Begun, Error> {
    if let Some(begun) = CopyState::read(target).await?
        && (begun.for_import || any_left(target).await?)
    {
        return Err(Error::Refused(format!(
            "the target has a copy already, of {}; nothing was changed",
            begun.source
        )));
    }
    let begun = begin(source, target, selection, true).await?;
    let since = jiff::Timestamp::from_second(begun.started.time.into());
    Ok(Begun {
        source: begun.source,
        since: since.unwrap_or_default(),
    })
}

/// Records the source, the selection and the cluster time from which changes are followed, so that none is lost that happens during the copy.
async fn begin(
    source: &Database,
    target: &Database,
    selection: &Selection,
    for_import: bool,
) -> Result<CopyState, Error> {
    let (name, started) = identity(source).await?;
    let selection = selection.describe();
    if let Some(state) = CopyState::read(target).await?
        && (state.for_import || any_left(target).await?)
    {
        state.check(&name, &selection)?;
        return Ok(state);
    }
    let state = CopyState {
        source: name,
        selection,
        started,
        resume: None,
        for_import,
    };
    state.begin(target).await?;
    Ok(state)
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
        let state = known(target, &collection.name).await?;
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
    all.retain(|collection| request.selection.includes(&collection.name));
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

/// Collection of the target's database `silo`.
fn of_silo(target: &Database, name: &str) -> silo_mongo::mongodb::Collection<Document> {
    target.client().database("silo").collection(name)
}
