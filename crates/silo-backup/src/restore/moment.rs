//! A later moment than that of a backup: the backup's archive, rolled forward with the entries of the server's oplog.

use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use jiff::Timestamp;
use serde::Serialize;
use silo_mongo::error::DatabaseError;
use silo_mongo::mongodb::bson::RawDocumentBuf;
use tokio::fs::File;
use tokio::io::AsyncWriteExt;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use crate::archive::decoding::{self, Incoming, identity_of};
use crate::archive::encoding::{ArchiveEncoding, Chunk, Compression, Sink, Stored};
use crate::catalog::{Catalog, Destination};
use crate::context::Context;
use crate::dump::identify;
use crate::error::Error;
use crate::oplog::roll::{Roll, RolledArchive};
use crate::oplog::server::{Edge, ServerOplog, Until};
use crate::oplog::{self, Position};
use crate::repository::Entry;
use crate::repository::manifest::{ArchiveFacts, Consistency, Manifest};
use crate::restore::WorkingFolder;
use crate::verification;
use silo_cli::progress::Reporter;

/// Most bytes of entries that are not applied yet, in KiB.
const MAX_UNAPPLIED_KIB: u32 = 4 * 1024;
/// Free disk in bytes that is left to the server, which may be on the same disk.
const KEPT_FREE: u64 = 512 * 1024 * 1024;
/// Bytes of entries that are read while others are applied. An entry of 16 MiB is alone.
const BATCH_BYTES: usize = 256 * 1024;
/// Pieces of the new archive that are not written yet.
const AHEAD: usize = 4;
/// As every stock tool reads it, because the file is for one of them or for a restore at once.
const ENCODING: ArchiveEncoding = ArchiveEncoding {
    compression: Compression::Gzip,
    recipient: None,
};

/// A moment, as an operator names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// After the last change.
    Latest,
    /// All changes before this second began.
    Time(Timestamp),
    /// All changes up to and with the one of this position.
    After(Position),
    /// All changes before the one of this position; as `--oplogLimit` of mongorestore.
    Before(Position),
}

impl FromStr for Moment {
    type Err = String;

    /// `latest`, a time such as `2026-11-26T03:00:00Z`, or a position such as `1764126000:7`.
    fn from_str(text: &str) -> Result<Self, String> {
        if text == "latest" {
            return Ok(Self::Latest);
        }
        if let Ok(position) = text.parse() {
            return Ok(Self::After(position));
        }
        text.parse().map(Self::Time).map_err(|_why| {
            "is neither `latest`, nor a time such as 2026-11-26T03:00:00Z, nor a position such as 1764126000:7".into()
        })
    }
}

impl FromStr for Position {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parsed = text.split_once(':').and_then(|(seconds, increment)| {
            Some(Self {
                seconds: seconds.parse().ok()?,
                increment: increment.parse().ok()?,
            })
        });
        parsed.ok_or_else(|| "is no position such as 1764126000:7".into())
    }
}

impl Moment {
    /// The end of the entries to take.
    ///
    /// # Errors
    /// [`Error::Refused`] for a moment that has not come: `newest` is the last entry that a majority of the replica set has.
    fn until(self, newest: Position) -> Result<Until, Error> {
        let not_yet = |what: String| {
            Err(Error::Refused(format!(
                "{what} is later than the last change that a majority of the replica set has ({newest}); use `latest`"
            )))
        };
        match self {
            Self::Latest => Ok(Until::Through(newest)),
            Self::Time(time) => {
                let seconds = u32::try_from(time.as_second()).unwrap_or_default();
                if seconds > newest.seconds {
                    return not_yet(time.to_string());
                }
                Ok(Until::Before(Position {
                    seconds,
                    increment: 0,
                }))
            }
            Self::After(position) | Self::Before(position) if position > newest => {
                not_yet(position.to_string())
            }
            Self::After(position) => Ok(Until::Through(position)),
            Self::Before(position) => Ok(Until::Before(position)),
        }
    }
}

/// How a moment can be had: from which backup, and where the changes after it are cut.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Plan {
    /// Id of the backup that is rolled forward.
    pub backup: String,
    /// Position of the backup.
    pub from: String,
    /// The backup's time.
    pub as_of: Timestamp,
    /// Capped collections, which may have later documents: they are in no snapshot of a backup.
    pub not_of_the_moment: Vec<String>,
    /// The last change that is taken; `null` if there is none after the backup, or while it is not known.
    pub last_taken: Option<Edge>,
    /// The first change that is left out; `null` if there is none.
    pub first_left_out: Option<Edge>,
    /// Number of operations that were applied; `null` while they are not.
    pub operations: Option<u64>,
}

