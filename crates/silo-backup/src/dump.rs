//! Dump of the database into an archive: every collection is read raw through one snapshot session, and nothing is decoded.

mod changes;
mod request;
mod unsupported;

use std::io;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use silo_mongo::collections::{self, Collection, Kind};
use silo_mongo::error::DatabaseError;
use silo_mongo::fingerprint::Fingerprint;
use silo_mongo::mongodb::Database;
use silo_mongo::mongodb::raw_batch_cursor::RawBatch;
use silo_mongo::snapshot::{self, Snapshot};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use crate::archive::encoding::{Chunk, Finished, Sink};
use crate::archive::writer::Writer;
use crate::archive::{Namespace, Prelude, metadata};
use crate::error::Error;
use crate::repository::manifest::{ClusterTime, CollectionFacts, Consistency};
use crate::run::lease::SILO;
use silo_cli::progress::Reporter;

use changes::changes;
use request::slow_read;
pub use request::{DumpOutcome, DumpRequest, identify};
use unsupported::refuse_viewless_time_series;

/// Batches buffered for the writer.
const BUFFERED: usize = 4;
/// Size of a batch in bytes, for documents of average size.
pub const BATCH_BYTES: u64 = 1024 * 1024;
/// Bytes of batches that the writer has not processed yet, in KiB: as many as one reply of the server can have.
const MAX_UNWRITTEN_KIB: u32 = 16 * 1024;
/// Attempts to begin a snapshot while collections or indexes change.
const SNAPSHOT_ATTEMPTS: usize = 5;

/// Message from the reader to the writer.
enum Step {
    /// The documents of this collection come next.
    Open(usize),
    /// Some of its documents. The permit is released when they are written.
    Batch(RawBatch, OwnedSemaphorePermit),
    /// The collection is complete.
    Close,
    /// The archive is complete.
    End,
}

/// Dumps the database and sends the archive's bytes. Only after `Ok` have all of them been sent. `tee` receives the compressed bytes before encryption.
///
/// # Errors
/// The error that interrupted the dump.
pub async fn run(
    order: &DumpRequest,
    server_version: &str,
    out: mpsc::Sender<Chunk>,
    tee: Option<mpsc::Sender<io::Result<Bytes>>>,
) -> Result<DumpOutcome, Error> {
    let database = order.client.database(&order.database);
    let (mut snapshot, as_of, collections) = begin(order, &database).await?;
    let began = Instant::now();
    refuse_viewless_time_series(server_version, &collections)?;
    let capped = collections
        .iter()
        .filter(|collection| collection.is_capped());
    let not_in_snapshot = capped.map(|collection| collection.name.clone()).collect();
    let sizes = sizes(&database, &collections).await;
    let total = sizes.iter().map(|size| size.0).sum();
    order.report.begin("reading", Some(total), "documents");

    let prelude = Prelude {
        server_version: server_version.to_owned(),
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

    let read = read(order, &collections, &sizes, &mut snapshot, &steps).await;
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
        (Ok(missing), Ok((finished, written))) => {
            let consistency = snapshot
                .end()
                .await
                .map_err(Error::database("checking the isolation of the snapshot"))?;
            let slow = slow_read(&order.client, began.elapsed()).await;
            let changed = changes(&database, &collections, missing).await?;
            // Only now is the archive complete.
            let stored = tokio::task::spawn_blocking(move || finished.end())
                .await
                .map_err(|_panic| Error::Engine("completing the archive was interrupted".into()))?;
            let stored =
                stored.map_err(|error| Error::Engine(format!("writing the archive: {error}")))?;
            let (consistency, cluster_time) = match consistency {
                snapshot::Consistency::Snapshot(time) => (Consistency::Snapshot, time),
                snapshot::Consistency::Fuzzy => (Consistency::Fuzzy, None),
            };
            Ok(DumpOutcome {
                as_of,
                consistency,
                cluster_time: cluster_time.map(ClusterTime::from),
                not_in_snapshot,
                changed,
                slow,
                stored,
                written,
            })
        }
    }
}

