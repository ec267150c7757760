//! Metrics of scans, for `/metrics`.

use std::fmt::Error;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use silo_spaces::Traffic;

use crate::progress::Progress;

/// Collector that reads the counters on every scrape. The age of the result is among the metrics that all services have.
#[derive(Debug)]
pub struct ScanMetrics {
    /// Progress of the scan.
    pub progress: Arc<Progress>,
    /// Request counters of each endpoint.
    pub traffic: Vec<Arc<Traffic>>,
}

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
        Ok(())
    }
}
