//! Attempts to make a backup or a drill, in the database `silo`. An attempt is recorded before it starts, so that one that is killed counts as a failure
//! and the retry delays survive a restart.

use jiff::Timestamp;
use serde::Serialize;
use silo_mongo::field;
use silo_mongo::mongodb::Client;
use silo_mongo::mongodb::bson::{Document, doc};
use utoipa::ToSchema;

use crate::error::Error;
use crate::run::lease::SILO;
use crate::run::outcome::{Failure, RunOutcome};

/// Collection of the last attempt of each kind, in the database `silo`.
const COLLECTION: &str = "backup_attempts";

/// Kind of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A backup.
    Run,
    /// A drill.
    Drill,
}

/// Last attempt of a kind.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct LastAttempt {
    /// When it began, or ended.
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
    /// `good`, `held`, `failed`, or `unfinished`: still running, or its process was killed.
    pub outcome: String,
    /// Id of the backup.
    pub id: Option<String>,
    /// Error, or reason for holding the backup.
    pub error: Option<Failure>,
    /// Number of attempts since the last success, without those that were stopped by a shutdown.
    pub failures: u64,
}

/// How an attempt ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AttemptEnd {
    outcome: &'static str,
    id: Option<String>,
    error: Option<Failure>,
}

impl AttemptEnd {
    /// End of a run.
    #[must_use]
    pub fn of_run(outcome: &Result<RunOutcome, Error>) -> Self {
        match outcome {
            Ok(made) if made.good => Self::good(&made.id),
            Ok(made) => Self {
                outcome: "held",
                id: Some(made.id.clone()),
                error: Some(Failure {
                    code: "held".into(),
                    detail: made.held.join("; "),
                }),
            },
            Err(error) => Self::failed(error),
        }
    }

    /// A success.
    #[must_use]
    pub fn good(id: &str) -> Self {
        Self {
            outcome: "good",
            id: Some(id.to_owned()),
            error: None,
        }
    }

    /// A failure, or a stop by a shutdown.
    #[must_use]
    pub fn failed(error: &Error) -> Self {
        Self {
            outcome: match error {
                Error::Interrupted => "stopped",
                _ => "failed",
            },
            id: None,
            error: Some(error.into()),
        }
    }
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Run => "run",
            Self::Drill => "drill",
        }
    }

    /// Records that an attempt begins. Returns the attempt before it.
    ///
    /// # Errors
    /// The error of the command.
    pub async fn begin(
        self,
        client: &Client,
        now: Timestamp,
    ) -> Result<Option<LastAttempt>, Error> {
        let before = self.last(client).await?;
        let update = doc! {
            "$set": { "at": field::date(now), "outcome": "unfinished", "id": null, "error": null },
            "$inc": { "failures": 1_i64 },
        };
        self.write(client, update).await?;
        Ok(before)
    }

    /// Records how an attempt ended. That it cannot be recorded does not fail the attempt.
    pub async fn end(self, client: &Client, end: AttemptEnd, now: Timestamp) {
        let error = end
            .error
            .map(|error| doc! { "code": error.code, "detail": error.detail });
        let set =
            doc! { "at": field::date(now), "outcome": end.outcome, "id": end.id, "error": error };
        let update = match end.outcome {
            "failed" => doc! { "$set": set },
            // A shutdown says nothing about the next attempt.
            "stopped" => doc! { "$set": set, "$inc": { "failures": -1_i64 } },
            _ => {
                let mut set = set;
                set.insert("failures", 0_i64);
                doc! { "$set": set }
            }
        };
        if let Err(error) = self.write(client, update).await {
            log::warn!(kind = self.name(), code = error.code(); "the result of the attempt could not be recorded: {error}");
        }
    }

    /// Last attempt; `None` if there was none.
    ///
    /// # Errors
    /// The error of the command.
    pub async fn last(self, client: &Client) -> Result<Option<LastAttempt>, Error> {
        let attempts = client.database(SILO).collection::<Document>(COLLECTION);
        let found = attempts.find_one(doc! { "_id": self.name() }).await;
        let found = found.map_err(|error| Error::database("reading the last attempt")(&error))?;
        Ok(found.and_then(|found| {
            let text = |path| field::text(&found, path).map(str::to_owned);
            let error = text("error.code").map(|code| Failure {
                code,
                detail: text("error.detail").unwrap_or_default(),
            });
            Some(LastAttempt {
                at: field::time(&found, "at")?,
                outcome: text("outcome")?,
                id: text("id"),
                error,
                failures: field::count(&found, "failures").unwrap_or_default(),
            })
        }))
    }

    async fn write(self, client: &Client, update: Document) -> Result<(), Error> {
        let attempts = client.database(SILO).collection::<Document>(COLLECTION);
        attempts
            .update_one(doc! { "_id": self.name() }, update)
            .upsert(true)
            .await
            .map(drop)
            .map_err(|error| Error::database("recording the attempt")(&error))
    }
}
