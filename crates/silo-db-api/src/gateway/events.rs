//! Changes of the database, from a change stream. mongod sends of each changed document only what is used here, so that neither large documents nor
//! their contents leave it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::Timestamp;
use silo_mongo::connect::primary_preferred;
use silo_mongo::error::DatabaseError;
use silo_mongo::field;
use silo_mongo::mongodb::bson::{Bson, Document, doc};
use silo_mongo::mongodb::change_stream::ChangeStream;
use silo_mongo::mongodb::change_stream::event::ResumeToken;

use super::Gateway;

/// Time that mongod waits for a change before it answers without one.
const AWAIT: Duration = Duration::from_secs(1);
/// mongod's error code for a position that it cannot read (`InvalidResumeToken`).
const INVALID_POSITION: i32 = 260;
/// Most changes in one answer.
const BATCH: u32 = 100;
/// Longest text taken from a document, in characters.
const LONGEST_TEXT: i32 = 100;
/// Most names of changed fields taken from one update.
const MOST_FIELDS: i32 = 20;

/// Kind of a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ChangeKind {
    /// A new document.
    Insert,
    /// Some fields of a document.
    Update,
    /// A whole document.
    Replace,
    /// A document was deleted, also by expiry.
    Delete,
    /// A collection was dropped.
    Drop,
    /// A collection was renamed.
    Rename,
    /// The database was dropped.
    DropDatabase,
}

impl ChangeKind {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Insert,
        Self::Update,
        Self::Replace,
        Self::Delete,
        Self::Drop,
        Self::Rename,
        Self::DropDatabase,
    ];

    /// mongod's word for it (`operationType`).
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Insert => "insert",
            Self::Update => "update",
            Self::Replace => "replace",
            Self::Delete => "delete",
            Self::Drop => "drop",
            Self::Rename => "rename",
            Self::DropDatabase => "dropDatabase",
        }
    }

    /// The operation of a word.
    #[must_use]
    pub fn of_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|known| known.word() == word)
    }
}

/// `_id` of a document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DocumentId {
    /// An `ObjectId`, in hexadecimal.
    Object(String),
    /// Text.
    Text(String),
}

/// One change, as mongod reports it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// When mongod made it, to the second.
    pub at: Timestamp,
    /// The collection; empty if the database was dropped.
    pub collection: String,
    /// Kind of the change.
    pub operation: ChangeKind,
    /// The document; `None` if its `_id` is neither an `ObjectId` nor text.
    pub document: Option<DocumentId>,
    /// Of an inserted or replaced document: the wanted fields that are text, by path.
    pub texts: BTreeMap<String, String>,
    /// Of an update: the paths of some changed fields.
    pub fields: Vec<String>,
}

/// An open change stream.
pub struct ChangeReader {
    stream: ChangeStream<Document>,
    paths: Vec<String>,
}

impl Gateway {
    /// Opens a change stream of the database: from a position that [`ChangeReader::position`] returned, or from now. `paths` are the fields whose text is
    /// wanted.
    ///
    /// # Errors
    /// The error of the command: the position is no longer in the oplog, or the server is not in a replica set.
    pub async fn watch(
        &self,
        position: Option<&str>,
        paths: &BTreeSet<String>,
    ) -> Result<ChangeReader, DatabaseError> {
        let paths: Vec<_> = paths.iter().filter(|path| is_path(path)).cloned().collect();
        let token: Option<ResumeToken> = position
            .map(serde_json::from_str)
            .transpose()
            .map_err(|_malformed| DatabaseError::Refused(INVALID_POSITION))?;
        let database = self.client.database(&self.database);
        let stream = database
            .watch()
            .pipeline([project(&paths)])
            .max_await_time(AWAIT)
            .batch_size(BATCH)
            .selection_criteria(primary_preferred());
        // Unlike `resumeAfter`, it also continues after the database was dropped.
        let stream = match token {
            Some(token) => stream.start_after(token).await?,
            None => stream.await?,
        };
        Ok(ChangeReader {
            stream: stream.with_type(),
            paths,
        })
    }
}

impl ChangeReader {
    /// The next change; `None` after a second without one, and for changes that are of no interest.
    ///
    /// # Errors
    /// The error of the command.
    pub async fn next(&mut self) -> Result<Option<Change>, DatabaseError> {
        let event = self.stream.next_if_any().await?;
        Ok(event.and_then(|event| read(&event, &self.paths)))
    }

    /// Position after the last change; for [`Gateway::watch`].
    #[must_use]
    pub fn position(&self) -> Option<String> {
        serde_json::to_string(&self.stream.resume_token()?).ok()
    }

    /// `true` when mongod has ended the stream: the database was dropped.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        !self.stream.is_alive()
    }
}

/// `true` for the path of a field that can be part of a pipeline.
fn is_path(path: &str) -> bool {
    let plain = |part: &str| {
        let mut characters = part.chars();
        let character = |each: char| each.is_ascii_alphanumeric() || "_-".contains(each);
        !part.is_empty() && characters.all(character)
    };
    path.split('.').all(plain)
}

/// A stage that leaves of each change only what [`read`] reads.
fn project(paths: &[String]) -> Document {
    let text_of = |path: String| {
        doc! { "$cond": [
            { "$eq": [{ "$type": &path }, "string"] },
            { "$substrCP": [&path, 0, LONGEST_TEXT] },
            null,
        ] }
    };
    let texts = paths
        .iter()
        .map(|path| Bson::from(text_of(format!("$fullDocument.{path}"))));
    let changed = doc! { "$objectToArray": "$updateDescription.updatedFields" };
    let names = doc! { "$map": { "input": changed, "in": "$$this.k" } };
    let id = doc! { "$cond": [
        { "$eq": [{ "$type": "$documentKey._id" }, "objectId"] },
        "$documentKey._id",
        text_of("$documentKey._id".into()),
    ] };
    doc! { "$project": {
        "operationType": 1,
        "ns": 1,
        "clusterTime": 1,
        "document": id,
        "texts": texts.collect::<Vec<_>>(),
        "updated": { "$slice": [names, MOST_FIELDS] },
        "removed": { "$slice": ["$updateDescription.removedFields", MOST_FIELDS] },
    } }
}

fn read(event: &Document, paths: &[String]) -> Option<Change> {
    let operation = ChangeKind::of_word(field::text(event, "operationType")?)?;
    let time = event.get_timestamp("clusterTime").ok()?;
    let document = match event.get("document") {
        Some(Bson::ObjectId(id)) => Some(DocumentId::Object(id.to_hex())),
        Some(Bson::String(id)) => Some(DocumentId::Text(id.clone())),
        _ => None,
    };
    let list = |name: &str| event.get_array(name).into_iter().flatten();
    let texts = paths.iter().zip(list("texts"));
    let texts = texts.filter_map(|(path, text)| Some((path.clone(), text.as_str()?.to_owned())));
    let fields = list("updated").chain(list("removed"));
    Some(Change {
        at: Timestamp::from_second(time.time.into()).ok()?,
        collection: field::text(event, "ns.coll").unwrap_or_default().to_owned(),
        operation,
        document,
        texts: texts.collect(),
        fields: fields
            .filter_map(|name| Some(name.as_str()?.to_owned()))
            .collect(),
    })
}
