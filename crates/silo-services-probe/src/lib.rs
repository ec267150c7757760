//! silo-services-probe: whether aesthetic.computer's services are well, and everything a visitor asks first in one call.
//!
//! `routes` take requests and give answers. The `prober` decides when each `probe` is due; a `check` asks it and lets its kind
//! (`kinds`) judge the answer; the `board` takes what came of it, decides how the service stands (`standing`), keeps `history` and
//! tells `changes`. `overview` gathers a few figures of each sibling. `network` finds out what takes longer. `gateway` has the ways
//! out.

pub mod routes;

pub mod badge;
pub mod overview;
pub mod services;

pub mod board;
pub mod changes;
pub mod check;
pub mod history;
pub mod kinds;
pub mod network;
pub mod prober;
pub mod standing;

pub mod failure;
pub mod gateway;
pub mod metrics;
pub mod probe;

pub mod settings;
pub mod state;
pub mod status;

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

/// Starts the service on a listener: probing in the background, answering at once. Nothing that it probes need be there, and it is
/// ready without any of it.
///
/// # Errors
/// When the folder for results cannot be used or the listener fails.
pub async fn start(listener: TcpListener, settings: &Settings) -> std::io::Result<Running> {
    let state = State::new(settings)?;
    state.start();
    let service = Service::new(NAME, settings.process.build.clone()).measures(state.sources());
    let metrics = ProbeMetrics(state.board.services.clone());
    service
        .metrics
        .register(|registry| registry.register_collector(Box::new(metrics)));
    let description = Description::new(&routes::openapi::Api::openapi())?;
    serve(listener, service, move |config| {
        config.app_data(Data::new(description.clone()));
        routes::routes(config, state.clone());
    })
}
