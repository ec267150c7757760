//! The oplog of a running server: its entries that concern the database, up to what a majority of the replica set has.

use futures_util::{Stream, StreamExt, TryStreamExt, stream};
use jiff::Timestamp;
use serde::Serialize;
use silo_mongo::error::DatabaseError;
use silo_mongo::field;
use silo_mongo::mongodb::bson::{Bson, Document, RawDocumentBuf, doc};
use silo_mongo::mongodb::raw_batch_cursor::RawBatch;
use silo_mongo::mongodb::{Client, Collection, Cursor};

use super::Position;
use super::entry::Entry;
use crate::error::Error;
use crate::repository::manifest::sha256;

/// Entries in an answer. Entries of 16 MiB come alone, because an answer has at most that.
const BATCH: u32 = 1000;
/// Parts of a transaction are all written when it is committed; older ones than this, in seconds, belong to none that is not in a backup.
pub const LONGEST_COMMIT: u32 = 3600;

/// End of the entries that are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Until {
    /// All entries with positions before this one.
    Before(Position),
    /// All entries up to and with this position.
    Through(Position),
}

impl Until {
    /// `true` if an entry of this position is taken.
    #[must_use]
    pub fn includes(self, at: Position) -> bool {
        match self {
            Self::Before(end) => at < end,
            Self::Through(end) => at <= end,
        }
    }

    /// The position at which the entries end.
    #[must_use]
    pub fn end(self) -> Position {
        match self {
            Self::Before(end) | Self::Through(end) => end,
        }
    }

    fn taken(self) -> Document {
        match self {
            Self::Before(end) => doc! { "$lt": end },
            Self::Through(end) => doc! { "$lte": end },
        }
    }

    fn left_out(self) -> Document {
        match self {
            Self::Before(end) => doc! { "$gte": end },
            Self::Through(end) => doc! { "$gt": end },
        }
    }
}

/// An entry at the edge of what is taken.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Edge {
    /// Position of the entry, as `1764126000:7`.
    pub position: String,
    /// The position's second.
    pub at: Option<Timestamp>,
    /// Time of the server's clock when the entry was written. It may differ, because positions never go back.
    pub wall: Option<Timestamp>,
}

/// The oplog of a server.
#[derive(Clone)]
pub struct ServerOplog {
    client: Client,
    database: String,
}

impl ServerOplog {
    /// The oplog of a server, of which one database is of interest.
    #[must_use]
    pub fn new(client: &Client, database: &str) -> Self {
        Self {
            client: client.clone(),
            database: database.to_owned(),
        }
    }

    /// Position of the last entry that a majority of the replica set has: it is never rolled back.
    ///
    /// # Errors
    /// The error of the command; [`Error::Refused`] for a server that is in no replica set.
    pub async fn majority(&self) -> Result<Position, Error> {
        let admin = self.client.database("admin");
        let hello = admin.run_command(doc! { "hello": 1 }).await;
        let hello = hello.map_err(Error::database("reaching the database"))?;
        match field::at(&hello, "lastWrite.majorityOpTime.ts") {
            Some(Bson::Timestamp(at)) => Ok((*at).into()),
            _ => Err(Error::Refused(
                "the server is in no replica set, so it has no oplog".into(),
            )),
        }
    }

    /// Position of the oldest entry; `None` if there is none.
    ///
    /// # Errors
    /// The error of the command: the account needs `find` on `local.oplog.rs`.
    pub async fn oldest(&self) -> Result<Option<Position>, Error> {
        // Only the position: an entry may have 16 MiB.
        let oplog = self.oplog::<Document>();
        let oldest = oplog.find_one(doc! {}).sort(doc! { "$natural": 1 });
        let oldest = oldest
            .projection(doc! { "ts": 1 })
            .await
            .map_err(reading())?;
        Ok(oldest
            .and_then(|oldest| oldest.get_timestamp("ts").ok())
            .map(Position::from))
    }

