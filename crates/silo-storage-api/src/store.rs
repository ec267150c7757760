//! The state of the scans on disk: JSON documents by name, in an SQLite file.

use std::io;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use log::warn;
use serde::Serialize;
use serde::de::DeserializeOwned;
use silo_store::rusqlite::{OptionalExtension, params};
use silo_store::{Schema, StoreError};

const SCHEMA: Schema = Schema {
    file: "storage.db",
    version: 1,
    tables: "CREATE TABLE document (name TEXT PRIMARY KEY, json TEXT NOT NULL) STRICT;",
};

/// The documents of a folder.
#[derive(Debug)]
pub struct Store(Mutex<silo_store::Store>);

impl Store {
    /// Opens the file in a folder; both are created if missing.
    ///
    /// # Errors
    /// When the folder or the file cannot be used.
    pub fn open(folder: &Path) -> Result<Self, StoreError> {
        let file = silo_store::Store::open(folder, SCHEMA)?;
        Ok(Self(Mutex::new(file)))
    }

    /// Takes the right to write, which one process at a time has until it ends; `false` while another has it.
    ///
    /// # Errors
    /// When the lock's file cannot be used.
    pub fn take_lock(&self) -> io::Result<bool> {
        self.file().take_lock()
    }

    /// Replaces a document.
    ///
    /// # Errors
    /// When it was not replaced.
    pub fn save(&self, name: &str, value: &impl Serialize) -> Result<(), StoreError> {
        let json = serde_json::to_string(value).map_err(io::Error::other)?;
        self.file().write(|tx| {
            let replace = "INSERT OR REPLACE INTO document VALUES (?1, ?2)";
            tx.execute(replace, params![name, json])?;
            Ok(())
        })
    }

    /// Reads a document; `None` if there is none, and, with a warning, if it cannot be read.
    #[must_use]
    pub fn load<T: DeserializeOwned>(&self, name: &str) -> Option<T> {
        let json = self.file().read(|connection| {
            let select = "SELECT json FROM document WHERE name = ?1";
            let row = connection.query_row(select, [name], |row| row.get::<_, String>(0));
            row.optional()
        });
        let unreadable = |error: &dyn std::error::Error| {
            warn!("the {name} on disk cannot be read and will be made anew: {error}");
        };
        match json {
            Ok(json) => serde_json::from_str(&json?)
                .inspect_err(|error| unreadable(error))
                .ok(),
            Err(error) => {
                unreadable(&error);
                None
            }
        }
    }

    fn file(&self) -> MutexGuard<'_, silo_store::Store> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_is_replaced_and_one_of_another_shape_is_not_loaded() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        assert_eq!(store.load::<Vec<u8>>("history"), None);
        store.save("history", &vec![1, 2, 3]).unwrap();
        store.save("history", &vec![4, 5]).unwrap();
        store.save("results", &"other").unwrap();
        drop(store);
        let store = Store::open(folder.path()).unwrap();
        assert_eq!(store.load::<Vec<u8>>("history"), Some(vec![4, 5]));
        assert_eq!(store.load::<Vec<u8>>("results"), None);
    }
}
