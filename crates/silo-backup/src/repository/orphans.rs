//! Removal of what interrupted runs have left.

use jiff::Timestamp;
use log::warn;
use silo_spaces::error::Kind;
use silo_spaces::unfinished::UnfinishedUpload;

use super::Repository;
use super::contents::RepositoryContents;
use crate::error::Error;

impl Repository {
    /// Removes orphans of interrupted runs: unfinished uploads of archives, and archives older than a day that were never published. `published` is
    /// the database's index (id and checksum of the manifest). While a manifest is missing or changed, no archive is deleted: what looks unpublished
    /// may be all that is left of a backup. Requires the lease. Returns the number of uploads and archives deleted.
    ///
    /// # Errors
    /// The error of the storage; orphans may remain.
    pub async fn remove_orphans(
        &self,
        contents: &RepositoryContents,
        published: &[(String, String)],
        now: Timestamp,
    ) -> Result<(usize, usize), Error> {
        let ours = self.key("data/");
        let unfinished = match self.spaces.unfinished(&self.bucket).await {
            Ok(unfinished) => unfinished,
            Err(error) if error.kind == Kind::NotSupported => Vec::new(),
            Err(error) => return Err(Error::storage("listing unfinished uploads")(error)),
        };
        let unfinished: Vec<UnfinishedUpload> = unfinished
            .into_iter()
            .filter(|upload| upload.key.starts_with(&ours))
            .collect();
        for upload in &unfinished {
            match self
                .spaces
                .abort(&self.bucket, &upload.key, &upload.id)
                .await
            {
                Err(error) if error.kind != Kind::NotFound => {
                    return Err(Error::storage("clearing an unfinished upload")(error));
                }
                _ => {}
            }
        }
        let problems = contents.problems(published);
        let orphans = if problems.is_empty() {
            contents.orphans(published, now)
        } else {
            warn!(destination = self.name, problems = problems.len(); "archives without a manifest are kept while something is missing");
            Vec::new()
        };
        for key in &orphans {
            self.delete(key).await?;
        }
        if !unfinished.is_empty() || !orphans.is_empty() {
            warn!(destination = self.name, unfinished = unfinished.len(), orphans = orphans.len(); "removed unfinished uploads and orphans of interrupted runs");
        }
        Ok((unfinished.len(), orphans.len()))
    }
}