    /// The newest entry, of whatever database; `None` if there is none.
    ///
    /// # Errors
    /// The error of the command.
    pub async fn newest(&self) -> Result<Option<Edge>, Error> {
        let oplog = self.oplog::<Document>();
        let newest = oplog.find_one(doc! {}).sort(doc! { "$natural": -1 });
        let newest = newest
            .projection(doc! { "ts": 1, "wall": 1 })
            .await
            .map_err(reading())?;
        Ok(newest.and_then(|newest| {
            let at = newest.get_timestamp("ts").ok()?;
            let wall = newest.get_datetime("wall").ok();
            let wall =
                wall.and_then(|wall| Timestamp::from_millisecond(wall.timestamp_millis()).ok());
            Some(Edge::new(at.into(), wall))
        }))
    }

    /// `true` if there is an entry at this position.
    ///
    /// # Errors
    /// The error of the command.
    pub async fn has(&self, at: Position) -> Result<bool, Error> {
        let oplog = self.oplog::<Document>();
        let found = oplog
            .find_one(doc! { "ts": at })
            .projection(doc! { "ts": 1 });
        Ok(found.await.map_err(reading())?.is_some())
    }

    /// SHA-256 of the entry at this position, by which a server is known to have the same history; `None` if there is none.
    ///
    /// # Errors
    /// The error of the command.
    pub async fn anchor(&self, at: Position) -> Result<Option<String>, Error> {
        let oplog = self.oplog::<RawDocumentBuf>();
        let found = oplog.find_one(doc! { "ts": at }).await.map_err(reading())?;
        Ok(found.map(|entry| sha256(entry.as_bytes())))
    }

    /// The first entry with a change of the database that is left out; `None` if there is none yet.
    ///
    /// # Errors
    /// The error of the command.
    pub async fn first_left_out(&self, until: Until) -> Result<Option<Edge>, Error> {
        // An entry may have 16 MiB: only what tells whether it concerns the database.
        let fields = doc! {
            "ts": 1, "wall": 1, "op": 1, "ns": 1, "o2._id": 1, "o._id": 1,
            "o.applyOps.op": 1, "o.applyOps.ns": 1, "o.applyOps.o._id": 1, "o.applyOps.o2._id": 1,
        };
        let oplog = self.oplog::<RawDocumentBuf>();
        let entries = oplog.find(self.concerning(until.left_out()));
        let entries = entries.projection(fields).batch_size(BATCH).await;
        let mut entries = entries.map_err(reading())?;
        while let Some(entry) = entries.try_next().await.map_err(reading())? {
            let entry = Entry::parse(entry.as_bytes());
            let entry = entry.map_err(|error| Error::Engine(error.to_string()))?;
            if entry.concerns(&self.database) {
                return Ok(Some(Edge::of(&entry)));
            }
        }
        Ok(None)
    }

    /// All entries after a position that concern the database, raw and whole, and the parts before it of a transaction that ends after it.
    ///
    /// # Errors
    /// The error of the command.
    pub async fn entries(
        &self,
        after: Position,
        until: Until,
    ) -> Result<impl Stream<Item = Result<RawDocumentBuf, DatabaseError>> + use<>, Error> {
        let mut bounds = until.taken();
        bounds.insert("$gt", after);
        let parts = self.parts(after).await?;
        let entries = self.find(self.concerning(bounds)).await?;
        Ok(parts.chain(entries.map_err(|error| DatabaseError::from(&error))))
    }

    /// Parts, up to a position, of transactions that have not ended by then.
    ///
    /// # Errors
    /// The error of the command.
    pub async fn parts(
        &self,
        until: Position,
    ) -> Result<impl Stream<Item = Result<RawDocumentBuf, DatabaseError>> + use<>, Error> {
        let earliest = Position {
            seconds: until.seconds.saturating_sub(LONGEST_COMMIT),
            increment: 0,
        };
        let of_transactions = doc! {
            "ts": { "$gte": earliest, "$lte": until },
            "ns": "admin.$cmd", "txnNumber": { "$exists": true },
        };
        let mut parts = of_transactions.clone();
        parts.insert("o.partialTxn", true);
        let mut open = self.transactions(parts.clone()).await?;
        if !open.is_empty() {
            // A part and the entry that prepares a transaction do not end it.
            let mut ends = of_transactions;
            ends.insert("o.partialTxn", doc! { "$ne": true });
            ends.insert("o.prepare", doc! { "$ne": true });
            ends.insert("$or", open.clone());
            let ended = self.transactions(ends).await?;
            open.retain(|transaction| !ended.contains(transaction));
        }
        let parts = match open.is_empty() {
            true => None,
            false => {
                parts.insert("$or", open);
                Some(self.find(parts).await?)
            }
        };
        Ok(stream::iter(parts)
            .flatten()
            .map_err(|error| DatabaseError::from(&error)))
    }

