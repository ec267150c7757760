//! Inserts of raw documents, unchanged.

use std::time::Duration;

use mongodb::Database;
use mongodb::bson::{
    self, Bson, Document, RawArray, RawArrayBuf, RawBsonRef, RawDocument, RawDocumentBuf, doc,
    rawdoc,
};
use tokio::task::JoinSet;

use crate::collections::{Collection, Kind};
use crate::error::{ActionError, DatabaseError};

/// Bytes of a batch; one larger document is a batch of its own.
const BATCH_BYTES: usize = 1024 * 1024;
/// Most documents of a batch.
const BATCH_DOCUMENTS: u64 = 10_000;
/// Attempts to insert a batch while the server has no primary.
const ATTEMPTS: u32 = 3;
/// Pause between attempts: an election takes a few seconds.
const PAUSE: Duration = Duration::from_secs(5);
/// Error code of a duplicate key.
const DUPLICATE_KEY: i32 = 11_000;

/// Concurrent inserts, each in a task of its own, so that they continue while the next batch is read.
#[derive(Default)]
pub struct Inserts {
    tasks: JoinSet<Result<u64, ActionError>>,
    /// `true` if they do not wait for the server's journal.
    early: bool,
}

impl Inserts {
    /// Inserts that do not wait for the server's journal. It is written in order: they are in it when a later write is that waits for it.
    #[must_use]
    pub fn before_a_write_that_waits() -> Self {
        Self {
            early: true,
            ..Self::default()
        }
    }

    /// Starts an insert into the collection that stores the documents of `collection`.
    pub fn begin(&mut self, database: &Database, collection: &Collection, batch: Batch) {
        self.start(database, collection, batch, false);
    }

    /// Like [`Inserts::begin`], for documents of which some may have been inserted before: those are left as they are.
    pub fn begin_again(&mut self, database: &Database, collection: &Collection, batch: Batch) {
        self.start(database, collection, batch, true);
    }

    fn start(&mut self, database: &Database, collection: &Collection, batch: Batch, again: bool) {
        let (database, name) = (database.clone(), collection.data_name());
        // Measurements have no unique `_id`: repeated, they would be there twice.
        let attempts = if collection.options.contains_key("timeseries")
            && collection.kind == Kind::Collection
        {
            1
        } else {
            ATTEMPTS
        };
        // Documents may be older than the validator.
        let bypass = collection.options.contains_key("validator");
        let early = self.early;
        self.tasks.spawn(async move {
            let count = batch.count();
            let how = How {
                again,
                attempts,
                bypass,
                early,
            };
            let inserted = insert(&database, &name, batch, how).await;
            inserted
                .map(|()| count)
                .map_err(ActionError::of(format!("inserting into {name}")))
        });
    }

    /// Waits until at most `most` inserts are running. Returns the number of documents inserted meanwhile.
    ///
    /// # Errors
    /// The error of an insert.
    pub async fn wait_until_at_most(&mut self, most: usize) -> Result<u64, ActionError> {
        let mut documents = 0;
        while self.tasks.len() > most
            && let Some(inserted) = self.tasks.join_next().await
        {
            // A task that panicked has inserted nothing that is known.
            documents += inserted.unwrap_or_else(|_panic| {
                Err(ActionError {
                    action: "inserting".into(),
                    error: DatabaseError::Unreadable,
                })
            })?;
        }
        Ok(documents)
    }

    /// Waits for all inserts, and ignores their results.
    pub async fn finish(&mut self) {
        while self.tasks.join_next().await.is_some() {}
    }
}

/// Options of an insert.
#[derive(Clone, Copy)]
struct How {
    /// `true` if some of the documents may have been inserted before.
    again: bool,
    /// Most attempts.
    attempts: u32,
    /// `true` if the collection's validator does not apply.
    bypass: bool,
    /// `true` if it does not wait for the server's journal.
    early: bool,
}

/// Documents to insert.
#[derive(Default)]
pub struct Batch {
    documents: RawArrayBuf,
    count: u64,
    bytes: usize,
    /// Documents with an empty timestamp in a top-level field, which an insert would replace by the current time.
    empty_timestamps: Vec<RawDocumentBuf>,
}

impl Batch {
    /// Adds a document.
    pub fn add(&mut self, document: &RawDocument) {
        self.count += 1;
        self.bytes += document.as_bytes().len();
        if has_empty_timestamp(document) {
            self.empty_timestamps.push(document.to_owned());
        } else {
            self.documents.push(document);
        }
    }

