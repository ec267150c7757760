//! `GET /api/services`

use actix_web::Responder;
use actix_web::web::Data;
use silo_web::answer::{Answer, Envelope};
use silo_web::openapi::{Malformed, Unavailable};
use silo_web::problem::Problem;

use crate::services::Services;
use crate::state::State;

/// Status of all services, in the order of the settings.
#[utoipa::path(get, path = "/api/services", tag = "services",
    responses((status = 200, body = Envelope<Services>), Malformed, Unavailable))]
pub async fn list_services(state: Data<State>) -> Result<impl Responder, Problem> {
    Ok(Answer::whole(&state.store.services.read().await?))
}
