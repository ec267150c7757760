//! Dump of the database, written to all destinations at once.

use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::archive::encoding::Chunk;
use crate::archive::summary::ArchiveSummary;
use crate::dump::{self, DumpOutcome};
use crate::error::Error;
use crate::run::run_context::{OpenDestination, RunContext};
use crate::verification::{as_written, verify_while_writing};

/// Chunks buffered between the engine and the destinations.
const BUFFERED: usize = 4;

/// A dump that at least one destination has stored.
pub(super) struct Dump {
    /// Result of the engine.
    pub(super) outcome: DumpOutcome,
    /// Summary of the archive; for an encrypted one, computed before encryption.
    pub(super) summary: ArchiveSummary,
    /// Destinations that have stored the complete archive.
    pub(super) stored_in: Vec<OpenDestination>,
}

/// A destination that failed, by name.
type Failed = (&'static str, Error);

/// Dumps the database to all destinations at once. Failed destinations are added to `failed`.
pub(super) async fn dump(
    run: &RunContext<'_>,
    destinations: Vec<OpenDestination>,
    failed: &mut Vec<Failed>,
) -> Result<Dump, Error> {
    let settings = &run.context.settings;
    let (out, chunks) = mpsc::channel(BUFFERED);
    let (uploads, receivers) = start_uploads(run, destinations);
    let sharing = tokio::spawn(fan_out(chunks, receivers));
    // An encrypted archive cannot be verified in storage without the private key, so it is verified while it is written, before encryption.
    let encrypted_without_identity =
        settings.encoding.recipient.is_some() && settings.identity.is_none();
    let (tee, verifying) = encrypted_without_identity
        .then(|| {
            let folder = run.ids_folder().map(std::path::Path::to_path_buf);
            verify_while_writing(settings.encoding.compression, folder)
        })
        .unzip();
    let request = run.context.dump_request(run.report);
    let version = &run.source.server.version;
    let outcome = dump::run(&request, version, out, tee).await;
    drop(sharing.await);
    let (outcome, stored_in) = end_uploads(outcome, uploads, failed).await?;
    let summary = match verifying {
        None => ArchiveSummary {
            collections: outcome.written.clone(),
            invalid_strings: 0,
            duplicate: None,
            database: run.source.database.clone(),
            server_version: version.clone(),
        },
        Some(verifying) => {
            let summary = verifying.await.map_err(|_panic| {
                Error::Engine("verifying the archive was interrupted".into())
            })??;
            as_written(&outcome.written, &summary)?;
            summary
        }
    };
    Ok(Dump {
        outcome,
        summary,
        stored_in,
    })
}

/// An upload in progress.
type Upload = (OpenDestination, JoinHandle<Result<u64, Error>>);

fn start_uploads(
    run: &RunContext<'_>,
    destinations: Vec<OpenDestination>,
) -> (Vec<Upload>, Vec<mpsc::Sender<Chunk>>) {
    let start = |destination: OpenDestination| {
        let (sender, chunks) = mpsc::channel(BUFFERED);
        let (repository, key) = (destination.repository.clone(), run.archive_key());
        let storing = async move { repository.store(&key, chunks).await };
        let upload = run.context.uploads.spawn(storing);
        ((destination, upload), sender)
    };
    destinations.into_iter().map(start).unzip()
}

/// Waits for all uploads. Returns the destinations that have stored everything, or the error that explains best why there are none.
async fn end_uploads(
    outcome: Result<DumpOutcome, Error>,
    uploads: Vec<Upload>,
    failed: &mut Vec<Failed>,
) -> Result<(DumpOutcome, Vec<OpenDestination>), Error> {
    let (mut stored_in, mut last) = (Vec::new(), None);
    for (destination, upload) in uploads {
        let stored = upload
            .await
            .map_err(|_panic| Error::Engine("an upload was interrupted".into()))?;
        match (&outcome, stored) {
            (Ok(outcome), Ok(bytes)) if bytes == outcome.stored.bytes => {
                stored_in.push(destination);
            }
            (Ok(_), Ok(_)) => failed.push((
                destination.repository.name,
                Error::Engine("not all of the archive was written".into()),
            )),
            (_, Err(error)) => {
                // The upload's own error explains more than "no destination took the archive".
                last = Some(error.clone());
                failed.push((destination.repository.name, error));
            }
            (Err(_), Ok(_)) => {}
        }
    }
    match (outcome, last) {
        (Ok(outcome), _) if !stored_in.is_empty() => Ok((outcome, stored_in)),
        (Err(error @ Error::Database { .. }), _) => Err(error),
        (_, Some(Error::Storage { action, error }))
            if error.kind != silo_spaces::error::Kind::Source =>
        {
            Err(Error::Storage { action, error })
        }
        (Err(error), _) => Err(error),
        (Ok(_), last) => {
            Err(last.unwrap_or_else(|| Error::Engine("no destination took the archive".into())))
        }
    }
}

/// Sends every chunk to every destination. A failed destination is dropped; without any left, reading stops.
async fn fan_out(mut chunks: mpsc::Receiver<Chunk>, mut receivers: Vec<mpsc::Sender<Chunk>>) {
    while let Some(chunk) = chunks.recv().await {
        let mut left = Vec::with_capacity(receivers.len());
        for receiver in receivers {
            if receiver.send(chunk.clone()).await.is_ok() {
                left.push(receiver);
            }
        }
        receivers = left;
        if receivers.is_empty() {
            return;
        }
    }
}
