//! Waiting for a condition instead of sleeping.

use std::future::Future;
use std::time::{Duration, Instant};

/// Asks again and again until `check` gives a value, for at most `limit`; `None` when it never did.
pub async fn wait_for<T, Fut: Future<Output = Option<T>>>(
    limit: Duration,
    mut check: impl FnMut() -> Fut,
) -> Option<T> {
    let end = Instant::now() + limit;
    loop {
        if let Some(value) = check().await {
            return Some(value);
        }
        if Instant::now() >= end {
            return None;
        }
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
}
