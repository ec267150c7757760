//! `POST /api/backup/drill`

use actix_web::HttpResponse;
use actix_web::web::Data;
use silo_web::openapi::{Conflict, Forbidden, Malformed};
use silo_web::operator::Operator;
use silo_web::problem::Problem;

use super::run::start;
use crate::schedule::job_runner::{Job, Kind};
use crate::state::State;

/// Restores the newest good backup into a scratch database, to see; with continuous backup a random moment of the last seven days, too.
#[utoipa::path(post, path = "/api/backup/drill", tag = "backup",
    responses((status = 202, body = Job), Forbidden, Conflict, Malformed))]
pub async fn start_drill(state: Data<State>, operator: Operator) -> Result<HttpResponse, Problem> {
    start(&state, Kind::Drill, &operator)
}
