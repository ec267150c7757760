//! Rolling an archive forward: a backup, and the entries of the oplog after it, become the archive of a later moment.
//!
//! Nothing is applied to a server. The entries are read first: collections follow in memory, changes of documents go to a file. Then the archive is
//! read and written again: documents without changes as they are, changed ones in their place, new ones at the end of their collection.

mod rewriting;

use std::io::{Read, Write};
use std::path::Path;

use silo_mongo::collections::Collection;

use self::rewriting::{Rewriting, Target};
use super::catalogue::{Catalogue, Place};
use super::documents::DocumentChanges;
use super::entry::{ApplyOps, Entry, Operation, OperationKind, id};
use super::server::Edge;
use super::{Error, Position};
use crate::archive::writer::Writer;
use crate::archive::{Namespace, Prelude, metadata, reader};
use crate::repository::manifest::CollectionFacts;

/// A backup to which entries are being applied.
pub struct Roll {
    database: String,
    /// Position of the backup: everything up to it is in the backup.
    base: Position,
    /// Position of the last entry.
    last: Position,
    /// The last entry that changed the database.
    last_change: Option<Edge>,
    operations: u64,
    catalogue: Catalogue,
    changes: DocumentChanges,
}

/// A rolled archive.
pub struct RolledArchive<W> {
    /// The underlying writer.
    pub out: W,
    /// The collections and views, by name.
    pub collections: Vec<CollectionFacts>,
    /// Number of operations of the database that were applied.
    pub operations: u64,
    /// The last entry that changed the database; `None` if none has since the backup.
    pub last_change: Option<Edge>,
}

impl Roll {
    /// Begins at a backup of `database`, whose snapshot has this position. Changes are kept in a file in `folder`.
    ///
    /// # Errors
    /// When the file cannot be made, or the manifest has options that are not understood.
    pub fn new(
        folder: &Path,
        database: &str,
        base: Position,
        collections: &[CollectionFacts],
    ) -> Result<Self, Error> {
        Ok(Self {
            database: database.to_owned(),
            base,
            last: Position::default(),
            last_change: None,
            operations: 0,
            catalogue: Catalogue::new(database, collections)?,
            changes: DocumentChanges::new(folder)?,
        })
    }

    /// Marks collections of which the backup may not have all documents, because they were dropped or renamed while it was made: a moment at which they
    /// are still there cannot be had.
    pub fn incomplete(&mut self, names: &[String]) {
        self.catalogue.incomplete(names);
    }

    /// Applies an entry. Entries up to the position of the backup do nothing, except that parts of a transaction which ends after it are taken.
    ///
    /// # Errors
    /// When the entry does not fit, or is not supported.
    pub fn entry(&mut self, bytes: &[u8]) -> Result<(), Error> {
        let entry = Entry::parse(bytes)?;
        if entry.at <= self.last {
            return Err(Error::Malformed("its position is not after the one before"));
        }
        self.last = entry.at;
        let before = self.operations;
        self.apply(&entry, bytes)?;
        if self.operations > before {
            self.last_change = Some(Edge::new(entry.at, entry.wall));
        }
        Ok(())
    }

    fn apply(&mut self, entry: &Entry<'_>, bytes: &[u8]) -> Result<(), Error> {
        if let OperationKind::Command { command, .. } = entry.operation.kind
            && let Some(operations) = ApplyOps::parse(command)?
        {
            return self.apply_ops(entry, &operations, bytes);
        }
        if let OperationKind::Command { command, .. } = entry.operation.kind {
            let is = |name: &[u8]| {
                command
                    .get(5..)
                    .is_some_and(|first| first.starts_with(name))
            };
            match &entry.transaction {
                Some(transaction) if is(b"abortTransaction\0") => {
                    return Ok(self.changes.close(transaction)?);
                }
                _ if is(b"commitTransaction\0") => return Err(prepared(entry.at)),
                _ => {}
            }
        }
        if entry.at > self.base {
            self.operation(entry.at, &entry.operation)?;
        }
        Ok(())
    }

    /// A transaction, or a part of one; or several inserts.
    fn apply_ops(
        &mut self,
        entry: &Entry<'_>,
        operations: &ApplyOps<'_>,
        bytes: &[u8],
    ) -> Result<(), Error> {
        if operations.prepared && entry.concerns(&self.database) {
            return Err(prepared(entry.at));
        }
        let transaction = entry.transaction.as_deref().filter(|_| !entry.grouped);
        match (operations.partial, transaction) {
            (true, Some(transaction)) => {
                return Ok(self.changes.keep_open(transaction, bytes)?);
            }
            (true, None) => {
                return Err(Error::Unsupported {
                    at: entry.at,
                    what: "a part of a transaction without a session".into(),
                });
            }
            (false, _) => {}
        }
        if let Some(transaction) = transaction {
            if entry.at > self.base {
                self.parts(entry.at, transaction, entry.previous)?;
            }
            self.changes.close(transaction)?;
        }
        if entry.at > self.base {
            for operation in operations.operations() {
                self.operation(entry.at, &operation?)?;
            }
        }
        Ok(())
    }

