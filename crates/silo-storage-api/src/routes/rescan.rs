//! `POST /api/storage/rescan`

use actix_web::HttpResponse;
use actix_web::http::header::CACHE_CONTROL;
use actix_web::web::Data;
use log::info;
use serde::Serialize;
use silo_web::openapi::{Conflict, Forbidden, Malformed};
use silo_web::operator::Operator;
use silo_web::problem::{Kind, Problem};
use utoipa::ToSchema;

use crate::state::State;

/// Confirmation that a scan starts.
#[derive(Serialize, ToSchema)]
pub struct Rescan {
    /// Always `scanning`; `/api/storage/usage` has the progress.
    status: &'static str,
}

/// Scans now instead of later.
#[utoipa::path(post, path = "/api/storage/rescan", tag = "storage",
    responses((status = 202, body = Rescan), Forbidden, Conflict, Malformed))]
pub async fn start_rescan(
    state: Data<State>,
    Operator(operator): Operator,
) -> Result<HttpResponse, Problem> {
    if !state.scanner.ask() {
        let detail = "a scan is running already; see /api/storage/usage";
        return Err(Problem::with_code(
            Kind::Conflict,
            "already_scanning",
            detail,
        ));
    }
    info!(operator = operator.as_str(); "a scan was asked for");
    let answer = Rescan { status: "scanning" };
    Ok(HttpResponse::Accepted()
        .insert_header((CACHE_CONTROL, "no-store"))
        .json(answer))
}
