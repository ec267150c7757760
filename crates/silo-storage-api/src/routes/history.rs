//! `GET /api/storage/history`

use actix_web::Responder;
use actix_web::web::Data;
use silo_web::answer::{Answer, Envelope};
use silo_web::openapi::{Malformed, Unavailable};
use silo_web::problem::Problem;

use crate::history::StorageHistory;
use crate::state::State;

/// Bytes and objects of each of the last 90 days.
#[utoipa::path(get, path = "/api/storage/history", tag = "storage",
    responses((status = 200, body = Envelope<StorageHistory>), Malformed, Unavailable))]
pub async fn get_history(state: Data<State>) -> Result<impl Responder, Problem> {
    let reading = state.storage.read().await?;
    Answer::part(&reading, &reading.value.history)
}
