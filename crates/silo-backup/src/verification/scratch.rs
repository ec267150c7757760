//! Scratch database of drills: opening, checks before a restore, and dropping.

use silo_mongo::connect::{Patience, connect};
use silo_mongo::field;
use silo_mongo::mongodb::Client;
use silo_mongo::mongodb::bson::doc;

use crate::context::Context;
use crate::error::Error;
use crate::repository::manifest::Manifest;
use crate::restore::{Target, preflight};

/// Scratch database. The account for drills needs privileges on this database only.
const DATABASE: &str = "silo_drill";
/// Collection that marks the database as created by a drill.
const MARKER: &str = "silo_drill_marker";

/// Opens the scratch database.
pub(super) async fn open(context: &Context) -> Result<Target, Error> {
    let Some(uri) = &context.settings.drill_mongo else {
        return Err(Error::Refused(
            "DRILL_CONNECTION_STRING is not set: a drill needs an account that may write in the database silo_drill".into(),
        ));
    };
    let client = connect(uri, crate::settings::NAME, Patience::LongRunning);
    let client = client
        .await
        .map_err(|error| Error::Refused(format!("DRILL_CONNECTION_STRING {error}")))?;
    Ok(Target {
        database: client.database(DATABASE),
        client,
    })
}

/// Drops the scratch database of an interrupted drill, checks disk, oplog and privileges, and marks the database. Returns notes.
pub(super) async fn prepare(
    context: &Context,
    target: &Target,
    manifest: &Manifest,
) -> Result<Vec<String>, Error> {
    let not_drilled = |error: Error| Error::NotDrilled(error.to_string());
    clear(target).await.map_err(not_drilled)?;
    mark(target).await.map_err(not_drilled)?;
    let mut notes = Vec::new();
    let bytes = manifest.bytes();
    if let Err(reason) = preflight::free_disk(&target.database, bytes).await {
        clear(target).await?;
        return Err(Error::NotDrilled(reason));
    }
    match oplog_bytes(context, target).await {
        Some(size) if bytes > size / 2 => {
            clear(target).await?;
            return Err(Error::NotDrilled(format!(
                "the restore would replace most of the oplog: {} MiB of data, and an oplog of {} MiB; use a larger oplog or a separate server for drills",
                bytes / 1024 / 1024,
                size / 1024 / 1024
            )));
        }
        Some(_) => {}
        None => notes.push("the size of the oplog is not known".into()),
    }
    Ok(notes)
}

/// Size of the oplog of the server for drills. The account for backups may read it if both are the same server.
async fn oplog_bytes(context: &Context, target: &Target) -> Option<u64> {
    let me = async |client: &Client| {
        let admin = client.database("admin");
        let hello = admin.run_command(doc! { "hello": 1 }).await.ok()?;
        field::text(&hello, "me").map(str::to_owned)
    };
    let same = me(&context.client).await == me(&target.client).await;
    let client = if same {
        &context.client
    } else {
        &target.client
    };
    let local = client.database("local");
    let stats = local.run_command(doc! { "collStats": "oplog.rs" }).await;
    field::count(&stats.ok()?, "maxSize")
}

/// Creates the database with its marker.
pub(super) async fn mark(target: &Target) -> Result<(), Error> {
    let marked = target.database.create_collection(MARKER).await;
    marked.map_err(|error| {
        Error::database(format!(
            "creating the scratch database (the account for drills has to write in {DATABASE})"
        ))(&error)
    })
}

/// Drops the scratch database, if a drill created it.
pub(super) async fn clear(target: &Target) -> Result<(), Error> {
    let inside = target.database.list_collection_names().await;
    let inside = inside.map_err(|error| Error::database("listing the scratch database")(&error))?;
    if inside.is_empty() {
        return Ok(());
    }
    if !inside.iter().any(|name| name == MARKER) {
        return Err(Error::NotDrilled(format!(
            "the database {DATABASE} has collections and was not created by a drill; rename or drop it"
        )));
    }
    let dropped = target.database.drop().await;
    dropped.map_err(|error| Error::database("dropping the scratch database")(&error))
}
