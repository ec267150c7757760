//! Copies on this machine's disk of what a proof needs, where storage has it encrypted and the private key is elsewhere: the archives of the last two
//! backups, compressed and not encrypted, as the slices of the spool are. The database itself is on the same machine.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use tokio::sync::mpsc;

use super::spool::{FOLDER, make_folder};
use crate::restore::keep_free;
use crate::settings::Settings;

/// Extension of a copy,
const EXTENSION: &str = "archive";
/// and of one that is being written.
const UNFINISHED: &str = "unfinished";
/// Chunks that are not written yet.
const BUFFERED: usize = 2;

/// `true` if proofs need copies here.
#[must_use]
pub fn is_needed(settings: &Settings) -> bool {
    settings.policy.moments > 0
        && settings.encoding.recipient.is_some()
        && settings.identity.is_none()
}

/// File of a backup's copy.
#[must_use]
pub fn file(folder: &Path, id: &str) -> PathBuf {
    folder.join(FOLDER).join(format!("{id}.{EXTENSION}"))
}

/// Writes what it receives into the copy of a backup, and passes it on. That a copy cannot be written fails no backup: then there is none.
pub fn write(
    folder: &Path,
    id: &str,
    next: mpsc::Sender<io::Result<Bytes>>,
) -> mpsc::Sender<io::Result<Bytes>> {
    let path = file(folder, id);
    let mut copy = create(folder, &path).map_err(|error| warn(&error)).ok();
    let (out, mut chunks) = mpsc::channel::<io::Result<Bytes>>(BUFFERED);
    tokio::task::spawn_blocking(move || {
        while let Some(chunk) = chunks.blocking_recv() {
            if let (Some(file), Ok(bytes)) = (&mut copy, &chunk) {
                let written =
                    keep_free(path.parent().unwrap_or(&path)).and_then(|()| file.write_all(bytes));
                if let Err(error) = written {
                    warn(&error);
                    copy = None;
                }
            }
            if next.blocking_send(chunk).is_err() {
                copy = None;
                break;
            }
        }
        // Only the copy of a backup that is published is read, and those are complete.
        let unfinished = path.with_extension(UNFINISHED);
        let finished = copy.map(|file| {
            file.sync_all()
                .and_then(|()| fs::rename(&unfinished, &path))
        });
        if !matches!(finished, Some(Ok(()))) {
            drop(fs::remove_file(&unfinished));
        }
    });
    out
}

/// Deletes the copies of all backups but these.
pub fn remove_except(folder: &Path, ids: &[&str]) {
    let kept: Vec<PathBuf> = ids.iter().map(|id| file(folder, id)).collect();
    let entries = fs::read_dir(folder.join(FOLDER)).into_iter().flatten();
    for path in entries.flatten().map(|entry| entry.path()) {
        let extension = path.extension().unwrap_or_default();
        let is_copy = extension == EXTENSION || extension == UNFINISHED;
        if is_copy
            && !kept.contains(&path)
            && let Err(error) = fs::remove_file(&path)
        {
            log::warn!("{} cannot be deleted: {error}", path.display());
        }
    }
}

fn create(folder: &Path, path: &Path) -> io::Result<File> {
    make_folder(&folder.join(FOLDER))?;
    let mut options = OpenOptions::new();
    let options = options.write(true).create(true).truncate(true).mode(0o600);
    options.open(path.with_extension(UNFINISHED))
}

fn warn(error: &io::Error) {
    log::warn!("there is no copy of the backup for the proof of continuous backup: {error}");
}
