//! silo-backup: nightly backups that are proven to restore.
//!
//! `cli` is the command line, `routes` the HTTP API. `schedule` runs jobs, started by the schedule or an operator. A `run` holds a lease; `dump`
//! reads the database into an `archive`, which is stored in each `repository`, read back by `verification`, and compared with expectations; its
//! manifest is written last. A drill restores it into a scratch database. `restore` restores it for use, swaps it with the live database, and erases
//! accounts deleted since. `continuous` stores the server's `oplog` beside the backups, to restore any moment. `retention` prunes expired backups.
//! `status` measures all of this, and `alerts` notify the operator.

pub mod cli;
pub mod routes;

pub mod run;
pub mod schedule;
pub mod status;

pub mod restore;
pub mod retention;
pub mod verification;

pub mod archive;
pub mod continuous;
pub mod dump;
pub mod oplog;
pub mod repository;

pub mod catalog;
pub mod operations;

pub mod alerts;
pub mod audit;
pub mod clock;
pub mod context;
pub mod error;
pub mod metrics;
pub mod settings;
pub mod state;

use std::net::TcpListener;
use std::sync::Arc;

use actix_web::web::Data;
use silo_web::openapi::Description;
use silo_web::server::{Running, serve};
use silo_web::service::Service;
use silo_web::snapshot::SourceError;
use utoipa::OpenApi;

use crate::context::Context;
use crate::continuous::Continuous;
use crate::metrics::BackupMetrics;
pub use crate::settings::NAME;
use crate::state::State;

/// Starts the service on a listener. Answers requests at once and reads the buckets in the background; neither the database nor the storage has to be
/// available.
///
/// # Errors
/// When the listener fails.
pub fn start(listener: TcpListener, context: Context) -> std::io::Result<(Running, State)> {
    let continuous = match context.settings.policy.moments {
        0 => None,
        _ => Some(Continuous::start(&context)),
    };
    let (state, work) = State::new(context, continuous);
    state.start(work);
    let ready = state.clone();
    let service = Service::new(NAME, state.context.settings.process.build.clone())
        .measures(state.sources())
        .needs("storage", move || check(ready.clone()));
    let metrics = BackupMetrics {
        status: Arc::clone(&state.status),
        continuous: state
            .continuous
            .as_ref()
            .map(|(_, status)| Arc::clone(status)),
        jobs: state.jobs.clone(),
        traffic: state.context.traffic.clone(),
    };
    service
        .metrics
        .register(|registry| registry.register_collector(Box::new(metrics)));
    let description = Description(routes::openapi::Api::openapi);
    let route_state = state.clone();
    let running = serve(listener, service, move |config| {
        config.app_data(Data::new(description));
        routes::routes(config, route_state.clone());
    })?;
    Ok((running, state))
}

/// Readiness check: the last attempt to list the buckets succeeded.
async fn check(state: State) -> Result<(), SourceError> {
    state.status.wait_for_first().await.map(drop)
}
