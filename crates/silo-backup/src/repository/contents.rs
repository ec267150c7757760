//! Contents of a repository, as last read, and which backups of them are good.

use std::collections::BTreeMap;

use bytes::Bytes;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::repository::manifest::{Manifest, State};

/// A manifest, and the facts about its backup.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Manifest of the backup.
    pub manifest: Manifest,
    /// The SHA-256 of its file.
    pub sha256: String,
    /// The file itself, as it was written: another version of Silo would write it in another way.
    pub file: Bytes,
    /// When it was restored the last time, and how that went.
    pub drill: Option<Drill>,
    /// Acceptance of a held backup, which makes it count as good.
    pub accepted: Option<Acceptance>,
    /// Problem with the archive, as far as a listing shows it.
    pub archive_problem: Option<String>,
}

impl Entry {
    /// `true` if the backup counts as good: verified, as expected or accepted, and its archive exists.
    #[must_use]
    pub fn is_good(&self) -> bool {
        let as_expected = self.manifest.state == State::Verified || self.accepted.is_some();
        let restores = self.drill.as_ref().is_none_or(|drill| drill.good);
        as_expected && restores && self.archive_problem.is_none()
    }

    /// `true` if a drill restored the backup identically.
    #[must_use]
    pub fn is_drilled(&self) -> bool {
        self.is_good() && self.drill.as_ref().is_some_and(|drill| drill.good)
    }
}

/// A restore into a scratch database.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Drill {
    /// When it ended.
    pub at: Timestamp,
    /// `true` if everything was restored identically.
    pub good: bool,
    /// Duration in milliseconds.
    pub duration_ms: u64,
    /// Number of restored documents.
    pub documents: u64,
    /// Differences, and parts that were not compared.
    pub notes: Vec<String>,
}

/// Acceptance of a held backup by an operator.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Acceptance {
    /// When.
    pub at: Timestamp,
    /// Reason that the operator gave.
    pub reason: String,
}

/// Tombstone of a deleted backup.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Tombstone {
    /// When.
    pub at: Timestamp,
    /// By which rule.
    pub reason: String,
    /// The SHA-256 of its manifest's file.
    pub sha256: String,
    /// The key of its archive, below the prefix.
    pub key: String,
    /// File of the manifest, until the archive is deleted.
    pub file: Option<String>,
}

/// Contents of the repository at one time.
#[derive(Clone, Debug, Default)]
pub struct RepositoryContents {
    /// Backups, the oldest first.
    pub entries: Vec<Entry>,
    /// Manifests that cannot be read, and why.
    pub unreadable: Vec<(String, String)>,
    /// Backups that were deleted.
    pub pruned: BTreeMap<String, Tombstone>,
    /// Archives: the key below the prefix, the bytes, when it was written.
    pub archives: BTreeMap<String, (u64, Option<Timestamp>)>,
}

impl RepositoryContents {
    /// The newest backup.
    #[must_use]
    pub fn newest(&self) -> Option<&Entry> {
        self.entries.last()
    }

    /// The newest that counts.
    #[must_use]
    pub fn newest_good(&self) -> Option<&Entry> {
        self.entries.iter().rev().find(|entry| entry.is_good())
    }

    /// Finds a backup by its id, by `latest`, or by an unambiguous beginning of its id.
    ///
    /// # Errors
    /// When none or several match.
    pub fn find(&self, name: &str) -> Result<&Entry, Error> {
        if name == "latest" {
            return self
                .newest_good()
                .ok_or_else(|| Error::NotFound("there is no good backup yet".into()));
        }
        let mut found = self
            .entries
            .iter()
            .filter(|entry| !name.is_empty() && entry.manifest.id.starts_with(name));
        match (found.next(), found.next()) {
            (Some(entry), None) => Ok(entry),
            (Some(_), Some(_)) => Err(Error::NotFound(format!(
                "more than one backup begins with {name}"
            ))),
            _ => Err(Error::NotFound(format!(
                "there is no backup {name}; `silo-backup list` shows the existing ones"
            ))),
        }
    }

    /// Keys of archives without a manifest that were never published: not according to the database (`published`: id and checksum), nor another
    /// manifest's `previous`, nor a tombstone. Young ones are excluded, because a run may still be writing them.
    #[must_use]
    pub fn orphans(&self, published: &[(String, String)], now: Timestamp) -> Vec<&str> {
        let day = jiff::SignedDuration::from_hours(24);
        let previous = self
            .entries
            .iter()
            .filter_map(|entry| entry.manifest.previous.as_ref());
        let ids: Vec<&str> = published
            .iter()
            .map(|(id, _)| id)
            .chain(previous.map(|previous| &previous.id))
            // A manifest that cannot be read may name any archive.
            .chain(self.unreadable.iter().map(|(id, _)| id))
            .map(String::as_str)
            .collect();
        let is_known = |key: &str| {
            self.entries
                .iter()
                .any(|entry| entry.manifest.archive.key == key)
                || self
                    .pruned
                    .values()
                    .any(|pruned| pruned.key == key && pruned.file.is_some())
                // An archive's key contains the backup's id.
                || ids.iter().any(|id| key.contains(id))
        };
        let old = |modified: &Option<Timestamp>| {
            modified.is_some_and(|modified| now.duration_since(modified) > day)
        };
        self.archives
            .iter()
            .filter(|(key, (_, modified))| !is_known(key) && old(modified))
            .map(|(key, _)| key.as_str())
            .collect()
    }

    /// Backups that have vanished or were changed, according to the chain of manifests, the database's index (`published`: id and SHA-256) and the
    /// existing archives.
    #[must_use]
    pub fn problems(&self, published: &[(String, String)]) -> Vec<String> {
        let mut problems: Vec<String> = self
            .unreadable
            .iter()
            .map(|(id, reason)| format!("the manifest of {id} cannot be read: {reason}"))
            .collect();
        let unreadable = |id: &str| {
            self.unreadable
                .iter()
                .any(|(unreadable, _)| unreadable == id)
        };
        let links = self
            .entries
            .iter()
            .filter_map(|entry| entry.manifest.previous.as_ref());
        let links = links.map(|previous| (&previous.id, &previous.sha256));
        for (id, sha256) in links.chain(published.iter().map(|(id, sha256)| (id, sha256))) {
            let here = self
                .entries
                .iter()
                .find(|entry| entry.manifest.id == *id)
                .map(|entry| &entry.sha256);
            let known = here.or_else(|| self.pruned.get(id).map(|pruned| &pruned.sha256));
            match known {
                Some(known) if known == sha256 => {}
                Some(_) => problems.push(format!(
                    "the manifest of {id} was changed after it was published"
                )),
                None if unreadable(id) => {}
                None => problems.push(format!("the manifest of {id} has vanished")),
            }
        }
        let archive_problems = self.entries.iter().filter_map(|entry| {
            Some(format!(
                "{}: {}",
                entry.manifest.id,
                entry.archive_problem.as_ref()?
            ))
        });
        problems.extend(archive_problems);
        problems.sort();
        problems.dedup();
        problems
    }
}
