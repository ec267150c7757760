//! `GET /api/db/users/count`, `GET /api/db/users/{id}` and `GET /api/db/handles`

use std::collections::BTreeMap;

use actix_web::Responder;
use actix_web::web::{Data, Path};
use serde::{Deserialize, Serialize};
use silo_web::answer::{Answer, Envelope};
use silo_web::input::{self, Query};
use silo_web::openapi::{Malformed, OutOfRange, Unavailable, UnknownId};
use silo_web::problem::{Kind, Problem};
use silo_web::snapshot::Reading;
use utoipa::{IntoParams, ToSchema};

use crate::state::State;
use crate::users::{User, Users};

/// Query parameters: subs of users.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct HandleParameters {
    /// Subs, separated by commas; 1 to 500.
    #[param(required = true, min_length = 1)]
    ids: Option<String>,
}

/// Handles by sub.
#[derive(Serialize, ToSchema)]
pub struct Handles {
    /// The handle of each sub that was asked for, without `@`; `null` for one that has none.
    handles: BTreeMap<String, Option<String>>,
}

/// Number of users.
#[utoipa::path(get, path = "/api/db/users/count", tag = "database",
    responses((status = 200, body = Envelope<Users>), Malformed, Unavailable))]
pub async fn count_users(state: Data<State>) -> Result<impl Responder, Problem> {
    Ok(Answer::whole(&state.users.read().await?))
}

/// User of a sub, an `@handle` or a user code.
#[utoipa::path(get, path = "/api/db/users/{id}", tag = "database",
    params(("id" = String, Path, description = "a sub, an @handle or a user code, percent-encoded")),
    responses((status = 200, body = Envelope<User>), UnknownId, OutOfRange, Malformed, Unavailable))]
pub async fn get_user(state: Data<State>, id: Path<String>) -> Result<impl Responder, Problem> {
    let id = input::id(id.into_inner())?;
    let (users, user) = find_user(&state, &id).await?;
    Answer::part(&users, &user)
}

/// The user of a sub, an `@handle` or a user code.
pub(super) async fn find_user(state: &State, id: &str) -> Result<(Reading<Users>, User), Problem> {
    let users = state.users.read().await?;
    let user = users.value.directory.find(id).ok_or_else(|| {
        Problem::with_code(
            Kind::NotFound,
            "unknown_user",
            "no user has this sub, @handle or user code",
        )
    })?;
    Ok((users, user))
}

/// The handles of some subs, for Silo's other services.
#[utoipa::path(get, path = "/api/db/handles", tag = "database", params(HandleParameters),
    responses((status = 200, body = Envelope<Handles>), OutOfRange, Malformed, Unavailable))]
pub async fn list_handles(
    state: Data<State>,
    Query(parameters): Query<HandleParameters>,
) -> Result<impl Responder, Problem> {
    let ids = parameters.ids.unwrap_or_default();
    let ids = input::ids("ids", "subs", &ids)?;
    let users = state.users.read().await?;
    Answer::part(
        &users,
        &Handles {
            handles: users.value.directory.handles(ids.into_iter()),
        },
    )
}
