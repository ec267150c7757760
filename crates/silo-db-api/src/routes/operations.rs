//! `GET /api/db/operations`

use actix_web::Responder;
use actix_web::web::Data;
use silo_web::answer::{Answer, Envelope};
use silo_web::openapi::{Malformed, Unavailable};
use silo_web::problem::Problem;

use crate::operations::Operations;
use crate::state::State;

/// Operations that have been running for a second or longer.
#[utoipa::path(get, path = "/api/db/operations", tag = "database",
    responses((status = 200, body = Envelope<Operations>), Malformed, Unavailable))]
pub async fn get_operations(state: Data<State>) -> Result<impl Responder, Problem> {
    Ok(Answer::whole(&state.operations.read().await?))
}
