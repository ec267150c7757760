//! Slices of the oplog in a repository: `oplog/CHAIN/AFTER_THROUGH.bson.gz`, encrypted with `.age` at the end.

use std::collections::BTreeMap;

use bytes::Bytes;
use futures_util::StreamExt;

use super::Repository;
use crate::continuous::slice::Span;
use crate::error::Error;

/// Folder of all chains.
pub(super) const FOLDER: &str = "oplog/";

/// A slice in a repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredSlice {
    /// Positions of the slice.
    pub span: Span,
    /// Key of the slice, below the prefix.
    pub key: String,
    /// Size in bytes.
    pub bytes: u64,
}

/// A chain in a repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredChain {
    /// Id of the chain: that of the backup it begins at.
    pub id: String,
    /// Slices of the chain, in their order.
    pub slices: Vec<StoredSlice>,
}

impl Repository {
    /// The slices of a chain, in their order.
    ///
    /// # Errors
    /// The error of the storage.
    pub async fn slices(&self, chain: &str) -> Result<Vec<StoredSlice>, Error> {
        let listed = self.list(&format!("{FOLDER}{chain}/")).await?;
        let slices = listed
            .into_iter()
            .filter_map(|(key, bytes, _)| of_key(key, bytes));
        Ok(slices.map(|(_, slice)| slice).collect())
    }

    /// All chains.
    ///
    /// # Errors
    /// The error of the storage.
    pub async fn chains(&self) -> Result<Vec<StoredChain>, Error> {
        let listed = self.list(FOLDER).await?;
        let mut chains = BTreeMap::<String, Vec<StoredSlice>>::new();
        for (chain, slice) in listed
            .into_iter()
            .filter_map(|(key, bytes, _)| of_key(key, bytes))
        {
            chains.entry(chain).or_default().push(slice);
        }
        let chains = chains.into_iter();
        Ok(chains
            .map(|(id, slices)| StoredChain { id, slices })
            .collect())
    }

    /// Stores a slice and reads it back.
    ///
    /// # Errors
    /// The error of the storage, or a difference from the written bytes.
    pub async fn store_slice(
        &self,
        chain: &str,
        span: Span,
        bytes: Bytes,
        encrypted: bool,
    ) -> Result<(), Error> {
        let key = key(chain, span, encrypted);
        let full = self.key(&key);
        let put = self.spaces.put(&self.bucket, &full, bytes.clone());
        put.await
            .map_err(Error::storage(format!("writing {key} to {}", self.name)))?;
        let mut rest = &bytes[..];
        let reading = || Error::storage(format!("reading {key} back from {}", self.name));
        let pieces = self.spaces.get(&self.bucket, &full, None).await;
        let mut pieces = std::pin::pin!(pieces.map_err(reading())?);
        let mut is_same = true;
        while let Some(piece) = pieces.next().await {
            match rest.strip_prefix(&piece.map_err(reading())?[..]) {
                Some(left) => rest = left,
                None => is_same = false,
            }
        }
        if is_same && rest.is_empty() {
            return Ok(());
        }
        Err(Error::Engine(format!(
            "{} returns different content than was written to {key}",
            self.name
        )))
    }

    /// Deletes a slice.
    ///
    /// # Errors
    /// The error of the storage.
    pub async fn delete_slice(
        &self,
        chain: &str,
        span: Span,
        encrypted: bool,
    ) -> Result<(), Error> {
        self.delete(&key(chain, span, encrypted)).await
    }
}

fn key(chain: &str, span: Span, encrypted: bool) -> String {
    let age = if encrypted { ".age" } else { "" };
    format!("{FOLDER}{chain}/{}{age}", span.file_name())
}

/// Chain and slice of a key; `None` if it is none.
fn of_key(key: String, bytes: u64) -> Option<(String, StoredSlice)> {
    let (chain, name) = key.strip_prefix(FOLDER)?.split_once('/')?;
    let (chain, span) = (chain.to_owned(), Span::of_file_name(name)?);
    Some((chain, StoredSlice { span, key, bytes }))
}
