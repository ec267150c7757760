//! `GET /api/services/{name}/badge.svg`

use actix_web::HttpResponse;
use actix_web::http::header::CACHE_CONTROL;
use actix_web::web::{Data, Path};
use silo_web::input;
use silo_web::openapi::{Malformed, OutOfRange, UnknownId};
use silo_web::problem::Problem;
use silo_web::snapshot::Freshness;

use super::service::unknown;
use crate::badge::badge;
use crate::state::State;
use crate::status::Status;

/// Cache lifetime of a badge, in seconds.
const CACHE_SECONDS: u32 = 30;

/// Status badge of a service as SVG, for a README. A status that is too old is shown as unknown.
#[utoipa::path(get, path = "/api/services/{name}/badge.svg", tag = "services",
    params(("name" = String, Path, description = "the service's name in the settings")),
    responses((status = 200, body = String, content_type = "image/svg+xml"), Malformed, UnknownId, OutOfRange))]
pub async fn get_badge(state: Data<State>, name: Path<String>) -> Result<HttpResponse, Problem> {
    let name = input::id(name.into_inner())?;
    let known = state.store.known(&name).ok_or_else(unknown)?;
    let looked_at = state.store.services.current();
    let current = looked_at.is_ok_and(|reading| reading.state != Freshness::Stale);
    let status = if current {
        known.view.status
    } else {
        Status::Unknown
    };
    Ok(HttpResponse::Ok()
        .insert_header((CACHE_CONTROL, format!("max-age={CACHE_SECONDS}")))
        .content_type("image/svg+xml")
        .body(badge(&name, status)))
}
