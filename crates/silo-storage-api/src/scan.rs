//! The scan of one bucket: several workers list its ranges at once, and every object is added to the sums and forgotten.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::{Mutex, MutexGuard, PoisonError};

use futures_util::future::{join_all, try_join};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use silo_spaces::error::StorageError;
use silo_spaces::page::Page;
use silo_web::snapshot::SourceError;
use tokio::sync::Notify;

use crate::owners::Layout;
use crate::progress::Progress;
use crate::ranges::{Job, Ranges, RemainingRange, SplitResult};
use crate::totals::Totals;

/// Tapes in one request for their owners.
const TAPES: usize = 400;

/// Listing of one bucket.
pub trait List: Sync {
    /// One page of the keys after `after`.
    fn page(&self, after: Option<&str>) -> impl Future<Output = Result<Page, StorageError>> + Send;

    /// Keys at which to split the bucket before listing, in order; may be empty.
    fn split_keys(&self) -> impl Future<Output = Result<Vec<String>, StorageError>> + Send;
}

/// Lookup of the owners of tapes.
pub trait TapeOwners: Sync {
    /// The owners' subs of some tapes, by code; those that have none are left out.
    fn owners(
        &self,
        codes: Vec<String>,
    ) -> impl Future<Output = Result<BTreeMap<String, String>, SourceError>> + Send;
}

/// Checkpoint of a scan, consistent between any two pages, from which an interrupted scan resumes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checkpoint {
    /// Totals so far.
    pub totals: Totals,
    /// Ranges that are not listed yet.
    pub remaining: Vec<RemainingRange>,
}

/// One bucket's scan.
pub struct Scan<'a, L, T> {
    list: &'a L,
    tapes: &'a T,
    layout: Layout,
    progress: &'a Progress,
    state: Mutex<State>,
    changed: Notify,
    /// Held while owners of tapes are looked up: one request at a time.
    owner_lookup: tokio::sync::Mutex<()>,
}

struct State {
    ranges: Ranges,
    totals: Totals,
    error: Option<StorageError>,
    tapes_error: Option<SourceError>,
}

impl<'a, L: List, T: TapeOwners> Scan<'a, L, T> {
    /// A new scan that began at a time, or one resumed from a checkpoint. A new one is begun with [`Scan::begin`].
    pub fn new(
        list: &'a L,
        tapes: &'a T,
        layout: Layout,
        progress: &'a Progress,
        begun: Timestamp,
        from: Option<Checkpoint>,
    ) -> Self {
        let (ranges, totals) = match from {
            Some(checkpoint) => (Ranges::of(checkpoint.remaining), checkpoint.totals),
            None => (Ranges::whole(), Totals::new(begun)),
        };
        Self {
            list,
            tapes,
            layout,
            progress,
            state: Mutex::new(State {
                ranges,
                totals,
                error: None,
                tapes_error: None,
            }),
            changed: Notify::new(),
            owner_lookup: tokio::sync::Mutex::default(),
        }
    }

    /// Begins a new scan: lists the first two pages, which are all of a small bucket, and splits the rest so that every worker has a range from the
    /// start.
    ///
    /// # Errors
    /// When the bucket cannot be listed.
    pub async fn begin(&self) -> Result<(), StorageError> {
        let Job::List { range, after } = self.lock().ranges.job() else {
            return Ok(());
        };
        let page = self.list.page(after.as_deref()).await?;
        if self.count(range, &page) {
            return Ok(());
        }
        let second = self.list.page(page.last());
        let (page, points) = try_join(second, self.list.split_keys()).await?;
        if self.count(range, &page) {
            return Ok(());
        }
        self.ask_for_tapes(TAPES).await;
        self.lock().ranges = Ranges::split_at(page.last(), &points);
        Ok(())
    }

    /// Lists everything with this many workers.
    ///
    /// # Errors
    /// The first error that retries did not resolve. The state until then is in [`Scan::checkpoint`].
    pub async fn run(&self, workers: usize) -> Result<(), StorageError> {
        join_all((0..workers).map(|_| self.work())).await;
        self.ask_for_tapes(1).await;
        match self.lock().error.take() {
            Some(error) => Err(error),
            None => Ok(()),
        }
    }

