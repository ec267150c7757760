//! The archive, read by ourselves: every collection through one snapshot session, raw, nothing decoded.

use std::io;

use bytes::Bytes;
use jiff::Timestamp;
use silo_mongo::collections::{self, Collection, Kind};
use silo_mongo::fingerprint::Fingerprint;
use silo_mongo::mongodb::bson::RawBsonRef;
use silo_mongo::mongodb::bson::doc;
use silo_mongo::mongodb::raw_batch_cursor::RawBatch;
use silo_mongo::snapshot::{self, Snapshot};
use tokio::sync::mpsc;

use super::request::{DumpOutcome, DumpRequest};
use crate::archive::encoding::{Chunk, Finished, Sink, Stored};
use crate::archive::summary::ArchiveSummary;
use crate::archive::writer::Writer;
use crate::archive::{Namespace, Prelude, metadata};
use crate::error::Error;
use crate::progress::Reporter;
use crate::repository::manifest::{CollectionFacts, Consistency};
use crate::run::lease::SILO;

/// Batches buffered for the writer: each can have 16 MiB.
const BUFFERED: usize = 1;

/// Message from the reader to the writer.
enum Step {
    /// The documents of this collection come next.
    Open(usize),
    /// Some of them.
    Batch(RawBatch),
    /// The collection is complete.
    Close,
    /// The archive is complete.
    End,
}

pub(super) async fn run(
    order: &DumpRequest,
    out: mpsc::Sender<Chunk>,
    tee: Option<mpsc::Sender<io::Result<Bytes>>>,
) -> Result<DumpOutcome, Error> {
    let database = order.client.database(&order.database);
    let server_version = super::request::identify(order).await?.server_version;
    let mut snapshot = Snapshot::begin(&order.client, SILO)
        .await
        .map_err(Error::database("beginning a snapshot"))?;
    let as_of = Timestamp::now();
    let collections = collections::list(&database)
        .await
        .map_err(Error::database("listing the collections"))?;
    let capped = collections
        .iter()
        .filter(|collection| collection.is_capped());
    let not_in_snapshot = capped.map(|collection| collection.name.clone()).collect();
    let total = estimate(order, &collections).await;
    order.report.begin("reading", total, "documents");

    let prelude = Prelude {
        server_version,
        tool_version: format!("silo-backup {}", order.version),
        namespaces: collections
            .iter()
            .map(|collection| announce(&order.database, collection))
            .collect(),
    };
    let (steps, taken) = mpsc::channel(BUFFERED);
    let sink = Sink::new(&order.encoding, out, tee)?;
    let (report, of) = (order.report.clone(), collections.clone());
    let writing = tokio::task::spawn_blocking(move || write(sink, prelude, &of, taken, &report));

    let read = read(order, &collections, &mut snapshot, &steps).await;
    if read.is_ok() {
        // If the writer has ended, its error is returned below.
        drop(steps.send(Step::End).await);
    }
    drop(steps);
    let written = writing
        .await
        .map_err(|_panic| Error::Engine("writing the archive was interrupted".into()))?;
    match (read, written) {
        (Err(error @ Error::Database { .. }), _) => Err(error),
        (_, Err(error)) => Err(Error::Engine(format!("writing the archive: {error}"))),
        (Err(error), _) => Err(error),
        (Ok(()), Ok((stored, collections))) => {
            let consistency = snapshot
                .end()
                .await
                .map_err(Error::database("looking at the canary"))?;
            Ok(DumpOutcome {
                as_of,
                consistency: match consistency {
                    snapshot::Consistency::Snapshot => Consistency::Snapshot,
                    snapshot::Consistency::Fuzzy => Consistency::Fuzzy,
                },
                not_in_snapshot,
                stored,
                written: ArchiveSummary {
                    collections,
                    unique_indexes: 0,
                    not_checked: Vec::new(),
                    duplicate: None,
                },
            })
        }
    }
}

