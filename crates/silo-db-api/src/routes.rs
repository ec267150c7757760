//! The route table.

pub mod access;
pub mod atproto;
pub mod clients;
pub mod collections;
pub mod compare;
pub mod disk;
pub mod documents;
pub mod events;
pub mod health;
pub mod history;
pub mod keeps;
pub mod openapi;
pub mod operations;
pub mod tapes;
pub mod users;

use actix_web::web::{Data, ServiceConfig};
use silo_web::app::get;

use crate::state::State;

/// Routes of this service, in addition to the shared ones.
pub fn routes(config: &mut ServiceConfig, state: State) {
    config
        .app_data(Data::new(state))
        .service(get("/api/db/health", health::get_health))
        .service(get("/api/db/collections", collections::list_collections))
        .service(get(
            "/api/db/collections/{name}",
            collections::get_collection,
        ))
        .service(get(
            "/api/db/collections/{name}/history",
            history::get_collection_history,
        ))
        .service(get(
            "/api/db/collections/{name}/documents",
            documents::list_documents,
        ))
        .service(get("/api/db/history", history::get_history))
        .service(get("/api/db/activity", events::get_activity))
        .service(get("/api/db/events", events::watch_events))
        .service(get("/api/db/users/count", users::count_users))
        .service(get("/api/db/users/{id}", users::get_user))
        .service(get("/api/db/users/{id}/works", documents::get_works))
        .service(get("/api/db/handles", users::list_handles))
        .service(get("/api/db/tapes", tapes::list_tape_owners))
        .service(get("/api/db/clients", clients::list_clients))
        .service(get("/api/db/access", access::get_access))
        .service(get("/api/db/disk", disk::get_disk))
        .service(get("/api/db/operations", operations::get_operations))
        .service(get("/api/db/compare", compare::get_comparison))
        .service(get("/api/db/atproto", atproto::get_atproto))
        .service(get("/api/kidlisp/stats", keeps::get_kidlisp_stats))
        .service(get("/api/db/openapi.json", openapi::get_openapi));
}
