//! `GET /api/db/activity` and `GET /api/db/events`

use std::sync::Arc;
use std::time::Duration;

use actix_web::web::{self, Data};
use actix_web::{HttpRequest, HttpResponse, Responder};
use jiff::Timestamp;
use serde::Deserialize;
use silo_web::answer::{Answer, Envelope, Meta};
use silo_web::input::{self, Query};
use silo_web::openapi::{Malformed, OutOfRange, Unavailable};
use silo_web::problem::{Kind, Problem};
use silo_web::server::Shutdown;
use silo_web::snapshot::{Freshness, SourceError};
use silo_web::stream::last_event_id;
use utoipa::IntoParams;

use crate::events::{Activity, DatabaseEvent};
use crate::state::State;

/// Interval at which a client without the event stream asks again.
const INTERVAL: Duration = Duration::from_secs(15);
/// The longest list.
const MOST: usize = 1000;

/// Query parameters of the activity.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ActivityParameters {
    /// Only events before this time.
    #[param(value_type = Option<String>, format = DateTime)]
    until: Option<Timestamp>,
    /// Maximum number of events; the counts still include all.
    #[param(minimum = 1, maximum = 1000, default = 200)]
    limit: Option<u64>,
}

/// Changes of the database in the last day, and how many there were in each minute and quarter of an hour.
#[utoipa::path(get, path = "/api/db/activity", tag = "database", params(ActivityParameters),
    responses((status = 200, body = Envelope<Activity>), OutOfRange, Malformed, Unavailable))]
pub async fn get_activity(
    state: Data<State>,
    Query(parameters): Query<ActivityParameters>,
) -> Result<impl Responder, Problem> {
    let limit = input::limit(parameters.limit, 200, MOST)?;
    let log = Arc::clone(&state.events);
    let until = parameters.until;
    let read = web::block(move || log.activity(until, limit, Timestamp::now()));
    let activity = read
        .await
        .map_err(|error| unreadable(&error))?
        .map_err(|error| unreadable(&error))?;
    let (as_of, error) = state.events.stream_state();
    let waiting = || {
        let detail = "the change stream is being opened";
        SourceError::new("change stream", "not_measured_yet", detail)
    };
    let error = error.or_else(|| as_of.is_none().then(waiting));
    let meta = Meta {
        as_of,
        state: if error.is_none() {
            Freshness::Fresh
        } else {
            Freshness::Stale
        },
        errors: error.into_iter().collect(),
        ..Meta::now(INTERVAL)
    };
    Ok(Answer::new(&activity, meta)?.live())
}

/// Changes of the database as server-sent events: `change` with its data, `gap` when some were lost and the client must reload, and `end` when the service
/// stops.
#[utoipa::path(get, path = "/api/db/events", tag = "database",
    params(("Last-Event-ID" = Option<u64>, Header, description = "the number of the last event that one has: those after it come first")),
    responses((status = 200, body = DatabaseEvent, content_type = "text/event-stream", description = "a stream of events"), Malformed, Unavailable))]
pub async fn watch_events(
    state: Data<State>,
    stopping: Data<Shutdown>,
    request: HttpRequest,
) -> Result<HttpResponse, Problem> {
    let events = state.events.listen(last_event_id(&request));
    let events = events.map_err(|error| unreadable(&error))?;
    state.streams.answer(&stopping, events)
}

fn unreadable(error: &dyn std::error::Error) -> Problem {
    log::error!("the events cannot be read: {error}");
    Problem::with_code(
        Kind::Unavailable,
        "events_unreadable",
        "the events on disk cannot be read; the log of silo-db-api has the reason",
    )
}