fn announce(database: &str, collection: &Collection) -> Namespace {
    Namespace {
        database: database.to_owned(),
        collection: collection.name.clone(),
        kind: collection.kind,
        metadata: metadata::write(collection),
    }
}

/// Estimated number of documents; `None` if the server does not report it.
async fn estimate(order: &DumpRequest, collections: &[Collection]) -> Option<u64> {
    let database = order.client.database(&order.database);
    let mut total = 0;
    for collection in collections
        .iter()
        .filter(|collection| collection.kind != Kind::View)
    {
        let count = database
            .run_command(doc! { "count": collection.data_name() })
            .await
            .ok()?;
        total += silo_mongo::field::count(&count, "n")?;
    }
    Some(total)
}

/// Reads every collection in the snapshot, and hands on what comes.
async fn read(
    order: &DumpRequest,
    collections: &[Collection],
    snapshot: &mut Snapshot,
    steps: &mpsc::Sender<Step>,
) -> Result<(), Error> {
    let database = order.client.database(&order.database);
    let gone = |_gone| Error::Engine("the archive is not written any more".into());
    for (place, collection) in collections.iter().enumerate() {
        order.report.at(&collection.name);
        steps.send(Step::Open(place)).await.map_err(gone)?;
        if collection.kind != Kind::View {
            let name = collection.data_name();
            // mongod cannot read a capped collection in a snapshot, so it is read outside, and listed as not of that moment.
            let session = snapshot.session().filter(|_| !collection.is_capped());
            let read = collections::read_all(&database, &name, session, async |batch| {
                steps.send(Step::Batch(batch)).await.map_err(gone)
            });
            read.await.map_err(|error| match error {
                Error::Database { error, .. } => Error::Database {
                    action: format!("reading {}", collection.name),
                    error,
                },
                other => other,
            })?;
        }
        steps.send(Step::Close).await.map_err(gone)?;
    }
    Ok(())
}

/// Writes received batches to the archive until the end.
fn write(
    sink: Sink,
    prelude: Prelude,
    collections: &[Collection],
    mut steps: mpsc::Receiver<Step>,
    report: &Reporter,
) -> io::Result<(Stored, Vec<CollectionFacts>)> {
    let mut archive = Writer::begin(sink, prelude)?;
    let mut facts = Vec::new();
    loop {
        let place = match steps.blocking_recv() {
            Some(Step::Open(place)) => place,
            Some(Step::End) => {
                let finished: Finished = archive.into_inner().finish()?;
                return Ok((finished.end()?, facts));
            }
            _ => {
                return Err(io::Error::new(
                    io::ErrorKind::UnexpectedEof,
                    "reading the database was interrupted",
                ));
            }
        };
        let mut open = archive.open(place)?;
        let mut fingerprint = Fingerprint::default();
        loop {
            match steps.blocking_recv() {
                Some(Step::Batch(batch)) => {
                    let mut count = 0;
                    for document in batch.doc_slices().map_err(io::Error::other)? {
                        let Ok(RawBsonRef::Document(document)) = document else {
                            return Err(io::Error::other(
                                "the server sent something else than documents",
                            ));
                        };
                        fingerprint.add(document.as_bytes());
                        archive.document(&mut open, document.as_bytes())?;
                        count += 1;
                    }
                    report.add(count);
                }
                Some(Step::Close) => break,
                _ => {
                    return Err(io::Error::new(
                        io::ErrorKind::UnexpectedEof,
                        "reading the database was interrupted",
                    ));
                }
            }
        }
        archive.close(&open)?;
        let collection = &collections[place];
        facts.push(CollectionFacts {
            name: collection.name.clone(),
            kind: collection.kind.word().into(),
            sums: fingerprint.sums(),
            options: metadata::extended(&collection.options),
            indexes: collection.indexes.iter().map(metadata::extended).collect(),
        });
    }
}
