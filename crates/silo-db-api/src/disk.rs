//! Free disk of the server, and when it will be full.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use silo_core::units::{double, now, round, share};
use silo_web::snapshot::{Measured, SourceError};
use utoipa::ToSchema;

use crate::gateway::{FileSystem, Gateway, source_error};
use crate::history::History;

/// Growth is reported from this much time on: within a day, backups and compaction come and go.
const MIN_SPAN: SignedDuration = SignedDuration::from_hours(24);

/// The file system that holds mongod's data.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Disk {
    /// Size in bytes.
    pub total_bytes: u64,
    /// Used size in bytes, by everything on it.
    pub used_bytes: u64,
    /// Free size in bytes.
    pub free_bytes: u64,
    /// Used share, 0 to 1.
    pub used_share: Option<f64>,
    /// Growth of the used size during the last week; `null` while the history is shorter than a day.
    pub growth: Option<DiskGrowth>,
    /// Days until it is full if it goes on growing like that; `null` when it does not grow, or growth is unknown.
    pub days_until_full: Option<f64>,
}

/// Growth of the used size.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct DiskGrowth {
    /// Start of the time it is computed from.
    #[schema(value_type = String, format = DateTime)]
    pub since: Timestamp,
    /// Bytes a day; negative when it shrinks.
    pub bytes_per_day: f64,
}

/// Watcher of the disk, which compares its use with the history.
#[derive(Clone)]
pub struct Watcher {
    gateway: Gateway,
    history: Arc<History>,
}

impl Watcher {
    /// A watcher that has not looked yet.
    #[must_use]
    pub fn new(gateway: Gateway, history: Arc<History>) -> Self {
        Self { gateway, history }
    }

    /// Looks once.
    pub async fn measure(self) -> Result<Measured<Disk>, SourceError> {
        let disk = self.gateway.file_system().await;
        let disk = disk.map_err(|error| source_error("dbStats", error))?;
        let now = now();
        let mut errors = Vec::new();
        let before = self.history.disk_a_week_ago(now).unwrap_or_else(|error| {
            log::error!("the history cannot be read: {error}");
            let detail = "the history on disk cannot be read, so growth is not known";
            errors.push(SourceError::new("history", "history_unreadable", detail));
            None
        });
        let value = describe(disk, before, now);
        Ok(Measured { value, errors })
    }
}

/// `before` is the time and the used size of an earlier sample.
fn describe(disk: FileSystem, before: Option<(Timestamp, u64)>, now: Timestamp) -> Disk {
    let free = disk.total.saturating_sub(disk.used);
    let growth = before.and_then(|(since, used)| {
        let span = now.duration_since(since);
        let days = span.as_secs_f64() / 86_400.0;
        (span >= MIN_SPAN).then(|| DiskGrowth {
            since,
            bytes_per_day: round((double(disk.used) - double(used)) / days, 0),
        })
    });
    let daily = growth.as_ref().map(|growth| growth.bytes_per_day);
    Disk {
        total_bytes: disk.total,
        used_bytes: disk.used,
        free_bytes: free,
        used_share: share(disk.used, disk.total),
        days_until_full: daily
            .filter(|daily| *daily > 0.0)
            .map(|daily| round(double(free) / daily, 1)),
        growth,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_until_full_need_a_day_of_growth() {
        let now = Timestamp::from_second(1_000_000_000).unwrap();
        let at = |hours_ago, before, used| {
            let since = now - SignedDuration::from_hours(hours_ago);
            describe(FileSystem { used, total: 1000 }, Some((since, before)), now)
        };
        let first = describe(
            FileSystem {
                used: 400,
                total: 1000,
            },
            None,
            now,
        );
        assert_eq!((first.free_bytes, first.used_share), (600, Some(0.4)));
        assert_eq!(first.growth, None);
        assert_eq!(at(23, 400, 440).days_until_full, None);
        let later = at(48, 400, 500);
        assert_eq!(later.growth.unwrap().bytes_per_day, 50.0);
        assert_eq!(later.days_until_full, Some(10.0));
        assert_eq!(at(49, 400, 300).days_until_full, None, "it shrank");
    }
}
