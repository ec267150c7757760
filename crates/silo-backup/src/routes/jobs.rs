//! `GET /api/backup/jobs/{id}` and `GET /api/backup/jobs/{id}/events`

use std::time::Duration;

use actix_web::http::header::CACHE_CONTROL;
use actix_web::web::{Data, Path};
use actix_web::{HttpResponse, Responder};
use futures_util::{Stream, stream};
use silo_web::answer::{Answer, Envelope, Meta};
use silo_web::input;
use silo_web::openapi::{Malformed, OutOfRange, Unavailable, UnknownId};
use silo_web::problem::{Kind, Problem};
use silo_web::server::Shutdown;
use silo_web::stream::Event;
use tokio::sync::watch;

use crate::schedule::job_runner::{Job, JobRunner, JobState};
use crate::state::State;
use silo_cli::progress::Progress;

/// Shortest interval between progress events.
const MIN_EVENT_INTERVAL: Duration = Duration::from_millis(200);

/// A job, as it is now.
#[utoipa::path(get, path = "/api/backup/jobs/{id}", tag = "backup",
    params(("id" = String, Path, description = "the job's id")),
    responses((status = 200, body = Envelope<Job>), Malformed, UnknownId, OutOfRange))]
pub async fn get_job(state: Data<State>, id: Path<String>) -> Result<impl Responder, Problem> {
    let job = state
        .jobs
        .get(&input::id(id.into_inner())?)
        .ok_or_else(unknown)?;
    let now = Meta::now(Duration::ZERO);
    let meta = Meta {
        as_of: job.ended_at.or(now.as_of),
        ..now
    };
    let answer = Answer::new(&job, meta)?;
    Ok(answer
        .customize()
        .insert_header((CACHE_CONTROL, "no-store")))
}

/// Progress of a job as server-sent events: `progress`, whose data is the job, and finally `ended`.
#[utoipa::path(get, path = "/api/backup/jobs/{id}/events", tag = "backup",
    params(("id" = String, Path, description = "the job's id")),
    responses((status = 200, body = Job, content_type = "text/event-stream", description = "progress of the job as server-sent events"), Malformed, UnknownId, OutOfRange, Unavailable))]
pub async fn watch_job(
    state: Data<State>,
    stopping: Data<Shutdown>,
    id: Path<String>,
) -> Result<HttpResponse, Problem> {
    let id = input::id(id.into_inner())?;
    let progress = state.jobs.watch(&id).ok_or_else(unknown)?;
    state
        .streams
        .answer(&stopping, events(state.jobs.clone(), id, progress))
}

fn unknown() -> Problem {
    Problem::with_code(
        Kind::NotFound,
        "no_such_job",
        "there is no job with this id, or it was long ago",
    )
}

fn events(
    jobs: JobRunner,
    id: String,
    progress: watch::Receiver<Progress>,
) -> impl Stream<Item = Event> {
    let first = Some((jobs, id, progress, true));
    stream::unfold(first, |open| async move {
        let (jobs, id, mut progress, first) = open?;
        if !first {
            tokio::time::sleep(MIN_EVENT_INTERVAL).await;
            // The sender has gone away after the last event.
            drop(progress.changed().await);
        }
        progress.mark_unchanged();
        let job = jobs.get(&id)?;
        let ended = job.state != JobState::Running;
        let data = serde_json::to_string(&job).ok()?;
        let event = Event {
            id: None,
            name: if ended { "ended" } else { "progress" },
            data,
        };
        Some((event, (!ended).then_some((jobs, id, progress, false))))
    })
}
