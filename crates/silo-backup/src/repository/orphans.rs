//! Removal of what interrupted runs have left.

use jiff::{SignedDuration, Timestamp};
use log::{info, warn};
use silo_spaces::error::Kind;

use super::Repository;
use super::contents::RepositoryContents;
use super::records::Orphan;
use crate::error::Error;
use crate::run::published_index::PublishedBackup;

/// Time between finding an archive without a manifest and deleting it: as long as for pruned backups.
pub const GRACE: SignedDuration = SignedDuration::from_hours(7 * 24);

impl Repository {
    /// Aborts unfinished uploads of archives, marks archives that were never published, and deletes those marked seven days ago. Requires the lease,
    /// and a repository of this database without problems: while a manifest is missing, an archive that looks unpublished may be all that is left of a
    /// backup. `current` is the archive of the running backup. Returns the number of uploads aborted and archives deleted.
    ///
    /// # Errors
    /// The error of the storage; orphans may remain.
    pub async fn remove_orphans(
        &self,
        contents: &RepositoryContents,
        published: &[PublishedBackup],
        current: &str,
        now: Timestamp,
    ) -> Result<(usize, usize), Error> {
        let aborted = self.abort_unfinished().await?;
        let unpublished = contents.unpublished(published);
        let mut deleted = 0;
        for key in unpublished.iter().filter(|key| **key != current) {
            let mark = format!("orphans/{}.json", id_of(key));
            match contents.orphans.values().find(|orphan| orphan.key == **key) {
                None => {
                    let orphan = Orphan {
                        at: now,
                        key: (*key).to_owned(),
                    };
                    self.write_json(&mark, &orphan).await?;
                    info!(destination = self.name, key; "an archive without a manifest was found; it is deleted in seven days");
                }
                Some(orphan) if now.duration_since(orphan.at) >= GRACE => {
                    self.delete(key).await?;
                    self.delete(&mark).await?;
                    warn!(destination = self.name, key; "an archive that was never published was deleted");
                    deleted += 1;
                }
                Some(_) => {}
            }
        }
        // Marks of archives that are published or gone.
        for (id, orphan) in &contents.orphans {
            if !unpublished.contains(&orphan.key.as_str()) {
                self.delete(&format!("orphans/{id}.json")).await?;
            }
        }
        Ok((aborted, deleted))
    }

    async fn abort_unfinished(&self) -> Result<usize, Error> {
        let unfinished = match self
            .spaces
            .unfinished(&self.bucket, Some(&self.key("data/")))
            .await
        {
            Ok(unfinished) => unfinished,
            Err(error) if error.kind == Kind::NotSupported => Vec::new(),
            Err(error) => return Err(Error::storage("listing unfinished uploads")(error)),
        };
        // Some servers ignore the prefix.
        let ours = self.key("data/");
        let mut aborted = 0;
        for upload in unfinished
            .iter()
            .filter(|upload| upload.key.starts_with(&ours))
        {
            match self
                .spaces
                .abort(&self.bucket, &upload.key, &upload.id)
                .await
            {
                Ok(()) => aborted += 1,
                Err(error) if error.kind == Kind::NotFound => {}
                Err(error) => {
                    return Err(Error::storage("aborting an unfinished upload")(error));
                }
            }
        }
        if aborted > 0 {
            warn!(destination = self.name, aborted; "aborted unfinished uploads of interrupted runs");
        }
        Ok(aborted)
    }
}

/// Id of a backup in the key of its archive.
#[must_use]
pub fn id_of(key: &str) -> &str {
    let name = key.rsplit('/').next().unwrap_or(key);
    name.split('.').next().unwrap_or(name)
}
