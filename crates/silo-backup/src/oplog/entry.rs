//! One entry of the oplog: its position, and the operations in it.
//!
//! Source: `src/mongo/db/repl/oplog_entry.idl` of mongodb/mongo.

use bson::RawDocument;
use jiff::Timestamp;
use silo_mongo::mongodb::bson::Document;

use super::{Error, Position};
use crate::archive::structure::{Element, Elements, elements};

/// BSON types.
const STRING: u8 = 0x02;
const DOCUMENT: u8 = 0x03;
const ARRAY: u8 = 0x04;
const BINARY: u8 = 0x05;
const BOOLEAN: u8 = 0x08;
const DATE: u8 = 0x09;
const TIMESTAMP: u8 = 0x11;

/// `multiOpType` of grouped inserts: `kApplyOpsAppliedSeparately` in `src/mongo/db/repl/oplog_entry.h`.
const GROUPED: i32 = 1;

/// UUID of a collection.
pub type Uuid = [u8; 16];

/// One entry.
#[derive(Clone, Debug)]
pub struct Entry<'a> {
    /// Position of the entry.
    pub at: Position,
    /// The operation.
    pub operation: Operation<'a>,
    /// Session and number of the transaction or retryable write that the entry belongs to.
    pub transaction: Option<Vec<u8>>,
    /// Position of the entry before it of the same transaction or retryable write; `None` for its first.
    pub previous: Option<Position>,
    /// Time of the server's clock.
    pub wall: Option<Timestamp>,
    /// `applyOps` with the documents of one insert: MongoDB 8 writes them together, and each is whole in itself. It is no transaction, even where it has
    /// the number of one.
    pub grouped: bool,
}

/// One operation of an entry.
#[derive(Clone, Debug)]
pub struct Operation<'a> {
    /// Database, and the rest of the namespace: a collection, or `$cmd`.
    pub namespace: (&'a str, &'a str),
    /// UUID of the collection.
    pub uuid: Option<Uuid>,
    /// The kind of the operation, with its documents.
    pub kind: OperationKind<'a>,
}

/// Kind of an operation, with its documents.
#[derive(Clone, Debug)]
pub enum OperationKind<'a> {
    /// The document is inserted.
    Insert(&'a [u8]),
    /// The document with this `_id` becomes another one, or is changed by a difference.
    Update {
        /// Type and value of `_id`.
        id: Vec<u8>,
        /// The change.
        change: &'a [u8],
    },
    /// The document with this `_id` is deleted.
    Delete(Vec<u8>),
    /// A command, such as `create`.
    Command {
        /// The command.
        command: &'a [u8],
        /// Options before the command, where it changes some.
        before: Option<&'a [u8]>,
    },
    /// Nothing.
    Noop,
    /// An operation that is not known here.
    Unknown(String),
}

impl<'a> Entry<'a> {
    /// Parses an entry.
    ///
    /// # Errors
    /// [`Error::Malformed`].
    pub fn parse(entry: &'a [u8]) -> Result<Self, Error> {
        let fields = elements(entry).ok_or(Error::Malformed("it is no BSON"))?;
        let field = |name: &str| fields.iter().find(|field| field.name == name.as_bytes());
        let at = field("ts")
            .and_then(position)
            .ok_or(Error::Malformed("it has no position"))?;
        let transaction = match (field("lsid"), field("txnNumber")) {
            (Some(session), Some(number)) => Some([session.value, number.value].concat()),
            _ => None,
        };
        let previous = field("prevOpTime").and_then(|previous| {
            let inner = elements(previous.value)?;
            let at = inner.iter().find(|field| field.name == b"ts")?;
            position(at).filter(|at| at.seconds > 0)
        });
        Ok(Self {
            at,
            operation: Operation::parse(&fields)?,
            transaction,
            previous,
            wall: field("wall")
                .filter(|field| field.kind == DATE)
                .and_then(|wall| {
                    let millis = i64::from_le_bytes(wall.value.try_into().ok()?);
                    Timestamp::from_millisecond(millis).ok()
                }),
            grouped: field("multiOpType").is_some_and(|kind| kind.value == GROUPED.to_le_bytes()),
        })
    }
}

