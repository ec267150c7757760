//! Creating the collections, and inserting the documents, while the archive is read.

use bson::RawDocument;
use silo_core::secret::Secret;
use silo_mongo::collections::{Collection, Kind};
use silo_mongo::mongodb::Database;
use silo_mongo::write::{Batch, CONCURRENT_INSERTS};
use tokio::sync::{mpsc, oneshot};

use super::Source;
use super::created::CreatedCollections;
use super::selection::Selection;
use crate::archive::decoding::{self, Incoming, identity_of};
use crate::archive::reader::{self, Visitor};
use crate::archive::{Prelude, metadata};
use crate::error::Error;
use crate::repository::manifest::Manifest;
use silo_cli::progress::Reporter;

/// Message from the archive's reader.
enum Step {
    Collections(Vec<Collection>),
    Documents(usize, Batch),
    /// A large document comes next: it is inserted alone, because it is in memory four times until the server has it. Answered when all inserts are
    /// complete.
    Wait(oneshot::Sender<()>),
}

/// Creates the collections and inserts the documents.
pub(super) async fn load(
    source: Source<'_>,
    manifest: &Manifest,
    selection: &Selection,
    database: &Database,
    identity: Option<&Secret>,
    report: &Reporter,
    created: &mut CreatedCollections,
) -> Result<Vec<Collection>, Error> {
    report.begin("inserting", Some(manifest.documents()), "documents");
    let chunks = source.chunks(&manifest.archive);
    let (out, mut steps) = mpsc::channel(1);
    let archive = manifest.archive.clone();
    let identity = identity.and_then(identity_of);
    let reading = tokio::task::spawn_blocking(move || {
        let mut incoming = Incoming::new(chunks);
        let read = {
            let identity = identity.as_ref().filter(|_| archive.recipient.is_some());
            let plain = decoding::open(&mut incoming, archive.compression, identity)
                .map_err(reader::Error::from);
            let mut loader = Loader {
                out,
                place: 0,
                batch: Batch::default(),
            };
            plain.and_then(|plain| {
                decoding::read_ahead(plain, |plain| reader::read(plain, &mut loader))
            })
        };
        match (read, incoming.broke.take()) {
            (Ok(_), _) => Ok(()),
            (Err(_), Some(broke)) => Err(Error::Inconclusive(format!(
                "the archive could not be read to its end: {broke}"
            ))),
            (Err(error), None) => Err(Error::Corrupt(format!(
                "the archive changed after it was verified: {error}"
            ))),
        }
    });
    let mut collections = Vec::new();
    while let Some(step) = steps.recv().await {
        match step {
            Step::Collections(announced) => {
                collections = announced;
                let wanted = collections.iter().filter(|collection| {
                    collection.kind != Kind::View && selection.includes(&collection.name)
                });
                created.create(database, wanted).await?;
            }
            Step::Documents(place, batch) => {
                let collection: &Collection = &collections[place];
                if !selection.includes(&collection.name) {
                    continue;
                }
                report.at(&collection.name);
                // A capped collection keeps the order of its documents.
                let others = if collection.is_capped() {
                    0
                } else {
                    CONCURRENT_INSERTS - 1
                };
                report.add(created.inserts.wait_until_at_most(others).await?);
                created.inserts.begin(database, collection, batch);
            }
            Step::Wait(done) => {
                report.add(created.inserts.wait_until_at_most(0).await?);
                // A reader that has stopped reports its own error.
                let _ = done.send(());
            }
        }
    }
    report.add(created.inserts.wait_until_at_most(0).await?);
    reading
        .await
        .map_err(|_panic| Error::Engine("reading the archive was interrupted".into()))??;
    collections.retain(|collection| selection.includes(&collection.name));
    Ok(collections)
}

/// Collects documents into batches.
struct Loader {
    out: mpsc::Sender<Step>,
    place: usize,
    batch: Batch,
}

impl Loader {
    fn send(&mut self, step: Step) -> Result<(), reader::Error> {
        self.out.blocking_send(step).map_err(|_gone| stopped())
    }

    fn flush(&mut self) -> Result<(), reader::Error> {
        if self.batch.count() == 0 {
            return Ok(());
        }
        let batch = std::mem::take(&mut self.batch);
        self.send(Step::Documents(self.place, batch))
    }
}

fn stopped() -> reader::Error {
    reader::Error::Read(std::io::Error::other(
        "the receiver of the documents has stopped",
    ))
}

impl Visitor for Loader {
    fn prelude(&mut self, prelude: &Prelude) -> Result<(), reader::Error> {
        let read = prelude.namespaces.iter().map(|namespace| {
            metadata::read(&namespace.collection, namespace.kind, &namespace.metadata)
        });
        let collections = read.collect::<Option<Vec<_>>>();
        let collections = collections.ok_or_else(|| {
            reader::Error::Corrupt("the metadata of a collection is invalid".into())
        })?;
        self.send(Step::Collections(collections))
    }

    fn before_large(&mut self) -> Result<(), reader::Error> {
        self.flush()?;
        let (done, inserted) = oneshot::channel();
        self.send(Step::Wait(done))?;
        inserted.blocking_recv().map_err(|_gone| stopped())
    }

    fn document(&mut self, place: usize, document: &RawDocument) -> Result<(), reader::Error> {
        if place != self.place {
            self.flush()?;
            self.place = place;
        }
        if !self.batch.fits(document) {
            self.flush()?;
        }
        self.batch.add(document);
        if self.batch.is_full() {
            self.flush()
        } else {
            Ok(())
        }
    }

    fn end(&mut self, _: usize) -> Result<(), reader::Error> {
        self.flush()
    }
}
