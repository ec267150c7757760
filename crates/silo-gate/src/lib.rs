//! silo-gate: sign-in, and read-only access to `/db`, for Caddy's `forward_auth`.
//!
//! `routes` answer Caddy. `users` verifies passwords by their argon2id hashes, and `users_file` reads them again when they change; `login_throttle` limits
//! the rate of guesses, by the client's address from `gateway`; `sessions` has the cookies of browsers that have signed in. `db_allowlist` has the requests
//! to mongo-express that only read.

pub mod db_allowlist;
pub mod gateway;
pub mod login_throttle;
pub mod routes;
pub mod sessions;
pub mod settings;
pub mod users;
pub mod users_file;

use std::net::TcpListener;

use actix_web::web::Data;
use silo_web::server::{Running, serve};
use silo_web::service::Service;

use crate::gateway::Gateway;
use crate::login_throttle::LoginThrottle;
use crate::routes::SignIn;
use crate::sessions::Sessions;
use crate::settings::Settings;
use crate::users_file::UsersFile;

/// The name of this service: its process, its log lines.
pub const NAME: &str = "silo-gate";

/// Starts the service on a listener.
///
/// # Errors
/// When the listener fails.
pub fn start(listener: TcpListener, settings: &Settings) -> std::io::Result<Running> {
    let service = Service::new(NAME, settings.process.build.clone());
    let sign_in = Data::new(SignIn {
        users: UsersFile::new(settings.users.clone(), settings.users_file.clone()),
        throttle: LoginThrottle::default(),
        sessions: Sessions::default(),
        gateway: Gateway::new(settings.gateway.clone()),
    });
    serve(listener, service, move |config| {
        routes::routes(config, sign_in.clone());
    })
}
