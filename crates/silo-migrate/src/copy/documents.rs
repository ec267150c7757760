//! Documents of a collection, in the order of their `_id`s.

use silo_mongo::collections::{self, Collection, Kind};
use silo_mongo::error::{ActionError, DatabaseError};
use silo_mongo::mongodb::bson::Bson;
use silo_mongo::mongodb::raw_batch_cursor::RawBatch;
use silo_mongo::write::{Batch, Inserts};

use super::collection::Copier;
use super::state::{CollectionState, Phase};
use crate::error::Error;

/// Bytes of a batch: one request to the source.
const BATCH_BYTES: u64 = 2 * 1024 * 1024;
/// Batches after which the place is recorded.
const RECORD_EVERY: u32 = 8;

/// A collection whose documents are copied.
pub(super) struct Documents<'a> {
    pub(super) copier: &'a Copier<'a>,
    pub(super) collection: &'a Collection,
}

/// Error while documents are read or written.
enum Failed {
    Reading(DatabaseError),
    Other(Error),
}

impl From<DatabaseError> for Failed {
    fn from(error: DatabaseError) -> Self {
        Self::Reading(error)
    }
}

impl<E: Into<Error>> From<Wrapped<E>> for Failed {
    fn from(Wrapped(error): Wrapped<E>) -> Self {
        Self::Other(error.into())
    }
}

/// An error that is not one of reading.
struct Wrapped<E>(E);

impl Documents<'_> {
    /// Copies the documents after the recorded place. Returns their number.
    ///
    /// `again` if some of them may have been copied before.
    pub(super) async fn copy(
        &self,
        state: CollectionState,
        resumable: bool,
        again: bool,
    ) -> Result<u64, Error> {
        let name = &self.collection.name;
        // Without the privilege for collStats, a number of small documents.
        let size = collections::size(self.copier.source, name, BATCH_BYTES).await;
        let (_, batch) = size.unwrap_or((0, 500));
        let (mut documents, mut batches, mut last) = (0, 0, None);
        let uuid = state.uuid.clone();
        let mut inserts = Inserts::default();
        let each = async |batch: RawBatch| {
            documents += batch
                .doc_slices()
                .map_or(0, |documents| documents.into_iter().count());
            if self.copier.stop.is_cancelled() {
                return Err(Failed::from(Wrapped(Error::Interrupted)));
            }
            last = self
                .begin(&mut inserts, &batch, again)
                .await?
                .or(last.take());
            batches += 1;
            if batches % RECORD_EVERY == 0 && resumable {
                self.wait(&mut inserts, 0).await?;
                let phase = Phase::Copying;
                let place = CollectionState {
                    phase,
                    last: last.clone(),
                    uuid: uuid.clone(),
                };
                place
                    .write(self.copier.target, name)
                    .await
                    .map_err(Wrapped)?;
            }
            // The next batch is requested when this returns.
            self.copier.throttle.pass().await;
            Ok(())
        };
        self.copier.throttle.pass().await;
        let read = if resumable {
            collections::read_by_id(self.copier.source, name, state.last, batch, each).await
        } else {
            collections::read_all(self.copier.source, name, batch, None, each).await
        };
        match read {
            Ok(()) => {
                self.copier
                    .progress
                    .add(inserts.wait_until_at_most(0).await?);
                Ok(u64::try_from(documents).unwrap_or(u64::MAX))
            }
            Err(failed) => {
                // An insert that goes on would not be recorded.
                inserts.finish().await;
                Err(match failed {
                    Failed::Other(error) => error,
                    Failed::Reading(error) => ActionError {
                        action: format!("reading {name} of the source"),
                        error,
                    }
                    .into(),
                })
            }
        }
    }

    /// Starts inserting a batch. Returns its last `_id`.
    async fn begin(
        &self,
        inserts: &mut Inserts,
        raw: &RawBatch,
        again: bool,
    ) -> Result<Option<Bson>, Failed> {
        // Measurements of a time series are inserted under its own name.
        let to = Collection {
            kind: Kind::Collection,
            ..self.collection.clone()
        };
        let mut batch = Batch::default();
        let mut last = None;
        for document in collections::documents(raw)? {
            let document = document?;
            if !batch.fits(document) {
                self.insert(inserts, &to, std::mem::take(&mut batch), again)
                    .await?;
            }
            batch.add(document);
            last = Some(document);
        }
        if batch.count() > 0 {
            self.insert(inserts, &to, batch, again).await?;
        }
        Ok(last.and_then(|document| {
            let id = document.get("_id").ok().flatten()?;
            Bson::try_from(id).ok()
        }))
    }

    /// Starts an insert. Capped collections keep their order.
    async fn insert(
        &self,
        inserts: &mut Inserts,
        to: &Collection,
        batch: Batch,
        again: bool,
    ) -> Result<(), Failed> {
        let others = if self.collection.is_capped() { 0 } else { 1 };
        self.wait(inserts, others).await?;
        if again {
            inserts.begin_again(self.copier.target, to, batch);
        } else {
            inserts.begin(self.copier.target, to, batch);
        }
        Ok(())
    }

    async fn wait(&self, inserts: &mut Inserts, most: usize) -> Result<(), Failed> {
        let inserted = inserts.wait_until_at_most(most).await.map_err(Wrapped)?;
        self.copier.progress.add(inserted);
        Ok(())
    }
}
