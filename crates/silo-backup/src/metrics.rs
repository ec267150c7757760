//! Metrics of backups, for `/metrics`.

use std::fmt::Error;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use silo_spaces::Traffic;
use silo_web::snapshot::Snapshot;

use crate::continuous::status::ContinuousStatus;
use crate::schedule::job_runner::JobRunner;
use crate::status::BackupStatus;

/// Collector that reads the values on every scrape.
pub struct BackupMetrics {
    /// Status of backups.
    pub status: Arc<Snapshot<BackupStatus>>,
    /// Status of continuous backup, if it is on.
    pub continuous: Option<Arc<Snapshot<ContinuousStatus>>>,
    /// Jobs.
    pub jobs: JobRunner,
    /// Request counters of each destination.
    pub traffic: Vec<Arc<Traffic>>,
}

impl std::fmt::Debug for BackupMetrics {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("BackupMetrics")
    }
}

impl Collector for BackupMetrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), Error> {
        let mut gauge = |name: &str, help: &str, value: i64| {
            let gauge = ConstGauge::new(value);
            gauge.encode(encoder.encode_descriptor(name, help, None, gauge.metric_type())?)
        };
        gauge(
            "backup_running",
            "1 while a backup or drill is running",
            i64::from(self.jobs.running().is_some()),
        )?;
        if let Ok(reading) = self.status.current() {
            let status = &reading.value;
            if let Some(good) = &status.last_good {
                gauge(
                    "backup_last_good_timestamp_seconds",
                    "time of the data in the newest good backup",
                    good.as_of.as_second(),
                )?;
                gauge(
                    "backup_last_good_bytes",
                    "stored size of the newest good backup in bytes",
                    i64::try_from(good.bytes).unwrap_or(i64::MAX),
                )?;
                gauge(
                    "backup_last_good_documents",
                    "documents in the newest good backup",
                    i64::try_from(good.documents).unwrap_or(i64::MAX),
                )?;
            }
            if let Some(drill) = status.last_drill.as_ref().filter(|drill| drill.good) {
                gauge(
                    "backup_last_drill_timestamp_seconds",
                    "time of the last drill",
                    drill.at.as_second(),
                )?;
            }
            gauge(
                "backup_overdue",
                "1 while the newest good backup is too old",
                i64::from(status.overdue),
            )?;
            gauge(
                "backup_problems",
                "number of missing or modified backups",
                i64::try_from(status.problems.len()).unwrap_or(i64::MAX),
            )?;
        }
        if let Some(Ok(reading)) = self.continuous.as_ref().map(|status| status.current()) {
            let status = &reading.value;
            if let Some(seconds) = status.unsafe_seconds {
                gauge(
                    "backup_oplog_unsafe_seconds",
                    "age of the oldest change that no destination has; 0 if all are stored",
                    i64::try_from(seconds).unwrap_or(i64::MAX),
                )?;
            }
            gauge(
                "backup_oplog_spool_bytes",
                "slices of the oplog on this machine's disk in bytes",
                i64::try_from(status.spool_bytes).unwrap_or(i64::MAX),
            )?;
        }
        let requests = self
            .traffic
            .iter()
            .map(|traffic| traffic.requests.load(Ordering::Relaxed))
            .sum::<u64>();
        let counter = ConstCounter::new(requests);
        counter.encode(encoder.encode_descriptor(
            "backup_storage_requests",
            "requests sent to storage, including retries",
            None,
            counter.metric_type(),
        )?)
    }
}
