//! `GET /api/services/openapi.json`

use actix_web::HttpResponse;
use actix_web::web::Data;
use silo_web::openapi::Description;
use utoipa::OpenApi;

use super::{alarms, badge, events, history, overview, service, services};

/// The description of this service, generated from its handlers.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "silo-services-probe",
        description = "Whether aesthetic.computer's services are well, and everything a visitor asks first in one call."
    ),
    components(schemas(silo_web::problem::ProblemBody<'static>)),
    paths(
        overview::get_overview,
        services::list_services,
        service::get_service,
        history::get_history,
        badge::get_badge,
        alarms::list_alarms,
        alarms::acknowledge_alarm,
        events::list_changes,
        events::watch_events,
        get_openapi,
        silo_web::health::get_healthz,
        silo_web::health::get_readyz,
        silo_web::health::get_version,
        silo_web::health::get_metrics,
    )
)]
pub struct Api;

/// This service's description of itself.
#[utoipa::path(get, path = "/api/services/openapi.json", tag = "service", responses((status = 200, description = "OpenAPI 3.1")))]
pub async fn get_openapi(description: Data<Description>) -> HttpResponse {
    description.respond()
}
