//! Inserts of raw documents, unchanged.

use std::time::Duration;

use bson::{RawArray, RawArrayBuf, RawBsonRef, RawDocument, RawDocumentBuf};
use silo_mongo::error::DatabaseError;
use silo_mongo::mongodb::Database;
use silo_mongo::mongodb::bson::{Bson, Document, doc};

/// Attempts to insert a batch while the server has no primary.
const ATTEMPTS: u32 = 3;
/// Pause between attempts: an election takes a few seconds.
const PAUSE: Duration = Duration::from_secs(5);
/// Error code of a duplicate key.
const DUPLICATE_KEY: i32 = 11_000;

/// Documents to insert.
#[derive(Default)]
pub(super) struct Batch {
    documents: RawArrayBuf,
    count: u64,
    /// Documents with an empty timestamp in a top-level field, which an insert would replace by the current time.
    empty_timestamps: Vec<RawDocumentBuf>,
}

impl Batch {
    /// Adds a document.
    pub(super) fn add(&mut self, document: &RawDocument) {
        self.count += 1;
        if has_empty_timestamp(document) {
            self.empty_timestamps.push(document.to_owned());
        } else {
            self.documents.push(document);
        }
    }

    /// Number of documents.
    pub(super) fn count(&self) -> u64 {
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
pub(super) async fn insert(
    database: &Database,
    name: &str,
    batch: Batch,
    bypass_validation: bool,
) -> Result<(), DatabaseError> {
    let Batch {
        documents,
        count,
        empty_timestamps,
    } = batch;
    if count > u64::try_from(empty_timestamps.len()).unwrap_or_default() {
        insert_unchanged(database, name, &documents, bypass_validation).await?;
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
        let command = doc! { "update": name, "updates": [update], "bypassDocumentValidation": bypass_validation };
        check(&database.run_command(command).await?, false)?;
    }
    Ok(())
}

async fn insert_unchanged(
    database: &Database,
    name: &str,
    documents: &RawArray,
    bypass_validation: bool,
) -> Result<(), DatabaseError> {
    let mut attempt = 1;
    loop {
        let repeated = attempt > 1;
        let mut command = RawDocumentBuf::new();
        command.append(bson::cstr!("insert"), name);
        // Goes on after a duplicate of the first attempt.
        command.append(bson::cstr!("ordered"), !repeated);
        command.append(bson::cstr!("bypassDocumentValidation"), bypass_validation);
        command.append(bson::cstr!("documents"), documents);
        let error = match database.run_raw_command(command).await {
            Ok(answer) => match check(&answer, repeated) {
                Ok(()) => return Ok(()),
                Err(error) => error,
            },
            Err(error) => DatabaseError::from(&error),
        };
        if attempt == ATTEMPTS || !error.is_transient() {
            return Err(error);
        }
        attempt += 1;
        log::warn!(code = error.code(), attempt; "an insert was interrupted; repeating it");
        tokio::time::sleep(PAUSE).await;
    }
}

/// Error of an answer, if any. Of a repeated insert, duplicates are those of the first attempt.
fn check(answer: &Document, repeated: bool) -> Result<(), DatabaseError> {
    let errors = answer
        .get_array("writeErrors")
        .map_or(&[][..], Vec::as_slice);
    let mut codes = errors
        .iter()
        .filter_map(|error| error.as_document()?.get_i32("code").ok());
    let first = codes.find(|code| !(repeated && *code == DUPLICATE_KEY));
    match first {
        Some(code) => Err(DatabaseError::from_server_code(code)),
        None => Ok(()),
    }
}
