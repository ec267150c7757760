//! Metrics of every service in Prometheus' text format, at `/metrics`.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue, LabelValueEncoder};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};
use silo_core::build::Build;

use crate::snapshot::Source;

/// Metrics of one service. A service registers its own in `Registry`.
pub struct Metrics {
    registry: std::sync::Mutex<Registry>,
    requests: Family<RequestLabels, Counter>,
    durations: Family<RouteLabel, Histogram>,
    source_age: Family<SourceLabel, Gauge<f64, AtomicU64>>,
    source_up: Family<SourceLabel, Gauge>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    route: Route,
    status: u16,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RouteLabel {
    route: Route,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct SourceLabel {
    source: &'static str,
}

/// A route's pattern, never a raw path: the number of series stays bounded.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Route(String);

impl EncodeLabelValue for Route {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> std::fmt::Result {
        self.0.as_str().encode(encoder)
    }
}

impl Metrics {
    /// Shared metrics of a service, with `silo_build_info` set.
    #[must_use]
    pub fn new(service: &'static str, build: &Build) -> Self {
        let mut registry = Registry::with_prefix("silo");
        let info = vec![
            ("service", service.to_owned()),
            ("version", build.version.to_owned()),
            ("sha", build.sha.clone().unwrap_or_default()),
        ];
        registry.register("build", "version of the service", Info::new(info));
        let requests = Family::default();
        registry.register(
            "http_requests",
            "answers by route pattern and status",
            requests.clone(),
        );
        let durations = Family::new_with_constructor(request_histogram as fn() -> Histogram);
        registry.register_with_unit(
            "http_request_duration",
            "time from request to answer",
            Unit::Seconds,
            durations.clone(),
        );
        let source_age = Family::default();
        registry.register_with_unit(
            "source_age",
            "age of the last good measurement",
            Unit::Seconds,
            source_age.clone(),
        );
        let source_up = Family::default();
        registry.register(
            "source_up",
            "1 when the last measurement succeeded",
            source_up.clone(),
        );
        Self {
            registry: registry.into(),
            requests,
            durations,
            source_age,
            source_up,
        }
    }

    /// Adds a service's own metrics.
    pub fn register(&self, add: impl FnOnce(&mut Registry)) {
        if let Ok(mut registry) = self.registry.lock() {
            add(&mut registry);
        }
    }

    pub(crate) fn note_request(&self, route: &str, status: u16, elapsed: Duration) {
        let route = Route(route.to_owned());
        self.durations
            .get_or_create(&RouteLabel {
                route: route.clone(),
            })
            .observe(elapsed.as_secs_f64());
        self.requests
            .get_or_create(&RequestLabels { route, status })
            .inc();
    }

    /// All metrics in OpenMetrics text. Sets the gauges of each source first: age of its last good value, and 1 if its last measurement succeeded.
    /// `None` if encoding fails.
    pub(crate) fn text(&self, sources: &[Arc<dyn Source>]) -> Option<String> {
        for source in sources {
            let label = SourceLabel {
                source: source.name(),
            };
            let age = source.age();
            if let Some(age) = age {
                self.source_age.get_or_create(&label).set(age.as_secs_f64());
            }
            let up = age.is_some() && source.failure().is_none();
            self.source_up.get_or_create(&label).set(i64::from(up));
        }
        let mut text = String::new();
        encode(&mut text, &*self.registry.lock().ok()?).ok()?;
        Some(text)
    }
}

fn request_histogram() -> Histogram {
    Histogram::new([0.001, 0.005, 0.025, 0.1, 0.5, 2.5])
}
