//! silo-storage-api: contents of aesthetic.computer's Spaces buckets, their owners and growth.
//!
//! `routes` are the HTTP API and answer from `storage`, computed from the last `scan_results`. The `scanner` scans the buckets in the background: the
//! workers of a `scan` share its `ranges`; objects are attributed to `owners` and added to `totals`. `store` saves the results on disk. `gateway` has
//! the requests to Spaces and to silo-db-api.

pub mod routes;
pub mod scan_results;

pub mod storage;

pub mod history;
pub mod scanner;

pub mod owners;
pub mod progress;
pub mod ranges;
pub mod scan;
pub mod totals;

pub mod gateway;
pub mod metrics;
pub mod store;

pub mod settings;
pub mod state;

use std::net::TcpListener;
use std::sync::Arc;

use actix_web::web::Data;
use silo_web::openapi::Description;
use silo_web::server::{Running, serve};
use silo_web::service::Service;
use silo_web::snapshot::{Source, SourceError};
use utoipa::OpenApi;

use crate::metrics::ScanMetrics;
use crate::settings::Settings;
use crate::state::State;

/// The name of this service: its process, its log lines.
pub const NAME: &str = "silo-storage-api";

/// Starts the service on a listener: scanning in the background, answering at once. Storage need not be there.
///
/// # Errors
/// When the folder of the scan results cannot be used or the listener fails.
pub async fn start(listener: TcpListener, settings: &Settings) -> std::io::Result<Running> {
    let state = State::new(settings)?;
    state.start();
    let ready = state.clone();
    let service = Service::new(NAME, settings.process.build.clone())
        .measures(state.sources())
        .needs("storage", move || check(ready.clone()));
    let metrics = ScanMetrics {
        progress: Arc::clone(&state.progress),
        traffic: state.traffic.clone(),
        storage: Arc::clone(&state.storage),
    };
    service
        .metrics
        .register(|registry| registry.register_collector(Box::new(metrics)));
    let description = Description(routes::openapi::Api::openapi);
    serve(listener, service, move |config| {
        config.app_data(Data::new(description));
        routes::routes(config, state.clone());
    })
}

/// Readiness check: the last attempt to list storage succeeded, or there was none yet.
async fn check(state: State) -> Result<(), SourceError> {
    match state.storage.failure() {
        Some(failure) if failure.code != "restored" => Err(failure),
        _ => Ok(()),
    }
}
