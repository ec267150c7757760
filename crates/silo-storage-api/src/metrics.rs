//! Metrics of scans, for `/metrics`.

use std::fmt::{Debug, Error, Formatter};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use silo_spaces::Traffic;
use silo_web::snapshot::Snapshot;

use crate::progress::Progress;
use crate::storage::{BucketView, Storage};

/// Collector that reads the counters on every scrape. The age of the result is among the metrics that all services have.
pub struct ScanMetrics {
    /// Progress of the scan.
    pub progress: Arc<Progress>,
    /// Request counters of each endpoint.
    pub traffic: Vec<Arc<Traffic>>,
    /// Result of the last scan.
    pub storage: Arc<Snapshot<Storage>>,
}

impl Debug for ScanMetrics {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ScanMetrics").finish_non_exhaustive()
    }
}

/// Name, help, and how it is read from a bucket.
type OfBucket = (&'static str, &'static str, fn(&BucketView) -> Option<u64>);

const OF_BUCKETS: [OfBucket; 3] = [
    ("bucket_objects", "objects of a bucket", |it| it.objects),
    ("bucket_bytes", "bytes of the objects of a bucket", |it| {
        it.bytes
    }),
    (
        "bucket_unfinished_uploads",
        "unfinished uploads to a bucket",
        |it| Some(it.unfinished_uploads.as_ref()?.uploads),
    ),
];

impl Collector for ScanMetrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), Error> {
        let sum = |count: fn(&Traffic) -> &std::sync::atomic::AtomicU64| -> u64 {
            self.traffic
                .iter()
                .map(|traffic| count(traffic).load(Ordering::Relaxed))
                .sum()
        };
        for (name, help, value) in [
            (
                "storage_requests",
                "requests sent to storage, including retries",
                sum(|traffic| &traffic.requests),
            ),
            (
                "storage_throttles",
                "times that storage asked to slow down",
                sum(|traffic| &traffic.throttles),
            ),
            (
                "storage_failures",
                "requests that failed otherwise and could be repeated",
                sum(|traffic| &traffic.failures),
            ),
            (
                "storage_pages",
                "pages of listings counted",
                self.progress.pages(),
            ),
        ] {
            let counter = ConstCounter::new(value);
            counter.encode(encoder.encode_descriptor(
                name,
                help,
                None,
                counter.metric_type(),
            )?)?;
        }
        let state = self.progress.state();
        let rate = i64::try_from(state.objects_per_second.unwrap_or(0)).unwrap_or(i64::MAX);
        for (name, help, value) in [
            (
                "storage_scanning",
                "1 while a scan runs",
                i64::from(state.scanning),
            ),
            (
                "storage_objects_per_second",
                "objects counted a second by the scan that runs",
                rate,
            ),
        ] {
            let gauge = ConstGauge::new(value);
            gauge.encode(encoder.encode_descriptor(name, help, None, gauge.metric_type())?)?;
        }
        let Ok(reading) = self.storage.current() else {
            return Ok(());
        };
        for (name, help, read) in OF_BUCKETS {
            let kind = ConstGauge::new(0_i64);
            let mut family = encoder.encode_descriptor(name, help, None, kind.metric_type())?;
            for bucket in &reading.value.buckets {
                let Some(value) = read(bucket) else { continue };
                let gauge = ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX));
                gauge.encode(family.encode_family(&[("bucket", bucket.name.as_str())])?)?;
            }
        }
        Ok(())
    }
}
