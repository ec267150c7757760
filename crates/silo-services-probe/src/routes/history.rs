//! `GET /api/services/{name}/history`

use actix_web::Responder;
use actix_web::web::{Data, Path};
use serde::{Deserialize, Serialize};
use silo_web::answer::{Answer, Envelope};
use silo_web::input::{self, Query};
use silo_web::openapi::{Malformed, OutOfRange, Unavailable, UnknownId};
use silo_web::problem::Problem;
use utoipa::{IntoParams, ToSchema};

use super::service::unknown;
use crate::history::series::{Point, Range};
use crate::state::State;

/// Which period.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct Parameters {
    /// `1h`, `24h` (the default), `48h`, `7d`, `30d` or `90d`.
    #[serde(default)]
    #[param(inline)]
    range: Range,
}

/// A service over a period.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ServiceHistory {
    /// The service.
    name: String,
    /// The period.
    range: Range,
    /// Seconds per point.
    step_seconds: u32,
    /// The points, the oldest first; the last covers now.
    points: Vec<Point>,
}

/// A service over a period: how it stood, how long its answers took, how many checks failed.
#[utoipa::path(get, path = "/api/services/{name}/history", tag = "services",
    params(("name" = String, Path, description = "the service's name in the settings"), Parameters),
    responses((status = 200, body = Envelope<ServiceHistory>), Malformed, UnknownId, OutOfRange, Unavailable))]
pub async fn get_history(
    state: Data<State>,
    name: Path<String>,
    Query(parameters): Query<Parameters>,
) -> Result<impl Responder, Problem> {
    let name = input::id(name.into_inner())?;
    let range = parameters.range;
    let points = state.store.points(&name, range).ok_or_else(unknown)?;
    let reading = state.store.services.read().await?;
    let history = ServiceHistory {
        name,
        range,
        step_seconds: range.step_seconds(),
        points,
    };
    Answer::part(&reading, &history)
}
