//! `GET /api/kidlisp/stats`

use actix_web::Responder;
use actix_web::web::Data;
use silo_web::answer::{Answer, Envelope};
use silo_web::openapi::{Malformed, Unavailable};
use silo_web::problem::Problem;

use crate::keeps::Keeps;
use crate::state::State;

/// KidLisp pieces and keeps.
#[utoipa::path(get, path = "/api/kidlisp/stats", tag = "kidlisp",
    responses((status = 200, body = Envelope<Keeps>), Malformed, Unavailable))]
pub async fn get_kidlisp_stats(state: Data<State>) -> Result<impl Responder, Problem> {
    Ok(Answer::whole(&state.keeps.read().await?))
}
