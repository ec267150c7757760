//! Writing the archive of a moment.

use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use jiff::Timestamp;
use silo_mongo::mongodb::bson::RawDocumentBuf;
use tokio::fs::File;
use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use super::plan::Planned;
use crate::archive::decoding::{self, Incoming, identity_of};
use crate::archive::encoding::{ArchiveEncoding, Chunk, Compression, Sink, Stored};
use crate::context::Context;
use crate::error::Error;
use crate::oplog::roll::{Roll, RolledArchive};
use crate::oplog::{self, Position};
use crate::repository::manifest::{ArchiveFacts, Manifest};
use crate::restore::{WorkingFolder, keep_free};
use crate::verification;
use silo_cli::progress::Reporter;

/// Most bytes of entries that are not applied yet, in KiB.
const MAX_UNAPPLIED_KIB: u32 = 4 * 1024;
/// Bytes of entries that are read while others are applied. An entry of 16 MiB is alone.
const BATCH_BYTES: usize = 256 * 1024;
/// Pieces of the new archive that are not written yet.
const AHEAD: usize = 4;
/// As every stock tool reads it, because the file is for one of them or for a restore at once.
const ENCODING: ArchiveEncoding = ArchiveEncoding {
    compression: Compression::Gzip,
    recipient: None,
};

impl Planned<'_> {
    /// Writes the archive of the moment, compressed with gzip, into a new file that only this account can read; reads it back; and returns its manifest.
    /// Changes are kept in `folder` meanwhile.
    ///
    /// # Errors
    /// When the changes do not fit the backup or are not understood, or either cannot be read. Then there is no file.
    pub async fn write(
        &mut self,
        context: &Context,
        folder: &WorkingFolder,
        file: &Path,
        report: &Reporter,
    ) -> Result<Manifest, Error> {
        let created = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(file);
        let created = created.map_err(|error| {
            Error::Refused(format!("{} cannot be created: {error}", file.display()))
        })?;
        let written = tokio::select! {
            biased;
            () = context.stop.cancelled() => Err(Error::Interrupted),
            written = self.write_to(context, folder, file, created, report) => written,
        };
        if written.is_err() {
            drop(std::fs::remove_file(file));
        }
        written
    }

    async fn write_to(
        &mut self,
        context: &Context,
        folder: &WorkingFolder,
        file: &Path,
        created: std::fs::File,
        report: &Reporter,
    ) -> Result<Manifest, Error> {
        let mut created = File::from_std(created);
        let rolled = self.roll(context, folder, &mut created, report).await?;
        created.sync_all().await?;
        self.entries
            .were_all_there(self.from, &self.base.manifest)
            .await?;
        let mut manifest = self.base.manifest.clone();
        manifest.collections = rolled.collections;
        // The position's second, and not later: accounts that were deleted since are erased.
        let second = Timestamp::from_second(self.until.end().seconds.into());
        manifest.as_of =
            second.map_err(|_range| Error::Engine("the position has no time".into()))?;
        manifest.archive = ArchiveFacts {
            key: file.display().to_string(),
            bytes: rolled.out.bytes,
            sha256: rolled.out.sha256,
            archive_bytes: rolled.out.archive_bytes,
            compression: ENCODING.compression,
            recipient: None,
        };
        verification::verify_file(file, &manifest, report).await?;
        self.plan.last_taken = rolled.last_change;
        self.plan.operations = Some(rolled.operations);
        Ok(manifest)
    }

    /// Writes the archive of the moment, compressed with gzip.
    ///
    /// # Errors
    /// When the changes do not fit the backup or are not understood, or either cannot be read.
    pub async fn roll(
        &self,
        context: &Context,
        folder: &WorkingFolder,
        mut out_file: impl AsyncWrite + Unpin,
        report: &Reporter,
    ) -> Result<RolledArchive<Stored>, Error> {
        let settings = &context.settings;
        let archive = &self.base.manifest.archive;
        let identity = settings.identity.as_ref().and_then(identity_of);
        let identity = identity.filter(|_| archive.recipient.is_some());
        if archive.recipient.is_some() && identity.is_none() && self.archive.is_none() {
            return Err(Error::Refused(
                "the backup is encrypted: set BACKUP_AGE_IDENTITY to its private key".into(),
            ));
        }
        report.begin("applying", None, "changes");
        let (sender, entries) = mpsc::channel(1);
        let (out, mut written) = mpsc::channel(AHEAD);
        let mut stream = self.entries.read(self.from, self.until).await?;
        let rolling = Rolling {
            base: self.base.manifest.clone(),
            from: self.from,
            chunks: match &self.archive {
                Some(copy) => verification::file_chunks(copy),
                None => self
                    .destination
                    .repository
                    .download(&archive.key, archive.bytes),
            },
            is_copy: self.archive.is_some(),
            identity,
            folder: folder.path().to_path_buf(),
            tool: format!("silo-backup {}", settings.process.build.version),
            report: report.clone(),
        };
        let rolling = tokio::task::spawn_blocking(move || rolling.run(entries, out));
        let unapplied = Arc::new(Semaphore::new(MAX_UNAPPLIED_KIB as usize));
        loop {
            let (entries, ended) = read_batch(&mut stream).await;
            let is_last = ended.is_some();
            let bytes: usize = entries.iter().map(|entry| entry.as_bytes().len()).sum();
            let kib = u32::try_from(bytes / 1024).unwrap_or(u32::MAX);
            let permits = kib.clamp(1, MAX_UNAPPLIED_KIB);
            let permit = Arc::clone(&unapplied).acquire_many_owned(permits).await;
            let batch = Batch {
                entries,
                ended,
                _permit: permit.map_err(|_closed| Error::Interrupted)?,
            };
            // If the other side has ended, its error is the reason.
            if sender.send(batch).await.is_err() || is_last {
                break;
            }
            // A large entry is in memory several times: the next one is read when it is applied.
            if permits > MAX_UNAPPLIED_KIB / 4 {
                drop(unapplied.acquire_many(MAX_UNAPPLIED_KIB).await);
            }
        }
        drop(sender);
        while let Some(Chunk::Data(bytes)) = written.recv().await {
            out_file.write_all(&bytes).await?;
        }
        out_file.flush().await?;
        rolling
            .await
            .map_err(|_panic| Error::Engine("rolling the backup forward was interrupted".into()))?
    }
}

