//! The base archive is read, and written again with the changes of its documents.

use std::io::Write;

use bson::RawDocument;
use silo_mongo::collections::Collection;
use silo_mongo::fingerprint::Fingerprint;

use super::Roll;
use crate::archive::reader::{self, Visitor};
use crate::archive::writer::{Open, Writer};
use crate::archive::{Namespace, Prelude};
use crate::oplog::Error;
use crate::oplog::diff::updated;
use crate::oplog::documents::{ChangeKind, DocumentChange};
use crate::oplog::entry::id;

/// A collection of the new archive.
pub(super) struct Target {
    pub(super) collection: Collection,
    /// Number in the catalogue; `None` for a view.
    number: Option<usize>,
    pub(super) fingerprint: Fingerprint,
    /// Documents of the base that have changes.
    found: u64,
    open: Option<Open>,
    closed: bool,
}

impl Target {
    pub(super) fn new(collection: Collection, number: Option<usize>) -> Self {
        Self {
            collection,
            number,
            fingerprint: Fingerprint::default(),
            found: 0,
            open: None,
            closed: false,
        }
    }
}

/// Visitor of the base archive that writes the new one.
pub(super) struct Rewriting<'a, W> {
    pub(super) roll: &'a Roll,
    pub(super) writer: Writer<W>,
    pub(super) targets: Vec<Target>,
    /// For each namespace of the base its place among the targets; `None` if it is not there any more.
    pub(super) of_base: Vec<Option<usize>>,
    /// The error with which reading was ended.
    pub(super) failed: Option<Error>,
}

impl<W: Write> Rewriting<'_, W> {
    fn guard(&mut self, outcome: Result<(), Error>) -> Result<(), reader::Error> {
        outcome.map_err(|error| {
            self.failed = Some(error);
            reader::Error::Corrupt("the archive was not rolled forward".into())
        })
    }

    /// A document of the base.
    fn rewrite(&mut self, place: usize, document: &[u8]) -> Result<(), Error> {
        let target = &self.targets[place];
        let Some(number) = target.number else {
            return Ok(());
        };
        let id = id(document).unwrap_or_default();
        if !self.roll.changes.may_have(number, &id) {
            return self.emit(place, document);
        }
        let mut document = Document::new(self.roll, number, Some(document.to_vec()));
        let mut changed = false;
        self.roll.changes.of(number, &id, 0, |change| {
            changed = true;
            document.apply(&change)
        })?;
        self.targets[place].found += u64::from(changed);
        match document.state {
            Some(document_now) if !document.inserted => self.emit(place, &document_now),
            _ => Ok(()),
        }
    }

    /// Writes the documents that are new in a collection, and ends it.
    fn finish(&mut self, place: usize) -> Result<(), Error> {
        if let Some(number) = self.targets[place].number {
            let changes = &self.roll.changes;
            let rolled = &self.roll.catalogue.collections()[number];
            let found = self.targets[place].found;
            let mut at = 0;
            while let Some(insert) = changes.next_insert(number, at)? {
                at = insert.number;
                let mut document = Document::new(self.roll, number, Some(insert.document));
                changes.of(number, &insert.id, at, |change| document.apply(&change))?;
                // A later insert of the same document writes it.
                if let (false, Some(document)) = (document.inserted, document.state) {
                    self.emit(place, &document)?;
                }
            }
            let (expected, last) = changes.expected(number)?;
            if !rolled.repeatable && expected > found {
                let what = "a document is changed that is not there, here or before it";
                return Err(self.roll.misfit(number, last, what));
            }
        }
        let open = self.opened(place)?;
        self.writer.close(&open)?;
        self.targets[place].closed = true;
        Ok(())
    }

    /// The collections that the base has not.
    pub(super) fn rest(&mut self) -> Result<(), Error> {
        for place in 0..self.targets.len() {
            if !self.targets[place].closed {
                self.finish(place)?;
            }
        }
        Ok(())
    }

    fn emit(&mut self, place: usize, document: &[u8]) -> Result<(), Error> {
        let mut open = self.opened(place)?;
        self.writer.document(&mut open, document)?;
        let target = &mut self.targets[place];
        target.fingerprint.add(document);
        target.open = Some(open);
        Ok(())
    }

    fn opened(&mut self, place: usize) -> Result<Open, Error> {
        match self.targets[place].open.take() {
            Some(open) => Ok(open),
            None => Ok(self.writer.open(place)?),
        }
    }
}

impl<W: Write> Visitor for Rewriting<'_, W> {
    fn prelude(&mut self, prelude: &Prelude) -> Result<(), reader::Error> {
        let collections = self.roll.catalogue.collections();
        let place = |namespace: &Namespace| {
            self.targets.iter().position(|target| {
                let rolled = target.number.map(|number| &collections[number]);
                rolled.is_some_and(|rolled| rolled.base.as_ref() == Some(&namespace.collection))
            })
        };
        self.of_base = prelude.namespaces.iter().map(place).collect();
        Ok(())
    }

    fn document(&mut self, place: usize, document: &RawDocument) -> Result<(), reader::Error> {
        match self.of_base[place] {
            None => Ok(()),
            Some(place) => {
                let outcome = self.rewrite(place, document.as_bytes());
                self.guard(outcome)
            }
        }
    }

    fn end(&mut self, place: usize) -> Result<(), reader::Error> {
        match self.of_base[place] {
            None => Ok(()),
            Some(place) => {
                let outcome = self.finish(place);
                self.guard(outcome)
            }
        }
    }
}

/// A document while its changes are applied.
struct Document<'a> {
    roll: &'a Roll,
    collection: usize,
    /// The document; `None` when it is deleted.
    state: Option<Vec<u8>>,
    /// `true` if it was inserted anew, so that its place is at the end.
    inserted: bool,
}

impl<'a> Document<'a> {
    fn new(roll: &'a Roll, collection: usize, state: Option<Vec<u8>>) -> Self {
        Self {
            roll,
            collection,
            state,
            inserted: false,
        }
    }

    fn apply(&mut self, change: &DocumentChange<'_>) -> Result<(), Error> {
        let repeatable = self.roll.catalogue.collections()[self.collection].repeatable;
        let misfit = |what: &str| self.roll.misfit(self.collection, change.at, what);
        match (change.kind, &self.state) {
            (ChangeKind::Insert, Some(_)) if !repeatable => {
                return Err(misfit("a document is inserted that is there"));
            }
            (ChangeKind::Insert, _) => {
                self.state = Some(change.body.to_vec());
                self.inserted = true;
            }
            (_, None) if !repeatable => {
                return Err(misfit("a document is changed that is not there"));
            }
            (_, None) => {}
            (ChangeKind::Update, Some(before)) => match updated(before, change.body) {
                Ok(after) => self.state = Some(after),
                Err(_) if repeatable => {}
                Err(error) => return Err(misfit(&error.to_string())),
            },
            (ChangeKind::Delete, Some(_)) => self.state = None,
        }
        Ok(())
    }
}
