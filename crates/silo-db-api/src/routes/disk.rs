//! `GET /api/db/disk`

use actix_web::Responder;
use actix_web::web::Data;
use silo_web::answer::{Answer, Envelope};
use silo_web::openapi::{Malformed, Unavailable};
use silo_web::problem::Problem;

use crate::disk::Disk;
use crate::state::State;

/// Free disk of the server, and when it will be full.
#[utoipa::path(get, path = "/api/db/disk", tag = "database",
    responses((status = 200, body = Envelope<Disk>), Malformed, Unavailable))]
pub async fn get_disk(state: Data<State>) -> Result<impl Responder, Problem> {
    Ok(Answer::whole(&state.disk.read().await?))
}
