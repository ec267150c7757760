//! History of the database: a sample each quarter of an hour, kept for 90 days in an SQLite file. It is there while mongod is not, and the account in
//! mongod needs no right to write.

mod sampler;
mod tables;
mod view;

use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use jiff::{SignedDuration, Timestamp};
use silo_mongo::catalogue::Catalogue;
use silo_store::{Store, StoreError};

pub use sampler::Sampler;
pub use view::{CategoryHistory, CollectionGrowth, CollectionHistory, HistoryView, Range};

/// Seconds that one sample stands for.
pub const SAMPLE_SECONDS: i64 = 900;
/// Number of samples kept: 90 days.
const MAX_SAMPLES: i64 = 90 * 24 * 4;

/// What was measured in a quarter of an hour. `None` was not known.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Sample {
    /// Quarter of an hour since 1970.
    pub quarter: i64,
    /// Users.
    pub users: Option<u64>,
    /// Connections to mongod.
    pub connections: Option<u64>,
    /// Reads a second by others than this service, since the sample before.
    pub reads_per_second: Option<f64>,
    /// Writes a second, since the sample before.
    pub writes_per_second: Option<f64>,
    /// Used bytes of mongod's file system.
    pub disk_used_bytes: Option<u64>,
    /// Size of mongod's file system in bytes.
    pub disk_total_bytes: Option<u64>,
    /// Contents of all collections; `None` when they were not known.
    pub collections: Option<Vec<Contents>>,
}

/// Contents of a collection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contents {
    /// Name of the collection.
    pub collection: String,
    /// Number of documents.
    pub documents: Option<u64>,
    /// Their bytes, uncompressed.
    pub data_bytes: Option<u64>,
}

/// The quarter of an hour that a time is in.
#[must_use]
pub fn quarter_of(at: Timestamp) -> i64 {
    at.as_second().div_euclid(SAMPLE_SECONDS)
}

/// The start of a quarter of an hour.
#[must_use]
pub fn start_of(quarter: i64) -> Timestamp {
    Timestamp::from_second(quarter.saturating_mul(SAMPLE_SECONDS)).unwrap_or_default()
}

/// The samples on disk.
#[derive(Debug)]
pub struct History(Mutex<Store>);

impl History {
    /// Opens the history of a folder, which is created if missing.
    ///
    /// # Errors
    /// When the folder or its file cannot be used.
    pub fn open(folder: &Path) -> Result<Self, StoreError> {
        let store = Store::open(folder, tables::SCHEMA)?;
        Ok(Self(Mutex::new(store)))
    }

    /// Adds a sample, unless its quarter has one, and removes those that are too many.
    ///
    /// # Errors
    /// When it was not written.
    pub fn add(&self, sample: &Sample) -> Result<(), StoreError> {
        self.store().write(|tx| {
            tables::add(tx, sample)?;
            tables::prune(tx, MAX_SAMPLES)
        })
    }

    /// Quarter of the newest sample.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn newest(&self, now: Timestamp) -> Result<Option<i64>, StoreError> {
        self.store()
            .read(|connection| tables::newest(connection, quarter_of(now)))
    }

    /// The history of everything in a range that ends now.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn all(
        &self,
        range: Range,
        catalogue: &Catalogue,
        now: Timestamp,
    ) -> Result<HistoryView, StoreError> {
        let grid = range.grid(now);
        let (samples, contents) = self.store().read(|connection| {
            let samples = tables::samples(connection, grid)?;
            Ok((samples, tables::contents(connection, grid, None)?))
        })?;
        Ok(view::all(range, grid, samples, &contents, catalogue))
    }

    /// The history of one collection in a range that ends now.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn collection(
        &self,
        name: &str,
        range: Range,
        now: Timestamp,
    ) -> Result<CollectionHistory, StoreError> {
        let grid = range.grid(now);
        let contents = self
            .store()
            .read(|connection| tables::contents(connection, grid, Some(name)))?;
        Ok(view::collection(range, grid, &contents))
    }

    /// Time and used bytes of the oldest sample of the last week in which the file system's size was known.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn disk_a_week_ago(&self, now: Timestamp) -> Result<Option<(Timestamp, u64)>, StoreError> {
        let since = now - SignedDuration::from_hours(7 * 24);
        let quarters = (quarter_of(since), quarter_of(now));
        let found = self
            .store()
            .read(|connection| tables::first_disk(connection, quarters))?;
        Ok(found.map(|(quarter, used)| (start_of(quarter), used)))
    }

    fn store(&self) -> MutexGuard<'_, Store> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
