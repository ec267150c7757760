//! `GET /api/storage/buckets`

use actix_web::Responder;
use actix_web::web::Data;
use silo_web::answer::{Answer, Envelope};
use silo_web::openapi::{Malformed, Unavailable};
use silo_web::problem::Problem;

use crate::state::State;
use crate::storage::Storage;

/// Objects and bytes of each bucket.
#[utoipa::path(get, path = "/api/storage/buckets", tag = "storage",
    responses((status = 200, body = Envelope<Storage>), Malformed, Unavailable))]
pub async fn list_buckets(state: Data<State>) -> Result<impl Responder, Problem> {
    Ok(Answer::whole(&state.storage.read().await?))
}
