//! The one way to mongod: commands with a time limit, BSON in, plain values out. Nothing above this module sees BSON.

mod access;
mod atproto;
mod clients;
mod collections;
mod disk;
mod documents;
mod events;
mod filter;
mod keeps;
mod operations;
mod redaction;
mod replica_set;
mod run;
mod sample;
mod server;
mod tapes;
mod users;

use futures_util::TryStreamExt;
use silo_mongo::commands::Commands;
use silo_mongo::connect::primary_preferred;
use silo_mongo::error::DatabaseError;
use silo_mongo::mongodb::bson::{Document, doc};
use silo_mongo::mongodb::{Client, Cursor};
use silo_web::snapshot::SourceError;

pub use access::{CollectionTime, CommandCount, Counters};
pub use atproto::SyncCounts;
pub use clients::Connection;
pub use collections::{Index, ListedCollection, Measures};
pub use disk::FileSystem;
pub use documents::{FoundDocument, Page, Work};
pub use events::{Change, ChangeKind, ChangeReader, DocumentId};
pub use filter::Filter;
pub use keeps::{Contract, Legacy, Piece, Played, Record};
pub use operations::Operation;
pub use redaction::Redaction;
pub use replica_set::{Member, ReplicaSet};
pub use run::Run;
pub use sample::{FieldSeen, Newest, NewestBy};
pub use server::{Cache, Connections, Expiry, Opcounters, OperationCounts, Status};
pub use tapes::TapeRow;
pub use users::{HandleRow, UserRow, VerificationRow};

/// Time limit of a command, in milliseconds.
const MAX_TIME_MS: i64 = 2000;
/// Time limit of reading a whole collection, in milliseconds: after a restart of mongod its cache is empty, and the disk is slow.
const MAX_READ_ALL_MS: i64 = 20_000;

/// The database, reached through one client.
#[derive(Clone)]
pub struct Gateway {
    client: Client,
    database: String,
    commands: Commands,
}

impl Gateway {
    /// The gateway to one database. `commands` counts those of `client`.
    #[must_use]
    pub fn new(client: Client, database: impl Into<String>, commands: &Commands) -> Self {
        Self {
            client,
            database: database.into(),
            commands: commands.clone(),
        }
    }

    /// Number of answered reads of this process so far.
    #[must_use]
    pub fn own_reads(&self) -> u64 {
        self.commands.reads()
    }

    /// Number of change streams that this process has opened so far; `None` while one is being opened.
    #[must_use]
    pub fn own_change_streams(&self) -> Option<u64> {
        self.commands.change_streams()
    }

    /// The client, for the check of the account's rights.
    #[must_use]
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// The name of the database.
    #[must_use]
    pub fn database_name(&self) -> &str {
        &self.database
    }

    async fn admin(&self, mut command: Document) -> Result<Document, DatabaseError> {
        command.insert("maxTimeMS", MAX_TIME_MS);
        let admin = self.client.database("admin");
        let run = admin.run_command(command);
        Ok(run.selection_criteria(primary_preferred()).await?)
    }

    async fn aggregate(
        &self,
        collection: &str,
        pipeline: Vec<Document>,
    ) -> Result<Vec<Document>, DatabaseError> {
        let command = doc! { "aggregate": collection, "pipeline": pipeline, "cursor": {}, "maxTimeMS": MAX_TIME_MS };
        self.all(&self.database, command).await
    }

    /// Like [`Self::aggregate`], for a pipeline that reads the whole collection.
    async fn aggregate_all(
        &self,
        collection: &str,
        pipeline: Vec<Document>,
    ) -> Result<Vec<Document>, DatabaseError> {
        let command = doc! { "aggregate": collection, "pipeline": pipeline, "cursor": {}, "maxTimeMS": MAX_READ_ALL_MS };
        self.all(&self.database, command).await
    }

    /// Runs a command that returns a cursor, and collects its documents.
    async fn all(&self, database: &str, command: Document) -> Result<Vec<Document>, DatabaseError> {
        let cursor = self.cursor(database, command).await?;
        Ok(cursor.try_collect().await?)
    }

    async fn cursor(
        &self,
        database: &str,
        command: Document,
    ) -> Result<Cursor<Document>, DatabaseError> {
        let database = self.client.database(database);
        let run = database.run_cursor_command(command);
        Ok(run.selection_criteria(primary_preferred()).await?)
    }

    /// Runs a `find` of a whole collection and folds each document as it comes, so that memory is bounded by what `take` keeps.
    async fn each(
        &self,
        mut find: Document,
        mut take: impl FnMut(&Document),
    ) -> Result<(), DatabaseError> {
        find.insert("batchSize", 1000);
        find.insert("maxTimeMS", MAX_READ_ALL_MS);
        let mut cursor = self.cursor(&self.database, find).await?;
        while let Some(document) = cursor.try_next().await? {
            take(&document);
        }
        Ok(())
    }
}

/// A fault at a named source.
#[must_use]
pub fn source_error(source: impl Into<String>, error: DatabaseError) -> SourceError {
    SourceError::new(source, error.code(), error.detail())
}
