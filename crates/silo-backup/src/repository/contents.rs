//! Contents of a repository, as last read, and which backups of them are good.

use std::collections::BTreeMap;

use bytes::Bytes;
use jiff::Timestamp;

use crate::error::Error;
use crate::repository::identity::Identity;
use crate::repository::manifest::{Manifest, State};
use crate::repository::records::{Acceptance, Check, Drill, Orphan, Pin, Proof, Tombstone};
use crate::run::published_index::PublishedBackup;

/// A manifest, and the facts about its backup.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Manifest of the backup.
    pub manifest: Manifest,
    /// The SHA-256 of its file.
    pub sha256: String,
    /// The file itself, as it was written: another version of Silo would write it in another way.
    pub file: Bytes,
    /// Last drill of this copy of the backup.
    pub drill: Option<Drill>,
    /// Last verification of this copy after its publication.
    pub check: Option<Check>,
    /// Proof of continuous backup up to this backup.
    pub proof: Option<Proof>,
    /// `true` if a drill of the same archive failed in another destination.
    pub failed_elsewhere: bool,
    /// Pin of an operator: the backup is never pruned.
    pub pin: Option<Pin>,
    /// `true` if the database does not know this manifest: something else wrote it.
    pub unknown: bool,
    /// Acceptance of a held backup, which makes it count as good.
    pub accepted: Option<Acceptance>,
    /// Problem with the archive, as far as a listing shows it.
    pub archive_problem: Option<String>,
}

impl Entry {
    /// `true` if the backup counts as good: verified, as expected or accepted, its archive exists, and no later verification or drill failed.
    #[must_use]
    pub fn is_good(&self) -> bool {
        let as_expected = self.manifest.state == State::Verified || self.accepted.is_some();
        let restores = self.drill.as_ref().is_none_or(|drill| drill.good);
        let intact = self.check.as_ref().is_none_or(|check| check.good);
        as_expected
            && restores
            && intact
            && !self.failed_elsewhere
            && !self.unknown
            && self.archive_problem.is_none()
    }

    /// When this copy was last read completely: by its verification before publication, a later one, or a drill.
    #[must_use]
    pub fn last_read(&self) -> Timestamp {
        let check = self.check.as_ref().map(|check| check.at);
        let drill = self.drill.as_ref().map(|drill| drill.at);
        let later = check.into_iter().chain(drill).max();
        later.map_or(self.manifest.verified_at, |later| {
            later.max(self.manifest.verified_at)
        })
    }

    /// `true` if a drill restored the backup identically.
    #[must_use]
    pub fn is_drilled(&self) -> bool {
        self.is_good() && self.drill.as_ref().is_some_and(|drill| drill.good)
    }
}

/// Contents of the repository at one time.
#[derive(Clone, Debug, Default)]
pub struct RepositoryContents {
    /// Identity; `None` if its file does not exist.
    pub identity: Option<Identity>,
    /// Backups of this repository's database, the oldest first.
    pub entries: Vec<Entry>,
    /// Manifests that cannot be read, and why.
    pub unreadable: Vec<(String, String)>,
    /// Backups that were deleted.
    pub pruned: BTreeMap<String, Tombstone>,
    /// Ids of backups of other databases or repositories. They are neither listed nor deleted.
    pub foreign: Vec<String>,
    /// Archives without a manifest that were found earlier, by the name of their file.
    pub orphans: BTreeMap<String, Orphan>,
    /// Archives: the key below the prefix, the bytes, when it was written.
    pub archives: BTreeMap<String, (u64, Option<Timestamp>)>,
}

impl RepositoryContents {
    /// `true` if there is neither a backup nor an archive.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
            && self.unreadable.is_empty()
            && self.foreign.is_empty()
            && self.archives.is_empty()
    }

    /// Marks manifests that the database does not know, or knows with another checksum.
    pub fn mark_unknown(&mut self, published: &[PublishedBackup]) {
        for entry in &mut self.entries {
            entry.unknown = !published
                .iter()
                .any(|known| known.id == entry.manifest.id && known.sha256 == entry.sha256);
        }
    }

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

    /// Keys of archives without a manifest that were never published: not according to the database, nor another manifest's `previous`, nor a
    /// tombstone. The archive of a running backup is among them.
    #[must_use]
    pub fn unpublished(&self, published: &[PublishedBackup]) -> Vec<&str> {
        let previous = self
            .entries
            .iter()
            .filter_map(|entry| entry.manifest.previous.as_ref());
        let ids: Vec<&str> = published
            .iter()
            .map(|known| &known.id)
            .chain(previous.map(|previous| &previous.id))
            .chain(&self.foreign)
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
        self.archives
            .keys()
            .map(String::as_str)
            .filter(|key| !is_known(key))
            .collect()
    }

    /// Backups that have vanished or were changed, according to the chain of manifests, the database's index and the existing archives. Those that an
    /// operator has acknowledged are left out.
    #[must_use]
    pub fn problems(&self, published: &[PublishedBackup]) -> Vec<String> {
        let acknowledged = |id: &str| {
            published
                .iter()
                .any(|known| known.id == id && known.acknowledged)
        };
        let mut problems: Vec<String> = self
            .unreadable
            .iter()
            .filter(|(id, _)| !acknowledged(id))
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
        let known = published.iter().filter(|known| known.is_published);
        let known = known.map(|known| (&known.id, &known.sha256));
        for (id, sha256) in links.chain(known).filter(|(id, _)| !acknowledged(id)) {
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
        for entry in self
            .entries
            .iter()
            .filter(|entry| !acknowledged(&entry.manifest.id))
        {
            let id = &entry.manifest.id;
            problems.extend(
                entry
                    .archive_problem
                    .iter()
                    .map(|problem| format!("{id}: {problem}")),
            );
            let check = entry.check.as_ref().filter(|check| !check.good);
            if let Some(problem) = check.and_then(|check| check.problem.as_ref()) {
                problems.push(format!("{id} is damaged: {problem}"));
            }
            if entry.unknown && !published.iter().any(|known| known.id == *id) {
                problems.push(format!(
                    "the manifest of {id} was not written by this database"
                ));
            }
        }
        problems.sort();
        problems.dedup();
        problems
    }
}
