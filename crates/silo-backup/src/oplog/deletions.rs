//! Mass deletions: collections that lose many documents within ten minutes, by mistake or on purpose.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::entry::{ApplyOps, Entry, Operation, OperationKind, decoded};
use super::{Error, Position};

/// Seconds within which deletions are added up.
const WINDOW: u32 = 600;
/// Fewer documents are no mass deletion, however small the collection is.
const FEWEST: u64 = 50;
/// Share of a collection's documents whose loss is one: a fifth.
const SHARE: u64 = 5;

/// Documents that came and went in one second.
#[derive(Clone, Copy, Debug)]
struct Second {
    /// Position of the first deletion.
    at: Position,
    deleted: u64,
    /// Documents of a dropped collection, which may be replaced by another of its name.
    dropped: u64,
    inserted: u64,
}

/// Deletions of the last ten minutes, by the positions of the oplog.
#[derive(Debug, Default)]
pub struct Deletions {
    collections: BTreeMap<String, VecDeque<Second>>,
    /// Collections that were reported, and lose documents still.
    reported: BTreeSet<String>,
}

/// Documents that a collection has lost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loss {
    /// Name of the collection.
    pub collection: String,
    /// Number of documents, without those that were inserted meanwhile.
    pub documents: u64,
    /// Documents among them of a collection that was dropped.
    dropped: u64,
    /// Position of the first deletion: `restore --until-before` it.
    pub first: Position,
}

impl Loss {
    /// Number of documents that are gone from a collection that has `left` now: a dropped collection may have been replaced, as by `$out` or a swap.
    #[must_use]
    pub fn gone(&self, left: u64) -> u64 {
        self.documents - self.dropped.min(left)
    }

    /// `true` if this is a large part of a collection that has `left` documents now.
    #[must_use]
    pub fn is_large(&self, left: u64) -> bool {
        let gone = self.gone(left);
        gone >= FEWEST && gone.saturating_mul(SHARE) > left.saturating_add(gone)
    }
}

impl Deletions {
    /// Takes an entry.
    ///
    /// # Errors
    /// [`Error::Malformed`].
    pub fn add(&mut self, entry: &Entry<'_>, database: &str) -> Result<(), Error> {
        self.operation(entry.at, &entry.operation, database)
    }

    /// Collections that have lost many documents up to this position and were not reported. Whether many are a large part is for the caller to ask.
    pub fn losses(&mut self, now: Position) -> Vec<Loss> {
        let begin = now.seconds.saturating_sub(WINDOW);
        let mut losses = Vec::new();
        self.collections.retain(|collection, seconds| {
            while seconds
                .front()
                .is_some_and(|second| second.at.seconds < begin)
            {
                seconds.pop_front();
            }
            let sum = |number: fn(&Second) -> u64| seconds.iter().map(number).sum::<u64>();
            let dropped = sum(|second| second.dropped);
            let deleted = sum(|second| second.deleted);
            let deleted = deleted.saturating_sub(sum(|second| second.inserted));
            let documents = deleted + dropped;
            let first = seconds
                .iter()
                .find(|second| second.deleted + second.dropped > 0);
            match first.filter(|_| documents >= FEWEST) {
                Some(first) => losses.push(Loss {
                    collection: collection.clone(),
                    documents,
                    dropped,
                    first: first.at,
                }),
                None => drop(self.reported.remove(collection)),
            }
            !seconds.is_empty()
        });
        losses.retain(|loss| !self.reported.contains(&loss.collection));
        losses
    }

    /// Notes that a loss was reported.
    pub fn report(&mut self, loss: &Loss) {
        self.reported.insert(loss.collection.clone());
    }

