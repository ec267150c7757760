//! Changes of documents, on disk: memory does not grow with their number, except by eight bytes for each document that is changed.

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::Path;

use rusqlite::{Connection, OptionalExtension, params};
use tempfile::TempDir;

use super::Position;
use super::entry::OperationKind;

/// Pages that SQLite keeps in memory, in KiB.
const CACHE_KIB: i64 = 4096;
/// A change of a document.
pub(super) struct DocumentChange<'a> {
    /// Position of its entry.
    pub(super) at: Position,
    /// Kind of the change.
    pub(super) kind: ChangeKind,
    /// The new document, or the change of an update.
    pub(super) body: &'a [u8],
}

/// Kind of a change of a document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ChangeKind {
    Insert,
    Update,
    Delete,
}

impl ChangeKind {
    fn number(self) -> i64 {
        match self {
            Self::Insert => 0,
            Self::Update => 1,
            Self::Delete => 2,
        }
    }

    fn of(number: i64) -> Self {
        match number {
            0 => Self::Insert,
            1 => Self::Update,
            _ => Self::Delete,
        }
    }
}

/// An insert of a document.
pub(super) struct Inserted {
    /// Number of the change.
    pub(super) number: i64,
    /// Type and value of its `_id`.
    pub(super) id: Vec<u8>,
    /// The document.
    pub(super) document: Vec<u8>,
}

/// The changes, by collection and `_id`.
pub(super) struct DocumentChanges {
    connection: Connection,
    /// Hashes of the documents that have changes.
    changed: HashSet<u64>,
    /// Holds the file until this is dropped.
    _folder: TempDir,
}

impl DocumentChanges {
    /// An empty file in a folder, readable by this account only, which is deleted at the end.
    pub(super) fn new(folder: &Path) -> Result<Self, super::Error> {
        let folder = TempDir::with_prefix_in("oplog-", folder)?;
        let connection = Connection::open(folder.path().join("changes.sqlite"))?;
        connection.execute_batch(
            "PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; PRAGMA locking_mode = EXCLUSIVE;
             CREATE TABLE changes (number INTEGER PRIMARY KEY, collection INTEGER NOT NULL, id BLOB NOT NULL, kind INTEGER NOT NULL, body BLOB NOT NULL, seconds INTEGER NOT NULL, increment INTEGER NOT NULL);
             CREATE INDEX by_document ON changes (collection, id, number);
             CREATE INDEX inserts ON changes (collection, number) WHERE kind = 0;
             CREATE TABLE open (number INTEGER PRIMARY KEY, transaction_id BLOB NOT NULL, entry BLOB NOT NULL);",
        )?;
        connection.pragma_update(None, "cache_size", -CACHE_KIB)?;
        connection.execute_batch("BEGIN")?;
        Ok(Self {
            connection,
            changed: HashSet::new(),
            _folder: folder,
        })
    }

    /// Adds a change.
    pub(super) fn add(
        &mut self,
        at: Position,
        collection: usize,
        id: &[u8],
        kind: &OperationKind<'_>,
    ) -> Result<(), rusqlite::Error> {
        let (kind, body): (ChangeKind, &[u8]) = match kind {
            OperationKind::Insert(document) => (ChangeKind::Insert, document),
            OperationKind::Update { change, .. } => (ChangeKind::Update, change),
            _ => (ChangeKind::Delete, &[]),
        };
        self.changed.insert(hash(collection, id));
        let mut insert = self.connection.prepare_cached(
            "INSERT INTO changes (collection, id, kind, body, seconds, increment) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        )?;
        insert.execute(params![
            row(collection),
            id,
            kind.number(),
            body,
            at.seconds,
            at.increment
        ])?;
        Ok(())
    }

    /// Keeps an entry of a transaction that has not ended.
    pub(super) fn keep_open(
        &mut self,
        transaction: &[u8],
        entry: &[u8],
    ) -> Result<(), rusqlite::Error> {
        let mut insert = self
            .connection
            .prepare_cached("INSERT INTO open (transaction_id, entry) VALUES (?1, ?2)")?;
        insert.execute(params![transaction, entry])?;
        Ok(())
    }

    /// The first entry of a transaction after a number, with its own.
    pub(super) fn next_open(
        &self,
        transaction: &[u8],
        after: i64,
    ) -> Result<Option<(i64, Vec<u8>)>, rusqlite::Error> {
        let mut find = self.connection.prepare_cached(
            "SELECT number, entry FROM open WHERE transaction_id = ?1 AND number > ?2 ORDER BY number LIMIT 1",
        )?;
        find.query_row(params![transaction, after], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })
        .optional()
    }

