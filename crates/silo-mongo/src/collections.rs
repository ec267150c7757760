//! Structure of a database: collections, views and time series with their options and indexes.

use std::time::Duration;

use futures_util::{StreamExt, TryStreamExt, future, stream};
use mongodb::bson::{Bson, Document, RawBsonRef, RawDocument, doc};
use mongodb::options::Hint;
use mongodb::raw_batch_cursor::RawBatch;
use mongodb::{ClientSession, Database};

use crate::error::DatabaseError;
use crate::field;

/// Most documents in a batch.
const MAX_BATCH: u32 = 50_000;
/// Commands about collections that run at once: as many as a client has connections.
pub const AT_ONCE: usize = 4;
/// Time limit of reading a collection. Without one, `defaultMaxTimeMS` of a server since 8.0 would apply, which is meant for queries of an application.
const LONGEST_READ: Duration = Duration::from_secs(24 * 3600);

/// Kind of a collection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Documents.
    Collection,
    /// A stored pipeline; it has no documents of its own.
    View,
    /// Time series; its documents are stored in buckets, in a collection of their own.
    TimeSeries,
}

impl Kind {
    /// The server's own word, as in `listCollections` and in archives.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Collection => "collection",
            Self::View => "view",
            Self::TimeSeries => "timeseries",
        }
    }

    /// Kind by the server's word. An unknown word counts as a collection, so that its documents are not left out.
    #[must_use]
    pub fn of_word(word: &str) -> Self {
        match word {
            "view" => Self::View,
            "timeseries" => Self::TimeSeries,
            _ => Self::Collection,
        }
    }
}

/// One collection.
#[derive(Clone, Debug, PartialEq)]
pub struct Collection {
    /// Name of the collection.
    pub name: String,
    /// Kind of the collection.
    pub kind: Kind,
    /// Options that it was created with.
    pub options: Document,
    /// UUID in hexadecimal, if the server reports it.
    pub uuid: Option<String>,
    /// Indexes as `listIndexes` reports them, without the server's internal ones.
    pub indexes: Vec<Document>,
}

impl Collection {
    /// `true` if the collection is capped. mongod cannot read those in a snapshot.
    #[must_use]
    pub fn is_capped(&self) -> bool {
        field::flag(&self.options, "capped") == Some(true)
    }

    /// Name under which the documents are stored; for a time series the name of its buckets.
    #[must_use]
    pub fn data_name(&self) -> String {
        match self.kind {
            Kind::TimeSeries => format!("system.buckets.{}", self.name),
            _ => self.name.clone(),
        }
    }
}

/// Lists everything in a database by name, except the server's own collections (`system.*`, but including `system.js`). A collection that is dropped
/// before its indexes are read is left out.
///
/// # Errors
/// The error of the command.
pub async fn list(database: &Database) -> Result<Vec<Collection>, DatabaseError> {
    with_indexes(database, indexes).await
}

/// Like [`list`], without indexes that are still being built.
///
/// # Errors
/// The error of the command.
pub async fn list_with_built_indexes(
    database: &Database,
) -> Result<Vec<Collection>, DatabaseError> {
    with_indexes(database, built_indexes).await
}

async fn with_indexes(
    database: &Database,
    indexes: impl AsyncFn(&Database, &str) -> Result<Vec<Document>, DatabaseError>,
) -> Result<Vec<Collection>, DatabaseError> {
    let collections = list_without_indexes(database).await?;
    let complete = collections
        .into_iter()
        .map(|collection| complete(database, collection, &indexes));
    let complete = stream::iter(complete).buffered(AT_ONCE);
    complete.try_filter_map(future::ok).try_collect().await
}

/// A collection with its indexes; `None` if it was dropped.
async fn complete(
    database: &Database,
    mut collection: Collection,
    indexes: &impl AsyncFn(&Database, &str) -> Result<Vec<Document>, DatabaseError>,
) -> Result<Option<Collection>, DatabaseError> {
    if collection.kind != Kind::View {
        match indexes(database, &collection.name).await {
            Ok(indexes) => collection.indexes = indexes,
            Err(DatabaseError::NotThere) => return Ok(None),
            Err(error) => return Err(error),
        }
    }
    Ok(Some(collection))
}

/// Like [`list`], without indexes: one command.
///
/// # Errors
/// The error of the command.
pub async fn list_without_indexes(database: &Database) -> Result<Vec<Collection>, DatabaseError> {
    list_command(database, doc! { "listCollections": 1 }).await
}

/// The collection of this name, without its indexes; `None` if there is none.
///
/// # Errors
/// The error of the command.
pub async fn find(database: &Database, name: &str) -> Result<Option<Collection>, DatabaseError> {
    let command = doc! { "listCollections": 1, "filter": { "name": name } };
    Ok(list_command(database, command).await?.pop())
}

async fn list_command(
    database: &Database,
    command: Document,
) -> Result<Vec<Collection>, DatabaseError> {
    let mut found = Vec::new();
    let mut cursor = database.run_cursor_command(command).await?;
    while let Some(entry) = cursor.try_next().await? {
        let name = field::text(&entry, "name").ok_or(DatabaseError::Unreadable)?;
        if name.starts_with("system.") && name != "system.js" {
            continue;
        }
        let kind = Kind::of_word(field::text(&entry, "type").unwrap_or_default());
        let uuid = match field::at(&entry, "info.uuid") {
            Some(Bson::Binary(binary)) => Some(
                binary
                    .bytes
                    .iter()
                    .map(|byte| format!("{byte:02x}"))
                    .collect(),
            ),
            _ => None,
        };
        found.push(Collection {
            name: name.to_owned(),
            kind,
            options: field::document(&entry, "options")
                .cloned()
                .unwrap_or_default(),
            uuid,
            indexes: Vec::new(),
        });
    }
    found.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(found)
}

