//! silo-db-api: contents of aesthetic.computer's database, and state of mongod.
//!
//! `routes` are the HTTP API; a module for each subject (`collections`, `users`, `keeps`...) measures and evaluates it; `gateway` sends all commands
//! to mongod. Requests read the last measurement; tasks in `state` refresh it. `history` keeps samples of them on disk, `events` the changes of the
//! last day.

pub mod routes;
pub mod users;

pub mod access;
pub mod atproto;
pub mod browse;
pub mod clients;
pub mod collections;
pub mod compare;
pub mod details;
pub mod disk;
pub mod events;
pub mod history;
pub mod keeps;
pub mod operations;
pub mod server;
pub mod tapes;

pub mod gateway;
pub mod metrics;

pub mod settings;
pub mod state;

use std::net::TcpListener;
use std::sync::Arc;

use actix_web::web::Data;
use silo_core::secret::Secret;
use silo_core::variables::{MONGODB_CONNECTION_STRING, OLD_CONNECTION_STRING, Variable};
use silo_mongo::commands::Commands;
use silo_mongo::connect::{ConnectError, Patience, connect, connect_counted};
use silo_web::openapi::Description;
use silo_web::server::{Running, serve};
use silo_web::service::Service;
use utoipa::OpenApi;

use crate::gateway::Gateway;
use crate::metrics::DatabaseMetrics;
use crate::settings::{OldCluster, Settings};
use crate::state::State;

/// The name of this service: its process, its log lines, its connections to mongod.
pub const NAME: &str = "silo-db-api";

/// Starts the service on a listener: measuring in the background, answering at once. mongod need not be there.
///
/// # Errors
/// When the connection string or the folder of the history cannot be used, or the listener fails.
pub async fn start(
    listener: TcpListener,
    settings: &Settings,
    commands: &Commands,
) -> std::io::Result<Running> {
    let open = async || {
        let client = connect_counted(&settings.mongo, NAME, Arc::new(commands.clone())).await;
        let client = client.map_err(unusable(MONGODB_CONNECTION_STRING))?;
        std::io::Result::Ok(Gateway::new(client, &settings.database, commands))
    };
    // The state of the server is read through a connection of its own, which is never idle: it is there when no other can be opened.
    let state = State::new(open().await?, open().await?, settings)?;
    state.start(settings);
    if let Some(old) = &settings.old {
        compare_with(old, settings, &state).await?;
    }
    let ready = state.clone();
    let service = Service::new(NAME, settings.process.build.clone())
        .measures(state.sources())
        .needs("mongod", move || routes::health::check(ready.clone()));
    service.metrics.register(|registry| {
        registry.register(
            "mongo_commands",
            "commands sent to mongod",
            commands.metric(),
        );
        registry.register_collector(Box::new(DatabaseMetrics(state.clone())));
    });
    let description = Description(routes::openapi::Api::openapi);
    serve(listener, service, move |config| {
        config.app_data(Data::new(description));
        routes::routes(config, state.clone());
    })
}

/// Starts comparing the database with that of the old cluster, which has the same name if its connection string has none.
async fn compare_with(old: &OldCluster, settings: &Settings, state: &State) -> std::io::Result<()> {
    let open = async |uri: &Secret, of: Variable| {
        let client = connect(uri, NAME, Patience::LongRunning).await;
        client.map_err(unusable(of))
    };
    let source = open(&old.uri, OLD_CONNECTION_STRING).await?;
    let source = source
        .default_database()
        .unwrap_or_else(|| source.database(&settings.database));
    let target = open(&settings.mongo, MONGODB_CONNECTION_STRING).await?;
    let target = target.database(&settings.database);
    let (comparison, interval) = (state.comparison.clone(), old.interval);
    // Of its own, because it computes for minutes.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    std::thread::Builder::new()
        .name("comparison".into())
        .spawn(move || runtime.block_on(comparison.keep_comparing(source, target, interval)))?;
    Ok(())
}

fn unusable(of: Variable) -> impl FnOnce(ConnectError) -> std::io::Error {
    move |error| std::io::Error::other(format!("{of} {error}"))
}
