//! The route table.

pub mod access;
pub mod atproto;
pub mod clients;
pub mod collections;
pub mod health;
pub mod keeps;
pub mod openapi;
pub mod users;

use actix_web::web::{Data, ServiceConfig};
use silo_web::app::get;

use crate::state::State;

/// Everything this service answers, besides what every service does.
pub fn routes(config: &mut ServiceConfig, state: State) {
    config
        .app_data(Data::new(state))
        .route("/api/db/health", get(health::get_health))
        .route("/api/db/collections", get(collections::list_collections))
        .route(
            "/api/db/collections/{name}",
            get(collections::get_collection),
        )
        .route("/api/db/users/count", get(users::count_users))
        .route("/api/db/users/{id}", get(users::get_user))
        .route("/api/db/handles", get(users::list_handles))
        .route("/api/db/clients", get(clients::list_clients))
        .route("/api/db/access", get(access::get_access))
        .route("/api/db/atproto", get(atproto::get_atproto))
        .route("/api/kidlisp/stats", get(keeps::get_kidlisp_stats))
        .route("/api/db/openapi.json", get(openapi::get_openapi));
}
