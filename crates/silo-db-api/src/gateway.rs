//! The one way to mongod: commands with a time limit, BSON in, plain values out. Nothing above this module sees BSON.

mod access;
mod atproto;
mod clients;
mod collections;
mod keeps;
mod sample;
mod server;
mod tapes;
mod users;

use futures_util::TryStreamExt;
use silo_mongo::error::DatabaseError;
use silo_mongo::mongodb::bson::{Document, doc};
use silo_mongo::mongodb::{Client, Database};
use silo_web::snapshot::SourceError;

pub use access::{CollectionTime, CommandCount, Counters};
pub use atproto::SyncCounts;
pub use clients::Connection;
pub use collections::{Index, ListedCollection, Measures};
pub use keeps::{Contract, Legacy, Piece, Played, Record};
pub use sample::{FieldSeen, Newest};
pub use server::{Cache, Connections, Opcounters, ReplicaSet, Status};
pub use tapes::TapeRow;
pub use users::{HandleRow, UserRow, VerificationRow};

/// The limit that every command carries, in milliseconds.
const MAX_TIME_MS: i64 = 2000;

/// The database, reached through one client.
#[derive(Clone)]
pub struct Gateway {
    client: Client,
    database: String,
}

impl Gateway {
    /// The gateway to one database.
    #[must_use]
    pub fn new(client: Client, database: impl Into<String>) -> Self {
        Self {
            client,
            database: database.into(),
        }
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

    fn database(&self) -> Database {
        self.client.database(&self.database)
    }

    async fn admin(&self, mut command: Document) -> Result<Document, DatabaseError> {
        command.insert("maxTimeMS", MAX_TIME_MS);
        Ok(self.client.database("admin").run_command(command).await?)
    }

    async fn aggregate(
        &self,
        collection: &str,
        pipeline: Vec<Document>,
    ) -> Result<Vec<Document>, DatabaseError> {
        let command = doc! { "aggregate": collection, "pipeline": pipeline, "cursor": {}, "maxTimeMS": MAX_TIME_MS };
        let cursor = self.database().run_cursor_command(command).await?;
        Ok(cursor.try_collect().await?)
    }

    /// Runs a `find` and folds each document as it comes, so that memory is bounded by what `take` keeps.
    async fn each(
        &self,
        find: Document,
        mut take: impl FnMut(&Document),
    ) -> Result<(), DatabaseError> {
        let mut find = find;
        find.insert("batchSize", 1000);
        find.insert("maxTimeMS", MAX_TIME_MS);
        let mut cursor = self.database().run_cursor_command(find).await?;
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