/// Indexes of a collection, those that are being built included, without the namespace that older servers add.
///
/// # Errors
/// The error of the command.
pub async fn indexes(database: &Database, name: &str) -> Result<Vec<Document>, DatabaseError> {
    list_indexes(database, doc! { "listIndexes": name }).await
}

/// Indexes of a collection whose build has ended.
async fn built_indexes(database: &Database, name: &str) -> Result<Vec<Document>, DatabaseError> {
    // Others are listed as `{ spec, buildUUID }`, except by a server that is in no replica set.
    let command = doc! { "listIndexes": name, "includeBuildUUIDs": true };
    let mut indexes = list_indexes(database, command).await?;
    indexes.retain(|index| !index.contains_key("buildUUID"));
    Ok(indexes)
}

async fn list_indexes(
    database: &Database,
    command: Document,
) -> Result<Vec<Document>, DatabaseError> {
    let cursor = database.run_cursor_command(command).await?;
    let mut indexes: Vec<Document> = cursor.try_collect().await?;
    for index in &mut indexes {
        index.remove("ns");
    }
    Ok(indexes)
}

/// `true` if the database is empty, views and the server's own collections included.
///
/// # Errors
/// The error of the command.
pub async fn is_empty(database: &Database) -> Result<bool, DatabaseError> {
    Ok(database.list_collection_names().await?.is_empty())
}

/// Number of documents of a collection, and how many of them fit into about `batch_bytes`, from `collStats`. Estimates: the number may be wrong after
/// a crash of the server.
///
/// # Errors
/// The error of the command.
pub async fn size(
    database: &Database,
    data_name: &str,
    batch_bytes: u64,
) -> Result<(u64, u32), DatabaseError> {
    let stats = database
        .run_command(doc! { "collStats": data_name })
        .await?;
    let count = field::count(&stats, "count").unwrap_or_default();
    let average = field::count(&stats, "avgObjSize")
        .unwrap_or_default()
        .max(1);
    let batch = u32::try_from(batch_bytes / average).unwrap_or(u32::MAX);
    Ok((count, batch.clamp(1, MAX_BATCH)))
}

/// The documents of a batch, as they are in the server's answer.
///
/// # Errors
/// [`DatabaseError::Unreadable`] if the answer has something else.
pub fn documents(
    batch: &RawBatch,
) -> Result<impl Iterator<Item = Result<&RawDocument, DatabaseError>>, DatabaseError> {
    let slices = batch.doc_slices();
    let slices = slices.map_err(|error| DatabaseError::from(&error))?;
    Ok(slices.into_iter().map(|document| match document {
        Ok(RawBsonRef::Document(document)) => Ok(document),
        _ => Err(DatabaseError::Unreadable),
    }))
}

/// Reads the documents of a collection in the order of their `_id`s, after one of any type; in batches of at most `batch` documents. The bound is one of
/// the index, which orders all types; `$gt` finds values of the same type only.
///
/// # Errors
/// The error of the command, or the error of `each`, which stops the reading.
pub async fn read_by_id<E: From<DatabaseError>>(
    database: &Database,
    name: &str,
    after: Option<Bson>,
    batch: u32,
    mut each: impl AsyncFnMut(RawBatch) -> Result<(), E>,
) -> Result<(), E> {
    let collection = database.collection::<Document>(name);
    let by_id = doc! { "_id": 1 };
    let find = collection
        .find(doc! {})
        .sort(by_id.clone())
        .hint(Hint::Keys(by_id))
        .batch_size(batch)
        .max_time(LONGEST_READ);
    let find = match after {
        Some(id) => find.min(doc! { "_id": id }),
        None => find,
    };
    let error = |error| E::from(DatabaseError::from(&error));
    let mut batches = find.batch().await.map_err(error)?;
    while let Some(batch) = batches.next().await {
        each(batch.map_err(error)?).await?;
    }
    Ok(())
}

/// Reads all documents of a collection in natural order, in batches of at most `batch` documents; through a session if there is one. The server also
/// ends a batch at 16 MiB.
///
/// # Errors
/// The error of the command, or the error of `each`, which stops the reading.
pub async fn read_all<E: From<DatabaseError>>(
    database: &Database,
    name: &str,
    batch: u32,
    session: Option<&mut ClientSession>,
    mut each: impl AsyncFnMut(RawBatch) -> Result<(), E>,
) -> Result<(), E> {
    let collection = database.collection::<Document>(name);
    let find = || {
        collection
            .find(doc! {})
            .batch_size(batch)
            .no_cursor_timeout(false)
            .max_time(LONGEST_READ)
    };
    let error = |error| E::from(DatabaseError::from(&error));
    if let Some(session) = session {
        let mut cursor = find().session(&mut *session).batch().await.map_err(error)?;
        let mut batches = cursor.stream(session);
        while let Some(batch) = batches.next().await {
            each(batch.map_err(error)?).await?;
        }
    } else {
        let mut batches = find().batch().await.map_err(error)?;
        while let Some(batch) = batches.next().await {
            each(batch.map_err(error)?).await?;
        }
    }
    Ok(())
}
