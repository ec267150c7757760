//! Putting a backup into an empty database, and proving that it is there.
//!
//! Everything is verified before the first write. Documents come first, and are compared while indexes are built, except those that let
//! documents expire: those come last, so that none is gone before it was compared; then views.

mod compare;
mod created;
pub mod erasure;
mod load;
pub mod swap;

use silo_core::secret::Secret;
use silo_mongo::collections::{self, Collection, Kind};
use silo_mongo::error::DatabaseError;
use silo_mongo::mongodb::bson::{Document, doc};
use silo_mongo::mongodb::{Client, Database};
use tokio_util::sync::CancellationToken;

pub use compare::compare_all;
use compare::{compare, differences};
use created::CreatedCollections;
use load::load;

use crate::engine::addresses;
use crate::error::Error;
use crate::progress::Reporter;
use crate::repository::Repository;
use crate::repository::manifest::{Manifest, sha256};
use crate::run::lease::SILO;

/// Databases that are the server's or Silo's own.
const RESERVED: [&str; 4] = ["admin", "local", "config", SILO];

/// A server that is written to.
#[derive(Clone)]
pub struct Target {
    /// The server.
    pub client: Client,
    /// The database.
    pub database: Database,
}

/// Refuses a target that could be what the backup came from, is reserved, or holds anything.
///
/// # Errors
/// [`Error::Refused`], with what to do instead.
pub async fn guard(
    manifest: &Manifest,
    source: Option<(&Secret, &str)>,
    target: &Target,
    to: &Secret,
) -> Result<(), Error> {
    let name = target.database.name();
    let refuse = |why: String| Err(Error::Refused(why));
    if RESERVED.contains(&name) {
        return refuse(format!(
            "{name} is not a database to restore to; choose a new name"
        ));
    }
    let here = addresses(to).await?;
    let from_manifest = manifest.source.database == name
        && manifest.source.addresses == sha256(here.join(",").as_bytes());
    let from_settings = match source {
        Some((uri, database)) if database == name => addresses(uri)
            .await?
            .iter()
            .any(|address| here.contains(address)),
        _ => false,
    };
    if from_manifest || from_settings {
        return refuse(format!(
            "{name} on this server is where the backup comes from; restore to a new name, and `swap` then"
        ));
    }
    // Whatever the addresses are called: no database of the source's name on a server of the source's replica set.
    if manifest.source.database == name {
        let hello = target
            .client
            .database("admin")
            .run_command(doc! { "hello": 1 })
            .await;
        let hello = hello.map_err(|error| Error::database("reaching the target")(&error))?;
        let set = hello.get_str("setName").ok();
        if set.is_some() && set == manifest.source.replica_set.as_deref() {
            return refuse(format!(
                "the target is of replica set {}, which the backup comes from, and {name} is its database; restore to a new name",
                set.unwrap_or_default()
            ));
        }
    }
    if !is_empty(&target.database).await? {
        return refuse(format!(
            "{name} is not empty; restore to a name that does not exist"
        ));
    }
    Ok(())
}

/// `true` if a database is empty.
///
/// # Errors
/// The error of the command.
pub async fn is_empty(database: &Database) -> Result<bool, Error> {
    collections::is_empty(database)
        .await
        .map_err(Error::database("looking whether the target is empty"))
}

/// Restores a verified archive into an empty database. After an error or a stop, everything it created is dropped.
///
/// # Errors
/// The error that prevented the restore.
pub async fn restore(
    repository: &Repository,
    manifest: &Manifest,
    target: &Target,
    identity: Option<&Secret>,
    report: &Reporter,
    stop: &CancellationToken,
) -> Result<(), Error> {
    let mut created = CreatedCollections::default();
    let restored = tokio::select! {
        biased;
        () = stop.cancelled() => Err(Error::Interrupted),
        restored = restore_into(repository, manifest, target, identity, report, &mut created) => restored,
    };
    if restored.is_err() {
        report.begin("cleaning", None, "documents");
        // An insert that arrives after its collection was dropped would recreate it.
        created.inserts.finish().await;
        // Only collections that this restore created.
        for name in created.names.iter().rev() {
            if let Err(error) = target.database.run_command(doc! { "drop": name }).await {
                log::warn!(collection = name.as_str(), code = DatabaseError::from(&error).code(); "a collection that was half restored stays behind");
            }
        }
    }
    restored
}

async fn restore_into(
    repository: &Repository,
    manifest: &Manifest,
    target: &Target,
    identity: Option<&Secret>,
    report: &Reporter,
    created: &mut CreatedCollections,
) -> Result<(), Error> {
    let database = &target.database;
    let collections = load(repository, manifest, database, identity, report, created).await?;
    // The one keeps us busy, the other the server.
    tokio::try_join!(
        compare(manifest, database, report),
        index(database, &collections, false)
    )?;
    report.begin("indexing", None, "documents");
    index(database, &collections, true).await?;
    create_views(database, &collections, created).await?;
    let wrong = differences(manifest, database).await?;
    if wrong.is_empty() {
        Ok(())
    } else {
        Err(Error::Corrupt(format!(
            "restored, and not the same: {}",
            wrong.join("; ")
        )))
    }
}

/// Builds those indexes that let documents expire, or those that do not.
async fn index(
    database: &Database,
    collections: &[Collection],
    expiring: bool,
) -> Result<(), Error> {
    for collection in collections {
        let wanted = |index: &&Document| {
            let own = index.get_str("name").ok() == Some("_id_") || index.contains_key("clustered");
            !own && index.contains_key("expireAfterSeconds") == expiring
        };
        let indexes: Vec<Document> = collection.indexes.iter().filter(wanted).cloned().collect();
        if indexes.is_empty() {
            continue;
        }
        let built = database
            .run_command(doc! { "createIndexes": &collection.name, "indexes": indexes })
            .await;
        built.map_err(|error| {
            Error::database(format!("building the indexes of {}", collection.name))(&error)
        })?;
    }
    Ok(())
}

async fn create_views(
    database: &Database,
    collections: &[Collection],
    created: &mut CreatedCollections,
) -> Result<(), Error> {
    for view in collections
        .iter()
        .filter(|collection| collection.kind == Kind::View)
    {
        created.create(database, view).await?;
    }
    Ok(())
}