/// A moment that can be had.
pub struct Planned<'a> {
    destination: &'a Destination,
    base: &'a Entry,
    from: Position,
    until: Until,
    oplog: ServerOplog,
    /// The plan, for the operator.
    pub plan: Plan,
}

/// Finds the newest good backup at or before a moment, or the one whose id begins with `base`, and checks that the server has all changes since.
///
/// # Errors
/// When there is none, the moment has not come, or the server no longer has the changes.
pub async fn plan<'a>(
    context: &Context,
    catalog: &'a Catalog,
    moment: Moment,
    base: Option<&str>,
    copy: bool,
) -> Result<Planned<'a>, Error> {
    let settings = &context.settings;
    let oplog = ServerOplog::new(&context.client, &settings.database);
    let until = moment.until(oplog.majority().await?)?;
    let destinations = match copy {
        true => std::slice::from_ref(catalog.destination("copy")?),
        false => &catalog.destinations[..],
    };
    let entries = destinations.iter().flat_map(|destination| {
        let entries = destination.contents.entries.iter();
        entries.filter_map(move |entry| Some((position(entry)?, destination, entry)))
    });
    let named = |entry: &Entry| base.is_none_or(|id| entry.manifest.id.starts_with(id));
    let bases = entries.filter(|(at, _, entry)| until.includes(*at) && named(entry));
    // Of two copies of a backup, the first.
    let newest = bases.reduce(|one, other| if other.0 > one.0 { other } else { one });
    let Some((from, destination, base)) = newest else {
        if let Some((_, error)) = catalog.failed.first() {
            return Err(error.clone());
        }
        return Err(Error::NotFound(
            "no good backup is of that moment or before it and names its position in the oplog; `silo-backup list` shows all".into(),
        ));
    };
    let manifest = &base.manifest;
    same_server(context, manifest).await?;
    continues(&oplog, from, manifest).await?;
    let first_left_out = oplog.first_left_out(until).await?;
    Ok(Planned {
        destination,
        base,
        from,
        until,
        oplog,
        plan: Plan {
            backup: manifest.id.clone(),
            from: from.to_string(),
            as_of: manifest.as_of,
            not_of_the_moment: manifest.not_in_snapshot.clone(),
            last_taken: None,
            first_left_out,
            operations: None,
        },
    })
}

/// Position of a backup that can be rolled forward.
fn position(entry: &Entry) -> Option<Position> {
    let manifest = &entry.manifest;
    let exact = manifest.consistency == Consistency::Snapshot && entry.is_good();
    manifest.cluster_time.filter(|_| exact)
}

/// Refuses an oplog that does not continue a backup: one that begins after it, or that has no entry at its position, because the server was set back
/// to a state before it.
async fn continues(oplog: &ServerOplog, from: Position, base: &Manifest) -> Result<(), Error> {
    if oplog.has(from).await? {
        return Ok(());
    }
    let id = &base.id;
    Err(Error::Refused(match oplog.oldest().await? {
        Some(oldest) if oldest > from => format!(
            "the server's oplog does not go back to the backup {id} at {from}: it begins at {oldest}; make a backup, from which later moments can be restored"
        ),
        _ => format!(
            "the server's oplog has no entry at {from}, the position of the backup {id}, so it does not continue it: was the server set back?"
        ),
    }))
}

/// Refuses a server that is not the one of the backup.
async fn same_server(context: &Context, base: &Manifest) -> Result<(), Error> {
    let now = identify(&context.client).await?;
    let then = &base.source.server;
    if now.replica_set_id.is_none() || now.replica_set_id != then.replica_set_id {
        return Err(Error::Refused(format!(
            "the server is of another replica set than the backup {}, or it cannot be known, so its oplog does not continue the backup",
            base.id
        )));
    }
    if now.version != then.version
        || now.feature_compatibility_version != then.feature_compatibility_version
    {
        return Err(Error::Refused(format!(
            "the server has another version than when the backup {} was made, and its oplog may have another format; make a backup first",
            base.id
        )));
    }
    Ok(())
}

impl<'a> Planned<'a> {
    /// The backup that is rolled forward, and where it is.
    #[must_use]
    pub fn base(&self) -> (&'a Destination, &'a Entry) {
        (self.destination, self.base)
    }

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
        let rolled = self
            .roll(context, folder, File::from_std(created), report)
            .await?;
        // The oplog is cut off at its beginning. While it has this entry, it had all that were read.
        continues(&self.oplog, self.from, &self.base.manifest).await?;
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

