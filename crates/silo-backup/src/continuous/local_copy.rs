//! Copies on this machine's disk of what a proof needs, where storage has it encrypted and the private key is elsewhere: the archives of the last two
//! backups, compressed and not encrypted, as the slices of the spool are. The database itself is on the same machine.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use tokio::sync::mpsc;

use super::spool::{FOLDER, make_folder};
use crate::settings::Settings;

/// Extension of a copy.
const EXTENSION: &str = "archive";
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
///
/// # Errors
/// When the file cannot be made.
pub fn write(
    folder: &Path,
    id: &str,
    next: mpsc::Sender<io::Result<Bytes>>,
) -> io::Result<mpsc::Sender<io::Result<Bytes>>> {
    make_folder(&folder.join(FOLDER))?;
    let path = file(folder, id);
    let mut options = OpenOptions::new();
    let mut file = Some(
        options
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&path)?,
    );
    let (out, mut chunks) = mpsc::channel::<io::Result<Bytes>>(BUFFERED);
    tokio::task::spawn_blocking(move || {
        while let Some(chunk) = chunks.blocking_recv() {
            let written = match (&mut file, &chunk) {
                (Some(file), Ok(bytes)) => file.write_all(bytes),
                _ => Ok(()),
            };
            if let Err(error) = written {
                log::warn!(
                    "the copy for the proof of continuous backup cannot be written: {error}"
                );
                file = None;
                drop(fs::remove_file(&path));
            }
            if next.blocking_send(chunk).is_err() {
                return;
            }
        }
    });
    Ok(out)
}

/// Deletes the copies of all backups but these.
pub fn remove_except(folder: &Path, ids: &[&str]) {
    let kept: Vec<PathBuf> = ids.iter().map(|id| file(folder, id)).collect();
    for entry in fs::read_dir(folder.join(FOLDER))
        .into_iter()
        .flatten()
        .flatten()
    {
        let path = entry.path();
        let is_copy = path
            .extension()
            .is_some_and(|extension| extension == EXTENSION);
        if is_copy
            && !kept.contains(&path)
            && let Err(error) = fs::remove_file(&path)
        {
            log::warn!("{} cannot be deleted: {error}", path.display());
        }
    }
}
