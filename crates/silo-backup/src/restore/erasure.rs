//! Accounts that were deleted after a backup was made, and must not come back with a restore.
//!
//! AC writes a tombstone for each (`account-tombstones`: the SHA-256 of the sub as `_id`, `completedAt`). For those newer than the backup, the
//! documents of the account are removed from the restored database.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::TryStreamExt;
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use silo_mongo::catalogue::Catalogue;
use silo_mongo::collections::{self, Kind};
use silo_mongo::field;
use silo_mongo::mongodb::Database;
use silo_mongo::mongodb::bson::{Document, doc};

use crate::error::Error;
use crate::repository::manifest::sha256;

/// Difference that is assumed between the clocks of this machine and of AC's services.
const MARGIN: SignedDuration = SignedDuration::from_hours(1);
/// AC's collection of tombstones.
const TOMBSTONES: &str = "account-tombstones";

/// Accounts deleted since the backup, and their documents in the restored database.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Erasures {
    /// Number of tombstones newer than the backup.
    pub tombstones: usize,
    /// Number of deleted accounts with documents in the restored database.
    pub accounts: usize,
    /// Documents of theirs by collection: those found, or those removed.
    pub documents: BTreeMap<String, u64>,
    /// Collections whose owner field is unknown, so that they were not searched.
    pub not_checked: Vec<String>,
    /// `true` if the documents were removed.
    pub applied: bool,
}

/// Finds accounts deleted after `since`, by the tombstones in `live`, and their documents in `restored`. If asked to, removes these documents and
/// copies the tombstones.
///
/// # Errors
/// The error of the database.
pub async fn erase(
    live: &Database,
    restored: &Database,
    since: Timestamp,
    catalogue: &Catalogue,
    apply: bool,
) -> Result<Erasures, Error> {
    let tombstones = newer(live, since - MARGIN).await?;
    let mut erasures = Erasures {
        tombstones: tombstones.len(),
        applied: apply,
        ..Erasures::default()
    };
    let hashes: BTreeSet<&str> = tombstones
        .iter()
        .filter_map(|tombstone| field::text(tombstone, "_id"))
        .collect();
    let mut accounts = BTreeSet::new();
    for collection in collections::list(restored)
        .await
        .map_err(Error::database("listing the restored database"))?
    {
        if collection.kind != Kind::Collection || collection.name == TOMBSTONES {
            continue;
        }
        let name = &collection.name;
        let Some(owner) = catalogue.get(name).and_then(|entry| entry.owner.clone()) else {
            erasures.not_checked.push(name.clone());
            continue;
        };
        for sub in owners(restored, name, &owner).await? {
            if !hashes.contains(sha256(sub.as_bytes()).as_str()) {
                continue;
            }
            let theirs = doc! { &owner: &sub };
            let documents = restored.collection::<Document>(name);
            let count = if apply {
                documents
                    .delete_many(theirs)
                    .await
                    .map(|deleted| deleted.deleted_count)
            } else {
                documents.count_documents(theirs).await
            };
            *erasures.documents.entry(name.clone()).or_default() +=
                count.map_err(|error| Error::database(format!("erasing from {name}"))(&error))?;
            accounts.insert(sub);
        }
    }
    erasures.accounts = accounts.len();
    if apply {
        for tombstone in &tombstones {
            let id = tombstone.get("_id").cloned().unwrap_or_default();
            let kept = restored
                .collection::<Document>(TOMBSTONES)
                .replace_one(doc! { "_id": id }, tombstone)
                .upsert(true)
                .await;
            kept.map_err(|error| Error::database("bringing tombstones along")(&error))?;
        }
    }
    Ok(erasures)
}

async fn newer(live: &Database, since: Timestamp) -> Result<Vec<Document>, Error> {
    let action = "reading the tombstones of deleted accounts";
    let names = live
        .list_collection_names()
        .await
        .map_err(|error| Error::database(action)(&error))?;
    // An empty result would claim that no account was deleted.
    if !names.iter().any(|name| name == TOMBSTONES) {
        return Err(Error::NotFound(format!(
            "the database {} has no collection {TOMBSTONES}: it is not the live database, or AC has not deleted any account yet",
            live.name()
        )));
    }
    let found = live
        .collection::<Document>(TOMBSTONES)
        .find(doc! {})
        .await
        .map_err(|error| Error::database(action)(&error))?;
    let all: Vec<Document> = found
        .try_collect()
        .await
        .map_err(|error| Error::database(action)(&error))?;
    // A tombstone without a time counts as newer.
    Ok(all
        .into_iter()
        .filter(|tombstone| field::time(tombstone, "completedAt").is_none_or(|at| at >= since))
        .collect())
}

/// Owners of documents in a collection.
async fn owners(database: &Database, name: &str, owner: &str) -> Result<BTreeSet<String>, Error> {
    let action = format!("reading whose documents {name} has");
    let error = |error| Error::database(action.clone())(&error);
    let projection = doc! { owner: 1 };
    let mut documents = database
        .collection::<Document>(name)
        .find(doc! {})
        .projection(projection)
        .await
        .map_err(error)?;
    let mut owners = BTreeSet::new();
    while let Some(document) = documents.try_next().await.map_err(error)? {
        match field::at(&document, owner) {
            Some(silo_mongo::mongodb::bson::Bson::String(sub)) => drop(owners.insert(sub.clone())),
            Some(silo_mongo::mongodb::bson::Bson::Array(subs)) => owners.extend(
                subs.iter()
                    .filter_map(|sub| sub.as_str())
                    .map(str::to_owned),
            ),
            _ => {}
        }
    }
    Ok(owners)
}
