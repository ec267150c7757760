//! A drill: a backup is restored into a scratch database, compared, and dropped. How long that takes is how long it would take.

use std::time::Instant;

use jiff::Timestamp;
use log::{info, warn};
use serde::Serialize;
use silo_core::units::whole_millis;
use silo_mongo::commands::Commands;
use silo_mongo::connect::connect;
use silo_mongo::mongodb::Client;
use silo_mongo::mongodb::bson::doc;
use utoipa::ToSchema;

use crate::alerts::Event;
use crate::context::Context;
use crate::error::Error;
use crate::progress::Reporter;
use crate::repository::manifest::Manifest;
use crate::repository::{Drill, Repository};
use crate::restore::{self, Target};
use crate::verification;
use crate::verification::mongorestore;

/// Prefix of every scratch database's name.
const PREFIX: &str = "silo_drill_";
/// Collection that marks a database as created by a drill.
const MARKER: &str = "silo_drill_marker";

/// Result of a drill.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct DrillOutcome {
    /// The backup.
    pub id: String,
    /// `true` if everything was restored identically.
    pub good: bool,
    /// Duration of the restore in milliseconds, including verification and comparison.
    pub duration_ms: u64,
    /// Number of restored documents.
    pub documents: u64,
    /// Differences, and parts that were not compared.
    pub notes: Vec<String>,
}

/// Restores a backup (`latest`, or an id) into a scratch database, and records the result.
///
/// # Errors
/// The error that prevented a verdict. A backup that is not restored identically is not an error here, but a drill that is not good.
pub async fn run(context: &Context, name: &str, report: &Reporter) -> Result<DrillOutcome, Error> {
    let outcome = context
        .leased(report, async |_| drill(context, name, report).await)
        .await;
    let event = match &outcome {
        Ok(drilled) if drilled.good => None,
        Ok(drilled) => Some(Event::Alarm(
            "drill_failed",
            format!(
                "{} does not restore: {}",
                drilled.id,
                drilled.notes.join("; ")
            ),
        )),
        Err(error) => Some(Event::Alarm(
            error.code(),
            format!("the drill could not run: {error}"),
        )),
    };
    if let Some(event) = event {
        context.alerts.send(&event).await;
    }
    outcome
}

async fn drill(context: &Context, name: &str, report: &Reporter) -> Result<DrillOutcome, Error> {
    let repository = &context.primary;
    let contents = repository.contents().await?;
    let manifest = contents.find(name)?.manifest.clone();
    if manifest.archive.recipient.is_some() && context.settings.identity.is_none() {
        return Err(Error::Refused("the backup is encrypted and BACKUP_AGE_IDENTITY is not set here; drill where the private key is".into()));
    }
    let client = client(context).await?;
    clear(&client).await?;
    let began = Instant::now();
    let database = client.database(&format!("{PREFIX}{}", manifest.id.replace('-', "_")));
    let target = Target {
        client: client.clone(),
        database,
    };
    // The right to make databases is asked for before the archive is downloaded.
    mark(&target).await?;
    let restored = scratch(context, repository, &manifest, &target, report).await;
    let elapsed = began.elapsed();
    report.begin("cleaning", None, "documents");
    clear(&client).await?;
    let mut notes = manifest.verification.not_checked.clone();
    let good = match restored {
        Ok(more) => {
            notes.extend(more);
            true
        }
        // Only faults of the backup are recorded with it.
        Err(
            error @ (Error::Corrupt(_)
            | Error::Database {
                error:
                    silo_mongo::error::DatabaseError::DuplicateKey
                    | silo_mongo::error::DatabaseError::Refused,
                ..
            }),
        ) => {
            notes = vec![error.to_string()];
            false
        }
        Err(error) => return Err(error),
    };
    let documents = if good { manifest.documents() } else { 0 };
    let record = Drill {
        at: Timestamp::now(),
        good,
        duration_ms: whole_millis(elapsed),
        documents,
        notes: notes.clone(),
    };
    repository
        .write_json(&format!("drills/{}.json", manifest.id), &record)
        .await?;
    info!(id = manifest.id.as_str(), good, duration_ms = record.duration_ms; "the drill is complete");
    Ok(DrillOutcome {
        id: manifest.id,
        good,
        duration_ms: record.duration_ms,
        documents,
        notes,
    })
}

/// The server that drills restore to.
async fn client(context: &Context) -> Result<Client, Error> {
    let Some(uri) = &context.settings.drill_mongo else {
        return Ok(context.client.clone());
    };
    let client = connect(uri, crate::settings::NAME, Commands::default().into()).await;
    client.map_err(|error| Error::Refused(format!("DRILL_CONNECTION_STRING {error}")))
}

/// Verifies, restores and compares, also with mongorestore if it is installed. Returns the parts that were not compared.
async fn scratch(
    context: &Context,
    repository: &Repository,
    manifest: &Manifest,
    target: &Target,
    report: &Reporter,
) -> Result<Vec<String>, Error> {
    let identity = context.settings.identity.as_ref();
    verification::verify(context, repository, manifest, report).await?;
    restore::restore(
        repository,
        manifest,
        target,
        identity,
        report,
        &context.stop,
    )
    .await?;
    let Some(program) = mongorestore::find(context) else {
        return Ok(vec![
            "not restored with the stock tool too: mongorestore is not installed".into(),
        ]);
    };
    report.begin("inserting", Some(manifest.documents()), "documents");
    let again = Target {
        client: target.client.clone(),
        database: target
            .client
            .database(&format!("{}_stock", target.database.name())),
    };
    mark(&again).await?;
    mongorestore::restore(context, repository, manifest, &again, &program).await?;
    let wrong = restore::compare_all(manifest, &again.database, report).await?;
    if wrong.is_empty() {
        Ok(Vec::new())
    } else {
        Err(Error::Corrupt(format!(
            "mongorestore restored something else: {}",
            wrong.join("; ")
        )))
    }
}

async fn mark(target: &Target) -> Result<(), Error> {
    let marked = target.database.create_collection(MARKER).await;
    marked.map_err(|error| {
        Error::database(
            "making a scratch database (the account has to make and drop silo_drill_* databases)",
        )(&error)
    })
}

/// Drops the scratch databases of drills: those with our name and our marker in them, and no other.
async fn clear(client: &Client) -> Result<(), Error> {
    let names = client
        .list_database_names()
        .await
        .map_err(|error| Error::database("listing databases")(&error))?;
    for name in names.iter().filter(|name| name.starts_with(PREFIX)) {
        let database = client.database(name);
        let inside = database
            .list_collection_names()
            .await
            .map_err(|error| Error::database("looking into a scratch database")(&error))?;
        if !inside.iter().any(|name| name == MARKER) {
            warn!(database = name.as_str(); "this database has the name of a scratch database but no drill created it; it is not dropped");
            continue;
        }
        database
            .drop()
            .await
            .map_err(|error| Error::database("dropping a scratch database")(&error))?;
    }
    Ok(())
}
