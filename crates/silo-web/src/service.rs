//! Name, build, sources and metrics of a service, as the shared routes need them.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use silo_core::build::Build;

use crate::metrics::Metrics;
use crate::snapshot::{Source, SourceError};

/// Asks one outside system whether it answers.
pub type ReadyCheck =
    Arc<dyn Fn() -> Pin<Box<dyn Future<Output = Result<(), SourceError>> + Send>> + Send + Sync>;

/// A service: name, version, sources, readiness checks and metrics.
#[derive(Clone)]
pub struct Service {
    /// The name, as in the process list: `silo-db-api`.
    pub name: &'static str,
    /// Version and commit.
    pub build: Build,
    /// The outside systems it needs, by name.
    pub checks: Vec<(&'static str, ReadyCheck)>,
    /// Subjects that are measured in the background, for `/metrics`.
    pub sources: Vec<Arc<dyn Source>>,
    /// Counters of requests.
    pub metrics: Arc<Metrics>,
}

impl Service {
    /// A service without dependencies; add them with [`Service::needs`].
    #[must_use]
    pub fn new(name: &'static str, build: Build) -> Self {
        let metrics = Arc::new(Metrics::new(name, &build));
        Self {
            name,
            build,
            checks: Vec::new(),
            sources: Vec::new(),
            metrics,
        }
    }

    /// Adds subjects to the metrics.
    #[must_use]
    pub fn measures(mut self, sources: Vec<Arc<dyn Source>>) -> Self {
        self.sources = sources;
        self
    }

    /// Adds a readiness check.
    #[must_use]
    pub fn needs<F, Fut>(mut self, name: &'static str, check: F) -> Self
    where
        F: Fn() -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<(), SourceError>> + Send + 'static,
    {
        self.checks
            .push((name, Arc::new(move || Box::pin(check()))));
        self
    }
}
