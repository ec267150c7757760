//! Result of the last run, stored in the database `silo`, so that it survives a restart and a change of machine.

use jiff::Timestamp;
use serde::Serialize;
use silo_mongo::field;
use silo_mongo::mongodb::Client;
use silo_mongo::mongodb::bson::{Document, doc};
use utoipa::ToSchema;

use crate::error::Error;
use crate::run::lease::SILO;
use crate::run::outcome::{Failure, RunOutcome};

/// Collection of the last run, in the database `silo`.
const COLLECTION: &str = "backup_runs";
/// The one entry.
const LAST: &str = "last";

/// The last run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct LastRun {
    /// When it ended.
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
    /// `good`, `held` or `failed`.
    pub outcome: String,
    /// The backup that was made.
    pub id: Option<String>,
    /// Error, or reason for holding the backup.
    pub error: Option<Failure>,
    /// Number of consecutive failures, this one included.
    pub failures: u64,
}

/// Remembers how a run ended. That it cannot be remembered is no failure of the run.
pub async fn remember(client: &Client, outcome: &Result<RunOutcome, Error>) {
    let (outcome, id, error) = match outcome {
        Ok(made) if made.good => ("good", Some(made.id.clone()), None),
        Ok(made) => (
            "held",
            Some(made.id.clone()),
            Some(Failure {
                code: "held".into(),
                detail: made.held.join("; "),
            }),
        ),
        // The run that holds the lease records its own result.
        Err(Error::Busy(_)) => return,
        Err(error) => ("failed", None, Some(error.into())),
    };
    let mut set = doc! { "at": field::date(Timestamp::now()), "outcome": outcome, "id": id };
    let error: Option<Document> =
        error.map(|error: Failure| doc! { "code": error.code, "detail": error.detail });
    set.insert("error", error);
    let mut update = doc! { "$set": set };
    if outcome == "failed" {
        update.insert("$inc", doc! { "failures": 1_i64 });
    } else if let Ok(set) = update.get_document_mut("$set") {
        set.insert("failures", 0_i64);
    }
    let runs = client.database(SILO).collection::<Document>(COLLECTION);
    if let Err(error) = runs
        .update_one(doc! { "_id": LAST }, update)
        .upsert(true)
        .await
    {
        log::warn!(code = silo_mongo::error::DatabaseError::from(&error).code(); "how the run ended could not be remembered in the database");
    }
}

/// Result of the last run.
///
/// # Errors
/// The error of the command.
pub async fn last(client: &Client) -> Result<Option<LastRun>, Error> {
    let runs = client.database(SILO).collection::<Document>(COLLECTION);
    let found = runs.find_one(doc! { "_id": LAST }).await;
    let found = found.map_err(|error| Error::database("reading how the last run ended")(&error))?;
    Ok(found.and_then(|found| {
        let text = |path| field::text(&found, path).map(str::to_owned);
        let error = text("error.code").map(|code| Failure {
            code,
            detail: text("error.detail").unwrap_or_default(),
        });
        Some(LastRun {
            at: field::time(&found, "at")?,
            outcome: text("outcome")?,
            id: text("id"),
            error,
            failures: field::count(&found, "failures").unwrap_or_default(),
        })
    }))
}
