//! `GET /api/db/clients`

use actix_web::Responder;
use actix_web::web::Data;
use silo_web::answer::{Answer, Envelope};
use silo_web::openapi::{Malformed, Unavailable};
use silo_web::problem::Problem;

use crate::clients::Clients;
use crate::state::State;

/// Clients connected to mongod, and expected clients.
#[utoipa::path(get, path = "/api/db/clients", tag = "database",
    responses((status = 200, body = Envelope<Clients>), Malformed, Unavailable))]
pub async fn list_clients(state: Data<State>) -> Result<impl Responder, Problem> {
    Ok(Answer::whole(&state.clients.read().await?))
}
