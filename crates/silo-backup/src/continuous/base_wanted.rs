//! Request for a backup at which a chain can begin.

use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::Notify;

/// A request that the scheduler takes.
#[derive(Default)]
pub struct BaseWanted {
    asked: AtomicBool,
    notify: Notify,
}

impl BaseWanted {
    /// Asks for a backup.
    pub fn ask(&self) {
        self.asked.store(true, Ordering::SeqCst);
        self.notify.notify_one();
    }

    /// `true` if a backup is wanted.
    #[must_use]
    pub fn is_asked(&self) -> bool {
        self.asked.load(Ordering::SeqCst)
    }

    /// Takes the request, because a backup is about to be made.
    pub fn take(&self) {
        self.asked.store(false, Ordering::SeqCst);
    }

    /// Waits for a request.
    pub async fn wait(&self) {
        self.notify.notified().await;
    }
}
