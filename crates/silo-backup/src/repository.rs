//! Repository: the files in a bucket below the prefix. Nothing else in the bucket is touched.
//!
//! `silo-repo.json` has the repository's own id. `data/` has archives, `manifests/` their manifests, `drills/` the last restore of each, `accepted/`
//! approvals of held backups, `pruned/` tombstones of deleted backups.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream};
use jiff::Timestamp;
use log::warn;
use serde::de::{DeserializeOwned, IgnoredAny};
use serde::{Deserialize, Serialize};
use silo_spaces::Spaces;
use silo_spaces::error::{Kind, StorageError};
use silo_spaces::upload::UnfinishedUpload;
use tokio::sync::mpsc;

use crate::archive::encoding::Chunk;
use crate::error::Error;
use crate::repository::manifest::{Manifest, is_id, sha256};

mod contents;
mod download;
pub mod manifest;

pub use contents::{Approval, Drill, Entry, RepositoryContents, Tombstone};

/// The largest file besides archives that is read.
const LARGEST_FILE: usize = 16 * 1024 * 1024;
/// Small files read concurrently.
const AT_ONCE: usize = 4;

/// One destination.
#[derive(Clone)]
pub struct Repository {
    /// `primary` or `copy`.
    pub name: &'static str,
    spaces: Spaces,
    bucket: String,
    prefix: String,
    files: Arc<Mutex<HashMap<String, (Version, Bytes)>>>,
}

/// Size and time of an object, to detect that it was overwritten.
type Version = (u64, Option<Timestamp>);

#[derive(Serialize, Deserialize)]
struct Identity {
    id: String,
    made: Timestamp,
}

impl Repository {
    /// A destination; nothing is asked yet. The prefix ends with a slash.
    #[must_use]
    pub fn new(name: &'static str, spaces: Spaces, bucket: &str, prefix: &str) -> Self {
        Self {
            name,
            spaces,
            bucket: bucket.to_owned(),
            prefix: prefix.to_owned(),
            files: Arc::default(),
        }
    }

    /// Id of the repository, created on first use.
    ///
    /// # Errors
    /// The error of the storage.
    pub async fn identity(&self) -> Result<String, Error> {
        if let Some(identity) = self.read::<Identity>("silo-repo.json").await? {
            return Ok(identity.id);
        }
        let now = Timestamp::now();
        let identity = Identity {
            id: crate::repository::manifest::new_id(now),
            made: now,
        };
        self.write_json("silo-repo.json", &identity).await?;
        Ok(identity.id)
    }

    /// Lists and reads everything below the prefix.
    ///
    /// # Errors
    /// The error of the storage.
    pub async fn contents(&self) -> Result<RepositoryContents, Error> {
        let mut contents = RepositoryContents::default();
        let mut wanted = Vec::new();
        for (key, bytes, modified) in self.list().await? {
            match key.split_once('/') {
                Some(("data", _)) => {
                    contents.archives.insert(key, (bytes, modified));
                }
                Some(("manifests" | "drills" | "accepted" | "pruned", _)) => {
                    wanted.push((key, (bytes, modified)))
                }
                _ => {}
            }
        }
        self.forget_but(&wanted);
        let (mut drills, mut accepted) = (BTreeMap::new(), BTreeMap::new());
        let files = stream::iter(wanted).map(|(key, version)| async move {
            let file = self.cached(&key, version).await?;
            Ok::<_, Error>((key, file))
        });
        let files: Vec<_> = files.buffer_unordered(AT_ONCE).try_collect().await?;
        for (key, file) in files {
            let (folder, id) = key.split_once('/').unwrap_or_default();
            let id = id.trim_end_matches(".json").to_owned();
            // Deleted since it was listed, or not ours.
            let Some(file) = file.filter(|_| is_id(&id)) else {
                continue;
            };
            match folder {
                "manifests" => {
                    match Manifest::from_file(&file).and_then(|manifest| named(manifest, &id)) {
                        Ok(manifest) => contents.entries.push(Entry {
                            manifest,
                            sha256: sha256(&file),
                            file: file.clone(),
                            drill: None,
                            accepted: None,
                            trouble: None,
                        }),
                        Err(why) => contents.unreadable.push((id, why)),
                    }
                }
                "drills" => drills.extend(parsed::<Drill>(&file).map(|drill| (id, drill))),
                "accepted" => accepted.extend(parsed::<Approval>(&file).map(|said| (id, said))),
                _ => contents
                    .pruned
                    .extend(parsed::<Tombstone>(&file).map(|pruned| (id, pruned))),
            }
        }
        // Not by id alone: two of one second have no order there.
        contents
            .entries
            .sort_by_key(|entry| (entry.manifest.started_at, entry.manifest.id.clone()));
        for entry in &mut contents.entries {
            let archive = &entry.manifest.archive;
            entry.drill = drills.remove(&entry.manifest.id);
            entry.accepted = accepted.remove(&entry.manifest.id);
            entry.trouble = match contents.archives.get(&archive.key) {
                None => Some("its archive has vanished".into()),
                Some((bytes, _)) if *bytes != archive.bytes => Some(format!(
                    "its archive has {bytes} bytes and had {}",
                    archive.bytes
                )),
                Some(_) => None,
            };
        }
        Ok(contents)
    }

