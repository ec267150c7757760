//! `GET /api/db/tapes`

use std::collections::BTreeMap;

use actix_web::Responder;
use actix_web::web::Data;
use serde::{Deserialize, Serialize};
use silo_web::answer::{Answer, Envelope};
use silo_web::input::{self, Query};
use silo_web::openapi::{Malformed, OutOfRange, Unavailable};
use silo_web::problem::Problem;
use utoipa::{IntoParams, ToSchema};

use crate::state::State;
use crate::tapes::TapeOwner;

/// Query parameters: codes of tapes.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct TapeParameters {
    /// Tape codes, separated by commas; 1 to 500.
    #[param(required = true, min_length = 1)]
    codes: Option<String>,
}

/// Owners by tape code.
#[derive(Serialize, ToSchema)]
pub struct TapeOwners {
    /// The owner of each tape that was asked for.
    tapes: BTreeMap<String, TapeOwner>,
}

/// The owners of some tapes, for Silo's other services.
#[utoipa::path(get, path = "/api/db/tapes", tag = "database", params(TapeParameters),
    responses((status = 200, body = Envelope<TapeOwners>), OutOfRange, Malformed, Unavailable))]
pub async fn list_tape_owners(
    state: Data<State>,
    Query(parameters): Query<TapeParameters>,
) -> Result<impl Responder, Problem> {
    let codes = parameters.codes.unwrap_or_default();
    let codes = input::ids("codes", "tape codes", &codes)?;
    let reading = state.tapes.read().await?;
    let tapes = reading.value.owners(codes.into_iter());
    Answer::part(&reading, &TapeOwners { tapes })
}