    /// Checkpoint: totals so far and ranges left.
    pub fn checkpoint(&self) -> Checkpoint {
        let state = self.lock();
        Checkpoint {
            totals: state.totals.clone(),
            remaining: state.ranges.remaining(),
        }
    }

    /// Totals, and the error of looking up owners of tapes, if any.
    pub fn finish(self) -> (Totals, Option<SourceError>) {
        let state = self
            .state
            .into_inner()
            .unwrap_or_else(PoisonError::into_inner);
        (state.totals, state.tapes_error)
    }

    async fn work(&self) {
        loop {
            // Registered before the state is read, so that no change is missed.
            let changed = self.changed.notified();
            let job = {
                let mut state = self.lock();
                if state.error.is_some() {
                    Job::Done
                } else {
                    state.ranges.job()
                }
            };
            let worked = match job {
                Job::Done => {
                    self.changed.notify_waiters();
                    return;
                }
                Job::Wait => {
                    changed.await;
                    Ok(())
                }
                Job::List { range, after } => self.list_range(range, after).await,
                Job::Split { range, midpoint } => self.try_split(range, midpoint).await,
            };
            if let Err(error) = worked {
                self.lock().error.get_or_insert(error);
            }
            self.changed.notify_waiters();
        }
    }

    /// Lists a range page by page to its end.
    async fn list_range(&self, range: u64, mut after: Option<String>) -> Result<(), StorageError> {
        loop {
            let page = self.list.page(after.as_deref()).await?;
            if self.count(range, &page) || self.lock().error.is_some() {
                return Ok(());
            }
            after = page.last().map(str::to_owned);
            self.ask_for_tapes(TAPES).await;
        }
    }

    /// Requests the page after the midpoint of another worker's range. If it has keys, they become a range that this worker lists.
    async fn try_split(&self, range: u64, midpoint: String) -> Result<(), StorageError> {
        let page = self.list.page(Some(&midpoint)).await?;
        let outcome = self
            .lock()
            .ranges
            .finish_split(range, &midpoint, page.first());
        let SplitResult::NewRange(new_range) = outcome else {
            return Ok(());
        };
        self.changed.notify_waiters();
        if self.count(new_range, &page) {
            return Ok(());
        }
        self.list_range(new_range, page.last().map(str::to_owned))
            .await
    }

    /// Adds the objects of a page that belong to a range; `true` if the range is complete. Ranges and totals change under one lock, so that a
    /// checkpoint is consistent.
    fn count(&self, range: u64, page: &Page) -> bool {
        let mut state = self.lock();
        let state = &mut *state;
        let Some(step) = state.ranges.advance(range, page.last(), page.truncated) else {
            return true;
        };
        let mut counted = 0;
        for object in page.objects() {
            if step
                .until
                .as_deref()
                .is_some_and(|until| object.key > until)
            {
                break;
            }
            state.totals.add(self.layout, &object);
            counted += 1;
        }
        self.progress.count(counted);
        self.changed.notify_waiters();
        step.done
    }

    /// Looks up the owners of tapes found so far, when there are at least so many.
    async fn ask_for_tapes(&self, least: usize) {
        if self.lock().totals.tapes.len() < least {
            return;
        }
        let _turn = self.owner_lookup.lock().await;
        loop {
            let codes: Vec<String> = {
                let mut state = self.lock();
                if state.tapes_error.is_some() {
                    let all = state.totals.tapes.len();
                    state.totals.attribute(all, |_| None);
                }
                let met = state.totals.tapes.iter().take(TAPES);
                met.map(|tape| tape.code.clone()).collect()
            };
            if codes.len() < least {
                return;
            }
            let count = codes.len();
            match self.tapes.owners(codes).await {
                Ok(owners) => self
                    .lock()
                    .totals
                    .attribute(count, |code| owners.get(code).cloned()),
                Err(error) => self.lock().tapes_error = Some(error),
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
