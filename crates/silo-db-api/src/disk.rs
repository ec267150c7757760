//! Free disk of the server, and when it will be full.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use silo_core::units::{double, now, round, share};
use silo_web::snapshot::{Measured, SourceError};
use utoipa::ToSchema;

use crate::gateway::{FileSystem, Gateway, source_error};

/// Pause between two kept samples.
const SAMPLE_EVERY: Duration = Duration::from_secs(3600);
/// Samples kept: a week.
const MAX_SAMPLES: usize = 7 * 24;
/// Growth is told from this much time on: within a day, backups and compaction come and go.
const MIN_SPAN: Duration = Duration::from_secs(24 * 3600);

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
    /// Growth of the used size during the last week; `null` until this service has watched for a day.
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

/// Watcher of the disk, which remembers its use.
#[derive(Clone)]
pub struct Watcher {
    gateway: Gateway,
    samples: Arc<Mutex<VecDeque<Sample>>>,
}

#[derive(Clone, Copy)]
struct Sample {
    at: Instant,
    used: u64,
}

impl Watcher {
    /// A watcher that has not looked yet.
    #[must_use]
    pub fn new(gateway: Gateway) -> Self {
        Self {
            gateway,
            samples: Arc::default(),
        }
    }

    /// Looks once.
    pub async fn measure(self) -> Result<Measured<Disk>, SourceError> {
        let disk = self.gateway.file_system().await;
        let disk = disk.map_err(|error| source_error("dbStats", error))?;
        let mut samples = self.samples.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(describe(&mut samples, disk, Instant::now()).into())
    }
}

fn describe(samples: &mut VecDeque<Sample>, disk: FileSystem, at: Instant) -> Disk {
    let due = |last: &Sample| at.duration_since(last.at) >= SAMPLE_EVERY;
    if samples.back().is_none_or(due) {
        let used = disk.used;
        samples.push_back(Sample { at, used });
        while samples.len() > MAX_SAMPLES {
            samples.pop_front();
        }
    }
    let free = disk.total.saturating_sub(disk.used);
    let growth = samples
        .front()
        .and_then(|first| growth(first, disk.used, at));
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

fn growth(first: &Sample, used: u64, at: Instant) -> Option<DiskGrowth> {
    let span = at.duration_since(first.at);
    let days = span.as_secs_f64() / 86_400.0;
    let since = now()
        .checked_sub(SignedDuration::try_from(span).ok()?)
        .ok()?;
    (span >= MIN_SPAN).then(|| DiskGrowth {
        since,
        bytes_per_day: round((double(used) - double(first.used)) / days, 0),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_until_full_need_a_day_of_growth() {
        let mut samples = VecDeque::new();
        let start = Instant::now();
        let hours = |hours: u64| start + Duration::from_secs(3600 * hours);
        let disk = |used| FileSystem { used, total: 1000 };
        let at = |samples: &mut _, hour, used| describe(samples, disk(used), hours(hour));
        let first = at(&mut samples, 0, 400);
        assert_eq!((first.free_bytes, first.used_share), (600, Some(0.4)));
        assert_eq!(first.growth, None);
        assert_eq!(at(&mut samples, 23, 440).days_until_full, None);
        let later = at(&mut samples, 48, 500);
        assert_eq!(later.growth.unwrap().bytes_per_day, 50.0);
        assert_eq!(later.days_until_full, Some(10.0));
        assert_eq!(at(&mut samples, 49, 300).days_until_full, None, "it shrank");
    }

    #[test]
    fn samples_are_an_hour_apart_and_bounded() {
        let mut samples = VecDeque::new();
        let start = Instant::now();
        for minutes in 0..60 * 24 * 9 {
            let disk = FileSystem { used: 1, total: 2 };
            describe(
                &mut samples,
                disk,
                start + Duration::from_secs(60 * minutes),
            );
        }
        assert_eq!(samples.len(), MAX_SAMPLES);
    }
}
