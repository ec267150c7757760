//! `GET /api/db/collections` and `GET /api/db/collections/{name}`

use actix_web::Responder;
use actix_web::web::{Data, Path};
use serde::Deserialize;
use silo_web::answer::{Answer, Envelope};
use silo_web::input::{self, Query};
use silo_web::openapi::{Malformed, OutOfRange, Unavailable, UnknownId};
use silo_web::problem::{Kind, Problem};
use silo_web::snapshot::{Freshness, Measured, Reading};
use utoipa::IntoParams;

use crate::collections::{Collections, Sort};
use crate::details::{CollectionDetails, Details};
use crate::state::State;

/// The longest list.
const MOST: usize = 500;

/// Query parameters of the list.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ListParameters {
    /// The order: `documents`, `dataBytes` (default) or `name`.
    #[param(inline)]
    sort: Option<Sort>,
    /// Maximum number of collections in the list; the totals still include all.
    #[param(minimum = 1, maximum = 500)]
    limit: Option<u64>,
    /// Number of collections to leave out at the beginning of the list, for those after the first 500.
    #[param(minimum = 0)]
    offset: Option<u64>,
}

/// Every collection, by category and in total.
#[utoipa::path(get, path = "/api/db/collections", tag = "database", params(ListParameters),
    responses((status = 200, body = Envelope<Collections>), OutOfRange, Malformed, Unavailable))]
pub async fn list_collections(
    state: Data<State>,
    Query(parameters): Query<ListParameters>,
) -> Result<impl Responder, Problem> {
    let limit = input::limit(parameters.limit, MOST, MOST)?;
    let offset = input::offset(parameters.offset);
    let reading = state.collections.read().await?;
    let sort = parameters.sort.unwrap_or_default();
    if sort == Sort::default() && offset == 0 && limit >= reading.value.collections.len() {
        return Ok(Answer::whole(&reading));
    }
    Answer::part(&reading, &reading.value.view(sort, offset, limit))
}

/// One collection, with its fields and newest document.
#[utoipa::path(get, path = "/api/db/collections/{name}", tag = "database", params(("name" = String, Path, description = "the name, percent-encoded")),
    responses((status = 200, body = Envelope<CollectionDetails>), UnknownId, OutOfRange, Malformed, Unavailable))]
pub async fn get_collection(
    state: Data<State>,
    name: Path<String>,
) -> Result<impl Responder, Problem> {
    let name = input::id(name.into_inner())?;
    let reading = state.collections.read().await?;
    let Some(collection) = reading.value.get(&name).cloned() else {
        return Err(unknown_collection());
    };
    let details = state.details.read(&collection, &reading.value).await?;
    let both = CollectionDetails {
        collection,
        details: details.value.as_ref().clone(),
    };
    Answer::part(&older_of(&name, &reading, &details), &both)
}

pub(crate) fn unknown_collection() -> Problem {
    Problem::with_code(
        Kind::NotFound,
        "unknown_collection",
        "there is no collection of this name; /api/db/collections lists them",
    )
}

/// The age and trust of an answer that is made of two measurements: the older and the worse of both.
fn older_of(name: &str, sizes: &Reading<Collections>, details: &Reading<Details>) -> Reading<()> {
    let own = format!("collection {name}");
    let relevant = |error: &&silo_web::snapshot::SourceError| {
        !error.source.starts_with("collection ") || error.source == own
    };
    let errors: Vec<_> = sizes
        .errors
        .iter()
        .filter(relevant)
        .chain(&details.errors)
        .cloned()
        .collect();
    let stale = [sizes.state, details.state].contains(&Freshness::Stale);
    let Measured { value, errors } = Measured { value: (), errors };
    Reading {
        value: value.into(),
        json: sizes.json.clone(),
        as_of: sizes.as_of.min(details.as_of),
        age: sizes.age.max(details.age),
        ttl: sizes.ttl,
        state: if stale {
            Freshness::Stale
        } else if errors.is_empty() {
            Freshness::Fresh
        } else {
            Freshness::Partial
        },
        errors,
    }
}
