//! `GET /api/db/health`

use actix_web::Responder;
use actix_web::http::StatusCode;
use actix_web::web::Data;
use serde::Serialize;
use silo_core::units::whole_millis;
use silo_web::answer::{Answer, Envelope, Meta};
use silo_web::openapi::Malformed;
use silo_web::problem::Problem;
use silo_web::snapshot::{Freshness, Source};
use utoipa::ToSchema;

use crate::server::{Server, ServerStatus};
use crate::state::State;

/// State of mongod.
#[derive(Serialize, ToSchema)]
pub struct Health {
    /// Up, degraded or down.
    status: ServerStatus,
    /// State from the last successful measurement, also while the server is down.
    #[serde(flatten)]
    server: Server,
}

/// State of mongod: 200 when it answers, 503 when it refuses or twice in a row did not answer in time, always with the body.
#[utoipa::path(get, path = "/api/db/health", tag = "database",
    responses((status = 200, body = Envelope<Health>), Malformed,
        (status = 503, body = Envelope<Health>, description = "mongod does not answer")))]
pub async fn get_health(state: Data<State>) -> Result<impl Responder, Problem> {
    let waited = state.server.read().await;
    let reading = match (waited, state.server.current()) {
        (_, Ok(reading)) => reading,
        (Err(problem), Err(_)) if problem.code() == "not_measured_yet" => return Err(problem),
        (_, Err(error)) => {
            let ttl_ms = whole_millis(state.server.ttl());
            let meta = Meta {
                as_of: None,
                ttl_ms,
                state: Freshness::Error,
                errors: vec![error],
            };
            let health = Health {
                status: ServerStatus::Down,
                server: Server::default(),
            };
            return Ok(Answer::new(&health, meta)?.with_status(StatusCode::SERVICE_UNAVAILABLE));
        }
    };
    let mut server = reading.value.as_ref().clone();
    let status = match reading.state {
        Freshness::Stale | Freshness::Error if !missed_one_look(&state) => ServerStatus::Down,
        Freshness::Stale | Freshness::Error => {
            server.notes.insert(0, SLOW.into());
            ServerStatus::Degraded
        }
        _ if !server.notes.is_empty() => ServerStatus::Degraded,
        _ => ServerStatus::Up,
    };
    let health = Health { status, server };
    let code = if status == ServerStatus::Down {
        StatusCode::SERVICE_UNAVAILABLE
    } else {
        StatusCode::OK
    };
    Ok(Answer::part(&reading, &health)?.with_status(code))
}

/// Note of a server that did not answer once.
const SLOW: &str = "the last look at the server ran into its time limit";

/// `true` if the last look ran into its time limit and the one before did not fail: mongod is slow, during a checkpoint or a backup, and not down.
fn missed_one_look(state: &State) -> bool {
    let timed_out = state
        .server
        .failure()
        .is_some_and(|failure| failure.code == "timed_out");
    timed_out && state.server.failures() == 1
}

/// Readiness check: mongod answers. One look that ran into its time limit is no failure.
///
/// # Errors
/// The error of the last measurement.
pub async fn check(state: State) -> Result<(), silo_web::snapshot::SourceError> {
    // Wait for the first measurement; its result is read below.
    drop(state.server.read().await);
    match state.server.failure() {
        Some(failure) if !missed_one_look(&state) => Err(failure),
        Some(_) => Ok(()),
        None => state.server.current().map(drop),
    }
}
