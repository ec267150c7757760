//! silo-db-api: contents of aesthetic.computer's database, and state of mongod.
//!
//! `routes` are the HTTP API; a module for each subject (`collections`, `users`, `keeps`...) measures and evaluates it; `gateway` sends all commands
//! to mongod. Requests read the last measurement; tasks in `state` refresh it.

pub mod routes;
pub mod users;

pub mod access;
pub mod atproto;
pub mod clients;
pub mod collections;
pub mod details;
pub mod keeps;
pub mod server;
pub mod tapes;

pub mod gateway;

pub mod settings;
pub mod state;

use std::net::TcpListener;
use std::sync::Arc;

use actix_web::web::Data;
use silo_mongo::commands::Commands;
use silo_mongo::connect::connect;
use silo_web::openapi::Description;
use silo_web::server::{Running, serve};
use silo_web::service::Service;
use utoipa::OpenApi;

use crate::gateway::Gateway;
use crate::settings::Settings;
use crate::state::State;

/// The name of this service: its process, its log lines, its connections to mongod.
pub const NAME: &str = "silo-db-api";

/// Starts the service on a listener: measuring in the background, answering at once. mongod need not be there.
///
/// # Errors
/// When the connection string cannot be used or the listener fails.
pub async fn start(
    listener: TcpListener,
    settings: &Settings,
    commands: &Commands,
) -> std::io::Result<Running> {
    let client = connect(&settings.mongo, NAME, Arc::new(commands.clone())).await;
    let client = client
        .map_err(|error| std::io::Error::other(format!("MONGODB_CONNECTION_STRING {error}")))?;
    let state = State::new(Gateway::new(client, &settings.database), settings);
    state.start(settings);
    let ready = state.clone();
    let service = Service::new(NAME, settings.process.build.clone())
        .measures(state.sources())
        .needs("mongod", move || routes::health::check(ready.clone()));
    service.metrics.register(|registry| {
        registry.register(
            "mongo_commands",
            "commands sent to mongod",
            commands.metric(),
        )
    });
    let description = Description::new(&routes::openapi::Api::openapi())?;
    serve(listener, service, move |config| {
        config.app_data(Data::new(description.clone()));
        routes::routes(config, state.clone());
    })
}
