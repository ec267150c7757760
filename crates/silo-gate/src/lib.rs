//! silo-gate: who may come in, and what they may do to `/db`. Caddy asks it before it passes a request on.
//!
//! `routes` answer Caddy. `users` knows the passwords, as argon2id hashes; `attempts` slows down who guesses them. `reading` decides
//! whether a request to mongo-express can change anything, by what is allowed and not by what is forbidden.

pub mod routes;

pub mod attempts;
pub mod reading;
pub mod users;

pub mod settings;

use std::net::TcpListener;

use actix_web::web::Data;
use silo_web::server::{Running, serve};
use silo_web::service::Service;

use crate::attempts::Attempts;
use crate::settings::Settings;

/// The name of this service: its process, its log lines.
pub const NAME: &str = "silo-gate";

/// Starts the service on a listener.
///
/// # Errors
/// When the listener fails.
pub fn start(listener: TcpListener, settings: &Settings) -> std::io::Result<Running> {
    let service = Service::new(NAME, settings.process.build.clone());
    let attempts = Data::new(Attempts::new(settings.users.clone()));
    serve(listener, service, move |config| {
        routes::routes(config, attempts.clone());
    })
}
