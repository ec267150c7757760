//! Files on disk. Each is replaced atomically, and its checksum is verified on reading.
//!
//! A file is one line (`silo <name> <version> <sha-256 of the rest>`) and a JSON document.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;
use sha2::{Digest, Sha256};
use tempfile::NamedTempFile;

/// The version of all files; one of another is not read.
const VERSION: u32 = 1;

/// Error of writing or reading a file.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The system refused: no right, no room.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// The file is damaged, half-written, or of another version.
    #[error("the file is not whole or of another version")]
    NotWhole,
}

/// A folder of such files.
#[derive(Clone, Debug)]
pub struct Store {
    folder: PathBuf,
}

/// The right to write: one process at a time has it, until it ends.
#[derive(Debug)]
pub struct Lock(#[expect(dead_code, reason = "holding it open is what it is for")] File);

impl Store {
    /// A store in a folder, which is made when it is not there.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn open(folder: &Path) -> io::Result<Self> {
        fs::create_dir_all(folder)?;
        Ok(Self {
            folder: folder.to_path_buf(),
        })
    }

    /// Takes the write lock; `None` while another process holds it.
    ///
    /// # Errors
    /// When the folder cannot be written to.
    pub fn lock(&self) -> io::Result<Option<Lock>> {
        let file = File::create(self.folder.join("lock"))?;
        match file.try_lock() {
            Ok(()) => Ok(Some(Lock(file))),
            Err(fs::TryLockError::WouldBlock) => Ok(None),
            Err(fs::TryLockError::Error(error)) => Err(error),
        }
    }

    /// Replaces a file atomically: after a crash, either the old or the new file is there.
    ///
    /// # Errors
    /// When the file was not replaced.
    pub fn save(&self, name: &str, value: &impl Serialize) -> Result<(), StoreError> {
        let document = serde_json::to_vec(value).map_err(io::Error::other)?;
        let mut file = NamedTempFile::with_prefix_in(format!("{name}-"), &self.folder)?;
        writeln!(file, "{}", head(name, &document))?;
        file.write_all(&document)?;
        file.as_file().sync_all()?;
        file.persist(self.path(name)).map_err(|error| error.error)?;
        // The new name is on disk only when the folder is.
        File::open(&self.folder)?.sync_all()?;
        Ok(())
    }

    /// Reads a file; `None` if it does not exist.
    ///
    /// # Errors
    /// [`StoreError::NotWhole`] when the checksum does not match.
    pub fn load<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>, StoreError> {
        let bytes = match fs::read(self.path(name)) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let end = bytes.iter().position(|byte| *byte == b'\n');
        let (first, rest) = bytes.split_at(end.ok_or(StoreError::NotWhole)?);
        let document = &rest[1..];
        if first != head(name, document).as_bytes() {
            return Err(StoreError::NotWhole);
        }
        let value = serde_json::from_slice(document);
        value.map(Some).map_err(|_unsaid| StoreError::NotWhole)
    }

    /// Removes a file, if it is there.
    ///
    /// # Errors
    /// When it still is.
    pub fn remove(&self, name: &str) -> io::Result<()> {
        match fs::remove_file(self.path(name)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.join(format!("{name}.silo"))
    }
}

fn head(name: &str, document: &[u8]) -> String {
    let sum = Sha256::digest(document);
    let sum: String = sum.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("silo {name} {VERSION} {sum}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_saved_file_can_be_loaded_and_a_damaged_one_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join("deep/er")).unwrap();
        assert!(store.load::<Vec<u8>>("x").unwrap().is_none());
        store.save("x", &vec![1, 2, 3]).unwrap();
        store.save("x", &vec![4, 5]).unwrap();
        assert_eq!(store.load::<Vec<u8>>("x").unwrap(), Some(vec![4, 5]));
        let whole = fs::read(store.path("x")).unwrap();
        for end in 0..whole.len() {
            fs::write(store.path("x"), &whole[..end]).unwrap();
            assert!(
                matches!(store.load::<Vec<u8>>("x"), Err(StoreError::NotWhole)),
                "{end} bytes"
            );
        }
        for place in 0..whole.len() {
            let mut damaged = whole.clone();
            damaged[place] ^= 1;
            fs::write(store.path("x"), damaged).unwrap();
            assert!(store.load::<Vec<u8>>("x").is_err(), "byte {place}");
        }
        store.remove("x").unwrap();
        store.remove("x").unwrap();
        assert!(store.load::<Vec<u8>>("x").unwrap().is_none());
    }

    #[test]
    fn only_one_process_holds_the_lock() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        let first = store.lock().unwrap();
        assert!(first.is_some());
        assert!(store.lock().unwrap().is_none());
        drop(first);
        assert!(store.lock().unwrap().is_some());
    }
}
