//! Background scans: list every bucket periodically, publish the result, and store it on disk.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use log::{error, info, warn};
use serde::Serialize;
use silo_core::units::whole_millis;
use silo_web::snapshot::{Measured, Snapshot, SourceError};
use tokio::sync::Notify;

use crate::gateway::buckets::Bucket as BucketClient;
use crate::gateway::users::UserDirectory;
use crate::history::History;
use crate::owners::Layout;
use crate::progress::Progress;
use crate::scan_results::{Bucket, ScanResults};
use crate::storage::{Storage, day};
use crate::store::Store;

mod bucket;
mod cadence;
mod checkpoint;
mod reachability;

use self::cadence::{Cadence, Due};
use self::checkpoint::Checkpoints;

/// The names of the documents on disk.
const RESULTS: &str = "results";
const HISTORY: &str = "history";
const CHECKPOINTS: &str = "checkpoints";
/// Interval of attempts to take the lock while another process holds it.
const LOCK_EVERY: Duration = Duration::from_secs(1);

/// Scans all buckets periodically, and publishes and saves the results.
pub struct Scanner {
    buckets: Vec<BucketClient>,
    /// A bucket of each endpoint.
    endpoints: Vec<BucketClient>,
    layouts: HashMap<String, Layout>,
    users: UserDirectory,
    store: Store,
    progress: Arc<Progress>,
    storage: Arc<Snapshot<Storage>>,
    workers: usize,
    every: Duration,
    wake: Notify,
    /// Storage can be reached again: buckets that failed are listed now.
    back: Notify,
    asked: AtomicBool,
}

/// Dependencies of the scanner.
pub struct ScannerConfig {
    /// The buckets with their layouts, in order.
    pub buckets: Vec<(BucketClient, Layout)>,
    /// A bucket of each endpoint, which is asked to see whether the endpoint answers.
    pub endpoints: Vec<BucketClient>,
    /// Lookup of users and tape owners.
    pub users: UserDirectory,
    /// State on disk.
    pub store: Store,
    /// Progress, for readers.
    pub progress: Arc<Progress>,
    /// Result of the last scan, for readers.
    pub storage: Arc<Snapshot<Storage>>,
    /// Concurrent listing requests.
    pub workers: usize,
    /// From the end of one scan to the start of the next.
    pub every: Duration,
}

impl Scanner {
    /// A scanner that is not running yet. The result of an earlier process is published with its age.
    #[must_use]
    pub fn new(parts: ScannerConfig) -> Self {
        let layouts = parts
            .buckets
            .iter()
            .map(|(bucket, layout)| (bucket.name.clone(), *layout))
            .collect();
        let scanner = Self {
            buckets: parts
                .buckets
                .into_iter()
                .map(|(bucket, _)| bucket)
                .collect(),
            endpoints: parts.endpoints,
            layouts,
            users: parts.users,
            store: parts.store,
            progress: parts.progress,
            storage: parts.storage,
            workers: parts.workers,
            every: parts.every,
            wake: Notify::new(),
            back: Notify::new(),
            asked: AtomicBool::new(false),
        };
        scanner.restore();
        scanner
    }

    /// Asks for a scan now. False when one runs or is about to.
    pub fn ask(&self) -> bool {
        if self.progress.is_scanning() || self.asked.swap(true, Ordering::SeqCst) {
            return false;
        }
        self.wake.notify_one();
        true
    }

    /// Number of buckets.
    #[must_use]
    pub fn buckets(&self) -> usize {
        self.buckets.len()
    }

    /// Scans in a loop; never returns.
    pub async fn run(&self) {
        self.wait_for_lock().await;
        tokio::join!(self.keep_scanning(), self.watch_reachability());
    }

    async fn keep_scanning(&self) {
        let mut results = self.store.load::<ScanResults>(RESULTS).unwrap_or_default();
        let mut cadence = Cadence::new(self.every);
        let mut due = Due::All;
        loop {
            self.progress
                .begin(Some(results.known_objects()).filter(|objects| *objects > 0));
            self.asked.store(false, Ordering::SeqCst);
            let retry;
            (results, retry) = self.scan(&results, &due).await;
            let failed = Due::Only(retry.clone());
            let (pause, next) = cadence.after(&due, retry, Instant::now());
            self.progress.end(Timestamp::now() + pause);
            due = tokio::select! {
                () = tokio::time::sleep(pause) => next,
                () = self.wake.notified() => Due::All,
                () = self.back.notified(), if next != Due::All => failed,
            }
        }
    }

    /// Serves what the last process found, as stale.
    fn restore(&self) {
        let Some(results) = self.store.load::<ScanResults>(RESULTS) else {
            return;
        };
        if let Some(as_of) = results.oldest() {
            let results = self.in_order(&results);
            let history = self.store.load::<History>(HISTORY).unwrap_or_default();
            let storage = Storage::of(&results, &self.layouts, &history, day(Timestamp::now()));
            self.storage.restore(storage, as_of);
            info!("serving the results of the previous process until the first scan ends");
        }
    }

