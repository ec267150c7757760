//! silo-services-probe: health of aesthetic.computer's services, and an overview of everything in one answer.
//!
//! `routes` are the HTTP API. The `prober` starts a `check` when a `probe` is due; the service's kind (`kinds`) evaluates the answer; the
//! `status_store` records the result, determines the `status`, keeps `history` and broadcasts `changes`. `alarms` are sent about what stays wrong. `overview` gathers figures from the other
//! services. `atproto_network` refreshes slow facts. `gateway` has the outgoing connections.

pub mod routes;

pub mod alarms;
pub mod badge;
pub mod overview;
pub mod services;
pub mod status_page;

pub mod changes;
pub mod check;
pub mod history;
pub mod kinds;
pub mod prober;
pub mod status_store;

pub mod failure;
pub mod probe;
pub mod status;
pub mod warning;

pub mod atproto_network;
pub mod gateway;
pub mod metrics;

pub mod settings;
pub mod state;

use std::net::TcpListener;

use actix_web::web::Data;
use silo_web::openapi::Description;
use silo_web::server::{Running, serve};
use silo_web::service::Service;
use utoipa::OpenApi;

use crate::metrics::ProbeMetrics;
use crate::settings::Settings;
use crate::state::State;

/// The name of this service: its process, its log lines.
pub const NAME: &str = "silo-services-probe";

/// Starts the service on a listener: probes in the background, answers at once, and is ready whatever the probed services' status.
///
/// # Errors
/// When the folder for results cannot be used or the listener fails.
pub async fn start(listener: TcpListener, settings: &Settings) -> std::io::Result<Running> {
    let state = State::new(settings)?;
    state.start();
    let service = Service::new(NAME, settings.process.build.clone()).measures(state.sources());
    let metrics = ProbeMetrics {
        services: state.store.services.clone(),
        alarms: state.alarms.view.clone(),
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