    /// Uploads an archive as its chunks arrive.
    ///
    /// # Errors
    /// The error of the upload; nothing of the archive remains.
    pub async fn store(&self, key: &str, chunks: mpsc::Receiver<Chunk>) -> Result<u64, Error> {
        let whole = stream::unfold(Some(chunks), |chunks| async move {
            let mut chunks = chunks?;
            match chunks.recv().await {
                Some(Chunk::Data(bytes)) => Some((Ok(bytes), Some(chunks))),
                Some(Chunk::End) => None,
                None => Some((Err(io::ErrorKind::UnexpectedEof.into()), None)),
            }
        });
        let stored = self
            .spaces
            .put_stream(&self.bucket, &self.key(key), whole)
            .await;
        stored.map_err(Error::storage(format!(
            "writing the archive to {}",
            self.name
        )))
    }

    /// Downloads an archive, resuming after interruptions.
    #[must_use]
    pub fn download(&self, key: &str, bytes: u64) -> mpsc::Receiver<io::Result<Bytes>> {
        download::start(
            self.spaces.clone(),
            self.bucket.clone(),
            self.key(key),
            bytes,
        )
    }

    /// Size of a stored archive; `None` if it does not exist.
    ///
    /// # Errors
    /// The error of the storage.
    pub async fn size(&self, key: &str) -> Result<Option<u64>, Error> {
        match self.spaces.head(&self.bucket, &self.key(key)).await {
            Ok(head) => Ok(head.bytes),
            Err(fault) if fault.kind == Kind::NotFound => Ok(None),
            Err(fault) => Err(Error::storage("looking at the archive")(fault)),
        }
    }

    /// Writes a small file and reads it back.
    ///
    /// # Errors
    /// The error of the storage, or a difference from the written bytes.
    pub async fn write(&self, key: &str, bytes: Vec<u8>) -> Result<(), Error> {
        let bytes = Bytes::from(bytes);
        let doing = || format!("writing {key} to {}", self.name);
        self.spaces
            .put(&self.bucket, &self.key(key), bytes.clone())
            .await
            .map_err(Error::storage(doing()))?;
        match self.fetch(key).await? {
            Some(read) if read == bytes => Ok(()),
            _ => Err(Error::Engine(format!(
                "{}: the storage gives back something else",
                doing()
            ))),
        }
    }

    /// Like [`Self::write`], for JSON.
    ///
    /// # Errors
    /// The error of the storage, or a difference from the written bytes.
    pub async fn write_json(&self, key: &str, value: &impl Serialize) -> Result<(), Error> {
        let json = serde_json::to_vec(value).map_err(|error| Error::Engine(error.to_string()))?;
        self.write(key, json).await
    }

