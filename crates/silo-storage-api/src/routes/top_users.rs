//! `GET /api/storage/top-users`

use actix_web::Responder;
use actix_web::web::Data;
use serde::{Deserialize, Serialize};
use silo_core::units::count_from_usize;
use silo_web::answer::{Answer, Envelope};
use silo_web::input::{self, Query};
use silo_web::openapi::{Malformed, OutOfRange, Unavailable};
use silo_web::problem::Problem;
use utoipa::{IntoParams, ToSchema};

use crate::state::State;

/// The longest list, and the usual one.
const MOST: usize = 500;
const USUAL: usize = 20;

/// Query parameters of the list.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct TopParameters {
    /// Most users in the list; default 20.
    #[param(minimum = 1, maximum = 500)]
    limit: Option<u64>,
    /// Number of users to leave out at the beginning of the ranking, for those after the first 500.
    #[param(minimum = 0)]
    offset: Option<u64>,
}

/// The users with the most bytes.
#[derive(Serialize, ToSchema)]
pub struct TopUsers {
    /// Number of users with objects, in buckets with a result; `null` before the first.
    of: Option<u64>,
    /// Those that were asked for.
    users: Vec<TopUser>,
}

/// A user in the ranking.
#[derive(Serialize, ToSchema)]
pub struct TopUser {
    /// The place, from 1.
    rank: u64,
    /// The sub.
    sub: String,
    /// Handle without `@`; `null` if there is none or silo-db-api does not answer.
    handle: Option<String>,
    /// Number of objects.
    objects: u64,
    /// Their bytes.
    bytes: u64,
    /// Their part of all known bytes, from 0 to 1.
    share: Option<f64>,
}

/// The users with the most bytes.
#[utoipa::path(get, path = "/api/storage/top-users", tag = "storage", params(TopParameters),
    responses((status = 200, body = Envelope<TopUsers>), OutOfRange, Malformed, Unavailable))]
pub async fn list_top_users(
    state: Data<State>,
    Query(parameters): Query<TopParameters>,
) -> Result<impl Responder, Problem> {
    let limit = input::limit(parameters.limit, USUAL, MOST)?;
    let reading = state.storage.read().await?;
    let storage = &reading.value;
    let offset = input::offset(parameters.offset);
    let asked: Vec<_> = storage.owners.iter().skip(offset).take(limit).collect();
    let subs: Vec<_> = asked.iter().map(|owner| owner.sub.as_str()).collect();
    let (handles, missing) = state.users.handles(&subs).await;
    let user = |(at, owner): (usize, &&crate::storage::OwnerView)| TopUser {
        rank: count_from_usize(offset + at + 1),
        sub: owner.sub.clone(),
        handle: handles.get(&owner.sub).cloned(),
        objects: owner.sum.objects,
        bytes: owner.sum.bytes,
        share: storage.share(owner.sum.bytes),
    };
    let top = TopUsers {
        of: storage.usage.owners,
        users: asked.iter().enumerate().map(user).collect(),
    };
    Answer::part(&reading.noting(missing), &top)
}
