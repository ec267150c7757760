//! Swap of a restored database with the live one, which is kept under another name; and the way back.
//!
//! A server renames collections, not databases, and it copies a collection that moves to another database. So each live collection is moved aside, and
//! the restored one into its place, which needs disk for one more copy of both. Every step is recorded in the database `silo` first, so that an
//! interrupted swap can be resumed or undone. A collection that a writer creates meanwhile is moved aside, too.

use jiff::Timestamp;
use serde::Serialize;
use silo_mongo::collections::Kind;
use silo_mongo::field;
use silo_mongo::mongodb::bson::{DateTime, Document, doc};
use silo_mongo::mongodb::{Client, Collection};

mod moves;

use moves::{free_disk, movable, move_all};

use crate::error::Error;
use crate::run::lease::SILO;
use silo_cli::progress::Reporter;

/// Collection of swaps, in the database `silo`.
const COLLECTION: &str = "swaps";

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
    /// Number of moved collections.
    pub moved: usize,
}

/// Puts `restored` in the place of `database`. Running it again resumes an interrupted swap.
///
/// # Errors
/// [`Error::Refused`] when `restored` is empty or another swap is open; otherwise the error of the server.
pub async fn swap(
    client: &Client,
    database: &str,
    restored: &str,
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
            free_disk(client, &[database, restored]).await?;
            log::info!(database, restored, aside = used.len(), moved = new.len(); "a swap begins");
            let kept = format!(
                "{database}_before_{}",
                Timestamp::now().strftime("%Y%m%dT%H%M%SZ")
            );
            let entry = doc! { "_id": database, "restored": restored, "kept": &kept, "state": "swapping", "at": DateTime::now() };
            let written = swaps
                .replace_one(doc! { "_id": database }, entry)
                .upsert(true)
                .await;
            written.map_err(|error| Error::database("writing down the swap")(&error))?;
            Swap {
                database: database.into(),
                restored: restored.into(),
                kept,
                moved: 0,
            }
        }
    };
    // When resuming: restored collections already in place must not be moved aside again.
    let aside = moved(&swaps, database, "aside").await?;
    if !aside {
        move_all(client, &swap.database, &swap.kept, &swap.kept, report).await?;
        mark(&swaps, database, doc! { "aside": true }).await?;
    }
    let moved = move_all(client, &swap.restored, &swap.database, &swap.kept, report).await?;
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
            move_all(
                client,
                &swap.database,
                &swap.restored,
                &swap.restored,
                report,
            )
            .await?;
        }
        mark(&swaps, database, doc! { "back": true }).await?;
    }
    let moved = move_all(client, &swap.kept, &swap.database, &swap.restored, report).await?;
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

fn read(entry: &Document) -> Swap {
    let text = |name| field::text(entry, name).unwrap_or_default().to_owned();
    Swap {
        database: text("_id"),
        restored: text("restored"),
        kept: text("kept"),
        moved: 0,
    }
}