    /// Forgets the entries of a transaction.
    pub(super) fn close(&mut self, transaction: &[u8]) -> Result<(), rusqlite::Error> {
        let mut delete = self
            .connection
            .prepare_cached("DELETE FROM open WHERE transaction_id = ?1")?;
        delete.execute([transaction])?;
        Ok(())
    }

    /// `false` if a document has no changes.
    pub(super) fn may_have(&self, collection: usize, id: &[u8]) -> bool {
        self.changed.contains(&hash(collection, id))
    }

    /// Calls `each` with every change of a document after a number, in their order.
    pub(super) fn of(
        &self,
        collection: usize,
        id: &[u8],
        after: i64,
        mut each: impl FnMut(DocumentChange<'_>) -> Result<(), super::Error>,
    ) -> Result<(), super::Error> {
        let mut find = self.connection.prepare_cached(
            "SELECT kind, body, seconds, increment FROM changes WHERE collection = ?1 AND id = ?2 AND number > ?3 ORDER BY number",
        )?;
        let mut changes = find.query(params![row(collection), id, after])?;
        while let Some(change) = changes.next()? {
            let body = change.get_ref(1)?.as_blob();
            each(DocumentChange {
                at: Position {
                    seconds: change.get(2)?,
                    increment: change.get(3)?,
                },
                kind: ChangeKind::of(change.get(0)?),
                body: body.map_err(rusqlite::Error::from)?,
            })?;
        }
        Ok(())
    }

    /// The first insert into a collection after a number.
    pub(super) fn next_insert(
        &self,
        collection: usize,
        after: i64,
    ) -> Result<Option<Inserted>, rusqlite::Error> {
        let mut find = self.connection.prepare_cached(
            "SELECT number, id, body FROM changes WHERE collection = ?1 AND number > ?2 AND kind = 0 ORDER BY number LIMIT 1",
        )?;
        find.query_row(params![row(collection), after], |row| {
            Ok(Inserted {
                number: row.get(0)?,
                id: row.get(1)?,
                document: row.get(2)?,
            })
        })
        .optional()
    }

    /// Number of documents of a collection whose first change is none of an insert, so that they must have been there before; and the last position of
    /// such a change.
    pub(super) fn expected(&self, collection: usize) -> Result<(u64, Position), rusqlite::Error> {
        let mut count = self.connection.prepare_cached(
            "SELECT count(*), ifnull(max(seconds * 4294967296 + increment), 0)
             FROM (SELECT min(number) AS first FROM changes WHERE collection = ?1 GROUP BY id) JOIN changes ON changes.number = first WHERE kind <> 0",
        )?;
        let (count, last): (i64, i64) =
            count.query_row([row(collection)], |row| Ok((row.get(0)?, row.get(1)?)))?;
        let part = |number: i64| u32::try_from(number).unwrap_or(u32::MAX);
        let last = Position {
            seconds: part(last >> 32),
            increment: part(last & i64::from(u32::MAX)),
        };
        Ok((u64::try_from(count).unwrap_or_default(), last))
    }
}

/// The number of a collection, as SQLite stores it.
fn row(collection: usize) -> i64 {
    i64::try_from(collection).unwrap_or(i64::MAX)
}

fn hash(collection: usize, id: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    (collection, id).hash(&mut hasher);
    hasher.finish()
}
