//! `GET /api/services/changes` and `GET /api/services/events`

use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse, Responder};
use silo_web::answer::{Answer, Envelope};
use silo_web::openapi::{Malformed, Unavailable};
use silo_web::problem::Problem;
use silo_web::server::Shutdown;
use silo_web::stream::last_event_id;

use crate::changes::Change;
use crate::state::State;

/// The last 500 changes of status, newest first.
#[utoipa::path(get, path = "/api/services/changes", tag = "services",
    responses((status = 200, body = Envelope<Vec<Change>>), Malformed, Unavailable))]
pub async fn list_changes(state: Data<State>) -> Result<impl Responder, Problem> {
    let reading = state.store.services.read().await?;
    Ok(Answer::part(&reading, &state.store.changes())?.live())
}

/// Changes of status as server-sent events: `change` with its data, `gap` when some were lost and the client must reload, and `end` when the service
/// stops.
#[utoipa::path(get, path = "/api/services/events", tag = "services",
    params(("Last-Event-ID" = Option<u64>, Header, description = "the number of the last change that one has: those after it come first")),
    responses((status = 200, body = Change, content_type = "text/event-stream", description = "a stream of changes"), Malformed, Unavailable))]
pub async fn watch_events(
    state: Data<State>,
    stopping: Data<Shutdown>,
    request: HttpRequest,
) -> Result<HttpResponse, Problem> {
    let events = state.store.listen(last_event_id(&request));
    state.streams.answer(&stopping, events)
}
