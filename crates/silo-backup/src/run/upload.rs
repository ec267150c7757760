//! Dump of the database, written to all destinations at once.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout_at};

use crate::archive::encoding::Chunk;
use crate::archive::summary::ArchiveSummary;
use crate::continuous::local_copy;
use crate::dump::{self, DumpOutcome};
use crate::error::Error;
use crate::run::run_context::{OpenDestination, RunContext};
use crate::verification::{as_written, verify_while_writing};

/// Chunks buffered between the engine and the destinations.
const BUFFERED: usize = 4;

/// Time that a destination may keep another one waiting. The server keeps a snapshot for a limited time, so a slow copy must not cost the backup.
const STALLED_AFTER: Duration = Duration::from_secs(60);

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
    let tee = match tee {
        Some(tee) if local_copy::is_needed(settings) => {
            Some(local_copy::write(&settings.folder, &run.id, tee))
        }
        tee => tee,
    };
    let request = run.context.dump_request(run.report);
    let version = &run.source.server.version;
    let outcome = dump::run(&request, version, out, tee).await;
    let stalled = sharing
        .await
        .map_err(|_panic| Error::Engine("sharing the archive was interrupted".into()))?;
    let (outcome, stored_in) = end_uploads(outcome, uploads, &stalled, failed).await?;
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
    stalled: &[usize],
    failed: &mut Vec<Failed>,
) -> Result<(DumpOutcome, Vec<OpenDestination>), Error> {
    let (mut stored_in, mut last) = (Vec::new(), None);
    for (place, (destination, upload)) in uploads.into_iter().enumerate() {
        let stored = upload
            .await
            .map_err(|_panic| Error::Engine("an upload was interrupted".into()))?;
        if stalled.contains(&place) {
            let reason = format!(
                "it accepted no data for {} s while another destination did",
                STALLED_AFTER.as_secs()
            );
            failed.push((destination.repository.name, Error::Engine(reason)));
            continue;
        }
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

/// Sends every chunk to every destination. A failed destination is dropped, and so is one that keeps another waiting for too long; without any left,
/// reading stops. Returns the places of those that were dropped because they were too slow.
async fn fan_out(
    mut chunks: mpsc::Receiver<Chunk>,
    receivers: Vec<mpsc::Sender<Chunk>>,
) -> Vec<usize> {
    let mut receivers: BTreeMap<usize, mpsc::Sender<Chunk>> =
        receivers.into_iter().enumerate().collect();
    let mut stalled = Vec::new();
    while let Some(chunk) = chunks.recv().await
        && !receivers.is_empty()
    {
        let sends = receivers.iter().map(async |(place, receiver)| {
            let sent = receiver.send(chunk.clone()).await;
            (*place, sent.is_ok())
        });
        let mut sends: FuturesUnordered<_> = sends.collect();
        let mut waiting: BTreeSet<usize> = receivers.keys().copied().collect();
        let (mut gone, mut deadline) = (Vec::new(), None);
        loop {
            let next = match deadline {
                None => sends.next().await,
                Some(deadline) => timeout_at(deadline, sends.next()).await.unwrap_or(None),
            };
            let Some((place, sent)) = next else { break };
            waiting.remove(&place);
            if sent {
                deadline.get_or_insert_with(|| Instant::now() + STALLED_AFTER);
            } else {
                gone.push(place);
            }
        }
        drop(sends);
        stalled.extend(&waiting);
        receivers.retain(|place, _| !gone.contains(place) && !waiting.contains(place));
    }
    stalled
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    /// Sends `count` chunks to a destination that takes all of them, and to one that takes `taken`. Returns the chunks that the first one got.
    async fn send(count: usize, taken: usize) -> (usize, Vec<usize>) {
        let (out, chunks) = mpsc::channel(1);
        let (quick, mut quickly) = mpsc::channel(1);
        let (slow, mut slowly) = mpsc::channel(1);
        let sharing = tokio::spawn(fan_out(chunks, vec![slow, quick]));
        let taking = tokio::spawn(async move {
            for _ in 0..taken {
                slowly.recv().await;
            }
            // Kept: a destination that hangs is not one that has failed.
            std::future::pending::<()>().await;
            drop(slowly);
        });
        let counting = tokio::spawn(async move {
            let mut got = 0;
            while quickly.recv().await.is_some() {
                got += 1;
            }
            got
        });
        for _ in 0..count {
            out.send(Chunk::Data(Bytes::from_static(b"chunk")))
                .await
                .unwrap();
        }
        drop(out);
        let (stalled, got) = (sharing.await.unwrap(), counting.await.unwrap());
        taking.abort();
        (got, stalled)
    }

    #[tokio::test(start_paused = true)]
    async fn a_destination_that_hangs_does_not_stop_the_other() {
        assert_eq!(send(20, 5).await, (20, vec![0]));
        assert_eq!(send(20, 20).await, (20, vec![]));
    }
}
