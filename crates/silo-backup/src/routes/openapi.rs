//! `GET /api/backup/openapi.json`

use actix_web::HttpResponse;
use actix_web::web::Data;
use silo_web::openapi::Description;
use utoipa::OpenApi;

use super::{alarms, backups, continuous, drill, jobs, run, status};

/// The description of this service, generated from its handlers.
#[derive(OpenApi)]
#[openapi(
    info(title = "silo-backup", description = "Every night a backup that is proven to restore."),
    components(schemas(silo_web::problem::ProblemBody<'static>)),
    paths(
        status::get_status,
        backups::list_backups,
        continuous::get_continuous,
        run::start_run,
        drill::start_drill,
        alarms::list_alarms,
        alarms::acknowledge_alarm,
        jobs::get_job,
        jobs::watch_job,
        get_openapi,
        silo_web::health::get_healthz,
        silo_web::health::get_readyz,
        silo_web::health::get_version,
        silo_web::health::get_metrics,
    )
)]
pub struct Api;

/// This service's description of itself.
#[utoipa::path(get, path = "/api/backup/openapi.json", tag = "service", responses((status = 200, description = "OpenAPI 3.1")))]
pub async fn get_openapi(description: Data<Description>) -> HttpResponse {
    description.respond()
}