    /// Session and number of the transactions of these entries.
    async fn transactions(&self, filter: Document) -> Result<Vec<Document>, Error> {
        let oplog = self.oplog::<Document>();
        let entries = oplog.find(filter);
        let entries = entries.projection(doc! { "_id": 0, "lsid": 1, "txnNumber": 1 });
        let mut entries = entries.await.map_err(reading())?;
        let mut transactions = Vec::new();
        while let Some(transaction) = entries.try_next().await.map_err(reading())? {
            if transactions.last() != Some(&transaction) {
                transactions.push(transaction);
            }
        }
        Ok(transactions)
    }

    /// All entries from one position to another that concern the database, and those at both positions, of whatever database. In batches, as they are in
    /// the server's answers: one entry may have 16 MiB, and a copy of each would need as much again.
    ///
    /// # Errors
    /// The error of the command.
    pub async fn between(
        &self,
        first: Position,
        last: Position,
    ) -> Result<impl Stream<Item = Result<RawBatch, DatabaseError>> + use<>, Error> {
        let bounds = doc! { "$gte": first, "$lte": last };
        let either = doc! { "ts": { "$in": [first, last] } };
        let mut filter = self.concerning(bounds);
        if let Ok(any) = filter.get_array_mut("$or") {
            any.push(either.into());
        }
        let oplog = self.oplog::<RawDocumentBuf>();
        let batches = oplog.find(filter).batch_size(BATCH).batch().await;
        let batches = batches.map_err(reading())?;
        Ok(batches.map_err(|error| DatabaseError::from(&error)))
    }

    async fn find(&self, filter: Document) -> Result<Cursor<RawDocumentBuf>, Error> {
        let oplog = self.oplog::<RawDocumentBuf>();
        oplog
            .find(filter)
            .batch_size(BATCH)
            .await
            .map_err(reading())
    }

    fn oplog<T: Send + Sync>(&self) -> Collection<T> {
        self.client.database("local").collection("oplog.rs")
    }

    /// Filter for entries that may concern the database: its own; transactions and grouped inserts, which are in the namespace of the server; and a
    /// change of the feature compatibility version.
    fn concerning(&self, positions: Document) -> Document {
        // `/` follows `.` in ASCII.
        let own =
            doc! { "$gte": format!("{}.", self.database), "$lt": format!("{}/", self.database) };
        doc! {
            "ts": positions,
            "$or": [
                { "ns": own },
                { "ns": "admin.$cmd" },
                { "ns": "admin.system.version" },
                // By a user, in any database.
                { "o.applyOps": { "$exists": true } },
            ],
        }
    }
}

impl Edge {
    fn of(entry: &Entry<'_>) -> Self {
        Self::new(entry.at, entry.wall)
    }

    /// An entry by its position and the time of the server's clock.
    #[must_use]
    pub fn new(at: Position, wall: Option<Timestamp>) -> Self {
        Self {
            position: at.to_string(),
            at: Timestamp::from_second(at.seconds.into()).ok(),
            wall,
        }
    }
}

fn reading<F: Into<DatabaseError>>() -> impl FnOnce(F) -> Error {
    |error| {
        let error = error.into();
        let action = match error {
            DatabaseError::NotAuthorized => {
                "reading the oplog (the account needs `find` on `local.oplog.rs`)"
            }
            _ => "reading the oplog",
        };
        Error::database(action)(error)
    }
}
