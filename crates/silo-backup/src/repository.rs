//! Repository: the files in a bucket below the prefix. Nothing else in the bucket is touched.
//!
//! `silo-repo.json` has the repository's own id and its owner. `data/` has archives, `manifests/` their manifests, `drills/` the last drill of each, `proofs/` those of continuous backup,
//! `checks/` the last verification of each, `accepted/` acceptances of held backups, `pins/` pins, `pruned/` tombstones of deleted backups, `orphans/`
//! marks of archives without a manifest, `oplog/` slices of the oplog.

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use futures_util::stream;
use jiff::Timestamp;
use silo_spaces::Spaces;
use silo_spaces::error::Kind;
use tokio::sync::mpsc;

use crate::archive::encoding::Chunk;
use crate::error::Error;

mod contents;
mod download;
mod files;
mod identity;
mod ids;
mod listing;
pub mod manifest;
pub mod orphans;
mod records;
mod slices;

pub use contents::{Entry, RepositoryContents};
pub use identity::{Identity, Owner};
pub use records::{
    Acceptance, Check, Drill, MomentDrill, Orphan, Pin, Proof, ProofResult, Tombstone,
};
pub use slices::{StoredChain, StoredSlice};

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
            // Storage names every object's tag; an answer without one is something else's, such as a proxy's error with status 200.
            Ok(head) if head.bytes.is_none() || head.tag.is_none() => Err(Error::Inconclusive(
                format!("{} does not report size and tag of the archive", self.name),
            )),
            Ok(head) => Ok(head.bytes),
            Err(error) if error.kind == Kind::NotFound => Ok(None),
            Err(error) => Err(Error::storage("looking at the archive")(error)),
        }
    }

    /// Seconds by which this machine's clock is ahead of the storage's.
    #[must_use]
    pub fn clock_ahead(&self) -> Option<i64> {
        self.spaces.traffic().clock_ahead()
    }

    fn key(&self, key: &str) -> String {
        format!("{}{key}", self.prefix)
    }

    /// Lists the keys of a folder below the prefix, relative to the prefix; with an empty folder all, except for slices of the oplog, of which there may be
    /// tens of thousands.
    async fn list(&self, folder: &str) -> Result<Vec<(String, u64, Option<Timestamp>)>, Error> {
        let (below, slices) = (self.key(folder), self.key(slices::FOLDER));
        let mut found = Vec::new();
        let mut after: Option<String> = None;
        loop {
            let page = self
                .spaces
                .page_below(&self.bucket, &below, after.as_deref())
                .await;
            let page = page.map_err(Error::storage(format!("listing {}", self.name)))?;
            found.extend(page.objects().filter_map(|object| {
                let key = object.key.strip_prefix(&self.prefix)?;
                Some((key.to_owned(), object.bytes, object.modified))
            }));
            match page.last() {
                Some(last) if page.truncated && folder.is_empty() && last.starts_with(&slices) => {
                    // The first key after all that begin with the folder's name and a slash.
                    after = Some(format!("{}0", slices.trim_end_matches('/')));
                }
                Some(last) if page.truncated => after = Some(last.to_owned()),
                _ => return Ok(found),
            }
        }
    }
}
