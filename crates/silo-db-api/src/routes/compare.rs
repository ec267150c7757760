//! `GET /api/db/compare`

use actix_web::Responder;
use actix_web::web::Data;
use silo_web::answer::{Answer, Envelope};
use silo_web::openapi::{Malformed, Unavailable};
use silo_web::problem::Problem;

use crate::compare::Compared;
use crate::state::State;

/// Comparison with the old cluster, during a migration.
#[utoipa::path(get, path = "/api/db/compare", tag = "database",
    responses((status = 200, body = Envelope<Compared>), Malformed, Unavailable))]
pub async fn get_comparison(state: Data<State>) -> Result<impl Responder, Problem> {
    Ok(Answer::whole(&state.compared.read().await?))
}
