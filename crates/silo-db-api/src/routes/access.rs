//! `GET /api/db/access`

use actix_web::Responder;
use actix_web::web::Data;
use silo_web::answer::{Answer, Envelope};
use silo_web::openapi::{Malformed, Unavailable};
use silo_web::problem::Problem;

use crate::access::Access;
use crate::state::State;

/// Use of the database since mongod started.
#[utoipa::path(get, path = "/api/db/access", tag = "database",
    responses((status = 200, body = Envelope<Access>), Malformed, Unavailable))]
pub async fn get_access(state: Data<State>) -> Result<impl Responder, Problem> {
    Ok(Answer::whole(&state.access.read().await?))
}
