//! Moves of collections between databases.

use silo_mongo::collections::{self, Kind};
use silo_mongo::error::DatabaseError;
use silo_mongo::field;
use silo_mongo::mongodb::Client;
use silo_mongo::mongodb::bson::{Bson, doc};

use crate::error::Error;
use crate::restore::Selection;
use silo_cli::progress::Reporter;

/// Error code of a name that exists.
const NAMESPACE_EXISTS: i32 = 48;
/// Free disk in bytes that remains beside the copies.
const SPARE_BYTES: u64 = 512 * 1024 * 1024;

async fn list(client: &Client, database: &str) -> Result<Vec<collections::Collection>, Error> {
    let all = collections::list(&client.database(database)).await;
    all.map_err(Error::database(format!("listing {database}")))
}

/// Lists a database, if all of it can be moved.
pub(super) async fn movable(
    client: &Client,
    database: &str,
) -> Result<Vec<collections::Collection>, Error> {
    let all = list(client, database).await?;
    match all.iter().find(|found| found.kind == Kind::TimeSeries) {
        None => Ok(all),
        Some(series) => Err(Error::Refused(format!(
            "{} of {database} is a time series, which no server renames; nothing was moved",
            series.name
        ))),
    }
}

/// Refuses a swap for which the server's disk is too small. An unknown size refuses nothing.
pub(super) async fn free_disk(client: &Client, databases: &[&str]) -> Result<(), Error> {
    let (mut needed, mut free) = (SPARE_BYTES, None);
    for name in databases {
        let stats = client
            .database(name)
            .run_command(doc! { "dbStats": 1 })
            .await;
        let Ok(stats) = stats else { return Ok(()) };
        let count = |field: &str| field::count(&stats, field).unwrap_or_default();
        needed += count("storageSize") + count("indexSize");
        free = field::count(&stats, "fsTotalSize")
            .map(|total| total.saturating_sub(count("fsUsedSize")));
    }
    match free {
        Some(free) if free < needed => Err(Error::Refused(format!(
            "a swap copies both databases: the server has {} MiB of free disk, and {} MiB are needed; nothing was moved",
            free / 1024 / 1024,
            needed.div_ceil(1024 * 1024)
        ))),
        _ => Ok(()),
    }
}

/// Moves the selected collections of one database into another; views are created again. A collection that exists in the target was created by a writer that was
/// not stopped: it is moved to `conflicts`, under its name and a suffix.
pub(super) async fn move_all(
    client: &Client,
    from: &str,
    to: &str,
    conflicts: &str,
    selection: &Selection,
    report: &Reporter,
) -> Result<usize, Error> {
    let mut all = movable(client, from).await?;
    all.retain(|collection| selection.includes(&collection.name));
    let existing = list(client, to).await?;
    report.begin(
        "moving",
        Some(u64::try_from(all.len()).unwrap_or_default()),
        "collections",
    );
    let mut moved = 0;
    for collection in all {
        let name = &collection.name;
        report.at(name);
        let error = |error| Error::database(format!("moving {name} from {from} to {to}"))(&error);
        match collection.kind {
            Kind::Collection | Kind::TimeSeries => {
                let attempt = rename(client, (from, name), (to, name)).await;
                if exists(&attempt) {
                    move_conflict(client, to, name, conflicts).await?;
                    rename(client, (from, name), (to, name))
                        .await
                        .map_err(error)?;
                } else {
                    attempt.map_err(error)?;
                }
            }
            Kind::View => {
                let same = |existing: &&collections::Collection| {
                    existing.name == *name && existing.options == collection.options
                };
                if !existing.iter().any(|existing| same(&existing)) {
                    let mut create = doc! { "create": name };
                    create.extend(collection.options.clone());
                    client
                        .database(to)
                        .run_command(create)
                        .await
                        .map_err(error)?;
                }
                client
                    .database(from)
                    .run_command(doc! { "drop": Bson::String(name.clone()) })
                    .await
                    .map_err(error)?;
            }
        }
        moved += 1;
        report.add(1);
    }
    Ok(moved)
}

async fn rename(
    client: &Client,
    (from, name): (&str, &str),
    (to, new_name): (&str, &str),
) -> silo_mongo::mongodb::error::Result<()> {
    let rename = doc! { "renameCollection": format!("{from}.{name}"), "to": format!("{to}.{new_name}"), "dropTarget": false };
    client.database("admin").run_command(rename).await.map(drop)
}

fn exists(attempt: &silo_mongo::mongodb::error::Result<()>) -> bool {
    let error = attempt.as_ref().err().map(DatabaseError::from);
    error == Some(DatabaseError::Refused(NAMESPACE_EXISTS))
}

/// Moves a collection that is in the way to another database, under the first free name.
async fn move_conflict(
    client: &Client,
    database: &str,
    name: &str,
    conflicts: &str,
) -> Result<(), Error> {
    for number in 1..100 {
        let new_name = format!("{name}_written_during_swap_{number}");
        let attempt = rename(client, (database, name), (conflicts, &new_name)).await;
        if exists(&attempt) {
            continue;
        }
        log::warn!(collection = name, database, moved_to = format!("{conflicts}.{new_name}"); "a writer created this collection during the swap; it was moved aside");
        return attempt.map_err(|error| {
            Error::database(format!("moving {name} of {database} out of the way"))(&error)
        });
    }
    Err(Error::Refused(format!(
        "{name} of {database} is created again and again; stop its writer"
    )))
}
