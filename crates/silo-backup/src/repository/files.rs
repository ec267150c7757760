//! Small files of a repository: manifests, drills, acceptances, tombstones.

use std::sync::PoisonError;

use bytes::Bytes;
use futures_util::StreamExt;
use serde::Serialize;
use serde::de::{DeserializeOwned, IgnoredAny};
use silo_spaces::error::{Kind, StorageError};

use super::{Repository, Version};
use crate::error::Error;

/// Largest file that is read, in bytes.
const LARGEST_FILE: usize = 16 * 1024 * 1024;
/// Attempts to read a file.
const ATTEMPTS: u32 = 3;

impl Repository {
    /// Writes a small file and reads it back.
    ///
    /// # Errors
    /// The error of the storage, or a difference from the written bytes.
    pub async fn write(&self, key: &str, bytes: Vec<u8>) -> Result<(), Error> {
        let bytes = Bytes::from(bytes);
        let action = || format!("writing {key} to {}", self.name);
        self.spaces
            .put(&self.bucket, &self.key(key), bytes.clone())
            .await
            .map_err(Error::storage(action()))?;
        match self.fetch(key).await? {
            Some(read) if read == bytes => Ok(()),
            _ => Err(Error::Engine(format!(
                "{}: the storage returns different content",
                action()
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

    /// Reads a JSON file; `None` if it does not exist.
    pub(super) async fn read<T: DeserializeOwned>(&self, key: &str) -> Result<Option<T>, Error> {
        match self.fetch(key).await? {
            None => Ok(None),
            Some(file) => match serde_json::from_slice(&file) {
                Ok(value) => Ok(Some(value)),
                Err(_text) => Err(Error::Corrupt(format!(
                    "{key} in {} is not valid JSON of Silo",
                    self.name
                ))),
            },
        }
    }

    /// Reads a file, from the cache if it has not been overwritten since.
    pub(super) async fn cached(&self, key: &str, version: Version) -> Result<Option<Bytes>, Error> {
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

    /// Removes files from the cache that no longer exist.
    pub(super) fn remove_from_cache_except(&self, listed: &[(String, Version)]) {
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
                Ok(file)
                    if tries < ATTEMPTS && serde_json::from_slice::<IgnoredAny>(&file).is_err() => {
                }
                Ok(file) => return Ok(Some(file)),
                Err(error) if error.kind == Kind::NotFound => return Ok(None),
                Err(error) if error.is_transient() && tries < ATTEMPTS => {}
                Err(error) => {
                    return Err(Error::storage(format!("reading {key} from {}", self.name))(
                        error,
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
