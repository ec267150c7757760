//! `GET /api/storage/openapi.json`

use actix_web::HttpResponse;
use actix_web::web::Data;
use silo_web::openapi::Description;
use utoipa::OpenApi;

use super::{buckets, history, rescan, top_users, usage, user};

/// The description of this service, generated from its handlers.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "silo-storage-api",
        description = "What aesthetic.computer's Spaces buckets hold, whose it is and how it grows."
    ),
    components(schemas(silo_web::problem::ProblemBody<'static>)),
    paths(
        usage::get_usage,
        buckets::list_buckets,
        history::get_history,
        user::get_user_usage,
        top_users::list_top_users,
        rescan::start_rescan,
        get_openapi,
        silo_web::health::get_healthz,
        silo_web::health::get_readyz,
        silo_web::health::get_version,
        silo_web::health::get_metrics,
    )
)]
pub struct Api;

/// This service's description of itself.
#[utoipa::path(get, path = "/api/storage/openapi.json", tag = "service", responses((status = 200, description = "OpenAPI 3.1")))]
pub async fn get_openapi(description: Data<Description>) -> HttpResponse {
    description.respond()
}
