//! `GET /api/backup/status`

use actix_web::Responder;
use actix_web::web::Data;
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use silo_web::answer::{Answer, Envelope};
use silo_web::openapi::{Malformed, Unavailable};
use silo_web::problem::Problem;
use utoipa::ToSchema;

use crate::schedule::job_runner::{Job, Kind};
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
    /// Backups and drills of the next 24 hours, the first one first. A drill that is overdue may come earlier.
    upcoming: Vec<UpcomingJob>,
    /// Running job.
    running: Option<Job>,
}

/// A scheduled job.
#[derive(Serialize, ToSchema)]
struct UpcomingJob {
    /// `run` or `drill`.
    kind: Kind,
    /// When.
    #[schema(value_type = String, format = DateTime)]
    at: Timestamp,
}

/// Status of backups: last good backup, last run, next run, problems.
#[utoipa::path(get, path = "/api/backup/status", tag = "backup",
    responses((status = 200, body = Envelope<Status>), Malformed, Unavailable))]
pub async fn get_status(state: Data<State>) -> Result<impl Responder, Problem> {
    let reading = state.status.read().await?;
    let next_run = *state.next.borrow();
    let status = Status {
        status: BackupStatus::clone(&reading.value),
        upcoming: upcoming(&state, next_run),
        next_run,
        running: state.jobs.running(),
    };
    Answer::part(&reading, &status)
}

fn upcoming(state: &State, next_run: Option<Timestamp>) -> Vec<UpcomingJob> {
    let settings = &state.context.settings;
    let now = state.context.clock.now();
    let until = now + SignedDuration::from_hours(24);
    let later = next_run.map(|next| settings.schedule.between(next.max(now), until));
    let runs = next_run.into_iter().chain(later.unwrap_or_default());
    let drills = settings.drill_schedule.as_ref();
    let drills = drills.map(|schedule| schedule.between(now, until));
    let job = |kind| move |at| UpcomingJob { kind, at };
    let mut jobs: Vec<_> = runs
        .filter(|at| *at <= until)
        .map(job(Kind::Run))
        .chain(drills.unwrap_or_default().into_iter().map(job(Kind::Drill)))
        .collect();
    jobs.sort_by_key(|job| job.at);
    jobs
}
