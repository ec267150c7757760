//! Export into an SQLite file: AC's own schema, filled from the live database. What fits no column goes into the column `data`; a row that violates a
//! constraint is listed, and kept in the table `documents`.

mod tables;

use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use bson::{Bson, Document};
use futures_util::TryStreamExt;
use rusqlite::types::Value;
use rusqlite::{Connection, Transaction, params_from_iter};
use serde::Serialize;
use silo_cli::progress::Reporter;
use silo_mongo::collections::{self, Kind as CollectionKind};
use silo_mongo::error::ActionError;
use silo_mongo::mongodb::Database;
use silo_mongo::mongodb::bson::doc;
use tokio_util::sync::CancellationToken;

use crate::error::Error;
use crate::import::DISPOSABLE;
use tables::{Kind, TABLES, Table};

/// Schema of the file.
const SCHEMA: &str = include_str!("sqlite/schema.sql");
/// Documents that are written at once.
const BATCH: usize = 500;
/// Most rejected rows of a collection that are listed.
const LISTED: usize = 100;

/// Export of a collection.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TableReport {
    /// Collection.
    pub collection: String,
    /// Table.
    pub table: String,
    /// Number of documents that were read.
    pub documents: u64,
    /// Number of rows in the table afterwards.
    pub rows: u64,
    /// Number of documents that violate a constraint of the table; they are in the table `documents`.
    pub rejected: u64,
    /// The first of them: `_id` and violated constraint.
    pub rejections: Vec<String>,
}

/// Result of an export.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Exported {
    /// The collections.
    pub tables: Vec<TableReport>,
    /// Number of references to rows that do not exist, such as users that were deleted.
    pub unresolved_references: u64,
    /// Collections that were left out.
    pub skipped: Vec<String>,
}

impl Exported {
    /// `true` if every document is a row of its table.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.tables
            .iter()
            .all(|table| table.rows == table.documents)
    }
}

/// Exports a database. An existing file is brought up to date, one collection after the other: a reader sees the old or the new rows of each.
///
/// # Errors
/// When the database cannot be read or the file not be written.
pub async fn export(
    database: &Database,
    file: &Path,
    progress: &Reporter,
    stop: &CancellationToken,
) -> Result<Exported, Error> {
    let failed = |error: rusqlite::Error| Error::File(format!("{}: {error}", file.display()));
    // It has everything that the database has.
    let created = OpenOptions::new()
        .create(true)
        .append(true)
        .mode(0o600)
        .open(file);
    created.map_err(Error::file(file))?;
    let mut sqlite = Connection::open(file).map_err(failed)?;
    sqlite
        .pragma_update(None, "foreign_keys", false)
        .map_err(failed)?;
    sqlite.execute_batch(SCHEMA).map_err(failed)?;
    let all = collections::list_without_indexes(database).await;
    let all = all.map_err(ActionError::of(format!("listing {}", database.name())))?;
    progress.begin("exporting", None, "documents");
    let mut exported = Exported::default();
    for collection in all.iter().filter(|it| it.kind != CollectionKind::View) {
        let name = &collection.name;
        if stop.is_cancelled() {
            return Err(Error::Interrupted);
        }
        if DISPOSABLE.contains(&name.as_str()) {
            exported.skipped.push(name.clone());
            continue;
        }
        progress.at(name);
        exported.tables.push(
            one(database, name, &mut sqlite, progress)
                .await?
                .map_err(failed)?,
        );
    }
    exported.unresolved_references = unresolved(&sqlite).map_err(failed)?;
    Ok(exported)
}

/// Exports a collection, in one transaction.
async fn one(
    database: &Database,
    name: &str,
    sqlite: &mut Connection,
    progress: &Reporter,
) -> Result<rusqlite::Result<TableReport>, Error> {
    let action = || ActionError::of(format!("reading {name}"));
    let documents = database.collection::<Document>(name).find(doc! {}).await;
    let mut documents = documents.map_err(action())?.try_chunks(BATCH);
    let mut writer = match Writer::begin(sqlite, name) {
        Ok(writer) => writer,
        Err(error) => return Ok(Err(error)),
    };
    while let Some(batch) = documents
        .try_next()
        .await
        .map_err(|chunk| action()(chunk.1))?
    {
        progress.add(u64::try_from(batch.len()).unwrap_or_default());
        if let Err(error) = writer.write(batch) {
            return Ok(Err(error));
        }
    }
    Ok(writer.end())
}

