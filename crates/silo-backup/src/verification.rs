//! Verification: reading a stored archive back completely, like a restore does.

pub mod drill;
pub mod duplicate_ids;
pub mod expectations;
mod moment_drill;
mod mongorestore;
pub mod recheck;
mod scratch;
mod survey;

use std::io;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use futures_util::StreamExt;
use silo_core::secret::Secret;
use tokio::sync::mpsc;
use tokio_util::io::ReaderStream;

use crate::archive::decoding::{self, Incoming, identity_of};
use crate::archive::encoding::Compression;
use crate::archive::reader;
use crate::archive::summary::{ArchiveSummary, SummaryBuilder, differences};
use crate::context::Context;
use crate::error::Error;
use crate::repository::manifest::{ArchiveFacts, CollectionFacts, Consistency, Manifest};
use crate::repository::{Check, Repository};
use silo_cli::progress::Reporter;

use duplicate_ids::DocumentIds;
pub use survey::{Survey, survey};

/// Bytes of a file that are read at once.
const PIECE: usize = 256 * 1024;

/// Result of reading a stored archive.
#[derive(Clone, Debug)]
pub struct ReadBack {
    /// Summary of the contents; `None` when the archive is encrypted and the private key is not available.
    pub summary: Option<ArchiveSummary>,
}

/// Reads an archive back and compares it with the written bytes. `ids_folder` is set for a dump without a snapshot, in which documents may occur twice.
///
/// # Errors
/// [`Error::Corrupt`] when it differs, [`Error::Inconclusive`] when the storage did not answer reliably.
pub async fn read_back(
    repository: &Repository,
    archive: &ArchiveFacts,
    identity: Option<&Secret>,
    ids_folder: Option<&Path>,
    report: &Reporter,
) -> Result<ReadBack, Error> {
    let doubt = |error: Error| Error::Inconclusive(format!("{}: {error}", repository.name));
    match repository.size(&archive.key).await.map_err(doubt)? {
        None => {
            return Err(Error::Corrupt(format!(
                "the archive has vanished from {}",
                repository.name
            )));
        }
        Some(bytes) if bytes != archive.bytes => {
            return Err(Error::Corrupt(format!(
                "the archive has {bytes} bytes and had {}",
                archive.bytes
            )));
        }
        Some(_) => {}
    }
    let chunks = repository.download(&archive.key, archive.bytes);
    let (facts, report) = (archive.clone(), report.clone());
    let ids_folder = ids_folder.map(Path::to_path_buf);
    let identity = identity.and_then(identity_of);
    let reading = tokio::task::spawn_blocking(move || {
        let encrypted = facts.recipient.is_some();
        let mut incoming = Incoming::new(chunks);
        let walked = if encrypted && identity.is_none() {
            Ok(None)
        } else {
            let identity = identity.as_ref().filter(|_| encrypted);
            decoding::open(&mut incoming, facts.compression, identity)
                .map_err(reader::Error::from)
                .and_then(|archive| summarise(archive, ids_folder, report))
                .map(Some)
        };
        evaluate(&facts, &mut incoming, walked)
    });
    reading
        .await
        .map_err(|_panic| Error::Engine("reading the archive back was interrupted".into()))?
}

/// Transport first: an incomplete download is inconclusive; complete but different bytes are corruption.
fn evaluate(
    facts: &ArchiveFacts,
    incoming: &mut Incoming,
    walked: Result<Option<ArchiveSummary>, reader::Error>,
) -> Result<ReadBack, Error> {
    let local = match &walked {
        Err(reader::Error::Read(error)) if incoming.broke.is_none() && is_local(error) => {
            Some(error.to_string())
        }
        _ => None,
    };
    let rest = incoming.rest();
    if let Some(broke) = &incoming.broke {
        return Err(Error::Inconclusive(format!(
            "the archive could not be read to its end: {broke}"
        )));
    }
    let (bytes, sha256) = rest?;
    if (bytes, &sha256) != (facts.bytes, &facts.sha256) {
        return Err(Error::Corrupt(
            "the archive differs from the bytes written".into(),
        ));
    }
    if let Some(error) = local {
        return Err(Error::Engine(format!(
            "temporary files cannot be written to BACKUP_FOLDER: {error}"
        )));
    }
    match walked {
        Ok(summary) => Ok(ReadBack { summary }),
        Err(error) => Err(Error::Corrupt(format!(
            "the archive cannot be restored: {error}"
        ))),
    }
}

/// `true` if the error is one of this machine and not of the archive.
fn is_local(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull
            | io::ErrorKind::QuotaExceeded
            | io::ErrorKind::NotFound
            | io::ErrorKind::PermissionDenied
            | io::ErrorKind::ReadOnlyFilesystem
    )
}

fn summarise(
    archive: impl io::Read + Send,
    ids_folder: Option<PathBuf>,
    report: Reporter,
) -> Result<ArchiveSummary, reader::Error> {
    let mut summary = SummaryBuilder::new(ids_folder.map(DocumentIds::new), report);
    let read = decoding::read_ahead(archive, |archive| reader::read(archive, &mut summary))?;
    Ok(summary.summary(&read)?)
}

