//! Metrics of probes, for `/metrics`.

use std::fmt::Error;
use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Unit;
use silo_core::units::{double, round};
use silo_web::snapshot::Snapshot;

use crate::alarms::AlarmsView;
use crate::services::{ServiceView, Services};
use crate::status::Status;

/// Collector that reads the last results on every scrape.
#[derive(Clone)]
pub struct ProbeMetrics {
    /// Status of all services.
    pub services: Arc<Snapshot<Services>>,
    /// Open alarms.
    pub alarms: Arc<Snapshot<AlarmsView>>,
}

impl std::fmt::Debug for ProbeMetrics {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ProbeMetrics").finish_non_exhaustive()
    }
}

/// Value of a metric for a service; `None` if it has none.
type Value = fn(&ServiceView) -> Option<f64>;

/// Name, help, unit, and how it is read.
const GAUGES: [(&str, &str, Option<Unit>, Value); 3] = [
    (
        "probe_up",
        "1 when the service answers as it should, 0.5 when degraded, 0 when down",
        None,
        up,
    ),
    (
        "probe_response",
        "how long the last check took",
        Some(Unit::Seconds),
        response,
    ),
    (
        "probe_certificate_days",
        "days until the certificate expires",
        None,
        certificate,
    ),
];

fn up(service: &ServiceView) -> Option<f64> {
    match service.status {
        Status::Up => Some(1.0),
        Status::Degraded => Some(0.5),
        Status::Down => Some(0.0),
        Status::Unknown => None,
    }
}

fn response(service: &ServiceView) -> Option<f64> {
    service.response_ms.map(|ms| round(double(ms) / 1000.0, 3))
}

fn certificate(service: &ServiceView) -> Option<f64> {
    let days = service.certificate_days?;
    i32::try_from(days).ok().map(f64::from)
}

impl Collector for ProbeMetrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), Error> {
        if let Ok(alarms) = self.alarms.current() {
            let open = alarms.value.alarms.len();
            let failed = alarms.value.failed_delivery.is_some();
            for (name, help, value) in [
                (
                    "alarms_open",
                    "open alarms",
                    i64::try_from(open).unwrap_or(i64::MAX),
                ),
                (
                    "alert_delivery_failed",
                    "1 while the last alarm could not be delivered",
                    i64::from(failed),
                ),
            ] {
                let gauge = ConstGauge::new(value);
                gauge.encode(encoder.encode_descriptor(
                    name,
                    help,
                    None,
                    gauge.metric_type(),
                )?)?;
            }
        }
        let Ok(reading) = self.services.current() else {
            return Ok(());
        };
        for (name, help, unit, value) in &GAUGES {
            let first = ConstGauge::new(0.0);
            let mut metric =
                encoder.encode_descriptor(name, help, unit.as_ref(), first.metric_type())?;
            for service in &reading.value.services {
                let labels = [("service", service.name.as_str())];
                if let Some(value) = value(service) {
                    ConstGauge::new(value).encode(metric.encode_family(&labels)?)?;
                }
            }
        }
        Ok(())
    }
}