/// Rows of a collection that are being written.
struct Writer<'s> {
    transaction: Transaction<'s>,
    table: Option<&'static Table>,
    insert: String,
    report: TableReport,
}

impl<'s> Writer<'s> {
    /// Deletes the collection's rows of an earlier export.
    fn begin(sqlite: &'s mut Connection, collection: &str) -> rusqlite::Result<Self> {
        let table = TABLES.iter().find(|table| table.collection == collection);
        let transaction = sqlite.transaction()?;
        transaction.execute("DELETE FROM documents WHERE collection = ?1", [collection])?;
        let mut insert = String::new();
        if let Some(table) = table {
            match table.instance {
                Some(instance) => transaction.execute(
                    &format!("DELETE FROM {} WHERE instance = ?1", table.name),
                    [instance],
                )?,
                None => transaction.execute(&format!("DELETE FROM {}", table.name), [])?,
            };
            let mut names: Vec<&str> = table.columns.iter().map(|(column, ..)| *column).collect();
            names.extend(table.instance.map(|_| "instance"));
            names.push("data");
            let places = vec!["?"; names.len()].join(", ");
            insert = format!(
                "INSERT INTO {} ({}) VALUES ({places})",
                table.name,
                names.join(", ")
            );
        }
        Ok(Self {
            transaction,
            table,
            insert,
            report: TableReport {
                collection: collection.to_owned(),
                table: table.map_or("documents", |table| table.name).to_owned(),
                ..TableReport::default()
            },
        })
    }

