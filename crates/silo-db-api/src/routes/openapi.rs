//! `GET /api/db/openapi.json`

use actix_web::HttpResponse;
use actix_web::web::Data;
use silo_web::openapi::Description;
use utoipa::OpenApi;

use super::{
    access, atproto, clients, collections, compare, disk, documents, events, health, history,
    keeps, operations, tapes, users,
};

/// The description of this service, generated from its handlers.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "silo-db-api",
        description = "What aesthetic.computer's database holds, and how mongod is."
    ),
    components(schemas(silo_web::problem::ProblemBody<'static>)),
    paths(
        health::get_health,
        collections::list_collections,
        collections::get_collection,
        history::get_collection_history,
        history::get_history,
        documents::list_documents,
        documents::get_works,
        events::get_activity,
        events::watch_events,
        users::count_users,
        users::get_user,
        users::list_handles,
        tapes::list_tape_owners,
        clients::list_clients,
        access::get_access,
        disk::get_disk,
        operations::get_operations,
        compare::get_comparison,
        atproto::get_atproto,
        keeps::get_kidlisp_stats,
        get_openapi,
        silo_web::health::get_healthz,
        silo_web::health::get_readyz,
        silo_web::health::get_version,
        silo_web::health::get_metrics,
    )
)]
pub struct Api;

/// This service's description of itself.
#[utoipa::path(get, path = "/api/db/openapi.json", tag = "service", responses((status = 200, description = "OpenAPI 3.1")))]
pub async fn get_openapi(description: Data<Description>) -> HttpResponse {
    description.respond()
}