    /// Deletes a file of the repository.
    ///
    /// # Errors
    /// The error of the storage; the file may still exist.
    pub async fn delete(&self, key: &str) -> Result<(), Error> {
        let deleted = self.spaces.delete(&self.bucket, &self.key(key)).await;
        deleted.map_err(Error::storage(format!("deleting {key} from {}", self.name)))
    }

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
            Err(fault) if fault.kind == Kind::NotSupported => Vec::new(),
            Err(fault) => return Err(Error::storage("listing unfinished uploads")(fault)),
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
                Err(fault) if fault.kind != Kind::NotFound => {
                    return Err(Error::storage("clearing an unfinished upload")(fault));
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
            warn!(destination = self.name, unfinished = unfinished.len(), orphans = orphans.len(); "cleared what broken runs left behind");
        }
        Ok((unfinished.len(), orphans.len()))
    }

    /// Seconds by which this machine's clock is ahead of the storage's.
    #[must_use]
    pub fn clock_ahead(&self) -> Option<i64> {
        self.spaces.traffic().clock_ahead()
    }

    fn key(&self, key: &str) -> String {
        format!("{}{key}", self.prefix)
    }

    /// Keys below the prefix, without it.
    async fn list(&self) -> Result<Vec<(String, u64, Option<Timestamp>)>, Error> {
        let mut found = Vec::new();
        let mut after = self.prefix.clone();
        loop {
            let page = self.spaces.page(&self.bucket, Some(&after)).await;
            let page = page.map_err(Error::storage(format!("listing {}", self.name)))?;
            let ours = page.objects().filter_map(|object| {
                let key = object.key.strip_prefix(&self.prefix)?;
                Some((key.to_owned(), object.bytes, object.modified))
            });
            let before = found.len();
            found.extend(ours);
            let only_ours = found.len() - before == page.objects().len();
            match page.last() {
                Some(last) if page.truncated && only_ours => last.clone_into(&mut after),
                _ => return Ok(found),
            }
        }
    }

    async fn read<T: DeserializeOwned>(&self, key: &str) -> Result<Option<T>, Error> {
        match self.fetch(key).await? {
            None => Ok(None),
            Some(file) => match serde_json::from_slice(&file) {
                Ok(value) => Ok(Some(value)),
                Err(_text) => Err(Error::Corrupt(format!(
                    "{key} in {} is not what was written",
                    self.name
                ))),
            },
        }
    }

    async fn cached(&self, key: &str, version: Version) -> Result<Option<Bytes>, Error> {
        let known = self
            .files
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(key)
            .cloned();
        if let Some((known, file)) = known
            && known == version
            && version.1.is_some()
        {
            return Ok(Some(file));
        }
        let file = self.fetch(key).await?;
        if let Some(file) = &file {
            let mut files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
            files.insert(key.to_owned(), (version, file.clone()));
        }
        Ok(file)
    }

    /// Forgets files that are not there any more.
    fn forget_but(&self, listed: &[(String, Version)]) {
        let mut files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        files.retain(|key, _| listed.iter().any(|(there, _)| there == key));
    }

    /// Reads a small JSON file. `None` if the key does not exist. A body that is not JSON may come from a proxy, so it is fetched up to three times
    /// and returned as it is after that.
    async fn fetch(&self, key: &str) -> Result<Option<Bytes>, Error> {
        let mut tries = 0;
        loop {
            tries += 1;
            match self.fetch_once(key).await {
                Ok(file) if tries < 3 && serde_json::from_slice::<IgnoredAny>(&file).is_err() => {}
                Ok(file) => return Ok(Some(file)),
                Err(fault) if fault.kind == Kind::NotFound => return Ok(None),
                Err(fault) if fault.is_transient() && tries < 3 => {}
                Err(fault) => {
                    return Err(Error::storage(format!("reading {key} from {}", self.name))(
                        fault,
                    ));
                }
            }
        }
    }

    async fn fetch_once(&self, key: &str) -> Result<Bytes, StorageError> {
        let mut whole = Vec::new();
        let mut pieces = std::pin::pin!(self.spaces.get(&self.bucket, &self.key(key), None).await?);
        while let Some(piece) = pieces.next().await {
            let piece = piece?;
            if whole.len() + piece.len() > LARGEST_FILE {
                break;
            }
            whole.extend_from_slice(&piece);
        }
        Ok(whole.into())
    }
}

fn parsed<T: DeserializeOwned>(file: &[u8]) -> Option<T> {
    serde_json::from_slice(file).ok()
}

fn named(manifest: Manifest, id: &str) -> Result<Manifest, String> {
    if manifest.id == id {
        Ok(manifest)
    } else {
        Err("it has another name".into())
    }
}