    /// Applies the earlier entries of a transaction, the last of which has the position `last`.
    fn parts(
        &mut self,
        at: Position,
        transaction: &[u8],
        last: Option<Position>,
    ) -> Result<(), Error> {
        let (mut number, mut before) = (0, None);
        while let Some((next, bytes)) = self.changes.next_open(transaction, number)? {
            let entry = Entry::parse(&bytes)?;
            if entry.previous != before {
                break;
            }
            let OperationKind::Command { command, .. } = entry.operation.kind else {
                break;
            };
            if let Some(operations) = ApplyOps::parse(command)? {
                for operation in operations.operations() {
                    self.operation(at, &operation?)?;
                }
            }
            (number, before) = (next, Some(entry.at));
        }
        if before == last {
            Ok(())
        } else {
            Err(Error::Malformed("a part of its transaction is missing"))
        }
    }

    fn operation(&mut self, at: Position, operation: &Operation<'_>) -> Result<(), Error> {
        if operation.is_of_version() {
            return Err(Error::Unsupported {
                at,
                what: "a change of the server's feature compatibility version".into(),
            });
        }
        let (database, name) = operation.namespace;
        // A command for all databases has others inside.
        let inner = match &operation.kind {
            OperationKind::Command { command, .. } => ApplyOps::parse(command)?,
            _ => None,
        };
        if let Some(inner) = inner {
            for operation in inner.operations() {
                self.operation(at, &operation?)?;
            }
            return Ok(());
        }
        if database != self.database {
            return Ok(());
        }
        match &operation.kind {
            OperationKind::Noop => return Ok(()),
            OperationKind::Unknown(what) => {
                return Err(Error::Unsupported {
                    at,
                    what: format!("{what} in {name}"),
                });
            }
            OperationKind::Command { command, .. } => {
                self.catalogue.command(at, operation, command)?;
            }
            kind => {
                let place = self.catalogue.place(at, operation)?;
                if let Place::Collection(number) = place {
                    let id = match kind {
                        OperationKind::Insert(document) => id(document),
                        OperationKind::Update { id, .. } | OperationKind::Delete(id) => {
                            Some(id.clone())
                        }
                        _ => None,
                    };
                    let id = id.ok_or(Error::Malformed("it names no _id"))?;
                    self.changes.add(at, number, &id, kind)?;
                }
            }
        }
        self.operations += 1;
        Ok(())
    }

    /// Reads the backup's archive, and writes the one of the last entry's moment.
    ///
    /// # Errors
    /// When an entry does not fit the archive, or either cannot be read or written.
    pub fn write<W: Write>(
        self,
        archive: impl Read,
        out: W,
        server_version: &str,
        tool_version: &str,
    ) -> Result<RolledArchive<W>, Error> {
        let existing = self.catalogue.collections().iter().enumerate();
        let existing = existing.filter(|(_, rolled)| rolled.exists);
        if let Some((_, rolled)) = existing.clone().find(|(_, rolled)| rolled.incomplete) {
            return Err(Error::Incomplete(rolled.collection.name.clone()));
        }
        let mut targets: Vec<Target> = existing
            .map(|(number, rolled)| Target::new(rolled.collection.clone(), Some(number)))
            .chain(
                self.catalogue
                    .views()?
                    .into_iter()
                    .map(|view| Target::new(view, None)),
            )
            .collect();
        targets.sort_by(|one, other| one.collection.name.cmp(&other.collection.name));
        let prelude = Prelude {
            server_version: server_version.to_owned(),
            tool_version: tool_version.to_owned(),
            namespaces: targets
                .iter()
                .map(|target| self.namespace(&target.collection))
                .collect(),
        };
        let mut rewriting = Rewriting {
            writer: Writer::begin(out, prelude)?,
            roll: &self,
            targets,
            of_base: Vec::new(),
            failed: None,
        };
        let read = reader::read(archive, &mut rewriting);
        if let Some(failed) = rewriting.failed.take() {
            return Err(failed);
        }
        read?;
        rewriting.rest()?;
        let facts =
            |target: &Target| CollectionFacts::new(&target.collection, target.fingerprint.sums());
        Ok(RolledArchive {
            collections: rewriting.targets.iter().map(facts).collect(),
            out: rewriting.writer.into_inner(),
            operations: self.operations,
            last_change: self.last_change.clone(),
        })
    }

    fn namespace(&self, collection: &Collection) -> Namespace {
        Namespace {
            database: self.database.clone(),
            collection: collection.name.clone(),
            kind: collection.kind,
            metadata: metadata::write(collection),
        }
    }

    fn misfit(&self, number: usize, at: Position, what: &str) -> Error {
        Error::Misfit {
            at,
            collection: self.catalogue.collections()[number].collection.name.clone(),
            what: what.to_owned(),
        }
    }
}

/// A transaction that is prepared and committed by a later entry.
fn prepared(at: Position) -> Error {
    Error::Unsupported {
        at,
        what: "a prepared transaction, as in a sharded cluster".into(),
    }
}
