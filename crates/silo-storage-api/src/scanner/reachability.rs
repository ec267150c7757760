//! Checks between scans whether storage can be reached: a scan is hours apart, and retries for a long time before it gives up.

use std::time::Duration;

use futures_util::future::join_all;
use log::{info, warn};
use silo_spaces::error::StorageError;
use silo_web::snapshot::{Source, SourceError};

use super::Scanner;

/// Pause between two checks.
const CHECK_EVERY: Duration = Duration::from_secs(5);
/// Pause between two checks while storage cannot be reached.
const RECHECK_EVERY: Duration = Duration::from_secs(1);
/// Time limit of a check.
const CHECK_LIMIT: Duration = Duration::from_secs(3);
/// Failed checks in a row after which storage is reported as unreachable.
const MIN_FAILURES: u32 = 3;

impl Scanner {
    /// Checks for ever. Pages of a running scan are proof enough.
    pub(super) async fn watch_reachability(&self) {
        let (mut pages, mut failures) = (self.progress.pages(), 0);
        // Number of results so far when storage went away, if the last of them was good: then it is good again afterwards.
        let mut good = None;
        loop {
            let before = pages;
            pages = self.progress.pages();
            let outcome = if pages == before {
                self.check().await
            } else {
                Ok(())
            };
            match outcome {
                Ok(()) => {
                    if failures >= MIN_FAILURES {
                        info!("storage can be reached again");
                        self.storage_is_back(good.take());
                    }
                    failures = 0;
                }
                Err(error) => {
                    failures += 1;
                    if failures == MIN_FAILURES {
                        warn!(code = error.kind.code(); "storage cannot be reached: {error}");
                        let is_good =
                            self.storage.failure().is_none() && self.storage.current().is_ok();
                        let error = SourceError::new("storage", error.kind.code(), error.detail);
                        self.storage.publish(Err(error), CHECK_LIMIT);
                        good = is_good.then(|| self.storage.attempts());
                    }
                }
            }
            let failing = failures > 0;
            tokio::time::sleep(if failing { RECHECK_EVERY } else { CHECK_EVERY }).await;
        }
    }

    /// An error if none of the endpoints answers.
    async fn check(&self) -> Result<(), StorageError> {
        let checks = self
            .endpoints
            .iter()
            .map(|client| client.spaces.reach(&client.name, CHECK_LIMIT));
        let outcomes = join_all(checks).await;
        let some_answer = outcomes.iter().any(Result::is_ok);
        let error = outcomes.into_iter().find_map(Result::err);
        error.filter(|_| !some_answer).map_or(Ok(()), Err)
    }

    /// `good` is the number of results when the last one was good.
    fn storage_is_back(&self, good: Option<u64>) {
        if good == Some(self.storage.attempts()) && !self.progress.is_scanning() {
            self.storage.withdraw_failure();
        }
        self.back.notify_one();
    }
}
