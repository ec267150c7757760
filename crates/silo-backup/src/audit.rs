//! Record of state-changing commands in the database `silo`: who ran what, and with which result.

use futures_util::TryStreamExt;
use jiff::Timestamp;
use serde::Serialize;
use silo_mongo::field;
use silo_mongo::mongodb::Client;
use silo_mongo::mongodb::bson::{Document, doc};

use crate::error::Error;
use crate::run::lease::SILO;

/// Collection of the record, in the database `silo`.
const COLLECTION: &str = "backup_audit";

/// One command.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AuditEntry {
    /// When it ended.
    pub at: Timestamp,
    /// Operator: the signed-in one, or the user of the command line.
    pub operator: String,
    /// Command with its arguments.
    pub command: String,
    /// `ok`, or the error's text.
    pub result: String,
}

/// Adds an entry. A failure is logged, and does not fail the command.
pub async fn record(client: &Client, entry: &AuditEntry) {
    let document = doc! { "at": field::date(entry.at), "operator": &entry.operator, "command": &entry.command, "result": &entry.result };
    let written = client
        .database(SILO)
        .collection::<Document>(COLLECTION)
        .insert_one(document)
        .await;
    if let Err(error) = written {
        let error = Error::database("recording the command")(&error);
        log::warn!(command = entry.command.as_str(), operator = entry.operator.as_str(), result = entry.result.as_str(); "the command could not be recorded in the database: {error}");
    }
}

/// The newest entries, the newest first.
///
/// # Errors
/// The error of the command.
pub async fn newest(client: &Client, limit: i64) -> Result<Vec<AuditEntry>, Error> {
    let action = "reading the audit record";
    let found = client
        .database(SILO)
        .collection::<Document>(COLLECTION)
        .find(doc! {})
        .sort(doc! { "at": -1, "_id": -1 })
        .limit(limit)
        .await
        .map_err(|error| Error::database(action)(&error))?;
    let found: Vec<Document> = found
        .try_collect()
        .await
        .map_err(|error| Error::database(action)(&error))?;
    let read = |entry: &Document| {
        let text = |name| field::text(entry, name).unwrap_or_default().to_owned();
        Some(AuditEntry {
            at: field::time(entry, "at")?,
            operator: text("operator"),
            command: text("command"),
            result: text("result"),
        })
    };
    Ok(found.iter().filter_map(read).collect())
}