/// Summarises an archive while it is written, before encryption. Returns the summary when all of it was written.
pub fn verify_while_writing(
    compression: Compression,
    ids_folder: Option<PathBuf>,
) -> (
    mpsc::Sender<io::Result<Bytes>>,
    tokio::task::JoinHandle<Result<ArchiveSummary, Error>>,
) {
    let (out, chunks) = mpsc::channel(2);
    let reading = tokio::task::spawn_blocking(move || {
        let mut incoming = Incoming::new(chunks);
        let archive = decoding::decompress(&mut incoming, compression)?;
        summarise(archive, ids_folder, Reporter::default())
            .map_err(|error| Error::Corrupt(format!("the archive cannot be restored: {error}")))
    });
    (out, reading)
}

/// Reads the archive in a file as a restore would, and compares it with a manifest.
///
/// # Errors
/// [`Error::Corrupt`] when it differs.
pub async fn verify_file(file: &Path, manifest: &Manifest, report: &Reporter) -> Result<(), Error> {
    report.begin("verifying", Some(manifest.documents()), "documents");
    let mut incoming = Incoming::new(file_chunks(file));
    let (manifest, report) = (manifest.clone(), report.clone());
    let reading = tokio::task::spawn_blocking(move || {
        let walked = decoding::decompress(&mut incoming, manifest.archive.compression)
            .map_err(reader::Error::from)
            .and_then(|archive| summarise(archive, None, report))
            .map(Some);
        let read = evaluate(&manifest.archive, &mut incoming, walked)?;
        match read.summary {
            Some(summary) => as_written(&manifest.collections, &summary),
            None => Ok(()),
        }
    });
    reading
        .await
        .map_err(|_panic| Error::Engine("reading the file was interrupted".into()))?
}

/// Pieces of a file, like those of a download.
#[must_use]
pub fn file_chunks(file: &Path) -> mpsc::Receiver<io::Result<Bytes>> {
    let (out, chunks) = mpsc::channel(2);
    let file = file.to_path_buf();
    tokio::spawn(async move {
        let mut pieces = match tokio::fs::File::open(file).await {
            Ok(file) => ReaderStream::with_capacity(file, PIECE),
            Err(error) => return drop(out.send(Err(error)).await),
        };
        while let Some(piece) = pieces.next().await {
            if out.send(piece).await.is_err() {
                return;
            }
        }
    });
    chunks
}

/// Verifies that a stored backup matches its manifest, to the last byte, document and index option, and records the result in the repository. A backup
/// that was found to be corrupt does not count as good any more.
///
/// # Errors
/// [`Error::Corrupt`] or [`Error::Inconclusive`], with everything that was found.
pub async fn verify_and_record(
    context: &Context,
    repository: &Repository,
    manifest: &Manifest,
    report: &Reporter,
) -> Result<ReadBack, Error> {
    let verified = verify(context, repository, manifest, report).await;
    let problem = match &verified {
        Ok(_) => None,
        Err(error @ Error::Corrupt(_)) => Some(error.to_string()),
        // Not a statement about the backup.
        Err(_) => return verified,
    };
    let check = Check {
        at: context.clock.now(),
        good: problem.is_none(),
        problem,
    };
    let recorded = repository
        .write_json(&format!("checks/{}.json", manifest.id), &check)
        .await;
    // The verdict is more important than its record.
    if let Err(error) = recorded {
        log::warn!(id = manifest.id.as_str(), destination = repository.name; "the result of the verification could not be recorded: {error}");
    }
    verified
}

/// Verifies that a stored backup matches its manifest, to the last byte, document and index option.
///
/// # Errors
/// [`Error::Corrupt`] or [`Error::Inconclusive`], with everything that was found.
pub async fn verify(
    context: &Context,
    repository: &Repository,
    manifest: &Manifest,
    report: &Reporter,
) -> Result<ReadBack, Error> {
    report.begin("verifying", Some(manifest.documents()), "documents");
    let settings = &context.settings;
    let read = read_back(
        repository,
        &manifest.archive,
        settings.identity.as_ref(),
        (manifest.consistency == Consistency::Fuzzy).then_some(settings.folder.as_path()),
        report,
    )
    .await?;
    if let Some(summary) = &read.summary {
        as_written(&manifest.collections, summary)?;
    }
    Ok(read)
}

/// Compares a summary with the one made while writing, and checks that the archive can be restored.
///
/// # Errors
/// [`Error::Corrupt`] with every difference.
pub fn as_written(written: &[CollectionFacts], found: &ArchiveSummary) -> Result<(), Error> {
    let mut wrong = differences(written, &found.collections);
    wrong.extend(
        found
            .duplicate
            .iter()
            .map(|name| format!("two documents of {name} have the same _id")),
    );
    if wrong.is_empty() {
        Ok(())
    } else {
        Err(Error::Corrupt(wrong.join("; ")))
    }
}
