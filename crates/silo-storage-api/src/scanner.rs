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

use crate::gateway::buckets::Bucket as Way;
use crate::gateway::users::People;
use crate::history::History;
use crate::owners::Layout;
use crate::progress::Progress;
use crate::scan_results::{Bucket, Rollup};
use crate::storage::{Storage, day};
use crate::store::{Lock, Store, StoreError};

mod bucket;
mod cadence;
mod checkpoint;

use self::cadence::{Cadence, Due};
use self::checkpoint::UnderWay;

/// The names of the files.
const ROLLUP: &str = "rollup";
const HISTORY: &str = "history";
const UNDER_WAY: &str = "scan";
/// Interval of attempts to take the lock while another process holds it.
const LOCK_EVERY: Duration = Duration::from_secs(1);

/// The one who scans.
pub struct Scanner {
    buckets: Vec<Way>,
    layouts: HashMap<String, Layout>,
    people: People,
    store: Store,
    progress: Arc<Progress>,
    storage: Arc<Snapshot<Storage>>,
    workers: usize,
    every: Duration,
    wake: Notify,
    asked: AtomicBool,
}

/// Dependencies of the scanner.
pub struct Parts {
    /// The buckets with their layouts, in order.
    pub buckets: Vec<(Way, Layout)>,
    /// Lookup of users and tape owners.
    pub people: People,
    /// Files on disk.
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
    pub fn new(parts: Parts) -> Self {
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
            layouts,
            people: parts.people,
            store: parts.store,
            progress: parts.progress,
            storage: parts.storage,
            workers: parts.workers,
            every: parts.every,
            wake: Notify::new(),
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

    /// Scans for ever.
    pub async fn run(&self) {
        let _lock = self.wait_for_lock().await;
        let mut rollup = self.load::<Rollup>(ROLLUP).unwrap_or_default();
        let mut cadence = Cadence::new(self.every);
        let mut due = Due::All;
        loop {
            self.progress
                .begin(Some(rollup.objects()).filter(|objects| *objects > 0));
            self.asked.store(false, Ordering::SeqCst);
            let retry;
            (rollup, retry) = self.scan(&rollup, &due).await;
            let (pause, next) = cadence.after(&due, retry, Instant::now());
            self.progress.end(Timestamp::now() + pause);
            due = tokio::select! {
                () = tokio::time::sleep(pause) => next,
                () = self.wake.notified() => Due::All,
            }
        }
    }

    /// Serves what the last process found, as stale.
    fn restore(&self) {
        let Some(rollup) = self.load::<Rollup>(ROLLUP) else {
            return;
        };
        let oldest = rollup
            .buckets
            .iter()
            .filter_map(|bucket| Some(bucket.found.as_ref()?.begun))
            .min();
        if let Some(as_of) = oldest {
            let rollup = self.in_order(&rollup);
            let history = self.load::<History>(HISTORY).unwrap_or_default();
            let storage = Storage::of(&rollup, &self.layouts, &history, day(Timestamp::now()));
            self.storage.restore(storage, as_of);
            info!("what the last scan found is served until the next has ended");
        }
    }

    /// One process writes; a second one beside it waits for the lock, and serves the stored result.
    async fn wait_for_lock(&self) -> Option<Lock> {
        let mut told = false;
        loop {
            match self.store.lock() {
                Ok(Some(lock)) => return Some(lock),
                Ok(None) if !told => warn!(
                    "another process scans and writes to the same folder; waiting for it to end"
                ),
                Ok(None) => {}
                Err(error) => {
                    error!(
                        "the folder for the roll-up cannot be written to, so a restart will begin from nothing: {error}"
                    );
                    return None;
                }
            }
            told = true;
            tokio::time::sleep(LOCK_EVERY).await;
        }
    }

    /// One scan of all due buckets, and publication together with the last results of the others. Also returns the buckets whose error may be
    /// temporary.
    async fn scan(&self, before: &Rollup, due: &Due) -> (Rollup, BTreeSet<String>) {
        let started = Instant::now();
        let mut under_way = self.load::<UnderWay>(UNDER_WAY).unwrap_or_default();
        under_way.forget_old(Timestamp::now());
        let (mut kept, mut retry) = (Vec::new(), BTreeSet::new());
        for (at, way) in self.buckets.iter().enumerate() {
            if !due.includes(&way.name) {
                kept.extend(before.bucket(&way.name).cloned());
                continue;
            }
            if let Some(done) = under_way.done.iter().find(|done| done.name == way.name) {
                let objects = done
                    .found
                    .as_ref()
                    .map_or(0, |found| found.totals.all.objects);
                self.progress.enter(&way.name, at, objects);
                continue;
            }
            let (bucket, may_pass) = self
                .scan_one(at, way, before.bucket(&way.name), &mut under_way)
                .await;
            if may_pass {
                retry.insert(way.name.clone());
            }
            under_way.done.push(bucket);
            self.save(UNDER_WAY, &under_way);
        }
        let rollup = self.in_order(&Rollup {
            buckets: [under_way.done, kept].concat(),
        });
        // The progress of a failed bucket is kept for the next attempt.
        let left = UnderWay {
            done: Vec::new(),
            open: under_way.open,
        };
        self.publish(&rollup, started.elapsed());
        self.save(UNDER_WAY, &left);
        (rollup, retry)
    }

    /// Publishes a roll-up whole, and keeps it.
    fn publish(&self, rollup: &Rollup, took: Duration) {
        let today = day(Timestamp::now());
        let mut history = self.load::<History>(HISTORY).unwrap_or_default();
        for bucket in rollup
            .buckets
            .iter()
            .filter(|bucket| bucket.failure.is_none())
        {
            if let Some(found) = &bucket.found {
                history.note(today, &bucket.name, found.totals.kinds);
            }
        }
        let mut errors = rollup.errors();
        for (name, saved) in [
            (ROLLUP, self.store.save(ROLLUP, rollup)),
            (HISTORY, self.store.save(HISTORY, &history)),
        ] {
            if let Err(error) = saved {
                error!("the {name} cannot be kept on disk, so a restart will not know it: {error}");
                let detail =
                    format!("the {name} cannot be kept on disk, so a restart will not know it");
                errors.push(SourceError::new("state folder", "not_saved", detail));
            }
        }
        let failures: Vec<_> = rollup
            .buckets
            .iter()
            .filter_map(|bucket| bucket.failure.as_ref())
            .collect();
        let all_failed = failures.len() == rollup.buckets.len();
        match failures.first() {
            Some(failure) if all_failed => {
                let detail = format!("no bucket could be listed: {}", failure.detail);
                self.storage.publish(
                    Err(SourceError::new("storage", failure.code.as_str(), detail)),
                    took,
                );
            }
            _ => {
                let storage = Storage::of(rollup, &self.layouts, &history, today);
                self.storage.publish(
                    Ok(Measured {
                        value: storage,
                        errors,
                    }),
                    took,
                );
            }
        }
        let (buckets, objects) = (rollup.buckets.len() - failures.len(), rollup.objects());
        info!(buckets, objects, took_ms = whole_millis(took); "{buckets} buckets scanned, {objects} objects");
    }

    /// The buckets of the settings, in their order; one that is no longer among them is left out.
    fn in_order(&self, rollup: &Rollup) -> Rollup {
        let bucket = |way: &Way| {
            rollup.bucket(&way.name).cloned().unwrap_or_else(|| Bucket {
                name: way.name.clone(),
                found: None,
                failure: None,
            })
        };
        Rollup {
            buckets: self.buckets.iter().map(bucket).collect(),
        }
    }

    fn load<T: serde::de::DeserializeOwned>(&self, name: &str) -> Option<T> {
        match self.store.load(name) {
            Ok(found) => found,
            Err(StoreError::NotWhole) => {
                warn!("the {name} on disk is damaged or of another version; it is made anew");
                None
            }
            Err(StoreError::Io(error)) => {
                warn!("the {name} on disk cannot be read: {error}");
                None
            }
        }
    }

    fn save(&self, name: &str, value: &impl Serialize) {
        if let Err(error) = self.store.save(name, value) {
            warn!("the {name} cannot be written down, so a restart would begin anew: {error}");
        }
    }
}
