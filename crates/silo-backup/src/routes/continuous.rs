//! `GET /api/backup/continuous`

use actix_web::Responder;
use actix_web::web::Data;
use silo_web::answer::{Answer, Envelope, Meta};
use silo_web::openapi::{Malformed, Unavailable};
use silo_web::problem::Problem;

use crate::continuous::status::{ContinuousStatus, REFRESH};
use crate::state::State;

/// Status of continuous backup: what is stored, and up to when.
#[utoipa::path(get, path = "/api/backup/continuous", tag = "backup",
    responses((status = 200, body = Envelope<ContinuousStatus>), Malformed, Unavailable))]
pub async fn get_continuous(state: Data<State>) -> Result<impl Responder, Problem> {
    match &state.continuous {
        Some((_, status)) => Ok(Answer::whole(&status.read().await?)),
        None => Answer::new(&ContinuousStatus::off(), Meta::now(REFRESH.interval)),
    }
}
