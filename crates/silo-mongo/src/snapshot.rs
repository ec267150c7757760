//! One moment of a database: a session whose reads all see the same, believed only after a canary.
//!
//! A server may accept a snapshot session and not keep it apart from later writes. So a document in the database `silo`, the canary,
//! is read in the session, written outside of it, and read in the session again: only a session that still sees the first value is
//! one moment.

use mongodb::bson::{Document, doc, oid::ObjectId};
use mongodb::{Client, ClientSession, Collection};

use crate::error::DatabaseError;

/// Collection of the canaries.
const COLLECTION: &str = "canaries";

/// Consistency of the documents that were read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Consistency {
    /// All documents are of one moment.
    Snapshot,
    /// Read one after the other while others may have written.
    Fuzzy,
}

/// Session for reading, with the result of its isolation checks so far.
pub struct Snapshot {
    session: Option<ClientSession>,
    canaries: Collection<Document>,
    id: ObjectId,
    first: i64,
    written: i64,
    isolated: bool,
}

impl Snapshot {
    /// Begins one, in the database `silo` of the same server. A server that has no such sessions is read without one.
    ///
    /// # Errors
    /// When the canary cannot be written: the account needs to write in `silo`.
    pub async fn begin(client: &Client, silo: &str) -> Result<Self, DatabaseError> {
        let mut snapshot = Self {
            session: None,
            canaries: client.database(silo).collection(COLLECTION),
            id: ObjectId::new(),
            first: 1,
            written: 1,
            isolated: false,
        };
        snapshot.write().await?;
        // A server that has none is read without.
        snapshot.session = client.start_session().snapshot(true).await.ok();
        match snapshot.seen().await {
            Ok(seen) => {
                snapshot.first = seen.unwrap_or_default();
                snapshot.isolated = seen == Some(1);
                snapshot.check().await?;
            }
            // A server that is no replica set, or too old.
            Err(_unsupported) => snapshot.session = None,
        }
        Ok(snapshot)
    }

    /// The session to read through; `None` where the server has none.
    pub fn session(&mut self) -> Option<&mut ClientSession> {
        self.session.as_mut()
    }

    /// Writes the canary and reads it in the session. When the session sees the new value, it is not isolated.
    ///
    /// # Errors
    /// The error of writing or reading the canary.
    pub async fn check(&mut self) -> Result<(), DatabaseError> {
        self.written += 1;
        self.write().await?;
        let seen = self.seen().await?;
        self.isolated = self.isolated && seen == Some(self.first);
        Ok(())
    }

    /// Ends the session: checks the canary once more and deletes it.
    ///
    /// # Errors
    /// The error of checking or deleting the canary.
    pub async fn end(mut self) -> Result<Consistency, DatabaseError> {
        if self.session.is_some() {
            self.check().await?;
        }
        self.canaries.delete_one(doc! { "_id": self.id }).await?;
        Ok(match self.isolated && self.session.is_some() {
            true => Consistency::Snapshot,
            false => Consistency::Fuzzy,
        })
    }

    async fn write(&self) -> Result<(), DatabaseError> {
        let update =
            doc! { "$set": { "value": self.written, "at": mongodb::bson::DateTime::now() } };
        self.canaries
            .update_one(doc! { "_id": self.id }, update)
            .upsert(true)
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
