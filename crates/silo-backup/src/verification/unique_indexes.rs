//! Check that unique indexes can be built: a digest of every key of every document, sorted on disk when there are many.
//!
//! Indexes that only a server can evaluate (with a collation, a complex filter, or an array position in the path) are reported as not checked, never
//! as good.

mod index_keys;

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Seek, Write};
use std::path::PathBuf;

use silo_mongo::mongodb::bson::{Document, RawDocument};

use index_keys::{Key, UniqueIndex};

/// Most digests kept in memory: 4 MiB.
const MAX_KEYS_IN_MEMORY: usize = 256 * 1024;

/// Keys of all unique indexes.
pub struct UniqueKeys {
    indexes: Vec<UniqueIndex>,
    kept: Vec<Key>,
    runs: Vec<File>,
    folder: PathBuf,
}

impl UniqueKeys {
    /// No keys yet. Keys that do not fit into memory are stored in unnamed files in `folder`.
    #[must_use]
    pub fn new(folder: PathBuf) -> Self {
        Self {
            indexes: Vec::new(),
            kept: Vec::new(),
            runs: Vec::new(),
            folder,
        }
    }

    /// Adds an index. Returns its position for [`UniqueKeys::add`].
    ///
    /// # Errors
    /// The reason why the index cannot be checked.
    pub fn watch(
        &mut self,
        collection: &str,
        specification: &Document,
    ) -> Option<Result<usize, String>> {
        let number = u16::try_from(self.indexes.len()).ok()?;
        Some(
            UniqueIndex::new(number, collection, specification)?.map(|index| {
                self.indexes.push(index);
                self.indexes.len() - 1
            }),
        )
    }

    /// Adds a document's keys in one index.
    ///
    /// # Errors
    /// When there is no room on disk.
    pub fn add(&mut self, place: usize, document: &RawDocument) -> io::Result<()> {
        let keys = self.indexes[place].keys(document);
        self.kept.extend(keys);
        if self.kept.len() >= MAX_KEYS_IN_MEMORY {
            self.spill()
        } else {
            Ok(())
        }
    }

    /// First index in which two documents have the same key, if any.
    ///
    /// # Errors
    /// When the sorted keys on disk cannot be read.
    pub fn duplicate(mut self) -> io::Result<Option<String>> {
        if !self.runs.is_empty() {
            self.spill()?;
        }
        self.kept.sort_unstable();
        let in_memory = self
            .kept
            .windows(2)
            .find(|pair| pair[0] == pair[1])
            .map(|pair| pair[0]);
        let found = match in_memory {
            Some(key) => Some(key),
            None => merge(&mut self.runs)?,
        };
        Ok(found.map(|key| {
            self.indexes[usize::from(u16::from_be_bytes([key[0], key[1]]))]
                .label
                .clone()
        }))
    }

    fn spill(&mut self) -> io::Result<()> {
        self.kept.sort_unstable();
        let mut file = tempfile::tempfile_in(&self.folder)?;
        let mut out = BufWriter::new(&mut file);
        for key in self.kept.drain(..) {
            out.write_all(&key)?;
        }
        out.flush()?;
        drop(out);
        file.rewind()?;
        self.runs.push(file);
        Ok(())
    }
}

/// First key that occurs twice in sorted files.
fn merge(runs: &mut [File]) -> io::Result<Option<Key>> {
    use std::cmp::Reverse;
    use std::collections::BinaryHeap;
    let mut readers: Vec<_> = runs.iter_mut().map(BufReader::new).collect();
    let mut heads = BinaryHeap::new();
    for (at, reader) in readers.iter_mut().enumerate() {
        heads.extend(next(reader)?.map(|key| Reverse((key, at))));
    }
    let mut last = None;
    while let Some(Reverse((key, at))) = heads.pop() {
        if last == Some(key) {
            return Ok(Some(key));
        }
        last = Some(key);
        heads.extend(next(&mut readers[at])?.map(|key| Reverse((key, at))));
    }
    Ok(None)
}

fn next(reader: &mut impl Read) -> io::Result<Option<Key>> {
    let mut key = Key::default();
    match reader.read_exact(&mut key) {
        Ok(()) => Ok(Some(key)),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests;
