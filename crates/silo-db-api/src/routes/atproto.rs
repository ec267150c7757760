//! `GET /api/db/atproto`

use actix_web::Responder;
use actix_web::web::Data;
use silo_web::answer::{Answer, Envelope};
use silo_web::openapi::{Malformed, Unavailable};
use silo_web::problem::Problem;

use crate::atproto::Atproto;
use crate::state::State;

/// Share of each synced collection that has an AT-protocol record key.
#[utoipa::path(get, path = "/api/db/atproto", tag = "database",
    responses((status = 200, body = Envelope<Atproto>), Malformed, Unavailable))]
pub async fn get_atproto(state: Data<State>) -> Result<impl Responder, Problem> {
    Ok(Answer::whole(&state.atproto.read().await?))
}
