//! Detection of documents that a dump without a snapshot has read twice: two documents of a collection with the same `_id`.
//!
//! A digest of every `_id` is sorted, on disk when there are many. Unique indexes are not checked here: a server does it when a drill builds them, and
//! in a snapshot no key occurs twice.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Seek, Write};
use std::path::PathBuf;

use bson::RawDocument;
use sha2::{Digest, Sha256};

/// Most digests kept in memory: 4 MiB.
const MAX_IN_MEMORY: usize = 256 * 1024;

/// Number of the collection, and the first bytes of the SHA-256 of an `_id`.
type Key = [u8; 16];

/// Digests of the `_id`s of all documents.
pub struct DocumentIds {
    kept: Vec<Key>,
    spilled: Vec<File>,
    folder: PathBuf,
}

impl DocumentIds {
    /// No digests yet. Those that do not fit into memory are stored in unnamed files in `folder`.
    #[must_use]
    pub fn new(folder: PathBuf) -> Self {
        Self {
            kept: Vec::new(),
            spilled: Vec::new(),
            folder,
        }
    }

    /// Adds a document of the collection with this number.
    ///
    /// # Errors
    /// When there is no room on disk.
    pub fn add(&mut self, collection: u16, document: &RawDocument) -> io::Result<()> {
        let Ok(Some(id)) = document.get("_id") else {
            return Ok(());
        };
        let mut wrapped = bson::RawDocumentBuf::new();
        wrapped.append(bson::cstr!("_id"), id);
        let mut key = Key::default();
        key[..2].copy_from_slice(&collection.to_be_bytes());
        key[2..].copy_from_slice(&Sha256::digest(wrapped.as_bytes())[..14]);
        self.kept.push(key);
        if self.kept.len() >= MAX_IN_MEMORY {
            self.spill()?;
        }
        Ok(())
    }

    /// Number of the first collection with two documents of the same `_id`, if any.
    ///
    /// # Errors
    /// When the digests on disk cannot be read.
    pub fn duplicate(mut self) -> io::Result<Option<u16>> {
        if !self.spilled.is_empty() {
            self.spill()?;
        }
        self.kept.sort_unstable();
        let in_memory = self.kept.windows(2).find(|pair| pair[0] == pair[1]);
        let found = match in_memory {
            Some(pair) => Some(pair[0]),
            None => first_repeated(&mut self.spilled)?,
        };
        Ok(found.map(|key| u16::from_be_bytes([key[0], key[1]])))
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
        self.spilled.push(file);
        Ok(())
    }
}

/// First digest that occurs twice in sorted files.
fn first_repeated(files: &mut [File]) -> io::Result<Option<Key>> {
    let mut readers: Vec<_> = files.iter_mut().map(BufReader::new).collect();
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
mod tests {
    use bson::rawdoc;

    use super::*;

    fn ids() -> DocumentIds {
        DocumentIds::new(std::env::temp_dir())
    }

    #[test]
    fn only_the_same_id_in_the_same_collection_is_a_duplicate() {
        let mut different = ids();
        different.add(0, &rawdoc! { "_id": 1 }).unwrap();
        different.add(1, &rawdoc! { "_id": 1 }).unwrap();
        different.add(0, &rawdoc! { "a": 1, "_id": "1" }).unwrap();
        different.add(0, &rawdoc! { "a": 1 }).unwrap();
        different.add(0, &rawdoc! { "a": 1 }).unwrap();
        assert_eq!(different.duplicate().unwrap(), None);
        let mut same = ids();
        same.add(3, &rawdoc! { "_id": 1, "a": 1 }).unwrap();
        same.add(3, &rawdoc! { "_id": 1, "a": 2 }).unwrap();
        assert_eq!(same.duplicate().unwrap(), Some(3));
    }

    #[test]
    fn duplicates_are_found_among_more_ids_than_fit_into_memory() {
        let add = |all: &mut DocumentIds, id: i32| all.add(0, &rawdoc! { "_id": id }).unwrap();
        let mut all = ids();
        (0..600_000).for_each(|id| add(&mut all, id));
        assert_eq!(all.duplicate().unwrap(), None);
        let mut all = ids();
        (0..600_000).for_each(|id| add(&mut all, id));
        add(&mut all, 7);
        assert_eq!(all.duplicate().unwrap(), Some(0));
    }
}
