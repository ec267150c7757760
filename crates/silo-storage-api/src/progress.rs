//! Progress of a running scan.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use jiff::Timestamp;
use serde::Serialize;
use silo_core::units::{double, round};
use utoipa::ToSchema;

/// Scan in progress.
#[derive(Debug, Default)]
pub struct Progress {
    objects: AtomicU64,
    pages: AtomicU64,
    running: Mutex<Option<RunningScan>>,
    next: Mutex<Option<Timestamp>>,
}

#[derive(Clone, Debug)]
struct RunningScan {
    started: Timestamp,
    since: Instant,
    /// Objects that an earlier process had counted.
    resumed: u64,
    bucket: String,
    buckets_done: usize,
    /// Objects of the last full scan.
    expected: Option<u64>,
}

/// Progress of the scan, as the API returns it.
#[derive(Clone, Debug, Hash, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ScanState {
    /// `true` while a scan is running.
    pub scanning: bool,
    /// When it began.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub started_at: Option<Timestamp>,
    /// The bucket it is in.
    pub bucket: Option<String>,
    /// Number of buckets that are completely listed.
    pub buckets_done: Option<usize>,
    /// Objects it has counted.
    pub objects: Option<u64>,
    /// Objects it counts a second.
    #[schema(value_type = Option<f64>)]
    pub objects_per_second: Option<u64>,
    /// Objects counted so far in percent of the last scan's, at most 99; `null` for the first scan.
    pub percent: Option<u64>,
    /// When the next begins.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub next_at: Option<Timestamp>,
}

impl Progress {
    /// A scan begins; `expected` objects were counted last time.
    pub fn begin(&self, expected: Option<u64>) {
        self.objects.store(0, Ordering::Relaxed);
        *self.lock() = Some(RunningScan {
            started: Timestamp::now(),
            since: Instant::now(),
            resumed: 0,
            bucket: String::new(),
            buckets_done: 0,
            expected,
        });
        *self.next.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Starts or resumes a bucket, with `counted` objects from before.
    pub fn enter(&self, bucket: &str, done: usize, counted: u64) {
        self.objects.fetch_add(counted, Ordering::Relaxed);
        if let Some(running) = self.lock().as_mut() {
            bucket.clone_into(&mut running.bucket);
            running.buckets_done = done;
            running.resumed += counted;
        }
    }

    /// A page was counted.
    pub fn count(&self, objects: u64) {
        self.objects.fetch_add(objects, Ordering::Relaxed);
        self.pages.fetch_add(1, Ordering::Relaxed);
    }

    /// Pages counted since the process began.
    pub fn pages(&self) -> u64 {
        self.pages.load(Ordering::Relaxed)
    }

    /// The scan has ended; the next begins then.
    pub fn end(&self, next: Timestamp) {
        *self.lock() = None;
        *self.next.lock().unwrap_or_else(PoisonError::into_inner) = Some(next);
    }

    /// `true` while a scan is running.
    pub fn is_scanning(&self) -> bool {
        self.lock().is_some()
    }

    /// Current progress.
    pub fn state(&self) -> ScanState {
        let next_at = *self.next.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(running) = self.lock().clone() else {
            return ScanState {
                scanning: false,
                started_at: None,
                bucket: None,
                buckets_done: None,
                objects: None,
                objects_per_second: None,
                percent: None,
                next_at,
            };
        };
        let objects = self.objects.load(Ordering::Relaxed);
        let seconds = running.since.elapsed().as_secs_f64();
        let counted = double(objects.saturating_sub(running.resumed));
        let rate = (seconds > 0.1).then(|| round(counted / seconds, 0));
        ScanState {
            scanning: true,
            started_at: Some(running.started),
            bucket: Some(running.bucket).filter(|bucket| !bucket.is_empty()),
            buckets_done: Some(running.buckets_done),
            objects: Some(objects),
            objects_per_second: rate.and_then(silo_core::units::count_from_f64),
            // Never 100 while the scan is running: there may be more objects than last time.
            percent: running
                .expected
                .filter(|expected| *expected > 0)
                .map(|expected| (objects.saturating_mul(100) / expected).min(99)),
            next_at,
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<RunningScan>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
