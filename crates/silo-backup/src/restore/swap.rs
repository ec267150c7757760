//! Swap of a restored database with the live one, which is kept under another name; and the way back.
//!
//! A server renames collections, not databases, and it copies a collection that moves to another database. So each live collection is moved aside, and
//! the restored one into its place, which needs disk for one more copy of both. Every step is recorded in the database `silo` first, so that an
//! interrupted swap can be resumed or undone. A collection that a writer creates meanwhile is moved aside, too.

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde::Serialize;
use silo_mongo::collections::{self, Kind};
use silo_mongo::field;
use silo_mongo::mongodb::bson::{DateTime, Document, doc};
use silo_mongo::mongodb::{Client, Collection};

mod moves;

use moves::{free_disk, movable, move_all};

use super::Selection;
use crate::error::Error;
use crate::run::lease::SILO;
use silo_cli::progress::Reporter;

/// Collection of swaps, in the database `silo`.
const COLLECTION: &str = "swaps";

/// Names of collections in an error.
const NAMED: usize = 5;

/// A swap.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Swap {
    /// The database that is used.
    pub database: String,
    /// Name of the restored database.
    pub restored: String,
    /// Name under which the previous contents are kept.
    pub kept: String,
    /// Names of the collections that are swapped; empty for all.
    pub only: Vec<String>,
    /// Number of moved collections.
    pub moved: usize,
}

/// What is swapped.
#[derive(Clone, Debug, Default)]
pub struct Scope {
    /// These collections; without names, all.
    pub only: Selection,
    /// `true` to swap all although the restored database lacks collections of the live one.
    pub incomplete: bool,
}

/// Puts `restored` in the place of `database`, or collections of it in their place. Running it again resumes an interrupted swap.
///
/// # Errors
/// [`Error::Refused`] when `restored` is empty or lacks collections, or another swap is open; otherwise the error of the server.
pub async fn swap(
    client: &Client,
    database: &str,
    restored: &str,
    scope: &Scope,
    report: &Reporter,
) -> Result<Swap, Error> {
    if [database, restored]
        .iter()
        .any(|name| ["admin", "local", "config", SILO].contains(name))
        || database == restored
    {
        return Err(Error::Refused(
            "a swap needs two databases, neither of them the server's or Silo's own".into(),
        ));
    }
    let swaps = client.database(SILO).collection::<Document>(COLLECTION);
    let open = open(&swaps, database).await?;
    let swap = match open {
        Some(open)
            if open.get_str("state").ok() == Some("swapping")
                && open.get_str("restored").ok() == Some(restored) =>
        {
            read(&open)
        }
        Some(open) if open.get_str("state").ok() != Some("done") => {
            return Err(Error::Refused(format!(
                "a swap of {database} was interrupted; resume it with the same names, or undo it with `unswap`"
            )));
        }
        _ => {
            let (used, new) = (
                movable(client, database).await?,
                movable(client, restored).await?,
            );
            if !new.iter().any(|new| new.kind == Kind::Collection) {
                return Err(Error::Refused(format!(
                    "there is nothing in {restored} to go live with"
                )));
            }
            let names = |found: &[collections::Collection]| {
                let names = found.iter().map(|found| found.name.clone());
                names.collect::<BTreeSet<_>>()
            };
            let (used_names, new_names) = (names(&used), names(&new));
            let only: BTreeSet<String> = scope.only.0.iter().cloned().collect();
            if let Some(unknown) = only.difference(&new_names).next() {
                return Err(Error::Refused(format!("{restored} has no {unknown}")));
            }
            let missing: Vec<&String> = used_names.difference(&new_names).collect();
            if only.is_empty() && !missing.is_empty() && !scope.incomplete {
                return Err(Error::Refused(lacking(database, restored, &missing)));
            }
            free_disk(client, &[database, restored]).await?;
            log::info!(database, restored, aside = used.len(), moved = new.len(); "a swap begins");
            let kept = format!(
                "{database}_before_{}",
                Timestamp::now().strftime("%Y%m%dT%H%M%SZ")
            );
            let entry = doc! { "_id": database, "restored": restored, "kept": &kept, "only": &scope.only.0, "state": "swapping", "at": DateTime::now() };
            let written = swaps
                .replace_one(doc! { "_id": database }, entry)
                .upsert(true)
                .await;
            written.map_err(|error| Error::database("writing down the swap")(&error))?;
            Swap {
                database: database.into(),
                restored: restored.into(),
                kept,
                only: scope.only.0.clone(),
                moved: 0,
            }
        }
    };
    let only = Selection(swap.only.clone());
    // When resuming: restored collections already in place must not be moved aside again.
    let aside = moved(&swaps, database, "aside").await?;
    if !aside {
        let (live, kept) = (&swap.database, &swap.kept);
        move_all(client, live, kept, kept, &only, report).await?;
        mark(&swaps, database, doc! { "aside": true }).await?;
    }
    let (restored, live) = (&swap.restored, &swap.database);
    let moved = move_all(client, restored, live, &swap.kept, &only, report).await?;
    mark(&swaps, database, doc! { "state": "done" }).await?;
    Ok(Swap { moved, ..swap })
}

