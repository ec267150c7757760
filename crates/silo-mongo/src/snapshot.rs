//! Snapshot session: all reads see the database at one time. Its isolation is verified with a canary.
//!
//! A server may accept a snapshot session and not isolate it from later writes. So a document in the database `silo`, the canary, is read in the
//! session, written outside of it, and read in the session again: it must still have its first value.

use std::time::Duration;

use mongodb::bson::{DateTime, Document, Timestamp, doc, oid::ObjectId};
use mongodb::options::WriteConcern;
use mongodb::{Client, ClientSession, Collection};

use crate::error::DatabaseError;
use crate::field;

/// Collection of the canaries.
const COLLECTION: &str = "canaries";
/// Age after which a canary was left behind by an interrupted run.
const LEFT_BEHIND_AFTER: Duration = Duration::from_secs(24 * 3600);
/// Wire version of MongoDB 5.0, the first with snapshot sessions.
const FIRST_WIRE_VERSION: i64 = 13;

/// Consistency of the documents that were read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Consistency {
    /// All documents are of one cluster time; `None` if the driver does not report it.
    Snapshot(Option<Timestamp>),
    /// Read one after the other while others may have written.
    Fuzzy,
}

/// Session for reading.
pub struct Snapshot {
    session: Option<ClientSession>,
    canaries: Collection<Document>,
    id: ObjectId,
    written: i64,
}

impl Snapshot {
    /// Begins a snapshot session, with a canary in the database `silo` of the same server. A standalone server, and one older than 5.0, has no snapshot
    /// sessions: it is read without one.
    ///
    /// # Errors
    /// When the canary cannot be written (the account needs to write in `silo`), or when a server that has snapshot sessions does not provide one:
    /// its documents are never read without one instead.
    pub async fn begin(client: &Client, silo: &str) -> Result<Self, DatabaseError> {
        let hello = client
            .database("admin")
            .run_command(doc! { "hello": 1 })
            .await?;
        let member = hello.contains_key("setName") || field::text(&hello, "msg").is_some();
        let recent = field::count(&hello, "maxWireVersion")
            .and_then(|version| i64::try_from(version).ok())
            .is_some_and(|version| version >= FIRST_WIRE_VERSION);
        let mut snapshot = Self {
            session: None,
            canaries: client.database(silo).collection(COLLECTION),
            id: ObjectId::new(),
            written: 0,
        };
        snapshot.delete_old_canaries().await?;
        if !(member && recent) {
            return Ok(snapshot);
        }
        snapshot.write().await?;
        snapshot.session = Some(client.start_session().snapshot(true).await?);
        snapshot.check().await?;
        Ok(snapshot)
    }

    /// The session to read through; `None` where the server has none.
    pub fn session(&mut self) -> Option<&mut ClientSession> {
        self.session.as_mut()
    }

    /// Writes the canary and reads it in the session, which must still see its first value.
    ///
    /// # Errors
    /// [`DatabaseError::NotIsolated`], or the error of writing or reading the canary.
    async fn check(&mut self) -> Result<(), DatabaseError> {
        let before = self.seen().await?;
        self.write().await?;
        if before == Some(1) && self.seen().await? == Some(1) {
            Ok(())
        } else {
            Err(DatabaseError::NotIsolated)
        }
    }

    /// Ends the session: checks the canary once more and deletes it.
    ///
    /// # Errors
    /// [`DatabaseError::NotIsolated`], or the error of checking or deleting the canary.
    pub async fn end(mut self) -> Result<Consistency, DatabaseError> {
        if self.session.is_none() {
            return Ok(Consistency::Fuzzy);
        }
        self.check().await?;
        self.canaries.delete_one(doc! { "_id": self.id }).await?;
        let time = self.session.as_ref().and_then(ClientSession::snapshot_time);
        Ok(Consistency::Snapshot(time))
    }

    /// Writes the next value to a majority: a snapshot shows only what a majority has.
    async fn write(&mut self) -> Result<(), DatabaseError> {
        self.written += 1;
        let update = doc! { "$set": { "value": self.written, "at": DateTime::now() } };
        self.canaries
            .update_one(doc! { "_id": self.id }, update)
            .upsert(true)
            .write_concern(WriteConcern::majority())
            .await?;
        Ok(())
    }

    /// Deletes canaries that interrupted runs have left behind.
    async fn delete_old_canaries(&self) -> Result<(), DatabaseError> {
        let age = i64::try_from(LEFT_BEHIND_AFTER.as_millis()).unwrap_or_default();
        let oldest = DateTime::from_millis(DateTime::now().timestamp_millis() - age);
        self.canaries
            .delete_many(doc! { "at": { "$lt": oldest } })
            .await?;
        Ok(())
    }

    /// Value of the canary as the session sees it.
    async fn seen(&mut self) -> Result<Option<i64>, DatabaseError> {
        let Some(session) = self.session.as_mut() else {
            return Ok(None);
        };
        let found = self
            .canaries
            .find_one(doc! { "_id": self.id })
            .session(session)
            .await?;
        Ok(found.and_then(|found| found.get_i64("value").ok()))
    }
}