    /// Waits for the lock of the results folder, which only one process can hold; meanwhile the saved results are served. If the
    /// lock cannot be used, results are not saved.
    async fn wait_for_lock(&self) {
        let mut warned = false;
        loop {
            match self.store.take_lock() {
                Ok(true) => return,
                Ok(false) if !warned => warn!(
                    "another process scans and writes to the same folder; waiting for it to end"
                ),
                Ok(false) => {}
                Err(error) => {
                    error!(
                        "the folder of the scan results cannot be written to, so new results will be lost on restart: {error}"
                    );
                    return;
                }
            }
            warned = true;
            tokio::time::sleep(LOCK_EVERY).await;
        }
    }

    /// One scan of all due buckets, and publication together with the last results of the others. Also returns the buckets whose error may be
    /// temporary.
    async fn scan(&self, before: &ScanResults, due: &Due) -> (ScanResults, BTreeSet<String>) {
        let started = Instant::now();
        let mut checkpoints = self
            .store
            .load::<Checkpoints>(CHECKPOINTS)
            .unwrap_or_default();
        checkpoints.forget_old(Timestamp::now());
        let (mut kept, mut retry) = (Vec::new(), BTreeSet::new());
        for (at, client) in self.buckets.iter().enumerate() {
            if !due.includes(&client.name) {
                kept.extend(before.bucket(&client.name).cloned());
                continue;
            }
            if let Some(done) = checkpoints
                .done
                .iter()
                .find(|done| done.name == client.name)
            {
                let objects = done
                    .found
                    .as_ref()
                    .map_or(0, |found| found.totals.all.objects);
                self.progress.enter(&client.name, at, objects);
                continue;
            }
            let (bucket, may_pass) = self
                .scan_one(at, client, before.bucket(&client.name), &mut checkpoints)
                .await;
            if may_pass {
                retry.insert(client.name.clone());
            }
            checkpoints.done.push(bucket);
            self.save(CHECKPOINTS, &checkpoints);
        }
        let results = self.in_order(&ScanResults {
            buckets: [checkpoints.done, kept].concat(),
        });
        // The progress of a failed bucket is kept for the next attempt.
        let left = Checkpoints {
            done: Vec::new(),
            open: checkpoints.open,
        };
        self.publish(&results, started.elapsed());
        self.save(CHECKPOINTS, &left);
        (results, retry)
    }

    /// Publishes the results and saves them.
    fn publish(&self, results: &ScanResults, elapsed: Duration) {
        let today = day(Timestamp::now());
        let mut history = self.store.load::<History>(HISTORY).unwrap_or_default();
        for bucket in results
            .buckets
            .iter()
            .filter(|bucket| bucket.failure.is_none())
        {
            if let Some(found) = &bucket.found {
                history.note(today, &bucket.name, found.totals.kinds);
            }
        }
        let mut errors = results.errors();
        for (name, saved) in [
            (RESULTS, self.store.save(RESULTS, results)),
            (HISTORY, self.store.save(HISTORY, &history)),
        ] {
            if let Err(error) = saved {
                error!("the {name} cannot be saved and will be lost on restart: {error}");
                let detail = format!("the {name} cannot be saved and will be lost on restart");
                errors.push(SourceError::new("state folder", "not_saved", detail));
            }
        }
        let failures: Vec<_> = results
            .buckets
            .iter()
            .filter_map(|bucket| bucket.failure.as_ref())
            .collect();
        let all_failed = failures.len() == results.buckets.len();
        match failures.first() {
            Some(failure) if all_failed => {
                let detail = format!("no bucket could be listed: {}", failure.detail);
                self.storage.publish(
                    Err(SourceError::new("storage", failure.code.as_str(), detail)),
                    elapsed,
                );
            }
            _ => {
                let value = Storage::of(results, &self.layouts, &history, today);
                let as_of = results.oldest().unwrap_or_else(Timestamp::now);
                let measured = Measured { value, errors };
                self.storage.publish_as_of(measured, as_of, elapsed);
            }
        }
        let (buckets, objects) = (
            results.buckets.len() - failures.len(),
            results.known_objects(),
        );
        info!(buckets, objects, duration_ms = whole_millis(elapsed); "{buckets} buckets scanned, {objects} objects");
    }

    /// The buckets of the settings, in their order; one that is no longer among them is left out.
    fn in_order(&self, results: &ScanResults) -> ScanResults {
        let bucket = |client: &BucketClient| {
            results
                .bucket(&client.name)
                .cloned()
                .unwrap_or_else(|| Bucket {
                    name: client.name.clone(),
                    found: None,
                    failure: None,
                })
        };
        ScanResults {
            buckets: self.buckets.iter().map(bucket).collect(),
        }
    }

    fn save(&self, name: &str, value: &impl Serialize) {
        if let Err(error) = self.store.save(name, value) {
            warn!("the {name} cannot be saved and will be lost on restart: {error}");
        }
    }
}