impl Entry<'_> {
    /// `true` if it changes this database.
    #[must_use]
    pub fn concerns(&self, database: &str) -> bool {
        self.operation.concerns(database)
    }

    /// `true` if the database of a later moment cannot be had without it: it changes the database, or it belongs to a transaction of several entries, of
    /// which another one may. Whether another one does is known only at its end, so these are needed whatever database they change.
    #[must_use]
    pub fn is_needed(&self, database: &str) -> bool {
        let in_transaction = self.transaction.is_some() && !self.grouped;
        let of_several = match &self.operation.kind {
            OperationKind::Command { command, .. } if in_transaction => {
                match ApplyOps::parse(command) {
                    Ok(Some(operations)) => operations.partial || self.previous.is_some(),
                    // Its commit or abort.
                    _ => self.operation.namespace == ("admin", "$cmd"),
                }
            }
            _ => false,
        };
        of_several || self.concerns(database)
    }

    /// `true` if it changes the feature compatibility version, and the format of the entries after it.
    #[must_use]
    pub fn changes_server_format(&self) -> bool {
        self.operation.is_of_version()
    }
}

impl<'a> Operation<'a> {
    /// `true` if it changes the feature compatibility version.
    pub(super) fn is_of_version(&self) -> bool {
        self.namespace == ("admin", "system.version")
    }

    /// `true` if it changes this database.
    #[must_use]
    pub fn concerns(&self, database: &str) -> bool {
        match &self.kind {
            OperationKind::Noop => false,
            OperationKind::Command { command, .. } => match ApplyOps::parse(command) {
                Ok(Some(inner)) => {
                    let mut operations = inner.operations();
                    // One that cannot be read is stored, and refused where it is applied.
                    operations.any(|inner| inner.map_or(true, |inner| inner.concerns(database)))
                }
                _ => self.namespace.0 == database,
            },
            _ => self.namespace.0 == database,
        }
    }

    fn parse(fields: &[Element<'a>]) -> Result<Self, Error> {
        let field = |name: &str, kind: u8| {
            let found = fields.iter().find(|field| field.name == name.as_bytes());
            found
                .filter(|field| field.kind == kind)
                .map(|field| field.value)
        };
        let op = field("op", STRING)
            .and_then(text)
            .ok_or(Error::Malformed("it has no op"))?;
        let namespace = field("ns", STRING).and_then(text).unwrap_or_default();
        let object = || field("o", DOCUMENT).ok_or(Error::Malformed("it has no o"));
        let second = field("o2", DOCUMENT);
        let id_of = |document: &'a [u8]| id(document).ok_or(Error::Malformed("it names no _id"));
        Ok(Self {
            namespace: namespace.split_once('.').unwrap_or((namespace, "")),
            uuid: field("ui", BINARY).and_then(uuid),
            kind: match op {
                "i" => OperationKind::Insert(object()?),
                "u" => OperationKind::Update {
                    id: id_of(second.ok_or(Error::Malformed("an update has no o2"))?)?,
                    change: object()?,
                },
                "d" => OperationKind::Delete(id_of(object()?)?),
                "c" => OperationKind::Command {
                    command: object()?,
                    before: second,
                },
                "n" => OperationKind::Noop,
                other => OperationKind::Unknown(format!("an operation `{other}`")),
            },
        })
    }
}

/// The operations of `applyOps`, and the options of the command that matter here.
pub(super) struct ApplyOps<'a> {
    /// The operations, as an array.
    array: &'a [u8],
    /// More entries of the transaction follow.
    pub(super) partial: bool,
    /// The transaction is prepared, and committed by a later entry: only in a sharded cluster.
    pub(super) prepared: bool,
}

impl<'a> ApplyOps<'a> {
    /// Parses the command; `None` if it is another one.
    pub(super) fn parse(command: &'a [u8]) -> Result<Option<Self>, Error> {
        let fields = elements(command).ok_or(Error::Malformed("a command is no BSON"))?;
        let Some(first) = fields.first().filter(|field| field.name == b"applyOps") else {
            return Ok(None);
        };
        if first.kind != ARRAY {
            return Err(Error::Malformed("applyOps is no array"));
        }
        let is = |name: &[u8]| {
            let found = fields.iter().find(|field| field.name == name);
            found.is_some_and(|field| field.kind == BOOLEAN && field.value == [1])
        };
        Ok(Some(Self {
            array: first.value,
            partial: is(b"partialTxn"),
            prepared: is(b"prepare"),
        }))
    }
}

impl<'a> ApplyOps<'a> {
    /// The operations, parsed one after the other: there may be a hundred thousand of them.
    pub(super) fn operations(
        &self,
    ) -> impl Iterator<Item = Result<Operation<'a>, Error>> + use<'a> {
        Elements::of(self.array).map(|operation| {
            let operation = operation.ok_or(Error::Malformed("applyOps is no array"))?;
            let fields = elements(operation.value);
            Operation::parse(&fields.ok_or(Error::Malformed("applyOps has no documents"))?)
        })
    }
}