    /// `true` if the document fits beside the others. An empty batch has room for any document.
    #[must_use]
    pub fn fits(&self, document: &RawDocument) -> bool {
        self.count == 0 || self.bytes + document.as_bytes().len() <= BATCH_BYTES
    }

    /// `true` if it should be inserted before another document is added.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.count >= BATCH_DOCUMENTS || self.bytes >= BATCH_BYTES
    }

    /// `true` if it has so many bytes that it should be inserted alone, because it is in memory several times until the server has it.
    #[must_use]
    pub fn is_large(&self) -> bool {
        self.bytes > 2 * BATCH_BYTES
    }

    /// Number of documents.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.count
    }
}

/// `true` if a top-level field other than `_id` is `Timestamp(0, 0)`.
fn has_empty_timestamp(document: &RawDocument) -> bool {
    let empty = bson::Timestamp {
        time: 0,
        increment: 0,
    };
    document.iter().any(|element| {
        element.is_ok_and(|(name, value)| {
            name.as_str() != "_id" && value == RawBsonRef::Timestamp(empty)
        })
    })
}

/// Inserts a batch in order. An insert that was interrupted by an election is repeated; documents of its first attempt are recognised by their `_id`, and
/// compared later like all others.
async fn insert(
    database: &Database,
    name: &str,
    batch: Batch,
    how: How,
) -> Result<(), DatabaseError> {
    let Batch {
        documents,
        count,
        empty_timestamps,
        ..
    } = batch;
    if count > u64::try_from(empty_timestamps.len()).unwrap_or_default() {
        insert_unchanged(database, name, &documents, how).await?;
    }
    for document in &empty_timestamps {
        // A pipeline stores its result as it is.
        let id = document
            .get("_id")
            .ok()
            .flatten()
            .and_then(|id| Bson::try_from(id).ok());
        let content =
            Document::try_from(document.as_ref()).map_err(|_invalid| DatabaseError::Unreadable)?;
        let pipeline = vec![doc! { "$replaceWith": { "$literal": content } }];
        let update =
            doc! { "q": { "_id": id.unwrap_or(Bson::Null) }, "u": pipeline, "upsert": true };
        let command =
            doc! { "update": name, "updates": [update], "bypassDocumentValidation": how.bypass };
        check(&database.run_command(command).await?, false)?;
    }
    Ok(())
}

async fn insert_unchanged(
    database: &Database,
    name: &str,
    documents: &RawArray,
    how: How,
) -> Result<(), DatabaseError> {
    let mut attempt = 1;
    loop {
        let repeated = how.again || attempt > 1;
        let mut command = RawDocumentBuf::new();
        command.append(bson::cstr!("insert"), name);
        // Goes on after a duplicate of the first attempt.
        command.append(bson::cstr!("ordered"), !repeated);
        command.append(bson::cstr!("bypassDocumentValidation"), how.bypass);
        if how.early {
            command.append(bson::cstr!("writeConcern"), rawdoc! { "w": 1 });
        }
        command.append(bson::cstr!("documents"), documents);
        let error = match database.run_raw_command(command).await {
            Ok(answer) => match check(&answer, repeated) {
                Ok(()) => return Ok(()),
                Err(error) => error,
            },
            Err(error) => DatabaseError::from(&error),
        };
        if attempt == how.attempts || !error.is_transient() {
            return Err(error);
        }
        attempt += 1;
        log::warn!(code = error.code(), attempt; "an insert was interrupted; repeating it");
        tokio::time::sleep(PAUSE).await;
    }
}

/// Error of an answer, if any. Of a repeated insert, documents whose `_id` exists are those of the first attempt.
fn check(answer: &Document, repeated: bool) -> Result<(), DatabaseError> {
    let of_concern = answer.get_document("writeConcernError").ok();
    let of_writes = answer.get_array("writeErrors").into_iter().flatten();
    let mut errors = of_writes.filter_map(Bson::as_document).chain(of_concern);
    let failed = errors.find(|error| !(repeated && is_same_id(error)));
    match failed.map(|error| error.get_i32("code")) {
        Some(code) => Err(DatabaseError::from_server_code(code.unwrap_or_default())),
        None => Ok(()),
    }
}

/// `true` if a document has the `_id` of another; not for a duplicate in another unique index.
fn is_same_id(error: &Document) -> bool {
    let keys = error.get_document("keyPattern");
    error
        .get_i32("code")
        .is_ok_and(|code| code == DUPLICATE_KEY)
        && keys.is_ok_and(|keys| keys.len() == 1 && keys.contains_key("_id"))
}