/// Begins a snapshot and lists the collections and indexes of its time. They cannot be listed in a snapshot, so they are before and after; when one was
/// created, dropped or changed in between, the snapshot is begun again, a few times.
async fn begin(
    order: &DumpRequest,
    database: &Database,
) -> Result<(Snapshot, jiff::Timestamp, Vec<Collection>), Error> {
    let action = || Error::database("listing the collections");
    let mut attempt = 1;
    loop {
        let before = collections::list_with_built_indexes(database)
            .await
            .map_err(action())?;
        let as_of = order.clock.now();
        let snapshot = Snapshot::begin(&order.client, SILO)
            .await
            .map_err(Error::database("beginning a snapshot"))?;
        let after = collections::list_with_built_indexes(database)
            .await
            .map_err(action())?;
        if before == after {
            return Ok((snapshot, as_of, after));
        }
        if attempt == SNAPSHOT_ATTEMPTS {
            log::warn!(
                "collections or indexes change all the time: some may be of a moment after the snapshot"
            );
            return Ok((snapshot, as_of, after));
        }
        log::info!(attempt; "collections or indexes changed while the snapshot began; beginning it again");
        attempt += 1;
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

/// Documents of each collection, and documents per batch.
async fn sizes(database: &Database, collections: &[Collection]) -> Vec<(u64, u32)> {
    let sizes = collections.iter().map(async |collection| {
        match collection.kind {
            Kind::View => (0, 1),
            // Without the privilege for collStats, about a megabyte of small documents.
            _ => collections::size(database, &collection.data_name(), BATCH_BYTES)
                .await
                .unwrap_or((0, 250)),
        }
    });
    stream::iter(sizes)
        .buffered(collections::AT_ONCE)
        .collect()
        .await
}

/// Reads every collection in the snapshot, and sends its documents to the writer. Returns the collections that could not be read because they were
/// dropped.
async fn read(
    order: &DumpRequest,
    collections: &[Collection],
    sizes: &[(u64, u32)],
    snapshot: &mut Snapshot,
    steps: &mpsc::Sender<Step>,
) -> Result<Vec<String>, Error> {
    let database = order.client.database(&order.database);
    let unwritten = Arc::new(Semaphore::new(MAX_UNWRITTEN_KIB as usize));
    let gone = || Error::Engine("the archive is not written any more".into());
    let mut missing = Vec::new();
    for (place, (collection, (_, batch))) in collections.iter().zip(sizes).enumerate() {
        order.report.at(&collection.name);
        steps
            .send(Step::Open(place))
            .await
            .map_err(|_gone| gone())?;
        if collection.kind != Kind::View {
            let name = collection.data_name();
            // mongod cannot read a capped collection in a snapshot, so it is read outside, and listed as not of that time.
            let session = snapshot.session().filter(|_| !collection.is_capped());
            let read = collections::read_all(&database, &name, *batch, session, async |batch| {
                let bytes = batch.as_raw_document().as_bytes().len();
                let kib = u32::try_from(bytes / 1024).unwrap_or(u32::MAX);
                let permits = kib.clamp(1, MAX_UNWRITTEN_KIB);
                let permit = Arc::clone(&unwritten).acquire_many_owned(permits).await;
                let permit = permit.map_err(|_closed| gone())?;
                let sent = steps.send(Step::Batch(batch, permit)).await;
                sent.map_err(|_gone| gone())?;
                // Large documents: the next reply is requested only when most of this one is written.
                if permits > MAX_UNWRITTEN_KIB / 4 {
                    drop(unwritten.acquire_many(MAX_UNWRITTEN_KIB / 2).await);
                }
                Ok::<_, Error>(())
            });
            match read.await {
                Ok(()) => {}
                Err(Error::Database {
                    error: DatabaseError::NotThere,
                    ..
                }) => missing.push(collection.name.clone()),
                Err(Error::Database { error, .. }) => {
                    return Err(Error::Database {
                        action: format!("reading {}", collection.name),
                        error,
                    });
                }
                Err(other) => return Err(other),
            }
        }
        steps.send(Step::Close).await.map_err(|_gone| gone())?;
    }
    Ok(missing)
}

/// Writes received batches to the archive until the end.
fn write(
    sink: Sink,
    prelude: Prelude,
    collections: &[Collection],
    mut steps: mpsc::Receiver<Step>,
    report: &Reporter,
) -> io::Result<(Finished, Vec<CollectionFacts>)> {
    let interrupted = || {
        io::Error::new(
            io::ErrorKind::UnexpectedEof,
            "reading the database was interrupted",
        )
    };
    let malformed = |error: DatabaseError| io::Error::other(error.detail());
    let mut archive = Writer::begin(sink, prelude)?;
    let mut facts = Vec::new();
    loop {
        let place = match steps.blocking_recv() {
            Some(Step::Open(place)) => place,
            Some(Step::End) => return Ok((archive.into_inner().finish()?, facts)),
            _ => return Err(interrupted()),
        };
        let mut open = archive.open(place)?;
        let mut fingerprint = Fingerprint::default();
        loop {
            match steps.blocking_recv() {
                Some(Step::Batch(batch, _permit)) => {
                    let mut count = 0;
                    for document in collections::documents(&batch).map_err(malformed)? {
                        let document = document.map_err(malformed)?;
                        fingerprint.add(document.as_bytes());
                        archive.document(&mut open, document.as_bytes())?;
                        count += 1;
                    }
                    report.add(count);
                }
                Some(Step::Close) => break,
                _ => return Err(interrupted()),
            }
        }
        archive.close(&open)?;
        let collection = &collections[place];
        facts.push(CollectionFacts::new(collection, fingerprint.sums()));
    }
}