    fn write(&mut self, documents: Vec<Document>) -> rusqlite::Result<()> {
        for document in documents {
            self.report.documents += 1;
            let id = document.get("_id").map_or_else(String::new, text);
            let Some(table) = self.table else {
                self.keep(&id, document)?;
                continue;
            };
            let row = row(table, document.clone());
            let inserted = self
                .transaction
                .prepare_cached(&self.insert)?
                .execute(params_from_iter(row));
            match inserted {
                Ok(_) => {}
                Err(rusqlite::Error::SqliteFailure(error, why))
                    if error.code == rusqlite::ErrorCode::ConstraintViolation =>
                {
                    self.report.rejected += 1;
                    if self.report.rejections.len() < LISTED {
                        self.report
                            .rejections
                            .push(format!("{id}: {}", why.unwrap_or_default()));
                    }
                    self.keep(&id, document)?;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Writes a row of the table `documents`.
    fn keep(&self, id: &str, mut document: Document) -> rusqlite::Result<()> {
        document.remove("_id");
        let data = data(document);
        let mut insert = self
            .transaction
            .prepare_cached("INSERT INTO documents (collection, id, data) VALUES (?1, ?2, ?3)")?;
        insert
            .execute((&self.report.collection, id, data))
            .map(drop)
    }

    /// Counts the rows, and commits.
    fn end(mut self) -> rusqlite::Result<TableReport> {
        let count = match self.table {
            Some(Table {
                name,
                instance: Some(instance),
                ..
            }) => {
                let query = format!("SELECT count(*) FROM {name} WHERE instance = ?1");
                self.transaction
                    .query_row(&query, [instance], |row| row.get::<_, i64>(0))?
            }
            Some(Table { name, .. }) => {
                self.transaction
                    .query_row(&format!("SELECT count(*) FROM {name}"), [], |row| {
                        row.get(0)
                    })?
            }
            None => self.transaction.query_row(
                "SELECT count(*) FROM documents WHERE collection = ?1",
                [&self.report.collection],
                |row| row.get(0),
            )?,
        };
        self.report.rows = u64::try_from(count).unwrap_or_default();
        self.transaction.commit()?;
        Ok(self.report)
    }
}

/// Values of the columns; what is left goes into `data`.
fn row(table: &Table, mut document: Document) -> Vec<Value> {
    let mut values = Vec::new();
    for (_, path, kind) in table.columns {
        values.push(match take(&mut document, path, *kind) {
            Some(value) => value,
            None => Value::Null,
        });
    }
    values.extend(
        table
            .instance
            .map(|instance| Value::Text(instance.to_owned())),
    );
    values.push(data(document).map_or(Value::Null, Value::Text));
    values
}

/// Takes the value of a field out of the document, if it fits the column.
fn take(document: &mut Document, path: &str, kind: Kind) -> Option<Value> {
    match path.split_once('.') {
        None => {
            let value = column(document.get(path)?, kind)?;
            document.remove(path);
            Some(value)
        }
        Some((name, rest)) => {
            let inner = document.get_document_mut(name).ok()?;
            let value = take(inner, rest, kind)?;
            if inner.is_empty() {
                document.remove(name);
            }
            Some(value)
        }
    }
}

fn column(value: &Bson, kind: Kind) -> Option<Value> {
    match (kind, value) {
        (Kind::Text, Bson::Null) => None,
        (Kind::Text, value) => Some(Value::Text(text(value))),
        (Kind::Integer, Bson::Int32(number)) => Some(Value::Integer((*number).into())),
        (Kind::Integer, Bson::Int64(number)) => Some(Value::Integer(*number)),
        (Kind::Integer, Bson::Boolean(value)) => Some(Value::Integer((*value).into())),
        (Kind::Integer, Bson::Double(number)) if number.fract() == 0.0 => {
            format!("{number:.0}").parse().ok().map(Value::Integer)
        }
        (Kind::Time, Bson::DateTime(time)) => time.try_to_rfc3339_string().ok().map(Value::Text),
        (Kind::Time, Bson::String(text)) => Some(Value::Text(text.clone())),
        _ => None,
    }
}

/// A value as text: an `ObjectId` as its digits, everything else as relaxed Extended JSON.
fn text(value: &Bson) -> String {
    match value {
        Bson::String(text) => text.clone(),
        Bson::ObjectId(id) => id.to_hex(),
        other => other.clone().into_relaxed_extjson().to_string(),
    }
}

/// The rest of a document as relaxed Extended JSON; `None` if nothing is left.
fn data(document: Document) -> Option<String> {
    (!document.is_empty()).then(|| Bson::Document(document).into_relaxed_extjson().to_string())
}

/// Number of rows that refer to rows that do not exist.
fn unresolved(sqlite: &Connection) -> rusqlite::Result<u64> {
    let count: i64 =
        sqlite.query_row("SELECT count(*) FROM pragma_foreign_key_check", [], |row| {
            row.get(0)
        })?;
    Ok(u64::try_from(count).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_column_is_in_the_schema() {
        let sqlite = Connection::open_in_memory().unwrap();
        sqlite.execute_batch(SCHEMA).unwrap();
        for table in TABLES {
            let columns: Vec<&str> = table.columns.iter().map(|column| column.0).collect();
            let query = format!("SELECT {}, data FROM {}", columns.join(", "), table.name);
            sqlite
                .prepare(&query)
                .unwrap_or_else(|error| panic!("{}: {error}", table.name));
        }
    }

    #[test]
    fn what_fits_no_column_goes_into_data() {
        let moods = TABLES
            .iter()
            .find(|table| table.collection == "moods")
            .unwrap();
        let document = doc! { "_id": bson::oid::ObjectId::from_bytes([1; 12]), "user": "auth0|1", "mood": "calm", "deleted": true, "atproto": { "rkey": "3k", "uri": "at://x" }, "bluesky": { "uri": "b" }, "when": "today", "extra": 5 };
        let row = row(moods, document);
        let text = |text: &str| Value::Text(text.to_owned());
        assert_eq!(
            row,
            [
                text("010101010101010101010101"),
                text("auth0|1"),
                text("calm"),
                Value::Integer(1),
                text("3k"),
                text("b"),
                text("today"),
                text(r#"{"atproto":{"uri":"at://x"},"extra":5}"#),
            ]
        );
    }
}