    async fn roll(
        &self,
        context: &Context,
        folder: &WorkingFolder,
        mut file: File,
        report: &Reporter,
    ) -> Result<RolledArchive<Stored>, Error> {
        let settings = &context.settings;
        let archive = &self.base.manifest.archive;
        let identity = settings.identity.as_ref().and_then(identity_of);
        let identity = identity.filter(|_| archive.recipient.is_some());
        if archive.recipient.is_some() && identity.is_none() {
            return Err(Error::Refused(
                "the backup is encrypted: set BACKUP_AGE_IDENTITY to its private key".into(),
            ));
        }
        report.begin("applying", None, "changes");
        let (sender, entries) = mpsc::channel(1);
        let (out, mut written) = mpsc::channel(AHEAD);
        let mut stream = std::pin::pin!(self.oplog.entries(self.from, self.until).await?);
        let rolling = Rolling {
            base: self.base.manifest.clone(),
            from: self.from,
            chunks: self
                .destination
                .repository
                .download(&archive.key, archive.bytes),
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
            file.write_all(&bytes).await?;
        }
        file.sync_all().await?;
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
    entries: &mut (impl Stream<Item = Result<RawDocumentBuf, DatabaseError>> + Unpin),
) -> (Vec<RawDocumentBuf>, Option<Result<(), Error>>) {
    let (mut batch, mut bytes) = (Vec::new(), 0);
    while bytes < BATCH_BYTES {
        match entries.next().await {
            Some(Ok(entry)) => {
                bytes += entry.as_bytes().len();
                batch.push(entry);
            }
            Some(Err(error)) => {
                let error = Error::database("reading the oplog")(error);
                return (batch, Some(Err(error)));
            }
            None => return (batch, Some(Ok(()))),
        }
    }
    (batch, None)
}

/// What the blocking half needs.
struct Rolling {
    base: Manifest,
    from: Position,
    /// The backup's archive, as it is stored.
    chunks: mpsc::Receiver<io::Result<Bytes>>,
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
        if (bytes, &sha256) != (base.archive.bytes, &base.archive.sha256) {
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

/// Refuses to fill the disk.
fn keep_free(folder: &Path) -> Result<(), Error> {
    let disk = rustix::fs::statvfs(folder).map_err(io::Error::from)?;
    let free = disk.f_bavail.saturating_mul(disk.f_frsize);
    if free < KEPT_FREE {
        return Err(Error::Engine(format!(
            "BACKUP_FOLDER has {} MiB of free disk; {} MiB are left to the server",
            free / 1024 / 1024,
            KEPT_FREE / 1024 / 1024
        )));
    }
    Ok(())
}

fn not_rolled(error: &oplog::Error) -> Error {
    match error {
        oplog::Error::Io(_) | oplog::Error::Temporary(_) => Error::Engine(error.to_string()),
        _ => Error::Inconclusive(format!("the backup cannot be rolled forward: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn position(seconds: u32, increment: u32) -> Position {
        Position { seconds, increment }
    }

    #[test]
    fn a_moment_is_a_time_a_position_or_the_last_change() {
        let time = "2026-11-26T03:00:00Z";
        let seconds = time.parse::<Timestamp>().unwrap().as_second();
        assert_eq!(time.parse(), Ok(Moment::Time(time.parse().unwrap())));
        assert_eq!("latest".parse(), Ok(Moment::Latest));
        assert_eq!("17:3".parse(), Ok(Moment::After(position(17, 3))));
        for wrong in [
            "",
            "yesterday",
            "17",
            "17:",
            "17:-1",
            "99999999999:1",
            "2026-11-26",
        ] {
            assert!(wrong.parse::<Moment>().is_err(), "{wrong}");
        }
        let newest = position(u32::try_from(seconds).unwrap(), 4);
        let until = |moment: Moment| moment.until(newest);
        let before = Until::Before(Position {
            increment: 0,
            ..newest
        });
        assert_eq!(until(time.parse().unwrap()).unwrap(), before);
        assert_eq!(until(Moment::Latest).unwrap(), Until::Through(newest));
        assert_eq!(
            until(Moment::Before(newest)).unwrap(),
            Until::Before(newest)
        );
        assert!(until(Moment::After(position(newest.seconds, 5))).is_err());
        assert!(until("2026-11-26T03:00:01Z".parse().unwrap()).is_err());
    }
}
