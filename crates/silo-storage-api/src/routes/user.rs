//! `GET /api/storage/user/{id}`

use actix_web::Responder;
use actix_web::web::{Data, Path};
use serde::Serialize;
use silo_core::units::count_from_usize;
use silo_web::answer::{Answer, Envelope};
use silo_web::input;
use silo_web::openapi::{Malformed, OutOfRange, Unavailable, UnknownId};
use silo_web::problem::{Kind, Problem};
use silo_web::snapshot::SourceError;
use utoipa::ToSchema;

use crate::gateway::users::User;
use crate::state::State;
use crate::storage::{KindSum, OwnerView, Storage, kind_sums};

/// Storage used by one user.
#[derive(Serialize, ToSchema)]
pub struct UserUsage {
    /// The sub.
    sub: String,
    /// Handle without `@`; `null` if there is none or silo-db-api does not answer.
    handle: Option<String>,
    /// User code; `null` if there is none or silo-db-api does not answer.
    code: Option<String>,
    /// `true` if AC has this user; `false` if only the objects remain; `null` if silo-db-api does not answer.
    known: Option<bool>,
    /// Number of objects.
    objects: u64,
    /// Their bytes.
    bytes: u64,
    /// Their part of all known bytes, from 0 to 1.
    share: Option<f64>,
    /// The place among users by bytes, from 1; `null` for a user without objects.
    rank: Option<u64>,
    /// Number of users with objects, in buckets with a result; `null` before the first.
    of: Option<u64>,
    /// By bucket, where there is anything.
    buckets: Vec<BucketSum>,
    /// By kind, the largest first.
    kinds: Vec<KindSum>,
    /// The largest objects.
    largest: Vec<LargeObject>,
}

/// One bucket's sum.
#[derive(Serialize, ToSchema)]
pub struct BucketSum {
    /// The bucket.
    bucket: String,
    /// Number of objects.
    objects: u64,
    /// Their bytes.
    bytes: u64,
}

/// One object.
#[derive(Serialize, ToSchema)]
pub struct LargeObject {
    /// The bucket it is in.
    bucket: String,
    /// Key of the object.
    key: String,
    /// Size in bytes.
    bytes: u64,
}

/// Storage used by one user.
#[utoipa::path(get, path = "/api/storage/user/{id}", tag = "storage",
    params(("id" = String, Path, description = "a sub, an @handle or a user code, percent-encoded")),
    responses((status = 200, body = Envelope<UserUsage>), UnknownId, OutOfRange, Malformed, Unavailable))]
pub async fn get_user_usage(
    state: Data<State>,
    id: Path<String>,
) -> Result<impl Responder, Problem> {
    let id = input::id(id.into_inner())?;
    let reading = state.storage.read().await?;
    let storage = &reading.value;
    let (person, known, missing) = match state.users.find(&id).await {
        Ok(Some(person)) => (person, Some(true), None),
        Ok(None) if storage.owner(&id).is_some() => (user_with_only_sub(&id), Some(false), None),
        Ok(None) => return Err(unknown_user()),
        Err(error) if storage.owner(&id).is_some() => (user_with_only_sub(&id), None, Some(error)),
        Err(error) => return Err(unresolved(&error)),
    };
    let usage = usage(storage, person, known);
    Answer::part(&reading.noting(missing), &usage)
}

fn usage(storage: &Storage, person: User, known: Option<bool>) -> UserUsage {
    let found = storage.owner(&person.sub);
    let nothing = OwnerView::default();
    let owner = found.map_or(&nothing, |(_, owner)| owner);
    let name = |place: usize| {
        storage
            .buckets
            .get(place)
            .map(|bucket| bucket.name.clone())
            .unwrap_or_default()
    };
    let bucket = |(place, sum): &(usize, crate::totals::Sum)| BucketSum {
        bucket: name(*place),
        objects: sum.objects,
        bytes: sum.bytes,
    };
    let large = |(bytes, place, key): &(u64, usize, String)| LargeObject {
        bucket: name(*place),
        key: key.clone(),
        bytes: *bytes,
    };
    UserUsage {
        sub: person.sub,
        handle: person.handle,
        code: person.code,
        known,
        objects: owner.sum.objects,
        bytes: owner.sum.bytes,
        share: storage.share(owner.sum.bytes),
        rank: found.map(|(rank, _)| count_from_usize(rank)),
        of: storage.usage.owners,
        buckets: owner.buckets.iter().map(bucket).collect(),
        kinds: kind_sums(&owner.kinds),
        largest: owner.largest.iter().map(large).collect(),
    }
}

/// A sub that owns objects but is not a known user.
fn user_with_only_sub(sub: &str) -> User {
    User {
        sub: sub.to_owned(),
        handle: None,
        code: None,
    }
}

fn unknown_user() -> Problem {
    let detail = "no user has this sub, @handle or user code";
    Problem::with_code(Kind::NotFound, "unknown_user", detail)
}

fn unresolved(error: &SourceError) -> Problem {
    let detail = format!(
        "the user cannot be looked up now: {}: {}",
        error.source, error.detail
    );
    Problem::with_code(Kind::Unavailable, "source_unavailable", detail)
}
