//! `GET /api/backup/status`

use actix_web::Responder;
use actix_web::web::Data;
use jiff::Timestamp;
use serde::Serialize;
use silo_web::answer::{Answer, Envelope};
use silo_web::openapi::{Malformed, Unavailable};
use silo_web::problem::Problem;
use utoipa::ToSchema;

use crate::schedule::job_runner::Job;
use crate::state::State;
use crate::status::BackupStatus;

/// Status of backups, and the running job.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Status {
    /// Status of backups.
    #[serde(flatten)]
    status: BackupStatus,
    /// Time of the next run; `null` if not yet known.
    #[schema(value_type = Option<String>, format = DateTime)]
    next_run: Option<Timestamp>,
    /// Running job.
    running: Option<Job>,
}

/// Status of backups: last good backup, last run, next run, problems.
#[utoipa::path(get, path = "/api/backup/status", tag = "backup",
    responses((status = 200, body = Envelope<Status>), Malformed, Unavailable))]
pub async fn get_status(state: Data<State>) -> Result<impl Responder, Problem> {
    let reading = state.status.read().await?;
    let status = Status {
        status: BackupStatus::clone(&reading.value),
        next_run: *state.next.borrow(),
        running: state.jobs.running(),
    };
    Answer::part(&reading, &status)
}
