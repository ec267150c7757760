//! `POST /api/backup/run`

use actix_web::HttpResponse;
use actix_web::http::header::CACHE_CONTROL;
use actix_web::web::Data;
use log::info;
use silo_web::openapi::{Conflict, Forbidden, Malformed};
use silo_web::operator::Operator;
use silo_web::problem::{self, Problem};

use crate::schedule::job_runner::{Job, Kind};
use crate::state::State;

/// Makes a backup now.
#[utoipa::path(post, path = "/api/backup/run", tag = "backup",
    responses((status = 202, body = Job), Forbidden, Conflict, Malformed))]
pub async fn start_run(state: Data<State>, operator: Operator) -> Result<HttpResponse, Problem> {
    start(&state, Kind::Run, &operator)
}

/// Starts a job; 409 if a job is running already.
pub(super) fn start(
    state: &State,
    kind: Kind,
    Operator(operator): &Operator,
) -> Result<HttpResponse, Problem> {
    let Some(job) = state.jobs.start(kind, operator) else {
        let detail = "a job is running already; see /api/backup/status";
        return Err(Problem::with_code(
            problem::Kind::Conflict,
            "already_running",
            detail,
        ));
    };
    info!(operator = operator.as_str(), job = job.id.as_str(); "a job was asked for");
    Ok(HttpResponse::Accepted()
        .insert_header((CACHE_CONTROL, "no-store"))
        .json(job))
}
