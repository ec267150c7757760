//! `GET /api/db/history` and `GET /api/db/collections/{name}/history`

use std::sync::Arc;
use std::time::Duration;

use actix_web::Responder;
use actix_web::web::{self, Data, Path};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use silo_store::StoreError;
use silo_web::answer::{Answer, Envelope, Meta};
use silo_web::input::{self, Query};
use silo_web::openapi::{Malformed, OutOfRange, Unavailable, UnknownId};
use silo_web::problem::{Kind, Problem};
use silo_web::snapshot::Freshness;
use utoipa::IntoParams;

use super::collections::unknown_collection;
use crate::history::{CollectionHistory, History, HistoryView, Range, SAMPLE_SECONDS, start_of};
use crate::state::State;

/// Query parameters of a history.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct HistoryParameters {
    /// The range: `day`, `week` (default), `month` (30 days) or `quarter` (90 days).
    #[param(inline)]
    range: Option<Range>,
}

/// Query parameters of the history of the database.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct DatabaseHistoryParameters {
    /// The range: `day`, `week` (default), `month` (30 days) or `quarter` (90 days).
    #[param(inline)]
    range: Option<Range>,
    /// `false` leaves out the categories and the growth of collections.
    categories: Option<bool>,
}

/// History of the database: contents by category, users, operations, connections and disk; and the growth of each collection.
#[utoipa::path(get, path = "/api/db/history", tag = "database", params(DatabaseHistoryParameters),
    responses((status = 200, body = Envelope<HistoryView>), OutOfRange, Malformed, Unavailable))]
pub async fn get_history(
    state: Data<State>,
    Query(parameters): Query<DatabaseHistoryParameters>,
) -> Result<impl Responder, Problem> {
    let range = parameters.range.unwrap_or_default();
    let categories = parameters.categories.unwrap_or(true);
    let catalogue = Arc::clone(&state.catalogue);
    answer(&state, move |history, now| {
        let view = history.all(range, &catalogue, now)?;
        Ok(if categories {
            view
        } else {
            view.without_categories()
        })
    })
    .await
}

/// History of one collection.
#[utoipa::path(get, path = "/api/db/collections/{name}/history", tag = "database",
    params(("name" = String, Path, description = "the name, percent-encoded"), HistoryParameters),
    responses((status = 200, body = Envelope<CollectionHistory>), UnknownId, OutOfRange, Malformed, Unavailable))]
pub async fn get_collection_history(
    state: Data<State>,
    name: Path<String>,
    Query(parameters): Query<HistoryParameters>,
) -> Result<impl Responder, Problem> {
    let name = input::id(name.into_inner())?;
    let range = parameters.range.unwrap_or_default();
    if state.collections.read().await?.value.get(&name).is_none() {
        return Err(unknown_collection());
    }
    answer(&state, move |history, now| {
        history.collection(&name, range, now)
    })
    .await
}

/// Reads from disk on a thread for blocking work. The answer is as old as the newest sample, and stale if the next one did not come.
async fn answer<T: Serialize + Send + 'static>(
    state: &State,
    read: impl FnOnce(&History, Timestamp) -> Result<T, StoreError> + Send + 'static,
) -> Result<Answer, Problem> {
    let history = Arc::clone(&state.history);
    let now = Timestamp::now();
    let found =
        web::block(move || Ok::<_, StoreError>((history.newest(now)?, read(&history, now)?)));
    let unreadable = |error: &dyn std::error::Error| {
        log::error!("the history cannot be read: {error}");
        Problem::with_code(
            Kind::Unavailable,
            "history_unreadable",
            "the history on disk cannot be read; the log of silo-db-api has the reason",
        )
    };
    let (newest, view) = found
        .await
        .map_err(|error| unreadable(&error))?
        .map_err(|error| unreadable(&error))?;
    let as_of = newest.map(start_of);
    let late = |as_of: Timestamp| now.duration_since(as_of).as_secs() > 2 * SAMPLE_SECONDS;
    let meta = Meta {
        as_of,
        state: if as_of.is_some_and(late) {
            Freshness::Stale
        } else {
            Freshness::Fresh
        },
        ..Meta::now(Duration::from_secs(SAMPLE_SECONDS.unsigned_abs()))
    };
    Ok(Answer::new(&view, meta)?.live())
}