/// Type and value of a document's `_id`, by which it is known; `None` if it has none.
#[must_use]
pub fn id(document: &[u8]) -> Option<Vec<u8>> {
    let mut elements = Elements::of(document).map_while(|element| element);
    let id = elements.find(|element| element.name == b"_id")?;
    Some([&[id.kind], id.value].concat())
}

/// A document, decoded.
pub(super) fn decoded(document: &[u8]) -> Option<Document> {
    let raw = RawDocument::from_bytes(document).ok()?;
    Document::try_from(raw).ok()
}

fn position(field: &Element<'_>) -> Option<Position> {
    if field.kind != TIMESTAMP {
        return None;
    }
    let number = u64::from_le_bytes(field.value.try_into().ok()?);
    Some(Position {
        seconds: u32::try_from(number >> 32).ok()?,
        increment: u32::try_from(number & u64::from(u32::MAX)).ok()?,
    })
}

fn text(value: &[u8]) -> Option<&str> {
    std::str::from_utf8(value.get(4..value.len().checked_sub(1)?)?).ok()
}

fn uuid(value: &[u8]) -> Option<Uuid> {
    // Length, subtype 4, bytes.
    value.get(5..)?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use silo_mongo::mongodb::bson::{Document, Timestamp, doc};

    use super::*;

    fn is_needed(mut entry: Document) -> bool {
        let ts = Timestamp {
            time: 1000,
            increment: 1,
        };
        entry.insert("ts", ts);
        let bytes = entry.to_vec().unwrap();
        Entry::parse(&bytes).unwrap().is_needed("aesthetic")
    }

    fn insert(namespace: &str) -> Document {
        doc! { "op": "i", "ns": namespace, "o": { "_id": 1 } }
    }

    /// `applyOps` with an insert into each namespace.
    fn apply_ops(namespaces: &[&str], options: Document, more: Document) -> Document {
        let inserts: Vec<Document> = namespaces.iter().map(|name| insert(name)).collect();
        let mut command = doc! { "applyOps": inserts };
        command.extend(options);
        let mut entry = doc! { "op": "c", "ns": "admin.$cmd", "o": command };
        entry.extend(more);
        entry
    }

    fn session(previous: u32) -> Document {
        let previous = Timestamp {
            time: previous,
            increment: 1,
        };
        doc! { "lsid": { "id": "s" }, "txnNumber": 1_i64, "prevOpTime": { "ts": previous, "t": 1_i64 } }
    }

    #[test]
    fn what_changes_the_database_is_needed_and_nothing_of_others() {
        assert!(is_needed(insert("aesthetic.moods")));
        for other in [
            "aesthetics.moods",
            "silo.leases",
            "admin.system.users",
            "config.transactions",
        ] {
            assert!(!is_needed(insert(other)), "{other}");
        }
        assert!(is_needed(
            doc! { "op": "c", "ns": "aesthetic.$cmd", "o": { "drop": "moods" } }
        ));
        assert!(!is_needed(
            doc! { "op": "n", "ns": "", "o": { "msg": "periodic noop" } }
        ));
        let none = Document::new;
        // Grouped inserts, as MongoDB 8 writes them, with and without a session.
        let grouped = doc! { "multiOpType": 1 };
        assert!(is_needed(apply_ops(
            &["other.x", "aesthetic.moods"],
            none(),
            grouped.clone()
        )));
        assert!(!is_needed(apply_ops(&["other.x"], none(), grouped.clone())));
        let mut linked = session(999);
        linked.extend(grouped);
        assert!(!is_needed(apply_ops(&["other.x"], none(), linked)));
        // A transaction in one entry.
        assert!(is_needed(apply_ops(
            &["aesthetic.moods"],
            none(),
            session(0)
        )));
        assert!(!is_needed(apply_ops(&["other.x"], none(), session(0))));
    }

    #[test]
    fn every_entry_of_a_transaction_of_several_is_needed() {
        let part = doc! { "partialTxn": true };
        assert!(is_needed(apply_ops(&["other.x"], part, session(0))));
        assert!(is_needed(apply_ops(
            &["other.x"],
            Document::new(),
            session(999)
        )));
        let mut abort = doc! { "op": "c", "ns": "admin.$cmd", "o": { "abortTransaction": 1 } };
        abort.extend(session(999));
        assert!(is_needed(abort));
        // A retryable write is none.
        let mut retryable = insert("other.x");
        retryable.extend(session(999));
        assert!(!is_needed(retryable));
    }
}
