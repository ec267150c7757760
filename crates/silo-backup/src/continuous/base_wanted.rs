//! Request for a backup at which a chain can begin.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

/// Time after which a backup is asked for again: if the last one was no base, the next one probably is none either, and every night makes one.
const ASK_AGAIN: Duration = Duration::from_secs(24 * 3600);

/// Time for a backup that is being made to be found as a base.
const SETTLES: Duration = Duration::from_secs(5);

/// A request that the scheduler takes.
#[derive(Default)]
pub struct BaseWanted {
    asked: AtomicBool,
    /// Since no chain has begun after it.
    last: Mutex<Option<Instant>>,
    notify: Notify,
}

impl BaseWanted {
    /// Asks for a backup, unless that was done and no chain has begun since.
    pub fn ask(&self) {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if last.is_none_or(|last| last.elapsed() >= ASK_AGAIN) {
            *last = Some(Instant::now());
            self.put_back();
        }
    }

    /// Notes that a chain has begun: nothing is asked for any more, and the next request is another one.
    pub fn begun(&self) {
        self.asked.store(false, Ordering::SeqCst);
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Time since the last request, if no chain has begun since.
    #[must_use]
    pub fn waiting(&self) -> Option<Duration> {
        let last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        last.map(|last| last.elapsed())
    }

    /// Puts a request back that could not be fulfilled now.
    pub fn put_back(&self) {
        self.asked.store(true, Ordering::SeqCst);
        self.notify.notify_one();
    }

    /// `true` if a backup is wanted, and has been for some seconds.
    #[must_use]
    pub fn is_asked(&self) -> bool {
        let settled = self.waiting().is_some_and(|waiting| waiting >= SETTLES);
        settled && self.asked.load(Ordering::SeqCst)
    }

    /// Takes the request, because a backup is about to be made; `false` if there is none.
    #[must_use]
    pub fn take(&self) -> bool {
        self.asked.swap(false, Ordering::SeqCst)
    }

    /// Waits for a request, and until it has settled.
    pub async fn wait(&self) {
        self.notify.notified().await;
        tokio::time::sleep(SETTLES).await;
    }
}