    fn operation(
        &mut self,
        at: Position,
        operation: &Operation<'_>,
        database: &str,
    ) -> Result<(), Error> {
        let inner = match &operation.kind {
            OperationKind::Command { command, .. } => ApplyOps::parse(command)?,
            _ => None,
        };
        if let Some(inner) = inner {
            for operation in inner.operations() {
                self.operation(at, &operation?, database)?;
            }
            return Ok(());
        }
        let (of, name) = operation.namespace;
        if of != database {
            return Ok(());
        }
        match &operation.kind {
            OperationKind::Insert(_) => self.count(at, name, [0, 0, 1]),
            OperationKind::Delete(_) => self.count(at, name, [1, 0, 0]),
            OperationKind::Command {
                command,
                before: Some(before),
            } => {
                let dropped =
                    decoded(command)
                        .zip(decoded(before))
                        .and_then(|(command, before)| {
                            let name = command.get_str("drop").ok()?.to_owned();
                            let documents = silo_mongo::field::count(&before, "numRecords")?;
                            Some((name, documents))
                        });
                // Temporary collections are the server's own.
                if let Some((name, documents)) =
                    dropped.filter(|(name, _)| !name.starts_with("tmp"))
                {
                    self.count(at, &name, [0, documents, 0]);
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// Counts documents that were deleted, dropped and inserted.
    fn count(&mut self, at: Position, collection: &str, [deleted, dropped, inserted]: [u64; 3]) {
        let is_loss = deleted + dropped > 0;
        if !self.collections.contains_key(collection) {
            // Only insertions: nothing is lost.
            if !is_loss {
                return;
            }
            self.collections
                .insert(collection.to_owned(), VecDeque::new());
        }
        let Some(seconds) = self.collections.get_mut(collection) else {
            return;
        };
        match seconds.back_mut() {
            // A second with a loss begins at its position.
            Some(last)
                if last.at.seconds == at.seconds
                    && (last.deleted + last.dropped > 0 || !is_loss) =>
            {
                last.deleted += deleted;
                last.dropped += dropped;
                last.inserted += inserted;
            }
            _ => seconds.push_back(Second {
                at,
                deleted,
                dropped,
                inserted,
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use silo_mongo::mongodb::bson::{Document, Timestamp, doc};

    use super::*;

    fn at(seconds: u32, increment: u32) -> Position {
        Position { seconds, increment }
    }

    fn add(deletions: &mut Deletions, at: Position, mut entry: Document) {
        let ts = Timestamp {
            time: at.seconds,
            increment: at.increment,
        };
        entry.insert("ts", ts);
        let bytes = entry.to_vec().unwrap();
        deletions
            .add(&Entry::parse(&bytes).unwrap(), "aesthetic")
            .unwrap();
    }

    fn delete(collection: &str) -> Document {
        doc! { "op": "d", "ns": format!("aesthetic.{collection}"), "o": { "_id": 1 } }
    }

    #[test]
    fn many_deletions_within_ten_minutes_are_reported_once_with_the_first_position() {
        let mut deletions = Deletions::default();
        for number in 0..60 {
            add(&mut deletions, at(1000 + number, 1), delete("moods"));
            add(
                &mut deletions,
                at(1000 + number, 2),
                doc! { "op": "d", "ns": "other.moods", "o": { "_id": 1 } },
            );
        }
        let losses = deletions.losses(at(1060, 1));
        let loss = Loss {
            collection: "moods".into(),
            documents: 60,
            dropped: 0,
            first: at(1000, 1),
        };
        assert_eq!(losses, std::slice::from_ref(&loss));
        assert!(loss.is_large(0) && loss.is_large(239) && !loss.is_large(240));
        deletions.report(&loss);
        assert_eq!(deletions.losses(at(1061, 1)), []);
        // Fifteen of them are older than ten minutes.
        assert_eq!(deletions.losses(at(1615, 1)), []);
        for _ in 0..10 {
            add(&mut deletions, at(1616, 1), delete("moods"));
        }
        assert_eq!(deletions.losses(at(1616, 1))[0].documents, 54);
    }

    #[test]
    fn a_few_deletions_and_documents_that_are_replaced_are_no_loss() {
        let mut deletions = Deletions::default();
        for number in 0..49 {
            add(&mut deletions, at(1000, number), delete("few"));
        }
        for number in 0..1000 {
            add(&mut deletions, at(1000, number), delete("replaced"));
            add(
                &mut deletions,
                at(1001, number),
                doc! { "op": "i", "ns": "aesthetic.replaced", "o": { "_id": 1 } },
            );
        }
        assert_eq!(deletions.losses(at(1002, 1)), []);
    }

    #[test]
    fn a_dropped_collection_and_deletions_in_a_transaction_count() {
        let mut deletions = Deletions::default();
        let drop = doc! { "op": "c", "ns": "aesthetic.$cmd", "o": { "drop": "paintings" }, "o2": { "numRecords": 70_i64 } };
        add(&mut deletions, at(1000, 1), drop);
        let temporary = doc! { "op": "c", "ns": "aesthetic.$cmd", "o": { "drop": "tmp1" }, "o2": { "numRecords": 70 } };
        add(&mut deletions, at(1000, 2), temporary);
        let many: Vec<Document> = (0..55).map(|_| delete("moods")).collect();
        add(
            &mut deletions,
            at(1000, 3),
            doc! { "op": "c", "ns": "admin.$cmd", "o": { "applyOps": many } },
        );
        let losses = deletions.losses(at(1000, 4));
        let found: Vec<_> = losses
            .iter()
            .map(|loss| (loss.collection.as_str(), loss.documents))
            .collect();
        assert_eq!(found, [("moods", 55), ("paintings", 70)]);
        // Dropped, and replaced by another of its name.
        assert!(losses[1].is_large(0) && losses[1].is_large(10) && !losses[1].is_large(60));
        assert_eq!((losses[1].gone(10), losses[0].gone(10)), (60, 55));
    }
}
