//! silo-gate: sign-in, and read-only access to `/db`, for Caddy's `forward_auth`.
//!
//! `routes` answer Caddy. `users` verifies passwords by their argon2id hashes; `login_throttle` limits the rate of guesses. `db_allowlist` has the
//! requests to mongo-express that only read.

pub mod db_allowlist;
pub mod login_throttle;
pub mod routes;

pub mod users;

pub mod settings;

use std::net::TcpListener;

use actix_web::web::Data;
use silo_web::server::{Running, serve};
use silo_web::service::Service;

use crate::login_throttle::LoginThrottle;
use crate::settings::Settings;

/// The name of this service: its process, its log lines.
pub const NAME: &str = "silo-gate";

/// Starts the service on a listener.
///
/// # Errors
/// When the listener fails.
pub fn start(listener: TcpListener, settings: &Settings) -> std::io::Result<Running> {
    let service = Service::new(NAME, settings.process.build.clone());
    let attempts = Data::new(LoginThrottle::new(settings.users.clone()));
    serve(listener, service, move |config| {
        routes::routes(config, attempts.clone());
    })
}
