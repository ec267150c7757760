//! Follows the change stream, and opens it again when it ends.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use log::{error, info, warn};
use silo_mongo::catalogue::Catalogue;
use silo_mongo::error::DatabaseError;
use silo_web::snapshot::{Snapshot, SourceError};
use tokio::time::Instant;

use super::EventLog;
use super::summary::{paths, summarise};
use crate::gateway::{Change, ChangeReader, Gateway, source_error};
use crate::users::Users;

/// Time for which changes are collected before they are written.
const COLLECT: Duration = Duration::from_millis(500);
/// Most changes that are collected: a thousand of them would take 2 MiB while much is written.
const MOST: usize = 200;
/// Pause after which the position is written although nothing happened.
const SAVE: Duration = Duration::from_secs(10);
/// Time to wait for the users at the start.
const USERS_WITHIN: Duration = Duration::from_secs(10);
/// Pause before a stream that mongod has ended is opened again.
const REOPEN: Duration = Duration::from_secs(1);
/// Pause before the stream is opened again after an error.
const RETRY: Duration = Duration::from_secs(4);
/// The same for a server that is in no replica set, or an account that may not watch.
const RETRY_REFUSED: Duration = Duration::from_secs(60);

/// mongod's error codes for a position that is no longer in the oplog (`ChangeStreamFatalError`, `ChangeStreamHistoryLost`, `InvalidResumeToken`) and for a change
/// that is too large to be sent (`BSONObjectTooLarge`): the stream must begin anew.
const POSITION_LOST: [i32; 4] = [280, 286, 260, 10334];
/// "The $changeStream stage is only supported on replica sets".
const NO_REPLICA_SET: i32 = 40573;

/// Follows the change stream until the runtime ends.
pub struct Watcher {
    /// Events on disk, to which new ones are added.
    pub log: Arc<EventLog>,
    /// The database. The stream takes one of its connections for good.
    pub gateway: Gateway,
    /// Catalogue of the collections.
    pub catalogue: Arc<Catalogue>,
    /// For the handles of users.
    pub users: Arc<Snapshot<Users>>,
}

/// Reason why the stream ended.
enum End {
    /// mongod ended it; it continues from its position.
    Ended,
    /// An error of mongod.
    Database(DatabaseError),
    /// An error of the disk.
    Disk(silo_store::StoreError),
}

impl From<DatabaseError> for End {
    fn from(error: DatabaseError) -> Self {
        Self::Database(error)
    }
}

impl From<silo_store::StoreError> for End {
    fn from(error: silo_store::StoreError) -> Self {
        Self::Disk(error)
    }
}

impl Watcher {
    /// Follows the stream, and opens it again when it ends.
    pub async fn run(self) {
        // For the handles of what happened before the start.
        drop(tokio::time::timeout(USERS_WITHIN, self.users.wait_for_first()).await);
        let mut reported = None;
        loop {
            let Err(end) = self.follow(&mut reported).await;
            let (code, pause) = self.note(&end);
            if reported.as_deref() != Some(code.as_str()) {
                let (_, state) = self.log.stream_state();
                warn!(code = code.as_str(); "events of the database: {}", state.map_or_else(|| "the stream ended".into(), |error| error.detail));
                reported = Some(code);
            }
            tokio::time::sleep(pause).await;
        }
    }

    /// Notes why the stream ended; returns a code for it, and the pause until the next attempt.
    fn note(&self, end: &End) -> (String, Duration) {
        let error = match end {
            End::Ended => return ("ended".into(), REOPEN),
            End::Database(DatabaseError::Refused(code)) if POSITION_LOST.contains(code) => {
                if let Err(error) = self.log.begin_anew(Timestamp::now()) {
                    error!("events of the database cannot be written: {error}");
                }
                let detail = "mongod no longer has the changes since the last look; what happened meanwhile is not known";
                SourceError::new("change stream", "position_lost", detail)
            }
            End::Database(DatabaseError::Refused(NO_REPLICA_SET)) => {
                let detail = "mongod is not in a replica set, so it reports no changes";
                SourceError::new("change stream", "no_replica_set", detail)
            }
            End::Database(error) => source_error("change stream", *error),
            End::Disk(error) => {
                error!("events of the database cannot be written: {error}");
                let detail =
                    "events cannot be written to disk; the log of silo-db-api has the reason";
                SourceError::new("change stream", "not_saved", detail)
            }
        };
        self.log.note_error(error.clone());
        let refused = ["no_replica_set", "not_authorized", "not_supported"];
        let pause = if refused.contains(&error.code.as_str()) {
            RETRY_REFUSED
        } else {
            RETRY
        };
        (error.code, pause)
    }

    async fn follow(&self, reported: &mut Option<String>) -> Result<std::convert::Infallible, End> {
        let position = self.log.position()?;
        let paths = paths(&self.catalogue);
        let mut reader = self.gateway.watch(position.as_deref(), &paths).await?;
        if position.is_none() {
            self.log.begin_anew(Timestamp::now())?;
        }
        if reported.take().is_some() {
            info!("events of the database are followed again");
        }
        let mut changes: Vec<Change> = Vec::new();
        let mut first = Instant::now();
        let mut saved: Option<Instant> = None;
        loop {
            let next = reader.next().await?;
            // Nothing is left to be read.
            let caught_up = next.is_none();
            if let Some(change) = next {
                if changes.is_empty() {
                    first = Instant::now();
                }
                changes.push(change);
            }
            let due = !changes.is_empty() && (first.elapsed() >= COLLECT || changes.len() >= MOST);
            let idle = saved.is_none_or(|saved| saved.elapsed() >= SAVE);
            let ended = caught_up && reader.has_ended();
            if due || (idle && caught_up) || ended {
                self.write(std::mem::take(&mut changes), &reader, caught_up)?;
                saved = Some(Instant::now());
            }
            self.log.note_answer(Timestamp::now());
            if ended {
                return Err(End::Ended);
            }
        }
    }

    fn write(
        &self,
        changes: Vec<Change>,
        reader: &ChangeReader,
        caught_up: bool,
    ) -> Result<(), End> {
        let users = self.users.current().ok();
        let handle = |sub: &str| {
            let directory = &users.as_ref()?.value.directory;
            directory.handle(sub).map(str::to_owned)
        };
        let until = if caught_up {
            Some(Timestamp::now())
        } else {
            changes.last().map(|change| change.at)
        };
        let events = summarise(changes, &self.catalogue, handle);
        let position = reader.position();
        Ok(self.log.add(events, position.as_deref(), until)?)
    }
}