/// Entries that are applied together. The permit is released when they are.
struct Batch {
    entries: Vec<RawDocumentBuf>,
    /// End of the entries, or the error after which there are no more; `None` while there are.
    ended: Option<Result<(), Error>>,
    _permit: OwnedSemaphorePermit,
}

/// Reads entries of about [`BATCH_BYTES`], and their end.
async fn read_batch(
    entries: &mut (impl Stream<Item = Result<RawDocumentBuf, Error>> + Unpin),
) -> (Vec<RawDocumentBuf>, Option<Result<(), Error>>) {
    let (mut batch, mut bytes) = (Vec::new(), 0);
    while bytes < BATCH_BYTES {
        match entries.next().await {
            Some(Ok(entry)) => {
                bytes += entry.as_bytes().len();
                batch.push(entry);
            }
            Some(Err(error)) => return (batch, Some(Err(error))),
            None => return (batch, Some(Ok(()))),
        }
    }
    (batch, None)
}

/// Inputs of the part that runs on a thread of its own.
struct Rolling {
    base: Manifest,
    from: Position,
    /// The backup's archive, as it is stored.
    chunks: mpsc::Receiver<io::Result<Bytes>>,
    /// `true` for a copy that is not encrypted, whose bytes are not those of the manifest.
    is_copy: bool,
    identity: Option<age::x25519::Identity>,
    folder: PathBuf,
    tool: String,
    report: Reporter,
}

impl Rolling {
    fn run(
        self,
        entries: mpsc::Receiver<Batch>,
        out: mpsc::Sender<Chunk>,
    ) -> Result<RolledArchive<Stored>, Error> {
        let Self { base, report, .. } = self;
        let roll = apply(&self.folder, &base, self.from, entries, &report)?;
        report.begin("writing", Some(base.documents()), "documents");
        let mut incoming = Incoming::new(self.chunks);
        let rolled = decoding::open(
            &mut incoming,
            base.archive.compression,
            self.identity.as_ref(),
        )
        .map_err(oplog::Error::from)
        .and_then(|archive| {
            let sink = Sink::new(&ENCODING, out, None)?;
            roll.write(archive, sink, &base.source.server.version, &self.tool)
        });
        // An incomplete download, or another archive, explains every other error.
        let rest = incoming.rest();
        if let Some(broke) = &incoming.broke {
            return Err(Error::Inconclusive(format!(
                "the backup could not be read to its end: {broke}"
            )));
        }
        let (bytes, sha256) = rest?;
        let as_stored = (bytes, &sha256) == (base.archive.bytes, &base.archive.sha256);
        if !as_stored && !self.is_copy {
            return Err(Error::Corrupt(format!(
                "the archive of {} differs from the bytes written",
                base.id
            )));
        }
        let rolled = rolled.map_err(|error| not_rolled(&error))?;
        let finished = rolled.out.finish()?;
        Ok(RolledArchive {
            out: finished.end()?,
            collections: rolled.collections,
            operations: rolled.operations,
            last_change: rolled.last_change,
        })
    }
}

fn apply(
    folder: &Path,
    base: &Manifest,
    from: Position,
    mut batches: mpsc::Receiver<Batch>,
    report: &Reporter,
) -> Result<Roll, Error> {
    let roll = Roll::new(folder, &base.source.database, from, &base.collections);
    let mut roll = roll.map_err(|error| not_rolled(&error))?;
    roll.incomplete(&base.changed_during_read.incomplete());
    while let Some(batch) = batches.blocking_recv() {
        keep_free(folder)?;
        for entry in &batch.entries {
            let applied = roll.entry(entry.as_bytes());
            applied.map_err(|error| not_rolled(&error))?;
            report.add(1);
        }
        if let Some(ended) = batch.ended {
            return ended.map(|()| roll);
        }
    }
    // The end is sent. Without it, the other side was stopped.
    Err(Error::Interrupted)
}

fn not_rolled(error: &oplog::Error) -> Error {
    match error {
        oplog::Error::Io(_) | oplog::Error::Temporary(_) => Error::Engine(error.to_string()),
        // Known, and not supported: it says nothing about the data.
        oplog::Error::Unsupported { .. } | oplog::Error::Incomplete(_) => {
            Error::Inconclusive(format!("the backup cannot be rolled forward: {error}"))
        }
        _ => Error::Corrupt(format!("the backup and the changes do not fit: {error}")),
    }
}
