//! Folder for temporary files that have documents in them.

use std::fs::{self, File};
use std::io;
use std::path::Path;
use std::time::Duration;

use tempfile::TempDir;

/// Beginning of its name.
const PREFIX: &str = "moment-";
/// File in it that is locked while it is used.
const LOCK: &str = "lock";
/// A folder without a lock was made a moment ago, or its process was killed then.
const UNLOCKED_FOR: Duration = Duration::from_secs(3600);

/// Free disk in bytes that is left to the server, which may be on the same disk.
const KEPT_FREE: u64 = 512 * 1024 * 1024;

/// Refuses to fill the disk.
///
/// # Errors
/// When less than 512 MiB are free, or that cannot be found out.
pub fn keep_free(folder: &Path) -> io::Result<()> {
    let disk = rustix::fs::statvfs(folder)?;
    let free = disk.f_bavail.saturating_mul(disk.f_frsize);
    if free < KEPT_FREE {
        return Err(io::Error::other(format!(
            "BACKUP_FOLDER has {} MiB of free disk; {} MiB are left to the server",
            free / 1024 / 1024,
            KEPT_FREE / 1024 / 1024
        )));
    }
    Ok(())
}

/// A folder that only this account can read. It is deleted at the end; after a kill, by the next one or the next start of the service.
pub struct WorkingFolder {
    folder: TempDir,
    _lock: File,
}

impl WorkingFolder {
    /// Makes a folder, and deletes those that killed processes have left behind.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn new(parent: &Path) -> io::Result<Self> {
        Self::remove_left_behind(parent);
        let folder = TempDir::with_prefix_in(PREFIX, parent)?;
        let lock = File::create(folder.path().join(LOCK))?;
        lock.lock()?;
        Ok(Self {
            folder,
            _lock: lock,
        })
    }

    /// Its path.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Deletes the folders that killed processes have left behind.
    pub fn remove_left_behind(parent: &Path) {
        for entry in fs::read_dir(parent).into_iter().flatten().flatten() {
            let is_ours = entry.file_name().to_string_lossy().starts_with(PREFIX);
            if is_ours
                && is_left_behind(&entry.path())
                && let Err(error) = fs::remove_dir_all(entry.path())
            {
                log::warn!("{} cannot be deleted: {error}", entry.path().display());
            }
        }
    }
}

fn is_left_behind(folder: &Path) -> bool {
    match File::open(folder.join(LOCK)) {
        Ok(lock) => lock.try_lock().is_ok(),
        Err(_) => {
            let modified = fs::metadata(folder).and_then(|folder| folder.modified());
            let age = modified.ok().and_then(|modified| modified.elapsed().ok());
            age.is_some_and(|age| age > UNLOCKED_FOR)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_killed_process_left_is_deleted_and_nothing_else() {
        let parent = tempfile::tempdir().unwrap();
        let used = WorkingFolder::new(parent.path()).unwrap();
        let left = parent.path().join("moment-left");
        fs::create_dir(&left).unwrap();
        fs::write(left.join(LOCK), "").unwrap();
        fs::write(left.join("archive.gz"), "documents").unwrap();
        let (new, other) = (
            parent.path().join("moment-new"),
            parent.path().join("other"),
        );
        fs::create_dir(&new).unwrap();
        fs::create_dir(&other).unwrap();
        fs::write(other.join(LOCK), "").unwrap();
        let next = WorkingFolder::new(parent.path()).unwrap();
        assert!(!left.exists());
        assert!(used.path().exists() && new.exists() && other.exists() && next.path().exists());
        let path = used.path().to_path_buf();
        drop(used);
        assert!(!path.exists());
    }
}
