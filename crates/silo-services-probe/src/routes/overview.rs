//! `GET /api/overview`

use actix_web::Responder;
use actix_web::web::Data;
use silo_web::answer::{Answer, Envelope};
use silo_web::openapi::{Malformed, Unavailable};
use silo_web::problem::Problem;

use crate::overview::Overview;
use crate::state::State;

/// Overview of everything, gathered from Silo's services every ten seconds.
#[utoipa::path(get, path = "/api/overview", tag = "overview",
    responses((status = 200, body = Envelope<Overview>), Malformed, Unavailable))]
pub async fn get_overview(state: Data<State>) -> Result<impl Responder, Problem> {
    Ok(Answer::whole(&state.overview.read().await?))
}