/// Undoes the last swap; the restored collections return to their own database. Running it again resumes an interrupted one.
///
/// # Errors
/// [`Error::Refused`] when there is no swap; otherwise the error of the server.
pub async fn unswap(client: &Client, database: &str, report: &Reporter) -> Result<Swap, Error> {
    let swaps = client.database(SILO).collection::<Document>(COLLECTION);
    let Some(entry) = open(&swaps, database).await? else {
        return Err(Error::Refused(format!("{database} was never swapped")));
    };
    let swap = read(&entry);
    // From here on there is only the way back.
    mark(&swaps, database, doc! { "state": "unswapping" }).await?;
    if !moved(&swaps, database, "back").await? {
        if moved(&swaps, database, "aside").await? {
            let (live, restored) = (&swap.database, &swap.restored);
            let only = Selection(swap.only.clone());
            move_all(client, live, restored, restored, &only, report).await?;
        }
        mark(&swaps, database, doc! { "back": true }).await?;
    }
    let (kept, live) = (&swap.kept, &swap.database);
    let all = Selection::default();
    let moved = move_all(client, kept, live, &swap.restored, &all, report).await?;
    let gone = swaps.delete_one(doc! { "_id": database }).await;
    gone.map_err(|error| Error::database("writing down that it was undone")(&error))?;
    Ok(Swap { moved, ..swap })
}

async fn open(swaps: &Collection<Document>, database: &str) -> Result<Option<Document>, Error> {
    let found = swaps.find_one(doc! { "_id": database }).await;
    found.map_err(|error| Error::database("reading the last swap")(&error))
}

async fn moved(swaps: &Collection<Document>, database: &str, what: &str) -> Result<bool, Error> {
    Ok(open(swaps, database)
        .await?
        .is_some_and(|entry| field::flag(&entry, what) == Some(true)))
}

async fn mark(swaps: &Collection<Document>, database: &str, what: Document) -> Result<(), Error> {
    let marked = swaps
        .update_one(doc! { "_id": database }, doc! { "$set": what })
        .await;
    marked
        .map(drop)
        .map_err(|error| Error::database("writing down the swap")(&error))
}

/// Refusal of a swap after which collections would be missing.
fn lacking(database: &str, restored: &str, missing: &[&String]) -> String {
    let names = missing.iter().take(NAMED).map(|name| name.as_str());
    let names = names.collect::<Vec<_>>().join(", ");
    let more = missing.len().saturating_sub(NAMED);
    let more = if more > 0 {
        format!(" and {more} more")
    } else {
        String::new()
    };
    format!(
        "{restored} lacks collections of {database}, which would be missing there: {names}{more}. `--only COLLECTION` swaps single collections; `--incomplete` swaps all the same. Nothing was moved"
    )
}

fn read(entry: &Document) -> Swap {
    let text = |name| field::text(entry, name).unwrap_or_default().to_owned();
    let only = entry.get_array("only").ok().into_iter().flatten();
    Swap {
        database: text("_id"),
        restored: text("restored"),
        kept: text("kept"),
        only: only
            .filter_map(|name| name.as_str().map(str::to_owned))
            .collect(),
        moved: 0,
    }
}
