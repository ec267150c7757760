//! `GET /api/db/collections/{name}/documents` and `GET /api/db/users/{id}/works`

use std::time::Duration;

use actix_web::Responder;
use actix_web::web::{Data, Path};
use serde::Deserialize;
use silo_web::answer::{Answer, Envelope, Meta};
use silo_web::input::{self, Query};
use silo_web::openapi::{Forbidden, Malformed, OutOfRange, Unavailable, UnknownId};
use silo_web::problem::{Kind, Problem};
use silo_web::snapshot::Freshness;
use utoipa::IntoParams;

use super::collections::unknown_collection;
use super::users::find_user;
use crate::browse::{self, Documents, MAX_OFFSET, MAX_PAGE, Request, Works};
use crate::state::State;

/// Query parameters of a page of documents.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct DocumentParameters {
    /// Filter of the documents, as Extended JSON with `$eq`, `$ne`, `$gt`, `$gte`, `$lt`, `$lte`, `$in`, `$nin`, `$exists`, `$type`, `$and`, `$or`, `$nor`.
    filter: Option<String>,
    /// Order: a field that an index begins with, falling with `-` before it; by default `-_id`. The answer lists them (`sorts`).
    sort: Option<String>,
    /// Number of documents to leave out, at most 10,000.
    #[param(minimum = 0, maximum = 10000)]
    offset: Option<u64>,
    /// Maximum number of documents.
    #[param(minimum = 1, maximum = 20, default = 20)]
    limit: Option<u64>,
}

/// Documents of a collection, without secrets and personal data. Read-only, and within 2 s.
#[utoipa::path(get, path = "/api/db/collections/{name}/documents", tag = "database",
    params(("name" = String, Path, description = "the name, percent-encoded"), DocumentParameters),
    responses((status = 200, body = Envelope<Documents>), UnknownId, Forbidden, OutOfRange, Malformed, Unavailable))]
pub async fn list_documents(
    state: Data<State>,
    name: Path<String>,
    Query(parameters): Query<DocumentParameters>,
) -> Result<impl Responder, Problem> {
    let name = input::id(name.into_inner())?;
    let request = Request {
        filter: parameters.filter,
        sort: parameters.sort,
        offset: parameters.offset.unwrap_or_default(),
        limit: input::limit(parameters.limit, MAX_PAGE, MAX_PAGE)?,
    };
    if request.offset > MAX_OFFSET {
        let detail = format!(
            "offset is at most {MAX_OFFSET}; use a filter, such as {{\"_id\": {{\"$lt\": ...}}}}, to go on"
        );
        return Err(Problem::new(Kind::OutOfRange, detail));
    }
    let reading = state.collections.read().await?;
    let collection = reading.value.get(&name).ok_or_else(unknown_collection)?;
    let documents = state
        .browse(|gateway| browse::page(gateway, &state.catalogue, collection, &request))
        .await?;
    Ok(Answer::new(&documents, Meta::now(Duration::ZERO))?.live())
}

/// Number of a user's documents in each collection, and the newest.
#[utoipa::path(get, path = "/api/db/users/{id}/works", tag = "database",
    params(("id" = String, Path, description = "a sub, an @handle or a user code, percent-encoded")),
    responses((status = 200, body = Envelope<Works>), UnknownId, OutOfRange, Malformed, Unavailable))]
pub async fn get_works(state: Data<State>, id: Path<String>) -> Result<impl Responder, Problem> {
    let id = input::id(id.into_inner())?;
    let user = find_user(&state, &id).await?.1;
    let reading = state.collections.read().await?;
    let (works, errors) = state
        .browse(|gateway| browse::works(gateway, &state.catalogue, &reading.value, user))
        .await;
    let meta = Meta {
        state: if errors.is_empty() {
            Freshness::Fresh
        } else {
            Freshness::Partial
        },
        errors,
        ..Meta::now(Duration::ZERO)
    };
    Ok(Answer::new(&works, meta)?.live())
}
